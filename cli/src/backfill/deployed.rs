//! `enroller backfill --function`: invokes the deployed function, which queues the work, and watches the queues until
//! they are empty.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use enroller_aws::Deployed;
use enroller_core::backfill::BackfillRequest;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use crate::about::About;
use crate::args::{BackfillArgs, SelectionArgs};
use crate::identity::Purpose;
use crate::output::{Output, ask, count};
use crate::session::Session;

/// The polling interval of the queues.
const INTERVAL: Duration = Duration::from_secs(3);

/// How many times in a row the queues must be empty. SQS's figures are approximate, so one time is not enough.
const EMPTY_LOOKS: usize = 3;

pub(super) async fn run(args: &BackfillArgs, function: &str) -> anyhow::Result<ExitCode> {
    let session = Session::open(&args.connection, Purpose::Change).await?;
    let settings = session.settings();
    // A backfill that runs out of time continues through a queue of its own. It is not done while that queue has messages.
    let queues = [&settings.enrollments_queue_url, &settings.grants_queue_url, &settings.backfill_queue_url];
    let queues: Option<Vec<String>> = queues.into_iter().cloned().collect();
    let queues =
        queues.context("set enrollments_queue_url, grants_queue_url and backfill_queue_url to watch the queues")?;
    let deployed = session.deployed().context("a simulated installation has no functions to invoke")?;
    let about = About::of(&session, &args.selection.request(), None)?;
    if !args.yes {
        let dry = deployed.invoke(function, &request(&args.selection, true)).await?;
        if !ask(&format!("{}\n{dry:#}\nProceed? [y/N] ", about.lines().join("\n")))? {
            return Ok(ExitCode::FAILURE);
        }
    }
    let answer = deployed.invoke(function, &request(&args.selection, false)).await?;
    let mut out = Output::stdout();
    about.print(&mut out)?;
    out.line(&format!("{answer:#}"))?;
    out.flush()?;
    let left = follow(&deployed, &queues).await?;
    let code = match left {
        0 => {
            out.line("The queues are empty. Run `enroller coverage` to see the result.")?;
            ExitCode::SUCCESS
        }
        left => {
            out.line(&format!(
                "Interrupted: {} left, which the functions process without this command.",
                messages(left)
            ))?;
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

/// A number of messages, as text.
fn messages(number: u64) -> String {
    count(usize::try_from(number).unwrap_or(usize::MAX), "message")
}

/// Watches the queues until they are empty or the command is interrupted. Returns the number of messages left.
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
        bar.set_message(format!("{} in the queues", messages(left)));
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
