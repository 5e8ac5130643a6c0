//! Reads at the primary in use, on a connection of their own: BIND and PowerDNS answer strictly in order, so a read behind
//! a large UPDATE would wait for it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::Message;
use hickory_proto::rr::{RData, Record, RecordType};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::connection::Event;
use super::message::{EncodeError, Update, host_name, record_type, rr_data};
use super::network::ConnectError;
use super::pool::{Lease, Leased, Path, Pool};
use super::reply::{Failure, Rcode, Reply, classify, id_of};
use super::tsig::{Signed, Verifier};
use crate::config::Primary;
use crate::model::{Desired, DesiredRecords, Hostname, RrKey, ZoneName};

/// Asks the primary of one zone; cheap to clone.
#[derive(Clone, Debug)]
pub struct Reader {
    zone: ZoneName,
    questions: mpsc::Sender<Question>,
}

/// Whom to ask, and how.
#[derive(Clone, Debug)]
pub struct Route {
    /// Writes and signs the questions.
    pub update: Arc<Update>,
    /// The primary in use.
    pub primary: Primary,
    /// Our own address towards it.
    pub source: Option<IpAddr>,
    /// How long an answer may take.
    pub timeout: Duration,
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
    /// The answer holds no SOA and no NS record.
    #[error("the primary does not serve the zone")]
    NoZone,
    /// The question cannot be written.
    #[error(transparent)]
    Encode(#[from] EncodeError),
}

/// Writes a question with the given ID.
type WriteQuestion = dyn FnOnce(&Update, u16) -> Result<Signed, EncodeError> + Send;

struct Question {
    ask: Box<WriteQuestion>,
    is_update: bool,
    answer: oneshot::Sender<Result<Message, ReadError>>,
}

struct SentQuestion {
    verifier: Verifier,
    is_update: bool,
    since: Instant,
    answer: oneshot::Sender<Result<Message, ReadError>>,
}

const MOST_WAITING: usize = 1024;

impl Reader {
    /// Starts the task that asks, each time by the newest `route`; it ends when the last handle is dropped.
    #[must_use]
    pub fn start(pool: Pool, route: watch::Receiver<Route>) -> Self {
        let (questions, queue) = mpsc::channel(MOST_WAITING);
        let zone = route.borrow().update.zone().clone();
        let task = Task { pool, route, queue, link: ReaderLink::Closed, waiting: Vec::new(), asked: BTreeMap::new() };
        tokio::spawn(task.run());
        Self { zone, questions }
    }

    /// Whether `name` itself holds exactly what is set in `records` (other types do not matter).
    ///
    /// # Errors
    /// [`ReadError`] where the primary did not say.
    pub async fn holds(&self, name: &Hostname, records: &DesiredRecords) -> Result<Held, ReadError> {
        for (rtype, desired) in records.iter() {
            let Desired::Set { data, ttl } = desired else { continue };
            let message = self.query(name.as_str(), record_type(rtype)).await?;
            let [only] = message.answers.as_slice() else { return Ok(Held::Otherwise) };
            if only.ttl != *ttl || rr_data(&only.data).as_ref() != Some(data) {
                return Ok(Held::Otherwise);
            }
        }
        // A read cannot tell the name's own records from a wildcard's (RFC 4592); this can.
        let (name, records) = (name.clone(), records.clone());
        match self.ask(true, move |update, id| update.holds_exactly(id, &name, &records)).await {
            Ok(_) => Ok(Held::Exactly),
            Err(ReadError::Failed(Failure { rcode: Rcode::NXRRSET, .. })) => Ok(Held::Otherwise),
            Err(error) => Err(error),
        }
    }

    /// What an RRset holds, a wildcard's (RFC 4592) too; nothing where it does not exist.
    ///
    /// # Errors
    /// [`ReadError`] where the primary did not say.
    pub async fn read(&self, key: &RrKey) -> Result<Vec<Desired>, ReadError> {
        let message = match self.query(key.name.as_str(), record_type(key.rtype)).await {
            // There is not even the name.
            Err(ReadError::Failed(Failure { rcode: Rcode::NXDOMAIN, .. })) => return Ok(Vec::new()),
            read => read?,
        };
        let desired = |record: &Record| {
            let data = rr_data(&record.data).filter(|data| data.rtype() == key.rtype)?;
            Some(Desired::Set { data, ttl: record.ttl })
        };
        Ok(message.answers.iter().filter_map(desired).collect())
    }

    /// The targets of the SOA and NS records at the apex.
    ///
    /// # Errors
    /// [`ReadError`] where the primary did not say.
    pub async fn zone_targets(&self) -> Result<ZoneTargets, ReadError> {
        let apex = self.zone.as_str();
        let (soa, ns) = (self.query(apex, RecordType::SOA).await?, self.query(apex, RecordType::NS).await?);
        let targets = soa.answers.iter().chain(&ns.answers).filter_map(|record| match &record.data {
            RData::SOA(soa) => host_name(&soa.mname),
            RData::NS(ns) => host_name(&ns.0),
            _ => None,
        });
        let targets: ZoneTargets = targets.collect();
        // A referral is no answer: without it nothing would be protected.
        if targets.is_empty() { Err(ReadError::NoZone) } else { Ok(targets) }
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
    pool: Pool,
    route: watch::Receiver<Route>,
    queue: mpsc::Receiver<Question>,
    link: ReaderLink,
    // Questions that wait for a connection.
    waiting: Vec<Question>,
    asked: BTreeMap<u16, SentQuestion>,
}

enum ReaderLink {
    Closed,
    Opening(Path, Pin<Box<dyn Future<Output = Leased> + Send>>),
    Up(Path, Lease),
}

enum ReaderEvent {
    Leased(Leased),
    Event(Option<Event>),
}

impl ReaderLink {
    async fn next(&mut self) -> ReaderEvent {
        match self {
            Self::Closed => std::future::pending().await,
            Self::Opening(_, leasing) => ReaderEvent::Leased(leasing.await),
            Self::Up(_, lease) => ReaderEvent::Event(lease.next().await),
        }
    }
}

impl Task {
    async fn run(mut self) {
        let mut tick = interval(Duration::from_secs(1));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                // Answers first: they make room for questions.
                biased;
                happened = self.link.next() => self.handle(happened),
                Ok(()) = self.route.changed() => self.leave_old_path(),
                now = tick.tick() => {
                    let timeout = self.route.borrow().timeout;
                    if self.asked.values().any(|asked| now.saturating_duration_since(asked.since) > timeout) {
                        self.close();
                    }
                }
                question = self.queue.recv() => match question {
                    Some(question) => self.take(question),
                    None => return,
                },
            }
        }
    }

    fn handle(&mut self, happened: ReaderEvent) {
        match happened {
            ReaderEvent::Leased(Ok(lease)) => {
                if let ReaderLink::Opening(path, _) = std::mem::replace(&mut self.link, ReaderLink::Closed) {
                    self.link = ReaderLink::Up(path, lease);
                }
                for question in std::mem::take(&mut self.waiting) {
                    self.send(question);
                }
                self.rest();
            }
            ReaderEvent::Leased(Err(error)) => {
                self.link = ReaderLink::Closed;
                for question in self.waiting.drain(..) {
                    let _asker_gone = question.answer.send(Err(ReadError::Connect(Arc::clone(&error))));
                }
            }
            ReaderEvent::Event(Some(Event::Frame(octets))) => self.answered(&octets),
            ReaderEvent::Event(Some(Event::Closed(_)) | None) => self.close(),
        }
    }

    fn take(&mut self, question: Question) {
        if self.asked.len() + self.waiting.len() >= MOST_WAITING {
            self.waiting.retain(|waiting| !waiting.answer.is_closed());
        }
        if self.asked.len() + self.waiting.len() >= MOST_WAITING {
            let _asker_gone = question.answer.send(Err(ReadError::Full));
            return;
        }
        self.leave_old_path();
        match &self.link {
            // Others wait for a connection: it is their turn once what was asked is answered.
            ReaderLink::Up(_, lease) if lease.is_wanted() => self.waiting.push(question),
            ReaderLink::Up(..) => self.send(question),
            ReaderLink::Opening(..) => self.waiting.push(question),
            ReaderLink::Closed => {
                self.waiting.push(question);
                self.open();
            }
        }
    }

    /// Another primary is in use: nobody waits for what the old one does not say.
    fn leave_old_path(&mut self) {
        let path = {
            let route = self.route.borrow_and_update();
            (route.source, route.primary.clone())
        };
        if matches!(&self.link, ReaderLink::Opening(other, _) | ReaderLink::Up(other, _) if *other != path) {
            self.close();
        }
    }

    fn open(&mut self) {
        let Route { primary, source, timeout, .. } = self.route.borrow().clone();
        let (pool, to) = (self.pool.clone(), primary.clone());
        let leasing = async move { pool.lease(to, source, timeout / 2).await };
        self.link = ReaderLink::Opening((source, primary), Box::pin(leasing));
    }

    /// Gives the connection back where all that was asked is answered.
    fn rest(&mut self) {
        if !self.asked.is_empty() {
            return;
        }
        match std::mem::replace(&mut self.link, ReaderLink::Closed) {
            ReaderLink::Up(_, lease) => lease.give_back(),
            other => self.link = other,
        }
        if matches!(self.link, ReaderLink::Closed) && !self.waiting.is_empty() {
            self.open();
        }
    }

    fn send(&mut self, question: Question) {
        if question.answer.is_closed() {
            return;
        }
        let Question { ask, is_update, answer } = question;
        let ReaderLink::Up(_, lease) = &mut self.link else {
            let _asker_gone = answer.send(Err(ReadError::Lost));
            return;
        };
        let id = lease.fresh_id(|id| self.asked.contains_key(&id));
        let update = Arc::clone(&self.route.borrow().update);
        match ask(&update, id) {
            Ok(Signed { octets, verifier }) => {
                self.asked.insert(id, SentQuestion { verifier, is_update, since: Instant::now(), answer });
                if !lease.send(&octets) {
                    self.close();
                }
            }
            Err(error) => {
                let _asker_gone = answer.send(Err(error.into()));
            }
        }
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
        self.rest();
    }

    fn close(&mut self) {
        self.link = ReaderLink::Closed;
        let asked = std::mem::take(&mut self.asked).into_values().map(|asked| asked.answer);
        for answer in asked.chain(self.waiting.drain(..).map(|question| question.answer)) {
            let _asker_gone = answer.send(Err(ReadError::Lost));
        }
    }
}
