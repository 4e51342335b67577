//! Coverage and grants of an organization, read from the state of the simulated AWS alone, without the product's code.

use std::collections::BTreeSet;

use enroller_sim::ec2::FlowLog;
use enroller_sim::{Sim, World};
use serde::Serialize;
use serde_json::Value;

/// A destination of the central account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DestinationState {
    /// Region of the destination.
    pub region: String,
    /// Name of the destination.
    pub name: String,
    /// Accounts that its policy authorizes.
    pub accounts: BTreeSet<String>,
    /// Length of its policy in bytes.
    pub policy_bytes: usize,
}

/// One account in one Region.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "`account` and `region` are described above, and `vpcs` is their number")]
pub struct Coverage {
    pub account: String,
    pub region: String,
    pub vpcs: usize,
    /// Number of VPCs whose flow log leads to a destination that admits the account.
    pub covered: usize,
    /// Ids of the other VPCs.
    pub uncovered: Vec<String>,
    /// Ids of the VPCs with more than one flow log.
    pub on_several_shards: Vec<String>,
    /// Names of the destinations whose policy authorizes the account.
    pub granted_on: Vec<String>,
}

/// Coverage and grants of the whole organization.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Audit {
    /// Each member account in each Region.
    pub account_regions: Vec<Coverage>,
    /// Each destination of the central account.
    pub destinations: Vec<DestinationState>,
    /// Accounts that a policy authorizes although they are not members.
    pub strangers: BTreeSet<String>,
}

impl Audit {
    /// Number of VPCs without a flow log that leads to a destination that admits their account.
    pub fn uncovered(&self) -> usize {
        self.account_regions.iter().map(|at| at.uncovered.len()).sum()
    }

    /// Account-Regions that are granted on no destination, or on more than one.
    pub fn misassigned(&self) -> Vec<&Coverage> {
        self.account_regions.iter().filter(|at| at.granted_on.len() != 1).collect()
    }
}

/// Audits every member account in the given Regions.
pub fn audit(sim: &Sim, regions: &[String]) -> Audit {
    let central = sim.central();
    sim.with(|world| {
        let destinations: Vec<DestinationState> =
            regions.iter().flat_map(|region| destinations(world, &central, region)).collect();
        let members: BTreeSet<String> = world
            .organization
            .members()
            .map(|(id, _)| id.to_owned())
            .filter(|id| world.organization.is_member(id))
            .collect();
        let mut account_regions = Vec::new();
        for account in &members {
            for region in regions {
                account_regions.push(at(world, account, region, &destinations));
            }
        }
        let named = destinations.iter().flat_map(|destination| destination.accounts.iter().cloned());
        let strangers = named.filter(|id| !members.contains(id)).collect();
        Audit { account_regions, destinations, strangers }
    })
}

fn at(world: &World, account: &str, region: &str, destinations: &[DestinationState]) -> Coverage {
    let ids = || world.ec2.vpcs(account, region).map(|vpc| vpc.id.clone());
    let logs = |id: &String| world.ec2.flow_logs_of(account, region, id).collect::<Vec<_>>();
    let (covered, uncovered): (Vec<String>, Vec<String>) =
        ids().partition(|id| logs(id).into_iter().any(|log| leads_to_bucket(world, account, region, log)));
    let naming = destinations.iter().filter(|it| it.region == region && it.accounts.contains(account));
    Coverage {
        account: account.to_owned(),
        region: region.to_owned(),
        vpcs: covered.len() + uncovered.len(),
        covered: covered.len(),
        uncovered,
        on_several_shards: ids().filter(|id| logs(id).len() > 1).collect(),
        granted_on: naming.map(|it| it.name.clone()).collect(),
    }
}

/// Whether every link behind a flow log is there: its role, its group, and a filter to a destination that admits the
/// account. Whether records arrive is for [`enroller_sim::traffic`] to say.
fn leads_to_bucket(world: &World, account: &str, region: &str, log: &FlowLog) -> bool {
    let role = log.deliver_logs_permission_arn.as_deref().and_then(|arn| arn.rsplit('/').next());
    let group = log.log_group_name.as_deref().and_then(|name| world.logs.group(account, region, name));
    let (Some(role), Some(group)) = (role, group) else { return false };
    let organization = world.organization.id();
    world.iam.role(account, role).is_some()
        && group.filters.values().any(|filter| {
            let destination = world.logs.destination(&filter.destination_arn);
            let Some(policy) = destination.and_then(|it| it.access_policy.as_deref()) else { return false };
            let document: Value = serde_json::from_str(policy).unwrap_or_default();
            // A policy for the organization admits only filters with a role.
            principals(&document).contains(account) || filter.role_arn.is_some() && policy.contains(organization)
        })
}

fn destinations(world: &World, central: &str, region: &str) -> Vec<DestinationState> {
    let found = world.logs.destinations(central, region);
    found
        .map(|destination| {
            let policy = destination.access_policy.clone().unwrap_or_default();
            let document: Value = serde_json::from_str(&policy).unwrap_or_default();
            DestinationState {
                region: region.to_owned(),
                name: destination.name.clone(),
                accounts: principals(&document),
                policy_bytes: policy.len(),
            }
        })
        .collect()
}

/// Bare account ids in statements about subscription filters, except in the placeholder statement of a policy without
/// accounts.
fn principals(document: &Value) -> BTreeSet<String> {
    let statements = match document.get("Statement") {
        Some(Value::Array(statements)) => statements.clone(),
        Some(one) => vec![one.clone()],
        None => Vec::new(),
    };
    let texts = |value: Option<&Value>| match value {
        Some(Value::String(text)) => vec![text.clone()],
        Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    };
    let ours = |statement: &&Value| {
        statement.get("Sid").and_then(Value::as_str) != Some("VpcEnrollerNobody")
            && texts(statement.get("Action")).iter().any(|action| action == "logs:PutSubscriptionFilter")
    };
    statements.iter().filter(ours).flat_map(|it| texts(it.get("Principal").and_then(|it| it.get("AWS")))).collect()
}
