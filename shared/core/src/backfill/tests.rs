use serde_json::json;

use super::*;
use crate::observed::{Account, AccountState};
use crate::settings::tests::with;

fn account(id: &str, state: AccountState, unit: &str) -> Account {
    let parents = ["r-ab12", unit].iter().map(|unit| unit.parse().unwrap()).collect();
    Account { id: id.parse().unwrap(), name: String::new(), state, parents }
}

fn organization() -> Vec<Account> {
    // Not by id: Organizations promises no order.
    vec![
        account("333333333333", AccountState::Active, "ou-ab12-workload"),
        account("111111111111", AccountState::Active, "ou-ab12-security"),
        account("222222222222", AccountState::Suspended, "ou-ab12-workload"),
    ]
}

fn select(request: &Value, settings: &[(&str, &str)]) -> (Vec<String>, Vec<String>, Vec<String>) {
    let settings = with(settings).unwrap();
    let selection = BackfillRequest::read(request, &settings).unwrap().select(&settings, organization());
    let left_out = selection.left_out.iter().map(|it| format!("{}: {}", it.account, it.reason)).collect();
    (selection.chosen.iter().map(|account| account.id.to_string()).collect(), left_out, selection.notes)
}

#[test]
fn an_empty_request_means_every_active_account_by_id() {
    let (chosen, left_out, notes) = select(&json!({}), &[]);
    assert_eq!(chosen, ["111111111111", "333333333333"]);
    assert_eq!(left_out, ["222222222222: the account's state is SUSPENDED"]);
    assert_eq!(notes, [""; 0]);
}

#[test]
fn accounts_and_units_add_up_and_exclusions_override_them() {
    for (request, chosen, left_out) in [
        (json!({"accounts": ["333333333333"]}), &["333333333333"][..], &[][..]),
        (json!({"organizational_units": ["ou-ab12-security"]}), &["111111111111"], &[]),
        (
            json!({"accounts": ["333333333333"], "organizational_units": ["ou-ab12-security"]}),
            &["111111111111", "333333333333"],
            &[],
        ),
        (
            json!({"exclude": ["ou-ab12-workload", "111111111111"]}),
            &[],
            &[
                "111111111111: excluded by the request",
                "222222222222: its organizational unit ou-ab12-workload is excluded by the request",
                "333333333333: its organizational unit ou-ab12-workload is excluded by the request",
            ],
        ),
        (
            json!({"accounts": ["333333333333", "444444444444"], "exclude": ["333333333333"]}),
            &[],
            &["333333333333: excluded by the request", "444444444444: not an account of the organization"],
        ),
    ] {
        let (found, reasons, notes) = select(&request, &[]);
        assert_eq!(found, chosen, "{request}");
        assert_eq!(reasons, left_out, "{request}");
        assert_eq!(notes, [""; 0], "{request}");
    }
}

#[test]
fn what_the_settings_exclude_stays_out_even_when_named() {
    let settings = [("excluded_organizational_units", "ou-ab12-workload"), ("excluded_accounts", "111111111111")];
    let (chosen, left_out, _) = select(&json!({"accounts": ["111111111111", "333333333333"]}), &settings);
    assert_eq!(chosen, [""; 0]);
    assert_eq!(
        left_out,
        [
            "111111111111: the account is excluded by the settings",
            "333333333333: its organizational unit ou-ab12-workload is excluded by the settings"
        ]
    );
}

#[test]
fn what_matches_no_account_is_noted() {
    let request =
        json!({"organizational_units": ["ou-ab12-nobodyxx"], "exclude": ["444444444444", "ou-ab12-noneatall"]});
    let (chosen, _, notes) = select(&request, &[]);
    assert_eq!(chosen, [""; 0], "a unit without accounts does not mean all");
    assert_eq!(
        notes,
        [
            "organizational_units: no account is below ou-ab12-nobodyxx",
            "exclude: 444444444444 matches no account of the organization",
            "exclude: ou-ab12-noneatall matches no account of the organization"
        ]
    );
}

#[test]
fn all_problems_are_reported_at_once_with_what_is_expected() {
    let request = json!({
        "accounts": ["12", 111_122_223_333_u64], "organizational_units": "ou-ab12-security", "exclude": ["all"],
        "regions": ["mars", "ap-southeast-2"], "dry_run": "yes", "reason": "x".repeat(501), "colour": "blue"
    });
    let error = BackfillRequest::read(&request, &with(&[]).unwrap()).unwrap_err();
    insta::assert_snapshot!(error, @r#"
    the backfill request is invalid: 9 problems
      colour = "blue": unknown field; expected one of accounts, organizational_units, exclude, regions, dry_run, reason
      accounts = "12": expected 12 digits
      accounts = 111122223333: expected a string
      organizational_units = "ou-ab12-security": expected a list: ["…"]
      exclude = "all": expected an account (12 digits), r-xxxx or ou-xxxx-xxxxxxxx
      regions = "mars": expected a code such as eu-west-1
      dry_run = "yes": expected true or false
      reason = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx: expected a string of at most 500 characters
      regions = "ap-southeast-2": expected enrolled Regions (eu-west-1, us-east-1); add it to the setting `regions` first
    "#);
}

#[test]
fn a_continued_request_is_checked_against_the_current_settings() {
    let both = with(&[("regions", "eu-west-1,us-east-1")]).unwrap();
    let one = with(&[("regions", "eu-west-1")]).unwrap();
    let request = BackfillRequest::read(&json!({"regions": ["us-east-1"]}), &both).unwrap();
    assert_eq!(request.check(&both), Ok(()));
    assert!(request.check(&one).unwrap_err().to_string().contains("expected enrolled Regions (eu-west-1)"));
}

#[test]
fn a_request_works_on_its_regions_or_on_all() {
    let settings = with(&[]).unwrap();
    let request = BackfillRequest::read(&json!({"regions": ["us-east-1"]}), &settings).unwrap();
    assert_eq!(request.regions(&settings), &["us-east-1".parse().unwrap()].into());
    assert_eq!(BackfillRequest::default().regions(&settings), &settings.regions);
}

#[test]
fn a_reason_has_at_most_500_characters_and_50_problems_are_reported() {
    let settings = with(&[]).unwrap();
    let reason = "é".repeat(MAX_REASON);
    assert_eq!(BackfillRequest::read(&json!({"reason": reason}), &settings).unwrap().reason, reason);
    let error = BackfillRequest::read(&json!({"accounts": vec!["x"; 60]}), &settings).unwrap_err();
    assert_eq!(error.0.len(), 50);
}

#[test]
fn only_an_object_is_accepted_and_null_fields_count_as_missing() {
    let settings = with(&[]).unwrap();
    for value in [json!([]), json!("all"), json!(1)] {
        let error = BackfillRequest::read(&value, &settings).unwrap_err();
        assert!(error.to_string().contains("expected an object"), "{value}: {error}");
    }
    let nothing = json!({"accounts": null, "dry_run": null, "reason": null});
    assert_eq!(BackfillRequest::read(&nothing, &settings), Ok(BackfillRequest::default()));
}

#[test]
fn a_request_is_read_back_as_it_was_written() {
    let request = json!({"accounts": ["000000000012"], "organizational_units": ["ou-ab12-security"],
        "exclude": ["111111111111", "r-ab12"], "regions": ["us-east-1"], "dry_run": true, "reason": "why"});
    let read = BackfillRequest::read(&request, &with(&[]).unwrap()).unwrap();
    let written = serde_json::to_value(&read).unwrap();
    assert_eq!(written, request);
    assert_eq!(serde_json::from_value::<BackfillRequest>(written).unwrap(), read);
}

#[test]
fn an_account_in_a_state_that_nobody_knows_is_selected_with_a_note() {
    let listed = [
        account("111111111111", AccountState::Unknown, "ou-ab12-workload"),
        account("222222222222", AccountState::Active, "ou-ab12-workload"),
    ];
    let selected = BackfillRequest::default().select(&with(&[]).unwrap(), listed);
    assert_eq!((selected.chosen.len(), selected.left_out.len()), (2, 0));
    let [note] = &selected.notes[..] else { panic!("{:?}", selected.notes) };
    assert!(note.contains("111111111111") && note.contains("unknown to this version"), "{note}");
}
