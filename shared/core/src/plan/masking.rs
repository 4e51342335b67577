//! Data protection policies that mask the records on their way to the filter. A member account can put them, and the
//! records that arrive look like records.

use serde_json::Value;

use super::Finding;
use crate::names::LogGroupName;
use crate::observed::{DataProtection, LogGroup, ProtectionScope};

/// The beginning of the ARN of AWS's own data identifiers, behind the partition.
const OF_AWS: &str = ":dataprotection::aws:data-identifier/";

/// AWS's identifier of addresses, which every record has.
const ADDRESSES: &str = "IpAddress";

/// What a policy masks.
#[derive(Debug, PartialEq, Eq)]
enum Masks {
    /// Addresses, or what a pattern of somebody's own matches: these are its names.
    Records(Vec<String>),
    /// Only other kinds of data, which records hardly contain.
    Others(Vec<String>),
    /// Its document is missing or not understood.
    Unknown,
}

/// The first policy that masks records, or that may.
pub(super) fn finding(group: &LogGroup) -> Option<Finding> {
    group.protection.iter().find_map(|policy| match masks(policy) {
        Masks::Records(names) => {
            Some(Finding::Masked { policy: title(policy.scope).to_owned(), masks: names.join(", ") })
        }
        Masks::Unknown => {
            Some(Finding::Masked { policy: title(policy.scope).to_owned(), masks: "what could not be read".to_owned() })
        }
        Masks::Others(_) => None,
    })
}

/// What is masked besides, for operators.
pub(super) fn note(name: &LogGroupName, group: &LogGroup) -> Vec<String> {
    let others = group.protection.iter().filter_map(|policy| match masks(policy) {
        Masks::Others(names) => Some(format!(
            "{} masks {} in log group {name}: a value in a record that looks like one of these arrives masked",
            title(policy.scope),
            names.join(", ")
        )),
        Masks::Records(_) | Masks::Unknown => None,
    });
    others.collect()
}

const fn title(scope: ProtectionScope) -> &'static str {
    match scope {
        ProtectionScope::LogGroup => "the data protection policy of the log group",
        ProtectionScope::Account => "the account's data protection policy",
    }
}

fn masks(policy: &DataProtection) -> Masks {
    let document = policy.document.as_deref().and_then(|text| serde_json::from_str::<Value>(text).ok());
    let Some(statements) = document.as_ref().and_then(|document| document["Statement"].as_array()) else {
        return Masks::Unknown;
    };
    let mut names = Vec::new();
    for statement in statements.iter().filter(|statement| !statement["Operation"]["Deidentify"].is_null()) {
        let Some(identifiers) = statement["DataIdentifier"].as_array() else { return Masks::Unknown };
        for identifier in identifiers {
            let Some(identifier) = identifier.as_str() else { return Masks::Unknown };
            names.push(identifier.to_owned());
        }
    }
    let of_aws = |name: &String| name.split_once(OF_AWS).map(|(_, kind)| kind.to_owned());
    let (known, own): (Vec<String>, Vec<String>) = names.into_iter().partition(|name| of_aws(name).is_some());
    let known: Vec<String> = known.iter().filter_map(of_aws).collect();
    let addresses = known.iter().filter(|kind| *kind == ADDRESSES).cloned();
    let bad: Vec<String> = addresses.chain(own).collect();
    if bad.is_empty() { Masks::Others(known) } else { Masks::Records(bad) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn policy(identifiers: &[&str]) -> DataProtection {
        let statement = |operation: Value| json!({"DataIdentifier": identifiers, "Operation": operation});
        let document = json!({"Name": "p", "Version": "2021-06-01", "Statement": [
            statement(json!({"Audit": {"FindingsDestination": {}}})),
            statement(json!({"Deidentify": {"MaskConfig": {}}})),
        ]});
        DataProtection { scope: ProtectionScope::Account, document: Some(document.to_string()) }
    }

    #[test]
    fn addresses_and_patterns_of_somebodys_own_mask_records() {
        let addresses = "arn:aws:dataprotection::aws:data-identifier/IpAddress";
        let secret = "arn:aws-us-gov:dataprotection::aws:data-identifier/AwsSecretKey";
        assert_eq!(masks(&policy(&[addresses, secret])), Masks::Records(vec!["IpAddress".to_owned()]));
        assert_eq!(masks(&policy(&["Ports", secret])), Masks::Records(vec!["Ports".to_owned()]));
        assert_eq!(masks(&policy(&[secret])), Masks::Others(vec!["AwsSecretKey".to_owned()]));
    }

    #[test]
    fn a_policy_that_cannot_be_read_may_mask_anything() {
        for document in
            [None, Some("no JSON"), Some("{}"), Some(r#"{"Statement": [{"Operation": {"Deidentify": {}}}]}"#)]
        {
            let policy = DataProtection { scope: ProtectionScope::LogGroup, document: document.map(str::to_owned) };
            assert_eq!(masks(&policy), Masks::Unknown, "{document:?}");
        }
    }
}
