//! The access policy of a CloudWatch Logs destination: which accounts may subscribe to it.
//!
//! AWS replaces the document as a whole, without a version or a condition (CloudWatch Logs API reference,
//! PutDestinationPolicy), so what other principals wrote into it must survive reading and writing. Managed statements
//! are recognised by their `Sid`. Every other statement and member is kept as the JSON value it was.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::document::{account_of, aws_principals, equivalent_statements, inexact_number, organization_condition};
use super::others;
use crate::arn::Arn;
use crate::ids::{AccountId, OrganizationId};

/// The longest access policy PutDestinationPolicy accepts, in bytes (not characters).
pub const MAX_POLICY_BYTES: usize = 5_120;

/// The `Sid` of the statement that lists accounts. It is short, because its bytes reduce the number of accounts.
pub const ACCOUNTS_SID: &str = "VpcEnroller";

/// The `Sid` of the statement that names the organization.
pub const ORGANIZATION_SID: &str = "VpcEnrollerOrganization";

/// The `Sid` of the statement in a policy that would otherwise have none; see [`DestinationPolicy::render`].
pub const PLACEHOLDER_SID: &str = "VpcEnrollerNobody";

/// The bytes that each further account adds to a document: its digits, two quotes and a comma.
const BYTES_PER_ACCOUNT: usize = AccountId::DIGITS + 3;

/// A destination's access policy, parsed into managed and unmanaged statements.
///
/// # Examples
///
/// ```
/// use enroller_core::arn::Arn;
/// use enroller_core::policy::DestinationPolicy;
///
/// let destination: Arn = "arn:aws:logs:eu-west-1:111122223333:destination:VPCFlowLogsDestination".parse()?;
/// let stored = r#"{
///     "Version": "2012-10-17",
///     "Statement": {"Sid": "ByHand", "Effect": "Allow", "Principal": {"AWS": "777788889999"},
///                   "Action": "logs:PutSubscriptionFilter", "Resource": "*"}
/// }"#;
///
/// let policy = DestinationPolicy::parse(stored)?.with_accounts(["444455556666".parse()?].into());
/// let rendered = policy.render(&destination);
/// assert_eq!(rendered.len(), policy.bytes(&destination));
///
/// let read_back = DestinationPolicy::parse(&rendered)?;
/// assert_eq!(read_back.accounts(), policy.accounts());
/// assert!(read_back.same_foreign_statements(&policy));
/// assert!(!read_back.needs_put(&destination));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct DestinationPolicy {
    accounts: BTreeSet<AccountId>,
    organization: Option<OrganizationId>,
    /// The managed statements as stored, to detect whether they differ from what would be written.
    stored: Vec<Value>,
    others: Vec<Value>,
    /// `Version`, `Id` and any other members beside `Statement`.
    members: Map<String, Value>,
}

/// Why a policy cannot be parsed, and therefore must not be replaced.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// It is not JSON.
    #[error("the access policy is not JSON: {0}")]
    NotJson(String),
    /// It is JSON, but not an object.
    #[error("the access policy is not a JSON object")]
    NotAnObject,
    /// Its `Statement` is absent, or neither an object nor a list.
    #[error("the access policy has no Statement")]
    NoStatement,
    /// The entry of `Statement` with this number, counted from 1, is not an object.
    #[error("statement {0} of the access policy is not an object")]
    NotAStatement(usize),
    /// It contains a number that would lose digits if written back, while unmanaged statements must stay unchanged.
    #[error("the access policy contains {0}, a number with more digits than can be written back")]
    Number(String),
    /// A statement with a managed Sid has content that the enroller never writes: another principal edited it.
    #[error("statement {sid} of the access policy was edited: {found}")]
    Edited {
        /// A `Sid` that only the enroller should write.
        sid: String,
        /// What is wrong with it.
        found: &'static str,
    },
}

impl DestinationPolicy {
    /// A policy without statements, for a destination that has no policy yet.
    pub fn empty() -> Self {
        let members = Map::from_iter([("Version".to_owned(), json!("2012-10-17"))]);
        Self { accounts: BTreeSet::new(), organization: None, stored: Vec::new(), others: Vec::new(), members }
    }

    /// Parses a stored policy, as leniently as IAM does: one statement or a list, one principal or a list, ids or root
    /// ARNs. Several statements with the same managed Sid are merged.
    ///
    /// # Errors
    ///
    /// The policy cannot be parsed without guessing. That includes a managed statement that another principal turned
    /// into something else (a Deny, another condition, principals that are not accounts): overwriting it could grant
    /// what that principal meant to deny.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        let document: Value = serde_json::from_str(text).map_err(|error| PolicyError::NotJson(error.to_string()))?;
        if let Some(number) = inexact_number(&document) {
            return Err(PolicyError::Number(number.to_string()));
        }
        let Value::Object(mut members) = document else { return Err(PolicyError::NotAnObject) };
        let statements = match members.remove("Statement") {
            Some(Value::Array(list)) => list,
            Some(single @ Value::Object(_)) => vec![single],
            Some(_) | None => return Err(PolicyError::NoStatement),
        };
        let mut policy = Self { members, ..Self::empty() };
        for (index, statement) in statements.into_iter().enumerate() {
            let Value::Object(elements) = &statement else { return Err(PolicyError::NotAStatement(index + 1)) };
            match elements.get("Sid").and_then(Value::as_str) {
                Some(sid @ (ACCOUNTS_SID | ORGANIZATION_SID | PLACEHOLDER_SID)) => {
                    policy.read_own(sid, elements)?;
                    policy.stored.push(statement);
                }
                Some(_) | None => policy.others.push(statement),
            }
        }
        Ok(policy)
    }

    fn read_own(&mut self, sid: &str, elements: &Map<String, Value>) -> Result<(), PolicyError> {
        let edited = |found| PolicyError::Edited { sid: sid.to_owned(), found };
        if elements.get("Effect").and_then(Value::as_str) != Some("Allow") {
            return Err(edited("its Effect is not Allow"));
        }
        let principals = elements.get("Principal").and_then(aws_principals);
        let principals = principals.ok_or_else(|| edited("its Principal is not a list of AWS accounts"))?;
        match elements.get("Condition") {
            Some(condition) => {
                let organization = match organization_condition(condition).as_deref() {
                    Some([id]) if principals == ["*"] => id.parse().ok(),
                    Some(_) | None => None,
                };
                let organization: OrganizationId =
                    organization.ok_or_else(|| edited("its Condition is not the one that names an organization"))?;
                if self.organization.as_ref().is_some_and(|known| *known != organization) {
                    return Err(edited("it names a second organization"));
                }
                self.organization = Some(organization);
            }
            None => {
                let accounts: Option<BTreeSet<_>> = principals.into_iter().map(account_of).collect();
                let accounts = accounts.ok_or_else(|| edited("it lists a principal that is not an account"))?;
                if sid != PLACEHOLDER_SID {
                    self.accounts.extend(accounts);
                }
            }
        }
        Ok(())
    }

    /// The accounts listed in the managed statement.
    pub fn accounts(&self) -> &BTreeSet<AccountId> {
        &self.accounts
    }

    /// The organization named in the managed statement.
    pub fn organization(&self) -> Option<&OrganizationId> {
        self.organization.as_ref()
    }

    /// Whether it was read with a statement of the enroller.
    pub fn has_managed_statement(&self) -> bool {
        !self.stored.is_empty()
    }

    /// The number of unmanaged statements.
    pub fn foreign_statements(&self) -> usize {
        self.others.len()
    }

    /// Whether the unmanaged statements mean the same in both policies.
    pub fn same_foreign_statements(&self, other: &Self) -> bool {
        equivalent_statements(&self.others, &other.others)
    }

    /// This policy with exactly these accounts listed in the managed statement.
    pub fn with_accounts(&self, accounts: BTreeSet<AccountId>) -> Self {
        Self { accounts, ..self.clone() }
    }

    /// This policy with this organization, or none, named in the managed statement.
    pub fn with_organization(&self, organization: Option<OrganizationId>) -> Self {
        Self { organization, ..self.clone() }
    }

    /// The accounts that unmanaged statements authorize to subscribe to `destination`. They are neither listed again in
    /// the managed statement nor revoked.
    pub fn accounts_of_others(&self, destination: &Arn) -> BTreeSet<AccountId> {
        others::allowed_accounts(&self.others, destination)
    }

    /// Whether AWS would allow `account`, a member of `organization` if that is given, to subscribe to `destination`.
    ///
    /// A condition other than that on the organization's id counts as not met in a statement that allows, and as met in
    /// one that denies.
    pub fn allows(&self, account: AccountId, organization: Option<&OrganizationId>, destination: &Arn) -> bool {
        let listed = || self.accounts.contains(&account) || self.accounts_of_others(destination).contains(&account);
        let member = || organization.is_some_and(|organization| self.allows_organization(organization, destination));
        (listed() || member()) && !others::denies(&self.others, account, destination)
    }

    /// Whether an unmanaged statement denies `account`, whatever another statement allows. One with a condition does
    /// not count, because the condition may not hold.
    pub fn denies(&self, account: AccountId, destination: &Arn) -> bool {
        others::certainly_deny(&self.others, account, destination)
    }

    /// The accounts that unmanaged statements which deny name, for whatever action or resource.
    pub fn accounts_denied_by_name(&self) -> BTreeSet<AccountId> {
        others::named_by_denials(&self.others)
    }

    /// Whether any statement, managed or not, authorizes every account of `organization`.
    pub fn allows_organization(&self, organization: &OrganizationId, destination: &Arn) -> bool {
        self.organization.as_ref() == Some(organization)
            || others::allow_organization(&self.others, organization, destination)
    }

    /// Whether every subscription filter on `destination` needs a role. AWS requires one as soon as a policy names an
    /// organization ("Role ARN is required when creating subscription filter against destination with Organization
    /// access policy", cloud-custodian PR 8246).
    pub fn demands_filter_roles(&self, destination: &Arn) -> bool {
        self.organization.is_some() || others::name_an_organization(&self.others, destination)
    }

    /// The document to put, in its shortest form, with accounts in ascending order.
    ///
    /// AWS has no DeleteDestinationPolicy, and a policy needs at least one statement. So a policy without other
    /// statements gets one for the account that owns the destination. That account can add itself to the policy at any
    /// time, so it gains nothing, and the statement does not count as a grant.
    pub fn render(&self, destination: &Arn) -> String {
        self.document(self.own_statements(destination))
    }

    /// The length of [`Self::render`], in bytes.
    pub fn bytes(&self, destination: &Arn) -> usize {
        self.render(destination).len()
    }

    /// The number of accounts that the managed statement can list before the document exceeds [`MAX_POLICY_BYTES`].
    pub fn capacity(&self, destination: &Arn) -> usize {
        let mut statements = vec![list_statement(ACCOUNTS_SID, &BTreeSet::new(), destination)];
        statements.extend(self.organization_statement(destination));
        let without_accounts = self.document(statements).len();
        // The first account has no comma.
        (MAX_POLICY_BYTES + 1).saturating_sub(without_accounts) / BYTES_PER_ACCOUNT
    }

    /// Whether the stored statements differ from those of [`Self::render`]: after `with_…`, or because a managed
    /// statement lost its action or resource, or exists twice.
    pub fn needs_put(&self, destination: &Arn) -> bool {
        !equivalent_statements(&self.stored, &self.own_statements(destination))
    }

    fn document(&self, own: Vec<Value>) -> String {
        let mut members = self.members.clone();
        let statements: Vec<Value> = own.into_iter().chain(self.others.iter().cloned()).collect();
        members.insert("Statement".to_owned(), Value::Array(statements));
        Value::Object(members).to_string()
    }

    fn own_statements(&self, destination: &Arn) -> Vec<Value> {
        let mut own = Vec::new();
        if !self.accounts.is_empty() {
            own.push(list_statement(ACCOUNTS_SID, &self.accounts, destination));
        }
        own.extend(self.organization_statement(destination));
        if own.is_empty() && self.others.is_empty() {
            own.push(list_statement(PLACEHOLDER_SID, &destination.account().into_iter().collect(), destination));
        }
        own
    }

    fn organization_statement(&self, destination: &Arn) -> Option<Value> {
        let organization = self.organization.as_ref()?;
        Some(json!({
            "Action": others::ACTION,
            "Condition": {"StringEquals": {"aws:PrincipalOrgID": [organization]}},
            "Effect": "Allow",
            "Principal": "*",
            "Resource": destination,
            "Sid": ORGANIZATION_SID,
        }))
    }
}

/// Principals are bare ids: AWS rejects ARNs here ("Principal section of policy contains ARN instead of account ID",
/// aws-cdk 2452).
fn list_statement(sid: &str, accounts: &BTreeSet<AccountId>, destination: &Arn) -> Value {
    json!({
        "Action": others::ACTION,
        "Effect": "Allow",
        "Principal": {"AWS": accounts},
        "Resource": destination,
        "Sid": sid,
    })
}

#[cfg(test)]
#[path = "destination_tests.rs"]
mod tests;
