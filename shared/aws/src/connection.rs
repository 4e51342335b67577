//! A process's connection to AWS.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, ConfigLoader, Region};
use aws_smithy_async::rt::sleep::{SharedAsyncSleep, TokioSleep};
use aws_smithy_http_client::Builder as HttpClientBuilder;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use aws_types::SdkConfig;
use enroller_core::ids::AccountId;
use enroller_core::settings::Settings;
use enroller_engine::doctor::ports::DoctorPorts;
use enroller_engine::granter::DestinationWriter;
use enroller_engine::ports::{AwsResult, MemberSessions, Ports};
use tokio::sync::Semaphore;

use crate::calls::{CALL_TIMEOUT, Link, MAX_CALLS_IN_PROGRESS};
use crate::clock::Time;
use crate::credentials::Sessions;
use crate::destinations::CentralDestinations;
use crate::doctor::doctor_ports;
use crate::ec2::Ec2;
use crate::functions::Deployed;
use crate::limits::{Limits, RateLimits};
use crate::logs::LogGroups;
use crate::organization::Organizations;
use crate::queues::Sqs;
use crate::roles::Iam;
#[cfg(feature = "operator")]
use crate::sign_in::{CredentialSource, SignInError, sign_in};

#[cfg(test)]
mod tests;

/// The number of attempts of a call, including the first, before its error is returned. A message whose calls are still
/// throttled then returns to the queue: waiting there costs nothing, unlike in a running function.
const ATTEMPTS: u32 = 4;

/// The timeout of one attempt. CreateFlowLogs for 300 VPCs is the slowest call.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(30);

/// The timeout of one attempt of a call that only reads. AWS documents none, so this is a choice: a page that takes longer
/// than that can never be read.
const READ_ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);

/// The timeout of a call that only reads, with all its attempts. A Region that does not answer must not hold up a batch
/// of other accounts and Regions, and what is not read now is read when the message comes back.
const READ_TIMEOUT: Duration = Duration::from_secs(20);

/// Everything needed to call AWS. Cloning is cheap, and clones share credentials and rate limits.
#[derive(Clone)]
pub struct Connection(pub(crate) Arc<Link>);

impl Connection {
    /// Connects with the environment's credentials, profiles, `AWS_ENDPOINT_URL` and `AWS_ENDPOINT_URL_<SERVICE>`.
    /// Endpoints apply in member accounts, too. The Region is the home Region, whatever the environment names. This
    /// makes no AWS call itself, but finding credentials may.
    pub async fn connect(settings: Arc<Settings>) -> Self {
        let client = http_client(idle_per_host(settings.regions.len()));
        let config = loader(&settings).http_client(client).load().await;
        Self::connected(settings, config)
    }

    /// Connects as a person does: with the credentials of a profile or of what else the AWS CLI would take, through a
    /// proxy, and with the certificates of `AWS_CA_BUNDLE`. Gets the credentials, and tells where they come from.
    ///
    /// # Errors
    ///
    /// There are none, in the words of the AWS CLI.
    #[cfg(feature = "operator")]
    pub async fn sign_in(
        settings: Arc<Settings>,
        profile: Option<&str>,
    ) -> Result<(Self, CredentialSource), SignInError> {
        let idle = idle_per_host(settings.regions.len());
        let (config, source) = sign_in(loader(&settings), home(&settings), idle, profile).await?;
        Ok((Self::connected(settings, config), source))
    }

    fn connected(settings: Arc<Settings>, config: SdkConfig) -> Self {
        let read_timeouts = timeouts(READ_ATTEMPT_TIMEOUT, READ_TIMEOUT);
        Self::build(settings, config, RateLimits::Documented, Time::monotonic(), Some(read_timeouts))
    }

    /// Connects with a given configuration: the HTTP client, the credentials of the central functions, endpoints,
    /// retries, timeouts, and the time and sleep, which rate limits and the renewal of credentials use, too. The Region
    /// is the home Region, whatever the configuration names.
    ///
    /// An HTTP client must be set, because none is built in. With a simulated sleep, everything that the SDK times with
    /// it must be off: timeouts, stalled stream protection and, with `IdentityCache::no_cache()`, the loading of
    /// credentials. Otherwise it ends before any response arrives, and advances the time.
    pub fn from_config(settings: Arc<Settings>, config: SdkConfig, limits: RateLimits) -> Self {
        let time = time_of(&config);
        Self::build(settings, config, limits, time, None)
    }

    /// Like [`Connection::from_config`], with the timeouts of [`Connection::connect`]. The sleep of the configuration
    /// must then end when its time has come, and not before.
    pub fn from_config_with_timeouts(settings: Arc<Settings>, config: SdkConfig, limits: RateLimits) -> Self {
        let time = time_of(&config);
        let config = config.into_builder().timeout_config(timeouts(ATTEMPT_TIMEOUT, CALL_TIMEOUT)).build();
        Self::build(settings, config, limits, time, Some(timeouts(READ_ATTEMPT_TIMEOUT, READ_TIMEOUT)))
    }

    fn build(
        settings: Arc<Settings>,
        config: SdkConfig,
        limits: RateLimits,
        limits_time: Time,
        read_timeouts: Option<TimeoutConfig>,
    ) -> Self {
        let config = config.into_builder().region(home(&settings)).build();
        let limits = Arc::new(Limits::new(limits, limits_time));
        // Assuming a role changes nothing, so it is given up as early as a call that reads.
        let mut sts = config.to_builder();
        sts.set_timeout_config(read_timeouts.clone().or_else(|| config.timeout_config().cloned()));
        let sessions = Sessions::new(Arc::clone(&settings), &sts.build(), time_of(&config), Arc::clone(&limits));
        let in_progress = Semaphore::new(MAX_CALLS_IN_PROGRESS);
        Self(Arc::new(Link { settings, config, sessions, limits, read_timeouts, in_progress }))
    }

    /// The ports that workers share. Each call makes new ones with clients of their own: call it once.
    pub fn ports(&self) -> Ports {
        let link = &self.0;
        Ports {
            sessions: Arc::new(Members(Arc::clone(link))),
            ec2: Arc::new(Ec2::new(link)),
            logs: Arc::new(LogGroups::new(link)),
            roles: Arc::new(Iam::new(link)),
            destinations: Arc::new(CentralDestinations::new(link)),
            organization: Arc::new(Organizations::new(link)),
            queues: Arc::new(Sqs::new(link)),
        }
    }

    /// The port that writes destinations, for the granter.
    pub fn destination_writer(&self) -> Arc<dyn DestinationWriter> {
        Arc::new(CentralDestinations::new(&self.0))
    }

    /// The deployed functions and their queues.
    pub fn deployed(&self) -> Deployed {
        Deployed::new(&self.0)
    }

    /// The ports of the doctor, which share sessions and rate limits with the others.
    pub fn doctor_ports(&self) -> DoctorPorts {
        doctor_ports(&self.0)
    }
}

fn home(settings: &Settings) -> Region {
    Region::new(settings.home_region.as_str().to_owned())
}

/// What every connection to the real AWS has in common.
fn loader(settings: &Settings) -> ConfigLoader {
    // Pinned, so that an update of the SDK does not change how it retries.
    aws_config::defaults(BehaviorVersion::v2026_01_12())
        .region(home(settings))
        .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS))
        .timeout_config(timeouts(ATTEMPT_TIMEOUT, CALL_TIMEOUT))
}

fn timeouts(attempt: Duration, call: Duration) -> TimeoutConfig {
    TimeoutConfig::builder().operation_attempt_timeout(attempt).operation_timeout(call).build()
}

/// The HTTP client, whose connections all accounts and Regions share. The SDK would otherwise create one for each
/// client, and it cannot here, because its default TLS is left out of the build.
fn http_client(idle_per_host: usize) -> SharedHttpClient {
    let client = HttpClientBuilder::new().pool_max_idle_per_host(idle_per_host);
    client.tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https()
}

/// The number of open files, connections included, that Lambda allows a function (Lambda developer guide, "Lambda
/// quotas").
const MAX_FILES: usize = 1_024;

/// Files that are not connections to AWS: standard streams, the runtime API, the binary.
const OTHER_FILES: usize = 64;

/// The hosts of the home Region: IAM, STS, SQS and Organizations, and STS of other Regions.
const HOME_HOSTS: usize = 8;

/// How many idle connections are kept to each host. EC2 and CloudWatch Logs have one host in each Region. With the calls
/// in progress, all of them together stay below the number of open files.
fn idle_per_host(regions: usize) -> usize {
    let hosts = 2 * regions + HOME_HOSTS;
    ((MAX_FILES - OTHER_FILES - MAX_CALLS_IN_PROGRESS) / hosts).clamp(1, 64)
}

fn time_of(config: &SdkConfig) -> Time {
    let sleep = config.sleep_impl().unwrap_or_else(|| SharedAsyncSleep::new(TokioSleep::new()));
    Time::new(config.time_source().unwrap_or_default(), sleep)
}

struct Members(Arc<Link>);

#[async_trait]
impl MemberSessions for Members {
    async fn assume(&self, account: AccountId) -> AwsResult<()> {
        self.0.sessions.of(account).await.map(drop)
    }
}
