//! EC2: VPCs, their tags and their flow logs.

mod create_flow_logs;
mod describe;
mod flow_logs;
mod format;
mod regions;
mod state;
mod tags;
mod vpcs;

use serde_json::Value;

pub(crate) use state::FlowLogs;
pub use state::{DeliverStatus, Ec2State, FlowLog, Vpc};

use crate::call::{ApiError, Call};
use crate::wire::QueryAnswer;
use crate::wire::query::Params;
use crate::wire::xml::Element;
use crate::world::World;

pub(crate) fn handle(world: &mut World, call: &Call, params: &Params) -> QueryAnswer {
    type Operation = fn(&mut World, &Call, &Params) -> QueryAnswer;
    let (known, operation): (&[&str], Operation) = match call.operation.as_str() {
        "DescribeVpcs" => (vpcs::DESCRIBE, vpcs::describe),
        "CreateVpc" => (vpcs::CREATE, vpcs::create),
        "CreateDefaultVpc" => (&[], vpcs::create_default),
        "DeleteVpc" => (&["VpcId"], vpcs::delete),
        "CreateTags" => (tags::KNOWN, tags::create),
        "DeleteTags" => (tags::KNOWN, tags::delete),
        "DescribeRegions" => (regions::DESCRIBE, regions::describe),
        "CreateFlowLogs" => (create_flow_logs::KNOWN, create_flow_logs::create),
        "DescribeFlowLogs" => (flow_logs::DESCRIBE, flow_logs::describe),
        "DeleteFlowLogs" => (&["FlowLogId.N"], flow_logs::delete),
        unknown => return Err(ApiError::unknown_operation(unknown)),
    };
    let known: Vec<&str> = known.iter().copied().chain(["DryRun"]).collect();
    params.only(&call.operation, &known)?;
    if params.get("DryRun") == Some("true") {
        // EC2 developer guide, "Error codes": DryRunOperation, 412.
        let message = "Request would have succeeded, but DryRun flag is set.";
        return Err(ApiError::new(412, "DryRunOperation", message));
    }
    operation(world, call, params)
}

/// EC2 developer guide, "Error codes": MissingParameter.
fn missing(parameter: &str) -> ApiError {
    let message = format!("The request must contain the parameter {parameter}");
    ApiError::new(400, "MissingParameter", message)
}

/// EC2 developer guide, "Error codes": InvalidParameterValue.
fn invalid_value(message: impl Into<String>) -> ApiError {
    ApiError::new(400, "InvalidParameterValue", message)
}

/// EC2 developer guide, "Error codes": InvalidVpcID.NotFound.
fn no_such_vpc(id: &str) -> ApiError {
    ApiError::new(400, "InvalidVpcID.NotFound", format!("The vpc ID '{id}' does not exist"))
}

/// EC2 developer guide, "Error codes": InvalidFlowLogId.NotFound.
fn no_such_flow_log(id: &str) -> ApiError {
    ApiError::new(
        400,
        "InvalidFlowLogId.NotFound",
        format!("These flow log ids in the input list are not found: [{id}]"),
    )
}

/// The `return` of operations without a result.
fn done() -> (Vec<Element>, Value) {
    (vec![Element::text("return", "true")], Value::Null)
}
