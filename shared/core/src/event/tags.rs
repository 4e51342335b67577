//! Tags of VPCs and flow logs. Three of them decide what the enroller does: the one that opts a VPC out, the one with
//! its traffic type, and the one that marks what the enroller made.
//!
//! Whoever takes the opt-out tag from a VPC expects it to be logged, so the change of such a tag triggers an
//! enrollment.

use serde_json::Value;

use super::envelope::Record;
use super::json::{cut, field, is_masked, section, text, text_at};
use super::{Enrolled, EventContext, Rejection, Trigger};
use crate::ids::{AccountRegion, FlowLogId, VpcId};

/// CreateTags and DeleteTags. A request that CloudTrail left out may be about any VPC.
pub(super) fn decode(record: &Record<'_>, context: &EventContext, at: AccountRegion) -> Result<Trigger, Rejection> {
    let name = &record.name;
    let request = field(&record.request, &format!("{name}Request")).unwrap_or(&record.request);
    let mut resources = listed(request, &["resourcesSet", "resourceIdSet", "ResourceId"], "resourceId");
    resources.retain(|id| !is_masked(id));
    let keys = listed(request, &["tagSet", "Tag"], "key");
    let AccountRegion { account, region } = at;
    let enroll = |what, cause| Ok(Trigger::Enroll { account, region, what, cause });
    if resources.is_empty() {
        return enroll(Enrolled::Unnamed, format!("{name} does not show which resources it is about"));
    }
    let ours: Vec<&str> = resources.iter().map(String::as_str).filter(|id| concerns(id)).collect();
    if ours.is_empty() {
        let first = cut(&resources[0], 80);
        return Err(Rejection::ignore_about(
            first.clone(),
            format!("{name} is about {first}, not a VPC or a flow log"),
        ));
    }
    let resource = cut(&ours.join(","), 512);
    let named = keys.iter().find(|key| context.tag_keys.contains(*key));
    let what = match (named, &**name) {
        (Some(key), "DeleteTags") => format!("took the tag {key:?} from"),
        (Some(key), _) => format!("put the tag {key:?} on"),
        // EC2 API reference, DeleteTags: without tags, all tags are deleted.
        (None, "DeleteTags") if keys.is_empty() => "took every tag from".to_owned(),
        (None, _) if keys.is_empty() => "changed tags that it does not show on".to_owned(),
        (None, _) => {
            let key = cut(&keys[0], 128);
            return Err(Rejection::ignore_about(
                resource,
                format!("{name} is about the tag {key:?}, which decides nothing"),
            ));
        }
    };
    let of = match ours.as_slice() {
        [only] => (*only).to_owned(),
        several => format!("{} resources", several.len()),
    };
    enroll(Enrolled::Tagged(resource), format!("{name} {what} {of}{}", by(record)))
}

/// Who made a change and when, as far as the record says: it may be what stops the recording of evidence.
fn by(record: &Record<'_>) -> String {
    let detail: &Value = &record.envelope.detail;
    let identity = section(detail, "userIdentity");
    let who = ["arn", "principalId", "invokedBy"].iter().find_map(|name| text_at(&identity, &[name]));
    let who = who.map(|who| format!(", by {}", cut(&who, 256))).unwrap_or_default();
    let when = text_at(detail, &["eventTime"]).map(|when| format!(", at {}", cut(&when, 40))).unwrap_or_default();
    let event = record.envelope.event_id().map(|id| format!(", event {id}")).unwrap_or_default();
    format!("{who}{when}{event}")
}

fn concerns(id: &str) -> bool {
    id.parse::<VpcId>().is_ok() || id.parse::<FlowLogId>().is_ok()
}

/// The texts of a list, under the first of these names that is there. The older style of EC2's JSON is
/// `{"items": [{"resourceId": …}]}`, the newer one is `{"tag": 1, "content": …}`, or an array of these.
fn listed(request: &Value, names: &[&str], member: &str) -> Vec<String> {
    let mut texts = Vec::new();
    if let Some(list) = names.iter().find_map(|name| field(request, name)) {
        collect(list, member, &mut texts);
    }
    texts
}

fn collect(value: &Value, member: &str, texts: &mut Vec<String>) {
    match value {
        Value::Array(values) => values.iter().for_each(|value| collect(value, member, texts)),
        Value::Object(_) => ["items", "item", "content", member]
            .into_iter()
            .filter_map(|name| field(value, name))
            .for_each(|value| collect(value, member, texts)),
        // CloudTrail writes an empty list as an empty string.
        _ => texts.extend(text(value).filter(|text| !text.is_empty()).map(|text| text.into_owned())),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::fixtures::*;
    use super::*;

    const LOG: &str = "fl-0123456789abcdef0";

    fn tags(name: &str, ids: &[&str], tags: &Value) -> Event {
        let ids: Vec<Value> = ids.iter().map(|id| json!({"resourceId": id})).collect();
        call("ec2", name)
            .request(json!({"resourcesSet": {"items": ids}, "tagSet": tags}))
            .response(json!({"requestId": "r", "_return": true}))
    }

    fn set(keys: &[&str]) -> Value {
        json!({"items": keys.iter().map(|key| json!({"key": key, "value": true})).collect::<Vec<_>>()})
    }

    fn enrolled(event: Event) -> (String, String) {
        match acted(&event.build()) {
            Trigger::Enroll { account: target, region, what, cause } => {
                assert_eq!((target, region.as_str()), (account(MEMBER), "eu-west-1"));
                (what.to_string(), cause.split(", by ").next().unwrap().to_owned())
            }
            other => panic!("not an enrollment: {other:?}"),
        }
    }

    #[test]
    fn a_changed_tag_that_decides_about_a_vpc_enrolls_its_account_region() {
        for key in ["vpc-flow-logs", "vpc-flow-logs-traffic-type", "managed-by"] {
            let (resource, cause) = enrolled(tags("CreateTags", &[VPC], &set(&["Name", key])));
            assert_eq!((resource.as_str(), cause), (VPC, format!("CreateTags put the tag {key:?} on {VPC}")));
            let (_, cause) = enrolled(tags("DeleteTags", &[VPC], &json!({"items": [{"key": key}]})));
            assert_eq!(cause, format!("DeleteTags took the tag {key:?} from {VPC}"));
        }
        let (resource, cause) = enrolled(tags("DeleteTags", &["i-0123456789abcdef0", VPC, LOG], &set(&["managed-by"])));
        assert_eq!(resource, format!("{VPC},{LOG}"));
        assert_eq!(cause, "DeleteTags took the tag \"managed-by\" from 2 resources");
    }

    #[test]
    fn the_cause_names_who_changed_the_tag_and_when() {
        let event = tags("CreateTags", &[VPC], &set(&["vpc-flow-logs"])).by_role("Admin", MEMBER);
        let built = event.detail("eventTime", json!("2026-11-23T10:00:00Z")).detail("eventID", json!("e-1")).build();
        let Trigger::Enroll { cause, .. } = acted(&built) else { panic!("not an enrollment") };
        let (what, by) = cause.split_once(", by ").unwrap();
        assert_eq!(what, format!("CreateTags put the tag \"vpc-flow-logs\" on {VPC}"));
        assert!(by.starts_with("arn:aws:sts::") && by.contains(":assumed-role/Admin/"), "{by}");
        assert!(by.ends_with(", at 2026-11-23T10:00:00Z, event e-1"), "{by}");
    }

    #[test]
    fn tags_are_read_in_the_newer_style_too() {
        let request = json!({"CreateTagsRequest": {"ResourceId": {"tag": 1, "content": VPC},
            "Tag": {"Key": "vpc-flow-logs", "Value": "off", "tag": 1}}});
        assert_eq!(enrolled(call("ec2", "CreateTags").request(request)).0, VPC);
        let request = json!({"DeleteTagsRequest": {"ResourceId": [{"tag": 1, "content": "i-0"}, {"tag": 2, "content": VPC}],
            "Tag": [{"Key": "Name", "tag": 1}, {"Key": "vpc-flow-logs", "tag": 2}]}});
        assert_eq!(enrolled(call("ec2", "DeleteTags").request(request)).0, VPC);
    }

    #[test]
    fn a_deletion_of_all_tags_includes_ours() {
        for none in [json!({}), json!(null), json!(""), json!({"items": []})] {
            let (_, cause) = enrolled(tags("DeleteTags", &[VPC], &none));
            assert_eq!(cause, format!("DeleteTags took every tag from {VPC}"));
        }
    }

    #[test]
    fn other_tags_and_other_resources_are_ignored_by_name() {
        for (event, reason) in [
            (tags("CreateTags", &[VPC], &set(&["Name"])), "the tag \"Name\", which decides nothing"),
            // EC2 tells keys in other letters apart.
            (tags("CreateTags", &[VPC], &set(&["VPC-Flow-Logs"])), "\"VPC-Flow-Logs\", which decides nothing"),
            (tags("CreateTags", &["i-0123456789abcdef0"], &set(&["vpc-flow-logs"])), "not a VPC or a flow log"),
            (tags("DeleteTags", &["subnet-0"], &json!({})), "not a VPC or a flow log"),
            (tags("CreateTags", &[VPC], &set(&["vpc-flow-logs"])).by_role("EnrollerMember", MEMBER), "enroller itself"),
            (
                tags("CreateTags", &[VPC], &set(&["vpc-flow-logs"]))
                    .detail("errorCode", json!("Client.TagLimitExceeded")),
                "TagLimitExceeded",
            ),
        ] {
            let ignored = ignored(&event.build());
            assert!(ignored.contains(reason), "{ignored}");
        }
    }

    #[test]
    fn a_request_that_cloudtrail_left_out_is_looked_into() {
        for request in [json!(null), json!({"omitted": true, "originalSize": 130_000, "reason": "OVERSIZE"})] {
            let (resource, cause) = enrolled(call("ec2", "CreateTags").request(request));
            assert_eq!(
                (resource.as_str(), cause.as_str()),
                ("", "CreateTags does not show which resources it is about")
            );
        }
        let (_, cause) = enrolled(tags("CreateTags", &[VPC], &json!({"omitted": true})));
        assert_eq!(cause, format!("CreateTags changed tags that it does not show on {VPC}"));
    }
}
