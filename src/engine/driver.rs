//! The task behind a zone queue: it owns the connection to the primary in use, moves messages, and keeps the time.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tracing::{debug, info, warn};

use super::blame::advice;
use super::cache::{UnderWay, VerifiedCache};
use super::entry::{Parked, Verdict, Waiter};
use super::flight::{FlightEnd, FlightId, Next};
use super::health::PrimaryHealth;
use super::jitter::Jitter;
use super::late::Swap;
use super::queue::{ToProve, ZoneQueue};
use super::selection::PrimarySelection;
use super::settings::Settings;
use super::{Change, Ended, Trouble, proven};
use crate::config::Primary;
use crate::dns::{AskError, EncodeError, Event, Exchange, Failure, Pool, Proof, Reader, signed_in};
use crate::metrics::ZoneMetrics;
use crate::model::{Hostname, Timestamp, ZoneName};

/// A primary that is down is tried every second, and by the next change no sooner than this after the last try.
const RETRY: Duration = Duration::from_secs(1);
const RETRY_FOR_A_CHANGE: Duration = Duration::from_millis(100);
/// The same complaint about a zone is logged once in this time.
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);
/// Names that are read back at once: as many as a message has, and a fraction of what the reader takes.
const MOST_READS: usize = 256;
/// Between two looks for what nobody waits for any longer.
const SWEEP: Duration = Duration::from_millis(250);

pub(super) struct Driver {
    pub(super) pool: Pool,
    pub(super) reader: Reader,
    pub(super) jitter: Jitter,
    pub(super) selection: PrimarySelection,
    // What the selection shall go by.
    pub(super) settings: watch::Receiver<Arc<Settings>>,
    pub(super) cache: Arc<VerifiedCache>,
    pub(super) queue: ZoneQueue,
    pub(super) orders: mpsc::Receiver<Order>,
    // What ends while nobody waits for it.
    pub(super) ended: mpsc::UnboundedSender<Vec<Ended>>,
    pub(super) problem: Arc<Mutex<Option<String>>>,
    pub(super) health: Arc<PrimaryHealth>,
    pub(super) metrics: ZoneMetrics,
}

/// What a zone's driver is told.
#[derive(Debug)]
pub(super) enum Order {
    /// To make a change.
    Change(ChangeOrder),
    /// To make several, which are to travel together.
    Changes(Vec<ChangeOrder>),
    /// To compare and swap.
    Swap(Swap),
    /// To list what nobody waits for.
    List { after: Option<Hostname>, most: usize, answer: oneshot::Sender<Vec<Parked>> },
    /// To do what was decided of it.
    Settle(Vec<(Parked, Verdict)>, oneshot::Sender<()>),
    /// To park all that is not in flight.
    ParkAll(oneshot::Sender<()>),
}

/// A change to be made; without a waiter it is parked, and the store has a row of it.
#[derive(Debug)]
pub(super) struct ChangeOrder {
    pub(super) change: Change,
    pub(super) waiter: Option<Waiter>,
    pub(super) row: Option<Timestamp>,
    pub(super) under_way: UnderWay,
}

/// What the driver knows of its connection and what is on it.
struct Running {
    driver: Driver,
    exchange: Exchange<FlightId>,
    // The reads of what was acknowledged.
    proofs: JoinSet<(Hostname, Result<Proof, AskError>)>,
    // There where the primary in use is down.
    retry: Option<Retry>,
    // A change came since the last attempt to connect.
    fresh_change: bool,
    complained: Option<(Failure, Instant)>,
    // The same of what was acknowledged, and is not served.
    told_unserved: Option<(Trouble, Instant)>,
    // Connections in a row that were lost with messages on them and without an answer.
    fruitless: u32,
    // Primaries in a row that could not be reached.
    unreached: usize,
    // The connection takes no more messages, and is left once all are answered, at the latest then.
    leave_by: Option<Instant>,
    swept: Instant,
    // Every handle of the zone is gone.
    closing: bool,
}

/// When it was last tried to connect, and when it is to be tried again.
struct Retry {
    last: Instant,
    next: Instant,
}

impl ChangeOrder {
    fn submit(self, queue: &mut ZoneQueue, now: Instant) {
        let Self { change, waiter, row, under_way } = self;
        queue.submit(&change, waiter, row, under_way, now);
    }
}

impl Driver {
    /// Runs until every handle of the zone is gone and what is in flight has ended.
    pub(super) async fn run(self) {
        let now = Instant::now();
        let mut running = Running {
            driver: self,
            exchange: Exchange::default(),
            proofs: JoinSet::new(),
            // The first try at once: an operator wants to read at the start that a primary cannot be reached.
            retry: Some(Retry { last: now, next: now }),
            fresh_change: false,
            complained: None,
            told_unserved: None,
            fruitless: 0,
            unreached: 0,
            leave_by: None,
            swept: now,
            closing: false,
        };
        loop {
            let now = Instant::now();
            running.pump(now);
            if running.closing && running.driver.queue.in_flight() == 0 && !running.driver.queue.is_proving() {
                running.driver.queue.close(now);
                return running.report_ended();
            }
            let wake = running.next_wake(now);
            tokio::select! {
                // Answers first: they open the window for changes.
                biased;
                event = running.exchange.next() => running.handle(event, Instant::now()),
                Some(read) = running.proofs.join_next() => {
                    read.into_iter().for_each(|read| running.read_back(read, Instant::now()));
                    while let Some(read) = running.proofs.try_join_next() {
                        read.into_iter().for_each(|read| running.read_back(read, Instant::now()));
                    }
                }
                Ok(()) = running.driver.settings.changed() => running.take_settings(Instant::now()),
                order = running.driver.orders.recv(), if !running.closing => match order {
                    Some(order) => running.take(order),
                    None => running.closing = true,
                },
                () = running.driver.health.doubted() => running.driver.queue.doubt_primary(),
                () = sleep_until(wake) => {}
            }
        }
    }
}

impl Running {
    fn take(&mut self, first: Order) {
        let now = Instant::now();
        let mut next = Some(first);
        // What has arrived together travels together.
        while let Some(order) = next {
            let queue = &mut self.driver.queue;
            match order {
                Order::Change(order) => {
                    self.fresh_change = true;
                    order.submit(queue, now);
                }
                Order::Changes(orders) => {
                    self.fresh_change = true;
                    orders.into_iter().for_each(|order| order.submit(queue, now));
                }
                Order::Swap(swap) => queue.swap(swap),
                Order::List { after, most, answer } => {
                    queue.sweep(now);
                    self.driver.health.set_parked(queue.parked_count());
                    let _asker_gone = answer.send(queue.parked(after.as_ref(), most, now));
                }
                Order::Settle(verdicts, done) => {
                    queue.settle(verdicts, now);
                    let _asker_gone = done.send(());
                }
                Order::ParkAll(done) => {
                    queue.park_all(now);
                    let _asker_gone = done.send(());
                }
            }
            next = self.driver.orders.try_recv().ok();
        }
    }

    /// Tells the gateway what ended while nobody waited for it.
    fn report_ended(&mut self) {
        let ended = self.driver.queue.take_ended();
        if !ended.is_empty() {
            let _nobody_asks = self.driver.ended.send(ended);
        }
    }

    fn handle(&mut self, event: Event<FlightId>, now: Instant) {
        match event {
            Event::Answer(flight, Ok(message)) => {
                if let Some(second) = signed_in(&message) {
                    let ours = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                    let subsecond = Duration::from_nanos(ours.subsec_nanos().into());
                    self.driver.queue.told_time(flight, second, subsecond, now);
                }
                self.done(flight, now);
            }
            Event::Answer(flight, Err(failure)) => self.failed(flight, failure, now),
            Event::Opened => {
                self.unreached = 0;
                self.driver.health.reached();
                if self.fruitless == 0 && self.set_up(true) {
                    self.driver.health.set_problem(None);
                    debug!(zone = %self.zone(), primary = %self.primary(), "connected");
                }
            }
            Event::Unreachable(error) => {
                if self.unwell(&error) {
                    warn!(
                        zone = %self.zone(), primary = %self.primary(), %error,
                        "primary cannot be reached; changes wait and are answered 911 by their deadline"
                    );
                }
                self.driver.queue.unreachable(now);
                self.unreachable(now);
            }
            Event::Unbelieved { reason, is_first: true } => {
                warn!(zone = %self.zone(), primary = %self.primary(), reason, "an answer is not believed");
            }
            Event::Unbelieved { .. } => {}
            Event::Unasked => debug!(zone = %self.zone(), "an answer to no message of ours is ignored"),
            Event::NotDns => {
                warn!(zone = %self.zone(), primary = %self.primary(), "what came is not DNS; the connection is closed");
                self.unwell(&"what came is not DNS");
                self.lost(false, now);
                self.unreachable(now);
            }
            Event::Closed(error) => {
                let cut_short = self.driver.queue.in_flight() > 0;
                // A primary closes idle connections, and may do so while a message is on its way to it: once is normal.
                if cut_short && self.fruitless > 0 {
                    warn!(
                        zone = %self.zone(), primary = %self.primary(), %error,
                        "the connection was lost again before any answer; its changes are sent again"
                    );
                } else {
                    debug!(zone = %self.zone(), primary = %self.primary(), %error, cut_short, "connection closed");
                }
                self.fruitless += u32::from(cut_short);
                self.lost(false, now);
                if self.fruitless > 1 {
                    self.unwell(&error);
                    self.unreachable(now);
                }
            }
        }
    }

    /// Sends what may leave, connects where there is work, and gives up a primary that is silent.
    fn pump(&mut self, now: Instant) {
        // What is submitted after a reload finds the new settings in force.
        if self.driver.settings.has_changed().unwrap_or(false) {
            self.take_settings(now);
        }
        for flight in self.driver.queue.newly_overdue(now) {
            self.driver.metrics.ended(self.in_vain(flight), self.deadline().as_secs_f64());
        }
        self.give_up_in_silence(now);
        if self.leave_by.is_some_and(|by| by <= now || self.driver.queue.in_flight() == 0) {
            self.leave(now);
        }
        if self.leave_by.is_none() && self.exchange.has_turn() {
            while let Some(flight) = self.driver.queue.depart(now) {
                self.send(flight, now);
            }
        }
        while self.proofs.len() < MOST_READS
            && let Some(ToProve { name, records, is_alike }) = self.driver.queue.next_to_prove()
        {
            let reader = self.driver.reader.clone();
            self.proofs.spawn(async move {
                let proof = reader.proof(&name, &records, is_alike).await;
                (name, proof)
            });
        }
        self.exchange.rest();
        if self.exchange.is_closed() && self.is_connection_due(now) {
            self.connect();
        }
        if self.driver.queue.pending() == 0 {
            self.driver.health.set_parked(0);
        } else if now >= self.swept + SWEEP {
            self.swept = now;
            self.driver.queue.sweep(now);
            // Looks at each name that is in flight: too much for each turn of a storm.
            self.driver.health.set_parked(self.driver.queue.parked_count());
        }
        self.report_ended();
        self.driver.metrics.pending.set(i64::try_from(self.driver.queue.pending()).unwrap_or(i64::MAX));
    }

    /// Whether there is work, or where the primary is down, whether it is time to try again.
    fn is_connection_due(&mut self, now: Instant) -> bool {
        let Some(Retry { last, next }) = &mut self.retry else { return self.driver.queue.has_work(now) };
        if self.fresh_change {
            *next = (*next).min(*last + RETRY_FOR_A_CHANGE);
        }
        *next <= now
    }

    fn next_wake(&self, now: Instant) -> Instant {
        // Past the first deadline, looking now and then is enough.
        let look_again = |sent: Instant| (sent + self.deadline()).max(now + RETRY_FOR_A_CHANGE);
        let overdue = self.driver.queue.oldest_flight().map(look_again);
        let retry = self.retry.as_ref().map(|retry| retry.next);
        let sweep = (self.driver.queue.waiting() > 0).then(|| self.swept + SWEEP);
        [overdue, retry, self.leave_by, sweep, self.driver.queue.next_rest_end(now)]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or(now + Duration::from_secs(3600))
    }

    /// Gives a connection up where nothing comes any longer, and where one message was dropped between others that were
    /// answered: its names would stay locked for ever.
    fn give_up_in_silence(&mut self, now: Instant) {
        let Some((oldest, heard)) = self.exchange.waits_since() else { return };
        let is_silent = now.saturating_duration_since(heard) >= self.deadline() * 2;
        let is_dropped = now.saturating_duration_since(oldest) >= self.deadline() * 4;
        if is_silent {
            warn!(
                zone = %self.zone(), primary = %self.primary(),
                "no answer for two deadlines; the connection is given up"
            );
            self.unwell(&"no answer for two deadlines");
            self.lost(false, now);
            self.use_next_primary(now);
        } else if is_dropped {
            warn!(
                zone = %self.zone(), primary = %self.primary(),
                "one update had no answer for four deadlines, though others had; the connection is opened anew"
            );
            self.lost(false, now);
        }
    }

    /// Goes by what a reload brought. Messages in flight are verified with the key that signed them; the next are signed
    /// with the new one.
    fn take_settings(&mut self, now: Instant) {
        let new = Arc::clone(&self.driver.settings.borrow_and_update());
        let before = self.driver.selection.take(Arc::clone(&new));
        self.driver.queue.set_limits(new.deadline, new.zone.primaries.len());
        for gone in before.zone.primaries.iter().filter(|primary| !new.zone.primaries.contains(primary)) {
            self.driver.metrics.forget_primary(&gone.to_string());
        }
        (self.complained, self.told_unserved) = (None, None);
        // The key chooses the view (BIND).
        if before.zone.key != self.driver.selection.settings().zone.key {
            self.distrust(now);
        }
        if before.zone.source != new.zone.source || !self.driver.selection.is_listed() {
            // A message that is sent again may be overtaken by its first copy: most are answered in time.
            self.leave_by = Some(now + new.deadline / 4);
        }
    }

    /// Ends the connection that a reload made wrong; what is still unanswered is sent again on the next one.
    fn leave(&mut self, now: Instant) {
        self.leave_by = None;
        self.lost(true, now);
        if !self.driver.selection.is_listed() {
            self.use_next_primary(now);
        }
        self.retry = Some(Retry { last: now, next: now });
    }

    fn connect(&mut self) {
        (self.fresh_change, self.retry) = (false, None);
        let (primary, source) = (self.primary().clone(), self.driver.selection.settings().zone.source);
        self.exchange.open(&self.driver.pool, primary, source, self.deadline() / 2);
    }

    /// Sends a flight: the change of its names, a compare and swap, or where nothing is to be changed, a probe.
    fn send(&mut self, flight: FlightId, now: Instant) {
        let queue = &mut self.driver.queue;
        let update = &self.driver.selection.settings().update;
        let names = queue.names(flight);
        let id = self.exchange.fresh_id();
        let signed = match queue.swaps(flight) {
            Some((expected, change)) => update.compare_and_swap(id, expected, &change),
            None if names > 0 => update.replace(id, &queue.updates(flight)),
            None => update.probe(id),
        };
        match signed {
            Ok(signed) => {
                self.driver.metrics.sent(names);
                self.exchange.send(flight, signed);
            }
            Err(EncodeError::TooLarge) if names > 1 => queue.too_large(flight),
            // Not reachable for checked names.
            Err(error) => {
                queue.drop_flight(flight, now);
                warn!(zone = %self.zone(), %error, "an update cannot be encoded");
            }
        }
    }

    /// The connection has ended, by us or in whatever other way.
    fn lost(&mut self, by_us: bool, now: Instant) {
        self.retry = None;
        for (flight, took) in self.driver.queue.connection_lost(by_us, now) {
            self.driver.metrics.ended(self.in_vain(flight), took.as_secs_f64());
        }
        drop(self.exchange.close());
    }

    /// The primary in use does not serve: the next in the list, or a pause where all were tried.
    fn unreachable(&mut self, now: Instant) {
        self.unreached += 1;
        self.driver.health.lost();
        self.use_next_primary(now);
        let all_tried = self.unreached >= self.driver.selection.settings().zone.primaries.len();
        let pause = if all_tried { self.driver.jitter.shorten(RETRY) } else { Duration::ZERO };
        self.retry = Some(Retry { last: now, next: now + pause });
    }

    fn use_next_primary(&mut self, now: Instant) {
        if self.driver.selection.next() {
            self.distrust(now);
            info!(zone = %self.zone(), primary = %self.primary(), "using the next primary");
        }
    }

    /// Another primary, or another view of it: nothing counts that was seen or read of the names.
    fn distrust(&mut self, now: Instant) {
        self.proofs = JoinSet::new();
        self.driver.cache.forget_all();
        self.driver.queue.primary_changed(now);
    }

    fn zone(&self) -> &ZoneName {
        &self.driver.selection.settings().zone.name
    }

    fn deadline(&self) -> Duration {
        self.driver.selection.settings().deadline
    }

    fn primary(&self) -> &Primary {
        self.driver.selection.primary()
    }

    /// The primary in use answers.
    fn well(&mut self) {
        self.set_up(true);
        self.driver.health.set_problem(None);
        self.note(None);
    }

    /// The primary in use does not; whether that is news.
    fn unwell(&mut self, problem: &dyn std::fmt::Display) -> bool {
        self.driver.health.set_problem(Some(format!("{}: {problem}", self.primary())));
        self.set_up(false)
    }

    /// Notes whether the primary in use was reached; whether that is news.
    fn set_up(&mut self, up: bool) -> bool {
        let is_news = self.driver.selection.set_up(up);
        if is_news {
            self.driver.metrics.primary_up(&self.primary().to_string()).set(i64::from(up));
        }
        is_news
    }

    fn note(&self, problem: Option<String>) {
        let is_well = problem.is_none();
        let before =
            std::mem::replace(&mut *self.driver.problem.lock().unwrap_or_else(PoisonError::into_inner), problem);
        if is_well && before.is_some() {
            self.driver.health.is_usable_again();
        }
    }

    // ---- What the primary says.

    fn done(&mut self, flight: FlightId, now: Instant) {
        self.fruitless = 0;
        if self.driver.queue.puts_right(flight) {
            info!(zone = %self.zone(), primary = %self.primary(), "a compare and swap put a record right");
        }
        if let Some(ended) = self.driver.queue.acknowledged(flight, now) {
            self.count("NOERROR", &ended);
            if ended.counted {
                // Late: its caller was told 911, and it may be what was deferred.
                self.driver.health.is_usable_again();
            }
        }
        self.complained = None;
        self.well();
    }

    fn failed(&mut self, flight: FlightId, failure: Failure, now: Instant) {
        self.fruitless = 0;
        let names = self.driver.queue.names(flight);
        let due = |(last, at): &(Failure, Instant)| *last != failure || now.duration_since(*at) >= COMPLAIN_EVERY;
        let is_expected = self.driver.queue.swaps(flight).is_some();
        if !is_expected && self.complained.as_ref().is_none_or(due) {
            self.complained = Some((failure, now));
            // A key may have the right to one type alone.
            let types: BTreeSet<_> =
                self.driver.queue.updates(flight).iter().map(|update| update.rtype.as_str()).collect();
            let types = types.into_iter().collect::<Vec<_>>().join("+");
            warn!(
                zone = %self.zone(), primary = %self.primary(), key = %self.driver.selection.settings().zone.key.name,
                answer = %failure, names, types, advice = advice(failure), "the primary answered an update with an error"
            );
        }
        let Some(ended) = self.driver.queue.failed(flight, failure, now) else { return };
        self.count(&failure.rcode.to_string(), &ended);
        if ended.is_zones {
            self.note(Some(format!("{} answers {failure}: {}", self.primary(), advice(failure))));
        }
        match ended.next {
            Next::Stay => {}
            Next::Probe(probe) => self.send(probe, now),
            Next::Switch => {
                self.lost(true, now);
                self.use_next_primary(now);
            }
        }
    }

    /// What the primary serves of a change that it acknowledged.
    fn read_back(&mut self, (name, proof): (Hostname, Result<Proof, AskError>), now: Instant) {
        let served = proven(&proof);
        let has_failed = self.driver.queue.read_back(&name, served, now);
        let Err(trouble) = served else { return };
        let due = |(last, at): &(Trouble, Instant)| *last != trouble || now.duration_since(*at) >= COMPLAIN_EVERY;
        if !has_failed || !self.told_unserved.as_ref().is_none_or(due) {
            return;
        }
        self.told_unserved = Some((trouble, now));
        let (found, advice) = match proof {
            Ok(Proof::Elsewhere(apex)) => (
                format!("the zone {apex} on the primary lies over the name"),
                "give that zone a [[zone]] of its own here, or remove it from the primary",
            ),
            Ok(_) => (
                "the zone does not hold what was acknowledged".to_owned(),
                "a policy of the primary drops the change without an error (PowerDNS: lua-dnsupdate-policy-script): let it \
                 permit this key the name and the record type",
            ),
            Err(error) if error.leads_to_next_primary() => {
                (error.to_string(), "see that the primary answers queries, on a second connection (TCP)")
            }
            Err(error) => (error.to_string(), "let the key query the zone at the primary"),
        };
        warn!(
            zone = %self.zone(), primary = %self.primary(), key = %self.driver.selection.settings().zone.key.name,
            host = %name, found, advice, "the primary acknowledged a change, and it is not seen to be served"
        );
    }

    fn count(&self, rcode: &str, ended: &FlightEnd) {
        if !ended.counted {
            self.driver.metrics.ended(rcode, ended.took.as_secs_f64());
        }
    }

    /// The label for a flight that was not answered, or not in a way to believe.
    fn in_vain(&self, flight: FlightId) -> &'static str {
        if self.exchange.is_doubtful(|of| *of == flight) { "unsigned" } else { "timeout" }
    }
}
