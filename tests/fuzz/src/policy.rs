//! A destination's access policy, read, changed and written as the grants' planner does it.
//!
//! What must hold: no text makes the reader panic. What is not ours is written back as the JSON it was. What was
//! rendered is read as it was meant and needs no put. An account that is listed and taken off again leaves nothing
//! behind. No plan puts a document that AWS would refuse for its length, and planning again writes nothing.

use std::collections::BTreeSet;

use enroller_core::arn::Arn;
use enroller_core::grants::{
    GrantInputs, GrantPlan, PolicyState, RegionGrants, RevocationGuard, Shard, ShardNaming, ShardWrite, plan_grants,
    verify,
};
use enroller_core::ids::{AccountId, OrganizationId};
use enroller_core::policy::destination::{ACCOUNTS_SID, ORGANIZATION_SID, PLACEHOLDER_SID};
use enroller_core::policy::{DestinationPolicy, MAX_POLICY_BYTES, equivalent};
use serde_json::Value;

/// Reads the bytes as a policy, changes it and plans with it.
///
/// # Panics
///
/// When a promise is broken. AWS answers in nothing but Unicode, so other bytes are passed over.
pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    plan(text, None);
    plan(text, Some(&organization()));
    let Ok(policy) = DestinationPolicy::parse(text) else { return };
    keeps_what_is_not_ours(text, &policy);
    reads_what_it_renders(&policy);
    forgets_whom_it_takes_off(&policy);
    fits(&policy);
}

fn account(number: u64) -> AccountId {
    format!("{number:012}").parse().expect("twelve digits")
}

fn organization() -> OrganizationId {
    "o-exampleorg1".parse().expect("an organization's id")
}

fn arn() -> Arn {
    "arn:aws:logs:eu-west-1:999988887777:destination:Logs".parse().expect("a destination's ARN")
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).expect("it is JSON")
}

/// The statements that are not ours and the members beside them.
fn foreign(mut document: Value) -> (Vec<Value>, Value) {
    let statements = match document["Statement"].take() {
        Value::Array(statements) => statements,
        single => vec![single],
    };
    let sid = |statement: &Value| statement["Sid"].as_str().map(str::to_owned);
    let ours = |sid: &str| [ACCOUNTS_SID, ORGANIZATION_SID, PLACEHOLDER_SID].contains(&sid);
    (statements.into_iter().filter(|it| !sid(it).is_some_and(|sid| ours(&sid))).collect(), document)
}

fn keeps_what_is_not_ours(text: &str, policy: &DestinationPolicy) {
    let theirs = foreign(json(text));
    assert_eq!(policy.foreign_statements(), theirs.0.len());
    let others = policy.with_accounts(BTreeSet::from([account(1), account(2)])).with_organization(Some(organization()));
    for changed in [policy, &others] {
        assert_eq!(foreign(json(&changed.render(&arn()))), theirs);
        assert!(changed.same_foreign_statements(policy));
    }
}

fn reads_what_it_renders(policy: &DestinationPolicy) {
    let rendered = policy.render(&arn());
    assert_eq!(rendered.len(), policy.bytes(&arn()));
    let read = DestinationPolicy::parse(&rendered).expect("what we write is read");
    assert_eq!(read.accounts(), policy.accounts());
    assert_eq!(read.organization(), policy.organization());
    assert!(!read.needs_put(&arn()), "{rendered}");
    assert_eq!(read.render(&arn()), rendered);
    for listed in policy.accounts() {
        assert!(policy.allows(*listed, None, &arn()) || policy.foreign_statements() > 0);
    }
}

fn forgets_whom_it_takes_off(policy: &DestinationPolicy) {
    let before = policy.accounts().clone();
    let newcomer = (0..).map(account).find(|account| !before.contains(account)).expect("accounts do not run out");
    let mut with = before.clone();
    with.insert(newcomer);
    let granted = DestinationPolicy::parse(&policy.with_accounts(with).render(&arn())).expect("what we write is read");
    assert!(granted.accounts().contains(&newcomer));
    let again = granted.with_accounts(before).render(&arn());
    assert_eq!(again, policy.render(&arn()));
    assert!(equivalent(&json(&again), &json(&policy.render(&arn()))));
}

fn fits(policy: &DestinationPolicy) {
    let capacity = policy.capacity(&arn()) as u64;
    let bytes = |count| policy.with_accounts((0..count).map(account).collect()).bytes(&arn());
    assert!(bytes(capacity + 1) > MAX_POLICY_BYTES);
    assert!(capacity == 0 || bytes(capacity) <= MAX_POLICY_BYTES);
}

/// Plans with the text as the first shard's policy, as an event does it and as the sweep does, and plans again.
fn plan(text: &str, organization: Option<&OrganizationId>) {
    let wanted: BTreeSet<AccountId> = [account(111_122_223_333), account(5)].into();
    let departed = BTreeSet::from([account(444_455_556_666)]);
    let (target, role) = (
        "arn:aws:firehose:eu-west-1:999988887777:deliverystream/logs".parse().expect("a stream's ARN"),
        "arn:aws:iam::999988887777:role/ToFirehose".parse().expect("a role's ARN"),
    );
    let shard = |write: &ShardWrite| Shard {
        name: write.name.clone(),
        target: write.target.clone(),
        role: write.role.clone(),
        policy: PolicyState::read(write.document().as_deref()),
    };
    let region = |shards: Vec<Shard>| {
        let naming = ShardNaming::new("Logs".parse().expect("a destination's name")).expect("a short name");
        RegionGrants::new("eu-west-1".parse().expect("a Region"), account(999_988_887_777), naming, shards)
    };
    let run = |observed: &RegionGrants| -> GrantPlan {
        plan_grants(&GrantInputs {
            observed,
            organization,
            wanted: &wanted,
            departed: &departed,
            target: &target,
            role: &role,
            guard: RevocationGuard::of_share(10),
            consolidate: true,
        })
    };
    let policy = PolicyState::read(Some(text));
    let unreadable = matches!(policy, PolicyState::Unreadable { .. });
    let first = Shard {
        name: "Logs".parse().expect("a destination's name"),
        target: target.clone(),
        role: role.clone(),
        policy,
    };
    let planned = run(&region(vec![first.clone()]));
    let mut shards = vec![first];
    for write in &planned.writes {
        assert!(write.document().is_none_or(|policy| policy.len() <= MAX_POLICY_BYTES), "{write:?}");
        assert!(!(unreadable && write.arn == arn()), "a policy that cannot be read is left alone");
        assert_eq!(verify(write, Some(&shard(write))), Ok(()));
        shards.retain(|shard| shard.name != write.name);
        shards.push(shard(write));
    }
    if organization.is_none() {
        assert!(wanted.iter().all(|account| planned.assignments.get(account).is_some()), "{planned:?}");
    }
    let again = run(&region(shards));
    // What the guard withheld may pass when the grants have grown.
    if planned.withheld.is_empty() {
        assert_eq!(again.writes, []);
        // What was edited is in doubt until it is written.
        assert_eq!(again.assignments.named(), planned.assignments.named());
    }
}
