//! The two JSON styles of EC2 in CloudTrail.
//!
//! Old actions (CreateVpc, DeleteVpc) are camelCase and direct. Newer ones (CreateFlowLogs, DeleteFlowLogs) are the XML
//! of the Query API turned into JSON: wrapped in `…Request` and `…Response`, lists as `{"tag": n, "content": …}`, empty
//! lists as `""`, texts that look like booleans or numbers turned into those. Source: captured records in public data
//! sets of attack simulations (invictus-ir/aws_dataset).

use serde_json::{Map, Value, json};

use super::flat;
use crate::call::Call;

const NAMESPACE: &str = "http://ec2.amazonaws.com/doc/2016-11-15/";

/// `requestParameters` and `responseElements` of a call; the latter is null for a refused one.
pub(super) fn shapes(call: &Call, request: &Value, facts: Option<&Value>) -> (Value, Value) {
    let parameters = flat(request);
    let response = |of: fn(&Call, &Map<String, Value>, &Value) -> Value| {
        facts.map_or(Value::Null, |facts| of(call, &parameters, facts))
    };
    match call.operation.as_str() {
        "CreateVpc" => (create_vpc_request(&parameters), response(create_vpc_response)),
        "CreateDefaultVpc" => (json!({"CreateDefaultVpcRequest": ""}), response(create_default_vpc_response)),
        "DeleteVpc" => (json!({"vpcId": parameters.get("VpcId")}), response(returned)),
        "CreateFlowLogs" => (create_flow_logs_request(&parameters), response(create_flow_logs_response)),
        "DeleteFlowLogs" => (
            json!({"DeleteFlowLogsRequest": {"FlowLogId": tagged(&numbered(&parameters, "FlowLogId"))}}),
            response(delete_flow_logs_response),
        ),
        "CreateTags" | "DeleteTags" => (tags_request(&parameters), response(returned)),
        _ => (Value::Object(parameters.clone()), response(returned)),
    }
}

fn returned(call: &Call, _: &Map<String, Value>, _: &Value) -> Value {
    json!({"requestId": call.request_id, "_return": true})
}

fn create_vpc_request(parameters: &Map<String, Value>) -> Value {
    let text = |name: &str| parameters.get(name).and_then(Value::as_str);
    let mut request = json!({
        "cidrBlock": text("CidrBlock"),
        "instanceTenancy": text("InstanceTenancy").unwrap_or("default"),
        "amazonProvidedIpv6CidrBlock": text("AmazonProvidedIpv6CidrBlock") == Some("true"),
    });
    let specifications: Vec<Value> = tag_specifications(parameters)
        .into_iter()
        .map(|(kind, tags)| json!({"resourceType": kind, "tags": pairs(&tags)}))
        .collect();
    if !specifications.is_empty() {
        request["tagSpecificationSet"] = json!({"items": specifications});
    }
    request
}

fn create_vpc_response(call: &Call, parameters: &Map<String, Value>, facts: &Value) -> Value {
    json!({"requestId": call.request_id, "vpc": vpc(parameters, facts)})
}

/// UNVERIFIED: no capture of a CreateDefaultVpc event is known; it is taken for one of the newer actions.
fn create_default_vpc_response(call: &Call, parameters: &Map<String, Value>, facts: &Value) -> Value {
    let vpc = vpc(parameters, facts);
    json!({"CreateDefaultVpcResponse": {"xmlns": NAMESPACE, "requestId": call.request_id, "vpc": vpc}})
}

fn vpc(parameters: &Map<String, Value>, facts: &Value) -> Value {
    let id = facts["vpcId"].as_str().unwrap_or_default();
    let suffix = id.strip_prefix("vpc-").unwrap_or(id);
    let tags: Vec<(String, String)> = facts["tags"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned()))
        .collect();
    json!({
        "vpcId": id,
        "ownerId": facts["ownerId"],
        "state": "pending",
        "cidrBlock": facts["cidrBlock"],
        "cidrBlockAssociationSet": {"items": [{
            "cidrBlock": facts["cidrBlock"],
            "associationId": format!("vpc-cidr-assoc-{suffix}"),
            "cidrBlockState": {"state": "associated"},
        }]},
        "ipv6CidrBlockAssociationSet": {},
        "dhcpOptionsId": format!("dopt-{suffix}"),
        "instanceTenancy": parameters.get("InstanceTenancy").cloned().unwrap_or_else(|| json!("default")),
        "tagSet": if tags.is_empty() { json!({}) } else { json!({"items": pairs(&tags)}) },
        "isDefault": facts["isDefault"],
    })
}

fn create_flow_logs_request(parameters: &Map<String, Value>) -> Value {
    let mut request = Map::new();
    request.insert("ResourceId".to_owned(), tagged(&numbered(parameters, "ResourceId")));
    let specifications: Vec<Value> = tag_specifications(parameters)
        .into_iter()
        .enumerate()
        .map(|(index, (kind, tags))| {
            let tags: Vec<Value> = tags
                .iter()
                .enumerate()
                .map(|(index, (key, value))| json!({"Key": key, "Value": looked_at(value), "tag": index + 1}))
                .collect();
            json!({"ResourceType": kind, "tag": index + 1, "Tag": one_or_all(tags)})
        })
        .collect();
    if !specifications.is_empty() {
        request.insert("TagSpecification".to_owned(), one_or_all(specifications));
    }
    // Everything that is no list: LogGroupName or LogDestination, TrafficType, …
    for (name, value) in parameters.iter().filter(|(name, _)| !name.contains('.')) {
        request.insert(name.clone(), value.as_str().map_or_else(|| value.clone(), looked_at));
    }
    json!({"CreateFlowLogsRequest": request})
}

fn create_flow_logs_response(call: &Call, parameters: &Map<String, Value>, facts: &Value) -> Value {
    let token = parameters.get("ClientToken").cloned().unwrap_or_else(|| json!(format!("{}=", call.request_id)));
    let ids = facts["flowLogIds"].as_array().cloned().unwrap_or_default();
    json!({"CreateFlowLogsResponse": {
        "xmlns": NAMESPACE,
        "requestId": call.request_id,
        "clientToken": token,
        "flowLogIdSet": item_set(ids),
        "unsuccessful": item_set(facts["unsuccessful"].as_array().cloned().unwrap_or_default()),
    }})
}

fn delete_flow_logs_response(call: &Call, _: &Map<String, Value>, facts: &Value) -> Value {
    json!({"DeleteFlowLogsResponse": {
        "xmlns": NAMESPACE,
        "requestId": call.request_id,
        "unsuccessful": item_set(facts["unsuccessful"].as_array().cloned().unwrap_or_default()),
    }})
}

fn tags_request(parameters: &Map<String, Value>) -> Value {
    let resources: Vec<Value> =
        numbered(parameters, "ResourceId").into_iter().map(|id| json!({"resourceId": id})).collect();
    json!({"resourcesSet": {"items": resources}, "tagSet": {"items": pairs(&tags_at(parameters, ""))}})
}

fn pairs(tags: &[(String, String)]) -> Value {
    tags.iter().map(|(key, value)| json!({"key": key, "value": value})).collect()
}

/// `NAME.1`, `NAME.2`, … in order.
fn numbered(parameters: &Map<String, Value>, name: &str) -> Vec<String> {
    let text = |index: usize| parameters.get(&format!("{name}.{index}")).and_then(Value::as_str).map(str::to_owned);
    (1..).map_while(text).collect()
}

/// Resource type and tags of each `TagSpecification.N`.
fn tag_specifications(parameters: &Map<String, Value>) -> Vec<(String, Vec<(String, String)>)> {
    let one = |index: usize| {
        let prefix = format!("TagSpecification.{index}.");
        let kind = parameters.get(&format!("{prefix}ResourceType"))?.as_str()?.to_owned();
        Some((kind, tags_at(parameters, &prefix)))
    };
    (1..).map_while(one).collect()
}

/// `PREFIXTag.1.Key` and `PREFIXTag.1.Value`, …
fn tags_at(parameters: &Map<String, Value>, prefix: &str) -> Vec<(String, String)> {
    let one = |index: usize| {
        let key = parameters.get(&format!("{prefix}Tag.{index}.Key"))?.as_str()?.to_owned();
        let value = parameters.get(&format!("{prefix}Tag.{index}.Value")).and_then(Value::as_str);
        Some((key, value.unwrap_or_default().to_owned()))
    };
    (1..).map_while(one).collect()
}

/// A list in a request: `{"tag": 1, "content": …}`; an array of these for several (UNVERIFIED).
fn tagged(values: &[String]) -> Value {
    let tagged = values.iter().enumerate().map(|(index, value)| json!({"tag": index + 1, "content": value}));
    one_or_all(tagged.collect())
}

/// A list in a response: `{"item": …}`, and `""` when empty.
fn item_set(items: Vec<Value>) -> Value {
    if items.is_empty() { json!("") } else { json!({"item": one_or_all(items)}) }
}

fn one_or_all(mut values: Vec<Value>) -> Value {
    if values.len() == 1 { values.remove(0) } else { Value::Array(values) }
}

/// `true` becomes a boolean and `600` a number. Account ids and what else would not come out of a number as it went in
/// stay text.
fn looked_at(text: &str) -> Value {
    match text {
        "true" => json!(true),
        "false" => json!(false),
        _ => match text.parse::<u32>() {
            Ok(number) if number.to_string() == text => json!(number),
            Ok(_) | Err(_) => json!(text),
        },
    }
}
