//! How a byte stream to a primary comes about: TCP, or a network that a test made up. Knows nothing of messages.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::tcp::OwnedReadHalf;
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio::time::timeout;

use crate::config::Primary;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the text of an error says what it is, and names its fields")]
pub enum ConnectError {
    #[error("cannot look up {host}: {source}")]
    Lookup { host: String, source: io::Error },
    #[error("cannot connect to {address}: {source}")]
    Connect {
        /// The last address tried.
        address: SocketAddr,
        source: io::Error,
    },
    #[error("no connection within {0:?}")]
    Timeout(Duration),
}

/// Both directions of a stream; it is closed once both are dropped.
#[expect(missing_debug_implementations, reason = "a stream shows nothing")]
pub struct Stream {
    /// What the primary sends.
    pub read: Box<dyn AsyncRead + Send + Unpin>,
    /// What it receives.
    pub write: Box<dyn AsyncWrite + Send + Unpin>,
}

/// A stream that is being opened.
pub type Connecting = Pin<Box<dyn Future<Output = Result<Stream, ConnectError>> + Send>>;

/// Opens streams to primaries.
pub trait Network: std::fmt::Debug + Send + Sync {
    /// Connects to `primary` from `source` if given, within `limit`.
    fn connect(&self, primary: Primary, source: Option<IpAddr>, limit: Duration) -> Connecting;
}

/// The network of this machine. Each connection looks the primary's name up anew.
#[derive(Debug, Clone, Copy)]
pub struct Tcp;

impl Network for Tcp {
    fn connect(&self, primary: Primary, source: Option<IpAddr>, limit: Duration) -> Connecting {
        Box::pin(async move {
            let stream = timeout(limit, connect(&primary, source, limit)).await;
            let (read, write) = stream.map_err(|_| ConnectError::Timeout(limit))??.into_split();
            Ok(Stream { read: Box::new(Prompt(read)), write: Box::new(write) })
        })
    }
}

/// Acknowledges at once what it reads. BIND 9.18 leaves Nagle's algorithm on, so that an answer stays with it until the one
/// before is acknowledged, and Linux puts that off by 40 ms where nothing is sent the other way.
struct Prompt(OwnedReadHalf);

impl AsyncRead for Prompt {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.0).poll_read(cx, buf);
        #[cfg(target_os = "linux")]
        if polled.is_ready() {
            // The kernel forgets it again and again. Where it cannot, answers are late and no worse.
            let _as_it_was = rustix::net::sockopt::set_tcp_quickack(self.0.as_ref(), true);
        }
        polled
    }
}

async fn connect(primary: &Primary, source: Option<IpAddr>, limit: Duration) -> Result<TcpStream, ConnectError> {
    let lookup = |source| ConnectError::Lookup { host: primary.host.clone(), source };
    let addresses: Vec<_> = match primary.host.parse::<IpAddr>() {
        Ok(address) => vec![SocketAddr::new(address, primary.port)],
        Err(_) => lookup_host((primary.host.as_str(), primary.port)).await.map_err(lookup)?.collect(),
    };
    let same_family = |to: &SocketAddr| source.is_none_or(|from| from.is_ipv4() == to.is_ipv4());
    let addresses: Vec<_> = addresses.into_iter().filter(same_family).collect();
    let mut last = lookup(io::ErrorKind::NotFound.into());
    // One address that swallows everything must not use up the time of the others.
    let share = limit / u32::try_from(addresses.len().max(1)).unwrap_or(u32::MAX);
    for address in addresses {
        last = match timeout(share, connect_to(address, source)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(source)) => ConnectError::Connect { address, source },
            Err(_) => ConnectError::Connect { address, source: io::ErrorKind::TimedOut.into() },
        };
    }
    Err(last)
}

async fn connect_to(address: SocketAddr, source: Option<IpAddr>) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if let Some(source) = source {
        socket.bind(SocketAddr::new(source, 0))?;
    }
    let stream = socket.connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}
