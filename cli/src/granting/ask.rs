//! Asking account-onboarder for grants, and waiting until the destinations' policies show them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use enroller_core::grants::{GrantPlan, PolicyState, RegionGrants, ShardWrite};
use enroller_core::ids::{AccountId, AccountRegion, OrganizationId, Region};
use enroller_core::log::{LogEntry, Outcome};
use enroller_core::message::{GrantRequest, Message, SyncRequest};
use enroller_core::settings::QueueUrls;
use enroller_engine::granter::{GrantPreview, GrantSync};
use enroller_engine::outbox::Outbox;
use enroller_engine::ports::AwsResult;
use futures::future::{join, join_all};
use indicatif::{ProgressBar, ProgressStyle};

use super::{GrantsDone, is_failure};
use crate::interrupt::Stop;
use crate::output::{count, note};
use crate::session::Session;

/// Most accounts that are asked for one by one. Each message is a sync, and one sync grants any number of accounts.
const SINGLY: usize = 10;

/// The first wait before the policies are read again, and the longest.
const POLL: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(8)];

/// How long to wait. A function runs for at most 15 minutes, and a sync that runs already has to end first.
const PATIENCE: Duration = Duration::from_secs(900);

/// How long a message may stay on the queue with nobody working on any.
const UNREAD: Duration = Duration::from_secs(90);

/// How a wait ended.
enum End {
    Done,
    Interrupted,
    /// Nobody receives messages from the queue.
    Unread,
    TimedOut,
}

/// The writes that account-onboarder is asked for, by Region.
struct Pending {
    writes: BTreeMap<Region, Vec<ShardWrite>>,
    all: usize,
}

/// Asks for what the preview shows, and waits for it.
pub(super) async fn ask(
    session: &Session,
    queue_url: &str,
    work: &GrantSync,
    preview: &GrantPreview,
    stop: &mut Stop,
) -> AwsResult<GrantsDone> {
    let mut done = GrantsDone { failures: failures(preview), ..GrantsDone::default() };
    for (region, plan) in &preview.regions {
        if let Ok(plan) = plan {
            done.assignments.insert(region.clone(), plan.assignments.clone());
        }
    }
    let plans = preview.regions.iter().filter_map(|(region, plan)| Some((region.clone(), plan.as_ref().ok()?)));
    let writes: BTreeMap<Region, Vec<ShardWrite>> =
        plans.filter(|(_, plan)| !plan.writes.is_empty()).map(|(region, plan)| (region, plan.writes.clone())).collect();
    let mut pending = Pending { all: writes.values().map(Vec::len).sum(), writes };
    if pending.all == 0 {
        return Ok(done);
    }
    send(session, queue_url, work, &pending).await?;
    let end = wait(session, queue_url, &mut pending, &mut done, stop).await;
    for (region, writes) in &pending.writes {
        // The accounts go on with what the policies say now, and report a missing grant.
        done.assignments.remove(region);
        done.failures.push(missing(region, writes, &end));
    }
    Ok(done)
}

/// What a preview says that a person has to decide or fix.
fn failures(preview: &GrantPreview) -> Vec<LogEntry> {
    let unreadable = preview.regions.iter().filter_map(|(region, plan)| {
        let entry = plan.as_ref().err()?.entry("plan-grants", &format!("destinations of {region}"));
        Some(LogEntry { region: Some(region.clone()), ..entry })
    });
    preview.decisions.iter().filter(|line| is_failure(line)).cloned().chain(unreadable).collect()
}

async fn send(session: &Session, queue_url: &str, work: &GrantSync, pending: &Pending) -> AwsResult<()> {
    // Only the grants queue is used.
    let urls = QueueUrls { enrollments: String::new(), grants: queue_url.to_owned() };
    let outbox = Outbox::new(&session.ports().queues, urls);
    let run = format!("enroller-{}-{}", session.context.clock.now_ms(), std::process::id());
    let writes = || pending.writes.values().flatten();
    let added: BTreeSet<AccountId> = writes().flat_map(|write| write.added.iter().copied()).collect();
    let only_adds = writes().all(|write| write.removed.is_empty() && !write.force && !write.repoint);
    let narrowed = work.only.as_ref().is_some_and(enroller_core::backfill::BackfillRequest::narrows_accounts);
    if narrowed && only_adds && !added.is_empty() && added.len() <= SINGLY {
        for account in added {
            let request = GrantRequest { account, reason: work.reason.clone() };
            outbox.grant(Message::Grant(request).to_json(), format!("{run}-{account}")).await?;
        }
        return Ok(());
    }
    let (reason, allow_mass_revocation) = (work.reason.clone(), work.allow_mass_revocation);
    let sync = SyncRequest { reason, run_id: Some(run.clone()), allow_mass_revocation };
    outbox.grant(Message::Sync(sync).to_json(), run).await
}

async fn wait(
    session: &Session,
    queue_url: &str,
    pending: &mut Pending,
    done: &mut GrantsDone,
    stop: &mut Stop,
) -> End {
    note(&format!("Asked account-onboarder to write {}. Waiting for it.", count(pending.all, "destination")));
    let bar = spinner();
    // A Region that does not answer takes its time with every look, so that looks cannot be counted instead.
    let now = || Duration::from_millis(session.context.clock.now_ms());
    let begun = now();
    let (mut last_read, mut pause) = (begun, POLL[0]);
    let end = loop {
        let wait_and_look = async {
            session.pause(pause).await;
            join(look(session, &pending.writes), idle(session, queue_url)).await
        };
        let (found, idle) = tokio::select! {
            () = stop.wait() => break End::Interrupted,
            seen = wait_and_look => seen,
        };
        pending.take(found, session.settings().granted_organization(), done);
        let left: usize = pending.writes.values().map(Vec::len).sum();
        bar.set_message(format!("{} of {} written by account-onboarder", pending.all - left, pending.all));
        if left == 0 {
            break End::Done;
        }
        if !idle {
            last_read = now();
        }
        if now().saturating_sub(last_read) >= UNREAD {
            break End::Unread;
        }
        if now().saturating_sub(begun) >= PATIENCE {
            break End::TimedOut;
        }
        pause = (pause * 2).min(POLL[1]);
    };
    bar.finish_and_clear();
    end
}

fn spinner() -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    let style = ProgressStyle::with_template("{spinner} {msg}, {elapsed}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}

/// Whether messages wait on the queue and nobody works on any. If that cannot be read, somebody may.
async fn idle(session: &Session, queue_url: &str) -> bool {
    let queue = session.doctor_ports().queues.queue(queue_url).await;
    matches!(queue, Ok(Some(queue)) if queue.visible > 0 && queue.in_flight == 0)
}

/// Reads the policies of the Regions that something is pending in. A Region that cannot be read now is read again later,
/// and what is wrong with it shows when time is up.
async fn look(session: &Session, writes: &BTreeMap<Region, Vec<ShardWrite>>) -> BTreeMap<Region, RegionGrants> {
    let assignments = session.assignments();
    let reads = writes.keys().map(async |region| (region.clone(), assignments.region_grants(region).await));
    join_all(reads).await.into_iter().filter_map(|(region, grants)| Some((region, grants.ok()?))).collect()
}

impl Pending {
    /// Takes off the list what the policies show.
    fn take(
        &mut self,
        found: BTreeMap<Region, RegionGrants>,
        organization: Option<&OrganizationId>,
        done: &mut GrantsDone,
    ) {
        for (region, grants) in found {
            let writes = self.writes.remove(&region).unwrap_or_default();
            let (written, unwritten): (Vec<_>, Vec<_>) = writes.into_iter().partition(|it| is_written(it, &grants));
            for write in &written {
                let at = |account: &AccountId| AccountRegion { account: *account, region: region.clone() };
                done.added.extend(write.added.iter().map(at));
                done.removed.extend(write.removed.iter().map(at));
            }
            done.destinations += written.len();
            if unwritten.is_empty() {
                // account-onboarder may have put an account on another destination than the plan.
                done.assignments.insert(region, grants.assignments(organization));
            } else {
                self.writes.insert(region, unwritten);
            }
        }
    }
}

/// Whether a destination is as the write would leave it. It may have more: account-onboarder grants everybody who waits.
fn is_written(write: &ShardWrite, grants: &RegionGrants) -> bool {
    let Some(shard) = grants.shard(&write.name) else { return false };
    let aimed = !(write.create || write.repoint) || (&shard.target, &shard.role) == (&write.target, &write.role);
    let policy = match &shard.policy {
        PolicyState::Parsed(policy) => Some(policy),
        PolicyState::Absent | PolicyState::Unreadable { .. } => None,
    };
    let names_organization = |organization| policy.is_some_and(|policy| policy.organization() == Some(organization));
    let organization = write.policy.as_ref().and_then(|policy| policy.organization()).is_none_or(names_organization);
    // A write can also be about nothing but our statement itself, which somebody has changed.
    let intact = write.policy.is_none() || policy.is_some_and(|policy| !policy.needs_put(&write.arn));
    let assignments = grants.assignments(None);
    let added = write.added.iter().all(|account| assignments.get(account).is_some());
    let removed = policy.is_none_or(|policy| write.removed.iter().all(|account| !policy.accounts().contains(account)));
    aimed && organization && intact && added && removed
}

/// What account-onboarder was asked for in a Region and has not written.
fn missing(region: &Region, writes: &[ShardWrite], end: &End) -> LogEntry {
    let added: usize = writes.iter().map(|write| write.added.len()).sum();
    let removed: usize = writes.iter().map(|write| write.removed.len()).sum();
    let names: Vec<&str> = writes.iter().map(|write| write.name.as_str()).collect();
    let (why, next) = match end {
        End::Unread => (
            "nobody receives messages from its queue (grants_queue_url)",
            "check that account-onboarder is deployed and its event source mapping enabled, with `enroller doctor`; in an \
             installation without the functions use --write-grants",
        ),
        End::Interrupted => {
            ("the command was interrupted", "run the command again; account-onboarder goes on by itself")
        }
        End::Done | End::TimedOut => (
            "the time to wait for it is up",
            "look at the log and the dead-letter queue of account-onboarder, then run the command again",
        ),
    };
    let cause = format!(
        "account-onboarder has not written {}: {} to add, {removed} to remove; {why}",
        names.join(", "),
        count(added, "grant")
    );
    let line = LogEntry::about(None, "grant", format!("destinations of {region}"), Outcome::Failed, cause).next(next);
    LogEntry { region: Some(region.clone()), ..line }
}

/// How many grants a sync of everything would add and remove beyond these plans.
pub(super) fn beyond(all: &GrantPreview, shown: &GrantPreview) -> (usize, usize) {
    let sums = |preview: &GrantPreview| {
        let plans = preview.regions.values().filter_map(|plan| plan.as_ref().ok());
        let writes = plans.flat_map(|plan: &GrantPlan| &plan.writes);
        writes.fold((0, 0), |(added, removed), write| (added + write.added.len(), removed + write.removed.len()))
    };
    let (all, shown) = (sums(all), sums(shown));
    (all.0.saturating_sub(shown.0), all.1.saturating_sub(shown.1))
}

#[cfg(test)]
mod tests {
    use enroller_core::arn::Arn;
    use enroller_core::grants::{Shard, ShardNaming};
    use enroller_core::policy::DestinationPolicy;

    use super::*;

    const REGION: &str = "eu-west-1";

    fn arn(text: &str) -> Arn {
        text.parse().unwrap()
    }

    fn stream(name: &str) -> Arn {
        arn(&format!("arn:aws:firehose:eu-west-1:444455556666:deliverystream/{name}"))
    }

    fn destination() -> Arn {
        arn("arn:aws:logs:eu-west-1:444455556666:destination:VPCFlowLogsDestination")
    }

    fn account(number: u32) -> AccountId {
        format!("{number:012}").parse().unwrap()
    }

    fn policy(accounts: &[u32]) -> DestinationPolicy {
        DestinationPolicy::empty().with_accounts(accounts.iter().copied().map(account).collect())
    }

    /// The Region's one destination, which delivers to this stream and grants these accounts.
    fn grants(target: &str, accounts: Option<&[u32]>) -> RegionGrants {
        let text = accounts.map(|accounts| policy(accounts).render(&destination()));
        let shard = Shard {
            name: "VPCFlowLogsDestination".parse().unwrap(),
            target: stream(target),
            role: arn("arn:aws:iam::444455556666:role/r"),
            policy: PolicyState::read(text.as_deref()),
        };
        let naming = ShardNaming::new(shard.name.clone()).unwrap();
        RegionGrants::new(REGION.parse().unwrap(), "444455556666".parse().unwrap(), naming, [shard])
    }

    fn write(added: &[u32], removed: &[u32], listed: &[u32], repoint: bool) -> ShardWrite {
        ShardWrite {
            name: "VPCFlowLogsDestination".parse().unwrap(),
            arn: destination(),
            target: stream("new"),
            role: arn("arn:aws:iam::444455556666:role/r"),
            create: false,
            repoint,
            before: None,
            policy: Some(policy(listed)),
            force: false,
            added: added.iter().copied().map(account).collect(),
            removed: removed.iter().copied().map(account).collect(),
        }
    }

    #[test]
    fn a_write_is_done_when_the_policy_shows_it_and_may_show_more() {
        let added = write(&[1, 2], &[], &[1, 2], false);
        for (found, expected) in [(None, false), (Some(&[][..]), false), (Some(&[1][..]), false)] {
            assert_eq!(is_written(&added, &grants("new", found)), expected, "{found:?}");
        }
        assert!(is_written(&added, &grants("new", Some(&[1, 2]))));
        assert!(is_written(&added, &grants("new", Some(&[1, 2, 3]))), "account-onboarder grants everybody who waits");
        let removed = write(&[], &[3], &[1], false);
        assert!(!is_written(&removed, &grants("new", Some(&[1, 3]))));
        assert!(is_written(&removed, &grants("new", Some(&[1]))));
    }

    #[test]
    fn a_destination_that_has_to_aim_elsewhere_is_not_done_before_it_does() {
        let repointed = write(&[], &[], &[1], true);
        assert!(!is_written(&repointed, &grants("old", Some(&[1]))));
        assert!(is_written(&repointed, &grants("new", Some(&[1]))));
        let other = ShardNaming::new("Other".parse().unwrap()).unwrap();
        let nothing = RegionGrants::new(REGION.parse().unwrap(), "444455556666".parse().unwrap(), other, []);
        assert!(!is_written(&repointed, &nothing));
    }

    #[test]
    fn what_is_not_written_is_a_failure_with_a_next_step_for_its_cause() {
        let entry = |end| missing(&REGION.parse().unwrap(), &[write(&[1, 2], &[], &[1, 2], false)], &end);
        for (end, expected) in [
            (End::Unread, "--write-grants"),
            (End::TimedOut, "dead-letter queue"),
            (End::Interrupted, "account-onboarder goes on by itself"),
        ] {
            let entry = entry(end);
            assert!(is_failure(&entry) && entry.cause.contains("2 grants to add"), "{entry:?}");
            assert!(entry.next_step.as_deref().unwrap().contains(expected), "{entry:?}");
        }
    }
}
