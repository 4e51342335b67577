//! Where accounts are granted, and when a grant goes.

use super::*;

#[test]
fn the_first_shard_is_made_when_there_is_somebody_to_grant_and_not_before() {
    assert_eq!(Case::of([], []).plan(), GrantPlan::default());

    let plan = Case::of([], [1, 2]).plan();
    let [write] = plan.writes.as_slice() else { panic!("{:?}", plan.writes) };
    assert!(write.create && !write.repoint && !write.force);
    assert_eq!((write.name.as_str(), &write.target, &write.role), ("Logs", &target(), &role()));
    assert_eq!(write.added, accounts([1, 2]));
    assert_eq!(plan.granted, accounts([1, 2]));
    assert_eq!(assigned(&plan, 1), Some("Logs"));
    insta::assert_snapshot!(write.document().as_deref().unwrap(), @r#"{"Statement":[{"Action":"logs:PutSubscriptionFilter","Effect":"Allow","Principal":{"AWS":["000000000001","000000000002"]},"Resource":"arn:aws:logs:eu-west-1:999988887777:destination:Logs","Sid":"VpcEnroller"}],"Version":"2012-10-17"}"#);
}

#[test]
fn seven_hundred_accounts_take_three_shards_and_one_write_each() {
    let case = Case::of([], 0..700);
    let plan = case.plan();
    assert_eq!(written(&plan), ["Logs", "Logs-2", "Logs-3"]);
    assert!(plan.writes.iter().all(|write| write.document().is_some_and(|text| text.len() <= MAX_POLICY_BYTES)));
    assert_eq!(plan.granted.len(), 700);
    assert!(plan.usage[0].accounts >= 326 && plan.usage[0].room == 0 && plan.usage[0].free_bytes < 15);
    assert_eq!(plan.usage.iter().map(|usage| usage.accounts).sum::<usize>(), 700);
    assert_eq!(case.after(&plan).plan().writes, []);
}

#[test]
fn a_new_account_goes_to_the_first_shard_with_room_and_no_other_moves() {
    let case = Case::of([cramped("Logs", 2, [1, 2]), cramped("Logs-2", 2, [3]), listing("Logs-3", [4])], 1..=6);
    let plan = case.plan();
    assert_eq!(written(&plan), ["Logs-2", "Logs-3"]);
    assert_eq!(assigned(&plan, 5), Some("Logs-2"));
    assert_eq!(assigned(&plan, 6), Some("Logs-3"));
    assert_eq!(assigned(&plan, 4), Some("Logs-3"));
    assert_eq!(plan.granted, accounts([5, 6]));
}

#[test]
fn a_new_shard_takes_the_lowest_free_number() {
    for (shards, expected) in [
        (vec![cramped("Logs", 1, [1])], "Logs-2"),
        (vec![cramped("Logs", 1, [1]), cramped("Logs-3", 1, [2])], "Logs-2"),
        (vec![cramped("Logs", 1, [1]), cramped("Logs-2", 0, []), cramped("Logs-3", 0, [])], "Logs-4"),
        (vec![cramped("Logs-2", 1, [1])], "Logs"),
    ] {
        let plan = Case::of(shards, [1, 2, 99]).plan();
        assert_eq!(plan.writes.last().map(|write| (write.name.as_str(), write.create)), Some((expected, true)));
        assert_eq!(assigned(&plan, 99), Some(expected));
    }
}

#[test]
fn an_account_that_is_merely_no_longer_wanted_keeps_its_grant() {
    let plan = Case::of([listing("Logs", [1, 2, 3])], [1]).plan();
    assert_eq!(plan.writes, []);
    assert_eq!(assigned(&plan, 3), Some("Logs"));
}

#[test]
fn a_departed_account_loses_its_grant_unless_it_is_wanted_again() {
    let case = Case::of([listing("Logs", [1, 2, 3])], [1, 2]).departed([2, 3, 4]);
    let plan = case.plan();
    assert_eq!(plan.revoked, accounts([3]));
    assert_eq!(plan.writes[0].removed, accounts([3]));
    assert_eq!(assigned(&plan, 3), None);
    assert_eq!(listed(&case.after(&plan), "Logs"), accounts([1, 2]));
}

#[test]
fn the_last_account_can_depart_though_a_policy_needs_a_statement() {
    let case = Case::of([listing("Logs", [1])], []).departed([1]);
    let plan = case.plan();
    assert!(plan.writes[0].document().as_deref().unwrap().contains("VpcEnrollerNobody"));
    assert_eq!(listed(&case.after(&plan), "Logs"), accounts([]));
    assert_eq!(case.after(&plan).plan().writes, []);
}

#[test]
fn the_guard_holds_back_all_revocations_if_there_are_too_many() {
    for (present, departed, percent, overridden, passes) in [
        (100, 10, 10, false, true),
        (100, 11, 10, false, false),
        (100, 11, 10, true, true),
        (100, 1, 0, false, false),
        (100, 1, 0, true, true),
        (100, 1, 1, false, true),
        (100, 2, 1, false, false),
        (1, 1, 10, false, true),
        (5, 2, 10, false, false),
        (19, 2, 10, false, false),
        (20, 2, 10, false, true),
        (100, 100, 100, false, true),
    ] {
        let mut case = Case::of([listing("Logs", 0..present)], []).departed(0..departed);
        case.guard = RevocationGuard { overridden, ..RevocationGuard::of_share(percent) };
        let plan = case.plan();
        let (revoked, withheld) = if passes { (departed, 0) } else { (0, departed) };
        assert_eq!(plan.revoked, accounts(0..revoked), "{departed} of {present} at {percent} %");
        assert_eq!(plan.withheld, accounts(0..withheld), "{departed} of {present} at {percent} %");
        assert_eq!(plan.writes.is_empty(), !passes);
    }
}

#[test]
fn the_guard_counts_what_went_before_and_what_may_follow() {
    for (present, departed, recent, undecided, passes) in [
        (95, 5, 5, 0, true),
        (90, 5, 10, 0, false),
        (100, 5, 0, 5, true),
        (100, 5, 0, 6, false),
        (5, 1, 1, 0, false),
        (100, 1, 0, 10, false),
    ] {
        let mut case = Case::of([listing("Logs", 0..present)], []).departed(0..departed);
        case.guard = RevocationGuard { recent, undecided, ..RevocationGuard::of_share(10) };
        let case_is = format!("{departed} of {present} after {recent}, with {undecided} undecided");
        assert_eq!(case.plan().withheld.is_empty(), passes, "{case_is}");
    }
}

#[test]
fn an_account_on_several_shards_stays_on_the_first_of_them() {
    let case = Case::of([listing("Logs", [1]), listing("Logs-2", [1, 2]), listing("Logs-3", [2, 3])], [1, 2, 3]);
    let plan = case.plan();
    assert_eq!(plan.on_several_shards, accounts([1, 2]));
    assert_eq!((assigned(&plan, 1), assigned(&plan, 2)), (Some("Logs"), Some("Logs-2")));
    assert_eq!(listed(&case.after(&plan), "Logs-2"), accounts([2]));
    assert_eq!(listed(&case.after(&plan), "Logs-3"), accounts([3]));

    let careful = Case { consolidate: false, ..case }.plan();
    assert_eq!(careful.writes, []);
    assert_eq!((&careful.on_several_shards, &careful.assignments), (&plan.on_several_shards, &plan.assignments));
}

#[test]
fn a_write_that_adds_fewer_accounts_keeps_everything_else() {
    let plan = Case::of([listing("Logs", [1, 2])], 1..=6).plan();
    let write = plan.writes[0].adding_only(&accounts([2, 3, 5, 9]));
    assert_eq!(write.added, accounts([3, 5]));
    let policy = DestinationPolicy::parse(&write.document().unwrap()).unwrap();
    assert_eq!(policy.accounts(), &accounts([1, 2, 3, 5]));
    assert_eq!(ShardWrite { policy: plan.writes[0].policy.clone(), added: accounts(3..=6), ..write }, plan.writes[0]);
}
