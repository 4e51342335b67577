use serde_json::{Value, json};

use super::{PatternError, matches};

fn create_vpc() -> Value {
    json!({
        "version": "0",
        "source": "aws.ec2",
        "detail-type": "AWS API Call via CloudTrail",
        "account": "111122223333",
        "region": "eu-west-1",
        "resources": [],
        "detail": {
            "eventName": "CreateVpc",
            "eventType": "AwsApiCall",
            "readOnly": false,
            "port": 300,
            "empty": "",
            "nothing": null,
            "names": ["alpha", "beta"],
            "items": [{"key": "Name", "value": "one"}, {"key": "Team", "value": "two"}],
            "requestParameters": {"logGroupName": "vpc-flow-logs", "path": "a*b\\c"}
        }
    })
}

fn assert_table(rows: &[(&str, Value, bool)]) {
    let event = create_vpc();
    for (what, pattern, expected) in rows {
        assert_eq!(matches(pattern, &event), Ok(*expected), "{what}: {pattern}");
    }
}

#[test]
fn exact_values_match_any_listed_value_and_every_listed_field() {
    assert_table(&[
        ("one value", json!({"source": ["aws.ec2"]}), true),
        ("one of several", json!({"source": ["aws.logs", "aws.ec2"]}), true),
        ("none", json!({"source": ["aws.logs"]}), false),
        ("case matters", json!({"source": ["AWS.EC2"]}), false),
        ("both fields", json!({"source": ["aws.ec2"], "region": ["eu-west-1"]}), true),
        ("one field differs", json!({"source": ["aws.ec2"], "region": ["us-east-1"]}), false),
        ("nested", json!({"detail": {"eventName": ["CreateVpc"]}}), true),
        ("nested differs", json!({"detail": {"eventName": ["DeleteVpc"]}}), false),
        ("absent field", json!({"detail": {"errorCode": ["x"]}}), false),
        ("boolean", json!({"detail": {"readOnly": [false]}}), true),
        ("number", json!({"detail": {"port": [300]}}), true),
        ("number is no text", json!({"detail": {"port": ["300"]}}), false),
        ("null", json!({"detail": {"nothing": [null]}}), true),
        ("null is not absent", json!({"detail": {"errorCode": [null]}}), false),
        ("empty text", json!({"detail": {"empty": [""]}}), true),
        ("array of values", json!({"detail": {"names": ["beta"]}}), true),
        ("array without the value", json!({"detail": {"names": ["gamma"]}}), false),
        ("array of objects", json!({"detail": {"items": {"key": ["Team"]}}}), true),
        ("one object must satisfy all", json!({"detail": {"items": {"key": ["Team"], "value": ["one"]}}}), false),
    ]);
}

#[test]
fn text_operators_match_as_documented() {
    assert_table(&[
        ("prefix", json!({"source": [{"prefix": "aws."}]}), true),
        ("other prefix", json!({"source": [{"prefix": "com."}]}), false),
        ("prefix case", json!({"source": [{"prefix": {"equals-ignore-case": "AWS."}}]}), true),
        ("suffix", json!({"detail": {"eventName": [{"suffix": "Vpc"}]}}), true),
        ("other suffix", json!({"detail": {"eventName": [{"suffix": "vpc"}]}}), false),
        ("suffix case", json!({"detail": {"eventName": [{"suffix": {"equals-ignore-case": "VPC"}}]}}), true),
        ("equals-ignore-case", json!({"detail": {"eventName": [{"equals-ignore-case": "CREATEVPC"}]}}), true),
        ("wildcard", json!({"detail": {"eventName": [{"wildcard": "Create*"}]}}), true),
        ("wildcard inside", json!({"detail": {"eventName": [{"wildcard": "C*e*c"}]}}), true),
        ("wildcard whole", json!({"detail": {"eventName": [{"wildcard": "Create"}]}}), false),
        ("escaped star", json!({"detail": {"requestParameters": {"path": [{"wildcard": "a\\*b\\\\c"}]}}}), true),
        ("text operator on a number", json!({"detail": {"port": [{"prefix": "3"}]}}), false),
        ("text operator on an array", json!({"detail": {"names": [{"prefix": "be"}]}}), true),
    ]);
}

#[test]
fn anything_but_needs_the_field_and_excludes_every_listed_value() {
    assert_table(&[
        ("other value", json!({"detail": {"eventName": [{"anything-but": "DeleteVpc"}]}}), true),
        ("that value", json!({"detail": {"eventName": [{"anything-but": "CreateVpc"}]}}), false),
        ("in the list", json!({"detail": {"eventName": [{"anything-but": ["A", "CreateVpc"]}]}}), false),
        ("number", json!({"detail": {"port": [{"anything-but": [300]}]}}), false),
        ("absent", json!({"detail": {"errorCode": [{"anything-but": "x"}]}}), false),
        ("not the prefix", json!({"detail": {"eventName": [{"anything-but": {"prefix": "Create"}}]}}), false),
        ("not these suffixes", json!({"detail": {"eventName": [{"anything-but": {"suffix": ["x", "y"]}}]}}), true),
        ("not the wildcard", json!({"detail": {"eventName": [{"anything-but": {"wildcard": "*Vpc"}}]}}), false),
    ]);
}

#[test]
fn exists_works_on_leaf_nodes_only() {
    assert_table(&[
        ("present", json!({"detail": {"eventName": [{"exists": true}]}}), true),
        ("present but unwanted", json!({"detail": {"eventName": [{"exists": false}]}}), false),
        ("absent", json!({"detail": {"errorCode": [{"exists": false}]}}), true),
        ("absent but wanted", json!({"detail": {"errorCode": [{"exists": true}]}}), false),
        ("null is present", json!({"detail": {"nothing": [{"exists": true}]}}), true),
        ("object is no leaf", json!({"detail": [{"exists": true}]}), false),
        ("empty array is no leaf", json!({"resources": [{"exists": true}]}), false),
        ("absent parent", json!({"detail": {"responseElements": {"vpc": {"vpcId": [{"exists": false}]}}}}), true),
        ("absent or a value", json!({"detail": {"errorCode": [{"exists": false}, "Client.X"]}}), true),
    ]);
}

#[test]
fn or_takes_one_branch_and_all_siblings() {
    let or = json!([{"eventName": ["DeleteVpc"]}, {"eventName": ["CreateVpc"]}]);
    assert_table(&[
        ("second branch", json!({"detail": {"$or": or}}), true),
        ("sibling fails", json!({"source": ["aws.logs"], "detail": {"$or": or}}), false),
        ("no branch", json!({"detail": {"$or": [{"port": [1]}, {"port": [2]}]}}), false),
        ("at the top", json!({"$or": [{"source": ["x"]}, {"region": ["eu-west-1"]}]}), true),
    ]);
}

#[test]
fn a_pattern_eventbridge_refuses_is_refused_with_the_field_that_is_wrong() {
    let at = |path: &str| path.to_owned();
    let wrong = |path: &str, matcher: &str| PatternError::WrongArgument { path: at(path), matcher: at(matcher) };
    let unknown = |path: &str, matcher: &str| PatternError::UnknownMatcher { path: at(path), matcher: at(matcher) };
    let rows = [
        (json!([]), PatternError::NotAnObject { path: at("") }),
        (json!({}), PatternError::NotAnObject { path: at("") }),
        (json!({"detail": {}}), PatternError::NotAnObject { path: at("detail") }),
        (json!({"source": "aws.ec2"}), PatternError::BareValue { path: at("source") }),
        (json!({"detail": {"a": []}}), PatternError::EmptyArray { path: at("detail.a") }),
        (json!({"a": [["x"]]}), PatternError::BareValue { path: at("a") }),
        (json!({"a": [{"numeric": [">", 1]}]}), unknown("a", "numeric")),
        (json!({"a": [{"starts-with": "x"}]}), unknown("a", "starts-with")),
        (json!({"a": [{"prefix": "x", "suffix": "y"}]}), unknown("a", "prefix,suffix")),
        (json!({"a": [{}]}), unknown("a", "")),
        (json!({"a": [{"prefix": 1}]}), wrong("a", "prefix")),
        (json!({"a": [{"exists": "yes"}]}), wrong("a", "exists")),
        (json!({"a": [{"wildcard": "x**"}]}), wrong("a", "wildcard")),
        (json!({"a": [{"wildcard": "x\\y"}]}), wrong("a", "wildcard")),
        (json!({"a": [{"anything-but": []}]}), wrong("a", "anything-but")),
        (json!({"a": [{"anything-but": true}]}), wrong("a", "anything-but")),
        (json!({"a": [{"anything-but": {"numeric": 1}}]}), unknown("a", "numeric")),
        (json!({"$or": [{"a": ["x"]}]}), PatternError::Or { path: at("") }),
        (json!({"detail": {"$or": {}}}), PatternError::Or { path: at("detail") }),
    ];
    for (pattern, expected) in rows {
        assert_eq!(matches(&pattern, &create_vpc()), Err(expected), "{pattern}");
    }
}

#[test]
fn a_mistake_in_a_branch_the_event_does_not_reach_is_still_found() {
    let pattern = json!({"source": ["never"], "detail": {"a": [{"prefix": 1}]}});
    assert!(matches(&pattern, &create_vpc()).is_err());
}
