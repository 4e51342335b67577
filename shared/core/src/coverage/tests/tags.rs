//! VPCs that tags or the settings opt out or narrow, and flow logs that lost their tag.

use super::*;

/// A covered VPC with this tag, under settings that differ from the defaults in this.
fn tagged(tag: (&str, &str), changes: &[(&str, &str)]) -> CoverageRow {
    let mut site = Site::covered();
    site.settings = with(changes).unwrap();
    site.after(|seen| seen.vpcs[0].tags = tags(&[tag])).row()
}

const FOLLOWED: (&str, &str) = ("narrowing_tags", "followed");

#[test]
fn what_is_opted_out_or_excluded_has_the_reason() {
    let opted_out = tagged(("vpc-flow-logs", "off"), &[FOLLOWED]);
    assert_eq!(summary(&opted_out), "opted-out: The VPC's tag vpc-flow-logs=off excludes it. -> ");
    assert_eq!(opted_out.flow_log.unwrap().as_str(), FLOW_LOG, "created before, and kept");
    let entry = format!("{VPC}:2027-03-31:jane");
    let listed = tagged(("a", "b"), &[("opted_out_vpcs", &entry)]);
    let reason = "The settings exclude it until 2027-03-31 (opted_out_vpcs), for which jane answers.";
    assert_eq!(summary(&listed), format!("opted-out: {reason} -> "));
    let owner = "777788889999".parse().unwrap();
    let shared = Site::covered().after(|seen| seen.vpcs[0].owner = owner).row();
    assert_eq!(summary(&shared), "excluded: The VPC is shared by 777788889999, and only its owner can log it. -> ");
}

#[test]
fn an_expired_entry_opts_nothing_out_and_the_row_says_so() {
    let entry = format!("{VPC}:2025-03-31:jane");
    let row = tagged(("a", "b"), &[("opted_out_vpcs", &entry)]);
    assert_eq!(
        summary(&row),
        "covered: Its entry in opted_out_vpcs expired on 2025-03-31 and opts it out no longer; jane answers for it. -> \
         Renew the entry in opted_out_vpcs or remove it."
    );
}

#[test]
fn a_vpc_whose_tag_narrows_it_is_not_among_the_covered_ones() {
    let tag = ("vpc-flow-logs-traffic-type", "REJECT");
    let mut site = Site::covered();
    site.settings = with(&[FOLLOWED]).unwrap();
    let narrow = |seen: &mut Observed| {
        seen.vpcs[0].tags = tags(&[tag]);
        seen.flow_logs[0].traffic_type = Some(TrafficType::Reject);
    };
    let report = site.after(narrow).report();
    let reason = "The VPC's tag vpc-flow-logs-traffic-type=REJECT narrows what it records: the settings ask for ALL.";
    assert_eq!(summary(&report.rows[0]), format!("narrowed: {reason} -> "));
    assert_eq!((report.totals().covered, report.totals().narrowed), (0, 1));
}

#[test]
fn a_covered_vpc_whose_narrowing_tag_is_ignored_says_so() {
    let row = tagged(("vpc-flow-logs", "off"), &[]);
    let reason = "The VPC's tag vpc-flow-logs=off is ignored: with narrowing_tags = ignored, a VPC's tags can only widen what it records.";
    assert_eq!(summary(&row), format!("covered: {reason} -> "));
}

#[test]
fn a_flow_log_of_ours_without_its_tag_is_told() {
    let row = Site::covered().after(|seen| seen.flow_logs[0].tags.clear()).row();
    assert_eq!(
        summary(&row),
        format!(
            "covered: Somebody took the tag managed-by=vpc-flow-logs-enroller off its flow log {FLOW_LOG}. -> Run enroller backfill."
        )
    );
}
