//! Starting up and ending: settings from the environment, connections and the decision log, then invocations until
//! Lambda says stop.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use enroller_aws::{Connection, JsonLog, Time};
use enroller_core::settings::{Settings, SettingsError};
use enroller_engine::Context;
use lambda_runtime::{Diagnostic, LambdaEvent, service_fn, tracing};
use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};

/// A function's whole process. It builds the function's worker, then hands invocations to `handle`, one after the other,
/// until SIGTERM.
///
/// Lambda sends SIGTERM where some extension is registered, and kills 300 to 500 ms later (aws-samples,
/// graceful-shutdown-with-aws-lambda): too little to finish anything. So the process ends at once, in the middle of an
/// invocation too. What was begun comes back from its queue and is inspected anew. For the same reason no extension is
/// registered only to receive the signal.
///
/// The exit code is zero after SIGTERM only. Anything else is reported in one line of the log, with all settings that
/// are missing or cannot be used.
pub async fn run<W>(
    function: &str,
    build: impl FnOnce(Context, &Connection) -> Result<W, SettingsError>,
    handle: impl AsyncFn(&W, LambdaEvent<Value>) -> anyhow::Result<Value>,
) -> ExitCode {
    tracing::init_default_subscriber();
    match serve(function, build, &handle).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "the function cannot continue");
            ExitCode::FAILURE
        }
    }
}

async fn serve<W>(
    function: &str,
    build: impl FnOnce(Context, &Connection) -> Result<W, SettingsError>,
    handle: &impl AsyncFn(&W, LambdaEvent<Value>) -> anyhow::Result<Value>,
) -> anyhow::Result<()> {
    let mut terminated = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    // Once per container; every invocation uses the same connections and remembers what the last one learned.
    let (context, connection) = from_environment(function).await?;
    let worker = &build(context, &connection).context("reading the settings")?;
    let invocations = lambda_runtime::run(service_fn(|event| async move {
        handle(worker, event).await.map_err(|error| Diagnostic {
            // What people see as `errorType`; by itself the runtime would show the name of a Rust type.
            error_type: "InvocationFailed".to_owned(),
            error_message: format!("{error:#}"),
        })
    }));
    tokio::select! {
        _ = terminated.recv() => {
            tracing::info!("received SIGTERM");
            Ok(())
        }
        ended = invocations => ended.map_err(anyhow::Error::from_boxed).context("requesting invocations from Lambda"),
    }
}

/// The function's name in metrics and log entries.
fn function_name(default: &str) -> String {
    std::env::var("AWS_LAMBDA_FUNCTION_NAME").unwrap_or_else(|_| default.to_owned())
}

async fn from_environment(function: &str) -> anyhow::Result<(Context, Connection)> {
    let settings = Settings::from_environment(|name| std::env::var(name).ok()).context("reading the settings")?;
    let connection = Connection::connect(Arc::new(settings.clone())).await;
    let clock = Arc::new(Time::system());
    let log = JsonLog::stdout(&function_name(function), Arc::clone(&clock) as _);
    Ok((Context::new(settings, clock, Arc::new(log)), connection))
}
