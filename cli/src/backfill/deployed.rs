//! `enroller backfill --function`: the deployed function queues the work, and the queues are watched until it is done.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use enroller_aws::{Connection, Deployed};
use enroller_core::backfill::BackfillRequest;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use crate::args::{BackfillArgs, SelectionArgs};
use crate::configuration::Configuration;
use crate::output::{Output, ask};

/// How often the queues are looked at.
const INTERVAL: Duration = Duration::from_secs(3);

/// SQS's figures are approximate: the queues count as empty when they were so this often in a row.
const EMPTY_LOOKS: usize = 3;

pub(super) async fn run(args: &BackfillArgs, function: &str) -> anyhow::Result<ExitCode> {
    let settings = Configuration::load(&args.connection.settings)?.settings()?;
    // A backfill whose time runs out goes on through a queue of its own; while that is not empty, it is not done.
    let queues = [&settings.enrollments_queue_url, &settings.grants_queue_url, &settings.backfill_queue_url];
    let queues: Option<Vec<String>> = queues.into_iter().cloned().collect();
    let queues =
        queues.context("set enrollments_queue_url, grants_queue_url and backfill_queue_url, to be able to follow")?;
    let deployed = Connection::connect(Arc::new(settings)).await.deployed();
    if !args.yes {
        let dry = deployed.invoke(function, &request(&args.selection, true)).await?;
        if !ask(&format!("{dry:#}\nGo ahead? [y/N] "))? {
            return Ok(ExitCode::FAILURE);
        }
    }
    let answer = deployed.invoke(function, &request(&args.selection, false)).await?;
    let mut out = Output::stdout();
    out.line(&format!("{answer:#}"))?;
    out.flush()?;
    let left = follow(&deployed, &queues).await?;
    let code = match left {
        0 => {
            out.line("The queues are empty. `enroller coverage` tells what came of it.")?;
            ExitCode::SUCCESS
        }
        left => {
            out.line(&format!("Interrupted: {left} messages are left, and worked on without this command."))?;
            ExitCode::FAILURE
        }
    };
    out.finish()?;
    Ok(code)
}

fn request(selection: &SelectionArgs, dry_run: bool) -> Value {
    let reason = "enroller backfill --function".to_owned();
    json!(BackfillRequest { dry_run, reason, ..selection.request() })
}

/// Watches the queues until they are empty or Ctrl-C; gives what is left.
async fn follow(deployed: &Deployed, queues: &[String]) -> anyhow::Result<u64> {
    let bar = ProgressBar::new_spinner();
    bar.set_style(
        ProgressStyle::with_template("{spinner} {msg}, {elapsed}").unwrap_or_else(|_| ProgressStyle::default_spinner()),
    );
    bar.enable_steady_tick(Duration::from_millis(120));
    let mut interrupted = std::pin::pin!(crate::interrupt::interrupted());
    let mut empty = 0;
    loop {
        let mut left = 0;
        for queue in queues {
            left += deployed.queue_depth(queue).await?;
        }
        bar.set_message(format!("{left} messages on the queues"));
        empty = if left == 0 { empty + 1 } else { 0 };
        if empty >= EMPTY_LOOKS {
            bar.finish_and_clear();
            return Ok(0);
        }
        tokio::select! {
            () = &mut interrupted => {
                bar.finish_and_clear();
                return Ok(left.max(1));
            }
            () = tokio::time::sleep(INTERVAL) => {}
        }
    }
}
