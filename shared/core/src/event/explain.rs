//! Explains what the product would do with an event.

use serde::Serialize;
use serde_json::Value;

use super::json::field;
use super::{Classified, EventContext, Subject, Trigger, containers, decode, decode_value, wrap_cloudtrail};
use crate::ids::{AccountId, Region};

/// What the product would do with one event. In JSON, the members have this order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// Where the event was read from, as given by the caller.
    pub source: String,
    /// `enroll`, `repair`, `grant`, `revoke`, `sync`, `backfill` or `ignore`.
    pub decision: &'static str,
    /// The account that would be acted on, or that an ignored event comes from.
    pub account: Option<AccountId>,
    /// Likewise the Region. It is absent for grants, which concern every enrolled Region.
    pub region: Option<Region>,
    /// The resource the event names.
    pub resource: Option<String>,
    /// The reason, as a sentence. That of a refusal begins with `refused: `.
    pub reason: String,
}

/// Explains each event in a JSON value.
///
/// Lambda's `Records` (of SQS or SNS), CloudTrail files, arrays, and what AWS's commands print (`lookup-events`,
/// queries of CloudTrail Lake and CloudWatch Logs, `receive-message`) are split into their events. Raw CloudTrail
/// records are put into an envelope first. A body from SQS or SNS is explained as the functions would decide it.
pub fn explain(source: &str, value: &Value, context: &EventContext) -> Vec<Explanation> {
    match containers::items(value) {
        Some(items) => items.iter().flat_map(|item| explain(source, item, context)).collect(),
        None => vec![explanation(source, record_decision(value, context))],
    }
}

fn record_decision(record: &Value, context: &EventContext) -> Classified {
    let sqs = record.get("body").or_else(|| record.get("Body")).filter(|_| record.get("source").is_none());
    let sns = record.get("Sns").and_then(|sns| sns.get("Message"));
    match sqs.or(sns) {
        Some(Value::String(body)) => return decode(body, context),
        Some(body) => return decode_value(body, context),
        None => {}
    }
    match containers::text_of(record).map(|text| (text, serde_json::from_str::<Value>(text))) {
        Some((_, Ok(inner))) => in_envelope(&inner, context),
        Some((text, Err(_))) => decode(text, context),
        None => in_envelope(record, context),
    }
}

fn in_envelope(record: &Value, context: &EventContext) -> Classified {
    let is_raw =
        field(record, "eventName").is_some() && record.get("detail").is_none() && record.get("source").is_none();
    if is_raw {
        decode_value(&wrap_cloudtrail(containers::from_columns(record)), context)
    } else {
        decode_value(record, context)
    }
}

fn explanation(source: &str, decision: Classified) -> Explanation {
    let (decision, subject, reason) = match decision {
        Classified::Act(decoded) => {
            let is_repair = decoded.change.is_some();
            let (decision, subject, reason) = acted(decoded.trigger);
            (if is_repair && decision == "enroll" { "repair" } else { decision }, subject, reason)
        }
        Classified::Ignore(ignored) => ("ignore", ignored.subject, ignored.reason),
        Classified::Refuse(refused) => ("ignore", refused.subject, format!("refused: {}", refused.reason)),
    };
    let Subject { account, region, resource } = subject;
    let resource = resource.filter(|resource| !resource.is_empty());
    Explanation { source: source.to_owned(), decision, account, region, resource, reason }
}

fn acted(trigger: Trigger) -> (&'static str, Subject, String) {
    let at =
        |account, region, resource| Subject { account: Some(account), region: Some(region), resource: Some(resource) };
    let only = |account| Subject { account: Some(account), ..Subject::default() };
    match trigger {
        Trigger::Enroll { account, region, what, cause } => ("enroll", at(account, region, what.to_string()), cause),
        Trigger::Repair { account, region, resource, cause } => ("repair", at(account, region, resource), cause),
        Trigger::Request(request) => {
            let regions = request.regions.iter().map(Region::as_str).collect::<Vec<_>>().join(", ");
            let region = if let [region] = request.regions.as_slice() { Some(region.clone()) } else { None };
            let reason = format!("An enrollment in {regions} was requested: {}", request.reason);
            ("enroll", Subject { region, ..only(request.account) }, reason)
        }
        Trigger::Grant { account, cause, .. } => ("grant", only(account), cause),
        Trigger::Revoke { account, cause } => ("revoke", only(account), cause),
        Trigger::Sync { cause, resource, .. } => {
            let account = resource.as_deref().and_then(|resource| resource.parse().ok());
            ("sync", Subject { account, region: None, resource }, cause)
        }
        Trigger::Backfill(continuation) => {
            let reason = format!("Backfill {} continues after account {}", continuation.run_id, continuation.after);
            ("backfill", Subject::default(), reason)
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::fixtures::*;
    use super::*;

    fn decisions(value: &Value) -> Vec<&'static str> {
        explain("-", value, &context()).into_iter().map(|line| line.decision).collect()
    }

    #[test]
    fn a_line_has_its_members_in_order() {
        let lines = explain("event.json", &create_vpc().build(), &context());
        assert_eq!(
            serde_json::to_string(&lines).unwrap(),
            r#"[{"source":"event.json","decision":"enroll","account":"111122223333","region":"eu-west-1","resource":"vpc-0123456789abcdef0","reason":"CreateVpc created vpc-0123456789abcdef0"}]"#
        );
    }

    #[test]
    fn every_container_is_split_into_its_events() {
        let event = create_vpc().build();
        let raw = event["detail"].clone();
        let delete = delete_flow_logs().build();
        let sqs = |body: &Value| json!({"messageId": "m", "eventSource": "aws:sqs", "body": body.to_string()});
        let notification = json!({"Type": "Notification", "Message": event.to_string()});
        let sns = json!({"EventSource": "aws:sns", "Sns": notification});
        assert_eq!(decisions(&raw), ["enroll"]);
        assert_eq!(decisions(&json!([event, raw, delete["detail"]])), ["enroll", "enroll", "repair"]);
        assert_eq!(decisions(&json!({"Records": [raw, delete["detail"], 5]})), ["enroll", "repair", "ignore"]);
        assert_eq!(
            decisions(&json!({"Records": [sqs(&event), sqs(&notification), sqs(&delete)]})),
            ["enroll", "enroll", "repair"]
        );
        assert_eq!(decisions(&json!({"Records": [sns]})), ["enroll"]);
        assert_eq!(decisions(&json!({"Records": [{"body": event}]})), ["enroll"]);
        assert_eq!(decisions(&json!({"Records": []})), [""; 0]);
    }

    #[test]
    fn what_lookup_events_prints_is_split_into_its_events() {
        let raw = create_vpc().build()["detail"].clone();
        let row = |record: &Value| {
            json!({"EventId": EVENT_ID, "EventName": record["eventName"], "ReadOnly": "false", "EventTime": 1_795_428_000.0,
                "EventSource": record["eventSource"], "Username": "someone", "Resources": [],
                "CloudTrailEvent": record.to_string()})
        };
        let delete = delete_flow_logs().build()["detail"].clone();
        assert_eq!(decisions(&json!({"Events": [row(&raw), row(&delete)], "NextToken": "t"})), ["enroll", "repair"]);
        assert_eq!(decisions(&row(&raw)), ["enroll"]);
        assert_eq!(decisions(&json!([row(&raw)])), ["enroll"]);
        assert_eq!(explain("-", &json!({"Events": [row(&raw)]}), &context()), explain("-", &raw, &context()));
        // --query 'Events[].CloudTrailEvent'
        assert_eq!(decisions(&json!([raw.to_string(), delete.to_string()])), ["enroll", "repair"]);
        assert_eq!(decisions(&json!({"Events": []})), [""; 0]);
        let broken = explain("-", &json!({"Events": [{"CloudTrailEvent": "{"}]}), &context());
        assert!(broken[0].reason.starts_with("refused: the body is not JSON"), "{}", broken[0].reason);
    }

    #[test]
    fn rows_of_cloudtrail_lake_are_split_into_their_events() {
        // Each row is a list of columns; records in columns are texts like a Presto map, whose values can be JSON.
        let row = json!([
            {"eventversion": "1.11"},
            {"useridentity": "{type=AssumedRole, principalid=AROA:alice, arn=arn:aws:sts::111122223333:assumed-role/Admin/alice, \
                accountid=111122223333, sessioncontext={attributes={creationdate=2026-11-23 09:00:00.000, mfaauthenticated=false}, \
                sessionissuer={type=Role, arn=arn:aws:iam::111122223333:role/Admin, accountid=111122223333, username=Admin}, \
                webidfederationdata=null}}"},
            {"eventTime": "2026-11-23 10:00:00.000"},
            {"eventSource": "ec2.amazonaws.com"},
            {"eventName": "CreateVpc"},
            {"awsRegion": "eu-west-1"},
            {"errorCode": "null"},
            {"requestParameters": "{cidrBlock=10.0.0.0/16, instanceTenancy=default}"},
            {"responseElements": format!("{{requestId=r, vpc={{\"vpcId\":\"{VPC}\",\"ownerId\":\"{MEMBER}\",\"tagSet\":{{}}}}}}")},
            {"eventID": EVENT_ID},
            {"readOnly": "false"},
            {"eventType": "AwsApiCall"},
            {"recipientAccountId": MEMBER},
        ]);
        let lines = explain("-", &json!({"QueryStatus": "FINISHED", "QueryResultRows": [row, row]}), &context());
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0], explain("-", &create_vpc().build(), &context()).remove(0));

        let columns: serde_json::Map<String, Value> =
            row.as_array().unwrap().iter().flat_map(|column| column.as_object().unwrap().clone()).collect();
        assert_eq!(decisions(&Value::Object(columns.clone())), ["enroll"]);
        let lower = columns.into_iter().map(|(name, value)| (name.to_lowercase(), value)).collect();
        assert_eq!(decisions(&Value::Object(lower)), ["enroll"]);

        let record = delete_flow_logs().build()["detail"].to_string();
        for column in ["eventJson", "eventdata", "eventData"] {
            let rows = json!({"QueryResultRows": [[{"eventTime": "2026-11-23 10:00:00.000"}, {column: record}]]});
            assert_eq!(decisions(&rows), ["repair"], "{column}");
        }
        let own = delete_flow_logs().by_role("EnrollerMember", MEMBER).build()["detail"].to_string();
        let rows = json!({"QueryResultRows": [[{"eventName": "DeleteFlowLogs"}, {"eventData": own}]]});
        assert!(explain("-", &rows, &context())[0].reason.contains("the enroller itself"));
    }

    #[test]
    fn what_other_commands_print_is_split_into_its_events() {
        let event = create_vpc().build();
        let raw = event["detail"].to_string();
        for printed in [
            // aws logs filter-log-events and get-log-events, of a trail that delivers to CloudWatch Logs
            json!({"events": [{"timestamp": 1, "message": raw, "logStreamName": "s"}], "searchedLogStreams": []}),
            // aws logs get-query-results
            json!({"status": "Complete", "results": [[{"field": "@timestamp", "value": "t"}, {"field": "@message", "value": raw}]]}),
            // aws sqs receive-message
            json!({"Messages": [{"MessageId": "m", "ReceiptHandle": "r", "Body": event.to_string()}]}),
        ] {
            assert_eq!(decisions(&printed), ["enroll"], "{printed}");
        }
    }

    #[test]
    fn a_body_that_is_not_an_event_gives_a_line_too() {
        let lines = explain("-", &json!({"Records": [{"eventSource": "aws:sqs", "body": "Message Body"}]}), &context());
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0].decision, "ignore");
        assert!(lines[0].reason.starts_with("refused: the body is not JSON"), "{}", lines[0].reason);
        assert_eq!(decisions(&json!("text")), ["ignore"]);
        let object_created = json!({"eventSource": "aws:s3", "eventName": "ObjectCreated:Put", "s3": {}});
        assert_eq!(decisions(&json!({"Records": [object_created]})), ["ignore"]);
    }

    #[test]
    fn every_kind_of_trigger_has_its_word() {
        let moved = call("organizations", "MoveAccount").request(json!({"accountId": OTHER})).build();
        let line = explain("-", &moved, &context()).remove(0);
        assert_eq!(
            (line.decision, line.account, line.resource.as_deref()),
            ("sync", Some(account(OTHER)), Some(OTHER))
        );

        let removed =
            call("organizations", "RemoveAccountFromOrganization").request(json!({"accountId": OTHER})).build();
        let line = explain("-", &removed, &context()).remove(0);
        assert_eq!((line.decision, line.account, line.region), ("revoke", Some(account(OTHER)), None));

        let request = json!({"kind": "enrollment-request", "version": 1, "account": MEMBER, "regions": ["eu-west-1"], "reason": "granted"});
        let line = explain("-", &request, &context()).remove(0);
        assert_eq!((line.decision, line.region.as_ref().map(Region::as_str)), ("enroll", Some("eu-west-1")));
        assert_eq!(line.reason, "An enrollment in eu-west-1 was requested: granted");

        let request = json!({"kind": "grant-request", "version": 1, "account": MEMBER});
        assert_eq!(decisions(&request), ["grant"]);
    }

    #[test]
    fn only_a_record_without_an_envelope_is_put_into_one() {
        let reason = |value: Value| explain("-", &value, &context()).remove(0).reason;
        assert_eq!(reason(json!({"detail": {"eventName": "CreateVpc"}})), "refused: the event names no source");
        assert_eq!(reason(json!({})), "This is neither an EventBridge event nor one of the enroller's own messages");
        assert_eq!(decisions(&create_vpc().top("eventName", json!("DeleteVpc")).build()), ["enroll"]);
    }

    #[test]
    fn an_ignored_event_still_names_its_subject() {
        let event = call("logs", "DeleteLogGroup").request(json!({"logGroupName": "theirs"})).build();
        let line = explain("-", &event, &context()).remove(0);
        assert_eq!(
            (line.decision, line.account, line.resource.as_deref()),
            ("ignore", Some(account(MEMBER)), Some("theirs"))
        );
        assert_eq!(line.region.as_ref().map(Region::as_str), Some("eu-west-1"));
    }
}
