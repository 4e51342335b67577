//! Where a setting's value comes from. `--set` takes precedence over the environment, and the environment over the file.
//!
//! # Guarantees
//!
//! All problems are reported at once. An unknown setting is refused rather than ignored, because a misspelt exclusion
//! would otherwise enroll what should be left alone. Unknown environment variables are not detected, because variables
//! are only looked up by name.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::Args;
use enroller_core::event::EventContext;
use enroller_core::settings::{KEYS, SettingProblem, Settings, SettingsError, environment_name};
use toml::Value;

use crate::output::count;

/// Settings with several values, which a file may give as an array.
const LISTS: [&str; 5] =
    ["regions", "excluded_accounts", "excluded_organizational_units", "opted_out_vpcs", "resource_tags"];

/// Settings that name the managed resources an event can concern.
const OF_EVENTS: [&str; 12] = [
    "central_account",
    "destination_name",
    "delivery_role_name",
    "filter_role_name",
    "log_group_name",
    "filter_name",
    "member_role_name",
    "member_stack_name",
    "organization_id",
    "opt_out_tag",
    "traffic_type_tag",
    "ownership_tag",
];

/// The least similarity of a name that is suggested for an unknown one. Measure and limit are those of clap.
const ALIKE: f64 = 0.7;

/// Where settings come from. Every command that needs settings takes these flags.
#[derive(Debug, Args)]
pub(crate) struct SettingsArgs {
    /// TOML file with settings; the environment (ENROLLER_…) and --set take precedence
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// One setting (repeatable); takes precedence over the environment and the file; an empty value restores the default
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) set: Vec<Assignment>,
}

/// What a flag `--set KEY=VALUE` sets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Assignment {
    key: String,
    value: String,
}

impl FromStr for Assignment {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE")?;
        Ok(Self { key: key.trim().to_owned(), value: value.trim().to_owned() })
    }
}

/// Where a setting's value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The flag `--set`.
    Flag,
    /// The environment variable of the setting.
    Environment,
    /// The file with this name.
    File(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => f.write_str("--set"),
            Self::Environment => f.write_str("environment"),
            Self::File(name) => f.write_str(name),
        }
    }
}

/// One problem with the settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Problem {
    /// There is no setting with this name.
    Unknown { key: String, origin: Origin },
    /// A file gives a value of a type that the setting cannot have.
    WrongType { key: &'static str, found: &'static str, origin: Origin },
    /// The value is invalid. Without an origin, it is missing.
    BadValue { problem: SettingProblem, origin: Option<Origin> },
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown { key, origin } => match nearest(key) {
                Some(name) => write!(f, "unknown setting `{key}`; did you mean `{name}`? ({origin})"),
                None => write!(f, "unknown setting `{key}`; `enroller settings` lists all settings ({origin})"),
            },
            Self::WrongType { key, found, origin } => {
                let list = if LISTS.contains(key) { " or an array of strings" } else { " or an integer" };
                write!(f, "{key} is {found}: expected a string{list} ({origin})")
            }
            Self::BadValue { problem, origin: Some(Origin::Environment) } => {
                write!(f, "{problem} ({})", environment_name(problem.key))
            }
            Self::BadValue { problem, origin: Some(origin) } => write!(f, "{problem} ({origin})"),
            Self::BadValue { problem, origin: None } => {
                write!(f, "{problem} (--set, {} or --config)", environment_name(problem.key))
            }
        }
    }
}

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigurationError {
    /// The file cannot be opened or is not text.
    #[error("cannot read the settings file {}", .file.display())]
    Unreadable {
        file: PathBuf,
        #[source]
        source: io::Error,
    },
    /// The file is not valid TOML.
    #[error("{file} is not valid TOML")]
    NotToml {
        file: String,
        #[source]
        source: Box<toml::de::Error>,
    },
    /// All problems with the values.
    #[error("{}", listed(.0))]
    Refused(Vec<Problem>),
}

fn listed(problems: &[Problem]) -> String {
    let list: String = problems.iter().map(|problem| format!("\n  {problem}")).collect();
    format!("{} with the settings:{list}", count(problems.len(), "problem"))
}

/// The given values by setting, with the problems found while reading them.
#[derive(Debug)]
pub(crate) struct Configuration {
    values: BTreeMap<&'static str, (String, Origin)>,
    problems: Vec<Problem>,
}

impl Configuration {
    /// Reads the flags, the environment and the file.
    pub(crate) fn load(args: &SettingsArgs) -> Result<Self, ConfigurationError> {
        let environment = |name: &str| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned());
        let text = args.config.as_deref().map(read_file).transpose()?;
        let file = args.config.as_deref().zip(text.as_deref());
        Self::gather(file.map(|(path, text)| (path.display().to_string(), text)), environment, &args.set)
    }

    /// The values of `--set` alone, by setting. The caller checks whether they are valid.
    #[cfg(feature = "sim")]
    pub(crate) fn of_flags(flags: &[Assignment]) -> Result<Vec<(&'static str, String)>, ConfigurationError> {
        let Self { values, problems } = Self::gather(None, |_| None, flags)?;
        match problems.is_empty() {
            true => Ok(values.into_iter().map(|(key, (value, _))| (key, value)).collect()),
            false => Err(ConfigurationError::Refused(problems)),
        }
    }

    /// Merges the values of a file (name and content), the environment and the flags.
    fn gather(
        file: Option<(String, &str)>,
        environment: impl Fn(&str) -> Option<String>,
        flags: &[Assignment],
    ) -> Result<Self, ConfigurationError> {
        let mut this = Self { values: BTreeMap::new(), problems: Vec::new() };
        if let Some((name, text)) = file {
            this.take_file(name, text)?;
        }
        for &(key, ..) in KEYS {
            if let Some(value) = environment(&environment_name(key)).filter(|value| !value.trim().is_empty()) {
                this.values.insert(key, (value, Origin::Environment));
            }
        }
        for Assignment { key, value } in flags {
            this.take(key, Origin::Flag, |_| Ok(value.clone()));
        }
        Ok(this)
    }

    fn take_file(&mut self, name: String, text: &str) -> Result<(), ConfigurationError> {
        let table: toml::Table = match text.parse() {
            Ok(table) => table,
            Err(source) => return Err(ConfigurationError::NotToml { file: name, source: Box::new(source) }),
        };
        for (key, value) in table {
            self.take(&key, Origin::File(name.clone()), |key| as_text(key, &value));
        }
        Ok(())
    }

    /// Sets one value, replacing one from an origin with lower precedence.
    fn take(&mut self, key: &str, origin: Origin, value: impl Fn(&str) -> Result<String, &'static str>) {
        let Some(&(known, ..)) = KEYS.iter().find(|(name, ..)| *name == key) else {
            self.problems.push(Problem::Unknown { key: key.to_owned(), origin });
            return;
        };
        match value(known) {
            Ok(value) => drop(self.values.insert(known, (value, origin))),
            Err(found) => self.problems.push(Problem::WrongType { key: known, found, origin }),
        }
    }

    /// The value given for a setting and its origin, or `None` if the default applies.
    pub(crate) fn given(&self, key: &str) -> Option<(&str, &Origin)> {
        self.values.get(key).filter(|(value, _)| !value.trim().is_empty()).map(|(value, origin)| (&**value, origin))
    }

    fn value(&self, key: &str) -> Option<String> {
        self.given(key).map(|(value, _)| value.to_owned())
    }

    /// All settings, or every problem with them.
    pub(crate) fn settings(&self) -> Result<Settings, ConfigurationError> {
        self.checked(Settings::from_lookup(|key| self.value(key)))
    }

    /// All settings, of which nothing has expired. Entries that opt VPCs out have a last day.
    pub(crate) fn settings_of_today(&self, now_ms: u64) -> Result<Settings, ConfigurationError> {
        let settings = self.settings()?;
        let expired = settings.expired_opt_outs(now_ms).map(|(vpc, entry)| SettingProblem {
            key: "opted_out_vpcs",
            value: Some(format!("{vpc}:{}:{}", entry.last_day, entry.owner)),
            expected: "an entry whose last day is not over: renew or remove this one, which opts nothing out"
                .to_owned(),
        });
        let expired: Vec<SettingProblem> = expired.collect();
        if expired.is_empty() { Ok(settings) } else { self.checked(Err(SettingsError(expired))) }
    }

    /// The settings that decide which events concern managed resources.
    ///
    /// Settings that only a deployment needs may be missing. They get values that no [`EventContext`] contains.
    pub(crate) fn event_context(&self) -> Result<EventContext, ConfigurationError> {
        let lookup = |key: &str| match key {
            key if OF_EVENTS.contains(&key) && self.given(key).is_some() => self.value(key),
            "central_account" => Some("000000000000".to_owned()),
            "organization_id" => Some("o-0000000000".to_owned()),
            "home_region" | "regions" => Some("us-east-1".to_owned()),
            _ => None,
        };
        let context = EventContext::from_settings(&self.checked(Settings::from_lookup(lookup))?);
        let organization = context.organization.filter(|_| self.given("organization_id").is_some());
        Ok(EventContext { organization, ..context })
    }

    fn has_wrong_type(&self, key: &str) -> bool {
        self.problems.iter().any(|problem| matches!(problem, Problem::WrongType { key: wrong, .. } if *wrong == key))
    }

    fn checked(&self, result: Result<Settings, SettingsError>) -> Result<Settings, ConfigurationError> {
        let refused = match result {
            Ok(settings) if self.problems.is_empty() => return Ok(settings),
            Ok(_) => Vec::new(),
            Err(SettingsError(refused)) => refused,
        };
        // A value of the wrong type is missing as well, which must not be reported twice.
        let refused = refused.into_iter().filter(|problem| !self.has_wrong_type(problem.key)).map(|problem| {
            let origin = problem.value.as_ref().and_then(|_| self.given(problem.key)).map(|(_, origin)| origin.clone());
            Problem::BadValue { problem, origin }
        });
        Err(ConfigurationError::Refused(self.problems.iter().cloned().chain(refused).collect()))
    }
}

fn read_file(file: &Path) -> Result<String, ConfigurationError> {
    std::fs::read_to_string(file).map_err(|source| ConfigurationError::Unreadable { file: file.to_owned(), source })
}

/// A value of a file as the text that the other origins would give. The error names the type of the value.
fn as_text(key: &str, value: &Value) -> Result<String, &'static str> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Integer(number) => Ok(number.to_string()),
        Value::Array(items) if LISTS.contains(&key) => {
            let texts: Option<Vec<&str>> = items.iter().map(Value::as_str).collect();
            Ok(texts.ok_or("an array with items that are not strings")?.join(","))
        }
        Value::Array(_) => Err("an array"),
        Value::Boolean(_) => Err("a Boolean"),
        Value::Float(_) => Err("a floating-point number"),
        Value::Datetime(_) => Err("a date or time"),
        Value::Table(_) => Err("a table"),
    }
}

/// The setting whose name is most similar to an unknown one.
fn nearest(key: &str) -> Option<&'static str> {
    let key = key.to_lowercase().replace('-', "_");
    let key = key.strip_prefix("enroller_").unwrap_or(&key);
    let alike = KEYS.iter().map(|&(name, ..)| (strsim::jaro(name, key), name)).filter(|(alike, _)| *alike > ALIKE);
    alike.max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMPLETE: &str = r#"
        central_account = "111122223333"
        organization_id = "o-exampleorg1"
        home_region = "eu-west-1"
        regions = ["eu-west-1", "us-east-1"]
    "#;

    /// What `settings.toml`, the environment and `--set` give together.
    fn gathered(file: &str, environment: &[(&str, &str)], flags: &[&str]) -> Configuration {
        let flags: Vec<Assignment> = flags.iter().map(|flag| flag.parse().unwrap()).collect();
        let lookup = |name: &str| environment.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned());
        Configuration::gather(Some(("settings.toml".to_owned(), file)), lookup, &flags).unwrap()
    }

    fn refusal(file: &str, environment: &[(&str, &str)], flags: &[&str]) -> String {
        gathered(file, environment, flags).settings().unwrap_err().to_string()
    }

    #[test]
    fn a_file_may_give_strings_numbers_and_lists() {
        let file = format!("{COMPLETE}\n retention_days = 90\n excluded_accounts = []\n filter_name = 'Mine'");
        let settings = gathered(&file, &[], &[]).settings().unwrap();
        assert_eq!(settings.regions.len(), 2);
        assert_eq!(settings.retention_days, Some(90));
        assert_eq!(settings.filter_name.as_str(), "Mine");
        assert!(settings.excluded_accounts.is_empty());
    }

    #[test]
    fn flags_override_the_environment_which_overrides_the_file() {
        let file = format!("{COMPLETE}\n log_group_name = 'file'\n filter_name = 'file'\n member_role_name = 'file'");
        let environment = [("ENROLLER_LOG_GROUP_NAME", "environment"), ("ENROLLER_FILTER_NAME", "environment")];
        let all = gathered(&file, &environment, &["log_group_name=first", "log_group_name=flag"]);
        let settings = all.settings().unwrap();
        assert_eq!(settings.log_group_name.as_str(), "flag");
        assert_eq!(settings.filter_name.as_str(), "environment");
        assert_eq!(settings.member_role_name.as_str(), "file");
        assert_eq!(all.given("log_group_name"), Some(("flag", &Origin::Flag)));
        assert_eq!(all.given("member_role_name"), Some(("file", &Origin::File("settings.toml".to_owned()))));
        assert_eq!(all.given("destination_name"), None);
    }

    #[test]
    fn an_empty_flag_restores_the_default_an_empty_variable_does_not() {
        let file = format!("{COMPLETE}\n log_group_name = 'file'\n filter_name = 'file'");
        let settings = gathered(&file, &[("ENROLLER_FILTER_NAME", " ")], &["log_group_name="]).settings().unwrap();
        assert_eq!(settings.log_group_name.as_str(), "vpc-flow-logs");
        assert_eq!(settings.filter_name.as_str(), "file");
    }

    #[test]
    fn a_value_may_contain_an_equals_sign() {
        let settings = gathered(COMPLETE, &[], &["opt_out_tag = logs=off"]).settings().unwrap();
        assert_eq!(settings.opt_out_tag.to_string(), "logs=off");
        assert_eq!("opt_out_tag".parse::<Assignment>(), Err("expected KEY=VALUE".to_owned()));
    }

    #[test]
    fn all_problems_are_reported_at_once_with_their_origin() {
        let file = "region = 'eu-west-1'\n retention_days = 31\n regions = [1]\n external_id = true\n [aws]\n x = 1";
        let environment = [("ENROLLER_CENTRAL_ACCOUNT", "12")];
        assert_eq!(
            refusal(file, &environment, &["log-group-name=x", "traffic_type=SOME"]),
            "10 problems with the settings:
  unknown setting `aws`; `enroller settings` lists all settings (settings.toml)
  external_id is a Boolean: expected a string or an integer (settings.toml)
  unknown setting `region`; did you mean `regions`? (settings.toml)
  regions is an array with items that are not strings: expected a string or an array of strings (settings.toml)
  unknown setting `log-group-name`; did you mean `log_group_name`? (--set)
  central_account = \"12\": expected 12 digits (ENROLLER_CENTRAL_ACCOUNT)
  organization_id is not set: expected an organization id, o-… (--set, ENROLLER_ORGANIZATION_ID or --config)
  home_region is not set: expected a code such as eu-west-1 (--set, ENROLLER_HOME_REGION or --config)
  traffic_type = \"SOME\": expected ALL, ACCEPT or REJECT (--set)
  retention_days = \"31\": expected never-expire or one of [1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653] days (settings.toml)"
        );
    }

    #[test]
    fn an_unknown_setting_is_refused_even_if_all_else_is_valid() {
        let refusal = refusal(&format!("{COMPLETE}\n excluded_acounts = ['444455556666']"), &[], &[]);
        assert_eq!(
            refusal,
            "1 problem with the settings:\n  unknown setting `excluded_acounts`; did you mean `excluded_accounts`? (settings.toml)"
        );
    }

    #[test]
    fn only_lists_may_be_arrays_as_joined_items_could_pass_for_a_name() {
        assert!(
            refusal(&format!("{COMPLETE}\n filter_name = ['a', 'b']"), &[], &[]).contains("filter_name is an array")
        );
        for key in LISTS.iter().chain(&OF_EVENTS) {
            assert!(KEYS.iter().any(|(name, ..)| name == key), "{key}");
        }
    }

    #[test]
    fn a_file_that_is_not_toml_is_refused_with_the_position() {
        let error = Configuration::gather(Some(("a.toml".to_owned(), "x = \n")), |_| None, &[]).unwrap_err();
        assert_eq!(error.to_string(), "a.toml is not valid TOML");
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(cause.contains("line 1, column 5"), "{cause}");
    }

    #[test]
    fn explaining_events_needs_no_settings() {
        let context = gathered("", &[], &[]).event_context().unwrap();
        assert_eq!(context.log_group.as_str(), "vpc-flow-logs");
        assert_eq!(context.filter.as_str(), "AllTraffic");
        assert_eq!(context.member_role.as_str(), "VpcFlowLogsEnrollerMember");
        assert_eq!(context.member_stack, "vpc-flow-logs-enroller-member");
        assert_eq!(context.organization, None);
    }

    #[test]
    fn settings_for_explaining_events_can_be_given_and_are_checked() {
        let file = "home_region = 'cn-north-1'\n retention_days = 31\n member_stack_name = 'stack'";
        let context = gathered(file, &[("ENROLLER_ORGANIZATION_ID", "o-exampleorg1")], &["filter_name=F"]);
        let context = context.event_context().unwrap();
        assert_eq!((context.filter.as_str(), &*context.member_stack), ("F", "stack"));
        assert_eq!(context.organization.unwrap().as_str(), "o-exampleorg1");

        for (flag, expected) in
            [("log_group_name=a b", "log_group_name"), ("organization_id=x", "organization_id"), ("a=b", "unknown")]
        {
            let error = gathered("", &[], &[flag]).event_context().unwrap_err().to_string();
            assert!(error.starts_with(&format!("1 problem with the settings:\n  {expected} ")), "{error}");
        }
    }
}
