//! The report as one HTML page that opens from disk and makes no network requests.
//!
//! Account names, tags and AWS's messages are untrusted text. The page holds them as JSON in an element that browsers do
//! not run, and its script inserts them into the document only as text.

use std::collections::{BTreeMap, BTreeSet};

use enroller_core::coverage::{CoverageReport, Status};
use enroller_core::ids::{AccountId, ParentId, Region};
use serde::Serialize;

use crate::about::About;

const PAGE: &str = include_str!("page/page.html");
const STYLE: &str = include_str!("page/page.css");

/// The parts of the page's one script, in order: data and filters, charts, table, event handlers.
const SCRIPTS: [&str; 4] = [
    include_str!("page/model.js"),
    include_str!("page/summary.js"),
    include_str!("page/table.js"),
    include_str!("page/page.js"),
];

/// The whole page, with the report in it.
///
/// # Errors
///
/// Serialization fails only for maps whose keys are not strings, and the report has none.
pub(crate) fn render(about: &About, report: &CoverageReport) -> Result<String, serde_json::Error> {
    let data = embeddable(&serde_json::to_string(&PageData::of(about, report))?);
    let page = PAGE.replacen("/*STYLE*/", STYLE, 1).replacen("/*SCRIPT*/", &SCRIPTS.concat(), 1);
    // The data is inserted after these, so that nothing in it is taken for a placeholder. The title stands before it.
    Ok(page.replacen("/*DATA*/", &data, 1).replacen("<title></title>", &title(about, report), 1))
}

/// The title, which also stands in tabs and lists of files, where nobody sees the banner.
fn title(about: &About, report: &CoverageReport) -> String {
    let words: String = about.warnings().map(|word| format!("{word}: ")).collect();
    let part = about.scope.title().map(|part| format!(": only {part}")).unwrap_or_default();
    let text = format!("{words}VPC Flow Logs coverage of {}{part}", report.organization);
    format!("<title>{}</title>", text.replace('&', "&amp;").replace('<', "&lt;"))
}

/// JSON that is safe inside a script element. The escaped characters occur only in JSON strings, where the escape means
/// the same. Without `<`, nothing ends the element or opens a comment. Old scripts take U+2028 and U+2029 for line ends.
fn embeddable(json: &str) -> String {
    json.replace('<', "\\u003c").replace('\u{2028}', "\\u2028").replace('\u{2029}', "\\u2029")
}

/// The report with each repeated text stored once, which makes the page of a large organization several times smaller.
#[derive(Serialize)]
struct PageData<'a> {
    about: &'a About,
    /// The lines that tell people what the report is about.
    about_lines: Vec<String>,
    /// The selected part; absent if the report is about the whole organization.
    part: Option<String>,
    organization: &'a str,
    generated_at: &'a str,
    coverage_percent: Option<f64>,
    account_regions: usize,
    empty_account_regions: usize,
    surveyed_accounts: usize,
    regions: Vec<&'a str>,
    statuses: [StatusData; Status::ALL.len()],
    units: Vec<UnitData<'a>>,
    accounts: Vec<AccountData<'a>>,
    texts: Vec<&'a str>,
    rows: Vec<RowData<'a>>,
}

#[derive(Serialize)]
struct StatusData {
    id: &'static str,
    title: &'static str,
    meaning: &'static str,
    problem: bool,
}

#[derive(Serialize)]
struct UnitData<'a> {
    id: &'a str,
    name: &'a str,
}

#[derive(Serialize)]
struct AccountData<'a> {
    id: String,
    name: &'a str,
    /// Indexes of units, outermost first.
    units: Vec<usize>,
}

/// Account, Region, VPC, name, status, reason, flow log, destination, next step. Numbers are indexes into the lists of
/// [`PageData`], and -1 means none.
#[derive(Serialize)]
struct RowData<'a>(usize, isize, &'a str, &'a str, usize, usize, &'a str, usize, usize);

impl<'a> PageData<'a> {
    fn of(about: &'a About, report: &'a CoverageReport) -> Self {
        let units: Positions<&ParentId> = report.rows.iter().flat_map(|row| &row.units).collect();
        let regions: Positions<&Region> =
            report.regions.iter().chain(report.rows.iter().filter_map(|row| row.region.as_ref())).collect();
        let accounts: Positions<AccountId> = report.rows.iter().map(|row| row.account).collect();
        let mut texts = Texts::default();
        let by_account: BTreeMap<_, _> = report.rows.iter().map(|row| (row.account, row)).collect();
        Self {
            about,
            about_lines: about.lines(),
            part: about.scope.title(),
            organization: report.organization.as_str(),
            generated_at: &report.generated_at,
            coverage_percent: report.coverage_percent(),
            account_regions: report.account_regions,
            empty_account_regions: report.empty_account_regions,
            surveyed_accounts: report.accounts,
            statuses: Status::ALL.map(StatusData::of),
            accounts: by_account
                .iter()
                .map(|(id, row)| AccountData {
                    id: id.to_string(),
                    name: &row.account_name,
                    units: row.units.iter().map(|unit| units.of(&unit)).collect(),
                })
                .collect(),
            rows: report
                .rows
                .iter()
                .map(|row| {
                    RowData(
                        accounts.of(&row.account),
                        row.region.as_ref().map_or(-1, |region| regions.of(&region).cast_signed()),
                        row.vpc.as_ref().map_or("", |vpc| vpc.as_str()),
                        &row.name,
                        row.status as usize,
                        texts.index(&row.reason),
                        row.flow_log.as_ref().map_or("", |log| log.as_str()),
                        texts.index(row.destination.as_ref().map_or("", |name| name.as_str())),
                        texts.index(&row.next_step),
                    )
                })
                .collect(),
            units: units.0.keys().map(|unit| UnitData::of(unit, report)).collect(),
            regions: regions.0.keys().map(|region| region.as_str()).collect(),
            texts: texts.list,
        }
    }
}

impl StatusData {
    fn of(status: Status) -> Self {
        let (id, title, meaning) = (status.as_str(), status.title(), status.meaning());
        Self { id, title, meaning, problem: status.is_problem() }
    }
}

impl<'a> UnitData<'a> {
    fn of(unit: &'a ParentId, report: &'a CoverageReport) -> Self {
        Self { id: unit.as_str(), name: report.unit_names.get(unit).map_or("", String::as_str) }
    }
}

/// The position of each value in the sorted list of all values.
struct Positions<T>(BTreeMap<T, usize>);

impl<T: Ord> Positions<T> {
    fn of(&self, thing: &T) -> usize {
        self.0.get(thing).copied().unwrap_or_default()
    }
}

impl<T: Ord> FromIterator<T> for Positions<T> {
    fn from_iter<I: IntoIterator<Item = T>>(things: I) -> Self {
        let sorted: BTreeSet<T> = things.into_iter().collect();
        Self(sorted.into_iter().zip(0..).collect())
    }
}

/// Distinct texts, in the order in which they first occurred.
#[derive(Default)]
struct Texts<'a> {
    list: Vec<&'a str>,
    positions: BTreeMap<&'a str, usize>,
}

impl<'a> Texts<'a> {
    fn index(&mut self, text: &'a str) -> usize {
        *self.positions.entry(text).or_insert_with(|| {
            self.list.push(text);
            self.list.len() - 1
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{about, report, row};
    use super::*;

    fn data_of(page: &str) -> serde_json::Value {
        let (_, rest) = page.split_once("<script type=\"application/json\" id=\"data\">").unwrap();
        let (json, _) = rest.split_once("</script>").unwrap();
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn hostile_texts_arrive_unchanged_and_end_no_element() {
        let name = "</script><script>alert(1)</script><!-- \u{2028}\u{2029}\"' /*DATA*/ /*SCRIPT*/";
        let mut hostile = row(1, Status::Broken);
        hostile.account_name = name.to_owned();
        let page = render(&about(), &report(vec![hostile])).unwrap();
        assert_eq!(data_of(&page)["accounts"][0]["name"], name);
        assert_eq!(page.matches("</script>").count(), 2, "one of the data, one of the script");
        assert_eq!(page.matches("<script").count(), 2);
        assert!(!page.contains("<!--") && !page.contains('\u{2028}') && !page.contains('\u{2029}'));
    }

    #[test]
    fn the_title_says_what_the_report_is_not() {
        let title = |about: &About| {
            let page = render(about, &report(Vec::new())).unwrap();
            page.split_once("<title>").unwrap().1.split_once("</title>").unwrap().0.to_owned()
        };
        let mut about = about();
        assert_eq!(title(&about), "VPC Flow Logs coverage of o-exampleorg1");
        about.simulated = true;
        assert_eq!(title(&about), "SIMULATED: VPC Flow Logs coverage of o-exampleorg1");
        about.scope.complete = false;
        let both = title(&about);
        assert!(both.starts_with("SIMULATED: PARTIAL: VPC Flow Logs coverage of o-exampleorg1: only "), "{both}");
    }

    #[test]
    fn the_page_makes_no_network_requests() {
        let page = render(&about(), &report(vec![row(1, Status::Covered)])).unwrap();
        assert!(page.contains("default-src 'none'"));
        for request in ["http://", "https://", "src=", "url(", "@import", "innerHTML", "<link", "fetch("] {
            assert!(!page.contains(request), "{request}");
        }
    }

    #[test]
    fn every_placeholder_is_filled_once() {
        for at in ["/*STYLE*/", "/*SCRIPT*/", "/*DATA*/"] {
            assert_eq!(PAGE.matches(at).count(), 1, "{at}");
        }
        let page = render(&about(), &report(Vec::new())).unwrap();
        assert!(!page.contains("/*DATA*/") && !page.contains("/*STYLE*/") && !page.contains("/*SCRIPT*/"));
    }

    #[test]
    fn a_row_refers_to_its_account_region_status_and_texts() {
        let mut second = row(2, Status::NotCovered);
        second.reason = "It has no flow log.".to_owned();
        let data = data_of(&render(&about(), &report(vec![row(1, Status::Covered), second])).unwrap());
        let cells = &data["rows"][1];
        let index = |at: usize| usize::try_from(cells[at].as_u64().unwrap()).unwrap();
        assert_eq!(data["accounts"][index(0)]["id"], "000000000002");
        assert_eq!(data["regions"][index(1)], "eu-west-1");
        assert_eq!(cells[2], "vpc-00000002");
        assert_eq!(data["statuses"][index(4)]["id"], "not-covered");
        assert_eq!(data["texts"][index(5)], "It has no flow log.");
    }

    #[test]
    fn statuses_are_listed_in_the_order_of_their_discriminants() {
        for (position, status) in Status::ALL.into_iter().enumerate() {
            assert_eq!(status as usize, position);
        }
    }
}
