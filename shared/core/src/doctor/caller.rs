//! Who looks, and at which organization.

use super::CheckResult;
use crate::ids::{AccountId, OrganizationId};

/// The principal behind the credentials in use, as GetCallerIdentity tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallerIdentity {
    /// Its account.
    pub account: AccountId,
    /// Its ARN, as AWS wrote it.
    pub arn: String,
}

/// The organization that the caller's account belongs to, as DescribeOrganization tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrganizationFacts {
    /// Its id.
    pub id: OrganizationId,
    /// Its management account.
    pub management_account: AccountId,
}

/// Whether the caller belongs to the central account.
pub fn check_caller(caller: &CallerIdentity, central: AccountId) -> CheckResult {
    if caller.account == central {
        return CheckResult::ok(caller.arn.clone());
    }
    CheckResult::failed(
        format!(
            "the caller is {} of account {}, the settings name central account {central}; nothing else was looked at",
            caller.arn, caller.account
        ),
        format!("use credentials of account {central}, or correct central_account in the settings"),
    )
}

/// Whether it is the organization of the settings.
pub fn check_organization(found: &OrganizationFacts, expected: &OrganizationId) -> CheckResult {
    if found.id == *expected {
        return CheckResult::ok(format!("{}, managed by {}", found.id, found.management_account));
    }
    CheckResult::failed(
        format!("the central account is a member of {}, the settings name {expected}", found.id),
        "correct organization_id in the settings of all functions and stacks",
    )
}

/// Whether there is somebody to enroll among the accounts listed.
pub fn check_listing(accounts: usize, in_scope: usize) -> CheckResult {
    if in_scope > 0 {
        return CheckResult::ok(format!("{accounts} accounts, {in_scope} in scope"));
    }
    CheckResult::warning(
        format!("{accounts} accounts, none of them in scope"),
        "check excluded_accounts and excluded_organizational_units in the settings",
    )
}

#[cfg(test)]
mod tests {
    use super::super::Status;
    use super::*;

    #[test]
    fn a_caller_of_another_account_and_another_organization_are_refused() {
        let central: AccountId = "444455556666".parse().unwrap();
        let caller = |account: &str| CallerIdentity {
            account: account.parse().unwrap(),
            arn: format!("arn:aws:iam::{account}:root"),
        };
        assert_eq!(check_caller(&caller("444455556666"), central).status, Status::Ok);
        let wrong = check_caller(&caller("111122223333"), central);
        assert_eq!(wrong.status, Status::Failed);
        assert!(wrong.finding.contains("arn:aws:iam::111122223333:root"), "{}", wrong.finding);

        let id: OrganizationId = "o-exampleorg1".parse().unwrap();
        let found = OrganizationFacts { id: id.clone(), management_account: central };
        assert_eq!(check_organization(&found, &id).status, Status::Ok);
        assert_eq!(check_organization(&found, &"o-exampleorg2".parse().unwrap()).status, Status::Failed);
    }

    #[test]
    fn a_list_without_anybody_in_scope_is_odd() {
        assert_eq!(check_listing(3, 2).status, Status::Ok);
        assert_eq!(check_listing(3, 0).status, Status::Warning);
    }
}
