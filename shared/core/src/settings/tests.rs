use std::cell::RefCell;
use std::collections::BTreeMap;

use super::*;

/// The required settings with minimal values, overridden by `changes`.
pub(crate) fn with(changes: &[(&str, &str)]) -> Result<Settings, SettingsError> {
    let mut values: BTreeMap<&str, &str> = BTreeMap::from([
        ("central_account", "111122223333"),
        ("organization_id", "o-exampleorg1"),
        ("home_region", "eu-west-1"),
        ("regions", "eu-west-1, us-east-1"),
    ]);
    values.extend(changes.iter().copied());
    Settings::from_lookup(|key| values.get(key).map(|value| (*value).to_owned()))
}

#[test]
fn the_defaults_are_the_documented_ones() {
    let settings = with(&[]).unwrap();
    assert_eq!(settings.log_group_name.as_str(), "vpc-flow-logs");
    assert_eq!(settings.destination_name.base().as_str(), "VPCFlowLogsDestination");
    assert_eq!(settings.filter_name.as_str(), "AllTraffic");
    assert_eq!(settings.filter_pattern, "");
    assert_eq!(settings.delivery_role_name.as_str(), "VpcFlowLogsEnrollerDelivery");
    assert_eq!(settings.delivery_role_policy_name, "Permissions-Policy-For-VPCFlowLogs");
    assert_eq!(settings.delivery_role_maker, DeliveryRoleMaker::MemberStack);
    assert_eq!(settings.grant_mode, GrantMode::AccountList);
    assert_eq!(settings.retention_days, Some(30));
    for field in ["${account-id}", "${vpc-id}", "${region}"] {
        assert!(settings.log_format.contains(field), "{field}");
    }
}

#[test]
fn nothing_set_names_every_required_setting_at_once() {
    let error = Settings::from_environment(|_| None).unwrap_err();
    insta::assert_snapshot!(error, @r#"
    4 settings are missing or invalid
      central_account is not set: expected 12 digits (environment: ENROLLER_CENTRAL_ACCOUNT)
      organization_id is not set: expected an organization id, o-… (environment: ENROLLER_ORGANIZATION_ID)
      home_region is not set: expected a code such as eu-west-1 (environment: ENROLLER_HOME_REGION)
      regions is not set: expected Regions separated by commas (environment: ENROLLER_REGIONS)
    "#);
}

#[test]
fn each_bad_value_is_refused_with_its_name_and_what_is_expected() {
    for (key, bad, expected) in [
        ("central_account", "12", "12 digits"),
        ("regions", "eu-west-1,mars", "not \"mars\""),
        ("regions", "cn-north-1", "partition aws only"),
        ("log_group_name", "aws/x", "not starting with aws/"),
        // The name of a further shard would be too long.
        ("destination_name", &"d".repeat(502), "at most 501 characters"),
        ("traffic_type", "SOME", "ALL, ACCEPT or REJECT"),
        ("aggregation_interval", "61", "60 or 600"),
        ("retention_days", "31", "never-expire or one of"),
        ("log_format", "${srcaddr}", "account-id, vpc-id, region"),
        ("log_format", "srcaddr", "${field}"),
        (
            "log_format",
            "${account-id} ${vpc-id} ${region} ${src-addr}",
            "there is no ${src-addr}; did you mean ${srcaddr}?",
        ),
        ("log_format", "${account-id} ${vpc-id} ${region} ${tgw-id}", "one of transit gateways"),
        ("log_format", "${account-id} ${vpc-id} ${region} ${ecs-task-arn}", "needs the permission ecs:ListTasks"),
        ("filter_pattern", "\"ACCEPT", "a closing double quote"),
        ("filter_pattern", "{ $.action = REJECT }", "matches no flow log record"),
        ("filter_pattern", "[account, vpc]", "25 fields, as log_format has, not 2"),
        ("ownership_tag", "managed-by=a,b", "which every AWS service accepts"),
        ("ownership_tag", "managed\tby=x", "which every AWS service accepts"),
        ("resource_tags", "cost-center", "key=value"),
        ("resource_tags", "cost-center=1,team=a*", "which every AWS service accepts"),
        ("resource_tags", "Team=a, cost-center=1, team=b", "not \"team\" again"),
        ("resource_tags", "Managed-By=x", "which the enroller sets itself"),
        ("resource_tags", "VPC-flow-logs-settings=x", "which the enroller sets itself"),
        ("kms_key_arn", "alias/x", "KMS key"),
        ("kms_key_arn", "arn:aws:kms:{region}:{account}:alias/logs", "not an alias"),
        ("kms_key_arn", "arn:aws:kms:eu-west-1:{account}:key/logs", "not in us-east-1"),
        ("destination_target_arn", "arn:aws:s3:::bucket", "firehose or kinesis"),
        ("destination_role_arn", "arn:aws:iam::444455556666:role/Writer", "a role in the central account"),
        ("grant_mode", "everyone", "account-list or organization"),
        ("delivery_role_maker", "me", "member-stack or enroller"),
        ("opt_out_tag", "novalue", "key=value"),
        ("ownership_tag", "aws:x=y", "key=value"),
        ("revocation_limit_percent", "101", "0 to 100"),
        ("max_concurrency", "0", "1 to 256"),
        ("external_id", "x", "2 to 1224"),
        ("enrollments_queue_url", "queue", "URL"),
    ] {
        let error = with(&[(key, bad)]).unwrap_err();
        assert_eq!(error.0.len(), 1, "{key}: {error}");
        assert_eq!(error.0[0].key, key);
        assert!(error.to_string().contains(expected), "{key}: {error}");
        assert!(error.0[0].value.is_some(), "{key}");
    }
}

#[test]
fn a_kms_key_is_in_the_region_of_its_log_group() {
    let settings = with(&[("kms_key_arn", "arn:aws:kms:{region}:{account}:key/logs")]).unwrap();
    let region = "us-east-1".parse().unwrap();
    let arn = settings.kms_key_arn.unwrap().arn(&region, "444455556666".parse().unwrap());
    assert_eq!(arn, "arn:aws:kms:us-east-1:444455556666:key/logs");
}

#[test]
fn a_kms_key_may_be_of_any_partition() {
    let china = [
        ("home_region", "cn-north-1"),
        ("regions", "cn-north-1, cn-northwest-1"),
        ("kms_key_arn", "arn:aws-cn:kms:{region}:{account}:key/logs"),
    ];
    assert!(with(&china).is_ok());
}

#[test]
fn a_value_at_its_limit_is_accepted_and_one_past_it_is_not() {
    let (key, value) = (format!("{}=v", "k".repeat(128)), format!("k={}", "é".repeat(256)));
    let (long_key, long_value) = (format!("{}=v", "k".repeat(129)), format!("k={}", "é".repeat(257)));
    for (name, good, bad) in [
        ("filter_pattern", "p".repeat(1024), "p".repeat(1025)),
        ("delivery_role_policy_name", "p".repeat(128), "p".repeat(129)),
        ("member_stack_name", "s".repeat(128), "s".repeat(129)),
        ("external_id", "xx".to_owned(), "x".repeat(1225)),
        ("opt_out_tag", key, long_key),
        ("opt_out_tag", value, long_value),
        ("opt_out_tag", "awsome=x".to_owned(), "AWS:x=y".to_owned()),
        ("traffic_type_tag", "t".repeat(128), "aws:t".to_owned()),
        ("revocation_limit_percent", "100".to_owned(), "-1".to_owned()),
        ("max_concurrency", "256".to_owned(), "257".to_owned()),
        ("retention_days", "3653".to_owned(), "0".to_owned()),
        ("grants_queue_url", "http://localhost:4566/q".to_owned(), "ftp://x".to_owned()),
        (
            "destination_role_arn",
            "arn:aws:iam::111122223333:role/x".to_owned(),
            "arn:aws:iam::111122223333:user/x".to_owned(),
        ),
        (
            "destination_target_arn",
            "arn:aws:kinesis:eu-west-1:111122223333:stream/x".to_owned(),
            "arn:aws-cn:kinesis:cn-north-1:111122223333:stream/x".to_owned(),
        ),
        (
            "kms_key_arn",
            "arn:aws:kms:{region}:444455556666:key/x".to_owned(),
            "arn:aws:iam:{region}:444455556666:key/x".to_owned(),
        ),
        ("regions", "us-east-1".to_owned(), ",".to_owned()),
        ("ownership_tag", "Größe 1_.:/+-@=ö =_.:/+-@9".to_owned(), "managed-by=a*".to_owned()),
        ("resource_tags", many_tags(48), many_tags(49)),
        ("filter_pattern", "[account, ..., status = OK]".to_owned(), "[account, status = OK]".to_owned()),
        ("opt_out_tag", "managed-by=others".to_owned(), "managed-by=vpc-flow-logs-enroller".to_owned()),
    ] {
        assert!(with(&[(name, &good)]).is_ok(), "{name} = {good}");
        let error = with(&[(name, &bad)]).unwrap_err();
        assert_eq!(error.0.iter().map(|problem| problem.key).collect::<Vec<_>>(), [name], "{bad}");
    }
}

fn many_tags(count: usize) -> String {
    (0..count).map(|number| format!("key{number}=")).collect::<Vec<_>>().join(",")
}

#[test]
fn further_tags_are_put_beside_the_ownership_tag() {
    let settings = with(&[("resource_tags", "cost-center=42, team=a=b,")]).unwrap();
    let tags: Vec<String> = settings.tags_of_new_resources().iter().map(ToString::to_string).collect();
    assert_eq!(tags, ["managed-by=vpc-flow-logs-enroller", "cost-center=42", "team=a=b"]);
    assert_eq!(with(&[]).unwrap().tags_of_new_resources().len(), 1);
}

#[test]
fn what_is_set_is_what_is_used() {
    let settings = with(&[
        ("log_format", " ${region}  ${vpc-id} ${account-id}"),
        ("excluded_accounts", "444455556666, 777788889999,"),
        ("aggregation_interval", "60"),
        ("retention_days", "never-expire"),
        ("member_role_name", "Member"),
        ("delivery_role_name", "Delivery"),
        ("grant_mode", "organization"),
        ("external_id", " spaced "),
    ])
    .unwrap();
    assert_eq!(settings.log_format, "${region} ${vpc-id} ${account-id}");
    assert_eq!(settings.excluded_accounts.len(), 2);
    assert_eq!((settings.aggregation_interval, settings.retention_days), (60, None));
    assert_eq!((settings.revocation_limit_percent, settings.max_concurrency), (10, 16));
    assert_eq!(settings.external_id.as_deref(), Some("spaced"));
    assert_eq!(settings.granted_organization(), Some(&settings.organization_id));
    assert_eq!(with(&[]).unwrap().granted_organization(), None);
    let account = "444455556666".parse().unwrap();
    assert_eq!(settings.member_role(account).to_string(), "arn:aws:iam::444455556666:role/Member");
    assert_eq!(settings.delivery_role(account).to_string(), "arn:aws:iam::444455556666:role/Delivery");
    assert_eq!(
        with(&[("home_region", "cn-north-1"), ("regions", "cn-north-1")]).unwrap().partition(),
        Partition::AwsCn
    );
}

#[test]
fn a_function_reads_its_settings_from_the_environment() {
    let values = BTreeMap::from([
        ("ENROLLER_CENTRAL_ACCOUNT", "111122223333"),
        ("ENROLLER_ORGANIZATION_ID", "o-exampleorg1"),
        ("ENROLLER_HOME_REGION", "eu-west-1"),
        ("ENROLLER_REGIONS", "eu-west-1"),
        ("ENROLLER_LOG_GROUP_NAME", "theirs"),
    ]);
    let settings = Settings::from_environment(|name| values.get(name).map(|value| (*value).to_owned())).unwrap();
    assert_eq!(settings.log_group_name.as_str(), "theirs");
    assert_eq!(settings.traffic_type_tag, "vpc-flow-logs-traffic-type");
}

#[test]
fn only_organization_mode_gives_filters_a_role() {
    let account = "444455556666".parse().unwrap();
    assert_eq!(with(&[]).unwrap().filter_role(account), None);
    let role = with(&[("grant_mode", "organization")]).unwrap().filter_role(account).unwrap();
    assert_eq!(role.to_string(), "arn:aws:iam::444455556666:role/VPCFlowLogsFilterRole");
}

#[test]
fn the_keys_that_are_read_are_the_keys_that_are_described() {
    let read = RefCell::new(BTreeSet::new());
    let nothing = Settings::from_lookup(|key| {
        read.borrow_mut().insert(key.to_owned());
        None
    });
    assert!(nothing.is_err());
    let described: BTreeSet<String> = KEYS.iter().map(|(key, ..)| (*key).to_owned()).collect();
    assert_eq!(read.into_inner(), described);
    for (key, _, meaning) in KEYS {
        assert!(!meaning.is_empty(), "{key}");
    }
}

#[test]
fn what_a_worker_cannot_do_without_is_named_all_at_once() {
    let keys = |error: SettingsError| error.0.into_iter().map(|problem| problem.key).collect::<Vec<_>>();
    let nothing = with(&[]).unwrap();
    assert_eq!(
        keys(both(nothing.destination_parts(), nothing.queue_urls()).unwrap_err()),
        ["destination_target_arn", "destination_role_arn", "enrollments_queue_url", "grants_queue_url"]
    );
    assert_eq!(keys(nothing.continuation_queue_url().unwrap_err()), ["backfill_queue_url"]);
    let url = |name: &str| format!("https://sqs.eu-west-1.amazonaws.com/111122223333/{name}");
    let one = with(&[("grants_queue_url", &url("grants.fifo"))]).unwrap();
    assert_eq!(keys(one.queue_urls().unwrap_err()), ["enrollments_queue_url"]);
    let queues = with(&[
        ("grants_queue_url", &url("grants.fifo")),
        ("enrollments_queue_url", &url("enrollments")),
        ("backfill_queue_url", &url("backfill")),
    ]);
    let queues = queues.unwrap();
    let urls = QueueUrls { enrollments: url("enrollments"), grants: url("grants.fifo") };
    assert_eq!(queues.queue_urls(), Ok(urls.clone()));
    assert_eq!(both(queues.queue_urls(), queues.continuation_queue_url()), Ok((urls, url("backfill"))));
}
