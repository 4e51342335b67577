//! Starting up: settings from the environment, connections, journal.

use std::sync::Arc;

use anyhow::Context as _;
use enroller_aws::{Connection, LineJournal, Time};
use enroller_core::settings::Settings;
use enroller_engine::Engine;

/// The function's name, as metrics and log lines carry it.
pub fn function_name(default: &str) -> String {
    std::env::var("AWS_LAMBDA_FUNCTION_NAME").unwrap_or_else(|_| default.to_owned())
}

/// Everything a function needs, from its environment. Called once per container. `required` are settings that others do
/// without and this function cannot.
///
/// # Errors
///
/// Settings that cannot be used, all at once; AWS configuration that cannot be loaded.
pub async fn engine_from_environment(function: &str, required: &[&'static str]) -> anyhow::Result<Engine> {
    let settings = Settings::from_environment(|name| std::env::var(name).ok()).context("reading the settings")?;
    settings.require(required).context("reading the settings")?;
    let aws = Connection::connect(Arc::new(settings.clone())).await.aws();
    let clock = Arc::new(Time::system());
    let journal = LineJournal::stdout(&function_name(function), Arc::clone(&clock) as _);
    Ok(Engine::new(settings, aws, clock, Arc::new(journal)))
}
