//! Queues that keep what is sent.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use enroller_core::message::Message;

use super::journal::Journal;
use crate::ports::{AwsResult, Outgoing, Queues};

pub(crate) struct FakeQueues {
    pub(crate) journal: Arc<Journal>,
    /// Messages by the URL of their queue, in order.
    pub(crate) sent: Mutex<Vec<(String, Outgoing)>>,
    /// Receipts with the seconds they are hidden for.
    pub(crate) hidden: Mutex<Vec<(String, u32)>>,
}

impl FakeQueues {
    pub(crate) fn new(journal: &Arc<Journal>) -> Self {
        Self { journal: Arc::clone(journal), sent: Mutex::default(), hidden: Mutex::default() }
    }

    /// What was sent to a queue.
    pub(crate) fn sent_to(&self, url: &str) -> Vec<Outgoing> {
        let sent = self.sent.lock().unwrap();
        sent.iter().filter(|(queue, _)| queue == url).map(|(_, message)| message.clone()).collect()
    }

    /// What was sent to a queue, read.
    pub(crate) fn messages(&self, url: &str) -> Vec<Message> {
        let read = |it: &Outgoing| Message::from_value(&serde_json::from_str(&it.body).unwrap()).unwrap();
        self.sent_to(url).iter().map(read).collect()
    }

    pub(crate) fn hidden(&self) -> Vec<(String, u32)> {
        let mut hidden = self.hidden.lock().unwrap().clone();
        hidden.sort();
        hidden
    }
}

#[async_trait]
impl Queues for FakeQueues {
    async fn send(&self, queue_url: &str, messages: Vec<Outgoing>) -> AwsResult<usize> {
        self.journal.call("sqs:SendMessage", queue_url).await?;
        let sent = messages.len();
        self.sent.lock().unwrap().extend(messages.into_iter().map(|message| (queue_url.to_owned(), message)));
        Ok(sent)
    }

    async fn change_visibility(&self, _: &str, receipt: &str, seconds: u32) -> AwsResult<()> {
        self.journal.call("sqs:ChangeMessageVisibility", receipt).await?;
        self.hidden.lock().unwrap().push((receipt.to_owned(), seconds));
        Ok(())
    }
}
