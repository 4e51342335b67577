use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use super::*;
use crate::{FaultKind, FaultRule, server};

async fn exchange(address: std::net::SocketAddr, request: String) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    match tokio::time::timeout(Duration::from_secs(10), stream.read_to_string(&mut answer)).await.unwrap() {
        Ok(_) => answer,
        // A broken connection may show as a reset instead of an end.
        Err(_) => String::new(),
    }
}

fn describe_vpcs(account: &str) -> String {
    request(account, "ec2", "Action=DescribeVpcs&Version=2016-11-15")
}

/// Signed for a Region that is not IAM's, as clients do that are given an endpoint URL.
fn get_role(account: &str) -> String {
    request(account, "iam", "Action=GetRole&Version=2010-05-08&RoleName=Nobody")
}

fn request(account: &str, service: &str, body: &str) -> String {
    format!(
        "POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\nauthorization: AWS4-HMAC-SHA256 \
         Credential=AKIA{account}SIM0/20261123/{REGION}/{service}/aws4_request, SignedHeaders=host, Signature=0\r\n\r\n{body}",
        body.len()
    )
}

#[tokio::test]
async fn the_server_answers_counts_breaks_and_stops() {
    let sim = small();
    let account = others(&sim)[0].clone();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let server = tokio::spawn(server::serve(listener, sim.clone(), async move {
        stopped.await.unwrap();
    }));
    let answer = exchange(address, describe_vpcs(&account)).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("<vpcSet><item><vpcId>vpc-"), "{answer}");
    let stats = exchange(address, "GET /_sim/stats HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".to_owned()).await;
    assert!(stats.contains("\"total\":1"), "{stats}");
    let rule = r#"{"outage": {"service": "ec2", "answer": "503", "calls": 1}}"#;
    let set = format!(
        "POST /_sim/rules HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{rule}",
        rule.len()
    );
    assert!(exchange(address, set).await.contains("{\"ids\":{\"outage\":1}}"));
    assert!(exchange(address, describe_vpcs(&account)).await.starts_with("HTTP/1.1 503"));
    let global = exchange(address, get_role(&account)).await;
    assert!(global.starts_with("HTTP/1.1 404") && global.contains("NoSuchEntity"), "{global}");
    let unsigned = exchange(address, "POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".to_owned()).await;
    assert!(unsigned.contains("403") && unsigned.contains("MissingAuthenticationToken"), "{unsigned}");
    sim.arm(FaultRule::new(FaultKind::LostAfter));
    assert_eq!(exchange(address, describe_vpcs(&account)).await, "");
    stop.send(()).unwrap();
    server.await.unwrap().unwrap();
}
