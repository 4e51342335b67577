//! CloudWatch Logs: log groups, subscription filters and destinations of every account and Region.
//!
//! Rules: CloudWatch Logs API reference (each operation) and user guide; behaviour that neither documents is
//! marked with the public issue that reports it, or UNVERIFIED.

mod account_policies;
mod data_protection;
mod destination_policy;
mod destinations;
mod filter_pattern;
mod filters;
mod groups;
mod tags;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use self::account_policies::AccountPolicies;
pub use self::destination_policy::MAX_POLICY_BYTES;
use self::destination_policy::{DestinationPolicy, Sender};
pub(crate) use self::destinations::delivers;
pub(crate) use self::filters::{admits, selects, service_principals};
pub(crate) use self::groups::create_for_service;
use crate::call::{ApiError, Call, Caller, Service};
use crate::sim::Sim;
use crate::world::World;

/// Most subscription filters of a log group; not adjustable (CloudWatch Logs user guide, quotas). SDK documentation
/// still says 2.
pub const MAX_FILTERS: usize = 5;

/// Largest page of every Describe operation here.
const MAX_PAGE: u64 = 50;

/// State of CloudWatch Logs.
#[derive(Debug, Default)]
pub struct LogsState {
    // By account, then Region, so that a lookup needs no owned key.
    account_regions: BTreeMap<String, BTreeMap<String, AccountRegion>>,
    streams: BTreeSet<String>,
    invalid_principals: BTreeSet<String>,
}

/// One account in one Region.
#[derive(Clone, Debug, Default)]
pub(crate) struct AccountRegion {
    groups: BTreeMap<String, LogGroup>,
    destinations: BTreeMap<String, Destination>,
    policies: AccountPolicies,
}

impl AccountRegion {
    /// Whether there is a log group of that name.
    pub(crate) fn has_group(&self, name: &str) -> bool {
        self.groups.contains_key(name)
    }
}

/// A log group with its subscription filters.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "`name` and `tags` are CloudWatch Logs' own")]
pub struct LogGroup {
    pub name: String,
    /// ARN without the trailing `:*`.
    pub arn: String,
    /// Class; only STANDARD can be subscribed to.
    pub class: LogGroupClass,
    /// Days that log events are kept; for ever when `None`.
    pub retention_days: Option<u64>,
    /// ARN of the key that encrypts it.
    pub kms_key_id: Option<String>,
    pub tags: BTreeMap<String, String>,
    /// Its data protection, if it has or had one.
    pub data_protection: Option<DataProtection>,
    /// Whether DeleteLogGroup is refused.
    pub deletion_protected: bool,
    /// Creation, in epoch milliseconds.
    pub created_ms: u64,
    /// Subscription filters by name.
    pub filters: BTreeMap<String, SubscriptionFilter>,
}

/// Data protection of a log group: a document, or what remains of a deleted one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DataProtection {
    /// It masks what its document says.
    Activated {
        /// The document as it was put.
        document: String,
        /// When it was put, in epoch milliseconds.
        updated_ms: u64,
    },
    /// There was one.
    Deleted,
}

/// Class of a log group, which cannot be changed later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogGroupClass {
    /// All features, subscription filters included.
    Standard,
    /// Cheaper, and without subscription filters.
    InfrequentAccess,
    /// No subscription filters.
    Delivery,
    /// A subset of the features; that it takes no subscription filters is UNVERIFIED.
    Essentials,
}

impl LogGroupClass {
    const ALL: [Self; 4] = [Self::Standard, Self::InfrequentAccess, Self::Delivery, Self::Essentials];

    fn as_str(self) -> &'static str {
        match self {
            Self::Standard => "STANDARD",
            Self::InfrequentAccess => "INFREQUENT_ACCESS",
            Self::Delivery => "DELIVERY",
            Self::Essentials => "ESSENTIALS",
        }
    }
}

/// A subscription filter: it sends the events of its log group to a destination.
#[derive(Debug, Clone)]
pub struct SubscriptionFilter {
    /// Name, unique in its log group.
    pub name: String,
    /// Pattern; empty for everything.
    pub pattern: String,
    /// ARN of the destination, or of a stream or function.
    pub destination_arn: String,
    /// Role that delivers, if any.
    pub role_arn: Option<String>,
    /// Creation, in epoch milliseconds; an update keeps it.
    pub created_ms: u64,
    /// End of the pause after a failed delivery, in epoch milliseconds.
    pub disabled_until_ms: u64,
    /// Expression over system fields; empty for everything.
    pub field_selection: String,
    transformed: bool,
    system_fields: Vec<String>,
    distribution: String,
}

/// A destination: it lets other accounts send log events to a stream.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "`name`, `arn` and `tags` are CloudWatch Logs' own")]
pub struct Destination {
    pub name: String,
    pub arn: String,
    /// ARN of the stream behind it.
    pub target_arn: String,
    /// Role that writes to the stream.
    pub role_arn: String,
    /// Access policy as it was put, byte for byte. Without one, no account may subscribe.
    pub access_policy: Option<String>,
    pub tags: BTreeMap<String, String>,
    /// Creation, in epoch milliseconds.
    pub created_ms: u64,
    policy: Option<DestinationPolicy>,
}

impl Destination {
    /// Meaning of the access policy.
    pub(crate) fn policy(&self) -> Option<&DestinationPolicy> {
        self.policy.as_ref()
    }
}

impl LogsState {
    /// Adds a Firehose or Kinesis stream, in any account and Region, as a target for destinations.
    pub fn add_stream(&mut self, arn: &str) {
        self.streams.insert(arn.to_owned());
    }

    /// Sets whether PutDestinationPolicy refuses documents that name this account.
    pub fn set_invalid_principal(&mut self, account: &str, invalid: bool) {
        match invalid {
            true => self.invalid_principals.insert(account.to_owned()),
            false => self.invalid_principals.remove(account),
        };
    }

    fn invalid_principals(&self) -> &BTreeSet<String> {
        &self.invalid_principals
    }

    /// Removes a stream, so that its destinations lose what they get.
    pub fn remove_stream(&mut self, arn: &str) {
        self.streams.remove(arn);
    }

    /// Whether the stream exists.
    pub fn has_stream(&self, arn: &str) -> bool {
        self.streams.contains(arn)
    }

    /// The log group of this name, if it exists.
    pub fn group(&self, account: &str, region: &str, name: &str) -> Option<&LogGroup> {
        self.account_region(account, region)?.groups.get(name)
    }

    /// The log groups of an account in a Region, by name.
    pub fn groups(&self, account: &str, region: &str) -> impl Iterator<Item = &LogGroup> {
        self.account_region(account, region).into_iter().flat_map(|it| it.groups.values())
    }

    /// A destination by its ARN.
    pub fn destination(&self, arn: &str) -> Option<&Destination> {
        let arn = LogsArn::parse(arn)?;
        self.account_region(arn.account, arn.region)?.destinations.get(arn.resource.strip_prefix("destination:")?)
    }

    /// The destinations of an account in a Region, by name.
    pub fn destinations(&self, account: &str, region: &str) -> impl Iterator<Item = &Destination> {
        self.account_region(account, region).into_iter().flat_map(|it| it.destinations.values())
    }

    /// Groups and destinations of an account and Region, to keep.
    pub(crate) fn copy(&self, account: &str, region: &str) -> AccountRegion {
        self.account_region(account, region).cloned().unwrap_or_default()
    }

    /// Exchanges the groups and destinations of an account and Region.
    pub(crate) fn swap(&mut self, account: &str, region: &str, other: &mut AccountRegion) {
        std::mem::swap(self.account_region_mut(account, region), other);
    }

    pub(crate) fn group_mut(&mut self, account: &str, region: &str, name: &str) -> Option<&mut LogGroup> {
        self.account_regions.get_mut(account)?.get_mut(region)?.groups.get_mut(name)
    }

    fn destination_mut(&mut self, account: &str, region: &str, name: &str) -> Option<&mut Destination> {
        self.account_regions.get_mut(account)?.get_mut(region)?.destinations.get_mut(name)
    }

    fn account_region(&self, account: &str, region: &str) -> Option<&AccountRegion> {
        self.account_regions.get(account)?.get(region)
    }

    fn account_region_mut(&mut self, account: &str, region: &str) -> &mut AccountRegion {
        self.account_regions.entry(account.to_owned()).or_default().entry(region.to_owned()).or_default()
    }
}

/// `arn:PARTITION:logs:REGION:ACCOUNT:RESOURCE`.
struct LogsArn<'a> {
    region: &'a str,
    account: &'a str,
    resource: &'a str,
}

impl<'a> LogsArn<'a> {
    fn parse(arn: &'a str) -> Option<Self> {
        let mut parts = arn.splitn(6, ':');
        let (prefix, _partition, service) = (parts.next()?, parts.next()?, parts.next()?);
        let (region, account, resource) = (parts.next()?, parts.next()?, parts.next()?);
        (prefix == "arn" && service == "logs").then_some(Self { region, account, resource })
    }
}

/// Answers one CloudWatch Logs call.
pub(crate) fn handle(world: &mut World, call: &Call, input: &Value) -> Result<Value, ApiError> {
    match call.operation.as_str() {
        "CreateLogGroup" => groups::create(world, call, input),
        "DeleteLogGroup" => groups::delete(world, call, input),
        "DescribeLogGroups" => groups::describe(world, call, input),
        "PutRetentionPolicy" => groups::put_retention(world, call, input),
        "DeleteRetentionPolicy" => groups::delete_retention(world, call, input),
        "AssociateKmsKey" => groups::associate_key(world, call, input),
        "DisassociateKmsKey" => groups::disassociate_key(world, call, input),
        "TagResource" => tags::tag(world, call, input),
        "UntagResource" => tags::untag(world, call, input),
        "ListTagsForResource" => tags::list(world, call, input),
        "PutSubscriptionFilter" => filters::put(world, call, input),
        "DescribeSubscriptionFilters" => filters::describe(world, call, input),
        "DeleteSubscriptionFilter" => filters::delete(world, call, input),
        "PutDataProtectionPolicy" => data_protection::put(world, call, input),
        "GetDataProtectionPolicy" => data_protection::get(world, call, input),
        "DeleteDataProtectionPolicy" => data_protection::delete(world, call, input),
        "PutAccountPolicy" => account_policies::put(world, call, input),
        "DescribeAccountPolicies" => account_policies::describe(world, call, input),
        "DeleteAccountPolicy" => account_policies::delete(world, call, input),
        "PutDestination" => destinations::put(world, call, input),
        "DescribeDestinations" => destinations::describe(world, call, input),
        "DeleteDestination" => destinations::delete(world, call, input),
        "PutDestinationPolicy" => destinations::put_policy(world, call, input),
        other => Err(ApiError::unknown_operation(other)),
    }
}

/// `InvalidParameterException`, the most common error of CloudWatch Logs.
fn invalid_parameter(message: impl Into<String>) -> ApiError {
    ApiError::new(400, "InvalidParameterException", message)
}

fn not_found(message: &str) -> ApiError {
    ApiError::new(400, "ResourceNotFoundException", message)
}

/// A name against its documented pattern, in the words of the service's validation.
fn check_pattern(value: &str, member: &str, pattern: &str, valid: impl Fn(char) -> bool) -> Result<(), ApiError> {
    let rule = if value.is_empty() {
        "have length greater than or equal to 1".to_owned()
    } else if value.chars().count() > 512 {
        "have length less than or equal to 512".to_owned()
    } else if value.chars().all(valid) {
        return Ok(());
    } else {
        format!("satisfy regular expression pattern: {pattern}")
    };
    Err(invalid_parameter(format!(
        "1 validation error detected: Value '{value}' at '{member}' failed to satisfy constraint: Member must {rule}"
    )))
}

/// Names of filters and destinations: `[^:*]*`.
fn check_free_name(value: &str, member: &str) -> Result<(), ApiError> {
    check_pattern(value, member, "[^:*]*", |character| !matches!(character, ':' | '*'))
}

/// One page of items sorted by name, and the token of the next page. The token names the last item of the page, so that
/// paging survives changes in between.
fn page<'a, T>(
    sorted: impl Iterator<Item = (&'a str, T)>,
    token: Option<&str>,
    limit: Option<u64>,
) -> Result<(Vec<T>, Option<String>), ApiError> {
    let after = match token {
        None => None,
        Some(token) => {
            Some(token.strip_prefix("after:").ok_or_else(|| invalid_parameter("The specified nextToken is invalid."))?)
        }
    };
    let limit = usize::try_from(limit.unwrap_or(MAX_PAGE)).unwrap_or(usize::MAX);
    let mut rest = sorted.skip_while(|(name, _)| after.is_some_and(|after| *name <= after)).peekable();
    let (mut items, mut last) = (Vec::new(), "");
    while items.len() < limit
        && let Some((name, item)) = rest.next()
    {
        items.push(item);
        last = name;
    }
    let next = rest.peek().map(|_| format!("after:{last}"));
    Ok((items, next))
}

/// An answer with a list and, if there is more, a token.
fn paged(member: &str, items: Vec<Value>, next: Option<String>) -> Value {
    let mut answer = serde_json::Map::from_iter([(member.to_owned(), Value::Array(items))]);
    if let Some(next) = next {
        answer.insert("nextToken".to_owned(), Value::String(next));
    }
    Value::Object(answer)
}

impl World {
    /// Replaces the access policy of a destination, as an administrator of its account would. It does not count as a
    /// call, so that a hook can do it in the middle of one.
    ///
    /// # Errors
    ///
    /// The errors of PutDestinationPolicy, such as `InvalidParameterException`.
    pub fn put_destination_policy(
        &mut self,
        account: &str,
        region: &str,
        name: &str,
        policy: &str,
    ) -> Result<(), ApiError> {
        let input = json!({"destinationName": name, "accessPolicy": policy});
        self.uncounted(account, region, "PutDestinationPolicy", &input)
    }

    /// Creates or updates a destination, as an administrator would. It does not count as a call.
    ///
    /// # Errors
    ///
    /// The errors of PutDestination, such as `InvalidParameterException`.
    pub fn put_destination(
        &mut self,
        account: &str,
        region: &str,
        name: &str,
        target_arn: &str,
        role_arn: &str,
    ) -> Result<(), ApiError> {
        let input = json!({"destinationName": name, "targetArn": target_arn, "roleArn": role_arn});
        self.uncounted(account, region, "PutDestination", &input)
    }

    /// Deletes a log group, as an administrator of its account would. It does not count as a call.
    ///
    /// # Errors
    ///
    /// The errors of DeleteLogGroup, such as `ResourceNotFoundException`.
    pub fn delete_log_group(&mut self, account: &str, region: &str, name: &str) -> Result<(), ApiError> {
        self.uncounted(account, region, "DeleteLogGroup", &json!({ "logGroupName": name }))
    }

    fn uncounted(&mut self, account: &str, region: &str, operation: &str, input: &Value) -> Result<(), ApiError> {
        let call = Call {
            sequence: 0,
            request_id: String::new(),
            service: Service::Logs,
            operation: operation.to_owned(),
            caller: Caller::root(account),
            region: region.to_owned(),
        };
        handle(self, &call, input).map(drop)
    }
}

impl Sim {
    /// Adds a Firehose or Kinesis stream, in any account and Region, as a target for destinations.
    pub fn add_stream(&self, arn: &str) {
        self.with(|world| world.logs.add_stream(arn));
    }
}

#[cfg(test)]
mod tests;
