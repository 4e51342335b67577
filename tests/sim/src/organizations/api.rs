//! Organizations' read operations, and RemoveAccountFromOrganization (Organizations API reference and model).

use serde_json::{Value, json};

use super::{Member, OrganizationState};
use crate::account_lifecycle::LifecycleError;
use crate::call::{ApiError, Call};
use crate::lag;
use crate::wire::json::only;
use crate::world::World;

/// Model, MaxResults: 1 to 20, and 20 when it is not given.
const MOST: usize = 20;

pub(crate) fn handle(world: &mut World, call: &Call, input: &Value) -> Result<Value, ApiError> {
    let operation = call.operation.as_str();
    let known: &[&str] = match operation {
        "DescribeOrganization" => &[],
        "ListAccounts" | "ListRoots" | "ListDelegatedAdministrators" => &["NextToken", "MaxResults"],
        "DescribeAccount" | "RemoveAccountFromOrganization" => &["AccountId"],
        "DescribeOrganizationalUnit" => &["OrganizationalUnitId"],
        "ListParents" => &["ChildId", "NextToken", "MaxResults"],
        "ListOrganizationalUnitsForParent" | "ListAccountsForParent" => &["ParentId", "NextToken", "MaxResults"],
        "ListChildren" => &["ParentId", "ChildType", "NextToken", "MaxResults"],
        unknown => return Err(ApiError::unknown_operation(unknown)),
    };
    only(input, operation, known)?;
    check_caller(world, call)?;
    if operation == "ListAccounts" && !world.is_real_time() {
        world.advance_clock(world.settings.listing_page_ms);
    }
    if operation == "RemoveAccountFromOrganization" {
        return remove_account(world, call, input);
    }
    let seen_at_ms = lag::seen_at_ms(world);
    let organization = &world.organization;
    match operation {
        "DescribeOrganization" => Ok(describe_organization(world)),
        "DescribeAccount" => describe_account(world, input, seen_at_ms),
        "DescribeOrganizationalUnit" => describe_unit(world, input),
        "ListAccounts" => {
            let mut listed = organization.members_at(world.now_ms().saturating_sub(world.settings.listing_lag_ms));
            listed.retain(|id, _| world.accounts.contains_key(id));
            let ids = listed.keys().map(String::as_str);
            page(world, input, "Accounts", ids, |id| account(world, id, listed.get(id)))
        }
        "ListAccountsForParent" => {
            let parent = parent(organization, input)?;
            let ids = children(organization, parent);
            page(world, input, "Accounts", ids, |id| account(world, id, organization.member(id)))
        }
        "ListOrganizationalUnitsForParent" => {
            let parent = parent(organization, input)?;
            page(world, input, "OrganizationalUnits", unit_children(organization, parent), |id| unit(world, id))
        }
        "ListChildren" => list_children(world, input),
        "ListParents" => list_parents(world, input),
        "ListRoots" => page(world, input, "Roots", std::iter::once(organization.root.as_str()), |id| root(world, id)),
        "ListDelegatedAdministrators" => {
            let ids = organization.delegated.iter().map(String::as_str);
            page(world, input, "DelegatedAdministrators", ids, |id| delegated_administrator(world, id))
        }
        unknown => Err(ApiError::unknown_operation(unknown)),
    }
}

/// Organizations user guide, "Delegated administrator for AWS Organizations": reads are for the management account and
/// for delegated administrators of any service. Model: AWSOrganizationsNotInUseException; DescribeOrganization can be
/// called from any account of the organization.
fn check_caller(world: &World, call: &Call) -> Result<(), ApiError> {
    let (organization, account) = (&world.organization, call.caller.account.as_str());
    if !organization.is_member(account) {
        let message = "Your account is not a member of an organization.";
        return Err(ApiError::new(400, "AWSOrganizationsNotInUseException", message));
    }
    let may = account == organization.management
        || organization.is_delegated_administrator(account)
        || call.operation == "DescribeOrganization";
    if may {
        return Ok(());
    }
    let message = "You don't have permissions to access this resource.";
    Err(ApiError::new(400, "AccessDeniedException", message))
}

/// Organizations API reference: only the management account can call it.
fn remove_account(world: &mut World, call: &Call, input: &Value) -> Result<Value, ApiError> {
    if call.caller.account != world.organization.management {
        let message = "You don't have permissions to access this resource.";
        return Err(ApiError::new(400, "AccessDeniedException", message));
    }
    let account = input["AccountId"].as_str().unwrap_or_default();
    match world.remove(account) {
        Ok(()) => Ok(json!({})),
        Err(LifecycleError::Management(_)) => Err(ApiError::new(
            400,
            "MasterCannotLeaveOrganizationException",
            "The management account can't be removed from its organization.",
        )),
        Err(error) => Err(ApiError::new(400, "AccountNotFoundException", error.to_string())),
    }
}

/// Model: InvalidInputException. Which message AWS sends with it is UNVERIFIED.
fn invalid(message: impl Into<String>) -> ApiError {
    ApiError::new(400, "InvalidInputException", message)
}

/// One page of the ids, in their order, each turned into its JSON by `show`.
fn page<'a>(
    world: &World,
    input: &Value,
    member: &str,
    ids: impl Iterator<Item = &'a str>,
    show: impl Fn(&str) -> Value,
) -> Result<Value, ApiError> {
    let most = match &input["MaxResults"] {
        Value::Null => MOST,
        given => {
            let number = given.as_u64().and_then(|number| usize::try_from(number).ok());
            number.filter(|number| (1..=MOST).contains(number)).ok_or_else(|| {
                invalid(format!("You specified an invalid value for MaxResults: {given}. It must be 1 to {MOST}."))
            })?
        }
    };
    let token = input["NextToken"].as_str();
    let (after, ended) = match token.map(|token| (token.strip_prefix("after-"), token.strip_prefix("empty-after-"))) {
        None => ("", false),
        Some((_, Some(after))) => (after, true),
        Some((Some(after), None)) => (after, false),
        Some((None, None)) => return Err(invalid("You provided a value that's not valid for NextToken.")),
    };
    if world.settings.empty_pages && !ended {
        // Organizations API reference, ListAccounts: a page may be empty although more results follow.
        return Ok(json!({ member: [], "NextToken": format!("empty-after-{after}") }));
    }
    let mut ids: Vec<&str> = ids.filter(|id| *id > after).take(most + 1).collect();
    let more = ids.len() > most;
    ids.truncate(most);
    let mut output = json!({ member: ids.iter().map(|id| show(id)).collect::<Vec<_>>() });
    if let (true, Some(last)) = (more, ids.last()) {
        output["NextToken"] = json!(format!("after-{last}"));
    }
    Ok(output)
}

fn describe_organization(world: &World) -> Value {
    let organization = &world.organization;
    let management = &organization.management;
    let arn = format!("arn:aws:organizations::{management}");
    json!({ "Organization": {
        "Id": organization.id,
        "Arn": format!("{arn}:organization/{}", organization.id),
        "FeatureSet": "ALL",
        "MasterAccountId": management,
        "MasterAccountArn": format!("{arn}:account/{}/{management}", organization.id),
        "MasterAccountEmail": world.accounts.get(management).map(|account| account.email.clone()),
        "AvailablePolicyTypes": [],
    }})
}

fn describe_account(world: &World, input: &Value, seen_at_ms: u64) -> Result<Value, ApiError> {
    let id = input["AccountId"].as_str().unwrap_or_default();
    if id.len() != 12 || !id.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(invalid("You provided a value that does not match the required pattern: ^\\d{12}$"));
    }
    let seen = world.organization.member_at(id, seen_at_ms);
    let member = seen.as_ref();
    if member.is_none() {
        // Model: AccountNotFoundException.
        let message = "You specified an account that doesn't exist.";
        return Err(ApiError::new(400, "AccountNotFoundException", message));
    }
    Ok(json!({ "Account": account(world, id, member) }))
}

fn describe_unit(world: &World, input: &Value) -> Result<Value, ApiError> {
    let id = input["OrganizationalUnitId"].as_str().unwrap_or_default();
    if world.organization.units.contains_key(id) {
        return Ok(json!({ "OrganizationalUnit": unit(world, id) }));
    }
    // Model: OrganizationalUnitNotFoundException.
    let message = "You specified an organizational unit that doesn't exist.";
    Err(ApiError::new(400, "OrganizationalUnitNotFoundException", message))
}

fn list_children(world: &World, input: &Value) -> Result<Value, ApiError> {
    let organization = &world.organization;
    let parent = parent(organization, input)?;
    let show = |id: &str| json!({ "Id": id, "Type": input["ChildType"] });
    match input["ChildType"].as_str() {
        Some("ACCOUNT") => page(world, input, "Children", children(organization, parent), show),
        Some("ORGANIZATIONAL_UNIT") => page(world, input, "Children", unit_children(organization, parent), show),
        Some(_) | None => Err(invalid("You specified an invalid ChildType.")),
    }
}

fn list_parents(world: &World, input: &Value) -> Result<Value, ApiError> {
    let organization = &world.organization;
    let child = input["ChildId"].as_str().unwrap_or_default();
    let of_account = organization.members.get(child).map(|member| &member.parent);
    let parent = of_account.or_else(|| organization.units.get(child).map(|unit| &unit.parent)).ok_or_else(|| {
        // Model: ChildNotFoundException.
        let message = "We can't find an organizational unit (OU) or AWS account with the ChildId that you specified.";
        ApiError::new(400, "ChildNotFoundException", message)
    })?;
    let kind = if *parent == organization.root { "ROOT" } else { "ORGANIZATIONAL_UNIT" };
    page(world, input, "Parents", std::iter::once(parent.as_str()), |id| json!({ "Id": id, "Type": kind }))
}

fn parent<'a>(organization: &OrganizationState, input: &'a Value) -> Result<&'a str, ApiError> {
    let id = input["ParentId"].as_str().unwrap_or_default();
    if organization.is_parent(id) {
        return Ok(id);
    }
    // Model: ParentNotFoundException.
    let message = "We can't find a root or OU with the ParentId that you specified.";
    Err(ApiError::new(400, "ParentNotFoundException", message))
}

fn children<'a>(organization: &'a OrganizationState, parent: &'a str) -> impl Iterator<Item = &'a str> {
    let of_parent = move |(_, member): &(&String, &Member)| member.parent == parent;
    organization.members.iter().filter(of_parent).map(|(id, _)| id.as_str())
}

fn unit_children<'a>(organization: &'a OrganizationState, parent: &'a str) -> impl Iterator<Item = &'a str> {
    organization.units.iter().filter(move |(_, unit)| unit.parent == parent).map(|(id, _)| id.as_str())
}

/// Model, Account. `Status` was retired on 9 September 2026 and is not sent.
fn account(world: &World, id: &str, member: Option<&Member>) -> Value {
    let organization = &world.organization;
    let (Some(member), Some(account)) = (member, world.accounts.get(id)) else {
        return Value::Null;
    };
    let mut shown = json!({
        "Id": id,
        "Arn": format!("arn:aws:organizations::{}:account/{}/{id}", organization.management, organization.id),
        "Email": account.email,
        "Name": account.name,
        "State": member.state.name(),
        "JoinedMethod": member.joined.name(),
        "JoinedTimestamp": epoch_seconds(member.joined_ms),
    });
    if world.settings.account_paths {
        shown["Paths"] = json!([format!("{}{id}/", member.path)]);
    }
    shown
}

fn delegated_administrator(world: &World, id: &str) -> Value {
    let mut shown = account(world, id, world.organization.member(id));
    if let Some(members) = shown.as_object_mut() {
        members.remove("Paths");
        let enabled = members.get("JoinedTimestamp").cloned().unwrap_or_default();
        members.insert("DelegationEnabledDate".to_owned(), enabled);
    }
    shown
}

fn unit(world: &World, id: &str) -> Value {
    let organization = &world.organization;
    let name = organization.units.get(id).map(|unit| unit.name.as_str());
    let mut shown = json!({
        "Id": id,
        "Arn": format!("arn:aws:organizations::{}:ou/{}/{id}", organization.management, organization.id),
        "Name": name,
    });
    if world.settings.account_paths {
        shown["Path"] = json!(organization.path_of_parent(id));
    }
    shown
}

fn root(world: &World, id: &str) -> Value {
    let organization = &world.organization;
    let arn = format!("arn:aws:organizations::{}:root/{}/{id}", organization.management, organization.id);
    json!({ "Id": id, "Arn": arn, "Name": "Root", "PolicyTypes": [] })
}

/// AWS JSON protocol: timestamps are epoch seconds with a fraction.
fn epoch_seconds(ms: u64) -> Value {
    serde_json::from_str(&format!("{}.{:03}", ms / 1000, ms % 1000)).unwrap_or_default()
}
