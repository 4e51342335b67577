//! The wire protocols: what a request asks, and how an answer or a refusal looks in each service's protocol.

pub(crate) mod json;
pub(crate) mod query;
mod render;
pub(crate) mod xml;

use http::HeaderMap;
use http::request::Parts;
use serde_json::Value;

use crate::call::{ApiError, Service};
use query::Params;

pub(crate) use render::{render_error, render_output};

/// Result of an operation of a Query service: the members of its answer, and the facts that its trail event shows.
pub(crate) type QueryAnswer = Result<(Vec<xml::Element>, Value), ApiError>;

/// What an operation gave.
#[derive(Debug)]
pub(crate) enum Output {
    /// Members of an XML answer.
    Xml(Vec<xml::Element>),
    Json(Value),
}

/// What an operation was given.
#[derive(Debug)]
pub(crate) enum Input {
    /// Parameters of the Query protocols.
    Form(Params),
    /// Body of the AWS JSON protocols.
    Json(Value),
}

/// How a service wants requests and answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// EC2 Query: like AWS Query, with lists and errors of its own.
    Ec2,
    /// AWS Query, of STS and IAM.
    Query,
    /// AWS JSON, with its version and the member that holds an error's message.
    Json {
        /// `1.0` or `1.1`.
        version: &'static str,
        /// `message`, or `Message` for Organizations and CloudTrail.
        message: &'static str,
    },
}

impl Protocol {
    /// The protocol of a service, and the target prefix of its operations where it is a JSON one.
    pub(crate) fn of(service: Service) -> (Self, &'static str) {
        let json = |version, message| Self::Json { version, message };
        match service {
            Service::Ec2 => (Self::Ec2, ""),
            Service::Sts | Service::Iam => (Self::Query, ""),
            Service::Logs => (json("1.1", "message"), "Logs_20140328."),
            Service::Organizations => (json("1.1", "Message"), "AWSOrganizationsV20161128."),
            Service::Sqs => (json("1.0", "message"), "AmazonSQS."),
            Service::Events => (json("1.1", "message"), "AWSEvents."),
            Service::CloudTrail => (json("1.1", "Message"), "CloudTrail_20131101."),
        }
    }
}

/// The parts of a signature that say who calls what where. The signature itself is not verified.
#[derive(Clone, Debug)]
pub(crate) struct Scope {
    pub(crate) access_key_id: String,
    /// Region that the request is signed for.
    pub(crate) region: String,
    /// Service that the request is signed for.
    pub(crate) service: Service,
    /// From `X-Amz-Security-Token`; absent for long-term credentials.
    pub(crate) session_token: Option<String>,
}

impl Scope {
    /// Reads the `Authorization` header; behind one endpoint URL the host name says nothing.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Self, ApiError> {
        // Common errors of the Query APIs: MissingAuthenticationToken 403, IncompleteSignature 400.
        let missing = || ApiError::new(403, "MissingAuthenticationToken", "Request is missing Authentication Token");
        let broken = |what: &str| ApiError::new(400, "IncompleteSignature", format!("Authorization header {what}"));
        let header = text(headers, "authorization").ok_or_else(missing)?;
        let credential = header
            .strip_prefix("AWS4-HMAC-SHA256 ")
            .and_then(|rest| rest.split(',').find_map(|part| part.trim().strip_prefix("Credential=")))
            .ok_or_else(|| broken("requires 'Credential' parameter."))?;
        let parts: Vec<&str> = credential.split('/').collect();
        let &[access_key_id, _date, region, service, "aws4_request"] = parts.as_slice() else {
            return Err(broken("has a malformed credential scope."));
        };
        let service = Service::from_signing_name(service).ok_or_else(|| {
            ApiError::new(404, "UnknownService", format!("the simulated AWS does not know service {service}"))
        })?;
        Ok(Self {
            access_key_id: access_key_id.to_owned(),
            region: region.to_owned(),
            service,
            session_token: text(headers, "x-amz-security-token").map(str::to_owned),
        })
    }
}

/// The operation that a request names, and its input.
pub(crate) fn parse(service: Service, parts: &Parts, body: &[u8]) -> Result<(String, Input), ApiError> {
    match Protocol::of(service) {
        (Protocol::Json { .. }, prefix) => {
            let target = text(&parts.headers, "x-amz-target").unwrap_or_default();
            let operation = target.strip_prefix(prefix).ok_or_else(|| ApiError::unknown_operation(target))?;
            Ok((operation.to_owned(), Input::Json(json::parse(body)?)))
        }
        (Protocol::Ec2 | Protocol::Query, _) => {
            let mut params = Params::parse(body, parts.uri.query().unwrap_or_default());
            let operation = params.take("Action").ok_or_else(|| {
                // Common errors of the Query APIs.
                ApiError::new(400, "MissingAction", "The request must contain the parameter Action")
            })?;
            check_version(service, params.take("Version").as_deref())?;
            Ok((operation, Input::Form(params)))
        }
    }
}

/// The API version of a service's model; empty for the JSON services, whose requests do not carry it.
pub(crate) fn version_of(service: Service) -> &'static str {
    match service {
        Service::Ec2 => "2016-11-15",
        Service::Iam => "2010-05-08",
        Service::Sts => "2011-06-15",
        Service::Logs | Service::Organizations | Service::Sqs | Service::Events | Service::CloudTrail => "",
    }
}

fn check_version(service: Service, version: Option<&str>) -> Result<(), ApiError> {
    let expected = version_of(service);
    if version == Some(expected) {
        return Ok(());
    }
    let message = format!("the simulated AWS speaks version {expected} of {service}, not {version:?}");
    Err(ApiError::new(400, "NoSuchVersion", message))
}

/// A header's value where it is text.
pub(crate) fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}
