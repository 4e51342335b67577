use serde_json::json;

use super::*;
use crate::testing::{FakeAws, at, json_error};

fn name() -> LogGroupName {
    "vpc-flow-logs".parse().unwrap()
}

#[tokio::test]
async fn only_the_group_of_exactly_this_name_is_found_on_whatever_page() {
    let fake = FakeAws::answering(|request| {
        let page = match request.operation.as_str() {
            "AssumeRole" => json!({}),
            _ if request.member("nextToken").is_null() => {
                json!({ "logGroups": [{ "logGroupName": "vpc-flow-logs-old" }], "nextToken": "n" })
            }
            _ => json!({ "logGroups": [{
                "logGroupName": "vpc-flow-logs", "retentionInDays": 30, "kmsKeyId": "key",
                "logGroupClass": "INFREQUENT_ACCESS", "retentionPolicyName": "all", "creationTime": 1_795_856_400_250_u64,
            }], "nextToken": "more" }),
        };
        (200, page.to_string())
    });
    let group = fake.ports().logs.log_group(&at(), &name()).await.unwrap().unwrap();
    assert_eq!((group.retention_days, group.kms_key.as_deref()), (Some(30), Some("key")));
    assert_eq!(group.class, LogGroupClass::Other("INFREQUENT_ACCESS".into()));
    assert_eq!((group.retention_policy.as_deref(), group.created_ms), (Some("all"), Some(1_795_856_400_250)));
    assert_eq!(group.tags, None);
    assert_eq!(fake.asked("DescribeLogGroups").len(), 2, "nothing is left to look for after the match");
}

#[tokio::test]
async fn what_does_not_exist_is_none_and_not_an_error() {
    let fake = FakeAws::answering(|request| match request.operation.as_str() {
        "DescribeSubscriptionFilters" => json_error("ResourceNotFoundException", "no such group"),
        _ => (200, json!({ "logGroups": [] }).to_string()),
    });
    let aws = fake.ports();
    assert_eq!(aws.logs.log_group(&at(), &name()).await.unwrap(), None);
    assert_eq!(aws.logs.subscription_filters(&at(), &name()).await.unwrap(), []);
}

#[tokio::test]
async fn filters_go_there_and_come_back_unchanged() {
    let filter = SubscriptionFilter {
        name: "AllTraffic".to_owned(),
        pattern: String::new(),
        destination: "arn:aws:logs:us-east-1:111122223333:destination:VPCFlowLogsDestination".to_owned(),
        role: None,
        form: FilterForm {
            field_selection: "@aws.region = eu-west-1".to_owned(),
            transformed: true,
            system_fields: vec!["@aws.account".to_owned()],
            distribution: "Random".to_owned(),
        },
    };
    let shown = json!({ "subscriptionFilters": [{
        "filterName": filter.name, "filterPattern": "", "destinationArn": filter.destination,
        "fieldSelectionCriteria": "@aws.region = eu-west-1", "applyOnTransformedLogs": true,
        "emitSystemFields": ["@aws.account"], "distribution": "Random",
    }] });
    let fake = FakeAws::answering(move |_| (200, shown.to_string()));
    let aws = fake.ports();
    aws.logs.put_subscription_filter(&at(), &name(), &filter).await.unwrap();
    let put = &fake.asked("PutSubscriptionFilter")[0];
    assert_eq!(put.member("filterPattern"), "", "the empty pattern must be sent");
    assert!(put.member("roleArn").is_null());
    assert_eq!(aws.logs.subscription_filters(&at(), &name()).await.unwrap(), [filter]);
}

#[tokio::test]
async fn the_data_protection_in_force_is_read_from_the_group_and_its_documents_when_asked() {
    use enroller_core::observed::ProtectionScope::{Account, LogGroup};
    for (status, inherited, expected) in [
        (json!("ACTIVATED"), json!(["ACCOUNT_DATA_PROTECTION"]), vec![LogGroup, Account]),
        (json!("DELETED"), json!([]), vec![]),
        (json!(null), json!(null), vec![]),
    ] {
        let group = json!({ "logGroups": [{
            "logGroupName": "vpc-flow-logs", "dataProtectionStatus": status, "inheritedProperties": inherited,
        }] });
        let aws = FakeAws::answering(move |_| (200, group.to_string())).ports();
        let found = aws.logs.log_group(&at(), &name()).await.unwrap().unwrap();
        assert_eq!(found.protection.iter().map(|policy| policy.scope).collect::<Vec<_>>(), expected);
    }
    let document = json!({ "policyDocument": "own", "accountPolicies": [{ "policyDocument": "account's" }] });
    let fake = FakeAws::answering(move |_| (200, document.to_string()));
    let aws = fake.ports();
    let read = async |scope| aws.logs.data_protection(&at(), &name(), scope).await.unwrap();
    assert_eq!((read(LogGroup).await.as_deref(), read(Account).await.as_deref()), (Some("own"), Some("account's")));
    assert_eq!(fake.asked("DescribeAccountPolicies")[0].member("policyType"), "DATA_PROTECTION_POLICY");
}

#[tokio::test]
async fn keeping_for_ever_removes_the_retention() {
    let fake = FakeAws::answering(|_| (200, "{}".to_owned()));
    let aws = fake.ports();
    aws.logs.set_retention(&at(), &name(), Some(30)).await.unwrap();
    aws.logs.set_retention(&at(), &name(), None).await.unwrap();
    assert_eq!(fake.asked("PutRetentionPolicy")[0].member("retentionInDays"), 30);
    assert_eq!(fake.asked("DeleteRetentionPolicy")[0].member("logGroupName"), "vpc-flow-logs");
}

#[tokio::test]
async fn a_group_is_created_with_its_tag_and_its_tags_read_by_the_short_arn() {
    let fake = FakeAws::answering(|_| (200, json!({ "tags": { "managed-by": "us" } }).to_string()));
    let aws = fake.ports();
    let tags: [Tag; 2] = ["managed-by=us", "team=net"].map(|tag| tag.parse().unwrap());
    aws.logs.create_log_group(&at(), &name(), None, &tags).await.unwrap();
    assert_eq!(fake.asked("CreateLogGroup")[0].member("tags"), json!({ "managed-by": "us", "team": "net" }));
    let own = &tags[0];
    let tags = aws.logs.log_group_tags(&at(), &name()).await.unwrap();
    assert!(own.is_on(&tags));
    let asked = fake.asked("ListTagsForResource")[0].member("resourceArn");
    assert_eq!(asked, "arn:aws:logs:us-east-1:444455556666:log-group:vpc-flow-logs");
}
