//! Checks of the accounts: roles, Regions, rules, trails and quotas. The management account has its own rules and
//! trail.

use std::collections::BTreeSet;

use enroller_core::doctor::event_routes::{
    EventTarget, RequiredEvent, account_events, check_route, member_events, watch_events,
};
use enroller_core::doctor::members::{
    RoleFacts, ServiceRole, check_filter_slots, check_flow_log_slots, check_member_role, check_regions,
    check_service_role, check_trails,
};
use enroller_core::doctor::{Check, CheckId, CheckResult, Status};
use enroller_core::error::AwsError;
use enroller_core::ids::{AccountId, AccountRegion, Region};
use enroller_core::names::RoleName;
use enroller_core::policy::{delivery_role, filter_role};
use enroller_core::settings::{DeliveryRoleMaker, GrantMode};
use futures::future::{join, join_all, join4};
use futures::stream::{StreamExt, iter};
use serde_json::Value;

use super::Checker;
use crate::ports::AwsResult;

/// The event bus that AWS services send to.
pub(super) const DEFAULT_BUS: &str = "default";

/// Name of the filter role's inline policy in the templates.
const FILTER_ROLE_POLICY: &str = "Deliver";

impl Checker<'_> {
    /// Checks the management account, the only one that receives events about accounts that join and leave.
    pub(super) async fn management(&self, management: Option<AccountId>) -> Vec<Check> {
        let (Some(account), Some(region)) = (management, self.organizations_region()) else { return Vec::new() };
        if let Err(error) = self.doctor.ports.sessions.assume(account).await {
            let finding = format!("the member role of the management account cannot be assumed: {error}");
            let remedy = "deploy the member stack there as well (StackSets leave it out), or check its default bus and \
                          trail in the console";
            let check = Check::new(CheckId::ManagementRules, CheckResult::unknown(finding, remedy));
            return vec![Check { request_id: error.request_id, ..check }.of(account).within(&region)];
        }
        let at = AccountRegion { account, region };
        let remedy = "update the management stack, which creates this rule";
        let (rules, trail) = join(
            self.forwarded(CheckId::ManagementRules, &at, &account_events(&at), remedy),
            self.trail(CheckId::ManagementTrail, &at),
        )
        .await;
        vec![rules, trail]
    }

    /// Checks each of these accounts, several at a time.
    pub(super) async fn accounts(&self, accounts: &[AccountId]) -> Vec<Check> {
        let concurrency = self.doctor.ctx.settings.max_concurrency.max(1);
        let checks: Vec<Vec<Check>> =
            iter(accounts).map(|account| self.account(*account)).buffer_unordered(concurrency).collect().await;
        checks.into_iter().flatten().collect()
    }

    async fn account(&self, account: AccountId) -> Vec<Check> {
        let settings = &self.doctor.ctx.settings;
        let assumed = self.doctor.ports.sessions.assume(account).await;
        let result = check_member_role(settings, assumed.as_ref().copied());
        let mut role = Check::new(CheckId::MemberRole, result).of(account);
        role.request_id = assumed.err().and_then(|error| error.request_id);
        if role.status() != Status::Ok {
            return vec![role];
        }
        let (enabled, delivery, filter) =
            (self.doctor.ports.ec2.enabled_regions(account), self.delivery_role(account), self.filter_role(account));
        let (enabled, (delivery, filter)) = join(enabled, join(delivery, filter)).await;
        let regions = match &enabled {
            Ok(enabled) => settings.regions.intersection(enabled).cloned().collect(),
            Err(_) => settings.regions.clone(),
        };
        let mut checks = vec![role, delivery];
        checks.push(
            answered(CheckId::EnabledRegions, &enabled, |found| check_regions(&settings.regions, found)).of(account),
        );
        checks.extend(filter);
        checks.extend(self.account_regions(account, &regions).await);
        checks
    }

    async fn account_regions(&self, account: AccountId, regions: &BTreeSet<Region>) -> Vec<Check> {
        let at = |region: &Region| AccountRegion { account, region: region.clone() };
        let checks = join_all(regions.iter().map(|region| self.at(at(region)))).await;
        checks.into_iter().flatten().collect()
    }

    async fn at(&self, at: AccountRegion) -> Vec<Check> {
        let (settings, aws) = (&self.doctor.ctx.settings, &self.doctor.ports);
        let mut needed = member_events(settings, &at);
        needed.extend(watch_events(settings, &at));
        let remedy = "update the member stack (StackSet) in this account and Region";
        let (rules, trail, filters, slots) = join4(
            self.forwarded(CheckId::MemberRules, &at, &needed, remedy),
            self.trail(CheckId::Trail, &at),
            aws.logs.subscription_filters(&at, &settings.log_group_name),
            join(aws.ec2.vpcs(&at), aws.ec2.flow_logs(&at)),
        )
        .await;
        let slots = match slots {
            (Ok(vpcs), Ok(flow_logs)) => Ok((vpcs, flow_logs)),
            (Err(error), _) | (_, Err(error)) => Err(error),
        };
        vec![
            rules,
            trail,
            answered(CheckId::FilterSlots, &filters, |filters| check_filter_slots(settings, filters)).at(&at),
            answered(CheckId::FlowLogSlots, &slots, |(vpcs, logs)| check_flow_log_slots(&at, vpcs, logs)).at(&at),
        ]
    }

    /// Whether rules of the default bus send the required events to the central account's bus in the same Region. In
    /// the central account itself they send them directly to the home Region, because EventBridge does not pass an
    /// event through three buses of one account (user guide, "Sending and receiving events between AWS accounts").
    async fn forwarded(&self, id: CheckId, at: &AccountRegion, needed: &[RequiredEvent], remedy: &str) -> Check {
        let settings = &self.doctor.ctx.settings;
        let own = at.account == settings.central_account;
        let target = EventTarget::Bus(self.bus_arn(if own { &settings.home_region } else { &at.region }));
        let rules = self.doctor.facts.buses.rules_towards(at, DEFAULT_BUS, target.arn()).await;
        answered(id, &rules, |rules| check_route(rules, needed, &target, remedy)).at(at)
    }

    /// Checks that a trail is logging. It asks about one trail after the other until one is.
    async fn trail(&self, id: CheckId, at: &AccountRegion) -> Check {
        let trails = match self.doctor.facts.trails.trails(at).await {
            Ok(trails) => trails,
            Err(error) => return Check::could_not_look(id, &error).at(at),
        };
        let mut last_error: Option<AwsError> = None;
        for trail in &trails {
            match self.doctor.facts.trails.is_logging(at, &trail.arn).await {
                Ok(true) => return Check::new(id, check_trails(&trails, Some(trail), None)).at(at),
                Ok(false) => {}
                Err(error) => last_error = Some(error),
            }
        }
        let check = Check::new(id, check_trails(&trails, None, last_error.as_ref())).at(at);
        Check { request_id: last_error.and_then(|error| error.request_id), ..check }
    }

    async fn delivery_role(&self, account: AccountId) -> Check {
        let settings = &self.doctor.ctx.settings;
        let (partition, group) = (settings.partition(), &settings.log_group_name);
        let wanted = ServiceRole {
            service: "vpc-flow-logs.amazonaws.com",
            trust: &delivery_role::trust_policy(partition, account),
            permissions: &delivery_role::permissions(partition, account, group),
            policy_name: &settings.delivery_role_policy_name,
        };
        let name = &settings.delivery_role_name;
        self.service_role(CheckId::DeliveryRole, account, name, &wanted, settings.delivery_role_maker).await
    }

    /// Checks the filter role. It is needed only if the organization is granted.
    async fn filter_role(&self, account: AccountId) -> Option<Check> {
        let settings = &self.doctor.ctx.settings;
        match settings.grant_mode {
            GrantMode::AccountList => return None,
            GrantMode::Organization => {}
        }
        let (partition, group) = (settings.partition(), &settings.log_group_name);
        let wanted = ServiceRole {
            service: "logs.amazonaws.com",
            trust: &filter_role::trust_policy(partition, account),
            permissions: &filter_role::permissions(partition, account, group),
            policy_name: FILTER_ROLE_POLICY,
        };
        let (name, maker) = (&settings.filter_role_name, DeliveryRoleMaker::MemberStack);
        Some(self.service_role(CheckId::FilterRole, account, name, &wanted, maker).await)
    }

    async fn service_role(
        &self,
        id: CheckId,
        account: AccountId,
        name: &RoleName,
        wanted: &ServiceRole<'_>,
        maker: DeliveryRoleMaker,
    ) -> Check {
        let facts = self.role_facts(account, name, wanted.policy_name).await;
        answered(id, &facts, |role| check_service_role(role.as_ref(), wanted, maker)).of(account).about(name.as_str())
    }

    async fn role_facts(&self, account: AccountId, name: &RoleName, policy: &str) -> AwsResult<Option<RoleFacts>> {
        let roles = &self.doctor.ports.roles;
        let Some(role) = roles.role(account, name).await? else { return Ok(None) };
        let policy: Option<Value> = roles.inline_policy(account, name, policy).await?;
        Ok(Some(RoleFacts { trust: role.trust, policy }))
    }
}

/// A check of the facts, or one that could not be made because reading them failed.
fn answered<T>(id: CheckId, answer: &AwsResult<T>, check: impl FnOnce(&T) -> CheckResult) -> Check {
    match answer {
        Ok(found) => Check::new(id, check(found)),
        Err(error) => Check::could_not_look(id, error),
    }
}
