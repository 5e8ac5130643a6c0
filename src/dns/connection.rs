//! One TCP connection to a primary: messages out, frames in. Knows nothing of what they mean.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::frame::{FrameReader, framed};
use crate::config::Primary;

/// What happens on a connection.
#[derive(Debug)]
pub enum Event {
    /// A whole message.
    Frame(Vec<u8>),
    /// The end; nothing follows.
    Closed(io::Error),
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The host name of the primary has no address.
    #[error("cannot look up {host}: {source}")]
    Lookup {
        /// The name.
        host: String,
        /// What the resolver said.
        source: io::Error,
    },
    /// No address of it took the connection.
    #[error("cannot connect to {address}: {source}")]
    Connect {
        /// The last address tried.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The limit passed.
    #[error("no connection within {0:?}")]
    Timeout(Duration),
}

/// An open connection; dropping it closes it.
#[derive(Debug)]
pub struct Connection {
    outgoing: mpsc::Sender<Vec<u8>>,
    tasks: [JoinHandle<()>; 2],
}

// More than the window of any lane and any reader; a full queue means that the primary no longer reads.
const QUEUE: usize = 2048;

impl Connection {
    /// Connects to `primary`, looking its name up anew, from `source` if given, within `limit`.
    ///
    /// # Errors
    /// [`ConnectError`], for the last address tried.
    pub async fn open(
        primary: &Primary,
        source: Option<IpAddr>,
        limit: Duration,
    ) -> Result<(Self, mpsc::Receiver<Event>), ConnectError> {
        let stream =
            timeout(limit, connect(primary, source, limit)).await.map_err(|_| ConnectError::Timeout(limit))??;
        let (read, write) = stream.into_split();
        let (outgoing, queued) = mpsc::channel(QUEUE);
        let (events, incoming) = mpsc::channel(QUEUE);
        let tasks = [tokio::spawn(write_all(write, queued)), tokio::spawn(read_frames(read, events))];
        Ok((Self { outgoing, tasks }, incoming))
    }

    /// Queues `message`; `false` where the connection has ended or its peer no longer reads.
    #[must_use]
    pub fn send(&self, message: &[u8]) -> bool {
        framed(message).is_some_and(|frame| self.outgoing.try_send(frame).is_ok())
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
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

async fn write_all(mut stream: OwnedWriteHalf, mut queued: mpsc::Receiver<Vec<u8>>) {
    while let Some(mut octets) = queued.recv().await {
        // What has queued meanwhile leaves in the same system call.
        while octets.len() < 64 * 1024 {
            let Ok(more) = queued.try_recv() else { break };
            octets.extend_from_slice(&more);
        }
        if stream.write_all(&octets).await.is_err() {
            return;
        }
    }
}

async fn read_frames(mut stream: OwnedReadHalf, events: mpsc::Sender<Event>) {
    let mut reader = FrameReader::default();
    let mut chunk = vec![0; 16 * 1024];
    loop {
        let closed = match stream.read(&mut chunk).await {
            Ok(0) if reader.is_inside_frame() => io::ErrorKind::UnexpectedEof.into(),
            Ok(0) => io::Error::other("closed by the primary"),
            Ok(count) => {
                reader.feed(chunk.get(..count).unwrap_or_default());
                while let Some(frame) = reader.next_frame() {
                    if events.send(Event::Frame(frame)).await.is_err() {
                        return;
                    }
                }
                continue;
            }
            Err(error) => error,
        };
        let _receiver_gone = events.send(Event::Closed(closed)).await;
        return;
    }
}
