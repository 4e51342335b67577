//! The settings, from whatever can be looked up by name: environment variables in the functions, a file and flags
//! in the command line tool. Every bad value is refused at once, with its name, the value and what would be right.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use crate::arn::Arn;
use crate::grants::ShardNaming;
use crate::ids::{AccountId, OrganizationId, ParentId, Partition, Region};
use crate::names::{FilterName, LogGroupName, RoleName};
use crate::observed::{Tags, TrafficType};

mod read;
#[cfg(test)]
pub(crate) mod tests;

pub use read::KEYS;

/// AWS's default flow log format, version 2, which DescribeFlowLogs also reports for flow logs without a format.
///
/// Source: VPC user guide, "Flow log records".
pub const AWS_DEFAULT_FORMAT: &str = "${version} ${account-id} ${interface-id} ${srcaddr} ${dstaddr} ${srcport} \
     ${dstport} ${protocol} ${packets} ${bytes} ${start} ${end} ${action} ${log-status}";

/// The format used unless set: AWS's default fields and what tells records of many accounts apart after message
/// extraction has dropped the CloudWatch Logs envelope.
pub const DEFAULT_FORMAT: &str = "${version} ${account-id} ${vpc-id} ${subnet-id} ${instance-id} ${interface-id} \
     ${region} ${az-id} ${type} ${srcaddr} ${dstaddr} ${pkt-srcaddr} ${pkt-dstaddr} ${srcport} ${dstport} ${protocol} \
     ${tcp-flags} ${packets} ${bytes} ${start} ${end} ${action} ${flow-direction} ${traffic-path} ${log-status}";

/// Fields a format must carry, because nothing downstream can add them again.
const REQUIRED_FIELDS: [&str; 3] = ["account-id", "vpc-id", "region"];

/// One tag, key and value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag {
    /// 1 to 128 characters, not starting with `aws:`.
    pub key: String,
    /// Up to 256 characters.
    pub value: String,
}

impl Tag {
    /// Whether a resource carries this tag with this value.
    pub fn is_on(&self, tags: &Tags) -> bool {
        tags.get(&self.key) == Some(&self.value)
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.key, self.value)
    }
}

/// How accounts are let in on a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GrantMode {
    /// Each account is named in the policy; large organizations need several destinations.
    AccountList,
    /// The policy names the organization; every subscription filter then needs a role.
    Organization,
}

/// Who makes the role that flow logs are delivered with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryRoleMaker {
    /// The member stack, so the enroller needs no IAM permissions.
    MemberStack,
    /// The enroller, where it finds that the role is needed and missing.
    Enroller,
}

/// Where the KMS key of new log groups is; `{region}` and `{account}` stand for the place of the group, because a
/// key must be of its Region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KmsKey(String);

impl KmsKey {
    /// The key's ARN for one place.
    pub fn arn(&self, region: &Region, account: AccountId) -> String {
        self.0.replace("{region}", region.as_str()).replace("{account}", &account.to_string())
    }
}

/// Everything that can be set. See [`KEYS`] for names, defaults and meanings.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "each field is described in KEYS, where users read it")]
pub struct Settings {
    pub central_account: AccountId,
    pub organization_id: OrganizationId,
    pub home_region: Region,
    pub regions: BTreeSet<Region>,
    pub log_group_name: LogGroupName,
    pub destination_name: ShardNaming,
    pub destination_target_arn: Option<Arn>,
    pub destination_role_arn: Option<Arn>,
    pub filter_name: FilterName,
    pub filter_pattern: String,
    pub filter_role_name: RoleName,
    pub delivery_role_name: RoleName,
    pub delivery_role_policy_name: String,
    pub delivery_role_maker: DeliveryRoleMaker,
    pub member_role_name: RoleName,
    pub member_stack_name: String,
    pub external_id: Option<String>,
    pub traffic_type: TrafficType,
    pub aggregation_interval: u32,
    pub log_format: String,
    pub retention_days: Option<u32>,
    pub kms_key_arn: Option<KmsKey>,
    pub excluded_accounts: BTreeSet<AccountId>,
    pub excluded_organizational_units: BTreeSet<ParentId>,
    pub opt_out_tag: Tag,
    pub traffic_type_tag: String,
    pub ownership_tag: Tag,
    pub grant_mode: GrantMode,
    pub revocation_limit_percent: u8,
    pub max_concurrency: usize,
    pub enrollments_queue_url: Option<String>,
    pub grants_queue_url: Option<String>,
    pub backfill_queue_url: Option<String>,
}

impl Settings {
    /// Reads all settings, or says everything that is wrong with them.
    ///
    /// `lookup` is asked for each key of [`KEYS`]; empty text counts as absent.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, SettingsError> {
        read::read(&lookup)
    }

    /// The settings of a function: key `log_group_name` is looked up as `ENROLLER_LOG_GROUP_NAME`.
    pub fn from_environment(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, SettingsError> {
        Self::from_lookup(|key| lookup(&environment_name(key)))
    }

    /// What every destination delivers to, and with which role.
    ///
    /// # Errors
    ///
    /// The settings that are missing, by name.
    pub fn destination_parts(&self) -> Result<DestinationParts, SettingsError> {
        let target =
            set("destination_target_arn", &self.destination_target_arn, "ARN of the stream behind the destinations");
        let role = set("destination_role_arn", &self.destination_role_arn, "ARN of the role that writes to the stream");
        let (target, role) = both(target, role)?;
        Ok(DestinationParts { target, role })
    }

    /// The queues of the enroller and of the granter.
    ///
    /// # Errors
    ///
    /// The settings that are missing, by name.
    pub fn queue_urls(&self) -> Result<QueueUrls, SettingsError> {
        let enrollments = set("enrollments_queue_url", &self.enrollments_queue_url, "URL of the enroller's queue");
        let grants = set("grants_queue_url", &self.grants_queue_url, "URL of the granter's queue");
        let (enrollments, grants) = both(enrollments, grants)?;
        Ok(QueueUrls { enrollments, grants })
    }

    /// The queue through which a backfill goes on.
    ///
    /// # Errors
    ///
    /// The setting is missing.
    pub fn continuation_queue_url(&self) -> Result<String, SettingsError> {
        set("backfill_queue_url", &self.backfill_queue_url, "URL of backfill's own queue")
    }

    /// The organization whose grant stands in for those of its accounts, in organization mode.
    pub fn granted_organization(&self) -> Option<&OrganizationId> {
        match self.grant_mode {
            GrantMode::AccountList => None,
            GrantMode::Organization => Some(&self.organization_id),
        }
    }

    /// The partition all accounts and Regions are in.
    pub fn partition(&self) -> Partition {
        self.home_region.partition()
    }

    /// ARN of the role the enroller takes on in a member account.
    pub fn member_role(&self, account: AccountId) -> Arn {
        Arn::role(self.partition(), account, &self.member_role_name)
    }

    /// ARN of the role flow logs are delivered with.
    pub fn delivery_role(&self, account: AccountId) -> Arn {
        Arn::role(self.partition(), account, &self.delivery_role_name)
    }

    /// ARN of the role subscription filters deliver with, which only organization mode needs.
    pub fn filter_role(&self, account: AccountId) -> Option<Arn> {
        match self.grant_mode {
            GrantMode::AccountList => None,
            GrantMode::Organization => Some(Arn::role(self.partition(), account, &self.filter_role_name)),
        }
    }
}

/// The environment variable of a key.
pub fn environment_name(key: &str) -> String {
    format!("ENROLLER_{}", key.to_uppercase())
}

/// One setting that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingProblem {
    /// The key, as in [`KEYS`].
    pub key: &'static str,
    /// The value that was given, if any.
    pub value: Option<String>,
    /// What would be right.
    pub expected: String,
}

impl fmt::Display for SettingProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(f, "{} = {value:?}: expected {}", self.key, self.expected),
            None => write!(f, "{} is not set: expected {}", self.key, self.expected),
        }
    }
}

/// What every destination delivers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DestinationParts {
    /// ARN of the stream.
    pub target: Arn,
    /// ARN of the role that CloudWatch Logs writes to it with.
    pub role: Arn,
}

/// Where the functions receive messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueUrls {
    /// The queue of `vpc-enroller`.
    pub enrollments: String,
    /// The queue of `account-onboarder`, FIFO.
    pub grants: String,
}

/// A setting that has no default and that some workers cannot do without.
fn set<T: Clone>(key: &'static str, value: &Option<T>, expected: &str) -> Result<T, SettingsError> {
    let missing = || SettingsError(vec![SettingProblem { key, value: None, expected: expected.to_owned() }]);
    value.clone().ok_or_else(missing)
}

/// Both values, or everything that is missing.
///
/// # Errors
///
/// The problems of the first and of the second.
pub fn both<A, B>(a: Result<A, SettingsError>, b: Result<B, SettingsError>) -> Result<(A, B), SettingsError> {
    match (a, b) {
        (Ok(a), Ok(b)) => Ok((a, b)),
        (Err(SettingsError(a)), Err(SettingsError(b))) => Err(SettingsError(a.into_iter().chain(b).collect())),
        (Err(error), Ok(_)) | (Ok(_), Err(error)) => Err(error),
    }
}

/// All settings that cannot be used, at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingsError(pub Vec<SettingProblem>);

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} setting(s) cannot be used", self.0.len())?;
        for problem in &self.0 {
            write!(f, "\n  {problem} (environment: {})", environment_name(problem.key))?;
        }
        Ok(())
    }
}

impl std::error::Error for SettingsError {}

impl FromStr for Tag {
    type Err = crate::ids::Invalid;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || crate::ids::Invalid::new("a tag", text, "key=value, the key not starting with aws:");
        let (key, value) = text.split_once('=').ok_or_else(invalid)?;
        if !valid_tag_key(key) || value.chars().count() > 256 {
            return Err(invalid());
        }
        Ok(Self { key: key.to_owned(), value: value.to_owned() })
    }
}

fn valid_tag_key(key: &str) -> bool {
    (1..=128).contains(&key.chars().count()) && !key.to_ascii_lowercase().starts_with("aws:")
}
