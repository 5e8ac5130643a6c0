//! One zone's pending changes: coalesced by name, gathered into batches, split where one is bad, sent again where a connection
//! was lost, and kept though nobody waits. Pure: no socket, and time comes in.
//!
//! ```text
//!       request, command, row of the store
//!                      │ submit
//!                      ▼                    newer data for an RRset replaces it
//!   ┌────────────▶ WAITING ◀──────────────────────────────────────────────────────┐
//!   │ release          │ nobody waits any longer                  connection lost │
//!   │                  ├──────────────────────▶ PARKED ──▶ expired, or not         │
//!   └──────────────────┼────────────────────────  │         allowed any longer      │
//!                      │ gather      authorised again by the gateway               │
//!                      ▼                                                           │
//!                  IN FLIGHT ──────────────────────────────────────────────────────┘
//!        verified      │      an error of the name, the zone or the server
//!        NOERROR       ▼
//!    PROVING ───▶ DONE      FAILED (hidden: for good; else parked, and tried again)
//! ```

mod proving;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use super::blame::{Blame, weigh};
use super::cache::{UnderWay, VerifiedCache};
use super::entry::{Entry, Parked, Verdict, Waiter, rrsets, tell};
use super::flight::{Flight, FlightEnd, FlightId, Group, History, Next, Purpose};
use super::late::{LateUpdates, Swap};
use super::pace::Pace;
use super::quarantine::{BatchClass, Quarantine};
use super::ready::Ready;
use super::{Change, End, Ended, Trouble};
use crate::dns::{Failure, Rcode, RrsetUpdate};
use crate::model::{Desired, Hostname, RrData, Timestamp};

use proving::Proving;
pub(super) use proving::ToProve;

/// Messages in flight over different names: enough to hide a journal's fsync, few enough for BIND's `update-quota`.
pub(super) const WINDOW: usize = 4;
/// The same while a second begins.
const WINDOW_NEAR_SECOND: usize = 16;
/// Names that are pending in one zone; one more is turned away at once.
const MOST_PENDING: usize = 100_000;
/// Culprits in a row, without a success, after which a batch is not halved any further.
const MOST_CULPRITS_IN_A_ROW: u32 = 8;
/// How long SERVFAIL is given to pass.
const PAUSE: Duration = Duration::from_millis(100);
const REST: Duration = Duration::from_secs(1);
/// How long a change for which nobody waits rests after the primary could not take it.
const AGAIN: Duration = Duration::from_secs(10);
/// How long a change may leave after it was authorised again.
const AUTHORISED: Duration = Duration::from_secs(10);
/// Names that leave in a message of their own while another is in flight; fewer wait for its answer.
pub(super) const WORTH_A_MESSAGE: usize = 16;
/// They do for this part of the deadline at most, counted from its departure.
pub(super) const WAIT_SHARE: u32 = 20;

/// The pending changes of one zone.
#[derive(Debug)]
pub(super) struct ZoneQueue {
    deadline: Duration,
    primaries: usize,
    cache: Arc<VerifiedCache>,
    pace: Pace,
    quarantine: Quarantine,
    late: LateUpdates,
    // Names that are not in a message, each in one class of `ready`, in a group of `again`, in `parked`, or behind a flight of
    // its name.
    waiting: HashMap<Hostname, Entry>,
    ready: Ready,
    again: VecDeque<Group>,
    parked: BTreeSet<Hostname>,
    locked: HashSet<Hostname>,
    flights: HashMap<FlightId, Flight>,
    proving: Proving,
    next_flight: FlightId,
    next_change: u64,
    resting: HashMap<BatchClass, Instant>,
    // The last message came from `again`: what is ready has its turn.
    again_had_its_turn: bool,
    // Somebody doubts the primary: the next message tells, whatever it is for.
    is_doubted: bool,
    // Until when the primary was last silent: a message took half of the deadline or more, or was lost.
    silent_until: Option<Instant>,
    // What ended since the driver last looked.
    ended: Vec<Ended>,
}

impl ZoneQueue {
    pub(super) fn new(deadline: Duration, primaries: usize, cache: Arc<VerifiedCache>) -> Self {
        Self {
            deadline,
            primaries,
            cache,
            pace: Pace::new(deadline),
            quarantine: Quarantine::default(),
            late: LateUpdates::new(deadline),
            waiting: HashMap::new(),
            ready: Ready::default(),
            again: VecDeque::new(),
            parked: BTreeSet::new(),
            locked: HashSet::new(),
            flights: HashMap::new(),
            proving: Proving::default(),
            next_flight: 0,
            next_change: 0,
            resting: HashMap::new(),
            again_had_its_turn: false,
            is_doubted: false,
            silent_until: None,
            ended: Vec::new(),
        }
    }

    // ---- What comes in.

    /// Takes a change; it leaves with the next message that has room. Without a waiter it is parked; `row` is the store's.
    pub(super) fn submit(
        &mut self,
        change: &Change,
        waiter: Option<Waiter>,
        row: Option<Timestamp>,
        under_way: UnderWay,
        now: Instant,
    ) {
        let name = &change.name;
        let number = self.next_change;
        self.next_change += 1;
        let authorised_until = waiter.as_ref().map_or(now, |waiter| waiter.until);
        let is_new = !self.waiting.contains_key(name);
        if is_new && self.pending() >= MOST_PENDING {
            drop(under_way);
            return tell(waiter, Trouble::Overloaded);
        }
        let entry = self
            .waiting
            .entry(name.clone())
            .or_insert_with(|| Entry::new(Arc::clone(&change.origin.account), under_way));
        let (was_parked, was_background) = (entry.is_parked, entry.is_background());
        entry.desire(change, number, authorised_until, row);
        let Some(waiter) = waiter else {
            if is_new {
                self.park(name.clone());
            }
            return;
        };
        entry.wait(waiter);
        if was_parked {
            entry.is_parked = false;
            self.parked.remove(name);
        }
        // A background change that a client now waits for leaves with those of clients.
        let may_leave = is_new || was_parked || was_background && self.ready.take_out(&BatchClass::Background, name);
        if may_leave && !self.locked.contains(name) {
            self.queue(name.clone(), now);
        }
    }

    /// Takes a compare and swap, which is asked once.
    pub(super) fn swap(&mut self, swap: Swap) {
        self.late.swap_once(swap);
    }

    /// Sees to it that the primary is asked something soon.
    pub(super) fn doubt_primary(&mut self) {
        self.is_doubted = true;
    }

    /// Another primary is in use: how fast it is nobody knows, nor what it serves.
    pub(super) fn primary_changed(&mut self, now: Instant) {
        self.pace = Pace::new(self.deadline);
        self.prove_all_again(now);
    }

    /// Other settings are in force.
    pub(super) fn set_limits(&mut self, deadline: Duration, primaries: usize) {
        (self.deadline, self.primaries) = (deadline, primaries);
        self.pace.set_deadline(deadline);
        self.late.set_deadline(deadline);
    }

    // ---- What nobody waits for.

    /// Parks what nobody waits for any longer, and drops what is not worth doing without a caller.
    pub(super) fn sweep(&mut self, now: Instant) {
        let Self { waiting, parked, ended, .. } = self;
        let (before, mut newly_parked) = (waiting.len(), false);
        waiting.retain(|name, entry| {
            if entry.is_awaited() {
                return true;
            }
            if !entry.is_parked {
                if entry.is_authorised(now) {
                    return true;
                }
                entry.waiters.clear();
                entry.is_parked = true;
                newly_parked = true;
                parked.insert(name.clone());
            }
            let is_left = entry.expire(name, now, ended);
            if !is_left {
                parked.remove(name);
            }
            is_left
        });
        if newly_parked || waiting.len() < before {
            self.take_parked_out_of_line();
        }
    }

    /// Parks everything that is not in flight: the gateway stops, and the store keeps it.
    pub(super) fn park_all(&mut self, now: Instant) {
        for (name, entry) in &mut self.waiting {
            tell(std::mem::take(&mut entry.waiters), Trouble::Timeout);
            if !std::mem::replace(&mut entry.is_parked, true) {
                self.parked.insert(name.clone());
            }
        }
        // Nobody waits for what is in flight either.
        self.flights.values_mut().for_each(|flight| flight.overdue = true);
        self.take_parked_out_of_line();
        self.sweep(now);
    }

    fn take_parked_out_of_line(&mut self) {
        let Self { waiting, ready, again, .. } = self;
        let is_in_line = |name: &Hostname| waiting.get(name).is_some_and(|entry| !entry.is_parked);
        ready.retain(is_in_line);
        again.iter_mut().for_each(|group| group.names.retain(is_in_line));
        again.retain(|group| !group.names.is_empty());
    }

    /// Changes for which nobody waits: parked ones of at most `most` names in their order, those after `after`; before the first
    /// also those in flight.
    pub(super) fn parked(&self, after: Option<&Hostname>, most: usize, now: Instant) -> Vec<Parked> {
        let mut all = Vec::new();
        if after.is_none() {
            for (name, entry) in self.unawaited_in_flight() {
                let worth = entry.rrsets.iter().filter(|rrset| rrset.origin.keep.is_worth(now));
                all.extend(worth.map(|rrset| rrset.parked(name, false, true)));
            }
        }
        let range = (after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
        for name in self.parked.range::<Hostname, _>(range).take(most) {
            let Some(entry) = self.waiting.get(name) else { continue };
            let is_ready = |rests_until: Option<Instant>| rests_until.is_none_or(|end| end <= now);
            all.extend(entry.rrsets.iter().map(|rrset| rrset.parked(name, is_ready(rrset.rests_until), false)));
        }
        all
    }

    /// How many names are pending for which nobody waits: parked, released, or in flight.
    pub(super) fn parked_count(&self) -> usize {
        self.parked.len() + self.ready.background() + self.unawaited_in_flight().count()
    }

    fn unawaited_in_flight(&self) -> impl Iterator<Item = (&Hostname, &Entry)> {
        let changes = self.flights.values().filter(|flight| !matches!(flight.purpose, Purpose::Swap(_)));
        let entries = changes.flat_map(|flight| flight.entries.iter().map(|entry| (flight.overdue, entry)));
        // Before its deadline has passed, only what was released is without a caller for certain.
        entries
            .filter(|(overdue, (_, entry))| entry.is_background() || *overdue && !entry.is_awaited())
            .map(|(_, (name, entry))| (name, entry))
            .chain(self.proving.entries().filter(|(_, entry)| !entry.is_awaited()))
            .filter(|(name, _)| !self.parked.contains(*name))
    }

    /// Does what was decided of parked changes, each where it is still the newest of its RRset.
    pub(super) fn settle(&mut self, verdicts: Vec<(Parked, Verdict)>, now: Instant) {
        for (parked, verdict) in verdicts {
            let is_meant = |entry: &Entry| {
                entry.rrsets.iter().position(|rrset| rrset.rtype == parked.key.rtype && rrset.number == parked.number)
            };
            let name = &parked.key.name;
            match verdict {
                Verdict::Release { ttl } => {
                    let Some(entry) = self.waiting.get_mut(name) else { continue };
                    let Some(place) = is_meant(entry) else { continue };
                    let rrset = &mut entry.rrsets[place];
                    (rrset.authorised_until, rrset.is_released) = (now + AUTHORISED, true);
                    rrset.rests_until = None;
                    if let Desired::Set { ttl: old, .. } = &mut rrset.desired {
                        *old = ttl;
                    }
                    if std::mem::take(&mut entry.is_parked) {
                        self.parked.remove(name);
                        if !self.locked.contains(name) {
                            self.queue(name.clone(), now);
                        }
                    }
                }
                Verdict::Forget => {
                    let Some(entry) = self.waiting.get_mut(name) else { continue };
                    let Some(place) = is_meant(entry) else { continue };
                    entry.forget(place, parked.row, name, &mut self.ended);
                    if entry.rrsets.is_empty() {
                        let is_in_line = !self.parked.remove(name);
                        self.waiting.remove(name);
                        if is_in_line {
                            self.take_parked_out_of_line();
                        }
                    }
                }
                Verdict::Kept(row) => {
                    let in_flight = self.flights.values_mut().flat_map(|flight| &mut flight.entries);
                    let in_flight = in_flight.filter(|(other, _)| other == name).map(|(_, entry)| entry);
                    let in_flight = in_flight.chain(self.proving.entry_mut(name));
                    let kept = self.waiting.get_mut(name).into_iter().chain(in_flight).find_map(|entry| {
                        let place = is_meant(entry)?;
                        entry.rrsets.get_mut(place)
                    });
                    match kept {
                        Some(rrset) => (rrset.row, rrset.is_row_older) = (Some(row), false),
                        // It ended while the row was written, which is to go.
                        None => self.ended.push(Ended {
                            key: parked.key,
                            desired: parked.desired,
                            origin: parked.origin,
                            row: Some(row),
                            end: End::Superseded,
                        }),
                    }
                }
            }
        }
    }

    /// Everything that is pending ends with its zone.
    pub(super) fn close(&mut self, now: Instant) {
        for (name, entry) in std::mem::take(&mut self.waiting) {
            if let Some(left) = entry.fail(&name, Trouble::Timeout, [now; 2], &mut self.ended) {
                left.end_all(&name, &mut self.ended);
            }
        }
        self.parked.clear();
    }

    /// What ended since the last call.
    pub(super) fn take_ended(&mut self) -> Vec<Ended> {
        std::mem::take(&mut self.ended)
    }

    // ---- What goes out.

    /// How many names wait or are in flight.
    pub(super) fn pending(&self) -> usize {
        self.waiting.len() + self.locked.len()
    }

    /// How many names wait, parked ones too.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Whether a message would leave if there were a connection.
    pub(super) fn has_work(&self, now: Instant) -> bool {
        self.is_doubted
            || self.ready.has_class(|class| may_leave(&self.flights, &self.resting, class, now))
            || self.again.iter().any(|group| group.may_leave(now))
            || self.late.is_asked(|name| may_swap(&self.waiting, &self.locked, name))
            || self.late.next_look().is_some_and(|look| look <= now)
    }

    /// The next message, if the window has room and something may leave. Call [`Self::writes`] for its content.
    pub(super) fn depart(&mut self, now: Instant) -> Option<FlightId> {
        while self.flights.len() < self.window(now) {
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
                    None => return self.look_for_late(now).or_else(|| self.call(now)),
                },
            };
            let entries: Vec<_> =
                names.into_iter().filter_map(|name| self.take_leaving(&name, now).map(|entry| (name, entry))).collect();
            if !entries.is_empty() {
                return Some(self.launch(entries, history, Purpose::Change, now));
            }
        }
        None
    }

    fn window(&self, now: Instant) -> usize {
        if self.pace.near_second(now).is_some() { WINDOW_NEAR_SECOND } else { WINDOW }
    }

    /// A message that only asks whether the primary answers, unless another tells.
    fn call(&mut self, now: Instant) -> Option<FlightId> {
        let is_needed = std::mem::take(&mut self.is_doubted) && self.flights.is_empty();
        is_needed.then(|| self.launch(Vec::new(), History::new(BatchClass::Alone), Purpose::Call, now))
    }

    /// The records of a flight, for encoding.
    pub(super) fn updates(&self, flight: FlightId) -> Vec<RrsetUpdate<'_>> {
        let entries = self.flights.get(&flight).map(|flight| flight.entries.as_slice()).unwrap_or_default();
        entries.iter().flat_map(|(name, entry)| entry.updates(name)).collect()
    }

    /// Whether it puts right what was lost: nobody asked for it.
    pub(super) fn puts_right(&self, flight: FlightId) -> bool {
        let flight = self.flights.get(&flight);
        flight.is_some_and(|flight| matches!(&flight.purpose, Purpose::Swap(Swap { answer: None, .. })))
    }

    /// What a compare and swap is to find and to set; `None` for any other flight.
    pub(super) fn swaps(&self, flight: FlightId) -> Option<(&[RrData], RrsetUpdate<'_>)> {
        match &self.flights.get(&flight)?.purpose {
            Purpose::Swap(Swap { key, expected, desired, .. }) => {
                Some((expected, RrsetUpdate { name: &key.name, rtype: key.rtype, desired }))
            }
            Purpose::Change | Purpose::Probe(_) | Purpose::Call => None,
        }
    }

    /// The names of a flight that is to change them; 0 for a probe.
    pub(super) fn names(&self, flight: FlightId) -> usize {
        match self.flights.get(&flight) {
            Some(Flight { purpose: Purpose::Change | Purpose::Swap(_), entries, .. }) => entries.len(),
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

    /// The primary answered the flight with an error.
    pub(super) fn failed(&mut self, flight: FlightId, failure: Failure, now: Instant) -> Option<FlightEnd> {
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
                return Some(FlightEnd { took, next, counted: overdue, is_zones: true });
            }
            Purpose::Swap(swap) => {
                self.release_names(entries, now);
                match failure.rcode {
                    // Something else stands there.
                    Rcode::NXRRSET | Rcode::YXRRSET => swap.tell(Ok(false)),
                    _ => self.late.unanswered(swap, Trouble::Failed(failure), now),
                }
                return Some(FlightEnd { took, next, counted: overdue, is_zones: false });
            }
        };
        let blame = weigh(failure);
        if blame == Blame::Server {
            // It may have been written all the same: by the backend, or behind a forwarding secondary.
            entries.iter().for_each(|(name, _)| self.cache.forget(name));
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
        Some(FlightEnd { took, next, counted: overdue, is_zones })
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

    /// When a resting class or a pausing group may travel again, a few changes wait no longer, or late are to be looked for.
    pub(super) fn next_rest_end(&self, now: Instant) -> Option<Instant> {
        let pauses = self.again.iter().filter_map(|group| group.history.not_before.as_ref());
        let rests = self.resting.values().chain(pauses).filter(|end| **end > now).min().copied();
        let look = self.late.next_look().filter(|look| *look > now);
        [rests, self.gathers_until(now), look].into_iter().flatten().min()
    }

    /// Takes out of a name what may leave; the rest is parked.
    fn take_leaving(&mut self, name: &Hostname, now: Instant) -> Option<Entry> {
        if !self.waiting.get(name)?.is_authorised(now) {
            self.park(name.clone());
            return None;
        }
        let mut entry = self.waiting.remove(name)?;
        if let Some(rest) = entry.part_unauthorised(now, || self.cache.begin(name)) {
            self.waiting.insert(name.clone(), rest);
            self.park(name.clone());
        }
        // Whoever waits for what may leave may wait for what may not as well.
        if entry.rrsets.is_empty() {
            return None;
        }
        self.locked.insert(name.clone());
        Some(entry)
    }

    /// What is pending of `name` leaves when it was authorised again, whoever waits for it.
    fn park(&mut self, name: Hostname) {
        if let Some(entry) = self.waiting.get_mut(&name) {
            entry.is_parked = true;
            entry.forget_gone();
            self.parked.insert(name);
        }
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
            if matches!(trouble, Trouble::Hidden(_) | Trouble::Elsewhere)
                && let Some(removals) = entry.part_removals(|| self.cache.begin(&name))
            {
                self.put_back(name.clone(), removals);
            }
            if let Some(left) = entry.fail(&name, trouble, [now, now + AGAIN], &mut self.ended) {
                self.put_back(name.clone(), left);
            }
            self.unlock(&name, now);
        }
    }

    /// Puts entries back to travel together again, before everyone else; what came meanwhile wins.
    fn regroup(&mut self, entries: Vec<(Hostname, Entry)>, history: History) {
        let mut names = Vec::with_capacity(entries.len());
        for (name, entry) in entries {
            self.locked.remove(&name);
            self.put_back(name.clone(), entry);
            names.push(name);
        }
        self.again.push_front(Group { names, history });
    }

    /// Lets an entry wait again, under what came for its name meanwhile.
    fn put_back(&mut self, name: Hostname, mut entry: Entry) {
        if let Some(newer) = self.waiting.remove(&name) {
            self.parked.remove(&name);
            entry.absorb(newer);
        }
        self.waiting.insert(name, entry);
    }

    /// Ends a name's flight: what came for it meanwhile may leave.
    fn unlock(&mut self, name: &Hostname, now: Instant) {
        self.locked.remove(name);
        self.queue(name.clone(), now);
    }

    /// Lets a name that waits leave with its batch class, or parks it; one that is parked stays so.
    fn queue(&mut self, name: Hostname, now: Instant) {
        let Some(entry) = self.waiting.get(&name).filter(|entry| !entry.is_parked) else { return };
        if !entry.is_authorised(now) {
            return self.park(name);
        }
        let class = match self.quarantine.class(&name, &entry.account, now) {
            BatchClass::Everyone if entry.is_background() => BatchClass::Background,
            class => class,
        };
        self.ready.push(class, name);
    }

    // ---- Which changes leave together, and which come too late.

    /// Until when a few changes wait for the answer to what is in flight, if they do: a primary works on one message of a zone
    /// at a time, so they would be no sooner done, and where many zones share a primary each of their messages costs all.
    /// Where a second begins in a storm, the next of the messages that leave around it has its moment.
    pub(super) fn gathers_until(&self, now: Instant) -> Option<Instant> {
        let waiting = Some(self.ready.names()).filter(|names| *names > 0)?;
        if let Some(near) = self.pace.near_second(now) {
            return Some(near.next).filter(|next| *next > now);
        }
        let until = self.oldest_flight()? + self.deadline / WAIT_SHARE;
        let until = self.pace.next_near(now).map_or(until, |near| near.min(until));
        (until > now && waiting < WORTH_A_MESSAGE).then_some(until)
    }

    /// What leaves now: names of one class, as many as a message may hold.
    pub(super) fn gather(&mut self, now: Instant) -> Option<(Vec<Hostname>, History)> {
        if self.gathers_until(now).is_some() {
            return None;
        }
        self.resting.retain(|_, until| *until > now);
        let answered = now + self.time_needed();
        let near = self.pace.near_second(now);
        let (flights, resting) = (&self.flights, &self.resting);
        let (class, queue) = self.ready.next_class(|class| may_leave(flights, resting, class, now))?;
        let most = if class == BatchClass::Alone { 1 } else { self.pace.rrsets() };
        let most = near.map_or(most, |near| most.min(queue.len().div_ceil(near.messages)));
        let mut names = Vec::new();
        let mut size = 0;
        // Who waits no longer than until then came before the silence ended.
        let through_silence = self.silent_until.map_or(now, |end| end + self.deadline);
        let mut to_park = Vec::new();
        while let Some(name) = queue.front() {
            let Some(entry) = self.waiting.get_mut(name) else {
                queue.pop_front();
                continue;
            };
            if !entry.is_authorised(now) {
                to_park.extend(queue.pop_front());
            } else if entry.is_background() || entry.is_awaited_at(answered) {
                if size > 0 && size + entry.rrsets.len() > most {
                    break;
                }
                size += entry.rrsets.len();
                names.extend(queue.pop_front());
            } else {
                let is_too_much = entry.is_awaited_at(through_silence);
                let trouble = if is_too_much { Trouble::Overloaded } else { Trouble::Silent };
                tell(std::mem::take(&mut entry.waiters), trouble);
                to_park.extend(queue.pop_front());
            }
        }
        to_park.into_iter().for_each(|name| self.park(name));
        self.ready.forget_empty();
        self.pace.leaves(now);
        Some((names, History::new(class)))
    }

    /// A caller with less time left than this is told at once that it comes too late: under more than the primary can do, all that
    /// are sent would else be those that waited longest, and most answers would find nobody. One slow answer is no proof, so what
    /// can leave alone leaves.
    fn time_needed(&self) -> Duration {
        match self.flights.len() {
            0 => Duration::ZERO,
            in_flight => self.pace.until_answered(in_flight).min(self.deadline / 2),
        }
    }

    /// The primary answered what was sent to it at `sent`; how long that took.
    pub(super) fn heard(&mut self, sent: Instant, now: Instant) -> Duration {
        let took = now.saturating_duration_since(sent);
        if took >= self.deadline / 2 {
            self.silent_until = Some(now);
        }
        took
    }

    /// The answer to `flight` was signed in this `second` of the primary's clock; of ours, `subsecond` has passed.
    pub(super) fn told_time(&mut self, flight: FlightId, second: u64, subsecond: Duration, now: Instant) {
        if let Some(Flight { sent, .. }) = self.flights.get(&flight) {
            self.pace.told_time(second, subsecond, *sent, now);
        }
    }

    // ---- What a lost connection leaves behind.

    /// The connection is gone, and with it the answers to all flights: those for whom someone still waits are sent again.
    /// With `by_us` the connection was given up for another reason, which throws no suspicion on what it carried.
    /// Returns the flights that waited in vain and for how long, but for those that were overdue already.
    pub(super) fn connection_lost(&mut self, by_us: bool, now: Instant) -> Vec<(FlightId, Duration)> {
        let mut lost: Vec<_> = self.flights.drain().collect();
        if !lost.is_empty() {
            self.silent_until = Some(now);
        }
        lost.sort_unstable_by_key(|(id, _)| std::cmp::Reverse(*id));
        for (_, flight) in &lost {
            // No answer in time is an answer: the next messages are smaller.
            if flight.overdue && matches!(flight.purpose, Purpose::Change) {
                self.pace.too_slow(rrsets(&flight.entries));
            }
        }
        let in_vain = lost.iter().filter(|(_, flight)| !flight.overdue);
        let waited = in_vain.map(|(id, flight)| (*id, now.saturating_duration_since(flight.sent))).collect();
        for (_, Flight { mut entries, mut history, purpose, .. }) in lost {
            if !matches!(purpose, Purpose::Probe(_)) {
                for (name, entry) in &mut entries {
                    self.may_come_late(name, entry, now);
                    entry.lost();
                }
            }
            if let Purpose::Swap(swap) = purpose {
                self.late.unanswered(swap, Trouble::Timeout, now);
                self.release_names(entries, now);
                continue;
            }
            history.losses += 1;
            history.spoils_batches |= !by_us && history.losses > 1;
            if let (true, [(name, entry)]) = (history.spoils_batches, entries.as_slice()) {
                self.quarantine.add(name, &entry.account, now);
            }
            if history.spoils_batches && entries.len() > 1 {
                self.regroup_halves(entries, &history);
            } else if !entries.is_empty() {
                self.regroup(entries, history);
            }
        }
        waited
    }

    /// The primary cannot be reached.
    pub(super) fn unreachable(&mut self, now: Instant) {
        self.silent_until = Some(now);
    }

    /// A compare and swap of a name of which nothing else is to leave now or is in flight.
    fn look_for_late(&mut self, now: Instant) -> Option<FlightId> {
        let Self { late, waiting, locked, cache, .. } = self;
        let swap = late.next(now, |name| may_swap(waiting, locked, name), |name| cache.trust(name))?;
        let name = swap.key.name.clone();
        self.locked.insert(name.clone());
        let entry = Entry::of_swap(&swap, self.cache.begin(&name), now);
        Some(self.launch(vec![(name, entry)], History::new(BatchClass::Alone), Purpose::Swap(swap), now))
    }

    fn release_names(&mut self, entries: Vec<(Hostname, Entry)>, now: Instant) {
        for (name, entry) in entries {
            drop(entry);
            self.unlock(&name, now);
        }
    }

    /// The change that `entry` holds was lost: whatever the primary says from now on, it may be applied later.
    fn may_come_late(&mut self, name: &Hostname, entry: &Entry, now: Instant) {
        if self.late.lost(name, entry.records(), now) {
            self.cache.doubt(name);
        } else {
            self.cache.forget(name);
        }
    }

    // ---- What becomes of a batch in which a name is bad.

    /// One of `entries` is bad: alone it is proven, else the halves tell.
    pub(super) fn blame_name(
        &mut self,
        entries: Vec<(Hostname, Entry)>,
        history: &History,
        failure: Failure,
        now: Instant,
    ) {
        if let [(name, entry)] = entries.as_slice() {
            self.quarantine.add(name, &entry.account, now);
            let in_a_row = history.culprits_in_a_row.fetch_add(1, Ordering::Relaxed) + 1;
            let trouble = match weigh(failure) {
                Blame::Hidden => Trouble::Hidden(failure),
                _ => Trouble::Refused(failure),
            };
            self.fail_all(entries, trouble, now);
            if in_a_row >= MOST_CULPRITS_IN_A_ROW {
                self.give_up(history, now);
            }
            return;
        }
        // An account that has brought three bad names already is parted from the others, so that they need not pay for more of them.
        let (offenders, others): (Vec<_>, Vec<_>) = entries.into_iter().partition(|(name, entry)| {
            matches!(self.quarantine.class(name, &entry.account, now), BatchClass::Account(_))
        });
        let mut by_account: BTreeMap<Arc<str>, Vec<_>> = BTreeMap::new();
        for (name, entry) in offenders {
            by_account.entry(Arc::clone(&entry.account)).or_default().push((name, entry));
        }
        let is_alone = by_account.len() + usize::from(!others.is_empty()) == 1;
        for (account, entries) in by_account {
            if is_alone {
                return self.regroup_halves(entries, history);
            }
            self.regroup(entries, History::new(BatchClass::Account(account)));
        }
        if is_alone {
            self.regroup_halves(others, history);
        } else if !others.is_empty() {
            self.regroup(others, history.clone());
        }
    }

    /// Too many culprits in a row: what is left of their batch queues again, and their class rests.
    fn give_up(&mut self, history: &History, now: Instant) {
        let (left, others) = std::mem::take(&mut self.again)
            .into_iter()
            .partition(|group: &Group| Arc::ptr_eq(&group.history.culprits_in_a_row, &history.culprits_in_a_row));
        self.again = others;
        let left: VecDeque<Group> = left;
        for name in left.into_iter().flat_map(|group| group.names) {
            self.queue(name, now);
        }
        self.resting.insert(history.class.clone(), now + REST);
    }

    pub(super) fn regroup_halves(&mut self, mut entries: Vec<(Hostname, Entry)>, history: &History) {
        let second = entries.split_off(entries.len() / 2);
        for half in [second, entries] {
            if !half.is_empty() {
                self.regroup(half, history.clone());
            }
        }
    }
}

/// Whether a class may leave now. One message of background changes is under way at a time: a client's change waits for little
/// else.
fn may_leave(
    flights: &HashMap<FlightId, Flight>,
    resting: &HashMap<BatchClass, Instant>,
    class: &BatchClass,
    now: Instant,
) -> bool {
    let is_under_way = || flights.values().any(|flight| flight.history.class == *class);
    resting.get(class).is_none_or(|until| *until <= now) && (*class != BatchClass::Background || !is_under_way())
}

/// What is parked may stay so for hours: a late UPDATE of its name is put right meanwhile.
fn may_swap(waiting: &HashMap<Hostname, Entry>, locked: &HashSet<Hostname>, name: &Hostname) -> bool {
    waiting.get(name).is_none_or(|entry| entry.is_parked) && !locked.contains(name)
}

#[cfg(test)]
mod tests;
