//! Converts the SDK's errors to [`AwsError`], by code and never by message.

use std::error::Error;

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use aws_types::request_id::RequestId;
use enroller_core::error::AwsError;
use enroller_core::ids::AccountRegion;

#[cfg(test)]
mod tests;

/// The error of a call made in an account-Region.
pub(crate) fn aws_error<E>(operation: &'static str, at: &AccountRegion, error: SdkError<E, HttpResponse>) -> AwsError
where
    E: Error + ProvideErrorMetadata + 'static,
{
    let request_id = error.request_id().or_else(|| error.meta().request_id()).map(str::to_owned);
    let mut found = match &error {
        SdkError::ServiceError(context) => answered(operation, context.err(), context.raw()),
        // The response's head arrived but its body broke off, so whether the call took effect is unknown.
        SdkError::ResponseError(_) | SdkError::TimeoutError(_) | SdkError::DispatchFailure(_) => {
            AwsError::unanswered(operation, chain(&error))
        }
        SdkError::ConstructionFailure(_) => AwsError::answered(operation, "RequestNotSent", chain(&error)),
        other => AwsError::unanswered(operation, chain(other)),
    };
    found.request_id = request_id;
    found.at(at.account, &at.region)
}

fn answered<E>(operation: &'static str, error: &E, raw: &HttpResponse) -> AwsError
where
    E: Error + ProvideErrorMetadata + 'static,
{
    let status = raw.status();
    match error.code().filter(|code| !code.is_empty()) {
        Some(code) => AwsError::answered(operation, code, error.message().unwrap_or("no message")),
        // Load balancers and gateways respond without a code, in HTML.
        None if status.is_server_error() => AwsError {
            code_text: format!("HTTP {}", status.as_u16()),
            ..AwsError::answered(operation, "InternalError", chain(error))
        },
        None => {
            let message = format!("HTTP {}: {}", status.as_u16(), chain(error));
            AwsError::unparsable(operation, message)
        }
    }
}

/// A response that lacks a value or has an unknown one; `message` names it.
pub(crate) fn unparsable(operation: &'static str, at: &AccountRegion, message: impl Into<String>) -> AwsError {
    AwsError::unparsable(operation, message).at(at.account, &at.region)
}

/// The error's text with those of all its causes. Unlike the SDK's `DisplayErrorContext`, it leaves out the debug form,
/// which quotes the raw response: that of AssumeRole contains credentials.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.ends_with(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}
