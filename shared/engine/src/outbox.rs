//! Sending messages to the functions' queues.

use std::sync::Arc;

use enroller_core::message::{EnrollmentRequest, Message};
use enroller_core::settings::QueueUrls;

use crate::ports::{AwsResult, Outgoing, Queues};

/// The message group of the grants queue. There is only one, so that grants have only one writer at a time.
pub const GRANTS_GROUP: &str = "grants";

/// The message group of all requests of backfills in the enrollments queue. Events have none.
pub const BACKFILL_GROUP: &str = "backfill";

/// Sends messages to the functions.
#[derive(Clone)]
pub struct Outbox {
    queues: Arc<dyn Queues>,
    urls: QueueUrls,
}

impl Outbox {
    /// Creates an outbox that sends to the queues at these URLs.
    pub fn new(queues: &Arc<dyn Queues>, urls: QueueUrls) -> Self {
        Self { queues: Arc::clone(queues), urls }
    }

    /// Sends requests to the enroller, each with the seconds until it becomes visible. Returns how many were sent.
    ///
    /// # Errors
    ///
    /// SQS did not accept all of them.
    pub async fn enroll(&self, requests: impl IntoIterator<Item = (EnrollmentRequest, u32)>) -> AwsResult<usize> {
        let outgoing = |(request, delay_seconds): (EnrollmentRequest, u32)| {
            // A request of a run over ten thousand accounts must not stand before the event of a new VPC.
            let sender = request.run_id.is_some().then_some(BACKFILL_GROUP);
            let body = Message::Enrollment(request).to_json();
            Outgoing { body, delay_seconds, fifo: None, sender }
        };
        self.queues.send(&self.urls.enrollments, requests.into_iter().map(outgoing).collect()).await
    }

    /// Sends a body to the enroller's queue, where it becomes visible after `delay_seconds`.
    ///
    /// # Errors
    ///
    /// SQS did not accept it.
    pub async fn enroll_again(&self, body: String, delay_seconds: u32) -> AwsResult<()> {
        let outgoing = Outgoing { body, delay_seconds, fifo: None, sender: None };
        self.queues.send(&self.urls.enrollments, vec![outgoing]).await.map(drop)
    }

    /// Sends a body to the granter, the one writer of grants. SQS drops a second one with the same `deduplication_id`
    /// for five minutes.
    ///
    /// # Errors
    ///
    /// SQS did not accept it.
    pub async fn grant(&self, body: String, deduplication_id: String) -> AwsResult<()> {
        let fifo = Some((GRANTS_GROUP.to_owned(), deduplication_id));
        self.queues
            .send(&self.urls.grants, vec![Outgoing { body, delay_seconds: 0, fifo, sender: None }])
            .await
            .map(drop)
    }
}
