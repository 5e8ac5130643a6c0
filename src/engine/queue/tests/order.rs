//! The lane as a state machine: requests, messages, true, false, late and repeated answers, losses, and messages of lost
//! connections that the primary applies late; against a reference of what it then holds and who was told what.

use proptest::prelude::*;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};

use super::*;
use crate::dns::FUDGE;
use crate::model::Family;

const NAMES: u8 = 4;
/// At name 0 a CNAME stands, and name 1 may not be changed.
const HIDDEN: &str = "h0.dyn.example";
const FORBIDDEN: &str = "h1.dyn.example";

#[derive(Debug, Clone)]
enum Step {
    Submit {
        name: u8,
        records: Records,
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
    Lose {
        by_us: bool,
    },
    Switch,
    /// What a lost connection carried is applied.
    StrayArrives(usize),
    Pass(u64),
    GiveUp(usize),
}

#[derive(Debug, Clone, Copy)]
enum How {
    Truly,
    WithError(Rcode),
    ServfailThoughApplied,
}

/// The reference: every request in its order, which alone says who is the newest.
#[derive(Debug, Clone, Default)]
struct Requests(Vec<(String, Records)>);

impl ReferenceStateMachine for Requests {
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
        prop_oneof![
            8 => (0..NAMES, records()).prop_map(|(name, records)| Step::Submit { name, records }),
            8 => Just(Step::Depart),
            8 => (any::<usize>(), how).prop_map(|(which, how)| Step::Answer { which, how }),
            2 => any::<usize>().prop_map(Step::Apply),
            1 => any::<usize>().prop_map(Step::AnswerAgain),
            2 => any::<bool>().prop_map(|by_us| Step::Lose { by_us }),
            1 => Just(Step::Switch),
            3 => any::<usize>().prop_map(Step::StrayArrives),
            3 => (0u64..3000).prop_map(Step::Pass),
            1 => (0u64..200_000).prop_map(Step::Pass),
            1 => any::<usize>().prop_map(Step::GiveUp),
        ]
        .boxed()
    }

    fn apply(mut self_: Self, step: &Step) -> Self {
        if let Step::Submit { name, records } = step {
            self_.0.push((format!("h{name}.dyn.example"), *records));
        }
        self_
    }
}

/// Few addresses, so that a host returns to one that it had.
fn records() -> impl Strategy<Value = Records> {
    let v4 = |last: u8| Change::Set([192, 0, 2, last].into());
    let v6 = |last: u8| Change::Set([0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(last)].into());
    prop_oneof![
        4 => (1u8..4).prop_map(move |last| Records { v4: v4(last), v6: Change::Leave }),
        1 => (1u8..4).prop_map(move |last| Records { v4: Change::Leave, v6: v6(last) }),
        1 => (1u8..4).prop_map(move |last| Records { v4: v4(last), v6: v6(last) }),
        1 => (1u8..4).prop_map(move |last| Records { v4: v4(last), v6: Change::Remove }),
        1 => Just(Records::without(Family::V4)),
        1 => Just(Records::REMOVED),
    ]
}

/// A message as the primary has it, whatever became of its flight.
#[derive(Debug, Clone)]
struct Message {
    flight: FlightId,
    writes: Vec<(String, Records)>,
    only_where: Option<Records>,
    sent: Instant,
    applied: bool,
}

struct Caller {
    answered: Option<oneshot::Receiver<Answer>>,
    submitted: usize,
    // What he was told, and when.
    told: Option<(usize, Answer)>,
}

struct Machine {
    lane: Lane,
    memory: Arc<Memory>,
    now: Instant,
    // Each state of the zone, one after the other.
    zone: Vec<BTreeMap<String, Addresses>>,
    callers: Vec<Caller>,
    in_flight: Vec<Message>,
    strays: Vec<Message>,
    answered: Vec<FlightId>,
    // All that may be remembered of a name.
    asked: Vec<Wish>,
}

impl Machine {
    fn held(&self, name: &str) -> Addresses {
        self.zone.last().and_then(|zone| zone.get(name)).copied().unwrap_or_default()
    }

    fn depart(&mut self) -> bool {
        let Some(flight) = self.lane.depart(self.now) else { return false };
        self.sent(flight);
        true
    }

    fn sent(&mut self, flight: FlightId) {
        let only_where = self.lane.undoes(flight);
        let writes = match self.lane.names(flight) {
            0 => Vec::new(),
            _ => self.lane.writes(flight).iter().map(|write| (write.name.to_string(), write.records)).collect(),
        };
        self.in_flight.push(Message { flight, writes, only_where, sent: self.now, applied: false });
    }

    /// Applies a message as a primary does; the error where it does not.
    fn apply(&mut self, message: &Message) -> Result<(), Rcode> {
        if message.applied {
            return Ok(());
        }
        for (name, records) in &message.writes {
            match message.only_where {
                None if name == HIDDEN && records.sets() => return Err(Rcode::YXRRSET),
                Some(lost) if after(lost, self.held(name)) != self.held(name) => return Err(Rcode::NXRRSET),
                None | Some(_) if name == FORBIDDEN => return Err(Rcode::REFUSED),
                None | Some(_) => {}
            }
        }
        let mut zone = self.zone.last().cloned().unwrap_or_default();
        for (name, records) in &message.writes {
            let held = zone.entry(name.clone()).or_default();
            *held = after(*records, *held);
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
            // Nobody refuses what he has done.
            How::WithError(rcode) if rcode != Rcode::SERVFAIL && message.applied => Ok(()),
            How::WithError(rcode) => Err(rcode),
            How::ServfailThoughApplied => self.apply(&message).and(Err(Rcode::SERVFAIL)),
        };
        match outcome {
            Ok(()) => drop(self.lane.acknowledged(message.flight, self.now)),
            Err(rcode) => match self.lane.failed(message.flight, failure(rcode), self.now).map(|ended| ended.next) {
                Some(Next::Probe(probe)) => self.sent(probe),
                Some(Next::Switch) => self.switch(),
                Some(Next::Stay) | None => {}
            },
        }
    }

    fn lose(&mut self, by_us: bool) {
        self.lane.connection_lost(by_us, self.now);
        self.strays.extend(self.in_flight.drain(..).filter(|message| !message.applied && !message.writes.is_empty()));
    }

    /// Another primary of the same data.
    fn switch(&mut self) {
        self.lose(true);
        self.memory.forget_all();
        self.lane.primary_changed();
    }

    fn stray_arrives(&mut self, which: usize) {
        if !self.strays.is_empty() {
            let stray = self.strays.remove(which % self.strays.len());
            // A primary refuses what was signed too long ago.
            if self.now.duration_since(stray.sent) < Duration::from_secs(FUDGE.into()) {
                let _refused = self.apply(&stray);
            }
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
    }
}

/// What is wished of one family; `None` where it is left alone.
fn wanted(records: Records, family: Family) -> Option<Option<IpAddr>> {
    match family {
        Family::V4 => records.v4.is_made().then(|| records.v4.set().map(IpAddr::from)),
        Family::V6 => records.v6.is_made().then(|| records.v6.set().map(IpAddr::from)),
    }
}

fn of_family(held: Addresses, family: Family) -> Option<IpAddr> {
    held.iter().find(|address| Family::of(*address) == family)
}

fn asked(name: &str) -> Vec<Wish> {
    let addresses = ["192.0.2.1", "192.0.2.2", "192.0.2.3", "2001:db8::1", "2001:db8::2", "2001:db8::3"];
    let set = addresses.map(|address| test_wish(name, address));
    let removed = [Family::V4, Family::V6].map(|family| Wish { records: Records::without(family), ..set[0].clone() });
    set.into_iter().chain(removed).collect()
}

struct Order;

impl StateMachineTest for Order {
    type SystemUnderTest = Machine;
    type Reference = Requests;

    fn init_test(_: &Requests) -> Machine {
        let memory = Arc::new(Memory::new(Duration::from_secs(60), 1000));
        Machine {
            lane: Lane::new(DEADLINE, 2, Arc::clone(&memory)),
            memory,
            now: Instant::now(),
            zone: vec![BTreeMap::new()],
            callers: Vec::new(),
            in_flight: Vec::new(),
            strays: Vec::new(),
            answered: Vec::new(),
            asked: (0..NAMES).flat_map(|name| asked(&format!("h{name}.dyn.example"))).collect(),
        }
    }

    fn apply(mut machine: Machine, _: &Requests, step: Step) -> Machine {
        match step {
            Step::Submit { name, records } => {
                let (answer, answered) = oneshot::channel();
                let wish = Wish { records, ..test_wish(&format!("h{name}.dyn.example"), "192.0.2.1") };
                machine.lane.submit(
                    Waiter { wish, until: machine.now + DEADLINE, is_errand: name == 0, answer, late: None },
                    machine.now,
                );
                let submitted = machine.zone.len() - 1;
                machine.callers.push(Caller { answered: Some(answered), submitted, told: None });
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
                    assert!(machine.lane.acknowledged(*flight, machine.now).is_none(), "an answer counts once");
                }
            }
            Step::Lose { by_us } => machine.lose(by_us),
            Step::Switch => machine.switch(),
            Step::StrayArrives(which) => machine.stray_arrives(which),
            Step::Pass(millis) => machine.now += Duration::from_millis(millis),
            Step::GiveUp(which) => {
                let count = machine.callers.len().max(1);
                machine.callers.get_mut(which % count).into_iter().for_each(|caller| caller.answered = None);
            }
        }
        machine.listen();
        machine
    }

    fn check_invariants(machine: &Machine, _: &Requests) {
        let mut names: Vec<_> =
            machine.lane.flights.values().flat_map(|flight| &flight.entries).map(|(name, _)| name).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count, "a name is in two messages");
        for wish in &machine.asked {
            if machine.memory.compare(wish, machine.now) == Compared::Same {
                let held = machine.held(wish.name.as_str());
                assert_eq!(after(wish.records, held), held, "{} does not hold what is remembered", wish.name);
            }
        }
    }

    /// All trouble ends; what strays arrives now; then time passes until nothing can come any longer.
    fn teardown(mut machine: Machine, requests: Requests) {
        while !machine.strays.is_empty() {
            machine.stray_arrives(0);
        }
        for _ in 0..FUDGE / 2 {
            while machine.depart() || !machine.in_flight.is_empty() {
                machine.answer(0, How::Truly);
            }
            machine.now += Duration::from_secs(5);
        }
        machine.listen();
        assert_eq!(machine.lane.pending(), 0);
        for (number, (caller, (name, records))) in machine.callers.iter().zip(&requests.0).enumerate() {
            assert!(caller.answered.is_none(), "request {number} is never answered");
            let Some((told, Ok(_))) = caller.told else { continue };
            for family in [Family::V4, Family::V6].into_iter().filter(|family| wanted(*records, *family).is_some()) {
                // Each newer wish for the family, with whether it was accepted.
                let newer = machine.callers.iter().zip(&requests.0).skip(number + 1);
                let newer = newer.filter(|(_, (other, _))| other == name).filter_map(|(caller, (_, records))| {
                    Some((wanted(*records, family)?, matches!(caller.told, Some((_, Ok(_))))))
                });
                let (mut wishes, accepted): (Vec<_>, Vec<_>) = newer.unzip();
                wishes.extend(wanted(*records, family));
                let states = machine.zone[caller.submitted..=told].iter();
                let held = states.map(|zone| of_family(zone.get(name).copied().unwrap_or_default(), family));
                let held: Vec<_> = held.collect();
                assert!(held.iter().any(|held| wishes.contains(held)), "request {number}: good, but it held {held:?}");
                let stands = of_family(machine.held(name), family);
                let is_last = !accepted.contains(&true);
                assert!(
                    !is_last || wishes.contains(&stands),
                    "request {number} came last, but {name} holds {stands:?}"
                );
            }
        }
    }
}

prop_state_machine! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn the_last_accepted_wins(sequential 1..60 => Order);
}
