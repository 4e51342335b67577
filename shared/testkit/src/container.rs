//! The real function binaries as processes, on the simulated AWS over HTTP and a Runtime API of their own.
//!
//! Time is the wall clock's: the processes know no other. The simulated AWS may run ahead of it, which they do not
//! notice.

use std::io;
use std::net::SocketAddr;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use enroller_core::report::Metrics;
use enroller_core::settings::environment_name;
use enroller_engine::onboard::GrantWork;
use enroller_sim::sqs::QueueError;
use enroller_sim::sqs_queue::ReceivedMessage;
use enroller_sim::{Credentials, Sim, server};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::task::{JoinHandle, JoinSet};

use crate::install::FUNCTION_ROLES;
use crate::lab::{Lab, LabError, LabOptions};
use crate::mapping;
use crate::runtime_api::{Invocation, RuntimeApi, Said};

/// Longer than anything here takes on a busy machine. What is waited for this long does not come.
const PATIENCE: Duration = Duration::from_secs(20);

/// How often something is looked for that nobody tells of.
const LOOK: Duration = Duration::from_millis(5);

/// What went wrong with a process, or around it.
#[derive(Debug, thiserror::Error)]
pub enum ContainerError {
    /// The installation failed.
    #[error("the simulated installation failed")]
    Lab(#[from] LabError),
    /// A queue failed.
    #[error("a queue of the simulated installation failed")]
    Queue(#[from] QueueError),
    /// The operating system refused something.
    #[error("the process, its files or its connections failed")]
    System(#[from] io::Error),
    /// A role is missing.
    #[error("the installation has no role for the function {0}")]
    NoRole(String),
    /// Something did not come.
    #[error("waited in vain for {0}")]
    TooLate(&'static str),
    /// The process ended where it should not.
    #[error("the process ended by itself, {0}")]
    Ended(ExitStatus),
    /// It did what nobody asked for.
    #[error("the process said {0:?} instead of an answer to {1}")]
    OutOfTurn(Said, String),
    /// What it wrote to standard output is not JSON, so that CloudWatch Logs could not search it.
    #[error("the process wrote a line that is no JSON: {0}")]
    NotJson(String),
    /// A secret access key or session token is in what it wrote.
    #[error("the process wrote a secret into its log")]
    Secret,
}

/// An installation on a simulated AWS that answers processes.
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
    /// Milliseconds that were left until the deadline; negative when it was over.
    pub left_ms: i64,
}

impl Answer {
    /// The ids of the messages that are to come back, sorted; `None` when that is not what the answer says.
    pub fn failures(&self) -> Option<Vec<String>> {
        let failures = self.outcome.as_ref().ok()?.get("batchItemFailures")?.as_array()?;
        let id = |failure: &Value| failure.get("itemIdentifier").and_then(Value::as_str).map(str::to_owned);
        let mut ids: Vec<String> = failures.iter().map(id).collect::<Option<_>>()?;
        ids.sort();
        Some(ids)
    }
}

/// A batch of a queue, given to a process.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// What was in it.
    pub messages: Vec<ReceivedMessage>,
    /// What came of it.
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
    /// Builds the organization on the wall clock's time, deploys the central stacks and serves the simulated AWS on a
    /// free port of this machine.
    ///
    /// # Errors
    ///
    /// A setting or a resource that is refused; no port.
    pub async fn new(mut options: LabOptions) -> Result<Self, ContainerError> {
        options.organization.real_time = true;
        let lab = Lab::new(&options)?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let aws = listener.local_addr()?;
        let mut served = JoinSet::new();
        served.spawn(server::serve(listener, lab.sim.clone(), std::future::pending()));
        Ok(Self { lab, aws, _server: served })
    }

    /// Grants every account of the organization, without a word to the enroller.
    pub async fn grant_all(&self) {
        let work = GrantWork { sync: true, without_requests: true, ..GrantWork::default() };
        self.lab.onboarder.sync_grants(&work, &mut Metrics::default()).await;
    }

    /// Receives a batch as Lambda does, after all events under way have arrived, and as soon as there is a message.
    ///
    /// # Errors
    ///
    /// No such queue.
    pub fn receive(&self, queue: &str) -> Result<Vec<ReceivedMessage>, ContainerError> {
        let (sim, url) = (&self.lab.sim, self.lab.url(queue));
        let to = |due: u64| sim.advance(due.saturating_sub(sim.now_ms()));
        while let Some(due) = sim.next_event_due_ms() {
            to(due);
        }
        if let Some(due) = sim.earliest_visible_ms(&url)? {
            to(due);
        }
        Ok(mapping::receive(sim, &url)?)
    }

    /// The invocation that Lambda makes of a batch.
    pub fn payload(&self, queue: &str, messages: &[ReceivedMessage]) -> Value {
        let settings = &self.lab.settings;
        let arn = format!("arn:aws:sqs:{}:{}:{queue}", settings.home_region, settings.central_account);
        mapping::invocation(&self.lab.sim, &arn, messages).payload
    }

    /// Gives one batch of a queue to a process that has `time_ms` for it, and deletes what it is done with.
    ///
    /// # Errors
    ///
    /// See [`ContainerError`]; an error of the function is none.
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

    /// Starts the binary `program` as Lambda starts the function, with `changes` to the settings of the installation;
    /// an empty value takes a setting away.
    ///
    /// # Errors
    ///
    /// No such binary; no role for the function.
    pub async fn start(
        &self,
        function: &str,
        program: &str,
        changes: &[(&str, &str)],
    ) -> Result<Container, ContainerError> {
        let central = self.lab.settings.central_account.to_string();
        let role = FUNCTION_ROLES.iter().find(|(name, _)| *name == function);
        let credentials = role.and_then(|(_, role)| self.lab.sim.role_session(&central, role, function));
        let credentials = credentials.ok_or_else(|| ContainerError::NoRole(function.to_owned()))?;
        let api = RuntimeApi::start().await?;
        let mut command = Command::new(program);
        command.env_clear().kill_on_drop(true).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.envs(self.settings()).envs(self.reserved(function, credentials, &api));
        command.envs(changes.iter().map(|(key, value)| (environment_name(key), *value)));
        let mut child = command.spawn()?;
        let (stdout, stderr) = (read_all(child.stdout.take()), read_all(child.stderr.take()));
        let arn = format!("arn:aws:lambda:{}:{central}:function:{function}", self.lab.settings.home_region);
        Ok(Container { sim: self.lab.sim.clone(), arn, child, api, deadline_ms: 0, handed: 0, stdout, stderr })
    }

    /// The settings as the central stack hands them to its functions.
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

    /// What Lambda sets by itself (developer guide, "Defined runtime environment variables"), and the way to the
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

fn read_all(pipe: Option<impl AsyncRead + Unpin + Send + 'static>) -> JoinHandle<io::Result<String>> {
    tokio::spawn(async move {
        let mut text = String::new();
        if let Some(mut pipe) = pipe {
            pipe.read_to_string(&mut text).await?;
        }
        Ok(text)
    })
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// A function's process. It is killed when this is dropped.
#[derive(Debug)]
pub struct Container {
    sim: Sim,
    arn: String,
    child: Child,
    api: RuntimeApi,
    deadline_ms: u64,
    handed: usize,
    stdout: JoinHandle<io::Result<String>>,
    stderr: JoinHandle<io::Result<String>>,
}

/// A process that has ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// How.
    pub status: ExitStatus,
    /// The lines of its standard output.
    pub lines: Vec<Value>,
    /// Its standard error.
    pub stderr: String,
}

impl Ended {
    /// The lines that tell of decisions with this action and outcome.
    pub fn decisions(&self, action: &str, outcome: &str) -> Vec<&Value> {
        let wanted =
            |line: &&Value| line["message"] == "decision" && line["action"] == action && line["outcome"] == outcome;
        self.lines.iter().filter(wanted).collect()
    }

    /// The sum of a metric over all lines in CloudWatch's embedded format that declare it for the function alone.
    pub fn metric(&self, name: &str) -> f64 {
        let declares = |line: &&Value| {
            let directives = line["_aws"]["CloudWatchMetrics"].as_array();
            directives.into_iter().flatten().any(|directive| {
                let metrics = directive["Metrics"].as_array();
                let sets = directive["Dimensions"].as_array();
                sets.is_some_and(|sets| sets.contains(&json!(["Function"])))
                    && metrics.into_iter().flatten().any(|metric| metric["Name"] == name)
            })
        };
        self.lines.iter().filter(declares).filter_map(|line| line[name].as_f64()).sum()
    }
}

impl Container {
    /// Waits until the process asks for an invocation.
    ///
    /// # Errors
    ///
    /// It does anything else.
    pub async fn idle(&mut self) -> Result<(), ContainerError> {
        match self.said("a function that asks for an invocation").await? {
            Said::Next => Ok(()),
            other => Err(ContainerError::OutOfTurn(other, "nothing".to_owned())),
        }
    }

    /// Hands out an invocation that has `time_ms`, without waiting for its answer. Returns its request id.
    ///
    /// # Errors
    ///
    /// The process has ended.
    pub fn hand(&mut self, payload: &str, time_ms: u64) -> Result<String, ContainerError> {
        self.handed += 1;
        self.deadline_ms = now_ms() + time_ms;
        let request_id = format!("00000000-0000-4000-8000-{:012}", self.handed);
        let handed = self.api.hand(Invocation {
            request_id: request_id.clone(),
            deadline_ms: self.deadline_ms,
            function_arn: self.arn.clone(),
            payload: payload.to_owned(),
        });
        if handed { Ok(request_id) } else { Err(ContainerError::TooLate("a Runtime API to hand out an invocation")) }
    }

    /// Hands out an invocation that has `time_ms`, and waits for the answer.
    ///
    /// # Errors
    ///
    /// The process ends or answers something else; an error of the function is none.
    pub async fn invoke(&mut self, payload: &str, time_ms: u64) -> Result<Answer, ContainerError> {
        let request_id = self.hand(payload, time_ms)?;
        loop {
            let outcome = match self.said("the answer to an invocation").await? {
                Said::Next => continue,
                Said::Response(id, response) if id == request_id => Ok(response),
                Said::Error(id, error) if id == request_id => Err(error),
                other => return Err(ContainerError::OutOfTurn(other, request_id)),
            };
            let left_ms = i64::try_from(self.deadline_ms).unwrap_or(i64::MAX).saturating_sub_unsigned(now_ms());
            return Ok(Answer { outcome, left_ms });
        }
    }

    /// Waits until a fault has made a call of the process hang.
    ///
    /// # Errors
    ///
    /// None does.
    pub async fn hanging(&mut self) -> Result<(), ContainerError> {
        let sim = self.sim.clone();
        let hangs = async move {
            while !sim.with(|world| world.faults.hanging()) {
                tokio::time::sleep(LOOK).await;
            }
        };
        let hangs = tokio::time::timeout(PATIENCE, hangs).await;
        hangs.map_err(|_| ContainerError::TooLate("a call that hangs"))
    }

    /// Sends SIGTERM and waits for the end.
    ///
    /// # Errors
    ///
    /// As with [`Container::end`].
    pub async fn terminate(self) -> Result<Ended, ContainerError> {
        // The process id is known until the end has been waited for.
        let id = self.child.id().map(|id| id.to_string()).unwrap_or_default();
        Command::new("kill").args(["-TERM", &id]).status().await?;
        self.end().await
    }

    /// Waits until the process ends.
    ///
    /// # Errors
    ///
    /// It does not, or has written what it must not: a line that is no JSON, a secret.
    pub async fn end(mut self) -> Result<Ended, ContainerError> {
        let status = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        let status = status.map_err(|_| ContainerError::TooLate("the end of the process"))??;
        let stdout = self.stdout.await.map_err(io::Error::other)??;
        let stderr = self.stderr.await.map_err(io::Error::other)??;
        let told = |text: &str| stdout.contains(text) || stderr.contains(text);
        if self.sim.with(|world| world.sts.sessions().any(|it| told(&it.secret) || told(&it.token))) {
            return Err(ContainerError::Secret);
        }
        let json = |line: &str| serde_json::from_str(line).map_err(|_| ContainerError::NotJson(line.to_owned()));
        let lines = stdout.lines().map(json).collect::<Result<_, _>>()?;
        Ok(Ended { status, lines, stderr })
    }

    async fn said(&mut self, what: &'static str) -> Result<Said, ContainerError> {
        tokio::select! {
            // What was said before the end counts.
            biased;
            said = self.api.said() => said.ok_or(ContainerError::TooLate(what)),
            status = self.child.wait() => Err(ContainerError::Ended(status?)),
            () = tokio::time::sleep(PATIENCE) => Err(ContainerError::TooLate(what)),
        }
    }
}
