//! Log groups: creation, deletion, listing, retention and keys.

use serde_json::{Value, json};

use super::account_policies::{protects, retention_of};
use super::tags::check_reserved;
use super::{
    DataProtection, LogGroup, LogGroupClass, MAX_PAGE, check_pattern, invalid_parameter, not_found, page, paged,
};
use crate::call::{ApiError, Call};
use crate::json_input::Input;
use crate::rules::key_refused;
use crate::world::World;

/// The values PutRetentionPolicy takes, in days (CloudWatch Logs API reference).
pub(super) const RETENTION_DAYS: [u64; 22] =
    [1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653];

/// Most tags of a resource.
const MAX_TAGS: usize = 50;

pub(super) fn create(world: &mut World, call: &Call, input: &Value) -> Result<Value, ApiError> {
    let known = ["logGroupName", "kmsKeyId", "tags", "logGroupClass", "deletionProtectionEnabled"];
    let input = Input::of(call, input, &known)?;
    let name = input.required_text("logGroupName")?;
    check_name(name)?;
    let kms_key_id = input.text("kmsKeyId")?.map(|key| check_key(world, call, key)).transpose()?;
    let tags = input.text_map("tags")?;
    check_tag_count(tags.len())?;
    check_reserved(&tags)?;
    let class = input.text("logGroupClass")?.map_or(Ok(LogGroupClass::Standard), parse_class)?;
    let deletion_protected = input.flag("deletionProtectionEnabled")?.unwrap_or(false);
    if world.logs.group(&call.caller.account, &call.region, name).is_some() {
        return Err(ApiError::new(400, "ResourceAlreadyExistsException", "The specified log group already exists"));
    }
    let mut group = new_group(&call.caller.account, &call.region, name, world.now_ms());
    group.class = class;
    group.kms_key_id = kms_key_id;
    group.tags = tags;
    group.deletion_protected = deletion_protected;
    insert(world, &call.caller.account, &call.region, group);
    Ok(json!({}))
}

/// Creates a log group as a service does: class STANDARD, events never expire.
pub(crate) fn create_for_service(world: &mut World, account: &str, region: &str, name: &str) {
    let group = new_group(account, region, name, world.now_ms());
    insert(world, account, region, group);
}

fn insert(world: &mut World, account: &str, region: &str, group: LogGroup) {
    world.logs.account_region_mut(account, region).groups.insert(group.name.clone(), group);
}

fn new_group(account: &str, region: &str, name: &str, created_ms: u64) -> LogGroup {
    LogGroup {
        name: name.to_owned(),
        arn: format!("arn:aws:logs:{region}:{account}:log-group:{name}"),
        class: LogGroupClass::Standard,
        retention_days: None,
        kms_key_id: None,
        tags: std::collections::BTreeMap::new(),
        data_protection: None,
        deletion_protected: false,
        created_ms,
        filters: std::collections::BTreeMap::new(),
    }
}

pub(super) fn delete(world: &mut World, call: &Call, input: &Value) -> Result<Value, ApiError> {
    let input = Input::of(call, input, &["logGroupName"])?;
    let name = input.required_text("logGroupName")?.to_owned();
    if named(world, call, &input)?.deletion_protected {
        // That protection blocks the call is documented (CreateLogGroup); code and text are UNVERIFIED.
        let message = "The log group cannot be deleted because deletion protection is enabled.";
        return Err(ApiError::new(400, "ValidationException", message));
    }
    world.logs.account_region_mut(&call.caller.account, &call.region).groups.remove(&name);
    Ok(json!({}))
}

pub(super) fn describe(world: &mut World, call: &Call, input: &Value) -> Result<Value, ApiError> {
    let known = ["logGroupNamePrefix", "logGroupNamePattern", "logGroupClass", "limit", "nextToken"];
    let input = Input::of(call, input, &known)?;
    let prefix = input.text("logGroupNamePrefix")?;
    let pattern = input.text("logGroupNamePattern")?;
    if prefix.is_some() && pattern.is_some() {
        // DescribeLogGroups: "logGroupNamePattern and logGroupNamePrefix are mutually exclusive".
        return Err(invalid_parameter(
            "LogGroup name prefix and LogGroup name pattern are mutually exclusive parameters.",
        ));
    }
    let class = input.text("logGroupClass")?.map(parse_class).transpose()?;
    let limit = input.number("limit", 1, MAX_PAGE)?;
    let wanted = |group: &&LogGroup| {
        prefix.is_none_or(|prefix| group.name.starts_with(prefix))
            && pattern.is_none_or(|pattern| group.name.contains(pattern))
            && class.is_none_or(|class| group.class == class)
    };
    let now_ms = world.now_ms();
    let policies = &world.logs.account_region_mut(&call.caller.account, &call.region).policies.clone();
    let groups = world.logs.groups(&call.caller.account, &call.region).filter(wanted);
    let inherits = protects(policies);
    let rendered = |group: &LogGroup| {
        let mut rendered = render(group, retention_of(policies, group, now_ms));
        if inherits {
            rendered["inheritedProperties"] = json!(["ACCOUNT_DATA_PROTECTION"]);
        }
        rendered
    };
    let named = groups.map(|group| (group.name.as_str(), rendered(group)));
    let (items, next) = page(named, input.text("nextToken")?, limit)?;
    Ok(paged("logGroups", items, next))
}

/// A policy of the account replaces the group's own retention, whatever that is (LogGroup, `retentionPolicyName`).
/// `arn` ends in `:*` and `logGroupArn` does not (CloudWatch Logs API reference, LogGroup).
fn render(group: &LogGroup, policy: Option<(String, Option<u64>)>) -> Value {
    let mut rendered = json!({
        "logGroupName": group.name,
        "creationTime": group.created_ms,
        "metricFilterCount": 0,
        "arn": format!("{}:*", group.arn),
        "logGroupArn": group.arn,
        "storedBytes": 0,
        "logGroupClass": group.class.as_str(),
        "deletionProtectionEnabled": group.deletion_protected,
    });
    let days = policy.as_ref().map_or(group.retention_days, |(_, days)| *days);
    if let Some((name, _)) = policy {
        rendered["retentionPolicyName"] = json!(name);
    }
    if let Some(days) = days {
        rendered["retentionInDays"] = json!(days);
    }
    match &group.data_protection {
        Some(DataProtection::Activated { .. }) => rendered["dataProtectionStatus"] = json!("ACTIVATED"),
        Some(DataProtection::Deleted) => rendered["dataProtectionStatus"] = json!("DELETED"),
        None => {}
    }
    if let Some(key) = &group.kms_key_id {
        rendered["kmsKeyId"] = json!(key);
    }
    rendered
}

pub(super) fn put_retention(world: &mut World, call: &Call, input: &Value) -> Result<Value, ApiError> {
    let input = Input::of(call, input, &["logGroupName", "retentionInDays"])?;
    let days = input.number("retentionInDays", 0, u64::MAX)?;
    let days = days.filter(|days| RETENTION_DAYS.contains(days)).ok_or_else(|| {
        let given = days.map_or_else(|| "null".to_owned(), |days| days.to_string());
        invalid_parameter(format!(
            "1 validation error detected: Value '{given}' at 'retentionInDays' failed to satisfy constraint: Member must \
             satisfy enum value set: {RETENTION_DAYS:?}"
        ))
    })?;
    named(world, call, &input)?.retention_days = Some(days);
    Ok(json!({}))
}

pub(super) fn delete_retention(world: &mut World, call: &Call, input: &Value) -> Result<Value, ApiError> {
    let input = Input::of(call, input, &["logGroupName"])?;
    named(world, call, &input)?.retention_days = None;
    Ok(json!({}))
}

pub(super) fn associate_key(world: &mut World, call: &Call, input: &Value) -> Result<Value, ApiError> {
    let input = Input::of(call, input, &["logGroupName", "kmsKeyId"])?;
    let key = check_key(world, call, input.required_text("kmsKeyId")?)?;
    named(world, call, &input)?.kms_key_id = Some(key);
    Ok(json!({}))
}

pub(super) fn disassociate_key(world: &mut World, call: &Call, input: &Value) -> Result<Value, ApiError> {
    let input = Input::of(call, input, &["logGroupName"])?;
    named(world, call, &input)?.kms_key_id = None;
    Ok(json!({}))
}

/// The group that the input names.
pub(super) fn named<'a>(world: &'a mut World, call: &Call, input: &Input<'_>) -> Result<&'a mut LogGroup, ApiError> {
    named_by(world, call, input.required_text("logGroupName")?)
}

/// The group of this name.
pub(super) fn named_by<'a>(world: &'a mut World, call: &Call, name: &str) -> Result<&'a mut LogGroup, ApiError> {
    check_name(name)?;
    let group = world.logs.group_mut(&call.caller.account, &call.region, name);
    group.ok_or_else(|| not_found("The specified log group does not exist."))
}

fn check_name(name: &str) -> Result<(), ApiError> {
    let valid = |character: char| character.is_ascii_alphanumeric() || matches!(character, '.' | '-' | '_' | '/' | '#');
    check_pattern(name, "logGroupName", "[\\.\\-_/#A-Za-z0-9]+", valid)?;
    // CreateLogGroup: "Log group names can't start with the string aws/".
    if name.starts_with("aws/") {
        return Err(invalid_parameter("Log groups starting with AWS/ are reserved for AWS."));
    }
    Ok(())
}

/// A symmetric key of the same Region, by ARN (CreateLogGroup, `kmsKeyId`). Keys themselves are not simulated.
fn check_key(world: &mut World, call: &Call, key: &str) -> Result<String, ApiError> {
    let refused = key_refused(world, call);
    let parts: Vec<&str> = key.splitn(6, ':').collect();
    match parts[..] {
        ["arn", _, "kms", region, _, resource] if region == call.region && resource.starts_with("key/") && !refused => {
            Ok(key.to_owned())
        }
        _ => Err(invalid_parameter("The specified KMS key does not exist or is not allowed to be used")),
    }
}

pub(super) fn check_tag_count(count: usize) -> Result<(), ApiError> {
    if count > MAX_TAGS {
        // TagResource: "You can have as many as 50 tags".
        return Err(ApiError::new(400, "TooManyTagsException", "The resource has too many tags"));
    }
    Ok(())
}

fn parse_class(text: &str) -> Result<LogGroupClass, ApiError> {
    LogGroupClass::ALL.into_iter().find(|class| class.as_str() == text).ok_or_else(|| {
        invalid_parameter(format!(
            "1 validation error detected: Value '{text}' at 'logGroupClass' failed to satisfy constraint: Member must \
             satisfy enum value set: [STANDARD, INFREQUENT_ACCESS, DELIVERY, ESSENTIALS]"
        ))
    })
}
