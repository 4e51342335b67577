//! Checking a live installation. The doctor reads facts from AWS, [`enroller_core::doctor`] evaluates them, and nothing
//! is changed.
//!
//! # Guarantees
//!
//! No check prevents another. If a call fails, its check has the status unknown, with account, Region, cause and
//! request id. Two results end checks early, because later ones would say nothing about this installation:
//!
//! - A caller from another account ends the whole run.
//! - An account whose member role cannot be assumed gets no further checks.

mod accounts;
mod central;
pub mod ports;

use std::collections::BTreeSet;

use enroller_core::doctor::caller::{check_caller, check_listing, check_organization};
use enroller_core::doctor::{Check, CheckId, DoctorReport, Status};
use enroller_core::ids::{AccountId, AccountRegion, Region};
use enroller_core::observed::Account;
use futures::future::{join, join4};

use crate::assignments::Assignments;
use crate::context::Context;
use crate::ports::Ports;

pub use ports::DoctorPorts;

/// Name of the event bus that the templates create in the central account.
pub const BUS: &str = "vpc-flow-logs-enroller";

/// How many accounts are checked by default.
pub const SAMPLE: usize = 5;

/// The accounts in scope to check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sample {
    /// At most this many, spread evenly over all.
    Accounts(usize),
    /// All of them.
    All,
}

/// The options of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DoctorOptions {
    /// The accounts to check.
    pub sample: Sample,
    /// Name of the central account's bus.
    pub bus: String,
}

impl Default for DoctorOptions {
    fn default() -> Self {
        Self { sample: Sample::Accounts(SAMPLE), bus: BUS.to_owned() }
    }
}

/// Checks a live installation. It only reads.
pub struct Doctor {
    ctx: Context,
    ports: Ports,
    facts: DoctorPorts,
    assignments: Assignments,
}

/// The state that all checks of a run share.
struct Checker<'a> {
    doctor: &'a Doctor,
    bus: &'a str,
}

impl Doctor {
    /// Creates a doctor that reads through these ports.
    pub fn new(ctx: Context, ports: &Ports, facts: DoctorPorts) -> Self {
        Self { assignments: Assignments::new(ctx.clone(), ports), ports: ports.clone(), facts, ctx }
    }

    /// Makes all checks, with at most `max_concurrency` accounts at a time.
    pub async fn check(&self, options: &DoctorOptions) -> DoctorReport {
        let checker = Checker { doctor: self, bus: &options.bus };
        let caller = match self.facts.identity.caller().await {
            Ok(caller) => Check::new(CheckId::Caller, check_caller(&caller, self.ctx.settings.central_account)),
            Err(error) => Check::could_not_look(CheckId::Caller, &error),
        };
        if caller.status() != Status::Ok {
            return DoctorReport::new(vec![caller]);
        }
        let (organization, accounts) =
            join(self.facts.identity.organization(), self.ports.organization.accounts()).await;
        let management = organization.as_ref().ok().map(|organization| organization.management_account);
        let mut checks = vec![caller];
        checks.push(match &organization {
            Ok(found) => {
                Check::new(CheckId::Organization, check_organization(found, &self.ctx.settings.organization_id))
            }
            Err(error) => Check::could_not_look(CheckId::Organization, error),
        });
        let in_scope = match &accounts {
            Ok(accounts) => self.in_scope(accounts),
            Err(_) => BTreeSet::new(),
        };
        checks.push(match &accounts {
            Ok(accounts) => Check::new(CheckId::AccountListing, check_listing(accounts.len(), in_scope.len())),
            Err(error) => Check::could_not_look(CheckId::AccountListing, error),
        });
        let sample = spread(&in_scope.iter().copied().collect::<Vec<_>>(), options.sample);
        let wanted = accounts.is_ok().then_some(&in_scope);
        let (destinations, events, queues, members) = join4(
            checker.destinations(wanted),
            checker.events(management),
            checker.queues(in_scope.len()),
            join(checker.management(management), checker.accounts(&sample)),
        )
        .await;
        checks.extend([destinations, events, queues, members.0, members.1].into_iter().flatten());
        DoctorReport::new(checks)
    }

    fn in_scope(&self, accounts: &[Account]) -> BTreeSet<AccountId> {
        let in_scope = accounts.iter().filter(|account| self.ctx.settings.account_in_scope(account).is_ok());
        in_scope.map(|account| account.id).collect()
    }
}

impl Checker<'_> {
    fn central(&self, region: &Region) -> AccountRegion {
        AccountRegion { account: self.doctor.ctx.settings.central_account, region: region.clone() }
    }

    /// ARN of the central account's bus in a Region.
    fn bus_arn(&self, region: &Region) -> String {
        let central = self.doctor.ctx.settings.central_account;
        format!("arn:{}:events:{region}:{central}:event-bus/{}", region.partition(), self.bus)
    }

    /// The Region where Organizations publishes account events.
    fn organizations_region(&self) -> Option<Region> {
        self.doctor.ctx.settings.partition().organizations_region().parse().ok()
    }
}

/// The sampled accounts, at even distances. Accounts created one after the other often have the same problem.
fn spread(accounts: &[AccountId], sample: Sample) -> Vec<AccountId> {
    let wanted = match sample {
        Sample::All => accounts.len(),
        Sample::Accounts(wanted) => wanted.min(accounts.len()),
    };
    (0..wanted).filter_map(|number| accounts.get(number * accounts.len() / wanted).copied()).collect()
}

#[cfg(test)]
mod tests;
