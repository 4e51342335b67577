//! VPCs.

use serde_json::{Value, json};

use super::describe::{Filter, Page, tag_set};
use super::{Vpc, done, invalid_value, missing, no_such_vpc, tags};
use crate::call::{ApiError, Call};
use crate::wire::QueryAnswer;
use crate::wire::query::Params;
use crate::wire::xml::Element;
use crate::world::World;

pub(super) const DESCRIBE: &[&str] = &["VpcId.N", "Filter.N.Name", "Filter.N.Value.N", "MaxResults", "NextToken"];
pub(super) const CREATE: &[&str] = &[
    "CidrBlock",
    "InstanceTenancy",
    "AmazonProvidedIpv6CidrBlock",
    "TagSpecification.N.ResourceType",
    "TagSpecification.N.Tag.N.Key",
    "TagSpecification.N.Tag.N.Value",
];

/// The account's own VPCs and those shared into it, the latter without tags (VPC user guide, "Share your VPC").
pub(super) fn describe(world: &mut World, call: &Call, params: &Params) -> QueryAnswer {
    let filters = Filter::parse(params, &["owner-id", "vpc-id", "is-default", "state", "cidr"])?;
    let ids = params.list("VpcId");
    if !ids.is_empty() && params.get("MaxResults").is_some() {
        // EC2 developer guide, "Pagination": ids and MaxResults exclude each other.
        let message = "The parameter vpcIds cannot be used with the parameter maxResults";
        return Err(ApiError::new(400, "InvalidParameterCombination", message));
    }
    let page = Page::parse(params, 5)?;
    let account = call.caller.account.as_str();
    let ec2 = &world.ec2;
    let mut seen: Vec<&Vpc> = ec2.vpcs(account, &call.region).chain(ec2.shared_vpcs(account, &call.region)).collect();
    if let Some(unknown) = ids.iter().find(|id| !seen.iter().any(|vpc| vpc.id == **id)) {
        return Err(no_such_vpc(unknown));
    }
    seen.retain(|vpc| {
        (ids.is_empty() || ids.contains(&vpc.id.as_str())) && filters.iter().all(|filter| passes(filter, vpc, account))
    });
    seen.sort_unstable_by(|one, other| one.id.cmp(&other.id));
    let (page, token) = page.cut(seen, |vpc| &vpc.id);
    let set = Element::set("vpcSet", page.into_iter().map(|vpc| members(vpc, account)));
    Ok((std::iter::once(set).chain(token).collect(), Value::Null))
}

fn passes(filter: &Filter<'_>, vpc: &Vpc, viewer: &str) -> bool {
    let no_tags = std::collections::BTreeMap::new();
    let tags = if vpc.owner == viewer { &vpc.tags } else { &no_tags };
    filter.passes(tags, |name| match name {
        "owner-id" => Some(vpc.owner.clone()),
        "vpc-id" => Some(vpc.id.clone()),
        "is-default" => Some(vpc.is_default.to_string()),
        "state" => Some("available".to_owned()),
        "cidr" => Some(vpc.cidr.clone()),
        _ => None,
    })
}

fn members(vpc: &Vpc, viewer: &str) -> Vec<Element> {
    // Ids of parts that are not simulated are those of the VPC, so that they are stable and unique.
    let digits = vpc.id.trim_start_matches("vpc-");
    let association = vec![
        Element::text("associationId", format!("vpc-cidr-assoc-{digits}")),
        Element::text("cidrBlock", vpc.cidr.as_str()),
        Element::of("cidrBlockState", vec![Element::text("state", "associated")]),
    ];
    let mut members = vec![
        Element::text("vpcId", vpc.id.as_str()),
        Element::text("ownerId", vpc.owner.as_str()),
        Element::text("state", "available"),
        Element::text("cidrBlock", vpc.cidr.as_str()),
        Element::set("cidrBlockAssociationSet", [association]),
        Element::text("dhcpOptionsId", format!("dopt-{digits}")),
        Element::text("instanceTenancy", vpc.tenancy.as_str()),
        Element::text("isDefault", vpc.is_default.to_string()),
    ];
    if vpc.owner == viewer && !vpc.tags.is_empty() {
        members.push(tag_set(&vpc.tags));
    }
    members
}

pub(super) fn create(world: &mut World, call: &Call, params: &Params) -> QueryAnswer {
    let cidr = params.get("CidrBlock").ok_or_else(|| missing("cidrBlock"))?;
    check_cidr(cidr)?;
    let tags = tags::of_specification(params, "vpc")?;
    let tenancy = params.get("InstanceTenancy").unwrap_or("default");
    if !["default", "dedicated"].contains(&tenancy) {
        return Err(invalid_value(format!("Value ({tenancy}) for parameter instanceTenancy is invalid.")));
    }
    if params.get("AmazonProvidedIpv6CidrBlock") == Some("true") {
        return Err(ApiError::unknown_parameter("AmazonProvidedIpv6CidrBlock=true", &call.operation));
    }
    check_quota(world, call)?;
    let (account, region) = (call.caller.account.as_str(), call.region.as_str());
    let id = world.put_vpc(account, region, cidr, false);
    let state = world.ec2.region_mut(account, region);
    let vpc = state.vpcs.get_mut(&id).ok_or_else(|| no_such_vpc(&id))?;
    vpc.tags = tags;
    vpc.tenancy = tenancy.to_owned();
    Ok(created(vpc))
}

/// EC2 developer guide, "Error codes": DefaultVpcAlreadyExists. VPC user guide: a default VPC has 172.31.0.0/16.
pub(super) fn create_default(world: &mut World, call: &Call, _params: &Params) -> QueryAnswer {
    let (account, region) = (call.caller.account.as_str(), call.region.as_str());
    if let Some(existing) = world.ec2.vpcs(account, region).find(|vpc| vpc.is_default) {
        let message = format!("A Default VPC already exists for this account in this region: {}.", existing.id);
        return Err(ApiError::new(400, "DefaultVpcAlreadyExists", message));
    }
    check_quota(world, call)?;
    let id = world.put_vpc(account, region, "172.31.0.0/16", true);
    world.ec2.vpc(account, region, &id).map(created).ok_or_else(|| no_such_vpc(&id))
}

fn created(vpc: &Vpc) -> (Vec<Element>, Value) {
    let facts = json!({
        "vpcId": vpc.id, "cidrBlock": vpc.cidr, "isDefault": vpc.is_default, "ownerId": vpc.owner, "tags": vpc.tags,
    });
    (vec![Element::of("vpc", members(vpc, &vpc.owner))], facts)
}

/// EC2 developer guide, "Error codes": VpcLimitExceeded.
fn check_quota(world: &World, call: &Call) -> Result<(), ApiError> {
    let count = world.ec2.vpcs(&call.caller.account, &call.region).count();
    if count < world.settings.vpcs_per_region {
        return Ok(());
    }
    Err(ApiError::new(400, "VpcLimitExceeded", "The maximum number of VPCs has been reached."))
}

/// EC2 API reference, CreateVpc: a block of /28 to /16; "Error codes": InvalidVpc.Range.
fn check_cidr(cidr: &str) -> Result<(), ApiError> {
    let parsed = cidr
        .split_once('/')
        .and_then(|(address, bits)| Some((address.parse::<std::net::Ipv4Addr>().ok()?, bits.parse::<u32>().ok()?)));
    match parsed {
        Some((_, 16..=28)) => Ok(()),
        Some((_, 0..=32)) => Err(ApiError::new(400, "InvalidVpc.Range", format!("The CIDR '{cidr}' is invalid."))),
        Some(_) | None => Err(invalid_value(format!(
            "Value ({cidr}) for parameter cidrBlock is invalid. This is not a valid CIDR block."
        ))),
    }
}

/// Deletes the VPC and with it its flow logs: they do not block the deletion; whether AWS lists them afterwards is
/// UNVERIFIED.
pub(super) fn delete(world: &mut World, call: &Call, params: &Params) -> QueryAnswer {
    let id = params.get("VpcId").ok_or_else(|| missing("vpcId"))?;
    let state = world.ec2.region_mut(&call.caller.account, &call.region);
    state.vpcs.remove(id).ok_or_else(|| no_such_vpc(id))?;
    state.stopping.retain(|(flow_log, _)| flow_log.resource_id != id);
    for flow_log in state.by_resource.remove(id).unwrap_or_default() {
        state.flow_logs.remove(&flow_log);
    }
    let (answer, _) = done();
    Ok((answer, json!({ "vpcId": id })))
}
