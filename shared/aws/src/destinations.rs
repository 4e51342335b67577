//! The destinations of the central account (CloudWatch Logs).

use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_cloudwatchlogs::Client;
use aws_sdk_cloudwatchlogs::types::Destination as SdkDestination;
use enroller_core::arn::Arn;
use enroller_core::ids::{AccountRegion, Region};
use enroller_core::names::DestinationName;
use enroller_engine::ports::{AwsResult, Destination, Destinations};

use crate::calls::{Calls, Identity, Link, all_pages};
use crate::limits::{DESCRIBE_DESTINATIONS, PUT_DESTINATION, PUT_DESTINATION_POLICY};
use crate::logs::PAGE;

#[cfg(test)]
mod tests;

pub(crate) struct CentralDestinations(Calls<Client>);

impl CentralDestinations {
    pub(crate) fn new(link: &Arc<Link>) -> Self {
        Self(Calls::new(link, Identity::Central, Client::new))
    }

    fn at(&self, region: &Region) -> AccountRegion {
        AccountRegion { account: self.0.settings().central_account, region: region.clone() }
    }
}

/// A destination whose name is none we could have given is left out with a warning: it is not ours, and must not keep
/// the others from being read.
fn destination(at: &AccountRegion, found: &SdkDestination) -> Option<Destination> {
    let text = |value: Option<&str>| value.unwrap_or_default().to_owned();
    match found.destination_name().unwrap_or_default().parse() {
        Ok(name) => Some(Destination {
            name,
            target: text(found.target_arn()),
            role: text(found.role_arn()),
            policy: found.access_policy().filter(|policy| !policy.is_empty()).map(str::to_owned),
        }),
        Err(error) => {
            tracing::warn!(%error, at = %at, "a destination of others is left out");
            None
        }
    }
}

#[async_trait]
impl Destinations for CentralDestinations {
    async fn destinations(&self, region: &Region, prefix: &DestinationName) -> AwsResult<Vec<Destination>> {
        let at = &self.at(region);
        all_pages(DESCRIBE_DESTINATIONS, at, async |token| {
            let request = |client: Client| {
                let page = client.describe_destinations().destination_name_prefix(prefix.as_str());
                page.limit(PAGE).set_next_token(token).send()
            };
            let page = self.0.call(DESCRIBE_DESTINATIONS, at, request).await?;
            Ok((page.destinations().iter().filter_map(|found| destination(at, found)).collect(), page.next_token))
        })
        .await
    }

    async fn put_destination(
        &self,
        region: &Region,
        name: &DestinationName,
        target: &Arn,
        role: &Arn,
    ) -> AwsResult<()> {
        // Without tags: AWS then answers "Could not deliver test message" (terraform-provider-aws tags afterwards).
        let request = |client: Client| {
            let put = client.put_destination().destination_name(name.as_str());
            put.target_arn(target.to_string()).role_arn(role.to_string()).send()
        };
        self.0.call(PUT_DESTINATION, &self.at(region), request).await.map(drop)
    }

    async fn put_policy(&self, region: &Region, name: &DestinationName, policy: &str, force: bool) -> AwsResult<()> {
        let request = |client: Client| {
            let put = client.put_destination_policy().destination_name(name.as_str()).access_policy(policy);
            put.set_force_update(force.then_some(true)).send()
        };
        self.0.call(PUT_DESTINATION_POLICY, &self.at(region), request).await.map(drop)
    }
}
