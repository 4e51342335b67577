//! State of EC2 per account and Region.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::world::World;

/// A VPC, which its owner may share with other accounts.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "`owner`, `region` and `cidr` are EC2's own")]
pub struct Vpc {
    /// `vpc-` and 17 hex digits.
    pub id: String,
    pub owner: String,
    pub region: String,
    pub cidr: String,
    /// Whether it is the default VPC of the Region.
    pub is_default: bool,
    /// `default` or `dedicated`.
    pub tenancy: String,
    /// Tags, which only the owner sees.
    pub tags: BTreeMap<String, String>,
    /// Creation, in epoch milliseconds.
    pub created_ms: u64,
    /// Accounts that AWS RAM shares it with.
    pub shared_with: BTreeSet<String>,
}

/// Result of the last delivery of a flow log.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the variants are EC2's own")]
pub enum DeliverStatus {
    Success,
    /// `FAILED`, with `DeliverLogsErrorMessage`.
    Failed(String),
}

/// A flow log subscription.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "`tags` are EC2's own")]
pub struct FlowLog {
    /// `fl-` and 17 hex digits.
    pub id: String,
    /// Id of the VPC that it captures.
    pub resource_id: String,
    /// `ACCEPT`, `REJECT` or `ALL`.
    pub traffic_type: String,
    /// `cloud-watch-logs`, `s3` or `kinesis-data-firehose`.
    pub log_destination_type: String,
    /// Log group, for CloudWatch Logs only, whichever way the request named it.
    pub log_group_name: Option<String>,
    /// ARN of log group, bucket or stream.
    pub log_destination: Option<String>,
    /// Delivery role, for CloudWatch Logs.
    pub deliver_logs_permission_arn: Option<String>,
    /// 60 or 600 seconds.
    pub max_aggregation_interval: u32,
    /// Fields of a record.
    pub log_format: String,
    pub tags: BTreeMap<String, String>,
    /// Creation, in epoch milliseconds.
    pub created_ms: u64,
    /// Set by the data plane; `None` before the first delivery.
    pub deliver_logs_status: Option<DeliverStatus>,
}

/// What `CreateFlowLogs` answered to a client token.
#[derive(Clone, Debug)]
pub(super) struct TokenUse {
    /// Every other parameter of the request.
    pub(super) request: Vec<(String, String)>,
    /// The facts that the answer is made of.
    pub(super) facts: Value,
}

/// One account in one Region.
#[derive(Debug, Default)]
pub(super) struct RegionState {
    pub(super) vpcs: BTreeMap<String, Vpc>,
    pub(super) flow_logs: BTreeMap<String, FlowLog>,
    /// Ids of the flow logs of each resource.
    pub(super) by_resource: BTreeMap<String, Vec<String>>,
    pub(super) tokens: BTreeMap<String, TokenUse>,
    /// Deleted flow logs that go on recording, and until when.
    pub(super) stopping: Vec<(FlowLog, u64)>,
}

impl RegionState {
    pub(super) fn add_flow_log(&mut self, flow_log: FlowLog) {
        self.by_resource.entry(flow_log.resource_id.clone()).or_default().push(flow_log.id.clone());
        self.flow_logs.insert(flow_log.id.clone(), flow_log);
    }

    pub(super) fn remove_flow_log(&mut self, id: &str) -> Option<FlowLog> {
        let removed = self.flow_logs.remove(id)?;
        if let Some(ids) = self.by_resource.get_mut(&removed.resource_id) {
            ids.retain(|other| other != id);
        }
        Some(removed)
    }

    pub(super) fn flow_logs_of<'a>(&'a self, resource_id: &str) -> impl Iterator<Item = &'a FlowLog> {
        self.by_resource.get(resource_id).into_iter().flatten().filter_map(|id| self.flow_logs.get(id))
    }
}

/// Flow logs by id, and their ids by resource.
#[derive(Clone, Debug, Default)]
pub(crate) struct FlowLogs(BTreeMap<String, FlowLog>, BTreeMap<String, Vec<String>>);

/// VPCs and flow logs of all accounts.
#[derive(Debug, Default)]
pub struct Ec2State {
    accounts: BTreeMap<String, BTreeMap<String, RegionState>>,
    /// Owner and id of the VPCs shared into an account and Region.
    shared: BTreeMap<String, BTreeMap<String, BTreeSet<(String, String)>>>,
}

impl Ec2State {
    /// Tags of a VPC or a flow log; `None` where the account has none of this id in the Region.
    pub fn tags_of(&self, account: &str, region: &str, id: &str) -> Option<&BTreeMap<String, String>> {
        let state = self.region(account, region)?;
        let flow_log = state.flow_logs.get(id).map(|flow_log| &flow_log.tags);
        flow_log.or_else(|| state.vpcs.get(id).map(|vpc| &vpc.tags))
    }

    pub(super) fn region(&self, account: &str, region: &str) -> Option<&RegionState> {
        self.accounts.get(account)?.get(region)
    }

    pub(super) fn region_mut(&mut self, account: &str, region: &str) -> &mut RegionState {
        self.accounts.entry(account.to_owned()).or_default().entry(region.to_owned()).or_default()
    }

    /// Flow logs of a VPC that record at this time: those that are old enough, and deleted ones that have not stopped.
    pub(crate) fn recording(
        &self,
        account: &str,
        region: &str,
        vpc_id: &str,
        now_ms: u64,
        delay_ms: u64,
    ) -> impl Iterator<Item = &FlowLog> {
        let stopping = self.region(account, region).into_iter().flat_map(|state| &state.stopping);
        let stopping =
            stopping.filter(move |(flow_log, until_ms)| flow_log.resource_id == vpc_id && now_ms < *until_ms);
        let all = self.flow_logs_of(account, region, vpc_id).chain(stopping.map(|(flow_log, _)| flow_log));
        all.filter(move |flow_log| now_ms >= flow_log.created_ms.saturating_add(delay_ms))
    }

    /// The flow logs of an account and Region, to keep.
    pub(crate) fn copy_flow_logs(&self, account: &str, region: &str) -> FlowLogs {
        let state = self.region(account, region);
        state.map(|state| FlowLogs(state.flow_logs.clone(), state.by_resource.clone())).unwrap_or_default()
    }

    /// Exchanges the flow logs of an account and Region.
    pub(crate) fn swap_flow_logs(&mut self, account: &str, region: &str, other: &mut FlowLogs) {
        let state = self.region_mut(account, region);
        std::mem::swap(&mut state.flow_logs, &mut other.0);
        std::mem::swap(&mut state.by_resource, &mut other.1);
    }

    /// VPCs that the account owns in the Region, by id.
    pub fn vpcs(&self, account: &str, region: &str) -> impl Iterator<Item = &Vpc> {
        self.region(account, region).into_iter().flat_map(|state| state.vpcs.values())
    }

    /// All VPCs of all accounts.
    pub fn all_vpcs(&self) -> impl Iterator<Item = &Vpc> {
        self.accounts.values().flat_map(BTreeMap::values).flat_map(|state| state.vpcs.values())
    }

    /// A VPC that the account owns in the Region.
    pub fn vpc(&self, account: &str, region: &str, id: &str) -> Option<&Vpc> {
        self.region(account, region)?.vpcs.get(id)
    }

    /// VPCs of others that are shared into the account and Region.
    pub fn shared_vpcs(&self, account: &str, region: &str) -> impl Iterator<Item = &Vpc> {
        let keys = self.shared.get(account).and_then(|regions| regions.get(region)).into_iter().flatten();
        keys.filter_map(move |(owner, id)| self.vpc(owner, region, id))
    }

    /// Flow logs of the account in the Region, by id.
    pub fn flow_logs(&self, account: &str, region: &str) -> impl Iterator<Item = &FlowLog> {
        self.region(account, region).into_iter().flat_map(|state| state.flow_logs.values())
    }

    /// Flow logs of one VPC, in the order of their creation.
    pub fn flow_logs_of(&self, account: &str, region: &str, vpc_id: &str) -> impl Iterator<Item = &FlowLog> {
        self.region(account, region).into_iter().flat_map(|state| state.flow_logs_of(vpc_id))
    }

    /// Notes how the delivery of a flow log went; nothing happens when the flow log is gone.
    pub fn set_delivery(&mut self, account: &str, region: &str, id: &str, outcome: Result<(), String>) {
        if let Some(flow_log) = self.region_mut(account, region).flow_logs.get_mut(id) {
            flow_log.deliver_logs_status = Some(match outcome {
                Ok(()) => DeliverStatus::Success,
                Err(message) => DeliverStatus::Failed(message),
            });
        }
    }

    /// Shares a VPC with another account, as AWS RAM does. False when the owner has no such VPC.
    pub fn share_vpc(&mut self, owner: &str, region: &str, id: &str, with: &str) -> bool {
        let Some(vpc) = self.region_mut(owner, region).vpcs.get_mut(id) else { return false };
        vpc.shared_with.insert(with.to_owned());
        let regions = self.shared.entry(with.to_owned()).or_default();
        regions.entry(region.to_owned()).or_default().insert((owner.to_owned(), id.to_owned()));
        true
    }

    /// Takes everything of an account away, as AWS does long after it was closed.
    pub fn remove_account(&mut self, account: &str) {
        self.accounts.remove(account);
        self.shared.remove(account);
    }
}

impl World {
    /// Makes a VPC without a call and without an event; gives its id. `is_default` as AWS makes one per Region.
    pub fn put_vpc(&mut self, account: &str, region: &str, cidr: &str, is_default: bool) -> String {
        let id = format!("vpc-{}", self.ids.hex(17));
        let vpc = Vpc {
            id: id.clone(),
            owner: account.to_owned(),
            region: region.to_owned(),
            cidr: cidr.to_owned(),
            is_default,
            tenancy: "default".to_owned(),
            tags: BTreeMap::new(),
            created_ms: self.now_ms(),
            shared_with: BTreeSet::new(),
        };
        self.ec2.region_mut(account, region).vpcs.insert(id.clone(), vpc);
        id
    }

    /// Sets a tag of a VPC without a call and without an event. False when there is no such VPC.
    pub fn put_vpc_tag(&mut self, account: &str, region: &str, id: &str, key: &str, value: &str) -> bool {
        let vpc = self.ec2.region_mut(account, region).vpcs.get_mut(id);
        vpc.is_some_and(|vpc| {
            vpc.tags.insert(key.to_owned(), value.to_owned());
            true
        })
    }
}
