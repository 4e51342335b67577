//! The request of a backfill, and the accounts it selects.

mod read;
mod selection;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ids::{AccountId, Invalid, ParentId, Region};
use crate::settings::Settings;

pub use selection::{LeftOut, Selection};

/// The longest reason that is accepted, in characters: it goes into every message of a run.
pub const MAX_REASON: usize = 500;

/// What to backfill. Every field may be missing, and an empty selection means all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Value")]
pub struct BackfillRequest {
    /// Only these accounts. Those not in the organization are reported as left out.
    pub accounts: BTreeSet<AccountId>,
    /// Only accounts below these roots or OUs. With `accounts` given too, accounts in either are selected.
    pub organizational_units: BTreeSet<ParentId>,
    /// Not these accounts, nor those below these roots or OUs. This overrides the two selections above.
    pub exclude: BTreeSet<Exclusion>,
    /// Only these of the enrolled Regions.
    pub regions: BTreeSet<Region>,
    /// Change nothing and send nothing, but report what would be done.
    pub dry_run: bool,
    /// The reason, for logs; at most [`MAX_REASON`] characters.
    pub reason: String,
}

impl BackfillRequest {
    /// Reads a request and checks it against the settings.
    ///
    /// # Errors
    ///
    /// Every problem at once: unknown fields, invalid values, and Regions that are not enrolled.
    pub fn read(value: &Value, settings: &Settings) -> Result<Self, RequestError> {
        let (request, mut problems) = read::read(value);
        problems.extend(request.strays(settings));
        if problems.is_empty() { Ok(request) } else { Err(RequestError(problems)) }
    }

    /// Checks a request that was read earlier against the current settings.
    ///
    /// # Errors
    ///
    /// Regions that are not enrolled.
    pub fn check(&self, settings: &Settings) -> Result<(), RequestError> {
        let problems: Vec<RequestProblem> = self.strays(settings).collect();
        if problems.is_empty() { Ok(()) } else { Err(RequestError(problems)) }
    }

    /// The Regions to enroll in: those of the request, or all enrolled ones.
    pub fn regions<'a>(&'a self, settings: &'a Settings) -> &'a BTreeSet<Region> {
        if self.regions.is_empty() { &settings.regions } else { &self.regions }
    }

    fn strays<'a>(&'a self, settings: &'a Settings) -> impl Iterator<Item = RequestProblem> + 'a {
        let enrolled: Vec<&str> = settings.regions.iter().map(Region::as_str).collect();
        let wrong =
            format!("expected enrolled Regions ({}); add it to the setting `regions` first", enrolled.join(", "));
        let strays = self.regions.difference(&settings.regions);
        strays.map(move |region| RequestProblem::new("regions", &Value::from(region.as_str()), &wrong))
    }
}

impl TryFrom<Value> for BackfillRequest {
    type Error = RequestError;
    fn try_from(value: Value) -> Result<Self, Self::Error> {
        let (request, problems) = read::read(&value);
        if problems.is_empty() { Ok(request) } else { Err(RequestError(problems)) }
    }
}

/// An account or a unit not to backfill.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(untagged)]
pub enum Exclusion {
    /// This account, wherever it is in the organization.
    Account(AccountId),
    /// A root or OU with everything below it.
    Unit(ParentId),
}

impl FromStr for Exclusion {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let invalid =
            |_| Invalid::new("an account, root or unit", text, "an account (12 digits), r-xxxx or ou-xxxx-xxxxxxxx");
        text.parse().map(Self::Account).or_else(|_| text.parse().map(Self::Unit)).map_err(invalid)
    }
}

impl fmt::Display for Exclusion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Account(account) => account.fmt(f),
            Self::Unit(unit) => unit.fmt(f),
        }
    }
}

/// A problem with one field of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestProblem {
    /// The field's name, cut to 80 characters.
    pub field: String,
    /// Its value as JSON, cut to 80 characters.
    pub value: String,
    /// What is wrong, or what was expected.
    pub wrong: String,
}

impl RequestProblem {
    fn new(field: &str, value: &Value, wrong: impl Into<String>) -> Self {
        let cut = |text: &str| text.chars().take(80).collect::<String>();
        Self { field: cut(field), value: cut(&value.to_string()), wrong: wrong.into() }
    }
}

impl fmt::Display for RequestProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {}: {}", self.field, self.value, self.wrong)
    }
}

/// All problems of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestError(pub Vec<RequestProblem>);

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.len() {
            1 => f.write_str("the backfill request is invalid: 1 problem")?,
            count => write!(f, "the backfill request is invalid: {count} problems")?,
        }
        for problem in &self.0 {
            write!(f, "\n  {problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for RequestError {}
