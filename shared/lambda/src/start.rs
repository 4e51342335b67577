//! Starting up and ending: settings from the environment, connections, journal; invocations until Lambda says stop.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use enroller_aws::{Connection, JsonLog, Time};
use enroller_core::settings::Settings;
use enroller_engine::Engine;
use lambda_runtime::{Diagnostic, LambdaEvent, service_fn, tracing};
use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};

/// A function's whole process: starts up, then hands invocations to `handle`, one after the other, until SIGTERM.
/// `required` are settings that others do without and this function cannot.
///
/// Lambda sends SIGTERM where some extension is registered, and kills 300 to 500 ms later (aws-samples,
/// graceful-shutdown-with-aws-lambda): too little to finish anything. So it ends the process at once, in the middle of
/// an invocation too; what was begun comes back from its queue and is looked at anew. For the same reason no extension
/// is registered only to be told.
///
/// The exit code is zero after SIGTERM only. Anything else is told in one line of the log, all settings that cannot be
/// used together.
pub async fn run(
    function: &str,
    required: &[&'static str],
    handle: impl AsyncFn(&Engine, LambdaEvent<Value>) -> anyhow::Result<Value>,
) -> ExitCode {
    tracing::init_default_subscriber();
    match serve(function, required, &handle).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "the function cannot go on");
            ExitCode::FAILURE
        }
    }
}

async fn serve(
    function: &str,
    required: &[&'static str],
    handle: &impl AsyncFn(&Engine, LambdaEvent<Value>) -> anyhow::Result<Value>,
) -> anyhow::Result<()> {
    let mut terminated = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    // Once per container; every invocation uses the same connections and remembers what the last one learned.
    let engine = &engine_from_environment(function, required).await?;
    let invocations = lambda_runtime::run(service_fn(|event| async move {
        handle(engine, event).await.map_err(|error| Diagnostic {
            // What people see as `errorType`; by itself the runtime would show the name of a Rust type.
            error_type: "InvocationFailed".to_owned(),
            error_message: format!("{error:#}"),
        })
    }));
    tokio::select! {
        _ = terminated.recv() => {
            tracing::info!("told to end");
            Ok(())
        }
        ended = invocations => ended.map_err(anyhow::Error::from_boxed).context("asking Lambda for invocations"),
    }
}

/// The function's name, as metrics and log lines carry it.
fn function_name(default: &str) -> String {
    std::env::var("AWS_LAMBDA_FUNCTION_NAME").unwrap_or_else(|_| default.to_owned())
}

async fn engine_from_environment(function: &str, required: &[&'static str]) -> anyhow::Result<Engine> {
    let settings = Settings::from_environment(|name| std::env::var(name).ok()).context("reading the settings")?;
    settings.require(required).context("reading the settings")?;
    let aws = Connection::connect(Arc::new(settings.clone())).await.aws();
    let clock = Arc::new(Time::system());
    let log = JsonLog::stdout(&function_name(function), Arc::clone(&clock) as _);
    Ok(Engine::new(settings, aws, clock, Arc::new(log)))
}
