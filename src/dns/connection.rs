//! One connection to a primary: messages out, frames in. Knows nothing of what they mean.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::frame::{FrameReader, framed};
use super::network::{ConnectError, Network, Stream};
use crate::config::Primary;

/// What happens on a connection.
#[derive(Debug)]
pub enum Event {
    /// A whole message.
    Frame(Vec<u8>),
    /// The end; nothing follows.
    Closed(io::Error),
}

/// An open connection; dropping it closes it.
#[derive(Debug)]
pub struct Connection {
    outgoing: mpsc::Sender<Vec<u8>>,
    tasks: [JoinHandle<()>; 2],
}

// More than the window of any zone's queue and any reader; a full queue means that the primary no longer reads.
const QUEUE: usize = 2048;

impl Connection {
    /// Connects to `primary` over `network`, from `source` if given, within `limit`.
    ///
    /// # Errors
    /// [`ConnectError`], for the last address tried.
    pub async fn open(
        network: &dyn Network,
        primary: &Primary,
        source: Option<IpAddr>,
        limit: Duration,
    ) -> Result<(Self, mpsc::Receiver<Event>), ConnectError> {
        let Stream { read, write } = network.connect(primary.clone(), source, limit).await?;
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

async fn write_all(mut stream: impl AsyncWrite + Unpin, mut queued: mpsc::Receiver<Vec<u8>>) {
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

async fn read_frames(mut stream: impl AsyncRead + Unpin, events: mpsc::Sender<Event>) {
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
