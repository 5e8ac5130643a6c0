//! The way from the gateway to its primary, which may be slow, stutter, or swallow what is sent.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::Failure;

/// Each way.
pub(crate) const DELAY: Duration = Duration::from_millis(50);
/// Between least and most delay.
pub(crate) const JITTER: Duration = Duration::from_millis(25);
/// So often all that is under way stalls, as TCP does where a segment is lost and sent again.
const STALL_EACH: Duration = Duration::from_secs(1);
pub(crate) const STALL: Duration = Duration::from_millis(300);
/// Pieces under way on one connection.
const PIECES: usize = 1024;

/// A listener in front of a primary; dropped, all its connections are cut.
pub(crate) struct Path {
    addr: SocketAddr,
    state: Arc<State>,
    _tasks: JoinSet<()>,
}

#[derive(Default)]
struct State {
    next: AtomicU64,
    /// What passes on connections below this number is swallowed, and they stay open.
    dead_below: AtomicU64,
    swallows: AtomicBool,
    slow: AtomicBool,
}

impl Path {
    pub(crate) async fn to(primary: SocketAddr) -> Result<Self, Failure> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let (addr, state) = (listener.local_addr()?, Arc::new(State::default()));
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, primary, Arc::clone(&state)));
        Ok(Self { addr, state, _tasks: tasks })
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub(crate) fn slow(&self, on: bool) {
        self.state.slow.store(on, Ordering::Relaxed);
    }

    /// Every connection that is there now is dead from now on, and nobody is told.
    pub(crate) fn forget_connections(&self) {
        self.state.dead_below.store(self.state.next.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// New connections too are accepted and dead.
    pub(crate) fn swallow(&self, on: bool) {
        self.state.swallows.store(on, Ordering::Relaxed);
        self.forget_connections();
    }
}

async fn accept(listener: TcpListener, primary: SocketAddr, state: Arc<State>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                let number = state.next.fetch_add(1, Ordering::Relaxed);
                connections.spawn(carry(stream, primary, number, Arc::clone(&state)));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn carry(near: TcpStream, primary: SocketAddr, number: u64, state: Arc<State>) {
    let Ok(far) = TcpStream::connect(primary).await else { return };
    if near.set_nodelay(true).and(far.set_nodelay(true)).is_err() {
        return;
    }
    let (near_read, near_write) = near.into_split();
    let (far_read, far_write) = far.into_split();
    // The primary closes what is idle; on a dead connection nobody hears of it.
    let there = pump(near_read, far_write, number, &state);
    let back = async {
        pump(far_read, near_write, number, &state).await;
        if state.is_dead(number) {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        () = there => {}
        () = back => {}
    }
}

impl State {
    fn is_dead(&self, number: u64) -> bool {
        self.swallows.load(Ordering::Relaxed) || number < self.dead_below.load(Ordering::Relaxed)
    }
}

/// One direction; `to` stays open until the whole connection ends.
async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, number: u64, state: &State) {
    let (sender, mut receiver) = mpsc::channel::<(Instant, Vec<u8>)>(PIECES);
    let take = async move {
        let mut count = number;
        let (mut due, mut stalled) = (Instant::now(), Instant::now());
        loop {
            let mut piece = vec![0; 16 * 1024];
            let Ok(length @ 1..) = from.read(&mut piece).await else { return };
            if state.is_dead(number) {
                continue;
            }
            piece.truncate(length);
            count += 1;
            if state.slow.load(Ordering::Relaxed) {
                let jitter = JITTER * (count * 7 % 10) as u32 / 10;
                due = due.max(Instant::now() + DELAY + jitter);
                if stalled.elapsed() >= STALL_EACH {
                    stalled = Instant::now();
                    due += STALL;
                }
            }
            if sender.send((due, piece)).await.is_err() {
                return;
            }
        }
    };
    let give = async move {
        while let Some((due, piece)) = receiver.recv().await {
            sleep_until(due).await;
            if !state.is_dead(number) && to.write_all(&piece).await.is_err() {
                return;
            }
        }
    };
    // Once nothing more is read and all of it is written, this direction has ended.
    tokio::join!(take, give);
}
