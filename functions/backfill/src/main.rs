//! The `backfill` function: wiring only.

use std::sync::Arc;

use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde_json::Value;

// One thread is all that a function below 1,769 MB of memory has, and fewer start faster.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    lambda_runtime::tracing::init_default_subscriber();
    // Once per container; every invocation uses the same connections and remembers what the last one learned.
    let required = [
        "enrollments_queue_url",
        "grants_queue_url",
        "backfill_queue_url",
        // For the dry run, which plans the grants.
        "destination_target_arn",
        "destination_role_arn",
    ];
    let engine = Arc::new(enroller_lambda::engine_from_environment("backfill", &required).await?);
    lambda_runtime::run(service_fn(move |event: LambdaEvent<Value>| {
        let engine = Arc::clone(&engine);
        async move { backfill::handle(&engine, event).await.map_err(|error| Error::from(format!("{error:#}"))) }
    }))
    .await
}
