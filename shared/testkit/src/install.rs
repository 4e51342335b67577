//! What the stacks make, put into a simulated AWS: roles, buses, rules, queues, stream.

use std::collections::BTreeMap;

use enroller_core::arn::Arn;
use enroller_core::ids::AccountId;
use enroller_core::policy::{delivery_role, filter_role};
use enroller_core::settings::{DeliveryRoleMaker, GrantMode, Settings, SettingsError};
use enroller_sim::cloudtrail::{StackStatus, stack_status};
use enroller_sim::events::{BusId, RuleError, RuleSettings, Target};
use enroller_sim::sqs::QueueError;
use enroller_sim::sqs_queue::{QueueSettings, Redrive};
use enroller_sim::{Sim, World};
use serde_json::{Value, json};

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
/// Queue of the enroller.
pub const ENROLLMENTS: &str = "enrollments";
/// Queue of the onboarder.
pub const GRANTS: &str = "grants.fifo";
/// Queue on which backfill goes on.
pub const BACKFILL: &str = "backfill";
/// Milliseconds a received message of [`BACKFILL`] stays hidden: six times the function's five minutes, which tests of
/// its deadline let pass.
const BACKFILL_VISIBILITY_MS: u64 = 1_800_000;
/// Milliseconds a received message stays hidden: six times a function's five minutes would stall the simulation for
/// nothing; what matters is that it is longer than one invocation, which takes no virtual time.
const VISIBILITY_MS: u64 = 60_000;
/// Receives before a message goes to the dead-letter queue. With waits that double up to 15 minutes, an account may
/// take some two hours to become ready.
const MAX_RECEIVES: u32 = 12;

/// Why an installation could not be made.
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
}

/// Settings for an installation in the organization of a simulated AWS; `changes` come on top.
///
/// # Errors
///
/// A change is refused like any bad setting.
pub fn installation_settings(
    sim: &Sim,
    regions: &[String],
    changes: &[(&str, &str)],
) -> Result<Settings, SettingsError> {
    let central = sim.central();
    let home = regions.first().cloned().unwrap_or_default();
    let queue = |name: &str| format!("https://sqs.{home}.amazonaws.com/{central}/{name}");
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
}

impl Installation {
    /// The stacks for these settings.
    pub fn new(sim: Sim, settings: Settings) -> Self {
        Self { sim, settings }
    }

    /// Central, regional and management stacks.
    ///
    /// # Errors
    ///
    /// Something the simulated AWS refuses.
    pub fn deploy_center(&self) -> Result<(), InstallError> {
        let central = self.settings.central_account.to_string();
        let home = self.settings.home_region.to_string();
        self.sim.with(|world| self.central_roles(world, &central));
        for (name, fifo, visibility_timeout_ms) in [
            (ENROLLMENTS, false, VISIBILITY_MS),
            (GRANTS, true, VISIBILITY_MS),
            (BACKFILL, false, BACKFILL_VISIBILITY_MS),
        ] {
            let dead = if fifo { name.replace(".fifo", "-dead.fifo") } else { format!("{name}-dead") };
            let settings = QueueSettings { fifo, visibility_timeout_ms, ..QueueSettings::default() };
            self.sim.create_queue(&central, &home, &dead, settings.clone())?;
            let redrive = Some(Redrive { dead_letter_queue: dead, max_receive_count: MAX_RECEIVES });
            let content_based_deduplication = fifo;
            self.sim.create_queue(
                &central,
                &home,
                name,
                QueueSettings { redrive, content_based_deduplication, ..settings },
            )?;
        }
        self.central_buses(&central, &home)?;
        self.management_rule(&central, &home)
    }

    fn central_roles(&self, world: &mut World, central: &str) {
        let lambda = json!({ "Version": "2012-10-17", "Statement": [{
            "Effect": "Allow", "Principal": { "Service": "lambda.amazonaws.com" }, "Action": "sts:AssumeRole" }] });
        for (_, role) in FUNCTION_ROLES {
            world.put_role(central, role, lambda.clone(), BTreeMap::new());
        }
        let organization = self.settings.organization_id.as_str();
        let logs = json!({ "Version": "2012-10-17", "Statement": [{
            "Effect": "Allow", "Principal": { "Service": "logs.amazonaws.com" }, "Action": "sts:AssumeRole",
            "Condition": { "StringEquals": { "aws:SourceOrgID": organization } } }] });
        let stream = stream_arn(self.settings.home_region.as_str(), central);
        let write = json!({ "Version": "2012-10-17", "Statement": [{
            "Effect": "Allow", "Action": ["firehose:PutRecord", "firehose:PutRecordBatch"], "Resource": stream.clone() }] });
        world.put_role(central, DESTINATION_ROLE, logs, BTreeMap::from([("WriteToStream".to_owned(), write)]));
        world.logs.add_stream(&stream);
    }

    fn central_buses(&self, central: &str, home: &str) -> Result<(), InstallError> {
        let organization = self.settings.organization_id.as_str();
        let mut regions: Vec<String> = self.settings.regions.iter().map(ToString::to_string).collect();
        // Account events arise in the Region of Organizations, enrolled or not.
        regions.extend([home.to_owned(), self.settings.partition().organizations_region().to_owned()]);
        regions.sort();
        regions.dedup();
        let home_bus = bus(central, home);
        for region in &regions {
            let id = bus(central, region);
            let policy = json!({ "Version": "2012-10-17", "Statement": [{
                "Sid": "Organization", "Effect": "Allow", "Principal": "*", "Action": "events:PutEvents",
                "Resource": id.to_string(), "Condition": { "StringEquals": { "aws:PrincipalOrgID": organization } } }] });
            self.sim.with(|world| {
                enroller_sim::events::create_bus(world, &id);
                enroller_sim::events::put_bus_policy(world, &id, policy)
            })?;
            if region != home {
                let target = Target::Bus { arn: home_bus.to_string(), role_arn: Some(forwarder(central)) };
                let pattern = json!({ "source": [{ "prefix": "aws." }] });
                self.rule(&id, "forward-to-home", pattern, target)?;
            }
        }
        let queue = |name: &str| format!("arn:aws:sqs:{home}:{central}:{name}");
        let vpc_events = json!({ "source": ["aws.ec2", "aws.logs", "aws.cloudformation"] });
        let target = Target::Queue { arn: queue(ENROLLMENTS), message_group_id: None };
        self.rule(&home_bus, "vpc-events", vpc_events, target)?;
        let account_events = json!({ "source": ["aws.organizations", "aws.controltower"] });
        let target = Target::Queue { arn: queue(GRANTS), message_group_id: Some("grants".to_owned()) };
        self.rule(&home_bus, "account-events", account_events, target)
    }

    fn management_rule(&self, central: &str, home: &str) -> Result<(), InstallError> {
        let region = self.settings.partition().organizations_region();
        let management = self.sim.management();
        let pattern = json!({
            "source": ["aws.organizations", "aws.controltower"],
            "detail": { "eventName": [
                "CreateAccountResult", "CreateManagedAccount", "UpdateManagedAccount", "RegisterOrganizationalUnit",
                "AccountJoinedOrganization", "MoveAccount", "RemoveAccountFromOrganization", "CloseAccountResult",
                "AccountDepartedOrganization"] }
        });
        // Same Region first: a hop to another account and another Region at once is not known to work.
        let target = if region == home { bus(central, home) } else { bus(central, region) };
        let target = Target::Bus { arn: target.to_string(), role_arn: Some(forwarder(&management)) };
        self.rule(&BusId::default_bus(&management, region), "enroller-account-events", pattern, target)
    }

    /// The member stack in one account: roles once, rules in every enrolled Region, and the event of its completion.
    ///
    /// # Errors
    ///
    /// Something the simulated AWS refuses.
    pub fn deploy_member(&self, account: &str) -> Result<(), InstallError> {
        self.sim.with(|world| self.member_roles(world, account));
        let central = self.settings.central_account.to_string();
        for region in &self.settings.regions {
            // From the central account straight home, as in the template: EventBridge does not pass an event through
            // three buses of one account.
            let of = if account == central { &self.settings.home_region } else { region };
            let target =
                Target::Bus { arn: bus(&central, of.as_str()).to_string(), role_arn: Some(forwarder(account)) };
            self.rule(
                &BusId::default_bus(account, region.as_str()),
                "enroller-vpc-events",
                self.member_pattern(),
                target,
            )?;
        }
        Ok(())
    }

    /// CloudFormation tells that the member stack is complete in every enrolled Region.
    pub fn announce_member(&self, account: &str) {
        let stack_name = format!("StackSet-{}-0001", self.settings.member_stack_name);
        for region in &self.settings.regions {
            let change =
                StackStatus { account, region: region.as_str(), stack_name: &stack_name, status: "CREATE_COMPLETE" };
            self.sim.with(|world| stack_status(world, &change));
        }
    }

    fn member_pattern(&self) -> Value {
        let group = self.settings.log_group_name.as_str();
        json!({ "$or": [
            { "source": ["aws.ec2"], "detail": {
                "eventName": ["CreateVpc", "CreateDefaultVpc", "DeleteFlowLogs"], "errorCode": [{ "exists": false }] } },
            { "source": ["aws.logs"], "detail": {
                "eventName": ["DeleteLogGroup", "DeleteSubscriptionFilter", "PutSubscriptionFilter",
                    "PutRetentionPolicy", "DeleteRetentionPolicy"],
                "requestParameters": { "logGroupName": [group] }, "errorCode": [{ "exists": false }] } },
            { "source": ["aws.cloudformation"], "detail": {
                "status-details": { "status": ["CREATE_COMPLETE", "UPDATE_COMPLETE"] } } }
        ] })
    }

    fn member_roles(&self, world: &mut World, account: &str) {
        let settings = &self.settings;
        let central = settings.central_account;
        let mut principals: Vec<String> =
            FUNCTION_ROLES.iter().map(|(_, role)| format!("arn:aws:iam::{central}:role/{role}")).collect();
        // Beside the functions, a person of the central account, as with the command line tool.
        principals.push(format!("arn:aws:iam::{central}:root"));
        let mut condition = json!({ "StringEquals": { "aws:PrincipalOrgID": settings.organization_id.as_str() } });
        if let Some(id) = &settings.external_id {
            condition["StringEquals"]["sts:ExternalId"] = json!(id);
        }
        let trust = json!({ "Version": "2012-10-17", "Statement": [{
            "Effect": "Allow", "Principal": { "AWS": principals }, "Action": "sts:AssumeRole", "Condition": condition }] });
        world.put_role(account, settings.member_role_name.as_str(), trust, BTreeMap::new());
        let Ok(id) = account.parse::<AccountId>() else { return };
        let (partition, group) = (settings.partition(), &settings.log_group_name);
        if settings.delivery_role_maker == DeliveryRoleMaker::MemberStack {
            let policy = delivery_role::permissions(partition, id, group);
            let policies = BTreeMap::from([(settings.delivery_role_policy_name.clone(), policy)]);
            let trust = delivery_role::trust_policy(partition, id);
            world.put_role(account, settings.delivery_role_name.as_str(), trust, policies);
        }
        if settings.grant_mode == GrantMode::Organization {
            let policies = BTreeMap::from([("Deliver".to_owned(), filter_role::permissions(partition, id, group))]);
            let trust = filter_role::trust_policy(partition, id);
            world.put_role(account, settings.filter_role_name.as_str(), trust, policies);
        }
    }

    fn rule(&self, bus: &BusId, name: &str, pattern: Value, target: Target) -> Result<(), InstallError> {
        let settings = RuleSettings { name: name.to_owned(), pattern, targets: vec![target], delay_ms: 0 };
        Ok(self.sim.put_rule(bus, &settings)?)
    }

    /// ARN of the first destination of each enrolled Region.
    pub fn destination_arns(&self) -> BTreeMap<String, String> {
        let settings = &self.settings;
        let arn = |region| Arn::destination(region, settings.central_account, &settings.destination_name).to_string();
        settings.regions.iter().map(|region| (region.to_string(), arn(region))).collect()
    }
}

fn bus(account: &str, region: &str) -> BusId {
    BusId { account: account.to_owned(), region: region.to_owned(), name: BUS.to_owned() }
}

fn forwarder(account: &str) -> String {
    format!("arn:aws:iam::{account}:role/VpcFlowLogsEnrollerForwarder")
}
