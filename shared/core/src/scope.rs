//! Which accounts, Regions and VPCs are enrolled, and why the others are not.

use std::fmt;

use crate::ids::{AccountId, Invalid, ParentId, Region};
use crate::observed::{Account, AccountState, TrafficType, Vpc};
use crate::settings::Settings;

/// Why something is not enrolled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OutOfScope {
    /// The setting `excluded_accounts` lists the account.
    AccountExcluded,
    /// The setting `excluded_organizational_units` lists this root or OU above the account.
    UnitExcluded(ParentId),
    /// The account is not active.
    State(AccountState),
    /// The setting `regions` does not list the Region.
    Region,
    /// The VPC has the opt-out tag, given as `key=value`.
    OptedOut(String),
    /// The VPC is shared by this account, which owns it.
    SharedIn(AccountId),
}

impl fmt::Display for OutOfScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AccountExcluded => f.write_str("the account is excluded by the settings"),
            Self::UnitExcluded(unit) => write!(f, "its organizational unit {unit} is excluded by the settings"),
            Self::State(state) => write!(f, "the account's state is {state}"),
            Self::Region => f.write_str("the Region is not enrolled"),
            Self::OptedOut(tag) => write!(f, "the VPC's tag {tag} excludes it"),
            Self::SharedIn(owner) => write!(f, "the VPC is shared by {owner}, and only its owner can log it"),
        }
    }
}

impl Settings {
    /// Whether the settings exclude an account by its id.
    ///
    /// This needs no call of Organizations. [`Settings::account_in_scope`] also checks OUs and the account's state.
    pub fn account_listed_out(&self, account: AccountId) -> Option<OutOfScope> {
        self.excluded_accounts.contains(&account).then_some(OutOfScope::AccountExcluded)
    }

    /// Whether an account should be granted and enrolled; the error is the reason why not.
    ///
    /// An account whose state is unknown to this version is a member, and stays in scope. If AWS renames its states,
    /// the other way round would switch everything off without a word.
    pub fn account_in_scope(&self, account: &Account) -> Result<(), OutOfScope> {
        if let Some(reason) = self.account_listed_out(account.id) {
            return Err(reason);
        }
        match account.state {
            AccountState::Active | AccountState::Unknown => {}
            AccountState::PendingActivation
            | AccountState::Suspended
            | AccountState::PendingClosure
            | AccountState::Closed => return Err(OutOfScope::State(account.state)),
        }
        let excluded = account.parents.iter().find(|unit| self.excluded_organizational_units.contains(*unit));
        excluded.map_or(Ok(()), |unit| Err(OutOfScope::UnitExcluded(unit.clone())))
    }

    /// Whether a Region is enrolled; the error is the reason why not.
    pub fn region_in_scope(&self, region: &Region) -> Result<(), OutOfScope> {
        if self.regions.contains(region) { Ok(()) } else { Err(OutOfScope::Region) }
    }

    /// The traffic type of the flow log that a VPC visible to `account` should have; the error is the reason why it
    /// should have none.
    ///
    /// A traffic type tag with an invalid value counts as absent: a typo must not stop the logging.
    pub fn vpc_in_scope(&self, account: AccountId, vpc: &Vpc) -> Result<TrafficType, OutOfScope> {
        if vpc.owner != account {
            return Err(OutOfScope::SharedIn(vpc.owner));
        }
        if self.opt_out_tag.is_on_in_any_case(&vpc.tags) {
            return Err(OutOfScope::OptedOut(self.opt_out_tag.to_string()));
        }
        Ok(self.wished_traffic_type(vpc).and_then(Result::ok).unwrap_or(self.traffic_type))
    }

    /// The traffic type in a VPC's tag; `None` without the tag, and an error where its value is not a traffic type.
    pub fn wished_traffic_type(&self, vpc: &Vpc) -> Option<Result<TrafficType, Invalid>> {
        vpc.tags.get(&self.traffic_type_tag).map(|value| value.parse())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observed::Tags;
    use crate::settings::tests::with;

    const EXCLUDED: [(&str, &str); 2] = [
        ("excluded_accounts", "444455556666, 777788889999"),
        ("excluded_organizational_units", "ou-ab12-sandbox1, ou-ab12-legacy01"),
    ];

    fn account(state: AccountState, parents: &[&str]) -> Account {
        let parents = parents.iter().map(|unit| unit.parse().unwrap()).collect();
        Account { id: "123456789012".parse().unwrap(), name: "workload".to_owned(), state, parents }
    }

    fn vpc(tags: &[(&str, &str)]) -> Vpc {
        Vpc {
            id: "vpc-0123456789abcdef0".parse().unwrap(),
            owner: "123456789012".parse().unwrap(),
            is_default: true,
            tags: tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect::<Tags>(),
        }
    }

    #[test]
    fn an_active_account_is_in_scope_under_any_parent() {
        let settings = with(&EXCLUDED).unwrap();
        for parents in [&[][..], &["r-ab12"], &["r-ab12", "ou-ab12-workload"]] {
            assert_eq!(settings.account_in_scope(&account(AccountState::Active, parents)), Ok(()), "{parents:?}");
        }
    }

    #[test]
    fn a_state_that_this_version_does_not_know_excludes_nobody() {
        let settings = with(&EXCLUDED).unwrap();
        assert_eq!(settings.account_in_scope(&account(AccountState::Unknown, &["r-ab12"])), Ok(()));
        let excluded = account(AccountState::Unknown, &["r-ab12", "ou-ab12-sandbox1"]);
        assert!(settings.account_in_scope(&excluded).is_err());
    }

    #[test]
    fn an_account_that_is_not_active_is_out_of_scope_with_its_state() {
        for (state, text) in [
            (AccountState::PendingActivation, "the account's state is PENDING_ACTIVATION"),
            (AccountState::Suspended, "the account's state is SUSPENDED"),
            (AccountState::PendingClosure, "the account's state is PENDING_CLOSURE"),
            (AccountState::Closed, "the account's state is CLOSED"),
        ] {
            let reason = with(&[]).unwrap().account_in_scope(&account(state, &[])).unwrap_err();
            assert_eq!(reason, OutOfScope::State(state));
            assert_eq!(reason.to_string(), text);
        }
    }

    #[test]
    fn a_listed_account_is_out_of_scope_whatever_its_state() {
        let settings = with(&EXCLUDED).unwrap();
        for state in [AccountState::Active, AccountState::Suspended] {
            let listed = Account { id: "444455556666".parse().unwrap(), ..account(state, &["ou-ab12-sandbox1"]) };
            assert_eq!(settings.account_in_scope(&listed), Err(OutOfScope::AccountExcluded));
            assert_eq!(settings.account_listed_out(listed.id), Some(OutOfScope::AccountExcluded));
        }
        assert_eq!(settings.account_listed_out("123456789012".parse().unwrap()), None);
    }

    #[test]
    fn an_excluded_unit_excludes_everything_below_it() {
        let settings = with(&EXCLUDED).unwrap();
        let nested = account(AccountState::Active, &["r-ab12", "ou-ab12-sandbox1", "ou-ab12-teams001"]);
        let reason = settings.account_in_scope(&nested).unwrap_err();
        assert_eq!(reason.to_string(), "its organizational unit ou-ab12-sandbox1 is excluded by the settings");
        let root = with(&[("excluded_organizational_units", "r-ab12")]).unwrap();
        assert!(root.account_in_scope(&nested).is_err());
    }

    #[test]
    fn only_the_listed_regions_are_in_scope() {
        let settings = with(&[("regions", "eu-west-1")]).unwrap();
        assert_eq!(settings.region_in_scope(&"eu-west-1".parse().unwrap()), Ok(()));
        assert_eq!(settings.region_in_scope(&"eu-west-2".parse().unwrap()), Err(OutOfScope::Region));
    }

    #[test]
    fn a_vpcs_tags_choose_whether_and_what_it_records() {
        let settings = with(&[("traffic_type", "ACCEPT"), ("opt_out_tag", "logging=none")]).unwrap();
        let opted_out = Err(OutOfScope::OptedOut("logging=none".to_owned()));
        for (tags, expected) in [
            (&[][..], Ok(TrafficType::Accept)),
            (&[("logging", "none")], opted_out.clone()),
            (&[("logging", "None")], opted_out.clone()),
            (&[("logging", "NONE")], opted_out.clone()),
            (&[("logging", "none ")], Ok(TrafficType::Accept)),
            (&[("Logging", "none")], Ok(TrafficType::Accept)),
            (&[("vpc-flow-logs", "off")], Ok(TrafficType::Accept)),
            (&[("vpc-flow-logs-traffic-type", "REJECT")], Ok(TrafficType::Reject)),
            (&[("vpc-flow-logs-traffic-type", "all")], Ok(TrafficType::All)),
            (&[("vpc-flow-logs-traffic-type", "Reject")], Ok(TrafficType::Reject)),
            (&[("vpc-flow-logs-traffic-type", "")], Ok(TrafficType::Accept)),
            (&[("vpc-flow-logs-traffic-type", "everything")], Ok(TrafficType::Accept)),
            (&[("vpc-flow-logs-traffic-type", "REJECT"), ("logging", "none")], opted_out),
        ] {
            assert_eq!(settings.vpc_in_scope("123456789012".parse().unwrap(), &vpc(tags)), expected, "{tags:?}");
        }
    }

    #[test]
    fn a_typo_in_a_traffic_type_tag_can_be_reported() {
        let settings = with(&[]).unwrap();
        assert_eq!(settings.wished_traffic_type(&vpc(&[])), None);
        let slip = settings.wished_traffic_type(&vpc(&[("vpc-flow-logs-traffic-type", "some")])).unwrap().unwrap_err();
        assert_eq!(slip.to_string(), "\"some\" is not a traffic type: expected ALL, ACCEPT or REJECT");
    }

    #[test]
    fn a_shared_vpc_is_left_to_its_owner_whatever_its_tags() {
        let reason = with(&[]).unwrap().vpc_in_scope("777788889999".parse().unwrap(), &vpc(&[])).unwrap_err();
        assert_eq!(reason.to_string(), "the VPC is shared by 123456789012, and only its owner can log it");
    }
}
