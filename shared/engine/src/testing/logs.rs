//! Log groups and subscription filters.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use enroller_core::error::AwsError;
use enroller_core::ids::AccountRegion;
use enroller_core::names::LogGroupName;
use enroller_core::observed::{DataProtection, LogGroup, LogGroupClass, ProtectionScope, SubscriptionFilter, Tags};
use enroller_core::settings::Tag;

use super::journal::Journal;
use crate::ports::{AwsResult, Logs};

pub(crate) struct FakeLogs {
    pub(crate) journal: Arc<Journal>,
    /// The one log group of the settings in each place, with its tags.
    pub(crate) groups: Mutex<BTreeMap<AccountRegion, LogGroup>>,
    pub(crate) filters: Mutex<BTreeMap<AccountRegion, Vec<SubscriptionFilter>>>,
}

impl FakeLogs {
    pub(crate) fn new(journal: &Arc<Journal>) -> Self {
        Self { journal: Arc::clone(journal), groups: Mutex::default(), filters: Mutex::default() }
    }

    pub(crate) fn filters_of(&self, at: &AccountRegion) -> Vec<SubscriptionFilter> {
        self.filters.lock().unwrap().get(at).cloned().unwrap_or_default()
    }

    fn change(&self, operation: &'static str, at: &AccountRegion, change: impl FnOnce(&mut LogGroup)) -> AwsResult<()> {
        match self.groups.lock().unwrap().get_mut(at) {
            Some(group) => change(group),
            None => return Err(AwsError::answered(operation, "ResourceNotFoundException", "as AWS does")),
        }
        Ok(())
    }
}

#[async_trait]
impl Logs for FakeLogs {
    async fn log_group(&self, at: &AccountRegion, _: &LogGroupName) -> AwsResult<Option<LogGroup>> {
        self.journal.call("logs:DescribeLogGroups", at).await?;
        let group = self.groups.lock().unwrap().get(at).cloned();
        let without_document = |policy: &DataProtection| DataProtection { document: None, ..policy.clone() };
        Ok(group.map(|group| {
            let protection = group.protection.iter().map(without_document).collect();
            LogGroup { tags: None, protection, ..group }
        }))
    }

    async fn log_group_tags(&self, at: &AccountRegion, _: &LogGroupName) -> AwsResult<Tags> {
        self.journal.call("logs:ListTagsForResource", at).await?;
        Ok(self.groups.lock().unwrap().get(at).and_then(|group| group.tags.clone()).unwrap_or_default())
    }

    async fn subscription_filters(&self, at: &AccountRegion, _: &LogGroupName) -> AwsResult<Vec<SubscriptionFilter>> {
        self.journal.call("logs:DescribeSubscriptionFilters", at).await?;
        let other = |group: &LogGroup| group.class != LogGroupClass::Standard;
        if self.groups.lock().unwrap().get(at).is_some_and(other) {
            let message = "This operation is only supported on the Standard log class";
            return Err(AwsError::answered("logs:DescribeSubscriptionFilters", "ValidationException", message));
        }
        Ok(self.filters_of(at))
    }

    async fn data_protection(
        &self,
        at: &AccountRegion,
        _: &LogGroupName,
        scope: ProtectionScope,
    ) -> AwsResult<Option<String>> {
        match scope {
            ProtectionScope::LogGroup => self.journal.call("logs:GetDataProtectionPolicy", at).await?,
            ProtectionScope::Account => self.journal.call("logs:DescribeAccountPolicies", at).await?,
        }
        let groups = self.groups.lock().unwrap();
        let policies = groups.get(at).into_iter().flat_map(|group| &group.protection);
        Ok(policies.clone().find(|policy| policy.scope == scope).and_then(|policy| policy.document.clone()))
    }

    async fn create_log_group(
        &self,
        at: &AccountRegion,
        _: &LogGroupName,
        kms_key: Option<&str>,
        tags: &[Tag],
    ) -> AwsResult<()> {
        self.journal.call("logs:CreateLogGroup", at).await?;
        let mut groups = self.groups.lock().unwrap();
        if groups.contains_key(at) {
            let code = "ResourceAlreadyExistsException";
            return Err(AwsError::answered("logs:CreateLogGroup", code, "as AWS does"));
        }
        let (kms_key, class) = (kms_key.map(ToOwned::to_owned), LogGroupClass::Standard);
        let tags = Some(tags.iter().map(|tag| (tag.key.clone(), tag.value.clone())).collect());
        let (retention_days, retention_policy, created_ms) = (None, None, Some(self.journal.now_ms()));
        groups.insert(
            at.clone(),
            LogGroup { retention_days, retention_policy, kms_key, class, created_ms, protection: Vec::new(), tags },
        );
        Ok(())
    }

    async fn set_retention(&self, at: &AccountRegion, _: &LogGroupName, days: Option<u32>) -> AwsResult<()> {
        self.journal.call("logs:PutRetentionPolicy", at).await?;
        self.change("logs:PutRetentionPolicy", at, |group| group.retention_days = days)
    }

    async fn associate_kms_key(&self, at: &AccountRegion, _: &LogGroupName, key: &str) -> AwsResult<()> {
        self.journal.call("logs:AssociateKmsKey", at).await?;
        self.change("logs:AssociateKmsKey", at, |group| group.kms_key = Some(key.to_owned()))
    }

    async fn put_subscription_filter(
        &self,
        at: &AccountRegion,
        _: &LogGroupName,
        filter: &SubscriptionFilter,
    ) -> AwsResult<()> {
        self.journal.call("logs:PutSubscriptionFilter", at).await?;
        self.change("logs:PutSubscriptionFilter", at, |_| {})?;
        let mut filters = self.filters.lock().unwrap();
        let here = filters.entry(at.clone()).or_default();
        here.retain(|it| it.name != filter.name);
        here.push(filter.clone());
        Ok(())
    }
}
