//! Which accounts, Regions and VPCs are enrolled, and why the others are not.

use std::fmt;

use crate::ids::{AccountId, Invalid, ParentId, Region};
use crate::observed::{Account, AccountState, TrafficType, Vpc};
use crate::settings::{NarrowingTags, Settings};

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
    /// The setting `opted_out_vpcs` lists the VPC.
    ListedOut {
        /// Who answers for it.
        owner: String,
        /// The last day of the entry.
        last_day: String,
    },
    /// The VPC has the opt-out tag, given as `key=value`, and the settings let it opt out.
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
            Self::ListedOut { owner, last_day } => {
                write!(f, "the settings exclude it until {last_day} (opted_out_vpcs), for which {owner} answers")
            }
            Self::OptedOut(tag) => write!(f, "the VPC's tag {tag} excludes it"),
            Self::SharedIn(owner) => write!(f, "the VPC is shared by {owner}, and only its owner can log it"),
        }
    }
}

impl OutOfScope {
    /// Whether somebody opted this one VPC out, with its tag or in the settings.
    pub const fn is_of_one_vpc(&self) -> bool {
        match self {
            Self::ListedOut { .. } | Self::OptedOut(_) => true,
            Self::AccountExcluded | Self::UnitExcluded(_) | Self::State(_) | Self::Region | Self::SharedIn(_) => false,
        }
    }
}

/// How a VPC's own tags bear on what it records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TagEffect {
    /// A tag narrows the recording, because the settings let it.
    Narrows(String),
    /// A tag would stop or narrow the recording, and is ignored.
    Ignored(String),
}

impl fmt::Display for TagEffect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Narrows(text) | Self::Ignored(text) => f.write_str(text),
        }
    }
}

/// What a VPC in scope should record.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "`traffic_type` is described by its type")]
pub struct Recording {
    pub traffic_type: TrafficType,
    /// What its tags change or would change; `None` where they change nothing or widen the recording.
    pub tags: Option<TagEffect>,
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

    /// What a VPC visible to `account` should record; the error is the reason why it should have no flow log.
    ///
    /// A VPC's tags may widen the recording. They stop or narrow it only where the settings let them. A traffic type tag
    /// with an invalid value counts as absent: a typo must not stop the logging.
    pub fn vpc_in_scope(&self, account: AccountId, vpc: &Vpc, now_ms: u64) -> Result<Recording, OutOfScope> {
        if vpc.owner != account {
            return Err(OutOfScope::SharedIn(vpc.owner));
        }
        if let Some(entry) = self.opted_out_vpcs.get(&vpc.id).filter(|entry| !entry.has_expired(now_ms)) {
            let (owner, last_day) = (entry.owner.clone(), entry.last_day.clone());
            return Err(OutOfScope::ListedOut { owner, last_day });
        }
        let opts_out = self.opt_out_tag.is_on_in_any_case(&vpc.tags);
        if opts_out && self.narrowing_tags == NarrowingTags::Followed {
            return Err(OutOfScope::OptedOut(self.opt_out_tag.to_string()));
        }
        let wished = self.wished_traffic_type(vpc).and_then(Result::ok).unwrap_or(self.traffic_type);
        let narrower = (wished != TrafficType::All && wished != self.traffic_type)
            .then(|| format!("{}={wished}", self.traffic_type_tag));
        Ok(match (self.narrowing_tags, narrower) {
            (NarrowingTags::Followed, Some(tag)) => {
                let text =
                    format!("the VPC's tag {tag} narrows what it records: the settings ask for {}", self.traffic_type);
                Recording { traffic_type: wished, tags: Some(TagEffect::Narrows(text)) }
            }
            (NarrowingTags::Ignored, narrower) => {
                let traffic_type = if narrower.is_some() { self.traffic_type } else { wished };
                let tags: Vec<String> =
                    opts_out.then(|| self.opt_out_tag.to_string()).into_iter().chain(narrower).collect();
                Recording { traffic_type, tags: ignored(&tags) }
            }
            (NarrowingTags::Followed, None) => Recording { traffic_type: wished, tags: None },
        })
    }

    /// The traffic type in a VPC's tag; `None` without the tag, and an error where its value is not a traffic type.
    pub fn wished_traffic_type(&self, vpc: &Vpc) -> Option<Result<TrafficType, Invalid>> {
        vpc.tags.get(&self.traffic_type_tag).map(|value| value.parse())
    }
}

fn ignored(tags: &[String]) -> Option<TagEffect> {
    let (is, are) = (
        "is ignored: with narrowing_tags = ignored, a VPC's tags can only widen what it records",
        "are ignored: with narrowing_tags = ignored, a VPC's tags can only widen what it records",
    );
    match tags {
        [] => None,
        [tag] => Some(TagEffect::Ignored(format!("the VPC's tag {tag} {is}"))),
        several => Some(TagEffect::Ignored(format!("the VPC's tags {} {are}", several.join(" and ")))),
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

    fn recorded(settings: &Settings, tags: &[(&str, &str)]) -> Result<TrafficType, OutOfScope> {
        let account = "123456789012".parse().unwrap();
        settings.vpc_in_scope(account, &vpc(tags), 0).map(|recording| recording.traffic_type)
    }

    #[test]
    fn where_they_are_followed_a_vpcs_tags_choose_whether_and_what_it_records() {
        let followed = [("traffic_type", "ACCEPT"), ("opt_out_tag", "logging=none"), ("narrowing_tags", "followed")];
        let settings = with(&followed).unwrap();
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
            assert_eq!(recorded(&settings, tags), expected, "{tags:?}");
        }
    }

    #[test]
    fn by_default_a_vpcs_tags_widen_what_it_records_and_never_narrow_it() {
        use TrafficType::{Accept, All, Reject};
        for (wanted, tag, expected) in [
            (All, "REJECT", All),
            (All, "ACCEPT", All),
            (All, "ALL", All),
            (Accept, "ALL", All),
            (Accept, "REJECT", Accept),
            (Accept, "ACCEPT", Accept),
            (Reject, "ALL", All),
            (Reject, "ACCEPT", Reject),
        ] {
            let settings = with(&[("traffic_type", wanted.as_str())]).unwrap();
            let tags = [("vpc-flow-logs-traffic-type", tag), ("vpc-flow-logs", "off")];
            assert_eq!(recorded(&settings, &tags[..1]), Ok(expected), "{wanted} {tag}");
            assert_eq!(recorded(&settings, &tags), Ok(expected), "{wanted} {tag}");
        }
    }

    #[test]
    fn what_a_tag_narrows_or_would_narrow_is_told() {
        let account = "123456789012".parse().unwrap();
        let told = |changes: &[(&str, &str)], tags: &[(&str, &str)]| {
            with(changes).unwrap().vpc_in_scope(account, &vpc(tags), 0).unwrap().tags
        };
        let reject = ("vpc-flow-logs-traffic-type", "reject");
        let off = ("vpc-flow-logs", "off");
        let ignored = |text: &str| Some(TagEffect::Ignored(text.to_owned()));
        let rule = "with narrowing_tags = ignored, a VPC's tags can only widen what it records";
        let one = format!("the VPC's tag vpc-flow-logs=off is ignored: {rule}");
        assert_eq!(told(&[], &[off]), ignored(&one));
        let both = "the VPC's tags vpc-flow-logs=off and vpc-flow-logs-traffic-type=REJECT are ignored";
        assert_eq!(told(&[], &[off, reject]), ignored(&format!("{both}: {rule}")));
        assert_eq!(told(&[], &[("vpc-flow-logs-traffic-type", "ALL")]), None);
        let narrows =
            "the VPC's tag vpc-flow-logs-traffic-type=REJECT narrows what it records: the settings ask for ALL";
        let followed = [("narrowing_tags", "followed")];
        assert_eq!(told(&followed, &[reject]), Some(TagEffect::Narrows(narrows.to_owned())));
        assert_eq!(told(&followed, &[]), None);
    }

    #[test]
    fn the_settings_leave_a_vpc_alone_until_the_last_day_of_its_entry() {
        let listed = [("opted_out_vpcs", "vpc-0123456789abcdef0:2027-03-31:jane")];
        let settings = with(&listed).unwrap();
        let account = "123456789012".parse().unwrap();
        let at = |time: &str| settings.vpc_in_scope(account, &vpc(&[]), crate::time::milliseconds(time).unwrap());
        let reason = at("2027-03-31T23:59:59Z").unwrap_err();
        assert_eq!(
            reason.to_string(),
            "the settings exclude it until 2027-03-31 (opted_out_vpcs), for which jane answers"
        );
        assert!(at("2027-04-01T00:00:00Z").is_ok());
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
        let reason = with(&[]).unwrap().vpc_in_scope("777788889999".parse().unwrap(), &vpc(&[]), 0).unwrap_err();
        assert_eq!(reason.to_string(), "the VPC is shared by 123456789012, and only its owner can log it");
    }
}
