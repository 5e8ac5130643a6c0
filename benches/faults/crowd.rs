//! Connections that are held for nothing: idle ones, and those that send one octet after the other.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep};

use crate::storm::connect;

/// Connections that are being made at once.
const AT_ONCE: usize = 256;
/// Between two octets of a slow request.
const OCTET: Duration = Duration::from_millis(500);
/// Before whoever was turned away tries again.
const AGAIN: Duration = Duration::from_secs(1);
/// Whoever was let in has it for longer.
const TURNED_AWAY: Duration = Duration::from_millis(500);
const REQUEST: &[u8] =
    b"GET /nic/update?hostname=slow.dyn.example&myip=203.0.113.7 HTTP/1.1\r\nHost: gateway.example\r\n";

/// What the connections of a crowd do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    Idle,
    Slow,
}

/// A crowd; dropped, it is gone.
pub(crate) struct Crowd {
    counts: Arc<Counts>,
    _tasks: JoinSet<()>,
}

#[derive(Default)]
struct Counts {
    held: AtomicUsize,
    most: AtomicUsize,
    turned_away: AtomicUsize,
    closed: AtomicUsize,
    longest_ms: AtomicUsize,
}

impl Crowd {
    /// So many connections, spread over so many sources; one that ends is made again.
    pub(crate) fn gather(to: SocketAddr, connections: u32, sources: u32, manner: Manner) -> Self {
        let (counts, making) = (Arc::new(Counts::default()), Arc::new(Semaphore::new(AT_ONCE)));
        let mut tasks = JoinSet::new();
        for number in 0..connections {
            let source = Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 9, 0, 1)) + number % sources);
            tasks.spawn(member(to, source, manner, Arc::clone(&counts), Arc::clone(&making)));
        }
        Self { counts, _tasks: tasks }
    }

    /// What became of them.
    pub(crate) fn fate(&self) -> String {
        let of = |count: &AtomicUsize| count.load(Ordering::Relaxed);
        let Counts { most, turned_away, closed, longest_ms, .. } = &*self.counts;
        format!(
            "{} held at once, {} times turned away, {} closed by the gateway, the longest after {:.1} s",
            of(most),
            of(turned_away),
            of(closed),
            Duration::from_millis(of(longest_ms) as u64).as_secs_f64()
        )
    }

    /// How many are let in now.
    pub(crate) fn held(&self) -> usize {
        self.counts.held.load(Ordering::Relaxed)
    }
}

async fn member(to: SocketAddr, source: Ipv4Addr, manner: Manner, counts: Arc<Counts>, making: Arc<Semaphore>) {
    loop {
        let Ok(place) = making.acquire().await else { return };
        let connected = connect(source, to).await;
        drop(place);
        let Ok(mut stream) = connected else {
            sleep(AGAIN).await;
            continue;
        };
        let began = Instant::now();
        let now = counts.held.fetch_add(1, Ordering::Relaxed) + 1;
        counts.most.fetch_max(now, Ordering::Relaxed);
        let (mut read, mut write) = stream.split();
        let mut answer = Vec::new();
        let ended = async { read.read_to_end(&mut answer).await };
        let sends = async {
            let mut pace = interval(OCTET);
            for octet in REQUEST {
                pace.tick().await;
                if manner == Manner::Idle || write.write_all(&[*octet]).await.is_err() {
                    break;
                }
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            _ = ended => {}
            () = sends => {}
        }
        counts.held.fetch_sub(1, Ordering::Relaxed);
        let lived = began.elapsed();
        if lived < TURNED_AWAY {
            counts.turned_away.fetch_add(1, Ordering::Relaxed);
            sleep(AGAIN).await;
        } else {
            counts.closed.fetch_add(1, Ordering::Relaxed);
            let lived = usize::try_from(lived.as_millis()).unwrap_or(usize::MAX);
            counts.longest_ms.fetch_max(lived, Ordering::Relaxed);
        }
    }
}
