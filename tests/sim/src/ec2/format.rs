//! The fields that a flow log format may name.

use super::invalid_value;
use crate::call::ApiError;

/// VPC user guide, "Flow log records": the default format.
pub(super) const DEFAULT: &str = "${version} ${account-id} ${interface-id} ${srcaddr} ${dstaddr} ${srcport} \
    ${dstport} ${protocol} ${packets} ${bytes} ${start} ${end} ${action} ${log-status}";

/// VPC user guide, "Flow log records": fields of versions 2 to 11, those of transit gateways (version 6) left out: they
/// do not apply to a VPC.
const FIELDS: &[&str] = &[
    "version",
    "account-id",
    "interface-id",
    "srcaddr",
    "dstaddr",
    "srcport",
    "dstport",
    "protocol",
    "packets",
    "bytes",
    "start",
    "end",
    "action",
    "log-status",
    "vpc-id",
    "subnet-id",
    "instance-id",
    "tcp-flags",
    "type",
    "pkt-srcaddr",
    "pkt-dstaddr",
    "region",
    "az-id",
    "sublocation-type",
    "sublocation-id",
    "pkt-src-aws-service",
    "pkt-dst-aws-service",
    "flow-direction",
    "traffic-path",
    "ecs-cluster-arn",
    "ecs-cluster-name",
    "ecs-container-instance-arn",
    "ecs-container-instance-id",
    "ecs-container-id",
    "ecs-second-container-id",
    "ecs-service-name",
    "ecs-task-definition-arn",
    "ecs-task-arn",
    "ecs-task-id",
    "reject-reason",
    "resource-id",
    "encryption-status",
    "interface-type",
    "next-hop-interface-id",
    "next-hop-subnet-id",
    "next-hop-az-id",
    "next-hop-vpc-id",
    "next-hop-interface-type",
];

/// Refuses a format that is not a list of known `${field}`s. The code is UNVERIFIED.
pub(super) fn check(format: &str) -> Result<(), ApiError> {
    let field = |word: &str| word.strip_prefix("${").and_then(|rest| rest.strip_suffix('}')).map(str::to_owned);
    let mut words = format.split(' ').peekable();
    if format.is_empty() || words.peek().is_none() {
        return Err(invalid_value("LogFormat must not be empty."));
    }
    let known = |word: &str| field(word).is_some_and(|name| FIELDS.contains(&name.as_str()));
    match words.find(|word| !known(word)) {
        Some(unknown) => Err(invalid_value(format!("Unknown fields provided: '{unknown}'"))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_documented_fields_in_braces_make_a_format() {
        assert_eq!(check(DEFAULT), Ok(()));
        assert_eq!(check("${account-id} ${vpc-id} ${region} ${encryption-status}"), Ok(()));
        for bad in ["", "account-id", "${frob}", "${srcaddr}  ${dstaddr}", "${srcaddr},${dstaddr}"] {
            assert!(check(bad).is_err(), "{bad:?}");
        }
    }
}
