//! A simulated AWS of many accounts, strict where the enroller can go wrong.
//!
//! It speaks the real wire protocols of the operations that the enroller uses, in process through the SDK's
//! `HttpClient` or over HTTP. It refuses what AWS refuses, emits the events that AWS would emit, delivers flow log
//! records and counts lost ones. Time is virtual. An unknown operation or parameter is an error that names it.
//!
//! For tests, the demo and benchmarks; it is never linked into a function.

pub mod account_lifecycle;
mod authorization;
pub mod builder;
pub mod call;
pub mod cloudtrail;
mod dispatch;
pub mod ec2;
pub mod events;
pub mod faults;
#[cfg(test)]
mod fixtures;
pub mod http_client;
pub mod iam;
mod json_input;
mod lag;
pub mod limits;
pub mod logs;
mod model;
pub mod organizations;
pub mod policy_language;
mod preflight;
mod raw_client;
mod regions;
pub mod rules;
pub mod server;
mod service_role;
pub mod settings;
mod sim;
pub mod sqs;
pub mod stats;
pub mod sts;
pub mod time;
pub mod traffic;
mod wire;
pub mod world;

pub use account_lifecycle::{LifecycleError, NewAccount};
pub use builder::SimBuilder;
pub use call::{ApiError, Call, Caller, Service};
pub use faults::{FaultKind, FaultRule, When};
pub use limits::LimitClock;
pub use model::errors_of;
pub use rules::RuleError;
pub use settings::TwinRule;
pub use sim::{Credentials, Sim};
pub use stats::CallRecord;
pub use world::World;

#[cfg(test)]
mod tests;
