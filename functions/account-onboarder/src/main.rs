//! The `account-onboarder` function: wiring only.

use std::process::ExitCode;

// A function below 1,769 MB of memory has one CPU at most, and one thread starts faster than several.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    enroller_lambda::run(
        "account-onboarder",
        |context, connection| account_onboarder::worker(context, &connection.ports(), connection.destination_writer()),
        account_onboarder::handle,
    )
    .await
}
