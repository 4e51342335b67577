//! Answers and refusals in the shape of each protocol.

use bytes::Bytes;
use http::Response;
use serde_json::json;

use super::xml::Element;
use super::{Output, Protocol};
use crate::call::{ApiError, Service};

/// The answer of a call that succeeded.
pub(crate) fn render_output(service: Service, operation: &str, request_id: &str, output: Output) -> Response<Bytes> {
    match (output, Protocol::of(service).0) {
        (Output::Json(value), Protocol::Json { version, .. }) => {
            // An operation without output, such as PutRetentionPolicy, answers an empty body or `{}`; SDKs take both.
            json_response(200, version, request_id, if value.is_null() { "{}".to_owned() } else { value.to_string() })
        }
        (Output::Xml(children), Protocol::Ec2) => {
            let id = Element::text("requestId", request_id);
            let root = Element::of(&format!("{operation}Response"), std::iter::once(id).chain(children).collect());
            xml_response(200, request_id, &root.with_namespace("http://ec2.amazonaws.com/doc/2016-11-15/"))
        }
        (Output::Xml(children), Protocol::Query) => {
            let mut parts = Vec::new();
            if !children.is_empty() {
                parts.push(Element::of(&format!("{operation}Result"), children));
            }
            parts.push(Element::of("ResponseMetadata", vec![Element::text("RequestId", request_id)]));
            let root = Element::of(&format!("{operation}Response"), parts);
            xml_response(200, request_id, &root.with_namespace(namespace(service)))
        }
        (Output::Json(_), Protocol::Ec2 | Protocol::Query) | (Output::Xml(_), Protocol::Json { .. }) => {
            let refusal = ApiError::new(500, "InternalFailure", "the answer is not of the service's protocol");
            render_error(service, &refusal, request_id, false)
        }
    }
}

/// The answer of a call that was refused. `query_mode` asks a JSON service for the code of its older Query API too.
pub(crate) fn render_error(
    service: Service,
    refusal: &ApiError,
    request_id: &str,
    query_mode: bool,
) -> Response<Bytes> {
    let code_and_message =
        || vec![Element::text("Code", refusal.code.as_str()), Element::text("Message", refusal.message.as_str())];
    match Protocol::of(service).0 {
        Protocol::Ec2 => {
            let errors = Element::of("Errors", vec![Element::of("Error", code_and_message())]);
            let root = Element::of("Response", vec![errors, Element::text("RequestID", request_id)]);
            xml_response(refusal.status, request_id, &root)
        }
        Protocol::Query => {
            let fault = if refusal.status >= 500 { "Receiver" } else { "Sender" };
            let mut error = vec![Element::text("Type", fault)];
            error.extend(code_and_message());
            let parts = vec![Element::of("Error", error), Element::text("RequestId", request_id)];
            let root = Element::of("ErrorResponse", parts).with_namespace(namespace(service));
            xml_response(refusal.status, request_id, &root)
        }
        Protocol::Json { version, message } => {
            let body = json!({ "__type": refusal.code, message: refusal.message }).to_string();
            let mut response = json_response(refusal.status, version, request_id, body);
            let fault = if refusal.status >= 500 { "Receiver" } else { "Sender" };
            let older = format!("{};{fault}", older_code(&refusal.code));
            if let (true, Ok(value)) = (query_mode, http::HeaderValue::try_from(older)) {
                response.headers_mut().insert("x-amzn-query-error", value);
            }
            response
        }
    }
}

/// Codes that differ in the Query API which SQS had before (SQS model, trait `awsQueryError`).
fn older_code(code: &str) -> &str {
    match code {
        "QueueDoesNotExist" => "AWS.SimpleQueueService.NonExistentQueue",
        "QueueNameExists" => "QueueAlreadyExists",
        "BatchRequestTooLong" => "AWS.SimpleQueueService.BatchRequestTooLong",
        "EmptyBatchRequest" => "AWS.SimpleQueueService.EmptyBatchRequest",
        "TooManyEntriesInBatchRequest" => "AWS.SimpleQueueService.TooManyEntriesInBatchRequest",
        "BatchEntryIdsNotDistinct" => "AWS.SimpleQueueService.BatchEntryIdsNotDistinct",
        "InvalidBatchEntryId" => "AWS.SimpleQueueService.InvalidBatchEntryId",
        "MessageNotInflight" => "AWS.SimpleQueueService.MessageNotInflight",
        "UnsupportedOperation" => "AWS.SimpleQueueService.UnsupportedOperation",
        same => same,
    }
}

fn namespace(service: Service) -> &'static str {
    match service {
        Service::Iam => "https://iam.amazonaws.com/doc/2010-05-08/",
        Service::Sts => "https://sts.amazonaws.com/doc/2011-06-15/",
        Service::Ec2
        | Service::Logs
        | Service::Organizations
        | Service::Sqs
        | Service::Events
        | Service::CloudTrail => "",
    }
}

fn xml_response(status: u16, request_id: &str, root: &Element) -> Response<Bytes> {
    response(status, "text/xml;charset=UTF-8", "x-amzn-requestid", request_id, root.render())
}

fn json_response(status: u16, version: &str, request_id: &str, body: String) -> Response<Bytes> {
    response(status, &format!("application/x-amz-json-{version}"), "x-amzn-RequestId", request_id, body)
}

fn response(status: u16, content_type: &str, id_header: &str, request_id: &str, body: String) -> Response<Bytes> {
    let built = Response::builder()
        .status(status)
        .header("content-type", content_type)
        .header(id_header, request_id)
        .body(Bytes::from(body));
    // All parts are generated here and valid, except a status outside 100 to 999 in an armed fault.
    built.unwrap_or_else(|error| {
        let mut response = Response::new(Bytes::from(format!("the simulated AWS made a bad answer: {error}")));
        *response.status_mut() = http::StatusCode::INTERNAL_SERVER_ERROR;
        response
    })
}
