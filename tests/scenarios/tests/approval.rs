//! Only what a person approved is done, even if the organization changes between the plan and its execution.

#![cfg(test)]

use std::collections::BTreeMap;
use std::sync::Arc;

use enroller_core::ids::{AccountId, Region};
use enroller_core::log::{LogEntry, Outcome};
use enroller_core::metrics::Metrics;
use enroller_core::plan::Plan;
use enroller_engine::enroller::{AccountReport, AccountWork, AskedBy};
use enroller_engine::granter::{GrantPreview, GrantSync};
use enroller_engine::reconcile_error::ReconcileError;
use enroller_lab::people::Person;
use enroller_lab::{Lab, Operator};
use enroller_tests::{DAY_MS, calls_since, count, organization};

const IRELAND: &str = "eu-west-1";

/// An organization with stacks, and nothing enrolled unless `enrolled`.
async fn installed(enrolled: bool) -> (Lab, Operator, AccountId) {
    let lab = organization(4, &[IRELAND], 1);
    lab.deploy_members().unwrap();
    if enrolled {
        lab.settle(DAY_MS).await.unwrap();
    }
    let operator = lab.operator(Arc::clone(&lab.recording) as _);
    let account = lab.sim.members()[3].parse().unwrap();
    (lab, operator, account)
}

async fn preview(operator: &Operator) -> GrantPreview {
    operator.granter().unwrap().planner().preview(&GrantSync { sync: true, ..GrantSync::default() }).await.unwrap()
}

/// The plans of an account, as a person sees them.
async fn plans(operator: &Operator, account: AccountId) -> BTreeMap<Region, Plan> {
    let preview = preview(operator).await;
    let who = preview.accounts.iter().find(|it| it.id == account).unwrap();
    let survey =
        operator.inspector().inspect(who, &operator.context.settings.regions, &preview.granted_on(account)).await;
    survey.account_regions.into_iter().map(|it| (it.at.region, it.found.unwrap().1)).collect()
}

async fn reconcile(operator: &Operator, account: AccountId, approved: BTreeMap<Region, Plan>) -> AccountReport {
    let (regions, destinations) = (operator.context.settings.regions.clone(), BTreeMap::new());
    operator
        .enroller()
        .reconcile(
            &AccountWork { account, regions, destinations, asked_by: AskedBy::Command, approved: Some(approved) },
            u64::MAX,
        )
        .await
}

/// The first step that was refused because it was not approved.
fn refused(report: &AccountReport) -> Option<&'static str> {
    report.account_regions.iter().flat_map(|at| &at.errors).find_map(|errors| match errors {
        ReconcileError::NotApproved(step) => Some(*step),
        _ => None,
    })
}

#[tokio::test]
async fn a_step_that_the_plan_did_not_show_is_a_failure_and_is_not_taken() {
    let (lab, operator, account) = installed(true).await;
    let approved = plans(&operator, account).await;
    assert!(approved.values().all(|plan| plan.steps.is_empty()), "nothing to do, said the plan");
    let person = Person::of(&lab.sim, &account.to_string(), IRELAND);
    let (flow_log, _) = person.flow_logs().await.unwrap().remove(0);
    person.delete_flow_log(&flow_log).await.unwrap();
    let before = lab.sim.calls().len();
    let report = reconcile(&operator, account, approved).await;
    assert_eq!(refused(&report), Some("create-flow-logs"));
    assert!(calls_since(&lab, before).iter().all(|call| !call.mutating));
    assert!(
        report.account_regions[0]
            .decisions
            .iter()
            .any(|line| line.outcome == Outcome::Failed && line.next_step.is_some())
    );
    // Whoever looks again may agree to it.
    let report = reconcile(&operator, account, plans(&operator, account).await).await;
    assert_eq!((refused(&report), report.changes()), (None, 1));
}

#[tokio::test]
async fn a_region_without_a_plan_is_not_touched() {
    let (lab, operator, account) = installed(false).await;
    operator.granter().unwrap().sync(&GrantSync { sync: true, ..GrantSync::default() }, &mut Metrics::default()).await;
    let before = lab.sim.calls().len();
    let report = reconcile(&operator, account, BTreeMap::new()).await;
    assert!(refused(&report).is_some());
    assert!(calls_since(&lab, before).iter().all(|call| !call.mutating));
}

#[tokio::test]
async fn what_somebody_else_did_since_need_not_be_done() {
    let (lab, operator, account) = installed(false).await;
    operator.granter().unwrap().sync(&GrantSync { sync: true, ..GrantSync::default() }, &mut Metrics::default()).await;
    let approved = plans(&operator, account).await;
    let first = reconcile(&operator, account, approved.clone()).await;
    assert!(first.changes() > 0);
    let before = lab.sim.calls().len();
    let second = reconcile(&operator, account, approved).await;
    assert_eq!((refused(&second), second.changes()), (None, 0));
    assert!(calls_since(&lab, before).iter().all(|call| !call.mutating));
}

#[tokio::test]
async fn a_grant_that_the_plan_did_not_show_is_a_failure_and_is_not_written() {
    let (lab, operator, _) = installed(true).await;
    let approved = Some(preview(&operator).await.plans());
    let joined = lab.sim.with(|world| world.create_account(&enroller_sim::NewAccount::default())).unwrap();
    let before = lab.sim.calls().len();
    let work = GrantSync { sync: true, approved, ..GrantSync::default() };
    let report = operator.granter().unwrap().sync(&work, &mut Metrics::default()).await;
    let failed = |line: &&LogEntry| line.outcome == Outcome::Failed && line.next_step.is_some();
    assert_eq!(report.decisions.iter().filter(failed).count(), 1, "{:#?}", report.decisions);
    assert_eq!(count(&calls_since(&lab, before), "PutDestinationPolicy"), 0);
    let again = GrantSync { approved: Some(preview(&operator).await.plans()), ..work };
    let report = operator.granter().unwrap().sync(&again, &mut Metrics::default()).await;
    assert!(report.granted.contains(&joined.parse().unwrap()));
}
