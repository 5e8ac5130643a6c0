//! Reads at the primary in use, on a connection of their own: BIND and PowerDNS answer strictly in order, so a read behind
//! a large UPDATE would wait for it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hickory_proto::op::Message;
use hickory_proto::rr::{RData, RecordType};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::connection::{ConnectError, Connection, Event};
use super::message::{EncodeError, Update, host_name};
use super::reply::{Failure, Rcode, Reply, classify, id_of};
use super::tsig::{Signed, Verifier};
use crate::config;
use crate::model::{Addresses, Family, Hostname};

/// Asks the primary of one zone; cheap to clone.
#[derive(Clone, Debug)]
pub struct Reader {
    update: Arc<Update>,
    questions: mpsc::Sender<Question>,
}

/// What the primary says of a host that was thought to hold an address already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// The name itself holds exactly the addresses, with the TTL.
    Exactly,
    /// Something else stands there, or nothing, or it comes from a wildcard.
    Otherwise,
}

/// The names that serve the zone itself, as its SOA and NS records say.
pub type ZoneTargets = Vec<Hostname>;

/// Why a question has no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReadError {
    /// No connection.
    #[error("{0}")]
    Connect(#[source] Arc<ConnectError>),
    /// The connection ended, or was silent for too long.
    #[error("the connection ended before the answer")]
    Lost,
    /// More questions wait than we hold.
    #[error("too many questions wait")]
    Full,
    /// The primary answered with an error.
    #[error("the primary answered {0}")]
    Failed(Failure),
    /// The question cannot be written.
    #[error(transparent)]
    Encode(#[from] EncodeError),
}

/// Writes a question with the given ID.
type Ask = dyn FnOnce(&Update, u16) -> Result<Signed, EncodeError> + Send;

struct Question {
    ask: Box<Ask>,
    is_update: bool,
    answer: oneshot::Sender<Result<Message, ReadError>>,
}

struct Asked {
    verifier: Verifier,
    is_update: bool,
    since: Instant,
    answer: oneshot::Sender<Result<Message, ReadError>>,
}

const MOST_WAITING: usize = 1024;

impl Reader {
    /// Starts the task that asks; it ends when the last handle is dropped.
    /// `in_use` is the index of the primary in use, `patience` how long an answer may take.
    #[must_use]
    pub fn start(update: Arc<Update>, zone: &config::Zone, in_use: Arc<AtomicUsize>, patience: Duration) -> Self {
        let (questions, queue) = mpsc::channel(MOST_WAITING);
        let task = Task {
            update: Arc::clone(&update),
            primaries: zone.primaries.clone(),
            source: zone.source,
            in_use,
            patience,
            queue,
            open: None,
            asked: HashMap::new(),
            next_id: 0,
        };
        tokio::spawn(task.run());
        Self { update, questions }
    }

    /// Whether `name` itself holds exactly `addresses` with `ttl` seconds (other families do not matter).
    ///
    /// # Errors
    /// [`ReadError`] where the primary did not say.
    pub async fn holds(&self, name: &Hostname, addresses: Addresses, ttl: u32) -> Result<Held, ReadError> {
        for address in addresses.iter() {
            let kind = match Family::of(address) {
                Family::V4 => RecordType::A,
                Family::V6 => RecordType::AAAA,
            };
            let message = self.query(name.as_str(), kind).await?;
            let found = match message.answers.as_slice() {
                [only] if only.ttl == ttl => match &only.data {
                    RData::A(a) => Some(a.0.into()),
                    RData::AAAA(aaaa) => Some(aaaa.0.into()),
                    _ => None,
                },
                _ => None,
            };
            if found != Some(address) {
                return Ok(Held::Otherwise);
            }
        }
        // A read cannot tell the name's own records from a wildcard's (RFC 4592); this can.
        let name = name.clone();
        match self.ask(true, move |update, id| update.holds_exactly(id, &name, addresses)).await {
            Ok(_) => Ok(Held::Exactly),
            Err(ReadError::Failed(Failure { rcode: Rcode::NXRRSET, .. })) => Ok(Held::Otherwise),
            Err(error) => Err(error),
        }
    }

    /// The targets of the SOA and NS records at the apex.
    ///
    /// # Errors
    /// [`ReadError`] where the primary did not say.
    pub async fn zone_targets(&self) -> Result<ZoneTargets, ReadError> {
        let apex = self.update.zone().as_str();
        let (soa, ns) = (self.query(apex, RecordType::SOA).await?, self.query(apex, RecordType::NS).await?);
        let targets = soa.answers.iter().chain(&ns.answers).filter_map(|record| match &record.data {
            RData::SOA(soa) => host_name(&soa.mname),
            RData::NS(ns) => host_name(&ns.0),
            _ => None,
        });
        Ok(targets.collect())
    }

    async fn query(&self, name: &str, kind: RecordType) -> Result<Message, ReadError> {
        let name = name.to_owned();
        self.ask(false, move |update, id| update.query(id, &name, kind)).await
    }

    async fn ask(
        &self,
        is_update: bool,
        ask: impl FnOnce(&Update, u16) -> Result<Signed, EncodeError> + Send + 'static,
    ) -> Result<Message, ReadError> {
        let (answer, answered) = oneshot::channel();
        let question = Question { ask: Box::new(ask), is_update, answer };
        self.questions.try_send(question).map_err(|_| ReadError::Full)?;
        answered.await.unwrap_or(Err(ReadError::Lost))
    }
}

struct Task {
    update: Arc<Update>,
    primaries: Vec<config::Primary>,
    source: Option<std::net::IpAddr>,
    in_use: Arc<AtomicUsize>,
    patience: Duration,
    queue: mpsc::Receiver<Question>,
    open: Option<Open>,
    asked: HashMap<u16, Asked>,
    next_id: u16,
}

struct Open {
    primary: usize,
    connection: Connection,
    events: mpsc::Receiver<Event>,
}

impl Task {
    async fn run(mut self) {
        let mut tick = interval(Duration::from_secs(1));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                question = self.queue.recv() => match question {
                    Some(question) => self.take(question).await,
                    None => return,
                },
                event = next_event(&mut self.open) => match event {
                    Some(Event::Frame(octets)) => self.answered(&octets),
                    Some(Event::Closed(_)) | None => self.close(),
                },
                now = tick.tick() => {
                    if self.asked.values().any(|asked| now.saturating_duration_since(asked.since) > self.patience) {
                        self.close();
                    }
                }
            }
        }
    }

    async fn take(&mut self, question: Question) {
        if question.answer.is_closed() {
            return;
        }
        if self.asked.len() >= MOST_WAITING {
            let _asker_gone = question.answer.send(Err(ReadError::Full));
            return;
        }
        if let Err(error) = self.ensure_open().await {
            let _asker_gone = question.answer.send(Err(error));
            return;
        }
        while self.asked.contains_key(&self.next_id) {
            self.next_id = self.next_id.wrapping_add(1);
        }
        let id = self.next_id;
        self.next_id = id.wrapping_add(1);
        let Signed { octets, verifier } = match (question.ask)(&self.update, id) {
            Ok(signed) => signed,
            Err(error) => {
                let _asker_gone = question.answer.send(Err(error.into()));
                return;
            }
        };
        let asked = Asked { verifier, is_update: question.is_update, since: Instant::now(), answer: question.answer };
        self.asked.insert(id, asked);
        if !self.open.as_ref().is_some_and(|open| open.connection.send(&octets)) {
            self.close();
        }
    }

    async fn ensure_open(&mut self) -> Result<(), ReadError> {
        let primary = self.in_use.load(Ordering::Relaxed);
        if self.open.as_ref().is_some_and(|open| open.primary != primary) {
            self.close();
        }
        if self.open.is_none() {
            let Some(target) = self.primaries.get(primary) else { return Err(ReadError::Lost) };
            let opened = Connection::open(target, self.source, self.patience).await;
            let (connection, events) = opened.map_err(|error| ReadError::Connect(Arc::new(error)))?;
            self.open = Some(Open { primary, connection, events });
        }
        Ok(())
    }

    fn answered(&mut self, octets: &[u8]) {
        let Some((id, asked)) = id_of(octets).and_then(|id| self.asked.remove_entry(&id)) else { return };
        let answer = match classify(octets, id, asked.is_update, &asked.verifier) {
            Reply::Done(message) => Ok(*message),
            Reply::Failed(failure) => Err(ReadError::Failed(failure)),
            Reply::Nothing(_) => {
                self.asked.insert(id, asked);
                return;
            }
            Reply::Garbage => {
                self.asked.insert(id, asked);
                return self.close();
            }
        };
        let _asker_gone = asked.answer.send(answer);
    }

    fn close(&mut self) {
        self.open = None;
        for (_, asked) in self.asked.drain() {
            let _asker_gone = asked.answer.send(Err(ReadError::Lost));
        }
    }
}

async fn next_event(open: &mut Option<Open>) -> Option<Event> {
    match open {
        Some(open) => open.events.recv().await,
        None => std::future::pending().await,
    }
}
