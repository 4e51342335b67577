//! Destinations: where they deliver, which accounts they authorize, and how much room is left.

use std::collections::BTreeSet;

use super::CheckResult;
use crate::arn::Arn;
use crate::grants::{GrantProblem, PolicyState, RegionGrants, Shard, ShardNaming};
use crate::ids::AccountId;
use crate::policy::{DestinationPolicy, MAX_POLICY_BYTES};
use crate::settings::{GrantMode, Settings};

/// The number of accounts named in one finding; the rest is counted.
const NAMED: usize = 5;

const SYNC: &str = "run `enroller grants sync`, or wait for the next sweep";

/// The target and the role that every destination should have, as far as known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// The stream to deliver to.
    pub target: Option<Arn>,
    /// The role to deliver with.
    pub role: Option<Arn>,
    /// Where this is known from, as shown to operators.
    pub source: &'static str,
}

impl Expected {
    /// The target and role of the settings. What the settings lack is taken from the first destination found, because
    /// all of a Region's destinations must have the same.
    pub fn of(settings: &Settings, first: Option<&Shard>) -> Self {
        let (target, role) = (settings.destination_target_arn.clone(), settings.destination_role_arn.clone());
        let source = if target.is_some() && role.is_some() { "in the settings" } else { "in the other destinations" };
        Self {
            target: target.or_else(|| first.map(|shard| shard.target.clone())),
            role: role.or_else(|| first.map(|shard| shard.role.clone())),
            source,
        }
    }
}

/// The result for a Region without any destination.
pub fn check_absent(settings: &Settings) -> CheckResult {
    CheckResult::failed(format!("there is no destination {}", settings.destination_name.base()), SYNC)
}

/// Whether a destination has the expected target and role.
pub fn check_target(shard: &Shard, expected: &Expected) -> CheckResult {
    let differs = |what: &str, found: &Arn, wanted: &Option<Arn>| {
        let wanted = wanted.as_ref().filter(|wanted| *wanted != found)?;
        Some(format!("its {what} is {found}, but {} it is {wanted}", expected.source))
    };
    let problems: Vec<String> =
        [differs("target", &shard.target, &expected.target), differs("role", &shard.role, &expected.role)]
            .into_iter()
            .flatten()
            .collect();
    if problems.is_empty() {
        return CheckResult::ok(format!("delivers to {}", shard.target));
    }
    let foreign = match (&expected.target, &expected.role) {
        (Some(target), Some(role)) => GrantProblem::foreign(shard, target, role),
        _ => None,
    };
    let if_right = foreign.map_or_else(|| SYNC.to_owned(), |problem| problem.next_step());
    let remedy = format!(
        "if the settings are right, {if_right}; otherwise correct destination_target_arn and destination_role_arn"
    );
    CheckResult::failed(problems.join("; "), remedy)
}

/// Whether a destination's policy can be parsed, has the managed statements unchanged, and grants an account.
pub fn check_policy(grants: &RegionGrants, shard: &Shard, settings: &Settings) -> CheckResult {
    let arn = grants.arn_of(&shard.name);
    let first = grants.naming().index_of(&shard.name) == Some(ShardNaming::FIRST);
    let policy = match &shard.policy {
        PolicyState::Absent => {
            return CheckResult::failed("it has no access policy, so no account may subscribe", SYNC);
        }
        PolicyState::Unreadable { error, .. } => {
            let remedy = "fix the policy by hand (aws logs put-destination-policy); it stays in force at AWS, and \
            account-onboarder does not change it until it can be parsed";
            return CheckResult::failed(error.to_string(), remedy);
        }
        PolicyState::Parsed(policy) => policy,
    };
    if policy.needs_put(&arn) {
        return CheckResult::failed("another principal changed its managed statement", SYNC);
    }
    let others = match policy.foreign_statements() {
        0 => String::new(),
        1 => ", 1 unmanaged statement".to_owned(),
        count => format!(", {count} unmanaged statements"),
    };
    let facts = format!("{} of {MAX_POLICY_BYTES} bytes{others}", policy.bytes(&arn));
    match settings.grant_mode {
        GrantMode::Organization if first && !policy.allows_organization(&settings.organization_id, &arn) => {
            let finding = format!("it does not name {}, although grant_mode is organization", settings.organization_id);
            CheckResult::failed(finding, "finish the switch with `enroller grants sync`")
        }
        GrantMode::AccountList if first && grants_nothing(policy, &arn) => {
            CheckResult::warning(format!("it grants no account ({facts})"), SYNC)
        }
        GrantMode::Organization | GrantMode::AccountList => {
            CheckResult::ok(format!("{}, {facts}", counted(policy.accounts().len(), "account")))
        }
    }
}

fn grants_nothing(policy: &DestinationPolicy, arn: &Arn) -> bool {
    policy.accounts().is_empty() && policy.organization().is_none() && policy.accounts_of_others(arn).is_empty()
}

/// "1 account", "2 accounts".
fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// How many more accounts a Region's destinations have room for. The result is a warning if that is less than a tenth
/// of one policy: the last policy is more than 90 % full then, and the others have no room either.
pub fn check_room(grants: &RegionGrants) -> CheckResult {
    let capacity = |shard: &Shard| match &shard.policy {
        PolicyState::Absent => DestinationPolicy::empty().capacity(&grants.arn_of(&shard.name)),
        PolicyState::Parsed(policy) => policy.capacity(&grants.arn_of(&shard.name)),
        PolicyState::Unreadable { .. } => 0,
    };
    let listed = |shard: &Shard| match &shard.policy {
        PolicyState::Parsed(policy) => policy.accounts().len(),
        PolicyState::Absent | PolicyState::Unreadable { .. } => 0,
    };
    let shards = grants.shards().values();
    let room: usize = shards.clone().map(|shard| capacity(shard).saturating_sub(listed(shard))).sum();
    let largest = shards.clone().map(capacity).max().unwrap_or_default();
    let facts =
        format!("room for {} in {}", counted(room, "more account"), counted(grants.shards().len(), "destination"));
    if room * 10 >= largest {
        return CheckResult::ok(facts);
    }
    CheckResult::warning(
        facts,
        "no action needed as long as account-onboarder may create destinations (logs:PutDestination and iam:PassRole); \
        otherwise add one, or set grant_mode to organization",
    )
}

/// Whether every account in scope is granted on a destination of a Region.
pub fn check_grants(grants: &RegionGrants, wanted: &BTreeSet<AccountId>, settings: &Settings) -> CheckResult {
    let assignments = grants.assignments(settings.granted_organization());
    let missing: Vec<AccountId> = wanted.iter().filter(|account| assignments.get(account).is_none()).copied().collect();
    let doubted: Vec<_> = wanted.iter().filter_map(|account| Some((*account, assignments.doubt(account)?))).collect();
    if let Some((account, doubt)) = doubted.first() {
        let of = format!("{} of {} accounts in scope", doubted.len(), wanted.len());
        return CheckResult::failed(
            format!("{of} are kept from their grant: {account}, because {doubt}"),
            doubt.next_step(),
        );
    }
    if missing.is_empty() {
        return CheckResult::ok(format!("all {} accounts in scope are granted", wanted.len()));
    }
    let named: Vec<String> = missing.iter().take(NAMED).map(ToString::to_string).collect();
    let more = match missing.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let finding =
        format!("{} of {} accounts in scope are not granted: {}{more}", missing.len(), wanted.len(), named.join(", "));
    // Such an account cannot deliver, whoever took its grant away.
    CheckResult::failed(finding, SYNC)
}

#[cfg(test)]
mod tests {
    use super::super::Status;
    use super::*;
    use crate::ids::Region;
    use crate::settings::tests::with;

    fn settings(changes: &[(&str, &str)]) -> Settings {
        with(changes).unwrap()
    }

    fn central() -> AccountId {
        "444455556666".parse().unwrap()
    }

    fn region() -> Region {
        "eu-west-1".parse().unwrap()
    }

    fn accounts(count: u64) -> BTreeSet<AccountId> {
        (1..=count).map(|number| format!("{number:012}").parse().unwrap()).collect()
    }

    fn shard(index: u32, policy: Option<&str>) -> Shard {
        Shard {
            name: naming().name_of(index),
            target: "arn:aws:firehose:eu-west-1:444455556666:deliverystream/logs".parse().unwrap(),
            role: "arn:aws:iam::444455556666:role/ToStream".parse().unwrap(),
            policy: PolicyState::read(policy),
        }
    }

    fn naming() -> ShardNaming {
        ShardNaming::new("VPCFlowLogsDestination".parse().unwrap()).unwrap()
    }

    fn listing(index: u32, accounts: BTreeSet<AccountId>) -> Shard {
        let arn = Arn::destination(&region(), central(), &naming().name_of(index));
        shard(index, Some(&DestinationPolicy::empty().with_accounts(accounts).render(&arn)))
    }

    fn grants(shards: Vec<Shard>) -> RegionGrants {
        RegionGrants::new(region(), central(), naming(), shards)
    }

    #[test]
    fn target_and_role_are_those_of_the_settings_or_of_the_other_destinations() {
        let shard = shard(1, None);
        let other: Arn = "arn:aws:firehose:eu-west-1:444455556666:deliverystream/other".parse().unwrap();
        let expected = |target: &Arn, source| Expected { target: Some(target.clone()), role: None, source };
        assert_eq!(check_target(&shard, &expected(&shard.target, "in the settings")).status, Status::Ok);
        let wrong = check_target(&shard, &expected(&other, "in the settings"));
        assert_eq!(wrong.status, Status::Failed);
        assert!(
            wrong
                .finding
                .contains("but in the settings it is arn:aws:firehose:eu-west-1:444455556666:deliverystream/other")
        );
        let known = Expected::of(&settings(&[]), Some(&shard));
        assert_eq!(known.source, "in the other destinations");
        let central = settings(&[]).central_account;
        let stream = format!("arn:aws:firehose:eu-west-1:{central}:deliverystream/logs");
        let role_arn = format!("arn:aws:iam::{central}:role/ToStream");
        let (target, role) = (("destination_target_arn", stream.as_str()), ("destination_role_arn", role_arn.as_str()));
        assert_eq!(Expected::of(&settings(&[target]), Some(&shard)).source, "in the other destinations");
        assert_eq!(Expected::of(&settings(&[target, role]), Some(&shard)).source, "in the settings");
        assert_eq!(check_target(&shard, &known).status, Status::Ok);
        let mut role = shard.clone();
        role.role = "arn:aws:iam::444455556666:role/Other".parse().unwrap();
        assert!(check_target(&role, &known).finding.starts_with("its role is "));
    }

    #[test]
    fn a_policy_must_be_readable_unchanged_and_grant_an_account() {
        let edited = listing(1, accounts(2)).policy;
        let PolicyState::Parsed(policy) = &edited else { panic!("not readable") };
        let arn = Arn::destination(&region(), central(), &naming().name_of(1));
        let edited = policy.render(&arn).replace("logs:PutSubscriptionFilter", "logs:PutLogEvents");
        for (found, status, finding) in [
            (listing(1, accounts(2)), Status::Ok, "2 accounts, "),
            (shard(1, None), Status::Failed, "no access policy"),
            (shard(1, Some("not json")), Status::Failed, "not JSON"),
            (shard(1, Some(&edited)), Status::Failed, "changed its managed statement"),
            (listing(1, accounts(0)), Status::Warning, "grants no account"),
            (listing(2, accounts(0)), Status::Ok, "0 accounts"),
        ] {
            let verdict = check_policy(&grants(vec![found.clone()]), &found, &settings(&[]));
            assert_eq!(verdict.status, status, "{verdict:?}");
            assert!(verdict.finding.contains(finding), "{verdict:?}");
        }
    }

    #[test]
    fn in_organization_mode_the_first_policy_names_the_organization() {
        let settings = settings(&[("grant_mode", "organization")]);
        let found = listing(1, accounts(2));
        assert_eq!(check_policy(&grants(vec![found.clone()]), &found, &settings).status, Status::Failed);
        let PolicyState::Parsed(policy) = &found.policy else { panic!("not readable") };
        let arn = Arn::destination(&region(), central(), &naming().name_of(1));
        let named = policy.with_organization(Some(settings.organization_id.clone())).render(&arn);
        let named = shard(1, Some(&named));
        assert_eq!(check_policy(&grants(vec![named.clone()]), &named, &settings).status, Status::Ok);
    }

    #[test]
    fn little_room_is_a_warning_only_where_no_destination_has_more() {
        for (shards, status) in [
            (vec![listing(1, accounts(10))], Status::Ok),
            (vec![listing(1, accounts(200))], Status::Ok),
            (vec![listing(1, accounts(320))], Status::Warning),
            (vec![listing(1, accounts(320)), listing(2, accounts(1))], Status::Ok),
            (vec![listing(1, accounts(320)), listing(2, accounts(320))], Status::Warning),
            (vec![shard(1, Some("not json"))], Status::Ok),
        ] {
            let verdict = check_room(&grants(shards));
            assert_eq!(verdict.status, status, "{verdict:?}");
        }
    }

    #[test]
    fn accounts_without_a_grant_are_named_and_the_rest_counted() {
        let grants = grants(vec![listing(1, accounts(2))]);
        assert_eq!(check_grants(&grants, &accounts(2), &settings(&[])).status, Status::Ok);
        let verdict = check_grants(&grants, &accounts(9), &settings(&[]));
        assert_eq!(verdict.status, Status::Failed);
        assert!(verdict.finding.starts_with("7 of 9 accounts in scope are not granted: 000000000003, "), "{verdict:?}");
        assert!(verdict.finding.ends_with("000000000007 and 2 more"), "{verdict:?}");
    }

    #[test]
    fn an_account_that_a_statement_of_others_denies_is_not_granted() {
        let arn = Arn::destination(&region(), central(), &naming().name_of(1));
        let deny = format!(
            r#"{{"Statement": [{{"Effect": "Deny", "Principal": {{"AWS": "000000000002"}},
                "Action": "logs:*", "Resource": "{arn}"}}]}}"#
        );
        let policy = DestinationPolicy::parse(&deny).unwrap().with_accounts(accounts(3));
        let denying = grants(vec![shard(1, Some(&policy.render(&arn)))]);
        let verdict = check_grants(&denying, &accounts(3), &settings(&[]));
        assert_eq!(verdict.status, Status::Failed);
        assert!(verdict.finding.starts_with("1 of 3 accounts in scope are kept"), "{verdict:?}");
        assert!(verdict.finding.contains("000000000002"), "{verdict:?}");
        let edited = shard(
            1,
            Some(r#"{"Statement": [{"Sid": "VpcEnroller", "Effect": "Deny", "Principal": {"AWS": "000000000001"}}]}"#),
        );
        let verdict = check_grants(&grants(vec![edited]), &accounts(1), &settings(&[]));
        assert!(verdict.status == Status::Failed && verdict.finding.contains("cannot be read"), "{verdict:?}");
    }
}
