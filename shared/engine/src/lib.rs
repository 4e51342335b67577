//! The workers: observe, plan, apply, report. Events, requests, sweeps, backfills and repairs all end here.
//!
//! No AWS crate is in the tree; AWS is reached through [`ports`].
//!
//! | capability | worker | what it owns |
//! |---|---|---|
//! | enroll: one account in its Regions | [`enroller::Enroller`] | sessions, EC2, log groups and roles of member accounts |
//! | grant: the accounts in the destinations' policies | [`granter::Granter`] | the only [`granter::DestinationWriter`] |
//! | backfill: one request per account of the organization | [`backfill::Backfill`] | the queues |
//! | coverage and plan: look without changing | [`coverage::Inspector`] | reads of member accounts |
//! | doctor: check a live installation | [`doctor::Doctor`] | everything that can be read |
//!
//! Shared by them, and knowing none of them: [`context`], [`assignments`] (which destination an account is granted on),
//! [`observe`], [`outbox`] (messages to the functions' queues) and [`batch`] (records of a queue and their answers).

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

pub use context::Context;
