//! VPCs and flow logs (EC2).

use std::collections::BTreeSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_ec2::Client;
use aws_sdk_ec2::config::retry::RetryPartition;
use aws_sdk_ec2::operation::describe_vpcs::DescribeVpcsOutput;
use aws_sdk_ec2::types::{
    Filter, FlowLogsResourceType, LogDestinationType, ResourceType, Tag as Ec2Tag, TagSpecification,
};
use aws_types::SdkConfig;
use aws_types::request_id::RequestId;
use enroller_core::ids::{AccountId, AccountRegion, FlowLogId, Region, VpcId};
use enroller_core::observed::{FlowLog, Vpc};
use enroller_core::settings::Tag;
use enroller_engine::ports::{self, AwsResult, NewFlowLogs};

use crate::calls::{Calls, Identity, Link, all_pages};
use crate::errors::unparsable;
use crate::limits::{
    CREATE_FLOW_LOGS, CREATE_TAGS, DELETE_FLOW_LOGS, DESCRIBE_FLOW_LOGS, DESCRIBE_REGIONS, DESCRIBE_VPCS,
};

mod outcomes;
mod read;
#[cfg(test)]
mod tests;

/// The largest page of DescribeVpcs and DescribeFlowLogs (EC2 API reference).
const PAGE: i32 = 1_000;

pub(crate) struct Ec2(Calls<Client>);

impl Ec2 {
    pub(crate) fn new(link: &Arc<Link>) -> Self {
        Self(Calls::new(link, Identity::Member, client))
    }
}

/// A client with its own retry budget. By default all clients of a service and Region share one, so that one failing
/// account would use up the retries of all others.
fn client(config: &SdkConfig) -> Client {
    let retries = RetryPartition::custom("one account").build();
    Client::from_conf(aws_sdk_ec2::config::Builder::from(config).retry_partition(retries).build())
}

/// A token for one CreateFlowLogs request.
///
/// With a token, a retry inside the SDK after a lost response returns the flow logs that were already created. The
/// token is new for each call and not derived from the request: if the flow logs are deleted, the same request within
/// the token's lifetime would return the deleted ones. Its 128 bits come from the standard library's hash keys, which
/// are random for each `RandomState`.
fn client_token() -> String {
    let random = || RandomState::new().hash_one(0_u8);
    format!("{:016x}{:016x}", random(), random())
}

fn vpc_page(at: &AccountRegion, page: DescribeVpcsOutput) -> AwsResult<(Vec<Vpc>, Option<String>)> {
    let vpcs: AwsResult<Vec<Vpc>> = page.vpcs().iter().map(|vpc| read::vpc(at, vpc)).collect();
    Ok((vpcs?, page.next_token))
}

fn tagged(new: &NewFlowLogs) -> TagSpecification {
    let tag = |tag: &Tag| Ec2Tag::builder().key(&tag.key).value(&tag.value).build();
    TagSpecification::builder()
        .resource_type(ResourceType::VpcFlowLog)
        .set_tags(Some(new.tags.iter().map(tag).collect()))
        .build()
}

#[async_trait]
impl ports::Ec2 for Ec2 {
    async fn vpcs(&self, at: &AccountRegion) -> AwsResult<Vec<Vpc>> {
        // Without the filter, AWS also lists VPCs shared by other accounts, whose flow logs are up to their owners.
        let owned = Filter::builder().name("owner-id").values(at.account.to_string()).build();
        all_pages(DESCRIBE_VPCS, at, async |token| {
            let request = |client: Client| {
                client.describe_vpcs().filters(owned.clone()).max_results(PAGE).set_next_token(token.clone()).send()
            };
            vpc_page(at, self.0.call(DESCRIBE_VPCS, at, request).await?)
        })
        .await
    }

    async fn flow_logs(&self, at: &AccountRegion) -> AwsResult<Vec<FlowLog>> {
        let ownership = &self.0.settings().ownership_tag;
        all_pages(DESCRIBE_FLOW_LOGS, at, async |token| {
            let request =
                |client: Client| client.describe_flow_logs().max_results(PAGE).set_next_token(token.clone()).send();
            let page = self.0.call(DESCRIBE_FLOW_LOGS, at, request).await?;
            Ok((read::flow_logs(at, ownership, page.flow_logs())?, page.next_token))
        })
        .await
    }

    /// AWS does not document the order of the ids it returns. They are assumed to be in the order of the requested
    /// VPCs, without those it names as unsuccessful. Only the report relies on that: which flow log covers a VPC is
    /// always read back from DescribeFlowLogs. If the numbers differ, no VPC is reported to have a flow log.
    async fn create_flow_logs(
        &self,
        at: &AccountRegion,
        new: &NewFlowLogs,
    ) -> AwsResult<Vec<(VpcId, AwsResult<FlowLogId>)>> {
        let request = |client: Client| {
            client
                .create_flow_logs()
                .client_token(client_token())
                .resource_type(FlowLogsResourceType::Vpc)
                .set_resource_ids(Some(new.vpcs.iter().map(VpcId::to_string).collect()))
                .traffic_type(new.spec.traffic_type.as_str().into())
                .log_destination_type(LogDestinationType::CloudWatchLogs)
                .log_group_name(new.log_group.as_str())
                .deliver_logs_permission_arn(new.spec.delivery_role.to_string())
                // The settings allow 60 and 600 only.
                .max_aggregation_interval(i32::try_from(new.spec.interval).unwrap_or(i32::MAX))
                .log_format(&new.spec.format)
                .tag_specifications(tagged(new))
                .send()
        };
        let answer = self.0.call(CREATE_FLOW_LOGS, at, request).await?;
        let call = outcomes::Answer::new(CREATE_FLOW_LOGS, at, answer.request_id());
        Ok(call.created(&new.vpcs, answer.flow_log_ids(), answer.unsuccessful()))
    }

    async fn delete_flow_logs(
        &self,
        at: &AccountRegion,
        ids: &[FlowLogId],
    ) -> AwsResult<Vec<(FlowLogId, AwsResult<()>)>> {
        let request = |client: Client| {
            client.delete_flow_logs().set_flow_log_ids(Some(ids.iter().map(FlowLogId::to_string).collect())).send()
        };
        let answer = self.0.call(DELETE_FLOW_LOGS, at, request).await?;
        Ok(outcomes::Answer::new(DELETE_FLOW_LOGS, at, answer.request_id()).of_each(ids, answer.unsuccessful()))
    }

    async fn tag_flow_logs(&self, at: &AccountRegion, ids: &[FlowLogId], tag: &Tag) -> AwsResult<()> {
        let put = Ec2Tag::builder().key(&tag.key).value(&tag.value).build();
        let request = |client: Client| {
            let ids = ids.iter().map(FlowLogId::to_string).collect();
            client.create_tags().set_resources(Some(ids)).tags(put.clone()).send()
        };
        self.0.call(CREATE_TAGS, at, request).await.map(drop)
    }

    async fn enabled_regions(&self, account: AccountId) -> AwsResult<BTreeSet<Region>> {
        let at = AccountRegion { account, region: self.0.settings().home_region.clone() };
        // Without AllRegions, AWS returns the enabled Regions only.
        let answer = self.0.call(DESCRIBE_REGIONS, &at, |client| client.describe_regions().send()).await?;
        if answer.regions().is_empty() {
            return Err(unparsable(DESCRIBE_REGIONS.operation, &at, "the response has no Region"));
        }
        Ok(answer.regions().iter().filter_map(|region| read::region(&at, region)).collect())
    }
}
