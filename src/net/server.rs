//! The accept loop: connections in, each bounded in time and number, drained at the end. Serves whatever service and body; knows
//! no path.

use std::error::Error as _;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tracing::{debug, warn};

use super::body::RequestBody;
use super::client_address::{Peer, Proxies};
use super::connections::{ConnectionLimit, WriteTimeout};
use super::explained::Explained;
use super::listener::{AcceptedStream, ListeningSocket, set_nodelay};
use super::proxy_protocol::{self, Header};
use super::tls::shake_hands;
use crate::metrics::OpenConnection;

/// How long a client may take to send the headers of a request, and how long an idle connection is kept.
const HEADERS_WITHIN: Duration = Duration::from_secs(10);
/// Connections at once on one listener; one more is told to come back.
const MOST_CONNECTIONS: usize = 16_384;
/// What hyper may buffer of a request: the bounds of line and headers, with room to answer politely past them.
const BUFFER: usize = 64 * 1024;
/// No connection lives longer; a client that never reads must not keep its place.
const LIFETIME: Duration = Duration::from_secs(600);
/// How long a proxy may take for its PROXY header.
const PROXY_HEADER_WITHIN: Duration = Duration::from_secs(5);
/// What is in flight at the end may take this long.
const DRAIN: Duration = Duration::from_secs(10);
/// And this long, what of a request is still to come.
pub(super) const LAST_WORD: Duration = Duration::from_millis(500);

const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\
    Retry-After: 60\r\nConnection: close\r\n\r\n911";

pub(super) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What a connection passes before its first request; nothing, by default.
#[derive(Default)]
pub(crate) struct ConnectionPolicy {
    /// Connections from these alone, each of which must begin with a PROXY header.
    pub(crate) proxy_protocol: Option<Arc<Proxies>>,
    /// Where the connections of each source are counted.
    pub(crate) per_source: Option<Arc<ConnectionLimit>>,
    /// TLS.
    pub(crate) tls: Option<TlsAcceptor>,
    /// Hears of requests that no service sees.
    pub(crate) unreadable: Option<Unreadable>,
    /// Counts it while it is open.
    pub(crate) open: Option<OpenConnection>,
}

/// Hears of a request that cannot be read: whose it is, what it is answered, if anything, and why.
pub(crate) type Unreadable = Arc<dyn Fn(Peer, StatusCode, &str) + Send + Sync>;

impl std::fmt::Debug for ConnectionPolicy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConnectionPolicy").field("proxy_protocol", &self.proxy_protocol).finish_non_exhaustive()
    }
}

/// Serves `listener` until `stop` turns true, then finishes what is in flight, at most 10 s. Each connection passes the `policy`
/// that is there when it comes; `service` answers the requests of one peer.
///
/// # Panics
/// With the panic of a connection.
pub(crate) async fn serve<P, F, S, B>(listener: ListeningSocket, policy: P, service: F, mut stop: watch::Receiver<bool>)
where
    P: Fn() -> ConnectionPolicy + Send,
    F: Fn(Peer) -> S + Clone + Send + 'static,
    S: Service<Request<RequestBody>, Response = Response<B>, Error: Into<BoxError>, Future: Send>
        + Send
        + Sync
        + 'static,
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    let permits = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    let mut policy = policy();
                    if policy.proxy_protocol.as_ref().is_some_and(|proxies| !proxies.trusts_peer(peer)) {
                        debug!(%peer, "is no trusted proxy, and the listener is for those alone");
                        continue;
                    }
                    // Behind a proxy, the source is known with its header.
                    let per_source = policy.per_source.as_ref().filter(|_| policy.proxy_protocol.is_none());
                    let counted = per_source.map_or(Ok(None), |per_source| per_source.hold(peer));
                    match (Arc::clone(&permits).try_acquire_owned(), counted) {
                        (Ok(permit), Ok(counted)) => {
                            let open = policy.open.take();
                            let connection = serve_connection(stream, peer, policy, service.clone(), stop.clone());
                            connections.spawn(async move {
                                connection.await;
                                drop((permit, counted, open));
                            });
                        }
                        (_, counted) => {
                            debug!(%peer, of_one_source = counted.is_err(), "a connection too many is turned away");
                            if policy.tls.is_none() {
                                connections.spawn(turn_away(stream));
                            }
                        }
                    }
                }
                Err(error) => recover(&error).await,
            },
            Some(ended) = connections.join_next() => drop(pass_on_panic(ended)),
            () = stopped(&mut stop) => break,
        }
    }
    drop(listener);
    let drained = async {
        while let Some(ended) = connections.join_next().await {
            pass_on_panic(ended);
        }
    };
    if timeout(DRAIN, drained).await.is_err() {
        warn!(connections = connections.len(), "some connections did not end within 10 s and are cut");
    }
}

/// What a task ended with, `None` where it was cancelled; its panic becomes that of its owner.
pub(super) fn pass_on_panic<T>(ended: Result<T, JoinError>) -> Option<T> {
    ended.map_err(|error| error.try_into_panic().map(std::panic::resume_unwind)).ok()
}

/// The way of a connection through its policy to its requests.
async fn serve_connection<F, S, B>(
    stream: AcceptedStream,
    peer: Peer,
    policy: ConnectionPolicy,
    service: F,
    mut stop: watch::Receiver<bool>,
) where
    F: Fn(Peer) -> S,
    S: Service<Request<RequestBody>, Response = Response<B>, Error: Into<BoxError>>,
    B: Body<Error: Into<BoxError>> + 'static,
{
    if let Err(error) = set_nodelay(&stream) {
        return debug!(%peer, %error, "a connection ended before it began");
    }
    let mut stream = WriteTimeout::new(stream);
    let (mut client, mut _counted) = (peer, None);
    if policy.proxy_protocol.is_some() {
        let header = tokio::select! {
            header = timeout(PROXY_HEADER_WITHIN, read_proxy_header(&mut stream)) => header,
            () = stopped(&mut stop) => return,
        };
        match header {
            Ok(Ok(named)) => client = named.unwrap_or(peer),
            Ok(Err(error)) => return debug!(%peer, %error, "a proxy is not understood"),
            Err(_) => return debug!(%peer, "a proxy sent no whole PROXY header in time"),
        }
        match policy.per_source.as_ref().map_or(Ok(None), |per_source| per_source.hold(client)) {
            Ok(counted) => _counted = counted,
            Err(_) => {
                debug!(peer = %client, of_one_source = true, "a connection too many is turned away");
                return if policy.tls.is_none() {
                    turn_away(stream).await
                };
            }
        }
    }
    let service = service(client);
    let unreadable = policy.unreadable.as_ref();
    let Some(acceptor) = &policy.tls else { return converse(stream, client, service, unreadable, stop).await };
    // In a box of its own, so that plain connections stay small.
    let inside = Box::pin(async {
        let stream = tokio::select! {
            stream = shake_hands(acceptor, stream, client) => stream,
            () = stopped(&mut stop) => None,
        };
        if let Some(stream) = stream {
            converse(stream, client, service, unreadable, stop.clone()).await;
        }
    });
    inside.await;
}

/// Requests and answers, until one side ends it, it has lived long enough, or all stop.
pub(super) async fn converse<T, S, B>(
    stream: T,
    peer: Peer,
    service: S,
    unreadable: Option<&Unreadable>,
    mut stop: watch::Receiver<bool>,
) where
    T: AsyncRead + AsyncWrite + Unpin,
    S: Service<Request<RequestBody>, Response = Response<B>, Error: Into<BoxError>>,
    B: Body<Error: Into<BoxError>> + 'static,
{
    let (stream, heard) = Explained::new(stream);
    let log_end = |ended: hyper::Result<()>| {
        let Err(error) = ended else { return };
        debug!(%peer, %error, "a connection ended early");
        if let (Some(status), Some(unreadable)) = (status(&error, heard.load(Ordering::Relaxed)), unreadable) {
            unreadable(peer, status, &error.to_string());
        }
    };
    let is_answering = Arc::new(AtomicBool::new(false));
    let service = {
        let (of_the_next, is_answering, stop) = (Arc::clone(&heard), Arc::clone(&is_answering), stop.clone());
        let service = Arc::new(service);
        service_fn(move |request: Request<Incoming>| {
            of_the_next.store(false, Ordering::Relaxed);
            is_answering.store(true, Ordering::Relaxed);
            let (service, is_answering) = (Arc::clone(&service), Arc::clone(&is_answering));
            let request = request.map(|body| RequestBody::new(body, &stop));
            async move {
                // Called here, since a future that is handed in would take its room twice.
                let answer = service.call(request).await;
                is_answering.store(false, Ordering::Relaxed);
                answer
            }
        })
    };
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS_WITHIN)
        .max_buf_size(BUFFER)
        // ez-ipupdate takes a lower-case header that begins with `w` for a "wait" answer.
        .title_case_headers(true)
        // A client may close its half after the request and still wait for the answer.
        .half_close(true)
        // URL templates of devices leave two where a value is empty (RFC 9112 section 3 allows it).
        .allow_multiple_spaces_in_request_line_delimiters(true)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => return log_end(ended),
        () = stopped(&mut stop) => {}
        () = sleep(LIFETIME) => {}
    }
    connection.as_mut().graceful_shutdown();
    // Half a head is nobody's request.
    let silence = async {
        loop {
            sleep(LAST_WORD).await;
            if !is_answering.load(Ordering::Relaxed) {
                return;
            }
        }
    };
    tokio::select! {
        ended = connection => return log_end(ended),
        () = silence => {}
        () = sleep(DRAIN) => {}
    }
    debug!(%peer, "a connection is cut");
}

/// The client that the proxy names; `None` where it speaks for itself. Reads exactly the header.
pub(super) async fn read_proxy_header<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<Option<Peer>> {
    let mut octets = Vec::new();
    loop {
        match proxy_protocol::parse(&octets).map_err(io::Error::other)? {
            Header::More(more) => {
                if stream.take(more as u64).read_buf(&mut octets).await? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
            Header::Local => return Ok(None),
            Header::Client(client) => return Ok(Some(client)),
        }
    }
}

/// What a request was answered that ended its connection with `error` before a service saw it, or would have been. A
/// connection that ends, or breaks, between two requests has none: nothing is `heard` of the next.
fn status(error: &hyper::Error, heard: bool) -> Option<StatusCode> {
    if error.is_parse_too_large() {
        Some(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE)
    } else if heard && error.is_timeout() {
        Some(StatusCode::REQUEST_TIMEOUT)
    } else {
        let is_broken = error.source().is_some_and(|source| source.is::<io::Error>());
        (error.is_parse() || error.is_incomplete_message() || heard && is_broken).then_some(StatusCode::BAD_REQUEST)
    }
}

pub(super) async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _stop_or_nobody_left_to_say_so = stop.wait_for(|stop| *stop).await;
}

async fn turn_away(mut stream: impl AsyncWrite + Unpin) {
    let _client_gone = timeout(Duration::from_millis(10), stream.write_all(FULL)).await;
}

/// A client that went away is no error; anything else (no descriptors left) is given time to pass.
async fn recover(error: &io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    if !matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted) {
        warn!(%error, "cannot accept a connection; raise the limit of open files if this goes on");
        sleep(Duration::from_millis(100)).await;
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::Empty;
    use std::pin::Pin;
    use std::sync::Mutex;
    use std::task::{Context, Poll};

    use tokio::io::ReadBuf;
    use tokio::net::TcpStream;

    use super::*;

    /// A client that resets its connection.
    struct Reset;

    impl AsyncRead for Reset {
        fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
        }
    }

    #[tokio::test]
    async fn half_a_request_is_told_however_its_connection_ends() {
        for (octets, expected) in [
            ("", [None, None]),
            ("GET / HTTP/1.1\r\n\r\n", [None, None]),
            ("GET / HT", [Some(400), Some(400)]),
            ("GET / HTTP/1.1\r\nContent-Length: 2\r\n\r\n1", [None, None]),
            ("GET / HTTP/1.1\r\n folded: x\r\n\r\n", [Some(400), Some(400)]),
        ] {
            for (is_reset, expected) in [false, true].into_iter().zip(expected) {
                let told = Arc::new(Mutex::new(None));
                let unreadable: Unreadable = {
                    let told = Arc::clone(&told);
                    Arc::new(move |_, status, _| *told.lock().unwrap() = Some(status.as_u16()))
                };
                let service = service_fn(async |_: Request<RequestBody>| {
                    Ok::<_, io::Error>(Response::new(Empty::<&[u8]>::new()))
                });
                let (_stop, stopped) = watch::channel(false);
                let end: Box<dyn AsyncRead + Unpin + Send> =
                    if is_reset { Box::new(Reset) } else { Box::new(&b""[..]) };
                let stream = tokio::io::join(octets.as_bytes().chain(end), tokio::io::sink());
                converse(stream, Peer::Unix, service, Some(&unreadable), stopped).await;
                assert_eq!(*told.lock().unwrap(), expected, "{octets:?}, reset: {is_reset}");
            }
        }
    }

    #[tokio::test]
    async fn a_panic_of_a_connection_is_that_of_the_accept_loop() {
        let listener = ListeningSocket::tcp("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.address().tcp().unwrap();
        let (_stop, stopped) = watch::channel(false);
        let service = |_| {
            service_fn(async |request: Request<RequestBody>| {
                assert_eq!(request.uri(), "/", "what a bug would say");
                Ok::<_, io::Error>(Response::new(Empty::<&[u8]>::new()))
            })
        };
        let server = tokio::spawn(serve(listener, ConnectionPolicy::default, service, stopped));
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(b"GET / HTTP/1.1\r\n\r\nGET /bug HTTP/1.1\r\n\r\n").await.unwrap();
        let panic = server.await.unwrap_err().into_panic();
        assert!(panic.downcast_ref::<String>().unwrap().contains("what a bug would say"));
    }
}
