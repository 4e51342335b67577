//! The errors that an operation can answer.

use super::Model;
use crate::call::{ApiError, Service};
use crate::limits::throttle;
use crate::preflight::{bad_credentials, denied_by_policy, expired};
use crate::wire::Protocol;

/// Every error that an operation can answer, no code twice but for the two denials.
///
/// These are the errors that its model names, those that no model names, and the common ones: both kinds of denial,
/// throttling, an error and an outage of the service, bad and expired credentials. EC2's model names no error; its own
/// are those of the developer guide, "Error codes".
pub fn errors_of(service: Service, operation: &str) -> Vec<ApiError> {
    let model = Model::of(service);
    let named = model.operations.get(operation).map(|operation| operation.errors.as_slice()).unwrap_or_default();
    let mut errors: Vec<ApiError> = named.iter().map(|shape| modelled(service, model, shape)).collect();
    let unnamed = unnamed_errors(service, operation).iter().map(|(status, code)| error(*status, code));
    errors.extend(unnamed.chain(common_errors(service, operation)));
    let mut seen = std::collections::BTreeSet::new();
    errors.retain(|error| seen.insert(error.code.clone()));
    errors.push(explicit_denial(service, operation));
    errors
}

/// Whether the model of the operation names an error.
pub(crate) fn names_error(service: Service, operation: &str, code: &str) -> bool {
    let operation = Model::of(service).operations.get(operation);
    operation.is_some_and(|operation| operation.errors.iter().any(|error| error == code))
}

fn error(status: u16, code: &str) -> ApiError {
    ApiError::new(status, code, format!("{code}, as the simulated AWS was told to answer"))
}

/// The JSON protocols send the name of the shape, the Query protocols its code.
fn modelled(service: Service, model: &Model, name: &str) -> ApiError {
    let (code, status) = model.shape(name).map_or((None, None), |shape| (shape.error.0.clone(), shape.error.1));
    let query = !matches!(Protocol::of(service).0, Protocol::Json { .. });
    let code = code.filter(|_| query).unwrap_or_else(|| name.to_owned());
    let status = status.unwrap_or(if name.contains("Unavailable") || name.contains("Service") { 500 } else { 400 });
    error(status, &code)
}

/// The second kind of denial, with the code of the first: no policy of the role can lift it.
fn explicit_denial(service: Service, operation: &str) -> ApiError {
    let denial = format!(
        "User is not authorized to perform: {service}:{operation} on resource: * with an explicit deny in a service \
         control policy"
    );
    denied_by_policy(service, &denial)
}

fn common_errors(service: Service, operation: &str) -> Vec<ApiError> {
    let action = format!("{service}:{operation}");
    let denial = format!(
        "User is not authorized to perform: {action} on resource: * because no identity-based policy allows the \
         {action} action"
    );
    let (internal, unavailable) = match service {
        Service::Ec2 => ("InternalError", "Unavailable"),
        _ => ("InternalFailure", "ServiceUnavailable"),
    };
    let mut errors = vec![
        denied_by_policy(service, &denial),
        throttle(service),
        error(500, internal),
        error(503, unavailable),
        bad_credentials(service),
        expired(service),
    ];
    if service == Service::Logs {
        errors.push(ApiError::new(400, "ValidationException", "This operation is not supported here."));
        errors.push(ApiError::new(400, "ThrottlingException", "Rate exceeded"));
    }
    errors
}

/// Errors that an operation answers although its model does not name them.
fn unnamed_errors(service: Service, operation: &str) -> &'static [(u16, &'static str)] {
    match (service, operation) {
        (Service::Ec2, "CreateFlowLogs") => &[
            (400, "FlowLogAlreadyExists"),
            (400, "FlowLogsLimitExceeded"),
            (400, "IdempotentParameterMismatch"),
            (400, "InvalidParameter"),
            (400, "InvalidVpcID.NotFound"),
            (400, "RequestLimitExceeded"),
            (400, "TagLimitExceeded"),
        ],
        (Service::Ec2, "DeleteFlowLogs" | "DescribeFlowLogs") => {
            &[(400, "InvalidFlowLogId.NotFound"), (400, "InvalidParameterValue")]
        }
        (Service::Ec2, "DescribeVpcs") => {
            &[(400, "InvalidVpcID.NotFound"), (401, "AuthFailure"), (401, "OptInRequired")]
        }
        (Service::Ec2, "CreateTags" | "DeleteTags") => {
            &[(400, "InvalidFlowLogId.NotFound"), (400, "InvalidVpcID.NotFound"), (400, "TagLimitExceeded")]
        }
        (Service::Ec2, _) => &[(400, "InvalidParameterValue")],
        // The models of STS and IAM do not name the denial of AssumeRole, or what a role not yet visible answers.
        (Service::Sts, "AssumeRole") => &[(403, "AccessDenied"), (403, "RegionDisabledException")],
        (Service::Logs, "PutSubscriptionFilter" | "PutDestination") => &[(400, "AccessDeniedException")],
        _ => &[],
    }
}
