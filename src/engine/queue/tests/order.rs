//! The zone queue as a state machine: requests and what commands want, callers that give up, messages, true, false, late and
//! repeated answers, losses, messages of lost connections that the primary applies late, and a gateway that releases, keeps and
//! forgets what is parked at any later moment; against a reference of what the primary then holds and who was told what.

use std::collections::HashSet;

use proptest::prelude::*;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};

use super::*;
use crate::dns::FUDGE;

const NAMES: u8 = 4;
/// At name 0 a CNAME stands, and name 1 may not be changed.
const HIDDEN: &str = "h0.dyn.example";
const FORBIDDEN: &str = "h1.dyn.example";

#[derive(Debug, Clone)]
enum Step {
    Submit {
        name: u8,
        records: DesiredRecords,
        keep: Worth,
    },
    /// A change for which nobody ever waits; with a row of the store or without.
    Park {
        name: u8,
        records: DesiredRecords,
        has_row: bool,
    },
    Depart,
    /// The primary answers one of the flights, in whatever order.
    Answer {
        which: usize,
        how: How,
    },
    /// It applies one of them, and the answer takes its time.
    Apply(usize),
    /// An answer comes once more.
    AnswerAgain(usize),
    /// The next that was acknowledged is read back, or the read has no answer.
    ReadBack {
        has_answer: bool,
    },
    Lose {
        by_us: bool,
    },
    Switch,
    /// What a lost connection carried is applied.
    LateArrives(usize),
    Pass(u64),
    GiveUp(usize),
    /// All callers go whose deadline has passed.
    Deadlines,
    Sweep,
    /// The gateway looks at what is parked.
    List,
    /// It decides on something that it saw, now or long ago.
    Settle {
        which: usize,
        decided: Decided,
    },
    /// It releases all that is ready.
    ReleaseAll,
    ParkAll,
}

/// How long a change is worth doing.
#[derive(Debug, Clone, Copy)]
enum Worth {
    WithCaller,
    For(u64),
    Always,
}

#[derive(Debug, Clone, Copy)]
enum Decided {
    Release(u32),
    Forget,
    Keep,
}

#[derive(Debug, Clone, Copy)]
enum How {
    Truly,
    WithError(Rcode),
    ServfailThoughApplied,
}

/// The reference: every change in its order, which alone says which is the newest.
#[derive(Debug, Clone, Default)]
struct Changes(Vec<(String, DesiredRecords)>);

impl ReferenceStateMachine for Changes {
    type State = Self;
    type Transition = Step;

    fn init_state() -> BoxedStrategy<Self> {
        Just(Self::default()).boxed()
    }

    fn transitions(_: &Self) -> BoxedStrategy<Step> {
        let how = prop_oneof![
            8 => Just(How::Truly),
            1 => Just(How::WithError(Rcode::SERVFAIL)),
            1 => Just(How::WithError(Rcode::REFUSED)),
            1 => Just(How::WithError(Rcode::NOTAUTH)),
            1 => Just(How::ServfailThoughApplied),
        ];
        let keep = prop_oneof![
            1 => Just(Worth::WithCaller),
            1 => (0u64..20_000).prop_map(Worth::For),
            3 => Just(Worth::Always),
        ];
        let decided = prop_oneof![
            6 => (60u32..62).prop_map(Decided::Release),
            1 => Just(Decided::Forget),
            3 => Just(Decided::Keep),
        ];
        prop_oneof![
            10 => (0..NAMES, records(), keep).prop_map(|(name, records, keep)| Step::Submit { name, records, keep }),
            2 => (0..NAMES, records(), any::<bool>())
                .prop_map(|(name, records, has_row)| Step::Park { name, records, has_row }),
            10 => Just(Step::Depart),
            8 => (any::<usize>(), how).prop_map(|(which, how)| Step::Answer { which, how }),
            2 => any::<usize>().prop_map(Step::Apply),
            1 => any::<usize>().prop_map(Step::AnswerAgain),
            8 => (0..6).prop_map(|chance| Step::ReadBack { has_answer: chance > 0 }),
            2 => any::<bool>().prop_map(|by_us| Step::Lose { by_us }),
            1 => Just(Step::Switch),
            3 => any::<usize>().prop_map(Step::LateArrives),
            3 => (0u64..3000).prop_map(Step::Pass),
            1 => (0u64..200_000).prop_map(Step::Pass),
            3 => any::<usize>().prop_map(Step::GiveUp),
            2 => Just(Step::Deadlines),
            3 => Just(Step::Sweep),
            3 => Just(Step::List),
            5 => (any::<usize>(), decided).prop_map(|(which, decided)| Step::Settle { which, decided }),
            2 => Just(Step::ReleaseAll),
            1 => Just(Step::ParkAll),
        ]
        .boxed()
    }

    fn apply(mut self_: Self, step: &Step) -> Self {
        if let Step::Submit { name, records, .. } | Step::Park { name, records, .. } = step {
            self_.0.push((host(*name), records.clone()));
        }
        self_
    }
}

fn host(name: u8) -> String {
    format!("h{name}.dyn.example")
}

/// Few addresses, so that a host returns to one that it had.
fn records() -> impl Strategy<Value = DesiredRecords> {
    let v4 = |last: u8| set(&format!("192.0.2.{last}"));
    let v6 = |last: u8| set(&format!("2001:db8::{last}"));
    prop_oneof![
        4 => (1u8..4).prop_map(v4),
        1 => (1u8..4).prop_map(v6),
        1 => (1u8..4).prop_map(move |last| and(&v4(last), &v6(last))),
        1 => (1u8..4).prop_map(move |last| and(&v4(last), &without(RrType::Aaaa))),
        1 => Just(without(RrType::A)),
        1 => Just(removed()),
    ]
}

/// A message as the primary has it, whatever became of its flight.
#[derive(Debug, Clone)]
struct Message {
    flight: FlightId,
    updates: Vec<(String, RrType, Desired)>,
    // Of a compare and swap.
    expected: Option<Vec<RrData>>,
    sent: Instant,
    applied: bool,
}

/// Whoever wants a change: the caller of a request, or nobody.
struct Caller {
    answered: Option<oneshot::Receiver<Answer>>,
    // `None` where nobody ever waited.
    until: Option<Instant>,
    is_always_worth: bool,
    submitted: usize,
    // What the caller was told, and when.
    told: Option<(usize, Answer)>,
}

struct Machine {
    queue: ZoneQueue,
    cache: Arc<VerifiedCache>,
    now: Instant,
    // Each state of the zone, one after the other.
    zone: Vec<BTreeMap<String, Held>>,
    callers: Vec<Caller>,
    in_flight: Vec<Message>,
    lost: Vec<Message>,
    answered: Vec<FlightId>,
    // All that may be remembered of a name.
    asked: Vec<Change>,
    // What the gateway saw parked.
    listed: Vec<Parked>,
    released: BTreeMap<u64, Instant>,
    forgotten: HashSet<u64>,
    // The store's rows, each with the number of its change: a newer one stays.
    rows: BTreeMap<RrKey, (Timestamp, u64)>,
    next_row: i64,
}

impl Machine {
    fn held(&self, name: &str) -> Held {
        self.zone.last().and_then(|zone| zone.get(name)).cloned().unwrap_or_default()
    }

    fn submit(&mut self, change: &Change, caller: Option<(oneshot::Sender<Answer>, Caller)>, row: Option<Timestamp>) {
        let under_way = self.cache.begin(&change.name);
        let nobody = || Caller {
            answered: None,
            until: None,
            is_always_worth: true,
            submitted: self.zone.len() - 1,
            told: None,
        };
        let (waiter, caller) = match caller {
            Some((answer, caller)) => {
                let until = caller.until.unwrap();
                (Some(Waiter { records: change.records.clone(), until, answer, late: None }), caller)
            }
            None => (None, nobody()),
        };
        self.queue.submit(change, waiter, row, under_way, self.now);
        self.callers.push(caller);
    }

    fn row(&mut self) -> Timestamp {
        self.next_row += 1;
        Timestamp(self.next_row)
    }

    fn row_ended(&mut self, key: &RrKey, row: Option<Timestamp>) {
        if row.is_some() && self.rows.get(key).map(|(kept, _)| *kept) == row {
            self.rows.remove(key);
        }
    }

    fn depart(&mut self) -> bool {
        let Some(flight) = self.queue.depart(self.now) else { return false };
        self.check_authorised(flight);
        self.sent(flight);
        true
    }

    /// Nothing leaves but what somebody who may have it waits for, or what was released lately.
    fn check_authorised(&self, flight: FlightId) {
        let flight = &self.queue.flights[&flight];
        if !matches!(flight.purpose, Purpose::Change) {
            return;
        }
        for (name, entry) in &flight.entries {
            for rrset in &entry.rrsets {
                let is_released = self.released.get(&rrset.number).is_some_and(|at| *at + AUTHORISED > self.now);
                let had_a_caller = self.callers[usize::try_from(rrset.number).unwrap()].until.is_some();
                let is_awaited = entry
                    .waiters
                    .iter()
                    .any(|waiter| waiter.records.get(rrset.rtype).is_some() && !waiter.answer.is_closed());
                let may = is_released || is_awaited && (had_a_caller || self.released.contains_key(&rrset.number));
                assert!(may, "{name} {} leaves unauthorised: change {}", rrset.rtype, rrset.number);
            }
        }
    }

    fn sent(&mut self, flight: FlightId) {
        let owned = |update: &RrsetUpdate<'_>| (update.name.to_string(), update.rtype, update.desired.clone());
        let (expected, updates) = match self.queue.swaps(flight) {
            Some((expected, update)) => (Some(expected.to_vec()), vec![owned(&update)]),
            None if self.queue.names(flight) == 0 => (None, Vec::new()),
            None => (None, self.queue.updates(flight).iter().map(owned).collect()),
        };
        self.in_flight.push(Message { flight, updates, expected, sent: self.now, applied: false });
    }

    /// Applies a message as a primary does; the error where it does not.
    fn apply(&mut self, message: &Message) -> Result<(), Rcode> {
        if message.applied {
            return Ok(());
        }
        for (name, rtype, desired) in &message.updates {
            let holds = |expected: &[RrData]| self.held(name).get(rtype) == expected.first();
            match &message.expected {
                None if name == HIDDEN && *desired != Desired::Absent => return Err(Rcode::YXRRSET),
                Some(expected) if !holds(expected) => return Err(Rcode::NXRRSET),
                None | Some(_) if name == FORBIDDEN => return Err(Rcode::REFUSED),
                None | Some(_) => {}
            }
        }
        let mut zone = self.zone.last().cloned().unwrap_or_default();
        for (name, rtype, desired) in &message.updates {
            put(zone.entry(name.clone()).or_default(), *rtype, desired);
        }
        self.zone.push(zone);
        Ok(())
    }

    fn answer(&mut self, which: usize, how: How) {
        if self.in_flight.is_empty() {
            return;
        }
        let which = which % self.in_flight.len();
        let message = self.in_flight.remove(which);
        self.answered.push(message.flight);
        let outcome = match how {
            How::Truly => self.apply(&message),
            // Nobody refuses what is done.
            How::WithError(rcode) if rcode != Rcode::SERVFAIL && message.applied => Ok(()),
            How::WithError(rcode) => Err(rcode),
            How::ServfailThoughApplied => self.apply(&message).and(Err(Rcode::SERVFAIL)),
        };
        match outcome {
            Ok(()) => drop(self.queue.acknowledged(message.flight, self.now)),
            Err(rcode) => match self.queue.failed(message.flight, failure(rcode), self.now).map(|ended| ended.next) {
                Some(Next::Probe(probe)) => self.sent(probe),
                Some(Next::Switch) => self.switch(),
                Some(Next::Stay) | None => {}
            },
        }
    }

    fn lose(&mut self, by_us: bool) {
        self.queue.connection_lost(by_us, self.now);
        self.lost.extend(self.in_flight.drain(..).filter(|message| !message.applied && !message.updates.is_empty()));
    }

    /// Another primary of the same data.
    fn switch(&mut self) {
        self.lose(true);
        self.cache.forget_all();
        self.queue.primary_changed(self.now);
    }

    /// Whether anything was to be read back.
    fn read_back(&mut self, has_answer: bool) -> bool {
        let Some(ToProve { name, records, .. }) = self.queue.next_to_prove() else { return false };
        let held = self.held(name.as_str());
        let served = match after(&records, held.clone()) == held {
            _ if !has_answer => Err(Trouble::Timeout),
            true => Ok(()),
            false => Err(Trouble::Dropped),
        };
        self.queue.read_back(&name, served, self.now);
        true
    }

    fn late_arrives(&mut self, which: usize) {
        if !self.lost.is_empty() {
            let message = self.lost.remove(which % self.lost.len());
            // A primary refuses what was signed too long ago.
            if self.now.duration_since(message.sent) < Duration::from_secs(FUDGE.into()) {
                let _refused = self.apply(&message);
            }
        }
    }

    fn parked(&self) -> Vec<Parked> {
        self.queue.parked(None, usize::MAX, self.now)
    }

    fn settle(&mut self, parked: Parked, decided: Decided) {
        let verdict = match decided {
            Decided::Release(ttl) => {
                self.released.insert(parked.number, self.now);
                Verdict::Release { ttl }
            }
            Decided::Forget => {
                self.forgotten.insert(parked.number);
                self.row_ended(&parked.key, parked.row);
                Verdict::Forget
            }
            Decided::Keep if self.rows.get(&parked.key).is_some_and(|(_, newer)| *newer > parked.number) => return,
            Decided::Keep => {
                let row = self.row();
                self.rows.insert(parked.key.clone(), (row, parked.number));
                Verdict::Kept(row)
            }
        };
        self.queue.settle(vec![(parked, verdict)], self.now);
    }

    fn release_all(&mut self) {
        for parked in self.parked().into_iter().filter(|parked| parked.is_ready) {
            self.settle(parked, Decided::Release(60));
        }
    }

    fn listen(&mut self) {
        let moment = self.zone.len() - 1;
        for caller in &mut self.callers {
            if let Some(answer) = caller.answered.as_mut().and_then(|answered| answered.try_recv().ok()) {
                assert!(caller.told.replace((moment, answer)).is_none(), "told twice");
                caller.answered = None;
            }
        }
        for ended in self.queue.take_ended() {
            self.row_ended(&ended.key, ended.row);
        }
    }

    /// Whether the change with `number` was acknowledged to its caller.
    fn is_acknowledged(&self, number: usize) -> bool {
        matches!(self.callers[number].told, Some((_, Ok(_))))
    }
}

fn asked(name: &str) -> Vec<Change> {
    let addresses = ["192.0.2.1", "192.0.2.2", "192.0.2.3", "2001:db8::1", "2001:db8::2", "2001:db8::3"];
    let set = addresses.map(|address| test_change(name, address));
    set.into_iter().chain(RrType::OF_ADDRESSES.map(|rtype| change_to(name, &without(rtype)))).collect()
}

struct Order;

impl StateMachineTest for Order {
    type SystemUnderTest = Machine;
    type Reference = Changes;

    fn init_test(_: &Changes) -> Machine {
        let cache = Arc::new(VerifiedCache::new(Duration::from_secs(60), 1000));
        Machine {
            queue: ZoneQueue::new(DEADLINE, 2, Arc::clone(&cache)),
            cache,
            now: Instant::now(),
            zone: vec![BTreeMap::new()],
            callers: Vec::new(),
            in_flight: Vec::new(),
            lost: Vec::new(),
            answered: Vec::new(),
            asked: (0..NAMES).flat_map(|name| asked(&host(name))).collect(),
            listed: Vec::new(),
            released: BTreeMap::new(),
            forgotten: HashSet::new(),
            rows: BTreeMap::new(),
            next_row: 0,
        }
    }

    fn apply(mut machine: Machine, _: &Changes, step: Step) -> Machine {
        match step {
            Step::Submit { name, records, keep } => {
                let (answer, answered) = oneshot::channel();
                let keep = match keep {
                    Worth::WithCaller => Keep::WithCaller,
                    Worth::For(millis) => Keep::Until(machine.now + Duration::from_millis(millis)),
                    Worth::Always => Keep::Always,
                };
                let change = kept(keep, change_to(&host(name), &records));
                let caller = Caller {
                    answered: Some(answered),
                    until: Some(machine.now + DEADLINE),
                    is_always_worth: keep == Keep::Always,
                    submitted: machine.zone.len() - 1,
                    told: None,
                };
                machine.submit(&change, Some((answer, caller)), None);
            }
            Step::Park { name, records, has_row } => {
                let change = kept(Keep::Always, change_to(&host(name), &records));
                let row = has_row.then(|| machine.row());
                if let Some(row) = row {
                    let keys = records.iter().map(|(rtype, _)| RrKey { name: change.name.clone(), rtype });
                    let number = u64::try_from(machine.callers.len()).unwrap();
                    machine.rows.extend(keys.map(|key| (key, (row, number))));
                }
                machine.submit(&change, None, row);
            }
            Step::Depart => drop(machine.depart()),
            Step::Answer { which, how } => machine.answer(which, how),
            Step::Apply(which) => {
                if let Some(message) = machine.in_flight.get(which % machine.in_flight.len().max(1)).cloned()
                    && machine.apply(&message).is_ok()
                {
                    let same = machine.in_flight.iter_mut().find(|other| other.flight == message.flight);
                    same.into_iter().for_each(|message| message.applied = true);
                }
            }
            Step::AnswerAgain(which) => {
                if let Some(flight) = machine.answered.get(which % machine.answered.len().max(1)) {
                    assert!(machine.queue.acknowledged(*flight, machine.now).is_none(), "an answer counts once");
                }
            }
            Step::ReadBack { has_answer } => drop(machine.read_back(has_answer)),
            Step::Lose { by_us } => machine.lose(by_us),
            Step::Switch => machine.switch(),
            Step::LateArrives(which) => machine.late_arrives(which),
            Step::Pass(millis) => {
                machine.now += Duration::from_millis(millis);
                machine.queue.newly_overdue(machine.now);
            }
            Step::GiveUp(which) => {
                let count = machine.callers.len().max(1);
                machine.callers.get_mut(which % count).into_iter().for_each(|caller| caller.answered = None);
            }
            Step::Deadlines => {
                let now = machine.now;
                let late = machine.callers.iter_mut().filter(|caller| caller.until.is_some_and(|until| until <= now));
                late.for_each(|caller| caller.answered = None);
            }
            Step::Sweep => machine.queue.sweep(machine.now),
            Step::List => machine.listed.extend(machine.parked()),
            Step::Settle { which, decided } => {
                // More often what it saw last.
                let (count, recent) = (machine.listed.len(), which % 3 > 0);
                let place = if recent { count.saturating_sub(1 + which % 4) } else { which % count.max(1) };
                if let Some(parked) = machine.listed.get(place).cloned() {
                    machine.settle(parked, decided);
                }
            }
            Step::ReleaseAll => machine.release_all(),
            Step::ParkAll => machine.queue.park_all(machine.now),
        }
        machine.listen();
        machine
    }

    fn check_invariants(machine: &Machine, changes: &Changes) {
        let flights = machine.queue.flights.values();
        let mut names: Vec<_> = flights.clone().flat_map(|flight| &flight.entries).map(|(name, _)| name).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count, "a name is in two messages");
        for change in &machine.asked {
            if machine.cache.compare(&change.name, &change.records, machine.now) == Compared::Same {
                let held = machine.held(change.name.as_str());
                assert_eq!(after(&change.records, held.clone()), held, "{} does not hold what is known", change.name);
            }
        }
        let in_flight = flights.filter(|flight| !matches!(flight.purpose, Purpose::Swap(_)));
        let entries = in_flight.flat_map(|flight| &flight.entries).map(|(name, entry)| (name, entry));
        for (name, entry) in entries.chain(&machine.queue.waiting) {
            for rrset in &entry.rrsets {
                let number = usize::try_from(rrset.number).unwrap();
                let newer = changes
                    .0
                    .iter()
                    .enumerate()
                    .skip(number + 1)
                    .filter(|(_, (other, records))| other == name.as_str() && records.get(rrset.rtype).is_some());
                for (newer, _) in newer {
                    assert!(
                        !machine.is_acknowledged(newer),
                        "change {number} is pending, and {newer} was acknowledged"
                    );
                }
            }
        }
        for (name, entry) in &machine.queue.waiting {
            let is_parked = machine.queue.parked.contains(name);
            assert_eq!(entry.is_parked, is_parked, "{name}");
            let in_line = machine.queue.ready.count(name)
                + machine.queue.again.iter().flat_map(|group| &group.names).filter(|other| *other == name).count();
            let is_out_of_line = is_parked || machine.queue.locked.contains(name);
            assert_eq!(in_line, usize::from(!is_out_of_line), "{name} in line; out of it: {is_out_of_line}");
        }
    }

    /// All trouble ends; what is late arrives now; then time passes until nothing can come any longer.
    fn teardown(mut machine: Machine, changes: Changes) {
        while !machine.lost.is_empty() {
            machine.late_arrives(0);
        }
        for _ in 0..FUDGE / 2 {
            while machine.depart() || !machine.in_flight.is_empty() || machine.read_back(true) {
                machine.answer(0, How::Truly);
            }
            machine.now += Duration::from_secs(5);
            machine.queue.sweep(machine.now);
            // What the primary refuses for ever is not allowed any longer.
            for parked in machine.parked() {
                if parked.key.name.as_str() == FORBIDDEN {
                    machine.settle(parked, Decided::Forget);
                }
            }
            machine.release_all();
        }
        machine.listen();
        assert_eq!(machine.queue.pending(), 0);
        assert!(machine.rows.is_empty(), "rows that nobody is told of: {:?}", machine.rows);
        for (number, (caller, (name, records))) in machine.callers.iter().zip(&changes.0).enumerate() {
            assert!(caller.answered.is_none(), "change {number} is never answered");
            for (rtype, desired) in records.iter() {
                // Each newer change of the RRset, with whether it was acknowledged.
                let newer = changes.0.iter().enumerate().skip(number + 1).filter(|(_, (other, _))| other == name);
                let newer = newer.filter_map(|(newer, (_, records))| {
                    Some((records.get(rtype)?.data().cloned(), machine.is_acknowledged(newer)))
                });
                let (mut any, acknowledged): (Vec<_>, Vec<_>) = newer.unzip();
                let stands = machine.held(name).get(&rtype).cloned();
                // Whoever wants the same may have heard that only the operator can mend it.
                let is_refused = machine.callers.iter().zip(&changes.0).any(|(caller, (other, records))| {
                    let is_same = other == name && records.get(rtype).map(Desired::data) == Some(desired.data());
                    is_same
                        && matches!(
                            caller.told,
                            Some((_, Err(Trouble::Refused(_) | Trouble::Hidden(_) | Trouble::Dropped)))
                        )
                });
                let is_taken = name != HIDDEN && name != FORBIDDEN && !is_refused;
                let is_owed =
                    caller.is_always_worth && is_taken && !machine.forgotten.contains(&u64::try_from(number).unwrap());
                if any.is_empty() && is_owed {
                    assert_eq!(stands.as_ref(), desired.data(), "change {number} is the newest of {name} {rtype}");
                }
                any.push(desired.data().cloned());
                let Some((told, Ok(_))) = caller.told else { continue };
                let states = machine.zone[caller.submitted..=told].iter();
                let held: Vec<_> =
                    states.map(|zone| zone.get(name).and_then(|held| held.get(&rtype)).cloned()).collect();
                assert!(held.iter().any(|held| any.contains(held)), "change {number}: good, but it held {held:?}");
                let is_last = !acknowledged.contains(&true);
                assert!(
                    !is_last || any.contains(&stands),
                    "change {number} was acknowledged last, but {name} holds {stands:?}"
                );
            }
        }
    }
}

prop_state_machine! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn the_last_accepted_wins(sequential 1..80 => Order);
}
