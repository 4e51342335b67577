//! Log groups and subscription filters: what undoes an enrollment on the managed log group.

use serde_json::Value;

use super::envelope::Record;
use super::json::{cut, is_masked, text_at};
use super::{EventContext, Rejection, Trigger, watch};
use crate::arn::Arn;
use crate::ids::AccountRegion;

pub(super) fn decode(record: &Record<'_>, context: &EventContext) -> Result<Trigger, Rejection> {
    match &*record.name {
        "DeleteLogGroup" | "PutRetentionPolicy" | "DeleteRetentionPolicy" => changed(record, context, false),
        // What bends what the group delivers, or who may read and delete it.
        "AssociateKmsKey"
        | "DisassociateKmsKey"
        | "PutDataProtectionPolicy"
        | "DeleteDataProtectionPolicy"
        | "PutTransformer"
        | "DeleteTransformer"
        | "UntagResource"
        | "UntagLogGroup"
        | "PutLogGroupDeletionProtection" => changed(record, context, false),
        "PutAccountPolicy" | "DeleteAccountPolicy" => account_policy(record, context),
        "PutSubscriptionFilter" | "DeleteSubscriptionFilter" => changed(record, context, true),
        "PutDestination" | "DeleteDestination" | "PutDestinationPolicy" => watch::destination(record, context),
        _ => Err(Rejection::ignore(format!("{} undoes no enrollment", record.short_name()))),
    }
}

fn changed(record: &Record<'_>, context: &EventContext, of_filter: bool) -> Result<Trigger, Rejection> {
    record.must_be_call()?;
    let at = record.envelope.at()?;
    let name = &record.name;
    let Some(group) = group(&record.request, &at) else {
        return hidden(record, context, at, "log group");
    };
    if group != context.log_group.as_str() {
        let group = cut(&group, 512);
        return Err(Rejection::ignore_about(
            group.clone(),
            format!("{name} is about the log group {group:?}, which is not the managed one"),
        ));
    }
    if of_filter {
        let Some(filter) = text_at(&record.request, &["filterName"]).filter(|filter| !is_masked(filter)) else {
            return hidden(record, context, at, "subscription filter");
        };
        if filter != context.filter.as_str() {
            let filter = cut(&filter, 512);
            return Err(Rejection::ignore_about(
                group,
                format!("{name} is about the filter {filter:?}, which is not the managed one"),
            ));
        }
    }
    record.must_be_by_others(&context.member_role, at.account)?;
    let AccountRegion { account, region } = at;
    let of = if of_filter { format!("the filter {} of ", context.filter) } else { String::new() };
    let cause = format!("{name} changed {of}the log group {group}");
    Ok(Trigger::Repair { account, region, resource: group, cause })
}

/// A policy of the account holds for all of its groups, or for those that its scope selects.
fn account_policy(record: &Record<'_>, context: &EventContext) -> Result<Trigger, Rejection> {
    record.must_be_call()?;
    let AccountRegion { account, region } = record.envelope.at()?;
    record.must_be_by_others(&context.member_role, account)?;
    let cause = format!("{} may concern the log group {}", record.name, context.log_group);
    Ok(Trigger::Repair { account, region, resource: String::new(), cause })
}

/// CloudTrail leaves out a request that is too large, and masks some values. Then it may be about what is managed.
fn hidden(record: &Record<'_>, context: &EventContext, at: AccountRegion, of: &str) -> Result<Trigger, Rejection> {
    record.must_be_by_others(&context.member_role, at.account)?;
    let cause = format!("{} does not show which {of} it is about", record.name);
    Ok(Trigger::Repair { account: at.account, region: at.region, resource: String::new(), cause })
}

/// The log group's name, from whichever parameter has it. The ARN of a group in another account or Region is returned
/// whole, so that it never equals a name.
fn group(request: &Value, at: &AccountRegion) -> Option<String> {
    let names = ["logGroupName", "logGroupIdentifier", "logGroupArn", "resourceIdentifier", "resourceArn"];
    let identifier = names.into_iter().find_map(|name| text_at(request, &[name]))?;
    if is_masked(&identifier) {
        return None;
    }
    let Ok(arn) = identifier.parse::<Arn>() else { return Some(identifier.into_owned()) };
    let here = arn.service() == "logs" && arn.account() == Some(at.account) && arn.region() == Some(&at.region);
    let name = arn.resource().strip_prefix("log-group:").filter(|_| here);
    Some(name.map_or(&*identifier, |name| name.strip_suffix(":*").unwrap_or(name)).to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::fixtures::*;
    use super::*;

    const GROUP: &str = "vpc-flow-logs";

    fn repaired(name: &str, request: Value) {
        let Trigger::Repair { account: target, region, resource, cause } =
            acted(&call("logs", name).request(request).build())
        else {
            panic!("{name} is not a repair")
        };
        assert_eq!((target, region.as_str(), resource.as_str()), (account(MEMBER), "eu-west-1", GROUP));
        assert!(cause.starts_with(name), "{cause}");
    }

    #[test]
    fn what_undoes_an_enrollment_on_the_log_group_is_repaired() {
        for name in ["DeleteLogGroup", "PutRetentionPolicy", "DeleteRetentionPolicy", "DisassociateKmsKey"] {
            repaired(name, json!({"logGroupName": GROUP}));
        }
        for name in ["PutTransformer", "PutDataProtectionPolicy", "PutLogGroupDeletionProtection"] {
            repaired(name, json!({"logGroupIdentifier": GROUP}));
        }
        let arn = format!("arn:aws:logs:eu-west-1:{MEMBER}:log-group:{GROUP}");
        repaired("UntagResource", json!({"resourceArn": arn, "tagKeys": ["managed-by"]}));
        for name in ["PutSubscriptionFilter", "DeleteSubscriptionFilter"] {
            repaired(name, json!({"logGroupName": GROUP, "filterName": "AllTraffic"}));
        }
    }

    #[test]
    fn a_policy_of_the_account_is_looked_into() {
        let event = call("logs", "PutAccountPolicy").request(json!({"policyType": "DATA_PROTECTION_POLICY"}));
        let Trigger::Repair { resource, .. } = acted(&event.clone().build()) else { panic!("not a repair") };
        assert_eq!(resource, "");
        assert!(ignored(&event.by_role("EnrollerMember", MEMBER).build()).contains("the enroller itself"));
    }

    #[test]
    fn a_log_group_may_be_named_by_its_arn() {
        let arn = format!("arn:aws:logs:eu-west-1:{MEMBER}:log-group:{GROUP}");
        repaired("DeleteLogGroup", json!({"logGroupIdentifier": arn}));
        repaired("DeleteLogGroup", json!({"logGroupIdentifier": format!("{arn}:*")}));
        repaired("DeleteLogGroup", json!({"logGroupIdentifier": GROUP}));
        repaired("DeleteLogGroup", json!({"logGroupName": null, "logGroupIdentifier": GROUP}));
    }

    #[test]
    fn other_groups_and_filters_are_ignored_by_name() {
        let elsewhere = format!("arn:aws:logs:eu-west-1:{OTHER}:log-group:{GROUP}");
        for (name, request, named) in [
            ("DeleteLogGroup", json!({"logGroupName": "/team/vpc-flow-logs"}), "/team/vpc-flow-logs"),
            ("DeleteLogGroup", json!({"logGroupIdentifier": elsewhere}), OTHER),
            ("PutRetentionPolicy", json!({"logGroupName": "VPC-flow-logs"}), "VPC-flow-logs"),
            (
                "PutSubscriptionFilter",
                json!({"logGroupName": GROUP, "filterName": "theirs"}),
                "\"theirs\", which is not the managed one",
            ),
            ("DeleteSubscriptionFilter", json!({"logGroupName": "other", "filterName": "AllTraffic"}), "other"),
            ("CreateLogGroup", json!({"logGroupName": GROUP}), "CreateLogGroup"),
        ] {
            let reason = ignored(&call("logs", name).request(request).build());
            assert!(reason.contains(named), "{reason}");
        }
    }

    #[test]
    fn a_request_that_the_event_does_not_show_is_looked_into() {
        for (name, request, of) in [
            ("DeleteLogGroup", json!(null), "log group"),
            ("DeleteLogGroup", json!({"logGroupName": []}), "log group"),
            ("PutRetentionPolicy", json!({"logGroupName": "****", "retentionInDays": 1}), "log group"),
            (
                "PutSubscriptionFilter",
                json!({"omitted": true, "originalSize": 120_000, "reason": "OVERSIZE"}),
                "log group",
            ),
            ("DeleteSubscriptionFilter", json!({"logGroupName": GROUP}), "subscription filter"),
            ("PutSubscriptionFilter", json!({"logGroupName": GROUP, "filterName": "****"}), "subscription filter"),
        ] {
            let event = call("logs", name).request(request);
            let Trigger::Repair { resource, cause, .. } = acted(&event.clone().build()) else { panic!("not a repair") };
            assert_eq!((&*resource, cause), ("", format!("{name} does not show which {of} it is about")));
            assert!(ignored(&event.by_role("EnrollerMember", MEMBER).build()).contains("the enroller itself"));
        }
    }

    #[test]
    fn what_the_enroller_did_to_the_group_is_ignored() {
        let event = call("logs", "PutRetentionPolicy").request(json!({"logGroupName": GROUP}));
        let reason = ignored(&event.by_role("EnrollerMember", MEMBER).build());
        assert!(reason.contains("the enroller itself"));
    }
}
