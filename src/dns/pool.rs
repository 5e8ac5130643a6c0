//! The connections to primaries, which all zones take in turns: a primary takes so many and no more. Knows nothing of messages.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast};
use tokio::time::{Instant, sleep};

use super::connection::Connection;
use super::network::{ConnectError, Network};
use crate::config::Primary;

/// The most connections to one primary. As they are shipped, PowerDNS takes 20 from all the world (`max-tcp-connections`) and
/// BIND 150 (`tcp-clients`).
const MOST: usize = 16;
/// How long an idle connection is kept for the next zone that needs one: primaries close it after 5 s (PowerDNS), 10 s (Knot), 30 s (BIND).
const KEPT: Duration = Duration::from_secs(4);

/// A connection to use, or why there is none.
pub(super) type Leased = Result<Lease, Arc<ConnectError>>;

/// From where to whom.
pub(super) type Path = (Option<IpAddr>, Primary);

/// Connections to all primaries; cheap to clone.
#[derive(Debug, Clone)]
pub struct Pool {
    network: Arc<dyn Network>,
    most: usize,
    lines: Arc<Mutex<HashMap<Path, Arc<PathConnections>>>>,
}

/// The connections of one path.
#[derive(Debug)]
struct PathConnections {
    turns: Arc<Semaphore>,
    // Leases with a connection.
    open: AtomicUsize,
    kept: Mutex<IdleConnections>,
    // What waits for a turn listens here, while none of the connections is of use: a primary that swallows what is sent to
    // it costs only the first of them the time-out; the others fail fast.
    failures: broadcast::Sender<Arc<ConnectError>>,
}

#[derive(Debug, Default)]
struct IdleConnections {
    connections: Vec<(Instant, Connection)>,
    is_swept: bool,
}

/// A connection that one exchange uses. Dropping it closes it; [`Self::give_back`] keeps it for the next.
#[derive(Debug)]
pub(super) struct Lease {
    pub(super) connection: Connection,
    turn: Turn,
}

#[derive(Debug)]
struct Turn {
    line: Arc<PathConnections>,
    is_given_back: bool,
    _permit: OwnedSemaphorePermit,
}

impl Pool {
    /// No connection yet; they will be opened over `network`, 16 to a primary at most.
    pub fn new(network: Arc<dyn Network>) -> Self {
        Self::with_most(network, MOST)
    }

    /// The same with `most` to a primary, at least 1.
    pub fn with_most(network: Arc<dyn Network>, most: usize) -> Self {
        Self { network, most: most.max(1), lines: Arc::default() }
    }

    /// A connection to `primary`, from `source` if given: one that is idle, or a new one that is there within `limit`. Where
    /// all are in use, waits for its turn, four times the limit at most.
    ///
    /// # Errors
    /// [`ConnectError`], of this attempt or of another that failed while this one waited.
    pub(super) async fn lease(&self, primary: Primary, source: Option<IpAddr>, limit: Duration) -> Leased {
        let line = self.line((source, primary.clone()));
        let permit = match Arc::clone(&line.turns).try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => {
                let timeout = limit * 4;
                let mut failures = line.failures.subscribe();
                tokio::select! {
                    biased;
                    Ok(failure) = failures.recv() => return Err(failure),
                    Ok(permit) = Arc::clone(&line.turns).acquire_owned() => permit,
                    () = sleep(timeout) => return Err(Arc::new(ConnectError::Timeout(timeout))),
                }
            }
        };
        let connection = match line.take() {
            Some(connection) => connection,
            None => match Connection::open(&*self.network, &primary, source, limit).await {
                Ok(connection) => connection,
                Err(error) => {
                    let error = Arc::new(error);
                    if line.open.load(Ordering::Relaxed) == 0 {
                        let _nobody_waits = line.failures.send(Arc::clone(&error));
                    }
                    return Err(error);
                }
            },
        };
        line.open.fetch_add(1, Ordering::Relaxed);
        Ok(Lease { connection, turn: Turn { line, is_given_back: false, _permit: permit } })
    }

    fn line(&self, path: Path) -> Arc<PathConnections> {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(line) = lines.get(&path) {
            return Arc::clone(line);
        }
        // A primary that left the configuration is asked for no more.
        lines.retain(|_, line| Arc::strong_count(line) > 1);
        let line = Arc::new(PathConnections {
            turns: Arc::new(Semaphore::new(self.most)),
            open: AtomicUsize::new(0),
            kept: Mutex::default(),
            failures: broadcast::Sender::new(self.most),
        });
        lines.insert(path, Arc::clone(&line));
        line
    }
}

impl Lease {
    /// Whether others wait for a connection to the same primary: it should be given back soon.
    pub(super) fn is_wanted(&self) -> bool {
        self.turn.line.failures.receiver_count() > 0
    }

    /// Keeps it for the next: all that was sent on it is answered.
    pub(super) fn give_back(self) {
        let Self { connection, mut turn } = self;
        turn.is_given_back = true;
        turn.line.keep(connection);
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.line.open.fetch_sub(1, Ordering::Relaxed);
        if !self.is_given_back {
            // It came to no good end, and those that are kept go to the same primary.
            self.line.kept().connections.clear();
        }
    }
}

impl PathConnections {
    fn kept(&self) -> MutexGuard<'_, IdleConnections> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Option<Connection> {
        let mut kept = self.kept();
        kept.drop_old();
        kept.connections.pop().map(|(_, connection)| connection)
    }

    fn keep(self: &Arc<Self>, connection: Connection) {
        let mut kept = self.kept();
        kept.connections.push((Instant::now(), connection));
        if !std::mem::replace(&mut kept.is_swept, true) {
            tokio::spawn(sweep(Arc::downgrade(self)));
        }
    }
}

impl IdleConnections {
    /// Closes those that the primary may close soon, those that it closed, and those on which it said what nobody asked.
    fn drop_old(&mut self) {
        self.connections.retain_mut(|(since, connection)| since.elapsed() < KEPT && connection.is_quiet());
    }
}

/// Closes what is kept for too long, until nothing is kept.
async fn sweep(line: Weak<PathConnections>) {
    loop {
        sleep(KEPT).await;
        let Some(line) = line.upgrade() else { return };
        let mut kept = line.kept();
        kept.drop_old();
        if kept.connections.is_empty() {
            kept.is_swept = false;
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{DuplexStream, duplex, split};
    use tokio::task::yield_now;
    use tokio::time::timeout;

    use super::super::network::{Connecting, Stream};
    use super::*;

    const LIMIT: Duration = Duration::from_secs(2);

    /// Takes connections, or with `refuses` lets each hang for its limit.
    #[derive(Debug, Default)]
    struct Simulated {
        refuses: bool,
        taken: Mutex<Vec<DuplexStream>>,
    }

    impl Network for Simulated {
        fn connect(&self, _: Primary, _: Option<IpAddr>, limit: Duration) -> Connecting {
            if self.refuses {
                return Box::pin(async move {
                    sleep(limit).await;
                    Err(ConnectError::Timeout(limit))
                });
            }
            let (ours, theirs) = duplex(1024);
            self.taken.lock().unwrap().push(theirs);
            let (read, write) = split(ours);
            Box::pin(async { Ok(Stream { read: Box::new(read), write: Box::new(write) }) })
        }
    }

    fn pool(network: Simulated, most: usize) -> (Pool, Arc<Simulated>) {
        let network = Arc::new(network);
        (Pool::with_most(Arc::clone(&network) as Arc<dyn Network>, most), network)
    }

    async fn lease(pool: &Pool) -> Leased {
        pool.lease(Primary { host: "ns1.example".to_owned(), port: 53 }, None, LIMIT).await
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_given_back_serves_the_next_until_it_is_old_or_closed() {
        let (pool, network) = pool(Simulated::default(), 16);
        let opened = || network.taken.lock().unwrap().len();
        for _ in 0..3 {
            lease(&pool).await.unwrap().give_back();
        }
        assert_eq!(opened(), 1);
        sleep(KEPT).await;
        lease(&pool).await.unwrap().give_back();
        assert_eq!(opened(), 2, "it was old");
        network.taken.lock().unwrap().clear();
        sleep(Duration::from_millis(1)).await;
        let one = lease(&pool).await.unwrap();
        assert_eq!(opened(), 1, "it was closed");
        lease(&pool).await.unwrap().give_back();
        drop(one);
        lease(&pool).await.unwrap().give_back();
        assert_eq!(opened(), 3, "one came to no good end");
    }

    #[tokio::test]
    async fn no_id_is_used_twice_whoever_has_the_connection() {
        let (pool, _network) = pool(Simulated::default(), 16);
        let mut one = lease(&pool).await.unwrap();
        let first = one.connection.fresh_id(|_| false);
        let third = one.connection.fresh_id(|id| id == first.wrapping_add(1));
        assert_eq!(third, first.wrapping_add(2), "what is in use is left out");
        one.give_back();
        let next = lease(&pool).await.unwrap().connection.fresh_id(|_| false);
        assert!(next != first && next != third);
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_is_told_of_gets_his_turn_and_does_not_wait_for_ever() {
        let (pool, _network) = pool(Simulated::default(), 1);
        let held = lease(&pool).await.unwrap();
        assert!(!held.is_wanted());
        let waiting = tokio::spawn({
            let pool = pool.clone();
            async move { lease(&pool).await.map(Lease::give_back) }
        });
        while !held.is_wanted() {
            yield_now().await;
        }
        held.give_back();
        waiting.await.unwrap().unwrap();
        let _held = lease(&pool).await.unwrap();
        let began = Instant::now();
        assert!(lease(&pool).await.is_err());
        assert_eq!(began.elapsed(), LIMIT * 4);
    }

    #[tokio::test(start_paused = true)]
    async fn a_hundred_learn_with_the_first_that_there_is_no_connection() {
        let (pool, _network) = pool(Simulated { refuses: true, ..Simulated::default() }, 2);
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..100 {
            let pool = pool.clone();
            tasks.spawn(async move { lease(&pool).await.is_err() });
        }
        let all = timeout(LIMIT + Duration::from_millis(1), tasks.join_all()).await.unwrap();
        assert!(all.into_iter().all(|failed| failed));
    }
}
