//! A simulated installation: the roles, rules and queues of the templates on the simulated AWS, and the real function
//! handlers, which get messages from the queues as Lambda's event source mappings would deliver them.
//!
//! For tests, the demo and benchmarks. It is never linked into a function.

mod adapter;
pub mod audit;
pub mod container;
mod execution;
pub mod install;
mod lab;
mod log;
mod mapping;
pub mod people;
mod runtime_api;
pub mod templates;
mod timers;
mod withheld;

pub use adapter::{As, connection_on, ports_on, sdk_config};
pub use install::{Installation, installation_settings};
pub use lab::{Lab, LabError, LabOptions, Operator};
pub use log::RecordingLog;
pub use runtime_api::Said;
pub use withheld::{Element, Withheld};
