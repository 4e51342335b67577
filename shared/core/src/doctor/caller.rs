//! The caller, its organization and the list of accounts.

use super::CheckResult;
use crate::ids::{AccountId, OrganizationId};

/// The principal of the credentials in use, as GetCallerIdentity returns it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallerIdentity {
    /// The account of the principal, which should be the central account.
    pub account: AccountId,
    /// The principal's ARN, as AWS returned it.
    pub arn: String,
}

/// The organization of the caller's account, as DescribeOrganization returns it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "`id` is described by its type")]
pub struct OrganizationFacts {
    pub id: OrganizationId,
    /// The organization's management account.
    pub management_account: AccountId,
}

/// Whether the caller belongs to the central account.
pub fn check_caller(caller: &CallerIdentity, central: AccountId) -> CheckResult {
    if caller.account == central {
        return CheckResult::ok(caller.arn.clone());
    }
    CheckResult::failed(
        format!(
            "the caller is {} of account {}, but the central account in the settings is {central}; nothing else was checked",
            caller.arn, caller.account
        ),
        format!("use credentials of account {central}, or correct central_account in the settings"),
    )
}

/// Whether the caller's organization is that of the settings.
pub fn check_organization(found: &OrganizationFacts, expected: &OrganizationId) -> CheckResult {
    if found.id == *expected {
        return CheckResult::ok(format!("{}, managed by {}", found.id, found.management_account));
    }
    CheckResult::failed(
        format!("the central account is a member of {}, but the settings have {expected}", found.id),
        "correct organization_id in the settings of all functions and stacks",
    )
}

/// Whether any of the listed accounts is in scope.
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
    fn a_list_without_an_account_in_scope_is_a_warning() {
        assert_eq!(check_listing(3, 2).status, Status::Ok);
        assert_eq!(check_listing(3, 0).status, Status::Warning);
    }
}
