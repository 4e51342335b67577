//! The pure part of the enroller: what should be, what is, and what to do about it.
//!
//! Nothing here does I/O, reads a clock or draws a random number, and no AWS crate is in the dependency tree
//! (CI proves it with `cargo tree`). Facts come in as values, decisions go out as values.
//!
//! | you look for | it is in |
//! |---|---|
//! | account ids, Regions, ARNs, names that cannot hold nonsense | [`ids`], [`arn`], [`names`] |
//! | settings and their rejection messages | [`settings`] |
//! | event kinds and why an event is ignored | [`event`] |
//! | the messages this product sends itself | [`message`] |
//! | what a backfill is asked for, and which accounts that is | [`backfill`] |
//! | which accounts, Regions and VPCs are in scope | [`scope`] |
//! | what AWS says is there | [`observed`] |
//! | the planner | [`plan`] |
//! | policy documents | [`policy`] |
//! | grants, shards and the revocation guard | [`grants`] |
//! | the table from error code to what to do | [`error`] |
//! | outcomes and decision lines | [`log`] |
//! | metrics and the failures they show | [`metrics`] |
//! | what a coverage report says of each VPC | [`coverage`] |
//! | what the doctor makes of what it finds | [`doctor`] |

pub mod arn;
pub mod backfill;
pub mod coverage;
pub mod doctor;
pub mod error;
pub mod event;
pub mod grants;
pub mod ids;
pub mod log;
pub mod message;
pub mod metrics;
pub mod names;
pub mod observed;
pub mod plan;
pub mod policy;
pub mod scope;
pub mod settings;
mod time;
