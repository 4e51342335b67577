//! The simulated AWS as an HTTP client of the SDK, in process.

use std::error::Error;

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use http_body_util::BodyExt;

use crate::dispatch::Answer;
use crate::faults::Failure;
use crate::sim::Sim;

/// An HTTP client and connector that reaches one [`Sim`], whatever the endpoint.
#[derive(Clone, Debug)]
pub struct SimHttpClient {
    sim: Sim,
}

impl SimHttpClient {
    pub(crate) fn new(sim: Sim) -> Self {
        Self { sim }
    }

    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
        let user = |error: Box<dyn Error + Send + Sync>| ConnectorError::user(error);
        let (parts, body) = request.try_into_http1x().map_err(|error| user(error.into()))?.into_parts();
        // A streaming body has no bytes before it is polled to its end.
        let body = body.collect().await.map_err(user)?.to_bytes();
        match self.sim.answer(&parts, &body).await {
            Answer::Response(response) => {
                HttpResponse::try_from(response.map(SdkBody::from)).map_err(|error| user(error.into()))
            }
            Answer::Failure(Failure::Lost) => {
                Err(ConnectorError::io("the simulated connection broke before the answer".into()))
            }
            Answer::Failure(Failure::TimedOut) => Err(ConnectorError::timeout("the simulated answer is late".into())),
            Answer::Failure(Failure::Hangs) => std::future::pending().await,
        }
    }
}

impl HttpConnector for SimHttpClient {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let client = self.clone();
        HttpConnectorFuture::new(async move { client.send(request).await })
    }
}

impl HttpClient for SimHttpClient {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}
