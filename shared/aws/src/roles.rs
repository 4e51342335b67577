//! Delivery roles (IAM, which is global in each account).

use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_iam::Client;
use aws_sdk_iam::config::retry::RetryPartition;
use aws_sdk_iam::types::Tag as IamTag;
use aws_types::SdkConfig;
use enroller_core::error::{AwsError, Code};
use enroller_core::ids::{AccountId, AccountRegion, Invalid, Partition, Region};
use enroller_core::names::RoleName;
use enroller_core::settings::Tag;
use enroller_engine::ports::{AwsResult, Role, Roles};
use percent_encoding::percent_decode_str;
use serde_json::Value;

use crate::calls::{Calls, Identity, Link};
use crate::errors::unparsable;
use crate::limits::{CREATE_ROLE, GET_ROLE, GET_ROLE_POLICY, PUT_ROLE_POLICY, UPDATE_TRUST};

#[cfg(test)]
mod tests;

pub(crate) struct Iam(Calls<Client>);

impl Iam {
    pub(crate) fn new(link: &Arc<Link>) -> Self {
        Self(Calls::new(link, Identity::Member, client))
    }

    fn at(&self, account: AccountId) -> AwsResult<AccountRegion> {
        let region = iam_region(self.0.settings().partition())
            .map_err(|invalid| AwsError::unparsable(GET_ROLE.operation, invalid.to_string()))?;
        Ok(AccountRegion { account, region })
    }
}

/// A client with its own retry budget, as for EC2.
fn client(config: &SdkConfig) -> Client {
    let retries = RetryPartition::custom("one account").build();
    Client::from_conf(aws_sdk_iam::config::Builder::from(config).retry_partition(retries).build())
}

/// The Region of a partition's IAM endpoint, for which requests are also signed (botocore `endpoints.json`).
fn iam_region(partition: Partition) -> Result<Region, Invalid> {
    match partition {
        Partition::Aws => "us-east-1",
        Partition::AwsCn => "cn-north-1",
        Partition::AwsUsGov => "us-gov-west-1",
        Partition::AwsEusc => "eusc-de-east-1",
    }
    .parse()
}

/// IAM returns policy documents percent-encoded (RFC 3986, so a plus sign stands for itself).
fn document(operation: &'static str, at: &AccountRegion, encoded: &str) -> AwsResult<Value> {
    let wrong =
        |error: &dyn std::fmt::Display| unparsable(operation, at, format!("policy document {encoded:?}: {error}"));
    let text = percent_decode_str(encoded).decode_utf8().map_err(|error| wrong(&error))?;
    serde_json::from_str(&text).map_err(|error| wrong(&error))
}

/// `None` if IAM reports that the resource does not exist.
fn if_there<T>(result: AwsResult<T>) -> AwsResult<Option<T>> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.code == Code::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[async_trait]
impl Roles for Iam {
    async fn role(&self, account: AccountId, name: &RoleName) -> AwsResult<Option<Role>> {
        let at = self.at(account)?;
        let request = |client: Client| client.get_role().role_name(name.as_str()).send();
        let Some(answer) = if_there(self.0.call(GET_ROLE, &at, request).await)? else { return Ok(None) };
        let wrong = |what| unparsable(GET_ROLE.operation, &at, what);
        let role = answer.role().ok_or_else(|| wrong("the response has no role"))?;
        let trust = role.assume_role_policy_document().ok_or_else(|| wrong("the role has no trust policy"))?;
        let tags = role.tags().iter().map(|tag| (tag.key().to_owned(), tag.value().to_owned()));
        Ok(Some(Role { trust: document(GET_ROLE.operation, &at, trust)?, tags: tags.collect() }))
    }

    async fn inline_policy(&self, account: AccountId, role: &RoleName, policy: &str) -> AwsResult<Option<Value>> {
        let at = self.at(account)?;
        let request = |client: Client| client.get_role_policy().role_name(role.as_str()).policy_name(policy).send();
        let answer = if_there(self.0.call(GET_ROLE_POLICY, &at, request).await)?;
        answer.map(|answer| document(GET_ROLE_POLICY.operation, &at, answer.policy_document())).transpose()
    }

    async fn create_role(&self, account: AccountId, name: &RoleName, trust: &Value, tags: &[Tag]) -> AwsResult<()> {
        let at = self.at(account)?;
        // Only key and value are required, and both are set.
        let tags: Result<Vec<IamTag>, _> =
            tags.iter().map(|tag| IamTag::builder().key(&tag.key).value(&tag.value).build()).collect();
        let tags = tags.map_err(|error| unparsable(CREATE_ROLE.operation, &at, error.to_string()))?;
        let request = |client: Client| {
            let role = client.create_role().role_name(name.as_str()).set_tags(Some(tags.clone()));
            role.assume_role_policy_document(trust.to_string()).send()
        };
        self.0.call(CREATE_ROLE, &at, request).await.map(drop)
    }

    async fn set_trust(&self, account: AccountId, name: &RoleName, trust: &Value) -> AwsResult<()> {
        let request = |client: Client| {
            client.update_assume_role_policy().role_name(name.as_str()).policy_document(trust.to_string()).send()
        };
        self.0.call(UPDATE_TRUST, &self.at(account)?, request).await.map(drop)
    }

    async fn put_inline_policy(
        &self,
        account: AccountId,
        role: &RoleName,
        policy: &str,
        document: &Value,
    ) -> AwsResult<()> {
        let request = |client: Client| {
            let put = client.put_role_policy().role_name(role.as_str()).policy_name(policy);
            put.policy_document(document.to_string()).send()
        };
        self.0.call(PUT_ROLE_POLICY, &self.at(account)?, request).await.map(drop)
    }
}
