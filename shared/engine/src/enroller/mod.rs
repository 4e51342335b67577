//! Reconciling an account: observe, plan, apply, report, in all of its Regions concurrently.
//!
//! # Guarantees
//!
//! - Level-triggered: it acts on the state that AWS reports now, never on what an event said.
//! - Idempotent: if there is nothing to change, it makes only the observing calls.
//! - Safe to run twice and concurrently: if AWS answers that a resource exists already or is gone already, it observes
//!   again.
//! - A failure in one Region or VPC never stops another.

mod apply;
pub mod batch;
mod create;
mod eligibility;
mod region_health;
mod report;
mod role;
mod tag;
mod twins;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use enroller_core::error::{Disposition, Wait};
use enroller_core::ids::{AccountId, AccountRegion, Region};
use enroller_core::names::DestinationName;
use enroller_core::plan::{Action, Desired, Plan, plan};
use enroller_core::scope::OutOfScope;
use futures::future::join_all;

use crate::assignments::Assignments;
use crate::context::Context;
use crate::observe::Observer;
use crate::ports::{AwsResult, Ec2, Logs, MemberSessions, Organization, Ports, RegionDestinations, Roles};
use crate::reconcile_error::ReconcileError;

pub use apply::KEEP_FLOW_LOG;
pub use create::GAP;
pub use report::{AccountRegionReport, AccountReport, VpcResult};

use apply::{AccountRegionRun, Flow};
use eligibility::{Eligibility, EligibilityCache};
use region_health::RegionHealth;
use role::RoleOnce;
use twins::Undeletable;

/// The destination that an account is granted on in one Region, or why that could not be read.
type Assigned = AwsResult<Option<DestinationName>>;

/// An account-Region to reconcile, with the destination that the account is granted on there.
type Granted = (AccountRegion, DestinationName);

/// How often an account-Region is observed at most, when AWS's answers contradict the state observed just before.
const MAX_ROUNDS: usize = 4;

/// An account to reconcile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountWork {
    /// The account.
    pub account: AccountId,
    /// The Regions to reconcile it in.
    pub regions: BTreeSet<Region>,
    /// The destinations it is granted on, as far as the sender of the request knew them.
    pub destinations: RegionDestinations,
    /// Who asks for the work.
    pub asked_by: AskedBy,
    /// The plans that a person approved, by Region. If set, a step outside them is not done and counts as a failure.
    pub approved: Option<BTreeMap<Region, Plan>>,
}

/// Who asks for the work on an account, and so what is known of the account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AskedBy {
    /// The command, which has just read the organization and the grants itself.
    Command,
    /// A message of a queue.
    Message {
        /// When its sender wrote it, in epoch milliseconds, as far as it says so.
        at_ms: Option<u64>,
    },
}

/// The limits of the work in one account-Region.
#[derive(Clone, Copy)]
struct Limits<'a> {
    approved: Approved<'a>,
    deadline_ms: u64,
}

/// The steps that a person approved.
#[derive(Clone, Copy)]
enum Approved<'a> {
    Everything,
    Plan(&'a Plan),
    /// Plans were approved, but none for this Region.
    Nothing,
}

impl<'a> Approved<'a> {
    fn of(work: &'a AccountWork, region: &Region) -> Self {
        match &work.approved {
            None => Self::Everything,
            Some(plans) => plans.get(region).map_or(Self::Nothing, Self::Plan),
        }
    }

    fn includes(self, action: &Action) -> bool {
        match self {
            Self::Everything => true,
            Self::Plan(plan) => plan.includes(action),
            Self::Nothing => false,
        }
    }
}

/// Reconciles member accounts. It changes nothing in the central account.
pub struct Enroller {
    ctx: Context,
    sessions: Arc<dyn MemberSessions>,
    ec2: Arc<dyn Ec2>,
    logs: Arc<dyn Logs>,
    roles: Arc<dyn Roles>,
    organization: Arc<dyn Organization>,
    observer: Observer,
    assignments: Assignments,
    eligibility: EligibilityCache,
    regions: RegionHealth,
    undeletable: Undeletable,
}

impl Enroller {
    /// Creates an enroller with empty caches.
    pub fn new(ctx: Context, ports: &Ports) -> Self {
        Self {
            sessions: Arc::clone(&ports.sessions),
            ec2: Arc::clone(&ports.ec2),
            logs: Arc::clone(&ports.logs),
            roles: Arc::clone(&ports.roles),
            organization: Arc::clone(&ports.organization),
            observer: Observer::new(ports),
            assignments: Assignments::new(ctx.clone(), ports),
            eligibility: EligibilityCache::default(),
            regions: RegionHealth::default(),
            undeletable: Undeletable::default(),
            ctx,
        }
    }

    /// The context that it shares with the other workers.
    pub fn context(&self) -> &Context {
        &self.ctx
    }

    /// Brings an account to its desired state in the given Regions and returns the result. No change is started after
    /// `deadline_ms`, in epoch milliseconds. A call that is still pending then is dropped, in this Region only. That is
    /// safe, because the next run observes the current state.
    pub async fn reconcile(&self, work: &AccountWork, deadline_ms: u64) -> AccountReport {
        if let Some(reason) = self.ctx.settings.account_listed_out(work.account) {
            return AccountReport::left_alone(work, &reason);
        }
        let mut report = AccountReport::default();
        let mut enrolled = BTreeSet::new();
        for region in &work.regions {
            let at = AccountRegion { account: work.account, region: region.clone() };
            if self.ctx.settings.region_in_scope(region).is_err() {
                report.account_regions.push(AccountRegionReport::left_alone(at, OutOfScope::Region));
            } else if self.regions.is_down(region, self.ctx.clock.now_ms()) {
                let error = ReconcileError::RegionDown(region.clone());
                report.account_regions.push(AccountRegionReport::failed(at, error));
            } else {
                enrolled.insert(region.clone());
            }
        }
        if enrolled.is_empty() {
            return report;
        }
        let (ready, mut reports) = match self.ctx.within(deadline_ms, self.prepare(work, &enrolled)).await {
            Some(prepared) => prepared,
            None => (Vec::new(), failed_in(work, &enrolled, &ReconcileError::OutOfTime)),
        };
        if !ready.is_empty() {
            reports.extend(self.reconcile_granted(work, ready, deadline_ms).await);
        }
        let now_ms = self.ctx.clock.now_ms();
        for region_report in &reports {
            self.regions.record(&region_report.at.region, region_report, now_ms);
        }
        report.account_regions.extend(reports);
        report
    }

    /// Finds out whether the account may be changed, and the destination of each Region, and assumes the member role
    /// once for all Regions. Returns the account-Regions to reconcile, and the reports of all others.
    async fn prepare(
        &self,
        work: &AccountWork,
        regions: &BTreeSet<Region>,
    ) -> (Vec<Granted>, Vec<AccountRegionReport>) {
        let assigned = self.assign_all(work, regions).await;
        // This comes before any call in the account: an event names an account, but does not prove that it is a member.
        let error = match self.eligibility(work, &assigned).await {
            Ok(Eligibility::Member) => None,
            Ok(Eligibility::OutOfScope(reason)) => {
                let left_alone = |at| AccountRegionReport::left_alone(at, reason.clone());
                return (Vec::new(), account_regions(work, regions).map(left_alone).collect());
            }
            Ok(Eligibility::Unknown) => Some(ReconcileError::NotAMember),
            Err(error) => Some(ReconcileError::Aws(error)),
        };
        if let Some(error) = error {
            return (Vec::new(), failed_in(work, regions, &error));
        }
        let (mut granted, mut reports) = (Vec::new(), Vec::new());
        for (region, assigned) in assigned {
            let at = AccountRegion { account: work.account, region };
            match assigned {
                Ok(Some(name)) => granted.push((at, name)),
                Ok(None) => reports.push(AccountRegionReport::failed(at, ReconcileError::NotGranted)),
                Err(error) => reports.push(AccountRegionReport::failed(at, ReconcileError::Aws(error))),
            }
        }
        if !granted.is_empty()
            && let Err(error) = self.sessions.assume(work.account).await
        {
            let failed = |(at, _)| AccountRegionReport::failed(at, ReconcileError::Aws(error.clone()));
            reports.extend(granted.drain(..).map(failed));
        }
        (granted, reports)
    }

    /// Reconciles the Regions in which the account is granted.
    async fn reconcile_granted(
        &self,
        work: &AccountWork,
        destinations: Vec<Granted>,
        deadline_ms: u64,
    ) -> Vec<AccountRegionReport> {
        let role = RoleOnce::default();
        let account_regions = destinations.into_iter().map(|(at, name)| {
            let limits = Limits { approved: Approved::of(work, &at.region), deadline_ms };
            self.reconcile_region(at, name, &role, limits)
        });
        join_all(account_regions).await
    }

    /// The destination that a request names for a Region, if its name is that of a shard.
    fn named_shard<'a>(&self, work: &'a AccountWork, region: &Region) -> Option<&'a DestinationName> {
        let naming = &self.ctx.settings.destination_name;
        work.destinations.get(region).filter(|name| naming.index_of(name).is_some())
    }

    /// The destination of the account in each Region, from the policies or else from the request.
    async fn assign_all(&self, work: &AccountWork, regions: &BTreeSet<Region>) -> Vec<(Region, Assigned)> {
        let assigned = regions.iter().map(async |region| {
            let assigned = match (self.named_shard(work, region), work.asked_by) {
                (Some(name), AskedBy::Command) => Ok(Some(name.clone())),
                (named, _) => self.assignments.destination_by(work.account, region, named).await,
            };
            (region.clone(), assigned)
        });
        join_all(assigned).await
    }

    /// Reconciles one Region with a destination that may be outdated. If AWS rejects the filter, the policies are read
    /// again, once.
    async fn reconcile_region(
        &self,
        at: AccountRegion,
        name: DestinationName,
        role: &RoleOnce,
        limits: Limits<'_>,
    ) -> AccountRegionReport {
        let begun_ms = self.ctx.clock.now_ms();
        let report = self.rounds(&at, &name, role, limits).await;
        let refused = |error: &ReconcileError| error.disposition() == Disposition::RetryLater(Wait::Grant);
        if !report.errors.iter().any(refused) {
            return report;
        }
        self.assignments.forget_assignment(&at.region, begun_ms).await;
        let current = self.assignments.destination_of(at.account, &at.region);
        let Some(current) = self.ctx.within(limits.deadline_ms, current).await else { return report };
        match current {
            Ok(Some(current)) if current != name => self.rounds(&at, &current, role, limits).await.after(report),
            // The policy grants the account, but AWS rejects the filter: a new grant takes a moment to become
            // effective.
            Ok(Some(_)) => report,
            Ok(None) => report.with_error(ReconcileError::NotGranted),
            Err(error) => report.with_error(ReconcileError::Aws(error)),
        }
    }

    async fn rounds(
        &self,
        at: &AccountRegion,
        name: &DestinationName,
        role: &RoleOnce,
        limits: Limits<'_>,
    ) -> AccountRegionReport {
        let mut run = AccountRegionRun::new(self, Desired::new(&self.ctx.settings, at, name), role, limits);
        // The run outlives the work on it, so that what was done before a deadline is reported.
        let ended = self.ctx.within(limits.deadline_ms, self.until_settled(&mut run)).await;
        run.finish(ended.unwrap_or(Err(ReconcileError::OutOfTime)).err())
    }

    async fn until_settled(&self, run: &mut AccountRegionRun<'_>) -> Result<(), ReconcileError> {
        for _ in 0..MAX_ROUNDS {
            if self.ctx.clock.now_ms() < run.look_at_ms {
                self.ctx.clock.sleep_until(run.look_at_ms).await;
            }
            let plan = self.observe_and_plan(&run.desired).await?;
            if run.apply(&plan).await? == Flow::Settled {
                return Ok(());
            }
        }
        Err(ReconcileError::DidNotConverge)
    }

    /// Observes an account-Region and plans for it, without changing anything.
    async fn observe_and_plan(&self, desired: &Desired<'_>) -> Result<Plan, ReconcileError> {
        let observed = self.observer.observe(desired).await?;
        let plan = plan(desired, &observed, self.ctx.clock.now_ms());
        match &plan.blocked {
            Some(blocked) => Err(ReconcileError::Blocked(blocked.clone())),
            None => Ok(plan),
        }
    }
}

fn account_regions<'a>(
    work: &AccountWork,
    regions: &'a BTreeSet<Region>,
) -> impl Iterator<Item = AccountRegion> + use<'a> {
    let account = work.account;
    regions.iter().map(move |region| AccountRegion { account, region: region.clone() })
}

fn failed_in(work: &AccountWork, regions: &BTreeSet<Region>, error: &ReconcileError) -> Vec<AccountRegionReport> {
    account_regions(work, regions).map(|at| AccountRegionReport::failed(at, error.clone())).collect()
}

#[cfg(test)]
mod tests;
