//! Whether a change is part of a plan that an operator has approved.

use std::collections::{BTreeMap, BTreeSet};

use super::{Action, Plan};
use crate::ids::{FlowLogId, VpcId};

impl Plan {
    /// Whether applying `action` stays within this plan.
    ///
    /// Part of a step does: another principal may have done the rest since. Anything else does not: another VPC,
    /// another flow log to delete, or the same step with other values.
    pub fn includes(&self, action: &Action) -> bool {
        match action {
            Action::CreateFlowLogs { spec, vpcs, replaces } => {
                let same = self.steps.iter().filter_map(|step| match &step.action {
                    Action::CreateFlowLogs { spec: planned, vpcs, replaces } if planned == spec => {
                        Some((vpcs, replaces))
                    }
                    _ => None,
                });
                let (mut planned, mut planned_replaces) = (BTreeSet::<&VpcId>::new(), BTreeMap::new());
                for (vpcs, replaces) in same {
                    planned.extend(vpcs);
                    planned_replaces.extend(replaces);
                }
                let replaced = |(vpc, ids): (&VpcId, &BTreeSet<FlowLogId>)| {
                    planned_replaces.get(vpc).is_some_and(|planned| ids.is_subset(planned))
                };
                vpcs.iter().all(|vpc| planned.contains(vpc)) && replaces.iter().all(replaced)
            }
            Action::DeleteFlowLogs { flow_logs } => flow_logs.keys().all(|id| self.deletes(id)),
            Action::TagFlowLogs { flow_logs } => flow_logs.keys().all(|id| self.tags_flow_log(id)),
            Action::EnsureDeliveryRole
            | Action::CreateLogGroup { .. }
            | Action::SetRetention { .. }
            | Action::AssociateKmsKey { .. }
            | Action::PutFilter { .. } => self.steps.iter().any(|step| step.action == *action),
        }
    }

    fn tags_flow_log(&self, id: &FlowLogId) -> bool {
        self.steps
            .iter()
            .any(|step| matches!(&step.action, Action::TagFlowLogs { flow_logs } if flow_logs.contains_key(id)))
    }

    fn deletes(&self, id: &FlowLogId) -> bool {
        self.steps.iter().any(|step| match &step.action {
            Action::DeleteFlowLogs { flow_logs } => flow_logs.contains_key(id),
            // A replaced flow log is deleted by its own step in a later run.
            Action::CreateFlowLogs { replaces, .. } => replaces.values().any(|ids| ids.contains(id)),
            _ => false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{FlowLogSpec, Step};

    fn vpc(number: u32) -> VpcId {
        format!("vpc-{number:08x}").parse().unwrap()
    }

    fn flow_log(number: u32) -> FlowLogId {
        format!("fl-{number:08x}").parse().unwrap()
    }

    fn spec(interval: u32) -> FlowLogSpec {
        FlowLogSpec {
            traffic_type: crate::observed::TrafficType::All,
            interval,
            format: "${version}".to_owned(),
            delivery_role: "arn:aws:iam::111122223333:role/r".parse().unwrap(),
        }
    }

    fn create(interval: u32, vpcs: &[u32], replaces: &[(u32, u32)]) -> Action {
        let mut replaced = BTreeMap::<VpcId, BTreeSet<FlowLogId>>::new();
        for (of, id) in replaces {
            replaced.entry(vpc(*of)).or_default().insert(flow_log(*id));
        }
        let vpcs = vpcs.iter().map(|number| vpc(*number)).collect();
        Action::CreateFlowLogs { spec: spec(interval), vpcs, replaces: replaced }
    }

    fn tag(ids: &[u32]) -> Action {
        Action::TagFlowLogs { flow_logs: ids.iter().map(|id| (flow_log(*id), vpc(*id))).collect() }
    }

    fn delete(ids: &[u32]) -> Action {
        Action::DeleteFlowLogs { flow_logs: ids.iter().map(|id| (flow_log(*id), vpc(*id))).collect() }
    }

    fn plan(actions: Vec<Action>) -> Plan {
        Plan {
            at: crate::ids::AccountRegion {
                account: "111122223333".parse().unwrap(),
                region: "eu-west-1".parse().unwrap(),
            },
            steps: actions.into_iter().map(|action| Step { action, why: String::new() }).collect(),
            vpcs: BTreeMap::new(),
            unfinished: BTreeMap::new(),
            tags: BTreeMap::new(),
            expired: BTreeMap::new(),
            notes: Vec::new(),
            masked: None,
            blocked: None,
        }
    }

    #[test]
    fn a_plan_includes_its_own_steps_and_parts_of_them_and_nothing_else() {
        let retention = |days| Action::SetRetention { days: Some(days) };
        let seen = plan(vec![
            retention(90),
            create(600, &[1, 2], &[(1, 7)]),
            create(600, &[3], &[]),
            create(60, &[4], &[]),
            tag(&[5, 6]),
            delete(&[8, 9]),
        ]);
        for step in &seen.steps {
            assert!(seen.includes(&step.action), "{step:?}");
        }
        let included = [create(600, &[2], &[]), create(600, &[2, 3], &[]), delete(&[9]), delete(&[7]), tag(&[6])];
        for action in included {
            assert!(seen.includes(&action), "{action:?}");
        }
        let beyond = [
            retention(30),
            Action::EnsureDeliveryRole,
            Action::CreateLogGroup { kms_key: None },
            create(600, &[1, 5], &[]),
            create(60, &[1], &[]),
            create(600, &[1], &[(1, 6)]),
            create(600, &[2], &[(2, 7)]),
            delete(&[8, 6]),
            tag(&[6, 7]),
        ];
        for action in beyond {
            assert!(!seen.includes(&action), "{action:?}");
        }
    }

    #[test]
    fn nothing_is_within_an_empty_plan() {
        assert!(!plan(Vec::new()).includes(&create(600, &[1], &[])));
        assert!(!plan(Vec::new()).includes(&delete(&[1])));
    }
}
