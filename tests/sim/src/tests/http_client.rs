use aws_smithy_runtime_api::client::http::HttpConnector;
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use http_body_util::Full;

use super::*;
use crate::{FaultKind, FaultRule, When};

/// A request as the SDK hands it over, its body streaming or at hand.
fn describe_vpcs(account: &str, streaming: bool) -> HttpRequest {
    let text = "Action=DescribeVpcs&Version=2016-11-15";
    let body = if streaming { SdkBody::from_body_1_x(Full::new(Bytes::from(text))) } else { SdkBody::from(text) };
    assert_eq!(body.bytes().is_none(), streaming);
    let scope = format!("AKIA{account}SIM0/20261123/{REGION}/ec2/aws4_request");
    let request = http::Request::post("https://ec2.eu-west-1.amazonaws.com/")
        .header("authorization", format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0"))
        .body(body)
        .unwrap();
    HttpRequest::try_from(request).unwrap()
}

#[tokio::test]
async fn the_sdks_requests_are_answered_whether_their_bodies_stream_or_not() {
    let sim = small();
    let account = others(&sim)[0].clone();
    for streaming in [true, false] {
        let response = sim.http_client().call(describe_vpcs(&account, streaming)).await.unwrap();
        assert_eq!(response.status().as_u16(), 200);
        let body = String::from_utf8_lossy(response.body().bytes().unwrap()).into_owned();
        assert_eq!(texts(&body, "vpcId").len(), 2, "{body}");
    }
}

#[tokio::test]
async fn faults_of_the_connection_are_the_connectors_errors() {
    let sim = small();
    let account = others(&sim)[0].clone();
    sim.arm(FaultRule::new(FaultKind::LostBefore).at(When::Nth(1)));
    sim.arm(FaultRule::new(FaultKind::TimeoutAfter).at(When::Nth(2)));
    let call = || sim.http_client().call(describe_vpcs(&account, false));
    assert!(call().await.unwrap_err().is_io());
    assert!(call().await.unwrap_err().is_timeout());
    assert!(call().await.is_ok());
}
