//! The `account-onboarder` function: wiring only.

use std::process::ExitCode;

// One thread is all that a function below 1,769 MB of memory has, and fewer start faster.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    enroller_lambda::run(
        "account-onboarder",
        |context, connection| account_onboarder::worker(context, &connection.ports(), connection.destination_writer()),
        account_onboarder::handle,
    )
    .await
}
