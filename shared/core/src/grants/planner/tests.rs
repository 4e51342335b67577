//! The states a Region can be in, and the plans for them.

mod accounts;
mod organization;
mod policies;
mod properties;

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

/// A shard on which unmanaged statements leave room for exactly this many accounts.
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
    RegionGrants::new(region(), account(CENTRAL), naming, shards).delivering_to(&target(), &role())
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
            guard: RevocationGuard::of_share(10),
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

    /// This Region after the plan was applied.
    fn after(&self, plan: &GrantPlan) -> Self {
        let mut shards: BTreeMap<_, _> =
            self.observed.shards().values().map(|shard| (shard.name.clone(), shard.clone())).collect();
        for write in &plan.writes {
            let before = shards.remove(&write.name);
            assert_eq!(before.is_none(), write.create, "{}", write.name);
            let before = before.map_or(PolicyState::Absent, |shard| shard.policy);
            let policy = write.document().as_deref().map_or(before, |text| PolicyState::read(Some(text)));
            let written =
                Shard { name: write.name.clone(), target: write.target.clone(), role: write.role.clone(), policy };
            assert_eq!(verify(write, Some(&written)), Ok(()));
            shards.insert(write.name.clone(), written);
        }
        Self { observed: region_of(shards.into_values()), ..self.clone() }
    }
}

fn assigned(plan: &GrantPlan, number: u64) -> Option<&str> {
    plan.assignments.get(&account(number)).map(DestinationName::as_str)
}

fn written(plan: &GrantPlan) -> Vec<&str> {
    plan.writes.iter().map(|write| write.name.as_str()).collect()
}

/// The accounts in a shard's managed statement after the plan.
fn listed(case: &Case, name: &str) -> BTreeSet<AccountId> {
    match &case.observed.shard(&name.parse().unwrap()).unwrap().policy {
        PolicyState::Parsed(policy) => policy.accounts().clone(),
        other @ (PolicyState::Absent | PolicyState::Unreadable { .. }) => panic!("{other:?}"),
    }
}
