use std::collections::BTreeMap;

use enroller_core::arn::Arn;
use enroller_core::error::Code;
use enroller_core::ids::Partition;
use enroller_core::observed::{Delivery, FlowLogTarget, TrafficType};
use enroller_core::plan::FlowLogSpec;

use super::*;
use crate::testing::{FakeAws, MEMBER, Request, at, settings};

const VPCS: [&str; 3] = ["vpc-0000000000000000a", "vpc-0000000000000000b", "vpc-0000000000000000c"];

fn answering(answer: impl Fn(&Request) -> String + Send + Sync + 'static) -> FakeAws {
    FakeAws::answering(move |request| (200, answer(request)))
}

fn vpc(id: &str) -> String {
    let tags = "<tagSet><item><key>Name</key><value>main</value></item></tagSet>";
    format!("<item><vpcId>{id}</vpcId><ownerId>{MEMBER}</ownerId><isDefault>true</isDefault>{tags}</item>")
}

#[tokio::test]
async fn an_empty_page_with_a_token_does_not_end_the_list() {
    let fake = answering(|request| {
        let (items, next) = match request.parameter("NextToken").as_deref() {
            None => (vpc(VPCS[0]), "<nextToken>a</nextToken>"),
            Some("a") => (String::new(), "<nextToken>b</nextToken>"),
            Some(_) => (vpc(VPCS[1]), "<nextToken></nextToken>"),
        };
        format!("<DescribeVpcsResponse><vpcSet>{items}</vpcSet>{next}</DescribeVpcsResponse>")
    });
    let vpcs = fake.ports().ec2.vpcs(&at()).await.unwrap();
    assert_eq!(vpcs.iter().map(|vpc| vpc.id.as_str()).collect::<Vec<_>>(), VPCS[..2]);
    assert!(vpcs[0].is_default);
    assert_eq!(vpcs[0].owner, at().account);
    assert_eq!(vpcs[0].tags, BTreeMap::from([("Name".to_owned(), "main".to_owned())]));
    let asked = fake.asked("DescribeVpcs");
    assert_eq!(asked.len(), 3);
    for request in asked {
        assert_eq!(request.parameter("Filter.1.Name").as_deref(), Some("owner-id"));
        assert_eq!(request.parameter("Filter.1.Value.1").as_deref(), Some(MEMBER));
        assert_eq!(request.parameter("MaxResults").as_deref(), Some("1000"));
    }
}

#[tokio::test]
async fn a_token_that_returns_itself_is_an_error_and_not_an_endless_loop() {
    let fake = answering(|_| "<DescribeVpcsResponse><nextToken>same</nextToken></DescribeVpcsResponse>".to_owned());
    let error = fake.ports().ec2.vpcs(&at()).await.unwrap_err();
    assert_eq!(error.code, Code::Unparsable);
    assert!(error.message.contains("same"));
}

#[tokio::test]
async fn a_vpc_with_an_id_in_a_new_format_is_an_error_that_names_it() {
    let fake =
        answering(|_| format!("<DescribeVpcsResponse><vpcSet>{}</vpcSet></DescribeVpcsResponse>", vpc("vpc2-xyz")));
    let error = fake.ports().ec2.vpcs(&at()).await.unwrap_err();
    assert_eq!((&error.code, error.account), (&Code::Unparsable, Some(at().account)));
    assert!(error.message.contains("vpc2-xyz"), "{}", error.message);
}

fn flow_log(id: &str, more: &str) -> String {
    format!("<item><flowLogId>{id}</flowLogId><resourceId>{}</resourceId>{more}</item>", VPCS[0])
}

async fn flow_logs(items: &str) -> AwsResult<Vec<FlowLog>> {
    let body = format!("<DescribeFlowLogsResponse><flowLogSet>{items}</flowLogSet></DescribeFlowLogsResponse>");
    answering(move |_| body.clone()).ports().ec2.flow_logs(&at()).await
}

#[tokio::test]
async fn flow_logs_of_every_kind_are_understood() {
    let arn = "arn:aws:logs:us-east-1:444455556666:log-group:by-arn:*";
    let items = [
        flow_log(
            "fl-0000000000000000a",
            "<trafficType>ALL</trafficType><logDestinationType>cloud-watch-logs</logDestinationType>\
             <logGroupName>vpc-flow-logs</logGroupName><deliverLogsPermissionArn>role</deliverLogsPermissionArn>\
             <maxAggregationInterval>60</maxAggregationInterval><logFormat>${version}</logFormat>\
             <deliverLogsStatus>FAILED</deliverLogsStatus>\
             <deliverLogsErrorMessage>Access error</deliverLogsErrorMessage>\
             <creationTime>2026-11-28T09:00:00.250Z</creationTime><flowLogStatus>ACTIVE</flowLogStatus>",
        ),
        flow_log(
            "fl-0000000000000000b",
            &format!("<logDestination>{arn}</logDestination><flowLogStatus>STOPPED</flowLogStatus>"),
        ),
        flow_log(
            "fl-0000000000000000c",
            "<logDestinationType>s3</logDestinationType><logDestination>arn:aws:s3:::bucket</logDestination>\
             <deliverLogsStatus>SUCCESS</deliverLogsStatus>",
        ),
        "<item><flowLogId>fl-0000000000000000d</flowLogId><resourceId>tgw-1</resourceId></item>".to_owned(),
    ];
    let found = flow_logs(&items.concat()).await.unwrap();
    assert_eq!(found.len(), 4);
    assert_eq!(found[0].target, FlowLogTarget::LogGroup("vpc-flow-logs".into()));
    assert_eq!((found[0].traffic_type, found[0].interval), (Some(TrafficType::All), 60));
    assert_eq!(found[0].delivery, Delivery::Failed("Access error".into()));
    assert_eq!(found[0].delivery_role.as_deref(), Some("role"));
    assert_eq!(found[0].format.as_deref(), Some("${version}"));
    assert_eq!((found[0].created_ms, found[0].active), (Some(1_795_856_400_250), true));
    assert_eq!((found[1].created_ms, found[1].active), (None, false));
    assert!(found[2].active, "a status that AWS does not return is not another one");
    assert_eq!(found[1].target, FlowLogTarget::LogGroup("by-arn".into()));
    assert_eq!((&found[1].delivery, found[1].interval), (&Delivery::Unknown, 600));
    assert_eq!(found[2].target, FlowLogTarget::Other("arn:aws:s3:::bucket".into()));
    assert_eq!(found[2].delivery, Delivery::Success);
    assert_eq!(found[3].resource, "tgw-1");
}

#[tokio::test]
async fn a_log_group_of_another_account_or_region_is_not_the_one_of_this_account() {
    let elsewhere = [
        "arn:aws:logs:us-east-1:999988887777:log-group:vpc-flow-logs",
        "arn:aws:logs:eu-west-1:444455556666:log-group:vpc-flow-logs:*",
    ];
    for (arn, named) in
        elsewhere.iter().flat_map(|arn| [(arn, ""), (arn, "<logGroupName>vpc-flow-logs</logGroupName>")])
    {
        let item = flow_log("fl-0000000000000000a", &format!("<logDestination>{arn}</logDestination>{named}"));
        assert_eq!(flow_logs(&item).await.unwrap()[0].target, FlowLogTarget::Other((*arn).to_owned()));
    }
}

#[tokio::test]
async fn only_a_managed_flow_log_with_an_id_in_a_new_format_is_an_error() {
    let known = flow_log("fl-0000000000000000a", "");
    let found = flow_logs(&format!("{}{known}", flow_log("fl2-new", ""))).await.unwrap();
    assert_eq!(found.iter().map(|found| found.id.as_str()).collect::<Vec<_>>(), ["fl-0000000000000000a"]);
    let tag = &settings().ownership_tag;
    let ours = format!("<tagSet><item><key>{}</key><value>{}</value></item></tagSet>", tag.key, tag.value);
    let error = flow_logs(&flow_log("fl2-new", &ours)).await.unwrap_err();
    assert_eq!(error.code, Code::Unparsable);
    assert!(error.message.contains("fl2-new"), "{}", error.message);
}

fn new_flow_logs() -> NewFlowLogs {
    let settings = settings();
    NewFlowLogs {
        vpcs: VPCS.iter().map(|id| id.parse().unwrap()).collect(),
        spec: FlowLogSpec {
            traffic_type: TrafficType::Reject,
            interval: 60,
            format: "${version} ${vpc-id}".to_owned(),
            delivery_role: Arn::role(Partition::Aws, at().account, &settings.delivery_role_name),
        },
        log_group: settings.log_group_name.clone(),
        tags: vec![
            settings.ownership_tag.clone(),
            Tag { key: "vpc-flow-logs-settings".to_owned(), value: "b95099011a47d5d7".to_owned() },
        ],
    }
}

fn unsuccessful(id: &str, code: &str) -> String {
    format!("<item><resourceId>{id}</resourceId><error><code>{code}</code><message>why</message></error></item>")
}

/// What the engine gets from a response to CreateFlowLogs: a flow log id or an error code for each VPC.
async fn created(ids: &[&str], failures: &str) -> (Vec<String>, Request) {
    let ids: String = ids.iter().map(|id| format!("<item>{id}</item>")).collect();
    let body = format!(
        "<CreateFlowLogsResponse><flowLogIdSet>{ids}</flowLogIdSet><unsuccessful>{failures}</unsuccessful>\
         </CreateFlowLogsResponse>"
    );
    let fake = answering(move |_| body.clone());
    let results = fake.ports().ec2.create_flow_logs(&at(), &new_flow_logs()).await.unwrap();
    assert_eq!(results.iter().map(|(vpc, _)| vpc.as_str()).collect::<Vec<_>>(), VPCS, "every VPC has a result");
    for error in results.iter().filter_map(|(_, result)| result.as_ref().err()) {
        assert_eq!((error.account, error.request_id.as_deref()), (Some(at().account), Some("request-1")));
    }
    let texts = results.into_iter().map(|(_, result)| result.map_or_else(|error| error.code_text, |id| id.to_string()));
    (texts.collect(), fake.asked("CreateFlowLogs").remove(0))
}

#[tokio::test]
async fn the_request_has_all_properties_of_the_plan() {
    let (_, request) = created(&["fl-0000000000000000a", "fl-0000000000000000b", "fl-0000000000000000c"], "").await;
    for (name, value) in [
        ("ResourceType", "VPC"),
        ("ResourceId.1", VPCS[0]),
        ("ResourceId.3", VPCS[2]),
        ("TrafficType", "REJECT"),
        ("LogDestinationType", "cloud-watch-logs"),
        ("LogGroupName", "vpc-flow-logs"),
        ("DeliverLogsPermissionArn", "arn:aws:iam::444455556666:role/VpcFlowLogsEnrollerDelivery"),
        ("MaxAggregationInterval", "60"),
        ("LogFormat", "${version} ${vpc-id}"),
        ("TagSpecification.1.ResourceType", "vpc-flow-log"),
        ("TagSpecification.1.Tag.1.Key", "managed-by"),
        ("TagSpecification.1.Tag.1.Value", "vpc-flow-logs-enroller"),
        ("TagSpecification.1.Tag.2.Key", "vpc-flow-logs-settings"),
        ("TagSpecification.1.Tag.2.Value", "b95099011a47d5d7"),
    ] {
        assert_eq!(request.parameter(name).as_deref(), Some(value), "{name}");
    }
}

#[tokio::test]
async fn the_same_request_made_again_has_another_client_token() {
    let (_, first) = created(&[], "").await;
    let (_, second) = created(&[], "").await;
    assert_eq!(first.parameter("ClientToken").unwrap().len(), 32);
    assert_ne!(first.parameter("ClientToken"), second.parameter("ClientToken"));
}

#[tokio::test]
async fn a_success_with_failures_gives_each_vpc_its_own_result() {
    let failure = unsuccessful(VPCS[1], "FlowLogAlreadyExists");
    let (results, _) = created(&["fl-0000000000000000a", "fl-0000000000000000c"], &failure).await;
    assert_eq!(results, ["fl-0000000000000000a", "FlowLogAlreadyExists", "fl-0000000000000000c"]);
}

#[tokio::test]
async fn a_response_that_does_not_account_for_every_vpc_is_unparsable() {
    let failure = unsuccessful(VPCS[1], "FlowLogsLimitExceeded");
    let (results, _) = created(&["fl-0000000000000000a"], &failure).await;
    assert_eq!(results, ["Unparsable", "FlowLogsLimitExceeded", "Unparsable"], "one id too few");
    let ids = ["fl-0000000000000000a", "fl-0000000000000000b", "fl-0000000000000000c"];
    let (results, _) = created(&ids, &unsuccessful("", "InternalError")).await;
    assert_eq!(results, ["Unparsable"; 3], "a failure without an id");
    let (results, _) = created(&["fl-0000000000000000a", "fl2-new", "fl-0000000000000000c"], "").await;
    assert_eq!(results, ["fl-0000000000000000a", "Unparsable", "fl-0000000000000000c"], "an id in a new format");
}

#[tokio::test]
async fn deletions_have_a_result_each() {
    let ids: Vec<FlowLogId> = ["fl-0000000000000000a", "fl-0000000000000000b"].map(|id| id.parse().unwrap()).to_vec();
    let failure = unsuccessful("fl-0000000000000000a", "InvalidFlowLogId.NotFound");
    let fake = answering(move |_| {
        format!("<DeleteFlowLogsResponse><unsuccessful>{failure}</unsuccessful></DeleteFlowLogsResponse>")
    });
    let results = fake.ports().ec2.delete_flow_logs(&at(), &ids).await.unwrap();
    assert_eq!(results[0].1.as_ref().unwrap_err().code, Code::NotFound);
    assert!(results[1].1.is_ok());
    assert_eq!(fake.asked("DeleteFlowLogs")[0].parameter("FlowLogId.2").as_deref(), Some("fl-0000000000000000b"));
}

#[tokio::test]
async fn enabled_regions_are_requested_in_the_home_region() {
    let fake = answering(|_| {
        let regions =
            ["eu-west-1", "us-east-1", "moon-base"].map(|name| format!("<item><regionName>{name}</regionName></item>"));
        format!("<DescribeRegionsResponse><regionInfo>{}</regionInfo></DescribeRegionsResponse>", regions.concat())
    });
    let regions = fake.ports().ec2.enabled_regions(at().account).await.unwrap();
    assert_eq!(regions.iter().map(Region::as_str).collect::<Vec<_>>(), ["eu-west-1", "us-east-1"]);
    let asked = &fake.asked("DescribeRegions")[0];
    assert_eq!(asked.region, "eu-west-1");
    assert_eq!(asked.parameter("AllRegions"), None);
}
