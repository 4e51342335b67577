//! VPCs and flow logs, with EC2's refusals that the engine reckons with.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use enroller_core::error::AwsError;
use enroller_core::ids::{AccountId, AccountRegion, FlowLogId, Region, VpcId};
use enroller_core::observed::{Delivery, FlowLog, FlowLogTarget, Vpc};
use enroller_core::settings::Tag;

use super::flow_log_id;
use super::journal::Journal;
use crate::ports::{AwsResult, Ec2, NewFlowLogs};

pub(crate) struct FakeEc2 {
    pub(crate) journal: Arc<Journal>,
    pub(crate) vpcs: Mutex<BTreeMap<AccountRegion, Vec<Vpc>>>,
    pub(crate) flow_logs: Mutex<BTreeMap<AccountRegion, Vec<FlowLog>>>,
    /// VPCs whose flow log is refused, while those of the same call are made.
    pub(crate) refused: Mutex<BTreeMap<VpcId, &'static str>>,
    /// VPCs for which whole calls are refused.
    pub(crate) poison: Mutex<BTreeMap<VpcId, &'static str>>,
    /// How long a new flow log is not shown, in milliseconds.
    pub(crate) lag_ms: AtomicU64,
    /// Regions that accounts have enabled.
    pub(crate) enabled: Mutex<BTreeSet<Region>>,
}

impl FakeEc2 {
    pub(crate) fn new(journal: &Arc<Journal>, enabled: &BTreeSet<Region>) -> Self {
        let (vpcs, flow_logs, refused, poison, lag_ms) = Default::default();
        let enabled = Mutex::new(enabled.clone());
        Self { journal: Arc::clone(journal), vpcs, flow_logs, refused, poison, lag_ms, enabled }
    }

    pub(crate) fn flow_logs_of(&self, at: &AccountRegion) -> Vec<FlowLog> {
        self.flow_logs.lock().unwrap().get(at).cloned().unwrap_or_default()
    }

    pub(crate) fn add_flow_log(&self, at: &AccountRegion, flow_log: FlowLog) {
        self.flow_logs.lock().unwrap().entry(at.clone()).or_default().push(flow_log);
    }

    fn create(&self, at: &AccountRegion, new: &NewFlowLogs, vpc: &VpcId) -> AwsResult<FlowLogId> {
        let refusal = |code| Err(AwsError::answered("ec2:CreateFlowLogs", code, "as AWS does"));
        if let Some(code) = self.refused.lock().unwrap().get(vpc) {
            return refusal(code);
        }
        if !self.vpcs.lock().unwrap().get(at).is_some_and(|vpcs| vpcs.iter().any(|it| it.id == *vpc)) {
            return refusal("InvalidVpcId.NotFound");
        }
        let mut all = self.flow_logs.lock().unwrap();
        let number = 0x1000 + all.values().flatten().count();
        let here = all.entry(at.clone()).or_default();
        let target = FlowLogTarget::LogGroup(new.log_group.to_string());
        let traffic_type = Some(new.spec.traffic_type);
        let twin = |it: &&FlowLog| (it.traffic_type, &it.target) == (traffic_type, &target);
        if here.iter().filter(|it| it.resource == vpc.as_str()).find(twin).is_some() {
            return refusal("FlowLogAlreadyExists");
        }
        let id = flow_log_id(u32::try_from(number).unwrap());
        here.push(FlowLog {
            id: id.clone(),
            resource: vpc.to_string(),
            traffic_type,
            target,
            delivery_role: Some(new.spec.delivery_role.to_string()),
            interval: new.spec.interval,
            format: Some(new.spec.format.clone()),
            active: true,
            delivery: Delivery::Unknown,
            created_ms: Some(self.journal.now_ms()),
            tags: new.tags.iter().map(|tag| (tag.key.clone(), tag.value.clone())).collect(),
        });
        Ok(id)
    }
}

#[async_trait]
impl Ec2 for FakeEc2 {
    async fn vpcs(&self, at: &AccountRegion) -> AwsResult<Vec<Vpc>> {
        self.journal.call("ec2:DescribeVpcs", at).await?;
        Ok(self.vpcs.lock().unwrap().get(at).cloned().unwrap_or_default())
    }

    async fn flow_logs(&self, at: &AccountRegion) -> AwsResult<Vec<FlowLog>> {
        self.journal.call("ec2:DescribeFlowLogs", at).await?;
        let shown = self.journal.now_ms().saturating_sub(self.lag_ms.load(Ordering::Relaxed));
        let mut flow_logs = self.flow_logs_of(at);
        flow_logs.retain(|log| log.created_ms.is_none_or(|created| created <= shown));
        Ok(flow_logs)
    }

    async fn create_flow_logs(
        &self,
        at: &AccountRegion,
        new: &NewFlowLogs,
    ) -> AwsResult<Vec<(VpcId, AwsResult<FlowLogId>)>> {
        let names: Vec<&str> = new.vpcs.iter().map(VpcId::as_str).collect();
        self.journal.call("ec2:CreateFlowLogs", format!("{at}: {}", names.join(" "))).await?;
        if let Some(code) = new.vpcs.iter().find_map(|vpc| self.poison.lock().unwrap().get(vpc).copied()) {
            return Err(AwsError::answered("ec2:CreateFlowLogs", code, "as AWS does"));
        }
        Ok(new.vpcs.iter().map(|vpc| (vpc.clone(), self.create(at, new, vpc))).collect())
    }

    async fn delete_flow_logs(
        &self,
        at: &AccountRegion,
        ids: &[FlowLogId],
    ) -> AwsResult<Vec<(FlowLogId, AwsResult<()>)>> {
        let names: Vec<&str> = ids.iter().map(FlowLogId::as_str).collect();
        self.journal.call("ec2:DeleteFlowLogs", format!("{at}: {}", names.join(" "))).await?;
        let mut all = self.flow_logs.lock().unwrap();
        let here = all.entry(at.clone()).or_default();
        if ids.iter().any(|id| here.iter().all(|it| it.id != *id)) {
            return Err(AwsError::answered("ec2:DeleteFlowLogs", "InvalidFlowLogId.NotFound", "as AWS does"));
        }
        here.retain(|it| !ids.contains(&it.id));
        Ok(ids.iter().map(|id| (id.clone(), Ok(()))).collect())
    }

    async fn tag_flow_logs(&self, at: &AccountRegion, ids: &[FlowLogId], tag: &Tag) -> AwsResult<()> {
        let names: Vec<&str> = ids.iter().map(FlowLogId::as_str).collect();
        self.journal.call("ec2:CreateTags", format!("{at}: {}", names.join(" "))).await?;
        let mut all = self.flow_logs.lock().unwrap();
        for log in all.entry(at.clone()).or_default().iter_mut().filter(|log| ids.contains(&log.id)) {
            log.tags.insert(tag.key.clone(), tag.value.clone());
        }
        Ok(())
    }

    async fn enabled_regions(&self, account: AccountId) -> AwsResult<BTreeSet<Region>> {
        self.journal.call("ec2:DescribeRegions", account).await?;
        Ok(self.enabled.lock().unwrap().clone())
    }
}
