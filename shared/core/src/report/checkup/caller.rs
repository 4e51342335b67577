//! Who looks, and at which organization.

use super::Verdict;
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
pub fn judge_caller(caller: &CallerIdentity, central: AccountId) -> Verdict {
    if caller.account == central {
        return Verdict::ok(caller.arn.clone());
    }
    Verdict::failed(
        format!(
            "the caller is {} of account {}, the settings name central account {central}; nothing else was looked at",
            caller.arn, caller.account
        ),
        format!("use credentials of account {central}, or correct central_account in the settings"),
    )
}

/// Whether it is the organization of the settings.
pub fn judge_organization(found: &OrganizationFacts, expected: &OrganizationId) -> Verdict {
    if found.id == *expected {
        return Verdict::ok(format!("{}, managed by {}", found.id, found.management_account));
    }
    Verdict::failed(
        format!("the central account is a member of {}, the settings name {expected}", found.id),
        "correct organization_id in the settings of all functions and stacks",
    )
}

/// Whether there is somebody to enroll among the accounts listed.
pub fn judge_listing(accounts: usize, in_scope: usize) -> Verdict {
    if in_scope > 0 {
        return Verdict::ok(format!("{accounts} accounts, {in_scope} in scope"));
    }
    Verdict::warning(
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
        assert_eq!(judge_caller(&caller("444455556666"), central).status, Status::Ok);
        let wrong = judge_caller(&caller("111122223333"), central);
        assert_eq!(wrong.status, Status::Failed);
        assert!(wrong.finding.contains("arn:aws:iam::111122223333:root"), "{}", wrong.finding);

        let id: OrganizationId = "o-exampleorg1".parse().unwrap();
        let found = OrganizationFacts { id: id.clone(), management_account: central };
        assert_eq!(judge_organization(&found, &id).status, Status::Ok);
        assert_eq!(judge_organization(&found, &"o-exampleorg2".parse().unwrap()).status, Status::Failed);
    }

    #[test]
    fn a_list_without_anybody_in_scope_is_odd() {
        assert_eq!(judge_listing(3, 2).status, Status::Ok);
        assert_eq!(judge_listing(3, 0).status, Status::Warning);
    }
}
