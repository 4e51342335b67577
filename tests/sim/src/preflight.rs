//! Checks that every service shares, made before a service sees the call.

use crate::call::{ApiError, Call, Service};
use crate::organizations::AccountState;
use crate::regions::GLOBAL_REGION;
use crate::world::World;

/// Refuses the call when the state of the account, the Region or a service control policy forbids it.
pub(crate) fn check(world: &World, call: &Call) -> Result<(), ApiError> {
    check_scope(call)?;
    if call.operation == "GetCallerIdentity" {
        // STS API reference: no permissions are required, and an explicit deny does not stop it.
        return Ok(());
    }
    check_account(world, call)?;
    check_region(world, call)?;
    check_ready(world, call)?;
    check_service_control_policy(world, call)
}

/// IAM and Organizations take signatures for their one Region only (endpoints.json of botocore).
fn check_scope(call: &Call) -> Result<(), ApiError> {
    let message = format!("Credential should be scoped to a valid region. Got {}, not {GLOBAL_REGION}.", call.region);
    match call.service {
        Service::Iam if call.region != GLOBAL_REGION => Err(ApiError::new(403, "SignatureDoesNotMatch", message)),
        Service::Organizations if call.region != GLOBAL_REGION => {
            Err(ApiError::new(400, "InvalidSignatureException", message))
        }
        _ => Ok(()),
    }
}

/// Principals of a suspended or closed account can do nothing (Organizations user guide, "Closing a member
/// account"). Which code each service answers is UNVERIFIED.
fn check_account(world: &World, call: &Call) -> Result<(), ApiError> {
    match world.organization.state_of(&call.caller.account) {
        Some(AccountState::Suspended | AccountState::Closed) => Err(bad_credentials(call.service)),
        Some(AccountState::Active | AccountState::PendingActivation | AccountState::PendingClosure) | None => Ok(()),
    }
}

/// EC2 developer guide, "Error codes": AuthFailure. The codes of the others are UNVERIFIED.
fn check_region(world: &World, call: &Call) -> Result<(), ApiError> {
    let global = match call.service {
        Service::Iam | Service::Organizations => true,
        Service::Sts => call.region == GLOBAL_REGION,
        // Events of the global services arrive there, so forwarding has to work there, enrolled or not. (In AWS
        // nobody can disable that Region.)
        Service::Events | Service::CloudTrail => call.region == GLOBAL_REGION,
        Service::Ec2 | Service::Logs | Service::Sqs => false,
    };
    if global || world.region_enabled(&call.caller.account, &call.region) {
        return Ok(());
    }
    Err(bad_credentials(call.service))
}

/// Organizations API reference, CreateAccount: a new account may take minutes to be usable. EC2's code stands in
/// its developer guide, "Error codes"; the code of the others is UNVERIFIED.
fn check_ready(world: &World, call: &Call) -> Result<(), ApiError> {
    let ready_at_ms = world.accounts.get(&call.caller.account).map_or(0, |account| account.ready_at_ms);
    if world.now_ms() >= ready_at_ms {
        return Ok(());
    }
    let subscribe = "The AWS Access Key Id needs a subscription for the service";
    match call.service {
        Service::Ec2 => Err(ApiError::new(
            401,
            "OptInRequired",
            "You are not subscribed to this service. Please go to http://aws.amazon.com to subscribe.",
        )),
        Service::Logs | Service::Sqs | Service::Events | Service::CloudTrail => {
            Err(ApiError::new(400, "SubscriptionRequiredException", subscribe))
        }
        Service::Iam | Service::Sts | Service::Organizations => Ok(()),
    }
}

/// IAM user guide, "Troubleshoot access denied error messages". Service control policies do not bind the management
/// account (Organizations user guide, "Service control policies").
fn check_service_control_policy(world: &World, call: &Call) -> Result<(), ApiError> {
    let account = &call.caller.account;
    if account == world.organization.management() || !world.organization.is_member(account) {
        return Ok(());
    }
    let action = format!("{}:{}", call.service, call.operation);
    let denied = world.accounts.get(account).is_some_and(|account| {
        account.denies.iter().any(|deny| {
            deny.region.as_deref().is_none_or(|region| region == call.region)
                && action.starts_with(deny.action_prefix.as_str())
        })
    });
    if !denied {
        return Ok(());
    }
    let resource = format!("arn:aws:{}:{}:{account}:*", call.service, call.region);
    let message = format!(
        "User: {} is not authorized to perform: {action} on resource: {resource} with an explicit deny in a service \
         control policy",
        call.caller.principal_arn
    );
    Err(denied_by_policy(call.service, &message))
}

/// The refusal of a principal that lacks a permission, in the code of each service.
pub(crate) fn denied_by_policy(service: Service, message: &str) -> ApiError {
    match service {
        Service::Ec2 => {
            let message = format!("You are not authorized to perform this operation. {message}");
            ApiError::new(403, "UnauthorizedOperation", message)
        }
        Service::Sts | Service::Iam => ApiError::new(403, "AccessDenied", message),
        Service::Logs | Service::Organizations | Service::Events | Service::CloudTrail => {
            ApiError::new(400, "AccessDeniedException", message)
        }
        Service::Sqs => ApiError::new(403, "AccessDeniedException", message),
    }
}

/// The refusal of credentials that are unknown to the account and Region.
pub(crate) fn bad_credentials(service: Service) -> ApiError {
    let invalid = "The security token included in the request is invalid";
    match service {
        Service::Ec2 => {
            ApiError::new(401, "AuthFailure", "AWS was not able to validate the provided access credentials")
        }
        Service::Sts | Service::Iam => ApiError::new(403, "InvalidClientTokenId", format!("{invalid}.")),
        Service::Logs | Service::Organizations | Service::Sqs | Service::Events | Service::CloudTrail => {
            ApiError::new(400, "UnrecognizedClientException", format!("{invalid}."))
        }
    }
}

/// The refusal of a session that has ended.
pub(crate) fn expired(service: Service) -> ApiError {
    let message = "The security token included in the request is expired";
    match service {
        Service::Ec2 => ApiError::new(400, "RequestExpired", "Request has expired."),
        Service::Sts | Service::Iam => ApiError::new(403, "ExpiredToken", message),
        Service::Logs | Service::Organizations | Service::Sqs | Service::Events | Service::CloudTrail => {
            ApiError::new(400, "ExpiredTokenException", message)
        }
    }
}
