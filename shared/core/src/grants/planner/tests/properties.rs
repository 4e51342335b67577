//! Properties that hold for every state of a Region, and for accounts in every order.

use proptest::prelude::*;

use super::*;

/// Shards in every state: with little room, unmanaged statements, duplicates, gaps, no policy, unreadable policies.
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
            guard: RevocationGuard { overridden, ..RevocationGuard::of_share(max_share_percent) },
            consolidate,
            ..Case::of(shards, wanted).departed(departed)
        },
    )
}

/// The shards that list an account in the managed statement.
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
    fn every_plan_is_sound_and_leaves_nothing_to_do(case in any_case()) {
        let plan = case.plan();
        let after = case.after(&plan);

        let again = after.plan();
        prop_assert_eq!(&again.granted, &BTreeSet::new());
        prop_assert!(again.revoked.is_subset(&plan.withheld));
        // What was withheld can pass once the same run's additions are counted as present.
        if again.revoked.is_empty() {
            prop_assert_eq!(&again.writes, &[]);
            prop_assert_eq!(&again.assignments, &plan.assignments);
        }
        prop_assert_eq!(after.observed.assignments(case.organization.as_ref()), plan.assignments.clone());

        let sizes: Vec<_> = plan.writes.iter().filter_map(|write| Some(write.document()?.len())).collect();
        prop_assert!(sizes.iter().all(|bytes| *bytes <= MAX_POLICY_BYTES), "{:?}", sizes);
        prop_assert_eq!(foreign_of(&after), foreign_of(&case));

        // Where the organization cannot be named, a problem is reported.
        let stuck = |problem: &GrantProblem| {
            !matches!(problem, GrantProblem::DepartedNamedByOthers { .. } | GrantProblem::DeniedByOthers { .. })
        };
        let excused = case.organization.is_some() && plan.problems.iter().any(stuck);
        for account in &case.wanted {
            prop_assert!(plan.assignments.get(account).is_some() || excused);
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
                prop_assert_eq!(plan.assignments.get(&account), old.first().copied());
            } else if !old.is_empty() {
                prop_assert!(plan.assignments.get(&account).is_some());
            }
        }
        prop_assert!(plan.revoked.is_empty() || plan.withheld.is_empty());
    }

    #[test]
    fn accounts_in_any_order_never_move_and_end_on_one_shard_each(
        arrivals in prop::collection::vec(prop::collection::btree_set(0u64..60, 1..12), 1..12),
        rooms in prop::collection::vec(0usize..9, 0..4),
    ) {
        let names = ["Logs", "Logs-2", "Logs-4", "Logs-5"];
        let mut case = Case::of(rooms.iter().zip(names).map(|(room, name)| cramped(name, *room, [])), []);
        let mut assigned: BTreeMap<AccountId, DestinationName> = BTreeMap::new();
        for batch in arrivals {
            case.wanted.extend(accounts(batch));
            let plan = case.plan();
            for (account, name) in &assigned {
                prop_assert_eq!(plan.assignments.get(account), Some(name));
            }
            case = case.after(&plan);
            for account in &case.wanted {
                prop_assert_eq!(homes(&case, *account).len(), 1);
            }
            assigned.clone_from(plan.assignments.named());
        }
        prop_assert_eq!(assigned.len(), case.wanted.len());
    }
}
