//! The settings, read from anything that can be looked up by name: environment variables in the functions, and a file
//! and flags in the command line tool. All invalid values are reported together, each with its name, the value and
//! what is expected.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use crate::arn::Arn;
pub use crate::grants::DestinationParts;
use crate::grants::ShardNaming;
use crate::ids::{AccountId, OrganizationId, ParentId, Partition, Region, VpcId};
use crate::names::{FilterName, LogGroupName, RoleName};
use crate::observed::{Tags, TrafficType};

mod filter_pattern;
mod log_format;
mod opted_out;
mod read;
#[cfg(test)]
pub(crate) mod tests;

pub use opted_out::OptOut;
pub use read::KEYS;

/// AWS's default flow log format, version 2. DescribeFlowLogs also reports it for flow logs without a format.
///
/// Source: VPC user guide, "Flow log records".
pub const AWS_DEFAULT_FORMAT: &str = "${version} ${account-id} ${interface-id} ${srcaddr} ${dstaddr} ${srcport} \
     ${dstport} ${protocol} ${packets} ${bytes} ${start} ${end} ${action} ${log-status}";

/// The default of `log_format`: AWS's default fields, and those that distinguish the records of many accounts once
/// message extraction has dropped the CloudWatch Logs envelope.
pub const DEFAULT_FORMAT: &str = "${version} ${account-id} ${vpc-id} ${subnet-id} ${instance-id} ${interface-id} \
     ${region} ${az-id} ${type} ${srcaddr} ${dstaddr} ${pkt-srcaddr} ${pkt-dstaddr} ${srcport} ${dstport} ${protocol} \
     ${tcp-flags} ${packets} ${bytes} ${start} ${end} ${action} ${flow-direction} ${traffic-path} ${log-status}";

/// Fields that a format must have, because nothing downstream can add them.
const REQUIRED_FIELDS: [&str; 3] = ["account-id", "vpc-id", "region"];

/// A tag with which the enroller marks its resources, or with which people opt VPCs out.
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

    /// Whether a resource carries this tag with this value in any letters, as a person may have typed it. Never for the
    /// ownership tag: what is nearly ours is not ours.
    pub fn is_on_in_any_case(&self, tags: &Tags) -> bool {
        tags.get(&self.key).is_some_and(|value| value.to_lowercase() == self.value.to_lowercase())
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.key, self.value)
    }
}

/// How member accounts are authorized on the destinations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GrantMode {
    /// The policy lists each account, so that large organizations need several destinations in a Region.
    AccountList,
    /// The policy authorizes the organization. Every subscription filter then needs a role.
    Organization,
}

/// Who creates the role that flow logs are delivered with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryRoleMaker {
    /// The member stack, so that the enroller needs no IAM permissions.
    MemberStack,
    /// The enroller, where the role is needed and missing.
    Enroller,
}

/// What happens where a VPC's own tag opts it out or narrows its traffic type. Many principals of a member account may
/// tag a VPC, and the records may be evidence against one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NarrowingTags {
    /// The tag changes nothing, and is reported.
    Ignored,
    /// The tag is followed, and reported.
    Followed,
}

impl NarrowingTags {
    /// The value of the setting.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ignored => "ignored",
            Self::Followed => "followed",
        }
    }
}

/// The ARN of the KMS key for new log groups. `{region}` and `{account}` stand for the log group's Region and account,
/// because the key must be in the same Region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KmsKey(String);

impl KmsKey {
    /// The key's ARN for a log group in this Region and account.
    pub fn arn(&self, region: &Region, account: AccountId) -> String {
        self.0.replace("{region}", region.as_str()).replace("{account}", &account.to_string())
    }
}

impl fmt::Display for KmsKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// All settings. See [`KEYS`] for names, defaults and meanings.
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
    pub opted_out_vpcs: BTreeMap<VpcId, OptOut>,
    pub narrowing_tags: NarrowingTags,
    pub opt_out_tag: Tag,
    pub traffic_type_tag: String,
    pub ownership_tag: Tag,
    pub resource_tags: Vec<Tag>,
    pub grant_mode: GrantMode,
    pub revocation_limit_percent: u8,
    pub max_concurrency: usize,
    pub enrollments_queue_url: Option<String>,
    pub grants_queue_url: Option<String>,
    pub backfill_queue_url: Option<String>,
}

impl Settings {
    /// Reads all settings.
    ///
    /// `lookup` is called with each key of [`KEYS`]. An empty value counts as absent.
    ///
    /// # Errors
    ///
    /// Every problem at once: required settings that are missing, invalid values, and combinations that do not fit.
    ///
    /// # Examples
    ///
    /// ```
    /// use enroller_core::settings::Settings;
    ///
    /// let settings = Settings::from_lookup(|key| {
    ///     let value = match key {
    ///         "central_account" => "111122223333",
    ///         "organization_id" => "o-exampleorg1",
    ///         "home_region" => "eu-west-1",
    ///         "regions" => "eu-west-1, us-east-1",
    ///         _ => return None,
    ///     };
    ///     Some(value.to_owned())
    /// })?;
    /// assert_eq!(settings.regions.len(), 2);
    /// assert_eq!(settings.retention_days, Some(30)); // a default
    ///
    /// let error = Settings::from_lookup(|key| (key == "home_region").then(|| "Ireland".to_owned())).unwrap_err();
    /// assert_eq!(error.0.len(), 4); // three settings are missing, and one is invalid
    /// assert!(error.to_string().contains(r#"home_region = "Ireland": expected a code such as eu-west-1"#));
    /// # Ok::<(), enroller_core::settings::SettingsError>(())
    /// ```
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, SettingsError> {
        read::read(&lookup)
    }

    /// Reads the settings of a function: key `log_group_name` is looked up as `ENROLLER_LOG_GROUP_NAME`.
    ///
    /// # Errors
    ///
    /// As for [`Settings::from_lookup`].
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

    /// The tags of a new log group or role, and of a new flow log besides its own.
    pub fn tags_of_new_resources(&self) -> Vec<Tag> {
        std::iter::once(&self.ownership_tag).chain(&self.resource_tags).cloned().collect()
    }

    /// The organization that is granted as a whole; `None` unless `grant_mode` is `organization`.
    pub fn granted_organization(&self) -> Option<&OrganizationId> {
        match self.grant_mode {
            GrantMode::AccountList => None,
            GrantMode::Organization => Some(&self.organization_id),
        }
    }

    /// The partition of all accounts and Regions.
    pub fn partition(&self) -> Partition {
        self.home_region.partition()
    }

    /// The ARN of the role the enroller assumes in a member account.
    pub fn member_role(&self, account: AccountId) -> Arn {
        Arn::role(self.partition(), account, &self.member_role_name)
    }

    /// The ARN of the role that a member account's flow logs are delivered with.
    pub fn delivery_role(&self, account: AccountId) -> Arn {
        Arn::role(self.partition(), account, &self.delivery_role_name)
    }

    /// The ARN of the role that a member account's subscription filters deliver with; `None` unless `grant_mode` is
    /// `organization`.
    pub fn filter_role(&self, account: AccountId) -> Option<Arn> {
        match self.grant_mode {
            GrantMode::AccountList => None,
            GrantMode::Organization => Some(Arn::role(self.partition(), account, &self.filter_role_name)),
        }
    }
}

/// The environment variable of a key: `ENROLLER_` and the key in capitals.
pub fn environment_name(key: &str) -> String {
    format!("ENROLLER_{}", key.to_uppercase())
}

/// A setting that is missing or invalid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingProblem {
    /// The key, as in [`KEYS`].
    pub key: &'static str,
    /// The invalid value; `None` where the setting is missing.
    pub value: Option<String>,
    /// What would be accepted.
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

/// The tag of each flow log that the enroller creates: a fingerprint of the settings it was created with. A flow log
/// never changes (VPC guide, Flow log limitations). If it differs from the settings of its own fingerprint, then AWS
/// returns a value in another form, and a replacement would differ, too.
pub const SETTINGS_TAG: &str = "vpc-flow-logs-settings";

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
        match self.0.len() {
            1 => f.write_str("1 setting is missing or invalid")?,
            count => write!(f, "{count} settings are missing or invalid")?,
        }
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

/// Whether AWS accepts this text in a tag of any service. IAM and CloudWatch Logs have the narrowest pattern,
/// `[\p{L}\p{Z}\p{N}_.:/=+\-@]*`. EC2 takes more, so a tag that only people put on VPCs need not match.
fn valid_in_every_tag(text: &str) -> bool {
    let space = |character: char| character.is_whitespace() && !character.is_control();
    text.chars().all(|character| character.is_alphanumeric() || space(character) || "_.:/=+-@".contains(character))
}

fn valid_tag_key(key: &str) -> bool {
    (1..=128).contains(&key.chars().count()) && !key.to_ascii_lowercase().starts_with("aws:")
}
