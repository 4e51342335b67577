//! The state of an organization as sorted lines of text, which can be compared and whose difference can be read. Lines
//! about managed resources leave out ids and times. Lines about unmanaged resources have every detail.

use std::collections::{BTreeMap, BTreeSet};

use enroller_core::settings::Settings;
use enroller_lab::Lab;
use enroller_sim::World;
use enroller_sim::logs::{Destination, LogGroup};
use enroller_sim::traffic::Loss;
use serde_json::Value;

/// `Sid`s of the managed statements.
const OUR_SIDS: [&str; 3] = ["VpcEnroller", "VpcEnrollerOrganization", "VpcEnrollerNobody"];

/// The managed resources, without ids and times. A duplicate gives a second line.
pub fn managed(lab: &Lab) -> Vec<String> {
    collect(lab, |world, settings, account, region, lines| {
        for log in world.ec2.flow_logs(account, region).filter(|log| is_ours(settings, &log.tags)) {
            lines.push(format!(
                "{account} {region} {} flow log {} {} {:?} {:?} {}",
                log.resource_id,
                log.traffic_type,
                log.max_aggregation_interval,
                log.log_group_name,
                log.deliver_logs_permission_arn,
                log.log_format,
            ));
        }
        for group in world.logs.groups(account, region).filter(|group| group.name == settings.log_group_name.as_str()) {
            if is_ours(settings, &group.tags) {
                let LogGroup { retention_days, kms_key_id, tags, .. } = group;
                lines.push(format!("{account} {region} group {retention_days:?} {kms_key_id:?} {tags:?}"));
            }
            let filter = group.filters.get(settings.filter_name.as_str());
            lines.extend(filter.map(|it| {
                format!("{account} {region} filter {:?} {} {:?}", it.pattern, it.destination_arn, it.role_arn)
            }));
        }
        for destination in world.logs.destinations(account, region) {
            let (accounts, _) = statements(destination);
            let head = format!("{account} {region} destination {}", destination.name);
            lines.push(format!("{head} {} {}", destination.target_arn, destination.role_arn));
            lines.extend(accounts.iter().map(|id| format!("{head} authorizes {id}")));
        }
        if region == settings.home_region.as_str() {
            let roles = world.iam.roles(account).filter(|role| is_ours(settings, &role.tags));
            lines.extend(
                roles.map(|it| format!("{account} role {} {} {:?} {:?}", it.name, it.trust, it.policies(), it.tags)),
            );
        }
    })
}

/// The unmanaged resources, in every detail.
pub fn unmanaged(lab: &Lab) -> Vec<String> {
    collect(lab, |world, settings, account, region, lines| {
        let logs = world.ec2.flow_logs(account, region).filter(|log| !is_ours(settings, &log.tags));
        lines.extend(logs.map(|log| format!("{account} {region} {log:?}")));
        for group in world.logs.groups(account, region) {
            lines.extend(foreign_parts(settings, group).into_iter().map(|part| format!("{account} {region} {part}")));
        }
        for destination in world.logs.destinations(account, region) {
            let (_, statements) = statements(destination);
            let head = format!("{account} {region} destination {}", destination.name);
            lines.extend(statements.iter().map(|statement| format!("{head} {statement}")));
        }
        if region == settings.home_region.as_str() {
            let roles = world.iam.roles(account).filter(|role| !is_ours(settings, &role.tags));
            lines.extend(roles.map(|role| format!("{account} {role:?}")));
        }
    })
}

type Describe<'a> = dyn Fn(&World, &Settings, &str, &str, &mut Vec<String>) + 'a;

fn collect(lab: &Lab, describe: impl Fn(&World, &Settings, &str, &str, &mut Vec<String>)) -> Vec<String> {
    let describe: &Describe<'_> = &describe;
    lab.sim.with(|world| {
        let mut lines = Vec::new();
        for account in world.accounts.keys() {
            for region in &lab.settings.regions {
                describe(world, &lab.settings, account, region.as_str(), &mut lines);
            }
        }
        lines.sort();
        lines
    })
}

fn is_ours(settings: &Settings, tags: &BTreeMap<String, String>) -> bool {
    tags.get(&settings.ownership_tag.key) == Some(&settings.ownership_tag.value)
}

fn foreign_parts(settings: &Settings, group: &LogGroup) -> Vec<String> {
    let named_like_ours = group.name == settings.log_group_name.as_str();
    let filters = group.filters.values();
    let foreign = filters.filter(|it| !named_like_ours || it.name != settings.filter_name.as_str());
    let mut parts: Vec<String> = foreign
        .map(|it| format!("{} {} {:?} {} {:?}", group.name, it.name, it.pattern, it.destination_arn, it.role_arn))
        .collect();
    if !is_ours(settings, &group.tags) {
        let LogGroup { name, class, retention_days, kms_key_id, tags, created_ms, .. } = group;
        parts.push(format!("{name} {class:?} {retention_days:?} {kms_key_id:?} {tags:?} {created_ms}"));
    }
    parts
}

/// The accounts that the managed statements authorize, and the unmanaged statements.
pub fn statements(destination: &Destination) -> (BTreeSet<String>, Vec<Value>) {
    let document: Value =
        destination.access_policy.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let all = match document.get("Statement") {
        Some(Value::Array(all)) => all.clone(),
        Some(one) => vec![one.clone()],
        None => Vec::new(),
    };
    let sid = |statement: &Value| statement.get("Sid").and_then(Value::as_str).unwrap_or_default().to_owned();
    let (ours, others): (Vec<Value>, Vec<Value>) =
        all.into_iter().partition(|statement| OUR_SIDS.contains(&sid(statement).as_str()));
    let named = ours.iter().filter(|statement| sid(statement) == OUR_SIDS[0]);
    let ids = named.flat_map(|statement| match &statement["Principal"]["AWS"] {
        Value::String(one) => vec![one.clone()],
        Value::Array(many) => many.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    });
    (ids.collect(), others)
}

/// The lines that were added (`+`) or removed (`-`) between `before` and `now`, empty if none were.
pub fn difference(before: &[String], now: &[String]) -> Vec<String> {
    let mut missing = before.to_vec();
    let mut text = Vec::new();
    for line in now {
        match missing.iter().position(|other| other == line) {
            Some(at) => drop(missing.swap_remove(at)),
            None => text.push(format!("+ {line}")),
        }
    }
    text.extend(missing.into_iter().map(|line| format!("- {line}")));
    text
}

/// Records lost before enrollment by a VPC whose managed flow log exists although an earlier link is missing.
pub fn half_enrolled(before_enrollment: &BTreeMap<Loss, u64>) -> u64 {
    let untouched = [Loss::NotLogged, Loss::NotRecording, Loss::OtherDestination];
    before_enrollment.iter().filter(|(loss, _)| !untouched.contains(loss)).map(|(_, records)| records).sum()
}
