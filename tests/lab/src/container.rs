//! The real function binaries as processes, on the simulated AWS over HTTP and a Runtime API of their own.
//!
//! Time is the wall clock's, because the processes have no other. The simulated AWS may run ahead of it, which the
//! processes do not notice.

mod process;

use std::io;
use std::net::SocketAddr;
use std::process::ExitStatus;
use std::sync::Arc;

use enroller_core::metrics::Metrics;
use enroller_core::settings::environment_name;
use enroller_engine::granter::GrantSync;
use enroller_sim::sqs::QueueError;
use enroller_sim::sqs::ReceivedMessage;
use enroller_sim::{Credentials, SimBuilder, server};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::task::JoinSet;

use crate::install::FUNCTION_ROLES;
use crate::lab::{Lab, LabError, LabOptions};
use crate::mapping;
use crate::runtime_api::{RuntimeApi, Said};

pub use process::{Container, Ended};

/// Time limit in milliseconds that is enough for any invocation.
pub const PLENTY_MS: u64 = 60_000;

/// Time limit in milliseconds that leaves three seconds of work, because a function stops when a quarter of its time is
/// left.
pub const LITTLE_MS: u64 = 4_000;

/// A payload that Lambda could not have sent: a record of a queue whose body is not a string.
pub const NO_BATCH: &str = r#"{"Records":[{"eventSource":"aws:sqs","body":1}]}"#;

/// A function, and its binary as Cargo built it.
#[derive(Clone, Copy, Debug)]
pub struct Program {
    /// Name of the function.
    pub function: &'static str,
    /// Path of the binary.
    pub path: &'static str,
}

/// A failure of a process or of its environment.
#[derive(Debug, thiserror::Error)]
pub enum ContainerError {
    /// The simulated installation could not be built, or one of its functions failed.
    #[error("the simulated installation failed")]
    Lab(#[from] LabError),
    /// A queue of the simulated installation does not exist, or refused a receipt handle.
    #[error("a queue of the simulated installation failed")]
    Queue(#[from] QueueError),
    /// The operating system refused something.
    #[error("the process, its files or its connections failed")]
    System(#[from] io::Error),
    /// A role is missing.
    #[error("the installation has no role for the function {0}")]
    NoRole(String),
    /// Something did not happen in time.
    #[error("timed out waiting for {0}")]
    TooLate(&'static str),
    /// The process ended unexpectedly.
    #[error("the process ended unexpectedly, {0}")]
    Ended(ExitStatus),
    /// The process made another request than expected.
    #[error("the process sent {0:?} instead of an answer to {1}")]
    OutOfTurn(Said, String),
    /// A line of its standard output is not JSON, so CloudWatch Logs could not search it.
    #[error("the process wrote a line that is not JSON: {0}")]
    NotJson(String),
    /// Its output contains a secret access key or a session token.
    #[error("the process wrote a secret into its log")]
    Secret,
}

/// An installation on a simulated AWS that serves processes over HTTP.
pub struct Host {
    /// The installation. Its own functions can work beside the processes.
    pub lab: Lab,
    aws: SocketAddr,
    _server: JoinSet<io::Result<()>>,
}

/// How an invocation ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The function's answer, or its error: `errorType` and `errorMessage`.
    pub outcome: Result<Value, Value>,
    /// Milliseconds left until the deadline, negative if it had passed.
    pub left_ms: i64,
}

impl Answer {
    /// The ids in `batchItemFailures`, sorted, or `None` if the answer has no such list.
    pub fn failures(&self) -> Option<Vec<String>> {
        let failures = self.outcome.as_ref().ok()?.get("batchItemFailures")?.as_array()?;
        let id = |failure: &Value| failure.get("itemIdentifier").and_then(Value::as_str).map(str::to_owned);
        let mut ids: Vec<String> = failures.iter().map(id).collect::<Option<_>>()?;
        ids.sort();
        Some(ids)
    }
}

/// A batch of a queue that was delivered to a process.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Messages of the batch.
    pub messages: Vec<ReceivedMessage>,
    /// Result of the invocation.
    pub answer: Answer,
}

impl Delivery {
    /// The ids of the messages whose body contains this text, sorted.
    pub fn about(&self, text: &str) -> Vec<String> {
        let messages = self.messages.iter().filter(|message| message.body.contains(text));
        let mut ids: Vec<String> = messages.map(|message| message.message_id.clone()).collect();
        ids.sort();
        ids
    }
}

impl Host {
    /// Builds an organization of this many accounts, with no VPCs but the default ones, on the wall clock's time,
    /// deploys the central stacks and serves the simulated AWS on a free port of this machine.
    ///
    /// # Errors
    ///
    /// A setting or a resource is refused, or there is no free port.
    pub async fn new(accounts: usize, regions: &[&str]) -> Result<Self, ContainerError> {
        let regions = regions.iter().map(|region| (*region).to_owned()).collect();
        let organization = SimBuilder { accounts, regions, vpcs: 0, real_time: true, ..SimBuilder::default() };
        let lab = Lab::new(&LabOptions { organization, settings: Vec::new() })?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let aws = listener.local_addr()?;
        let mut served = JoinSet::new();
        served.spawn(server::serve(listener, lab.sim.clone(), std::future::pending()));
        Ok(Self { lab, aws, _server: served })
    }

    /// Grants every account of the organization, without a word to the enroller.
    ///
    /// # Errors
    ///
    /// The settings of what destinations deliver to are missing.
    pub async fn grant_all(&self) -> Result<(), ContainerError> {
        let work = GrantSync { sync: true, ..GrantSync::default() };
        let operator = self.lab.operator(Arc::clone(&self.lab.recording) as _);
        operator.granter().map_err(LabError::Worker)?.sync(&work, &mut Metrics::default()).await;
        Ok(())
    }

    /// Receives a batch as Lambda does. All pending events are delivered first, and the clock moves to the first
    /// message.
    ///
    /// # Errors
    ///
    /// The queue does not exist.
    pub fn receive(&self, queue: &str) -> Result<Vec<ReceivedMessage>, ContainerError> {
        let (sim, url) = (&self.lab.sim, self.lab.url(queue));
        let to = |due: u64| sim.advance(due.saturating_sub(sim.now_ms()));
        while let Some(due) = sim.next_event_due_ms() {
            to(due);
        }
        if let Some(due) = sim.earliest_visible_ms(&url)? {
            to(due);
        }
        Ok(sim.receive(&url, mapping::BATCH)?)
    }

    /// The payload of the invocation that Lambda makes for a batch.
    pub fn payload(&self, queue: &str, messages: &[ReceivedMessage]) -> Value {
        let settings = &self.lab.settings;
        let arn = format!("arn:aws:sqs:{}:{}:{queue}", settings.home_region, settings.central_account);
        mapping::invocation(&self.lab.sim, &arn, messages).payload
    }

    /// Delivers one batch of a queue to a process with a time limit, and deletes the messages that it handled.
    ///
    /// # Errors
    ///
    /// See [`ContainerError`]. An error that the function returns is part of the [`Answer`].
    pub async fn deliver(
        &self,
        queue: &str,
        container: &mut Container,
        time_ms: u64,
    ) -> Result<Delivery, ContainerError> {
        let messages = self.receive(queue)?;
        let answer = container.invoke(&self.payload(queue, &messages).to_string(), time_ms).await?;
        if let Ok(response) = &answer.outcome {
            mapping::settle(&self.lab.sim, &self.lab.url(queue), &messages, response)?;
        }
        Ok(Delivery { messages, answer })
    }

    /// Starts a function's binary as Lambda starts it.
    ///
    /// # Errors
    ///
    /// The binary does not exist, or the function has no role.
    pub async fn start(&self, program: Program) -> Result<Container, ContainerError> {
        self.start_with(program, &[]).await
    }

    /// Like [`Host::start`], with `changes` to the settings of the installation; an empty value removes a setting.
    ///
    /// # Errors
    ///
    /// The binary does not exist, or the function has no role.
    pub async fn start_with(&self, program: Program, changes: &[(&str, &str)]) -> Result<Container, ContainerError> {
        let (function, central) = (program.function, self.lab.settings.central_account.to_string());
        let role = FUNCTION_ROLES.iter().find(|(name, _)| *name == function);
        let credentials = role.and_then(|(_, role)| self.lab.sim.role_session(&central, role, function));
        let credentials = credentials.ok_or_else(|| ContainerError::NoRole(function.to_owned()))?;
        let api = RuntimeApi::start().await?;
        let mut command = Command::new(program.path);
        command.env_clear().envs(self.settings()).envs(self.reserved(function, credentials, &api));
        command.envs(changes.iter().map(|(key, value)| (environment_name(key), *value)));
        let arn = format!("arn:aws:lambda:{}:{central}:function:{function}", self.lab.settings.home_region);
        Ok(Container::start(command, api, self.lab.sim.clone(), arn)?)
    }

    /// Starts a function without these settings and waits until it ends by itself.
    ///
    /// # Errors
    ///
    /// As with [`Host::start`], or the process does not end.
    pub async fn start_without(&self, program: Program, keys: &[&str]) -> Result<Ended, ContainerError> {
        let changes: Vec<(&str, &str)> = keys.iter().map(|key| (*key, "")).collect();
        self.start_with(program, &changes).await?.end().await
    }

    /// Starts a function and terminates it while it waits for its first invocation.
    ///
    /// # Errors
    ///
    /// As with [`Host::start`], or the process does not end.
    pub async fn end_while_idle(&self, program: Program) -> Result<Ended, ContainerError> {
        let mut container = self.start(program).await?;
        container.idle().await?;
        container.terminate().await
    }

    /// Delivers a batch of a queue to a process and terminates it when a fault makes one of its calls hang. The batch
    /// is not deleted.
    ///
    /// # Errors
    ///
    /// No call hangs, or the process does not end.
    pub async fn end_while_hanging(&self, queue: &str, mut container: Container) -> Result<Ended, ContainerError> {
        let batch = self.receive(queue)?;
        container.hand(&self.payload(queue, &batch).to_string(), PLENTY_MS)?;
        container.hanging().await?;
        container.terminate().await
    }

    /// The settings as the central stack passes them to its functions.
    fn settings(&self) -> Vec<(String, String)> {
        let settings = &self.lab.settings;
        let regions: Vec<String> = settings.regions.iter().map(ToString::to_string).collect();
        let text = |value: Option<String>| value.unwrap_or_default();
        [
            ("central_account", settings.central_account.to_string()),
            ("organization_id", settings.organization_id.to_string()),
            ("home_region", settings.home_region.to_string()),
            ("regions", regions.join(",")),
            ("destination_target_arn", text(settings.destination_target_arn.as_ref().map(ToString::to_string))),
            ("destination_role_arn", text(settings.destination_role_arn.as_ref().map(ToString::to_string))),
            ("external_id", text(settings.external_id.clone())),
            ("enrollments_queue_url", text(settings.enrollments_queue_url.clone())),
            ("grants_queue_url", text(settings.grants_queue_url.clone())),
            ("backfill_queue_url", text(settings.backfill_queue_url.clone())),
        ]
        .map(|(key, value)| (environment_name(key), value))
        .into()
    }

    /// Variables that Lambda sets (developer guide, "Defined runtime environment variables"), and the endpoint of the
    /// simulated AWS.
    fn reserved(&self, function: &str, credentials: Credentials, api: &RuntimeApi) -> Vec<(&'static str, String)> {
        let region = self.lab.settings.home_region.to_string();
        vec![
            ("AWS_ACCESS_KEY_ID", credentials.access_key_id),
            ("AWS_SECRET_ACCESS_KEY", credentials.secret_access_key),
            ("AWS_SESSION_TOKEN", credentials.session_token.unwrap_or_default()),
            ("AWS_REGION", region.clone()),
            ("AWS_DEFAULT_REGION", region),
            ("AWS_LAMBDA_RUNTIME_API", api.address().to_string()),
            ("AWS_LAMBDA_FUNCTION_NAME", function.to_owned()),
            ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST".to_owned()),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256".to_owned()),
            ("AWS_LAMBDA_LOG_GROUP_NAME", format!("/aws/lambda/{function}")),
            ("AWS_LAMBDA_LOG_FORMAT", "JSON".to_owned()),
            ("AWS_ENDPOINT_URL", format!("http://{}", self.aws)),
        ]
    }
}
