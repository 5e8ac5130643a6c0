//! The way from the gateway to its primary, which may be slow, stutter, swallow what is sent, or be cut.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::Error;

/// Each way, while it is slow.
pub const DELAY: Duration = Duration::from_millis(50);
/// Between least and most delay.
pub const JITTER: Duration = Duration::from_millis(25);
/// So often all that is under way stalls, as TCP does where a segment is lost and sent again.
const STALL_EACH: Duration = Duration::from_secs(1);
/// For so long.
pub const STALL: Duration = Duration::from_millis(300);
/// Pieces under way on one connection.
const PIECES: usize = 1024;

/// A listener in front of a primary; dropped, all its connections are cut.
#[derive(Debug)]
pub struct Path {
    addr: SocketAddr,
    state: Arc<State>,
    _tasks: JoinSet<()>,
}

/// Is shown each message that passes to the primary.
type Watcher = Box<dyn Fn(&[u8]) + Send + Sync>;

#[derive(Default)]
struct State {
    next: AtomicU64,
    /// What passes on connections below this number is swallowed, and they stay open.
    dead_below: AtomicU64,
    swallows: AtomicBool,
    slow: AtomicBool,
    cut: watch::Sender<bool>,
    hold: watch::Sender<bool>,
    watcher: OnceLock<Watcher>,
}

impl Path {
    /// A path to `primary`, at a free port of its own.
    ///
    /// # Errors
    /// There is no port.
    pub async fn to(primary: SocketAddr) -> Result<Self, Error> {
        let no_port = || Error::io("a port in front of the primary");
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.map_err(no_port())?;
        let (addr, state) = (listener.local_addr().map_err(no_port())?, Arc::new(State::default()));
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, primary, Arc::clone(&state)));
        Ok(Self { addr, state, _tasks: tasks })
    }

    /// Where it begins.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Shows each DNS message that passes to the primary to `watcher`; the first one is the only one.
    pub fn watch(&self, watcher: impl Fn(&[u8]) + Send + Sync + 'static) {
        let _the_first_one_stays = self.state.watcher.set(Box::new(watcher));
    }

    /// What passes is delayed, and stalls at times.
    pub fn slow(&self, on: bool) {
        self.state.slow.store(on, Ordering::Relaxed);
    }

    /// What is sent waits on the way, also of connections that are closed meanwhile, and passes afterwards.
    pub fn hold(&self, on: bool) {
        self.state.hold.send_replace(on);
    }

    /// All connections end, and each new one as soon as it is there.
    pub fn cut(&self, on: bool) {
        self.state.cut.send_replace(on);
    }

    /// Every connection that is there now is dead from now on, and nobody is told.
    pub fn forget_connections(&self) {
        self.state.dead_below.store(self.state.next.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// New connections too are accepted and dead.
    pub fn swallow(&self, on: bool) {
        self.state.swallows.store(on, Ordering::Relaxed);
        self.forget_connections();
    }
}

async fn accept(listener: TcpListener, primary: SocketAddr, state: Arc<State>) {
    let mut connections = JoinSet::new();
    let mut cut = state.cut.subscribe();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                if *cut.borrow() {
                    continue;
                }
                let number = state.next.fetch_add(1, Ordering::Relaxed);
                connections.spawn(carry(stream, primary, number, Arc::clone(&state)));
            }
            Ok(()) = cut.changed() => {
                if *cut.borrow_and_update() {
                    connections.abort_all();
                }
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
    let there = pump(near_read, far_write, number, &state, state.watcher.get());
    let back = async {
        pump(far_read, near_write, number, &state, None).await;
        if state.is_dead(number) {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        () = there => {}
        () = back => {}
    }
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("swallows", &self.swallows).field("slow", &self.slow).finish_non_exhaustive()
    }
}

impl State {
    fn is_dead(&self, number: u64) -> bool {
        self.swallows.load(Ordering::Relaxed) || number < self.dead_below.load(Ordering::Relaxed)
    }
}

/// Shows the whole messages at the start of `octets` and takes them out (RFC 1035 section 4.2.2).
fn show(octets: &mut Vec<u8>, watcher: &Watcher) {
    while let [high, low, rest @ ..] = octets.as_slice() {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let Some(message) = rest.get(..length) else { return };
        watcher(message);
        octets.drain(..2 + length);
    }
}

/// One direction; `to` stays open until the whole connection ends.
async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, number: u64, state: &State, watcher: Option<&Watcher>) {
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
        let mut passed = Vec::new();
        let mut hold = state.hold.subscribe();
        while let Some((due, piece)) = receiver.recv().await {
            sleep_until(due).await;
            let _path_gone = hold.wait_for(|held| !held).await.is_err();
            if state.is_dead(number) {
                continue;
            }
            if to.write_all(&piece).await.is_err() {
                return;
            }
            if let Some(watcher) = watcher {
                passed.extend(piece);
                show(&mut passed, watcher);
            }
        }
    };
    // Once nothing more is read and all of it is written, this direction has ended.
    tokio::join!(take, give);
}
