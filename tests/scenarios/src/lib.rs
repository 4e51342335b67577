//! Helpers for the end-to-end tests in `tests/`: organizations ready to use, and questions about their state.

// Only this library needs the attribute. In `tests/`, `#![cfg(test)]` makes `allow-unwrap-in-tests` and its like in
// clippy.toml apply to helper functions as well as to tests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot continue has failed")]

pub mod chaos;
pub mod initial_state;
pub mod invariants;
pub mod matrix;
pub mod one_run;
pub mod permissions;
pub mod scenarios;
pub mod schedule;
pub mod state;

use enroller_lab::audit::{Audit, audit};
use enroller_lab::{Lab, LabOptions};
use enroller_sim::traffic::TrafficReport;
use enroller_sim::{CallRecord, SimBuilder};
use serde_json::{Value, json};

/// One day in milliseconds of virtual time, longer than any message is retried.
pub const DAY_MS: u64 = 86_400_000;

/// Longest destination policy that AWS accepts, in bytes (CloudWatch Logs API reference, PutDestinationPolicy).
pub const MAX_POLICY_BYTES: usize = 5_120;

/// An organization of this size in which only the central stacks are deployed. Each account has `vpcs` VPCs in each
/// Region beside its default VPC.
///
/// # Panics
///
/// The simulated installation cannot be built.
pub fn organization(accounts: usize, regions: &[&str], vpcs: usize) -> Lab {
    with_settings(accounts, regions, vpcs, &[])
}

/// Like [`organization`], with settings that differ from the defaults.
///
/// # Panics
///
/// The simulated installation cannot be built.
pub fn with_settings(accounts: usize, regions: &[&str], vpcs: usize, settings: &[(&'static str, &str)]) -> Lab {
    let regions = regions.iter().map(|region| (*region).to_owned()).collect();
    let organization = SimBuilder { accounts, regions, vpcs, ..SimBuilder::default() };
    let settings = settings.iter().map(|(key, value)| (*key, (*value).to_owned())).collect();
    match Lab::new(&LabOptions { organization, settings }) {
        Ok(lab) => lab,
        Err(error) => panic!("the simulated installation cannot be built: {error}"),
    }
}

/// An organization of this size in which every VPC is enrolled and nothing is left to do.
///
/// # Panics
///
/// The simulated installation cannot be built, or a function returns an error.
pub async fn settled(accounts: usize, regions: &[&str], vpcs: usize) -> Lab {
    settled_with(accounts, regions, vpcs, &[]).await
}

/// Like [`settled`], with settings that differ from the defaults.
///
/// # Panics
///
/// As with [`settled`].
pub async fn settled_with(accounts: usize, regions: &[&str], vpcs: usize, settings: &[(&'static str, &str)]) -> Lab {
    let lab = with_settings(accounts, regions, vpcs, settings);
    lab.deploy_members().unwrap();
    lab.settle(DAY_MS).await.unwrap();
    lab
}

/// Coverage and grants of every account in the enrolled Regions, read from the state of the simulated AWS.
pub fn audit_of(lab: &Lab) -> Audit {
    let regions: Vec<String> = lab.settings.regions.iter().map(ToString::to_string).collect();
    audit(&lab.sim, &regions)
}

/// Lets every VPC send records now and checks that all of them reach S3.
///
/// # Panics
///
/// A record did not arrive.
pub fn assert_all_records_delivered(lab: &Lab) {
    lab.sim.traffic_tick();
    let report = lab.sim.traffic_report();
    assert_eq!(report.delivered, report.sent, "{report:#?}");
}

/// Checks that every VPC of the members is covered, in the state of the simulated AWS, and that all records that they
/// send now reach S3.
///
/// # Panics
///
/// A link is missing, or a record did not arrive.
pub fn assert_all_covered(lab: &Lab) {
    let audit = audit_of(lab);
    assert_eq!(audit.uncovered(), 0, "{audit:#?}");
    let before = lab.sim.traffic_report();
    lab.sim.traffic_tick();
    let after = lab.sim.traffic_report();
    let arrived = |report: &TrafficReport| report.delivered + report.filtered_out;
    assert_eq!(arrived(&after) - arrived(&before), after.sent - before.sent, "{after:#?}");
    let vpcs: usize = audit.account_regions.iter().map(|at| at.vpcs).sum();
    assert!(vpcs == 0 || after.sent > before.sent, "no VPC sends records");
}

/// The part of CloudTrail's event for a new VPC that the enroller reads. The VPC does not exist in EC2.
pub fn create_vpc_event(account: &str, region: &str) -> Value {
    json!({
        "source": "aws.ec2", "detail-type": "AWS API Call via CloudTrail", "account": account, "region": region,
        "detail": {
            "eventSource": "ec2.amazonaws.com", "eventName": "CreateVpc", "awsRegion": region,
            "recipientAccountId": account, "responseElements": { "vpc": { "vpcId": "vpc-0123456789abcdef0" } }
        }
    })
}

/// A member that is neither the management nor the central account: the first by account id.
///
/// # Panics
///
/// The organization has no third account.
pub fn ordinary_member(lab: &Lab) -> String {
    let (management, central) = (lab.sim.management(), lab.sim.central());
    lab.sim.members().into_iter().find(|id| *id != management && *id != central).unwrap()
}

/// How many destination policies AWS has refused for what is in them, such as one of more than 5,120 bytes.
pub fn refused_policies(lab: &Lab) -> usize {
    let puts = lab.sim.calls().into_iter().filter(|call| call.operation == "PutDestinationPolicy");
    puts.filter(|call| call.outcome.as_deref() == Some("InvalidParameterException")).count()
}

/// The calls from position `from` on, except those to SQS.
pub fn calls_since(lab: &Lab, from: usize) -> Vec<CallRecord> {
    let calls = lab.sim.calls().into_iter().skip(from);
    calls.filter(|call| call.service != enroller_sim::Service::Sqs).collect()
}

/// The number of calls with this operation.
pub fn count(calls: &[CallRecord], operation: &str) -> usize {
    calls.iter().filter(|call| call.operation == operation).count()
}
