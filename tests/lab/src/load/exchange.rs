//! Requests over many HTTP/1.1 connections, each client sending the next one when its answer came: octets out, the least of
//! parsing in, so that the load costs little beside what it loads.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use crate::Error;

/// A whole run may take this long.
const LIMIT: Duration = Duration::from_secs(300);

/// Numbered requests and what their answers must be.
pub trait Exchange: Send + Sync + 'static {
    /// Writes the whole request number `index`.
    fn ask(&self, index: usize, request: &mut Vec<u8>);

    /// Whether the answer is right.
    ///
    /// # Errors
    /// What was answered instead.
    fn judge(&self, index: usize, status: u16, body: &[u8]) -> Result<(), String>;
}

/// How many requests, by how many clients.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Requests in all.
    pub count: usize,
    /// No request begins later than this after the first; `None` for no such end.
    pub lasts: Option<Duration>,
    /// Clients, each with one request under way at most.
    pub clients: usize,
    /// A connection is for one request only; the request itself must say `Connection: close`.
    pub connection_each: bool,
    /// Requests a second, evenly; `None` for as many as are answered.
    pub pace: Option<f64>,
}

impl Plan {
    /// As many as are answered, over connections that are kept.
    #[must_use]
    pub fn new(count: usize, clients: usize) -> Self {
        Self { count, lasts: None, clients, connection_each: false, pace: None }
    }
}

/// What came of a run.
#[derive(Debug, Default)]
pub struct Ran {
    /// From the first connection to the last answer.
    pub took: Duration,
    /// Of each answer, from the writing of its request, ascending; with the connection where each has its own.
    pub latencies: Vec<Duration>,
    /// The requests whose answer was not right, with what it was.
    pub wrong: Vec<(usize, String)>,
}

impl Ran {
    /// The latency that `share` (0 to 1) of all answers did not exceed.
    #[must_use]
    pub fn latency(&self, share: f64) -> Duration {
        super::quantile(&self.latencies, share)
    }
}

/// Runs `plan` against the server at `addr`.
///
/// # Errors
/// The first request that got no answer, even on a second connection; no end within five minutes.
pub async fn exchange<E: Exchange>(addr: SocketAddr, what: &Arc<E>, plan: Plan) -> Result<Ran, Error> {
    let began = Instant::now();
    let next = Arc::new(AtomicUsize::new(0));
    let mut tasks = JoinSet::new();
    for _ in 0..plan.clients.clamp(1, plan.count.max(1)) {
        tasks.spawn(client(addr, Arc::clone(what), plan, Arc::clone(&next), began));
    }
    let all = async {
        let mut ran = Ran::default();
        while let Some(done) = tasks.join_next().await {
            let part = done.map_err(|error| Error::Protocol(format!("a client broke down: {error}")))??;
            ran.latencies.extend(part.latencies);
            ran.wrong.extend(part.wrong);
        }
        Ok(ran)
    };
    let late = |_| Error::Timeout(format!("{} requests to {addr} did not end within {LIMIT:?}", plan.count));
    let mut ran: Ran = timeout(LIMIT, all).await.map_err(late)??;
    ran.took = began.elapsed();
    ran.latencies.sort_unstable();
    Ok(ran)
}

/// One client: takes the next request until none is left.
async fn client<E: Exchange>(
    addr: SocketAddr,
    what: Arc<E>,
    plan: Plan,
    next: Arc<AtomicUsize>,
    began: Instant,
) -> Result<Ran, Error> {
    let mut ran = Ran::default();
    let mut kept = None;
    let (mut request, mut answer) = (vec![], Vec::with_capacity(1024));
    loop {
        let index = next.fetch_add(1, Ordering::Relaxed);
        if index >= plan.count || plan.lasts.is_some_and(|lasts| began.elapsed() >= lasts) {
            return Ok(ran);
        }
        if let (Some(pace), Ok(number)) = (plan.pace, u32::try_from(index)) {
            sleep_until(began + Duration::from_secs_f64(f64::from(number) / pace)).await;
        }
        request.clear();
        what.ask(index, &mut request);
        let sent = Instant::now();
        let answered = match kept.take() {
            // The server may have closed an idle connection in the same moment.
            Some(open) => attempt(open, &request, &mut answer).await.ok(),
            None => None,
        };
        let (stream, head) = match answered {
            Some(answered) => answered,
            None => {
                let open = connect(addr).await.map_err(Error::io(addr.to_string()))?;
                attempt(open, &request, &mut answer).await.map_err(Error::io(addr.to_string()))?
            }
        };
        ran.latencies.push(sent.elapsed());
        if !(plan.connection_each || head.closes) {
            kept = Some(stream);
        }
        if let Err(instead) = what.judge(index, head.status, &answer[head.body..]) {
            ran.wrong.push((index, instead));
        }
    }
}

async fn connect(addr: SocketAddr) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect(addr).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// What is needed of the head of an answer.
struct Head {
    status: u16,
    closes: bool,
    body: usize,
    end: usize,
}

async fn attempt(mut stream: TcpStream, request: &[u8], answer: &mut Vec<u8>) -> std::io::Result<(TcpStream, Head)> {
    stream.write_all(request).await?;
    answer.clear();
    let mut head: Option<Head> = None;
    loop {
        if stream.read_buf(answer).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        if head.is_none() {
            head = read_head(answer)?;
        }
        if let Some(head) = head.take_if(|head| answer.len() >= head.end) {
            return Ok((stream, head));
        }
    }
}

/// `None` while the head is not whole.
fn read_head(answer: &[u8]) -> std::io::Result<Option<Head>> {
    let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
    let invalid = || std::io::Error::from(std::io::ErrorKind::InvalidData);
    let text = std::str::from_utf8(&answer[..end]).map_err(|_| invalid())?;
    let status = text.get(9..12).and_then(|status| status.parse().ok()).ok_or_else(invalid)?;
    let field = |wanted: &str| {
        let fields = text.split("\r\n").filter_map(|line| line.split_once(':'));
        fields.filter(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value.trim()).next()
    };
    let length: usize = field("content-length").and_then(|length| length.parse().ok()).ok_or_else(invalid)?;
    let closes = field("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
    Ok(Some(Head { status, closes, body: end + 4, end: end + 4 + length }))
}
