//! Organization mode, and what remains of it after a change back.

use super::*;

#[test]
fn an_organization_is_named_on_the_first_shard_and_covers_all_others() {
    let case = Case::of([], [1]).organization();
    let plan = case.plan();
    assert_eq!(written(&plan), ["Logs"]);
    assert!(plan.writes[0].create && !plan.writes[0].force);
    assert_eq!((assigned(&plan, 1), assigned(&plan, 77)), (Some("Logs"), Some("Logs")));
    assert_eq!(plan.granted, accounts([1]));

    let later = Case { wanted: accounts([1, 2]), ..case.after(&plan) };
    assert_eq!(later.plan().writes, []);
    assert_eq!(assigned(&later.plan(), 2), Some("Logs"));
    assert_eq!(later.observed.assignments(None).get(&account(2)), None);
}

#[test]
fn the_change_to_an_organization_is_forced_and_loses_no_account() {
    let first = others("Logs", &json!("000000000009"));
    let PolicyState::Parsed(policy) = &first.policy else { panic!() };
    let first = shard("Logs", Some(&policy.with_accounts(accounts([1, 2, 8])).render(&arn("Logs"))));
    let case = Case::of([first, listing("Logs-2", [3])], [1, 2, 3]).organization();
    let plan = case.plan();
    assert_eq!(written(&plan), ["Logs"]);
    assert!(plan.writes[0].force);
    assert_eq!(plan.writes[0].removed, accounts([1, 2]));
    assert_eq!(
        (assigned(&plan, 1), assigned(&plan, 3), assigned(&plan, 9)),
        (Some("Logs"), Some("Logs-2"), Some("Logs"))
    );
    assert_eq!(plan.granted, accounts([]));
    // Listed, but not known as a member: only evidence removes it.
    assert_eq!(listed(&case.after(&plan), "Logs"), accounts([8]));
    assert_eq!(case.after(&plan).plan().writes, []);
}

#[test]
fn only_a_policy_under_which_filters_had_no_role_is_replaced_by_force() {
    let paths = json!({"Effect": "Allow", "Principal": "*", "Action": "logs:PutSubscriptionFilter", "Resource": "*",
        "Condition": {"ForAnyValue:StringLike": {"aws:PrincipalOrgPaths": ["o-exampleorg1/*"]}}});
    let demanding = json!({"Statement": [paths]}).to_string();
    for (found, force) in
        [(shard("Logs", None), false), (shard("Logs", Some(&demanding)), false), (listing("Logs", [1]), true)]
    {
        let plan = Case::of([found], [1]).organization().plan();
        assert_eq!(plan.writes.iter().map(|write| (write.create, write.force)).collect::<Vec<_>>(), [(false, force)]);
    }
}

#[test]
fn an_unreadable_policy_authorizes_an_organization_it_mentions() {
    for (text, home) in [("[\"o-exampleorg1\"]", Some("Logs")), ("[\"o-exampleorg2\"]", None)] {
        let case = Case::of([shard("Logs", Some(text))], [1]).organization();
        let plan = case.plan();
        assert_eq!((plan.writes.len(), assigned(&plan, 1)), (0, home), "{text}");
        let found = case.observed.assignments(Some(&organization()));
        assert_eq!(found.get(&account(1)).map(DestinationName::as_str), home, "{text}");
    }
}

#[test]
fn another_organization_is_replaced_only_if_an_operator_allows_it() {
    let other = DestinationPolicy::empty().with_organization(Some("o-exampleorg2".parse().unwrap()));
    let mut case = Case::of([shard("Logs", Some(&other.render(&arn("Logs"))))], [1]).organization();
    let plan = case.plan();
    assert_eq!((plan.writes.len(), assigned(&plan, 1)), (0, None));
    assert!(
        matches!(plan.problems.as_slice(), [GrantProblem::OtherOrganization { found, .. }] if found.as_str() == "o-exampleorg2")
    );
    case.guard.overridden = true;
    assert_eq!(assigned(&case.plan(), 1), Some("Logs"));
}

#[test]
fn no_account_is_listed_where_every_filter_needs_a_role() {
    let named = DestinationPolicy::empty().with_organization(Some(organization()));
    let plan = Case::of([shard("Logs", Some(&named.render(&arn("Logs"))))], [1]).plan();
    assert_eq!(plan.problems, [GrantProblem::DemandsFilterRoles { shard: "Logs".parse().unwrap() }]);
    assert_eq!((written(&plan), assigned(&plan, 1)), (vec!["Logs-2"], Some("Logs-2")));
}
