//! The delivery role, if the enroller creates it. IAM is global, so this is done once per account and run.

use enroller_core::error::Disposition;
use enroller_core::ids::AccountId;
use enroller_core::log::{LogEntry, Outcome};
use enroller_core::policy::delivery_role::{permissions, permissions_after, trust_policy};
use enroller_core::policy::equivalent;
use futures::lock::Mutex;

use super::Enroller;
use crate::ports::AwsResult;

/// The outcome of ensuring the role, shared by the Regions of one run.
#[derive(Default)]
pub(super) struct RoleOnce(Mutex<Option<AwsResult<()>>>);

impl RoleOnce {
    /// Ensures the role unless another Region of this run did. Only the Region that does it gets the log entries.
    pub(super) async fn ensure(&self, enroller: &Enroller, account: AccountId) -> (AwsResult<()>, Vec<LogEntry>) {
        let mut done = self.0.lock().await;
        if let Some(outcome) = &*done {
            return (outcome.clone(), Vec::new());
        }
        let mut lines = Vec::new();
        let outcome = ensure_role(enroller, account, &mut lines).await;
        *done = Some(outcome.clone());
        (outcome, lines)
    }
}

/// Creates the role, or repairs what differs. A role of that name without the ownership tag is used as is, because it
/// may have other users.
async fn ensure_role(enroller: &Enroller, account: AccountId, lines: &mut Vec<LogEntry>) -> AwsResult<()> {
    let (settings, roles) = (&enroller.ctx.settings, &enroller.roles);
    let (name, policy) = (&settings.delivery_role_name, settings.delivery_role_policy_name.as_str());
    let trust = trust_policy(settings.partition(), account);
    let document = permissions(settings.partition(), account, &settings.log_group_name);
    let arn = settings.delivery_role(account).to_string();
    let mut done = |action: &str, outcome, cause: &str| {
        lines.push(LogEntry::about(Some(account), action, arn.clone(), outcome, cause));
    };
    let role = match roles.role(account, name).await? {
        Some(role) => role,
        None => match roles.create_role(account, name, &trust, &settings.tags_of_new_resources()).await {
            Ok(()) => {
                done("create-delivery-role", Outcome::Done, "the role did not exist");
                return roles.put_inline_policy(account, name, policy, &document).await;
            }
            // It was created in between, perhaps not by an enroller.
            Err(error) if error.disposition() == Disposition::AlreadyThere => match roles.role(account, name).await? {
                Some(role) => role,
                None => return Err(error),
            },
            Err(error) => return Err(error),
        },
    };
    if !settings.ownership_tag.is_on(&role.tags) {
        done("ensure-delivery-role", Outcome::Unchanged, "the role was not created by the enroller and is used as is");
        return Ok(());
    }
    if !equivalent(&role.trust, &trust) {
        roles.set_trust(account, name, &trust).await?;
        done("repair-delivery-role", Outcome::Done, "its trust policy differed");
    }
    let present = roles.inline_policy(account, name, policy).await?;
    let after = |present| permissions_after(present, settings.partition(), account, &settings.log_group_name);
    let document = present.as_ref().map_or(document, after);
    if !present.is_some_and(|present| equivalent(&present, &document)) {
        roles.put_inline_policy(account, name, policy, &document).await?;
        done("repair-delivery-role", Outcome::Done, "its inline policy was missing or differed");
    }
    Ok(())
}
