//! The real binary's `enroller doctor`, on the simulation in its process and with credentials over HTTP.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot continue has failed")]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

fn enroller(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_enroller"));
    // A profile, setting or colour preference in the tester's environment must not change the output.
    command.env_clear().args(arguments).stdin(Stdio::null());
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A simulated AWS with an installation on it. Its process ends when this value is dropped.
struct Served {
    process: Child,
    ready: Value,
}

impl Served {
    fn start() -> Self {
        let arguments = ["sim", "--installed", "--accounts", "6", "--vpcs", "1"];
        let mut process = enroller(&arguments).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { process, ready: serde_json::from_str(&line).unwrap() }
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.run_as("central_account", arguments)
    }

    fn run_as(&self, account: &str, arguments: &[&str]) -> Output {
        let mut command = enroller(arguments);
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        for (name, value) in self.ready["environment"].as_object().unwrap() {
            command.env(name, text(value));
        }
        let keys = &self.ready[account];
        command
            .env("AWS_ENDPOINT_URL", text(&self.ready["endpoint"]))
            .env("AWS_ACCESS_KEY_ID", text(&keys["access_key_id"]))
            .env("AWS_SECRET_ACCESS_KEY", text(&keys["secret_access_key"]))
            .output()
            .unwrap()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

#[test]
fn problems_of_the_simulated_organization_are_shown_with_a_fix() {
    let done = enroller(&["doctor", "--sim", "--all"]).output().unwrap();
    let shown = text(&done.stdout);
    assert_eq!(done.status.code(), Some(1), "{shown}{}", text(&done.stderr));
    for expected in [
        "enrollments-dead: it has 6 messages",
        "VpcFlowLogsEnrollerMember cannot be ",
        "fix   deploy the member stack to this account",
        "VpcFlowLogsEnrollerDelivery: the role does not exist",
        "Something does not work: ",
    ] {
        assert!(shown.contains(expected), "{expected}: {shown}");
    }
    assert!(!shown.contains('\u{1b}'), "no colours in a pipe");
}

#[test]
fn an_installation_is_checked_with_credentials_from_the_environment() {
    let served = Served::start();
    let done = served.run(&["doctor", "--format", "json"]);
    let report: Value = serde_json::from_slice(&done.stdout).unwrap_or_else(|_| panic!("{}", text(&done.stderr)));
    let bad: Vec<&Value> =
        report["checks"].as_array().unwrap().iter().filter(|check| check["status"] != "ok").collect();
    // No account has been granted yet. The destinations exist, but their policies do not.
    assert!(bad.iter().all(|check| check["group"] == "Destinations and grants"), "{bad:#?}");
    assert!(bad.iter().any(|check| check["id"] == "destination-policy" && check["remedy"] != ""), "{bad:#?}");
    assert_eq!(done.status.code(), Some(1));
    assert_eq!(report["summary"]["unknown"], 0);

    let synced = served.run(&["grants", "sync", "--yes", "--write-grants"]);
    assert!(synced.status.success(), "{}{}", text(&synced.stdout), text(&synced.stderr));
    let healthy = served.run(&["doctor"]);
    assert_eq!(healthy.status.code(), Some(0), "{}{}", text(&healthy.stdout), text(&healthy.stderr));
    assert!(text(&healthy.stdout).contains("All checks passed: "), "{}", text(&healthy.stdout));
}

#[test]
fn for_a_caller_of_another_account_only_that_is_reported() {
    let served = Served::start();
    let done = served.run_as("management_account", &["doctor"]);
    let shown = text(&done.stdout);
    assert_eq!(done.status.code(), Some(1), "{shown}{}", text(&done.stderr));
    let central = served.ready["central_account"]["id"].as_str().unwrap();
    assert!(shown.contains(&format!("the central account in the settings is {central}")), "{shown}");
    assert_eq!(shown.lines().filter(|line| line.contains("  failed")).count(), 1, "{shown}");
}
