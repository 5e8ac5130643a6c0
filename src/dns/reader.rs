//! Reads at the primary in use, on a connection of their own: BIND and PowerDNS answer strictly in order, so a read behind
//! a large UPDATE would wait for it.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::Message;
use hickory_proto::rr::rdata::SOA;
use hickory_proto::rr::{RData, Record, RecordType};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};

use super::exchange::{AskError, Event, Exchange};
use super::message::{Update, host_name, query, record_type, rr_data, rrset_data, wire_name};
use super::pool::{Path, Pool};
use super::reply::{Failure, Rcode};
use super::tsig::Signer;
use crate::config::Primary;
use crate::model::{Desired, DesiredRecords, Hostname, RrData, RrKey};

/// Asks the primary of one zone; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Reader {
    route: watch::Receiver<Route>,
    questions: mpsc::Sender<Question>,
}

#[derive(Clone, Debug)]
pub(crate) struct Route {
    /// Writes and signs the questions.
    pub(crate) update: Arc<Update>,
    pub(crate) primary: Primary,
    /// Our own address towards it.
    pub(crate) source: Option<IpAddr>,
    pub(crate) timeout: Duration,
}

/// What a name holds, compared with what it shall.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Held {
    /// Exactly that.
    Own,
    /// Nothing such, yet exactly that is served for it: a wildcard's records, or another zone's.
    Alike,
    Other,
}

/// What a name itself holds of a type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Own {
    Nothing,
    /// Exactly these.
    Records {
        data: RrData,
        ttl: u32,
    },
    /// Records that could not be written here.
    Others,
}

/// What the primary serves of a change that it acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Proof {
    /// Exactly that.
    Served,
    /// What the zone with this apex holds, another than ours: it lies over the name.
    Elsewhere(String),
    /// Something else: our zone does not hold it.
    Dropped,
}

#[derive(Debug)]
struct Question {
    message: Message,
    // None is the zone's.
    signer: Option<Signer>,
    was_sent: bool,
    answer: oneshot::Sender<Result<Box<Message>, AskError>>,
}

const MOST_WAITING: usize = 1024;

impl Reader {
    /// Starts the task that asks, each time by the newest `route`; it ends when the last handle is dropped.
    pub(crate) fn start(pool: Pool, route: watch::Receiver<Route>) -> Self {
        let (questions, queue) = mpsc::channel(MOST_WAITING);
        let task = Task {
            pool,
            route: route.clone(),
            queue,
            path: route.borrow().path(),
            exchange: Exchange::default(),
            waiting: Vec::new(),
            look: Instant::now(),
        };
        tokio::spawn(task.run());
        Self { route, questions }
    }

    /// Builds messages for the zone, and signs them with the key in force.
    pub(super) fn update(&self) -> Arc<Update> {
        Arc::clone(&self.route.borrow().update)
    }

    /// Whether `name` itself holds exactly what is set in `records`, with its TTL, and nothing of what is absent in them; other
    /// types do not matter.
    pub(crate) async fn holds(&self, name: &Hostname, records: &DesiredRecords) -> Result<Held, AskError> {
        for (rtype, desired) in records.iter() {
            let Desired::Set { data, ttl } = desired else { continue };
            let message = self.ask(query(name.as_str(), record_type(rtype))?).await?;
            let answers = message.answers.as_slice();
            if answers.iter().any(|record| record.ttl != *ttl) || rrset_data(answers).as_ref() != Some(data) {
                return Ok(Held::Other);
            }
        }
        // A read cannot tell the name's own records from a wildcard's (RFC 4592); this can.
        match self.ask(self.update().holds_exactly(name, records)?).await {
            Ok(_) => Ok(Held::Own),
            Err(AskError::Failed(Failure { rcode: Rcode::NXRRSET, .. })) => Ok(Held::Alike),
            Err(AskError::Failed(Failure { rcode: Rcode::YXRRSET, .. })) => Ok(Held::Other),
            Err(error) => Err(error),
        }
    }

    /// Whether the primary serves `records` at `name`, which it acknowledged. A read may be behind: a cache (PowerDNS), the
    /// signed side of a zone (BIND's inline-signing) or a secondary that forwarded the change answers. So it proves, and disproves
    /// nothing: prerequisites (RFC 2136 section 2.4) tell what the zone itself holds. Where something else `is_alike`, a read does
    /// not even prove.
    pub(crate) async fn proof(
        &self,
        name: &Hostname,
        records: &DesiredRecords,
        is_alike: bool,
    ) -> Result<Proof, AskError> {
        if !is_alike && self.serves(name, records).await? {
            return Ok(Proof::Served);
        }
        if records.sets()
            && let Some(apex) = self.zone_over(name).await?
        {
            return Ok(Proof::Elsewhere(apex));
        }
        match self.ask(self.update().holds_exactly(name, records)?).await {
            Ok(_) => Ok(Proof::Served),
            Err(AskError::Failed(Failure { rcode: Rcode::NXRRSET | Rcode::YXRRSET, .. })) => Ok(Proof::Dropped),
            Err(error) => Err(error),
        }
    }

    /// Whether a read shows exactly `records`, and what is set as our zone's. Servers cap a TTL (BIND's `max-zone-ttl`): it does
    /// not matter.
    async fn serves(&self, name: &Hostname, records: &DesiredRecords) -> Result<bool, AskError> {
        let apex = wire_name(self.update().zone().as_str())?;
        for (rtype, desired) in records.iter() {
            let message = match self.ask(query(name.as_str(), record_type(rtype))?).await {
                // There is not even the name.
                Err(AskError::Failed(Failure { rcode: Rcode::NXDOMAIN, signed: true, .. })) => None,
                read => Some(read?),
            };
            let is_served = match (&message, desired) {
                (None, desired) => !desired.is_set(),
                (Some(message), Desired::Absent) => message.answers.is_empty(),
                (Some(message), Desired::Without(gone)) => {
                    !message.answers.iter().any(|record| rr_data(&record.data).is_some_and(|data| gone.shares(&data)))
                }
                (Some(message), Desired::Set { data, .. }) => {
                    let is_ours = message.authoritative && message.authorities.iter().all(|record| record.name == apex);
                    is_ours && rrset_data(&message.answers).as_ref() == Some(data)
                }
            };
            if !is_served {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The apex of another zone on the primary that lies over `name`, within ours.
    pub(crate) async fn zone_over(&self, name: &Hostname) -> Result<Option<String>, AskError> {
        let update = self.update();
        for owner in update.below_apex(name) {
            if self.soa(owner).await?.is_some() {
                return Ok(Some(owner.to_owned()));
            }
        }
        Ok(None)
    }

    /// The SOA record at `apex`, where it is an apex here.
    pub(super) async fn soa(&self, apex: &str) -> Result<Option<SOA>, AskError> {
        self.soa_by(None, apex).await
    }

    /// The same as `signer` is shown it.
    pub(super) async fn soa_by(&self, signer: Option<Signer>, apex: &str) -> Result<Option<SOA>, AskError> {
        let message = match self.ask_by(signer, query(apex, RecordType::SOA)?).await {
            Err(AskError::Failed(Failure { rcode: Rcode::NXDOMAIN, signed: true, .. })) => return Ok(None),
            answer => answer?,
        };
        let owner = wire_name(apex)?;
        let soa = message.answers.iter().find_map(|record| match &record.data {
            RData::SOA(soa) if record.name == owner => Some(soa.clone()),
            _ => None,
        });
        Ok(soa.filter(|_| message.authoritative))
    }

    /// What an RRset holds, a wildcard's (RFC 4592) too; nothing where it does not exist. Records that could not be written here
    /// are left out: as a prerequisite, what is read then fails.
    pub(crate) async fn read(&self, key: &RrKey) -> Result<Vec<Desired>, AskError> {
        let message = match self.ask(query(key.name.as_str(), record_type(key.rtype))?).await {
            // There is not even the name.
            Err(AskError::Failed(Failure { rcode: Rcode::NXDOMAIN, .. })) => return Ok(Vec::new()),
            read => read?,
        };
        let mut held: Vec<Desired> = Vec::new();
        for record in &message.answers {
            let Some(data) = rr_data(&record.data).filter(|data| data.rtype() == key.rtype) else { continue };
            let others = match held.last_mut() {
                Some(Desired::Set { data, .. }) => Some(data),
                _ => None,
            };
            match others.and_then(|others| Some((others.and(&data)?, others))) {
                Some((all, others)) => *others = all,
                None => held.push(Desired::Set { data, ttl: record.ttl }),
            }
        }
        Ok(held)
    }

    /// What an RRset holds, and no wildcard's, nor what a CNAME at the name leads to.
    pub(crate) async fn own(&self, key: &RrKey) -> Result<Own, AskError> {
        let message = match self.ask(query(key.name.as_str(), record_type(key.rtype))?).await {
            Err(AskError::Failed(Failure { rcode: Rcode::NXDOMAIN, .. })) => return Ok(Own::Nothing),
            read => read?,
        };
        let Some(first) = message.answers.first() else { return Ok(Own::Nothing) };
        match self.ask(self.update().holds_exactly(&key.name, &DesiredRecords::absent([key.rtype]))?).await {
            Ok(_) => Ok(Own::Nothing),
            Err(AskError::Failed(Failure { rcode: Rcode::YXRRSET, .. })) => {
                let data = rrset_data(&message.answers).filter(|data| data.rtype() == key.rtype);
                Ok(data.map_or(Own::Others, |data| Own::Records { data, ttl: first.ttl }))
            }
            Err(error) => Err(error),
        }
    }

    /// Whether `name` would be served, by the guards of a change alone: YXRRSET where not.
    pub(crate) async fn would_serve(&self, name: &Hostname) -> Result<(), AskError> {
        self.ask(self.update().guards(&[name])?).await.map(drop)
    }

    /// The targets of the SOA and NS records at the apex.
    pub(crate) async fn zone_targets(&self) -> Result<Vec<Hostname>, AskError> {
        let of_apex = |kind| query(self.update().zone().as_str(), kind);
        let (soa, ns) = (self.ask(of_apex(RecordType::SOA)?).await?, self.ask(of_apex(RecordType::NS)?).await?);
        let targets = soa.answers.iter().chain(&ns.answers).filter_map(|record| match &record.data {
            RData::SOA(soa) => host_name(&soa.mname),
            RData::NS(ns) => host_name(&ns.0),
            _ => None,
        });
        // A referral is no answer: without it nothing would be protected. A zone may have no NS record, but a SOA it has.
        let is_soa = |record: &Record| matches!(record.data, RData::SOA(_));
        if soa.answers.iter().any(is_soa) { Ok(targets.collect()) } else { Err(AskError::NoZone) }
    }

    pub(super) async fn ask(&self, message: Message) -> Result<Box<Message>, AskError> {
        self.ask_by(None, message).await
    }

    /// The same, with another signer where one is given.
    pub(super) async fn ask_by(&self, signer: Option<Signer>, message: Message) -> Result<Box<Message>, AskError> {
        let (answer, answered) = oneshot::channel();
        let question = Question { message, signer, was_sent: false, answer };
        self.questions.try_send(question).map_err(|_| AskError::Full)?;
        answered.await.unwrap_or(Err(AskError::Closed))
    }
}

impl Route {
    fn path(&self) -> Path {
        (self.source, self.primary.clone())
    }
}

impl Question {
    fn end(self, answer: Result<Box<Message>, AskError>) {
        let _asker_gone = self.answer.send(answer);
    }
}

struct Task {
    pool: Pool,
    route: watch::Receiver<Route>,
    queue: mpsc::Receiver<Question>,
    // Where the exchange leads.
    path: Path,
    exchange: Exchange<Question>,
    // Questions that wait for a connection.
    waiting: Vec<Question>,
    // When to look for one that is not answered; no later than the first has its time.
    look: Instant,
}

impl Task {
    async fn run(mut self) {
        loop {
            tokio::select! {
                // Answers first: they make room for questions.
                biased;
                event = self.exchange.next() => self.handle(event),
                Ok(()) = self.route.changed() => self.leave_old_path(),
                question = self.queue.recv() => match question {
                    Some(question) => self.take(question),
                    None => return,
                },
                () = sleep_until(self.look), if self.exchange.unanswered() > 0 => self.give_up_in_silence(),
            }
            self.pump();
        }
    }

    fn handle(&mut self, event: Event<Question>) {
        match event {
            Event::Answer(question, answer) => question.end(answer.map_err(AskError::Failed)),
            Event::Unreachable(error) => self.fail(&AskError::Connect(error)),
            Event::NotDns => self.fail(&AskError::NotDns),
            Event::Closed(_) => {
                for (mut question, _) in self.exchange.close() {
                    // Servers close idle connections and old ones: once is normal.
                    match std::mem::replace(&mut question.was_sent, true) {
                        false => self.waiting.push(question),
                        true => question.end(Err(AskError::Closed)),
                    }
                }
            }
            Event::Opened | Event::Unbelieved { .. } | Event::Unasked => {}
        }
    }

    fn take(&mut self, question: Question) {
        if self.exchange.unanswered() + self.waiting.len() >= MOST_WAITING {
            self.waiting.retain(|waiting| !waiting.answer.is_closed());
        }
        if self.exchange.unanswered() + self.waiting.len() >= MOST_WAITING {
            return question.end(Err(AskError::Full));
        }
        self.leave_old_path();
        self.waiting.push(question);
    }

    /// Another primary is in use: nobody waits for what the old one does not say.
    fn leave_old_path(&mut self) {
        let path = self.route.borrow_and_update().path();
        if path != self.path {
            self.path = path;
            self.fail(&AskError::Closed);
        }
    }

    fn give_up_in_silence(&mut self) {
        let timeout = self.route.borrow().timeout;
        let Some((oldest, _)) = self.exchange.waits_since() else { return };
        self.look = oldest + timeout;
        if self.look <= Instant::now() {
            self.fail(&AskError::Silent(timeout));
        }
    }

    /// Asks where it is this zone's turn, gives the connection back where all is answered, and takes one where questions wait.
    fn pump(&mut self) {
        let Route { update, primary, source, timeout } = &*self.route.borrow();
        if self.exchange.has_turn() {
            if self.exchange.unanswered() == 0 {
                self.look = Instant::now() + *timeout;
            }
            for question in self.waiting.drain(..).filter(|question| !question.answer.is_closed()) {
                let signer = question.signer.as_ref().unwrap_or(update.signer());
                match signer.sign(&question.message, self.exchange.fresh_id()) {
                    Ok(signed) => self.exchange.send(question, signed),
                    Err(error) => question.end(Err(error.into())),
                }
            }
        }
        self.exchange.rest();
        if self.exchange.is_closed() && !self.waiting.is_empty() {
            self.exchange.open(&self.pool, primary.clone(), *source, *timeout / 2);
        }
    }

    fn fail(&mut self, error: &AskError) {
        for (question, is_doubtful) in self.exchange.close() {
            question.end(Err(if is_doubtful { AskError::Unsigned } else { error.clone() }));
        }
        self.waiting.drain(..).for_each(|question| question.end(Err(error.clone())));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex, split};
    use tokio::sync::watch;

    use super::super::message::query;
    use super::super::network::{Connecting, Network, Stream};
    use super::*;
    use crate::model::{KeyName, TsigKey, ZoneName};

    const TIMEOUT: Duration = Duration::from_secs(2);

    /// Closes so many connections in place of an answer; from then on answers the first question of each.
    #[derive(Debug)]
    struct Closing(AtomicUsize);

    impl Network for Closing {
        fn connect(&self, _: Primary, _: Option<IpAddr>, _: Duration) -> Connecting {
            let closes = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok();
            let (ours, mut theirs) = duplex(1024);
            tokio::spawn(async move {
                let mut frame = vec![0; theirs.read_u16().await.unwrap().into()];
                theirs.read_exact(&mut frame).await.unwrap();
                if !closes {
                    // The question, as a response.
                    frame[2] |= 0x80;
                    theirs.write_all(&[&(frame.len() as u16).to_be_bytes()[..], &frame].concat()).await.unwrap();
                    std::future::pending::<()>().await;
                }
            });
            let (read, write) = split(ours);
            Box::pin(async { Ok(Stream { read: Box::new(read), write: Box::new(write) }) })
        }
    }

    fn reader(closes: usize) -> Reader {
        let key = TsigKey::new(KeyName::parse("k").unwrap(), "hmac-sha256".parse().unwrap(), "c2VjcmV0").unwrap();
        let update = Update::new(ZoneName::parse("dyn.example").unwrap(), Signer::new(&key).unwrap()).unwrap();
        let primary = Primary { host: "ns1.example".to_owned(), port: 53 };
        let route = Route { update: Arc::new(update), primary, source: None, timeout: TIMEOUT };
        Reader::start(Pool::new(Arc::new(Closing(closes.into()))), watch::Sender::new(route).subscribe())
    }

    async fn ask(reader: &Reader) -> Result<Box<Message>, AskError> {
        reader.ask_by(Some(Signer::unsigned()), query("dyn.example", RecordType::SOA).unwrap()).await
    }

    #[tokio::test(start_paused = true)]
    async fn a_question_survives_one_closed_connection_and_not_two() {
        ask(&reader(1)).await.unwrap();
        assert!(matches!(ask(&reader(2)).await, Err(AskError::Closed)));
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_told_after_its_time_and_a_false_answer_as_such() {
        let reader = reader(0);
        ask(&reader).await.unwrap();
        let began = Instant::now();
        assert!(
            matches!(ask(&reader).await, Err(AskError::Silent(TIMEOUT))),
            "the connection is kept, and says no more"
        );
        assert_eq!(began.elapsed(), TIMEOUT);
        let signed = reader.ask(query("dyn.example", RecordType::SOA).unwrap()).await;
        assert!(matches!(signed, Err(AskError::Unsigned)), "{signed:?}");
    }
}
