//! Invariants: which accounts and VPCs must be covered and granted, and whether they are. They are derived from the
//! settings and the simulated organization alone, without the product's code.

use std::collections::{BTreeMap, BTreeSet};

use enroller_core::settings::{GrantMode, NarrowingTags};
use enroller_lab::Lab;
use enroller_sim::organizations::AccountState;
use enroller_sim::traffic::VpcTraffic;

use crate::audit_of;
use crate::chaos::FOREIGN_ACCOUNT;

/// Whether an account is in scope: an active member that is not excluded, and whose OUs are not excluded.
pub fn account_in_scope(lab: &Lab, account: &str) -> bool {
    let settings = &lab.settings;
    lab.sim.with(|world| {
        let active = world.organization.state_of(account) == Some(AccountState::Active);
        let path = world.organization.path_of(account).unwrap_or_default();
        let unit_excluded = settings.excluded_organizational_units.iter().any(|unit| path.contains(unit.as_str()));
        let excluded = settings.excluded_accounts.iter().any(|id| id.to_string() == account);
        active && !unit_excluded && !excluded
    })
}

/// The members in scope.
pub fn accounts_in_scope(lab: &Lab) -> BTreeSet<String> {
    lab.sim.members().into_iter().filter(|account| account_in_scope(lab, account)).collect()
}

/// Whether the VPC exists and does not carry the opt-out tag, where that is followed.
pub fn wants_logs(lab: &Lab, account: &str, region: &str, vpc: &str) -> bool {
    let (tag, followed) = (&lab.settings.opt_out_tag, lab.settings.narrowing_tags == NarrowingTags::Followed);
    lab.sim.with(|world| world.ec2.vpc(account, region, vpc).is_some_and(|vpc| !followed || !tag.is_on(&vpc.tags)))
}

/// Violated invariants of an organization in which nothing is left to do. `ever_in_scope` are the accounts that were in
/// scope at some time.
pub fn violations(lab: &Lab, ever_in_scope: &BTreeSet<String>) -> Vec<String> {
    let audit = audit_of(lab);
    let mut wrong = Vec::new();
    for at in &audit.account_regions {
        let (account, region) = (&at.account, &at.region);
        if account_in_scope(lab, account) {
            let missing = at.uncovered.iter().filter(|vpc| wants_logs(lab, account, region, vpc));
            wrong.extend(missing.map(|vpc| format!("{account} {region} {vpc} is not covered")));
            let on_several_shards = at.on_several_shards.iter().filter(|vpc| wants_logs(lab, account, region, vpc));
            wrong.extend(on_several_shards.map(|vpc| format!("{account} {region} {vpc} is covered twice")));
            if lab.settings.grant_mode == GrantMode::AccountList && at.granted_on.len() != 1 {
                wrong.push(format!("{account} {region} is granted on {:?}", at.granted_on));
            }
        } else if !at.granted_on.is_empty() && !ever_in_scope.contains(account) {
            wrong.push(format!("{account} {region} was never in scope but is granted on {:?}", at.granted_on));
        }
    }
    // What an unmanaged statement authorizes is not the enroller's concern. The guard may keep what departed accounts had.
    let guarded = lab.settings.revocation_limit_percent < 100;
    let kept = |id: &String| guarded && ever_in_scope.contains(id);
    let strangers = audit.strangers.iter().filter(|id| *id != FOREIGN_ACCOUNT && !kept(id));
    wrong.extend(strangers.map(|id| format!("{id} is granted but is not a member")));
    for queue in ["enrollments", "grants.fifo", "backfill"] {
        let left = lab.sim.bodies(&lab.url(queue)).unwrap_or_default();
        wrong.extend(left.into_iter().map(|body| format!("left on {queue}: {body}")));
    }
    wrong
}

/// VPCs in scope whose records were lost or duplicated between two reports.
pub fn missing_records(lab: &Lab, before: &[VpcTraffic], after: &[VpcTraffic]) -> Vec<String> {
    let before: BTreeMap<&str, &VpcTraffic> = before.iter().map(|vpc| (vpc.vpc_id.as_str(), vpc)).collect();
    let nothing = VpcTraffic::default();
    let mut wrong = Vec::new();
    for vpc in after {
        let (account, region, id) = (&vpc.account, &vpc.region, vpc.vpc_id.as_str());
        if !account_in_scope(lab, account) || !wants_logs(lab, account, region, id) {
            continue;
        }
        let earlier = before.get(id).copied().unwrap_or(&nothing);
        let arrived = vpc.delivered + vpc.filtered_out - earlier.delivered - earlier.filtered_out;
        let sent = vpc.sent - earlier.sent;
        if sent != arrived || vpc.delivered == earlier.delivered || vpc.duplicated != earlier.duplicated {
            let losses = (&vpc.before_enrollment, &vpc.after_enrollment);
            wrong.push(format!("{account} {region} {id}: {sent} records were sent and {arrived} arrived: {losses:?}"));
        }
    }
    wrong
}
