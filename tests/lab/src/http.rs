//! A small HTTP/1.1 client over bare TCP: it sends exactly what a test says, and shows exactly what came back.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::Error;

/// How long an answer may take; longer than the gateway's own deadline.
const LIMIT: Duration = Duration::from_secs(30);
/// More than any answer of the gateway.
const MOST: usize = 16 << 20;

/// A request, sent byte for byte as put together here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    method: String,
    target: String,
    version: &'static str,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    source: Option<IpAddr>,
}

impl Request {
    /// A request with any method; `target` goes into the request line as it is.
    #[must_use]
    pub fn new(method: &str, target: &str) -> Self {
        Self {
            method: method.to_owned(),
            target: target.to_owned(),
            version: "HTTP/1.1",
            headers: vec![],
            body: vec![],
            source: None,
        }
    }

    /// A GET.
    #[must_use]
    pub fn get(target: &str) -> Self {
        Self::new("GET", target)
    }

    /// A POST of a form.
    #[must_use]
    pub fn post(target: &str, body: impl Into<Vec<u8>>) -> Self {
        Self::new("POST", target).header("Content-Type", "application/x-www-form-urlencoded").body(body)
    }

    /// Adds a header; a `Host` of one's own replaces the usual one.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets the body and its `Content-Length`.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Adds Basic credentials.
    #[must_use]
    pub fn basic(self, login: &str, password: &str) -> Self {
        let value = format!("Basic {}", STANDARD.encode(format!("{login}:{password}")));
        self.header("Authorization", &value)
    }

    /// Comes from this address of the machine, such as 127.0.0.2; for [`Request::send`] only.
    #[must_use]
    pub fn from(mut self, source: impl Into<IpAddr>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Speaks HTTP/1.0, without `Host`.
    #[must_use]
    pub fn http10(mut self) -> Self {
        self.version = "HTTP/1.0";
        self
    }

    /// The octets on the wire.
    #[must_use]
    pub fn octets(&self, host: SocketAddr) -> Vec<u8> {
        let has = |wanted: &str| self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(wanted));
        let mut head = format!("{} {} {}\r\n", self.method, self.target, self.version);
        if self.version == "HTTP/1.1" && !has("host") {
            head += &format!("Host: {host}\r\n");
        }
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        if !has("content-length") && (!self.body.is_empty() || self.method == "POST") {
            head += &format!("Content-Length: {}\r\n", self.body.len());
        }
        head += "\r\n";
        [head.as_bytes(), &self.body].concat()
    }

    /// Sends it on a connection of its own.
    ///
    /// # Errors
    /// No connection, no answer in time, or one that is not HTTP.
    pub async fn send(&self, addr: SocketAddr) -> Result<Response, Error> {
        Connection::open(addr, self.source).await?.send(self).await
    }
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// `HTTP/1.1` or `HTTP/1.0`.
    pub version: String,
    /// The status code.
    pub status: u16,
    /// The headers as spelled, in order.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Response {
    /// The first value of a header, in any spelling of its name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(of, _)| of.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Reads an answer from the beginning of `octets`: it, and how many octets it took; `None` while some are missing.
    fn parse(octets: &[u8], closed: bool, to_head: bool) -> Result<Option<(Self, usize)>, Error> {
        let wrong = |why: &str| Error::Protocol(format!("{why}: {}", String::from_utf8_lossy(octets)));
        let Some(end) = octets.windows(4).position(|four| four == b"\r\n\r\n") else {
            return if closed { Err(wrong("the connection ended before an answer")) } else { Ok(None) };
        };
        let head = std::str::from_utf8(&octets[..end]).map_err(|_| wrong("the head is not text"))?;
        let mut lines = head.split("\r\n");
        let mut status_line = lines.next().unwrap_or_default().splitn(3, ' ');
        let version =
            status_line.next().filter(|v| v.starts_with("HTTP/")).ok_or_else(|| wrong("not HTTP"))?.to_owned();
        let status = status_line.next().and_then(|status| status.parse().ok()).ok_or_else(|| wrong("no status"))?;
        let headers = lines
            .map(|line| line.split_once(':').map(|(name, value)| (name.to_owned(), value.trim().to_owned())))
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| wrong("a header without a colon"))?;
        let mut response = Self { version, status, headers, body: vec![] };
        if response.header("transfer-encoding").is_some() {
            return Err(wrong("the answer is chunked"));
        }
        let rest = &octets[end + 4..];
        let length = match response.header("content-length") {
            _ if to_head || status == 204 || status == 304 => 0,
            Some(length) => length.parse().map_err(|_| wrong("Content-Length is not a number"))?,
            None if closed => rest.len(),
            None => return Ok(None),
        };
        if rest.len() < length {
            return if closed { Err(wrong("the body is shorter than Content-Length")) } else { Ok(None) };
        }
        response.body = rest[..length].to_vec();
        Ok(Some((response, end + 4 + length)))
    }
}

/// A connection that is kept for several requests.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    addr: SocketAddr,
    waiting: Vec<u8>,
}

impl Connection {
    /// Connects, from a certain address if one is given.
    ///
    /// # Errors
    /// No connection.
    pub async fn open(addr: SocketAddr, source: Option<IpAddr>) -> Result<Self, Error> {
        let connect = async {
            let socket = if addr.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
            if let Some(source) = source {
                socket.bind((source, 0).into())?;
            }
            let stream = socket.connect(addr).await?;
            stream.set_nodelay(true)?;
            Ok(stream)
        };
        let stream = within(addr, connect).await?;
        Ok(Self { stream, addr, waiting: vec![] })
    }

    /// Sends a request and waits for its answer.
    ///
    /// # Errors
    /// The connection was closed, nothing came in time, or it was not HTTP.
    pub async fn send(&mut self, request: &Request) -> Result<Response, Error> {
        self.write(&request.octets(self.addr)).await?;
        self.read(request.method == "HEAD").await
    }

    /// Sends octets only: half a request, or several.
    ///
    /// # Errors
    /// The connection was closed.
    pub async fn write(&mut self, octets: &[u8]) -> Result<(), Error> {
        within(self.addr, self.stream.write_all(octets)).await
    }

    /// Waits for the next answer; one to HEAD has no body whatever its head says.
    ///
    /// # Errors
    /// As for [`Connection::send`].
    pub async fn read(&mut self, to_head: bool) -> Result<Response, Error> {
        let mut closed = false;
        loop {
            if let Some((response, taken)) = Response::parse(&self.waiting, closed, to_head)? {
                self.waiting.drain(..taken);
                return Ok(response);
            }
            if self.waiting.len() > MOST {
                return Err(Error::Protocol(format!("{}: an answer without end", self.addr)));
            }
            closed = within(self.addr, self.stream.read_buf(&mut self.waiting)).await? == 0;
        }
    }

    /// Waits until the other side closes; what came before, unread answers included.
    ///
    /// # Errors
    /// It stayed open for `limit`, or was reset.
    pub async fn closed(&mut self, limit: Duration) -> Result<Vec<u8>, Error> {
        let mut rest = std::mem::take(&mut self.waiting);
        let ended = timeout(limit, self.stream.read_to_end(&mut rest)).await;
        ended
            .map_err(|_| Error::Timeout(format!("{} kept the connection open for {limit:?}", self.addr)))?
            .map_err(Error::io(self.addr.to_string()))?;
        Ok(rest)
    }
}

/// Sends octets and returns everything that comes until the other side closes.
///
/// # Errors
/// No connection, or it stayed open too long.
pub async fn raw(addr: SocketAddr, octets: &[u8]) -> Result<Vec<u8>, Error> {
    let mut connection = Connection::open(addr, None).await?;
    connection.write(octets).await?;
    connection.closed(LIMIT).await
}

async fn within<T>(addr: SocketAddr, what: impl Future<Output = std::io::Result<T>>) -> Result<T, Error> {
    timeout(LIMIT, what)
        .await
        .map_err(|_| Error::Timeout(format!("no answer from {addr} in {LIMIT:?}")))?
        .map_err(Error::io(addr.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_what_was_said_and_nothing_else() {
        let addr = ([127, 0, 0, 1], 80).into();
        let get = Request::get("//nic/update?a=%zz").basic("a", "b:c").header("Host", "x");
        assert_eq!(
            get.octets(addr),
            b"GET //nic/update?a=%zz HTTP/1.1\r\nAuthorization: Basic YTpiOmM=\r\nHost: x\r\n\r\n"
        );
        assert_eq!(Request::get("/").http10().octets(addr), b"GET / HTTP/1.0\r\n\r\n");
    }

    #[test]
    fn an_answer_is_read_from_any_number_of_pieces() {
        let octets = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nX-A:b\r\n\r\ngoodHTTP/1.1 401";
        for end in 0..octets.len() {
            let parsed = Response::parse(&octets[..end], false, false).expect("HTTP");
            assert_eq!(parsed.is_some(), end >= 49, "{end}");
        }
        let (response, taken) = Response::parse(octets, false, false).expect("HTTP").expect("all of it");
        assert_eq!((response.status, response.text().as_str(), taken), (200, "good", 49));
        assert_eq!(response.headers[1], ("X-A".to_owned(), "b".to_owned()));
        assert!(Response::parse(&octets[..48], true, false).is_err(), "cut short");
        assert!(Response::parse(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", false, false).is_err());
    }
}
