//! What a report is about: which part of which organization, who looked when and with which settings. Every output has
//! it, because a report of a part must not pass for one of the whole, nor a simulated one for a real one.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use anyhow::Context;
use enroller_core::backfill::BackfillRequest;
use enroller_core::ids::{AccountId, OrganizationId, Region};
use enroller_core::settings::{GrantMode, Settings};
use jiff::Timestamp;
use owo_colors::Style;
use serde::Serialize;

use crate::output::{Output, OutputError, count, printable};
use crate::session::Session;

const SIMULATED: &str = "SIMULATED";

const PARTIAL: &str = "PARTIAL";

/// What a report is about.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct About {
    pub(crate) organization: OrganizationId,
    pub(crate) central_account: AccountId,
    /// Whether the organization is a simulated one.
    pub(crate) simulated: bool,
    pub(crate) scope: Scope,
    /// The principal that looked, as AWS returned it.
    pub(crate) caller: String,
    /// The version of this command.
    pub(crate) version: &'static str,
    /// RFC 3339, in UTC.
    pub(crate) generated_at: String,
    /// A fingerprint of `settings`: reports with the same one were judged by the same settings.
    pub(crate) settings_digest: String,
    /// The settings that decide what is covered, granted or left alone, or what is made.
    pub(crate) settings: BTreeMap<&'static str, String>,
}

/// The part of the organization that was selected, and what was left out by that. Accounts and Regions that the settings
/// leave out are named in the report itself.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Scope {
    /// Whether nothing was left out by the selection.
    pub(crate) complete: bool,
    /// The selected accounts, if any were named.
    pub(crate) accounts: BTreeSet<AccountId>,
    /// The selected roots and organizational units, if any were named.
    pub(crate) organizational_units: BTreeSet<String>,
    /// What was excluded from the selection.
    pub(crate) exclude: BTreeSet<String>,
    /// The Regions that were looked at.
    pub(crate) regions: BTreeSet<Region>,
    /// Enrolled Regions that were not looked at.
    pub(crate) regions_not_inspected: BTreeSet<Region>,
    /// The number of the organization's accounts that were not selected; absent if the accounts were not listed.
    pub(crate) accounts_not_inspected: Option<usize>,
}

impl About {
    /// A report on a selection. `selected` has the number of accounts selected and of all, if they were listed.
    pub(crate) fn of(
        session: &Session,
        selection: &BackfillRequest,
        selected: Option<(usize, usize)>,
    ) -> anyhow::Result<Self> {
        let settings = session.settings();
        let now_ms = i64::try_from(session.context.clock.now_ms()).unwrap_or(i64::MAX);
        let now = Timestamp::from_millisecond(now_ms).context("the clock shows no time")?;
        let judged_by = judged_by(settings);
        Ok(Self {
            organization: settings.organization_id.clone(),
            central_account: settings.central_account,
            simulated: session.is_simulated(),
            scope: Scope::of(settings, selection, selected),
            caller: session.caller().arn.clone(),
            version: env!("CARGO_PKG_VERSION"),
            generated_at: format!("{now:.0}"),
            settings_digest: digest(&judged_by),
            settings: judged_by,
        })
    }

    /// The words for what a report is not: of a real organization, or of the whole one.
    pub(crate) fn warnings(&self) -> impl Iterator<Item = &'static str> {
        let warnings = [(self.simulated, SIMULATED), (!self.scope.complete, PARTIAL)];
        warnings.into_iter().filter(|(holds, _)| *holds).map(|(_, word)| word)
    }

    /// Prints the lines at the head of a text.
    pub(crate) fn print<W: Write>(&self, out: &mut Output<W>) -> Result<(), OutputError> {
        for line in self.lines() {
            let loud = line.starts_with(SIMULATED) || line.starts_with(PARTIAL);
            out.line(&if loud { out.styled(&line, Style::new().yellow().bold()) } else { line })?;
        }
        Ok(())
    }

    /// The lines at the head of a text or a question.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if self.simulated {
            lines.push(format!("{SIMULATED}: this is an invented organization, not yours"));
        }
        lines.push(self.scope.to_string());
        lines.push(format!("Caller: {}, enroller {}, {}", printable(&self.caller), self.version, self.generated_at));
        lines.push(format!("Settings: {}", printable(&self.settings_line())));
        lines
    }

    /// The most important settings and the fingerprint of all.
    fn settings_line(&self) -> String {
        let of = |key: &str| self.settings.get(key).map_or("", String::as_str);
        let pattern = match of("filter_pattern") {
            "" => "everything".to_owned(),
            pattern => format!("{pattern:?}"),
        };
        format!(
            "log group {}, filter {} ({pattern}) to {}, {} traffic, {} s, {} fields; digest {}",
            of("log_group_name"),
            of("filter_name"),
            of("destination_name"),
            of("traffic_type"),
            of("aggregation_interval"),
            of("log_format").split_whitespace().count(),
            self.settings_digest
        )
    }
}

impl Scope {
    fn of(settings: &Settings, selection: &BackfillRequest, selected: Option<(usize, usize)>) -> Self {
        let regions = selection.regions(settings).clone();
        let regions_not_inspected: BTreeSet<Region> = settings.regions.difference(&regions).cloned().collect();
        Self {
            complete: !selection.narrows_accounts() && regions_not_inspected.is_empty(),
            accounts: selection.accounts.clone(),
            organizational_units: selection.organizational_units.iter().map(ToString::to_string).collect(),
            exclude: selection.exclude.iter().map(ToString::to_string).collect(),
            regions,
            regions_not_inspected,
            accounts_not_inspected: selected.map(|(selected, all)| all.saturating_sub(selected)),
        }
    }

    /// The selection without the Regions: `account 111122223333`, or empty if all accounts are meant.
    fn whose(&self) -> String {
        let join = |what: &str, ids: Vec<String>| match ids.len() {
            0 => None,
            1 => Some(format!("{what} {}", ids.join(", "))),
            _ => Some(format!("{what}s {}", ids.join(", "))),
        };
        let accounts = join("account", self.accounts.iter().map(ToString::to_string).collect());
        let units = join("unit", self.organizational_units.iter().cloned().collect());
        let named: Vec<String> = accounts.into_iter().chain(units).collect();
        let without = match self.exclude.iter().cloned().collect::<Vec<_>>() {
            none if none.is_empty() => String::new(),
            some if named.is_empty() => format!("all accounts but {}", some.join(", ")),
            some => format!(" but {}", some.join(", ")),
        };
        format!("{}{without}", named.join(" and "))
    }

    /// A short name of the selected part, for titles; `None` for the whole.
    pub(crate) fn title(&self) -> Option<String> {
        if self.complete {
            return None;
        }
        let mut parts = vec![self.whose()];
        parts.retain(|part| !part.is_empty());
        if !self.regions_not_inspected.is_empty() {
            let regions: Vec<&str> = self.regions.iter().map(Region::as_str).collect();
            parts.push(format!("in {}", regions.join(", ")));
        }
        Some(parts.join(" "))
    }
}

impl std::fmt::Display for Scope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let list = |regions: &BTreeSet<Region>| regions.iter().map(Region::as_str).collect::<Vec<_>>().join(", ");
        let Some(title) = self.title() else {
            let regions = count(self.regions.len(), "Region");
            return write!(f, "Scope: the whole organization in {regions} ({})", list(&self.regions));
        };
        write!(f, "{PARTIAL}: only {title}; not inspected: ")?;
        let mut missing = Vec::new();
        match self.accounts_not_inspected {
            Some(0) => {}
            Some(accounts) => missing.push(count(accounts, "other account")),
            None if !self.whose().is_empty() => missing.push("other accounts".to_owned()),
            None => {}
        }
        if !self.regions_not_inspected.is_empty() {
            missing.push(list(&self.regions_not_inspected));
        }
        f.write_str(&if missing.is_empty() { "nothing".to_owned() } else { missing.join(", ") })
    }
}

/// The settings that decide what is covered, granted or left alone, or what is made.
fn judged_by(settings: &Settings) -> BTreeMap<&'static str, String> {
    let list = |items: Vec<String>| items.join(",");
    let arn = |arn: &Option<enroller_core::arn::Arn>| arn.as_ref().map(ToString::to_string).unwrap_or_default();
    let mode = match settings.grant_mode {
        GrantMode::AccountList => "account-list",
        GrantMode::Organization => "organization",
    };
    let filter_role = match settings.grant_mode {
        GrantMode::AccountList => String::new(),
        GrantMode::Organization => settings.filter_role_name.to_string(),
    };
    BTreeMap::from([
        ("log_group_name", settings.log_group_name.to_string()),
        ("destination_name", settings.destination_name.base().to_string()),
        ("destination_target_arn", arn(&settings.destination_target_arn)),
        ("destination_role_arn", arn(&settings.destination_role_arn)),
        ("filter_name", settings.filter_name.to_string()),
        ("filter_pattern", settings.filter_pattern.clone()),
        ("filter_role_name", filter_role),
        ("grant_mode", mode.to_owned()),
        ("delivery_role_name", settings.delivery_role_name.to_string()),
        ("member_role_name", settings.member_role_name.to_string()),
        ("traffic_type", settings.traffic_type.to_string()),
        ("traffic_type_tag", settings.traffic_type_tag.clone()),
        ("aggregation_interval", settings.aggregation_interval.to_string()),
        ("log_format", settings.log_format.clone()),
        ("retention_days", settings.retention_days.map_or("never-expire".to_owned(), |days| days.to_string())),
        ("kms_key_arn", settings.kms_key_arn.as_ref().map(ToString::to_string).unwrap_or_default()),
        ("ownership_tag", settings.ownership_tag.to_string()),
        ("resource_tags", list(settings.resource_tags.iter().map(ToString::to_string).collect())),
        ("opt_out_tag", settings.opt_out_tag.to_string()),
        ("narrowing_tags", settings.narrowing_tags.as_str().to_owned()),
        (
            "opted_out_vpcs",
            list(
                settings.opted_out_vpcs.iter().map(|(vpc, it)| format!("{vpc}:{}:{}", it.last_day, it.owner)).collect(),
            ),
        ),
        ("excluded_accounts", list(settings.excluded_accounts.iter().map(ToString::to_string).collect())),
        (
            "excluded_organizational_units",
            list(settings.excluded_organizational_units.iter().map(ToString::to_string).collect()),
        ),
        ("regions", list(settings.regions.iter().map(ToString::to_string).collect())),
    ])
}

fn digest(settings: &BTreeMap<&'static str, String>) -> String {
    fingerprint(&settings.iter().map(|(key, value)| format!("{key}={value}\n")).collect::<String>())
}

/// FNV-1a of 64 bits, in hex. It tells texts apart, and protects nothing.
pub(crate) fn fingerprint(text: &str) -> String {
    let hash = text
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    format!("{hash:016x}")
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    /// About the whole of an organization with two Regions.
    pub(crate) fn about() -> About {
        let settings = settings(&[]);
        let judged_by = judged_by(&settings);
        About {
            organization: settings.organization_id.clone(),
            central_account: settings.central_account,
            simulated: false,
            scope: Scope::of(&settings, &BackfillRequest::default(), Some((3, 3))),
            caller: "arn:aws:sts::444455556666:assumed-role/Operator/me".to_owned(),
            version: "1.2.3",
            generated_at: "2026-11-23T10:00:00Z".to_owned(),
            settings_digest: digest(&judged_by),
            settings: judged_by,
        }
    }

    /// Settings with defaults, and these changes.
    pub(crate) fn settings(changes: &[(&str, &str)]) -> Settings {
        let required = [
            ("central_account", "444455556666"),
            ("organization_id", "o-exampleorg1"),
            ("home_region", "eu-west-1"),
            ("regions", "eu-west-1,us-east-1"),
        ];
        let find = |key: &str| changes.iter().chain(&required).find(|(name, _)| *name == key);
        Settings::from_lookup(|key| find(key).map(|(_, value)| (*value).to_owned())).unwrap()
    }
}

#[cfg(test)]
mod tests {
    use enroller_core::settings::KEYS;

    use super::testing::settings;
    use super::*;

    /// Settings that no verdict depends on.
    const NOT_JUDGED_BY: [&str; 12] = [
        "central_account",
        "organization_id",
        "home_region",
        "delivery_role_policy_name",
        "delivery_role_maker",
        "member_stack_name",
        "external_id",
        "revocation_limit_percent",
        "max_concurrency",
        "enrollments_queue_url",
        "grants_queue_url",
        "backfill_queue_url",
    ];

    fn scope(accounts: &[&str], regions: &[&str], selected: Option<(usize, usize)>) -> Scope {
        let selection = BackfillRequest {
            accounts: accounts.iter().map(|id| id.parse().unwrap()).collect(),
            regions: regions.iter().map(|region| region.parse().unwrap()).collect(),
            ..BackfillRequest::default()
        };
        Scope::of(&settings(&[]), &selection, selected)
    }

    #[test]
    fn a_report_names_every_setting_that_decides_something() {
        let named = judged_by(&settings(&[]));
        for (key, ..) in KEYS {
            assert!(named.contains_key(key) != NOT_JUDGED_BY.contains(key), "{key}: does a verdict depend on it?");
        }
    }

    #[test]
    fn other_settings_have_another_digest() {
        let digest_of = |changes: &[(&str, &str)]| digest(&judged_by(&settings(changes)));
        assert_eq!(digest_of(&[]), digest_of(&[("max_concurrency", "2")]));
        for change in [("filter_pattern", "x"), ("traffic_type", "REJECT"), ("excluded_accounts", "444455556666")] {
            assert_ne!(digest_of(&[]), digest_of(&[change]), "{change:?}");
        }
    }

    #[test]
    fn the_scope_says_what_was_left_out() {
        let whole = scope(&[], &[], Some((12, 12)));
        assert_eq!(whole.to_string(), "Scope: the whole organization in 2 Regions (eu-west-1, us-east-1)");
        assert_eq!(whole.title(), None);
        let one = scope(&["444455556666"], &["us-east-1"], Some((1, 12)));
        let expected = "PARTIAL: only account 444455556666 in us-east-1; not inspected: 11 other accounts, eu-west-1";
        assert_eq!(one.to_string(), expected);
        let region = scope(&[], &["us-east-1"], None);
        assert_eq!(region.to_string(), "PARTIAL: only in us-east-1; not inspected: eu-west-1");
        // All Regions, named one by one, are the whole.
        assert!(scope(&[], &["us-east-1", "eu-west-1"], None).complete);
    }
}
