//! What the public listener serves: bounds, method, path, dialect, in this order.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode, Version};
use tokio::time::{Instant, timeout};

use super::access_log::{self, Entry, TurnedAway, shortened};
use super::authorization::credentials;
use super::dialect::Answer;
use super::dialect::checkip;
use super::dialect::dyndns2::{self, Spelling};
use super::dialect::token;
use super::parameters::Parameters;
use crate::gateway::{Gateway, Identity, Verdicts};
use crate::metrics::{DialectMetrics, Metrics};
use crate::model::TokenDigest;
use crate::net::{ClientAddress, Peer, Proxies};

/// The longest request line, all headers together, and body that are read, in octets.
const MAX_REQUEST_LINE: usize = 8 * 1024;
/// See [`MAX_REQUEST_LINE`].
const MAX_HEADERS: usize = 16 * 1024;
/// See [`MAX_REQUEST_LINE`].
const MAX_BODY: usize = 16 * 1024;
const BODY_WITHIN: Duration = Duration::from_secs(10);

const REASON: HeaderName = HeaderName::from_static("x-dyngate-reason");

/// Serves the public listener.
#[derive(Debug)]
pub struct Public {
    gateway: Arc<Gateway>,
    proxies: Arc<Proxies>,
    dyndns2: DialectMetrics,
    token: DialectMetrics,
    turned_away: TurnedAway,
}

/// How an update is asked for.
#[derive(Clone, Copy)]
enum Dialect {
    Dyndns2,
    /// The token of one host, and its path as a log may show it.
    Token(TokenDigest, &'static str),
}

impl Public {
    /// A service over `gateway`.
    #[must_use]
    pub fn new(gateway: Arc<Gateway>, proxies: Arc<Proxies>, metrics: &Metrics) -> Self {
        let [dyndns2, token] = [dyndns2::NAME, token::NAME].map(|name| metrics.dialect(name));
        Self { gateway, proxies, dyndns2, token, turned_away: TurnedAway::new() }
    }

    /// Answers one request of `peer`.
    pub async fn answer(&self, peer: Peer, request: Request<Incoming>) -> Response<Full<Bytes>> {
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

    async fn route(&self, peer: Peer, request: Request<Incoming>) -> Response<Full<Bytes>> {
        if let Err(status) = within_bounds(&request) {
            return text(status, "badagent");
        }
        if request.method() != Method::GET && request.method() != Method::POST {
            let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "badagent");
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, POST"));
            return response;
        }
        let path = collapse_slashes(request.uri().path());
        if let Some(form) = checkip::Form::of(&path) {
            return self.check_address(peer, request.headers(), form);
        }
        if let Some((digest, shown)) = token::of_path(&path) {
            return self.update(peer, request, Dialect::Token(digest, shown)).await;
        }
        match path.as_str() {
            "/nic/update" | "/v3/update" => self.update(peer, request, Dialect::Dyndns2).await,
            _ => text(
                StatusCode::NOT_FOUND,
                "nothing is served here; updates go to /nic/update, /checkip tells your address",
            ),
        }
    }

    /// Counts towards the source limit; what is not an address is not shown in its place.
    fn check_address(&self, peer: Peer, headers: &HeaderMap, form: checkip::Form) -> Response<Full<Bytes>> {
        let client = self.client(peer, headers);
        if let Err(verdicts) = self.gateway.admit(client.source) {
            return respond(&dyndns2::render(&verdicts.each, &Spelling::default()));
        }
        let Some(address) = client.address else { return text(StatusCode::BAD_REQUEST, "badip") };
        let mut response = Response::new(Full::from(form.render(address)));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(form.content_type()));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
        response
    }

    async fn update(&self, peer: Peer, request: Request<Incoming>, dialect: Dialect) -> Response<Full<Bytes>> {
        let start = Instant::now();
        let (parts, body) = request.into_parts();
        let client = self.client(peer, &parts.headers);
        let agent: Option<Arc<str>> =
            field(&parts.headers, &header::USER_AGENT).map(|agent| shortened(&String::from_utf8_lossy(agent)).into());
        let path = match dialect {
            Dialect::Dyndns2 => parts.uri.path(),
            Dialect::Token(_, shown) => shown,
        };
        let seen = Seen { start, dialect, path, agent: agent.as_deref().unwrap_or("-"), client };
        let admitted = match self.gateway.admit(client.source) {
            Ok(admitted) => admitted,
            Err(verdicts) => {
                let is_shown = self.turned_away.is_shown();
                return self.finish(&seen, &verdicts, &Spelling::default(), is_shown);
            }
        };
        let body = match parts.method {
            Method::POST => match form(body).await {
                Ok(octets) => octets,
                Err(status) => return text(status, "badagent"),
            },
            _ => Bytes::new(),
        };
        // Parameters take forty times the room of their octets: none are kept while anybody is waited for.
        let (asked, spelling) = {
            let query = Parameters::parse(parts.uri.query().unwrap_or_default().as_bytes());
            let parameters = query.or(Parameters::parse(&body));
            match dialect {
                Dialect::Dyndns2 => {
                    let credentials = credentials(field(&parts.headers, &header::AUTHORIZATION), &parameters);
                    let identity = credentials.map_or(Identity::Nobody, Identity::Password);
                    dyndns2::parse(&parameters, identity, client, admitted, agent.clone())
                }
                Dialect::Token(digest, _) => token::parse(&parameters, digest, client, admitted, agent.clone()),
            }
        };
        let verdicts = self.gateway.update(asked).await;
        self.finish(&seen, &verdicts, &spelling, true)
    }

    /// Counts, logs where it is shown, and answers.
    fn finish(
        &self,
        seen: &Seen<'_>,
        verdicts: &Verdicts,
        spelling: &Spelling,
        is_shown: bool,
    ) -> Response<Full<Bytes>> {
        let took = seen.start.elapsed();
        // What is said once was said of each host.
        let times = if verdicts.each.len() == 1 { verdicts.hosts.len().max(1) } else { 1 };
        let metrics = match seen.dialect {
            Dialect::Dyndns2 => &self.dyndns2,
            Dialect::Token(..) => &self.token,
        };
        for verdict in &verdicts.each {
            metrics.hosts(verdict.outcome, times);
        }
        metrics.request(took.as_secs_f64());
        let entry = Entry { source: seen.client.source, path: seen.path, agent: seen.agent };
        if is_shown {
            access_log::write(&entry, verdicts, took);
        }
        respond(&match seen.dialect {
            Dialect::Dyndns2 => dyndns2::render(&verdicts.each, spelling),
            Dialect::Token(..) => token::render(&verdicts.each, spelling),
        })
    }

    fn client(&self, peer: Peer, headers: &HeaderMap) -> ClientAddress {
        self.proxies.client(peer, headers)
    }
}

/// What is known of a request from its headers on.
struct Seen<'a> {
    start: Instant,
    dialect: Dialect,
    path: &'a str,
    agent: &'a str,
    client: ClientAddress,
}

fn within_bounds(request: &Request<Incoming>) -> Result<(), StatusCode> {
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

async fn form(body: Incoming) -> Result<Bytes, StatusCode> {
    match timeout(BODY_WITHIN, Limited::new(body, MAX_BODY).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(StatusCode::PAYLOAD_TOO_LARGE),
        Ok(Err(_)) => Err(StatusCode::BAD_REQUEST),
        Err(_) => Err(StatusCode::REQUEST_TIMEOUT),
    }
}

/// UniFi sends `//nic/update`.
fn collapse_slashes(path: &str) -> String {
    let mut collapsed = String::with_capacity(path.len());
    for character in path.chars() {
        if character != '/' || !collapsed.ends_with('/') {
            collapsed.push(character);
        }
    }
    collapsed
}

fn field<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a [u8]> {
    headers.get(name).map(HeaderValue::as_bytes)
}

fn text(status: StatusCode, body: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}

fn respond(answer: &Answer) -> Response<Full<Bytes>> {
    let mut response = text(StatusCode::from_u16(answer.status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE), "");
    *response.body_mut() = Full::from(answer.body.clone());
    let headers = response.headers_mut();
    if let Ok(reason) = HeaderValue::from_str(&answer.reason) {
        headers.insert(REASON, reason);
    }
    if let Some(wait) = answer.retry_after {
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
    }
    if answer.challenge {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"dyngate\""));
    }
    response
}
