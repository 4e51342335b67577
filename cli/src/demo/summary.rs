//! The end of the demo: tables, figures and the overall result.

use std::collections::{BTreeMap, BTreeSet};

use comfy_table::presets::UTF8_BORDERS_ONLY;
use comfy_table::{CellAlignment, Table};
use enroller_core::policy::MAX_POLICY_BYTES;
use enroller_lab::Lab;
use enroller_lab::audit::{Audit, audit};
use enroller_sim::traffic::TrafficReport;
use serde::Serialize;

use super::show::Entry;
use crate::output::{Output, count};

/// Most accounts shown in the coverage table. The others are counted.
const ROWS: usize = 20;

/// The final state of the demo, which `--json` prints.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    /// Whether every VPC is covered, every account granted on exactly one shard per Region, and no record lost after
    /// enrollment.
    pub(super) ok: bool,
    accounts: usize,
    regions: Vec<String>,
    vpcs: usize,
    covered: usize,
    uncovered: Vec<String>,
    on_several_shards: Vec<String>,
    grants: Vec<Grant>,
    not_on_exactly_one_shard: Vec<String>,
    granted_strangers: BTreeSet<String>,
    calls: usize,
    calls_by_operation: BTreeMap<String, usize>,
    records: Records,
    timeline: Vec<Entry>,
    #[serde(skip)]
    audit: Audit,
}

#[derive(Debug, Serialize)]
struct Grant {
    region: String,
    destination: String,
    accounts: usize,
    policy_bytes: usize,
    policy_bytes_left: usize,
}

#[derive(Debug, Serialize)]
struct Records {
    sent: u64,
    delivered: u64,
    before_enrollment: u64,
    lost_after_enrollment: u64,
    lost_by_reason: BTreeMap<String, u64>,
    duplicated: u64,
}

impl Records {
    fn of(traffic: &TrafficReport) -> Self {
        Self {
            sent: traffic.sent,
            delivered: traffic.delivered,
            before_enrollment: traffic.not_logged_before_enrollment,
            lost_after_enrollment: traffic.lost_after_enrollment,
            lost_by_reason: traffic.lost_by_reason.iter().map(|(loss, count)| (loss.to_string(), *count)).collect(),
            duplicated: traffic.duplicated,
        }
    }
}

impl Summary {
    pub(super) fn of(lab: &Lab, regions: &[String], timeline: Vec<Entry>) -> Self {
        let audit = audit(&lab.sim, regions);
        let calls = lab.sim.calls();
        let mut calls_by_operation = BTreeMap::new();
        for call in &calls {
            *calls_by_operation
                .entry(format!("{}:{}", format!("{:?}", call.service).to_lowercase(), call.operation))
                .or_default() += 1;
        }
        let grants = audit.destinations.iter().map(|it| Grant {
            region: it.region.clone(),
            destination: it.name.clone(),
            accounts: it.accounts.len(),
            policy_bytes: it.policy_bytes,
            policy_bytes_left: MAX_POLICY_BYTES.saturating_sub(it.policy_bytes),
        });
        let misassigned: Vec<String> =
            audit.misassigned().iter().map(|it| format!("{} in {}", it.account, it.region)).collect();
        let vpcs: usize = audit.account_regions.iter().map(|at| at.vpcs).sum();
        let of = |list: fn(&enroller_lab::audit::Coverage) -> &Vec<String>| -> Vec<String> {
            audit.account_regions.iter().flat_map(list).cloned().collect()
        };
        let records = Records::of(&lab.sim.traffic_report());
        let ok = audit.uncovered() == 0
            && misassigned.is_empty()
            && audit.strangers.is_empty()
            && records.lost_after_enrollment == 0
            && audit.destinations.iter().all(|it| it.policy_bytes <= MAX_POLICY_BYTES);
        Self {
            ok,
            accounts: audit.account_regions.iter().map(|at| &at.account).collect::<BTreeSet<_>>().len(),
            regions: regions.to_vec(),
            vpcs,
            covered: vpcs - audit.uncovered(),
            uncovered: of(|at| &at.uncovered),
            on_several_shards: of(|at| &at.on_several_shards),
            grants: grants.collect(),
            not_on_exactly_one_shard: misassigned,
            granted_strangers: audit.strangers.clone(),
            calls: calls.len(),
            calls_by_operation,
            records,
            timeline,
            audit,
        }
    }

    pub(super) fn print(&self, json: bool) -> anyhow::Result<()> {
        let mut out = Output::stdout();
        if json {
            out.json(self)?;
            return Ok(out.finish()?);
        }
        out.line("\nCoverage: VPCs with a flow log / all VPCs")?;
        out.line(&self.coverage_table().to_string())?;
        out.line(&format!("\nGrants: a destination policy may have up to {MAX_POLICY_BYTES} bytes"))?;
        out.line(&self.grants_table().to_string())?;
        out.line("\nAPI calls")?;
        out.line(&self.calls_table().to_string())?;
        let records = &self.records;
        out.line(&format!(
            "\nRecords: {} sent, {} delivered to the bucket, {} before enrollment, {} lost after enrollment",
            records.sent, records.delivered, records.before_enrollment, records.lost_after_enrollment
        ))?;
        for (reason, count) in &records.lost_by_reason {
            out.line(&format!("  lost: {count} because {reason}"))?;
        }
        let style = owo_colors::Style::new().bold();
        let style = if self.ok { style.green() } else { style.red() };
        out.line(&out.styled(&self.verdict(), style))?;
        Ok(out.finish()?)
    }

    fn verdict(&self) -> String {
        let grants = match self.not_on_exactly_one_shard.len() {
            0 => "every account granted on exactly one destination per Region".to_owned(),
            several => format!("{} not granted on exactly one destination", count(several, "account-Region")),
        };
        format!(
            "{}{} of {} covered in {} and {}; {grants}; {}",
            if self.ok { "" } else { "FAILED: " },
            self.covered,
            count(self.vpcs, "VPC"),
            count(self.accounts, "account"),
            count(self.regions.len(), "Region"),
            count(self.calls, "API call")
        )
    }

    fn coverage_table(&self) -> Table {
        let mut table = table(std::iter::once("account").chain(self.regions.iter().map(String::as_str)));
        let mut rows: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for at in &self.audit.account_regions {
            rows.entry(&at.account).or_default().push(format!("{}/{}", at.covered, at.vpcs));
        }
        for (account, cells) in rows.iter().take(ROWS) {
            table.add_row(std::iter::once((*account).to_owned()).chain(cells.iter().cloned()));
        }
        if rows.len() > ROWS {
            table.add_row([format!("and {}", count(rows.len() - ROWS, "more account"))]);
        }
        let total = |region: &String| {
            let here = self.audit.account_regions.iter().filter(|at| at.region == *region);
            let (covered, all) = here.fold((0, 0), |(covered, all), it| (covered + it.covered, all + it.vpcs));
            format!("{covered}/{all}")
        };
        table.add_row(std::iter::once("all".to_owned()).chain(self.regions.iter().map(total)));
        right_align(table)
    }

    fn grants_table(&self) -> Table {
        let mut table = table(["Region", "destination", "accounts", "bytes used", "bytes left"]);
        for it in &self.grants {
            let numbers = [it.accounts, it.policy_bytes, it.policy_bytes_left].map(|number| number.to_string());
            table.add_row([it.region.clone(), it.destination.clone()].into_iter().chain(numbers));
        }
        right_align(table)
    }

    fn calls_table(&self) -> Table {
        let mut table = table(["operation", "calls"]);
        for (operation, count) in &self.calls_by_operation {
            table.add_row([operation.clone(), count.to_string()]);
        }
        right_align(table)
    }
}

fn table<'a>(header: impl IntoIterator<Item = &'a str>) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_BORDERS_ONLY).set_header(header);
    table
}

/// Right-aligns every column except the first.
fn right_align(mut table: Table) -> Table {
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}
