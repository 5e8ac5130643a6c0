//! What one connection may cost: how many one source may hold at once, and how long a client may leave an answer untaken.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

use super::client_address::{Peer, Proxies};

/// How long a client may take nothing of an answer that waits for it.
const TAKEN_WITHIN: Duration = Duration::from_secs(20);

/// How many connections each source holds, over all listeners that share it. A source is there as long as it holds one, so
/// that there are never more than connections.
#[derive(Debug)]
pub struct ConnectionLimit {
    most: Option<u32>,
    proxies: Arc<Proxies>,
    held: Arc<Mutex<HashMap<Network, u32>>>,
}

/// An address whose host bits are zero, and the length of the prefix.
type Network = (IpAddr, u32);

/// What connections are counted by, and how many times the bound each may hold: who is given a /56 or a /48 could else fill
/// a listener alone.
const WIDTHS: [(u32, u32); 3] = [(64, 1), (56, 4), (48, 16)];

/// A connection that is counted until this is dropped.
#[derive(Debug)]
pub(super) struct Held {
    all: Arc<Mutex<HashMap<Network, u32>>>,
    source: IpAddr,
}

impl ConnectionLimit {
    /// At most `most` for each, where given; trusted proxies, and peers without an address, hold as many as they like.
    #[must_use]
    pub fn new(most: Option<u32>, proxies: Arc<Proxies>) -> Arc<Self> {
        Arc::new(Self { most, proxies, held: Arc::default() })
    }

    /// Other bounds for the same connections.
    #[must_use]
    pub fn with(&self, most: Option<u32>, proxies: Arc<Proxies>) -> Arc<Self> {
        Arc::new(Self { most, proxies, held: Arc::clone(&self.held) })
    }

    /// Counts a connection of `peer`: `Ok(None)` where it is not counted, an error where it is one too many.
    pub(super) fn hold(&self, peer: Peer) -> Result<Option<Held>, TooMany> {
        let Some(address) = peer.ip() else { return Ok(None) };
        if self.proxies.trusts_peer(peer) {
            return Ok(None);
        }
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let is_full = |(network, times): (Network, u32)| {
            let count = held.get(&network).copied().unwrap_or(0);
            self.most.is_some_and(|most| count >= most.saturating_mul(times))
        };
        if networks(address).any(is_full) {
            return Err(TooMany);
        }
        networks(address).for_each(|(network, _)| *held.entry(network).or_insert(0) += 1);
        Ok(Some(Held { all: Arc::clone(&self.held), source: address }))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut held = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        for (network, _) in networks(self.source) {
            if let Entry::Occupied(mut count) = held.entry(network) {
                *count.get_mut() -= 1;
                if *count.get() == 0 {
                    count.remove();
                }
            }
        }
    }
}

/// The source has as many connections as it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooMany;

/// Whose connections are counted together, and how many times the bound they are: an IPv4 address, or the networks around
/// an IPv6 address.
fn networks(address: IpAddr) -> impl Iterator<Item = (Network, u32)> {
    let widths = if address.is_ipv4() { &WIDTHS[..1] } else { &WIDTHS[..] };
    widths.iter().map(move |&(width, times)| match address {
        IpAddr::V4(_) => ((address, width), times),
        IpAddr::V6(v6) => {
            let network = v6.to_bits() & (u128::MAX << (u128::BITS - width));
            ((Ipv6Addr::from_bits(network).into(), width), times)
        }
    })
}

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
        // Whoever tries again finds it stuck still.
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
    fn a_56_holds_four_times_and_a_48_sixteen_times_what_a_64_does() {
        let limit = limit(2);
        let hold = |network: u16| limit.hold(peer(&format!("2001:db8:0:{network:x}::1")));
        let of_56: Vec<_> = (0..0x100).filter_map(|n| hold(n).ok()).collect();
        assert_eq!(of_56.len(), 8);
        let of_48: Vec<_> = (1..0x100).filter_map(|n| hold(n << 8).ok()).collect();
        assert_eq!(of_56.len() + of_48.len(), 32);
        let _another = limit.hold(peer("2001:db8:1::1")).unwrap();
        drop(of_56);
        assert!(hold(0).is_ok());
        drop(of_48);
        assert_eq!(limit.held.lock().unwrap().len(), 3, "the other one's networks");
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

    #[test]
    fn who_is_gone_is_forgotten() {
        let limit = limit(2);
        for number in 0..1000_u32 {
            drop(limit.hold(Peer::Ip((std::net::Ipv4Addr::from(number), 1).into())).unwrap());
        }
        assert!(limit.held.lock().unwrap().is_empty());
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
