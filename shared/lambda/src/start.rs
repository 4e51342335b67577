//! Starting up: settings from the environment, connections, journal.

use anyhow::Context as _;
use enroller_core::settings::Settings;
use enroller_engine::Engine;

/// The function's name, as metrics and log lines carry it.
pub fn function_name(default: &str) -> String {
    std::env::var("AWS_LAMBDA_FUNCTION_NAME").unwrap_or_else(|_| default.to_owned())
}
