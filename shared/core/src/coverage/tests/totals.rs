//! The report as a whole: totals, order and keys.

use super::*;

#[test]
fn the_percentage_never_rounds_up_and_counts_unknown_ones() {
    for (totals, expected) in [
        (Totals::default(), None),
        (Totals { excluded: 3, skipped: 2, opted_out: 1, narrowed: 1, ..Totals::default() }, None),
        (Totals { covered: 3, excluded: 3, skipped: 2, ..Totals::default() }, Some(100.0)),
        (Totals { covered: 9_999, broken: 1, ..Totals::default() }, Some(99.9)),
        (Totals { covered: 1, unknown: 1, ..Totals::default() }, Some(50.0)),
        (Totals { foreign_only: 1, not_covered: 1, ..Totals::default() }, Some(0.0)),
    ] {
        assert_eq!(totals.coverage_percent(), expected, "{totals:?}");
    }
}

#[test]
fn every_status_is_counted_as_itself() {
    for status in Status::ALL {
        let mut totals = Totals::default();
        totals.count(status);
        totals.count(status);
        assert_eq!((totals.of(status), totals.all(), totals.problems()), (2, 2, 2 * usize::from(status.is_problem())));
        assert_eq!(serde_json::to_value(status).unwrap(), status.as_str());
    }
}

#[test]
fn every_status_has_a_name_and_a_meaning_of_its_own() {
    let texts = Status::ALL.map(|status| (status.title(), status.meaning()));
    for (title, meaning) in texts {
        assert!(title.starts_with(char::is_uppercase) && meaning.starts_with(char::is_uppercase), "{title}: {meaning}");
        assert!(meaning.ends_with('.'), "{meaning}");
        assert_eq!(texts.iter().filter(|it| it.0 == title || it.1 == meaning).count(), 1, "{title}: {meaning}");
    }
}

#[test]
fn totals_are_by_account_region_and_every_unit_above() {
    let site = Site::covered().after(|seen| seen.vpcs.push(vpc("vpc-00000002", &[])));
    let report = site.report();
    let expected = Totals { covered: 1, not_covered: 1, ..Totals::default() };
    assert_eq!(report.totals(), expected);
    assert_eq!(report.by_account().into_iter().collect::<Vec<_>>(), [(ACCOUNT.parse().unwrap(), expected)]);
    assert_eq!(report.by_region().into_iter().collect::<Vec<_>>(), [("eu-west-1".parse().unwrap(), expected)]);
    assert_eq!(report.by_unit().into_values().collect::<Vec<_>>(), [expected, expected]);
    assert_eq!(report.coverage_percent(), Some(50.0));
}

#[test]
fn the_document_has_stable_keys() {
    let document = serde_json::to_value(Site::covered().report()).unwrap();
    let keys = |value: &serde_json::Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" ");
    assert_eq!(
        keys(&document),
        "account_regions accounts by_account by_organizational_unit by_region coverage_percent empty_account_regions \
         generated_at organization organizational_unit_names regions rows totals"
    );
    let counts = "broken covered excluded foreign_only narrowed not_covered opted_out skipped unknown";
    assert_eq!(keys(&document["totals"]), counts);
    assert_eq!(keys(&document["by_account"][ACCOUNT]), counts);
    assert_eq!(keys(&document["by_organizational_unit"]["r-ab12"]), counts);
    assert_eq!(keys(&document["by_region"]["eu-west-1"]), counts);
    insta::assert_json_snapshot!(document["rows"][0], @r#"
    {
      "account": "444455556666",
      "account_name": "prod",
      "destination": "VPCFlowLogsDestination",
      "flow_log": "fl-0123456789abcdef0",
      "name": "payments",
      "next_step": "",
      "organizational_units": [
        "r-ab12",
        "ou-ab12-workload"
      ],
      "reason": "",
      "region": "eu-west-1",
      "status": "covered",
      "vpc": "vpc-0123456789abcdef0"
    }
    "#);
}

#[test]
fn rows_are_sorted_whatever_order_they_came_in() {
    let site = Site::covered().after(|seen| seen.vpcs.insert(0, vpc("vpc-ffffffff", &[])));
    let plan = plan(&site.desired(), &site.observed, NOW);
    let account = account("prod");
    let looked = Ok((&site.observed, &plan));
    let of = |regions: [&str; 2]| {
        report_of(&site.settings, |survey| {
            for region in regions {
                let seen = InspectedRegion { account: &account, at: at(region), granted_on: None, doubt: None, looked };
                survey.add(&site.settings, &seen);
            }
        })
    };
    assert_eq!(of(["eu-west-1", "us-east-1"]), of(["us-east-1", "eu-west-1"]));
    let vpcs: Vec<_> = of(["us-east-1", "eu-west-1"]).rows.iter().map(|row| row.vpc.clone().unwrap()).collect();
    assert_eq!(vpcs.iter().map(VpcId::as_str).collect::<Vec<_>>(), [VPC, "vpc-ffffffff", VPC, "vpc-ffffffff"]);
}
