//! The real `enroller` binary, as a user runs it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot continue has failed")]

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

fn enroller(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_enroller"));
    // A profile, setting or colour preference in the tester's environment must not change the output.
    command.env_clear().args(arguments).stdin(Stdio::null());
    command
}

fn output(arguments: &[&str]) -> Output {
    enroller(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn file(directory: &tempfile::TempDir, name: &str, content: &str) -> String {
    let path: PathBuf = directory.path().join(name);
    std::fs::write(&path, content).unwrap();
    path.to_str().unwrap().to_owned()
}

fn create_vpc() -> Value {
    json!({
        "version": "0", "id": "00000000-0000-4000-a000-000000000001", "source": "aws.ec2",
        "detail-type": "AWS API Call via CloudTrail", "account": "111122223333", "region": "eu-west-1",
        "time": "2026-11-23T10:00:00Z", "resources": [],
        "detail": {
            "eventSource": "ec2.amazonaws.com", "eventName": "CreateVpc", "awsRegion": "eu-west-1",
            "eventType": "AwsApiCall", "recipientAccountId": "111122223333",
            "responseElements": { "vpc": { "vpcId": "vpc-0123456789abcdef0", "ownerId": "111122223333" } }
        }
    })
}

#[test]
fn the_demo_covers_everything_and_reports_it_as_json() {
    let done = output(&["demo", "--accounts", "5", "--regions", "2", "--vpcs", "1", "--json"]);
    assert!(done.status.success(), "{}", text(&done.stderr));
    let summary: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(summary["ok"], json!(true));
    assert_eq!(summary["covered"], summary["vpcs"]);
    assert_eq!(summary["records"]["lost_after_enrollment"], json!(0));
    assert_eq!(summary["not_on_exactly_one_shard"], json!([]));
    assert!(summary["timeline"].as_array().unwrap().len() > 10);
}

#[test]
fn the_demo_tells_the_same_story_for_the_same_seed() {
    let arguments = ["demo", "--accounts", "4", "--regions", "1", "--vpcs", "1", "--seed", "9", "--json"];
    assert_eq!(text(&output(&arguments).stdout), text(&output(&arguments).stdout));
}

#[test]
fn the_demo_without_a_terminal_has_no_colours_and_no_bars() {
    let shown = text(&output(&["demo", "--accounts", "3", "--regions", "1", "--vpcs", "1"]).stdout);
    assert!(!shown.contains('\u{1b}') && !shown.contains('\r'));
    assert!(shown.contains("every account granted on exactly one destination"), "{shown}");
}

#[test]
fn explain_event_prints_a_line_per_event_and_continues_after_bad_input() {
    let directory = tempfile::tempdir().unwrap();
    let good = file(&directory, "good.json", &create_vpc().to_string());
    let bad = file(&directory, "bad.json", "{\n  \"source\": oops\n}");
    let done = output(&["explain-event", &bad, &good, "no-such-file.json"]);
    assert_eq!(done.status.code(), Some(2));
    let lines: Vec<Value> = text(&done.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!(lines[0]["decision"], "enroll");
    assert_eq!(lines[0]["account"], "111122223333");
    assert_eq!(lines[0]["region"], "eu-west-1");
    assert_eq!(lines[0]["resource"], "vpc-0123456789abcdef0");
    let errors = text(&done.stderr);
    assert!(errors.contains("bad.json") && errors.contains("line 2"), "{errors}");
    assert!(errors.contains("no-such-file.json"), "{errors}");
}

#[test]
fn explain_event_reads_standard_input() {
    let mut child = enroller(&["explain-event", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut raw = create_vpc()["detail"].clone();
    raw["errorCode"] = json!("Client.VpcLimitExceeded");
    child.stdin.take().unwrap().write_all(raw.to_string().as_bytes()).unwrap();
    let done = child.wait_with_output().unwrap();
    assert!(done.status.success());
    let line: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(line["decision"], "ignore");
    assert!(line["reason"].as_str().unwrap().contains("Client.VpcLimitExceeded"));
}

#[test]
fn sim_prints_its_endpoint_and_stops_on_sigterm() {
    let mut child =
        enroller(&["sim", "--listen", "127.0.0.1:0", "--accounts", "3", "--regions", "eu-west-1", "--installed"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let ready: Value = serde_json::from_str(&line).unwrap();
    assert!(ready["endpoint"].as_str().unwrap().starts_with("http://127.0.0.1:"));
    assert_eq!(ready["member_accounts"].as_array().unwrap().len(), 3);
    assert!(ready["central_account"]["access_key_id"].is_string());
    assert!(ready["destinations"]["eu-west-1"].as_str().unwrap().ends_with("destination:VPCFlowLogsDestination"));
    assert!(ready["function_roles"]["VpcFlowLogsEnrollerBackfill"]["session_token"].is_string());
    // SIGTERM, as an init system or a test harness sends it.
    let sent = Command::new("kill").arg(child.id().to_string()).status().unwrap();
    assert!(sent.success());
    assert!(child.wait().unwrap().success());
}

#[test]
fn errors_are_reported_on_standard_error_without_a_backtrace() {
    for arguments in [vec!["demo", "--accounts", "1"], vec!["nonsense"], vec!["settings", "--check"]] {
        let done = enroller(&arguments).env("RUST_BACKTRACE", "1").output().unwrap();
        assert_eq!(done.status.code(), Some(1), "{arguments:?}");
        let errors = text(&done.stderr);
        assert!(!errors.is_empty() && !errors.contains("backtrace") && !errors.contains("panicked"), "{errors}");
    }
}

/// Runs `enroller` with complete settings and credentials for an endpoint that never answers.
fn with_real_settings(arguments: &[&str], endpoint: &str) -> Output {
    let settings = [
        ("AWS_ENDPOINT_URL", endpoint),
        ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("ENROLLER_CENTRAL_ACCOUNT", "111122223333"),
        ("ENROLLER_ORGANIZATION_ID", "o-exampleorg1"),
        ("ENROLLER_HOME_REGION", "eu-west-1"),
        ("ENROLLER_REGIONS", "eu-west-1"),
        ("ENROLLER_DESTINATION_TARGET_ARN", "arn:aws:firehose:eu-west-1:111122223333:deliverystream/s"),
        ("ENROLLER_DESTINATION_ROLE_ARN", "arn:aws:iam::111122223333:role/r"),
    ];
    enroller(arguments).envs(settings).output().unwrap()
}

#[test]
fn a_simulated_sync_is_simulated_with_the_flag_in_any_position() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    for arguments in [["grants", "--sim", "sync", "--yes"], ["grants", "sync", "--yes", "--sim"]] {
        let done = with_real_settings(&arguments, &endpoint);
        assert!(done.status.success(), "{}", text(&done.stderr));
        assert!(text(&done.stdout).contains("VPCFlowLogsDestination"), "{}", text(&done.stdout));
    }
    assert_eq!(listener.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock, "nobody connected");
}

#[test]
fn a_missing_settings_file_fails_with_the_flag_in_any_position() {
    for arguments in [
        ["grants", "--config", "/nonexistent.toml", "sync", "--dry-run"],
        ["grants", "sync", "--dry-run", "--config", "/nonexistent.toml"],
    ] {
        let done = with_real_settings(&arguments, "http://127.0.0.1:9");
        assert_eq!(done.status.code(), Some(1));
        assert!(text(&done.stderr).contains("/nonexistent.toml"), "{}", text(&done.stderr));
    }
}

#[test]
fn sim_accepts_settings_except_those_the_simulation_determines() {
    let plan = |setting: &str| output(&["plan", "--sim", "--set", setting]);
    assert!(text(&plan("retention_days=90").stdout).contains("set-retention"));
    let refused = plan("central_account=111122223333");
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("central_account"), "{}", text(&refused.stderr));
    assert_eq!(plan("retention_days=91").status.code(), Some(1));
}

#[test]
fn plan_and_coverage_mean_the_same_by_covered() {
    for accounts in ["4", "9", "13"] {
        let json = |command: &str| -> Value {
            let done = output(&[command, "--sim", "--sim-accounts", accounts, "--format", "json"]);
            serde_json::from_slice(&done.stdout).unwrap()
        };
        let (plan, coverage) = (json("plan"), json("coverage"));
        let regions = plan["accounts"].as_array().unwrap().iter().flat_map(|account| {
            let id = account["account"].as_str().unwrap();
            account["regions"].as_array().unwrap().iter().map(move |region| (id, region))
        });
        let planned: Vec<(String, String)> = regions
            .flat_map(|(id, region)| region["vpcs"].as_array().unwrap().iter().map(move |vpc| (id, vpc)))
            .filter(|(_, vpc)| vpc["verdict"] == "covered")
            .map(|(id, vpc)| (id.to_owned(), vpc["vpc"].as_str().unwrap().to_owned()))
            .collect();
        let rows = coverage["rows"].as_array().unwrap().iter().filter(|row| row["status"] == "covered");
        let covered: Vec<(String, String)> = rows
            .map(|row| (row["account"].as_str().unwrap().to_owned(), row["vpc"].as_str().unwrap().to_owned()))
            .collect();
        let set = |list: &[(String, String)]| list.iter().cloned().collect::<std::collections::BTreeSet<_>>();
        assert!(!covered.is_empty());
        assert_eq!(set(&planned), set(&covered), "{accounts} accounts");
        assert_eq!(plan["summary"]["vpcs_covered"], coverage["totals"]["covered"]);
    }
}

#[test]
fn every_output_says_that_it_is_simulated_who_looked_and_with_which_settings() {
    for arguments in [
        &["plan", "--sim"][..],
        &["coverage", "--sim"],
        &["backfill", "--sim", "--yes"],
        &["grants", "--sim"],
        &["grants", "sync", "--sim", "--yes"],
        &["doctor", "--sim"],
    ] {
        let shown = text(&output(arguments).stdout);
        for expected in ["SIMULATED", "the whole organization in 2 Regions", "assumed-role/", "enroller 0.", "digest "]
        {
            assert!(shown.contains(expected), "{arguments:?} lacks {expected}: {shown}");
        }
    }
}

#[test]
fn a_report_of_a_part_does_not_pass_for_one_of_the_whole() {
    let json = |arguments: &[&str]| -> Value { serde_json::from_slice(&output(arguments).stdout).unwrap() };
    let whole = json(&["coverage", "--sim", "--format", "json"]);
    assert_eq!(whole["about"]["scope"]["complete"], json!(true));
    let rows = whole["rows"].as_array().unwrap();
    let account = rows.iter().find(|row| row["status"] == "covered").unwrap()["account"].as_str().unwrap().to_owned();
    let part = ["--sim", "--account", &account, "--region", "us-east-1"];
    let of_part = |command: &str, more: &[&str]| [&[command], &part[..], more].concat().join(" ");
    let run = |line: String| output(&line.split(' ').collect::<Vec<_>>());

    let said = format!("PARTIAL: only account {account} in us-east-1; not inspected: 11 other accounts, eu-west-1");
    for line in [of_part("plan", &[]), of_part("coverage", &[]), of_part("backfill", &["--yes"])] {
        let shown = text(&run(line.clone()).stdout);
        assert!(shown.contains(&said), "{line}: {shown}");
    }
    let table = text(&run(of_part("coverage", &[])).stdout);
    let last = table.lines().last().unwrap();
    assert!(last.contains(&format!("Of account {account} in us-east-1 only: Everything is covered")), "{last}");
    let csv = text(&run(of_part("coverage", &["--format", "csv"])).stdout);
    assert!(
        csv.lines().skip(1).all(|line| line.contains("PARTIAL: only account ") && line.contains(",true,")),
        "{csv}"
    );

    let directory = tempfile::tempdir().unwrap();
    let page = file(&directory, "coverage.html", "");
    let report: Value =
        serde_json::from_slice(&run(of_part("coverage", &["--format", "json", "--html", &page])).stdout).unwrap();
    assert_eq!(report["regions"], json!(["us-east-1"]));
    assert_eq!(report["about"]["scope"]["complete"], json!(false));
    assert_eq!(report["about"]["scope"]["regions_not_inspected"], json!(["eu-west-1"]));
    assert_eq!(report["about"]["scope"]["accounts_not_inspected"], json!(11));
    assert_eq!(report["about"]["settings"]["log_group_name"], "vpc-flow-logs");
    let page = std::fs::read_to_string(&page).unwrap();
    assert!(page.contains(&format!("\"part\":\"account {account} in us-east-1\"")), "the page names its part");
    let plan = directory.path().join("plan");
    run(of_part("plan", &["--out", plan.to_str().unwrap()]));
    let plan: Value = serde_json::from_str(&std::fs::read_to_string(&plan).unwrap()).unwrap();
    assert_eq!(plan["about"]["scope"]["complete"], json!(false));
    assert_eq!(plan["about"]["simulated"], json!(true));
}

#[test]
fn a_flag_of_a_sync_without_sync_is_told_where_it_belongs() {
    let done = output(&["grants", "--sim", "--yes"]);
    assert_eq!(done.status.code(), Some(1));
    assert!(text(&done.stderr).contains("--yes belongs to `enroller grants sync --yes`"), "{}", text(&done.stderr));
}
