//! One run of `vpc-enroller` on one account of an organization at rest, with no later run to help.

use enroller_engine::ports::Outgoing;
use enroller_lab::Lab;
use enroller_sim::events::DeliverySettings;
use enroller_sim::{ApiError, FaultKind, FaultRule, NewAccount, Service, When};
use serde_json::{Value, json};

use crate::settled_with;

/// The Region of an organization at rest.
pub const IRELAND: &str = "eu-west-1";

/// An organization in which everything is enrolled, two VPCs in each account.
///
/// # Panics
///
/// The laboratory itself cannot be built.
pub async fn enrolled_accounts(settings: &[(&'static str, &str)]) -> Lab {
    enrolled_accounts_in(&[IRELAND], settings).await
}

/// Like [`enrolled_accounts`], in several Regions.
///
/// # Panics
///
/// The laboratory itself cannot be built.
pub async fn enrolled_accounts_in(regions: &[&str], settings: &[(&'static str, &str)]) -> Lab {
    settled_with(3, regions, 1, settings).await
}

/// An account that has just joined and has its stack, of which no function has heard.
///
/// # Panics
///
/// The simulated AWS refuses the account or its stack.
pub fn new_account(lab: &Lab) -> String {
    let new = NewAccount { name: "fresh".to_owned(), ..NewAccount::default() };
    let account = lab.sim.with(|world| world.create_account(&new)).unwrap();
    lab.stacks.deploy_member(&account).unwrap();
    account
}

/// No event arrives from now on.
pub fn drop_events(lab: &Lab) {
    lab.sim.set_event_delivery(DeliverySettings { drop_probability: 1.0, ..DeliverySettings::default() }, 1);
}

/// A refusal of the first such call, before any effect.
pub fn refuse_once(lab: &Lab, service: Service, operation: &str, code: &str) {
    let refusal = FaultKind::ErrorBefore(ApiError::new(400, code, "refused by the test"));
    lab.sim.arm(FaultRule::new(refusal).on(service, operation).at(When::First(1)));
}

fn request(lab: &Lab, account: &str) -> Value {
    json!({"kind": "enrollment-request", "version": 1, "account": account, "regions": lab.regions, "reason": "test"})
}

/// Reconciles an account once, in all Regions. Returns what the function hands back.
///
/// # Panics
///
/// The function fails as a whole.
pub async fn enroll(lab: &Lab, account: &str) -> Value {
    let queue = format!("arn:aws:sqs:{IRELAND}:{}:enrollments", lab.settings.central_account);
    let record = json!({
        "messageId": "1", "receiptHandle": "none", "body": request(lab, account).to_string(),
        "attributes": {"ApproximateReceiveCount": "1"}, "eventSource": "aws:sqs",
        "awsRegion": IRELAND, "eventSourceARN": queue,
    });
    let answer = lab.enroll(lab.invocation(json!({ "Records": [record] }))).await.unwrap();
    answer["batchItemFailures"].clone()
}

/// Sends a request for an account, in all Regions, to the queue of `vpc-enroller`.
///
/// # Panics
///
/// The queue does not take it.
pub async fn request_enrollment(lab: &Lab, account: &str) {
    let message = Outgoing { body: request(lab, account).to_string(), delay_seconds: 0, fifo: None };
    let queues = lab.operator(lab.recording.clone()).ports.queues;
    queues.send(&lab.url("enrollments"), vec![message]).await.unwrap();
}
