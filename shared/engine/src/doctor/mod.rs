//! Examining a live installation: asks AWS, lets [`enroller_core::doctor`] judge, changes nothing.
//!
//! # Guarantees
//!
//! No check keeps another from being made: a call that fails becomes a check that could not be made, with account,
//! Region, cause and request id. Two things end it early, because whatever came after would be about something else:
//! a caller of another account ends the whole options, and an account whose role cannot be taken on is not looked
//! at further.

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

/// The bus that the templates make in the central account.
pub const BUS: &str = "vpc-flow-logs-enroller";

/// How many accounts are looked at unless somebody wants more.
pub const SAMPLE: usize = 5;

/// Which of the accounts in scope are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sample {
    /// So many, spread evenly over all.
    Accounts(usize),
    /// Every one.
    All,
}

/// What is looked at, and how far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DoctorOptions {
    /// The accounts.
    pub sample: Sample,
    /// Name of the central account's bus.
    pub bus: String,
}

impl Default for DoctorOptions {
    fn default() -> Self {
        Self { sample: Sample::Accounts(SAMPLE), bus: BUS.to_owned() }
    }
}

/// Checks a live installation: reads only.
pub struct Doctor {
    ctx: Context,
    ports: Ports,
    facts: DoctorPorts,
    assignments: Assignments,
}

/// What all checks of a run share.
struct Checker<'a> {
    doctor: &'a Doctor,
    bus: &'a str,
}

impl Doctor {
    /// A doctor that asks through these ports.
    pub fn new(ctx: Context, ports: &Ports, facts: DoctorPorts) -> Self {
        Self { assignments: Assignments::new(ctx.clone(), ports), ports: ports.clone(), facts, ctx }
    }

    /// Makes all checks, `max_concurrency` accounts at once.
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

    /// The Region in which Organizations tells of accounts.
    fn organizations_region(&self) -> Option<Region> {
        self.doctor.ctx.settings.partition().organizations_region().parse().ok()
    }
}

/// So many of all, at even distances: accounts made one after the other often share what is wrong with them.
fn spread(accounts: &[AccountId], sample: Sample) -> Vec<AccountId> {
    let wanted = match sample {
        Sample::All => accounts.len(),
        Sample::Accounts(wanted) => wanted.min(accounts.len()),
    };
    (0..wanted).filter_map(|number| accounts.get(number * accounts.len() / wanted).copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_spread_over_all_accounts_without_naming_one_twice() {
        let accounts: Vec<AccountId> = (0..10_u32).map(|number| format!("{number:012}").parse().unwrap()).collect();
        for (sample, expected) in [
            (Sample::Accounts(0), vec![]),
            (Sample::Accounts(1), vec![0]),
            (Sample::Accounts(3), vec![0, 3, 6]),
            (Sample::Accounts(10), (0..10).collect()),
            (Sample::Accounts(99), (0..10).collect()),
            (Sample::All, (0..10).collect::<Vec<usize>>()),
        ] {
            let expected: Vec<AccountId> = expected.into_iter().map(|index| accounts[index]).collect();
            assert_eq!(spread(&accounts, sample), expected, "{sample:?}");
        }
        assert!(spread(&[], Sample::All).is_empty());
    }
}
