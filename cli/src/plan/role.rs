//! What a backfill would change about an account's delivery role. A plan of an account-Region only says that the role
//! has to be checked, because IAM is global and reading it is not part of looking at a Region.

use enroller_core::ids::AccountId;
use enroller_core::plan::{Action, Plan};
use enroller_core::policy::delivery_role::{permissions, trust_policy};
use enroller_core::policy::equivalent;
use enroller_core::settings::Settings;
use enroller_engine::ports::{AwsResult, Roles};

/// Whether a plan has the delivery role checked.
pub(super) fn checks_role(plan: &Plan) -> bool {
    plan.steps.iter().any(|step| step.action == Action::EnsureDeliveryRole)
}

/// The changes that the role needs, as the enroller would make them.
pub(super) async fn missing(
    settings: &Settings,
    roles: &dyn Roles,
    account: AccountId,
) -> AwsResult<Vec<&'static str>> {
    let (name, policy) = (&settings.delivery_role_name, settings.delivery_role_policy_name.as_str());
    let Some(role) = roles.role(account, name).await? else { return Ok(vec!["the role does not exist"]) };
    if !settings.ownership_tag.is_on(&role.tags) {
        return Ok(Vec::new());
    }
    let mut missing = Vec::new();
    if !equivalent(&role.trust, &trust_policy(settings.partition(), account)) {
        missing.push("its trust policy differs");
    }
    let wanted = permissions(settings.partition(), account, &settings.log_group_name);
    let present = roles.inline_policy(account, name, policy).await?;
    if !present.is_some_and(|present| equivalent(&present, &wanted)) {
        missing.push("its inline policy is missing or differs");
    }
    Ok(missing)
}
