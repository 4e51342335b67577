//! How a hostile message is tested: alone, so that every call and change is caused by it, and then in one batch with a
//! good message, which must still be handled.

use std::collections::BTreeSet;

use enroller_core::log::{LogEntry, Outcome};
use enroller_lab::Lab;
use enroller_lab::install::{BACKFILL, ENROLLMENTS, GRANTS};
use enroller_sim::{CallRecord, Service};
use enroller_tests::state::{difference, managed, unmanaged};
use enroller_tests::{DAY_MS, audit_of, calls_since, settled};
use serde_json::{Value, json};

pub(crate) const IRELAND: &str = "eu-west-1";
pub(crate) const VIRGINIA: &str = "us-east-1";

/// Longest reason in a log entry, in characters. Entries must not grow with what an attacker writes. A backfill request
/// is refused with up to 50 problems, one line each.
const LONGEST_REASON: usize = 10_000;

/// A queue of the installation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Queue {
    Enrollments,
    Grants,
    Backfill,
}

impl Queue {
    pub(crate) const ALL: [Self; 3] = [Self::Enrollments, Self::Grants, Self::Backfill];

    fn name(self) -> &'static str {
        match self {
            Self::Enrollments => ENROLLMENTS,
            Self::Grants => GRANTS,
            Self::Backfill => BACKFILL,
        }
    }

    pub(crate) fn url(self, lab: &Lab) -> String {
        lab.url(self.name())
    }

    /// Receives before a message goes to the dead-letter queue, as in the template.
    fn receives(self) -> usize {
        match self {
            Self::Enrollments | Self::Grants => 12,
            Self::Backfill => 12,
        }
    }

    fn dead_url(self, lab: &Lab) -> String {
        lab.url(match self {
            Self::Enrollments => "enrollments-dead",
            Self::Grants => "grants-dead.fifo",
            Self::Backfill => "backfill-dead",
        })
    }

    pub(crate) fn dead(self, lab: &Lab) -> Vec<String> {
        lab.sim.bodies(&self.dead_url(lab)).unwrap()
    }

    pub(crate) async fn send(self, lab: &Lab, body: &str) {
        lab.send(self.name(), body).await.unwrap();
    }
}

/// How a message ends, and a text that its log entry must contain.
#[derive(Clone, Debug)]
pub(crate) enum End {
    /// In the dead-letter queue, for a person to inspect.
    Refused(&'static str),
    /// Dropped after the first receive: possibly legitimate, but irrelevant here.
    Dropped(&'static str),
}

/// A settled organization of 4 accounts in 2 Regions.
pub(crate) async fn settled_organization() -> Lab {
    let lab = settled(4, &[IRELAND, VIRGINIA], 1).await;
    lab.recording.take();
    lab
}

/// A member that is neither the management nor the central account.
pub(crate) fn member(lab: &Lab) -> String {
    let special = [lab.sim.management(), lab.sim.central()];
    lab.sim.members().into_iter().rfind(|id| !special.contains(id)).unwrap()
}

/// A member other than [`member`].
pub(crate) fn other_member(lab: &Lab) -> String {
    let special = [lab.sim.management(), lab.sim.central(), member(lab)];
    lab.sim.members().into_iter().find(|id| !special.contains(id)).unwrap()
}

/// All managed and unmanaged resources, as lines of text.
pub(crate) fn everything(lab: &Lab) -> Vec<String> {
    [managed(lab), unmanaged(lab)].concat()
}

/// Checks that nothing has changed since `before`.
pub(crate) fn assert_unchanged(lab: &Lab, before: &[String], case: &str) {
    let changes = difference(before, &everything(lab));
    assert!(changes.is_empty(), "{case}: {changes:#?}");
}

/// Sends a message, settles, and checks that it ended as expected without any call to AWS except those that change its
/// visibility.
pub(crate) async fn assert_ends_as(lab: &Lab, queue: Queue, case: &str, body: &str, end: &End) {
    let (before, dead) = (everything(lab), queue.dead(lab).len());
    lab.recording.take();
    queue.send(lab, body).await;
    let from = lab.sim.calls().len();
    lab.settle(DAY_MS).await.unwrap();
    let lines = lab.recording.take();
    let (outcome, reason, count, dead_letters) = match end {
        End::Refused(reason) => (Outcome::Refused, reason, queue.receives(), 1),
        End::Dropped(reason) => (Outcome::Ignored, reason, 1, 0),
    };
    assert_eq!(lines.len(), count, "{case} on {queue:?}, one line for each receive: {:#?}", lines.first());
    for line in &lines {
        assert_eq!(line.outcome, outcome, "{case} on {queue:?}: {line:?}");
        assert!(line.cause.contains(reason), "{case} on {queue:?} says {:?}, not {reason:?}", line.cause);
        assert_harmless(line, case);
    }
    let calls: BTreeSet<String> = lab.sim.calls()[from..].iter().map(name).collect();
    let visibility_changes = BTreeSet::from(["Sqs ChangeMessageVisibility".to_owned()]);
    assert!(calls.is_subset(&visibility_changes), "{case} on {queue:?}: {calls:?}");
    assert_unchanged(lab, &before, case);
    let bodies = queue.dead(lab).split_off(dead);
    assert_eq!(bodies.len(), dead_letters, "{case} on {queue:?}");
    assert!(bodies.iter().all(|it| it == body), "{case}: the dead letter has the original body");
    for queue in Queue::ALL {
        assert_eq!(lab.sim.queue_depth(&queue.url(lab)).unwrap().total(), 0, "{case}: {queue:?} is empty again");
    }
}

fn name(call: &CallRecord) -> String {
    format!("{:?} {}", call.service, call.operation)
}

/// Checks that an entry neither grows with what an attacker wrote nor contains control characters.
pub(crate) fn assert_harmless(line: &LogEntry, case: &str) {
    for text in [&line.cause, &line.resource] {
        assert!(text.chars().count() <= LONGEST_REASON, "{case}: a line of {} characters", text.chars().count());
        // The problems of a backfill request are on a line each. The JSON of the log escapes the line ends.
        assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{case}: {text:?}");
    }
}

/// Sends a message together with a good one, and checks that the good one is handled in the first batch.
pub(crate) async fn assert_good_message_is_handled(lab: &Lab, queue: Queue, case: &str, body: &str) {
    let account = member(lab);
    let good = match queue {
        Queue::Enrollments => {
            json!({"kind": "enrollment-request", "version": 1, "account": account, "regions": [IRELAND]})
        }
        Queue::Grants => json!({"kind": "grant-request", "version": 1, "account": account}),
        Queue::Backfill => json!({"accounts": [account]}),
    };
    if queue == Queue::Grants {
        remove_from_policy(lab, &account);
    } else {
        lab.sim.with(|world| world.put_vpc(&account, IRELAND, "10.50.0.0/16", false));
    }
    let finished = |lab: &Lab| {
        let audit = audit_of(lab);
        audit.uncovered() == 0 && audit.misassigned().is_empty()
    };
    assert!(!finished(lab), "{case}: there is something to do");
    queue.send(lab, body).await;
    queue.send(lab, &good.to_string()).await;
    // One batch, and one more where another function does the work.
    for _ in 0..2 {
        lab.step().await.unwrap();
    }
    assert!(finished(lab), "{case} on {queue:?} delays a good message");
    lab.settle(DAY_MS).await.unwrap();
    assert!(finished(lab), "{case} on {queue:?}");
}

/// Removes an account from the managed statement in the home Region, as a person would.
fn remove_from_policy(lab: &Lab, account: &str) {
    edit_policy(lab, |document| {
        for statement in document["Statement"].as_array_mut().unwrap() {
            if let Some(listed) = statement["Principal"]["AWS"].as_array_mut() {
                listed.retain(|id| id != account);
            }
        }
    });
    // Longer than the onboarder and the enroller cache what they have read.
    lab.sim.advance(600_000);
}

/// The policy of the destination in the home Region.
pub(crate) fn policy(lab: &Lab) -> String {
    let arn = lab.stacks.destination_arns()[IRELAND].clone();
    lab.sim.with(|world| world.logs.destination(&arn).and_then(|it| it.access_policy.clone())).unwrap_or_default()
}

/// Edits the policy of the destination in the home Region, as a person would.
pub(crate) fn edit_policy(lab: &Lab, edit: impl FnOnce(&mut Value)) {
    let mut document: Value = serde_json::from_str(&policy(lab)).unwrap();
    edit(&mut document);
    put_policy(lab, &document.to_string());
}

/// Puts a policy on the destination in the home Region. The rules of PutDestinationPolicy apply.
pub(crate) fn put_policy(lab: &Lab, text: &str) {
    let (central, name) = (lab.sim.central(), lab.settings.destination_name.base().to_string());
    let put = lab.sim.with(|world| world.put_destination_policy(&central, IRELAND, &name, text));
    put.unwrap_or_else(|refusal| panic!("AWS refuses {text}: {refusal:?}"));
}

/// Calls since `from` by principals of the account, and all calls to STS.
pub(crate) fn calls_into(lab: &Lab, from: usize, account: &str) -> Vec<CallRecord> {
    let into = |call: &CallRecord| call.account == account || call.service == Service::Sts;
    calls_since(lab, from).into_iter().filter(into).collect()
}
