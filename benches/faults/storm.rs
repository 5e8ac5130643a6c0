//! Routers that report one address after the other, each with one request under way, and come back with the same address until
//! it is acknowledged. Every acknowledgement is written down, and held against the primary at the end.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lab::http::Request;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::Failure;
use crate::seen::{Answer, Event, Seen};
use crate::stage::{LOGIN, ZONE};

/// Each with a source of its own.
const ROUTERS: u32 = 200;
/// Between two reports of one router.
const PERIOD: Duration = Duration::from_millis(200);
/// Before it comes back: a real one waits for minutes.
const BACK_AFTER: Duration = Duration::from_millis(250);
/// How long it waits for an answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// How long the last reports may take to be acknowledged.
const END_WITHIN: Duration = Duration::from_secs(30);
/// Every fourth router reports its own name, which gets one address after the other; all others report new names.
const OWN: u32 = 4;

/// Routers at work.
pub(crate) struct Storm {
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
}

/// What a storm leaves.
pub(crate) struct Ended {
    pub(crate) seen: Seen,
    /// The last acknowledged address of each name.
    pub(crate) acknowledged: Vec<(String, IpAddr)>,
    /// How many times an address was acknowledged.
    pub(crate) acknowledgements: usize,
    /// What was reported and never acknowledged; it may have come true all the same.
    pub(crate) unfinished: Vec<(String, IpAddr)>,
}

struct Shared {
    addr: SocketAddr,
    rest: Vec<u8>,
    connection_each: bool,
    next: AtomicUsize,
    address: AtomicU32,
    stopping: AtomicBool,
    seen: Mutex<Seen>,
    acknowledged: Mutex<BTreeMap<String, IpAddr>>,
    wanted: Mutex<BTreeMap<String, IpAddr>>,
    count: AtomicUsize,
}

impl Storm {
    /// Lets them begin, each request on a connection of its own or not.
    pub(crate) fn begin(addr: SocketAddr, secret: &str, connection_each: bool) -> Self {
        let octets = Request::get("").basic(LOGIN, secret).octets(addr);
        let shared = Arc::new(Shared {
            addr,
            rest: octets.strip_prefix(b"GET ").unwrap_or_default().to_vec(),
            connection_each,
            next: AtomicUsize::new(0),
            address: AtomicU32::new(u32::from(Ipv4Addr::new(11, 0, 0, 0))),
            stopping: AtomicBool::new(false),
            seen: Mutex::default(),
            acknowledged: Mutex::default(),
            wanted: Mutex::default(),
            count: AtomicUsize::new(0),
        });
        let mut tasks = JoinSet::new();
        for number in 0..ROUTERS {
            tasks.spawn(router(Arc::clone(&shared), number));
        }
        Self { shared, tasks }
    }

    pub(crate) fn look<T>(&self, at: impl FnOnce(&Seen) -> T) -> T {
        at(&self.shared.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What each name was acknowledged to hold until now.
    pub(crate) fn acknowledged(&self) -> Vec<(String, IpAddr)> {
        let all = self.shared.acknowledged.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().map(|(name, address)| (name.clone(), *address)).collect()
    }

    /// No new report; those under way are repeated until they are acknowledged.
    pub(crate) async fn end(mut self) -> Result<Ended, Failure> {
        self.shared.stopping.store(true, Ordering::Relaxed);
        let all = async { while self.tasks.join_next().await.is_some() {} };
        let _late = timeout(END_WITHIN, all).await;
        self.tasks.shutdown().await;
        let wanted = std::mem::take(&mut *self.shared.wanted.lock().unwrap_or_else(PoisonError::into_inner));
        let unfinished = wanted.into_iter().collect();
        let acknowledged = self.acknowledged();
        let acknowledgements = self.shared.count.load(Ordering::Relaxed);
        let seen = std::mem::take(&mut *self.shared.seen.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(Ended { seen, acknowledged, acknowledgements, unfinished })
    }
}

async fn router(shared: Arc<Shared>, number: u32) {
    let source = Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 1, 0, 1)) + number);
    let mut kept = None;
    // Evenly spread over a period.
    sleep(PERIOD * number / ROUTERS).await;
    while !shared.stopping.load(Ordering::Relaxed) {
        let began = Instant::now();
        let index = shared.next.fetch_add(1, Ordering::Relaxed);
        let is_known = number.is_multiple_of(OWN);
        let name = if is_known { format!("r{number}.{ZONE}") } else { format!("h{index}.{ZONE}") };
        let address = Ipv4Addr::from(shared.address.fetch_add(1, Ordering::Relaxed));
        let wanted = || shared.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        wanted().insert(name.clone(), address.into());
        while !report(&shared, &mut kept, source, &name, address).await {
            sleep(BACK_AFTER).await;
        }
        wanted().remove(&name);
        sleep_until(began + PERIOD).await;
    }
}

/// Whether the report was acknowledged.
async fn report(
    shared: &Shared,
    kept: &mut Option<TcpStream>,
    source: Ipv4Addr,
    name: &str,
    address: Ipv4Addr,
) -> bool {
    let mut request = format!("GET /nic/update?hostname={name}&myip={address}").into_bytes();
    request.extend_from_slice(&shared.rest);
    let sent = Instant::now();
    let open = kept.take();
    let answer = async {
        // The server may have closed an idle connection in the same moment: that is no answer, and costs another try.
        if let Some(open) = open
            && let Ok((answer, stream)) = ask(open, &request).await
        {
            return Ok((answer, stream));
        }
        let stream = connect(source, shared.addr).await.map_err(|_| Answer::NotConnected)?;
        ask(stream, &request).await.map_err(|_| Answer::Cut)
    };
    let answer = match timeout(ANSWER_WITHIN, answer).await {
        Err(_) => Answer::Silence,
        Ok(Err(failed)) => failed,
        Ok(Ok((body, stream))) => {
            *kept = stream.filter(|_| !shared.connection_each);
            Answer::of(&body, &address.to_string())
        }
    };
    let is_acknowledged = answer.is_acknowledged();
    if is_acknowledged {
        shared.count.fetch_add(1, Ordering::Relaxed);
        let mut acknowledged = shared.acknowledged.lock().unwrap_or_else(PoisonError::into_inner);
        acknowledged.insert(name.to_owned(), address.into());
    }
    let (at, took) = (Instant::now(), sent.elapsed());
    shared.seen.lock().unwrap_or_else(PoisonError::into_inner).add(Event {
        at,
        took,
        answer,
        is_known: name.starts_with('r'),
    });
    is_acknowledged
}

/// A connection from this address of the loopback interface.
pub(crate) async fn connect(source: Ipv4Addr, to: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((source, 0).into())?;
    let stream = socket.connect(to).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// The body of the answer, and the connection where it stays open.
async fn ask(mut stream: TcpStream, request: &[u8]) -> std::io::Result<(String, Option<TcpStream>)> {
    stream.write_all(request).await?;
    let mut answer = Vec::with_capacity(512);
    loop {
        if stream.read_buf(&mut answer).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let text = String::from_utf8_lossy(&answer);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let head = head.to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
        if body.len() >= length.unwrap_or(0) {
            let stays = !head.contains("connection: close");
            return Ok((body.to_owned(), stays.then_some(stream)));
        }
    }
}
