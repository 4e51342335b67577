//! Forged, damaged and unrelated events, put on the queue past the installation's own rules.

use enroller_core::log::Outcome;
use enroller_lab::Lab;
use enroller_lab::install::BUS;
use enroller_sim::events::{BusId, RuleSettings, Target};
use enroller_tests::{DAY_MS, audit_of};
use serde_json::{Value, json};

use crate::harness::{
    End, IRELAND, Queue, VIRGINIA, assert_ends_as, assert_good_message_is_handled, assert_unchanged, calls_into,
    everything, member, other_member, settled_organization,
};

pub(crate) const VPC: &str = "vpc-0123456789abcdef0";

/// CloudTrail's event of a call that a person made in an account.
pub(crate) fn call(service: &str, name: &str, account: &str) -> Value {
    json!({
        "version": "0", "id": "00000000-0000-4000-a000-000000000001", "detail-type": "AWS API Call via CloudTrail",
        "source": format!("aws.{service}"), "account": account, "time": "2026-11-23T10:00:00Z", "region": IRELAND,
        "resources": [],
        "detail": {
            "eventTime": "2026-11-23T10:00:00Z", "eventSource": format!("{service}.amazonaws.com"), "eventName": name,
            "awsRegion": IRELAND, "eventType": "AwsApiCall", "recipientAccountId": account,
            "eventID": "00000000-0000-4000-9000-000000000001",
            "userIdentity": {"type": "IAMUser", "accountId": account, "userName": "somebody"}
        }
    })
}

pub(crate) fn create_vpc(account: &str) -> Value {
    let mut event = call("ec2", "CreateVpc", account);
    event["detail"]["responseElements"] = json!({"vpc": {"vpcId": VPC, "ownerId": account}});
    event
}

/// The event with another value at this JSON pointer.
fn with(mut event: Value, pointer: &str, value: Value) -> Value {
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    event.pointer_mut(parent).unwrap()[name] = value;
    event
}

const VPC_ID: &str = "/detail/responseElements/vpc/vpcId";

#[tokio::test]
async fn an_event_with_an_impossible_id_is_refused() {
    let lab = settled_organization().await;
    let account = member(&lab);
    let no_vpc = "is not a VPC id: expected vpc- and 8 or 17 hexadecimal digits";
    let vpc_ids = [
        "vpc-0; rm -rf /",
        "vpc-*",
        "vpc-$(id)",
        "../../vpc-0123456789abcdef0",
        "vpc-0123456789ABCDEF0",
        "vpc-0123456789abcdef0\n",
        "vpc-0123456789abcdef0\u{0}",
        "vpc-\u{ff10}123456789abcdef0",
        "\u{1b}[2Jvpc-01234567",
        "arn:aws:ec2:eu-west-1:111122223333:vpc/vpc-0123456789abcdef0",
        "vpc-0123456789abcdef0,vpc-0123456789abcdef1",
    ];
    for id in vpc_ids {
        assert_ends_as(
            &lab,
            Queue::Enrollments,
            id,
            &with(create_vpc(&account), VPC_ID, json!(id)).to_string(),
            &End::Refused(no_vpc),
        )
        .await;
    }
    let endless = json!(format!("vpc-{}", "0".repeat(1_000_000)));
    for odd in [endless, json!(5), json!(true), json!([VPC]), json!({"Ref": "Vpc"})] {
        let event = with(create_vpc(&account), VPC_ID, odd).to_string();
        assert_ends_as(&lab, Queue::Enrollments, "a VPC id of another kind", &event, &End::Refused(no_vpc)).await;
    }
    let no_account = "is not an account id: expected 12 digits";
    for id in
        ["11112222333", "+11112222333", "11112222333 ", "0x1111222233", "１１１１２２２２３３３３", "*", "", "1e11"]
    {
        let event = with(with(create_vpc(&account), "/account", json!(id)), "/detail/recipientAccountId", json!(id));
        assert_ends_as(&lab, Queue::Enrollments, id, &event.to_string(), &End::Refused(no_account)).await;
    }
    for id in [json!(1e11), json!(-1), json!(11_122_223_333_u64), json!([account]), json!({"a": account})] {
        let event = with(create_vpc(&account), "/account", id);
        assert_ends_as(
            &lab,
            Queue::Enrollments,
            "an account of another kind",
            &event.to_string(),
            &End::Refused(no_account),
        )
        .await;
    }
    let no_region = "is not a Region: expected a code such as eu-west-1";
    for name in [
        "eu-west-1/../..",
        "eu-west-1.evil.example",
        "EU-WEST-1",
        "eu-west-1#",
        "eu-west-1\r\nHost: evil",
        "local",
        "",
        "*",
    ] {
        let event = with(with(create_vpc(&account), "/region", json!(name)), "/detail/awsRegion", json!(name));
        assert_ends_as(&lab, Queue::Enrollments, name, &event.to_string(), &End::Refused(no_region)).await;
    }
}

type Case = (&'static str, Value, End);

fn odd_vpcs(account: &str, other: &str) -> Vec<Case> {
    let changed = |pointer: &str, value: Value| with(create_vpc(account), pointer, value);
    let nowhere = json!("xx-nowhere-9");
    let owner = "/detail/responseElements/vpc/ownerId";
    let evil = json!("ec2.amazonaws.com.evil.example");
    vec![
        (
            "another account in the record",
            changed("/detail/recipientAccountId", json!(other)),
            End::Refused("two accounts"),
        ),
        ("another account on the envelope", changed("/account", json!(other)), End::Refused("two accounts")),
        ("another Region in the record", changed("/detail/awsRegion", json!(VIRGINIA)), End::Refused("two Regions")),
        ("a VPC of another owner", changed(owner, json!(other)), End::Refused("belongs to")),
        (
            "another service's",
            changed("/detail/eventSource", json!("logs.amazonaws.com")),
            End::Refused("does not match"),
        ),
        ("a host that only begins well", changed("/detail/eventSource", evil), End::Refused("does not match")),
        ("a call that failed", changed("/detail/errorCode", json!("Client.No")), End::Dropped("failed with Client.No")),
        ("a source of their own", changed("/source", json!("com.example")), End::Dropped("source \"com.example\"")),
        ("a source that looks like EC2's", changed("/source", json!("AWS.EC2")), End::Dropped("Events of the source")),
        ("no source", changed("/source", json!(null)), End::Refused("names no source")),
        ("a service event", changed("/detail/eventType", json!("AwsServiceEvent")), End::Dropped("service event")),
        (
            "a Region of nobody's",
            with(changed("/region", nowhere.clone()), "/detail/awsRegion", nowhere),
            End::Dropped("the Region is not enrolled"),
        ),
        (
            "1 MB of nesting within the detail, as text",
            changed("/detail", json!("[".repeat(1_000_000))),
            End::Dropped("is not a CloudTrail event"),
        ),
    ]
}

fn odd_others(account: &str, other: &str, stack_name: &str) -> Vec<Case> {
    let asking = |service, name, request| with(call(service, name, account), "/detail/requestParameters", request);
    let group = |name: String| asking("logs", "DeleteLogGroup", json!({ "logGroupName": name }));
    let flow_logs = |id| asking("ec2", "DeleteFlowLogs", json!({"DeleteFlowLogsRequest": {"FlowLogId": id}}));
    let stack = |id: String| {
        json!({"source": "aws.cloudformation", "account": account, "region": IRELAND,
            "detail": {"stack-id": id, "status-details": {"status": "CREATE_COMPLETE"}}})
    };
    let of = |account: &str, what: &str| stack(format!("arn:aws:cloudformation:{IRELAND}:{account}:{what}/1"));
    let elsewhere = format!("arn:aws:logs:{IRELAND}:{other}:log-group:vpc-flow-logs");
    let like_ours = of(account, &format!("stack/{stack_name}-2"));
    vec![
        ("another group", group("vpc-flow-logs-of-theirs".to_owned()), End::Dropped("not the managed one")),
        (
            "a group that is a path",
            group("vpc-flow-logs/../vpc-flow-logs".to_owned()),
            End::Dropped("not the managed one"),
        ),
        ("the managed group in another account", group(elsewhere), End::Dropped("not the managed one")),
        ("a flow log that is a command", flow_logs(json!("fl-0; halt")), End::Refused("is not a flow log id")),
        ("a flow log that is a VPC", flow_logs(json!({"content": VPC})), End::Refused("is not a flow log id")),
        ("another account's stack", of(other, &format!("stack/{stack_name}")), End::Refused("is not in")),
        ("a stack with a name like the member stack", like_ours, End::Dropped("is not the member stack")),
        ("a stack that is none", stack("arn:aws:cloudformation::".to_owned()), End::Refused("is not an ARN")),
        ("a change set", of(account, &format!("changeSet/{stack_name}")), End::Refused("is not a stack")),
    ]
}

#[tokio::test]
async fn an_event_that_contradicts_itself_is_refused() {
    let lab = settled_organization().await;
    let (account, other) = (member(&lab), other_member(&lab));
    let cases = [odd_vpcs(&account, &other), odd_others(&account, &other, &lab.settings.member_stack_name)].concat();
    for (case, event, end) in cases {
        assert_ends_as(&lab, Queue::Enrollments, case, &event.to_string(), &end).await;
        assert_good_message_is_handled(&lab, Queue::Enrollments, case, &event.to_string()).await;
    }
}

/// Of a duplicate key the last value counts, and the record must agree with it.
#[tokio::test]
async fn a_duplicate_key_moves_an_event_to_no_other_account() {
    let lab = settled_organization().await;
    let (account, other) = (member(&lab), other_member(&lab));
    let twice = create_vpc(&account).to_string().replacen('{', &format!("{{\"account\":\"{other}\","), 1);
    let from = lab.sim.calls().len();
    Queue::Enrollments.send(&lab, &twice).await;
    lab.settle(DAY_MS).await.unwrap();
    let accounts: Vec<String> = calls_into(&lab, from, &other).into_iter().map(|call| call.account).collect();
    assert!(!accounts.contains(&other), "{accounts:?}");
    let last = create_vpc(&account).to_string();
    let last = format!("{},\"account\":\"{other}\"}}", last.strip_suffix('}').unwrap());
    assert_ends_as(&lab, Queue::Enrollments, "the last one differs", &last, &End::Refused("names two accounts")).await;
    let cased = create_vpc(&account).to_string().replacen('{', &format!("{{\"Account\":\"{other}\","), 1);
    let from = lab.sim.calls().len();
    Queue::Enrollments.send(&lab, &cased).await;
    lab.settle(DAY_MS).await.unwrap();
    assert!(calls_into(&lab, from, &other).iter().all(|call| call.account != other));
}

#[tokio::test]
async fn the_caller_of_an_event_does_not_select_the_account() {
    let lab = settled_organization().await;
    let (account, other) = (member(&lab), other_member(&lab));
    let identity = json!({"type": "AssumedRole", "accountId": other, "arn": format!("arn:aws:sts::{other}:assumed-role/Admin/x"),
        "sessionContext": {"sessionIssuer": {"accountId": other, "userName": "Admin"}}});
    let event = with(create_vpc(&account), "/detail/userIdentity", identity);
    lab.sim.with(|world| world.put_vpc(&account, IRELAND, "10.1.0.0/16", false));
    let from = lab.sim.calls().len();
    Queue::Enrollments.send(&lab, &event.to_string()).await;
    lab.settle(DAY_MS).await.unwrap();
    assert_eq!(audit_of(&lab).uncovered(), 0, "the account of the envelope is enrolled");
    assert!(calls_into(&lab, from, &other).iter().all(|call| call.account != other));
}

#[tokio::test]
async fn account_events_without_an_account_or_a_result_change_nothing() {
    let lab = settled_organization().await;
    let (management, account) = (lab.sim.management(), member(&lab));
    let service = |name: &str, details: Value| {
        let mut event = call("organizations", name, &management);
        event["detail-type"] = json!("AWS Service Event via CloudTrail");
        event["detail"]["eventType"] = json!("AwsServiceEvent");
        event["detail"]["serviceEventDetails"] = details;
        event
    };
    let created = |id: Value, state: &str| {
        service("CreateAccountResult", json!({"createAccountStatus": {"accountId": id, "state": state}}))
    };
    let api = |name: &str, id: Value| {
        with(call("organizations", name, &management), "/detail/requestParameters", json!({"accountId": id}))
    };
    // What names no account, or something that is none, is compared with the organization: see the tests of the core.
    for (case, event, end) in [
        ("created: failed", created(json!(account), "FAILED"), End::Dropped("nothing changed")),
        (
            "asked for only",
            call("organizations", "CreateAccount", &management),
            End::Dropped("only requests an account"),
        ),
        ("closed: asked for only", api("CloseAccount", json!(account)), End::Dropped("only requests a closure")),
        (
            "removed: refused",
            with(api("RemoveAccountFromOrganization", json!(account)), "/detail/errorCode", json!("AccessDenied")),
            End::Dropped("failed with AccessDenied"),
        ),
        (
            "another service's",
            with(created(json!(account), "SUCCEEDED"), "/detail/eventSource", json!("iam.amazonaws.com")),
            End::Refused("does not match"),
        ),
        (
            "a source of their own",
            with(created(json!(account), "SUCCEEDED"), "/source", json!("organizations")),
            End::Dropped("Events of the source"),
        ),
    ] {
        assert_ends_as(&lab, Queue::Grants, case, &event.to_string(), &end).await;
        assert_good_message_is_handled(&lab, Queue::Grants, case, &event.to_string()).await;
    }
}

/// The bus of the central account accepts only events of the organization, and its rules only sources of AWS.
#[tokio::test]
async fn neither_an_outsider_nor_a_custom_source_reaches_a_queue() {
    let lab = settled_organization().await;
    let stranger = lab.sim.with(|world| world.add_account("stranger"));
    let target = Target::Bus {
        arn: format!("arn:aws:events:{IRELAND}:{}:event-bus/{BUS}", lab.sim.central()),
        role_arn: Some(format!("arn:aws:iam::{stranger}:role/forwarder")),
    };
    let everything_goes = json!({"source": [{"prefix": ""}]});
    forward(&lab, &stranger, everything_goes.clone(), target.clone());
    let account = member(&lab);
    let of_member = Target::Bus {
        arn: format!("arn:aws:events:{IRELAND}:{}:event-bus/{BUS}", lab.sim.central()),
        role_arn: Some(format!("arn:aws:iam::{account}:role/forwarder")),
    };
    forward(&lab, &account, everything_goes, of_member);
    let (before, from) = (everything(&lab), lab.sim.calls().len());
    lab.sim.emit(create_vpc(&stranger)).unwrap();
    lab.sim.emit(with(create_vpc(&account), "/source", json!("com.example.shop"))).unwrap();
    lab.settle(DAY_MS).await.unwrap();
    assert_eq!(lab.sim.calls().len(), from, "nothing arrived");
    assert_unchanged(&lab, &before, "strangers' events");
    assert!(lab.recording.take().iter().all(|line| line.outcome != Outcome::Done));
}

fn forward(lab: &Lab, account: &str, pattern: Value, target: Target) {
    let rule = RuleSettings { name: "everything".to_owned(), pattern, targets: vec![target], delay_ms: 0 };
    lab.sim.put_rule(&BusId::default_bus(account, IRELAND), &rule).unwrap();
}
