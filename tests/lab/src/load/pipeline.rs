//! DNS messages on a few TCP connections, so many under way at once on each, answers in any order.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::Error;

/// Silence for so long is an error.
const LIMIT: Duration = Duration::from_secs(30);

/// Numbered messages and what their answers must be.
pub(super) trait Job: Send + Sync + 'static {
    /// What the check of an answer needs from its request.
    type Awaited: Send;

    /// The message number `index`, with this ID.
    fn ask(&self, index: usize, id: u16) -> Result<(Vec<u8>, Self::Awaited), Error>;

    /// Whether `answer` is right.
    fn check(&self, index: usize, awaited: Self::Awaited, answer: &[u8]) -> Result<(), Error>;
}

/// Sends the messages 0 to `count`, `in_flight` at once over all `connections`, until each has its right answer; returns
/// the time from each message to its answer, ascending.
pub(super) async fn run<J: Job>(
    addr: SocketAddr,
    job: J,
    count: usize,
    connections: usize,
    in_flight: usize,
) -> Result<Vec<Duration>, Error> {
    let (job, next) = (Arc::new(job), Arc::new(AtomicUsize::new(0)));
    let connections = connections.max(1);
    let mut tasks = JoinSet::new();
    for number in 0..connections {
        let window = in_flight / connections + usize::from(number < in_flight % connections);
        if window > 0 {
            tasks.spawn(connection(addr, Arc::clone(&job), Arc::clone(&next), count, window));
        }
    }
    let mut latencies = Vec::with_capacity(count);
    while let Some(done) = tasks.join_next().await {
        latencies.extend(done.map_err(|error| Error::Protocol(format!("a connection broke down: {error}")))??);
    }
    latencies.sort_unstable();
    match latencies.len() {
        answered if answered == count => Ok(latencies),
        answered => Err(Error::Protocol(format!("{answered} of {count} messages were answered"))),
    }
}

/// One connection: keeps its window full, one write for all that fits, one read for all that came. Returns the time
/// to each right answer.
async fn connection<J: Job>(
    addr: SocketAddr,
    job: Arc<J>,
    next: Arc<AtomicUsize>,
    count: usize,
    window: usize,
) -> Result<Vec<Duration>, Error> {
    let failed = || Error::io(addr.to_string());
    let mut stream = TcpStream::connect(addr).await.map_err(failed())?;
    stream.set_nodelay(true).map_err(failed())?;
    let (mut outgoing, mut incoming) = (vec![], Vec::with_capacity(16 * 1024));
    let (mut pending, mut id, mut latencies) = (HashMap::new(), 0_u16, vec![]);
    loop {
        outgoing.clear();
        while pending.len() < window {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= count {
                break;
            }
            id = id.wrapping_add(1);
            let (message, awaited) = job.ask(index, id)?;
            let length = u16::try_from(message.len()).map_err(|error| Error::Protocol(error.to_string()))?;
            outgoing.extend_from_slice(&length.to_be_bytes());
            outgoing.extend_from_slice(&message);
            pending.insert(id, (index, awaited, Instant::now()));
        }
        stream.write_all(&outgoing).await.map_err(failed())?;
        if pending.is_empty() {
            return Ok(latencies);
        }
        let came = timeout(LIMIT, stream.read_buf(&mut incoming)).await;
        if came.map_err(|_| Error::Timeout(format!("{addr} was silent for {LIMIT:?}")))?.map_err(failed())? == 0 {
            return Err(Error::Protocol(format!("{addr} closed with {} messages unanswered", pending.len())));
        }
        let mut taken = 0;
        while let Some(answer) = frame(&incoming[taken..]) {
            taken += 2 + answer.len();
            let id = answer.get(..2).map_or(0, |id| u16::from_be_bytes([id[0], id[1]]));
            let Some((index, awaited, sent)) = pending.remove(&id) else {
                return Err(Error::Protocol(format!("{addr} answered to ID {id}, which is not under way")));
            };
            latencies.push(sent.elapsed());
            job.check(index, awaited, answer)?;
        }
        incoming.drain(..taken);
    }
}

/// The first whole message, without its length.
fn frame(octets: &[u8]) -> Option<&[u8]> {
    let length = u16::from_be_bytes([*octets.first()?, *octets.get(1)?]);
    octets.get(2..2 + usize::from(length))
}
