use super::*;

fn of(operation: &'static str, code: &str) -> Disposition {
    AwsError::answered(operation, code, "message").disposition()
}

#[test]
fn the_same_code_means_different_things_to_different_calls() {
    assert_eq!(of("sts:AssumeRole", "AccessDenied"), Disposition::RetryLater(Wait::MemberRole));
    assert_eq!(of("logs:PutSubscriptionFilter", "AccessDeniedException"), Disposition::RetryLater(Wait::Grant));
    assert_eq!(of("logs:CreateLogGroup", "AccessDeniedException"), Disposition::RetryLater(Wait::Permission));
    assert_eq!(of("organizations:ListAccounts", "AccessDeniedException"), Disposition::RetryLater(Wait::Delegation));
    assert_eq!(of("ec2:DescribeVpcs", "AuthFailure"), Disposition::RetryLater(Wait::Credentials));
    let central = of("logs:DescribeDestinations", "UnrecognizedClientException");
    assert_eq!(central, Disposition::RetryLater(Wait::CentralRegion));
    assert_eq!(of("ec2:CreateFlowLogs", "InvalidParameter"), Disposition::RetryLater(Wait::RolePropagation));
    assert!(matches!(of("logs:PutRetentionPolicy", "InvalidParameterException"), Disposition::Terminal(_)));
}

#[test]
fn a_rejected_signature_is_retried_because_clocks_get_corrected() {
    for (operation, code) in [
        ("sts:AssumeRole", "SignatureDoesNotMatch"),
        ("logs:PutSubscriptionFilter", "InvalidSignatureException"),
        ("ec2:CreateFlowLogs", "RequestInTheFuture"),
        ("iam:GetRole", "RequestTimeTooSkewed"),
    ] {
        assert_eq!(of(operation, code), Disposition::RetryLater(Wait::Clock), "{code}");
    }
}

#[test]
fn a_quota_of_cloudwatch_logs_is_not_mistaken_for_throttling() {
    assert!(matches!(of("logs:PutSubscriptionFilter", "LimitExceededException"), Disposition::Terminal(_)));
    assert_eq!(of("logs:PutSubscriptionFilter", "ThrottlingException"), Disposition::RetrySoon);
}

#[test]
fn a_policy_of_the_organization_may_hide_an_account_but_a_denied_change_is_a_failure() {
    for policy in ["service", "resource"] {
        let message = format!("You are not authorized, with an explicit deny in a {policy} control policy");
        let of = |operation| AwsError::answered(operation, "UnauthorizedOperation", message.clone()).disposition();
        for look in ["ec2:DescribeVpcs", "logs:ListTagsForResource", "iam:GetRole"] {
            assert_eq!(of(look), Disposition::Skip(Skip::OrganizationPolicy), "{look}");
        }
        for change in ["ec2:CreateFlowLogs", "ec2:DeleteFlowLogs", "logs:PutSubscriptionFilter", "iam:CreateRole"] {
            assert_eq!(of(change), Disposition::RetryLater(Wait::OrganizationPolicy), "{change}");
        }
    }
}

#[test]
fn an_explicit_deny_is_not_taken_for_a_missing_grant_or_permission() {
    for operation in ["logs:PutSubscriptionFilter", "ec2:CreateFlowLogs", "logs:DescribeLogGroups"] {
        let message = "User: x is not authorized to perform this, with an explicit deny in a permissions boundary";
        let error = AwsError::answered(operation, "AccessDeniedException", message);
        assert_eq!(error.disposition(), Disposition::RetryLater(Wait::ExplicitDeny), "{operation}");
    }
}

#[test]
fn a_denial_comes_back_some_times_and_is_then_for_a_person() {
    let denied = of("ec2:CreateFlowLogs", "UnauthorizedOperation");
    let comes_back: Vec<bool> = (1..=6).map(|receives| denied.returns_after(receives)).collect();
    assert_eq!(comes_back, [true, true, true, true, false, false]);
    assert!(of("ec2:CreateFlowLogs", "InternalError").returns_after(100), "the queue decides");
    assert!(of("sts:AssumeRole", "AccessDenied").returns_after(100), "the member stack may take hours");
    assert!(!of("ec2:CreateFlowLogs", "FlowLogsLimitExceeded").returns_after(1));
}

#[test]
fn what_was_needed_and_is_absent_or_in_the_way_is_looked_at_again() {
    for (operation, code) in
        [("logs:ListTagsForResource", "ResourceNotFoundException"), ("iam:CreateRole", "EntityAlreadyExists")]
    {
        assert!(!of(operation, code).is_retryable());
        assert_eq!(of(operation, code).of_failure(), Disposition::RetrySoon);
    }
    let terminal = of("ec2:CreateFlowLogs", "FlowLogsLimitExceeded");
    assert_eq!(terminal.of_failure(), terminal);
}

#[test]
fn every_known_code_has_a_next_step_and_no_known_code_is_other() {
    for text in KNOWN {
        assert!(!matches!(Code::parse(text), Code::Other(_)), "{text}");
        assert!(!of("logs:CreateLogGroup", text).next_step().is_empty(), "{text}");
    }
    assert_eq!(of("ec2:DescribeVpcs", "SomethingNew"), Disposition::RetryLater(Wait::Unknown));
}

#[test]
fn every_disposition_has_a_label_a_retry_rule_and_a_next_step() {
    for (operation, code, label, again, step) in [
        ("logs:CreateLogGroup", "ResourceAlreadyExistsException", "already-there", false, "no action needed"),
        ("logs:DeleteLogGroup", "ResourceNotFoundException", "absent", false, "no action needed"),
        ("ec2:DescribeVpcs", "RequestLimitExceeded", "retry-soon", true, "retried within seconds"),
        ("sts:AssumeRole", "AccessDenied", "retry-later", true, "deploy the member stack"),
        ("ec2:DescribeVpcs", "OptInRequired", "retry-later", true, "until AWS has activated the account"),
        ("ec2:DescribeVpcs", "AuthFailure", "retry-later", true, "enable the Region"),
        ("sts:AssumeRole", "SignatureDoesNotMatch", "retry-later", true, "check the clock"),
        ("logs:PutSubscriptionFilter", "AccessDeniedException", "retry-later", true, "grant is pending"),
        ("logs:PutDestination", "InvalidParameterException", "retry-later", true, "check that the role exists"),
        ("ec2:CreateFlowLogs", "InvalidVpcId.NotFound", "retry-later", true, "the VPC is checked again"),
        ("sts:AssumeRole", "RegionDisabledException", "retry-later", true, "activate STS"),
        ("logs:PutDestination", "AuthFailure", "retry-later", true, "in the central account"),
        ("ec2:CreateFlowLogs", "UnauthorizedOperation", "retry-later", true, "update the member stack"),
        ("organizations:ListAccounts", "AccessDeniedException", "retry-later", true, "delegated administrator"),
        ("logs:CreateLogGroup", "InvalidParameterException", "terminal", false, "KMS key"),
        ("ec2:DescribeVpcs", "SomethingNew", "retry-later", true, "report it as unknown"),
        ("sqs:SendMessage", "QueueDoesNotExist", "terminal", false, "check the queue URLs"),
        ("logs:PutSubscriptionFilter", "LimitExceededException", "terminal", false, "quota of subscription filters"),
        ("ec2:CreateFlowLogs", "FlowLogsLimitExceeded", "terminal", false, "quota of flow logs"),
        ("iam:CreateRole", "LimitExceeded", "terminal", false, "a higher quota"),
    ] {
        let found = of(operation, code);
        assert_eq!((found.label(), found.is_retryable()), (label, again), "{operation} {code}");
        assert!(found.next_step().contains(step), "{operation} {code}: {}", found.next_step());
    }
}

#[test]
fn a_code_is_shown_by_its_name_or_as_aws_sent_it() {
    assert_eq!(format!("{:>10}", Code::NoAnswer), "  NoAnswer");
    assert_eq!(Code::parse("SomethingNew").to_string(), "SomethingNew");
    let unanswered = AwsError::unanswered("ec2:DescribeVpcs", "timed out");
    assert_eq!(unanswered.to_string(), "ec2:DescribeVpcs failed with NoAnswer: timed out");
    assert_eq!(unanswered.disposition(), Disposition::RetrySoon);
}

#[test]
fn an_error_knows_where_its_call_was_made() {
    let (account, region) = ("111122223333".parse().unwrap(), "eu-west-1".parse().unwrap());
    let error = AwsError::answered("ec2:DescribeVpcs", "InternalError", "x").at(account, &region);
    assert_eq!((error.account, error.region), (Some(account), Some(region)));
}

#[test]
fn the_text_carries_operation_code_and_request_id() {
    let mut error = AwsError::answered("ec2:CreateFlowLogs", "FlowLogsLimitExceeded", "too many");
    error.request_id = Some("r-1".into());
    assert_eq!(error.to_string(), "ec2:CreateFlowLogs failed with FlowLogsLimitExceeded: too many (request r-1)");
}
