//! The real binary against an installation whose functions run: it asks account-onboarder for grants, and writes none.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot continue has failed")]

use std::process::{Command, Output, Stdio};
use std::time::Duration;

use enroller_core::settings::environment_name;
use enroller_lab::audit::audit;
use enroller_lab::install::OPERATOR_ROLE;
use enroller_lab::{Lab, LabOptions};
use enroller_sim::SimBuilder;
use enroller_sim::events::DeliverySettings;
use serde_json::json;
use tokio::net::TcpListener;

const REGIONS: [&str; 2] = ["eu-west-1", "us-east-1"];

struct Running {
    lab: Lab,
    endpoint: String,
}

impl Running {
    async fn new(accounts: usize) -> Self {
        let regions = REGIONS.map(str::to_owned).to_vec();
        let organization = SimBuilder { accounts, regions, vpcs: 1, real_time: true, ..SimBuilder::default() };
        let lab = Lab::new(&LabOptions { organization, settings: Vec::new() }).unwrap();
        for account in lab.sim.members() {
            lab.stacks.deploy_member(&account).unwrap();
        }
        let central = lab.sim.central();
        lab.sim.with(|world| {
            let role = world.iam.role(&central, OPERATOR_ROLE).unwrap();
            let (trust, mut policies) = (role.trust.clone(), role.policies().clone());
            let denied = json!(["logs:PutDestination", "logs:PutDestinationPolicy"]);
            let deny = json!({ "Effect": "Deny", "Action": denied, "Resource": "*" });
            policies.insert("Deny".to_owned(), json!({ "Version": "2012-10-17", "Statement": [deny] }));
            world.put_role(&central, OPERATOR_ROLE, trust, policies);
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(enroller_sim::server::serve(listener, lab.sim.clone(), std::future::pending()));
        Self { lab, endpoint }
    }

    /// Runs the command as the operator, while the functions work on their queues.
    async fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_enroller"));
        let settings = &self.lab.settings;
        let session = self.lab.sim.role_session(&self.lab.sim.central(), OPERATOR_ROLE, "me").unwrap();
        command.env_clear().args(arguments).stdin(Stdio::null());
        command.env("AWS_ENDPOINT_URL", &self.endpoint).env("AWS_ACCESS_KEY_ID", session.access_key_id);
        command.env("AWS_SECRET_ACCESS_KEY", session.secret_access_key);
        command.env("AWS_SESSION_TOKEN", session.session_token.unwrap());
        for (key, value) in [
            ("central_account", settings.central_account.to_string()),
            ("organization_id", settings.organization_id.to_string()),
            ("home_region", settings.home_region.to_string()),
            ("regions", REGIONS.join(",")),
            ("external_id", settings.external_id.clone().unwrap()),
            ("destination_target_arn", settings.destination_target_arn.clone().unwrap().to_string()),
            ("destination_role_arn", settings.destination_role_arn.clone().unwrap().to_string()),
            ("enrollments_queue_url", settings.enrollments_queue_url.clone().unwrap()),
            ("grants_queue_url", settings.grants_queue_url.clone().unwrap()),
        ] {
            command.env(environment_name(key), value);
        }
        let mut done = tokio::task::spawn_blocking(move || command.output().unwrap());
        loop {
            tokio::select! {
                output = &mut done => return output.unwrap(),
                () = tokio::time::sleep(Duration::from_millis(50)) => drop(self.lab.step().await.unwrap()),
            }
        }
    }

    /// What the command asked for and was denied.
    fn denied(&self) -> Vec<String> {
        let denials = self.lab.sim.with(|world| world.iam.denials());
        denials.into_iter().filter(|it| it.role == OPERATOR_ROLE).map(|it| it.action).collect()
    }

    fn uncovered(&self) -> usize {
        audit(&self.lab.sim, &REGIONS.map(str::to_owned)).uncovered()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The operator may not write, has not tried to, and the policies are written.
fn only_the_onboarder(running: &Running) {
    assert!(running.denied().is_empty(), "{:?}", running.denied());
    let calls = running.lab.sim.calls();
    assert!(calls.iter().any(|call| call.operation == "PutDestinationPolicy"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backfill_has_account_onboarder_write_the_grants() {
    let running = Running::new(5).await;
    let done = running.run(&["backfill", "--yes"]).await;
    assert!(done.status.success(), "{}{}", text(&done.stdout), text(&done.stderr));
    assert!(text(&done.stderr).contains("Asked account-onboarder"), "{}", text(&done.stderr));
    only_the_onboarder(&running);
    assert_eq!(running.uncovered(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backfill_of_one_account_asks_for_that_account() {
    let running = Running::new(5).await;
    let account = running.lab.sim.members()[3].clone();
    let done = running.run(&["backfill", "--yes", "--account", &account, "--region", "us-east-1"]).await;
    assert!(done.status.success(), "{}{}", text(&done.stdout), text(&done.stderr));
    only_the_onboarder(&running);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_grant_of_an_account_that_has_left_is_waited_for_until_it_is_gone() {
    let running = Running::new(5).await;
    assert!(running.run(&["backfill", "--yes"]).await.status.success());
    let (central, management) = (running.lab.sim.central(), running.lab.sim.management());
    let mut members = running.lab.sim.members().into_iter();
    let left = members.rfind(|id| *id != central && *id != management).unwrap();
    // No event tells account-onboarder before the command does.
    let lost = DeliverySettings { drop_probability: 1.0, ..DeliverySettings::default() };
    running.lab.sim.set_event_delivery(lost, 1);
    running.lab.sim.with(|world| world.remove(&left)).unwrap();
    let done = running.run(&["grants", "sync", "--yes"]).await;
    assert!(done.status.success(), "{}{}", text(&done.stdout), text(&done.stderr));
    assert!(text(&done.stdout).contains("0 grants added, 2 removed, 2 destinations"), "{}", text(&done.stdout));
    only_the_onboarder(&running);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_is_account_onboarders_too_and_so_are_the_enrollments() {
    let running = Running::new(5).await;
    let done = running.run(&["grants", "sync", "--yes"]).await;
    assert!(done.status.success(), "{}{}", text(&done.stdout), text(&done.stderr));
    assert!(text(&done.stdout).contains("10 grants added, 0 removed, 2 destinations"), "{}", text(&done.stdout));
    only_the_onboarder(&running);
    for _ in 0..200 {
        running.lab.step().await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        if running.uncovered() == 0 {
            return;
        }
    }
    panic!("vpc-enroller was not asked to enroll the granted accounts");
}

#[tokio::test(flavor = "multi_thread")]
async fn grants_of_the_other_regions_are_listed_if_one_cannot_be_read() {
    let running = Running::new(2).await;
    let outage = "outage=service=logs,operation=DescribeDestinations,region=us-east-1,answer=AccessDeniedException";
    running.lab.sim.set_rule(outage).unwrap();
    let listed = running.run(&["grants", "--format", "json"]).await;
    let (out, err) = (String::from_utf8_lossy(&listed.stdout), String::from_utf8_lossy(&listed.stderr));
    assert_eq!(listed.status.code(), Some(1), "{err}");
    assert!(err.contains("us-east-1 could not be read: logs:DescribeDestinations"), "{err}");
    let shards: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert!(shards.as_array().unwrap().iter().all(|shard| shard["region"] == "eu-west-1"), "{shards}");
}
