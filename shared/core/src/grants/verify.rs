//! Whether a write arrived. AWS has no conditional put, so reading back is the only way to detect another writer.

use std::collections::BTreeSet;

use super::{PolicyState, Shard, ShardWrite};
use crate::arn::Arn;
use crate::ids::AccountId;
use crate::policy::{DestinationPolicy, PolicyError};

/// How a destination differs from what was just written. Observe and plan again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// The destination does not exist.
    #[error("the destination does not exist")]
    Missing,
    /// It delivers to another stream.
    #[error("it delivers to {0}")]
    Target(Arn),
    /// It delivers with another role.
    #[error("it delivers with {0}")]
    Role(Arn),
    /// It has no policy.
    #[error("it has no access policy")]
    NoPolicy,
    /// Its policy cannot be parsed.
    #[error("its access policy cannot be parsed")]
    Unreadable(#[source] PolicyError),
    /// The managed statement lists other accounts.
    #[error("{} of the accounts written are missing, and {} other accounts are listed", missing.len(), unexpected.len())]
    Accounts {
        /// Written, but not listed.
        missing: BTreeSet<AccountId>,
        /// Listed, but not written.
        unexpected: BTreeSet<AccountId>,
    },
    /// The managed statement names another organization, or none, or one where none was written.
    #[error("its organization is not the one written")]
    Organization,
    /// The managed statements have another action or resource.
    #[error("the managed statements are not as written")]
    Statements,
    /// Another principal changed an unmanaged statement in the meantime, and the write reverted it or was overwritten.
    #[error("the unmanaged statements have changed")]
    ForeignStatements,
}

/// Compares what was written with what was read back, by meaning: order and form make no difference.
///
/// # Errors
///
/// The first difference found.
pub fn verify(write: &ShardWrite, read_back: Option<&Shard>) -> Result<(), Mismatch> {
    let shard = read_back.ok_or(Mismatch::Missing)?;
    if shard.target != write.target {
        return Err(Mismatch::Target(shard.target.clone()));
    }
    if shard.role != write.role {
        return Err(Mismatch::Role(shard.role.clone()));
    }
    let Some(written) = &write.policy else { return Ok(()) };
    match &shard.policy {
        PolicyState::Absent => Err(Mismatch::NoPolicy),
        PolicyState::Unreadable { error, .. } => Err(Mismatch::Unreadable(error.clone())),
        PolicyState::Parsed(found) => compare(written, found, &write.arn),
    }
}

fn compare(written: &DestinationPolicy, found: &DestinationPolicy, arn: &Arn) -> Result<(), Mismatch> {
    let missing: BTreeSet<_> = written.accounts().difference(found.accounts()).copied().collect();
    let unexpected: BTreeSet<_> = found.accounts().difference(written.accounts()).copied().collect();
    if !missing.is_empty() || !unexpected.is_empty() {
        Err(Mismatch::Accounts { missing, unexpected })
    } else if written.organization() != found.organization() {
        Err(Mismatch::Organization)
    } else if !written.same_foreign_statements(found) {
        Err(Mismatch::ForeignStatements)
    } else if found.needs_put(arn) {
        Err(Mismatch::Statements)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn write() -> ShardWrite {
        let arn: Arn = "arn:aws:logs:eu-west-1:999988887777:destination:Logs".parse().unwrap();
        let policy = DestinationPolicy::parse(r#"{"Statement":[{"Sid":"Theirs","Action":["a","b"]}]}"#).unwrap();
        let accounts = ["111122223333", "444455556666"].map(|id| id.parse().unwrap());
        ShardWrite {
            name: "Logs".parse().unwrap(),
            target: "arn:aws:firehose:eu-west-1:999988887777:deliverystream/logs".parse().unwrap(),
            role: "arn:aws:iam::999988887777:role/ToFirehose".parse().unwrap(),
            create: true,
            repoint: false,
            before: None,
            policy: Some(policy.with_accounts(accounts.into())),
            force: false,
            added: accounts.into(),
            removed: BTreeSet::new(),
            arn,
        }
    }

    fn shard(policy: Option<&str>) -> Shard {
        let ShardWrite { name, target, role, .. } = write();
        Shard { name, target, role, policy: PolicyState::read(policy) }
    }

    fn edited(edit: impl FnOnce(&mut Value)) -> Shard {
        let mut document: Value = serde_json::from_str(&write().document().unwrap()).unwrap();
        edit(&mut document["Statement"]);
        shard(Some(&document.to_string()))
    }

    #[test]
    fn what_was_written_is_recognized_in_another_form() {
        let same = edited(|statements| {
            statements[0]["Principal"] = json!({"AWS": ["arn:aws:iam::444455556666:root", "111122223333"]});
            statements[1]["Action"] = json!(["b", "a"]);
            statements.as_array_mut().unwrap().reverse();
        });
        assert_eq!(verify(&write(), Some(&same)), Ok(()));
    }

    #[test]
    fn every_difference_is_named() {
        let text = write().document().unwrap();
        let ids = |ids: &[&str]| ids.iter().map(|id| id.parse().unwrap()).collect();
        let other: Arn = "arn:aws:iam::999988887777:role/Other".parse().unwrap();
        for (found, expected) in [
            (None, Mismatch::Missing),
            (Some(Shard { target: other.clone(), ..shard(Some(&text)) }), Mismatch::Target(other.clone())),
            (Some(Shard { role: other.clone(), ..shard(Some(&text)) }), Mismatch::Role(other)),
            (Some(shard(None)), Mismatch::NoPolicy),
            (Some(shard(Some("[]"))), Mismatch::Unreadable(PolicyError::NotAnObject)),
            (
                Some(edited(|s| s[0]["Principal"] = json!({"AWS": ["111122223333", "777788889999"]}))),
                Mismatch::Accounts { missing: ids(&["444455556666"]), unexpected: ids(&["777788889999"]) },
            ),
            (
                Some(edited(|s| s[0]["Principal"] = json!({"AWS": ["111122223333"]}))),
                Mismatch::Accounts { missing: ids(&["444455556666"]), unexpected: ids(&[]) },
            ),
            (
                Some(edited(|s| s[0]["Principal"] = json!({"AWS": ["111122223333", "444455556666", "777788889999"]}))),
                Mismatch::Accounts { missing: ids(&[]), unexpected: ids(&["777788889999"]) },
            ),
            (Some(edited(|s| s[1]["Action"] = json!("c"))), Mismatch::ForeignStatements),
            (Some(edited(|s| drop(s.as_array_mut().unwrap().pop()))), Mismatch::ForeignStatements),
            (Some(edited(|s| s[0]["Action"] = json!("logs:GetLogEvents"))), Mismatch::Statements),
            (
                Some(edited(|s| {
                    let condition = json!({"StringEquals": {"aws:PrincipalOrgID": "o-exampleorg1"}});
                    let ours = json!({"Sid": "VpcEnrollerOrganization", "Effect": "Allow", "Principal": "*", "Condition": condition});
                    s.as_array_mut().unwrap().push(ours);
                })),
                Mismatch::Organization,
            ),
        ] {
            assert_eq!(verify(&write(), found.as_ref()), Err(expected));
        }
    }

    #[test]
    fn a_write_without_a_policy_is_checked_for_target_and_role_only() {
        let repointed = ShardWrite { create: false, repoint: true, policy: None, ..write() };
        assert_eq!(verify(&repointed, Some(&shard(Some("[]")))), Ok(()));
    }
}
