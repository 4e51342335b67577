use serde_json::json;

use super::*;

fn context(pairs: &[(&str, &str)]) -> Context {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn service_request(service: &'static str, pairs: &[(&str, &str)]) -> TrustRequest<'static> {
    TrustRequest { action: "sts:AssumeRole", principal: PrincipalKind::Service(service), context: context(pairs) }
}

fn trust(principal: Value, condition: Value) -> Value {
    json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole", "Condition": condition}]})
}

#[test]
fn a_service_is_trusted_only_from_the_account_and_flow_log_named() {
    let policy = trust(
        json!({"Service": "vpc-flow-logs.amazonaws.com"}),
        json!({"StringEquals": {"aws:SourceAccount": "111122223333"},
               "ArnLike": {"aws:SourceArn": "arn:aws:ec2:*:111122223333:vpc-flow-log/*"}}),
    );
    let arn = "arn:aws:ec2:eu-west-1:111122223333:vpc-flow-log/fl-0123456789abcdef0";
    let right = [("aws:sourceaccount", "111122223333"), ("aws:SourceArn", arn)];
    assert!(trust_allows(&policy, &service_request("vpc-flow-logs.amazonaws.com", &right)));
    assert!(!trust_allows(&policy, &service_request("logs.amazonaws.com", &right)));
    let other = [("aws:SourceAccount", "444455556666"), ("aws:SourceArn", arn)];
    assert!(!trust_allows(&policy, &service_request("vpc-flow-logs.amazonaws.com", &other)));
    assert!(!trust_allows(&policy, &service_request("vpc-flow-logs.amazonaws.com", &right[..1])));
}

#[test]
fn principals_match_by_account_root_session_and_role() {
    let session = "arn:aws:sts::111122223333:assumed-role/enroller/run";
    let request = TrustRequest {
        action: "sts:AssumeRole",
        principal: PrincipalKind::Aws { arn: session, account: "111122223333" },
        context: context(&[("aws:PrincipalArn", "arn:aws:iam::111122223333:role/service/enroller")]),
    };
    let cases = [
        (json!({"AWS": "111122223333"}), true),
        (json!({"AWS": ["arn:aws:iam::444455556666:root", "arn:aws:iam::111122223333:root"]}), true),
        (json!({"AWS": "arn:aws:iam::111122223333:role/service/enroller"}), true),
        (json!({"AWS": session}), true),
        (json!("*"), true),
        (json!({"AWS": "arn:aws:iam::111122223333:role/enroller"}), false),
        (json!({"AWS": "arn:aws:iam::444455556666:root"}), false),
        (json!({"Service": "lambda.amazonaws.com"}), false),
    ];
    for (principal, expected) in cases {
        assert_eq!(trust_allows(&trust(principal.clone(), json!({})), &request), expected, "{principal}");
    }
}

#[test]
fn condition_operators_follow_iam_also_when_the_key_is_absent() {
    let present = context(&[("sts:ExternalId", "abc"), ("aws:PrincipalOrgID", "o-exampleorg1")]);
    let cases = [
        (json!({"StringEquals": {"sts:ExternalId": "abc"}}), Some(true)),
        (json!({"StringEquals": {"sts:ExternalId": "ABC"}}), Some(false)),
        (json!({"StringEqualsIgnoreCase": {"sts:ExternalId": "ABC"}}), Some(true)),
        (json!({"StringLike": {"aws:PrincipalOrgID": ["x", "o-ex*"]}}), Some(true)),
        (json!({"StringEquals": {"aws:absent": "x"}}), Some(false)),
        (json!({"StringNotEquals": {"aws:absent": "x"}}), Some(true)),
        (json!({"StringEqualsIfExists": {"aws:absent": "x"}}), Some(true)),
        (json!({"ForAllValues:StringEquals": {"aws:absent": "x"}}), Some(true)),
        (json!({"ForAnyValue:StringNotEquals": {"aws:absent": "x"}}), Some(false)),
        (json!({"Null": {"sts:ExternalId": false}}), Some(true)),
        (json!({"Null": {"aws:absent": "false"}}), Some(false)),
        (json!({"NumericLessThan": {"aws:MultiFactorAuthAge": "1"}}), None),
    ];
    for (condition, expected) in cases {
        assert_eq!(conditions_hold(&condition, &present), expected, "{condition}");
    }
}

#[test]
fn a_star_in_an_arn_condition_stays_within_its_part() {
    assert!(arn_like("arn:aws:logs:*:1:*", "arn:aws:logs:eu-west-1:1:log-group:a:*"));
    assert!(!arn_like("arn:aws:logs:*", "arn:aws:logs:eu-west-1:1:log-group:a"));
}

#[test]
fn documents_that_iam_refuses_are_recognised() {
    let statement = |extra: Value| {
        let mut statement = json!({"Effect": "Allow", "Action": "sts:AssumeRole"});
        if let (Some(into), Value::Object(extra)) = (statement.as_object_mut(), extra) {
            into.extend(extra);
        }
        json!({"Version": "2012-10-17", "Statement": [statement]})
    };
    let cases = [
        (statement(json!({"Principal": "*"})), DocumentKind::Trust, None),
        (statement(json!({})), DocumentKind::Trust, Some("Missing required field Principal")),
        (
            statement(json!({"Principal": "*", "Resource": "*"})),
            DocumentKind::Trust,
            Some("Has prohibited field Resource"),
        ),
        (statement(json!({"Resource": "*"})), DocumentKind::Identity, None),
        (statement(json!({})), DocumentKind::Identity, Some("Policy statement must contain resources.")),
        (json!({"Version": "2012-10-17"}), DocumentKind::Trust, Some("Syntax errors in policy.")),
        (
            statement(json!({"Principal": "*", "Condition": {"IpAddress": {"aws:SourceIp": "192.0.2.0/24"}}})),
            DocumentKind::Trust,
            Some("the simulated AWS does not know condition operator IpAddress"),
        ),
    ];
    for (document, kind, expected) in cases {
        assert_eq!(problem_of(&document, kind).as_deref(), expected, "{document}");
    }
}

#[test]
fn globs_backtrack() {
    for (pattern, text, expected) in
        [("*", "", true), ("a*b?d", "axxbbcd", true), ("a*b", "axbx", false), ("", "a", false), ("a?", "a", false)]
    {
        assert_eq!(glob(pattern, text), expected, "{pattern} {text}");
    }
}
