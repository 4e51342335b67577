//! A stand-in for the Lambda Runtime API, from which a function's process gets its invocations.
//!
//! Paths, headers and status codes are those of the Lambda developer guide, "Using the Lambda runtime API for custom
//! runtimes", version 2018-06-01.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;

/// Prefix of every path.
const VERSION: &str = "/2018-06-01/runtime/";

/// A request of a process to its Runtime API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// It asks for an invocation.
    Next,
    /// It answers the invocation of this request id.
    Response(String, Value),
    /// It has failed at the invocation of this request id.
    Error(String, Value),
}

/// An invocation for the process.
#[derive(Clone, Debug)]
pub(crate) struct Invocation {
    pub(crate) request_id: String,
    /// Deadline of the function, in epoch milliseconds.
    pub(crate) deadline_ms: u64,
    pub(crate) function_arn: String,
    /// Usually JSON.
    pub(crate) payload: String,
}

/// The Runtime API of one process. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct RuntimeApi {
    address: SocketAddr,
    invocations: mpsc::UnboundedSender<Invocation>,
    said: mpsc::UnboundedReceiver<Said>,
    _server: JoinSet<io::Result<()>>,
}

/// State that the connections share.
struct Shared {
    invocations: Mutex<mpsc::UnboundedReceiver<Invocation>>,
    said: mpsc::UnboundedSender<Said>,
}

impl RuntimeApi {
    /// Serves on a free port of this machine.
    ///
    /// # Errors
    ///
    /// There is no free port.
    pub(crate) async fn start() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (invocations, waiting) = mpsc::unbounded_channel();
        let (tell, said) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared { invocations: Mutex::new(waiting), said: tell });
        let mut server = JoinSet::new();
        server.spawn(serve(listener, shared));
        Ok(Self { address, invocations, said, _server: server })
    }

    /// Value for `AWS_LAMBDA_RUNTIME_API`.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Gives the process an invocation as soon as it asks for one. `false` if the server has ended.
    pub(crate) fn hand(&self, invocation: Invocation) -> bool {
        self.invocations.send(invocation).is_ok()
    }

    /// The next request of the process, or `None` if the server has ended.
    pub(crate) async fn said(&mut self) -> Option<Said> {
        self.said.recv().await
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) -> io::Result<()> {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            // This only keeps the set small. A killed process breaks its connection, which is not an error here.
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = listener.accept() => {
                let (stream, _) = accepted?;
                let shared = Arc::clone(&shared);
                connections.spawn(async move {
                    let service = service_fn(move |request| respond(Arc::clone(&shared), request));
                    http1::Builder::new().serve_connection(TokioIo::new(stream), service).await
                });
            }
        }
    }
}

/// Why a request gets no answer. The connection is closed, which ends the process.
#[derive(Debug, thiserror::Error)]
enum Unanswered {
    #[error("the request could not be read")]
    Read(#[from] hyper::Error),
    #[error("the body of the function's request is not JSON")]
    NotJson(#[from] serde_json::Error),
    #[error("an invocation has values that no header can hold")]
    Header(#[from] http::Error),
    #[error("the test has ended")]
    Over,
}

async fn respond(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Unanswered> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let path: Vec<&str> = parts.uri.path().strip_prefix(VERSION).unwrap_or_default().split('/').collect();
    let said = match (&parts.method, path.as_slice()) {
        (&Method::GET, ["invocation", "next"]) => return next(&shared).await,
        (&Method::POST, ["invocation", id, "response"]) => {
            Said::Response((*id).to_owned(), serde_json::from_slice(&body)?)
        }
        (&Method::POST, ["invocation", id, "error"]) => Said::Error((*id).to_owned(), serde_json::from_slice(&body)?),
        _ => return answer(StatusCode::NOT_FOUND, json!({ "errorType": "UnknownPath" })),
    };
    shared.said.send(said).map_err(|_| Unanswered::Over)?;
    answer(StatusCode::ACCEPTED, json!({ "status": "OK" }))
}

fn answer(status: StatusCode, body: Value) -> Result<Response<Full<Bytes>>, Unanswered> {
    Ok(Response::builder().status(status).body(Full::from(body.to_string()))?)
}

/// Waits for an invocation without a time limit, as Lambda freezes an idle process.
async fn next(shared: &Shared) -> Result<Response<Full<Bytes>>, Unanswered> {
    shared.said.send(Said::Next).map_err(|_| Unanswered::Over)?;
    let invocation = shared.invocations.lock().await.recv().await.ok_or(Unanswered::Over)?;
    let response = Response::builder()
        .header("Content-Type", "application/json")
        .header("Lambda-Runtime-Aws-Request-Id", invocation.request_id)
        .header("Lambda-Runtime-Deadline-Ms", invocation.deadline_ms)
        .header("Lambda-Runtime-Invoked-Function-Arn", invocation.function_arn)
        .header("Lambda-Runtime-Trace-Id", "Root=1-00000000-000000000000000000000000;Sampled=0")
        .body(Full::from(invocation.payload))?;
    Ok(response)
}
