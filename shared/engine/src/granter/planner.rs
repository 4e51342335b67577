//! Planning grants. The planner reads the organization and the destinations, and writes nothing.

use std::sync::Arc;

use enroller_core::arn::Arn;
use enroller_core::settings::DestinationParts;

use super::members::MembershipCache;
use super::questions::VerdictCache;
use super::revocations::RecentRevocations;
use crate::assignments::Assignments;
use crate::context::Context;
use crate::ports::{Organization, Ports};

/// Plans the grants of every Region. It holds no port that could write them.
pub struct GrantPlanner {
    pub(super) ctx: Context,
    pub(super) organization: Arc<dyn Organization>,
    pub(super) assignments: Assignments,
    pub(super) cache: MembershipCache,
    pub(super) verdicts: VerdictCache,
    pub(super) revocations: RecentRevocations,
    /// The stream that every destination delivers to.
    pub(super) target: Arn,
    /// The role that every destination delivers with.
    pub(super) role: Arn,
}

impl GrantPlanner {
    /// Creates a planner with an empty cache.
    pub fn new(ctx: Context, ports: &Ports, parts: DestinationParts) -> Self {
        let DestinationParts { target, role } = parts;
        let assignments = Assignments::new(ctx.clone(), ports);
        Self {
            organization: Arc::clone(&ports.organization),
            assignments,
            cache: MembershipCache::default(),
            verdicts: VerdictCache::default(),
            revocations: RecentRevocations::default(),
            target,
            role,
            ctx,
        }
    }

    /// The context that it shares with the other workers.
    pub fn context(&self) -> &Context {
        &self.ctx
    }

    /// The assignments that it reads the destinations through.
    pub fn assignments(&self) -> &Assignments {
        &self.assignments
    }
}
