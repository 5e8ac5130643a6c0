//! Thousands of random interleavings of requests, messages, answers and losses.

use proptest::prelude::*;

use super::*;

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
                Step::Lose => drop(bench.lane.connection_lost(false, bench.now)),
                Step::LoseAfterApplying => {
                    let flights: Vec<_> = bench.lane.flights.keys().copied().collect();
                    for flight in flights {
                        let writes: Vec<_> =
                            bench.lane.writes(flight).iter().map(|write| (write.name.to_string(), write.addresses)).collect();
                        if !writes.iter().any(|(name, _)| bad(name).is_some()) && bench.lane.names(flight) > 0 {
                            bench.zone.extend(writes.iter().flat_map(|(name, to)| to.iter().map(|to| (name.clone(), to))));
                        }
                    }
                    bench.lane.connection_lost(false, bench.now);
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
