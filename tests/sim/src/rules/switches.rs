//! Switches: the parts of [`Settings`] that can be set by name.

use serde_json::{Map, Value};

use super::parse::{RuleError, bad};
use crate::settings::{Settings, TwinRule};

/// A number and how many of its units the setting has.
type Number = (&'static str, u64, fn(&mut Settings) -> &mut u64);

const NUMBERS: &[Number] = &[
    ("role-propagation-seconds", 1000, |settings| &mut settings.role_propagation_ms),
    ("listing-lag-seconds", 1000, |settings| &mut settings.listing_lag_ms),
    ("recording-seconds", 1000, |settings| &mut settings.recording_delay_ms),
    ("stopping-seconds", 1000, |settings| &mut settings.stopping_delay_ms),
    ("policy-propagation-seconds", 1000, |settings| &mut settings.policy_propagation_ms),
    ("read-lag-seconds", 1000, |settings| &mut settings.read_lag_ms),
    ("listing-page-milliseconds", 1, |settings| &mut settings.listing_page_ms),
    ("interleave", 1, |settings| &mut settings.interleave),
    ("aborted-percent", 1, |settings| &mut settings.aborted_percent),
    ("queue-repeat-percent", 1, |settings| &mut settings.queue_repeat_percent),
    ("latency-milliseconds", 1, |settings| &mut settings.latency_ms),
];

type Flag = (&'static str, fn(&mut Settings) -> &mut bool);

const FLAGS: &[Flag] = &[
    ("empty-pages", |settings| &mut settings.empty_pages),
    ("read-lag-drawn", |settings| &mut settings.read_lag_drawn),
    ("writes-lag", |settings| &mut settings.writes_lag),
    ("queue-reorder", |settings| &mut settings.queue_reorder),
    ("check-answers", |settings| &mut settings.check_answers),
    ("constant-traffic", |settings| &mut settings.constant_traffic),
    ("account-paths", |settings| &mut settings.account_paths),
];

const TWINS: &str = "twins";

/// All delays of AWS at once: `delays=aws`.
const DELAYS: &str = "delays";

/// Names of all switches.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    let numbers = NUMBERS.iter().map(|(name, ..)| *name);
    numbers.chain(FLAGS.iter().map(|(name, _)| *name)).chain([TWINS, DELAYS])
}

/// Sets a switch; `false` when there is none of that name.
pub(super) fn set(settings: &mut Settings, name: &str, value: &Value) -> Result<bool, RuleError> {
    if let Some((_, unit, of)) = NUMBERS.iter().find(|(known, ..)| *known == name) {
        let number = value.as_u64().ok_or_else(|| bad(name, format!("{value} is not a whole number")))?;
        *of(settings) = number.saturating_mul(*unit);
        return Ok(true);
    }
    if let Some((_, of)) = FLAGS.iter().find(|(known, _)| *known == name) {
        *of(settings) = value.as_bool().ok_or_else(|| bad(name, format!("{value} is neither true nor false")))?;
        return Ok(true);
    }
    if name == DELAYS {
        *settings = match value.as_str() {
            Some("aws") => settings.clone().with_delays_of_aws(),
            _ => return Err(bad(name, "it is aws")),
        };
        return Ok(true);
    }
    if name != TWINS {
        return Ok(false);
    }
    settings.twin_rule = match value.as_str() {
        Some("same-configuration") => TwinRule::SameConfiguration,
        Some("same-destination") => TwinRule::SameDestination,
        _ => return Err(bad(name, "it is same-configuration or same-destination")),
    };
    Ok(true)
}

/// All switches as they are.
pub(super) fn report(settings: &Settings) -> Value {
    let mut settings = settings.clone();
    let mut shown = Map::new();
    for (name, unit, of) in NUMBERS {
        shown.insert((*name).to_owned(), Value::from(*of(&mut settings) / unit));
    }
    for (name, of) in FLAGS {
        shown.insert((*name).to_owned(), Value::from(*of(&mut settings)));
    }
    let twins = match settings.twin_rule {
        TwinRule::SameConfiguration => "same-configuration",
        TwinRule::SameDestination => "same-destination",
    };
    shown.insert(TWINS.to_owned(), Value::from(twins));
    Value::Object(shown)
}
