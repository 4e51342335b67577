//! The `account-onboarder` function: wiring only.

use std::process::ExitCode;

// One thread is all that a function below 1,769 MB of memory has, and fewer start faster.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let required = ["destination_target_arn", "destination_role_arn", "enrollments_queue_url", "grants_queue_url"];
    enroller_lambda::run("account-onboarder", &required, account_onboarder::handle).await
}
