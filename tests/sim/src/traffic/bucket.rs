//! What Firehose writes to the bucket: a line for each delivery of CloudWatch Logs, in CloudWatch Logs' own envelope.
//!
//! The envelope names the account and the log group that the events come from. CloudWatch Logs sets them, and nothing
//! that an account writes into its log group can change them (CloudWatch Logs user guide, "Real-time processing of log
//! data with subscriptions").

use std::collections::VecDeque;

use serde_json::{Value, json};

use super::{Loss, delivery_path};
use crate::sim::Sim;
use crate::world::World;

/// Deliveries kept, the newest.
const KEPT: usize = 1_000;

/// The end of the bucket, oldest delivery first.
#[derive(Debug, Default)]
pub(super) struct Bucket {
    deliveries: VecDeque<Delivery>,
    events: u64,
}

#[derive(Debug)]
struct Delivery {
    sender: Sender,
    stream: String,
    /// Number of the first event.
    first: u64,
    now_ms: u64,
    messages: Vec<String>,
}

/// The filter that sends.
#[derive(Debug, Clone)]
pub(super) struct Sender {
    account: String,
    group: String,
    filter: String,
}

impl Sender {
    pub(super) fn new(account: &str, group: &str, filter: &str) -> Self {
        Self { account: account.to_owned(), group: group.to_owned(), filter: filter.to_owned() }
    }
}

impl Bucket {
    /// Every sender delivers the messages once.
    pub(super) fn deliver(&mut self, senders: Vec<Sender>, stream: &str, messages: &[&str], now_ms: u64) {
        for sender in senders {
            let messages: Vec<String> = messages.iter().map(|message| (*message).to_owned()).collect();
            let first = self.events;
            self.events += messages.len() as u64;
            self.deliveries.push_back(Delivery { sender, stream: stream.to_owned(), first, now_ms, messages });
        }
        while self.deliveries.len() > KEPT {
            self.deliveries.pop_front();
        }
    }
}

impl Delivery {
    fn envelope(&self) -> Value {
        let event = |(number, message): (u64, &String)| json!({"id": format!("{number:056}"), "timestamp": self.now_ms, "message": message});
        json!({
            "messageType": "DATA_MESSAGE",
            "owner": self.sender.account,
            "logGroup": self.sender.group,
            "logStream": self.stream,
            "subscriptionFilters": [self.sender.filter],
            "logEvents": (self.first..).zip(&self.messages).map(event).collect::<Vec<_>>(),
        })
    }
}

/// Lines that a principal of an account writes into a log group of that account, as with `logs:PutLogEvents`.
#[derive(Debug, Clone, Copy)]
#[expect(missing_docs, reason = "all of them are CloudWatch Logs' own")]
pub struct LogEvents<'a> {
    pub account: &'a str,
    pub region: &'a str,
    pub group: &'a str,
    pub stream: &'a str,
    pub messages: &'a [&'a str],
}

impl Sim {
    /// Writes into a log group, whose filters deliver each line that they match.
    ///
    /// # Errors
    ///
    /// The first broken link, for the first line that does not reach the bucket.
    pub fn put_log_events(&self, events: LogEvents<'_>) -> Result<(), Loss> {
        self.with(|world| put_log_events(world, events))
    }

    /// The newest lines in the bucket, oldest first.
    pub fn bucket_lines(&self) -> Vec<String> {
        self.with(|world| lines(world))
    }
}

pub(super) fn put_log_events(world: &mut World, events: LogEvents<'_>) -> Result<(), Loss> {
    let LogEvents { account, region, group, stream, messages } = events;
    for message in messages {
        let filters = delivery_path::through_filters(world, [account, region, group], message)?;
        let senders = filters.iter().map(|filter| Sender::new(account, group, filter)).collect();
        let now_ms = world.now_ms();
        world.traffic.bucket.deliver(senders, stream, &[*message], now_ms);
    }
    Ok(())
}

pub(super) fn lines(world: &World) -> Vec<String> {
    world.traffic.bucket.deliveries.iter().map(|delivery| delivery.envelope().to_string()).collect()
}
