//! Behaviour over the wire protocols, by sentence.

mod account_lifecycle;
mod account_policies;
mod consistency;
mod ec2;
mod events;
mod faults;
mod flow_logs;
mod http_client;
mod iam;
mod organizations;
mod preflight;
mod server;
mod sts;

use serde_json::{Value, json};

use crate::fixtures::allow;
use crate::{ApiError, Credentials, Service, Sim, SimBuilder};

pub(crate) const REGION: &str = "eu-west-1";
pub(crate) const GLOBAL: &str = "us-east-1";

/// A small organization: management, central and two members.
pub(crate) fn small() -> Sim {
    SimBuilder::default().build()
}

/// The member accounts that are neither management nor central, by id.
pub(crate) fn others(sim: &Sim) -> Vec<String> {
    let (management, central) = (sim.management(), sim.central());
    sim.members().into_iter().filter(|id| *id != management && *id != central).collect()
}

/// A caller of the simulated AWS.
pub(crate) struct Caller {
    pub(crate) sim: Sim,
    pub(crate) credentials: Credentials,
    pub(crate) region: String,
}

impl Caller {
    /// The root-like key of an account.
    pub(crate) fn of(sim: &Sim, account: &str, region: &str) -> Self {
        Self { sim: sim.clone(), credentials: sim.credentials_of(account), region: region.to_owned() }
    }

    pub(crate) fn call(&self, service: Service, operation: &str, input: Value) -> Result<String, ApiError> {
        self.sim.call_raw(&self.credentials, &self.region, service, operation, &input)
    }

    pub(crate) fn json(&self, service: Service, operation: &str, input: Value) -> Value {
        serde_json::from_str(&self.call(service, operation, input).unwrap()).unwrap()
    }

    pub(crate) fn code(&self, service: Service, operation: &str, input: Value) -> String {
        self.call(service, operation, input).map_or_else(|refusal| refusal.code, |body| format!("answered {body}"))
    }
}

/// Texts of all elements of a name.
pub(crate) fn texts(xml: &str, name: &str) -> Vec<String> {
    let open = format!("<{name}>");
    xml.split(&open).skip(1).filter_map(|rest| rest.split_once('<')).map(|(text, _)| text.to_owned()).collect()
}

/// The first VPC of an account in [`REGION`].
pub(crate) fn first_vpc(sim: &Sim, account: &str) -> String {
    sim.with(|world| world.ec2.vpcs(account, REGION).next().unwrap().id.clone())
}

/// Makes a role that an account trusts, and that may do everything.
pub(crate) fn trusting_role(sim: &Sim, account: &str, name: &str, principal: &Value, condition: &Value) -> String {
    let trust = json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole", "Condition": condition}]});
    sim.with(|world| world.put_role(account, name, trust, allow(&["*"], "*")).arn.clone())
}
