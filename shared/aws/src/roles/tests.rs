use serde_json::json;

use super::*;
use crate::testing::{FakeAws, MEMBER, query_error};

#[tokio::test]
async fn policy_documents_are_decoded_and_a_plus_sign_stays_one() {
    let fake = FakeAws::answering(|request| {
        let document = "%7B%22Statement%22%3A%5B%7B%22Sid%22%3A%22a+b%22%7D%5D%7D";
        let body = match request.operation.as_str() {
            "GetRole" => format!(
                "<GetRoleResponse><GetRoleResult><Role><Path>/</Path><RoleName>VpcFlowLogsEnrollerDelivery</RoleName>\
                 <RoleId>AROA</RoleId><Arn>arn</Arn><CreateDate>2024-01-01T00:00:00Z</CreateDate>\
                 <AssumeRolePolicyDocument>{document}</AssumeRolePolicyDocument>\
                 <Tags><member><Key>managed-by</Key><Value>us</Value></member></Tags></Role>\
                 </GetRoleResult></GetRoleResponse>"
            ),
            _ => format!(
                "<GetRolePolicyResponse><GetRolePolicyResult><RoleName>r</RoleName><PolicyName>p</PolicyName>\
                 <PolicyDocument>{document}</PolicyDocument></GetRolePolicyResult></GetRolePolicyResponse>"
            ),
        };
        (200, body)
    });
    let aws = fake.ports();
    let (account, name) = (MEMBER.parse().unwrap(), "VpcFlowLogsEnrollerDelivery".parse().unwrap());
    let expected = json!({ "Statement": [{ "Sid": "a+b" }] });
    let role = aws.roles.role(account, &name).await.unwrap().unwrap();
    assert_eq!(role.trust, expected);
    assert_eq!(role.tags.get("managed-by").map(String::as_str), Some("us"));
    assert_eq!(aws.roles.inline_policy(account, &name, "p").await.unwrap(), Some(expected));
    assert_eq!(fake.asked("GetRole")[0].region, "us-east-1", "where IAM is, not where the enroller is");
}

#[tokio::test]
async fn a_missing_role_or_policy_is_none() {
    let fake = FakeAws::answering(|request| match request.operation.as_str() {
        "AssumeRole" => (200, String::new()),
        _ => query_error(404, "NoSuchEntity", "cannot be found"),
    });
    let aws = fake.ports();
    let (account, name) = (MEMBER.parse().unwrap(), "VpcFlowLogsEnrollerDelivery".parse().unwrap());
    assert_eq!(aws.roles.role(account, &name).await.unwrap(), None);
    assert_eq!(aws.roles.inline_policy(account, &name, "p").await.unwrap(), None);
}

#[test]
fn every_partition_has_its_own_iam_region() {
    for partition in [Partition::Aws, Partition::AwsCn, Partition::AwsUsGov, Partition::AwsEusc] {
        assert_eq!(iam_region(partition).unwrap().partition(), partition);
    }
}
