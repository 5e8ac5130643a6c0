//! Health and metrics, on a listener of their own. Knows no dialect.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{self, HeaderValue};
use hyper::{Method, Response, StatusCode};
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use tokio::sync::watch;

use crate::gateway::Gateway;

const TEXT: &str = "text/plain; charset=utf-8";
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Serves the admin listener.
#[derive(Debug)]
pub struct Admin {
    gateway: Arc<Gateway>,
    registry: Registry,
    stop: watch::Receiver<bool>,
}

impl Admin {
    /// A service that shows `gateway`'s health, the metrics of `registry`, and that we are not ready once `stop` is true.
    #[must_use]
    pub fn new(gateway: Arc<Gateway>, registry: Registry, stop: watch::Receiver<bool>) -> Self {
        Self { gateway, registry, stop }
    }

    /// Answers one request.
    #[must_use]
    pub fn answer(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        match (method, path) {
            (&Method::GET, "/healthz") => respond(StatusCode::OK, TEXT, "ok\n".to_owned()),
            (&Method::GET, "/readyz") => self.ready(),
            (&Method::GET, "/metrics") => self.metrics(),
            (_, "/healthz" | "/readyz" | "/metrics") => {
                respond(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET is served here\n".to_owned())
            }
            _ => respond(StatusCode::NOT_FOUND, TEXT, "served here: /healthz, /readyz, /metrics\n".to_owned()),
        }
    }

    fn ready(&self) -> Response<Full<Bytes>> {
        if *self.stop.borrow() {
            return respond(StatusCode::SERVICE_UNAVAILABLE, TEXT, "stopping\n".to_owned());
        }
        // A zone that is down is named, but does not make us unready: a balancer would drop every other zone.
        let mut lines: Vec<_> = self
            .gateway
            .zones()
            .flat_map(|status| {
                let deferred = match self.gateway.deferred(&status.zone) {
                    0 => None,
                    1 => Some("1 change is deferred".to_owned()),
                    count => Some(format!("{count} changes are deferred")),
                };
                let lines = [status.problem, deferred].into_iter().flatten();
                lines.map(move |line| format!("zone {}: {line}\n", status.zone)).collect::<Vec<_>>()
            })
            .collect();
        lines.sort_unstable();
        match self.gateway.registry().trouble() {
            None => respond(StatusCode::OK, TEXT, format!("ready\n{}", lines.concat())),
            Some((why, false)) => {
                let store = format!("store: {why}; hosts that were seen lately go on working\n");
                respond(StatusCode::OK, TEXT, format!("ready\n{store}{}", lines.concat()))
            }
            Some((why, true)) => {
                respond(StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("not ready\nstore: {why}\n{}", lines.concat()))
            }
        }
    }

    fn metrics(&self) -> Response<Full<Bytes>> {
        let mut page = String::new();
        match encode(&mut page, &self.registry) {
            Ok(()) => respond(StatusCode::OK, OPEN_METRICS, page),
            Err(error) => respond(StatusCode::INTERNAL_SERVER_ERROR, TEXT, format!("{error}\n")),
        }
    }
}

fn respond(status: StatusCode, content_type: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
