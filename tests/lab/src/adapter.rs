//! The real AWS SDK and the real adapters on a simulated AWS, in process and on virtual time.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::future::ProvideCredentials as ProvideFuture;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_sdk_ec2::config::{BehaviorVersion, IdentityCache, StalledStreamProtectionConfig};
use aws_smithy_async::rt::sleep::{AsyncSleep, SharedAsyncSleep, Sleep};
use aws_smithy_async::time::TimeSource;
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;
use aws_types::SdkConfig;
use aws_types::region::Region;
use enroller_aws::{Connection, RateLimits};
use enroller_core::settings::Settings;
use enroller_engine::ports::{Clock, Ports};
use enroller_sim::Sim;

use crate::timers::Timers;

/// How long a role's session lasts.
const SESSION: Duration = Duration::from_secs(3_600);

/// A session is renewed this long before it expires.
const RENEW: Duration = Duration::from_secs(300);

/// The simulated AWS's clock for the SDK.
#[derive(Clone, Debug)]
pub(crate) struct SimTime {
    pub(crate) sim: Sim,
    /// The timers of the installation. Where nobody drives them, a sleep moves the clock itself.
    pub(crate) timers: Timers,
}

impl TimeSource for SimTime {
    fn now(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(self.sim.now_ms())
    }
}

/// Waiting costs no wall time: the virtual clock is moved on instead.
impl AsyncSleep for SimTime {
    fn sleep(&self, duration: Duration) -> Sleep {
        let (time, ms) = (self.clone(), u64::try_from(duration.as_millis()).unwrap_or(u64::MAX));
        Sleep::new(async move {
            match time.timers.are_driven() {
                true => time.timers.until(&time.sim, time.sim.now_ms().saturating_add(ms)).await,
                false => time.sim.advance(ms),
            }
        })
    }
}

#[async_trait]
impl Clock for SimTime {
    fn now_ms(&self) -> u64 {
        self.sim.now_ms()
    }

    /// Where nobody drives the timers, it returns only if the time has passed already: calls in process are answered at
    /// once, so no call has to be abandoned.
    async fn sleep_until(&self, at_ms: u64) {
        if self.timers.are_driven() {
            return self.timers.until(&self.sim, at_ms).await;
        }
        if self.sim.now_ms() < at_ms {
            std::future::pending::<()>().await;
        }
    }
}

/// Credentials of a role of the central account, renewed like those of a running function.
#[derive(Debug)]
struct RoleCredentials {
    sim: Sim,
    account: String,
    role: String,
    /// The current session, renewed [`RENEW`] before it expires.
    current: Mutex<Option<Credentials>>,
}

impl ProvideCredentials for RoleCredentials {
    fn provide_credentials<'a>(&'a self) -> ProvideFuture<'a>
    where
        Self: 'a,
    {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let soon = UNIX_EPOCH + Duration::from_millis(self.sim.now_ms()) + RENEW;
        if let Some(credentials) = current.as_ref().filter(|it| it.expiry().is_some_and(|expiry| expiry > soon)) {
            return ProvideFuture::ready(Ok(credentials.clone()));
        }
        let Some(session) = self.sim.role_session(&self.account, &self.role, "function") else {
            return ProvideFuture::ready(Err(CredentialsError::not_loaded(format!(
                "role {} does not exist",
                self.role
            ))));
        };
        let expires = UNIX_EPOCH + Duration::from_millis(self.sim.now_ms()) + SESSION;
        let credentials = credentials_of(session, Some(expires));
        *current = Some(credentials.clone());
        ProvideFuture::ready(Ok(credentials))
    }
}

fn credentials_of(given: enroller_sim::Credentials, expires: Option<SystemTime>) -> Credentials {
    Credentials::new(given.access_key_id, given.secret_access_key, given.session_token, expires, "simulated")
}

/// The principal as which the SDK calls.
#[derive(Clone, Copy, Debug)]
pub enum As<'a> {
    /// The account itself, which may do everything in it.
    Account(&'a str),
    /// A role of an account, in sessions of an hour.
    Role(&'a str, &'a str),
}

/// Attempts of one call, the first included, as in the functions.
pub(crate) const ATTEMPTS: u32 = 4;

/// A configuration of the SDK that reaches the simulated AWS.
pub fn sdk_config(sim: &Sim, home_region: &str, who: As<'_>) -> SdkConfig {
    sdk_config_trying(sim, home_region, who, ATTEMPTS, None)
}

fn sdk_config_trying(sim: &Sim, home_region: &str, who: As<'_>, attempts: u32, timers: Option<&Timers>) -> SdkConfig {
    let time = SimTime { sim: sim.clone(), timers: timers.cloned().unwrap_or_default() };

    let provider = match who {
        As::Account(account) => SharedCredentialsProvider::new(credentials_of(sim.credentials_of(account), None)),
        As::Role(account, role) => SharedCredentialsProvider::new(RoleCredentials {
            sim: sim.clone(),
            account: account.to_owned(),
            role: role.to_owned(),
            current: Mutex::default(),
        }),
    };
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new(home_region.to_owned()))
        .credentials_provider(provider)
        .http_client(sim.http_client())
        .time_source(time.clone())
        .sleep_impl(SharedAsyncSleep::new(time))
        .retry_config(RetryConfig::standard().with_max_attempts(attempts))
        // Where nobody drives the timers, every timeout would fire at once and every call would move the clock.
        .timeout_config(TimeoutConfig::disabled())
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .identity_cache(IdentityCache::no_cache())
        .build()
}

/// The engine's ports on a simulated AWS, through the real adapters.
pub fn ports_on(sim: &Sim, settings: &Settings, who: As<'_>) -> Ports {
    connection_on(sim, settings, who).ports()
}

/// The real adapters on a simulated AWS.
pub fn connection_on(sim: &Sim, settings: &Settings, who: As<'_>) -> Connection {
    connection_trying(sim, settings, who, ATTEMPTS, None)
}

/// Like [`connection_on`], with this number of attempts of each call. With timers, which somebody must drive, calls time
/// out as those of the functions do.
pub(crate) fn connection_trying(
    sim: &Sim,
    settings: &Settings,
    who: As<'_>,
    attempts: u32,
    timers: Option<&Timers>,
) -> Connection {
    let config = sdk_config_trying(sim, settings.home_region.as_str(), who, attempts, timers);
    let connect = match timers {
        Some(_) => Connection::from_config_with_timeouts,
        None => Connection::from_config,
    };
    connect(Arc::new(settings.clone()), config, RateLimits::Unlimited)
}
