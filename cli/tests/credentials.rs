//! What the real binary says where it has no credentials, in the words of the AWS CLI.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot continue has failed")]

use std::net::TcpListener;
use std::process::{Command, Stdio};

const COMMANDS: [&[&str]; 7] = [
    &["plan"],
    &["coverage"],
    &["backfill", "--yes"],
    &["backfill", "--yes", "--function", "backfill"],
    &["grants"],
    &["grants", "sync", "--yes"],
    &["doctor"],
];

const SETTINGS: [(&str, &str); 9] = [
    ("ENROLLER_CENTRAL_ACCOUNT", "111122223333"),
    ("ENROLLER_ORGANIZATION_ID", "o-exampleorg1"),
    ("ENROLLER_HOME_REGION", "eu-west-1"),
    ("ENROLLER_REGIONS", "eu-west-1"),
    ("ENROLLER_DESTINATION_TARGET_ARN", "arn:aws:firehose:eu-west-1:111122223333:deliverystream/s"),
    ("ENROLLER_DESTINATION_ROLE_ARN", "arn:aws:iam::111122223333:role/r"),
    ("ENROLLER_ENROLLMENTS_QUEUE_URL", "https://sqs.eu-west-1.amazonaws.com/111122223333/e"),
    ("ENROLLER_GRANTS_QUEUE_URL", "https://sqs.eu-west-1.amazonaws.com/111122223333/g.fifo"),
    ("ENROLLER_BACKFILL_QUEUE_URL", "https://sqs.eu-west-1.amazonaws.com/111122223333/b"),
];

/// What every command says on standard error with these variables and this file of profiles. None calls AWS.
fn refusals(variables: &[(&str, &str)], config: &str) -> Vec<String> {
    refusals_with(&[], variables, config)
}

/// The same with further flags.
fn refusals_with(flags: &[&str], variables: &[(&str, &str)], config: &str) -> Vec<String> {
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir(home.path().join(".aws")).unwrap();
    std::fs::write(home.path().join(".aws/config"), config).unwrap();
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
    nobody.set_nonblocking(true).unwrap();
    let run = |arguments: &&[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_enroller"));
        command.env_clear().envs(SETTINGS).env("HOME", home.path()).env("AWS_EC2_METADATA_DISABLED", "true");
        command.env("AWS_ENDPOINT_URL", format!("http://{}", nobody.local_addr().unwrap()));
        let done =
            command.envs(variables.iter().copied()).args(*arguments).args(flags).stdin(Stdio::null()).output().unwrap();
        assert_eq!(done.status.code(), Some(1), "{arguments:?}");
        assert!(done.stdout.is_empty(), "{arguments:?}");
        String::from_utf8(done.stderr).unwrap()
    };
    let refusals = COMMANDS.iter().map(run).collect();
    assert_eq!(nobody.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock, "nobody connected");
    refusals
}

#[test]
fn a_misspelt_profile_is_named_with_those_that_exist() {
    let config = "[default]\nregion = eu-west-1\n[profile audit]\nregion = eu-west-1\n";
    for keys in [&[][..], &[("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"), ("AWS_SECRET_ACCESS_KEY", "secret")]] {
        let variables = [&[("AWS_PROFILE", "adit")], keys].concat();
        for refusal in refusals(&variables, config) {
            assert!(refusal.contains("The config profile (adit) could not be found"), "{refusal}");
            assert!(refusal.contains("AWS_PROFILE") && refusal.contains("audit, default"), "{refusal}");
        }
    }
}

#[test]
fn without_credentials_every_place_that_was_tried_is_listed() {
    for refusal in refusals(&[], "[default]\nregion = eu-west-1\n") {
        assert!(refusal.contains("Unable to locate credentials"), "{refusal}");
        for tried in ["AWS_ACCESS_KEY_ID is not set", "profile default: ", "(IMDS): IMDS disabled by"] {
            assert!(refusal.contains(tried), "{tried}: {refusal}");
        }
        assert_eq!(refusal.lines().count(), 7, "{refusal}");
    }
}

#[test]
fn half_a_key_is_no_key() {
    for refusal in refusals(&[("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")], "") {
        assert!(refusal.contains("Partial credentials found in env, missing: AWS_SECRET_ACCESS_KEY"), "{refusal}");
    }
}

#[test]
fn a_flag_names_a_profile_as_the_variable_does() {
    let config = "[default]\nregion = eu-west-1\n[profile audit]\nregion = eu-west-1\n";
    for refusal in refusals_with(&["--profile", "adit"], &[("AWS_PROFILE", "audit")], config) {
        assert!(refusal.contains("The config profile (adit) could not be found\n  --profile names it"), "{refusal}");
    }
}

#[test]
fn a_flag_that_names_a_profile_precedes_the_keys_of_the_environment() {
    let config = "[profile audit]\nregion = eu-west-1\n";
    let keys = [("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"), ("AWS_SECRET_ACCESS_KEY", "secret")];
    for refusal in refusals_with(&["--profile", "audit"], &keys, config) {
        assert!(refusal.contains("Unable to locate credentials"), "{refusal}");
        assert!(refusal.contains("environment: passed over, because of --profile"), "{refusal}");
    }
}

const SSO: &str = "[profile audit]\nsso_session = corp\nsso_account_id = 111122223333\nsso_role_name = Audit\n\
    [profile deploy]\nrole_arn = arn:aws:iam::111122223333:role/Deploy\nsource_profile = audit\n\
    [sso-session corp]\nsso_start_url = https://example.awsapps.com/start\nsso_region = eu-west-1\n";

#[test]
fn a_profile_that_signs_in_with_sso_names_the_command_to_run() {
    // The session is that of the profile at the end of the chain.
    for profile in ["audit", "deploy"] {
        for refusal in refusals(&[("AWS_PROFILE", profile)], SSO) {
            assert!(refusal.contains("The SSO session associated with this profile has expired"), "{refusal}");
            assert!(refusal.ends_with("next: aws sso login --profile audit\n"), "{refusal}");
        }
    }
}

#[test]
fn a_profile_with_a_login_session_names_the_command_to_run() {
    let config = "[profile console]\nlogin_session = arn:aws:iam::111122223333:user/Admin\nregion = eu-west-1\n";
    // Without an AWS CLI on the path, this fails as with one whose session is over.
    for refusal in refusals(&[("AWS_PROFILE", "console"), ("PATH", "/nowhere:/bin")], config) {
        assert!(refusal.contains("Please reauthenticate using 'aws login'"), "{refusal}");
        assert!(refusal.ends_with("next: aws login --profile console\n"), "{refusal}");
    }
}

#[test]
fn a_credential_process_that_fails_is_told_with_its_standard_error() {
    let config = "[profile vault]\ncredential_process = sh -c 'echo the vault is locked >&2; exit 3'\n";
    for refusal in refusals(&[("AWS_PROFILE", "vault"), ("PATH", "/usr/bin:/bin")], config) {
        assert!(refusal.contains("Error when retrieving credentials from custom-process"), "{refusal}");
        assert!(refusal.contains("the vault is locked"), "{refusal}");
    }
}

#[test]
fn a_bundle_of_certificates_that_does_not_exist_is_named() {
    for refusal in refusals(&[("AWS_CA_BUNDLE", "/nowhere/ca.pem")], "") {
        assert!(refusal.contains("/nowhere/ca.pem\n  AWS_CA_BUNDLE names it"), "{refusal}");
    }
}
