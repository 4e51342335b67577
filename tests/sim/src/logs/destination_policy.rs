//! The access policy of a CloudWatch Logs destination: what PutDestinationPolicy accepts, and which accounts it admits.
//!
//! Pure. The document itself is stored verbatim by the caller (the sample answer of DescribeDestinations in the
//! CloudWatch Logs user guide, "Modify destination membership", shows whitespace kept); this is its meaning.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::policy_language::glob;

/// `accessPolicy` is "up to 5120 bytes" (CloudWatch Logs API reference, PutDestinationPolicy). Bytes, not characters.
pub const MAX_POLICY_BYTES: usize = 5_120;

/// What AWS answers to anything it cannot parse: bad JSON, unquoted account ids, too long a document.
const NOT_IAM_GRAMMAR: &str = "Error occurred while parsing accessPolicy. Please check if the accessPolicy has been \
     constructed correctly using IAM grammar.";

/// Text of the refusal to go from account ids to an organization without `forceUpdate`
/// (aws-cloudformation/cloudformation-coverage-roadmap 1424).
const NEEDS_FORCE: &str = "Cannot update existing policy on Subscription Destination. The existing policy specifies AWS \
     Principals by Account Id while the provided policy specifies AWS Principals by Org Id. This can cause subscription \
     delivery failures for Subscriptions using this destination that are not configured with a Role. Use the Force flag \
     to accept this risk.";

/// The answer of AWS to a principal that it considers invalid. Whether it ever does so for an account of the
/// organization, and with which text, is UNVERIFIED.
pub(super) const INVALID_PRINCIPAL: &str = "Principal section of policy contains an invalid account ID";

/// A parsed destination policy.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct DestinationPolicy {
    statements: Vec<Statement>,
}

#[derive(Debug, Clone, PartialEq)]
struct Statement {
    allow: bool,
    principals: Principals,
    actions: Vec<String>,
    resources: Vec<String>,
    conditions: Vec<Condition>,
}

#[derive(Debug, Clone, PartialEq)]
enum Principals {
    Everyone,
    Accounts(BTreeSet<String>),
}

#[derive(Debug, Clone, PartialEq)]
struct Condition {
    wildcards: bool,
    key: OrganizationKey,
    values: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OrganizationKey {
    Id,
    Paths,
}

/// The account that wants to use a destination.
pub(crate) struct Sender<'a> {
    pub(crate) account: &'a str,
    /// Id of the organization the account is a member of now.
    pub(crate) organization: Option<&'a str>,
    /// `o-…/r-…/ou-…/` of that account.
    pub(crate) path: Option<&'a str>,
}

impl DestinationPolicy {
    /// Parses a document as PutDestinationPolicy does; the error is the message AWS gives with
    /// `InvalidParameterException`.
    pub(crate) fn parse(document: &str) -> Result<Self, String> {
        if document.len() > MAX_POLICY_BYTES {
            return Err(NOT_IAM_GRAMMAR.to_owned());
        }
        let value: Value = serde_json::from_str(document).map_err(|_| NOT_IAM_GRAMMAR.to_owned())?;
        let fields = value.as_object().ok_or(NOT_IAM_GRAMMAR)?;
        only_known(fields, &["Version", "Id", "Statement"])?;
        if let Some(version) = fields.get("Version")
            && !matches!(version.as_str(), Some("2012-10-17" | "2008-10-17"))
        {
            return Err(NOT_IAM_GRAMMAR.to_owned());
        }
        let statements = match fields.get("Statement") {
            Some(Value::Array(statements)) if !statements.is_empty() => statements.as_slice(),
            Some(statement @ Value::Object(_)) => std::slice::from_ref(statement),
            Some(_) | None => return Err(NOT_IAM_GRAMMAR.to_owned()),
        };
        check_sids(statements)?;
        Ok(Self { statements: statements.iter().map(parse_statement).collect::<Result<_, _>>()? })
    }

    /// Whether any statement names one of these accounts.
    pub(crate) fn names_any(&self, accounts: &BTreeSet<String>) -> bool {
        self.statements.iter().any(|statement| match &statement.principals {
            Principals::Everyone => false,
            Principals::Accounts(named) => !named.is_disjoint(accounts),
        })
    }

    /// Whether this policy may replace `previous`.
    pub(crate) fn check_replaces(&self, previous: &Self, force: bool) -> Result<(), String> {
        let to_organization = self.is_organization() && !previous.is_organization();
        if to_organization && !force { Err(NEEDS_FORCE.to_owned()) } else { Ok(()) }
    }

    /// Whether it names senders by organization: then every subscription filter needs a role
    /// (cloud-custodian/cloud-custodian PR 8246, aws/aws-cli 9474).
    pub(crate) fn is_organization(&self) -> bool {
        self.statements.iter().any(|statement| statement.allow && !statement.conditions.is_empty())
    }

    /// Whether `sender` may do `action` on the destination `arn`. A deny wins.
    pub(crate) fn admits(&self, sender: &Sender<'_>, action: &str, arn: &str) -> bool {
        let applies = |statement: &&Statement| statement.applies(sender, action, arn);
        let mut applying = self.statements.iter().filter(applies).peekable();
        applying.peek().is_some() && applying.all(|statement| statement.allow)
    }
}

impl Statement {
    fn applies(&self, sender: &Sender<'_>, action: &str, arn: &str) -> bool {
        let principal = match &self.principals {
            Principals::Everyone => true,
            Principals::Accounts(accounts) => accounts.contains(sender.account),
        };
        principal
            && self.actions.iter().any(|pattern| glob(&pattern.to_lowercase(), &action.to_lowercase()))
            && self.resources.iter().any(|pattern| glob(pattern, arn))
            && self.conditions.iter().all(|condition| condition.holds(sender))
    }
}

impl Condition {
    fn holds(&self, sender: &Sender<'_>) -> bool {
        let actual = match self.key {
            OrganizationKey::Id => sender.organization,
            OrganizationKey::Paths => sender.path,
        };
        actual.is_some_and(|actual| {
            self.values.iter().any(|value| if self.wildcards { glob(value, actual) } else { value == actual })
        })
    }
}

fn parse_statement(value: &Value) -> Result<Statement, String> {
    let fields = value.as_object().ok_or(NOT_IAM_GRAMMAR)?;
    only_known(fields, &["Sid", "Effect", "Principal", "Action", "Resource", "Condition"])?;
    let allow = match fields.get("Effect").and_then(Value::as_str) {
        Some("Allow") => true,
        Some("Deny") => false,
        Some(_) | None => return Err(NOT_IAM_GRAMMAR.to_owned()),
    };
    let conditions = fields.get("Condition").map(parse_conditions).transpose()?.unwrap_or_default();
    let principals = parse_principals(fields.get("Principal").ok_or(NOT_IAM_GRAMMAR)?)?;
    // UNVERIFIED text: that `*` without an organization condition is refused is known only second-hand.
    if allow && principals == Principals::Everyone && conditions.is_empty() {
        return Err("Principal section of policy contains a wildcard without an organization condition".to_owned());
    }
    let actions = texts(fields.get("Action"))?;
    if actions.iter().any(|action| action != "*" && !action.starts_with("logs:")) {
        return Err(NOT_IAM_GRAMMAR.to_owned());
    }
    Ok(Statement { allow, principals, actions, resources: texts(fields.get("Resource"))?, conditions })
}

/// Principals are bare 12-digit account ids; the text for ARNs is quoted in aws/aws-cdk 2452 and 14578.
fn parse_principals(value: &Value) -> Result<Principals, String> {
    let listed = match value {
        Value::String(text) if text == "*" => return Ok(Principals::Everyone),
        Value::Object(kinds) => {
            only_known(kinds, &["AWS"])?;
            texts(kinds.get("AWS"))?
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            return Err(NOT_IAM_GRAMMAR.to_owned());
        }
    };
    if listed == ["*"] {
        return Ok(Principals::Everyone);
    }
    for principal in &listed {
        if principal.starts_with("arn:") {
            return Err(format!("Principal section of policy contains ARN instead of account ID: {principal}"));
        }
        if principal.len() != 12 || !principal.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(NOT_IAM_GRAMMAR.to_owned());
        }
    }
    Ok(Principals::Accounts(listed.into_iter().collect()))
}

/// Only `aws:PrincipalOrgID` and `aws:PrincipalOrgPaths` are allowed in Condition (public field reports; the text of
/// the refusal is UNVERIFIED).
fn parse_conditions(value: &Value) -> Result<Vec<Condition>, String> {
    let operators = value.as_object().filter(|operators| !operators.is_empty()).ok_or(NOT_IAM_GRAMMAR)?;
    let mut conditions = Vec::new();
    for (operator, keys) in operators {
        let wildcards = match operator.as_str() {
            "StringEquals" | "ForAnyValue:StringEquals" => false,
            "StringLike" | "ForAnyValue:StringLike" => true,
            _ => return Err(NOT_IAM_GRAMMAR.to_owned()),
        };
        for (name, values) in keys.as_object().filter(|keys| !keys.is_empty()).ok_or(NOT_IAM_GRAMMAR)? {
            let key = match name.to_lowercase().as_str() {
                "aws:principalorgid" => OrganizationKey::Id,
                "aws:principalorgpaths" => OrganizationKey::Paths,
                _ => return Err(format!("Condition section of policy contains an unsupported condition key: {name}")),
            };
            conditions.push(Condition { wildcards, key, values: texts(Some(values))? });
        }
    }
    Ok(conditions)
}

/// IAM grammar: a Sid is unique in its document. Letters and digits only is the rule of IAM's own policies and
/// UNVERIFIED here.
fn check_sids(statements: &[Value]) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    for sid in statements.iter().filter_map(|statement| statement.get("Sid")) {
        let sid = sid.as_str().ok_or(NOT_IAM_GRAMMAR)?;
        if !sid.bytes().all(|byte| byte.is_ascii_alphanumeric()) || !seen.insert(sid) {
            return Err(NOT_IAM_GRAMMAR.to_owned());
        }
    }
    Ok(())
}

fn only_known(fields: &Map<String, Value>, known: &[&str]) -> Result<(), String> {
    let unknown = fields.keys().any(|name| !known.contains(&name.as_str()));
    if unknown { Err(NOT_IAM_GRAMMAR.to_owned()) } else { Ok(()) }
}

/// One text or a list of at least one.
fn texts(value: Option<&Value>) -> Result<Vec<String>, String> {
    let listed = match value {
        Some(text @ Value::String(_)) => std::slice::from_ref(text),
        Some(Value::Array(values)) if !values.is_empty() => values.as_slice(),
        Some(_) | None => return Err(NOT_IAM_GRAMMAR.to_owned()),
    };
    listed.iter().map(|value| value.as_str().map(str::to_owned).ok_or(NOT_IAM_GRAMMAR.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ARN: &str = "arn:aws:logs:eu-west-1:999988887777:destination:VPCFlowLogsDestination";
    const PUT_FILTER: &str = "logs:PutSubscriptionFilter";

    fn document(principal: Value, condition: Option<Value>) -> String {
        let mut statement = json!({"Effect": "Allow", "Principal": principal, "Action": PUT_FILTER, "Resource": ARN});
        if let Some(condition) = condition {
            statement["Condition"] = condition;
        }
        json!({"Version": "2012-10-17", "Statement": [statement]}).to_string()
    }

    fn member(account: &str) -> Sender<'_> {
        Sender { account, organization: Some("o-exampleorg1"), path: Some("o-exampleorg1/r-exam/ou-exam-11111111/") }
    }

    fn of_organization() -> String {
        document(json!("*"), Some(json!({"StringEquals": {"aws:PrincipalOrgID": ["o-exampleorg1"]}})))
    }

    #[test]
    fn a_list_of_account_ids_admits_those_accounts_and_no_other() {
        for principal in [json!({"AWS": ["111122223333", "444455556666"]}), json!({"AWS": "111122223333"})] {
            let policy = DestinationPolicy::parse(&document(principal, None)).unwrap();
            assert!(policy.admits(&member("111122223333"), PUT_FILTER, ARN));
            assert!(!policy.admits(&member("777788889999"), PUT_FILTER, ARN));
            assert!(!policy.admits(&member("111122223333"), "logs:PutAccountPolicy", ARN));
            assert!(!policy.admits(&member("111122223333"), PUT_FILTER, &format!("{ARN}2")));
            assert!(!policy.is_organization());
        }
    }

    #[test]
    fn an_organization_condition_admits_members_only() {
        let paths = json!({"ForAnyValue:StringLike": {"aws:PrincipalOrgPaths": ["o-exampleorg1/r-exam/*"]}});
        for text in [of_organization(), document(json!({"AWS": "*"}), Some(paths))] {
            let policy = DestinationPolicy::parse(&text).unwrap();
            assert!(policy.is_organization());
            assert!(policy.admits(&member("111122223333"), PUT_FILTER, ARN));
            let stranger = Sender { account: "111122223333", organization: None, path: None };
            assert!(!policy.admits(&stranger, PUT_FILTER, ARN));
        }
    }

    #[test]
    fn a_deny_wins_over_an_allow() {
        let statement = |effect: &str| json!({"Effect": effect, "Principal": {"AWS": ["111122223333"]}, "Action": "logs:*", "Resource": "*"});
        let text = json!({"Version": "2012-10-17", "Statement": [statement("Allow"), statement("Deny")]}).to_string();
        assert!(!DestinationPolicy::parse(&text).unwrap().admits(&member("111122223333"), PUT_FILTER, ARN));
    }

    #[test]
    fn what_is_no_iam_grammar_is_refused_with_the_one_message_aws_has_for_it() {
        let account = json!({"AWS": ["111122223333"]});
        let with = |field: &str, value: Value| {
            let mut document: Value = serde_json::from_str(&document(account.clone(), None)).unwrap();
            document["Statement"][0][field] = value;
            document.to_string()
        };
        let twice =
            json!({"Effect": "Allow", "Sid": "One", "Principal": account, "Action": PUT_FILTER, "Resource": ARN});
        let rows = [
            ("no JSON", "{".to_owned()),
            ("no object", "[]".to_owned()),
            ("no statement", json!({"Version": "2012-10-17", "Statement": []}).to_string()),
            ("wrong version", json!({"Version": "2026-01-01", "Statement": [twice]}).to_string()),
            ("unknown field", with("Sids", json!("x"))),
            ("wrong effect", with("Effect", json!("allow"))),
            ("unquoted account id", with("Principal", json!({"AWS": [111_122_223_333_u64]}))),
            ("short account id", with("Principal", json!({"AWS": ["11112222333"]}))),
            ("service principal", with("Principal", json!({"Service": "logs.amazonaws.com"}))),
            ("empty principal list", with("Principal", json!({"AWS": []}))),
            ("no action", with("Action", json!([]))),
            ("action of another service", with("Action", json!("s3:GetObject"))),
            ("unknown operator", with("Condition", json!({"StringNotEquals": {"aws:PrincipalOrgID": "o-x"}}))),
            ("repeated Sid", json!({"Version": "2012-10-17", "Statement": [twice, twice]}).to_string()),
        ];
        for (what, text) in rows {
            assert_eq!(DestinationPolicy::parse(&text), Err(NOT_IAM_GRAMMAR.to_owned()), "{what}");
        }
    }

    #[test]
    fn arns_wildcards_without_condition_and_other_condition_keys_are_refused_by_name() {
        let arn = "arn:aws:iam::111122223333:root";
        let refusal = |text: &str| DestinationPolicy::parse(text).unwrap_err();
        assert_eq!(
            refusal(&document(json!({"AWS": ["444455556666", arn]}), None)),
            format!("Principal section of policy contains ARN instead of account ID: {arn}")
        );
        assert!(refusal(&document(json!("*"), None)).contains("without an organization condition"));
        assert!(refusal(&document(json!({"AWS": ["*"]}), None)).contains("without an organization condition"));
        let condition = json!({"StringEquals": {"aws:SourceAccount": "111122223333"}});
        assert!(refusal(&document(json!("*"), Some(condition))).ends_with("condition key: aws:SourceAccount"));
    }

    #[test]
    fn the_limit_is_5120_bytes_and_not_characters() {
        let padded = |padding: &str| {
            let mut document: Value = serde_json::from_str(&of_organization()).unwrap();
            document["Id"] = json!(padding);
            document.to_string()
        };
        let room = MAX_POLICY_BYTES - padded("").len();
        assert!(DestinationPolicy::parse(&padded(&"x".repeat(room))).is_ok());
        assert!(DestinationPolicy::parse(&padded(&"x".repeat(room + 1))).is_err());
        assert!(DestinationPolicy::parse(&padded(&"é".repeat(room / 2 + 1))).is_err(), "fewer characters, more bytes");
    }

    #[test]
    fn three_hundred_and_twenty_six_account_ids_fit_and_three_hundred_and_thirty_do_not() {
        let accounts =
            |count: u64| json!({"AWS": (0..count).map(|n| format!("{:012}", 111_122_220_000 + n)).collect::<Vec<_>>()});
        assert!(DestinationPolicy::parse(&document(accounts(326), None)).is_ok());
        assert!(DestinationPolicy::parse(&document(accounts(330), None)).is_err());
    }

    #[test]
    fn accounts_to_organization_needs_force_and_nothing_else_does() {
        let accounts = DestinationPolicy::parse(&document(json!({"AWS": "111122223333"}), None)).unwrap();
        let organization = DestinationPolicy::parse(&of_organization()).unwrap();
        assert_eq!(organization.check_replaces(&accounts, false), Err(NEEDS_FORCE.to_owned()));
        assert_eq!(organization.check_replaces(&accounts, true), Ok(()));
        assert_eq!(accounts.check_replaces(&organization, false), Ok(()));
        assert_eq!(accounts.check_replaces(&accounts, false), Ok(()));
        assert_eq!(organization.check_replaces(&organization, false), Ok(()));
    }
}
