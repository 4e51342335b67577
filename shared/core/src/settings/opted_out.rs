//! The VPCs that the central account has decided to leave alone. Each entry names who answers for it, and its last day.

use std::collections::BTreeMap;

use crate::ids::VpcId;
use crate::time::milliseconds;

use super::Settings;

const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

/// The longest owner of an entry, in characters.
const MAX_OWNER: usize = 64;

const EXPECTED: &str =
    "VPC:LAST-DAY:OWNER, separated by commas, such as vpc-0123456789abcdef0:2027-03-31:jane@example.com";

/// The decision of the central account to leave a VPC alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OptOut {
    /// Who answers for the decision: a person or a team.
    pub owner: String,
    /// The last day on which it holds, in UTC, as `YYYY-MM-DD`.
    pub last_day: String,
    /// When it ends, in epoch milliseconds.
    ends_ms: u64,
}

impl OptOut {
    /// Whether it holds no longer. The VPC is then enrolled like any other.
    pub const fn has_expired(&self, now_ms: u64) -> bool {
        now_ms >= self.ends_ms
    }
}

impl Settings {
    /// The entries of `opted_out_vpcs` that hold no longer. They opt nothing out, and somebody has to renew or remove them.
    pub fn expired_opt_outs(&self, now_ms: u64) -> impl Iterator<Item = (&VpcId, &OptOut)> {
        self.opted_out_vpcs.iter().filter(move |(_, entry)| entry.has_expired(now_ms))
    }
}

/// Reads the list. Whether an entry has expired is not judged here: a function must not stop on the day after.
pub(super) fn read(text: &str) -> Result<BTreeMap<VpcId, OptOut>, String> {
    let mut entries = BTreeMap::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (vpc, entry) = entry(part).ok_or_else(|| format!("{EXPECTED}, not {part:?}"))?;
        if entries.insert(vpc.clone(), entry).is_some() {
            return Err(format!("each VPC once, not {vpc} again"));
        }
    }
    Ok(entries)
}

fn entry(text: &str) -> Option<(VpcId, OptOut)> {
    let mut parts = text.splitn(3, ':').map(str::trim);
    let (vpc, last_day, owner) = (parts.next()?.parse().ok()?, parts.next()?, parts.next()?);
    let length = owner.chars().count();
    if !(1..=MAX_OWNER).contains(&length) || owner.contains(char::is_control) || last_day.len() != "YYYY-MM-DD".len() {
        return None;
    }
    let ends_ms = milliseconds(&format!("{last_day}T00:00:00Z"))? + DAY_MS;
    Some((vpc, OptOut { owner: owner.to_owned(), last_day: last_day.to_owned(), ends_ms }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::tests::with;

    #[test]
    fn an_entry_has_a_vpc_a_last_day_and_an_owner() {
        let list = "vpc-0123456789abcdef0:2027-03-31:jane@example.com, vpc-00000002 : 2028-02-29 : team: network";
        let entries = with(&[("opted_out_vpcs", list)]).unwrap().opted_out_vpcs;
        let read: Vec<(&str, &str, &str)> =
            entries.iter().map(|(vpc, it)| (vpc.as_str(), &*it.last_day, &*it.owner)).collect();
        assert_eq!(
            read,
            [
                ("vpc-00000002", "2028-02-29", "team: network"),
                ("vpc-0123456789abcdef0", "2027-03-31", "jane@example.com")
            ]
        );
    }

    #[test]
    fn an_entry_without_an_owner_or_a_real_day_is_refused() {
        let long = format!("vpc-00000001:2027-03-31:{}", "x".repeat(65));
        for list in [
            "vpc-00000001",
            "vpc-00000001:2027-03-31",
            "vpc-00000001:2027-03-31:",
            "vpc-00000001:2027-02-30:jane",
            "vpc-00000001:31.03.2027:jane",
            "vpc-00000001:2027-03-31T00:00:00Z:jane",
            "vpc-1:2027-03-31:jane",
            "subnet-00000001:2027-03-31:jane",
            "vpc-00000001:2027-03-31:jane\u{7}",
            "vpc-00000001:never:jane",
            &long,
            "vpc-00000001:2027-03-31:jane,vpc-00000001:2027-03-31:joe",
        ] {
            let problems = with(&[("opted_out_vpcs", list)]).unwrap_err().0;
            assert_eq!(problems.iter().map(|problem| problem.key).collect::<Vec<_>>(), ["opted_out_vpcs"], "{list}");
        }
    }

    #[test]
    fn an_entry_holds_until_the_end_of_its_last_day_in_utc() {
        let settings = with(&[("opted_out_vpcs", "vpc-00000001:2027-03-31:jane")]).unwrap();
        let first_of_april = milliseconds("2027-04-01T00:00:00Z").unwrap();
        assert_eq!(settings.expired_opt_outs(first_of_april - 1).count(), 0);
        assert_eq!(settings.expired_opt_outs(first_of_april).count(), 1);
    }
}
