//! Amazon SQS: queues of accounts and Regions, the JSON operations, and direct access for tests and the demo.
//!
//! Rules: SQS API reference (each operation) and SQS developer guide, "Amazon SQS message quotas".

mod api;
mod queue;

use std::collections::BTreeMap;

use thiserror::Error;

pub(crate) use self::api::handle;
use self::queue::{MAX_DELAY_SECONDS, MAX_MESSAGE_BYTES, MAX_VISIBILITY_SECONDS, NewMessage, Queue, Visibility, Whims};
pub use self::queue::{QueueDepth, QueueSettings, ReceivedMessage, Redrive};
use crate::rules::queue_refuses_events;
use crate::settings::Settings;
use crate::sim::Sim;
use crate::world::World;

/// Why a queue cannot be created or used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum QueueError {
    /// No queue of that URL.
    #[error("queue {0} does not exist")]
    NoSuchQueue(String),
    /// The settings contradict each other or SQS's limits.
    #[error("queue {name} cannot be made: {reason}")]
    Settings {
        /// Name of the queue.
        name: String,
        /// What SQS would refuse, as a phrase.
        reason: &'static str,
    },
    /// The receipt handle is not one of this queue, or has expired.
    #[error("receipt handle {0} is not valid")]
    Handle(String),
}

/// Queues of all accounts and Regions.
#[derive(Debug, Default)]
pub struct SqsState {
    queues: BTreeMap<QueueId, Queue>,
    sequence_number: u64,
}

/// Account, Region, name.
type QueueId = (String, String, String);

impl SqsState {
    /// Sequence numbers of FIFO messages rise; they need not be consecutive (SQS API reference, SendMessage).
    fn next_sequence_number(&mut self) -> u64 {
        self.sequence_number += 1;
        self.sequence_number
    }

    pub(crate) fn queue(&self, account: &str, region: &str, name: &str) -> Option<&Queue> {
        self.queues.get(&id_of(account, region, name))
    }

    /// ARN of the queue behind a URL.
    pub(crate) fn arn_of_url(&self, url: &str, region: &str) -> Option<String> {
        self.find(url, Some(region)).map(|id| arn_of(&id))
    }

    /// Finds a queue by the path of its URL, since the endpoint may be any; the Region is that of the host name if
    /// it has one, else `region`, else the only one that has such a queue.
    fn find(&self, url: &str, region: Option<&str>) -> Option<QueueId> {
        let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
        let (host, path) = rest.split_once('/')?;
        let (account, name) = path.split_once('/')?;
        let of_host =
            host.strip_prefix("sqs.").and_then(|host| host.split_once(".amazonaws")).map(|(region, _)| region);
        match of_host.or(region) {
            Some(region) => Some(id_of(account, region, name)).filter(|id| self.queues.contains_key(id)),
            None => self.queues.keys().find(|(owner, _, queue)| owner == account && queue == name).cloned(),
        }
    }
}

fn id_of(account: &str, region: &str, name: &str) -> QueueId {
    (account.to_owned(), region.to_owned(), name.to_owned())
}

fn url_of((account, region, name): &QueueId) -> String {
    format!("https://sqs.{region}.amazonaws.com/{account}/{name}")
}

fn arn_of((account, region, name): &QueueId) -> String {
    format!("arn:aws:sqs:{region}:{account}:{name}")
}

/// Creates a queue, or finds the one with the same name and settings. Returns its URL.
fn create(world: &mut World, id: QueueId, settings: QueueSettings) -> Result<String, QueueError> {
    check(world, &id, &settings).map_err(|reason| QueueError::Settings { name: id.2.clone(), reason })?;
    let url = url_of(&id);
    world.sqs.queues.entry(id).or_insert_with(|| Queue::new(settings));
    Ok(url)
}

fn check(world: &World, (account, region, name): &QueueId, settings: &QueueSettings) -> Result<(), &'static str> {
    let stem = name.strip_suffix(".fifo");
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let stem_or_name = stem.unwrap_or(name);
    if name.len() > 80 || stem_or_name.is_empty() || !stem_or_name.bytes().all(valid) {
        return Err("Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length");
    }
    if stem.is_some() != settings.fifo {
        return Err("The name of a FIFO queue, and only that, ends with .fifo");
    }
    if settings.content_based_deduplication && !settings.fifo {
        return Err("ContentBasedDeduplication is for FIFO queues");
    }
    if settings.visibility_timeout_ms > MAX_VISIBILITY_SECONDS * 1_000 {
        return Err("VisibilityTimeout must be between 0 and 43200 seconds");
    }
    if settings.delay_ms > MAX_DELAY_SECONDS * 1_000 {
        return Err("DelaySeconds must be between 0 and 900 seconds");
    }
    if !(60_000..=1_209_600_000).contains(&settings.retention_ms) {
        return Err("MessageRetentionPeriod must be between 60 and 1209600 seconds");
    }
    if let Some(redrive) = &settings.redrive {
        if !(1..=1_000).contains(&redrive.max_receive_count) {
            return Err("maxReceiveCount must be between 1 and 1000");
        }
        let dead =
            world.sqs.queue(account, region, &redrive.dead_letter_queue).ok_or("Dead letter target does not exist")?;
        if dead.settings().fifo != settings.fifo {
            return Err("Dead-letter queue must be same type of queue as the source");
        }
    }
    match world.sqs.queue(account, region, name) {
        Some(existing) if existing.settings() != settings => {
            Err("A queue already exists with the same name and a different value")
        }
        Some(_) | None => Ok(()),
    }
}

/// Receives messages. Those that were received too often go to the dead-letter queue instead.
fn receive(world: &mut World, id: &QueueId, max: usize, visibility_ms: Option<u64>) -> Vec<ReceivedMessage> {
    let now_ms = world.now_ms();
    let Some(queue) = world.sqs.queues.get_mut(id) else { return Vec::new() };
    queue.expire(now_ms);
    let Settings { queue_repeat_percent: repeat_percent, queue_reorder: reorder, .. } = world.settings;
    let mut whims = Whims { dice: &mut world.dice, repeat_percent, reorder };
    let (received, dead) = queue.receive(max, visibility_ms, now_ms, &mut whims);
    let target = queue.settings().redrive.as_ref().map(|redrive| id_of(&id.0, &id.1, &redrive.dead_letter_queue));
    if let Some(dead_letters) = target.and_then(|target| world.sqs.queues.get_mut(&target)) {
        dead.into_iter().for_each(|message| dead_letters.put_dead(message, now_ms));
    }
    received
}

/// An event that a rule sends to a queue; `false` when the queue does not exist or refuses the message.
pub(crate) fn send_event(
    world: &mut World,
    (account, region, name): (&str, &str, &str),
    body: String,
    group_id: Option<String>,
    now_ms: u64,
) -> bool {
    if queue_refuses_events(world, account, region) {
        return false;
    }
    let id = world.ids.uuid();
    match world.sqs.queues.get_mut(&id_of(account, region, name)) {
        Some(queue) if queue.settings().fifo == group_id.is_some() && body.len() <= MAX_MESSAGE_BYTES => {
            queue.send(NewMessage { body, group_id, ..NewMessage::default() }, id, now_ms);
            true
        }
        Some(_) | None => false,
    }
}

/// What the Lambda event source mapping and an operator do with queues.
impl Sim {
    /// Creates a queue and returns its URL. Creating it again with the same settings succeeds.
    ///
    /// # Errors
    /// [`QueueError::Settings`] for what CreateQueue refuses.
    pub fn create_queue(
        &self,
        account: &str,
        region: &str,
        name: &str,
        settings: QueueSettings,
    ) -> Result<String, QueueError> {
        self.with(|world| create(world, id_of(account, region, name), settings))
    }

    /// Receives up to `max` messages. They are invisible until the visibility timeout of the queue ends.
    ///
    /// # Errors
    /// [`QueueError::NoSuchQueue`].
    pub fn receive(&self, queue_url: &str, max: usize) -> Result<Vec<ReceivedMessage>, QueueError> {
        self.at_queue(queue_url, |world, id| receive(world, id, max, None))
    }

    /// Deletes a received message.
    ///
    /// # Errors
    /// [`QueueError::Handle`] when the handle is not valid.
    pub fn delete(&self, queue_url: &str, receipt_handle: &str) -> Result<(), QueueError> {
        let deleted = self.at_queue(queue_url, |world, id| {
            let now_ms = world.now_ms();
            world.sqs.queues.get_mut(id).is_some_and(|queue| queue.delete(receipt_handle, now_ms))
        })?;
        if deleted { Ok(()) } else { Err(QueueError::Handle(receipt_handle.to_owned())) }
    }

    /// Makes a received message visible again `timeout_ms` from now.
    ///
    /// # Errors
    /// [`QueueError::Handle`] when the message is not in flight with this handle.
    pub fn make_visible_after(&self, queue_url: &str, receipt_handle: &str, timeout_ms: u64) -> Result<(), QueueError> {
        let changed = self.at_queue(queue_url, |world, id| {
            let now_ms = world.now_ms();
            let queue = world.sqs.queues.get_mut(id);
            queue.map(|queue| queue.change_visibility(receipt_handle, timeout_ms, now_ms))
        })?;
        match changed {
            Some(Visibility::Changed) => Ok(()),
            Some(Visibility::NotInFlight | Visibility::InvalidHandle) | None => {
                Err(QueueError::Handle(receipt_handle.to_owned()))
            }
        }
    }

    /// How many messages the queue holds.
    ///
    /// # Errors
    /// [`QueueError::NoSuchQueue`].
    pub fn queue_depth(&self, queue_url: &str) -> Result<QueueDepth, QueueError> {
        let depth = |world: &mut World, id: &QueueId| {
            let now_ms = world.now_ms();
            let queue = world.sqs.queues.get_mut(id)?;
            queue.expire(now_ms);
            Some(queue.depth(now_ms))
        };
        Ok(self.at_queue(queue_url, depth)?.unwrap_or_default())
    }

    /// Bodies of all messages on a queue in order of arrival, without receiving them.
    ///
    /// # Errors
    /// [`QueueError::NoSuchQueue`].
    pub fn bodies(&self, queue_url: &str) -> Result<Vec<String>, QueueError> {
        self.at_queue(queue_url, |world, id| {
            world.sqs.queues.get(id).into_iter().flat_map(Queue::bodies).map(str::to_owned).collect()
        })
    }

    /// The earliest moment, in epoch milliseconds, at which a message of the queue can be received.
    ///
    /// # Errors
    /// [`QueueError::NoSuchQueue`].
    pub fn earliest_visible_ms(&self, queue_url: &str) -> Result<Option<u64>, QueueError> {
        self.at_queue(queue_url, |world, id| {
            let now_ms = world.now_ms();
            world.sqs.queues.get(id).and_then(|queue| queue.earliest_visible_ms(now_ms))
        })
    }

    fn at_queue<T>(&self, url: &str, act: impl FnOnce(&mut World, &QueueId) -> T) -> Result<T, QueueError> {
        self.with(|world| {
            // On real time, nothing else delivers events that have become due.
            crate::events::deliver_due(world);
            let id = world.sqs.find(url, None).ok_or_else(|| QueueError::NoSuchQueue(url.to_owned()))?;
            Ok(act(world, &id))
        })
    }
}
