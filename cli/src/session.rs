//! Which AWS a command works on: the real one, with the credentials of the environment, or a simulated organization in
//! this process.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use enroller_aws::{Connection, Deployed, Time};
use enroller_core::backfill::BackfillRequest;
use enroller_core::ids::Region;
use enroller_core::log::LogEntry;
use enroller_core::metrics::Metrics;
use enroller_core::observed::Account;
use enroller_core::settings::Settings;
use enroller_engine::Context;
use enroller_engine::assignments::Assignments;
use enroller_engine::coverage::Inspector;
use enroller_engine::doctor::{Doctor, DoctorPorts};
use enroller_engine::enroller::Enroller;
use enroller_engine::granter::{DestinationWriter, GrantPlanner, Granter};
use enroller_engine::ports::{DecisionLog, Ports};

use crate::args::ConnectionArgs;
use crate::configuration::Configuration;
use crate::identity::{self, Caller, IdentityError, Purpose};
#[cfg(feature = "sim")]
use crate::simulated;

/// A connection to AWS, with everything that commands need.
pub(crate) struct Session {
    pub(crate) context: Context,
    ports: Ports,
    writer: Arc<dyn DestinationWriter>,
    doctor_ports: DoctorPorts,
    caller: Caller,
    connection: Option<Connection>,
    /// The simulated AWS, if there is one. Its time does not pass by itself.
    #[cfg(feature = "sim")]
    sim: Option<enroller_sim::Sim>,
}

/// A log that discards everything, because commands print their results from the reports.
struct NullLog;

impl DecisionLog for NullLog {
    fn entry(&self, _: &LogEntry) {}
    fn metrics(&self, _: &Metrics) {}
}

impl Session {
    /// Connects to the real AWS, or builds the simulated organization if `--sim` is given, and checks who is calling.
    ///
    /// # Errors
    ///
    /// The settings are refused, or the credentials are not those of the central account of the organization.
    pub(crate) async fn open(args: &ConnectionArgs, purpose: Purpose) -> anyhow::Result<Self> {
        #[cfg(feature = "sim")]
        if args.sim {
            let mut lab = simulated::organization(args.sim_accounts, args.sim_vpcs).await?;
            simulated::reconfigure(&mut lab, &Configuration::of_flags(&args.settings.set)?)?;
            return Self::on(&lab).await;
        }
        let settings = Configuration::load(&args.settings)?.settings()?;
        let signed_in = Connection::sign_in(Arc::new(settings.clone()), args.profile.as_deref()).await;
        let (connection, source) = signed_in.map_err(IdentityError::SignIn)?;
        let doctor_ports = connection.doctor_ports();
        let caller = identity::check(&settings, &*doctor_ports.identity, Some(source), purpose).await?;
        let context = Context::new(settings, Arc::new(Time::system()), Arc::new(NullLog));
        let (ports, writer) = (connection.ports(), connection.destination_writer());
        Ok(Self {
            context,
            ports,
            writer,
            doctor_ports,
            caller,
            connection: Some(connection),
            #[cfg(feature = "sim")]
            sim: None,
        })
    }

    /// Works on a simulated installation, as its operator.
    #[cfg(feature = "sim")]
    pub(crate) async fn on(lab: &enroller_lab::Lab) -> anyhow::Result<Self> {
        let enroller_lab::Operator { context, ports, writer, doctor_ports } = lab.operator(Arc::new(NullLog));
        let caller = identity::check(&context.settings, &*doctor_ports.identity, None, Purpose::Change).await?;
        Ok(Self { context, ports, writer, doctor_ports, caller, connection: None, sim: Some(lab.sim.clone()) })
    }

    /// What only the doctor reads.
    pub(crate) const fn doctor_ports(&self) -> &DoctorPorts {
        &self.doctor_ports
    }

    /// The principal that the command calls as.
    pub(crate) const fn caller(&self) -> &Caller {
        &self.caller
    }

    /// The deployed functions; `None` if the organization is simulated, where none runs.
    pub(crate) fn deployed(&self) -> Option<Deployed> {
        self.connection.as_ref().map(Connection::deployed)
    }

    /// The settings that the command works with.
    pub(crate) fn settings(&self) -> &Settings {
        &self.context.settings
    }

    pub(crate) fn enroller(&self) -> Enroller {
        Enroller::new(self.context.clone(), &self.ports)
    }

    /// The ports that workers share.
    pub(crate) const fn ports(&self) -> &Ports {
        &self.ports
    }

    /// Inspects accounts without changing them.
    pub(crate) fn inspector(&self) -> Inspector {
        Inspector::new(self.context.clone(), &self.ports)
    }

    pub(crate) fn doctor(&self) -> Doctor {
        Doctor::new(self.context.clone(), &self.ports, self.doctor_ports.clone())
    }

    /// Which destination each account is granted on.
    pub(crate) fn assignments(&self) -> Assignments {
        Assignments::new(self.context.clone(), &self.ports)
    }

    /// Plans and writes grants, and announces nobody, because the command enrolls the accounts itself.
    pub(crate) fn granter(&self) -> anyhow::Result<Granter> {
        let parts = self.settings().destination_parts()?;
        Ok(Granter::new(GrantPlanner::new(self.context.clone(), &self.ports, parts), Arc::clone(&self.writer)))
    }

    /// Waits. Simulated time passes at once.
    pub(crate) async fn pause(&self, time: Duration) {
        #[cfg(feature = "sim")]
        if let Some(sim) = &self.sim {
            sim.advance(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
            return;
        }
        tokio::time::sleep(time).await;
    }

    /// The Regions of a selection.
    ///
    /// # Errors
    ///
    /// Fails if the selection names a Region that is not enrolled.
    pub(crate) fn regions(&self, selection: &BackfillRequest) -> anyhow::Result<BTreeSet<Region>> {
        let enrolled = &self.context.settings.regions;
        if let Some(stray) = selection.regions.difference(enrolled).next() {
            let list: Vec<&str> = enrolled.iter().map(Region::as_str).collect();
            anyhow::bail!("Region {stray} is not enrolled; the enrolled Regions are {}", list.join(", "));
        }
        Ok(selection.regions(&self.context.settings).clone())
    }

    /// Whether the commands work on a simulated AWS.
    pub(crate) fn is_simulated(&self) -> bool {
        #[cfg(feature = "sim")]
        return self.sim.is_some();
        #[cfg(not(feature = "sim"))]
        return false;
    }
}

/// The accounts of a selection.
///
/// # Errors
///
/// Fails if the selection names an account that is not in the organization, or matches no account.
pub(crate) fn select(selection: &BackfillRequest, accounts: Vec<Account>) -> anyhow::Result<Vec<Account>> {
    for named in &selection.accounts {
        let known = accounts.iter().any(|account| account.id == *named);
        anyhow::ensure!(known, "account {named} is not in the organization");
    }
    // A misspelt exclusion would change the very account that was to be left alone.
    for excluded in &selection.exclude {
        let known = accounts.iter().any(|account| excluded.matches(account));
        anyhow::ensure!(known, "--exclude {excluded}: no account of the organization has this id");
    }
    for unit in &selection.organizational_units {
        let known = accounts.iter().any(|account| account.parents.contains(unit));
        anyhow::ensure!(known, "--ou {unit}: no account of the organization is below it");
    }
    let chosen: Vec<Account> = accounts.into_iter().filter(|account| selection.includes(account)).collect();
    if chosen.is_empty() {
        let cause = if selection.narrows_accounts() {
            "no account in the organization matches --account, --ou and --exclude"
        } else {
            "AWS Organizations lists no account"
        };
        return Err(anyhow::anyhow!(cause)).context("the selection is empty");
    }
    Ok(chosen)
}
