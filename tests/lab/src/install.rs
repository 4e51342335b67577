//! The stacks on a simulated AWS: roles, buses, rules, queues and the stream, created from the templates.

use std::collections::BTreeMap;

use enroller_core::arn::Arn;
use enroller_core::settings::{DeliveryRoleMaker, GrantMode, Settings, SettingsError};
use enroller_sim::Sim;
use enroller_sim::cloudtrail::{StackStatus, stack_status};
use enroller_sim::events::{BusId, RuleError, RuleSettings, Target, create_bus, put_bus_policy};
use enroller_sim::sqs::QueueError;
use enroller_sim::sqs::{QueueSettings, Redrive};
use serde_json::json;

use crate::templates::{AccountRegion, Part, PatternRule, QueueResource, RuleTarget, Stack, TemplateError};
use crate::withheld::Withheld;

/// Prefix of the names of queues and functions in the templates.
pub const PREFIX: &str = "vpc-flow-logs-";
/// The custom bus of the central account, in every enrolled Region.
pub const BUS: &str = "vpc-flow-logs-enroller";
/// Role of each function, by the function's name.
pub const FUNCTION_ROLES: [(&str, &str); 3] = [
    ("vpc-enroller", "VpcFlowLogsEnrollerVpcEnroller"),
    ("account-onboarder", "VpcFlowLogsEnrollerAccountOnboarder"),
    ("backfill", "VpcFlowLogsEnrollerBackfill"),
];
/// Role CloudWatch Logs writes to the stream with.
pub const DESTINATION_ROLE: &str = "VPCFlowLogsDestinationRole";
/// The external id of a simulated installation.
pub const EXTERNAL_ID: &str = "simulated-external-id";
/// Role of the people who use the command line tool. The stacks do not create it. It may do everything in the central
/// account, and elsewhere what the member role may do.
pub const OPERATOR_ROLE: &str = "VpcFlowLogsEnrollerOperator";
/// Queue of the enroller, without [`PREFIX`] like the other queue names.
pub const ENROLLMENTS: &str = "enrollments";
/// Queue of the onboarder.
pub const GRANTS: &str = "grants.fifo";
/// Queue with the requests and continuations of backfill.
pub const BACKFILL: &str = "backfill";

/// Why an installation could not be created.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// Settings do not fit together.
    #[error("the settings of the simulated installation are refused")]
    Settings(#[from] SettingsError),
    /// A rule was refused.
    #[error("a rule of the simulated installation is refused")]
    Rule(#[from] RuleError),
    /// A queue was refused.
    #[error("a queue of the simulated installation is refused")]
    Queue(#[from] QueueError),
    /// A template cannot be evaluated.
    #[error("a template of the simulated installation cannot be evaluated")]
    Template(#[from] TemplateError),
    /// A rule has a target that is neither a bus nor a queue.
    #[error("rule {rule} sends to {arn}, which is not simulated")]
    Target {
        /// Name of the rule.
        rule: String,
        /// ARN of the target.
        arn: String,
    },
}

/// Settings for an installation in the organization of a simulated AWS, with `changes` applied.
///
/// # Errors
///
/// A change is invalid.
pub fn installation_settings(
    sim: &Sim,
    regions: &[String],
    changes: &[(&str, &str)],
) -> Result<Settings, SettingsError> {
    let central = sim.central();
    let home = regions.first().cloned().unwrap_or_default();
    let queue = |name: &str| format!("https://sqs.{home}.amazonaws.com/{central}/{PREFIX}{name}");
    let mut values: BTreeMap<&str, String> = BTreeMap::from([
        ("central_account", central.clone()),
        ("organization_id", sim.with(|world| world.organization.id().to_owned())),
        ("home_region", home.clone()),
        ("regions", regions.join(",")),
        ("destination_target_arn", stream_arn(&home, &central)),
        ("destination_role_arn", format!("arn:aws:iam::{central}:role/{DESTINATION_ROLE}")),
        ("external_id", EXTERNAL_ID.to_owned()),
        ("enrollments_queue_url", queue(ENROLLMENTS)),
        ("grants_queue_url", queue(GRANTS)),
        ("backfill_queue_url", queue(BACKFILL)),
    ]);
    values.extend(changes.iter().map(|(key, value)| (*key, (*value).to_owned())));
    Settings::from_lookup(|key| values.get(key).cloned())
}

fn stream_arn(region: &str, central: &str) -> String {
    format!("arn:aws:firehose:{region}:{central}:deliverystream/vpc-flow-logs")
}

/// The stacks of one installation.
#[derive(Clone, Debug)]
pub struct Installation {
    sim: Sim,
    settings: Settings,
    operator_arn: String,
    /// The log group before it was renamed.
    previous_log_group: Option<String>,
    withheld: Option<Withheld>,
}

impl Installation {
    /// The stacks for these settings, with [`OPERATOR_ROLE`] as the one that people use.
    pub fn new(sim: Sim, settings: Settings) -> Self {
        let operator_arn = format!("arn:aws:iam::{}:role/{OPERATOR_ROLE}", settings.central_account);
        Self { sim, settings, operator_arn, previous_log_group: None, withheld: None }
    }

    /// Sets the principal of the central account whose users may assume the member role.
    #[must_use]
    pub fn operated_by(mut self, arn: &str) -> Self {
        arn.clone_into(&mut self.operator_arn);
        self
    }

    /// The same stacks for other settings. A former log group is named beside the new one, as docs/deploy.md asks for.
    #[must_use]
    pub(crate) fn with_settings(&self, settings: Settings) -> Self {
        let former = &self.settings.log_group_name;
        let renamed = (*former != settings.log_group_name).then(|| former.to_string());
        let previous_log_group = renamed.or_else(|| self.previous_log_group.clone());
        Self { settings, previous_log_group, ..self.clone() }
    }

    /// Withholds a permission from a role in every account that has the role or gets it later. The stacks are not aware
    /// of it.
    ///
    /// # Errors
    ///
    /// A template cannot be evaluated.
    pub fn withhold(&mut self, withheld: Withheld) -> Result<(), InstallError> {
        self.withheld = Some(withheld);
        let member_role = self.settings.member_role_name.to_string();
        let has_stack = |account: &String| self.sim.with(|world| world.iam.role(account, &member_role).is_some());
        self.put_roles(&self.central_stack()?)?;
        self.put_roles(&self.management_stack()?)?;
        for account in self.sim.members().into_iter().filter(has_stack) {
            self.put_roles(&self.member_stack(&account, self.roles_region())?)?;
        }
        Ok(())
    }

    /// Deploys the central, regional and management stacks.
    ///
    /// # Errors
    ///
    /// The simulated AWS refuses a rule, a bus policy or a queue.
    pub fn deploy_center(&self) -> Result<(), InstallError> {
        let central = self.settings.central_account.to_string();
        let home = self.settings.home_region.to_string();
        self.put_operator(&central);
        self.sim.add_stream(&stream_arn(&home, &central));
        self.deploy(&self.central_stack()?)?;
        let mut regions: Vec<String> = self.settings.regions.iter().map(ToString::to_string).collect();
        // Account events are emitted in the Region of Organizations, enrolled or not.
        regions.push(self.settings.partition().organizations_region().to_owned());
        regions.retain(|region| *region != home);
        regions.sort();
        regions.dedup();
        for region in regions {
            let parameters = [
                ("OrganizationId", self.settings.organization_id.to_string()),
                ("HomeBusArn", bus(&central, &home).to_string()),
                ("DestinationName", self.settings.destination_name.base().to_string()),
            ];
            let account_region = AccountRegion { account: central.clone(), region };
            self.deploy(&Part::Regional.template()?.stack(account_region, &parameters)?)?;
        }
        self.deploy(&self.management_stack()?)
    }

    /// Deploys the member stack in one account: the roles once, and the rules in every enrolled Region and in the one
    /// where IAM's events arise, which is that of Organizations (but for China).
    ///
    /// # Errors
    ///
    /// The simulated AWS refuses a rule, a bus policy or a queue.
    pub fn deploy_member(&self, account: &str) -> Result<(), InstallError> {
        let of_iam = self.settings.partition().organizations_region();
        let enrolled = self.settings.regions.iter().map(|region| region.as_str());
        for region in enrolled.clone().chain((!enrolled.clone().any(|it| it == of_iam)).then_some(of_iam)) {
            self.deploy(&self.member_stack(account, region)?)?;
        }
        Ok(())
    }

    /// Emits the events with which CloudFormation reports the completed member stack, one in every enrolled Region.
    pub fn announce_member(&self, account: &str) {
        let stack_name = format!("StackSet-{}-0001", self.settings.member_stack_name);
        for region in &self.settings.regions {
            let change =
                StackStatus { account, region: region.as_str(), stack_name: &stack_name, status: "CREATE_COMPLETE" };
            self.sim.with(|world| stack_status(world, &change));
        }
    }

    /// The central stack.
    ///
    /// # Errors
    ///
    /// A template cannot be evaluated.
    pub fn central_stack(&self) -> Result<Stack<'static>, InstallError> {
        let settings = &self.settings;
        let regions: Vec<&str> = settings.regions.iter().map(enroller_core::ids::Region::as_str).collect();
        let mode = match settings.grant_mode {
            GrantMode::AccountList => "account-list",
            GrantMode::Organization => "organization",
        };
        let tags: Vec<String> = settings.resource_tags.iter().map(ToString::to_string).collect();
        let mut parameters = self.common_parameters();
        parameters.extend([
            ("EnrolledRegions", regions.join(",")),
            ("GrantMode", mode.to_owned()),
            ("ResourceTags", tags.join(",")),
            ("CodeBucket", "code".to_owned()),
            ("CodePrefix", "code".to_owned()),
        ]);
        let account_region =
            AccountRegion { account: settings.central_account.to_string(), region: settings.home_region.to_string() };
        Ok(Part::Central.template()?.stack(account_region, &parameters)?)
    }

    /// The member stack of an account in a Region.
    ///
    /// # Errors
    ///
    /// A template cannot be evaluated.
    pub fn member_stack(&self, account: &str, region: &str) -> Result<Stack<'static>, InstallError> {
        let settings = &self.settings;
        let mut parameters = self.common_parameters();
        parameters.extend([
            ("CentralAccountId", settings.central_account.to_string()),
            ("HomeRegion", settings.home_region.to_string()),
            ("RolesRegion", self.roles_region().to_owned()),
            ("OperatorRoleArn", self.operator_arn.clone()),
            ("PreviousLogGroupName", self.previous_log_group.clone().unwrap_or_default()),
            ("LogGroupsHaveKmsKey", settings.kms_key_arn.is_some().to_string()),
        ]);
        let account_region = AccountRegion { account: account.to_owned(), region: region.to_owned() };
        Ok(Part::Member.template()?.stack(account_region, &parameters)?)
    }

    /// The stack of the management account, in the Region of Organizations.
    ///
    /// # Errors
    ///
    /// A template cannot be evaluated.
    pub fn management_stack(&self) -> Result<Stack<'static>, InstallError> {
        let region = self.settings.partition().organizations_region();
        let parameters = [
            ("CentralAccountId", self.settings.central_account.to_string()),
            ("HomeRegion", self.settings.home_region.to_string()),
            ("RolesRegion", region.to_owned()),
        ];
        let account_region = AccountRegion { account: self.sim.management(), region: region.to_owned() };
        Ok(Part::Management.template()?.stack(account_region, &parameters)?)
    }

    /// Binds the member accounts by the service control policy of `infra/guardrails`.
    ///
    /// # Errors
    ///
    /// The template cannot be evaluated.
    pub fn put_guardrails(&self, parameters: &[(&'static str, &str)]) -> Result<(), InstallError> {
        let template = Part::Guardrails.template()?;
        let mut given = self.common_parameters();
        given.retain(|(name, _)| template.has_parameter(name));
        given.extend(parameters.iter().map(|(name, value)| (*name, (*value).to_owned())));
        let account_region = AccountRegion { account: self.sim.management(), region: "us-east-1".to_owned() };
        let policies = template.stack(account_region, &given)?.service_control_policies()?;
        self.sim.with(|world| world.service_control_policies = policies);
        Ok(())
    }

    /// The Region in which the member stack creates its roles: the first enrolled one.
    fn roles_region(&self) -> &str {
        self.settings.regions.first().map_or("", |region| region.as_str())
    }

    /// Parameters that must be the same for the central and the member stack.
    fn common_parameters(&self) -> Vec<(&'static str, String)> {
        let settings = &self.settings;
        let maker = match settings.delivery_role_maker {
            DeliveryRoleMaker::MemberStack => "member-stack",
            DeliveryRoleMaker::Enroller => "enroller",
        };
        vec![
            ("OrganizationId", settings.organization_id.to_string()),
            ("ExternalId", settings.external_id.clone().unwrap_or_default()),
            ("LogGroupName", settings.log_group_name.to_string()),
            ("FilterName", settings.filter_name.to_string()),
            ("DestinationName", settings.destination_name.base().to_string()),
            ("MemberStackName", settings.member_stack_name.clone()),
            ("MemberRoleName", settings.member_role_name.to_string()),
            ("DeliveryRoleName", settings.delivery_role_name.to_string()),
            ("DeliveryRoleMaker", maker.to_owned()),
            ("FilterRoleName", settings.filter_role_name.to_string()),
            ("OwnershipTagValue", settings.ownership_tag.value.clone()),
            ("OptOutTag", settings.opt_out_tag.to_string()),
            ("TrafficTypeTag", settings.traffic_type_tag.clone()),
        ]
    }

    fn put_operator(&self, central: &str) {
        let trust = json!({ "Version": "2012-10-17", "Statement": [{
            "Effect": "Allow", "Principal": { "AWS": format!("arn:aws:iam::{central}:root") },
            "Action": "sts:AssumeRole" }] });
        let all =
            json!({ "Version": "2012-10-17", "Statement": [{ "Effect": "Allow", "Action": "*", "Resource": "*" }] });
        let policies = BTreeMap::from([("All".to_owned(), all)]);
        self.sim.with(|world| world.put_role(central, OPERATOR_ROLE, trust, policies).name.clone());
    }

    fn deploy(&self, stack: &Stack<'_>) -> Result<(), InstallError> {
        let AccountRegion { account, region } = stack.account_region().clone();
        let bus_id = |name: String| BusId { account: account.clone(), region: region.clone(), name };
        self.put_roles(stack)?;
        self.put_queues(stack)?;
        for name in stack.buses()? {
            self.sim.with(|world| create_bus(world, &bus_id(name)));
        }
        for policy in stack.bus_policies()? {
            let document = json!({ "Version": "2012-10-17", "Statement": [policy.statement] });
            self.sim.with(|world| put_bus_policy(world, &bus_id(policy.bus), document))?;
        }
        for rule in stack.rules()? {
            let bus = bus_id(rule.bus.clone());
            self.sim.put_rule(&bus, &rule_settings(rule)?)?;
        }
        Ok(())
    }

    fn put_roles(&self, stack: &Stack<'_>) -> Result<(), InstallError> {
        for role in stack.roles()? {
            let policies = match &self.withheld {
                Some(withheld) => withheld.from(&role.name, &role.policies),
                None => role.policies,
            };
            let account = &stack.account_region().account;
            self.sim.with(|world| world.put_role(account, &role.name, role.trust, policies).name.clone());
        }
        Ok(())
    }

    fn put_queues(&self, stack: &Stack<'_>) -> Result<(), InstallError> {
        let AccountRegion { account, region } = stack.account_region();
        let mut queues: Vec<QueueResource> = stack.queues()?;
        // A dead-letter queue must exist before the queue that refers to it.
        queues.sort_by_key(|queue| queue.redrive.is_some());
        for queue in queues {
            let settings = QueueSettings {
                fifo: queue.fifo,
                content_based_deduplication: queue.content_based_deduplication,
                // As in the template: dead letters are kept for 14 days, everything else for 4.
                retention_ms: if queue.redrive.is_some() { 345_600_000 } else { 1_209_600_000 },
                visibility_timeout_ms: queue.visibility_timeout_seconds * 1_000,
                redrive: queue
                    .redrive
                    .map(|(dead_letter_queue, max_receive_count)| Redrive { dead_letter_queue, max_receive_count }),
                ..QueueSettings::default()
            };
            self.sim.create_queue(account, region, &queue.name, settings)?;
        }
        Ok(())
    }

    /// ARN of the first destination of each enrolled Region.
    pub fn destination_arns(&self) -> BTreeMap<String, String> {
        let settings = &self.settings;
        let arn =
            |region| Arn::destination(region, settings.central_account, settings.destination_name.base()).to_string();
        settings.regions.iter().map(|region| (region.to_string(), arn(region))).collect()
    }
}

fn rule_settings(rule: PatternRule) -> Result<RuleSettings, InstallError> {
    let targets = rule.targets.into_iter().map(|target| match target {
        RuleTarget { arn, role_arn, message_group_id: None } if arn.contains(":event-bus/") => {
            Ok(Target::Bus { arn, role_arn })
        }
        RuleTarget { arn, role_arn: None, message_group_id } if arn.contains(":sqs:") => {
            Ok(Target::Queue { arn, message_group_id })
        }
        RuleTarget { arn, .. } => Err(InstallError::Target { rule: rule.name.clone(), arn }),
    });
    let targets = targets.collect::<Result<_, _>>()?;
    Ok(RuleSettings { name: rule.name, pattern: rule.pattern, targets, delay_ms: 0 })
}

fn bus(account: &str, region: &str) -> BusId {
    BusId { account: account.to_owned(), region: region.to_owned(), name: BUS.to_owned() }
}
