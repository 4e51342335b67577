//! The `vpc-enroller` function: wiring only.

use std::process::ExitCode;

// One thread is all that a function below 1,769 MB of memory has, and fewer start faster.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let required = ["grants_queue_url", "enrollments_queue_url"];
    enroller_lambda::run("vpc-enroller", &required, vpc_enroller::handle).await
}
