//! The names that scripts and people rely on: commands, flags, exit codes, settings, keys of the JSON, of log lines and of
//! metrics. They stand in `tests/contract/`; a name that is changed stands in the CHANGELOG too.
//!
//! After a change that is meant: `WRITE_CONTRACT=1 cargo test -p enroller --test contract`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on has failed")]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};

use enroller_core::log::{LogEntry, Outcome};
use enroller_core::metrics::{Metric, NAMESPACE};
use enroller_core::settings::{KEYS, environment_name};
use serde_json::Value;

const COMMANDS: [&str; 10] =
    ["plan", "backfill", "coverage", "grants", "doctor", "demo", "sim", "explain-event", "settings", "completions"];

fn stdout(arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_enroller"));
    let done = command.env_clear().args(arguments).stdin(Stdio::null()).output().unwrap();
    String::from_utf8(done.stdout).unwrap()
}

/// Compares with what was agreed.
fn agreed(file: &str, names: impl IntoIterator<Item = String>) {
    let names: BTreeSet<String> = names.into_iter().collect();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/contract").join(file);
    let text: String = names.iter().map(|name| format!("{name}\n")).collect();
    if std::env::var_os("WRITE_CONTRACT").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    let before: BTreeSet<String> = written.lines().map(str::to_owned).collect();
    let list = |names: BTreeSet<&String>| names.into_iter().map(|name| format!("\n  {name}")).collect::<String>();
    assert!(
        names == before,
        "public names have changed; write it in the CHANGELOG and renew tests/contract/{file} (see this test's head)\n\
         new:{}\ngone:{}",
        list(names.difference(&before).collect()),
        list(before.difference(&names).collect())
    );
}

/// The keys of a document with the way to them. Keys that are ids are written `*`.
fn keys(at: &str, value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            for (key, value) in members {
                let is_id = key.contains('-') || key.chars().next().is_some_and(|first| first.is_ascii_digit());
                let path = format!("{at}.{}", if is_id { "*" } else { key });
                found.insert(path.clone());
                keys(&path, value, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| keys(&format!("{at}[]"), item, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn commands_flags_and_exit_codes() {
    let mut names = BTreeSet::new();
    for command in COMMANDS {
        names.insert(command.to_owned());
        let help = stdout(&[command, "--help"]);
        assert!(!help.is_empty(), "{command}");
        for line in help.lines().map(str::trim_start) {
            if line.starts_with('-') {
                let flags = line.split([' ', ',']).filter(|word| word.starts_with('-'));
                names.extend(flags.map(|flag| format!("{command} {flag}")));
            }
            if let Some((code @ ("0" | "1" | "2"), _)) = line.split_once("  ") {
                names.insert(format!("{command} exits with {code}"));
            }
        }
    }
    agreed("command-line.txt", names);
}

#[test]
fn settings_with_their_variables_and_defaults() {
    agreed(
        "settings.txt",
        KEYS.iter().map(|(key, default, _)| format!("{key} {} = {default}", environment_name(key)).trim().to_owned()),
    );
}

#[test]
fn keys_of_the_json_that_commands_print() {
    let mut names = BTreeSet::new();
    for (name, arguments) in [
        ("plan", &["plan", "--sim", "--format", "json"][..]),
        ("coverage", &["coverage", "--sim", "--format", "json"]),
        ("grants", &["grants", "--sim", "--format", "json"]),
        ("grants-sync", &["grants", "sync", "--dry-run", "--sim", "--format", "json"]),
        ("doctor", &["doctor", "--sim", "--format", "json"]),
        ("demo", &["demo", "--accounts", "4", "--regions", "1", "--vpcs", "1", "--json"]),
    ] {
        let document: Value = serde_json::from_str(&stdout(arguments)).unwrap();
        keys(name, &document, &mut names);
    }
    agreed("json.txt", names);
}

#[test]
fn keys_of_log_lines_and_metrics() {
    let entry = LogEntry {
        region: "eu-west-1".parse().ok(),
        request_id: Some("r".to_owned()),
        principal: Some("p".to_owned()),
        event_id: Some("e".to_owned()),
        ..LogEntry::about(None, "a", "r", Outcome::Failed, "c").next("n")
    };
    let mut names = BTreeSet::new();
    keys("log", &serde_json::to_value(&entry).unwrap(), &mut names);
    let outcomes = [
        Outcome::Done,
        Outcome::Unchanged,
        Outcome::Ignored,
        Outcome::Refused,
        Outcome::Skipped,
        Outcome::Noticed,
        Outcome::RetryLater,
        Outcome::Failed,
    ];
    names.extend(outcomes.map(|it| format!("log.outcome = {}", serde_json::to_value(it).unwrap().as_str().unwrap())));
    names.extend(Metric::ALL.iter().map(|metric| format!("metric {NAMESPACE} {}", metric.name())));
    agreed("logs-and-metrics.txt", names);
}

fn project(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// The rows of the table between `<!-- generated: NAME -->` and `<!-- /generated -->`, without its head.
fn table(document: &str, name: &str) -> Vec<Vec<String>> {
    let text = std::fs::read_to_string(project(document)).unwrap();
    let (_, after) = text.split_once(&format!("<!-- generated: {name} -->\n")).unwrap();
    let (table, _) = after.split_once("<!-- /generated -->").unwrap();
    let cells = |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
    table.lines().skip(2).map(cells).collect()
}

/// What the source says of each metric: its doc comment.
fn documented_metrics() -> Vec<(String, String)> {
    let source = std::fs::read_to_string(project("shared/core/src/metrics.rs")).unwrap();
    let (_, body) = source.split_once("pub enum Metric {\n").unwrap();
    let (body, _) = body.split_once("\n}\n").unwrap();
    let (mut found, mut words) = (Vec::new(), Vec::new());
    for line in body.lines().map(str::trim) {
        match line.strip_prefix("/// ") {
            Some(text) => words.push(text),
            None => found.push((line.trim_end_matches(',').to_owned(), std::mem::take(&mut words).join(" "))),
        }
    }
    found
}

#[test]
fn the_table_of_metrics_says_what_the_code_says() {
    let documented = documented_metrics();
    let names: Vec<&str> = documented.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, Metric::ALL.map(Metric::name), "every metric is in ALL, under its name");
    let rows = documented.iter().zip(Metric::ALL);
    let expected: Vec<Vec<String>> =
        rows.map(|((name, text), metric)| vec![format!("`{name}`"), metric.unit().to_owned(), text.clone()]).collect();
    if std::env::var_os("WRITE_CONTRACT").is_some() {
        let path = project("docs/metrics.md");
        let text = std::fs::read_to_string(&path).unwrap();
        let (before, after) = text.split_once("<!-- generated: metrics -->\n").unwrap();
        let (_, after) = after.split_once("<!-- /generated -->").unwrap();
        let lines: String = expected.iter().map(|cells| format!("| {} |\n", cells.join(" | "))).collect();
        let head = "| Metric | Unit | What it shows |\n|---|---|---|\n";
        let new = format!("{before}<!-- generated: metrics -->\n{head}{lines}<!-- /generated -->{after}");
        std::fs::write(path, new).unwrap();
    }
    assert_eq!(table("docs/metrics.md", "metrics"), expected, "renew it with WRITE_CONTRACT=1");
}

#[test]
fn the_table_of_settings_has_every_setting_with_its_default() {
    let plain = |cell: &String| cell.replace('`', "");
    let rows = table("docs/configuration.md", "settings");
    let documented: Vec<(String, String)> = rows.iter().map(|row| (plain(&row[0]), plain(&row[1]))).collect();
    let known: Vec<(String, String)> =
        KEYS.iter().map(|(key, default, _)| ((*key).to_owned(), (*default).to_owned())).collect();
    for ((name, default), (key, expected)) in documented.iter().zip(&known) {
        assert_eq!(name, key);
        assert!(
            default == expected || (expected.is_empty() && !default.contains('=')),
            "{key}: {default:?}, {expected:?}"
        );
    }
    assert_eq!(documented.len(), known.len());
    assert!(rows.iter().all(|row| row.len() == 4 && !row[3].is_empty()), "each has its meaning");
}
