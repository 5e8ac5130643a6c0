//! One zone's changes: coalesced by name, gathered into batches, split where one is bad, sent again where a connection was
//! lost. Pure: no socket, and time comes in.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use super::Trouble;
use super::blame::{Blame, weigh};
use super::entry::{Entry, Waiter, answer, rrsets};
use super::flight::{Ended, Flight, FlightId, Group, History, Next, Purpose};
use super::memory::Memory;
use super::pace::Pace;
use super::ready::Ready;
use super::strays::{Strays, Undo};
use super::suspects::{Company, Suspects};
use crate::dns::{Failure, Rcode, RrsetWrite};
use crate::model::{Hostname, Records};

/// Messages in flight over different names: enough to hide a journal's fsync, few enough for BIND's `update-quota`.
pub(super) const WINDOW: usize = 4;
/// Names that wait in one lane; one more is turned away at once.
const MOST_WAITING: usize = 100_000;
/// Culprits in a row, without a success, after which a batch is not halved any further.
const MOST_CULPRITS_IN_A_ROW: u32 = 8;
/// How long SERVFAIL is given to pass.
const PAUSE: Duration = Duration::from_millis(100);
const REST: Duration = Duration::from_secs(1);

/// The state of one zone's changes.
#[derive(Debug)]
pub(super) struct Lane {
    deadline: Duration,
    primaries: usize,
    memory: Arc<Memory>,
    pace: Pace,
    suspects: Suspects,
    strays: Strays,
    // Names that are not in a message, each in one queue of `ready`, in a group of `again`, or behind a flight of its name.
    waiting: HashMap<Hostname, Entry>,
    ready: Ready,
    again: VecDeque<Group>,
    locked: HashSet<Hostname>,
    flights: HashMap<FlightId, Flight>,
    next_flight: FlightId,
    resting: HashMap<Company, Instant>,
    // The last message came from `again`: what is ready has its turn.
    again_had_its_turn: bool,
    // Somebody doubts the primary: the next message tells, whatever it is for.
    is_doubted: bool,
    // Until when the primary was last silent: a message took half of the deadline or more, or was lost.
    silent_until: Option<Instant>,
}

impl Lane {
    pub(super) fn new(deadline: Duration, primaries: usize, memory: Arc<Memory>) -> Self {
        Self {
            deadline,
            primaries,
            memory,
            pace: Pace::new(deadline),
            suspects: Suspects::default(),
            strays: Strays::new(deadline),
            waiting: HashMap::new(),
            ready: Ready::default(),
            again: VecDeque::new(),
            locked: HashSet::new(),
            flights: HashMap::new(),
            next_flight: 0,
            resting: HashMap::new(),
            again_had_its_turn: false,
            is_doubted: false,
            silent_until: None,
        }
    }

    /// Takes a change; it leaves with the next message that has room.
    pub(super) fn submit(&mut self, waiter: Waiter, now: Instant) {
        let name = waiter.wish.name.clone();
        if let Some(entry) = self.waiting.get_mut(&name) {
            // Whoever is gone may have been told less than others since: that the name holds what it does, for one.
            if entry.is_wanted() {
                entry.add(waiter);
            } else {
                *entry = Entry::new(waiter);
            }
            // An errand that a client now waits for leaves with those of clients.
            if !entry.is_errand() && self.ready.take_out(&Company::Errands, &name) {
                self.queue(name, now);
            }
            return;
        }
        if self.waiting.len() >= MOST_WAITING {
            return answer([waiter], |_| Err(Trouble::Overloaded));
        }
        self.waiting.insert(name.clone(), Entry::new(waiter));
        if !self.locked.contains(&name) {
            self.queue(name, now);
        }
    }

    /// Sees to it that the primary is asked something soon.
    pub(super) fn doubt_primary(&mut self) {
        self.is_doubted = true;
    }

    /// How many names wait or are in flight.
    pub(super) fn pending(&self) -> usize {
        self.waiting.len() + self.locked.len()
    }

    /// Whether a message would leave if there were a connection.
    pub(super) fn has_work(&self, now: Instant) -> bool {
        self.is_doubted
            || self.ready.has_company(|company| self.resting.get(company).is_none_or(|until| *until <= now))
            || self.again.iter().any(|group| group.may_leave(now))
            || self.strays.is_asked(|name| !self.waiting.contains_key(name) && !self.locked.contains(name))
            || self.strays.next_look().is_some_and(|look| look <= now)
    }

    /// Where its name holds exactly what was `lost`, it is to hold the newer `wish` of another gateway; asked once.
    pub(super) fn undo(&mut self, undo: Undo) {
        self.strays.undo_once(undo);
    }

    /// The next message, if the window has room and something may leave. Call [`Self::writes`] for its content.
    pub(super) fn depart(&mut self, now: Instant) -> Option<FlightId> {
        while self.flights.len() < WINDOW {
            let turn = if std::mem::take(&mut self.again_had_its_turn) { self.gather(now) } else { None };
            let (names, history) = match (turn, self.next_again(now)) {
                (Some(turn), group) => {
                    group.into_iter().for_each(|group| self.again.push_front(group));
                    turn
                }
                (None, Some(group)) => {
                    self.again_had_its_turn = true;
                    (group.names, group.history)
                }
                (None, None) => match self.gather(now) {
                    Some(gathered) => gathered,
                    None => return self.look_for_strays(now).or_else(|| self.call(now)),
                },
            };
            let entries: Vec<_> =
                names.into_iter().filter_map(|name| self.take_wanted(&name).map(|entry| (name, entry))).collect();
            if !entries.is_empty() {
                return Some(self.launch(entries, history, Purpose::Change, now));
            }
        }
        None
    }

    /// A message that only asks whether the primary answers, unless another tells.
    fn call(&mut self, now: Instant) -> Option<FlightId> {
        let is_needed = std::mem::take(&mut self.is_doubted) && self.flights.is_empty();
        is_needed.then(|| self.launch(Vec::new(), History::new(Company::Alone), Purpose::Call, now))
    }

    /// The records of a flight, for encoding.
    pub(super) fn writes(&self, flight: FlightId) -> Vec<RrsetWrite<'_>> {
        let entries = self.flights.get(&flight).map(|flight| flight.entries.as_slice()).unwrap_or_default();
        entries.iter().map(|(name, entry)| entry.write(name)).collect()
    }

    /// The names of a flight that is to change them; 0 for a probe.
    pub(super) fn names(&self, flight: FlightId) -> usize {
        match self.flights.get(&flight) {
            Some(Flight { purpose: Purpose::Change | Purpose::Undo(_), entries, .. }) => entries.len(),
            Some(Flight { purpose: Purpose::Probe(_) | Purpose::Call, .. }) | None => 0,
        }
    }

    /// The flight is larger than a message may be: it never left, and its halves follow.
    pub(super) fn too_large(&mut self, flight: FlightId) {
        let Some(Flight { entries, history, .. }) = self.flights.remove(&flight) else { return };
        self.pace.too_large(rrsets(&entries));
        self.regroup_halves(entries, &history);
    }

    /// The flight cannot be written at all.
    pub(super) fn drop_flight(&mut self, flight: FlightId, now: Instant) {
        if let Some(Flight { entries, .. }) = self.flights.remove(&flight) {
            self.fail_all(entries, Trouble::Overloaded, now);
        }
    }

    /// The primary acknowledged the flight, signed and verified.
    pub(super) fn acknowledged(&mut self, flight: FlightId, now: Instant) -> Option<Ended> {
        let Flight { entries, history, purpose, sent, overdue } = self.flights.remove(&flight)?;
        let took = self.heard(sent, now);
        match purpose {
            // The zone and the key are fine: one of the names is not.
            Purpose::Probe(failure) => self.blame_name(entries, &history, failure, now),
            Purpose::Undo(_) => self.look_is_over(entries, now),
            Purpose::Call => {}
            Purpose::Change => {
                self.pace.answered(rrsets(&entries), sent, now);
                history.culprits_in_a_row.store(0, Ordering::Relaxed);
                for (name, entry) in entries {
                    // An unguarded removal does not prove that the name is served.
                    if entry.write(&name).is_guarded() {
                        self.suspects.cleared(&name);
                    }
                    for wish in entry.wishes(&name) {
                        self.memory.verified(&wish, sent);
                    }
                    self.strays.accepted(&name, entry.wishes(&name), now);
                    self.unlock(&name, now);
                    entry.succeed();
                }
            }
        }
        Some(Ended { took, next: Next::Stay, counted: overdue, is_zones: false })
    }

    /// The primary answered the flight with an error.
    pub(super) fn failed(&mut self, flight: FlightId, failure: Failure, now: Instant) -> Option<Ended> {
        let Flight { entries, mut history, purpose, sent, overdue } = self.flights.remove(&flight)?;
        let took = self.heard(sent, now);
        let mut next = Next::Stay;
        let asks_about = match purpose {
            Purpose::Change => None,
            Purpose::Probe(failure) => Some(failure),
            Purpose::Call => {
                if weigh(failure) == Blame::Server && self.primaries > 1 {
                    next = Next::Switch;
                }
                return Some(Ended { took, next, counted: overdue, is_zones: true });
            }
            Purpose::Undo(undo) => {
                // What was lost does not stand there.
                if !matches!(failure.rcode, Rcode::NXRRSET | Rcode::YXRRSET) {
                    self.strays.unanswered(undo, now);
                }
                self.look_is_over(entries, now);
                return Some(Ended { took, next, counted: overdue, is_zones: false });
            }
        };
        let blame = weigh(failure);
        if blame == Blame::Server {
            // It may have been written all the same: by the backend, or behind a forwarding secondary.
            entries.iter().for_each(|(name, _)| self.memory.forget(name));
        }
        let is_zones = asks_about.is_some() || matches!(blame, Blame::Clock | Blame::Server | Blame::Zone);
        match (blame, asks_about) {
            (Blame::Clock, _) => self.fail_all(entries, Trouble::Failed(failure), now),
            (Blame::Server, None) if !history.tried_again => {
                // Several in halves, one as it is: PowerDNS answers so while its SQLite file is locked for a moment.
                history.tried_again = true;
                history.not_before = Some(now + PAUSE);
                self.regroup_halves(entries, &history);
            }
            (Blame::Server, _) if history.primaries_tried + 1 < self.primaries => {
                history.primaries_tried += 1;
                next = Next::Switch;
                self.regroup(entries, history);
            }
            (Blame::Server, _) => self.fail_all(entries, Trouble::Failed(failure), now),
            (_, Some(asked)) => self.fail_all(entries, Trouble::Refused(asked), now),
            (Blame::Zone, None) => self.fail_all(entries, Trouble::Refused(failure), now),
            (Blame::NameOrZone, None) => {
                next = Next::Probe(self.launch(entries, history, Purpose::Probe(failure), now))
            }
            (Blame::Name | Blame::Hidden, None) => self.blame_name(entries, &history, failure, now),
        }
        Some(Ended { took, next, counted: overdue, is_zones })
    }

    /// The flights whose deadline has passed since the last call.
    pub(super) fn newly_overdue(&mut self, now: Instant) -> Vec<FlightId> {
        let mut late = Vec::new();
        for (id, flight) in &mut self.flights {
            if !flight.overdue && now.saturating_duration_since(flight.sent) >= self.deadline {
                flight.overdue = true;
                late.push(*id);
            }
        }
        late
    }

    /// Another primary is in use: how fast it is nobody knows.
    pub(super) fn primary_changed(&mut self) {
        self.pace = Pace::new(self.deadline);
    }

    /// Other settings are in force.
    pub(super) fn set_course(&mut self, deadline: Duration, primaries: usize) {
        (self.deadline, self.primaries) = (deadline, primaries);
        self.pace.set_deadline(deadline);
        self.strays.set_deadline(deadline);
    }

    /// When the oldest flight left.
    pub(super) fn oldest_flight(&self) -> Option<Instant> {
        self.flights.values().map(|flight| flight.sent).min()
    }

    /// Whether any flight is under way.
    pub(super) fn in_flight(&self) -> usize {
        self.flights.len()
    }

    /// The first group that need not pause any longer.
    fn next_again(&mut self, now: Instant) -> Option<Group> {
        let position = self.again.iter().position(|group| group.may_leave(now))?;
        self.again.remove(position)
    }

    /// When a resting company or a pausing group may travel again, a few changes wait no longer, or strays are to be looked for.
    pub(super) fn next_rest_end(&self, now: Instant) -> Option<Instant> {
        let pauses = self.again.iter().filter_map(|group| group.history.not_before.as_ref());
        let rests = self.resting.values().chain(pauses).filter(|end| **end > now).min().copied();
        let look = self.strays.next_look().filter(|look| *look > now);
        [rests, self.gathers_until(now), look].into_iter().flatten().min()
    }

    /// Takes a name out of `waiting`, unless nobody waits for it any longer.
    fn take_wanted(&mut self, name: &Hostname) -> Option<Entry> {
        let mut entry = self.waiting.remove(name)?;
        if entry.is_wanted() {
            entry.in_flight = Some(self.memory.begin(name));
            self.locked.insert(name.clone());
            return Some(entry);
        }
        None
    }

    fn launch(
        &mut self,
        entries: Vec<(Hostname, Entry)>,
        history: History,
        purpose: Purpose,
        now: Instant,
    ) -> FlightId {
        let id = self.next_flight;
        self.next_flight += 1;
        self.is_doubted = false;
        self.flights.insert(id, Flight { entries, history, purpose, sent: now, overdue: false });
        id
    }

    fn fail_all(&mut self, entries: Vec<(Hostname, Entry)>, trouble: Trouble, now: Instant) {
        for (name, mut entry) in entries {
            if matches!(trouble, Trouble::Hidden(_))
                && let Some(removals) = entry.part_removals()
            {
                self.put_back(name.clone(), removals);
            }
            self.unlock(&name, now);
            entry.fail(trouble);
        }
    }

    /// Puts entries back to travel together again, before everyone else; newer wishes that came meanwhile win.
    fn regroup(&mut self, entries: Vec<(Hostname, Entry)>, history: History) {
        let mut names = Vec::with_capacity(entries.len());
        for (name, mut entry) in entries {
            self.locked.remove(&name);
            entry.in_flight = None;
            self.put_back(name.clone(), entry);
            names.push(name);
        }
        self.again.push_front(Group { names, history });
    }

    /// Lets an entry wait again, under what came for its name meanwhile.
    fn put_back(&mut self, name: Hostname, mut entry: Entry) {
        if let Some(newer) = self.waiting.remove(&name) {
            entry.absorb(newer);
        }
        self.waiting.insert(name, entry);
    }

    /// Ends a name's flight: what came for it meanwhile may leave.
    fn unlock(&mut self, name: &Hostname, now: Instant) {
        self.locked.remove(name);
        self.queue(name.clone(), now);
    }

    /// Lets a name that waits leave with its company.
    fn queue(&mut self, name: Hostname, now: Instant) {
        if let Some(entry) = self.waiting.get(&name) {
            let company = match self.suspects.company(&name, &entry.account, now) {
                Company::Everyone if entry.is_errand() => Company::Errands,
                company => company,
            };
            self.ready.push(company, name);
        }
    }
}

mod gather;
mod loss;
mod split;
#[cfg(test)]
mod tests;
