//! Sessions of member roles: one AssumeRole per account, whose credentials serve all Regions until shortly before they
//! expire.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_types::SdkConfig;
use enroller_core::error::{AwsError, Code, is_organization_policy};
use enroller_core::ids::{AccountId, AccountRegion, Partition, Region};
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

/// The age from which on a session that AWS rejects may be to blame. A session belongs to the role as it was: if the role
/// was deleted and created anew, or its sessions were revoked, every call of an older session is denied until it ends.
/// A younger one is denied what the role itself is denied, so a new one would not help.
const MAY_BE_STALE_AFTER: Duration = Duration::from_secs(10);

/// The most Regions whose STS is tried. STS can be switched off for a Region, by an administrator of the member account.
const STS_REGIONS: usize = 4;

/// Credentials of one member account.
pub(crate) struct Session {
    pub(crate) credentials: Credentials,
    began: SystemTime,
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
    /// STS of the home Region, then of others.
    sts: Vec<(Region, aws_sdk_sts::Client)>,
    time: Time,
    limits: Arc<Limits>,
    slots: Mutex<HashMap<AccountId, Arc<Slot>>>,
}

impl Sessions {
    /// `config` must have the central credentials. STS is called in the home Region. If it is switched off there in an
    /// account, the Region where it cannot be switched off is next, then the enrolled Regions. The endpoint of an
    /// opt-in Region would reject accounts that have not enabled it.
    pub(crate) fn new(settings: Arc<Settings>, config: &SdkConfig, time: Time, limits: Arc<Limits>) -> Self {
        let mut regions = vec![settings.home_region.clone()];
        for region in always_on(&settings).into_iter().chain(settings.regions.iter().cloned()) {
            if regions.len() < STS_REGIONS && !regions.contains(&region) {
                regions.push(region);
            }
        }
        let sts = regions.into_iter().map(|region| {
            let name = aws_types::region::Region::new(region.as_str().to_owned());
            (region, aws_sdk_sts::Client::new(&config.to_builder().region(name).build()))
        });
        Self { sts: sts.collect(), settings, time, limits, slots: Mutex::default() }
    }

    /// Whether the session may be the reason that AWS rejected a call, so that a new one might help.
    pub(crate) fn may_be_stale(&self, session: &Session, error: &AwsError) -> bool {
        match error.code {
            Code::CredentialsExpired => true,
            Code::AccessDenied if is_organization_policy(&error.message) => false,
            Code::AccessDenied | Code::CredentialsRejected => session.began + MAY_BE_STALE_AFTER <= self.time.now(),
            _ => false,
        }
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

    /// Drops a session that AWS rejects, unless it was renewed in the meantime.
    pub(crate) async fn forget(&self, account: AccountId, rejected: &Arc<Session>) {
        let slot = self.slot(account);
        let mut outcome = slot.outcome.lock().await;
        if matches!(&*outcome, Some(Ok(session)) if Arc::ptr_eq(session, rejected)) {
            *outcome = None;
        }
    }

    fn slot(&self, account: AccountId) -> Arc<Slot> {
        Arc::clone(self.slots.lock().unwrap_or_else(PoisonError::into_inner).entry(account).or_default())
    }

    async fn assume(&self, account: AccountId) -> AwsResult<Session> {
        let mut first = None;
        for (index, (region, sts)) in self.sts.iter().enumerate() {
            match self.assume_in(account, region, sts).await {
                Err(error) if error.code == Code::RegionDisabled => first = first.or(Some(error)),
                // One other Region is enough to find out whether it is STS that is in trouble, and not the Region.
                Err(error) if index == 0 && matches!(error.code, Code::NoAnswer | Code::Internal) => {
                    first = Some(error);
                }
                Err(error) if matches!(error.code, Code::NoAnswer | Code::Internal) => {
                    return Err(first.unwrap_or(error));
                }
                outcome => return outcome,
            }
        }
        let at = AccountRegion { account, region: self.settings.home_region.clone() };
        Err(first.unwrap_or_else(|| unparsable(ASSUME_ROLE.operation, &at, "no Region has STS")))
    }

    async fn assume_in(&self, account: AccountId, region: &Region, sts: &aws_sdk_sts::Client) -> AwsResult<Session> {
        let at = AccountRegion { account, region: region.clone() };
        let operation = ASSUME_ROLE.operation;
        self.limits.ready(ASSUME_ROLE, self.settings.central_account, region).await;
        let began = self.time.now();
        let request = sts.assume_role().role_arn(self.settings.member_role(account).to_string());
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
        Ok(Session { credentials, began, ends })
    }
}

/// The Region of the partition in which STS cannot be switched off (IAM user guide, "Manage AWS STS in an AWS Region").
fn always_on(settings: &Settings) -> Option<Region> {
    let region = match settings.partition() {
        Partition::Aws => "us-east-1",
        Partition::AwsCn => "cn-north-1",
        Partition::AwsUsGov => "us-gov-west-1",
        Partition::AwsEusc => "eusc-de-east-1",
    };
    region.parse().ok()
}
