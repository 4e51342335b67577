//! The simulated AWS over HTTP, for any SDK and the AWS CLI.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::dispatch::Answer;
use crate::faults::Failure;
use crate::rules;
use crate::sim::Sim;

/// How often events that have become due are delivered while nobody calls.
const DELIVERY_INTERVAL: Duration = Duration::from_millis(50);

/// Serves until `shutdown` is done, then drops the connections that are open.
///
/// Paths below `/_sim/` are the control endpoint, see `rules/control.rs`. Every other request is a call to AWS. From
/// now on, IAM and Organizations accept signatures for any Region.
///
/// # Errors
///
/// The listener failed.
pub async fn serve(listener: TcpListener, sim: Sim, shutdown: impl Future<Output = ()>) -> io::Result<()> {
    sim.with(|world| world.settings.any_signing_region = true);
    let mut connections = JoinSet::new();
    let mut deliveries = tokio::time::interval(DELIVERY_INTERVAL);
    tokio::pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => return Ok(()),
            _ = deliveries.tick() => sim.advance(0),
            // Only keeps the set small: the client of a broken connection knows already.
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = listener.accept() => {
                let (stream, _) = accepted?;
                let sim = sim.clone();
                connections.spawn(async move {
                    let service = service_fn(move |request| respond(sim.clone(), request));
                    http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service).await
                });
            }
        }
    }
}

/// Why a connection is closed without an answer.
#[derive(Debug, thiserror::Error)]
enum Dropped {
    #[error("a fault broke the connection")]
    Fault,
    #[error("the request could not be read")]
    Read(#[source] hyper::Error),
}

async fn respond(sim: Sim, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Dropped> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map_err(Dropped::Read)?.to_bytes();
    if let Some(response) = rules::respond(&sim, &parts.method, parts.uri.path(), &body) {
        return Ok(response.map(Full::from));
    }
    match sim.answer(&parts, &body).await {
        Answer::Response(response) => Ok(response.map(Full::from)),
        Answer::Failure(Failure::Lost) => Err(Dropped::Fault),
        Answer::Failure(Failure::TimedOut | Failure::Hangs) => {
            let never: Infallible = std::future::pending().await;
            match never {}
        }
    }
}
