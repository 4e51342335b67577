//! The `vpc-enroller` function: wiring only.

use std::process::ExitCode;

// A function below 1,769 MB of memory has one CPU at most, and one thread starts faster than several.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    enroller_lambda::run(
        "vpc-enroller",
        |context, connection| vpc_enroller::worker(context, &connection.ports()),
        vpc_enroller::handle,
    )
    .await
}
