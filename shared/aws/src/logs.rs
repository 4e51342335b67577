//! Log groups and subscription filters (CloudWatch Logs).

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_cloudwatchlogs::Client;
use aws_sdk_cloudwatchlogs::config::retry::RetryPartition;
use aws_sdk_cloudwatchlogs::types::{
    DataProtectionStatus, Distribution, InheritedProperty, LogGroup as SdkLogGroup, LogGroupClass as SdkClass,
    PolicyType, SubscriptionFilter as SdkFilter,
};
use aws_types::SdkConfig;
use enroller_core::arn::Arn;
use enroller_core::error::Code;
use enroller_core::ids::AccountRegion;
use enroller_core::names::LogGroupName;
use enroller_core::observed::{
    BY_LOG_STREAM, DataProtection, FilterForm, LogGroup, LogGroupClass, ProtectionScope, SubscriptionFilter, Tags,
};
use enroller_core::settings::Tag;
use enroller_engine::ports::{AwsResult, Logs};

use crate::calls::{Calls, Identity, Link, all_pages};
use crate::errors::unparsable;
use crate::limits::{
    ASSOCIATE_KMS_KEY, CREATE_LOG_GROUP, DELETE_RETENTION, DESCRIBE_ACCOUNT_POLICIES, DESCRIBE_FILTERS,
    DESCRIBE_LOG_GROUPS, GET_DATA_PROTECTION, LIST_TAGS, PUT_FILTER, PUT_RETENTION,
};

#[cfg(test)]
mod tests;

/// The largest page of the Describe calls of CloudWatch Logs (API reference).
pub(crate) const PAGE: i32 = 50;

pub(crate) struct LogGroups(Calls<Client>);

impl LogGroups {
    pub(crate) fn new(link: &Arc<Link>) -> Self {
        Self(Calls::new(link, Identity::Member, client))
    }
}

/// A client with its own retry budget, as for EC2.
fn client(config: &SdkConfig) -> Client {
    let retries = RetryPartition::custom("one account").build();
    Client::from_conf(aws_sdk_cloudwatchlogs::config::Builder::from(config).retry_partition(retries).build())
}

fn log_group(at: &AccountRegion, found: &SdkLogGroup) -> AwsResult<LogGroup> {
    let days = found.retention_in_days().map(u32::try_from).transpose();
    Ok(LogGroup {
        retention_days: days
            .map_err(|error| unparsable(DESCRIBE_LOG_GROUPS.operation, at, format!("retentionInDays: {error}")))?,
        retention_policy: found.retention_policy_name().map(str::to_owned),
        kms_key: found.kms_key_id().map(str::to_owned),
        class: match found.log_group_class() {
            // Partitions without classes do not return one.
            None | Some(SdkClass::Standard) => LogGroupClass::Standard,
            Some(other) => LogGroupClass::Other(other.as_str().to_owned()),
        },
        created_ms: found.creation_time().and_then(|at| u64::try_from(at).ok()),
        protection: protection(found),
        tags: None,
    })
}

/// The data protection policies in force, without their documents.
fn protection(found: &SdkLogGroup) -> Vec<DataProtection> {
    let own = found.data_protection_status() == Some(&DataProtectionStatus::Activated);
    let inherited = found.inherited_properties().contains(&InheritedProperty::AccountDataProtection);
    let scopes = [(own, ProtectionScope::LogGroup), (inherited, ProtectionScope::Account)];
    let in_force = scopes.into_iter().filter(|(in_force, _)| *in_force);
    in_force.map(|(_, scope)| DataProtection { scope, document: None }).collect()
}

fn subscription_filter(found: &SdkFilter) -> SubscriptionFilter {
    let text = |value: Option<&str>| value.unwrap_or_default().to_owned();
    SubscriptionFilter {
        name: text(found.filter_name()),
        pattern: text(found.filter_pattern()),
        destination: text(found.destination_arn()),
        role: found.role_arn().map(str::to_owned),
        form: FilterForm {
            field_selection: text(found.field_selection_criteria()),
            transformed: found.apply_on_transformed_logs(),
            system_fields: found.emit_system_fields().to_vec(),
            distribution: found.distribution().map_or(BY_LOG_STREAM, Distribution::as_str).to_owned(),
        },
    }
}

#[async_trait]
impl Logs for LogGroups {
    async fn log_group(&self, at: &AccountRegion, name: &LogGroupName) -> AwsResult<Option<LogGroup>> {
        // AWS filters by prefix only, so groups with longer names are listed, too.
        let found = all_pages(DESCRIBE_LOG_GROUPS, at, async |token| {
            let request = |client: Client| {
                client
                    .describe_log_groups()
                    .log_group_name_prefix(name.as_str())
                    .limit(PAGE)
                    .set_next_token(token.clone())
                    .send()
            };
            let page = self.0.call(DESCRIBE_LOG_GROUPS, at, request).await?;
            let groups = page.log_groups.unwrap_or_default();
            match groups.into_iter().find(|group| group.log_group_name() == Some(name.as_str())) {
                Some(group) => Ok((vec![group], None)),
                None => Ok((Vec::new(), page.next_token)),
            }
        });
        found.await?.first().map(|group| log_group(at, group)).transpose()
    }

    async fn log_group_tags(&self, at: &AccountRegion, name: &LogGroupName) -> AwsResult<Tags> {
        let arn = Arn::log_group(&at.region, at.account, name).to_string();
        let request = |client: Client| client.list_tags_for_resource().resource_arn(arn.clone()).send();
        Ok(self.0.call(LIST_TAGS, at, request).await?.tags.unwrap_or_default().into_iter().collect())
    }

    async fn subscription_filters(
        &self,
        at: &AccountRegion,
        group: &LogGroupName,
    ) -> AwsResult<Vec<SubscriptionFilter>> {
        let filters = all_pages(DESCRIBE_FILTERS, at, async |token| {
            let request = |client: Client| {
                let page = client.describe_subscription_filters().log_group_name(group.as_str());
                page.limit(PAGE).set_next_token(token.clone()).send()
            };
            let page = self.0.call(DESCRIBE_FILTERS, at, request).await?;
            Ok((page.subscription_filters().iter().map(subscription_filter).collect(), page.next_token))
        });
        match filters.await {
            Err(error) if error.code == Code::NotFound => Ok(Vec::new()),
            result => result,
        }
    }

    async fn data_protection(
        &self,
        at: &AccountRegion,
        name: &LogGroupName,
        scope: ProtectionScope,
    ) -> AwsResult<Option<String>> {
        match scope {
            ProtectionScope::LogGroup => {
                let request =
                    |client: Client| client.get_data_protection_policy().log_group_identifier(name.as_str()).send();
                Ok(self.0.call(GET_DATA_PROTECTION, at, request).await?.policy_document)
            }
            ProtectionScope::Account => {
                // An account has one such policy (PutAccountPolicy).
                let request = |client: Client| {
                    client.describe_account_policies().policy_type(PolicyType::DataProtectionPolicy).send()
                };
                let answer = self.0.call(DESCRIBE_ACCOUNT_POLICIES, at, request).await?;
                Ok(answer.account_policies().first().and_then(|policy| policy.policy_document()).map(str::to_owned))
            }
        }
    }

    async fn create_log_group(
        &self,
        at: &AccountRegion,
        name: &LogGroupName,
        kms_key: Option<&str>,
        tags: &[Tag],
    ) -> AwsResult<()> {
        let tags: HashMap<String, String> = tags.iter().map(|tag| (tag.key.clone(), tag.value.clone())).collect();
        // The class is not set: STANDARD is the default, and partitions without classes reject the parameter.
        let request = |client: Client| {
            let group = client.create_log_group().log_group_name(name.as_str()).set_tags(Some(tags.clone()));
            group.set_kms_key_id(kms_key.map(str::to_owned)).send()
        };
        self.0.call(CREATE_LOG_GROUP, at, request).await.map(drop)
    }

    async fn set_retention(&self, at: &AccountRegion, name: &LogGroupName, days: Option<u32>) -> AwsResult<()> {
        match days {
            Some(days) => {
                // The settings only allow the values of CloudWatch Logs, at most 3,653.
                let days = i32::try_from(days).unwrap_or(i32::MAX);
                let request = |client: Client| {
                    client.put_retention_policy().log_group_name(name.as_str()).retention_in_days(days).send()
                };
                self.0.call(PUT_RETENTION, at, request).await.map(drop)
            }
            None => {
                let request = |client: Client| client.delete_retention_policy().log_group_name(name.as_str()).send();
                self.0.call(DELETE_RETENTION, at, request).await.map(drop)
            }
        }
    }

    async fn associate_kms_key(&self, at: &AccountRegion, name: &LogGroupName, key: &str) -> AwsResult<()> {
        let request = |client: Client| client.associate_kms_key().log_group_name(name.as_str()).kms_key_id(key).send();
        self.0.call(ASSOCIATE_KMS_KEY, at, request).await.map(drop)
    }

    async fn put_subscription_filter(
        &self,
        at: &AccountRegion,
        group: &LogGroupName,
        filter: &SubscriptionFilter,
    ) -> AwsResult<()> {
        let request = |client: Client| {
            client
                .put_subscription_filter()
                .log_group_name(group.as_str())
                .filter_name(&filter.name)
                .filter_pattern(&filter.pattern)
                .destination_arn(&filter.destination)
                .set_role_arn(filter.role.clone())
                // The rest of its form is the default, which AWS takes where a parameter is left out. Explicit is what
                // every partition has known for long.
                .distribution(filter.form.distribution.as_str().into())
                .send()
        };
        self.0.call(PUT_FILTER, at, request).await.map(drop)
    }
}
