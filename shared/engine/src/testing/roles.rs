//! Roles with their inline policies.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use enroller_core::error::AwsError;
use enroller_core::ids::AccountId;
use enroller_core::names::RoleName;
use enroller_core::settings::Tag;
use serde_json::Value;

use super::journal::Journal;
use crate::ports::{AwsResult, Role, Roles};

type Key = (AccountId, RoleName);

pub(crate) struct FakeRoles {
    pub(crate) journal: Arc<Journal>,
    pub(crate) roles: Mutex<BTreeMap<Key, Role>>,
    pub(crate) policies: Mutex<BTreeMap<(Key, String), Value>>,
}

impl FakeRoles {
    pub(crate) fn new(journal: &Arc<Journal>) -> Self {
        Self { journal: Arc::clone(journal), roles: Mutex::default(), policies: Mutex::default() }
    }
}

#[async_trait]
impl Roles for FakeRoles {
    async fn role(&self, account: AccountId, name: &RoleName) -> AwsResult<Option<Role>> {
        self.journal.call("iam:GetRole", account).await?;
        Ok(self.roles.lock().unwrap().get(&(account, name.clone())).cloned())
    }

    async fn inline_policy(&self, account: AccountId, role: &RoleName, policy: &str) -> AwsResult<Option<Value>> {
        self.journal.call("iam:GetRolePolicy", account).await?;
        Ok(self.policies.lock().unwrap().get(&((account, role.clone()), policy.to_owned())).cloned())
    }

    async fn create_role(&self, account: AccountId, name: &RoleName, trust: &Value, tags: &[Tag]) -> AwsResult<()> {
        self.journal.call("iam:CreateRole", account).await?;
        let mut roles = self.roles.lock().unwrap();
        if roles.contains_key(&(account, name.clone())) {
            return Err(AwsError::answered("iam:CreateRole", "EntityAlreadyExists", "as AWS does"));
        }
        let tags = tags.iter().map(|tag| (tag.key.clone(), tag.value.clone())).collect();
        roles.insert((account, name.clone()), Role { trust: trust.clone(), tags });
        Ok(())
    }

    async fn set_trust(&self, account: AccountId, name: &RoleName, trust: &Value) -> AwsResult<()> {
        self.journal.call("iam:UpdateAssumeRolePolicy", account).await?;
        self.roles.lock().unwrap().get_mut(&(account, name.clone())).unwrap().trust = trust.clone();
        Ok(())
    }

    async fn put_inline_policy(
        &self,
        account: AccountId,
        role: &RoleName,
        policy: &str,
        document: &Value,
    ) -> AwsResult<()> {
        self.journal.call("iam:PutRolePolicy", account).await?;
        let key = ((account, role.clone()), policy.to_owned());
        self.policies.lock().unwrap().insert(key, document.clone());
        Ok(())
    }
}
