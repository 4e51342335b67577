//! How a coverage report is shown: as a table for people, as CSV, and as one page that opens from disk. (As JSON it is
//! what it serializes to.)

pub(crate) mod csv;
pub(crate) mod html;
pub(crate) mod table;

#[cfg(test)]
pub(crate) mod testing {
    use std::collections::BTreeMap;

    use enroller_core::report::coverage::{CoverageReport, CoverageRow, Status};

    /// A row of account `number` with a VPC of the same number, in eu-west-1.
    pub(crate) fn row(number: u32, status: Status) -> CoverageRow {
        CoverageRow {
            account: format!("{number:012}").parse().unwrap(),
            account_name: format!("account-{number}"),
            units: vec!["r-ab12".parse().unwrap(), "ou-ab12-workload".parse().unwrap()],
            region: Some("eu-west-1".parse().unwrap()),
            vpc: Some(format!("vpc-{number:08x}").parse().unwrap()),
            name: format!("vpc {number}"),
            status,
            reason: if status == Status::Covered { String::new() } else { "It has a reason.".to_owned() },
            flow_log: None,
            destination: Some("VPCFlowLogsDestination".parse().unwrap()),
            next_step: if status.is_problem() { "Run enroller backfill.".to_owned() } else { String::new() },
        }
    }

    /// A report of these rows.
    pub(crate) fn report(rows: Vec<CoverageRow>) -> CoverageReport {
        CoverageReport {
            organization: "o-exampleorg1".parse().unwrap(),
            generated_at: "2026-11-23T10:00:00Z".to_owned(),
            regions: ["eu-west-1", "us-east-1"].map(|region| region.parse().unwrap()).into(),
            unit_names: BTreeMap::new(),
            accounts: rows.len(),
            places: rows.len(),
            empty_places: 0,
            rows,
        }
    }
}
