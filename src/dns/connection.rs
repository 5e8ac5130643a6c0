//! One connection to a primary: messages out, messages in. Knows nothing of what they mean.

use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Waker};
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead as _, AsyncReadExt as _, AsyncWriteExt as _, ReadBuf};

use super::frame::{next_frame, write_frame};
use super::network::{ConnectError, Network, Stream};
use crate::config::Primary;

const CHUNK: usize = 16 * 1024;

/// An open connection; dropping it closes it.
pub(super) struct Connection {
    stream: Stream,
    // What was not taken yet, which ends with the beginning of a message.
    arrived: BytesMut,
    // What the primary has not taken yet.
    outgoing: Vec<u8>,
    last_id: u16,
}

impl Connection {
    /// Connects to `primary` over `network`, from `source` if given, within `limit`.
    pub(super) async fn open(
        network: &dyn Network,
        primary: &Primary,
        source: Option<IpAddr>,
        limit: Duration,
    ) -> Result<Self, ConnectError> {
        let stream = network.connect(primary.clone(), source, limit).await?;
        Ok(Self { stream, arrived: BytesMut::new(), outgoing: Vec::new(), last_id: 0 })
    }

    /// An ID for the next message, none of those in use. Each is another than the last, whoever had the connection then: an
    /// answer that comes twice is not taken for the next zone's.
    pub(super) fn fresh_id(&mut self, is_in_use: impl Fn(u16) -> bool) -> u16 {
        self.last_id = self.last_id.wrapping_add(1);
        while is_in_use(self.last_id) {
            self.last_id = self.last_id.wrapping_add(1);
        }
        self.last_id
    }

    /// Queues `message`, which leaves while [`Self::next`] waits, with all that is queued by then.
    pub(super) fn send(&mut self, message: &[u8]) {
        write_frame(&mut self.outgoing, message);
    }

    /// The next message from the primary, or how the connection ended. Nothing is lost where this is dropped before its end.
    pub(super) async fn next(&mut self) -> io::Result<BytesMut> {
        loop {
            if let Some(message) = next_frame(&mut self.arrived) {
                return Ok(message);
            }
            self.arrived.reserve(CHUNK);
            tokio::select! {
                // What has arrived counts, even where nothing can be sent any longer.
                biased;
                read = self.stream.read.read_buf(&mut self.arrived) => match read? {
                    0 if self.arrived.is_empty() => return Err(io::Error::other("closed by the primary")),
                    0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                    _ => {}
                },
                written = self.stream.write.write(&self.outgoing), if !self.outgoing.is_empty() => {
                    let written = written?;
                    if written == 0 {
                        return Err(io::ErrorKind::WriteZero.into());
                    }
                    self.outgoing.drain(..written);
                }
            }
        }
    }

    /// Whether it stands, and the primary said nothing that was not taken.
    pub(super) fn is_quiet(&mut self) -> bool {
        let (mut octet, mut context) = ([0], Context::from_waker(Waker::noop()));
        let read = Pin::new(&mut self.stream.read).poll_read(&mut context, &mut ReadBuf::new(&mut octet));
        read.is_pending() && self.arrived.is_empty()
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Connection")
    }
}
