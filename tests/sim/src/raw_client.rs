//! Calls without an SDK, for tests and the demo.

use bytes::Bytes;
use form_urlencoded::Serializer;
use http::Request;
use serde_json::Value;

use crate::call::{ApiError, Service};
use crate::dispatch::{Answer, answer};
use crate::sim::{Credentials, Sim};
use crate::wire::Protocol;

impl Sim {
    /// Makes one call over the wire protocol, without latency, and returns the body of the answer.
    ///
    /// `input` is the body of a JSON service; for a Query service an object of its flat parameters, such as
    /// `{"CidrBlock": "10.0.0.0/16", "TagSpecification.1.ResourceType": "vpc"}`.
    ///
    /// # Errors
    ///
    /// The error in the answer, or one with status 0 where a fault withheld the answer.
    pub fn call_raw(
        &self,
        credentials: &Credentials,
        region: &str,
        service: Service,
        operation: &str,
        input: &Value,
    ) -> Result<String, ApiError> {
        let request = request(credentials, region, service, operation, input)
            .map_err(|error| ApiError::new(0, "InvalidRequest", error.to_string()))?;
        let (parts, body) = request.into_parts();
        let response = match self.with(|world| answer(world, &parts, &body)) {
            Answer::Response(response) => response,
            Answer::Failure(failure) => {
                return Err(ApiError::new(0, &format!("{failure:?}"), "a fault kept the answer"));
            }
        };
        let body = String::from_utf8_lossy(response.body()).into_owned();
        if response.status().is_success() {
            return Ok(body);
        }
        Err(read_error(service, response.status().as_u16(), &body))
    }
}

pub(crate) fn request(
    credentials: &Credentials,
    region: &str,
    service: Service,
    operation: &str,
    input: &Value,
) -> Result<Request<Bytes>, http::Error> {
    let scope = format!("{}/20261123/{region}/{service}/aws4_request", credentials.access_key_id);
    let authorization = format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0");
    let mut request = Request::post("/").header("authorization", authorization);
    if let Some(token) = &credentials.session_token {
        request = request.header("x-amz-security-token", token);
    }
    match Protocol::of(service) {
        (Protocol::Json { version, .. }, target) => request
            .header("content-type", format!("application/x-amz-json-{version}"))
            .header("x-amz-target", format!("{target}{operation}"))
            .body(Bytes::from(input.to_string())),
        (Protocol::Ec2 | Protocol::Query, _) => {
            let mut form = Serializer::new(String::new());
            form.append_pair("Action", operation).append_pair("Version", crate::wire::version_of(service));
            for (name, value) in input.as_object().into_iter().flatten() {
                let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                form.append_pair(name, &text);
            }
            request.header("content-type", "application/x-www-form-urlencoded").body(Bytes::from(form.finish()))
        }
    }
}

fn read_error(service: Service, status: u16, body: &str) -> ApiError {
    let json: Value = serde_json::from_str(body).unwrap_or_default();
    match Protocol::of(service).0 {
        Protocol::Json { message, .. } => {
            let text = |name: &str| json[name].as_str().unwrap_or_default();
            ApiError::new(status, text("__type"), text(message))
        }
        Protocol::Ec2 | Protocol::Query => {
            let between = |name: &str| {
                let after = body.split_once(&format!("<{name}>")).map(|(_, after)| after).unwrap_or_default();
                after.split_once('<').map(|(text, _)| text).unwrap_or_default()
            };
            ApiError::new(status, between("Code"), between("Message"))
        }
    }
}
