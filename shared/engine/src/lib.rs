//! The workers of the product. Events, requests, sweeps, backfills and repairs all end here.
//!
//! The crate depends on no AWS crate: workers reach AWS through the traits in [`ports`].
//!
//! | capability | worker | what it owns |
//! |---|---|---|
//! | enroll: one account in its Regions | [`enroller::Enroller`] | sessions, EC2, log groups and roles of member accounts |
//! | grant: list accounts in the destinations' policies | [`granter::Granter`] | the only [`granter::DestinationWriter`] |
//! | backfill: queue one request per account of the organization | [`backfill::Backfill`] | the queues |
//! | coverage and plan: inspect accounts, change nothing | [`coverage::Inspector`] | reads in member accounts |
//! | doctor: check a live installation | [`doctor::Doctor`] | everything that can be read |
//!
//! The workers share [`context`], [`assignments`] (the destination that each account is granted on), [`observe`],
//! [`outbox`] (messages to the functions' queues), [`batch`] (records of a queue and their answers) and [`watch`] (what others change).
//! These modules depend on no worker.

pub mod assignments;
pub mod backfill;
pub mod batch;
pub mod context;
pub mod coverage;
pub mod doctor;
pub mod enroller;
pub mod granter;
pub mod observe;
pub mod outbox;
pub mod ports;
pub mod reconcile_error;
#[cfg(test)]
mod testing;
pub mod watch;

pub use context::Context;
