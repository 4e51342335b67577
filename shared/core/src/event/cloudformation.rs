//! The member stack: once it is deployed, its account can be enrolled in its Region.
//!
//! These are CloudFormation's own events, not CloudTrail records. Such an event is only a hint: the stack's event rule
//! can take a minute to work, and the sweep covers what the hint misses.

use super::envelope::Envelope;
use super::json::{cut, parsed, path, text_at};
use super::{Enrolled, EventContext, Rejection, Trigger};
use crate::arn::Arn;
use crate::ids::AccountRegion;

pub(super) fn decode(envelope: &Envelope<'_>, context: &EventContext) -> Result<Trigger, Rejection> {
    let detail = &envelope.detail;
    if text_at(detail, &["eventName"]).is_some() || path(detail, &["status-details", "status"]).is_none() {
        return Err(Rejection::ignore("This CloudFormation event is not about a stack's status"));
    }
    let stack = path(detail, &["stack-id"]).ok_or_else(|| Rejection::refuse("the event names no stack"))?;
    let stack: Arn = parsed(stack)?;
    let name = match stack.resource().split('/').collect::<Vec<_>>().as_slice() {
        ["stack", name, ..] if stack.service() == "cloudformation" => *name,
        _ => return Err(Rejection::refuse(format!("{} is not a stack", cut(&stack.to_string(), 200)))),
    };
    if !is_member_stack(name, &context.member_stack) {
        let name = cut(name, 200);
        return Err(Rejection::ignore_about(name.clone(), format!("The stack {name:?} is not the member stack")));
    }
    let status = text_at(detail, &["status-details", "status"]).unwrap_or_default().to_ascii_uppercase();
    if !matches!(status.as_str(), "CREATE_COMPLETE" | "UPDATE_COMPLETE") {
        let status = cut(&status, 80);
        return Err(Rejection::ignore_about(
            name,
            format!("The member stack reached {status}, which does not make the account ready"),
        ));
    }
    let AccountRegion { account, region } = envelope.at()?;
    if stack.account() != Some(account) || stack.region() != Some(&region) {
        return Err(Rejection::refuse(format!("the stack {stack} is not in {account}, {region}")));
    }
    Ok(Trigger::Enroll {
        account,
        region,
        what: Enrolled::MemberStack(name.to_owned()),
        cause: format!("The member stack reached {status}"),
    })
}

/// A StackSet names its stacks `StackSet-<stack set>-<uuid>`.
fn is_member_stack(name: &str, member_stack: &str) -> bool {
    let of_set = || name.strip_prefix("StackSet-")?.strip_prefix(member_stack)?.strip_prefix('-');
    name == member_stack || of_set().is_some()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::fixtures::*;
    use super::*;

    fn stack(at: &str, name: &str, status: &str) -> Value {
        json!({"version": "0", "source": "aws.cloudformation", "detail-type": "CloudFormation Stack Status Change",
            "account": MEMBER, "region": "eu-west-1", "time": "2026-11-23T10:00:00Z",
            "detail": {"stack-id": format!("arn:aws:cloudformation:{at}:stack/{name}/00000000-0000-4000-8000-000000000001"),
                "status-details": {"status": status, "status-reason": ""}, "client-request-token": ""}})
    }

    const HERE: &str = "eu-west-1:111122223333";
    const FROM_SET: &str = "StackSet-enroller-member-466df9e0-0dff-08e3-8e2f-5088487c4896";

    #[test]
    fn a_deployed_member_stack_makes_its_account_ready() {
        for name in ["enroller-member", FROM_SET] {
            for status in ["CREATE_COMPLETE", "UPDATE_COMPLETE", "update_complete"] {
                let Trigger::Enroll { account: target, region, what, .. } = acted(&stack(HERE, name, status)) else {
                    panic!("not an enrollment")
                };
                assert_eq!((target, region.as_str()), (account(MEMBER), "eu-west-1"));
                assert_eq!(what, Enrolled::MemberStack(name.to_owned()));
            }
        }
    }

    #[test]
    fn other_stacks_and_other_statuses_are_ignored() {
        for (name, status) in [
            ("network", "CREATE_COMPLETE"),
            ("enroller-member-2", "CREATE_COMPLETE"),
            ("StackSet-enroller-members-1", "CREATE_COMPLETE"),
            ("enroller-member", "CREATE_IN_PROGRESS"),
            ("enroller-member", "UPDATE_ROLLBACK_COMPLETE"),
            (FROM_SET, "DELETE_COMPLETE"),
        ] {
            ignored(&stack(HERE, name, status));
        }
        ignored(&call("cloudformation", "CreateStack").build());
        ignored(&json!({"source": "aws.cloudformation", "detail": {"stack-set-arn": "x"}}));
    }

    #[test]
    fn a_stack_of_another_account_or_region_or_no_stack_is_refused() {
        for at in ["eu-west-1:444455556666", "eu-west-2:111122223333"] {
            assert!(refused(&stack(at, FROM_SET, "CREATE_COMPLETE")).contains("is not in 111122223333, eu-west-1"));
        }
        let mut event = stack(HERE, FROM_SET, "CREATE_COMPLETE");
        let namesake = json!(format!("arn:aws:events:{HERE}:stack/enroller-member/1"));
        for id in [json!(null), json!("enroller-member"), json!("arn:aws:s3:::bucket"), json!(5), namesake] {
            event["detail"]["stack-id"] = id;
            refused(&event);
        }
    }
}
