//! An installation on the simulated AWS: the templates' roles, rules and queues, and the real function handlers fed
//! from the queues as Lambda's event source mappings would.
//!
//! For tests, the demo and benchmarks; never linked into a function.

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
mod withheld;

pub use adapter::{As, connection_on, ports_on, sdk_config};
pub use install::{Installation, installation_settings};
pub use lab::{Lab, LabError, LabOptions, Operator};
pub use log::RecordingLog;
pub use runtime_api::Said;
pub use withheld::{Element, Withheld};
