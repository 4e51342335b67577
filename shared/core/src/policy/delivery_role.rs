//! The role in a member account with which flow logs are delivered to its log group.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::service_trust;
use crate::ids::{AccountId, Partition};
use crate::names::LogGroupName;

/// The trust policy of the delivery role: only the flow logs service may assume it, on behalf of this account's flow
/// logs only.
///
/// The conditions prevent the service from using the role for another account's flow log (VPC User Guide, "IAM role
/// for publishing flow logs to CloudWatch Logs"). The Region is a wildcard because IAM is global: one role serves the
/// flow logs of all Regions.
pub fn trust_policy(partition: Partition, account: AccountId) -> Value {
    let flow_logs = format!("arn:{partition}:ec2:*:{account}:vpc-flow-log/*");
    service_trust("vpc-flow-logs.amazonaws.com", account, &flow_logs)
}

/// The permissions of the delivery role: write to one log group, in every Region of its account.
///
/// `log-group:NAME:*` covers the group and its streams. The form without `:*` would not match the streams
/// (terraform-aws-vpc 1262). DescribeLogGroups does not name a group, so it has to cover all of the account's groups.
///
/// `logs:CreateLogGroup`, which the same page lists, is deliberately left out. The enroller creates the group. If the
/// flow logs service recreated a deleted group, the group would have no retention and no subscription filter, while the
/// flow log would look healthy. Without the permission the flow log shows `Access error` until the enroller has created
/// the group again. terraform-aws-vpc grants the same four actions.
pub fn permissions(partition: Partition, account: AccountId, log_group: &LogGroupName) -> Value {
    json!({
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": ["logs:CreateLogStream", "logs:PutLogEvents", "logs:DescribeLogStreams"],
                "Resource": format!("arn:{partition}:logs:*:{account}:log-group:{log_group}:*"),
            },
            {
                "Effect": "Allow",
                "Action": "logs:DescribeLogGroups",
                "Resource": format!("arn:{partition}:logs:*:{account}:log-group:*"),
            },
        ],
    })
}

/// The permissions of the delivery role whose policy is `present` now. The log groups that it may write to stay: while
/// `log_group_name` changes, flow logs deliver to the old group until their successors deliver to the new one.
pub fn permissions_after(present: &Value, partition: Partition, account: AccountId, log_group: &LogGroupName) -> Value {
    let mut document = permissions(partition, account, log_group);
    let resources = "/Statement/0/Resource";
    let prefix = format!("arn:{partition}:logs:*:{account}:log-group:");
    // A name cannot have a wildcard, so nothing but single groups is kept.
    let is_group = |text: &str| {
        let name = text.strip_prefix(&prefix).and_then(|rest| rest.strip_suffix(":*"));
        name.is_some_and(|name| name.parse::<LogGroupName>().is_ok())
    };
    let listed = match present.pointer(resources) {
        Some(Value::Array(texts)) => texts.iter().filter_map(Value::as_str).collect(),
        Some(Value::String(text)) => vec![text.as_str()],
        _ => Vec::new(),
    };
    if let Some(wanted) = document.pointer_mut(resources) {
        let own = wanted.as_str().unwrap_or_default().to_owned();
        let others: BTreeSet<&str> = listed.into_iter().filter(|text| *text != own && is_group(text)).collect();
        if !others.is_empty() {
            *wanted = std::iter::once(own.as_str()).chain(others).collect();
        }
    }
    document
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_groups_that_the_role_may_write_to_stay_and_nothing_else_does() {
        let (partition, account) = (Partition::Aws, "111122223333".parse().unwrap());
        let of = |name: &str| permissions(partition, account, &name.parse().unwrap());
        let after = |present: &Value| permissions_after(present, partition, account, &"new".parse().unwrap());
        let groups = |document: &Value| document["Statement"][0]["Resource"].clone();
        let arn = |name: &str| format!("arn:aws:logs:*:111122223333:log-group:{name}:*");
        let both = after(&of("old"));
        assert_eq!(groups(&both), json!([arn("new"), arn("old")]));
        assert_eq!(after(&both), both, "and it is not written again");
        assert_eq!(after(&of("new")), of("new"));
        assert_eq!(both["Statement"][1], of("new")["Statement"][1]);
        for other in ["*", "arn:aws:logs:*:111122223333:log-group:*:*", "arn:aws:logs:*:999999999999:log-group:old:*"] {
            let present = json!({ "Statement": [{ "Effect": "Allow", "Action": "logs:*", "Resource": other }] });
            assert_eq!(after(&present), of("new"), "{other}");
        }
        assert_eq!(after(&json!({ "edited": true })), of("new"));
    }

    #[test]
    fn only_the_flow_logs_of_the_account_itself_may_use_the_role() {
        let trust = trust_policy(Partition::AwsUsGov, "000000000123".parse().unwrap());
        insta::assert_json_snapshot!(trust, @r#"
        {
          "Statement": [
            {
              "Action": "sts:AssumeRole",
              "Condition": {
                "ArnLike": {
                  "aws:SourceArn": "arn:aws-us-gov:ec2:*:000000000123:vpc-flow-log/*"
                },
                "StringEquals": {
                  "aws:SourceAccount": "000000000123"
                }
              },
              "Effect": "Allow",
              "Principal": {
                "Service": "vpc-flow-logs.amazonaws.com"
              }
            }
          ],
          "Version": "2012-10-17"
        }
        "#);
    }

    #[test]
    fn the_role_writes_to_one_log_group_and_creates_none() {
        let allowed = permissions(Partition::Aws, "111122223333".parse().unwrap(), &"vpc-flow-logs".parse().unwrap());
        insta::assert_json_snapshot!(allowed, @r#"
        {
          "Statement": [
            {
              "Action": [
                "logs:CreateLogStream",
                "logs:PutLogEvents",
                "logs:DescribeLogStreams"
              ],
              "Effect": "Allow",
              "Resource": "arn:aws:logs:*:111122223333:log-group:vpc-flow-logs:*"
            },
            {
              "Action": "logs:DescribeLogGroups",
              "Effect": "Allow",
              "Resource": "arn:aws:logs:*:111122223333:log-group:*"
            }
          ],
          "Version": "2012-10-17"
        }
        "#);
        assert!(!allowed.to_string().contains("CreateLogGroup"));
    }
}
