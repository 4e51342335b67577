use proptest::prelude::*;

use super::*;

fn account(number: u64) -> AccountId {
    format!("{number:012}").parse().unwrap()
}

fn accounts(numbers: impl IntoIterator<Item = u64>) -> BTreeSet<AccountId> {
    numbers.into_iter().map(account).collect()
}

fn destination(region: &str, name: &str) -> Arn {
    Arn::destination(&region.parse().unwrap(), account(111_122_223_333), &name.parse().unwrap())
}

fn arn() -> Arn {
    destination("eu-west-1", "VPCFlowLogsDestination")
}

fn organization() -> OrganizationId {
    "o-exampleorg1".parse().unwrap()
}

fn foreign(effect: &str, principal: Value) -> Value {
    json!({"Sid": "ByHand", "Effect": effect, "Principal": principal, "Action": "logs:Put*", "Resource": "*"})
}

fn with_statements(statements: Value) -> DestinationPolicy {
    DestinationPolicy::parse(&json!({"Version": "2012-10-17", "Statement": statements}).to_string()).unwrap()
}

#[test]
fn a_list_of_accounts_is_one_compact_sorted_statement() {
    let policy = DestinationPolicy::empty().with_accounts(accounts([444_455_556_666, 123]));
    insta::assert_snapshot!(policy.render(&arn()), @r#"{"Statement":[{"Action":"logs:PutSubscriptionFilter","Effect":"Allow","Principal":{"AWS":["000000000123","444455556666"]},"Resource":"arn:aws:logs:eu-west-1:111122223333:destination:VPCFlowLogsDestination","Sid":"VpcEnroller"}],"Version":"2012-10-17"}"#);
}

#[test]
fn an_organization_is_one_statement_with_a_condition() {
    let policy = DestinationPolicy::empty().with_organization(Some(organization()));
    insta::assert_snapshot!(policy.render(&arn()), @r#"{"Statement":[{"Action":"logs:PutSubscriptionFilter","Condition":{"StringEquals":{"aws:PrincipalOrgID":["o-exampleorg1"]}},"Effect":"Allow","Principal":"*","Resource":"arn:aws:logs:eu-west-1:111122223333:destination:VPCFlowLogsDestination","Sid":"VpcEnrollerOrganization"}],"Version":"2012-10-17"}"#);
}

#[test]
fn a_policy_without_statements_names_its_owner_which_is_not_a_grant() {
    let text = DestinationPolicy::empty().render(&arn());
    insta::assert_snapshot!(text, @r#"{"Statement":[{"Action":"logs:PutSubscriptionFilter","Effect":"Allow","Principal":{"AWS":["111122223333"]},"Resource":"arn:aws:logs:eu-west-1:111122223333:destination:VPCFlowLogsDestination","Sid":"VpcEnrollerNobody"}],"Version":"2012-10-17"}"#);
    let read = DestinationPolicy::parse(&text).unwrap();
    assert!(read.accounts().is_empty());
    assert!(!read.needs_put(&arn()));
    let filled = read.with_accounts(accounts([1]));
    assert!(filled.needs_put(&arn()));
    assert!(!filled.render(&arn()).contains(PLACEHOLDER_SID));
}

#[test]
fn unmanaged_statements_are_written_back_unchanged() {
    let theirs = json!([
        {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::444455556666:root"}, "Action": ["logs:*"], "Resource": "é"},
        {"Sid": 5, "Odd": {"nested": [1, 2.5, null, true]}},
    ]);
    let stored = json!({"Id": "by hand", "Version": "2008-10-17", "Statement": theirs});
    let policy = DestinationPolicy::parse(&serde_json::to_string_pretty(&stored).unwrap()).unwrap();
    assert_eq!(policy.foreign_statements(), 2);
    assert!(!policy.needs_put(&arn()));

    let written: Value = serde_json::from_str(&policy.with_accounts(accounts([1])).render(&arn())).unwrap();
    assert_eq!(written["Id"], stored["Id"]);
    assert_eq!(written["Version"], stored["Version"]);
    assert_eq!(written["Statement"].as_array().unwrap()[1..], *theirs.as_array().unwrap());
}

#[test]
fn a_number_that_could_not_be_written_back_makes_a_policy_unreadable() {
    let with = |number: &str| format!(r#"{{"Statement":[{{"Condition":{{"NumericEquals":{{"k":[{number}]}}}}}}]}}"#);
    for kept in ["0", "-1", "300", "0.1", "123456.789", "18446744073709551615", "1.5e300"] {
        let policy = DestinationPolicy::parse(&with(kept)).unwrap();
        assert!(policy.render(&arn()).contains(&format!("[{}]", kept.replace("e300", "e+300"))), "{kept}");
    }
    for lost in ["123456789012345678901", "-12345678901234567890", "6.934698245112694e276", "0.12345678901234567"] {
        let error = DestinationPolicy::parse(&with(lost)).unwrap_err();
        assert!(matches!(error, PolicyError::Number(_)), "{lost}: {error}");
        // Also outside the statements.
        assert!(DestinationPolicy::parse(&format!(r#"{{"Id":{lost},"Statement":[]}}"#)).is_err(), "{lost}");
    }
}

#[test]
fn the_managed_statement_is_read_in_every_form_that_means_the_same() {
    let statement = |principal: Value| {
        json!({"Sid": ACCOUNTS_SID, "Effect": "Allow", "Principal": {"AWS": principal},
        "Action": ["logs:PutSubscriptionFilter"], "Resource": [arn()]})
    };
    for (statements, put) in [
        (statement(json!("111122223333")), false),
        (json!([statement(json!(["111122223333"]))]), false),
        (json!([statement(json!(["111122223333", "111122223333"]))]), false),
        (json!([statement(json!("arn:aws:iam::111122223333:root"))]), false),
        (json!([statement(json!([])), statement(json!(["111122223333"]))]), true),
    ] {
        let policy = with_statements(statements.clone());
        assert_eq!(*policy.accounts(), accounts([111_122_223_333]), "{statements}");
        assert_eq!(policy.needs_put(&arn()), put, "{statements}");
    }
}

#[test]
fn a_managed_statement_with_another_action_or_resource_is_put_again() {
    let policy = DestinationPolicy::empty().with_accounts(accounts([1]));
    let elsewhere = destination("eu-west-1", "Elsewhere");
    let stored = DestinationPolicy::parse(&policy.render(&elsewhere)).unwrap();
    assert!(!stored.needs_put(&elsewhere));
    assert!(stored.needs_put(&arn()));
    let idle = policy.render(&arn()).replace("logs:PutSubscriptionFilter", "logs:PutAccountPolicy");
    assert!(DestinationPolicy::parse(&idle).unwrap().needs_put(&arn()));
}

#[test]
fn what_cannot_be_parsed_is_an_error_that_names_it() {
    let ours = |sid: &str, rest: Value| {
        let mut statement = json!({"Sid": sid, "Effect": "Allow", "Principal": {"AWS": ["111122223333"]}});
        for (name, value) in rest.as_object().unwrap() {
            statement[name] = value.clone();
        }
        json!({"Statement": [statement]}).to_string()
    };
    let condition = |id: Value| json!({"Principal": "*", "Condition": {"StringEquals": {"aws:PrincipalOrgID": id}}});
    let named = |id: &str| {
        let mut statement = condition(json!(id));
        (statement["Sid"], statement["Effect"]) = (json!(ORGANIZATION_SID), json!("Allow"));
        statement
    };
    for (text, expected) in [
        ("{".to_owned(), "not JSON: EOF"),
        ("[".repeat(100_000), "not JSON: recursion limit"),
        ("\"x\"".to_owned(), "not a JSON object"),
        ("{}".to_owned(), "no Statement"),
        (r#"{"Statement":"x"}"#.to_owned(), "no Statement"),
        (r#"{"Statement":[{},3]}"#.to_owned(), "statement 2"),
        (ours(ACCOUNTS_SID, json!({"Effect": "Deny"})), "VpcEnroller of the access policy was edited: its Effect"),
        (ours(ACCOUNTS_SID, json!({"Principal": {"Service": "x"}})), "not a list of AWS accounts"),
        (ours(ACCOUNTS_SID, json!({"Principal": {"AWS": [111_122_223_333_u64]}})), "not a list of AWS accounts"),
        (ours(ACCOUNTS_SID, json!({"Principal": "*"})), "not an account"),
        (ours(ACCOUNTS_SID, json!({"Principal": {"AWS": ["AIDAEXAMPLE"]}})), "not an account"),
        (ours(ACCOUNTS_SID, json!({"Condition": {"Bool": {"aws:SecureTransport": "true"}}})), "its Condition"),
        (ours(ORGANIZATION_SID, condition(json!(["o-exampleorg1", "o-exampleorg2"]))), "its Condition"),
        (ours(ORGANIZATION_SID, condition(json!("nonsense"))), "its Condition"),
        (
            ours(ORGANIZATION_SID, json!({"Condition": {"StringEquals": {"aws:PrincipalOrgID": "o-exampleorg1"}}})),
            "its Condition",
        ),
        (
            json!({"Statement": [named("o-exampleorg1"), named("o-exampleorg1"), named("o-exampleorg2")]}).to_string(),
            "it names a second organization",
        ),
        (ours(PLACEHOLDER_SID, json!({"Effect": "Deny"})), "VpcEnrollerNobody of the access policy was edited"),
    ] {
        let error = DestinationPolicy::parse(&text).unwrap_err().to_string();
        assert!(error.contains(expected), "{error} should say {expected}");
    }
}

#[test]
fn an_organization_that_is_named_twice_is_one_organization() {
    let named = DestinationPolicy::empty().with_organization(Some(organization()));
    let statement: Value = serde_json::from_str::<Value>(&named.render(&arn())).unwrap()["Statement"][0].take();
    let policy = with_statements(json!([statement, statement]));
    assert_eq!(policy.organization(), Some(&organization()));
}

#[test]
fn unmanaged_statements_have_the_effect_they_have_in_aws() {
    let everyone_of = |id: &str| {
        json!({"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": arn(),
        "Condition": {"StringEquals": {"aws:PrincipalOrgID": [id]}}})
    };
    let other_action =
        json!({"Effect": "Allow", "Principal": {"AWS": "1".repeat(12)}, "Action": "logs:Get*", "Resource": "*"});
    let other_resource =
        json!({"Effect": "Allow", "Principal": {"AWS": "1".repeat(12)}, "Action": "logs:*", "Resource": "arn:x"});
    let with = |effect: &str, changes: Value| {
        let mut statement = foreign(effect, json!({"AWS": "111111111111"}));
        for (name, value) in changes.as_object().unwrap() {
            statement[name] = value.clone();
        }
        statement
    };
    let allow = foreign("Allow", json!({"AWS": "111111111111"}));
    let mut deny_all_but = foreign("Deny", json!(null));
    deny_all_but.as_object_mut().unwrap().remove("Principal");
    deny_all_but["NotPrincipal"] = json!({"AWS": "111111111111"});
    let condition = json!({"Condition": {"Bool": {"aws:SecureTransport": "true"}}});
    let of_organization = |id: &str| json!({"Condition": {"StringEquals": {"aws:PrincipalOrgID": id}}});
    let one = account(111_111_111_111);
    let member = organization();
    for (statements, organization, expected) in [
        (json!([foreign("Allow", json!({"AWS": "111111111111"}))]), None, true),
        (json!([foreign("Allow", json!({"AWS": ["arn:aws:iam::111111111111:root", "AIDAX"]}))]), None, true),
        (json!([foreign("Allow", json!({"AWS": "222222222222"}))]), None, false),
        (json!([foreign("Allow", json!({"AWS": "arn:aws:iam::111111111111:role/x"}))]), None, false),
        (json!([foreign("Allow", json!({"AWS": "111111111111"})), foreign("Deny", json!("*"))]), None, false),
        (
            json!([foreign("Allow", json!({"AWS": "111111111111"})), foreign("Deny", json!({"AWS": "222222222222"}))]),
            None,
            true,
        ),
        (json!([everyone_of("o-exampleorg1")]), Some(&member), true),
        (json!([everyone_of("o-exampleorg1")]), None, false),
        (json!([everyone_of("o-exampleorg2")]), Some(&member), false),
        (json!([other_action]), None, false),
        (json!([other_resource]), None, false),
        (json!([allow, deny_all_but]), None, false),
        (json!([with("Allow", condition.clone())]), None, false),
        (json!([allow, with("Deny", condition)]), None, false),
        (json!([allow, with("Deny", json!({"Action": "s3:*"}))]), None, true),
        (json!([allow, with("Deny", json!({"Resource": ["arn:x", "arn:*:destination:Other"]}))]), None, true),
        (json!([allow, with("Deny", json!({"Resource": ["arn:x", "arn:*:destination:VPC*"]}))]), None, false),
        (json!([with("Allow", of_organization("o-exampleorg1"))]), Some(&member), false),
        (json!([with("Allow", json!({"Action": "LOGS:putsubscriptionfilter"}))]), None, true),
    ] {
        let policy = with_statements(statements.clone());
        assert_eq!(policy.allows(one, organization, &arn()), expected, "{statements}");
    }
}

#[test]
fn an_unmanaged_deny_overrides_the_managed_statement() {
    let policy = with_statements(json!([foreign("Deny", json!({"AWS": "111111111111"}))]));
    let policy = policy.with_accounts(accounts([111_111_111_111, 2]));
    assert!(!policy.allows(account(111_111_111_111), None, &arn()));
    assert!(policy.allows(account(2), None, &arn()));
    assert!(!policy.allows(account(3), None, &arn()));
}

#[test]
fn naming_an_organization_makes_filter_roles_necessary() {
    let ours = DestinationPolicy::empty().with_organization(Some(organization()));
    assert!(ours.demands_filter_roles(&arn()));
    let paths = json!({"Effect": "Allow", "Principal": "*", "Action": "logs:PutSubscriptionFilter", "Resource": arn(),
        "Condition": {"ForAnyValue:StringLike": {"aws:PrincipalOrgPaths": ["o-exampleorg1/r-exam/*"]}}});
    assert!(with_statements(json!([paths])).demands_filter_roles(&arn()));
    assert!(!with_statements(json!([foreign("Allow", json!({"AWS": "111111111111"}))])).demands_filter_roles(&arn()));
}

#[test]
fn at_least_326_accounts_fit_with_default_names_in_the_longest_regions() {
    for (region, name) in [
        ("eu-west-1", "VPCFlowLogsDestination"),
        ("ap-southeast-2", "VPCFlowLogsDestination"),
        ("ap-northeast-1", "VPCFlowLogsDestination-31"),
    ] {
        let arn = destination(region, name);
        let capacity = DestinationPolicy::empty().capacity(&arn);
        assert!(capacity >= 326, "{capacity} in {region}");
    }
    assert!(DestinationPolicy::empty().capacity(&destination("us-gov-west-1", "VPCFlowLogsDestination-31")) >= 325);
}

#[test]
fn size_is_measured_in_bytes_not_characters() {
    let padded = |padding: &str| with_statements(json!([{"Effect": "Deny", "Resource": padding.repeat(1_000)}]));
    assert_eq!(padded("é").bytes(&arn()) - padded("e").bytes(&arn()), 1_000);
    assert_eq!(padded("e").capacity(&arn()) - padded("é").capacity(&arn()), 1_000 / BYTES_PER_ACCOUNT);
}

#[test]
fn the_last_account_that_fits_fits_to_the_byte() {
    // One of these names leaves exactly as many bytes as accounts take.
    let exactly = (1..=BYTES_PER_ACCOUNT).filter(|length| {
        let arn = destination("eu-west-1", &"x".repeat(*length));
        let full = DestinationPolicy::empty().capacity(&arn) as u64;
        DestinationPolicy::empty().with_accounts(accounts(0..full)).bytes(&arn) == MAX_POLICY_BYTES
    });
    assert_eq!(exactly.count(), 1);
}

fn any_foreign() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        "\\PC{0,20}".prop_map(Value::from)
    ];
    let value = leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("\\PC{0,8}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    });
    prop::collection::btree_map("Effect|Principal|Action|Resource|[A-Z][a-z]{0,5}", value, 0..5)
        .prop_map(|map| Value::Object(map.into_iter().filter(|(name, _)| name != "Sid").collect()))
}

proptest! {
    #[test]
    fn a_rendered_policy_is_read_back_with_the_same_statements(
        listed in prop::collection::btree_set(0u64..1_000_000_000_000, 0..20),
        organization_mode in any::<bool>(),
        theirs in prop::collection::vec(any_foreign(), 0..4),
    ) {
        let stored = json!({"Version": "2012-10-17", "Id": "x", "Statement": theirs}).to_string();
        let policy = DestinationPolicy::parse(&stored).unwrap()
            .with_accounts(accounts(listed))
            .with_organization(organization_mode.then(organization));
        let read = DestinationPolicy::parse(&policy.render(&arn())).unwrap();
        prop_assert_eq!(read.accounts(), policy.accounts());
        prop_assert_eq!(read.organization(), policy.organization());
        prop_assert_eq!(&read.others, &theirs);
        prop_assert_eq!(&read.members, &policy.members);
        prop_assert!(!read.needs_put(&arn()));
        prop_assert_eq!(read.render(&arn()), policy.render(&arn()));
    }

    #[test]
    fn capacity_is_exactly_what_fits(
        padding in 0usize..6_000,
        organization_mode in any::<bool>(),
        name in "[A-Za-zé\"-]{1,60}",
    ) {
        let arn = destination("eu-west-1", &name);
        let policy = with_statements(json!([{"Effect": "Deny", "Resource": "x".repeat(padding)}]))
            .with_organization(organization_mode.then(organization));
        let capacity = policy.capacity(&arn);
        let over = policy.with_accounts(accounts(0..=capacity as u64));
        prop_assert!(over.bytes(&arn) > MAX_POLICY_BYTES);
        if capacity > 0 {
            prop_assert!(policy.with_accounts(accounts(0..capacity as u64)).bytes(&arn) <= MAX_POLICY_BYTES);
        }
    }

    #[test]
    fn reading_never_panics(text in "\\PC{0,200}", value in any_foreign()) {
        for text in [text, value.to_string(), json!({"Statement": [value]}).to_string()] {
            if let Ok(policy) = DestinationPolicy::parse(&text) {
                policy.allows(account(1), Some(&organization()), &arn());
                policy.render(&arn());
            }
        }
    }
}
