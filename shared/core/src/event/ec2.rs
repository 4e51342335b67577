//! VPCs and flow logs.
//!
//! CloudTrail writes EC2 calls in two styles: older ones (CreateVpc) in plain camelCase, newer ones (CreateFlowLogs,
//! DeleteFlowLogs) inside `XxxRequest` and `XxxResponse`, with lists as `{"tag":1,"content":…}`. No public sample of
//! CreateDefaultVpc exists, so both styles are read for every call. CloudTrail leaves out a part that is too large, and
//! masks some values. Then the account-Region is looked at as a whole.

use serde_json::Value;

use super::envelope::Record;
use super::json::{field, is_masked, parsed, path, text, text_at};
use super::{Enrolled, EventContext, Rejection, Trigger, tags};
use crate::ids::{AccountId, AccountRegion, FlowLogId, VpcId};

pub(super) fn decode(record: &Record<'_>, context: &EventContext) -> Result<Trigger, Rejection> {
    match &*record.name {
        "CreateVpc" => created(record, "CreateVpcResponse", context),
        "CreateDefaultVpc" => created(record, "CreateDefaultVpcResponse", context),
        "DeleteFlowLogs" => flow_logs_deleted(record, context),
        "CreateTags" | "DeleteTags" => tags::decode(record, context, at(record, context)?),
        "DeleteVpc" => {
            let vpc = text_at(&record.request, &["vpcId"]).unwrap_or_default().into_owned();
            Err(Rejection::ignore_about(vpc, "DeleteVpc leaves no VPC to cover"))
        }
        "CreateFlowLogs" => Err(Rejection::ignore("CreateFlowLogs undoes no enrollment")),
        _ => Err(Rejection::ignore(format!(
            "{} neither creates a VPC, nor deletes a flow log, nor tags one",
            record.short_name()
        ))),
    }
}

fn at(record: &Record<'_>, context: &EventContext) -> Result<AccountRegion, Rejection> {
    record.must_be_call()?;
    let at = record.envelope.at()?;
    record.must_be_by_others(&context.member_role, at.account)?;
    Ok(at)
}

fn created(record: &Record<'_>, wrapper: &str, context: &EventContext) -> Result<Trigger, Rejection> {
    let AccountRegion { account, region } = at(record, context)?;
    let name = &record.name;
    let response = field(&record.response, wrapper).unwrap_or(&record.response);
    let Some(vpc) = path(response, &["vpc", "vpcId"]).filter(|vpc| is_shown(vpc)) else {
        let cause = format!("{name} does not show which VPC it created");
        return Ok(Trigger::Enroll { account, region, what: Enrolled::Unnamed, cause });
    };
    let vpc: VpcId = parsed(vpc)?;
    if let Some(owner) = path(response, &["vpc", "ownerId"]).filter(|owner| is_shown(owner)) {
        let owner: AccountId = parsed(owner)?;
        if owner != account {
            return Err(Rejection::refuse(format!("{vpc} belongs to {owner}, but the event is from {account}")));
        }
    }
    let cause = format!("{name} created {vpc}");
    Ok(Trigger::Enroll { account, region, what: Enrolled::Vpc(vpc), cause })
}

/// The event names no VPC, and ids do not show which flow logs were managed, so the whole account-Region is checked.
/// That also makes a call harmless whose response lists every id as `unsuccessful`.
fn flow_logs_deleted(record: &Record<'_>, context: &EventContext) -> Result<Trigger, Rejection> {
    let AccountRegion { account, region } = at(record, context)?;
    let request = field(&record.request, "DeleteFlowLogsRequest").unwrap_or(&record.request);
    let named = ["FlowLogId", "flowLogIds", "flowLogIdSet"].into_iter().find_map(|name| field(request, name));
    let mut ids = Vec::new();
    if let Some(named) = named {
        collect(named, &mut ids)?;
    }
    let resource = ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let cause = match ids.as_slice() {
        [] => "DeleteFlowLogs does not show what it deleted".to_owned(),
        [only] => format!("DeleteFlowLogs deleted {only}"),
        several => format!("DeleteFlowLogs deleted {} flow logs", several.len()),
    };
    Ok(Trigger::Repair { account, region, resource, cause })
}

/// Whether a value is more than the mask of one.
fn is_shown(value: &Value) -> bool {
    text(value).is_none_or(|text| !is_masked(&text))
}

/// Ids as a string, a list, `{"tag":1,"content":ID}`, `{"item":…}` or `{"items":[{"flowLogId":ID}]}`.
fn collect(value: &Value, ids: &mut Vec<FlowLogId>) -> Result<(), Rejection> {
    match value {
        Value::Array(values) => values.iter().try_for_each(|value| collect(value, ids)),
        Value::Object(_) => ["content", "item", "items", "flowLogId"]
            .into_iter()
            .filter_map(|name| field(value, name))
            .try_for_each(|value| collect(value, ids)),
        // CloudTrail writes an empty list as an empty string.
        _ if !is_shown(value) => Ok(()),
        _ => {
            ids.push(parsed(value)?);
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::fixtures::*;
    use super::*;

    fn enroll(name: &str) -> Trigger {
        Trigger::Enroll {
            account: account(MEMBER),
            region: "eu-west-1".parse().unwrap(),
            what: Enrolled::Vpc(VPC.parse().unwrap()),
            cause: format!("{name} created {VPC}"),
        }
    }

    #[test]
    fn a_new_vpc_is_enrolled_in_either_json_style() {
        let vpc = json!({"vpc": {"vpcId": VPC, "ownerId": MEMBER, "tagSet": {"items": [{"key": "a", "value": true}]}}});
        for (name, response) in [
            ("CreateVpc", vpc.clone()),
            ("CreateVpc", json!({"CreateVpcResponse": vpc})),
            ("CreateDefaultVpc", vpc.clone()),
            ("CreateDefaultVpc", json!({"CreateDefaultVpcResponse": vpc})),
            ("CreateVpc", json!({"vpc": {"vpcId": VPC}})),
            ("CreateVpc", json!({"vpc": {"vpcId": VPC, "ownerId": 111_122_223_333_u64}})),
            ("CreateVpc", json!({"vpc": {"vpcId": VPC, "ownerId": null}})),
        ] {
            assert_eq!(acted(&call("ec2", name).response(response).build()), enroll(name));
        }
    }

    #[test]
    fn an_invalid_vpc_or_one_of_another_account_is_refused() {
        for (response, reason) in [
            (json!({"vpc": {"vpcId": "vpc-nonsense"}}), "\"vpc-nonsense\" is not a VPC id"),
            (json!({"vpc": {"vpcId": 5}}), "is not a VPC id"),
            (json!({"vpc": {"vpcId": {"content": VPC}}}), "is not a VPC id"),
            (json!({"vpc": {"vpcId": VPC, "ownerId": OTHER}}), "belongs to 444455556666"),
            (json!({"vpc": {"vpcId": VPC, "ownerId": "me"}}), "\"me\" is not an account id"),
        ] {
            let refusal = refused(&create_vpc().response(response).build());
            assert!(refusal.contains(reason), "{refusal}");
        }
    }

    #[test]
    fn a_created_vpc_that_the_event_does_not_show_is_looked_for() {
        for response in [
            json!(null),
            json!({"vpc": null}),
            json!({"vpc": [VPC]}),
            json!({"vpc": {"vpcId": "****"}}),
            json!({"vpc": {"vpcId": "HIDDEN_DUE_TO_SECURITY_REASONS", "ownerId": "****"}}),
            json!({"omitted": true, "originalSize": 120_000, "reason": "OVERSIZE"}),
        ] {
            let Trigger::Enroll { account: target, what, cause, .. } =
                acted(&create_vpc().response(response.clone()).build())
            else {
                panic!("not an enrollment")
            };
            assert_eq!((target, what), (account(MEMBER), Enrolled::Unnamed), "{response}");
            assert_eq!(cause, "CreateVpc does not show which VPC it created");
        }
        let vpc = json!({"vpc": {"vpcId": VPC, "ownerId": "XXXXXXXXXXXX"}});
        assert_eq!(acted(&create_vpc().response(vpc).build()), enroll("CreateVpc"));
    }

    #[test]
    fn a_call_that_failed_inside_ec2_is_looked_into() {
        let failed = |event: Event, code| event.response(json!(null)).detail("errorCode", json!(code)).build();
        for code in ["Server.InternalError", "Server.Unavailable", "InternalFailure"] {
            let Trigger::Enroll { what: Enrolled::Unnamed, cause, .. } = acted(&failed(create_vpc(), code)) else {
                panic!("not an enrollment")
            };
            assert!(cause.contains(code), "{cause}");
            assert!(matches!(acted(&failed(delete_flow_logs(), code)), Trigger::Repair { .. }));
        }
        for code in ["Client.UnauthorizedOperation", "Client.DryRunOperation", "Client.RequestLimitExceeded"] {
            assert!(ignored(&failed(delete_flow_logs(), code)).contains(code));
        }
    }

    #[test]
    fn deleted_flow_logs_are_read_in_every_form() {
        let (one, two) = ("fl-0123456789abcdef0", "fl-0123456789abcdef1");
        let both = format!("{one},{two}");
        let wrapped = |ids| json!({"DeleteFlowLogsRequest": {"FlowLogId": ids}});
        for (request, resource) in [
            (wrapped(json!({"tag": 1, "content": one})), one),
            (wrapped(json!([{"tag": 1, "content": one}, {"tag": 2, "content": two}])), &both),
            (wrapped(json!([one, two])), &both),
            (wrapped(json!(one)), one),
            (json!({"flowLogId": [one, two]}), &both),
            (json!({"flowLogIdSet": {"items": [{"flowLogId": one}]}}), one),
            (json!({"flowLogIdSet": {"item": [one, two]}}), &both),
        ] {
            let Trigger::Repair { account: target, resource: named, .. } =
                acted(&call("ec2", "DeleteFlowLogs").request(request).build())
            else {
                panic!("not a repair")
            };
            assert_eq!((target, named.as_str()), (account(MEMBER), resource));
        }
    }

    #[test]
    fn flow_logs_without_a_proper_id_are_refused() {
        for (ids, reason) in [
            (json!({"tag": 1, "content": "fl-x"}), "\"fl-x\" is not a flow log id"),
            (json!(["fl-0123456789abcdef0", "vpc-0123456789abcdef0"]), "is not a flow log id"),
        ] {
            let request = json!({"DeleteFlowLogsRequest": {"FlowLogId": ids}});
            let refusal = refused(&call("ec2", "DeleteFlowLogs").request(request).build());
            assert!(refusal.contains(reason), "{refusal}");
        }
    }

    #[test]
    fn flow_logs_that_the_event_does_not_show_are_looked_for() {
        let wrapped = |ids| json!({"DeleteFlowLogsRequest": {"FlowLogId": ids}});
        for request in [
            wrapped(json!("")),
            wrapped(json!([])),
            wrapped(json!(null)),
            wrapped(json!({"tag": 1})),
            wrapped(json!({"tag": 1, "content": "****"})),
            json!({"omitted": true, "originalSize": 120_000, "reason": "OVERSIZE"}),
            json!(null),
        ] {
            let event = call("ec2", "DeleteFlowLogs").request(request.clone()).build();
            let Trigger::Repair { resource, cause, .. } = acted(&event) else { panic!("not a repair") };
            assert_eq!((&*resource, &*cause), ("", "DeleteFlowLogs does not show what it deleted"), "{request}");
        }
    }

    #[test]
    fn a_deletion_that_failed_for_every_id_is_a_harmless_repair() {
        let failed =
            json!({"DeleteFlowLogsResponse": {"unsuccessful": {"item": {"resourceId": "fl-0123456789abcdef0"}}}});
        assert!(matches!(acted(&delete_flow_logs().response(failed).build()), Trigger::Repair { .. }));
    }

    #[test]
    fn other_calls_are_ignored_by_name() {
        for name in ["DeleteVpc", "DescribeVpcs", "CreateFlowLogs", "RunInstances", "createvpc"] {
            let reason = ignored(&call("ec2", name).request(json!({"vpcId": VPC})).build());
            assert!(reason.contains(name), "{reason}");
        }
        let reason = |name| ignored(&call("ec2", name).request(json!({"vpcId": VPC})).build());
        assert!(
            reason("DeleteVpc").contains("leaves no VPC to cover") && reason("CreateFlowLogs").contains("undoes no")
        );
        let state = json!({"source": "aws.ec2", "detail-type": "EC2 Instance State-change Notification",
            "account": MEMBER, "detail": {"instance-id": "i-0", "state": "running"}});
        assert!(ignored(&state).contains("EC2 Instance State-change Notification"));
    }
}
