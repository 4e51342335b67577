//! The `backfill` function: wiring only.

use std::process::ExitCode;

// One thread is all that a function below 1,769 MB of memory has, and fewer start faster.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let required = [
        "enrollments_queue_url",
        "grants_queue_url",
        "backfill_queue_url",
        // For the dry run, which plans the grants.
        "destination_target_arn",
        "destination_role_arn",
    ];
    enroller_lambda::run("backfill", &required, backfill::handle).await
}
