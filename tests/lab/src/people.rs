//! People in member accounts: calls with their own credentials, which CloudTrail records and the enroller gets as
//! events.

use aws_sdk_cloudwatchlogs::Client as Logs;
use aws_sdk_ec2::Client as Ec2;
use aws_sdk_ec2::types::{FlowLogsResourceType, LogDestinationType, ResourceType, Tag, TagSpecification, TrafficType};
use enroller_sim::Sim;

use crate::adapter::{As, sdk_config};

/// The text of the error with which AWS refused a call of a person.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Refused(String);

fn refused(error: impl std::error::Error) -> Refused {
    Refused(aws_sdk_ec2::error::DisplayErrorContext(error).to_string())
}

/// A person with full rights in one account and Region. Every method returns [`Refused`] if AWS answers with an error.
pub struct Person {
    ec2: Ec2,
    logs: Logs,
}

impl Person {
    /// A person of this account who works in this Region.
    pub fn of(sim: &Sim, account: &str, region: &str) -> Self {
        let config = sdk_config(sim, region, As::Account(account));
        Self { ec2: Ec2::new(&config), logs: Logs::new(&config) }
    }

    /// Creates a VPC with tags. Returns its id.
    pub async fn create_vpc(&self, tags: &[(&str, &str)]) -> Result<String, Refused> {
        let mut request = self.ec2.create_vpc().cidr_block("10.99.0.0/16");
        if !tags.is_empty() {
            let tags = tags.iter().map(|(key, value)| Tag::builder().key(*key).value(*value).build());
            let specification =
                TagSpecification::builder().resource_type(ResourceType::Vpc).set_tags(Some(tags.collect())).build();
            request = request.tag_specifications(specification);
        }
        let answer = request.send().await.map_err(refused)?;
        let id = answer.vpc().and_then(|vpc| vpc.vpc_id()).map(str::to_owned);
        id.ok_or_else(|| Refused("CreateVpc answered without a VPC".to_owned()))
    }

    /// Ids of the flow logs of the account and Region, each with the id of its VPC.
    pub async fn flow_logs(&self) -> Result<Vec<(String, String)>, Refused> {
        let answer = self.ec2.describe_flow_logs().send().await.map_err(refused)?;
        let pair =
            |log: &aws_sdk_ec2::types::FlowLog| Some((log.flow_log_id()?.to_owned(), log.resource_id()?.to_owned()));
        Ok(answer.flow_logs().iter().filter_map(pair).collect())
    }

    /// Deletes a flow log.
    pub async fn delete_flow_log(&self, id: &str) -> Result<(), Refused> {
        self.ec2.delete_flow_logs().flow_log_ids(id).send().await.map(|_| ()).map_err(refused)
    }

    /// Deletes a subscription filter.
    pub async fn delete_filter(&self, group: &str, name: &str) -> Result<(), Refused> {
        let request = self.logs.delete_subscription_filter().log_group_name(group).filter_name(name);
        request.send().await.map(|_| ()).map_err(refused)
    }

    /// Deletes a log group.
    pub async fn delete_log_group(&self, name: &str) -> Result<(), Refused> {
        self.logs.delete_log_group().log_group_name(name).send().await.map(|_| ()).map_err(refused)
    }

    /// Deletes a VPC and, with it, its flow logs.
    pub async fn delete_vpc(&self, id: &str) -> Result<(), Refused> {
        self.ec2.delete_vpc().vpc_id(id).send().await.map(|_| ()).map_err(refused)
    }

    /// Creates a flow log from a VPC to a bucket.
    pub async fn log_to_bucket(&self, vpc: &str, bucket_arn: &str) -> Result<(), Refused> {
        let request = self.ec2.create_flow_logs().resource_type(FlowLogsResourceType::Vpc).resource_ids(vpc);
        let request = request.log_destination_type(LogDestinationType::S3).log_destination(bucket_arn);
        request.traffic_type(TrafficType::All).send().await.map(|_| ()).map_err(refused)
    }

    /// Creates a log group.
    pub async fn create_log_group(&self, name: &str) -> Result<(), Refused> {
        self.logs.create_log_group().log_group_name(name).send().await.map(|_| ()).map_err(refused)
    }

    /// Sets the retention of a log group in days.
    pub async fn put_retention(&self, group: &str, days: i32) -> Result<(), Refused> {
        let request = self.logs.put_retention_policy().log_group_name(group).retention_in_days(days);
        request.send().await.map(|_| ()).map_err(refused)
    }

    /// Creates a subscription filter that sends everything to a function of the account.
    pub async fn filter_to_function(&self, group: &str, name: &str, function_arn: &str) -> Result<(), Refused> {
        let request = self.logs.put_subscription_filter().log_group_name(group).filter_name(name);
        request.filter_pattern("").destination_arn(function_arn).send().await.map(|_| ()).map_err(refused)
    }
}
