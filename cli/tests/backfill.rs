//! The real binary's `backfill`, `plan`, `coverage` and `grants` against the simulated AWS over HTTP.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot continue has failed")]

use std::collections::BTreeMap;
use std::process::{Command, Output, Stdio};

use enroller_lab::audit::audit;
use enroller_lab::{Installation, installation_settings};
use enroller_sim::organizations::AccountState;
use enroller_sim::world::ServiceControlDeny;
use enroller_sim::{ApiError, FaultKind, FaultRule, Service, Sim, SimBuilder, When};
use serde_json::Value;
use tokio::net::TcpListener;

const REGIONS: [&str; 2] = ["eu-west-1", "us-east-1"];

/// A simulated AWS that serves until it is dropped.
struct Served {
    sim: Sim,
    environment: BTreeMap<String, String>,
}

impl Served {
    /// An organization with the stacks deployed and nothing enrolled.
    async fn new(accounts: usize, vpcs: usize) -> Self {
        let regions: Vec<String> = REGIONS.iter().map(|region| (*region).to_owned()).collect();
        let sim =
            SimBuilder { accounts, regions: regions.clone(), vpcs, real_time: true, ..SimBuilder::default() }.build();
        let settings = installation_settings(&sim, &regions, &[]).unwrap();
        let operator = format!("arn:aws:iam::{}:root", settings.central_account);
        let stacks = Installation::new(sim.clone(), settings.clone()).operated_by(&operator);
        stacks.deploy_center().unwrap();
        for account in sim.members() {
            stacks.deploy_member(&account).unwrap();
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(enroller_sim::server::serve(listener, sim.clone(), std::future::pending()));
        let keys = sim.credentials_of(&sim.central());
        let environment = [
            ("AWS_ENDPOINT_URL", endpoint),
            ("AWS_ACCESS_KEY_ID", keys.access_key_id),
            ("AWS_SECRET_ACCESS_KEY", keys.secret_access_key),
            ("ENROLLER_CENTRAL_ACCOUNT", settings.central_account.to_string()),
            ("ENROLLER_ORGANIZATION_ID", settings.organization_id.to_string()),
            ("ENROLLER_HOME_REGION", settings.home_region.to_string()),
            ("ENROLLER_REGIONS", REGIONS.join(",")),
            ("ENROLLER_EXTERNAL_ID", settings.external_id.clone().unwrap()),
            ("ENROLLER_DESTINATION_TARGET_ARN", settings.destination_target_arn.clone().unwrap().to_string()),
            ("ENROLLER_DESTINATION_ROLE_ARN", settings.destination_role_arn.clone().unwrap().to_string()),
        ];
        let environment = environment.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Self { sim, environment }
    }

    async fn run(&self, arguments: &[&str]) -> Output {
        self.run_with(arguments, &[]).await
    }

    /// Runs the command with these variables changed; an empty value removes one.
    async fn run_with(&self, arguments: &[&str], changes: &[(&str, &str)]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_enroller"));
        command.env_clear().envs(&self.environment).args(arguments).stdin(Stdio::null());
        for (name, value) in changes {
            if value.is_empty() {
                command.env_remove(name)
            } else {
                command.env(name, value)
            };
        }
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
    }

    /// Enrolls, in an installation without account-onboarder.
    async fn backfill(&self, arguments: &[&str]) -> Output {
        self.run(&[&["backfill", "--yes", "--write-grants"], arguments].concat()).await
    }

    fn changes(&self) -> usize {
        self.sim.calls().iter().filter(|call| call.mutating).count()
    }

    fn calls(&self) -> usize {
        self.sim.calls().len()
    }

    fn uncovered(&self) -> usize {
        audit(&self.sim, &REGIONS.map(str::to_owned)).uncovered()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_accounts_take_860_calls_and_a_second_run_460_and_no_change() {
    let served = Served::new(50, 4).await;
    let first = served.backfill(&[]).await;
    assert!(first.status.success(), "{}{}", text(&first.stdout), text(&first.stderr));
    // This run also creates the destinations, with two calls that a real installation has made before. Every command asks
    // who is calling, and in which organization.
    let calls = served.calls();
    assert!(calls <= 860 + 2 + 2, "{calls} calls");
    let state = audit(&served.sim, &REGIONS.map(str::to_owned));
    assert_eq!(state.uncovered(), 0);
    assert!(state.misassigned().is_empty() && state.account_regions.iter().all(|at| at.on_several_shards.is_empty()));

    let second = served.backfill(&[]).await;
    assert!(second.status.success());
    let again = served.sim.calls().split_off(calls);
    assert!(again.len() <= 460 + 2, "{} calls", again.len());
    assert!(again.iter().all(|call| !call.mutating), "a second run changes nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn three_broken_accounts_are_explained_and_the_other_47_enrolled() {
    let served = Served::new(50, 1).await;
    let broken: Vec<String> = {
        let (management, central) = (served.sim.management(), served.sim.central());
        served.sim.members().into_iter().filter(|id| *id != management && *id != central).take(3).collect()
    };
    served.sim.with(|world| {
        world.iam.remove_role(&broken[0], "VpcFlowLogsEnrollerMember");
        let deny = ServiceControlDeny { region: None, action_prefix: "ec2:".to_owned() };
        world.accounts.get_mut(&broken[1]).unwrap().denies.push(deny);
        world.set_account_state(&broken[2], AccountState::Suspended).unwrap();
    });
    let done = served.backfill(&[]).await;
    assert_eq!(done.status.code(), Some(1));
    let figure = |name: &str| {
        let shown = text(&done.stdout);
        let line = shown.lines().find(|line| line.contains(name)).unwrap_or_else(|| panic!("{name}: {shown}"));
        line.trim_matches(['│', ' ']).trim_start_matches(name).trim().to_owned()
    };
    assert_eq!(figure("VPCs failed"), "unknown", "nobody could see the VPCs of an account without its role");
    assert_eq!(figure("account-Regions not inspected"), "2");
    assert_eq!(served.uncovered(), 3 * 2 * 2, "two VPCs in two Regions of each broken account");
    let shown = text(&done.stdout);
    for account in &broken {
        assert!(shown.contains(account), "{shown}");
    }
    assert!(shown.contains("sts:AssumeRole") && shown.contains("deploy the member stack"), "{shown}");
    assert!(!shown.contains("retried"), "a command has no message that comes back: {shown}");
    assert!(shown.contains("service control policy"), "{shown}");
    assert!(shown.contains("SUSPENDED"), "{shown}");
    assert!(shown.contains("request: "), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_shows_pending_changes_by_its_exit_code_and_changes_nothing() {
    let served = Served::new(4, 1).await;
    let plan = served.run(&["plan", "--format", "json"]).await;
    assert_eq!(plan.status.code(), Some(2), "{}", text(&plan.stderr));
    let report: Value = serde_json::from_slice(&plan.stdout).unwrap();
    assert_eq!(report["summary"]["vpcs_to_enroll"], 16);
    assert_eq!(report["summary"]["grants_to_add"], 8);
    assert!(served.sim.calls().iter().all(|call| !call.mutating));

    assert!(served.backfill(&[]).await.status.success());
    let plan = served.run(&["plan"]).await;
    assert_eq!(plan.status.code(), Some(0), "{}", text(&plan.stdout));
    assert!(text(&plan.stdout).contains("Nothing to do: 16 VPCs covered"));
    let coverage = served.run(&["coverage", "--format", "json"]).await;
    assert_eq!(coverage.status.code(), Some(0));
    let report: Value = serde_json::from_slice(&coverage.stdout).unwrap();
    assert_eq!(report["totals"]["covered"], 16);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_selection_narrows_accounts_and_regions_and_names_unknown_ones() {
    let served = Served::new(4, 0).await;
    let account = served.sim.members()[3].clone();
    let done = served.backfill(&["--account", &account, "--region", "us-east-1"]).await;
    assert!(done.status.success(), "{}", text(&done.stdout));
    let enrolled =
        audit(&served.sim, &REGIONS.map(str::to_owned)).account_regions.into_iter().filter(|it| it.covered > 0);
    let enrolled: Vec<(String, String)> = enrolled.map(|it| (it.account, it.region)).collect();
    assert_eq!(enrolled, [(account, "us-east-1".to_owned())]);

    let unknown = served.run(&["plan", "--account", "999988887777"]).await;
    assert_eq!(unknown.status.code(), Some(1));
    assert!(text(&unknown.stderr).contains("999988887777 is not in the organization"));
    let stray = served.run(&["plan", "--region", "sa-east-1"]).await;
    assert!(text(&stray.stderr).contains("sa-east-1 is not enrolled"));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_terminal_nothing_is_changed_unless_yes_is_given() {
    let served = Served::new(2, 0).await;
    let done = served.run(&["backfill"]).await;
    assert_eq!(done.status.code(), Some(1));
    assert!(text(&done.stderr).contains("--yes"));
    assert_eq!(served.calls(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn grants_are_listed_and_a_dry_sync_shows_what_it_would_write() {
    let served = Served::new(3, 0).await;
    let dry = served.run(&["grants", "sync", "--dry-run"]).await;
    assert_eq!(dry.status.code(), Some(2));
    assert!(
        text(&dry.stdout).contains("6 grants to add, 0 to remove, 2 destinations to write"),
        "{}",
        text(&dry.stdout)
    );
    assert!(served.sim.calls().iter().all(|call| !call.mutating));
    assert!(served.run(&["grants", "sync", "--yes", "--write-grants"]).await.status.success());
    let listed = served.run(&["grants", "--format", "json"]).await;
    let shards: Value = serde_json::from_slice(&listed.stdout).unwrap();
    assert_eq!(shards[0]["accounts"].as_array().unwrap().len(), 3);
}

/// The accounts granted in a Region, read from the policies in the simulation.
fn granted(served: &Served, region: &str) -> Vec<String> {
    let central = served.sim.central();
    let policies: Vec<Value> = served.sim.with(|world| {
        let policies = world.logs.destinations(&central, region).filter_map(|it| it.access_policy.clone());
        policies.map(|text| serde_json::from_str(&text).unwrap()).collect()
    });
    let statements = policies.iter().flat_map(|policy| policy["Statement"].as_array().unwrap());
    let principals = statements.map(|statement| match &statement["Principal"]["AWS"] {
        Value::Array(several) => several.iter().map(|one| one.as_str().unwrap().to_owned()).collect(),
        one => vec![one.as_str().unwrap().to_owned()],
    });
    principals.flatten().collect::<Vec<String>>()
}

#[tokio::test(flavor = "multi_thread")]
async fn plan_and_backfill_of_a_selection_write_only_its_grants() {
    let served = Served::new(6, 0).await;
    let account = served.sim.members()[3].clone();
    let selection = ["--account", &account, "--region", "us-east-1"];
    let plan = served.run(&[&["plan", "--format", "json"], &selection[..]].concat()).await;
    let plan: Value = serde_json::from_slice(&plan.stdout).unwrap();
    assert_eq!((&plan["summary"]["grants_to_add"], &plan["summary"]["grants_to_remove"]), (&1.into(), &0.into()));
    assert_eq!(plan["grants"].as_array().unwrap().len(), 1, "{plan:#}");
    assert_eq!((&plan["grants"][0]["region"], &plan["grants"][0]["add"][0]), (&"us-east-1".into(), &(*account).into()));

    assert!(served.backfill(&selection).await.status.success());
    assert_eq!(granted(&served, "us-east-1"), [account]);
    assert!(granted(&served, "eu-west-1").is_empty());
    let changed: Vec<_> = served.sim.calls().into_iter().filter(|call| call.mutating).collect();
    assert!(changed.iter().all(|call| call.region == "us-east-1" || call.operation == "CreateRole"), "{changed:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_departed_account_keeps_its_grant_in_a_backfill_of_another() {
    let served = Served::new(6, 0).await;
    assert!(served.backfill(&[]).await.status.success());
    let (departed, other) = (served.sim.members()[3].clone(), served.sim.members()[4].clone());
    served.sim.with(|world| world.remove(&departed)).unwrap();
    assert!(served.backfill(&["--account", &other]).await.status.success());
    assert!(granted(&served, "us-east-1").contains(&departed), "not part of the selection");
    assert!(served.backfill(&[]).await.status.success());
    assert!(!granted(&served, "us-east-1").contains(&departed));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_from_a_file_is_carried_out_but_refused_after_changes() {
    let served = Served::new(4, 1).await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("today.plan").to_str().unwrap().to_owned();
    let account = served.sim.members()[2].clone();
    assert_eq!(served.run(&["plan", "--account", &account, "--out", &file]).await.status.code(), Some(2));
    let made = served.calls();

    let narrowed = served.backfill(&["--plan", &file, "--account", &account]).await;
    assert_eq!(narrowed.status.code(), Some(1), "the file contains the selection");

    let vpc = served.sim.with(|world| world.put_vpc(&account, "eu-west-1", "10.9.0.0/16", false));
    let refused = served.backfill(&["--plan", &file]).await;
    assert_eq!(refused.status.code(), Some(1));
    let moved = format!("not in the plan: {account} in eu-west-1: create-flow-logs {vpc}");
    assert!(text(&refused.stderr).contains(&moved), "{}", text(&refused.stderr));
    assert!(served.sim.calls().split_off(made).iter().all(|call| !call.mutating));

    assert_eq!(served.run(&["plan", "--account", &account, "--out", &file]).await.status.code(), Some(2));
    let done = served.backfill(&["--plan", &file]).await;
    assert!(done.status.success(), "{}{}", text(&done.stdout), text(&done.stderr));
    let account_regions = audit(&served.sim, &REGIONS.map(str::to_owned)).account_regions;
    assert!(account_regions.iter().all(|at| (at.covered > 0) == (at.account == account)));

    let again = served.backfill(&["--plan", &file]).await;
    assert_eq!(again.status.code(), Some(1));
    assert!(text(&again.stderr).contains("no longer needed: "), "{}", text(&again.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_not_a_plan_or_of_another_organization_is_refused() {
    let (served, other) = (Served::new(3, 0).await, Served::new(4, 0).await);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("plan").to_str().unwrap().to_owned();
    std::fs::write(&file, "{}").unwrap();
    let refused = served.backfill(&["--plan", &file]).await;
    assert!(text(&refused.stderr).contains("is not a plan"), "{}", text(&refused.stderr));
    assert!(served.run(&["plan", "--out", &file]).await.status.code() == Some(2));
    let made = std::fs::read_to_string(&file).unwrap();
    assert!(made.contains("\"dry_run\": false"));
    std::fs::write(&file, made.replace("\"dry_run\": false", "\"dry_run\": true")).unwrap();
    let before = served.calls();
    let dry = served.backfill(&["--plan", &file]).await;
    assert!(text(&dry.stderr).contains("dry run"), "{}", text(&dry.stderr));
    assert_eq!(served.calls(), before);
    std::fs::write(&file, made).unwrap();
    let simulated = other.run(&["backfill", "--sim", "--yes", "--plan", &file]).await;
    assert!(text(&simulated.stderr).contains("a real organization"), "{}", text(&simulated.stderr));
    assert_eq!(other.calls(), 0);
}

/// Commands that change something, and those that only read.
const CHANGING: [&[&str]; 2] =
    [&["backfill", "--yes", "--write-grants"], &["grants", "sync", "--yes", "--write-grants"]];
const READING: [&[&str]; 4] = [&["plan"], &["coverage"], &["grants"], &["grants", "sync", "--dry-run"]];

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_another_account_are_named_and_change_nothing() {
    let served = Served::new(4, 1).await;
    let keys = served.sim.credentials_of(&served.sim.management());
    let changes = [("AWS_ACCESS_KEY_ID", &*keys.access_key_id), ("AWS_SECRET_ACCESS_KEY", &keys.secret_access_key)];
    for arguments in CHANGING.iter().chain(&READING) {
        let refused = served.run_with(arguments, &changes).await;
        assert_eq!(refused.status.code(), Some(1), "{arguments:?}");
        let errors = text(&refused.stderr);
        let (management, central) = (served.sim.management(), served.sim.central());
        let expected = format!(
            "these are credentials of account {management}, and the central account in the settings is {central}"
        );
        assert!(errors.contains(&expected), "{errors}");
        assert!(errors.contains("environment variables AWS_ACCESS_KEY_ID"), "{errors}");
        assert!(refused.stdout.is_empty());
    }
    let calls = served.sim.calls();
    assert!(calls.iter().all(|call| call.operation == "GetCallerIdentity"), "{calls:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_of_another_organization_are_refused() {
    let served = Served::new(4, 1).await;
    for arguments in CHANGING.iter().chain(&READING) {
        let refused = served.run_with(arguments, &[("ENROLLER_ORGANIZATION_ID", "o-someothers")]).await;
        assert_eq!(refused.status.code(), Some(1), "{arguments:?}");
        let errors = text(&refused.stderr);
        assert!(errors.contains("belongs to organization ") && errors.contains("is o-someothers"), "{errors}");
    }
    assert_eq!(served.changes(), 0);
    assert!(served.sim.calls().iter().all(|call| call.operation != "AssumeRole"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_key_is_told_in_the_words_of_the_aws_cli() {
    let served = Served::new(3, 0).await;
    for arguments in CHANGING.iter().chain(&READING).chain(&[&["doctor"][..]]) {
        let refused = served.run_with(arguments, &[("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")]).await;
        assert_eq!(refused.status.code(), Some(1), "{arguments:?}");
        let errors = text(&refused.stderr);
        let expected = "An error occurred (InvalidClientTokenId) when calling the GetCallerIdentity operation: ";
        assert!(errors.contains(expected) && errors.contains("access key ****MPLE from"), "{errors}");
        assert!(!errors.contains("enable the Region"), "{errors}");
    }
    assert_eq!(served.changes(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_organization_that_cannot_be_asked_for_lets_only_reading_go_on() {
    let served = Served::new(3, 0).await;
    let denied = || FaultKind::ErrorBefore(ApiError::new(400, "AccessDeniedException", "no"));
    let rule = FaultRule::new(denied()).on(Service::Organizations, "DescribeOrganization").at(When::Always);
    served.sim.arm(rule);
    for arguments in CHANGING {
        let refused = served.run(arguments).await;
        assert_eq!(refused.status.code(), Some(1), "{arguments:?}");
        assert!(
            text(&refused.stderr).contains("allow organizations:DescribeOrganization"),
            "{}",
            text(&refused.stderr)
        );
    }
    assert_eq!(served.changes(), 0);
    let plan = served.run(&["plan"]).await;
    assert_eq!(plan.status.code(), Some(2));
    assert!(text(&plan.stderr).contains("warning: it cannot be checked"), "{}", text(&plan.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_queue_or_the_flag_nobody_writes_grants() {
    let served = Served::new(3, 0).await;
    for arguments in [&["backfill", "--yes"][..], &["grants", "sync", "--yes"]] {
        let refused = served.run(arguments).await;
        assert_eq!(refused.status.code(), Some(1));
        let errors = text(&refused.stderr);
        assert!(errors.contains("--write-grants") && errors.contains("grants_queue_url"), "{errors}");
    }
    assert_eq!(served.changes(), 0);
    assert!(served.backfill(&[]).await.status.success());
    // Where all is granted, there is nothing to write.
    assert!(served.run(&["backfill", "--yes"]).await.status.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn coverage_needs_no_destination_arns() {
    let served = Served::new(4, 1).await;
    assert!(served.backfill(&[]).await.status.success());
    let without = [("ENROLLER_DESTINATION_TARGET_ARN", ""), ("ENROLLER_DESTINATION_ROLE_ARN", "")];
    let coverage = served.run_with(&["coverage", "--format", "json"], &without).await;
    assert_eq!(coverage.status.code(), Some(0), "{}", text(&coverage.stderr));
    let report: Value = serde_json::from_slice(&coverage.stdout).unwrap();
    assert_eq!(report["totals"]["covered"], 16);
    assert_eq!(served.run_with(&["plan"], &without).await.status.code(), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mass_revocation_is_shown_asked_for_and_done() {
    let served = Served::new(9, 0).await;
    assert!(served.backfill(&[]).await.status.success());
    let (management, central) = (served.sim.management(), served.sim.central());
    let members = served.sim.members().into_iter().filter(|id| *id != management && *id != central);
    let gone: Vec<String> = members.take(4).collect();
    gone.iter().for_each(|account| served.sim.with(|world| world.remove(account)).unwrap());

    let held_back = served.run(&["grants", "sync", "--yes", "--write-grants"]).await;
    assert_eq!(held_back.status.code(), Some(1), "{}", text(&held_back.stdout));
    assert!(text(&held_back.stdout).contains("revocation_limit_percent"), "{}", text(&held_back.stdout));
    let allowed = ["grants", "sync", "--allow-mass-revocation", "--write-grants"];
    let shown = served.run(&[&allowed[..], &["--dry-run", "--format", "json"]].concat()).await;
    assert_eq!(shown.status.code(), Some(2));
    let report: Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!(report["to_remove"].as_array().unwrap().len(), 8);
    assert!(granted(&served, "us-east-1").contains(&gone[0]));

    let done = served.run(&[&allowed[..], &["--yes"]].concat()).await;
    assert!(
        done.status.success() && text(&done.stdout).contains("0 grants added, 8 removed"),
        "{}",
        text(&done.stdout)
    );
    assert!(gone.iter().all(|account| !granted(&served, "us-east-1").contains(account)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_of_another_format_is_refused_with_both_versions() {
    let served = Served::new(3, 0).await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("plan").to_str().unwrap().to_owned();
    std::fs::write(&file, r#"{"plan_file_version": 1, "organization_id": "o-exampleorg1"}"#).unwrap();
    let refused = served.backfill(&["--plan", &file]).await;
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("in format 1, and this enroller"), "{}", text(&refused.stderr));
    assert_eq!(served.calls(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_plan_says_what_moved_and_repeats_no_log_format() {
    let served = Served::new(4, 3).await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("plan").to_str().unwrap().to_owned();
    let account = served.sim.members()[3].clone();
    served.sim.with(|world| world.iam.remove_role(&account, "VpcFlowLogsEnrollerMember"));
    assert_eq!(served.run(&["plan", "--out", &file]).await.status.code(), Some(2));
    // It has left, and was not inspected before or after.
    served.sim.with(|world| world.remove(&account)).unwrap();
    let refused =
        served.run_with(&["backfill", "--yes", "--plan", &file], &[("ENROLLER_TRAFFIC_TYPE", "REJECT")]).await;
    let errors = text(&refused.stderr);
    assert!(errors.contains(&format!("is no longer part of the plan: {account} in us-east-1")), "{errors}");
    assert!(!errors.contains("can be inspected now"), "{errors}");
    assert_eq!(errors.matches("${srcaddr}").count(), 2, "once for each of the two kinds of flow log: {errors}");
    assert!(errors.contains("no longer needed: ") && errors.contains(" more\n"), "{errors}");
}
