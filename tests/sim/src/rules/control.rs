//! The control endpoint. Its paths begin with `/_sim/`, and no AWS service of this simulation uses a path.
//!
//! - `GET /_sim/rules`: the rules in force, with ids and hits, and the switches.
//! - `POST /_sim/rules` with a JSON object `{"NAME": VALUE, …}`: sets rules and switches, all or none.
//! - `DELETE /_sim/rules` lifts all rules, `DELETE /_sim/rules/ID` one; switches stay.
//! - `POST /_sim/clock` with `{"advance_seconds": N}`: moves the clock forward.
//! - `GET /_sim/stats`: the call statistics.
//! - `POST /_sim/service-control-policies` with a list of policy documents: these bind every member account from now on.
//! - `POST /_sim/traffic`: every VPC produces its records once.
//! - `POST /_sim/log-events` with `{"account", "region", "group", "stream", "messages"}`: somebody in that account writes
//!   lines into a log group.
//! - `GET /_sim/bucket`: the newest lines in the bucket.

use bytes::Bytes;
use http::{Method, Response};
use serde_json::{Value, json};

use super::parse::RuleError;
use crate::sim::Sim;
use crate::traffic::LogEvents;

/// Answers a request to the control endpoint; `None` for a call to AWS.
pub(crate) fn respond(sim: &Sim, method: &Method, path: &str, body: &[u8]) -> Option<Response<Bytes>> {
    let path = path.strip_prefix("/_sim/")?;
    let (resource, rest) = path.split_once('/').map_or((path, None), |(resource, rest)| (resource, Some(rest)));
    let (status, value) = match (method, resource, rest) {
        (&Method::GET, "stats", None) => (200, sim.with(|world| world.stats.report())),
        (&Method::GET, "rules", None) => (200, sim.with(|world| world.rules_report())),
        (&Method::POST, "rules", None) => set(sim, body),
        (&Method::DELETE, "rules", None) => {
            sim.with(|world| world.rules.clear());
            (200, json!({}))
        }
        (&Method::DELETE, "rules", Some(id)) => {
            let lifted = id.parse().is_ok_and(|id| sim.with(|world| world.rules.lift(id)));
            if lifted { (200, json!({})) } else { (404, json!({"error": format!("there is no rule with id {id}")})) }
        }
        (&Method::POST, "clock", None) => advance(sim, body),
        (&Method::POST, "traffic", None) => {
            sim.traffic_tick();
            (200, json!({}))
        }
        (&Method::POST, "service-control-policies", None) => match serde_json::from_slice(body) {
            Ok(Value::Array(policies)) => {
                sim.with(|world| world.service_control_policies = policies);
                (200, json!({}))
            }
            _ => (400, json!({"error": "the body is not a list of policy documents"})),
        },
        (&Method::POST, "log-events", None) => write(sim, body),
        (&Method::GET, "bucket", None) => (200, json!({"lines": sim.bucket_lines()})),
        _ => (404, json!({"error": format!("there is no {method} /_sim/{path}")})),
    };
    let mut response = Response::new(Bytes::from(value.to_string()));
    *response.status_mut() = http::StatusCode::from_u16(status).unwrap_or_default();
    response.headers_mut().insert("content-type", http::HeaderValue::from_static("application/json"));
    Some(response)
}

fn set(sim: &Sim, body: &[u8]) -> (u16, Value) {
    let Ok(Value::Object(rules)) = serde_json::from_slice::<Value>(body) else {
        return (400, json!({"error": "the body is not a JSON object of rules by name"}));
    };
    let set = sim.with(|world| {
        let (settings, mut ids) = (world.settings.clone(), serde_json::Map::new());
        for (name, value) in &rules {
            match world.set_rule(name, value) {
                Ok(id) => ids.extend(id.map(|id| (name.clone(), Value::from(id)))),
                Err(error) => {
                    world.settings = settings;
                    for id in ids.values().filter_map(Value::as_u64) {
                        world.rules.lift(id);
                    }
                    return Err(error);
                }
            }
        }
        Ok::<_, RuleError>(ids)
    });
    match set {
        Ok(ids) => (200, json!({"ids": ids})),
        Err(error) => (400, json!({"error": error.to_string()})),
    }
}

fn advance(sim: &Sim, body: &[u8]) -> (u16, Value) {
    let given: Value = serde_json::from_slice(body).unwrap_or_default();
    let Some(seconds) = given["advance_seconds"].as_u64() else {
        return (400, json!({"error": "the body is not {\"advance_seconds\": N}"}));
    };
    sim.advance(seconds.saturating_mul(1000));
    (200, json!({"now_ms": sim.now_ms()}))
}

fn write(sim: &Sim, body: &[u8]) -> (u16, Value) {
    let given: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |key: &str| given[key].as_str().unwrap_or_default();
    let messages: Vec<&str> = given["messages"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let (account, region, group, stream) = (text("account"), text("region"), text("group"), text("stream"));
    match sim.put_log_events(LogEvents { account, region, group, stream, messages: &messages }) {
        Ok(()) => (200, json!({})),
        Err(loss) => (409, json!({"error": loss.to_string()})),
    }
}
