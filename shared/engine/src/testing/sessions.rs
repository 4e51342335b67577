//! Roles of member accounts that are taken on as long as nothing else is armed.

use std::sync::Arc;

use async_trait::async_trait;
use enroller_core::ids::AccountId;

use super::journal::Journal;
use crate::ports::{AwsResult, MemberSessions};

pub(crate) struct FakeSessions(pub(crate) Arc<Journal>);

#[async_trait]
impl MemberSessions for FakeSessions {
    async fn assume(&self, account: AccountId) -> AwsResult<()> {
        self.0.call("sts:AssumeRole", account).await
    }
}
