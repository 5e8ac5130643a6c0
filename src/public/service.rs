//! What the routers' listener serves: bounds, method, path, dialect, in this order. Names no dialect.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Body;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode, Version};
use tokio::time::{Instant, timeout};
use tracing::{Instrument as _, Span, debug_span, field};

use super::access_log::{self, AccessLine, TurnedAway, shortened};
use super::dialect::{self, DialectRequest, NOT_SERVED, Parse, Parsed, Rendered, Spelling, Spoken, TABLE};
use super::parameters::Parameters;
use crate::gateway::{Gateway, UpdateRequest, Verdicts};
use crate::metrics::{DialectMetrics, Metrics};
use crate::model::Outcome;
use crate::net::{ClientAddress, Peer, Proxies, RequestBody, Stopping};

/// The longest request line, all headers together, and body that are read, in octets.
const MAX_REQUEST_LINE: usize = 8 * 1024;
/// See [`MAX_REQUEST_LINE`].
const MAX_HEADERS: usize = 16 * 1024;
/// See [`MAX_REQUEST_LINE`].
const MAX_BODY: usize = 16 * 1024;
const BODY_WITHIN: Duration = Duration::from_secs(10);

/// Tells the requests of this process apart in the log.
static REQUESTS: AtomicU64 = AtomicU64::new(1);

const REASON: HeaderName = HeaderName::from_static("x-dyngate-reason");

/// Serves the routers' listener.
#[derive(Debug)]
pub struct Public {
    gateway: Arc<Gateway>,
    proxies: Arc<Proxies>,
    /// One for each row of the table that asks for updates.
    metrics: [Option<DialectMetrics>; TABLE.len()],
    turned_away: TurnedAway,
}

impl Public {
    /// A service over `gateway`.
    #[must_use]
    pub fn new(gateway: Arc<Gateway>, proxies: Arc<Proxies>, metrics: &Metrics) -> Self {
        let metrics = std::array::from_fn(|row| match TABLE[row].parse {
            Parse::Update(_) => Some(metrics.dialect(TABLE[row].name)),
            Parse::Answer(_) => None,
        });
        Self { gateway, proxies, metrics, turned_away: TurnedAway::new() }
    }

    /// Answers one request of `peer`.
    pub async fn answer(&self, peer: Peer, request: Request<RequestBody>) -> Response<Full<Bytes>> {
        let version = request.version();
        let mut response = self.route(peer, request).await;
        if version == Version::HTTP_10 {
            // inadyn waits for ever on an HTTP/1.0 connection that stays open; hyper keeps it where the answer is HTTP/1.1.
            *response.version_mut() = Version::HTTP_10;
        }
        if version == Version::HTTP_10 || response.status() == StatusCode::PAYLOAD_TOO_LARGE {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    async fn route(&self, peer: Peer, request: Request<RequestBody>) -> Response<Full<Bytes>> {
        if let Err(status) = within_bounds(&request) {
            return text(status, "badagent");
        }
        if request.method() != Method::GET && request.method() != Method::POST {
            let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "badagent");
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, POST"));
            return response;
        }
        let start = Instant::now();
        let (head, body) = request.into_parts();
        let path = collapse_slashes(head.uri.path());
        let Some(spoken) = dialect::at(&TABLE, &path).next() else { return text(StatusCode::NOT_FOUND, NOT_SERVED) };
        let client = self.proxies.client(peer, &head.headers);
        // At debug, so that nothing is made or formatted at the usual level.
        let span = debug_span!(
            "request",
            id = REQUESTS.fetch_add(1, Ordering::Relaxed),
            source = %client.source,
            dialect = field::Empty,
            login = field::Empty,
        );
        self.converse(start, &head, body, &path, client, spoken).instrument(span).await
    }

    /// Answers a request to a path that dialects are spoken at, `spoken` being the first of them.
    async fn converse(
        &self,
        start: Instant,
        head: &Parts,
        body: RequestBody,
        path: &str,
        client: ClientAddress,
        spoken: Spoken<'_>,
    ) -> Response<Full<Bytes>> {
        let agent = head.headers.get(header::USER_AGENT).map(|agent| String::from_utf8_lossy(agent.as_bytes()));
        let agent: Option<Arc<str>> = agent.map(|agent| shortened(&agent).into());
        let line = |spoken: &Spoken<'_>| AccessLine {
            start,
            source: client.source,
            path: spoken.shown(head.uri.path()),
            agent: agent.as_deref().unwrap_or("-"),
        };
        let admitted = match self.gateway.admit(client.source) {
            Ok(admitted) => admitted,
            Err(verdicts) => {
                let is_shown = self.metrics[spoken.row].is_some() && self.turned_away.is_shown();
                return self.finish(spoken, &line(&spoken), &verdicts, &Spelling::default(), is_shown);
            }
        };
        let form = match head.method {
            Method::POST => match read_form(body).await {
                Ok(octets) => octets,
                // The client is to come again.
                Err(status @ StatusCode::SERVICE_UNAVAILABLE) => return text(status, "911"),
                Err(status) => return text(status, "badagent"),
            },
            _ => Bytes::new(),
        };
        // Parameters take forty times the room of their octets: none are kept while something is waited for.
        let (spoken, parsed) = {
            let query = Parameters::parse(head.uri.query().unwrap_or_default().as_bytes());
            let parameters = &query.or(Parameters::parse(&form));
            let asked = |rest| DialectRequest { head, rest, parameters, client };
            let mut rows = dialect::at(&TABLE, path);
            let found = rows.find(|spoken| (spoken.dialect.claims)(&asked(spoken.rest)));
            let Some(spoken) = found else { return text(StatusCode::NOT_FOUND, NOT_SERVED) };
            Span::current().record("dialect", spoken.dialect.name);
            match spoken.dialect.parse {
                Parse::Update(parse) => (spoken, parse(&asked(spoken.rest))),
                Parse::Answer(parse) => return uncached(http(parse(&asked(spoken.rest)))),
            }
        };
        let Parsed { identity, hosts, addresses, wants_extra, spelling } = parsed;
        let request = UpdateRequest { identity, hosts, addresses, wants_extra, admitted, agent: agent.clone() };
        let verdicts = self.gateway.update(request).await;
        self.finish(spoken, &line(&spoken), &verdicts, &spelling, true)
    }

    /// Counts an update, logs it where it is shown, and answers.
    fn finish(
        &self,
        spoken: Spoken<'_>,
        line: &AccessLine<'_>,
        verdicts: &Verdicts,
        spelling: &Spelling,
        is_shown: bool,
    ) -> Response<Full<Bytes>> {
        if let Some(metrics) = &self.metrics[spoken.row] {
            let took = line.start.elapsed();
            // What is said once was said of each host.
            let times = if verdicts.each.len() == 1 { verdicts.hosts.len().max(1) } else { 1 };
            for verdict in &verdicts.each {
                metrics.hosts(verdict.outcome, times);
            }
            metrics.request(took.as_secs_f64());
            if is_shown {
                access_log::write(line, verdicts, took);
            }
        }
        let mut response = http((spoken.dialect.render)(&verdicts.each, spelling));
        if spoken.dialect.challenges && verdicts.each.iter().any(|verdict| verdict.outcome == Outcome::BadCredentials) {
            let challenge = HeaderValue::from_static("Basic realm=\"dyngate\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

fn within_bounds(request: &Request<RequestBody>) -> Result<(), StatusCode> {
    let uri = request.uri();
    // Proxies send the absolute form (RFC 9112 section 3.2.2).
    let before_path =
        uri.scheme_str().map_or(0, |scheme| scheme.len() + 3) + uri.authority().map_or(0, |to| to.as_str().len());
    let target = before_path + uri.path_and_query().map_or(0, |target| target.as_str().len());
    let line = target + request.method().as_str().len();
    if line + " HTTP/1.1 \r\n".len() > MAX_REQUEST_LINE {
        return Err(StatusCode::URI_TOO_LONG);
    }
    let size = |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len() + ": \r\n".len();
    if request.headers().iter().map(size).sum::<usize>() > MAX_HEADERS {
        return Err(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    }
    if request.body().size_hint().lower() > MAX_BODY as u64 {
        return Err(StatusCode::PAYLOAD_TOO_LARGE);
    }
    Ok(())
}

async fn read_form(body: RequestBody) -> Result<Bytes, StatusCode> {
    match timeout(BODY_WITHIN, Limited::new(body, MAX_BODY).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(StatusCode::PAYLOAD_TOO_LARGE),
        Ok(Err(error)) if error.is::<Stopping>() => Err(StatusCode::SERVICE_UNAVAILABLE),
        Ok(Err(_)) => Err(StatusCode::BAD_REQUEST),
        Err(_) => Err(StatusCode::REQUEST_TIMEOUT),
    }
}

/// UniFi sends `//nic/update`.
fn collapse_slashes(path: &str) -> Cow<'_, str> {
    if !path.contains("//") {
        return path.into();
    }
    let mut collapsed = String::with_capacity(path.len());
    for character in path.chars() {
        if character != '/' || !collapsed.ends_with('/') {
            collapsed.push(character);
        }
    }
    collapsed.into()
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}

fn http(rendered: Rendered) -> Response<Full<Bytes>> {
    let Rendered { status, content_type, body, reason, retry_after } = rendered;
    let mut response = text(StatusCode::from_u16(status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE), body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    if let Some(reason) = HeaderValue::from_str(&reason).ok().filter(|reason| !reason.is_empty()) {
        headers.insert(REASON, reason);
    }
    if let Some(wait) = retry_after {
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
    }
    response
}

fn uncached(mut response: Response<Full<Bytes>>) -> Response<Full<Bytes>> {
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
    response
}
