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
mod report;
mod role;

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

pub use create::GAP;
pub use report::{AccountRegionReport, AccountReport, VpcResult};

use apply::{AccountRegionRun, Flow};
use eligibility::{Eligibility, EligibilityCache};
use role::RoleOnce;

/// The destination that an account is granted on in one Region, or why that could not be read.
type Assigned = AwsResult<Option<DestinationName>>;

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
    /// The plans that a person approved, by Region. If set, a step outside them is not done and counts as a failure.
    pub approved: Option<BTreeMap<Region, Plan>>,
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
            ctx,
        }
    }

    /// The context that it shares with the other workers.
    pub fn context(&self) -> &Context {
        &self.ctx
    }

    /// Brings an account to its desired state in the given Regions and returns the result. No change is started after
    /// `deadline_ms`, in epoch milliseconds.
    pub async fn reconcile(&self, work: &AccountWork, deadline_ms: u64) -> AccountReport {
        if let Some(reason) = self.ctx.settings.account_listed_out(work.account) {
            return AccountReport::left_alone(work, &reason);
        }
        let (enrolled, not_enrolled): (BTreeSet<_>, BTreeSet<_>) =
            work.regions.iter().cloned().partition(|region| self.ctx.settings.region_in_scope(region).is_ok());
        let mut report = AccountReport::default();
        for region in not_enrolled {
            let at = AccountRegion { account: work.account, region };
            report.account_regions.push(AccountRegionReport::left_alone(at, OutOfScope::Region));
        }
        let at = |region: &Region| AccountRegion { account: work.account, region: region.clone() };
        let same_for_all =
            |make: &dyn Fn(AccountRegion) -> AccountRegionReport| enrolled.iter().map(at).map(make).collect::<Vec<_>>();
        let assigned = self.assign_all(work, &enrolled).await;
        // This comes before any call in the account: an event names an account, but does not prove that it is a member.
        match self.eligibility(work, &assigned).await {
            Ok(Eligibility::Member) => {}
            Ok(Eligibility::OutOfScope(reason)) => {
                report.account_regions.extend(same_for_all(&|at| AccountRegionReport::left_alone(at, reason.clone())));
                return report;
            }
            Ok(Eligibility::Unknown) => {
                report
                    .account_regions
                    .extend(same_for_all(&|at| AccountRegionReport::failed(at, ReconcileError::NotAMember)));
                return report;
            }
            Err(error) => {
                report
                    .account_regions
                    .extend(same_for_all(&|at| AccountRegionReport::failed(at, ReconcileError::Aws(error.clone()))));
                return report;
            }
        }
        let mut destinations = Vec::new();
        for (region, assigned) in assigned {
            match assigned {
                Ok(Some(name)) => destinations.push((at(&region), name)),
                Ok(None) => {
                    report.account_regions.push(AccountRegionReport::failed(at(&region), ReconcileError::NotGranted));
                }
                Err(error) => {
                    report.account_regions.push(AccountRegionReport::failed(at(&region), ReconcileError::Aws(error)));
                }
            }
        }
        if !destinations.is_empty() {
            report.account_regions.extend(self.reconcile_granted(work, destinations, deadline_ms).await);
        }
        report
    }

    /// Assumes the member role once for all Regions, and reconciles the Regions in which the account is granted.
    async fn reconcile_granted(
        &self,
        work: &AccountWork,
        destinations: Vec<(AccountRegion, DestinationName)>,
        deadline_ms: u64,
    ) -> Vec<AccountRegionReport> {
        if let Err(error) = self.sessions.assume(work.account).await {
            let account_regions = destinations.into_iter().map(|(at, _)| at);
            return account_regions
                .map(|at| AccountRegionReport::failed(at, ReconcileError::Aws(error.clone())))
                .collect();
        }
        let role = RoleOnce::default();
        let account_regions = destinations.into_iter().map(|(at, name)| {
            let limits = Limits { approved: Approved::of(work, &at.region), deadline_ms };
            self.reconcile_region(at, name, &role, limits)
        });
        join_all(account_regions).await
    }

    /// The destination that a request names for a Region, if its name is that of a shard. A forged request must not be
    /// able to send an account's records to another destination of the central account.
    fn named_shard<'a>(&self, work: &'a AccountWork, region: &Region) -> Option<&'a DestinationName> {
        let naming = &self.ctx.settings.destination_name;
        work.destinations.get(region).filter(|name| naming.index_of(name).is_some())
    }

    /// The destination of the account in each Region, from the request or else from the policies.
    async fn assign_all(&self, work: &AccountWork, regions: &BTreeSet<Region>) -> Vec<(Region, Assigned)> {
        let assigned = regions.iter().map(async |region| {
            let assigned = match self.named_shard(work, region) {
                Some(name) => Ok(Some(name.clone())),
                None => self.assignments.destination_of(work.account, region).await,
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
        match self.assignments.destination_of(at.account, &at.region).await {
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
        for _ in 0..MAX_ROUNDS {
            let plan = match self.observe_and_plan(&run.desired).await {
                Ok(plan) => plan,
                Err(error) => return run.finish(Some(error)),
            };
            match run.apply(&plan).await {
                Ok(Flow::Settled) => return run.finish(None),
                Ok(Flow::ObserveAgain) => {}
                Err(error) => return run.finish(Some(error)),
            }
        }
        run.finish(Some(ReconcileError::DidNotConverge))
    }

    /// Observes an account-Region and plans for it, without changing anything.
    async fn observe_and_plan(&self, desired: &Desired<'_>) -> Result<Plan, ReconcileError> {
        let plan = plan(desired, &self.observer.observe(desired).await?);
        match &plan.blocked {
            Some(blocked) => Err(ReconcileError::Blocked(blocked.clone())),
            None => Ok(plan),
        }
    }
}

#[cfg(test)]
mod tests;
