//! Grants while other principals write the same policies. PutDestinationPolicy replaces a whole document
//! unconditionally, so everything depends on when the onboarder reads.

#![cfg(test)]

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use enroller_core::arn::Arn;
use enroller_core::ids::Region;
use enroller_core::names::DestinationName;
use enroller_engine::granter::batch::GrantQueue;
use enroller_engine::granter::{DestinationWriter, WriterPermit};
use enroller_engine::ports::AwsResult;
use enroller_lab::Lab;
use enroller_lab::people::Person;
use enroller_sim::events::DeliverySettings;
use enroller_sim::{FaultKind, FaultRule, NewAccount, Service, When, World};
use enroller_tests::chaos::{add_statement, edit_policies};
use enroller_tests::state::statements;
use enroller_tests::{DAY_MS, assert_all_covered, audit_of, ordinary_member, refused_policies, settled};
use futures::future::join;
use serde_json::json;
use tokio::sync::oneshot;

const IRELAND: &str = "eu-west-1";

/// Adds this many accounts with their stacks. Returns their ids.
fn join_accounts(lab: &Lab, count: usize) -> Vec<String> {
    let one = |number: usize| {
        let new = NewAccount { name: format!("team-{number}"), ..NewAccount::default() };
        let account = lab.sim.with(|world| world.create_account(&new)).unwrap();
        lab.stacks.deploy_member(&account).unwrap();
        account
    };
    (0..count).map(one).collect()
}

/// `Sid`s of the unmanaged statements on any shard.
fn foreign(lab: &Lab) -> BTreeSet<String> {
    let central = lab.sim.central();
    lab.sim.with(|world| {
        let all: Vec<_> = world.logs.destinations(&central, IRELAND).cloned().collect();
        let sid = |statement: serde_json::Value| statement["Sid"].as_str().unwrap_or_default().to_owned();
        all.iter().flat_map(|it| statements(it).1).map(sid).collect()
    })
}

fn assert_all_granted(lab: &Lab) {
    let audit = audit_of(lab);
    assert!(audit.misassigned().is_empty(), "{:#?}", audit.misassigned());
    assert_eq!(refused_policies(lab), 0);
}

/// Adds an unmanaged statement to every policy that has room for it, after the given call of an operation.
fn edit_after(lab: &Lab, call: u64, service: Service, operation: &str, number: u32) {
    let central = lab.sim.central();
    let hook = FaultKind::HookAfter(Arc::new(move |world: &mut World, _| {
        edit_policies(world, &central, IRELAND, |statements, arn| add_statement(statements, arn, number));
    }));
    lab.sim.arm(FaultRule::new(hook).on(service, operation).at(When::Nth(call)));
}

#[tokio::test]
async fn a_thousand_accounts_are_granted_while_policies_are_edited() {
    let lab = settled(2, &[IRELAND], 0).await;
    join_accounts(&lab, 1_000);
    // Right after the onboarder has read the policies, while it requests the enrollments, and after it has written the
    // last shard, which is the only one with room by then.
    edit_after(&lab, 1, Service::Logs, "DescribeDestinations", 1);
    edit_after(&lab, 50, Service::Sqs, "SendMessageBatch", 2);
    edit_after(&lab, 4, Service::Logs, "PutDestinationPolicy", 3);
    lab.settle(DAY_MS).await.unwrap();
    assert_all_granted(&lab);
    assert_eq!(audit_of(&lab).account_regions.len(), 1_002);
    assert_eq!(foreign(&lab), ["Theirs1", "Theirs2", "Theirs3"].map(str::to_owned).into());
}

#[tokio::test]
async fn an_outdated_policy_put_over_the_new_one_is_repaired() {
    let lab = settled(2, &[IRELAND], 0).await;
    let central = lab.sim.central();
    let outdated = lab.sim.with(|world| world.logs.destinations(&central, IRELAND).next().cloned()).unwrap();
    join_accounts(&lab, 50);
    let mut document: serde_json::Value = serde_json::from_str(outdated.access_policy.as_deref().unwrap()).unwrap();
    add_statement(document["Statement"].as_array_mut().unwrap(), &outdated.arn, 1);
    let policy = document.to_string();
    let put = FaultKind::HookAfter(Arc::new(move |world, _| {
        world.put_destination_policy(&central, IRELAND, &outdated.name, &policy).unwrap();
    }));
    lab.sim.arm(FaultRule::new(put).on(Service::Logs, "PutDestinationPolicy").at(When::First(2)));
    lab.settle(DAY_MS).await.unwrap();
    assert_all_granted(&lab);
    assert_eq!(foreign(&lab), ["Theirs1".to_owned()].into());
}

/// Destinations whose first write waits, before or after it takes effect, until it is released.
struct Gate {
    inner: Arc<dyn DestinationWriter>,
    after: bool,
    opened: Mutex<Option<oneshot::Receiver<()>>>,
}

#[async_trait]
impl DestinationWriter for Gate {
    async fn put_destination(
        &self,
        permit: &WriterPermit,
        at: &Region,
        name: &DestinationName,
        to: &Arn,
        role: &Arn,
    ) -> AwsResult<()> {
        self.inner.put_destination(permit, at, name, to, role).await
    }
    async fn put_policy(
        &self,
        permit: &WriterPermit,
        at: &Region,
        name: &DestinationName,
        policy: &str,
        force: bool,
    ) -> AwsResult<()> {
        let opened = self.opened.lock().unwrap().take();
        let put = self.inner.put_policy(permit, at, name, policy, force);
        if self.after {
            put.await?;
            if let Some(opened) = opened {
                opened.await.unwrap();
            }
            return Ok(());
        }
        if let Some(opened) = opened {
            opened.await.unwrap();
        }
        put.await
    }
}

/// A second onboarder, and what lets its first write go on.
fn gated(lab: &Lab, after: bool) -> (GrantQueue, oneshot::Sender<()>) {
    let operator = lab.operator(Arc::clone(&lab.recording) as _);
    let (open, opened) = oneshot::channel();
    let writer = Arc::new(Gate { inner: operator.writer, after, opened: Mutex::new(Some(opened)) });
    (account_onboarder::worker(operator.context, &operator.ports, writer).unwrap(), open)
}

/// Runs two onboarders at once. The first is held at its first write while 10 more accounts join, which the second one
/// grants.
async fn two_at_once(after: bool) -> Lab {
    let lab = settled(2, &[IRELAND], 0).await;
    join_accounts(&lab, 10);
    let (first, open) = gated(&lab, after);
    let sync = lab.invocation(json!({"kind": "sync-request", "version": 1, "reason": "first"}));
    let slow = async { account_onboarder::handle(&first, sync).await.unwrap() };
    let quick = async {
        join_accounts(&lab, 10);
        let sync = lab.invocation(json!({"kind": "sync-request", "version": 1, "reason": "second"}));
        lab.onboard(sync).await.unwrap();
        open.send(()).unwrap();
    };
    lab.drive(join(slow, quick)).await;
    lab
}

#[tokio::test]
async fn of_two_onboarders_the_one_that_reads_back_last_repairs_grants() {
    let lab = two_at_once(true).await;
    assert_all_granted(&lab);
}

#[tokio::test]
async fn grants_lost_to_a_late_write_are_restored_by_the_next_batch() {
    let lab = two_at_once(false).await;
    assert_eq!(audit_of(&lab).misassigned().len(), 10, "AWS has no conditional put, so the later write wins");
    lab.settle(DAY_MS).await.unwrap();
    assert_all_granted(&lab);
}

#[tokio::test]
async fn grants_lost_to_a_late_write_are_restored_by_a_sweep() {
    let mut lab = two_at_once(false).await;
    lab.cold_start().unwrap();
    for queue in ["grants.fifo", "enrollments"] {
        for message in lab.sim.receive(&lab.url(queue), 1_000).unwrap() {
            lab.sim.delete(&lab.url(queue), &message.receipt_handle).unwrap();
        }
    }
    assert_eq!(audit_of(&lab).misassigned().len(), 10);
    lab.sweep(json!({})).await.unwrap();
    lab.settle(DAY_MS).await.unwrap();
    assert_all_granted(&lab);
    assert_all_covered(&lab);
}

/// Lag of `ListAccounts` in the tests below, in milliseconds.
const LAG_MS: u64 = 600_000;

async fn settled_with_lag(accounts: usize) -> Lab {
    let lab = settled(accounts, &[IRELAND], 0).await;
    lab.sim.with(|world| world.settings.listing_lag_ms = LAG_MS);
    lab
}

#[tokio::test]
async fn an_account_that_left_is_not_granted_again_by_an_old_listing() {
    let lab = settled_with_lag(4).await;
    let account = ordinary_member(&lab);
    lab.sim.with(|world| world.leave(&account)).unwrap();
    lab.settle(60_000).await.unwrap();
    assert!(audit_of(&lab).strangers.is_empty());
    join_accounts(&lab, 1);
    lab.settle(120_000).await.unwrap();
    assert_all_granted(&lab);
    assert!(audit_of(&lab).strangers.is_empty(), "a message about another account has granted it again");
    lab.sim.advance(LAG_MS);
    lab.sweep(json!({})).await.unwrap();
    lab.settle(DAY_MS).await.unwrap();
    assert!(audit_of(&lab).strangers.is_empty());
}

#[tokio::test]
async fn a_closed_account_is_not_granted_again_by_an_old_listing() {
    let lab = settled_with_lag(4).await;
    let account = ordinary_member(&lab);
    lab.sim.with(|world| world.close(&account).and_then(|()| world.finish_closing(&account))).unwrap();
    lab.settle(60_000).await.unwrap();
    assert_eq!(audit_of(&lab).strangers, BTreeSet::new());
    join_accounts(&lab, 1);
    lab.settle(120_000).await.unwrap();
    assert_eq!(audit_of(&lab).strangers, BTreeSet::new());
}

#[tokio::test]
async fn an_account_that_rejoined_is_granted() {
    let lab = settled_with_lag(4).await;
    let account = ordinary_member(&lab);
    lab.sim.with(|world| world.leave(&account)).unwrap();
    lab.settle(60_000).await.unwrap();
    // Longer than a listing is cached. The next listing still has the account as it was before it left.
    lab.sim.advance(120_000);
    lab.sim.with(|world| world.accept_invitation(&account)).unwrap();
    lab.settle(120_000).await.unwrap();
    assert_all_granted(&lab);
}

#[tokio::test]
async fn an_account_that_no_listing_has_yet_keeps_its_grant_in_a_sweep() {
    let lab = settled_with_lag(2).await;
    let account = join_accounts(&lab, 1).remove(0);
    lab.settle(60_000).await.unwrap();
    assert_all_granted(&lab);
    lab.sweep(json!({})).await.unwrap();
    lab.settle(120_000).await.unwrap();
    assert!(lab.sim.now_ms() < lab.sim.with(|world| world.organization.member(&account).unwrap().joined_ms) + LAG_MS);
    assert_all_granted(&lab);
}

#[tokio::test]
async fn an_account_that_left_without_an_event_is_revoked_by_a_sweep() {
    let lab = settled(4, &[IRELAND], 0).await;
    let account = ordinary_member(&lab);
    lab.sim.set_event_delivery(DeliverySettings { drop_probability: 1.0, ..DeliverySettings::default() }, 1);
    lab.sim.with(|world| world.leave(&account)).unwrap();
    lab.settle(DAY_MS).await.unwrap();
    assert_eq!(audit_of(&lab).strangers, BTreeSet::from([account]));
    lab.sweep(json!({})).await.unwrap();
    // One of 3 grants is more than a run may revoke without permission.
    let allowed = lab.invocation(json!({
        "kind": "sync-request", "version": 1, "reason": "intended", "allow_mass_revocation": true
    }));
    lab.onboard(allowed).await.unwrap();
    lab.settle(DAY_MS).await.unwrap();
    assert_eq!(audit_of(&lab).strangers, BTreeSet::new());
}

#[tokio::test]
async fn a_rejoined_account_keeps_its_grant_although_it_is_excluded() {
    let mut lab = settled(4, &[IRELAND], 0).await;
    let account = ordinary_member(&lab);
    lab.reconfigure(&[("excluded_accounts", &account), ("revocation_limit_percent", "100")]).unwrap();
    lab.sim.with(|world| world.leave(&account).and_then(|()| world.accept_invitation(&account))).unwrap();
    lab.settle(DAY_MS).await.unwrap();
    let at = audit_of(&lab).account_regions.into_iter().find(|at| at.account == account).unwrap();
    assert_eq!(at.granted_on.len(), 1, "an event reported its departure, but Organizations confirmed its membership");
}

#[tokio::test]
async fn an_overwritten_policy_is_repaired_before_the_run_ends() {
    let lab = settled(2, &[IRELAND], 0).await;
    let central = lab.sim.central();
    let outdated = lab.sim.with(|world| world.logs.destinations(&central, IRELAND).next().cloned()).unwrap();
    join_accounts(&lab, 3);
    let put = FaultKind::HookAfter(Arc::new(move |world, _| {
        let policy = outdated.access_policy.as_deref().unwrap();
        world.put_destination_policy(&central, IRELAND, &outdated.name, policy).unwrap();
    }));
    lab.sim.arm(FaultRule::new(put).on(Service::Logs, "PutDestinationPolicy").at(When::Nth(1)));
    let sync = lab.invocation(json!({"kind": "sync-request", "version": 1, "reason": "test"}));
    lab.onboard(sync).await.unwrap();
    assert_all_granted(&lab);
}

/// Moves an account's grant to a second shard. Returns the ARN of that shard.
fn move_to_second_shard(lab: &Lab, account: &str) -> String {
    let central = lab.sim.central();
    lab.sim.with(|world| {
        let first = world.logs.destinations(&central, IRELAND).next().cloned().unwrap();
        let (name, arn) = (format!("{}-2", first.name), format!("{}-2", first.arn));
        let mut policy: serde_json::Value = serde_json::from_str(first.access_policy.as_deref().unwrap()).unwrap();
        policy["Statement"][0]["Principal"]["AWS"] = json!([account]);
        policy["Statement"][0]["Resource"] = json!(arn);
        world.put_destination(&central, IRELAND, &name, &first.target_arn, &first.role_arn).unwrap();
        world.put_destination_policy(&central, IRELAND, &name, &policy.to_string()).unwrap();
        edit_policies(world, &central, IRELAND, |statements, arn| {
            if !arn.ends_with("-2") {
                statements[0]["Principal"]["AWS"].as_array_mut().unwrap().retain(|id| id != account);
            }
        });
        arn
    })
}

/// ARN of the destination to which the account's filter delivers.
fn filter_of(lab: &Lab, account: &str) -> Option<String> {
    let (group, filter) = (&lab.settings.log_group_name, &lab.settings.filter_name);
    lab.sim.with(|world| {
        let group = world.logs.group(account, IRELAND, group.as_str())?;
        group.filters.get(filter.as_str()).map(|filter| filter.destination_arn.clone())
    })
}

#[tokio::test]
async fn a_filter_refused_by_the_old_shard_goes_to_the_new_one() {
    for remembered in [false, true] {
        let lab = settled(4, &[IRELAND], 0).await;
        let account = ordinary_member(&lab);
        let person = Person::of(&lab.sim, &account, IRELAND);
        let (group, filter) = (lab.settings.log_group_name.to_string(), lab.settings.filter_name.to_string());
        let request = |destinations: serde_json::Value| {
            let body = json!({
                "kind": "enrollment-request", "version": 1, "account": account, "regions": [IRELAND],
                "destinations": destinations, "reason": "test"
            });
            json!({"Records": [{
                "messageId": "1", "receiptHandle": "none", "body": body.to_string(), "eventSource": "aws:sqs",
                "attributes": {"ApproximateReceiveCount": "1"}, "awsRegion": IRELAND,
                "eventSourceARN": format!("arn:aws:sqs:{IRELAND}:{}:enrollments", lab.settings.central_account),
            }]})
        };
        if remembered {
            lab.enroll(lab.invocation(request(json!({})))).await.unwrap();
        }
        let second = move_to_second_shard(&lab, &account);
        person.delete_filter(&group, &filter).await.unwrap();
        let destinations =
            if remembered { json!({}) } else { json!({IRELAND: lab.settings.destination_name.base().to_string()}) };
        lab.enroll(lab.invocation(request(destinations))).await.unwrap();
        assert_eq!(filter_of(&lab, &account), Some(second), "remembered: {remembered}");
    }
}
