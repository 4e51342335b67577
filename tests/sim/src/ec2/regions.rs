//! The Regions that an account sees.

use std::collections::BTreeMap;

use serde_json::Value;

use super::describe::Filter;
use super::invalid_value;
use crate::call::Call;
use crate::regions::is_opt_in;
use crate::wire::QueryAnswer;
use crate::wire::query::Params;
use crate::wire::xml::Element;
use crate::world::World;

pub(super) const DESCRIBE: &[&str] = &["RegionName.N", "AllRegions", "Filter.N.Name", "Filter.N.Value.N"];

/// EC2 model: enabled Regions, or all of the simulated AWS with `AllRegions`.
pub(super) fn describe(world: &mut World, call: &Call, params: &Params) -> QueryAnswer {
    let filters = Filter::parse(params, &["region-name", "opt-in-status", "endpoint"])?;
    let account = &call.caller.account;
    let named = params.list("RegionName");
    if let Some(unknown) = named.iter().find(|name| !world.regions.contains(**name)) {
        return Err(invalid_value(format!("Invalid value '{unknown}' for regionName.")));
    }
    let all = params.get("AllRegions") == Some("true") || !named.is_empty();
    let no_tags = BTreeMap::new();
    let mut items = Vec::new();
    for region in &world.regions {
        let enabled = world.region_enabled(account, region);
        let status = match (is_opt_in(region), enabled) {
            (false, true) => "opt-in-not-required",
            (true, true) => "opted-in",
            (_, false) => "not-opted-in",
        };
        let endpoint = format!("ec2.{region}.amazonaws.com");
        let attribute = |name: &str| match name {
            "region-name" => Some(region.clone()),
            "opt-in-status" => Some(status.to_owned()),
            "endpoint" => Some(endpoint.clone()),
            _ => None,
        };
        let wanted = named.is_empty() || named.contains(&region.as_str());
        if wanted && (all || enabled) && filters.iter().all(|filter| filter.passes(&no_tags, attribute)) {
            items.push(vec![
                Element::text("regionName", region.as_str()),
                Element::text("regionEndpoint", endpoint.as_str()),
                Element::text("optInStatus", status),
            ]);
        }
    }
    Ok((vec![Element::set("regionInfo", items)], Value::Null))
}
