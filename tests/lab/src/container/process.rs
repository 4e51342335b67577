//! A function's binary as a process, and its requests to the Runtime API.

use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use enroller_sim::Sim;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

use super::{Answer, ContainerError};
use crate::runtime_api::{Invocation, RuntimeApi, Said};

/// Time after which waiting ends with an error, longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// Interval between two looks at whether a call hangs.
const LOOK: Duration = Duration::from_millis(5);

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
#[expect(missing_docs, reason = "`status` and `stderr` are the operating system's own")]
pub struct Ended {
    pub status: ExitStatus,
    /// The lines of its standard output.
    pub lines: Vec<Value>,
    pub stderr: String,
}

impl Ended {
    /// Whether it exited with success, wrote nothing to standard error, and logged only at level INFO.
    pub fn cleanly(&self) -> bool {
        let fine = |line: &Value| line["level"] == "INFO";
        self.status.code() == Some(0) && self.stderr.is_empty() && self.lines.iter().all(fine)
    }

    /// Whether it failed with a single line that contains all of these texts.
    pub fn refused_in_one_line(&self, texts: &[&str]) -> bool {
        let lines = self.lines.iter().map(Value::to_string).collect::<Vec<_>>();
        let [line] = lines.as_slice() else { return false };
        self.status.code() == Some(1) && texts.iter().all(|text| line.contains(text))
    }

    /// The log entries with this action and outcome.
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
    /// Starts `command` as the function with this ARN.
    pub(super) fn start(mut command: Command, api: RuntimeApi, sim: Sim, arn: String) -> io::Result<Self> {
        command.kill_on_drop(true).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let (stdout, stderr) = (read_all(child.stdout.take()), read_all(child.stderr.take()));
        Ok(Self { sim, arn, child, api, deadline_ms: 0, handed: 0, stdout, stderr })
    }

    /// Waits until the process asks for an invocation.
    ///
    /// # Errors
    ///
    /// It sends anything else, or ends.
    pub async fn idle(&mut self) -> Result<(), ContainerError> {
        match self.said("a function that asks for an invocation").await? {
            Said::Next => Ok(()),
            other => Err(ContainerError::OutOfTurn(other, "nothing".to_owned())),
        }
    }

    /// Offers an invocation with a time limit and does not wait for its answer. Returns its request id.
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

    /// Offers an invocation with a time limit and waits for the answer.
    ///
    /// # Errors
    ///
    /// The process ends or answers something else. An error that the function returns is part of the [`Answer`].
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
    /// No call hangs in time.
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
        // The process id is known until the process has been waited for.
        let id = self.child.id().map(|id| id.to_string()).unwrap_or_default();
        Command::new("kill").args(["-TERM", &id]).status().await?;
        self.end().await
    }

    /// Waits until the process ends.
    ///
    /// # Errors
    ///
    /// It does not end, or it wrote a line that is not JSON, or a secret.
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
            // Requests made before the end still count.
            biased;
            said = self.api.said() => said.ok_or(ContainerError::TooLate(what)),
            status = self.child.wait() => Err(ContainerError::Ended(status?)),
            () = tokio::time::sleep(PATIENCE) => Err(ContainerError::TooLate(what)),
        }
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
