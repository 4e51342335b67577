//! Destinations and policies that other principals changed.

use super::*;

#[test]
fn an_account_in_an_unmanaged_statement_is_granted_and_not_listed_twice() {
    let case = Case::of([others("Logs", &json!(["000000000001", "arn:aws:iam::000000000002:root"]))], [1, 2, 3]);
    let plan = case.plan();
    assert_eq!(plan.granted, accounts([3]));
    assert_eq!(assigned(&plan, 2), Some("Logs"));
    assert_eq!(plan.writes[0].added, accounts([3]));
    assert!(!plan.assignments.is_listed(&account(2)) && plan.assignments.is_listed(&account(3)));
}

#[test]
fn a_departed_account_in_an_unmanaged_statement_is_a_problem() {
    let plan = Case::of([others("Logs", &json!("000000000001"))], []).departed([1]).plan();
    assert_eq!(plan.writes, []);
    let expected = GrantProblem::DepartedNamedByOthers { account: account(1), shard: "Logs".parse().unwrap() };
    assert_eq!(plan.problems, [expected]);
}

#[test]
fn an_unreadable_policy_stays_and_its_accounts_are_not_assigned_twice() {
    let text = format!(r#"{{"Statement":[{{"Principal":"000000000001","Resource":"{}"}},7]}}"#, arn("Logs"));
    let mut broken = shard("Logs", Some(&text));
    broken.target = role();
    let case = Case::of([broken, listing("Logs-2", [2])], [1, 2, 3, CENTRAL]);
    let plan = case.plan();
    assert!(
        matches!(plan.problems.as_slice(), [GrantProblem::UnreadablePolicy { shard, .. }] if shard.as_str() == "Logs")
    );
    assert_eq!(written(&plan), ["Logs-2"]);
    assert_eq!(
        (assigned(&plan, 1), assigned(&plan, 2), assigned(&plan, 3)),
        (Some("Logs"), Some("Logs-2"), Some("Logs-2"))
    );
    assert_eq!(assigned(&plan, CENTRAL), Some("Logs-2"));
    assert_eq!((plan.usage[0].bytes, plan.usage[0].room), (text.len(), 0));
}

#[test]
fn a_shard_with_another_target_is_repointed_and_its_policy_kept() {
    for (new_target, new_role, repoint) in
        [(role(), role(), true), (target(), target(), true), (target(), role(), false)]
    {
        let moved = Shard { target: new_target, role: new_role, ..listing("Logs", [1]) };
        let plan = Case::of([moved], [1]).plan();
        assert_eq!(
            plan.writes.iter().map(|write| (write.repoint, write.create)).collect::<Vec<_>>(),
            vec![(true, false); usize::from(repoint)]
        );
        assert!(plan.writes.iter().all(|write| write.policy.is_none()));
    }
}

#[test]
fn whom_an_edited_or_repointed_destination_should_deliver_for_is_in_doubt_until_it_is_put_right() {
    let edited = |key: &str, value: &str| {
        let text = DestinationPolicy::empty().with_accounts(accounts([1])).render(&arn("Logs"));
        let mut policy: serde_json::Value = serde_json::from_str(&text).unwrap();
        policy["Statement"][0][key] = json!(value);
        shard("Logs", Some(&policy.to_string()))
    };
    let cases = [
        (listing("Logs", [1]), None),
        (edited("Action", "logs:DescribeDestinations"), Some("edited our statement")),
        (edited("Resource", "arn:aws:logs:eu-west-1:111111111111:destination:zzz"), Some("edited our statement")),
        (Shard { target: role(), ..listing("Logs", [1]) }, Some("another stream")),
    ];
    for (found, doubted) in cases {
        let case = Case::of([found], [1]);
        let doubt = case.plan().assignments.doubt(&account(1)).cloned();
        assert_eq!(doubt.is_some(), doubted.is_some(), "{doubt:?}");
        assert!(doubt.is_none_or(|it| it.is_repairable() && it.to_string().contains(doubted.unwrap())));
        let after = case.after(&case.plan());
        assert_eq!(after.plan().assignments.doubt(&account(1)), None);
    }
}

#[test]
fn a_repointed_shard_says_from_where_to_where() {
    let moved = Shard { target: role(), ..listing("Logs", [1]) };
    let write = Case::of([moved], [1]).plan().writes.remove(0);
    assert_eq!(write.repointing().unwrap(), format!("target from {} to {}", role(), target()));
    let moved = Shard { target: role(), role: target(), ..listing("Logs", [1]) };
    let write = Case::of([moved], [1]).plan().writes.remove(0);
    let both = format!("target from {0} to {1}, role from {1} to {0}", role(), target());
    assert_eq!(write.repointing(), Some(both));
    assert_eq!(Case::of([listing("Logs", [1])], [1, 2]).plan().writes[0].repointing(), None);
}

#[test]
fn a_destination_that_somebody_else_made_is_not_written_and_grants_nobody() {
    let elsewhere = |shard: Shard| Shard { target: role(), ..shard };
    for foreign in
        [shard("Logs", None), others("Logs", &json!("000000000001")), shard("Logs", Some(r#"{"Statement":[]}"#))]
    {
        let case = Case::of([elsewhere(foreign.clone()), listing("Logs-3", [3])], [1, 2, 3]);
        assert_eq!(case.observed.assignments(None).get(&account(1)), None, "its records would go elsewhere");
        let plan = case.plan();
        assert_eq!((written(&plan), plan.granted.clone()), (vec!["Logs-3"], accounts([1, 2])));
        assert_eq!(assigned(&plan, 1), Some("Logs-3"));
        let [problem @ GrantProblem::ForeignDestination { shard, .. }] = &plan.problems[..] else { panic!("{plan:?}") };
        assert_eq!(shard.as_str(), "Logs");
        let command =
            format!("put-destination --destination-name Logs --target-arn {} --role-arn {}", target(), role());
        assert!(problem.next_step().contains(&command) && problem.to_string().contains(&role().to_string()));
        assert_eq!(case.after(&plan).plan().writes, []);
        // What the next step says helps: the statements stay, and the accounts are granted there.
        let handed_over = Case::of([foreign], [1, 2]).plan();
        assert_eq!((written(&handed_over), handed_over.problems.len()), (vec!["Logs"], 0));
    }
}

#[test]
fn a_destination_of_somebody_else_does_not_take_the_whole_organization() {
    let names_us = DestinationPolicy::empty().with_organization(Some(organization())).render(&arn("Logs"));
    let by_hand = names_us.replace("VpcEnrollerOrganization", "ByHand");
    let case = Case::of([Shard { target: role(), ..shard("Logs", Some(&by_hand)) }], [1]).organization();
    let plan = case.plan();
    assert_eq!((plan.writes.len(), assigned(&plan, 1)), (0, None));
    assert_eq!(case.observed.assignments(Some(&organization())).get(&account(1)), None);
    assert!(matches!(plan.problems[..], [GrantProblem::ForeignDestination { .. }]));
}

#[test]
fn a_destination_without_a_policy_gets_one_with_its_first_account() {
    assert_eq!(Case::of([shard("Logs", None)], []).plan().writes, []);
    let plan = Case::of([shard("Logs", Some(""))], [1]).plan();
    assert!(!plan.writes[0].create && plan.writes[0].policy.is_some());
}

#[test]
fn a_policy_of_exactly_the_longest_length_is_put() {
    let ours = json!({"Sid": "VpcEnroller", "Effect": "Allow", "Principal": {"AWS": "000000000001"}});
    let document =
        |bytes: usize| json!({"Statement": [ours, {"Effect": "Deny", "Resource": "x".repeat(bytes)}]}).to_string();
    let repaired = |bytes: usize| DestinationPolicy::parse(&document(bytes)).unwrap().bytes(&arn("Logs"));
    for (bytes, put) in [(MAX_POLICY_BYTES, true), (MAX_POLICY_BYTES + 1, false)] {
        let plan = Case::of([shard("Logs", Some(&document(bytes - repaired(0))))], [1]).plan();
        let lengths: Vec<usize> = plan.writes.iter().filter_map(|write| Some(write.document()?.len())).collect();
        assert_eq!((lengths, plan.problems.is_empty()), (vec![bytes; usize::from(put)], put));
    }
}

#[test]
fn a_policy_that_would_be_too_long_is_reported_and_not_put() {
    // A managed statement that lacks its resource, and as many unmanaged bytes as fit: repairing it does not fit.
    let ours = json!({"Sid": "VpcEnroller", "Effect": "Allow", "Principal": {"AWS": ["000000000001", "000000000002"]}});
    let document =
        |bytes: usize| json!({"Statement": [ours, {"Effect": "Deny", "Resource": "x".repeat(bytes)}]}).to_string();
    let full = document(MAX_POLICY_BYTES - document(0).len());
    let plan = Case::of([shard("Logs", Some(&full))], [1, 3]).departed([2]).plan();
    assert!(
        matches!(plan.problems.as_slice(), [GrantProblem::PolicyTooLong { bytes, .. }] if *bytes > MAX_POLICY_BYTES)
    );
    assert_eq!(written(&plan), ["Logs-2"]);
    assert_eq!((assigned(&plan, 1), assigned(&plan, 3)), (Some("Logs"), Some("Logs-2")));
    assert_eq!(plan.revoked, accounts([]));
}

#[test]
fn usage_shows_how_full_a_policy_is() {
    let empty = Case::of([shard("Logs", None)], []).plan().usage.remove(0);
    assert_eq!((empty.accounts, empty.bytes, empty.free_bytes), (0, 0, MAX_POLICY_BYTES));
    assert!(empty.room >= 300, "{}", empty.room);
    let case = Case::of([shard("Logs", None)], [1, 2]);
    let plan = case.plan();
    let length = plan.writes[0].document().unwrap().len();
    assert_eq!(
        (plan.usage[0].accounts, plan.usage[0].bytes, plan.usage[0].free_bytes),
        (2, length, MAX_POLICY_BYTES - length)
    );
    assert_eq!(plan.usage[0].room, empty.room - 2);
    assert_eq!(case.organization().plan().usage[0].room, 0);
}

#[test]
fn a_wanted_account_that_others_deny_is_a_problem_and_goes_to_no_other_shard() {
    let deny = json!({"Effect": "Deny", "Principal": {"AWS": "000000000002"}, "Action": "*", "Resource": "*"});
    let policy = DestinationPolicy::parse(&json!({"Statement": [deny]}).to_string()).unwrap();
    let listed = policy.with_accounts(accounts([1, 2])).render(&arn("Logs"));
    for case in [
        Case::of([shard("Logs", Some(&listed))], [1, 2]),
        Case::of([shard("Logs", Some(&listed))], [1, 2]).organization(),
    ] {
        let plan = case.plan();
        let denied = GrantProblem::DeniedByOthers { account: account(2), shard: "Logs".parse().unwrap() };
        assert_eq!(plan.problems, [denied]);
        assert_eq!(assigned(&plan, 2), Some("Logs"));
    }
}
