//! Which AWS a command works on: the real one, with whatever credentials the environment gives, or a simulated
//! organization in this process.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use enroller_aws::{Connection, Time};
use enroller_core::backfill::BackfillRequest;
use enroller_core::ids::Region;
use enroller_core::log::LogEntry;
use enroller_core::metrics::Metrics;
use enroller_core::observed::Account;
use enroller_engine::Engine;
use enroller_engine::inspect::DoctorPorts;
use enroller_engine::ports::DecisionLog;

use enroller_sim::Sim;

use crate::args::ConnectionArgs;
use crate::configuration::Configuration;
use crate::simulated;

/// What a command works with.
pub(crate) struct Session {
    pub(crate) engine: Engine,
    /// What only `doctor` looks at.
    pub(crate) inspection: DoctorPorts,
    /// The simulated AWS, whose time does not pass by itself.
    sim: Option<Sim>,
}

/// Commands print what came of their work themselves, from the reports.
struct NullLog;

impl DecisionLog for NullLog {
    fn entry(&self, _: &LogEntry) {}
    fn metrics(&self, _: &Metrics) {}
}

impl Session {
    /// Connects as the arguments say.
    pub(crate) async fn open(args: &ConnectionArgs) -> anyhow::Result<Self> {
        if args.sim {
            let mut lab = simulated::organization(args.sim_accounts, args.sim_vpcs).await?;
            simulated::reconfigure(&mut lab, &Configuration::of_flags(&args.settings.set)?)?;
            let (engine, inspection) = lab.examiner(Arc::new(NullLog));
            return Ok(Self { engine, inspection, sim: Some(lab.sim) });
        }
        let settings = Configuration::load(&args.settings)?.settings()?;
        let connection = Connection::connect(Arc::new(settings.clone())).await;
        let engine = Engine::new(settings, connection.aws(), Arc::new(Time::system()), Arc::new(NullLog));
        Ok(Self { engine, inspection: connection.inspection(), sim: None })
    }

    /// Lets time pass.
    pub(crate) async fn pause(&self, time: Duration) {
        match &self.sim {
            Some(sim) => sim.advance(u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
            None => tokio::time::sleep(time).await,
        }
    }

    /// The Regions of a selection.
    pub(crate) fn regions(&self, selection: &BackfillRequest) -> anyhow::Result<BTreeSet<Region>> {
        let enrolled = &self.engine.settings.regions;
        if let Some(stray) = selection.regions.difference(enrolled).next() {
            let list: Vec<&str> = enrolled.iter().map(Region::as_str).collect();
            anyhow::bail!("{stray} is not enrolled; enrolled are {}", list.join(", "));
        }
        Ok(selection.regions(&self.engine.settings).clone())
    }

    /// Whether the AWS behind it is the simulated one.
    pub(crate) fn is_simulated(&self) -> bool {
        self.sim.is_some()
    }
}

/// The accounts of a selection; those that were named and are not in the organization are an error.
pub(crate) fn select(selection: &BackfillRequest, accounts: Vec<Account>) -> anyhow::Result<Vec<Account>> {
    for named in &selection.accounts {
        let known = accounts.iter().any(|account| account.id == *named);
        anyhow::ensure!(known, "account {named} is not in the organization");
    }
    let chosen: Vec<Account> = accounts.into_iter().filter(|account| selection.includes(account)).collect();
    if chosen.is_empty() {
        return Err(anyhow::anyhow!("no account of the organization fits --account, --ou and --exclude"))
            .context("nothing is selected");
    }
    Ok(chosen)
}
