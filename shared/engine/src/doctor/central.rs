//! Checks of the central account: destinations and grants, buses and rules, queues.

use std::collections::BTreeSet;

use enroller_core::doctor::destinations::{
    Expected, check_absent, check_grants, check_policy, check_room, check_target,
};
use enroller_core::doctor::event_routes::{
    EventTarget, RequiredEvent, account_events, center_events, check_bus, check_route, member_events,
    watch_events_of_members,
};
use enroller_core::doctor::queues::{Purpose, QueueFacts, arn_of, check_dead_letters, check_queue, dead_letter_url};
use enroller_core::doctor::{Check, CheckId, CheckResult};
use enroller_core::grants::RegionGrants;
use enroller_core::ids::{AccountId, AccountRegion, Region};
use enroller_core::settings::GrantMode;
use futures::future::join_all;

use super::Checker;
use crate::ports::AwsResult;

const STACKS: &str = "update the central stacks, which create the buses, rules and queues";

impl Checker<'_> {
    /// Checks the destinations, their policies and grants in every enrolled Region. `in_scope` is absent if the
    /// accounts could not be listed.
    pub(super) async fn destinations(&self, in_scope: Option<&BTreeSet<AccountId>>) -> Vec<Check> {
        let regions = &self.doctor.ctx.settings.regions;
        let found: Vec<AwsResult<RegionGrants>> =
            join_all(regions.iter().map(|region| self.doctor.assignments.region_grants(region))).await;
        let first = found.iter().flatten().find_map(|grants| grants.shards().values().next());
        let expected = Expected::of(&self.doctor.ctx.settings, first);
        let of_region = |(region, found): (&Region, &AwsResult<RegionGrants>)| match found {
            Ok(grants) => self.of_region(grants, &expected, in_scope),
            Err(error) => vec![Check::could_not_look(CheckId::Destination, error).within(region)],
        };
        regions.iter().zip(&found).flat_map(of_region).collect()
    }

    fn of_region(
        &self,
        grants: &RegionGrants,
        expected: &Expected,
        in_scope: Option<&BTreeSet<AccountId>>,
    ) -> Vec<Check> {
        let settings = &self.doctor.ctx.settings;
        let check = |id, result| Check::new(id, result).within(grants.region());
        if grants.shards().is_empty() {
            return vec![check(CheckId::Destination, check_absent(settings))];
        }
        let mut checks = Vec::new();
        for shard in grants.shards().values() {
            let name = shard.name.as_str();
            checks.push(check(CheckId::Destination, check_target(shard, expected)).about(name));
            checks.push(check(CheckId::DestinationPolicy, check_policy(grants, shard, settings)).about(name));
        }
        if settings.grant_mode == GrantMode::AccountList {
            checks.push(check(CheckId::DestinationRoom, check_room(grants)));
        }
        if let Some(wanted) = in_scope {
            checks.push(check(CheckId::Grants, check_grants(grants, wanted, settings)));
        }
        checks
    }

    /// Checks the central account's buses and their rules, in every Region where events arrive.
    pub(super) async fn events(&self, management: Option<AccountId>) -> Vec<Check> {
        let settings = &self.doctor.ctx.settings;
        let mut regions: BTreeSet<Region> = settings.regions.clone();
        regions.insert(settings.home_region.clone());
        regions.extend(self.organizations_region());
        let checks = join_all(regions.iter().map(|region| self.bus_of(region, management))).await;
        checks.into_iter().flatten().collect()
    }

    async fn bus_of(&self, region: &Region, management: Option<AccountId>) -> Vec<Check> {
        let settings = &self.doctor.ctx.settings;
        let at = self.central(region);
        let bus = match self.doctor.facts.buses.bus(&at, self.bus).await {
            Ok(Some(bus)) => bus,
            Ok(None) => {
                let result = CheckResult::failed(format!("the bus {} does not exist", self.bus), STACKS);
                return vec![Check::new(CheckId::Bus, result).within(region)];
            }
            Err(error) => return vec![Check::could_not_look(CheckId::Bus, &error).within(region)],
        };
        let result = check_bus(&bus, &settings.organization_id, settings.central_account);
        let mut checks = vec![Check::new(CheckId::Bus, result).within(region)];
        // Rules match events of any account, so events of the caller's account represent them all.
        let of_members = || {
            let watched = watch_events_of_members(settings, region);
            member_events(settings, &at).into_iter().chain(watched).collect::<Vec<_>>()
        };
        let of_center = || center_events(settings, &at);
        let of_accounts = || {
            let account = management.unwrap_or(at.account);
            account_events(&AccountRegion { account, region: region.clone() })
        };
        if *region == settings.home_region {
            let queues = [
                (
                    "enrollments",
                    settings.enrollments_queue_url.as_ref(),
                    of_members(),
                    EventTarget::Queue as fn(String) -> EventTarget,
                ),
                (
                    "grants",
                    settings.grants_queue_url.as_ref(),
                    of_accounts().into_iter().chain(of_center()).collect(),
                    EventTarget::FifoQueue,
                ),
            ];
            for (name, url, needed, target) in queues {
                let target = url.and_then(|url| arn_of(url, region)).map(target);
                checks.extend(self.route(&at, self.bus, &needed, target, name).await);
            }
            checks.extend(self.own_changes(&at, &of_center()).await);
            return checks;
        }
        let is_enrolled = settings.regions.contains(region);
        let mut needed = if is_enrolled { of_members() } else { Vec::new() };
        if self.organizations_region().as_ref() == Some(region) {
            needed.extend(of_accounts());
        }
        let target = EventTarget::Bus(self.bus_arn(&settings.home_region));
        checks.extend(self.route(&at, self.bus, &needed, Some(target), "home").await);
        if is_enrolled {
            checks.extend(self.own_changes(&at, &of_center()).await);
        }
        checks
    }

    /// Checks the rules of the central account's default bus in a Region, which tell of changed destinations.
    async fn own_changes(&self, at: &AccountRegion, needed: &[RequiredEvent]) -> Option<Check> {
        let target = EventTarget::Bus(self.bus_arn(&self.doctor.ctx.settings.home_region));
        self.route(at, super::accounts::DEFAULT_BUS, needed, Some(target), "home, of changed destinations").await
    }

    /// Checks the rules of a bus that send events to `target`. Without a target, its queue is not set; the queue's own
    /// check reports that.
    async fn route(
        &self,
        at: &AccountRegion,
        bus: &str,
        needed: &[RequiredEvent],
        target: Option<EventTarget>,
        name: &str,
    ) -> Option<Check> {
        let target = target?;
        let check = match self.doctor.facts.buses.rules_towards(at, bus, target.arn()).await {
            Ok(rules) => Check::new(CheckId::BusRules, check_route(&rules, needed, &target, STACKS)),
            Err(error) => Check::could_not_look(CheckId::BusRules, &error),
        };
        Some(check.within(&at.region).about(format!("to {name}")))
    }

    /// Checks the functions' queues and their dead-letter queues.
    pub(super) async fn queues(&self, accounts: usize) -> Vec<Check> {
        let settings = &self.doctor.ctx.settings;
        let queues = [
            ("enrollments_queue_url", &settings.enrollments_queue_url, Purpose::Requests),
            ("grants_queue_url", &settings.grants_queue_url, Purpose::Grants),
            ("backfill_queue_url", &settings.backfill_queue_url, Purpose::Requests),
        ];
        let mut checks = Vec::new();
        for (key, url, purpose) in queues {
            match url {
                Some(url) => checks.extend(self.queue(url, purpose, accounts).await),
                None => {
                    let result = CheckResult::unknown(
                        format!("{key} is not set"),
                        format!("set {key} (--set, or the configuration file) to the queue's URL"),
                    );
                    checks.push(Check::new(CheckId::Queue, result).about(key));
                }
            }
        }
        checks
    }

    async fn queue(&self, url: &str, purpose: Purpose, accounts: usize) -> Vec<Check> {
        let (check, queue) = self.queue_facts(CheckId::Queue, url).await;
        let Some(queue) = queue else { return check.into_iter().collect() };
        let mut checks = vec![Check::new(CheckId::Queue, check_queue(&queue, purpose, accounts)).about(name_of(url))];
        let Some(dead) = queue.redrive.and_then(|redrive| dead_letter_url(url, &redrive)) else { return checks };
        let (check, letters) = self.queue_facts(CheckId::DeadLetters, &dead).await;
        checks.extend(check);
        checks.extend(
            letters.map(|letters| Check::new(CheckId::DeadLetters, check_dead_letters(&letters)).about(name_of(&dead))),
        );
        checks
    }

    /// The facts about a queue, or the check that reports why there are none.
    async fn queue_facts(&self, id: CheckId, url: &str) -> (Option<Check>, Option<QueueFacts>) {
        let check = match self.doctor.facts.queues.queue(url).await {
            Ok(Some(queue)) => return (None, Some(queue)),
            Ok(None) => Check::new(id, CheckResult::failed(format!("the queue {url} does not exist"), STACKS)),
            Err(error) => Check::could_not_look(id, &error),
        };
        (Some(check.about(name_of(url))), None)
    }
}

fn name_of(url: &str) -> &str {
    url.rsplit('/').next().unwrap_or(url)
}
