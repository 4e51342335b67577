//! The `vpc-enroller` function: wiring only.

use std::sync::Arc;

use lambda_runtime::{LambdaEvent, service_fn};
use serde_json::Value;

// One thread is all that a function below 1,769 MB of memory has, and fewer start faster.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    lambda_runtime::tracing::init_default_subscriber();
    let engine = Arc::new(enroller_lambda::engine_from_environment("vpc-enroller").await?);
    enroller_lambda::run(service_fn(move |event: LambdaEvent<Value>| {
        let engine = Arc::clone(&engine);
        async move { vpc_enroller::handle(&engine, event).await }
    }))
    .await
}
