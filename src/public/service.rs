//! What the routers' listener serves: bounds, method, path, dialect, in this order. Names no dialect.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Body;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode, Version};
use tokio::time::{Instant, timeout};
use tracing::{Instrument as _, Span, debug_span, field};

use super::access_log::{self, AccessLine, TurnedAway, shortened};
use super::dialect::{self, Dialect, DialectRequest, Echo, Parse, Parsed, Rendered, Spoken, TABLE};
use super::parameters::Parameters;
use crate::config::Dialects;
use crate::gateway::{Admitted, Gateway, HostVerdict, UpdateRequest, Verdicts};
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
    settings: Dialects,
    /// One for each row of the table.
    dialects: [Arc<DialectMetrics>; TABLE.len()],
    metrics: Metrics,
    turned_away: TurnedAway,
}

/// Why no dialect answers a request; its words for the log.
#[derive(Debug, Clone, Copy)]
struct Unserved<'a>(StatusCode, &'a str);

const NO_SUCH_PATH: Unserved<'_> = Unserved(StatusCode::NOT_FOUND, "nothing is served at this path");

impl Unserved<'_> {
    /// The label of the metrics.
    fn label(self) -> &'static str {
        match self.0 {
            StatusCode::NOT_FOUND => "404",
            StatusCode::METHOD_NOT_ALLOWED => "405",
            StatusCode::REQUEST_TIMEOUT => "408",
            StatusCode::PAYLOAD_TOO_LARGE => "413",
            StatusCode::URI_TOO_LONG => "414",
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => "431",
            StatusCode::SERVICE_UNAVAILABLE => "503",
            _ => "400",
        }
    }

    fn answer(self) -> Response<Full<Bytes>> {
        let words = match self.0 {
            StatusCode::NOT_FOUND => "nothing is served here; updates go to /nic/update, /checkip tells your address",
            // The client is to come again.
            StatusCode::SERVICE_UNAVAILABLE => "911",
            _ => "badagent",
        };
        let mut response = text(self.0, words);
        if self.0 == StatusCode::METHOD_NOT_ALLOWED {
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD, POST"));
        }
        if self.0 == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("60"));
        }
        response
    }
}

impl Public {
    /// A service over `gateway`.
    #[must_use]
    pub fn new(gateway: Arc<Gateway>, proxies: Arc<Proxies>, settings: Dialects, metrics: &Metrics) -> Self {
        let dialects = std::array::from_fn(|row| Arc::new(metrics.dialect(TABLE[row].name)));
        Self { gateway, proxies, settings, dialects, metrics: metrics.clone(), turned_away: TurnedAway::new() }
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

    /// Counts and logs a request of `peer` that could not be read; `status` is what it was answered, if anything.
    pub fn unreadable(&self, peer: Peer, status: StatusCode, why: &str) {
        let source = self.proxies.client(peer, &HeaderMap::new()).source;
        let line = AccessLine { start: Instant::now(), source, path: "-".to_owned(), agent: None };
        let _answered_already = self.refuse(&line, Unserved(status, why), self.gateway.admit(source).err());
    }

    async fn route(&self, peer: Peer, request: Request<RequestBody>) -> Response<Full<Bytes>> {
        let start = Instant::now();
        let within_bounds = within_bounds(&request);
        let (head, body) = request.into_parts();
        let path = plain(head.uri.path());
        let first = self.spoken_at(&path).next();
        let client = self.proxies.client(peer, &head.headers);
        let agent = head.headers.get(header::USER_AGENT).map(|agent| String::from_utf8_lossy(agent.as_bytes()));
        let shown =
            first.map_or_else(|| dialect::known_words(&path), |spoken| spoken.shown(head.uri.path()).to_owned());
        let agent = agent.map(|agent| shortened(&agent).into());
        let line = AccessLine { start, source: client.source, path: shown, agent };
        let served = within_bounds.and(match head.method {
            Method::GET | Method::HEAD | Method::POST => Ok(first),
            _ => Err(Unserved(StatusCode::METHOD_NOT_ALLOWED, "a method that is not served")),
        });
        let (first, admitted) = match (served, self.gateway.admit(client.source)) {
            (Err(unserved), admitted) => return self.refuse(&line, unserved, admitted.err()),
            (Ok(None), Err(verdicts)) => return self.refuse(&line, NO_SUCH_PATH, Some(verdicts)),
            (Ok(Some(first)), Err(verdicts)) => {
                // The body is not read.
                let query = Parameters::parse(head.uri.query().unwrap_or_default().as_bytes());
                let spoken = self.claimant(&path, &head, (&query, b""), client).map_or(first, |(spoken, _)| spoken);
                tell(&self.dialects[spoken.row], &line, &verdicts, self.turned_away.is_shown());
                return answer(spoken.dialect, &verdicts, &Echo::default());
            }
            (Ok(first), Ok(admitted)) => (first, admitted),
        };
        // At debug, so that nothing is made or formatted at the usual level.
        let span = debug_span!(
            "request",
            id = REQUESTS.fetch_add(1, Ordering::Relaxed),
            source = %client.source,
            dialect = field::Empty,
            login = field::Empty,
        );
        self.converse(line, &head, body, &path, client, (first, admitted)).instrument(span).await
    }

    /// What is spoken at `path`, but for what is off.
    fn spoken_at<'a>(&self, path: &'a str) -> impl Iterator<Item = Spoken<'a>> {
        dialect::at(&TABLE, path).filter(|spoken| !self.settings.off.contains(&spoken.dialect.name))
    }

    /// The first of these that claims a request, else what is spoken anywhere; and what it is to make something of.
    fn claimant<'a, 'p: 'a>(
        &'a self,
        path: &'p str,
        head: &'a Parts,
        (parameters, body): (&'a Parameters, &'a [u8]),
        client: ClientAddress,
    ) -> Option<(Spoken<'p>, DialectRequest<'a>)> {
        let settings = &self.settings;
        let asked = |rest| DialectRequest { head, rest, parameters, body, client, settings };
        let claims = |spoken: &Spoken<'p>| (spoken.dialect.claims)(&asked(spoken.rest));
        let spoken = self.spoken_at(path).find(claims);
        // A path that has a dialect of its own has it alone, be it off.
        let is_any = || dialect::at(&TABLE, path).next().is_none();
        let spoken = spoken.or_else(|| is_any().then(|| dialect::fallback(&asked(""))).flatten());
        spoken.map(|spoken| (spoken, asked(spoken.rest)))
    }

    /// Answers a request that was admitted, `first` being the first of the dialects that are spoken at its path, if any is.
    async fn converse(
        &self,
        line: AccessLine,
        head: &Parts,
        body: RequestBody,
        path: &str,
        client: ClientAddress,
        (first, admitted): (Option<Spoken<'_>>, Admitted),
    ) -> Response<Full<Bytes>> {
        let body = match read_body(body).await {
            Ok(octets) => octets,
            Err(unserved) => return self.refuse(&line, unserved, None),
        };
        // Parameters take forty times the room of their octets: none are kept while something is waited for.
        let (spoken, parsed) = {
            let query = Parameters::parse(head.uri.query().unwrap_or_default().as_bytes());
            let parameters = &query.and(Parameters::of_body(&body));
            let Some((spoken, request)) = self.claimant(path, head, (parameters, &body), client) else {
                return self.refuse(&line, NO_SUCH_PATH, None);
            };
            Span::current().record("dialect", spoken.dialect.name);
            match spoken.dialect.parse {
                Parse::Update(parse) => (spoken, parse(&request)),
                Parse::Answer(parse) => {
                    let rendered = parse(&request);
                    let verdicts = match client.address {
                        Some(_) => Verdicts::answered(),
                        None => {
                            Verdicts::once(None, HostVerdict::new(Outcome::BadAddress, "the caller has no address"))
                        }
                    };
                    tell(&self.dialects[spoken.row], &line, &verdicts, true);
                    return uncached(http(rendered));
                }
            }
        };
        let Parsed { identity, hosts, labels, asked, echo } = parsed;
        let only_identity = head.method == Method::HEAD;
        let agent = line.agent.clone();
        let request = UpdateRequest { identity, hosts, labels, asked, only_identity, admitted, agent };
        let line = match first {
            Some(first) if first.row != spoken.row => {
                AccessLine { path: spoken.shown(head.uri.path()).to_owned(), ..line }
            }
            Some(_) | None => line,
        };
        let metrics = Arc::clone(&self.dialects[spoken.row]);
        let verdicts = self.gateway.update(request, move |verdicts| tell(&metrics, &line, verdicts, true)).await;
        answer(spoken.dialect, &verdicts, &echo)
    }

    /// Counts and logs a request that no dialect answers, and answers it; as one `past_limit` where that is met.
    fn refuse(&self, line: &AccessLine, unserved: Unserved<'_>, past_limit: Option<Verdicts>) -> Response<Full<Bytes>> {
        let outcome = if past_limit.is_some() { Outcome::TooFast.label() } else { unserved.label() };
        self.metrics.unserved(outcome);
        if self.turned_away.is_shown() {
            let reason = if past_limit.is_some() { "source limit" } else { unserved.1 };
            access_log::write_unserved(line, outcome, reason);
        }
        match past_limit {
            // Nobody knows what the client speaks.
            Some(verdicts) => answer(dialect::spoken_to_strangers(), &verdicts, &Echo::default()),
            None => unserved.answer(),
        }
    }
}

/// Counts what a dialect answers, and logs it where it is shown.
fn tell(metrics: &DialectMetrics, line: &AccessLine, verdicts: &Verdicts, is_shown: bool) {
    let took = line.start.elapsed();
    if verdicts.each.is_empty() {
        metrics.answered();
    }
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

fn answer(dialect: &Dialect, verdicts: &Verdicts, echo: &Echo) -> Response<Full<Bytes>> {
    let mut response = http((dialect.render)(verdicts, echo));
    if dialect.challenges && verdicts.each.iter().any(|verdict| verdict.outcome == Outcome::BadCredentials) {
        let challenge = HeaderValue::from_static("Basic realm=\"dyngate\"");
        response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    }
    response
}

fn within_bounds(request: &Request<RequestBody>) -> Result<(), Unserved<'static>> {
    let uri = request.uri();
    // Proxies send the absolute form (RFC 9112 section 3.2.2).
    let before_path =
        uri.scheme_str().map_or(0, |scheme| scheme.len() + 3) + uri.authority().map_or(0, |to| to.as_str().len());
    let target = before_path + uri.path_and_query().map_or(0, |target| target.as_str().len());
    let line = target + request.method().as_str().len();
    if line + " HTTP/1.1 \r\n".len() > MAX_REQUEST_LINE {
        return Err(Unserved(StatusCode::URI_TOO_LONG, "the request line is too long"));
    }
    let size = |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len() + ": \r\n".len();
    if request.headers().iter().map(size).sum::<usize>() > MAX_HEADERS {
        return Err(Unserved(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "the headers are too long"));
    }
    if request.body().size_hint().lower() > MAX_BODY as u64 {
        return Err(BODY_TOO_LONG);
    }
    Ok(())
}

const BODY_TOO_LONG: Unserved<'_> = Unserved(StatusCode::PAYLOAD_TOO_LARGE, "the body is too long");

async fn read_body(body: RequestBody) -> Result<Bytes, Unserved<'static>> {
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    match timeout(BODY_WITHIN, Limited::new(body, MAX_BODY).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(BODY_TOO_LONG),
        Ok(Err(error)) if error.is::<Stopping>() => {
            Err(Unserved(StatusCode::SERVICE_UNAVAILABLE, "stopping, and the body is not whole"))
        }
        Ok(Err(_)) => Err(Unserved(StatusCode::BAD_REQUEST, "the body cannot be read, or broke off")),
        Err(_) => Err(Unserved(StatusCode::REQUEST_TIMEOUT, "the body did not come in time")),
    }
}

/// Without what makes no difference: UniFi sends `//nic/update`, others `/nic/update/`.
fn plain(path: &str) -> String {
    let mut plain = String::with_capacity(path.len());
    for segment in path.split('/').filter(|segment| !segment.is_empty()) {
        plain.extend(["/", segment]);
    }
    if plain.is_empty() { "/".to_owned() } else { plain }
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let body = body.into();
    let length = HeaderValue::from(body.len());
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    // hyper states none where HEAD is answered with nothing.
    response.headers_mut().insert(header::CONTENT_LENGTH, length);
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
