//! The report as CSV, with a row for each VPC.

use csv::Writer;
use enroller_core::coverage::{CoverageReport, CoverageRow};

use crate::about::About;

/// The columns. Their names and order never change, and new columns are added at the end.
const HEADER: [&str; 17] = [
    "account",
    "account_name",
    "organizational_units",
    "region",
    "vpc",
    "name",
    "status",
    "reason",
    "flow_log",
    "destination",
    "next_step",
    "generated_at",
    "scope",
    "simulated",
    "caller",
    "version",
    "settings_digest",
];

/// The whole file, with a header. Organizational units are separated by spaces, outermost first.
///
/// Untrusted text (account names, tags, messages) that a spreadsheet would take for a formula is prefixed with an
/// apostrophe, which spreadsheets do not show (OWASP, "CSV Injection"). The JSON format has the text unchanged.
pub(crate) fn render(about: &About, report: &CoverageReport) -> Result<String, csv::Error> {
    let mut writer = Writer::from_writer(Vec::new());
    writer.write_record(HEADER)?;
    for row in &report.rows {
        writer.write_record(cells(about, row))?;
    }
    let bytes = writer.into_inner().map_err(|error| error.into_error())?;
    String::from_utf8(bytes).map_err(|error| std::io::Error::other(error).into())
}

fn cells(about: &About, row: &CoverageRow) -> [String; HEADER.len()] {
    let units: Vec<&str> = row.units.iter().map(|unit| unit.as_str()).collect();
    [
        row.account.to_string(),
        no_formula(&row.account_name),
        units.join(" "),
        row.region.as_ref().map(ToString::to_string).unwrap_or_default(),
        row.vpc.as_ref().map(ToString::to_string).unwrap_or_default(),
        no_formula(&row.name),
        row.status.as_str().to_owned(),
        no_formula(&row.reason),
        row.flow_log.as_ref().map(ToString::to_string).unwrap_or_default(),
        row.destination.as_ref().map(ToString::to_string).unwrap_or_default(),
        no_formula(&row.next_step),
        about.generated_at.clone(),
        about.scope.to_string(),
        about.simulated.to_string(),
        no_formula(&about.caller),
        about.version.to_owned(),
        about.settings_digest.clone(),
    ]
}

fn no_formula(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']);
    if formula { format!("'{text}") } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{about, report, row};
    use super::*;
    use enroller_core::coverage::Status;

    #[test]
    fn there_is_a_header_and_a_record_for_each_row() {
        let mut second = row(2, Status::Broken);
        second.reason = "Pattern is \"REJECT\",\nnot \"\".".to_owned();
        let digest = about().settings_digest;
        let made = format!(
            "2026-11-23T10:00:00Z,\"Scope: the whole organization in 2 Regions (eu-west-1, us-east-1)\",false,\
            arn:aws:sts::444455556666:assumed-role/Operator/me,1.2.3,{digest}"
        );
        let expected = format!(
            "\
account,account_name,organizational_units,region,vpc,name,status,reason,flow_log,destination,next_step,\
generated_at,scope,simulated,caller,version,settings_digest
000000000001,account-1,r-ab12 ou-ab12-workload,eu-west-1,vpc-00000001,vpc 1,covered,,,VPCFlowLogsDestination,,{made}
000000000002,account-2,r-ab12 ou-ab12-workload,eu-west-1,vpc-00000002,vpc 2,broken,\"Pattern is \"\"REJECT\"\",
not \"\"\"\".\",,VPCFlowLogsDestination,Run enroller backfill.,{made}
"
        );
        assert_eq!(render(&about(), &report(vec![row(1, Status::Covered), second])).unwrap(), expected);
    }

    #[test]
    fn an_empty_report_has_only_a_header() {
        assert_eq!(render(&about(), &report(Vec::new())).unwrap(), format!("{}\n", HEADER.join(",")));
    }

    #[test]
    fn untrusted_text_is_never_a_formula() {
        for (text, shown) in [
            ("=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0"),
            ("+1", "'+1"),
            ("-1", "'-1"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("\t=1", "'\t=1"),
            ("prod = main", "prod = main"),
            ("", ""),
        ] {
            assert_eq!(no_formula(text), shown);
        }
    }
}
