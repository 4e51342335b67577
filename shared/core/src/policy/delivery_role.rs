//! The role in a member account with which flow logs are delivered to its log group.

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

#[cfg(test)]
mod tests {
    use super::*;

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
