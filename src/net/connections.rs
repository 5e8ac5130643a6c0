//! What one connection may cost: how many one source may hold at once, and how long a client may leave an answer untaken.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

use super::client_address::{Peer, Proxies};
use crate::limit::{Concurrent, Counted};

/// How long a client may take nothing of an answer that waits for it.
const TAKEN_WITHIN: Duration = Duration::from_secs(20);

/// How many connections each source may hold, over all listeners that share it.
#[derive(Debug)]
pub(crate) struct ConnectionLimit {
    most: Option<u32>,
    proxies: Arc<Proxies>,
    held: Concurrent,
}

impl ConnectionLimit {
    /// At most `most` for each, where given; trusted proxies, and peers without an address, hold as many as they like.
    pub(crate) fn new(most: Option<u32>, proxies: Arc<Proxies>) -> Arc<Self> {
        Arc::new(Self { most, proxies, held: Concurrent::default() })
    }

    /// Other bounds for the same connections.
    #[must_use]
    pub(crate) fn with(&self, most: Option<u32>, proxies: Arc<Proxies>) -> Arc<Self> {
        Arc::new(Self { most, proxies, held: self.held.clone() })
    }

    /// Counts a connection of `peer`: `Ok(None)` where it is not counted, an error where it is one too many.
    pub(super) fn hold(&self, peer: Peer) -> Result<Option<Counted>, TooMany> {
        let Some(address) = peer.ip().filter(|_| !self.proxies.trusts_peer(peer)) else { return Ok(None) };
        match self.most {
            Some(most) => self.held.add_below(most, address).map(Some).ok_or(TooMany),
            // Counted all the same: a reload may bring a bound.
            None => Ok(Some(self.held.add(address))),
        }
    }
}

/// The source has as many connections as it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooMany;

/// A stream whose writes fail once the other side has taken nothing for [`TAKEN_WITHIN`].
#[derive(Debug)]
pub(super) struct WriteTimeout<S> {
    stream: S,
    stuck: Option<Pin<Box<Sleep>>>,
}

impl<S> WriteTimeout<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, stuck: None }
    }

    /// `written` as it is, unless it is pending for too long.
    fn judge<T>(&mut self, context: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stuck = None;
            return written;
        }
        let stuck = self.stuck.get_or_insert_with(|| Box::pin(sleep(TAKEN_WITHIN)));
        ready!(stuck.as_mut().poll(context));
        // The next attempt finds it stuck as well.
        stuck.as_mut().reset(Instant::now());
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not take its answer")))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for WriteTimeout<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for WriteTimeout<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.judge(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.judge(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        if flushed.is_ready() { flushed } else { self.judge(cx, flushed) }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.stream).poll_shutdown(cx);
        if shut.is_ready() { shut } else { self.judge(cx, shut) }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;
    use crate::config::ForwardingHeader;

    fn limit(most: u32) -> Arc<ConnectionLimit> {
        let trusted = vec!["127.0.0.1/32".parse().unwrap()];
        ConnectionLimit::new(
            Some(most),
            Arc::new(Proxies { trusted, unix: false, header: ForwardingHeader::Forwarded }),
        )
    }

    fn peer(address: &str) -> Peer {
        Peer::Ip((address.parse::<IpAddr>().unwrap(), 1).into())
    }

    #[test]
    fn a_source_holds_so_many_and_others_are_not_touched() {
        let limit = limit(2);
        let first = limit.hold(peer("192.0.2.1")).unwrap();
        let _second = limit.hold(peer("::ffff:192.0.2.1")).unwrap();
        assert_eq!(limit.hold(peer("192.0.2.1")).unwrap_err(), TooMany);
        let _neighbour = limit.hold(peer("192.0.2.2")).unwrap();
        drop(first);
        assert!(limit.hold(peer("192.0.2.1")).is_ok());
        let _six = [limit.hold(peer("2001:db8::1")).unwrap(), limit.hold(peer("2001:db8::2")).unwrap()];
        assert!(limit.hold(peer("2001:db8::3")).is_err(), "the same /64");
        assert!(limit.hold(peer("2001:db8:0:1::1")).is_ok());
        for exempt in [peer("127.0.0.1"), Peer::Unix, Peer::Unnamed] {
            assert!((0..10).all(|_| limit.hold(exempt).unwrap().is_none()), "{exempt}");
        }
    }

    #[test]
    fn other_bounds_hold_for_the_connections_that_are_there() {
        let limit = limit(2);
        let first = limit.hold(peer("192.0.2.1")).unwrap();
        let _second = limit.hold(peer("192.0.2.1")).unwrap();
        let lifted = limit.with(None, Arc::clone(&limit.proxies));
        let _third = lifted.hold(peer("192.0.2.1")).unwrap();
        let lowered = lifted.with(Some(3), Arc::clone(&limit.proxies));
        assert!(lowered.hold(peer("192.0.2.1")).is_err(), "all three count");
        drop(first);
        assert!(lowered.hold(peer("192.0.2.1")).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_nothing_is_given_up_and_who_takes_slowly_is_not() {
        let (ours, mut theirs) = duplex(8);
        let mut ours = WriteTimeout::new(ours);
        let slow = tokio::spawn(async move {
            let mut octets = [0; 8];
            for _ in 0..5 {
                sleep(TAKEN_WITHIN - Duration::from_secs(1)).await;
                theirs.read_exact(&mut octets).await.unwrap();
            }
            theirs
        });
        ours.write_all(&[0; 48]).await.unwrap();
        let _still_open = slow.await.unwrap();
        let start = Instant::now();
        let error = ours.write_all(&[0; 8]).await.unwrap_err();
        assert_eq!((error.kind(), start.elapsed().as_secs()), (io::ErrorKind::TimedOut, TAKEN_WITHIN.as_secs()));
    }
}
