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
use crate::timers::Timers;
use crate::withheld::Withheld;

/// Messages in one batch where two containers of a function share a queue.
const OVERLAPPING_BATCH: usize = 2;

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
    /// Another container of `vpc-enroller`, if invocations overlap.
    second_enroller: Option<EnrollmentQueue>,
    attempts: u32,
    timers: Timers,
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
        let timers = Timers::default();
        let (enroller, onboarder, backfill) = workers(&sim, &settings, &recording, ATTEMPTS, &timers)?;
        Ok(Self {
            regions: options.organization.regions.clone(),
            execution: Execution::new(&settings),
            attempts: ATTEMPTS,
            second_enroller: None,
            sim,
            settings,
            stacks,
            recording,
            enroller,
            onboarder,
            backfill,
            timers,
        })
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

    /// Whether invocations overlap.
    pub fn is_overlapping(&self) -> bool {
        self.second_enroller.is_some()
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
        let start = || workers(&self.sim, &self.settings, &self.recording, self.attempts, &self.timers);
        let second = if self.second_enroller.is_some() { Some(start()?.0) } else { None };
        (self.enroller, self.onboarder, self.backfill) = start()?;
        self.second_enroller = second;
        Ok(())
    }

    /// Lets invocations overlap from now on: of each queue at once, and two of `vpc-enroller` in containers of their
    /// own. Their calls interleave if the simulation's setting `interleave` says so.
    ///
    /// # Errors
    ///
    /// A worker lacks settings.
    pub fn overlap(&mut self) -> Result<(), LabError> {
        let (second, ..) = workers(&self.sim, &self.settings, &self.recording, self.attempts, &self.timers)?;
        self.second_enroller = Some(second);
        Ok(())
    }

    /// Delivers one batch of each queue to its function. Returns whether there was a message.
    ///
    /// # Errors
    ///
    /// A function returns an error.
    pub async fn step(&self) -> Result<bool, LabError> {
        self.sim.advance(0);
        self.timers.drive(&self.sim, Box::pin(self.feed_all())).await
    }

    async fn feed_all(&self) -> Result<bool, LabError> {
        let Some(second) = &self.second_enroller else {
            let granted = self.feed(GRANTS).await?;
            let enrolled = self.feed(ENROLLMENTS).await?;
            return Ok(self.feed(BACKFILL).await? || granted || enrolled);
        };
        let (granted, enrolled, too, continued) = tokio::join!(
            self.feed(GRANTS),
            self.feed_enroller(&self.enroller, OVERLAPPING_BATCH),
            self.feed_enroller(second, OVERLAPPING_BATCH),
            self.feed(BACKFILL)
        );
        Ok(granted? | enrolled? | too? | continued?)
    }

    /// Delivers one batch to `backfill`. Returns whether there was a message.
    ///
    /// # Errors
    ///
    /// A function returns an error.
    pub async fn step_backfill(&self) -> Result<bool, LabError> {
        self.timers.drive(&self.sim, self.feed(BACKFILL)).await
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
        let most = mapping::BATCH;
        match queue {
            GRANTS => self.feed_with(queue, most, async |event| self.invoke_onboarder(event).await).await,
            BACKFILL => self.feed_with(queue, most, async |event| self.invoke_backfill(event).await).await,
            _ => self.feed_enroller(&self.enroller, most).await,
        }
    }

    async fn feed_enroller(&self, enroller: &EnrollmentQueue, most: usize) -> Result<bool, LabError> {
        self.feed_with(ENROLLMENTS, most, async |event| self.invoke_enroller(enroller, event).await).await
    }

    async fn feed_with(
        &self,
        queue: &'static str,
        most: usize,
        invoke: impl AsyncFnOnce(LambdaEvent<Value>) -> Result<Value, LabError>,
    ) -> Result<bool, LabError> {
        if !self.execution.may_poll(&self.sim, queue) {
            return Ok(false);
        }
        let url = self.url(queue);
        let messages = self.sim.receive(&url, most)?;
        if messages.is_empty() {
            return Ok(false);
        }
        let event = mapping::invocation(&self.sim, &self.execution.queue_arn(queue), &messages);
        let response = invoke(event).await?;
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
        self.timers.drive(&self.sim, self.invoke_enroller(&self.enroller, event)).await
    }

    async fn invoke_enroller(&self, enroller: &EnrollmentQueue, event: LambdaEvent<Value>) -> Result<Value, LabError> {
        self.execution.log(&self.sim, "vpc-enroller");
        let response = vpc_enroller::handle(enroller, event).await;
        response.map_err(|source| LabError::Function { function: "vpc-enroller", source })
    }

    /// Invokes `account-onboarder`.
    ///
    /// # Errors
    ///
    /// The error that the function returns.
    pub async fn onboard(&self, event: LambdaEvent<Value>) -> Result<Value, LabError> {
        self.timers.drive(&self.sim, self.invoke_onboarder(event)).await
    }

    async fn invoke_onboarder(&self, event: LambdaEvent<Value>) -> Result<Value, LabError> {
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
        self.sweep_with(self.invocation(request)).await
    }

    /// Invokes `backfill` with this invocation.
    ///
    /// # Errors
    ///
    /// The error that the function returns.
    pub async fn sweep_with(&self, event: LambdaEvent<Value>) -> Result<Value, LabError> {
        self.timers.drive(&self.sim, self.invoke_backfill(event)).await
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

    /// Does the work, and moves the clock on whenever all of it waits.
    pub async fn drive<T>(&self, work: impl Future<Output = T>) -> T {
        self.timers.drive(&self.sim, work).await
    }

    /// What a person with the command line tool works with: the operator's role.
    pub fn operator(&self, log: Arc<dyn DecisionLog>) -> Operator {
        let central = self.settings.central_account.to_string();
        let connection = connection_on(&self.sim, &self.settings, As::Role(&central, OPERATOR_ROLE));
        Operator::new(self.context(log), &connection)
    }

    /// Settings and simulated time, with this log.
    pub fn context(&self, log: Arc<dyn DecisionLog>) -> Context {
        let time = SimTime { sim: self.sim.clone(), timers: self.timers.clone() };
        Context::new(self.settings.clone(), Arc::new(time), log)
    }

    /// The ports of a function, which call with its role.
    pub fn ports_of(&self, function: &str) -> (Ports, Arc<dyn DestinationWriter>) {
        ports_of(&self.sim, &self.settings, function, self.attempts, None)
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
    timers: &Timers,
) -> Result<(EnrollmentQueue, GrantQueue, Backfill), LabError> {
    let context = || {
        let log = Arc::clone(recording) as Arc<dyn DecisionLog>;
        let time = SimTime { sim: sim.clone(), timers: timers.clone() };
        Context::new(settings.clone(), Arc::new(time), log)
    };
    let ports = |function: &str| ports_of(sim, settings, function, attempts, Some(timers));
    let (enroller, _) = ports("vpc-enroller");
    let (onboarder, writer) = ports("account-onboarder");
    let (backfill, _) = ports("backfill");
    Ok((
        vpc_enroller::worker(context(), &enroller)?,
        account_onboarder::worker(context(), &onboarder, writer)?,
        backfill::worker(context(), &backfill)?,
    ))
}

fn ports_of(
    sim: &Sim,
    settings: &Settings,
    function: &str,
    attempts: u32,
    timers: Option<&Timers>,
) -> (Ports, Arc<dyn DestinationWriter>) {
    let central = settings.central_account.to_string();
    let role = FUNCTION_ROLES.iter().find(|(name, _)| *name == function).map_or("", |(_, role)| role);
    let connection = connection_trying(sim, settings, As::Role(&central, role), attempts, timers);
    (connection.ports(), connection.destination_writer())
}
