//! Thousands of random interleavings of requests, messages, answers and losses.

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Step {
    Submit { name: u8, records: DesiredRecords },
    Depart,
    Answer(usize),
    Lose,
    LoseAfterApplying,
    Pass(u64),
}

fn records() -> impl Strategy<Value = DesiredRecords> {
    let v4 = |last: u8| set(&format!("192.0.2.{last}"));
    let v6 = |last: u8| set(&format!("2001:db8::{last:x}"));
    prop_oneof![
        4 => any::<u8>().prop_map(v4),
        1 => any::<u8>().prop_map(v6),
        1 => any::<u8>().prop_map(move |last| and(&v4(last), &v6(last))),
        1 => any::<u8>().prop_map(move |last| and(&v4(last), &without(RrType::Aaaa))),
        1 => Just(without(RrType::A)),
        1 => Just(without(RrType::Aaaa)),
        2 => Just(removed()),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0u8..12, records()).prop_map(|(name, records)| Step::Submit { name, records }),
        4 => Just(Step::Depart),
        4 => any::<usize>().prop_map(Step::Answer),
        1 => Just(Step::Lose),
        1 => Just(Step::LoseAfterApplying),
        1 => (0u64..2000).prop_map(Step::Pass),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Name 0 stands at a CNAME and name 1 may not be changed. Whatever the order of answers and losses: every caller is
    /// answered, the last change of each RRset of each good name stands, nothing is acknowledged that the primary does not
    /// hold, nothing is remembered that is not so, and a removal at the CNAME succeeds.
    #[test]
    fn the_last_change_stands(steps in prop::collection::vec(step(), 1..120)) {
        let mut bench = Bench::new();
        let bad = |name: &str| match name {
            "h0.dyn.example" => Some(failure(Rcode::YXRRSET)),
            "h1.dyn.example" => Some(failure(Rcode::REFUSED)),
            _ => None,
        };
        let any_lost = steps.iter().any(|step| matches!(step, Step::Lose | Step::LoseAfterApplying));
        for step in steps {
            match step {
                Step::Submit { name, records } => bench.change(&format!("h{name}"), &records),
                Step::Depart => drop(bench.queue.depart(bench.now)),
                Step::Answer(which) => {
                    let mut flights: Vec<_> = bench.queue.flights.keys().copied().collect();
                    flights.sort_unstable();
                    if !flights.is_empty() {
                        bench.answer(flights[which % flights.len()], &bad);
                    }
                }
                Step::Lose => drop(bench.queue.connection_lost(false, bench.now)),
                Step::LoseAfterApplying => {
                    let flights: Vec<_> = bench.queue.flights.keys().copied().collect();
                    for flight in flights {
                        if bench.error(flight, &bad).is_none() && bench.queue.names(flight) > 0 {
                            bench.apply(flight);
                        }
                    }
                    bench.queue.connection_lost(false, bench.now);
                }
                Step::Pass(millis) => bench.now += Duration::from_millis(millis),
            }
            let mut names: Vec<_> = bench.queue.flights.values().flat_map(|flight| &flight.entries).map(|(name, _)| name).collect();
            let count = names.len();
            names.sort_unstable();
            names.dedup();
            prop_assert_eq!(names.len(), count, "a name is in two messages");
        }
        let flights: Vec<_> = bench.queue.flights.keys().copied().collect();
        for flight in flights {
            if bench.queue.flights.contains_key(&flight) {
                bench.answer(flight, &bad);
            }
        }
        bench.run(&bad);
        let mut last: BTreeMap<_, DesiredRecords> = BTreeMap::new();
        for (change, answer) in bench.callers.iter_mut() {
            let answer = answer.try_recv().expect("every caller is answered");
            match bad(change.name.as_str()) {
                None => prop_assert!(answer.is_ok()),
                Some(Failure { rcode: Rcode::YXRRSET, .. }) if !change.records.sets() => prop_assert!(answer.is_ok()),
                // Replaced by a removal before it could fail.
                Some(Failure { rcode: Rcode::YXRRSET, .. }) => {
                    let fits = matches!(answer, Err(Trouble::Hidden(_)) | Ok(Applied { superseded: true }));
                    prop_assert!(fits, "{:?} at a CNAME", answer);
                }
                Some(_) => prop_assert!(matches!(answer, Err(Trouble::Refused(_)))),
            }
            let last = last.entry(change.name.clone()).or_default();
            *last = and(last, &change.records);
        }
        for (name, records) in last {
            let held = bench.zone.get(name.as_str()).cloned().unwrap_or_default();
            if bad(name.as_str()).is_some() {
                prop_assert_eq!(held, Held::new());
                continue;
            }
            prop_assert_eq!(&held, &after(&records, Held::new()));
            let remembered = bench.compare(&change_to(name.as_str(), &records));
            prop_assert!(any_lost || remembered != Compared::Differs);
            for other in [removed(), set("192.0.2.7"), set("192.0.2.8")] {
                if after(&other, held.clone()) != held {
                    prop_assert_ne!(bench.compare(&change_to(name.as_str(), &other)), Compared::Same);
                }
            }
        }
    }
}
