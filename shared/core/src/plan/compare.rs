//! Comparing flow logs. AWS may return a value in another form than it was given, so both sides are normalized first.

use std::collections::BTreeSet;

use super::{Desired, FlowLogSpec};
use crate::ids::AccountId;
use crate::observed::{Delivery, FlowLog, FlowLogTarget, TrafficType};
pub use crate::settings::SETTINGS_TAG;
use crate::settings::{AWS_DEFAULT_FORMAT, Settings};

/// How a flow log differs from the desired one, as shown to operators; empty if it does not.
pub(super) fn differences(desired: &Desired<'_>, spec: &FlowLogSpec, log: &FlowLog) -> Vec<String> {
    let mut found = Vec::new();
    let mut compare = |what: &str, is: &str, should: &str| {
        if is != should {
            found.push(format!("{what} is {is}, not {should}"));
        }
    };
    let group = desired.settings.log_group_name.as_str();
    match &log.target {
        FlowLogTarget::LogGroup(name) => compare("log group", group_name(name), group),
        FlowLogTarget::Other(arn) => compare("target", arn, group),
    }
    compare("traffic type", log.traffic_type.map_or("none", TrafficType::as_str), spec.traffic_type.as_str());
    compare("interval", &log.interval.to_string(), &spec.interval.to_string());
    let (role, wanted) = (log.delivery_role.as_deref().unwrap_or("none"), spec.delivery_role.to_string());
    if without_path(role) != without_path(&wanted) {
        compare("delivery role", role, &wanted);
    }
    let format = log.format.as_deref().unwrap_or(AWS_DEFAULT_FORMAT);
    if fields(format) != fields(&spec.format) {
        let format: Vec<&str> = format.split_whitespace().collect();
        compare("format", &format.join(" "), &spec.format);
    }
    if !log.active {
        found.push("status is not ACTIVE".to_owned());
    }
    found
}

/// Whether the enroller may replace and delete a flow log.
///
/// A tag alone does not show it, because many principals of a member account may tag flow logs of others. So a managed
/// one also delivers to the log group, or with the delivery role. One that does both is ours without the tag, which
/// somebody may have taken off.
pub(crate) fn is_managed(settings: &Settings, account: AccountId, log: &FlowLog) -> bool {
    let (to_group, with_role) = (delivers_to(settings, log), delivers_with_role(settings, account, log));
    match settings.ownership_tag.is_on(&log.tags) {
        true => to_group || with_role,
        false => to_group && with_role && !is_claimed(settings, log),
    }
}

/// Whether another value of the ownership tag says that somebody else manages a flow log. On one of ours that value
/// counts for nothing: then the flow log also has the tag with the settings that it was created with.
pub(super) fn is_claimed(settings: &Settings, log: &FlowLog) -> bool {
    log.tags.get(&settings.ownership_tag.key).is_some_and(|value| *value != settings.ownership_tag.value)
        && !log.tags.contains_key(SETTINGS_TAG)
}

/// Whether a flow log delivers with the delivery role of the settings, whatever path that has.
pub(super) fn delivers_with_role(settings: &Settings, account: AccountId, log: &FlowLog) -> bool {
    let wanted = settings.delivery_role(account).to_string();
    log.delivery_role.as_deref().is_some_and(|role| without_path(role) == without_path(&wanted))
}

fn delivers_to(settings: &Settings, log: &FlowLog) -> bool {
    matches!(&log.target, FlowLogTarget::LogGroup(name) if group_name(name) == settings.log_group_name.as_str())
}

/// Whether a flow log delivers to the log group of the settings.
pub(super) fn delivers_to_group(desired: &Desired<'_>, log: &FlowLog) -> bool {
    delivers_to(desired.settings, log)
}

/// What a flow log to the log group lacks to cover its VPC, as shown to operators; empty if it lacks nothing. It may
/// record more than the settings ask for.
pub(super) fn lacks(spec: &FlowLogSpec, log: &FlowLog) -> Vec<String> {
    let mut found = Vec::new();
    if log.traffic_type != Some(spec.traffic_type) && log.traffic_type != Some(TrafficType::All) {
        let records = log.traffic_type.map_or("none", TrafficType::as_str);
        found.push(format!("it records traffic type {records}, not {}", spec.traffic_type));
    }
    let recorded = fields(log.format.as_deref().unwrap_or(AWS_DEFAULT_FORMAT));
    let wanted = fields(&spec.format);
    let known: BTreeSet<&str> = recorded.iter().map(String::as_str).collect();
    let missing: Vec<&str> = wanted.iter().map(String::as_str).filter(|field| !known.contains(field)).collect();
    if !missing.is_empty() {
        found.push(format!("it does not record {}", missing.join(", ")));
    } else if !recorded.starts_with(&wanted) {
        // Tables read by position. With two columns exchanged, every record would be believed and be false.
        found.push("it records the fields in another order".to_owned());
    }
    if !log.active {
        found.push("it is not ACTIVE".to_owned());
    }
    match &log.delivery {
        Delivery::Success => {}
        Delivery::Failed(message) => found.push(format!("its delivery fails: {message}")),
        // It may never have recorded anything: its role may not even exist.
        Delivery::Unknown => found.push("it has not reported a delivery yet".to_owned()),
    }
    found
}

/// Whether the flow log was created with exactly these settings.
pub(super) fn was_made_for(desired: &Desired<'_>, spec: &FlowLogSpec, log: &FlowLog) -> bool {
    log.tags.get(SETTINGS_TAG) == Some(&fingerprint(desired, spec))
}

/// A fingerprint of all that a flow log is created with: 64 bits of FNV-1a, in hexadecimal. The same settings must give
/// the same fingerprint in every version, or all flow logs would count as made with other settings.
pub(super) fn fingerprint(desired: &Desired<'_>, spec: &FlowLogSpec) -> String {
    let FlowLogSpec { traffic_type, interval, format, delivery_role } = spec;
    let group = &desired.settings.log_group_name;
    let text = format!("{group}\n{traffic_type}\n{interval}\n{delivery_role}\n{}", fields(format).join(" "));
    let hash = text
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    format!("{hash:016x}")
}

/// The name of a log group that AWS may return with the `:*` of its ARN.
fn group_name(name: &str) -> &str {
    name.strip_suffix(":*").unwrap_or(name)
}

/// A role's ARN without the path of the role: names are unique in an account, whatever their paths.
fn without_path(arn: &str) -> String {
    match arn.split_once(":role/") {
        Some((account, path)) => format!("{account}:role/{}", path.rsplit('/').next().unwrap_or(path)),
        None => arn.to_owned(),
    }
}

/// The names of the fields of a format, in their order.
fn fields(format: &str) -> Vec<String> {
    let parts = format.split("${").skip(1);
    parts.map(|part| part.split('}').next().unwrap_or(part).trim().to_ascii_lowercase()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_is_its_fields_however_they_are_written() {
        let wanted = ["account-id", "vpc-id", "region"];
        for text in [
            "${account-id} ${vpc-id} ${region}",
            " ${Account-Id}\t${vpc-id}  ${ region }",
            "${account-id}${vpc-id}${region}",
        ] {
            assert_eq!(fields(text), wanted, "{text}");
        }
        assert_ne!(fields("${vpc-id} ${account-id} ${region}"), wanted, "the order is that of the columns");
        assert!(fields("").is_empty());
    }

    #[test]
    fn a_role_is_its_account_and_name_whatever_its_path() {
        let plain = "arn:aws:iam::444455556666:role/VpcFlowLogsEnrollerDelivery";
        assert_eq!(without_path("arn:aws:iam::444455556666:role/a/path/VpcFlowLogsEnrollerDelivery"), plain);
        assert_eq!(without_path(plain), plain);
        assert_eq!(without_path("none"), "none");
    }
}
