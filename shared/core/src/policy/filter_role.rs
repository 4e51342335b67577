//! The role in a member account with which a subscription filter delivers to a destination whose policy names the
//! organization instead of accounts. AWS rejects such a filter without a role (CloudWatch Logs User Guide, "(Only if
//! using an organization) Create an IAM role").

use serde_json::{Value, json};

use super::service_trust;
use crate::ids::{AccountId, Partition};
use crate::names::LogGroupName;

/// The trust policy of the filter role: only CloudWatch Logs may assume it, on behalf of this account only.
///
/// AWS's example has no condition. These are the conditions that its page on confused deputies gives for subscriptions,
/// for the sending account. That the service sends both keys for this role is UNVERIFIED. In China the service's name
/// may be a Regional one, which is UNVERIFIED, too.
pub fn trust_policy(partition: Partition, account: AccountId) -> Value {
    service_trust("logs.amazonaws.com", account, &format!("arn:{partition}:logs:*:{account}:*"))
}

/// The permissions of the filter role: `logs:PutLogEvents` on the source log group, in every Region of its account. By
/// them CloudWatch Logs checks that the sending account wants the subscription.
pub fn permissions(partition: Partition, account: AccountId, log_group: &LogGroupName) -> Value {
    json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Effect": "Allow",
            "Action": "logs:PutLogEvents",
            "Resource": format!("arn:{partition}:logs:*:{account}:log-group:{log_group}:*"),
        }],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_logs_service_acting_for_the_account_itself_may_use_the_role() {
        let trust = trust_policy(Partition::Aws, "111122223333".parse().unwrap());
        insta::assert_json_snapshot!(trust, @r#"
        {
          "Statement": [
            {
              "Action": "sts:AssumeRole",
              "Condition": {
                "ArnLike": {
                  "aws:SourceArn": "arn:aws:logs:*:111122223333:*"
                },
                "StringEquals": {
                  "aws:SourceAccount": "111122223333"
                }
              },
              "Effect": "Allow",
              "Principal": {
                "Service": "logs.amazonaws.com"
              }
            }
          ],
          "Version": "2012-10-17"
        }
        "#);
    }

    #[test]
    fn the_role_may_put_events_of_the_source_group_and_nothing_else() {
        let allowed = permissions(Partition::AwsCn, "111122223333".parse().unwrap(), &"vpc-flow-logs".parse().unwrap());
        insta::assert_json_snapshot!(allowed, @r#"
        {
          "Statement": [
            {
              "Action": "logs:PutLogEvents",
              "Effect": "Allow",
              "Resource": "arn:aws-cn:logs:*:111122223333:log-group:vpc-flow-logs:*"
            }
          ],
          "Version": "2012-10-17"
        }
        "#);
    }
}
