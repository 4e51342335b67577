//! `enroller settings`: lists all settings, or the values in force.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use comfy_table::{Attribute, Cell, ContentArrangement, Table, presets};
use enroller_core::settings::{KEYS, Settings, environment_name};

use crate::args::SettingsCommandArgs;
use crate::configuration::Configuration;
use crate::output::Output;

/// Lists all settings with their defaults, or checks the given values and lists those in force.
pub(crate) fn run(args: &SettingsCommandArgs) -> anyhow::Result<ExitCode> {
    let check = args.check || args.settings.config.is_some() || !args.settings.set.is_empty();
    let rows = if check {
        let configuration = Configuration::load(&args.settings)?;
        configuration.settings_of_today(now_ms())?;
        in_force(&configuration)
    } else {
        reference()
    };
    let mut out = Output::stdout();
    out.line(&table(&rows, out.colours()))?;
    out.finish()?;
    Ok(ExitCode::SUCCESS)
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// A row per setting: name, environment variable, default, meaning.
fn reference() -> Vec<Vec<String>> {
    let required = required();
    let rows = KEYS.iter().map(|&(key, default, meaning)| {
        let default = if required.contains(key) { "(required)" } else { default };
        vec![key.to_owned(), environment_name(key), default.to_owned(), meaning.to_owned()]
    });
    std::iter::once(titles(&["SETTING", "ENVIRONMENT", "DEFAULT", "MEANING"])).chain(rows).collect()
}

/// A row per setting: name, value, origin of the value.
fn in_force(configuration: &Configuration) -> Vec<Vec<String>> {
    let rows = KEYS.iter().map(|&(key, default, _)| match configuration.given(key) {
        Some((value, origin)) => vec![key.to_owned(), value.to_owned(), origin.to_string()],
        None => vec![key.to_owned(), default.to_owned(), "default".to_owned()],
    });
    std::iter::once(titles(&["SETTING", "VALUE", "FROM"])).chain(rows).collect()
}

/// The settings that have no default, which are those reported as missing if nothing is set.
fn required() -> BTreeSet<&'static str> {
    let problems = Settings::from_lookup(|_| None).err().map(|error| error.0).unwrap_or_default();
    problems.into_iter().map(|problem| problem.key).collect()
}

fn titles(titles: &[&str]) -> Vec<String> {
    titles.iter().map(|title| (*title).to_owned()).collect()
}

/// The least terminal width, in columns, at which cells are wrapped. Narrower cells are unreadable, and the terminal's own
/// wrapping does less harm.
const NARROWEST: u16 = 120;

/// The rows as a table, fitted to the width of the terminal if there is one.
fn table(rows: &[Vec<String>], colours: bool) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    if table.width().is_some_and(|width| width >= NARROWEST) {
        table.set_content_arrangement(ContentArrangement::Dynamic);
    }
    if let Some((titles, rows)) = rows.split_first() {
        let bold =
            |title: &String| if colours { Cell::new(title).add_attribute(Attribute::Bold) } else { Cell::new(title) };
        table.set_header(titles.iter().map(bold)).add_rows(rows);
    }
    table.trim_fmt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_has_a_line_and_those_without_a_default_are_required() {
        let lines = table(&reference(), false);
        assert_eq!(lines.lines().count(), KEYS.len() + 1);
        let required: Vec<&str> =
            lines.lines().filter(|l| l.contains("(required)")).filter_map(|l| l.split_whitespace().next()).collect();
        assert_eq!(required, ["central_account", "organization_id", "home_region", "regions"]);
        assert!(lines.contains("ENROLLER_FILTER_NAME"), "{lines}");
    }
}
