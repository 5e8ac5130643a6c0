//! The admin listener: health, metrics and requests for a reload. Knows no dialect.

mod exposition;
pub(crate) mod reload;

use std::sync::Arc;

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::handler::Handler;
use axum::http::header::{ACCEPT, ALLOW, CONTENT_TYPE, HeaderMap};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter, on};
use hyper_util::service::TowerToHyperService;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use serde::Serialize;
use tokio::sync::{mpsc, oneshot, watch};

use crate::gateway::Gateway;
use reload::ReloadRequest;

const JSON: &str = "application/json";
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

pub(crate) struct AdminApi {
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
    pub(crate) fn new(
        gateway: impl Fn() -> Arc<Gateway> + Send + Sync + 'static,
        registry: Registry,
        reloads: mpsc::Sender<ReloadRequest>,
        stop: watch::Receiver<bool>,
    ) -> Self {
        Self { gateway: Box::new(gateway), registry, reloads, stop }
    }

    /// What answers the requests of a connection.
    pub(crate) fn service(self) -> TowerToHyperService<Router> {
        let router = Router::new()
            .route("/healthz", get(async || "ok\n"))
            .route("/readyz", get(ready))
            .route("/metrics", get(metrics))
            .route("/reload", on(MethodFilter::POST, reload).fallback(async || refuse_all_but(&Method::POST)))
            .fallback(async || (StatusCode::NOT_FOUND, "served here: /healthz, /readyz, /metrics, /reload\n"));
        TowerToHyperService::new(router.with_state(Arc::new(self)))
    }
}

type AdminState = State<Arc<AdminApi>>;

/// GET alone: axum would serve HEAD with it.
fn get<H, T>(handler: H) -> MethodRouter<Arc<AdminApi>>
where
    H: Handler<T, Arc<AdminApi>>,
    T: 'static,
{
    let refused = async || refuse_all_but(&Method::GET);
    on(MethodFilter::GET, handler).head(refused).fallback(refused)
}

fn refuse_all_but(method: &Method) -> Response {
    let why = format!("only {method} is served here\n");
    (StatusCode::METHOD_NOT_ALLOWED, [(ALLOW, method.as_str())], why).into_response()
}

/// The gateway reads the file that it was started with; nothing of the request is read but its headers.
async fn reload(State(api): AdminState, headers: HeaderMap) -> Response {
    if !reload::may_reload(&headers) {
        return (StatusCode::FORBIDDEN, "`dyngate reload` may do this, and no web page\n").into_response();
    }
    let (answer, done) = oneshot::channel();
    let request = ReloadRequest { content: reload::wanted_content(&headers), done: answer };
    if api.reloads.try_send(request).is_err() {
        return (StatusCode::SERVICE_UNAVAILABLE, "stopping, or too many want the same\n").into_response();
    }
    match done.await {
        Ok(Ok(reloaded)) => json(StatusCode::OK, &reloaded),
        Ok(Err(refused)) => json(StatusCode::UNPROCESSABLE_ENTITY, &refused),
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "stopping\n").into_response(),
    }
}

async fn ready(State(api): AdminState, RawQuery(query): RawQuery) -> (StatusCode, String) {
    if *api.stop.borrow() {
        return (StatusCode::SERVICE_UNAVAILABLE, "stopping\n".to_owned());
    }
    let gateway = (api.gateway)();
    // A zone that is down is named, but does not make us unready unless that is asked: a balancer would drop every other zone.
    let with_primaries = query.is_some_and(|query| query.split('&').any(is_primaries));
    if with_primaries {
        gateway.watch_primaries();
    }
    let mut is_cut_off = false;
    let mut lines: Vec<_> = gateway
        .zones()
        .flat_map(|status| {
            let pending = match gateway.pending(&status.zone) {
                0 => None,
                1 => Some("1 change is pending".to_owned()),
                count => Some(format!("{count} changes are pending")),
            };
            let problem = if with_primaries && !status.is_reached {
                is_cut_off = true;
                Some(status.problem.map_or_else(
                    || "no primary was reached yet".to_owned(),
                    |problem| format!("no primary can be reached: {problem}"),
                ))
            } else {
                status.problem
            };
            let lines = [problem, pending].into_iter().flatten();
            lines.map(move |line| format!("zone {}: {line}\n", status.zone)).collect::<Vec<_>>()
        })
        .collect();
    lines.sort_unstable();
    let zones = lines.concat();
    let (store, is_store_needed) = match gateway.registry().trouble() {
        None => {
            let unwritten = gateway.registry().unwritten();
            let told = unwritten
                .map(|why| format!("store: nothing is written, what is seen of hosts waits in memory: {why}\n"));
            (told.unwrap_or_default(), false)
        }
        Some((why, false)) => (format!("store: {why}; hosts that were seen lately go on working\n"), false),
        Some((why, true)) => (format!("store: {why}\n"), true),
    };
    if is_store_needed || is_cut_off {
        (StatusCode::SERVICE_UNAVAILABLE, format!("not ready\n{store}{zones}"))
    } else {
        (StatusCode::OK, format!("ready\n{store}{zones}"))
    }
}

/// Whether a parameter is the one that asks after the primaries; a value means nothing.
fn is_primaries(parameter: &str) -> bool {
    parameter.split('=').next() == Some("primaries")
}

async fn metrics(State(api): AdminState, headers: HeaderMap) -> Response {
    let mut page = String::new();
    let accept = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    match encode(&mut page, &api.registry) {
        Ok(()) if exposition::wants_text(accept) => {
            ([(CONTENT_TYPE, exposition::TEXT)], exposition::to_text(&page)).into_response()
        }
        Ok(()) => ([(CONTENT_TYPE, OPEN_METRICS)], page).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

fn json(status: StatusCode, value: &impl Serialize) -> Response {
    match serde_json::to_string(value) {
        Ok(text) => (status, [(CONTENT_TYPE, JSON)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use axum::http::Request;
    use hyper::service::Service as _;

    use super::*;

    #[tokio::test]
    async fn each_path_has_its_method_and_says_which() {
        let (reloads, _queue) = mpsc::channel(1);
        let (_stop, stopped) = watch::channel(true);
        let gateway = || -> Arc<Gateway> { panic!("a gateway that stops is not asked") };
        let service = AdminApi::new(gateway, Registry::default(), reloads, stopped).service();
        let nowhere = "served here: /healthz, /readyz, /metrics, /reload\n";
        for (method, path, status, allow, body) in [
            ("GET", "/healthz", 200, None, "ok\n"),
            ("GET", "/readyz", 503, None, "stopping\n"),
            ("GET", "/readyz?primaries", 503, None, "stopping\n"),
            ("GET", "/metrics", 200, None, "# EOF\n"),
            ("POST", "/healthz", 405, Some("GET"), "only GET is served here\n"),
            ("DELETE", "/readyz", 405, Some("GET"), "only GET is served here\n"),
            ("HEAD", "/metrics", 405, Some("GET"), ""),
            ("GET", "/reload", 405, Some("POST"), "only POST is served here\n"),
            ("POST", "/reload", 403, None, "`dyngate reload` may do this, and no web page\n"),
            ("GET", "/", 404, None, nowhere),
            ("POST", "/healthz/", 404, None, nowhere),
            ("GET", "//healthz", 404, None, nowhere),
        ] {
            let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
            let answer = service.call(request).await.unwrap();
            let allowed = answer.headers().get(ALLOW).map(|allow| allow.to_str().unwrap());
            assert_eq!((answer.status().as_u16(), allowed), (status, allow), "{method} {path}");
            let octets = to_bytes(answer.into_body(), 1000).await.unwrap();
            assert_eq!(octets, body, "{method} {path}");
        }
    }
}
