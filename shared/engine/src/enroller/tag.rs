//! Putting the ownership tag back on flow logs of ours.

use std::collections::BTreeMap;

use enroller_core::error::Disposition;
use enroller_core::ids::{FlowLogId, VpcId};
use enroller_core::plan::Step;

use super::apply::AccountRegionRun;
use crate::reconcile_error::ReconcileError;

/// The most resources that one CreateTags call accepts (EC2 API reference).
const MAX_TAGGED_PER_CALL: usize = 1_000;

impl AccountRegionRun<'_> {
    /// Puts the ownership tag back on flow logs of ours. They record without it, so a failure stops nothing.
    pub(super) async fn tag(&mut self, step: &Step, flow_logs: &BTreeMap<FlowLogId, VpcId>) {
        let ids: Vec<FlowLogId> = flow_logs.keys().cloned().collect();
        for chunk in ids.chunks(MAX_TAGGED_PER_CALL) {
            let tag = &self.desired.settings.ownership_tag;
            let tagged = self.enroller.ec2.tag_flow_logs(&self.at, chunk, tag).await;
            for id in chunk {
                match &tagged {
                    Ok(()) => self.done("tag-flow-log", id.as_str(), &step.why),
                    // It has been deleted since, which the next look shows.
                    Err(error) if error.disposition() == Disposition::Absent => {}
                    Err(error) => self.fail("tag-flow-log", id.as_str(), ReconcileError::Aws(error.clone())),
                }
            }
        }
    }
}
