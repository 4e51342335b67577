//! For tests: AWS's responses from a closure, and a time that advances only by sleeping.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_sts::config::IdentityCache;
use aws_smithy_async::rt::sleep::{AsyncSleep, Sleep};
use aws_smithy_async::time::TimeSource;
use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_types::body::SdkBody;
use aws_types::SdkConfig;
use enroller_core::ids::AccountRegion;
use enroller_core::settings::Settings;
use enroller_engine::ports::Ports;

use crate::clock::Time;
use crate::connection::Connection;
use crate::limits::RateLimits;

pub(crate) const CENTRAL: &str = "111122223333";
pub(crate) const MEMBER: &str = "444455556666";

/// A time that stands still except for sleeping, which advances it at once.
#[derive(Debug, Clone)]
pub(crate) struct FakeTime {
    start: SystemTime,
    slept: Arc<Mutex<Duration>>,
}

impl FakeTime {
    pub(crate) fn at_seconds(seconds: u64) -> Self {
        Self { start: UNIX_EPOCH + Duration::from_secs(seconds), slept: Arc::default() }
    }

    pub(crate) fn time(&self) -> Time {
        Time::new(self.clone(), self.clone())
    }

    pub(crate) fn elapsed(&self) -> Duration {
        *self.slept.lock().unwrap()
    }

    pub(crate) fn advance(&self, duration: Duration) {
        *self.slept.lock().unwrap() += duration;
    }
}

impl TimeSource for FakeTime {
    fn now(&self) -> SystemTime {
        self.start + self.elapsed()
    }
}

impl AsyncSleep for FakeTime {
    fn sleep(&self, duration: Duration) -> Sleep {
        let time = self.clone();
        Sleep::new(async move {
            time.advance(duration);
            tokio::task::yield_now().await;
        })
    }
}

/// One request as AWS would see it.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// The operation's name: `DescribeVpcs`.
    pub(crate) operation: String,
    /// The Region of the host or, for a custom endpoint, of the signature.
    pub(crate) region: String,
    pub(crate) uri: String,
    /// The access key that signed the request.
    pub(crate) access_key: String,
    /// The body: JSON or a form.
    pub(crate) body: String,
}

impl Request {
    fn read(request: &HttpRequest) -> Self {
        let header = |name| request.headers().get(name).unwrap_or_default().to_owned();
        let body = String::from_utf8(request.body().bytes().unwrap_or_default().to_vec()).unwrap();
        let action = body.split('&').find_map(|part| part.strip_prefix("Action="));
        let target = header("x-amz-target");
        let operation = action.or_else(|| target.split('.').next_back()).unwrap_or_default().to_owned();
        // Credential=AKIA…/20240101/eu-west-1/ec2/aws4_request
        let signature = header("authorization");
        let mut scope = signature.split("Credential=").nth(1).unwrap_or_default().split('/');
        let access_key = scope.next().unwrap_or_default().to_owned();
        let region = scope.nth(1).unwrap_or_default().to_owned();
        Self { operation, region, uri: request.uri().to_owned(), access_key, body }
    }

    /// One parameter of a form, decoded.
    pub(crate) fn parameter(&self, name: &str) -> Option<String> {
        let value = self.body.split('&').find_map(|part| part.strip_prefix(&format!("{name}=")))?;
        Some(percent_encoding::percent_decode_str(value).decode_utf8().unwrap().into_owned())
    }

    /// One member of a JSON body.
    pub(crate) fn member(&self, name: &str) -> serde_json::Value {
        serde_json::from_str::<serde_json::Value>(&self.body).unwrap()[name].clone()
    }
}

type Answer = dyn Fn(&Request) -> (u16, String) + Send + Sync;

/// A fake of AWS that responds from a closure and records its requests.
#[derive(Clone)]
pub(crate) struct FakeAws {
    answer: Arc<Answer>,
    requests: Arc<Mutex<Vec<Request>>>,
    pub(crate) time: FakeTime,
}

impl fmt::Debug for FakeAws {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FakeAws")
    }
}

impl HttpConnector for FakeAws {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let fake = self.clone();
        HttpConnectorFuture::new(async move {
            // Lets other tasks send requests in the meantime, as a network would.
            tokio::task::yield_now().await;
            let request = Request::read(&request);
            let (status, body) = (fake.answer)(&request);
            fake.requests.lock().unwrap().push(request);
            let mut response = HttpResponse::new(status.try_into().unwrap(), SdkBody::from(body));
            response.headers_mut().insert("x-amzn-requestid", "request-1");
            Ok(response)
        })
    }
}

impl FakeAws {
    /// Responds to AssumeRole itself, with one hour, and to everything else with `answer`.
    pub(crate) fn answering(answer: impl Fn(&Request) -> (u16, String) + Send + Sync + 'static) -> Self {
        Self::behind_us(0, answer)
    }

    /// Like [`Self::answering`], with AWS's clock this many seconds behind the client's. The end of sessions follows
    /// AWS's clock.
    pub(crate) fn behind_us(seconds: u64, answer: impl Fn(&Request) -> (u16, String) + Send + Sync + 'static) -> Self {
        let time = FakeTime::at_seconds(1_700_000_000);
        let clock = time.time();
        let answer = move |request: &Request| match request.operation.as_str() {
            "AssumeRole" => match answer(request) {
                (200, _) => (200, session(clock.since_epoch().as_secs() + 3_600 - seconds)),
                refusal => refusal,
            },
            _ => answer(request),
        };
        Self { answer: Arc::new(answer), requests: Arc::default(), time }
    }

    pub(crate) fn config(&self) -> SdkConfig {
        let connector = SharedHttpConnector::new(self.clone());
        SdkConfig::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::from_static("ap-south-1"))
            .credentials_provider(SharedCredentialsProvider::new(Credentials::new(
                "CENTRALKEY",
                "s",
                None,
                None,
                "test",
            )))
            .http_client(http_client_fn(move |_, _| connector.clone()))
            .time_source(self.time.clone())
            .sleep_impl(self.time.clone())
            .retry_config(RetryConfig::disabled())
            .timeout_config(TimeoutConfig::disabled())
            .identity_cache(IdentityCache::no_cache())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .build()
    }

    pub(crate) fn ports(&self) -> Ports {
        self.connection().ports()
    }

    pub(crate) fn connection(&self) -> Connection {
        Connection::from_config(settings(), self.config(), RateLimits::Unlimited)
    }

    /// The requests of an operation.
    pub(crate) fn asked(&self, operation: &str) -> Vec<Request> {
        let requests = self.requests.lock().unwrap();
        requests.iter().filter(|request| request.operation == operation).cloned().collect()
    }
}

/// Each session has its own key, so that tests see which one signed.
fn session(expires: u64) -> String {
    let expires = aws_smithy_types::DateTime::from_secs(i64::try_from(expires).unwrap());
    let stamp = expires.fmt(aws_smithy_types::date_time::Format::DateTime).unwrap();
    let key: String = stamp.chars().filter(char::is_ascii_digit).collect();
    format!(
        "<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>MEMBER{key}</AccessKeyId>\
         <SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken><Expiration>{stamp}</Expiration>\
         </Credentials></AssumeRoleResult></AssumeRoleResponse>"
    )
}

/// An error in EC2's format.
pub(crate) fn ec2_error(status: u16, code: &str, message: &str) -> (u16, String) {
    let error = format!("<Error><Code>{code}</Code><Message>{message}</Message></Error>");
    (status, format!("<Response><Errors>{error}</Errors><RequestID>r</RequestID></Response>"))
}

/// An error in the format of STS and IAM.
pub(crate) fn query_error(status: u16, code: &str, message: &str) -> (u16, String) {
    let error = format!("<Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>");
    (status, format!("<ErrorResponse>{error}<RequestId>r</RequestId></ErrorResponse>"))
}

/// An error in the format of the JSON services.
pub(crate) fn json_error(code: &str, message: &str) -> (u16, String) {
    (400, serde_json::json!({ "__type": code, "message": message }).to_string())
}

pub(crate) fn settings() -> Arc<Settings> {
    let values = BTreeMap::from([
        ("central_account", CENTRAL),
        ("organization_id", "o-exampleorg1"),
        ("home_region", "eu-west-1"),
        ("regions", "eu-west-1,us-east-1"),
        ("external_id", "extern-1"),
    ]);
    Arc::new(Settings::from_lookup(|key| values.get(key).map(|value| (*value).to_owned())).unwrap())
}

pub(crate) fn at() -> AccountRegion {
    AccountRegion { account: MEMBER.parse().unwrap(), region: "us-east-1".parse().unwrap() }
}
