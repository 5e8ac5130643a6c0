//! `POST /reload` as both sides speak it, and how a command asks a running gateway. Knows nothing of what is reloaded.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::header::{HeaderMap, ORIGIN};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

/// What a web page in somebody's browser cannot send without asking first, which is never granted.
const HEADER: &str = "x-dyngate-reload";
/// A gateway that is there takes the connection at once.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// A large file is checked against the store name by name.
const ANSWER_WITHIN: Duration = Duration::from_secs(120);
/// Health is told from memory; what probes it gives up after a few seconds too.
const HEALTH_WITHIN: Duration = Duration::from_secs(4);
/// More than any answer, in octets.
const MOST: u64 = 4 * 1024 * 1024;

/// Somebody wants the configuration to be read again, and waits for what came of it.
#[derive(Debug)]
pub(crate) struct ReloadRequest {
    /// What must be read, as [`Config::content`](crate::config::Config::content) tells it.
    pub(crate) content: Option<Vec<u8>>,
    pub(crate) done: oneshot::Sender<Result<Reloaded, ReloadRefused>>,
}

/// The new configuration is in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reloaded {
    pub(crate) file: String,
    /// What is different now, in short.
    pub(crate) changed: Vec<String>,
    /// What is different in the file and needs a restart.
    pub(crate) restart: Vec<String>,
}

/// The old configuration stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ReloadRefused {
    pub(crate) file: String,
    /// What is wrong with it, one by one.
    pub(crate) problems: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum AdminCallError {
    /// Port 0 is another one at each start.
    #[error("[admin] listen takes a free port, and which one only the gateway's log and ready file tell")]
    AnyPort,
    #[error("no gateway answers at {0} ([admin] listen): {1}")]
    Away(SocketAddr, #[source] io::Error),
    #[error("what answers at {0} ([admin] listen) is no gateway of this version: {1}")]
    Stranger(SocketAddr, String),
}

/// Whether a request may reload: not one that a web page could have caused (cross-site request forgery, DNS rebinding).
pub(super) fn may_reload(headers: &HeaderMap) -> bool {
    headers.contains_key(HEADER) && !headers.contains_key(ORIGIN) && !headers.contains_key("sec-fetch-site")
}

/// The content that a request wants to be read, if it says.
pub(super) fn wanted_content(headers: &HeaderMap) -> Option<Vec<u8>> {
    headers
        .get(HEADER)
        .and_then(|content| STANDARD.decode(content.as_bytes()).ok())
        .filter(|content| content.len() == 32)
}

/// Asks the gateway whose admin listener is at `address` to read its configuration again, if it has this `content`, and waits for
/// what comes of it.
pub(crate) fn request_reload(
    address: SocketAddr,
    content: &[u8],
) -> Result<Result<Reloaded, ReloadRefused>, AdminCallError> {
    let headers = format!("{HEADER}: {}\r\nContent-Length: 0\r\n", STANDARD.encode(content));
    let (status, body) = exchange(address, "POST /reload", &headers, ANSWER_WITHIN)?;
    match status.as_str() {
        "200" => serde_json::from_str(&body).map(Ok).map_err(|_| stranger(address, &status, &body)),
        "422" => serde_json::from_str(&body).map(Err).map_err(|_| stranger(address, &status, &body)),
        _ => Err(stranger(address, &status, &body)),
    }
}

/// Asks the gateway whose admin listener is at `address` whether it can serve, or with `primaries` whether it reaches one of each
/// zone too: what it says where it can, or where it cannot.
pub(crate) fn request_readiness(
    address: SocketAddr,
    primaries: bool,
) -> Result<Result<String, String>, AdminCallError> {
    let request = if primaries { "GET /readyz?primaries" } else { "GET /readyz" };
    let (status, body) = exchange(address, request, "", HEALTH_WITHIN)?;
    match status.as_str() {
        "200" => Ok(Ok(body)),
        "503" => Ok(Err(body)),
        _ => Err(stranger(address, &status, &body)),
    }
}

fn stranger(address: SocketAddr, status: &str, body: &str) -> AdminCallError {
    AdminCallError::Stranger(address, format!("{status} {}", body.chars().take(200).collect::<String>()))
}

/// The status and the body of the answer to `request`, a method and a path; `headers` end with a line end each.
fn exchange(
    address: SocketAddr,
    request: &str,
    headers: &str,
    within: Duration,
) -> Result<(String, String), AdminCallError> {
    if address.port() == 0 {
        return Err(AdminCallError::AnyPort);
    }
    let request = format!("{request} HTTP/1.1\r\nHost: {address}\r\n{headers}Connection: close\r\n\r\n");
    converse(reachable(address), &request, within).map_err(|error| AdminCallError::Away(address, error))
}

fn converse(address: SocketAddr, request: &str, within: Duration) -> io::Result<(String, String)> {
    let mut stream = TcpStream::connect_timeout(&address, CONNECT_WITHIN.min(within))?;
    stream.set_read_timeout(Some(within))?;
    stream.set_write_timeout(Some(CONNECT_WITHIN))?;
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.take(MOST).read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
    let status = head.split(' ').nth(1).unwrap_or_default();
    Ok((status.to_owned(), body.to_owned()))
}

/// A gateway that listens on all addresses is reached on this machine's own.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}
