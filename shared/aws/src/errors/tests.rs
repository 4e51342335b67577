use aws_sdk_ec2::operation::describe_vpcs::DescribeVpcsError;
use aws_smithy_runtime_api::client::result::ConnectorError;
use enroller_core::error::{Code, Disposition};

use super::*;
use crate::testing::{FakeAws, at, ec2_error, json_error, query_error};

async fn network_error(status: u16, body: &str) -> AwsError {
    let body = body.to_owned();
    let fake = FakeAws::answering(move |request| match request.operation.as_str() {
        "AssumeRole" => (200, String::new()),
        _ => (status, body.clone()),
    });
    fake.ports().ec2.vpcs(&at()).await.unwrap_err()
}

#[tokio::test]
async fn an_error_has_code_message_request_account_and_region() {
    let (status, body) = ec2_error(403, "UnauthorizedOperation", "You are not authorized");
    let error = network_error(status, &body).await;
    assert_eq!((&error.code, error.code_text.as_str()), (&Code::AccessDenied, "UnauthorizedOperation"));
    assert_eq!(error.message, "You are not authorized");
    assert_eq!(error.request_id.as_deref(), Some("request-1"));
    assert_eq!((error.account, error.region), (Some(at().account), Some(at().region)));
    assert_eq!(error.operation, "ec2:DescribeVpcs");
}

#[tokio::test]
async fn every_protocol_gives_its_code() {
    let fake = FakeAws::answering(|request| match request.operation.as_str() {
        "AssumeRole" => (200, String::new()),
        "GetRole" => query_error(400, "Throttling", "Rate exceeded"),
        _ => json_error("com.amazonaws.logs#LimitExceededException", "too many"),
    });
    let aws = fake.ports();
    let role = aws.roles.role(at().account, &"VpcFlowLogsEnrollerDelivery".parse().unwrap()).await.unwrap_err();
    assert_eq!(role.code, Code::Throttled);
    let group = aws.logs.log_group(&at(), &"vpc-flow-logs".parse().unwrap()).await.unwrap_err();
    assert_eq!(group.code, Code::Quota);
}

#[tokio::test]
async fn a_response_without_a_code_is_transient_if_5xx_and_else_unparsable() {
    let html = "<html><body>gateway</body></html>";
    let error = network_error(503, html).await;
    assert_eq!((&error.code, error.code_text.as_str()), (&Code::Internal, "HTTP 503"));
    for (status, body) in [(403, html), (200, html), (200, "not even XML")] {
        let error = network_error(status, body).await;
        assert_eq!(error.code, Code::Unparsable, "HTTP {status} {body}");
        assert!(error.message.contains(&format!("HTTP {status}")), "{}", error.message);
    }
}

#[test]
fn a_failed_connection_is_no_answer_with_all_its_causes() {
    let io = std::io::Error::other(ConnectorError::other("certificate expired".into(), None));
    let head = HttpResponse::new(200.try_into().unwrap(), "<DescribeVpcsRes".into());
    let errors: [SdkError<DescribeVpcsError, HttpResponse>; 3] = [
        SdkError::dispatch_failure(ConnectorError::io(Box::new(io))),
        SdkError::timeout_error("30 seconds"),
        SdkError::response_error("the body broke off", head),
    ];
    for (error, text) in errors.into_iter().zip(["certificate expired", "30 seconds", "broke off"]) {
        let error = aws_error("ec2:DescribeVpcs", &at(), error);
        assert_eq!(error.code, Code::NoAnswer);
        assert_eq!(error.disposition(), Disposition::RetrySoon);
        assert!(error.message.contains(text), "{}", error.message);
    }
}
