//! What the policies of a Region's shards authorize, for people.

use std::collections::BTreeSet;

use super::assignments::PolicyAccounts;
use super::{PolicyState, RegionGrants, Shard};
use crate::arn::Arn;
use crate::error::inline_chain;
use crate::ids::{AccountId, OrganizationId};
use crate::names::DestinationName;
use crate::policy::{DestinationPolicy, MAX_POLICY_BYTES};

/// What a shard's policy authorizes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardSummary {
    /// The shard's name.
    pub name: DestinationName,
    /// The accounts that may subscribe because a statement names them, managed or not.
    pub accounts: BTreeSet<AccountId>,
    /// Those of them that only unmanaged statements name.
    pub by_others: BTreeSet<AccountId>,
    /// Accounts that an unmanaged statement certainly denies, whatever another one allows.
    pub denied: BTreeSet<AccountId>,
    /// The organization all of whose accounts may subscribe, if the managed statement names one.
    pub organization: Option<OrganizationId>,
    /// Bytes of the compact document, which is what AWS measures in a put; or of the stored one where it is unreadable.
    pub bytes: usize,
    /// Bytes left of [`MAX_POLICY_BYTES`].
    pub free_bytes: usize,
    /// How many more accounts could be listed. It is 0 where none may be: in a policy that names an organization,
    /// filters need a role, and those of listed accounts have none.
    pub room: usize,
    /// Why the policy cannot be read. Nobody knows then whom it authorizes.
    pub unreadable: Option<String>,
}

impl RegionGrants {
    /// What the policies authorize as they are, in the order of the shards' numbers.
    pub fn summaries(&self) -> Vec<ShardSummary> {
        let of = |shard| {
            let summary = summary(shard, &self.arn_of(&shard.name));
            // Nobody is granted on a destination that somebody else made.
            if self.is_foreign(shard) { ShardSummary { room: 0, ..summary } } else { summary }
        };
        self.shards().values().map(of).collect()
    }
}

fn summary(shard: &Shard, arn: &Arn) -> ShardSummary {
    let (empty, mut bytes, mut unreadable) = (DestinationPolicy::empty(), 0, None);
    let policy = match &shard.policy {
        PolicyState::Absent => &empty,
        PolicyState::Parsed(policy) => {
            bytes = policy.bytes(arn);
            policy
        }
        PolicyState::Unreadable { text, error } => {
            (bytes, unreadable) = (text.len(), Some(inline_chain(error)));
            &empty
        }
    };
    let PolicyAccounts { listed, by_others, .. } = PolicyAccounts::of(shard, arn);
    let named: BTreeSet<AccountId> = listed.union(&by_others).copied().collect();
    let denied: BTreeSet<AccountId> =
        named.union(&policy.accounts_denied_by_name()).filter(|id| policy.denies(**id, arn)).copied().collect();
    let full = unreadable.is_some() || policy.demands_filter_roles(arn);
    ShardSummary {
        name: shard.name.clone(),
        by_others: by_others.difference(&listed).copied().collect(),
        accounts: named.difference(&denied).copied().collect(),
        denied,
        organization: policy.organization().cloned(),
        bytes,
        free_bytes: MAX_POLICY_BYTES.saturating_sub(bytes),
        room: if full { 0 } else { policy.capacity(arn).saturating_sub(listed.len()) },
        unreadable,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::grants::ShardNaming;

    const ARN: &str = "arn:aws:logs:eu-west-1:999988887777:destination:Logs";

    fn ids(numbers: impl IntoIterator<Item = u64>) -> BTreeSet<AccountId> {
        numbers.into_iter().map(|number| format!("{number:012}").parse().unwrap()).collect()
    }

    fn summary_of(policy: Option<&str>) -> ShardSummary {
        let naming = ShardNaming::new("Logs".parse().unwrap()).unwrap();
        let shard = Shard {
            name: "Logs".parse().unwrap(),
            target: "arn:aws:firehose:eu-west-1:999988887777:deliverystream/logs".parse().unwrap(),
            role: "arn:aws:iam::999988887777:role/ToFirehose".parse().unwrap(),
            policy: PolicyState::read(policy),
        };
        let grants = RegionGrants::new("eu-west-1".parse().unwrap(), "999988887777".parse().unwrap(), naming, [shard]);
        grants.summaries().remove(0)
    }

    fn statement(effect: &str, principal: &Value) -> Value {
        json!({"Effect": effect, "Principal": principal, "Action": "logs:PutSubscriptionFilter", "Resource": ARN})
    }

    /// A policy that lists these accounts, with statements of others.
    fn policy(listed: impl IntoIterator<Item = u64>, others: &[Value]) -> DestinationPolicy {
        DestinationPolicy::parse(&json!({"Statement": others}).to_string()).unwrap().with_accounts(ids(listed))
    }

    fn seen(policy: &DestinationPolicy) -> ShardSummary {
        summary_of(Some(&policy.render(&ARN.parse().unwrap())))
    }

    #[test]
    fn accounts_of_other_statements_are_counted_and_named_apart() {
        let found = seen(&policy([1, 2], &[statement("Allow", &json!({"AWS": ["000000000002", "000000000003"]}))]));
        assert_eq!((found.accounts, found.by_others, found.denied), (ids([1, 2, 3]), ids([3]), ids([])));
    }

    #[test]
    fn whom_a_statement_of_others_denies_is_not_granted() {
        let found = seen(&policy([1, 2], &[statement("Deny", &json!({"AWS": ["000000000002", "000000000009"]}))]));
        assert_eq!((found.accounts, found.denied), (ids([1]), ids([2, 9])));
        assert_eq!(seen(&policy([1, 2], &[statement("Deny", &json!("*"))])).denied, ids([1, 2]));
        let mut elsewhere = statement("Deny", &json!("*"));
        elsewhere["Condition"] = json!({"StringNotEquals": {"aws:PrincipalOrgID": "o-exampleorg1"}});
        assert_eq!(seen(&policy([1, 2], &[elsewhere])).accounts, ids([1, 2]), "the condition may not hold");
        let mut all_but = statement("Deny", &json!(null));
        all_but.as_object_mut().unwrap().remove("Principal");
        all_but["NotPrincipal"] = json!({"AWS": "000000000002"});
        assert_eq!(seen(&policy([1, 2], &[all_but])).denied, ids([1]));
    }

    #[test]
    fn a_policy_that_names_the_organization_has_no_room_for_accounts() {
        let organization: OrganizationId = "o-exampleorg1".parse().unwrap();
        let found = seen(&policy([1], &[]).with_organization(Some(organization.clone())));
        assert_eq!((found.organization, found.room, found.accounts), (Some(organization), 0, ids([1])));
        assert!(found.free_bytes > 4_000);
    }

    #[test]
    fn an_unreadable_policy_has_a_reason_and_no_room() {
        let found = summary_of(Some("[]"));
        assert_eq!(found.unreadable.as_deref(), Some("the access policy is not a JSON object"));
        assert_eq!((found.bytes, found.room, found.accounts), (2, 0, ids([])));
    }

    #[test]
    fn a_destination_without_a_policy_is_empty() {
        let found = summary_of(None);
        assert_eq!((found.bytes, found.unreadable), (0, None));
        assert!(found.room > 300 && found.accounts.is_empty());
    }
}
