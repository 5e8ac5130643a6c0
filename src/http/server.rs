//! The accept loop: connections in, each bounded in time and number, drained at the end. Knows no path.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

/// How long a client may take to send the headers of a request, and how long an idle connection is kept.
const HEADERS_WITHIN: Duration = Duration::from_secs(10);
/// Connections at once on one listener; one more is told to come back.
const MOST_CONNECTIONS: usize = 16_384;
/// What hyper may buffer of a request: the bounds of line and headers, with room to answer politely past them.
const BUFFER: usize = 64 * 1024;
/// No connection lives longer; a client that never reads must not keep its place.
const LIFETIME: Duration = Duration::from_secs(600);
/// What is in flight at the end may take this long.
const DRAIN: Duration = Duration::from_secs(10);

const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\
    Retry-After: 60\r\nConnection: close\r\n\r\n911";

/// Serves `listener` with `answer` until `stop` turns true, then finishes what is in flight, at most 10 s.
pub async fn serve<F, R>(listener: TcpListener, answer: F, mut stop: watch::Receiver<bool>)
where
    F: Fn(SocketAddr, Request<Incoming>) -> R + Clone + Send + 'static,
    R: Future<Output = Response<Full<Bytes>>> + Send + 'static,
{
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => match Arc::clone(&places).try_acquire_owned() {
                    Ok(place) => {
                        let connection = serve_connection(stream, peer, answer.clone(), stop.clone());
                        connections.spawn(async move {
                            connection.await;
                            drop(place);
                        });
                    }
                    Err(_) => drop(tokio::spawn(turn_away(stream))),
                },
                Err(error) => recover(&error).await,
            },
            Some(_) = connections.join_next() => {}
            () = stopped(&mut stop) => break,
        }
    }
    drop(listener);
    let drained = async { while connections.join_next().await.is_some() {} };
    if timeout(DRAIN, drained).await.is_err() {
        warn!(connections = connections.len(), "some connections did not end within 10 s and are cut");
    }
}

async fn serve_connection<F, R>(stream: TcpStream, peer: SocketAddr, answer: F, mut stop: watch::Receiver<bool>)
where
    F: Fn(SocketAddr, Request<Incoming>) -> R + Send + 'static,
    R: Future<Output = Response<Full<Bytes>>> + Send + 'static,
{
    if let Err(error) = stream.set_nodelay(true) {
        return debug!(%peer, %error, "a connection ended before it began");
    }
    let service = service_fn(move |request| {
        let answered = answer(peer, request);
        async move { Ok::<_, std::convert::Infallible>(answered.await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS_WITHIN)
        .max_buf_size(BUFFER)
        // ez-ipupdate takes a lower-case header that begins with `w` for a "wait" answer.
        .title_case_headers(true)
        // A client may close its half after the request and still wait for the answer.
        .half_close(true)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => return log_end(peer, ended),
        () = stopped(&mut stop) => {}
        () = sleep(LIFETIME) => {}
    }
    connection.as_mut().graceful_shutdown();
    match timeout(DRAIN, connection).await {
        Ok(ended) => log_end(peer, ended),
        Err(_) => debug!(%peer, "a connection is cut"),
    }
}

fn log_end(peer: SocketAddr, ended: hyper::Result<()>) {
    if let Err(error) = ended {
        debug!(%peer, %error, "a connection ended early");
    }
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _stop_or_nobody_left_to_say_so = stop.wait_for(|stop| *stop).await;
}

async fn turn_away(mut stream: TcpStream) {
    let _client_gone = timeout(Duration::from_millis(10), stream.write_all(FULL)).await;
}

/// A client that went away is nothing; anything else (no descriptors left) is given time to pass.
async fn recover(error: &io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    if !matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted) {
        warn!(%error, "cannot accept a connection; raise the limit of open files if this goes on");
        sleep(Duration::from_millis(100)).await;
    }
}
