//! Queues and dead letters.

use super::CheckResult;
use crate::arn::Arn;
use crate::ids::Region;

/// A queue as GetQueueAttributes returns it. The numbers are approximate.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "`arn` is AWS's own field")]
pub struct QueueFacts {
    pub arn: String,
    /// Messages that can be received.
    pub visible: u64,
    /// Messages that were received and not deleted yet.
    pub in_flight: u64,
    /// Messages that cannot be received yet.
    pub delayed: u64,
    /// The redrive policy, if there is one.
    pub redrive: Option<RedriveFacts>,
    /// Whether it is a FIFO queue.
    pub fifo: bool,
    /// Whether content-based deduplication is on.
    pub content_based_deduplication: bool,
}

/// A redrive policy: when a message goes to which dead-letter queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedriveFacts {
    /// The ARN of the dead-letter queue.
    pub dead_letter_arn: String,
    /// How often a message is received before it goes there.
    pub max_receives: u32,
}

/// What a queue is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// For vpc-enroller or backfill: a standard queue.
    Requests,
    /// For account-onboarder: a FIFO queue. EventBridge sends to it without a deduplication id (EventBridge user guide,
    /// "Amazon EventBridge targets").
    Grants,
}

/// The ARN of the queue with a URL of the form `https://<host>/<account>/<name>`; `None` for any other.
pub fn arn_of(url: &str, home: &Region) -> Option<String> {
    let (_, path) = url.split_once("://")?;
    let mut parts = path.rsplit('/');
    let (name, account) = (parts.next()?, parts.next()?);
    let arn = format!("arn:{}:sqs:{home}:{account}:{name}", home.partition());
    // In a path without an account, the host would be taken for the account.
    arn.parse::<Arn>().ok().map(|arn| arn.to_string())
}

/// The URL of the dead-letter queue of the queue at `url`, which is in the same account and Region (SQS developer
/// guide, "Using dead-letter queues").
pub fn dead_letter_url(url: &str, redrive: &RedriveFacts) -> Option<String> {
    let (host_and_account, _) = url.rsplit_once('/')?;
    let name = redrive.dead_letter_arn.rsplit(':').next()?;
    Some(format!("{host_and_account}/{name}"))
}

/// Whether a queue is configured as its function needs it, and whether the function keeps up. A sweep sends one message
/// for each account, so more than twice the number of accounts is a backlog.
pub fn check_queue(queue: &QueueFacts, purpose: Purpose, accounts: usize) -> CheckResult {
    let stack = "update the central stack";
    let depth = format!("{} waiting, {} in flight, {} delayed", queue.visible, queue.in_flight, queue.delayed);
    let problem = match purpose {
        Purpose::Grants if !queue.fifo => Some("it is not a FIFO queue, so grants could be written concurrently"),
        Purpose::Grants if !queue.content_based_deduplication => {
            Some("its content-based deduplication is off, so EventBridge cannot send to it")
        }
        Purpose::Requests if queue.fifo => Some("it is a FIFO queue, but its senders expect a standard one"),
        Purpose::Requests | Purpose::Grants => None,
    };
    if let Some(problem) = problem {
        return CheckResult::failed(problem, stack);
    }
    let Some(redrive) = &queue.redrive else {
        let finding = "it has no dead-letter queue, so a message that cannot be processed is retried until it expires";
        return CheckResult::warning(finding, stack);
    };
    let many = u64::try_from(accounts.saturating_mul(2).max(1_000)).unwrap_or(u64::MAX);
    if queue.visible > many {
        let remedy = "check the function's errors and throttles; if there are none, raise its concurrency";
        return CheckResult::warning(format!("its function does not keep up: {depth}"), remedy);
    }
    CheckResult::ok(format!("{depth}; {} receives before the dead-letter queue", redrive.max_receives))
}

/// Whether a dead-letter queue is empty.
pub fn check_dead_letters(queue: &QueueFacts) -> CheckResult {
    match queue.visible + queue.in_flight + queue.delayed {
        0 => CheckResult::ok("empty"),
        letters => CheckResult::failed(
            match letters {
                1 => "it has 1 message".to_owned(),
                _ => format!("it has {letters} messages"),
            },
            "find the cause in the function's log (outcome \"failed\" or \"retry-later\"), fix it, and move the messages \
        back with `aws sqs start-message-move-task`",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Status;
    use super::*;

    fn queue() -> QueueFacts {
        QueueFacts {
            arn: "arn:aws:sqs:eu-west-1:444455556666:enrollments".to_owned(),
            visible: 3,
            in_flight: 0,
            delayed: 0,
            redrive: Some(RedriveFacts {
                dead_letter_arn: "arn:aws:sqs:eu-west-1:444455556666:enrollments-dead".to_owned(),
                max_receives: 12,
            }),
            fifo: false,
            content_based_deduplication: false,
        }
    }

    #[test]
    fn a_queue_is_checked_for_kind_redrive_and_depth() {
        let fifo = QueueFacts { fifo: true, content_based_deduplication: true, ..queue() };
        for (queue, purpose, status) in [
            (queue(), Purpose::Requests, Status::Ok),
            (fifo.clone(), Purpose::Grants, Status::Ok),
            (fifo.clone(), Purpose::Requests, Status::Failed),
            (queue(), Purpose::Grants, Status::Failed),
            (QueueFacts { content_based_deduplication: true, ..queue() }, Purpose::Grants, Status::Failed),
            (QueueFacts { content_based_deduplication: false, ..fifo }, Purpose::Grants, Status::Failed),
            (QueueFacts { redrive: None, ..queue() }, Purpose::Requests, Status::Warning),
            (QueueFacts { visible: 1_000, ..queue() }, Purpose::Requests, Status::Ok),
            (QueueFacts { visible: 1_001, ..queue() }, Purpose::Requests, Status::Warning),
        ] {
            let verdict = check_queue(&queue, purpose, 10);
            assert_eq!(verdict.status, status, "{verdict:?}");
        }
        assert_eq!(check_queue(&QueueFacts { visible: 9_999, ..queue() }, Purpose::Requests, 5_000).status, Status::Ok);
    }

    #[test]
    fn every_dead_letter_counts_even_one_in_flight() {
        let empty = QueueFacts { visible: 0, ..queue() };
        assert_eq!(check_dead_letters(&empty).status, Status::Ok);
        for (visible, in_flight, delayed) in [(4, 0, 0), (0, 4, 0), (0, 0, 4), (1, 1, 2)] {
            let verdict = check_dead_letters(&QueueFacts { visible, in_flight, delayed, ..queue() });
            assert_eq!((verdict.status, verdict.finding.as_str()), (Status::Failed, "it has 4 messages"));
        }
    }

    #[test]
    fn the_arn_and_the_dead_letter_url_follow_from_a_url() {
        let home: Region = "eu-west-1".parse().unwrap();
        for (url, arn) in [
            ("https://sqs.eu-west-1.amazonaws.com/444455556666/enrollments", Some(queue().arn)),
            ("http://localhost:5000/444455556666/enrollments", Some(queue().arn)),
            ("https://sqs.eu-west-1.amazonaws.com/enrollments", None),
            ("enrollments", None),
        ] {
            assert_eq!(arn_of(url, &home), arn, "{url}");
        }
        let url = "http://localhost:5000/444455556666/enrollments";
        let dead = queue().redrive.and_then(|redrive| dead_letter_url(url, &redrive));
        assert_eq!(dead.as_deref(), Some("http://localhost:5000/444455556666/enrollments-dead"));
    }
}
