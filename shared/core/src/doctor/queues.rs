//! Queues and dead letters.

use super::CheckResult;
use crate::arn::Arn;
use crate::ids::Region;

/// A queue as GetQueueAttributes shows it. The numbers are approximate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueFacts {
    /// Its ARN.
    pub arn: String,
    /// Messages that can be received.
    pub visible: u64,
    /// Messages received and not deleted yet.
    pub in_flight: u64,
    /// Messages not to be received yet.
    pub delayed: u64,
    /// Where messages go that were received too often.
    pub redrive: Option<RedriveFacts>,
    /// Whether it keeps the order.
    pub fifo: bool,
    /// Whether it finds duplicates by itself.
    pub content_based_deduplication: bool,
}

/// A redrive policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedriveFacts {
    /// ARN of the dead-letter queue.
    pub dead_letter_arn: String,
    /// Receives before a message goes there.
    pub max_receives: u32,
}

/// What a queue is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Of the enroller or of backfill; standard.
    Requests,
    /// Of the onboarder; FIFO, fed by EventBridge, which sends no deduplication id (EventBridge user guide, "Amazon
    /// EventBridge targets").
    Grants,
}

/// ARN of the queue behind a URL, `https://<host>/<account>/<name>`.
pub fn arn_of(url: &str, home: &Region) -> Option<String> {
    let (_, path) = url.split_once("://")?;
    let mut parts = path.rsplit('/');
    let (name, account) = (parts.next()?, parts.next()?);
    let arn = format!("arn:{}:sqs:{home}:{account}:{name}", home.partition());
    // A path without an account would put the host in its place.
    arn.parse::<Arn>().ok().map(|arn| arn.to_string())
}

/// URL of the dead-letter queue of the queue at `url`: it is in the same account and Region (SQS developer guide,
/// "Using dead-letter queues").
pub fn dead_letter_url(url: &str, redrive: &RedriveFacts) -> Option<String> {
    let (host_and_account, _) = url.rsplit_once('/')?;
    let name = redrive.dead_letter_arn.rsplit(':').next()?;
    Some(format!("{host_and_account}/{name}"))
}

/// Whether a queue works as its function needs it, and whether the function keeps up. A sweep sends one message for
/// each account, so twice as many as there are accounts are too many.
pub fn check_queue(queue: &QueueFacts, purpose: Purpose, accounts: usize) -> CheckResult {
    let stack = "update the central stack";
    let depth = format!("{} waiting, {} in work, {} delayed", queue.visible, queue.in_flight, queue.delayed);
    let problem = match purpose {
        Purpose::Grants if !queue.fifo => Some("it is no FIFO queue, so grants could be written by two at once"),
        Purpose::Grants if !queue.content_based_deduplication => {
            Some("content-based deduplication is off, so EventBridge cannot send to it")
        }
        Purpose::Requests if queue.fifo => Some("it is a FIFO queue, and its messages are made for a standard one"),
        Purpose::Requests | Purpose::Grants => None,
    };
    if let Some(problem) = problem {
        return CheckResult::failed(problem, stack);
    }
    let Some(redrive) = &queue.redrive else {
        let finding = "it has no dead-letter queue, so what cannot be done is tried again until it expires";
        return CheckResult::warning(finding, stack);
    };
    let many = u64::try_from(accounts.saturating_mul(2).max(1_000)).unwrap_or(u64::MAX);
    if queue.visible > many {
        let remedy = "look at the function's errors and throttles; raise its concurrency if there are none";
        return CheckResult::warning(format!("its function does not keep up: {depth}"), remedy);
    }
    CheckResult::ok(format!("{depth}; {} receives before the dead-letter queue", redrive.max_receives))
}

/// Whether anything was given up.
pub fn check_dead_letters(queue: &QueueFacts) -> CheckResult {
    match queue.visible + queue.in_flight + queue.delayed {
        0 => CheckResult::ok("empty"),
        letters => CheckResult::failed(
            format!("{letters} messages were given up"),
            "look for their cause in the function's log (outcome \"failed\" or \"retry-later\"), mend it, and send them \
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
    fn a_queue_is_judged_by_kind_redrive_and_depth() {
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
    fn any_dead_letter_counts_also_one_somebody_reads() {
        let empty = QueueFacts { visible: 0, ..queue() };
        assert_eq!(check_dead_letters(&empty).status, Status::Ok);
        for (visible, in_flight, delayed) in [(4, 0, 0), (0, 4, 0), (0, 0, 4), (1, 1, 2)] {
            let verdict = check_dead_letters(&QueueFacts { visible, in_flight, delayed, ..queue() });
            assert_eq!((verdict.status, verdict.finding.as_str()), (Status::Failed, "4 messages were given up"));
        }
    }

    #[test]
    fn urls_and_arns_of_queues_lead_to_each_other() {
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
