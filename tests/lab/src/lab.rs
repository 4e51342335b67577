//! A running installation: the three functions, their queues, and a way to run them until nothing is left to do.

use std::sync::Arc;

use enroller_aws::Connection;
use enroller_core::settings::{Settings, SettingsError};
use enroller_engine::Context;
use enroller_engine::backfill::Backfill;
use enroller_engine::coverage::Inspector;
use enroller_engine::doctor::{Doctor, DoctorPorts};
use enroller_engine::enroller::Enroller;
use enroller_engine::enroller::batch::EnrollmentQueue;
use enroller_engine::granter::batch::GrantQueue;
use enroller_engine::granter::{DestinationWriter, GrantPlanner, Granter};
use enroller_engine::outbox::GRANTS_GROUP;
use enroller_engine::ports::{AwsResult, DecisionLog, Outgoing, Ports};
use enroller_sim::{Sim, SimBuilder};
use lambda_runtime::LambdaEvent;
use serde_json::{Value, json};

use crate::adapter::{ATTEMPTS, As, SimTime, connection_on, connection_trying};
use crate::execution::Execution;
use crate::install::{
    BACKFILL, ENROLLMENTS, FUNCTION_ROLES, GRANTS, InstallError, Installation, OPERATOR_ROLE, PREFIX,
    installation_settings,
};
use crate::log::RecordingLog;
use crate::mapping;
use crate::withheld::Withheld;

/// The installation to build.
#[derive(Clone, Debug, Default)]
pub struct LabOptions {
    /// Accounts, Regions and VPCs to begin with.
    pub organization: SimBuilder,
    /// Settings that differ from the defaults.
    pub settings: Vec<(&'static str, String)>,
}

/// An installation on a simulated AWS.
pub struct Lab {
    /// The AWS that everything here calls.
    pub sim: Sim,
    /// The settings of all functions.
    pub settings: Settings,
    /// The enrolled Regions, the home Region first.
    pub regions: Vec<String>,
    /// What deploys the templates to accounts and Regions.
    pub stacks: Installation,
    /// Log entries and metrics of all functions.
    pub recording: Arc<RecordingLog>,
    /// The worker of `vpc-enroller`.
    pub enroller: EnrollmentQueue,
    /// The worker of `account-onboarder`.
    pub onboarder: GrantQueue,
    /// The worker of `backfill`.
    pub backfill: Backfill,
    attempts: u32,
    execution: Execution,
}

/// A failure of the simulated installation itself.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// A function returned an error. Its queue would redeliver the whole batch.
    #[error("function {function} failed")]
    Function {
        /// Name of the function.
        function: &'static str,
        /// Error that it returned.
        #[source]
        source: anyhow::Error,
    },
    /// A queue does not exist, or refused a receipt handle.
    #[error("a queue of the simulated installation failed")]
    Queue(#[from] enroller_sim::sqs::QueueError),
    /// The installation could not be created.
    #[error("the installation could not be created")]
    Install(#[from] InstallError),
    /// A worker lacks settings.
    #[error("a function cannot be started")]
    Worker(#[from] SettingsError),
}

impl Lab {
    /// Builds the organization and deploys the central stacks, but no member stack.
    ///
    /// # Errors
    ///
    /// A setting or a resource is refused.
    pub fn new(options: &LabOptions) -> Result<Self, LabError> {
        let sim = options.organization.build();
        let changes: Vec<(&str, &str)> = options.settings.iter().map(|(key, value)| (*key, value.as_str())).collect();
        let settings =
            installation_settings(&sim, &options.organization.regions, &changes).map_err(InstallError::Settings)?;
        let stacks = Installation::new(sim.clone(), settings.clone());
        stacks.deploy_center()?;
        let recording = Arc::new(RecordingLog::default());
        let (enroller, onboarder, backfill) = workers(&sim, &settings, &recording, ATTEMPTS)?;
        let regions = options.organization.regions.clone();
        let execution = Execution::new(&settings);
        let attempts = ATTEMPTS;
        Ok(Self { sim, settings, regions, stacks, recording, enroller, onboarder, backfill, attempts, execution })
    }

    /// Deploys the member stack in every account, the management account included, and emits the events of the stacks.
    ///
    /// # Errors
    ///
    /// A resource is refused.
    pub fn deploy_members(&self) -> Result<(), LabError> {
        for account in self.sim.members() {
            self.stacks.deploy_member(&account)?;
            self.stacks.announce_member(&account);
        }
        Ok(())
    }

    /// Updates the stacks with changed settings and restarts the functions.
    ///
    /// # Errors
    ///
    /// A setting is refused.
    pub fn reconfigure(&mut self, changes: &[(&str, &str)]) -> Result<(), LabError> {
        let regions: Vec<String> = self.regions.clone();
        self.settings = installation_settings(&self.sim, &regions, changes).map_err(InstallError::Settings)?;
        self.stacks = self.stacks.with_settings(self.settings.clone());
        self.cold_start()
    }

    /// Withholds a permission from a role of the stacks and restarts the functions.
    ///
    /// # Errors
    ///
    /// A template cannot be evaluated.
    pub fn withhold(&mut self, withheld: Withheld) -> Result<(), LabError> {
        self.stacks.withhold(withheld)?;
        self.cold_start()
    }

    /// Functions whose log has at least one line.
    pub fn functions_with_a_log(&self) -> Vec<&'static str> {
        self.execution.logged()
    }

    /// Makes the functions' SDK try each call so many times from now on, the first time included; they start anew. With
    /// one, what a failed call leads to is the engine's doing alone.
    ///
    /// # Errors
    ///
    /// See [`Lab::cold_start`].
    pub fn set_attempts(&mut self, attempts: u32) -> Result<(), LabError> {
        self.attempts = attempts;
        self.cold_start()
    }

    /// Makes the functions forget what a warm container remembers, as a new container would.
    ///
    /// # Errors
    ///
    /// A worker lacks settings.
    pub fn cold_start(&mut self) -> Result<(), LabError> {
        let (enroller, onboarder, backfill) = workers(&self.sim, &self.settings, &self.recording, self.attempts)?;
        (self.enroller, self.onboarder, self.backfill) = (enroller, onboarder, backfill);
        Ok(())
    }

    /// Delivers one batch of each queue to its function. Returns whether there was a message.
    ///
    /// # Errors
    ///
    /// A function returns an error.
    pub async fn step(&self) -> Result<bool, LabError> {
        self.sim.advance(0);
        let granted = self.feed(GRANTS).await?;
        let enrolled = self.feed(ENROLLMENTS).await?;
        let continued = self.feed(BACKFILL).await?;
        Ok(granted || enrolled || continued)
    }

    /// Delivers one batch to `backfill`. Returns whether there was a message.
    ///
    /// # Errors
    ///
    /// A function returns an error.
    pub async fn step_backfill(&self) -> Result<bool, LabError> {
        self.feed(BACKFILL).await
    }

    /// Runs the functions until nothing is left to do, and moves the clock to the next event or message each time, for
    /// at most `horizon_ms` of virtual time. Returns the milliseconds of virtual time that passed.
    ///
    /// # Errors
    ///
    /// A function returns an error.
    pub async fn settle(&self, horizon_ms: u64) -> Result<u64, LabError> {
        self.settle_watched(horizon_ms, &mut |_| {}).await
    }

    /// Like [`Lab::settle`], with a call of `watch` after each step.
    ///
    /// # Errors
    ///
    /// A function returns an error.
    pub async fn settle_watched(&self, horizon_ms: u64, watch: &mut dyn FnMut(&Self)) -> Result<u64, LabError> {
        let begun = self.sim.now_ms();
        loop {
            let busy = self.step().await?;
            watch(self);
            if busy {
                continue;
            }
            let now = self.sim.now_ms();
            let next = self.next_due_ms()?.filter(|due| due.saturating_sub(begun) <= horizon_ms);
            match next {
                Some(due) => self.sim.advance(due.saturating_sub(now).max(1)),
                None => return Ok(now - begun),
            }
        }
    }

    /// Time of the next event or message, in epoch milliseconds.
    fn next_due_ms(&self) -> Result<Option<u64>, LabError> {
        let mut due = vec![self.sim.next_event_due_ms()];
        for queue in [ENROLLMENTS, GRANTS, BACKFILL] {
            if self.execution.may_poll(&self.sim, queue) {
                due.push(self.sim.earliest_visible_ms(&self.url(queue))?);
            }
        }
        Ok(due.into_iter().flatten().min())
    }

    async fn feed(&self, queue: &'static str) -> Result<bool, LabError> {
        if !self.execution.may_poll(&self.sim, queue) {
            return Ok(false);
        }
        let url = self.url(queue);
        let messages = mapping::receive(&self.sim, &url)?;
        if messages.is_empty() {
            return Ok(false);
        }
        let arn = self.execution.queue_arn(queue);
        let event = mapping::invocation(&self.sim, &arn, &messages);
        let response = match queue {
            GRANTS => self.onboard(event).await,
            BACKFILL => self.invoke_backfill(event).await,
            _ => self.enroll(event).await,
        }?;
        if self.execution.may_delete(&self.sim, queue) {
            mapping::settle(&self.sim, &url, &messages, &response)?;
        }
        Ok(true)
    }

    /// Invokes `vpc-enroller`.
    ///
    /// # Errors
    ///
    /// The error that the function returns.
    pub async fn enroll(&self, event: LambdaEvent<Value>) -> Result<Value, LabError> {
        self.execution.log(&self.sim, "vpc-enroller");
        let response = vpc_enroller::handle(&self.enroller, event).await;
        response.map_err(|source| LabError::Function { function: "vpc-enroller", source })
    }

    /// Invokes `account-onboarder`.
    ///
    /// # Errors
    ///
    /// The error that the function returns.
    pub async fn onboard(&self, event: LambdaEvent<Value>) -> Result<Value, LabError> {
        self.execution.log(&self.sim, "account-onboarder");
        let response = account_onboarder::handle(&self.onboarder, event).await;
        response.map_err(|source| LabError::Function { function: "account-onboarder", source })
    }

    /// Invokes `backfill` with a request.
    ///
    /// # Errors
    ///
    /// The error that the function returns.
    pub async fn sweep(&self, request: Value) -> Result<Value, LabError> {
        self.invoke_backfill(self.invocation(request)).await
    }

    /// Invokes `backfill` as a schedule of EventBridge does.
    ///
    /// # Errors
    ///
    /// The error that the function returns.
    pub async fn sweep_on_schedule(&self) -> Result<Value, LabError> {
        let (home, central) = (&self.settings.home_region, self.settings.central_account);
        self.sweep(json!({
            "version": "0", "id": self.sim.with(|world| world.ids.uuid()), "source": "aws.scheduler",
            "detail-type": "Scheduled Event", "account": central, "region": home, "time": "2026-11-23T03:00:00Z",
            "resources": [format!("arn:aws:scheduler:{home}:{central}:schedule/default/vpc-flow-logs-sweep")],
            "detail": "{}"
        }))
        .await
    }

    async fn invoke_backfill(&self, event: LambdaEvent<Value>) -> Result<Value, LabError> {
        self.execution.log(&self.sim, "backfill");
        let response = backfill::handle(&self.backfill, event).await;
        response.map_err(|source| LabError::Function { function: "backfill", source })
    }

    /// What a person with the command line tool works with: the operator's role.
    pub fn operator(&self, log: Arc<dyn DecisionLog>) -> Operator {
        let central = self.settings.central_account.to_string();
        let connection = connection_on(&self.sim, &self.settings, As::Role(&central, OPERATOR_ROLE));
        Operator::new(self.context(log), &connection)
    }

    /// Settings and simulated time, with this log.
    pub fn context(&self, log: Arc<dyn DecisionLog>) -> Context {
        Context::new(self.settings.clone(), Arc::new(SimTime(self.sim.clone())), log)
    }

    /// The ports of a function, which call with its role.
    pub fn ports_of(&self, function: &str) -> (Ports, Arc<dyn DestinationWriter>) {
        ports_of(&self.sim, &self.settings, function, self.attempts)
    }

    /// Sends a message to a queue of the installation, as a person would. `queue` is its name without [`PREFIX`].
    ///
    /// # Errors
    ///
    /// The queue refuses it.
    pub async fn send(&self, queue: &str, body: &str) -> AwsResult<()> {
        let fifo = (queue == GRANTS).then(|| (GRANTS_GROUP.to_owned(), self.sim.with(|world| world.ids.uuid())));
        let message = Outgoing { body: body.to_owned(), delay_seconds: 0, fifo, sender: None };
        self.operator(self.recording.clone()).ports.queues.send(&self.url(queue), vec![message]).await.map(|_| ())
    }

    /// An invocation with this payload that begins now.
    pub fn invocation(&self, payload: Value) -> LambdaEvent<Value> {
        LambdaEvent::new(payload, mapping::context(&self.sim))
    }

    /// URL of a queue of the installation, by its name without [`PREFIX`].
    pub fn url(&self, queue: &str) -> String {
        let (home, central) = (&self.settings.home_region, self.settings.central_account);
        format!("https://sqs.{home}.amazonaws.com/{central}/{PREFIX}{queue}")
    }
}

/// What a person with the command line tool works with.
pub struct Operator {
    /// Settings, time and log.
    pub context: Context,
    /// The ports that workers share.
    pub ports: Ports,
    /// The port that writes destinations.
    pub writer: Arc<dyn DestinationWriter>,
    /// What only the doctor asks.
    pub doctor_ports: DoctorPorts,
}

#[expect(missing_docs, reason = "`enroller`, `inspector` and `doctor` are described by the types that they return")]
impl Operator {
    /// The ports of a connection.
    pub fn new(context: Context, connection: &Connection) -> Self {
        let (ports, writer) = (connection.ports(), connection.destination_writer());
        Self { context, ports, writer, doctor_ports: connection.doctor_ports() }
    }

    pub fn enroller(&self) -> Enroller {
        Enroller::new(self.context.clone(), &self.ports)
    }

    pub fn inspector(&self) -> Inspector {
        Inspector::new(self.context.clone(), &self.ports)
    }

    pub fn doctor(&self) -> Doctor {
        Doctor::new(self.context.clone(), &self.ports, self.doctor_ports.clone())
    }

    /// Writes grants, and announces nobody.
    ///
    /// # Errors
    ///
    /// The settings of what destinations deliver to are missing.
    pub fn granter(&self) -> Result<Granter, SettingsError> {
        let parts = self.context.settings.destination_parts()?;
        let planner = GrantPlanner::new(self.context.clone(), &self.ports, parts);
        Ok(Granter::new(planner, Arc::clone(&self.writer)))
    }
}

/// The functions' workers, which remember nothing yet.
fn workers(
    sim: &Sim,
    settings: &Settings,
    recording: &Arc<RecordingLog>,
    attempts: u32,
) -> Result<(EnrollmentQueue, GrantQueue, Backfill), LabError> {
    let context = || {
        let log = Arc::clone(recording) as Arc<dyn DecisionLog>;
        Context::new(settings.clone(), Arc::new(SimTime(sim.clone())), log)
    };
    let ports = |function: &str| ports_of(sim, settings, function, attempts);
    let (enroller, _) = ports("vpc-enroller");
    let (onboarder, writer) = ports("account-onboarder");
    let (backfill, _) = ports("backfill");
    Ok((
        vpc_enroller::worker(context(), &enroller)?,
        account_onboarder::worker(context(), &onboarder, writer)?,
        backfill::worker(context(), &backfill)?,
    ))
}

fn ports_of(sim: &Sim, settings: &Settings, function: &str, attempts: u32) -> (Ports, Arc<dyn DestinationWriter>) {
    let central = settings.central_account.to_string();
    let role = FUNCTION_ROLES.iter().find(|(name, _)| *name == function).map_or("", |(_, role)| role);
    let connection = connection_trying(sim, settings, As::Role(&central, role), attempts);
    (connection.ports(), connection.destination_writer())
}
