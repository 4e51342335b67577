//! One SQS queue on virtual time: visibility, delays, receive counts, FIFO groups and deduplication.
//!
//! Rules: SQS developer guide, "Visibility timeout", "Delay queues", "FIFO queue delivery logic", "Exactly-once
//! processing". **Invariant**: a message is visible from `visible_at_ms` on, and no second receiver gets it before
//! that. A sender may still put duplicates on a standard queue.

use std::collections::{BTreeMap, BTreeSet};

use md5::{Digest, Md5};

/// Longest visibility timeout in seconds (SQS quotas).
pub(crate) const MAX_VISIBILITY_SECONDS: u64 = 43_200;

/// Longest delay of a message in seconds (SQS quotas).
pub(crate) const MAX_DELAY_SECONDS: u64 = 900;

/// Largest message, and largest batch, in bytes: 1 MiB (SQS quotas).
pub(crate) const MAX_MESSAGE_BYTES: usize = 1_048_576;

/// Messages with the same deduplication id are the same message for this long (SQS developer guide, "Exactly-once
/// processing").
const DEDUPLICATION_MS: u64 = 5 * 60 * 1_000;

/// Attributes that CreateQueue sets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueSettings {
    /// FIFO queue; its name ends in `.fifo`.
    pub fifo: bool,
    /// Visibility timeout of a received message in milliseconds, 0 to 12 hours.
    pub visibility_timeout_ms: u64,
    /// Milliseconds before a new message can be received, 0 to 15 minutes.
    pub delay_ms: u64,
    /// Milliseconds that a message is kept (`MessageRetentionPeriod`), 60 seconds to 14 days.
    pub retention_ms: u64,
    /// FIFO: a message without deduplication id gets the hash of its body.
    pub content_based_deduplication: bool,
    /// Dead-letter queue for messages that were received too often.
    pub redrive: Option<Redrive>,
}

/// The redrive policy of a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redrive {
    /// Name of the dead-letter queue, of the same account, Region and kind.
    pub dead_letter_queue: String,
    /// Receives after which the next one moves the message, 1 to 1,000.
    pub max_receive_count: u32,
}

impl Default for QueueSettings {
    /// SQS's defaults: standard, 30 s visibility, no delay, messages kept for 4 days, no redrive.
    fn default() -> Self {
        Self {
            fifo: false,
            visibility_timeout_ms: 30_000,
            delay_ms: 0,
            retention_ms: 4 * 24 * 60 * 60 * 1_000,
            content_based_deduplication: false,
            redrive: None,
        }
    }
}

/// A received message, as the Lambda event source mapping sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceivedMessage {
    /// Id given when it was sent.
    pub message_id: String,
    /// Handle of this receive; an older one still deletes from a standard queue.
    pub receipt_handle: String,
    /// Body, as it was sent.
    pub body: String,
    /// Receives so far, this one included.
    pub receive_count: u32,
    /// When it was sent, in epoch milliseconds.
    pub sent_ms: u64,
    /// When it was first received, in epoch milliseconds.
    pub first_received_ms: u64,
    /// Message group, which every message of a FIFO queue has.
    pub group_id: Option<String>,
}

/// A message to send.
#[derive(Debug, Clone, Default)]
pub(crate) struct NewMessage {
    pub(crate) body: String,
    pub(crate) delay_ms: Option<u64>,
    pub(crate) group_id: Option<String>,
    pub(crate) deduplication_id: Option<String>,
}

/// Number of messages on a queue, by state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QueueDepth {
    /// Can be received now, or as soon as their group is free.
    pub visible: usize,
    /// Received, and invisible until they are deleted or their visibility timeout ends.
    pub in_flight: usize,
    /// Sent with a delay that is not over.
    pub delayed: usize,
}

impl QueueDepth {
    /// All messages on the queue.
    pub fn total(&self) -> usize {
        self.visible + self.in_flight + self.delayed
    }
}

/// What standard queues do at times (SQS developer guide, "Standard queues"): repeat messages and change their order.
#[derive(Debug)]
pub(crate) struct Whims<'a> {
    pub(crate) dice: &'a mut fastrand::Rng,
    pub(crate) repeat_percent: u64,
    pub(crate) reorder: bool,
}

/// A message on the queue.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    pub(crate) id: String,
    pub(crate) body: String,
    pub(crate) sent_ms: u64,
    pub(crate) first_received_ms: Option<u64>,
    pub(crate) visible_at_ms: u64,
    pub(crate) receive_count: u32,
    pub(crate) group_id: Option<String>,
}

#[derive(Debug)]
pub(crate) struct Queue {
    settings: QueueSettings,
    // Keyed by order of arrival, which is the order a FIFO group keeps.
    messages: BTreeMap<u64, Message>,
    arrivals: u64,
    deduplication: BTreeMap<String, (u64, String)>,
}

impl Queue {
    pub(crate) fn new(settings: QueueSettings) -> Self {
        Self { settings, messages: BTreeMap::new(), arrivals: 0, deduplication: BTreeMap::new() }
    }

    pub(crate) fn settings(&self) -> &QueueSettings {
        &self.settings
    }

    /// Puts a message on the queue and returns its id: that of the first one for a duplicate on a FIFO queue.
    pub(crate) fn send(&mut self, message: NewMessage, id: String, now_ms: u64) -> String {
        if self.settings.fifo {
            let key = message.deduplication_id.unwrap_or_else(|| md5_hex(&message.body));
            self.deduplication.retain(|_, (sent_ms, _)| now_ms < *sent_ms + DEDUPLICATION_MS);
            if let Some((_, first)) = self.deduplication.get(&key) {
                return first.clone();
            }
            self.deduplication.insert(key, (now_ms, id.clone()));
        }
        self.put(Message {
            id: id.clone(),
            body: message.body,
            sent_ms: now_ms,
            first_received_ms: None,
            visible_at_ms: now_ms + message.delay_ms.unwrap_or(self.settings.delay_ms),
            receive_count: 0,
            group_id: message.group_id,
        });
        id
    }

    /// Puts a message on this dead-letter queue. Id, send time and receive count are kept.
    pub(crate) fn put_dead(&mut self, message: Message, now_ms: u64) {
        self.put(Message { visible_at_ms: now_ms, ..message });
    }

    fn put(&mut self, message: Message) {
        self.arrivals += 1;
        self.messages.insert(self.arrivals, message);
    }

    /// Drops messages that are older than the retention period.
    pub(crate) fn expire(&mut self, now_ms: u64) {
        let retention_ms = self.settings.retention_ms;
        self.messages.retain(|_, message| now_ms < message.sent_ms.saturating_add(retention_ms));
    }

    /// Receives up to `max` messages. Those received too often are returned apart, for the dead-letter queue.
    pub(crate) fn receive(
        &mut self,
        max: usize,
        visibility_ms: Option<u64>,
        now_ms: u64,
        whims: &mut Whims<'_>,
    ) -> (Vec<ReceivedMessage>, Vec<Message>) {
        let visible_at_ms = now_ms + visibility_ms.unwrap_or(self.settings.visibility_timeout_ms);
        let limit = self.settings.redrive.as_ref().map(|redrive| redrive.max_receive_count);
        let mut blocked = self.blocked_groups(now_ms);
        let (mut received, mut dead) = (Vec::new(), Vec::new());
        let mut order: Vec<u64> = self.messages.keys().copied().collect();
        if whims.reorder && !self.settings.fifo {
            whims.dice.shuffle(&mut order);
        }
        for arrival in order {
            let Some(message) = self.messages.get_mut(&arrival) else { continue };
            if received.len() == max {
                break;
            }
            let group_is_blocked = message.group_id.as_ref().is_some_and(|group| blocked.contains(group));
            if message.visible_at_ms > now_ms || (self.settings.fifo && group_is_blocked) {
                // A delayed message holds back those behind it in its group.
                blocked.extend(message.group_id.clone());
                continue;
            }
            if limit.is_some_and(|limit| message.receive_count >= limit) {
                dead.push(arrival);
                continue;
            }
            message.receive_count += 1;
            let repeats = !self.settings.fifo && whims.dice.u64(0..100) < whims.repeat_percent;
            message.visible_at_ms = if repeats { now_ms } else { visible_at_ms };
            let first_received_ms = *message.first_received_ms.get_or_insert(now_ms);
            received.push(ReceivedMessage {
                message_id: message.id.clone(),
                receipt_handle: format!("{arrival}/{}", message.receive_count),
                body: message.body.clone(),
                receive_count: message.receive_count,
                sent_ms: message.sent_ms,
                first_received_ms,
                group_id: message.group_id.clone(),
            });
        }
        let dead = dead.into_iter().filter_map(|arrival| self.messages.remove(&arrival)).collect();
        (received, dead)
    }

    /// Groups with a message in flight. A FIFO queue returns no other message of them.
    fn blocked_groups(&self, now_ms: u64) -> BTreeSet<String> {
        let in_flight = |message: &&Message| message.receive_count > 0 && message.visible_at_ms > now_ms;
        self.messages.values().filter(in_flight).filter_map(|message| message.group_id.clone()).collect()
    }

    /// Deletes by receipt handle. `false` when the handle is not one of this queue. Deleting twice succeeds.
    pub(crate) fn delete(&mut self, receipt_handle: &str, now_ms: u64) -> bool {
        let Some((arrival, receive)) = parse_handle(receipt_handle).filter(|(arrival, _)| *arrival <= self.arrivals)
        else {
            return false;
        };
        let Some(message) = self.messages.get(&arrival) else { return true };
        // A FIFO queue keeps the message when the handle has expired (SQS API reference, DeleteMessage).
        let expired = message.receive_count != receive || message.visible_at_ms <= now_ms;
        if self.settings.fifo && expired {
            return false;
        }
        self.messages.remove(&arrival);
        true
    }

    /// Makes a received message visible after `timeout_ms` from now; `false` when it is not in flight.
    pub(crate) fn change_visibility(&mut self, receipt_handle: &str, timeout_ms: u64, now_ms: u64) -> Visibility {
        let Some((arrival, receive)) = parse_handle(receipt_handle).filter(|(arrival, _)| *arrival <= self.arrivals)
        else {
            return Visibility::InvalidHandle;
        };
        match self.messages.get_mut(&arrival) {
            Some(message) if message.receive_count == receive && message.visible_at_ms > now_ms => {
                message.visible_at_ms = now_ms + timeout_ms;
                Visibility::Changed
            }
            Some(_) | None => Visibility::NotInFlight,
        }
    }

    pub(crate) fn depth(&self, now_ms: u64) -> QueueDepth {
        let mut depth = QueueDepth::default();
        for message in self.messages.values() {
            match (message.visible_at_ms <= now_ms, message.receive_count) {
                (true, _) => depth.visible += 1,
                (false, 0) => depth.delayed += 1,
                (false, _) => depth.in_flight += 1,
            }
        }
        depth
    }

    /// The earliest time at which a message can be received, seen from `now_ms`. A message of a FIFO group waits for
    /// the messages of that group that are in flight.
    pub(crate) fn earliest_visible_ms(&self, now_ms: u64) -> Option<u64> {
        let in_flight = |message: &&Message| message.receive_count > 0 && message.visible_at_ms > now_ms;
        let mut free_ms = BTreeMap::<&str, u64>::new();
        for message in self.messages.values().filter(in_flight) {
            let free_ms = free_ms.entry(message.group_id.as_deref().unwrap_or_default()).or_default();
            *free_ms = message.visible_at_ms.max(*free_ms);
        }
        let group_free_ms =
            |message: &Message| message.group_id.as_deref().and_then(|group| free_ms.get(group)).copied().unwrap_or(0);
        self.messages.values().map(|message| message.visible_at_ms.max(group_free_ms(message))).min()
    }

    /// Bodies in order of arrival.
    pub(crate) fn bodies(&self) -> impl Iterator<Item = &str> {
        self.messages.values().map(|message| message.body.as_str())
    }
}

/// Result of a visibility change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Visibility {
    Changed,
    NotInFlight,
    InvalidHandle,
}

fn parse_handle(receipt_handle: &str) -> Option<(u64, u32)> {
    let (arrival, receive) = receipt_handle.split_once('/')?;
    Some((arrival.parse().ok()?, receive.parse().ok()?))
}

/// MD5 of a body in hex, which SQS returns and the SDKs check.
pub(crate) fn md5_hex(text: &str) -> String {
    Md5::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(body: &str, group: Option<&str>) -> NewMessage {
        NewMessage { body: body.to_owned(), group_id: group.map(str::to_owned), ..NewMessage::default() }
    }

    fn standard() -> Queue {
        Queue::new(QueueSettings::default())
    }

    fn fifo() -> Queue {
        Queue::new(QueueSettings { fifo: true, content_based_deduplication: true, ..QueueSettings::default() })
    }

    fn dice() -> fastrand::Rng {
        fastrand::Rng::with_seed(1)
    }

    fn none(dice: &mut fastrand::Rng) -> Whims<'_> {
        Whims { dice, repeat_percent: 0, reorder: false }
    }

    fn bodies(received: &(Vec<ReceivedMessage>, Vec<Message>)) -> Vec<&str> {
        received.0.iter().map(|message| message.body.as_str()).collect()
    }

    #[test]
    fn a_received_message_is_hidden_until_its_visibility_timeout_ends_and_counts_its_receives() {
        let mut queue = standard();
        queue.send(message("a", None), "1".to_owned(), 0);
        assert_eq!(queue.receive(10, None, 5, &mut none(&mut dice())).0[0].receive_count, 1);
        assert!(queue.receive(10, None, 30_004, &mut none(&mut dice())).0.is_empty());
        let again = queue.receive(10, None, 30_005, &mut none(&mut dice())).0.remove(0);
        assert_eq!((again.receive_count, again.first_received_ms, again.sent_ms), (2, 5, 0));
    }

    #[test]
    fn a_delayed_message_comes_when_its_delay_is_over() {
        let mut queue = standard();
        queue.send(NewMessage { delay_ms: Some(10), ..message("a", None) }, "1".to_owned(), 0);
        assert_eq!(queue.depth(9), QueueDepth { delayed: 1, ..QueueDepth::default() });
        assert!(queue.receive(1, None, 9, &mut none(&mut dice())).0.is_empty());
        assert_eq!(bodies(&queue.receive(1, None, 10, &mut none(&mut dice()))), ["a"]);
    }

    #[test]
    fn a_fifo_group_is_blocked_while_one_of_its_messages_is_in_flight_and_keeps_its_order() {
        let mut queue = fifo();
        for (body, group) in [("a1", "a"), ("b1", "b"), ("a2", "a"), ("a3", "a")] {
            queue.send(message(body, Some(group)), body.to_owned(), 0);
        }
        let first = queue.receive(1, None, 0, &mut none(&mut dice()));
        assert_eq!(bodies(&first), ["a1"]);
        assert_eq!(bodies(&queue.receive(10, None, 1, &mut none(&mut dice()))), ["b1"]);
        assert_eq!(queue.earliest_visible_ms(2), Some(30_000), "what waits behind a1 can come when a1 can");
        assert!(queue.delete(&first.0[0].receipt_handle, 2));
        assert_eq!(
            bodies(&queue.receive(10, None, 3, &mut none(&mut dice()))),
            ["a2", "a3"],
            "one receive may take several of a group"
        );
    }

    #[test]
    fn a_fifo_queue_takes_the_same_content_once_in_five_minutes() {
        let mut queue = fifo();
        assert_eq!(queue.send(message("a", Some("g")), "1".to_owned(), 0), "1");
        assert_eq!(queue.send(message("a", Some("g")), "2".to_owned(), DEDUPLICATION_MS - 1), "1");
        assert_eq!(queue.send(message("a", Some("g")), "3".to_owned(), DEDUPLICATION_MS), "3");
        let explicit = NewMessage { deduplication_id: Some("x".to_owned()), ..message("a", Some("g")) };
        assert_eq!(queue.send(explicit, "4".to_owned(), DEDUPLICATION_MS), "4");
        assert_eq!(queue.depth(DEDUPLICATION_MS).total(), 3);
    }

    #[test]
    fn a_message_received_too_often_leaves_for_the_dead_letter_queue() {
        let redrive = Some(Redrive { dead_letter_queue: "dead".to_owned(), max_receive_count: 2 });
        let mut queue = Queue::new(QueueSettings { redrive, visibility_timeout_ms: 1, ..QueueSettings::default() });
        queue.send(message("a", None), "1".to_owned(), 0);
        assert_eq!(queue.receive(1, None, 0, &mut none(&mut dice())).0.len(), 1);
        assert_eq!(queue.receive(1, None, 1, &mut none(&mut dice())).0.len(), 1);
        let (received, dead) = queue.receive(1, None, 2, &mut none(&mut dice()));
        assert!(received.is_empty());
        assert_eq!((dead[0].id.as_str(), dead[0].receive_count), ("1", 2));
        assert_eq!(queue.depth(2).total(), 0);
    }

    #[test]
    fn visibility_changes_only_with_the_handle_of_the_last_receive() {
        let mut queue = standard();
        queue.send(message("a", None), "1".to_owned(), 0);
        let old = queue.receive(1, Some(10), 0, &mut none(&mut dice())).0.remove(0).receipt_handle;
        let new = queue.receive(1, Some(10), 10, &mut none(&mut dice())).0.remove(0).receipt_handle;
        assert_eq!(queue.change_visibility(&old, 500, 11), Visibility::NotInFlight);
        assert_eq!(queue.change_visibility("nonsense", 500, 11), Visibility::InvalidHandle);
        assert_eq!(queue.change_visibility(&new, 500, 11), Visibility::Changed);
        assert_eq!(queue.earliest_visible_ms(11), Some(511));
        assert!(queue.delete(&old, 12), "a standard queue deletes with an old handle");
    }

    #[test]
    fn a_fifo_queue_keeps_a_message_whose_handle_has_expired() {
        let mut queue = fifo();
        queue.send(message("a", Some("g")), "1".to_owned(), 0);
        let handle = queue.receive(1, Some(10), 0, &mut none(&mut dice())).0.remove(0).receipt_handle;
        assert!(!queue.delete(&handle, 10));
        assert_eq!(queue.depth(10).visible, 1);
    }

    #[test]
    fn the_digest_is_that_of_the_documentation() {
        assert_eq!(md5_hex("This is a test message"), "fafb00f5732ab283681e124bf8747ed1");
    }

    #[test]
    fn a_standard_queue_may_repeat_and_reorder_and_a_fifo_queue_does_neither() {
        for (mut queue, in_order, left) in [(standard(), false, 9), (fifo(), true, 0)] {
            for number in 0..9 {
                queue.send(message(&number.to_string(), Some("g")), number.to_string(), 0);
            }
            let mut dice = dice();
            let mut whims = Whims { dice: &mut dice, repeat_percent: 100, reorder: true };
            let received = queue.receive(9, None, 0, &mut whims);
            assert_eq!(bodies(&received) == ["0", "1", "2", "3", "4", "5", "6", "7", "8"], in_order);
            assert_eq!(queue.depth(0).visible, left);
        }
    }

    #[test]
    fn a_message_expires_after_the_retention_period() {
        let mut queue = Queue::new(QueueSettings { retention_ms: 60_000, ..QueueSettings::default() });
        queue.send(message("a", None), "1".to_owned(), 0);
        queue.expire(59_999);
        assert_eq!(queue.depth(0).total(), 1);
        queue.expire(60_000);
        assert_eq!(queue.depth(0).total(), 0);
    }
}
