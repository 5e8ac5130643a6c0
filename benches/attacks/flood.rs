//! Requests by number, and what they were answered with.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use lab::load::{Exchange, Plan, exchange};
use rustix::process::nice;
use tokio::runtime::Builder;
use tokio::sync::oneshot;

use crate::Failure;

/// The first words of answers; the last stands for all others.
const WORDS: [&str; 8] = ["good", "nochg", "badauth", "911", "abuse", "nohost", "reloaded", "?"];

/// Writes one request.
pub(crate) type Ask = Box<dyn Fn(usize, &mut Vec<u8>) + Send + Sync>;

/// Requests, and how often each answer came.
pub(crate) struct Flood {
    ask: Ask,
    /// The number of the first request.
    first: AtomicUsize,
    sent: AtomicUsize,
    answers: [AtomicUsize; WORDS.len()],
}

impl Flood {
    pub(crate) fn new(ask: Ask) -> Arc<Self> {
        let (first, sent) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Arc::new(Self { ask, first, sent, answers: std::array::from_fn(|_| AtomicUsize::new(0)) })
    }

    pub(crate) fn sent(&self) -> usize {
        self.sent.load(Ordering::Relaxed)
    }

    pub(crate) fn count(&self, word: &str) -> usize {
        let at = WORDS.iter().position(|known| *known == word).unwrap_or(WORDS.len() - 1);
        self.answers[at].load(Ordering::Relaxed)
    }

    /// Each answer that came, with how often.
    pub(crate) fn answers(&self) -> String {
        WORDS.iter().filter(|word| self.count(word) > 0).fold(String::new(), |mut text, word| {
            let comma = if text.is_empty() { "" } else { ", " };
            let _ = write!(text, "{comma}{} × `{word}`", self.count(word));
            text
        })
    }
}

impl Exchange for Flood {
    fn ask(&self, index: usize, request: &mut Vec<u8>) {
        self.sent.fetch_add(1, Ordering::Relaxed);
        (self.ask)(self.first.load(Ordering::Relaxed) + index, request);
    }

    fn judge(&self, _: usize, _: u16, body: &[u8]) -> Result<(), String> {
        // One line each for several hosts; the worst the attacker got is told by the first.
        let word = body.split(|octet| octet.is_ascii_whitespace()).next().unwrap_or_default();
        let word = if word.starts_with(b"{\"file\"") { b"reloaded" } else { word };
        let at = WORDS.iter().position(|known| known.as_bytes() == word).unwrap_or(WORDS.len() - 1);
        self.answers[at].fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

/// An update with credentials in the query, which a proxy forwards for `source`.
pub(crate) fn update(
    request: &mut Vec<u8>,
    source: impl Into<IpAddr>,
    (login, password): (&str, &str),
    host: &str,
    address: IpAddr,
) {
    let source = source.into();
    let _ = write!(
        request,
        "GET /nic/update?hostname={host}&myip={address}&username={login}&password={password} HTTP/1.1\r\n\
         Host: gateway\r\nX-Forwarded-For: {source}\r\n\r\n"
    );
}

/// As `dyngate reload` asks.
pub(crate) fn reload(request: &mut Vec<u8>) {
    let _ =
        write!(request, "POST /reload HTTP/1.1\r\nHost: gateway\r\nX-Dyngate-Reload: yes\r\nContent-Length: 0\r\n\r\n");
}

/// A flood that goes on in a thread of its own, which stands back behind all that is measured: on another machine it
/// would cost nothing here.
pub(crate) struct Attacker {
    thread: thread::JoinHandle<Result<(), Failure>>,
    stop: oneshot::Sender<()>,
    done: Arc<AtomicBool>,
}

/// A part of a flood; its latencies are kept until its end.
const PART: usize = 500_000;

impl Attacker {
    /// Sends requests until it is stopped, or `most` were answered.
    pub(crate) fn start(addr: SocketAddr, flood: Arc<Flood>, clients: usize, pace: Option<f64>, most: usize) -> Self {
        let (stop, stopped) = oneshot::channel::<()>();
        let done = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&done);
        let thread = thread::spawn(move || {
            let _as_before = nice(5);
            let flooding = async {
                while flood.first.load(Ordering::Relaxed) < most {
                    let count = PART.min(most - flood.first.load(Ordering::Relaxed));
                    exchange(addr, &flood, Plan { pace, ..Plan::new(count, clients) }).await?;
                    flood.first.fetch_add(count, Ordering::Relaxed);
                }
                Ok::<_, Failure>(())
            };
            let runtime = Builder::new_current_thread().enable_all().build()?;
            let result = runtime.block_on(async {
                tokio::select! {
                    flooded = flooding => flooded,
                    _ = stopped => Ok(()),
                }
            });
            ended.store(true, Ordering::Relaxed);
            result
        });
        Self { thread, stop, done }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.done.load(Ordering::Relaxed)
    }

    pub(crate) fn stop(self) -> Result<(), Failure> {
        let _ended_by_itself = self.stop.send(());
        self.thread.join().map_err(|_| "the attacker broke down")?
    }
}
