//! The lane against a model of a primary that may refuse names, lose messages, and answer in any order.

use std::collections::BTreeMap;
use std::net::IpAddr;

use proptest::prelude::*;
use tokio::sync::oneshot;

use super::*;
use crate::dns::{Rcode, TsigFault};
use crate::engine::{Answer, Applied, Compared, Wish, test_wish};

const DEADLINE: Duration = Duration::from_secs(5);

fn failure(rcode: Rcode) -> Failure {
    Failure { rcode, tsig: None, signed: true }
}

/// A lane, the zone of a primary behind it, and the answers that the callers got.
struct Bench {
    lane: Lane,
    memory: Arc<Memory>,
    now: Instant,
    zone: BTreeMap<String, IpAddr>,
    callers: Vec<(Wish, oneshot::Receiver<Answer>)>,
    messages: usize,
}

impl Bench {
    fn new() -> Self {
        let memory = Arc::new(Memory::new(Duration::from_secs(60), 1000));
        Self {
            lane: Lane::new(DEADLINE, 1, Arc::clone(&memory)),
            memory,
            now: Instant::now(),
            zone: BTreeMap::new(),
            callers: Vec::new(),
            messages: 0,
        }
    }

    fn submit(&mut self, wish: Wish) {
        let (answer, answered) = oneshot::channel();
        self.lane.submit(Waiter { wish: wish.clone(), answer }, self.now);
        self.callers.push((wish, answered));
    }

    fn set(&mut self, name: &str, address: &str) {
        self.submit(test_wish(&format!("{name}.dyn.example"), address));
    }

    /// Answers `flight` as a primary would, to which `rule` gives the error for a name.
    fn answer(&mut self, flight: FlightId, rule: &dyn Fn(&str) -> Option<Failure>) {
        self.messages += 1;
        let writes: Vec<_> =
            self.lane.writes(flight).iter().map(|write| (write.name.to_string(), write.addresses)).collect();
        let is_probe = self.lane.names(flight) == 0;
        let bad = if is_probe { None } else { writes.iter().find_map(|(name, _)| rule(name)) };
        match bad {
            None => {
                if !is_probe {
                    self.zone.extend(writes.iter().flat_map(|(name, to)| to.iter().map(|to| (name.clone(), to))));
                }
                self.lane.acknowledged(flight, self.now).unwrap();
            }
            Some(failure) => {
                let (_, probe) = self.lane.failed(flight, failure, self.now).unwrap();
                if let Some(probe) = probe {
                    self.answer(probe, rule);
                }
            }
        }
    }

    fn run(&mut self, rule: &dyn Fn(&str) -> Option<Failure>) {
        for _ in 0..10_000 {
            match self.lane.depart(self.now) {
                Some((flight, _)) => self.answer(flight, rule),
                None if self.lane.pending() == 0 => return,
                None => self.now += REST,
            }
        }
        panic!("the lane does not come to an end");
    }

    fn answers(&mut self) -> Vec<Answer> {
        self.callers.iter_mut().map(|(_, answered)| answered.try_recv().expect("every caller is answered")).collect()
    }
}

#[test]
fn a_lone_change_leaves_at_once_and_the_rest_gather_while_the_window_is_full() {
    let mut bench = Bench::new();
    let mut flights = Vec::new();
    for n in 0..WINDOW {
        bench.set(&format!("w{n}"), "192.0.2.1");
        flights.push(bench.lane.depart(bench.now).expect("the window has room").0);
    }
    for n in 0..10 {
        bench.set(&format!("g{n}"), "192.0.2.1");
    }
    assert!(bench.lane.depart(bench.now).is_none(), "the window is full");
    bench.answer(flights[0], &|_| None);
    let (gathered, _) = bench.lane.depart(bench.now).unwrap();
    assert_eq!(bench.lane.names(gathered), 10, "all that gathered travels together");
}

#[test]
fn the_newest_address_wins_and_both_callers_are_answered() {
    let mut bench = Bench::new();
    for n in 0..WINDOW {
        bench.set(&format!("w{n}"), "192.0.2.1");
        bench.lane.depart(bench.now).unwrap();
    }
    bench.set("a", "192.0.2.1");
    bench.set("a", "192.0.2.2");
    bench.set("a", "2001:db8::1");
    let flights: Vec<_> = bench.lane.flights.keys().copied().collect();
    flights.into_iter().for_each(|flight| bench.answer(flight, &|_| None));
    bench.run(&|_| None);
    let answers = bench.answers();
    assert_eq!(answers[WINDOW], Ok(Applied { superseded: true }));
    assert_eq!(answers[WINDOW + 1], Ok(Applied { superseded: false }));
    assert_eq!(answers[WINDOW + 2], Ok(Applied { superseded: false }), "the other family is not replaced");
    assert_eq!(bench.messages, WINDOW + 1);
    let wish = test_wish("a.dyn.example", "192.0.2.2");
    assert_eq!(bench.memory.compare(&wish, bench.now), Compared::Same);
}

#[test]
fn two_messages_in_flight_never_hold_the_same_name() {
    let mut bench = Bench::new();
    bench.set("a", "192.0.2.1");
    let (first, _) = bench.lane.depart(bench.now).unwrap();
    bench.set("a", "192.0.2.2");
    assert!(bench.lane.depart(bench.now).is_none());
    bench.answer(first, &|_| None);
    assert!(bench.lane.depart(bench.now).is_some());
}

#[test]
fn one_bad_name_among_two_hundred_fails_alone_and_is_remembered() {
    for bad_answer in [
        failure(Rcode::YXRRSET),
        failure(Rcode::REFUSED),
        failure(Rcode::NOTZONE),
        Failure { rcode: Rcode::NOTAUTH, tsig: Some(TsigFault::BadKey), signed: false },
    ] {
        let mut bench = Bench::new();
        bench.lane.pace = Pace::new(DEADLINE);
        while bench.lane.pace.rrsets() < 200 {
            bench.lane.pace.answered(bench.lane.pace.rrsets(), Duration::ZERO);
        }
        for n in 0..200 {
            bench.set(&format!("h{n}"), "192.0.2.1");
        }
        let rule = |name: &str| (name == "h137.dyn.example").then_some(bad_answer);
        bench.run(&rule);
        for (n, answer) in bench.answers().into_iter().enumerate() {
            match (n, weigh(bad_answer)) {
                (137, Blame::Hidden) => assert_eq!(answer, Err(Trouble::Hidden(bad_answer))),
                (137, _) => assert_eq!(answer, Err(Trouble::Refused(bad_answer))),
                _ => assert_eq!(answer, Ok(Applied { superseded: false }), "h{n}"),
            }
        }
        assert!(bench.messages <= 40, "halving takes {} messages", bench.messages);
        let name = Hostname::parse("h137.dyn.example").unwrap();
        assert_eq!(bench.lane.suspects.company(&name, &Arc::from("x"), bench.now), Company::Alone);
    }
}

#[test]
fn a_failure_of_the_zone_does_not_cost_a_message_for_each_name() {
    let mut bench = Bench::new();
    for n in 0..16 {
        bench.set(&format!("h{n}"), "192.0.2.1");
    }
    let refused = failure(Rcode::REFUSED);
    let (flight, _) = bench.lane.depart(bench.now).unwrap();
    let (_, probe) = bench.lane.failed(flight, refused, bench.now).unwrap();
    bench.lane.failed(probe.expect("REFUSED may be the name's"), refused, bench.now).unwrap();
    assert!(bench.answers().iter().all(|answer| *answer == Err(Trouble::Refused(refused))));
    assert_eq!(bench.lane.pending(), 0);
}

#[test]
fn an_account_full_of_bad_names_does_not_hold_up_the_others_for_long() {
    let mut bench = Bench::new();
    for n in 0..20 {
        let wish = test_wish(&format!("bad{n}.dyn.example"), "192.0.2.1");
        bench.submit(Wish { account: Arc::from("attacker"), ..wish });
        bench.set(&format!("good{n}"), "192.0.2.1");
    }
    bench.run(&|name| name.starts_with("bad").then(|| failure(Rcode::YXRRSET)));
    let answers = bench.answers();
    let good = bench.callers.iter().zip(&answers).filter(|((wish, _), _)| wish.name.as_str().starts_with("good"));
    assert!(good.map(|(_, answer)| answer).all(|answer| answer.is_ok()), "{answers:?}");
}

#[test]
fn servfail_is_halved_once_and_then_believed() {
    let mut bench = Bench::new();
    for n in 0..16 {
        bench.set(&format!("h{n}"), "192.0.2.1");
    }
    bench.run(&|_| Some(failure(Rcode::SERVFAIL)));
    assert_eq!(bench.messages, 3);
    assert!(bench.answers().iter().all(|answer| *answer == Err(Trouble::Failed(failure(Rcode::SERVFAIL)))));
}

#[test]
fn what_nobody_waits_for_any_longer_never_leaves() {
    let mut bench = Bench::new();
    bench.set("a", "192.0.2.1");
    bench.set("b", "192.0.2.1");
    bench.callers.clear();
    bench.set("c", "192.0.2.1");
    bench.lane.forget_unwanted();
    assert_eq!(bench.lane.pending(), 1);
    bench.callers.clear();
    assert!(bench.lane.depart(bench.now).is_none());
    assert_eq!(bench.lane.pending(), 0);
}

#[test]
fn a_late_answer_is_believed_and_remembered() {
    let mut bench = Bench::new();
    bench.set("a", "192.0.2.1");
    let (flight, _) = bench.lane.depart(bench.now).unwrap();
    bench.callers.clear();
    bench.now += DEADLINE;
    assert_eq!(bench.lane.newly_overdue(bench.now), 1);
    assert_eq!(bench.lane.newly_overdue(bench.now), 0, "counted once");
    let wish = test_wish("a.dyn.example", "192.0.2.1");
    assert_eq!(bench.memory.compare(&wish, bench.now), Compared::Differs, "its name stays locked");
    bench.answer(flight, &|_| None);
    assert_eq!(bench.memory.compare(&wish, bench.now), Compared::Same);
}

#[test]
fn a_lost_message_is_sent_again_with_what_came_meanwhile() {
    let mut bench = Bench::new();
    bench.set("a", "192.0.2.1");
    bench.set("b", "192.0.2.1");
    bench.lane.depart(bench.now).unwrap();
    bench.set("a", "192.0.2.2");
    assert_eq!(bench.lane.connection_lost(bench.now).len(), 1);
    bench.run(&|_| None);
    assert_eq!(bench.messages, 1);
    assert_eq!(bench.zone["a.dyn.example"], "192.0.2.2".parse::<IpAddr>().unwrap());
    assert!(bench.answers().iter().all(Result::is_ok));
}

#[derive(Debug, Clone)]
enum Step {
    Submit { name: u8, address: u8 },
    Depart,
    Answer(usize),
    Lose,
    LoseAfterApplying,
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0u8..12, any::<u8>()).prop_map(|(name, address)| Step::Submit { name, address }),
        4 => Just(Step::Depart),
        4 => any::<usize>().prop_map(Step::Answer),
        1 => Just(Step::Lose),
        1 => Just(Step::LoseAfterApplying),
        1 => (0u64..2000).prop_map(Step::Pass),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Names 0 and 1 are bad. Whatever the order of answers and losses: every caller is answered, the last wish for each
    /// good name stands, nothing is acknowledged that the primary does not hold, and nothing is remembered that is not so.
    #[test]
    fn the_last_wish_stands(steps in prop::collection::vec(step(), 1..120)) {
        let mut bench = Bench::new();
        let bad = |name: &str| matches!(name, "h0.dyn.example" | "h1.dyn.example").then(|| failure(Rcode::YXRRSET));
        for step in steps {
            match step {
                Step::Submit { name, address } => bench.set(&format!("h{name}"), &format!("192.0.2.{address}")),
                Step::Depart => drop(bench.lane.depart(bench.now)),
                Step::Answer(which) => {
                    let mut flights: Vec<_> = bench.lane.flights.keys().copied().collect();
                    flights.sort_unstable();
                    if !flights.is_empty() {
                        bench.answer(flights[which % flights.len()], &bad);
                    }
                }
                Step::Lose => drop(bench.lane.connection_lost(bench.now)),
                Step::LoseAfterApplying => {
                    let flights: Vec<_> = bench.lane.flights.keys().copied().collect();
                    for flight in flights {
                        let writes: Vec<_> =
                            bench.lane.writes(flight).iter().map(|write| (write.name.to_string(), write.addresses)).collect();
                        if !writes.iter().any(|(name, _)| bad(name).is_some()) && bench.lane.names(flight) > 0 {
                            bench.zone.extend(writes.iter().flat_map(|(name, to)| to.iter().map(|to| (name.clone(), to))));
                        }
                    }
                    bench.lane.connection_lost(bench.now);
                }
                Step::Pass(millis) => bench.now += Duration::from_millis(millis),
            }
            let mut names: Vec<_> = bench.lane.flights.values().flat_map(|flight| &flight.entries).map(|(name, _)| name).collect();
            let count = names.len();
            names.sort_unstable();
            names.dedup();
            prop_assert_eq!(names.len(), count, "a name is in two messages");
        }
        let flights: Vec<_> = bench.lane.flights.keys().copied().collect();
        for flight in flights {
            if bench.lane.flights.contains_key(&flight) {
                bench.answer(flight, &bad);
            }
        }
        bench.run(&bad);
        let mut last = BTreeMap::new();
        for (wish, answer) in bench.callers.iter_mut() {
            let answer = answer.try_recv().expect("every caller is answered");
            prop_assert_eq!(answer.is_err(), bad(wish.name.as_str()).is_some());
            last.insert(wish.name.to_string(), wish.clone());
        }
        for (name, wish) in last {
            if bad(&name).is_none() {
                prop_assert_eq!(bench.zone.get(&name).copied(), wish.addresses.iter().next());
                let remembered = bench.memory.compare(&wish, bench.now);
                prop_assert_ne!(remembered, Compared::Differs);
            }
        }
    }
}
