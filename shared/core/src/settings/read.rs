//! Reading settings: one line per setting, all problems collected.

use std::collections::BTreeSet;
use std::str::FromStr;

use super::{
    DEFAULT_FORMAT, DeliveryRoleMaker, GrantMode, KmsKey, NarrowingTags, SETTINGS_TAG, SettingProblem, Settings,
    SettingsError, Tag, filter_pattern, log_format, opted_out, valid_in_every_tag, valid_tag_key,
};
use crate::arn::Arn;
use crate::grants::ShardNaming;
use crate::ids::{Invalid, Region};

/// Every key with its default and its meaning: the source of help texts and of docs/configuration.md.
pub const KEYS: &[(&str, &str, &str)] = &[
    ("central_account", "", "account that owns the destinations and this software"),
    ("organization_id", "", "the organization, o-…"),
    ("home_region", "", "Region of the functions, queues, stream and bucket; enabled by default in every account"),
    ("regions", "", "enrolled Regions, separated by commas"),
    ("log_group_name", "vpc-flow-logs", "log group created in each account and Region"),
    ("destination_name", "VPCFlowLogsDestination", "destination of each Region; further shards add -2, -3, …"),
    ("destination_target_arn", "", "Firehose or Kinesis stream behind every destination (account-onboarder)"),
    ("destination_role_arn", "", "role CloudWatch Logs writes to the stream with (account-onboarder)"),
    ("filter_name", "AllTraffic", "subscription filter put on the log group"),
    ("filter_pattern", "", "filter pattern; empty passes everything"),
    ("filter_role_name", "VPCFlowLogsFilterRole", "role filters deliver with; needed with grant_mode organization"),
    ("delivery_role_name", "VpcFlowLogsEnrollerDelivery", "role flow logs are delivered to the log group with"),
    (
        "delivery_role_policy_name",
        "Permissions-Policy-For-VPCFlowLogs",
        "its inline policy, where the enroller creates it",
    ),
    ("delivery_role_maker", "member-stack", "who creates the delivery role: member-stack or enroller"),
    ("member_role_name", "VpcFlowLogsEnrollerMember", "role the enroller assumes in each account"),
    ("member_stack_name", "vpc-flow-logs-enroller-member", "member stack or stack set whose completion enrolls"),
    ("external_id", "", "external id the member role requires, 2 to 1224 characters"),
    ("traffic_type", "ALL", "traffic that flow logs record: ALL, ACCEPT or REJECT"),
    ("aggregation_interval", "600", "longest aggregation interval in seconds: 60 or 600"),
    ("log_format", "account, VPC and Region besides AWS's default fields", "flow log fields: ${field} ${field} …"),
    ("retention_days", "30", "least days the log group keeps events, or never-expire"),
    ("kms_key_arn", "", "KMS key of new log groups; may contain {region} and {account}"),
    ("excluded_accounts", "", "accounts left alone, separated by commas"),
    ("excluded_organizational_units", "", "roots or OUs left alone, with everything below them; separated by commas"),
    ("opted_out_vpcs", "", "VPCs left alone until a day, as VPC:LAST-DAY:OWNER separated by commas"),
    (
        "narrowing_tags",
        "ignored",
        "whether a VPC's own tags may opt it out or narrow its traffic type: ignored or followed",
    ),
    ("opt_out_tag", "vpc-flow-logs=off", "a VPC with this tag is not enrolled, where narrowing_tags is followed"),
    (
        "traffic_type_tag",
        "vpc-flow-logs-traffic-type",
        "a VPC's own traffic type, in this tag's value; it narrows only where narrowing_tags is followed",
    ),
    ("ownership_tag", "managed-by=vpc-flow-logs-enroller", "marks what the enroller created; nothing else is changed"),
    (
        "resource_tags",
        "",
        "further tags of new log groups, flow logs and delivery roles, key=value separated by commas",
    ),
    ("grant_mode", "account-list", "how destination policies admit accounts: account-list or organization"),
    (
        "revocation_limit_percent",
        "10",
        "largest share of a Region's grants that may be removed in a day, 0 to 100; 0 for none",
    ),
    ("max_concurrency", "16", "accounts worked on at once, 1 to 256"),
    ("enrollments_queue_url", "", "queue of the vpc-enroller (functions)"),
    ("grants_queue_url", "", "FIFO queue of the account-onboarder (functions)"),
    ("backfill_queue_url", "", "queue on which backfill continues when its time runs out (backfill)"),
];

/// Retention periods CloudWatch Logs accepts, in days (PutRetentionPolicy).
pub(super) const RETENTION_DAYS: [u32; 22] =
    [1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653];

/// A resource has at most 50 tags, and a flow log has two of the enroller's.
const MAX_FURTHER_TAGS: usize = 48;

struct Reader<'a> {
    lookup: &'a dyn Fn(&str) -> Option<String>,
    problems: Vec<SettingProblem>,
}

impl Reader<'_> {
    fn text(&self, key: &str) -> Option<String> {
        (self.lookup)(key).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
    }

    fn refuse(&mut self, key: &'static str, value: Option<String>, expected: impl Into<String>) {
        self.problems.push(SettingProblem { key, value, expected: expected.into() });
    }

    /// The parsed value, or that of the default where it is absent. `None` means that it has neither, or that a problem
    /// was recorded.
    fn get<T>(&mut self, key: &'static str, parse: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        let default = KEYS.iter().find(|(name, ..)| *name == key).map_or("", |(_, default, _)| default);
        let value = match self.text(key) {
            Some(value) => value,
            None if default.is_empty() => return None,
            None => default.to_owned(),
        };
        match parse(&value) {
            Ok(parsed) => Some(parsed),
            Err(expected) => {
                self.refuse(key, Some(value), expected);
                None
            }
        }
    }

    fn required<T>(
        &mut self,
        key: &'static str,
        expected: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        if self.text(key).is_none() {
            self.refuse(key, None, expected);
            return None;
        }
        self.get(key, parse)
    }
}

fn parsed<T: FromStr<Err = Invalid>>(text: &str) -> Result<T, String> {
    text.parse::<T>().map_err(|invalid| invalid.expected.to_owned())
}

/// A name behind which the number of a further shard has room.
fn shard_naming(text: &str) -> Result<ShardNaming, String> {
    ShardNaming::new(parsed(text)?).map_err(|invalid| invalid.expected.to_owned())
}

fn set_of<T: FromStr<Err = Invalid> + Ord>(text: &str) -> Result<BTreeSet<T>, String> {
    text.split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(|part| part.parse().map_err(|invalid: Invalid| format!("{}, not {part:?}", invalid.expected)))
        .collect()
}

fn one_of<T: Copy>(choices: &'static [(&'static str, T)]) -> impl Fn(&str) -> Result<T, String> {
    move |text| {
        let found = choices.iter().find(|(name, _)| *name == text).map(|(_, value)| *value);
        found.ok_or_else(|| choices.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(" or "))
    }
}

fn number(range: std::ops::RangeInclusive<u32>) -> impl Fn(&str) -> Result<u32, String> {
    move |text| match text.parse() {
        Ok(number) if range.contains(&number) => Ok(number),
        _ => Err(format!("a number from {} to {}", range.start(), range.end())),
    }
}

fn interval(text: &str) -> Result<u32, String> {
    match text {
        "60" => Ok(60),
        "600" => Ok(600),
        _ => Err("60 or 600 (seconds)".to_owned()),
    }
}

/// Days of retention; `None` means never expire.
fn retention(text: &str) -> Result<Option<u32>, String> {
    if text == "never-expire" {
        return Ok(None);
    }
    match text.parse() {
        Ok(days) if RETENTION_DAYS.contains(&days) => Ok(Some(days)),
        _ => Err(format!("never-expire or one of {RETENTION_DAYS:?} days")),
    }
}

/// A tag that is put on flow logs, log groups and roles.
fn tag_of_ours(text: &str) -> Result<Tag, String> {
    let tag: Tag = parsed(text)?;
    if valid_in_every_tag(&tag.key) && valid_in_every_tag(&tag.value) {
        Ok(tag)
    } else {
        Err("key=value of letters, digits, spaces and _ . : / = + - @, which every AWS service accepts".to_owned())
    }
}

/// Further tags. IAM compares keys without case, so that two keys that differ only in case are one.
fn further_tags(text: &str) -> Result<Vec<Tag>, String> {
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    let tags = parts.map(tag_of_ours).collect::<Result<Vec<Tag>, String>>()?;
    if tags.len() > MAX_FURTHER_TAGS {
        return Err(format!("at most {MAX_FURTHER_TAGS} tags, not {}", tags.len()));
    }
    let mut keys = BTreeSet::new();
    match tags.iter().find(|tag| !keys.insert(tag.key.to_lowercase())) {
        Some(twice) => Err(format!("each key once, in whatever letters, not {:?} again", twice.key)),
        None => Ok(tags),
    }
}

/// An alias is rejected: DescribeLogGroups reports the key's own ARN, so an alias would never compare equal
/// (AssociateKmsKey requires the key).
fn kms_key(text: &str) -> Result<KmsKey, String> {
    let is_key = |arn: &Arn| arn.service() == "kms" && arn.resource().starts_with("key/");
    // A Region of each partition, because the ARN's partition must match the Region filled in.
    let mut filled = ["us-east-1", "us-gov-west-1", "cn-north-1"]
        .into_iter()
        .map(|region| text.replace("{region}", region).replace("{account}", "111122223333"));
    if filled.any(|text| text.parse::<Arn>().is_ok_and(|arn| is_key(&arn))) {
        Ok(KmsKey(text.to_owned()))
    } else {
        Err("the ARN of a KMS key (not an alias), which may contain {region} and {account}".to_owned())
    }
}

fn arn_of(services: &'static [&'static str]) -> impl Fn(&str) -> Result<Arn, String> {
    move |text| match text.parse::<Arn>() {
        Ok(arn) if services.contains(&arn.service()) => Ok(arn),
        _ => Err(format!("an ARN of {}", services.join(" or "))),
    }
}

fn queue_url(text: &str) -> Result<String, String> {
    if text.starts_with("https://") || text.starts_with("http://") {
        Ok(text.to_owned())
    } else {
        Err("the URL of an SQS queue".to_owned())
    }
}

fn bounded(text: &str, lengths: std::ops::RangeInclusive<usize>) -> Result<String, String> {
    if lengths.contains(&text.chars().count()) {
        Ok(text.to_owned())
    } else {
        Err(format!("{} to {} characters", lengths.start(), lengths.end()))
    }
}

pub(super) fn read(lookup: &dyn Fn(&str) -> Option<String>) -> Result<Settings, SettingsError> {
    let mut reader = Reader { lookup, problems: Vec::new() };
    let settings = read_all(&mut reader);
    if let Some(settings) = &settings {
        check_together(&mut reader, settings);
    }
    match settings {
        Some(settings) if reader.problems.is_empty() => Ok(settings),
        _ => Err(SettingsError(reader.problems)),
    }
}

/// Reads every setting before failing, so that all problems are reported at once.
#[expect(clippy::too_many_lines, reason = "one line per setting; splitting would hide which are missing")]
fn read_all(r: &mut Reader<'_>) -> Option<Settings> {
    let central_account = r.required("central_account", "12 digits", parsed);
    let organization_id = r.required("organization_id", "an organization id, o-…", parsed);
    let home_region = r.required("home_region", "a code such as eu-west-1", parsed);
    let regions = r.required("regions", "Regions separated by commas", set_of);
    let log_group_name = r.get("log_group_name", parsed);
    let destination_name = r.get("destination_name", shard_naming);
    let destination_target_arn = r.get("destination_target_arn", arn_of(&["firehose", "kinesis"]));
    let destination_role_arn = r.get("destination_role_arn", arn_of(&["iam"]));
    let filter_name = r.get("filter_name", parsed);
    let filter_pattern = r.get("filter_pattern", filter_pattern::read).unwrap_or_default();
    let filter_role_name = r.get("filter_role_name", parsed);
    let delivery_role_name = r.get("delivery_role_name", parsed);
    let delivery_role_policy_name = r.get("delivery_role_policy_name", |text| bounded(text, 1..=128));
    let delivery_role_maker = r.get(
        "delivery_role_maker",
        one_of(&[("member-stack", DeliveryRoleMaker::MemberStack), ("enroller", DeliveryRoleMaker::Enroller)]),
    );
    let member_role_name = r.get("member_role_name", parsed);
    let member_stack_name = r.get("member_stack_name", |text| bounded(text, 1..=128));
    let external_id = r.get("external_id", |text| bounded(text, 2..=1224));
    let traffic_type = r.get("traffic_type", parsed);
    let aggregation_interval = r.get("aggregation_interval", interval);
    let format = match r.text("log_format") {
        Some(_) => r.get("log_format", log_format::read),
        None => Some(DEFAULT_FORMAT.to_owned()),
    };
    let retention_days = r.get("retention_days", retention);
    let kms_key_arn = r.get("kms_key_arn", kms_key);
    let excluded_accounts = r.get("excluded_accounts", set_of).unwrap_or_default();
    let excluded_organizational_units = r.get("excluded_organizational_units", set_of).unwrap_or_default();
    let opted_out_vpcs = r.get("opted_out_vpcs", opted_out::read).unwrap_or_default();
    let narrowing_tags =
        r.get("narrowing_tags", one_of(&[("ignored", NarrowingTags::Ignored), ("followed", NarrowingTags::Followed)]));
    let opt_out_tag = r.get("opt_out_tag", parsed);
    let traffic_type_tag = r.get("traffic_type_tag", |text| {
        if valid_tag_key(text) { Ok(text.to_owned()) } else { Err("a tag key not starting with aws:".to_owned()) }
    });
    let ownership_tag = r.get("ownership_tag", tag_of_ours);
    let resource_tags = r.get("resource_tags", further_tags).unwrap_or_default();
    let grant_mode = r.get(
        "grant_mode",
        one_of(&[("account-list", GrantMode::AccountList), ("organization", GrantMode::Organization)]),
    );
    let revocation_limit_percent = r.get("revocation_limit_percent", number(0..=100));
    let max_concurrency = r.get("max_concurrency", number(1..=256));
    let enrollments_queue_url = r.get("enrollments_queue_url", queue_url);
    let grants_queue_url = r.get("grants_queue_url", queue_url);
    let backfill_queue_url = r.get("backfill_queue_url", queue_url);
    Some(Settings {
        central_account: central_account?,
        organization_id: organization_id?,
        home_region: home_region?,
        regions: regions?,
        log_group_name: log_group_name?,
        destination_name: destination_name?,
        destination_target_arn,
        destination_role_arn,
        filter_name: filter_name?,
        filter_pattern,
        filter_role_name: filter_role_name?,
        delivery_role_name: delivery_role_name?,
        delivery_role_policy_name: delivery_role_policy_name?,
        delivery_role_maker: delivery_role_maker?,
        member_role_name: member_role_name?,
        member_stack_name: member_stack_name?,
        external_id,
        traffic_type: traffic_type?,
        aggregation_interval: aggregation_interval?,
        log_format: format?,
        retention_days: retention_days?,
        kms_key_arn,
        excluded_accounts,
        excluded_organizational_units,
        opted_out_vpcs,
        narrowing_tags: narrowing_tags?,
        opt_out_tag: opt_out_tag?,
        traffic_type_tag: traffic_type_tag?,
        ownership_tag: ownership_tag?,
        resource_tags,
        grant_mode: grant_mode?,
        revocation_limit_percent: u8::try_from(revocation_limit_percent?).ok()?,
        max_concurrency: usize::try_from(max_concurrency?).ok()?,
        enrollments_queue_url,
        grants_queue_url,
        backfill_queue_url,
    })
}

/// Rejects combinations of settings that are each valid alone.
fn check_together(r: &mut Reader<'_>, settings: &Settings) {
    let partition = settings.home_region.partition();
    if settings.regions.is_empty() {
        r.refuse("regions", r.text("regions"), "at least one Region");
    }
    if let Some(stray) = settings.regions.iter().find(|region| region.partition() != partition) {
        let expected = format!("Regions of partition {partition} only, the home Region's");
        r.refuse("regions", Some(stray.to_string()), expected);
    }
    for (key, arn) in [
        ("destination_target_arn", &settings.destination_target_arn),
        ("destination_role_arn", &settings.destination_role_arn),
    ] {
        if let Some(arn) = arn.as_ref().filter(|arn| arn.partition() != partition) {
            r.refuse(key, Some(arn.to_string()), format!("an ARN of partition {partition}"));
        }
    }
    // A role outside the central account cannot be passed to CloudWatch Logs there.
    let usable = |arn: &Arn| arn.account() == Some(settings.central_account) && arn.resource().starts_with("role/");
    if let Some(arn) = settings.destination_role_arn.as_ref().filter(|arn| !usable(arn)) {
        r.refuse("destination_role_arn", Some(arn.to_string()), "the ARN of a role in the central account");
    }
    if let Some(key) = &settings.kms_key_arn {
        // The key may belong to any account, but must be in the log group's Region.
        let filled = |region: &Region| key.arn(region, settings.central_account).parse::<Arn>();
        let fits = |region: &Region| filled(region).is_ok_and(|arn| arn.region() == Some(region));
        if let Some(region) = settings.regions.iter().find(|region| !fits(region)) {
            let expected = format!("a key in every enrolled Region, but this one is not in {region}: write {{region}}");
            r.refuse("kms_key_arn", r.text("kms_key_arn"), expected);
        }
    }
    let fields = settings.log_format.split_whitespace().count();
    if let Some(expected) = filter_pattern::never_matches(&settings.filter_pattern, fields) {
        r.refuse("filter_pattern", Some(settings.filter_pattern.clone()), expected);
    }
    if settings.opt_out_tag == settings.ownership_tag {
        r.refuse("opt_out_tag", Some(settings.opt_out_tag.to_string()), "a tag other than ownership_tag");
    }
    let taken = [settings.ownership_tag.key.as_str(), SETTINGS_TAG];
    let clashes = |tag: &&Tag| taken.iter().any(|key| key.to_lowercase() == tag.key.to_lowercase());
    if let Some(clash) = settings.resource_tags.iter().find(clashes) {
        let expected =
            format!("keys other than {}, which the enroller sets itself, in whatever letters", taken.join(" and "));
        r.refuse("resource_tags", Some(clash.to_string()), expected);
    }
}
