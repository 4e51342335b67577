//! The deployed functions (Lambda) and their queues, for the command line tool.

use std::sync::Arc;
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_lambda::primitives::Blob;
use aws_sdk_sqs::types::QueueAttributeName;
use enroller_core::error::AwsError;
use enroller_core::ids::AccountRegion;
use enroller_engine::ports::AwsResult;
use serde_json::Value;

use crate::calls::{Calls, Identity, Link};
use crate::errors::unparsable;
use crate::limits::{GET_QUEUE, INVOKE};

#[cfg(test)]
mod tests;

/// How long to wait for a response: a function runs for at most 15 minutes (Lambda quotas), and its response has to
/// arrive.
const INVOCATION_TIMEOUT: Duration = Duration::from_secs(910);

/// The functions and queues of the central account, in the home Region.
pub struct Deployed {
    lambda: Calls<aws_sdk_lambda::Client>,
    sqs: Calls<aws_sdk_sqs::Client>,
}

impl Deployed {
    pub(crate) fn new(link: &Arc<Link>) -> Self {
        Self {
            lambda: Calls::new(link, Identity::Central, aws_sdk_lambda::Client::new),
            sqs: Calls::new(link, Identity::Central, aws_sdk_sqs::Client::new),
        }
    }

    fn at(&self) -> AccountRegion {
        let settings = self.lambda.settings();
        AccountRegion { account: settings.central_account, region: settings.home_region.clone() }
    }

    /// Invokes a function and waits for its response. There are no retries: a function whose response was lost may
    /// still be running.
    ///
    /// # Errors
    ///
    /// AWS's error, the error that the function returned, with code `FunctionError`, or a response that is not JSON.
    pub async fn invoke(&self, function: &str, payload: &Value) -> AwsResult<Value> {
        let at = self.at();
        let payload = Blob::new(payload.to_string());
        let timeouts = TimeoutConfig::builder()
            .operation_timeout(INVOCATION_TIMEOUT)
            .disable_operation_attempt_timeout()
            .disable_read_timeout()
            .build();
        let patience = aws_sdk_lambda::Config::builder().timeout_config(timeouts).retry_config(RetryConfig::disabled());
        let request = |client: aws_sdk_lambda::Client| {
            client
                .invoke()
                .function_name(function)
                .payload(payload.clone())
                .customize()
                .config_override(patience.clone())
                .send()
        };
        let answer = self.lambda.call(INVOKE, &at, request).await?;
        let body = answer.payload().map(|blob| String::from_utf8_lossy(blob.as_ref()).into_owned()).unwrap_or_default();
        if answer.function_error().is_some() {
            return Err(AwsError::answered(INVOKE.operation, "FunctionError", body).at(at.account, &at.region));
        }
        serde_json::from_str(&body)
            .map_err(|error| unparsable(INVOKE.operation, &at, format!("the function returned {body:?}: {error}")))
    }

    /// The approximate number of messages in a queue, including those in flight and those delayed.
    ///
    /// # Errors
    ///
    /// AWS's error, or a response without these numbers.
    pub async fn queue_depth(&self, queue_url: &str) -> AwsResult<u64> {
        let at = self.at();
        let names = [
            QueueAttributeName::ApproximateNumberOfMessages,
            QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
            QueueAttributeName::ApproximateNumberOfMessagesDelayed,
        ];
        let wanted = Some(names.to_vec());
        let request = |client: aws_sdk_sqs::Client| {
            client.get_queue_attributes().queue_url(queue_url).set_attribute_names(wanted.clone()).send()
        };
        let answer = self.sqs.call(GET_QUEUE, &at, request).await?;
        let mut depth = 0;
        for name in &names {
            let text = answer.attributes().and_then(|attributes| attributes.get(name)).map_or("", String::as_str);
            depth += text.parse::<u64>().map_err(|error| {
                unparsable(GET_QUEUE.operation, &at, format!("{} is {text:?}: {error}", name.as_str()))
            })?;
        }
        Ok(depth)
    }
}
