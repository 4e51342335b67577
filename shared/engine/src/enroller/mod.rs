//! Reconciling an account: observe -> plan -> apply -> report, in each of its Regions at once.
//!
//! # Guarantees
//!
//! - Level-triggered: what an event said is never used, only what AWS says now.
//! - Idempotent: with nothing to change it makes the observing calls and no other.
//! - Safe to run twice and at once: "it is there already" and "it is gone already" lead to another look.
//! - One Region's or VPC's failure never stops another.

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

/// Where an account is granted in one Region, or why that is not known.
type Assigned = AwsResult<Option<DestinationName>>;

/// How often a place is looked at again when AWS's answers did not fit what was seen a moment before.
const MAX_ROUNDS: usize = 4;

/// An account to reconcile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountWork {
    /// The account.
    pub account: AccountId,
    /// In which Regions.
    pub regions: BTreeSet<Region>,
    /// Where it is granted, as far as the sender of the request knew.
    pub destinations: RegionDestinations,
    /// The plans that a person has seen, by Region. Where set, a step beyond them is a failure and is not taken.
    pub approved: Option<BTreeMap<Region, Plan>>,
}

/// What the work in one account-Region must keep to.
#[derive(Clone, Copy)]
struct Limits<'a> {
    approved: Approved<'a>,
    deadline_ms: u64,
}

/// Which steps a person has agreed to.
#[derive(Clone, Copy)]
enum Approved<'a> {
    Everything,
    Plan(&'a Plan),
    /// There was no plan for this Region.
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

/// Reconciles member accounts: makes what is missing in them, and nothing in the central account.
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
    /// An enroller that remembers nothing yet.
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

    /// What it shares with the other workers.
    pub fn context(&self) -> &Context {
        &self.ctx
    }

    /// Brings an account to its desired state in the given Regions, and says what came of it. No change is begun after
    /// `deadline_ms`, epoch milliseconds.
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
        // Before any call in the account: an event says which account it is about, not that it is one of ours.
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

    /// Enters the account, once for all of its Regions, and reconciles those with a destination for its records.
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

    /// The destination that a request names for a Region, if it is a shard by its name. Whoever could forge a request
    /// must not send an account's records to another destination of the central account.
    fn named_shard<'a>(&self, work: &'a AccountWork, region: &Region) -> Option<&'a DestinationName> {
        let naming = &self.ctx.settings.destination_name;
        work.destinations.get(region).filter(|name| naming.index_of(name).is_some())
    }

    /// Where the account is granted in each Region: as the request says, or as the policies do.
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

    /// Reconciles with a destination that may turn out to be outdated: if AWS refuses the filter, the policies are
    /// read again, once.
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
            // Granted there, says the policy, and refused all the same: a fresh grant takes a moment to work.
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

    /// Observes an account-Region and plans for it; changes nothing.
    async fn observe_and_plan(&self, desired: &Desired<'_>) -> Result<Plan, ReconcileError> {
        let plan = plan(desired, &self.observer.observe(desired).await?);
        match &plan.blocked {
            Some(blocked) => Err(ReconcileError::Blocked(blocked.clone())),
            None => Ok(plan),
        }
    }
}
