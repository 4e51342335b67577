//! The central account's destinations (CloudWatch Logs).

use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_cloudwatchlogs::Client;
use aws_sdk_cloudwatchlogs::types::Destination as SdkDestination;
use enroller_core::arn::Arn;
use enroller_core::error::AwsError;
use enroller_core::ids::{AccountRegion, Invalid, Region};
use enroller_core::names::DestinationName;
use enroller_engine::granter::{DestinationWriter, WriterPermit};
use enroller_engine::ports::{AwsResult, Destination, DestinationReader};

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

    async fn send_policy(&self, region: &Region, name: &DestinationName, policy: &str, force: bool) -> AwsResult<()> {
        let request = |client: Client| {
            let put = client.put_destination_policy().destination_name(name.as_str()).access_policy(policy);
            put.set_force_update(force.then_some(true)).send()
        };
        self.0.call(PUT_DESTINATION_POLICY, &self.at(region), request).await.map(drop)
    }
}

/// A destination whose name is none we could have given is left out with a warning: it is not managed here, and must
/// not keep the others from being read.
fn destination(at: &AccountRegion, found: &SdkDestination) -> Option<AwsResult<Destination>> {
    match found.destination_name().unwrap_or_default().parse() {
        Ok(name) => Some(read(at, name, found)),
        Err(error) => {
            tracing::warn!(%error, at = %at, "an unmanaged destination is left out");
            None
        }
    }
}

fn read(at: &AccountRegion, name: DestinationName, found: &SdkDestination) -> AwsResult<Destination> {
    let arn = |text: Option<&str>| {
        let unparsable = |invalid: Invalid| {
            AwsError::unparsable(DESCRIBE_DESTINATIONS.operation, invalid.to_string()).at(at.account, &at.region)
        };
        text.unwrap_or_default().parse::<Arn>().map_err(unparsable)
    };
    let policy = found.access_policy().filter(|policy| !policy.is_empty()).map(str::to_owned);
    Ok(Destination { target: arn(found.target_arn())?, role: arn(found.role_arn())?, name, policy })
}

#[async_trait]
impl DestinationReader for CentralDestinations {
    async fn destinations(&self, region: &Region, prefix: &DestinationName) -> AwsResult<Vec<Destination>> {
        let at = &self.at(region);
        all_pages(DESCRIBE_DESTINATIONS, at, async |token| {
            let request = |client: Client| {
                let page = client.describe_destinations().destination_name_prefix(prefix.as_str());
                page.limit(PAGE).set_next_token(token.clone()).send()
            };
            let page = self.0.call(DESCRIBE_DESTINATIONS, at, request).await?;
            let found = page.destinations().iter().filter_map(|found| destination(at, found));
            Ok((found.collect::<AwsResult<Vec<_>>>()?, page.next_token))
        })
        .await
    }
}

#[async_trait]
impl DestinationWriter for CentralDestinations {
    async fn put_destination(
        &self,
        _: &WriterPermit,
        region: &Region,
        name: &DestinationName,
        target: &Arn,
        role: &Arn,
    ) -> AwsResult<()> {
        // With tags, AWS returns "Could not deliver test message" (terraform-provider-aws tags afterwards).
        let request = |client: Client| {
            let put = client.put_destination().destination_name(name.as_str());
            put.target_arn(target.to_string()).role_arn(role.to_string()).send()
        };
        self.0.call(PUT_DESTINATION, &self.at(region), request).await.map(drop)
    }

    async fn put_policy(
        &self,
        _: &WriterPermit,
        region: &Region,
        name: &DestinationName,
        policy: &str,
        force: bool,
    ) -> AwsResult<()> {
        self.send_policy(region, name, policy, force).await
    }
}
