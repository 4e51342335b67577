//! The central account's queues (SQS), in the home Region.

use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::SendMessageBatchRequestEntry;
use enroller_core::ids::AccountRegion;
use enroller_engine::ports::{AwsResult, Outgoing, Queues};

use crate::calls::{Calls, Identity, Link};
use crate::errors::unparsable;
use crate::limits::{CHANGE_VISIBILITY, SEND_MESSAGE};

#[cfg(test)]
mod tests;

/// The maximum number of messages in one SendMessageBatch (SQS API reference).
const BATCH: usize = 10;

pub(crate) struct Sqs(Calls<Client>);

impl Sqs {
    pub(crate) fn new(link: &Arc<Link>) -> Self {
        Self(Calls::new(link, Identity::Central, Client::new))
    }

    fn at(&self) -> AccountRegion {
        let settings = self.0.settings();
        AccountRegion { account: settings.central_account, region: settings.home_region.clone() }
    }

    async fn send_batch(&self, queue_url: &str, at: &AccountRegion, batch: &[Outgoing]) -> AwsResult<()> {
        let entries: Result<Vec<_>, _> =
            batch.iter().enumerate().map(|(index, message)| entry(index, message)).collect();
        // Only id and body are required, and both are set.
        let entries = entries.map_err(|error| unparsable(SEND_MESSAGE.operation, at, error.to_string()))?;
        let request =
            |client: Client| client.send_message_batch().queue_url(queue_url).set_entries(Some(entries.clone())).send();
        let answer = self.0.call(SEND_MESSAGE, at, request).await?;
        // Sending a message twice is harmless, and losing one is not. So each message that is not named as sent is sent
        // again.
        for (index, message) in batch.iter().enumerate() {
            if !answer.successful().iter().any(|sent| sent.id() == index.to_string()) {
                self.send_one(queue_url, at, message).await?;
            }
        }
        Ok(())
    }

    async fn send_one(&self, queue_url: &str, at: &AccountRegion, message: &Outgoing) -> AwsResult<()> {
        let request = |client: Client| {
            let (group, deduplication) = group(message);
            let send = client.send_message().queue_url(queue_url).message_body(&message.body);
            send.set_delay_seconds(delay(message))
                .set_message_group_id(group)
                .set_message_deduplication_id(deduplication)
                .send()
        };
        self.0.call(SEND_MESSAGE, at, request).await.map(drop)
    }
}

fn entry(
    index: usize,
    message: &Outgoing,
) -> Result<SendMessageBatchRequestEntry, aws_smithy_types::error::operation::BuildError> {
    let (group, deduplication) = group(message);
    SendMessageBatchRequestEntry::builder()
        .id(index.to_string())
        .message_body(&message.body)
        .set_delay_seconds(delay(message))
        .set_message_group_id(group)
        .set_message_deduplication_id(deduplication)
        .build()
}

/// The message group id and the deduplication id.
fn group(message: &Outgoing) -> (Option<String>, Option<String>) {
    let (group, deduplication) = message.fifo.clone().unzip();
    (group.or_else(|| message.sender.map(str::to_owned)), deduplication)
}

/// The delay of a message. FIFO queues reject one of a single message.
fn delay(message: &Outgoing) -> Option<i32> {
    let wanted = message.fifo.is_none() && message.delay_seconds > 0;
    wanted.then(|| i32::try_from(message.delay_seconds).unwrap_or(i32::MAX))
}

#[async_trait]
impl Queues for Sqs {
    async fn send(&self, queue_url: &str, messages: Vec<Outgoing>) -> AwsResult<usize> {
        let at = self.at();
        for batch in messages.chunks(BATCH) {
            self.send_batch(queue_url, &at, batch).await?;
        }
        Ok(messages.len())
    }

    async fn change_visibility(&self, queue_url: &str, receipt: &str, seconds: u32) -> AwsResult<()> {
        let seconds = i32::try_from(seconds).unwrap_or(i32::MAX);
        let request = |client: Client| {
            let change = client.change_message_visibility().queue_url(queue_url).receipt_handle(receipt);
            change.visibility_timeout(seconds).send()
        };
        self.0.call(CHANGE_VISIBILITY, &self.at(), request).await.map(drop)
    }
}
