use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::grants::{RegionGrants, RevocationGuard, verify};
use crate::ids::Region;

const CENTRAL: u64 = 999_988_887_777;

fn account(number: u64) -> AccountId {
    format!("{number:012}").parse().unwrap()
}

fn accounts(numbers: impl IntoIterator<Item = u64>) -> BTreeSet<AccountId> {
    numbers.into_iter().map(account).collect()
}

fn region() -> Region {
    "eu-west-1".parse().unwrap()
}

fn target() -> Arn {
    "arn:aws:firehose:eu-west-1:999988887777:deliverystream/logs".parse().unwrap()
}

fn role() -> Arn {
    "arn:aws:iam::999988887777:role/ToFirehose".parse().unwrap()
}

fn organization() -> OrganizationId {
    "o-exampleorg1".parse().unwrap()
}

fn arn(name: &str) -> Arn {
    Arn::destination(&region(), account(CENTRAL), &name.parse().unwrap())
}

fn shard(name: &str, policy: Option<&str>) -> Shard {
    Shard { name: name.parse().unwrap(), target: target(), role: role(), policy: PolicyState::read(policy) }
}

fn listing(name: &str, listed: impl IntoIterator<Item = u64>) -> Shard {
    shard(name, Some(&DestinationPolicy::empty().with_accounts(accounts(listed)).render(&arn(name))))
}

fn others(name: &str, principal: &Value) -> Shard {
    let theirs = json!({"Effect": "Allow", "Principal": {"AWS": principal}, "Action": "logs:*", "Resource": "*"});
    shard(name, Some(&json!({"Version": "2012-10-17", "Statement": [theirs]}).to_string()))
}

/// A shard on which statements of others leave room for exactly this many accounts.
fn cramped(name: &str, room: usize, listed: impl IntoIterator<Item = u64>) -> Shard {
    let padded = |bytes: usize| {
        let padding = json!({"Sid": "Padding", "Effect": "Deny", "Resource": "x".repeat(bytes)});
        DestinationPolicy::parse(&json!({"Version": "2012-10-17", "Statement": [padding]}).to_string()).unwrap()
    };
    let bytes = (padded(0).capacity(&arn(name)) - room) * 15;
    let policy = padded(bytes).with_accounts(accounts(listed));
    assert_eq!(padded(bytes).capacity(&arn(name)), room);
    shard(name, Some(&policy.render(&arn(name))))
}

fn region_of(shards: impl IntoIterator<Item = Shard>) -> RegionGrants {
    let naming = ShardNaming::new("Logs".parse().unwrap()).unwrap();
    RegionGrants::new(region(), account(CENTRAL), naming, shards)
}

#[derive(Debug, Clone)]
struct Case {
    observed: RegionGrants,
    wanted: BTreeSet<AccountId>,
    departed: BTreeSet<AccountId>,
    organization: Option<OrganizationId>,
    guard: RevocationGuard,
    consolidate: bool,
}

impl Case {
    fn of(shards: impl IntoIterator<Item = Shard>, wanted: impl IntoIterator<Item = u64>) -> Self {
        Self {
            observed: region_of(shards),
            wanted: accounts(wanted),
            departed: BTreeSet::new(),
            organization: None,
            guard: RevocationGuard { max_share_percent: 10, overridden: false },
            consolidate: true,
        }
    }

    fn departed(self, departed: impl IntoIterator<Item = u64>) -> Self {
        Self { departed: accounts(departed), ..self }
    }

    fn organization(self) -> Self {
        Self { organization: Some(organization()), ..self }
    }

    fn plan(&self) -> GrantPlan {
        plan_grants(&GrantInputs {
            observed: &self.observed,
            organization: self.organization.as_ref(),
            wanted: &self.wanted,
            departed: &self.departed,
            target: &target(),
            role: &role(),
            guard: self.guard,
            consolidate: self.consolidate,
        })
    }

    /// This Region after the plan was carried out.
    fn after(&self, plan: &GrantPlan) -> Self {
        let mut shards: BTreeMap<_, _> =
            self.observed.shards().values().map(|shard| (shard.name.clone(), shard.clone())).collect();
        for write in &plan.writes {
            let before = shards.remove(&write.name);
            assert_eq!(before.is_none(), write.create, "{}", write.name);
            let before = before.map_or(PolicyState::Absent, |shard| shard.policy);
            let policy = write.policy.as_deref().map_or(before, |text| PolicyState::read(Some(text)));
            let written =
                Shard { name: write.name.clone(), target: write.target.clone(), role: write.role.clone(), policy };
            assert_eq!(verify(write, Some(&written)), Ok(()));
            shards.insert(write.name.clone(), written);
        }
        Self { observed: region_of(shards.into_values()), ..self.clone() }
    }
}

fn placed(plan: &GrantPlan, number: u64) -> Option<&str> {
    plan.placement.get(&account(number)).map(DestinationName::as_str)
}

fn written(plan: &GrantPlan) -> Vec<&str> {
    plan.writes.iter().map(|write| write.name.as_str()).collect()
}

/// What our statement on a shard lists after the plan.
fn listed(case: &Case, name: &str) -> BTreeSet<AccountId> {
    match &case.observed.shard(&name.parse().unwrap()).unwrap().policy {
        PolicyState::Parsed(policy) => policy.accounts().clone(),
        other @ (PolicyState::Absent | PolicyState::Unreadable { .. }) => panic!("{other:?}"),
    }
}

#[test]
fn the_first_shard_is_made_when_there_is_somebody_to_grant_and_not_before() {
    assert_eq!(Case::of([], []).plan(), GrantPlan::default());

    let plan = Case::of([], [1, 2]).plan();
    let [write] = plan.writes.as_slice() else { panic!("{:?}", plan.writes) };
    assert!(write.create && !write.repoint && !write.force);
    assert_eq!((write.name.as_str(), &write.target, &write.role), ("Logs", &target(), &role()));
    assert_eq!(write.added, accounts([1, 2]));
    assert_eq!(plan.granted, accounts([1, 2]));
    assert_eq!(placed(&plan, 1), Some("Logs"));
    insta::assert_snapshot!(write.policy.as_deref().unwrap(), @r#"{"Statement":[{"Action":"logs:PutSubscriptionFilter","Effect":"Allow","Principal":{"AWS":["000000000001","000000000002"]},"Resource":"arn:aws:logs:eu-west-1:999988887777:destination:Logs","Sid":"VpcEnroller"}],"Version":"2012-10-17"}"#);
}

#[test]
fn seven_hundred_accounts_take_three_shards_and_one_write_each() {
    let case = Case::of([], 0..700);
    let plan = case.plan();
    assert_eq!(written(&plan), ["Logs", "Logs-2", "Logs-3"]);
    assert!(plan.writes.iter().all(|write| write.policy.as_ref().is_some_and(|text| text.len() <= MAX_POLICY_BYTES)));
    assert_eq!(plan.granted.len(), 700);
    assert!(plan.usage[0].accounts >= 326 && plan.usage[0].room == 0 && plan.usage[0].free_bytes < 15);
    assert_eq!(plan.usage.iter().map(|usage| usage.accounts).sum::<usize>(), 700);
    assert_eq!(case.after(&plan).plan().writes, []);
}

#[test]
fn a_new_account_goes_to_the_first_shard_with_room_and_nobody_moves() {
    let case = Case::of([cramped("Logs", 2, [1, 2]), cramped("Logs-2", 2, [3]), listing("Logs-3", [4])], 1..=6);
    let plan = case.plan();
    assert_eq!(written(&plan), ["Logs-2", "Logs-3"]);
    assert_eq!(placed(&plan, 5), Some("Logs-2"));
    assert_eq!(placed(&plan, 6), Some("Logs-3"));
    assert_eq!(placed(&plan, 4), Some("Logs-3"));
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
        assert_eq!(placed(&plan, 99), Some(expected));
    }
}

#[test]
fn an_account_that_is_merely_not_wanted_any_more_keeps_its_grant() {
    let plan = Case::of([listing("Logs", [1, 2, 3])], [1]).plan();
    assert_eq!(plan.writes, []);
    assert_eq!(placed(&plan, 3), Some("Logs"));
}

#[test]
fn a_departed_account_loses_its_grant_unless_it_is_wanted_again() {
    let case = Case::of([listing("Logs", [1, 2, 3])], [1, 2]).departed([2, 3, 4]);
    let plan = case.plan();
    assert_eq!(plan.revoked, accounts([3]));
    assert_eq!(plan.writes[0].removed, accounts([3]));
    assert_eq!(placed(&plan, 3), None);
    assert_eq!(listed(&case.after(&plan), "Logs"), accounts([1, 2]));
}

#[test]
fn the_last_account_can_depart_though_a_policy_needs_a_statement() {
    let case = Case::of([listing("Logs", [1])], []).departed([1]);
    let plan = case.plan();
    assert!(plan.writes[0].policy.as_deref().unwrap().contains("VpcEnrollerNobody"));
    assert_eq!(listed(&case.after(&plan), "Logs"), accounts([]));
    assert_eq!(case.after(&plan).plan().writes, []);
}

#[test]
fn the_guard_withholds_all_revocations_when_there_are_too_many() {
    for (present, departed, percent, overridden, passes) in [
        (100, 10, 10, false, true),
        (100, 11, 10, false, false),
        (100, 11, 10, true, true),
        (100, 1, 0, false, true),
        (100, 2, 0, false, false),
        (1, 1, 10, false, true),
        (5, 2, 10, false, false),
        (19, 2, 10, false, false),
        (20, 2, 10, false, true),
        (100, 100, 100, false, true),
    ] {
        let mut case = Case::of([listing("Logs", 0..present)], []).departed(0..departed);
        case.guard = RevocationGuard { max_share_percent: percent, overridden };
        let plan = case.plan();
        let (revoked, withheld) = if passes { (departed, 0) } else { (0, departed) };
        assert_eq!(plan.revoked, accounts(0..revoked), "{departed} of {present} at {percent} %");
        assert_eq!(plan.withheld, accounts(0..withheld), "{departed} of {present} at {percent} %");
        assert_eq!(plan.writes.is_empty(), !passes);
    }
}

#[test]
fn an_account_on_several_shards_stays_on_the_first_of_them() {
    let case = Case::of([listing("Logs", [1]), listing("Logs-2", [1, 2]), listing("Logs-3", [2, 3])], [1, 2, 3]);
    let plan = case.plan();
    assert_eq!(plan.doubled, accounts([1, 2]));
    assert_eq!((placed(&plan, 1), placed(&plan, 2)), (Some("Logs"), Some("Logs-2")));
    assert_eq!(listed(&case.after(&plan), "Logs-2"), accounts([2]));
    assert_eq!(listed(&case.after(&plan), "Logs-3"), accounts([3]));

    let careful = Case { consolidate: false, ..case }.plan();
    assert_eq!(careful.writes, []);
    assert_eq!((&careful.doubled, &careful.placement), (&plan.doubled, &plan.placement));
}

#[test]
fn an_account_that_others_let_in_is_granted_and_not_listed_twice() {
    let case = Case::of([others("Logs", &json!(["000000000001", "arn:aws:iam::000000000002:root"]))], [1, 2, 3]);
    let plan = case.plan();
    assert_eq!(plan.granted, accounts([3]));
    assert_eq!(placed(&plan, 2), Some("Logs"));
    assert_eq!(plan.writes[0].added, accounts([3]));
    assert!(!plan.placement.is_listed(&account(2)) && plan.placement.is_listed(&account(3)));
}

#[test]
fn a_departed_account_that_others_let_in_is_theirs_to_remove() {
    let plan = Case::of([others("Logs", &json!("000000000001"))], []).departed([1]).plan();
    assert_eq!(plan.writes, []);
    let expected = GrantProblem::DepartedNamedByOthers { account: account(1), shard: "Logs".parse().unwrap() };
    assert_eq!(plan.problems, [expected]);
}

#[test]
fn an_unreadable_policy_is_left_alone_and_those_it_mentions_are_not_placed_twice() {
    let text = format!(r#"{{"Statement":[{{"Principal":"000000000001","Resource":"{}"}},7]}}"#, arn("Logs"));
    let mut broken = shard("Logs", Some(&text));
    broken.target = role();
    let case = Case::of([broken, listing("Logs-2", [2])], [1, 2, 3, CENTRAL]);
    let plan = case.plan();
    assert!(
        matches!(plan.problems.as_slice(), [GrantProblem::UnreadablePolicy { shard, .. }] if shard.as_str() == "Logs")
    );
    assert_eq!(written(&plan), ["Logs-2"]);
    assert_eq!((placed(&plan, 1), placed(&plan, 2), placed(&plan, 3)), (Some("Logs"), Some("Logs-2"), Some("Logs-2")));
    assert_eq!(placed(&plan, CENTRAL), Some("Logs-2"));
    assert_eq!((plan.usage[0].bytes, plan.usage[0].room), (text.len(), 0));
}

#[test]
fn a_shard_that_aims_elsewhere_is_repointed_without_touching_its_policy() {
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
    let mended = |bytes: usize| DestinationPolicy::parse(&document(bytes)).unwrap().bytes(&arn("Logs"));
    for (bytes, put) in [(MAX_POLICY_BYTES, true), (MAX_POLICY_BYTES + 1, false)] {
        let plan = Case::of([shard("Logs", Some(&document(bytes - mended(0))))], [1]).plan();
        let lengths: Vec<usize> = plan.writes.iter().filter_map(|write| Some(write.policy.as_ref()?.len())).collect();
        assert_eq!((lengths, plan.problems.is_empty()), (vec![bytes; usize::from(put)], put));
    }
}

#[test]
fn a_policy_that_would_be_too_long_is_reported_and_not_put() {
    // Ours, without the resource it needs, beside as much of others as fits: mending it does not fit.
    let ours = json!({"Sid": "VpcEnroller", "Effect": "Allow", "Principal": {"AWS": ["000000000001", "000000000002"]}});
    let document =
        |bytes: usize| json!({"Statement": [ours, {"Effect": "Deny", "Resource": "x".repeat(bytes)}]}).to_string();
    let full = document(MAX_POLICY_BYTES - document(0).len());
    let plan = Case::of([shard("Logs", Some(&full))], [1, 3]).departed([2]).plan();
    assert!(
        matches!(plan.problems.as_slice(), [GrantProblem::PolicyTooLong { bytes, .. }] if *bytes > MAX_POLICY_BYTES)
    );
    assert_eq!(written(&plan), ["Logs-2"]);
    assert_eq!((placed(&plan, 1), placed(&plan, 3)), (Some("Logs"), Some("Logs-2")));
    assert_eq!(plan.revoked, accounts([]));
}

#[test]
fn an_organization_is_named_on_the_first_shard_and_covers_everybody_else() {
    let case = Case::of([], [1]).organization();
    let plan = case.plan();
    assert_eq!(written(&plan), ["Logs"]);
    assert!(plan.writes[0].create && !plan.writes[0].force);
    assert_eq!((placed(&plan, 1), placed(&plan, 77)), (Some("Logs"), Some("Logs")));
    assert_eq!(plan.granted, accounts([1]));

    let later = Case { wanted: accounts([1, 2]), ..case.after(&plan) };
    assert_eq!(later.plan().writes, []);
    assert_eq!(placed(&later.plan(), 2), Some("Logs"));
    assert_eq!(later.observed.placement(None).get(&account(2)), None);
}

#[test]
fn the_change_to_an_organization_is_forced_and_loses_nobody() {
    let first = others("Logs", &json!("000000000009"));
    let PolicyState::Parsed(policy) = &first.policy else { panic!() };
    let first = shard("Logs", Some(&policy.with_accounts(accounts([1, 2, 8])).render(&arn("Logs"))));
    let case = Case::of([first, listing("Logs-2", [3])], [1, 2, 3]).organization();
    let plan = case.plan();
    assert_eq!(written(&plan), ["Logs"]);
    assert!(plan.writes[0].force);
    assert_eq!(plan.writes[0].removed, accounts([1, 2]));
    assert_eq!((placed(&plan, 1), placed(&plan, 3), placed(&plan, 9)), (Some("Logs"), Some("Logs-2"), Some("Logs")));
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
fn an_unreadable_policy_lets_an_organization_in_if_it_mentions_it() {
    for (text, home) in [("[\"o-exampleorg1\"]", Some("Logs")), ("[\"o-exampleorg2\"]", None)] {
        let case = Case::of([shard("Logs", Some(text))], [1]).organization();
        let plan = case.plan();
        assert_eq!((plan.writes.len(), placed(&plan, 1)), (0, home), "{text}");
        let found = case.observed.placement(Some(&organization()));
        assert_eq!(found.get(&account(1)).map(DestinationName::as_str), home, "{text}");
    }
}

#[test]
fn usage_tells_how_much_of_a_policy_is_taken() {
    let empty = Case::of([shard("Logs", None)], []).plan().usage.remove(0);
    assert_eq!((empty.accounts, empty.bytes, empty.free_bytes), (0, 0, MAX_POLICY_BYTES));
    assert!(empty.room >= 300, "{}", empty.room);
    let case = Case::of([shard("Logs", None)], [1, 2]);
    let plan = case.plan();
    let length = plan.writes[0].policy.as_ref().unwrap().len();
    assert_eq!(
        (plan.usage[0].accounts, plan.usage[0].bytes, plan.usage[0].free_bytes),
        (2, length, MAX_POLICY_BYTES - length)
    );
    assert_eq!(plan.usage[0].room, empty.room - 2);
    assert_eq!(case.organization().plan().usage[0].room, 0);
}

#[test]
fn another_organization_is_replaced_only_when_a_person_says_so() {
    let other = DestinationPolicy::empty().with_organization(Some("o-exampleorg2".parse().unwrap()));
    let mut case = Case::of([shard("Logs", Some(&other.render(&arn("Logs"))))], [1]).organization();
    let plan = case.plan();
    assert_eq!((plan.writes.len(), placed(&plan, 1)), (0, None));
    assert!(
        matches!(plan.problems.as_slice(), [GrantProblem::OtherOrganization { found, .. }] if found.as_str() == "o-exampleorg2")
    );
    case.guard.overridden = true;
    assert_eq!(placed(&case.plan(), 1), Some("Logs"));
}

#[test]
fn no_account_is_listed_where_every_filter_needs_a_role() {
    let named = DestinationPolicy::empty().with_organization(Some(organization()));
    let plan = Case::of([shard("Logs", Some(&named.render(&arn("Logs"))))], [1]).plan();
    assert_eq!(plan.problems, [GrantProblem::DemandsFilterRoles { shard: "Logs".parse().unwrap() }]);
    assert_eq!((written(&plan), placed(&plan, 1)), (vec!["Logs-2"], Some("Logs-2")));
}

/// Shards as they may be found: little room, statements of others, doubles, gaps, no policy, unreadable ones.
fn any_shards() -> impl Strategy<Value = Vec<Shard>> {
    let ids = || prop::collection::btree_set(0u64..24, 0..6);
    let kind = prop_oneof![
        4 => (0usize..8, ids()).prop_map(|(room, listed)| (0, room.max(listed.len()), listed)),
        1 => ids().prop_map(|named| (1, 0, named)),
        1 => Just((2, 0, BTreeSet::new())),
        1 => ids().prop_map(|mentioned| (3, 0, mentioned)),
    ];
    prop::collection::btree_map(1u32..6, kind, 0..5).prop_map(|found| {
        let shard_of = |(index, (kind, room, ids)): (u32, (u8, usize, BTreeSet<u64>))| {
            let name = if index == 1 { "Logs".to_owned() } else { format!("Logs-{index}") };
            let names = json!(accounts(ids.clone()));
            match kind {
                0 => cramped(&name, room, ids),
                1 if ids.is_empty() => shard(&name, None),
                1 => others(&name, &names),
                2 => shard(&name, None),
                _ => shard(&name, Some(&names.to_string())),
            }
        };
        found.into_iter().map(shard_of).collect()
    })
}

fn any_case() -> impl Strategy<Value = Case> {
    let ids = || prop::collection::btree_set(0u64..40, 0..30);
    (any_shards(), ids(), ids(), any::<bool>(), any::<bool>(), any::<bool>(), 0u8..=100).prop_map(
        |(shards, wanted, departed, organization_mode, overridden, consolidate, max_share_percent)| Case {
            organization: organization_mode.then(organization),
            guard: RevocationGuard { max_share_percent, overridden },
            consolidate,
            ..Case::of(shards, wanted).departed(departed)
        },
    )
}

/// The shards that list an account in our statement.
fn homes(case: &Case, account: AccountId) -> Vec<&DestinationName> {
    let lists =
        |shard: &&Shard| matches!(&shard.policy, PolicyState::Parsed(policy) if policy.accounts().contains(&account));
    case.observed.shards().values().filter(lists).map(|shard| &shard.name).collect()
}

fn foreign_of(case: &Case) -> Vec<(DestinationName, Vec<Value>)> {
    let foreign = |text: &str| {
        let document: Value = serde_json::from_str(text).unwrap();
        let statements = document["Statement"].as_array().unwrap().iter();
        statements.filter(|s| !s["Sid"].as_str().is_some_and(|sid| sid.starts_with("VpcEnroller"))).cloned().collect()
    };
    let parsed = case.observed.shards().values().filter_map(|shard| match &shard.policy {
        PolicyState::Parsed(policy) => Some((shard.name.clone(), foreign(&policy.render(&arn(shard.name.as_str()))))),
        PolicyState::Absent | PolicyState::Unreadable { .. } => None,
    });
    parsed.filter(|(_, statements): &(_, Vec<Value>)| !statements.is_empty()).collect()
}

proptest! {
    #[test]
    fn whatever_is_found_the_plan_is_sound_and_leaves_nothing_to_do(case in any_case()) {
        let plan = case.plan();
        let after = case.after(&plan);

        let again = after.plan();
        prop_assert_eq!(&again.granted, &BTreeSet::new());
        prop_assert!(again.revoked.is_subset(&plan.withheld));
        // What was withheld can pass once the same run's additions are counted as present.
        if again.revoked.is_empty() {
            prop_assert_eq!(&again.writes, &[]);
            prop_assert_eq!(&again.placement, &plan.placement);
        }
        prop_assert_eq!(after.observed.placement(case.organization.as_ref()), plan.placement.clone());

        let sizes: Vec<_> = plan.writes.iter().filter_map(|write| Some(write.policy.as_ref()?.len())).collect();
        prop_assert!(sizes.iter().all(|bytes| *bytes <= MAX_POLICY_BYTES), "{:?}", sizes);
        prop_assert_eq!(foreign_of(&after), foreign_of(&case));

        // Where the organization cannot be named, a problem says so.
        let stuck = |problem: &GrantProblem| !matches!(problem, GrantProblem::DepartedNamedByOthers { .. });
        let excused = case.organization.is_some() && plan.problems.iter().any(stuck);
        for account in &case.wanted {
            prop_assert!(plan.placement.get(account).is_some() || excused);
            if case.consolidate {
                prop_assert!(homes(&after, *account).len() <= 1);
            }
        }
        let gone: BTreeSet<_> = case.departed.difference(&case.wanted).copied().collect();
        for account in (0..40).map(account) {
            let (old, new) = (homes(&case, account), homes(&after, account));
            if plan.revoked.contains(&account) {
                prop_assert!(gone.contains(&account) && new.is_empty());
            } else if case.organization.is_none() && !old.is_empty() {
                // Nobody moves: the first of the shards that listed it still does.
                prop_assert_eq!(new.first(), old.first());
                prop_assert_eq!(plan.placement.get(&account), old.first().copied());
            } else if !old.is_empty() {
                prop_assert!(plan.placement.get(&account).is_some());
            }
        }
        prop_assert!(plan.revoked.is_empty() || plan.withheld.is_empty());
    }

    #[test]
    fn in_whatever_order_accounts_arrive_nobody_moves_and_all_are_on_one_shard(
        arrivals in prop::collection::vec(prop::collection::btree_set(0u64..60, 1..12), 1..12),
        rooms in prop::collection::vec(0usize..9, 0..4),
    ) {
        let names = ["Logs", "Logs-2", "Logs-4", "Logs-5"];
        let mut case = Case::of(rooms.iter().zip(names).map(|(room, name)| cramped(name, *room, [])), []);
        let mut placed: BTreeMap<AccountId, DestinationName> = BTreeMap::new();
        for batch in arrivals {
            case.wanted.extend(accounts(batch));
            let plan = case.plan();
            for (account, name) in &placed {
                prop_assert_eq!(plan.placement.get(account), Some(name));
            }
            case = case.after(&plan);
            for account in &case.wanted {
                prop_assert_eq!(homes(&case, *account).len(), 1);
            }
            placed.clone_from(plan.placement.named());
        }
        prop_assert_eq!(placed.len(), case.wanted.len());
    }
}

#[test]
fn a_write_that_adds_fewer_accounts_keeps_everything_else() {
    let plan = Case::of([listing("Logs", [1, 2])], 1..=6).plan();
    let write = plan.writes[0].adding_only(&accounts([2, 3, 5, 9])).unwrap();
    assert_eq!(write.added, accounts([3, 5]));
    let policy = DestinationPolicy::parse(write.policy.as_ref().unwrap()).unwrap();
    assert_eq!(policy.accounts(), &accounts([1, 2, 3, 5]));
    assert_eq!(ShardWrite { policy: plan.writes[0].policy.clone(), added: accounts(3..=6), ..write }, plan.writes[0]);
}
