//! The reading operations of CloudTrail (API reference and model): one trail of the whole organization and all Regions,
//! as the management account would create it. [`crate::events::EventsState::set_trail`] stops it in one account and
//! Region.

use serde_json::{Value, json};

use crate::call::{ApiError, Call};
use crate::json_input::Input;
use crate::regions::GLOBAL_REGION;
use crate::world::World;

const NAME: &str = "organization-trail";

pub(crate) fn handle(world: &World, call: &Call, input: &Value) -> Result<Value, ApiError> {
    match call.operation.as_str() {
        "DescribeTrails" => describe(world, call, &Input::of(call, input, &["trailNameList", "includeShadowTrails"])?),
        "GetTrailStatus" => status(world, call, &Input::of(call, input, &["Name"])?),
        other => Err(ApiError::unknown_operation(other)),
    }
}

/// Members see the trail of their organization, other accounts see none (CloudTrail user guide, "Creating a trail for
/// an organization").
fn trail_of(world: &World, call: &Call) -> Option<String> {
    let management = world.organization.management();
    let sees = world.organization.is_member(&call.caller.account) || call.caller.account == management;
    sees.then(|| format!("arn:aws:cloudtrail:{GLOBAL_REGION}:{management}:trail/{NAME}"))
}

fn describe(world: &World, call: &Call, input: &Input<'_>) -> Result<Value, ApiError> {
    let wanted = input.texts("trailNameList")?;
    // In other Regions than its own a trail is a shadow trail, shown unless it is not asked for.
    let shown = call.region == GLOBAL_REGION || input.flag("includeShadowTrails")?.unwrap_or(true);
    let trails = trail_of(world, call).filter(|arn| shown && (wanted.is_empty() || wanted.contains(&arn.as_str())));
    let show = |arn: String| {
        json!({
            "Name": NAME,
            "TrailARN": arn,
            "HomeRegion": GLOBAL_REGION,
            "S3BucketName": "organization-trail",
            "IncludeGlobalServiceEvents": true,
            "IsMultiRegionTrail": true,
            "IsOrganizationTrail": true,
            "LogFileValidationEnabled": true,
            "HasCustomEventSelectors": false,
            "HasInsightSelectors": false,
        })
    };
    Ok(json!({ "trailList": trails.into_iter().map(show).collect::<Vec<_>>() }))
}

fn status(world: &World, call: &Call, input: &Input<'_>) -> Result<Value, ApiError> {
    let name = input.required_text("Name")?;
    // A shadow trail has to be named by its ARN (API reference, GetTrailStatus).
    let by_name =
        name == NAME && call.region == GLOBAL_REGION && call.caller.account == world.organization.management();
    if trail_of(world, call).is_some_and(|arn| by_name || arn == name) {
        return Ok(json!({ "IsLogging": world.events.trail_logs(&call.caller.account, &call.region) }));
    }
    let message = format!("Unknown trail: {name} for the user: {}", call.caller.account);
    Err(ApiError::new(400, "TrailNotFoundException", message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::Service;
    use crate::fixtures::{MEMBER, REGION, STRANGER, call, organization};

    fn ask(world: &World, account: &str, operation: &str, input: Value) -> Result<Value, ApiError> {
        handle(world, &call(account, REGION, Service::CloudTrail, operation), &input)
    }

    #[test]
    fn members_see_the_trail_of_the_organization_and_where_it_logs() {
        let mut world = organization();
        let trails = ask(&world, MEMBER, "DescribeTrails", json!({})).unwrap();
        let arn = trails["trailList"][0]["TrailARN"].clone();
        assert_eq!(
            ask(&world, MEMBER, "GetTrailStatus", json!({ "Name": arn })).unwrap(),
            json!({ "IsLogging": true })
        );
        world.events.set_trail(MEMBER, REGION, false);
        assert_eq!(
            ask(&world, MEMBER, "GetTrailStatus", json!({ "Name": arn })).unwrap(),
            json!({ "IsLogging": false })
        );
    }

    #[test]
    fn strangers_names_and_shadow_trails_that_are_not_asked_for_show_nothing() {
        let world = organization();
        let none = json!({ "trailList": [] });
        assert_eq!(ask(&world, STRANGER, "DescribeTrails", json!({})).unwrap(), none);
        let without = json!({ "includeShadowTrails": false });
        assert_eq!(ask(&world, MEMBER, "DescribeTrails", without).unwrap(), none);
        let refusal = ask(&world, MEMBER, "GetTrailStatus", json!({ "Name": NAME })).unwrap_err();
        assert_eq!(refusal.code, "TrailNotFoundException");
    }
}
