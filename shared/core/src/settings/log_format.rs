//! Which fields a flow log format may have.
//!
//! CreateFlowLogs refuses a format with an unknown field, and then no VPC gets a flow log. So the setting refuses it
//! first, with the field that was probably meant.
//!
//! Source: VPC user guide, "Flow log records" (versions 2 to 11), and transit gateway guide, "Transit gateway flow log
//! records" (version 6).

use super::REQUIRED_FIELDS;

/// Fields of a VPC's flow log that need nothing else, by version.
const FIELDS: [&[&str]; 8] = [
    // 2
    &[
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
    ],
    // 3
    &["vpc-id", "subnet-id", "instance-id", "tcp-flags", "type", "pkt-srcaddr", "pkt-dstaddr"],
    // 4
    &["region", "az-id", "sublocation-type", "sublocation-id"],
    // 5
    &["pkt-src-aws-service", "pkt-dst-aws-service", "flow-direction", "traffic-path"],
    // 8
    &["reject-reason"],
    // 9
    &["resource-id"],
    // 10
    &["encryption-status"],
    // 11
    &[
        "interface-type",
        "next-hop-interface-id",
        "next-hop-subnet-id",
        "next-hop-az-id",
        "next-hop-vpc-id",
        "next-hop-interface-type",
    ],
];

/// Version 7, each with the permission that the caller of CreateFlowLogs needs. The member role has none of them.
const ECS_FIELDS: [(&str, &str); 10] = [
    ("ecs-cluster-arn", "ecs:ListClusters"),
    ("ecs-cluster-name", "ecs:ListClusters"),
    ("ecs-container-instance-arn", "ecs:ListContainerInstances"),
    ("ecs-container-instance-id", "ecs:ListContainerInstances"),
    ("ecs-container-id", "ecs:ListTasks"),
    ("ecs-second-container-id", "ecs:ListTasks"),
    ("ecs-service-name", "ecs:ListServices"),
    ("ecs-task-definition-arn", "ecs:ListTaskDefinitions"),
    ("ecs-task-arn", "ecs:ListTasks"),
    ("ecs-task-id", "ecs:ListTasks"),
];

/// Version 11: values of tags whose keys CreateFlowLogs gets in `TagFieldSpecifications`.
const TAG_FIELDS: [&str; 6] =
    ["instance-tag", "instance-tag-2", "interface-tag", "interface-tag-2", "asg-tag", "asg-tag-2"];

/// Version 6: fields of transit gateways only.
const TRANSIT_GATEWAY_FIELDS: [&str; 5] = [
    "resource-type",
    "packets-lost-no-route",
    "packets-lost-blackhole",
    "packets-lost-mtu-exceeded",
    "packets-lost-ttl-expired",
];

/// A name this far from a field is not taken for a slip.
const FARTHEST: usize = 3;

/// The format with single spaces; the error is what is expected.
pub(super) fn read(text: &str) -> Result<String, String> {
    let fields: Option<Vec<&str>> = text.split_whitespace().map(name_in).collect();
    let fields = fields.ok_or("fields written ${field}, separated by spaces")?;
    if let Some(problem) = fields.iter().find_map(|field| problem(field)) {
        return Err(problem);
    }
    if let Some((at, twice)) = fields.iter().enumerate().find(|(at, field)| fields[..*at].contains(*field)) {
        return Err(format!("each field once, but field {} is ${{{twice}}} again", at + 1));
    }
    let missing: Vec<&str> = REQUIRED_FIELDS.into_iter().filter(|field| !fields.contains(field)).collect();
    if missing.is_empty() {
        Ok(text.split_whitespace().collect::<Vec<_>>().join(" "))
    } else {
        Err(format!("a format that also has {}, which nothing downstream can add", missing.join(", ")))
    }
}

/// The name in `${name}`.
fn name_in(word: &str) -> Option<&str> {
    let name = word.strip_prefix("${")?.strip_suffix('}')?;
    (!name.contains(['$', '{', '}'])).then_some(name)
}

fn problem(field: &str) -> Option<String> {
    if FIELDS.iter().any(|version| version.contains(&field)) {
        return None;
    }
    if let Some((_, permission)) = ECS_FIELDS.iter().find(|(name, _)| *name == field) {
        return Some(format!(
            "fields that the member role may use, but ${{{field}}} needs the permission {permission}, which it does not have"
        ));
    }
    if TAG_FIELDS.contains(&field) {
        return Some(format!(
            "fields that need no tag keys, but ${{{field}}} needs TagFieldSpecifications, which the enroller does not send"
        ));
    }
    if field.starts_with("tgw-") || TRANSIT_GATEWAY_FIELDS.contains(&field) {
        return Some(format!("fields of a VPC's flow log, but ${{{field}}} is one of transit gateways"));
    }
    let nearest = nearest(field).map(|nearest| format!("; did you mean ${{{nearest}}}?")).unwrap_or_default();
    let field: String = field.chars().take(80).collect();
    Some(format!("fields that flow logs have, but there is no ${{{field}}}{nearest}"))
}

/// The field that was probably meant. Letters, hyphens and underscores are what people confuse.
fn nearest(field: &str) -> Option<&'static str> {
    let plain = |name: &str| name.to_lowercase().replace(['-', '_', '.', ' '], "");
    let wanted = plain(field);
    let near = FIELDS.iter().flat_map(|version| version.iter()).map(|name| (distance(&wanted, &plain(name)), *name));
    let (distance, nearest) = near.min()?;
    // More than half of a short name changed is another name.
    (distance <= FARTHEST && distance * 2 < wanted.len()).then_some(nearest)
}

/// How many characters have to be inserted, removed or replaced (Levenshtein).
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    // A setting is short, and beyond this length no field is near.
    for (line, character) in from.chars().take(80).enumerate() {
        let mut diagonal = line;
        let mut left = line + 1;
        let mut next = vec![left];
        for (above, other) in row.iter().skip(1).zip(&to) {
            left = (diagonal + usize::from(character != *other)).min(above + 1).min(left + 1);
            diagonal = *above;
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::settings::{AWS_DEFAULT_FORMAT, DEFAULT_FORMAT};

    const NEEDED: &str = "${account-id} ${vpc-id} ${region}";

    fn refused(field: &str) -> String {
        read(&format!("{NEEDED} ${{{field}}}")).unwrap_err()
    }

    #[test]
    fn every_field_of_a_vpc_is_accepted() {
        let others = FIELDS.iter().flat_map(|version| version.iter()).filter(|field| !REQUIRED_FIELDS.contains(field));
        let all: String = others.map(|field| format!(" ${{{field}}}")).collect();
        let all = format!("{NEEDED}{all}");
        assert_eq!(read(&all), Ok(all.clone()));
        assert_eq!(all.split(' ').count(), 38);
        assert_eq!(read(DEFAULT_FORMAT), Ok(DEFAULT_FORMAT.to_owned()));
        // AWS's default lacks what we need, and nothing else is wrong with it.
        assert_eq!(
            read(AWS_DEFAULT_FORMAT),
            Err("a format that also has vpc-id, region, which nothing downstream can add".to_owned())
        );
    }

    #[test]
    fn a_field_that_aws_does_not_have_is_refused_with_the_nearest() {
        for (slip, meant) in [
            ("src-addr", "srcaddr"),
            ("srcadr", "srcaddr"),
            ("SrcAddr", "srcaddr"),
            ("pkt_srcaddr", "pkt-srcaddr"),
            ("dst-port", "dstport"),
            ("vpcid", "vpc-id"),
            ("tcpflags", "tcp-flags"),
            ("log_status", "log-status"),
            ("flow-directon", "flow-direction"),
            ("nexthop-vpc-id", "next-hop-vpc-id"),
        ] {
            let expected =
                format!("fields that flow logs have, but there is no ${{{slip}}}; did you mean ${{{meant}}}?");
            assert_eq!(refused(slip), expected);
        }
        for strange in ["timestamp", "", "x", "frob", &"a".repeat(100_000)] {
            let told = refused(strange);
            assert!(told.starts_with("fields that flow logs have, but there is no ${"), "{told}");
            assert!(!told.contains("did you mean") && told.len() < 200, "{told}");
        }
    }

    #[test]
    fn fields_of_other_resources_or_with_other_needs_are_refused_with_the_reason() {
        for (field, reason) in [
            ("tgw-id", "one of transit gateways"),
            ("tgw-src-vpc-account-id", "one of transit gateways"),
            ("resource-type", "one of transit gateways"),
            ("packets-lost-no-route", "one of transit gateways"),
            ("ecs-cluster-name", "ecs:ListClusters"),
            ("ecs-task-id", "ecs:ListTasks"),
            ("instance-tag", "TagFieldSpecifications"),
            ("asg-tag-2", "TagFieldSpecifications"),
        ] {
            let told = refused(field);
            assert!(told.contains(&format!("${{{field}}}")) && told.contains(reason), "{told}");
        }
    }

    #[test]
    fn a_field_twice_or_without_braces_is_refused() {
        assert_eq!(refused("region"), "each field once, but field 4 is ${region} again");
        for text in ["account-id", "${account-id},${vpc-id} ${region}", "$account-id", "${account-id"] {
            assert_eq!(read(text).unwrap_err(), "fields written ${field}, separated by spaces", "{text}");
        }
    }

    proptest! {
        #[test]
        fn the_distance_is_one_of_a_metric(a in "[a-d]{0,6}", b in "[a-d]{0,6}", c in "[a-d]{0,6}") {
            prop_assert_eq!(distance(&a, &a), 0);
            prop_assert_eq!(distance(&a, &b), distance(&b, &a));
            prop_assert!(distance(&a, &c) <= distance(&a, &b) + distance(&b, &c));
            prop_assert!(distance(&a, &b) >= a.len().abs_diff(b.len()));
        }

        #[test]
        fn no_text_makes_it_panic(text in ".{0,60}|([$}{ a-z-]|\\PC){0,60}") {
            let has_vpc = text.contains("${vpc-id}");
            prop_assert!(read(&text).is_err() || has_vpc);
        }
    }
}
