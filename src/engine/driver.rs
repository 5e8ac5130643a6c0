//! The task behind a lane: it owns the connection to the primary in use, moves messages, and keeps the time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tracing::{debug, info, warn};

use super::blame::advice;
use super::course::Course;
use super::entry::Handed;
use super::flight::{Ended, FlightId, Next};
use super::jitter::Jitter;
use super::lane::Lane;
use super::link::{Happened, Link};
use super::memory::Memory;
use super::reach::Reach;
use super::settings::Settings;
use crate::config::Primary;
use crate::dns::{EncodeError, Event, Failure, Pool, Reply, Signed, Verifier, classify, id_of};
use crate::metrics::ZoneMetrics;
use crate::model::ZoneName;

/// A primary that is down is tried every second, and by the next change no sooner than this after the last try.
const RETRY: Duration = Duration::from_secs(1);
const RETRY_FOR_A_CHANGE: Duration = Duration::from_millis(100);
/// The same complaint about a zone is logged once in this time.
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);

pub(super) struct Driver {
    pub(super) pool: Pool,
    pub(super) jitter: Jitter,
    pub(super) course: Course,
    // What the course shall go by.
    pub(super) settings: watch::Receiver<Arc<Settings>>,
    pub(super) memory: Arc<Memory>,
    pub(super) lane: Lane,
    pub(super) changes: mpsc::Receiver<Handed>,
    pub(super) problem: Arc<Mutex<Option<String>>>,
    pub(super) reach: Arc<Reach>,
    pub(super) metrics: ZoneMetrics,
}

/// What the driver knows of its connection and what is on it.
struct Running {
    driver: Driver,
    link: Link,
    asked: HashMap<u16, Asked>,
    // A change came since the last attempt to connect.
    fresh_change: bool,
    complained: Option<(Failure, Instant)>,
    // Connections in a row that were lost with messages on them and without an answer.
    fruitless: u32,
    // Primaries in a row that could not be reached.
    unreached: usize,
    // The connection takes no more messages, and is left once all are answered, at the latest then.
    leave_by: Option<Instant>,
    // Every handle of the zone is gone.
    closing: bool,
}

struct Asked {
    flight: FlightId,
    verifier: Verifier,
    unsigned_seen: bool,
}

impl Driver {
    /// Runs until every handle of the zone is gone and what is in flight has ended.
    pub(super) async fn run(self) {
        let now = Instant::now();
        let mut running = Running {
            driver: self,
            // The first try at once: an operator wants to read at the start that a primary cannot be reached.
            link: Link::Down { last_try: now, next_try: now },
            asked: HashMap::new(),
            fresh_change: false,
            complained: None,
            fruitless: 0,
            unreached: 0,
            leave_by: None,
            closing: false,
        };
        loop {
            let now = Instant::now();
            running.pump(now);
            if running.closing && running.driver.lane.in_flight() == 0 {
                return;
            }
            let wake = running.next_wake(now);
            tokio::select! {
                // Answers first: they open the window for changes.
                biased;
                happened = running.link.next() => running.handle(happened, Instant::now()),
                Ok(()) = running.driver.settings.changed() => running.take_settings(Instant::now()),
                handed = running.driver.changes.recv(), if !running.closing => match handed {
                    Some(handed) => running.take(handed),
                    None => running.closing = true,
                },
                () = running.driver.reach.doubted() => running.driver.lane.doubt_primary(),
                () = sleep_until(wake) => {}
            }
        }
    }
}

impl Running {
    fn take(&mut self, first: Handed) {
        let now = Instant::now();
        let mut next = Some(first);
        // What has arrived together travels together.
        while let Some(handed) = next {
            match handed {
                Handed::Change(waiter) => {
                    self.fresh_change = true;
                    self.driver.lane.submit(waiter, now);
                }
                Handed::Undo(undo) => self.driver.lane.undo(undo),
            }
            next = self.driver.changes.try_recv().ok();
        }
    }

    fn handle(&mut self, happened: Happened, now: Instant) {
        match happened {
            Happened::Leased(Ok(lease)) => {
                self.link = Link::Up { lease, heard: now, is_used: false };
                self.unreached = 0;
                self.driver.reach.reached();
                // A complaint of another kind stays until a change succeeds.
                if self.fruitless == 0 && self.set_up(true) {
                    self.note(None);
                    debug!(zone = %self.zone(), primary = %self.primary(), "connected");
                }
            }
            Happened::Leased(Err(error)) => {
                if self.unwell(&error) {
                    warn!(
                        zone = %self.zone(), primary = %self.primary(), %error,
                        "primary cannot be reached; changes wait and are answered 911 by their deadline"
                    );
                }
                self.driver.lane.forget_unwanted(now);
                self.unreachable(now);
            }
            Happened::Event(Some(Event::Frame(octets))) => self.frame(&octets, now),
            Happened::Event(Some(Event::Closed(error))) => {
                let cut_short = self.driver.lane.in_flight() > 0;
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
            Happened::Event(None) => self.lost(false, now),
        }
    }

    /// Sends what may leave, connects where there is work, and gives up a primary that is silent.
    fn pump(&mut self, now: Instant) {
        // What is submitted after a reload finds the new settings in force.
        if self.driver.settings.has_changed().unwrap_or(false) {
            self.take_settings(now);
        }
        for flight in self.driver.lane.newly_overdue(now) {
            self.driver.metrics.ended(self.in_vain(flight), self.deadline().as_secs_f64());
        }
        self.give_up_in_silence(now);
        if self.leave_by.is_some_and(|by| by <= now || self.driver.lane.in_flight() == 0) {
            self.leave(now);
        }
        match &mut self.link {
            Link::Idle if self.driver.lane.has_work(now) => self.connect(),
            Link::Down { last_try, next_try } => {
                if self.fresh_change {
                    *next_try = (*next_try).min(*last_try + RETRY_FOR_A_CHANGE);
                }
                if *next_try <= now {
                    self.connect();
                }
            }
            // Others wait, and this zone has had its turn.
            Link::Up { lease, is_used: true, .. } if lease.is_wanted() => {}
            Link::Up { .. } if self.leave_by.is_none() => {
                while matches!(self.link, Link::Up { .. })
                    && let Some(flight) = self.driver.lane.depart(now)
                {
                    self.send(flight, now);
                }
            }
            Link::Idle | Link::Connecting(_) | Link::Up { .. } => {}
        }
        if self.asked.is_empty() && self.driver.lane.in_flight() == 0 {
            self.give_back(now);
        }
        self.driver.metrics.pending.set(i64::try_from(self.driver.lane.pending()).unwrap_or(i64::MAX));
    }

    fn next_wake(&self, now: Instant) -> Instant {
        // Past the first deadline, looking now and then is enough.
        let look_again = |sent: Instant| (sent + self.deadline()).max(now + RETRY_FOR_A_CHANGE);
        let overdue = self.driver.lane.oldest_flight().map(look_again);
        let retry = match &self.link {
            Link::Down { next_try, .. } => Some(*next_try),
            _ => None,
        };
        [overdue, retry, self.leave_by, self.driver.lane.next_rest_end(now)]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or(now + Duration::from_secs(3600))
    }

    /// Gives a connection up where nothing comes any longer, and where one message was dropped between others that were
    /// answered: its names would stay locked for ever.
    fn give_up_in_silence(&mut self, now: Instant) {
        let (Link::Up { heard, .. }, Some(oldest)) = (&self.link, self.driver.lane.oldest_flight()) else { return };
        let is_silent = now.saturating_duration_since(oldest.max(*heard)) >= self.deadline() * 2;
        let is_dropped = now.saturating_duration_since(oldest) >= self.deadline() * 4;
        if is_silent {
            warn!(
                zone = %self.zone(), primary = %self.primary(),
                "no answer for two deadlines; the connection is given up"
            );
            self.unwell(&"no answer for two deadlines");
            self.lost(false, now);
            self.use_next_primary();
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
        let before = self.driver.course.take(Arc::clone(&new));
        self.driver.lane.set_course(new.deadline, new.zone.primaries.len());
        for gone in before.zone.primaries.iter().filter(|primary| !new.zone.primaries.contains(primary)) {
            self.driver.metrics.forget_primary(&gone.to_string());
        }
        self.complained = None;
        if before.zone.source != new.zone.source || !self.driver.course.is_listed() {
            // A message that is sent again may be overtaken by its first copy: most are answered in time.
            self.leave_by = Some(now + new.deadline / 4);
        }
    }

    /// Ends the connection that a reload made wrong; what is still unanswered is sent again on the next one.
    fn leave(&mut self, now: Instant) {
        self.leave_by = None;
        self.lost(true, now);
        if !self.driver.course.is_listed() {
            self.use_next_primary();
        }
        self.link = Link::Down { last_try: now, next_try: now };
    }

    fn connect(&mut self) {
        self.fresh_change = false;
        let primary = self.primary().clone();
        let source = self.driver.course.settings().zone.source;
        let limit = self.deadline() / 2;
        let pool = self.driver.pool.clone();
        self.link = Link::Connecting(Box::pin(async move { pool.lease(primary, source, limit).await }));
    }

    /// Nothing is to be sent, or it is the turn of others, behind whom this zone queues again.
    fn give_back(&mut self, now: Instant) {
        match std::mem::replace(&mut self.link, Link::Idle) {
            Link::Up { lease, .. } => lease.give_back(),
            other => self.link = other,
        }
        if matches!(self.link, Link::Idle) && self.driver.lane.has_work(now) {
            self.connect();
        }
    }

    /// Sends a flight: the change of its names, a look for what came late, or where nothing is to be changed, a probe.
    fn send(&mut self, flight: FlightId, now: Instant) {
        let Link::Up { lease, is_used, .. } = &mut self.link else { return self.lost(false, now) };
        let id = lease.fresh_id(|id| self.asked.contains_key(&id));
        let lane = &mut self.driver.lane;
        let update = &self.driver.course.settings().update;
        let signed = match (lane.undoes(flight), lane.writes(flight).as_slice()) {
            (Some(lost), [write]) => update.replace_where(id, lost, write),
            (None, writes) if lane.names(flight) > 0 => update.replace(id, writes),
            _ => update.probe(id),
        };
        match signed {
            Ok(Signed { octets, verifier }) => {
                self.driver.metrics.sent(lane.names(flight));
                self.asked.insert(id, Asked { flight, verifier, unsigned_seen: false });
                *is_used = true;
                if !lease.send(&octets) {
                    self.lost(false, now);
                }
            }
            Err(EncodeError::TooLarge) if lane.names(flight) > 1 => lane.too_large(flight),
            // Not reachable for checked names.
            Err(error) => {
                lane.drop_flight(flight, now);
                warn!(zone = %self.zone(), %error, "an update cannot be encoded");
            }
        }
    }

    /// The connection has ended, by us or in whatever other way.
    fn lost(&mut self, by_us: bool, now: Instant) {
        self.link = Link::Idle;
        for (flight, took) in self.driver.lane.connection_lost(by_us, now) {
            self.driver.metrics.ended(self.in_vain(flight), took.as_secs_f64());
        }
        self.asked.clear();
    }

    /// The primary in use does not serve: the next in the list, or a pause where all were tried.
    fn unreachable(&mut self, now: Instant) {
        self.unreached += 1;
        self.driver.reach.lost();
        self.use_next_primary();
        let all_tried = self.unreached >= self.driver.course.settings().zone.primaries.len();
        let pause = if all_tried { self.driver.jitter.shorten(RETRY) } else { Duration::ZERO };
        self.link = Link::Down { last_try: now, next_try: now + pause };
    }

    fn use_next_primary(&mut self) {
        if self.driver.course.next() {
            self.driver.memory.forget_all();
            self.driver.lane.primary_changed();
            info!(zone = %self.zone(), primary = %self.primary(), "using the next primary");
        }
    }

    fn zone(&self) -> &ZoneName {
        &self.driver.course.settings().zone.name
    }

    fn deadline(&self) -> Duration {
        self.driver.course.settings().deadline
    }

    fn primary(&self) -> &Primary {
        self.driver.course.primary()
    }

    /// The primary in use answers.
    fn well(&mut self) {
        self.set_up(true);
        self.note(None);
    }

    /// The primary in use does not; whether that is news.
    fn unwell(&mut self, problem: &dyn std::fmt::Display) -> bool {
        self.note(Some(format!("{}: {problem}", self.primary())));
        self.set_up(false)
    }

    /// Notes whether the primary in use was reached; whether that is news.
    fn set_up(&mut self, up: bool) -> bool {
        let is_news = self.driver.course.set_up(up);
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
            self.driver.reach.is_usable_again();
        }
    }
}

mod answers;
