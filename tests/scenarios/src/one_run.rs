//! A single run of `vpc-enroller` for one account of a settled organization, without the help of a later run.

use enroller_engine::ports::Outgoing;
use enroller_lab::Lab;
use enroller_sim::events::DeliverySettings;
use enroller_sim::{ApiError, FaultKind, FaultRule, NewAccount, Service, When};
use serde_json::{Value, json};

use crate::settled_with;

/// The Region that the helpers here use.
pub const IRELAND: &str = "eu-west-1";

/// Three accounts in which everything is enrolled, with 2 VPCs each.
///
/// # Panics
///
/// The simulated installation cannot be built.
pub async fn enrolled_accounts(settings: &[(&'static str, &str)]) -> Lab {
    enrolled_accounts_in(&[IRELAND], settings).await
}

/// Like [`enrolled_accounts`], in these Regions.
///
/// # Panics
///
/// The simulated installation cannot be built.
pub async fn enrolled_accounts_in(regions: &[&str], settings: &[(&'static str, &str)]) -> Lab {
    settled_with(3, regions, 1, settings).await
}

/// Adds an account with its member stack. No function has processed an event about it yet.
///
/// # Panics
///
/// The account or its stack cannot be created.
pub fn new_account(lab: &Lab) -> String {
    let new = NewAccount { name: "fresh".to_owned(), ..NewAccount::default() };
    let account = lab.sim.with(|world| world.create_account(&new)).unwrap();
    lab.stacks.deploy_member(&account).unwrap();
    account
}

/// Drops every event from now on.
pub fn drop_events(lab: &Lab) {
    lab.sim.set_event_delivery(DeliverySettings { drop_probability: 1.0, ..DeliverySettings::default() }, 1);
}

/// Refuses the next call of an operation with this error code. The call has no effect.
pub fn refuse_once(lab: &Lab, service: Service, operation: &str, code: &str) {
    let refusal = FaultKind::ErrorBefore(ApiError::new(400, code, "refused by the test"));
    lab.sim.arm(FaultRule::new(refusal).on(service, operation).at(When::First(1)));
}

fn request(lab: &Lab, account: &str) -> Value {
    json!({"kind": "enrollment-request", "version": 1, "account": account, "regions": lab.regions, "reason": "test"})
}

/// Runs the enroller once for an account in all Regions. Returns the `batchItemFailures` of its answer.
///
/// # Panics
///
/// The function returns an error.
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
/// The queue refuses the message.
pub async fn request_enrollment(lab: &Lab, account: &str) {
    let message = Outgoing { body: request(lab, account).to_string(), delay_seconds: 0, fifo: None, sender: None };
    let queues = lab.operator(lab.recording.clone()).ports.queues;
    queues.send(&lab.url("enrollments"), vec![message]).await.unwrap();
}
