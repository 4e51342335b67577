//! Log classes, and policies of an account that override what its log groups say.

use super::*;

const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

fn group(caller: &Caller, name: &str) -> Value {
    let input = json!({"logGroupNamePrefix": name});
    caller.json(Service::Logs, "DescribeLogGroups", input)["logGroups"][0].clone()
}

fn put_policy(
    caller: &Caller,
    name: &str,
    days: &Value,
    mode: &str,
    criteria: Option<&str>,
) -> Result<String, ApiError> {
    let mut input = json!({
        "policyName": name, "policyType": "RETENTION_POLICY",
        "policyDocument": json!({"retentionInDays": days, "enforcementMode": mode}).to_string(),
    });
    if let Some(criteria) = criteria {
        input["selectionCriteria"] = json!(criteria);
    }
    caller.call(Service::Logs, "PutAccountPolicy", input)
}

fn with_groups(names: &[&str]) -> (Sim, Caller) {
    let sim = small();
    let caller = Caller::of(&sim, &others(&sim)[0], REGION);
    for name in names {
        caller.call(Service::Logs, "CreateLogGroup", json!({"logGroupName": name})).unwrap();
    }
    (sim, caller)
}

#[test]
fn a_retention_policy_overrides_the_group_after_a_day_and_putting_the_groups_own_changes_nothing() {
    let (sim, caller) = with_groups(&["a"]);
    let put = |days: u64| {
        caller
            .call(Service::Logs, "PutRetentionPolicy", json!({"logGroupName": "a", "retentionInDays": days}))
            .unwrap();
    };
    put(30);
    put_policy(&caller, "org", &json!(365), "RETROACTIVE", None).unwrap();
    sim.advance(DAY_MS - 1);
    assert_eq!(
        (&group(&caller, "a")["retentionInDays"], &group(&caller, "a")["retentionPolicyName"]),
        (&json!(30), &Value::Null)
    );
    sim.advance(1);
    put(60);
    assert_eq!(
        (&group(&caller, "a")["retentionInDays"], &group(&caller, "a")["retentionPolicyName"]),
        (&json!(365), &json!("org"))
    );
    let delete = json!({"policyName": "org", "policyType": "RETENTION_POLICY"});
    caller.call(Service::Logs, "DeleteAccountPolicy", delete).unwrap();
    assert_eq!(group(&caller, "a")["retentionInDays"], 60, "what was put meanwhile was kept");
}

#[test]
fn the_longest_policy_wins_and_never_expire_shows_no_days() {
    let (sim, caller) = with_groups(&["a", "b"]);
    put_policy(&caller, "short", &json!(90), "RETROACTIVE", None).unwrap();
    put_policy(&caller, "for-b", &json!("NEVER_EXPIRE"), "RETROACTIVE", Some("LogGroupNamePrefix IN [\"b\"]")).unwrap();
    put_policy(&caller, "new", &json!(3653), "NEW_ONLY", None).unwrap();
    sim.advance(DAY_MS);
    assert_eq!(group(&caller, "a")["retentionPolicyName"], "short");
    let b = group(&caller, "b");
    assert_eq!((&b["retentionPolicyName"], &b["retentionInDays"]), (&json!("for-b"), &Value::Null));
    caller.call(Service::Logs, "CreateLogGroup", json!({"logGroupName": "c"})).unwrap();
    assert_eq!(group(&caller, "c")["retentionPolicyName"], "new");
}

#[test]
fn account_policies_are_validated_limited_and_shown() {
    let (_, caller) = with_groups(&[]);
    for (days, mode) in [(json!(14), "NEW_ONLY"), (json!(31), "NEW_ONLY"), (json!(30), "SOMETIMES")] {
        assert_eq!(
            put_policy(&caller, "p", &days, mode, None).unwrap_err().code,
            "InvalidParameterException",
            "{days}"
        );
    }
    for number in 0..20 {
        put_policy(&caller, &format!("p{number}"), &json!(30), "NEW_ONLY", None).unwrap();
    }
    assert_eq!(put_policy(&caller, "more", &json!(30), "NEW_ONLY", None).unwrap_err().code, "LimitExceededException");
    let subscription = |name: &str| {
        let document =
            json!({"DestinationArn": "arn:aws:logs:eu-west-1:111122223333:destination:d", "FilterPattern": ""});
        let input = json!({
            "policyName": name, "policyType": "SUBSCRIPTION_FILTER_POLICY", "policyDocument": document.to_string(),
        });
        caller.call(Service::Logs, "PutAccountPolicy", input).map_err(|refusal| refusal.code)
    };
    assert!(subscription("one").is_ok());
    assert_eq!(subscription("two"), Err("LimitExceededException".to_owned()));
    let shown =
        caller.json(Service::Logs, "DescribeAccountPolicies", json!({"policyType": "SUBSCRIPTION_FILTER_POLICY"}));
    assert_eq!(shown["accountPolicies"][0]["policyName"], "one");
}

#[test]
fn a_group_of_another_class_refuses_to_show_its_filters_and_to_take_one() {
    let (_, caller) = with_groups(&[]);
    for class in ["INFREQUENT_ACCESS", "DELIVERY", "ESSENTIALS"] {
        let create = json!({"logGroupName": class, "logGroupClass": class});
        caller.call(Service::Logs, "CreateLogGroup", create).unwrap();
        let filter = json!({
            "logGroupName": class, "filterName": "f", "filterPattern": "",
            "destinationArn": "arn:aws:logs:eu-west-1:111122223333:destination:d",
        });
        let show = json!({"logGroupName": class});
        for (operation, input) in [("DescribeSubscriptionFilters", show), ("PutSubscriptionFilter", filter)] {
            let refusal = caller.call(Service::Logs, operation, input).unwrap_err();
            assert_eq!(refusal.code, "ValidationException", "{class} {operation}");
            assert!(refusal.message.contains("only supported on the Standard log class"), "{refusal}");
        }
    }
}

#[test]
fn a_filter_pattern_that_cannot_be_read_is_refused() {
    let (_, caller) = with_groups(&["g"]);
    let input = json!({
        "logGroupName": "g", "filterName": "f", "filterPattern": "{ $.a = 1",
        "destinationArn": "arn:aws:logs:eu-west-1:111122223333:destination:d",
    });
    let refusal = caller.call(Service::Logs, "PutSubscriptionFilter", input).unwrap_err();
    assert_eq!(refusal.code, "InvalidParameterException");
    assert!(refusal.message.contains("must end with '}'"), "{refusal}");
}
