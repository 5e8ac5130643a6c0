//! Health, metrics and requests for a reload, on a listener of their own. Knows no dialect.

pub mod reload;

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Method, Response, StatusCode};
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use serde::Serialize;
use tokio::sync::{mpsc, oneshot, watch};

use crate::gateway::Gateway;
use reload::ReloadRequest;

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Serves the admin listener.
pub struct AdminApi {
    gateway: Box<dyn Fn() -> Arc<Gateway> + Send + Sync>,
    registry: Registry,
    reloads: mpsc::Sender<ReloadRequest>,
    stop: watch::Receiver<bool>,
}

impl std::fmt::Debug for AdminApi {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AdminApi").finish_non_exhaustive()
    }
}

impl AdminApi {
    /// A service that shows the health of the `gateway` in force, the metrics of `registry`, and that we are not ready once
    /// `stop` is true; it passes requests for a reload on to `reloads`.
    #[must_use]
    pub fn new(
        gateway: impl Fn() -> Arc<Gateway> + Send + Sync + 'static,
        registry: Registry,
        reloads: mpsc::Sender<ReloadRequest>,
        stop: watch::Receiver<bool>,
    ) -> Self {
        Self { gateway: Box::new(gateway), registry, reloads, stop }
    }

    /// Answers one request.
    pub async fn answer(&self, method: &Method, path: &str, headers: &HeaderMap) -> Response<Full<Bytes>> {
        match (method, path) {
            (&Method::POST, "/reload") => self.reload(headers).await,
            (&Method::GET, "/healthz") => respond(StatusCode::OK, TEXT, "ok\n".to_owned()),
            (&Method::GET, "/readyz") => self.ready(),
            (&Method::GET, "/metrics") => self.metrics(),
            (_, "/healthz" | "/readyz" | "/metrics") => {
                respond(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET is served here\n".to_owned())
            }
            (_, "/reload") => respond(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only POST is served here\n".to_owned()),
            _ => respond(StatusCode::NOT_FOUND, TEXT, "served here: /healthz, /readyz, /metrics, /reload\n".to_owned()),
        }
    }

    /// The gateway reads the file that it was started with; nothing of the request is read but its headers.
    async fn reload(&self, headers: &HeaderMap) -> Response<Full<Bytes>> {
        if !reload::may_reload(headers) {
            let why = "`dyngate reload` may do this, and no web page\n";
            return respond(StatusCode::FORBIDDEN, TEXT, why.to_owned());
        }
        let (request, done) = oneshot::channel();
        if self.reloads.try_send(request).is_err() {
            let why = "stopping, or too many want the same\n";
            return respond(StatusCode::SERVICE_UNAVAILABLE, TEXT, why.to_owned());
        }
        match done.await {
            Ok(Ok(reloaded)) => json(StatusCode::OK, &reloaded),
            Ok(Err(refused)) => json(StatusCode::UNPROCESSABLE_ENTITY, &refused),
            Err(_) => respond(StatusCode::SERVICE_UNAVAILABLE, TEXT, "stopping\n".to_owned()),
        }
    }

    fn ready(&self) -> Response<Full<Bytes>> {
        if *self.stop.borrow() {
            return respond(StatusCode::SERVICE_UNAVAILABLE, TEXT, "stopping\n".to_owned());
        }
        // A zone that is down is named, but does not make us unready: a balancer would drop every other zone.
        let gateway = (self.gateway)();
        let mut lines: Vec<_> = gateway
            .zones()
            .flat_map(|status| {
                let pending = match gateway.pending(&status.zone) {
                    0 => None,
                    1 => Some("1 change is pending".to_owned()),
                    count => Some(format!("{count} changes are pending")),
                };
                let lines = [status.problem, pending].into_iter().flatten();
                lines.map(move |line| format!("zone {}: {line}\n", status.zone)).collect::<Vec<_>>()
            })
            .collect();
        lines.sort_unstable();
        match gateway.registry().trouble() {
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

fn json(status: StatusCode, value: &impl Serialize) -> Response<Full<Bytes>> {
    match serde_json::to_string(value) {
        Ok(text) => respond(status, JSON, text),
        Err(error) => respond(StatusCode::INTERNAL_SERVER_ERROR, TEXT, format!("{error}\n")),
    }
}

fn respond(status: StatusCode, content_type: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
