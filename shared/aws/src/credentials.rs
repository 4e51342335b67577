//! Sessions of member roles: one AssumeRole per account, whose credentials serve all Regions until shortly before they
//! expire.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use enroller_core::ids::{AccountId, AccountRegion};
use enroller_core::settings::Settings;
use enroller_engine::ports::AwsResult;

use crate::clock::Time;
use crate::errors::{aws_error, unparsable};
use crate::limits::{ASSUME_ROLE, Limits};

#[cfg(test)]
mod tests;

/// The session name, by which CloudTrail in member accounts shows the caller.
const SESSION_NAME: &str = "vpc-flow-logs-enroller";

/// The seconds a session lasts. Assuming a role from a role, such as a function's, is limited to one hour (IAM user
/// guide, "Roles terms and concepts", role chaining).
const SESSION_SECONDS: i32 = 3_600;

/// How long before their end sessions are renewed, so that credentials do not expire during a call.
const RENEW_BEFORE_END: Duration = Duration::from_secs(300);

/// Credentials of one member account.
pub(crate) struct Session {
    pub(crate) credentials: Credentials,
    ends: SystemTime,
}

/// One account's session, and how its callers share one attempt to get it.
#[derive(Default)]
struct Slot {
    /// The number of attempts that have ended. A caller that read a lower number before it waited has waited for the
    /// last one, and uses its outcome, success or failure.
    attempts: AtomicU64,
    outcome: tokio::sync::Mutex<Option<AwsResult<Arc<Session>>>>,
}

/// The sessions of all accounts.
pub(crate) struct Sessions {
    settings: Arc<Settings>,
    sts: aws_sdk_sts::Client,
    time: Time,
    limits: Arc<Limits>,
    slots: Mutex<HashMap<AccountId, Arc<Slot>>>,
}

impl Sessions {
    /// `sts` must call STS in the home Region with the central credentials: the endpoint of an opt-in Region would
    /// reject accounts that have not enabled it.
    pub(crate) fn new(settings: Arc<Settings>, sts: aws_sdk_sts::Client, time: Time, limits: Arc<Limits>) -> Self {
        Self { settings, sts, time, limits, slots: Mutex::default() }
    }

    /// Returns a session for the account. Assumes the role if there is none or it expires soon. Concurrent callers
    /// share one call.
    pub(crate) async fn of(&self, account: AccountId) -> AwsResult<Arc<Session>> {
        let slot = self.slot(account);
        let seen = slot.attempts.load(Ordering::Acquire);
        let mut outcome = slot.outcome.lock().await;
        let waited_for_it = slot.attempts.load(Ordering::Acquire) != seen;
        match &*outcome {
            Some(Ok(session)) if waited_for_it || self.time.now() + RENEW_BEFORE_END < session.ends => {
                return Ok(Arc::clone(session));
            }
            Some(Err(error)) if waited_for_it => return Err(error.clone()),
            Some(_) | None => {}
        }
        let assumed = self.assume(account).await.map(Arc::new);
        slot.attempts.fetch_add(1, Ordering::Release);
        *outcome = Some(assumed.clone());
        assumed
    }

    /// Drops a session that AWS reports as expired, unless it was renewed in the meantime.
    pub(crate) async fn forget(&self, account: AccountId, expired: &Arc<Session>) {
        let slot = self.slot(account);
        let mut outcome = slot.outcome.lock().await;
        if matches!(&*outcome, Some(Ok(session)) if Arc::ptr_eq(session, expired)) {
            *outcome = None;
        }
    }

    fn slot(&self, account: AccountId) -> Arc<Slot> {
        Arc::clone(self.slots.lock().unwrap_or_else(PoisonError::into_inner).entry(account).or_default())
    }

    async fn assume(&self, account: AccountId) -> AwsResult<Session> {
        let home = &self.settings.home_region;
        let at = AccountRegion { account, region: home.clone() };
        let operation = ASSUME_ROLE.operation;
        self.limits.ready(ASSUME_ROLE, self.settings.central_account, home).await;
        let request = self.sts.assume_role().role_arn(self.settings.member_role(account).to_string());
        let answer = request
            .role_session_name(SESSION_NAME)
            .duration_seconds(SESSION_SECONDS)
            .set_external_id(self.settings.external_id.clone())
            .send()
            .await
            .map_err(|error| aws_error(operation, &at, error))?;
        let given =
            answer.credentials().ok_or_else(|| unparsable(operation, &at, "the response has no credentials"))?;
        let ends = SystemTime::try_from(*given.expiration())
            .map_err(|error| unparsable(operation, &at, format!("expiration {}: {error}", given.expiration())))?;
        let token = Some(given.session_token().to_owned());
        let credentials =
            Credentials::new(given.access_key_id(), given.secret_access_key(), token, Some(ends), "MemberRole");
        Ok(Session { credentials, ends })
    }
}
