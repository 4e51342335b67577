//! The one code path: observe, plan, apply, report. Events, requests, sweeps, backfills and repairs all end here.
//!
//! No AWS crate is in the tree; AWS is reached through [`ports`].

pub mod assignments;
pub mod backfill;
pub mod batch;
mod chain;
pub mod engine;
pub mod examine;
pub mod inspect;
pub mod onboard;
pub mod ports;
pub mod reconcile;
pub mod survey;

pub use engine::Engine;
