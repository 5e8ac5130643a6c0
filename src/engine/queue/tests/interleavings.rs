//! Thousands of random interleavings of requests, messages, answers and losses.

use proptest::prelude::*;

use super::*;
use crate::model::Family;

#[derive(Debug, Clone)]
enum Step {
    Submit { name: u8, records: Records },
    Depart,
    Answer(usize),
    Lose,
    LoseAfterApplying,
    Pass(u64),
}

fn records() -> impl Strategy<Value = Records> {
    let v4 = |last: u8| Change::Set([192, 0, 2, last].into());
    let v6 = |last: u8| Change::Set([0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(last)].into());
    prop_oneof![
        4 => any::<u8>().prop_map(move |last| Records { v4: v4(last), v6: Change::Leave }),
        1 => any::<u8>().prop_map(move |last| Records { v4: Change::Leave, v6: v6(last) }),
        1 => any::<u8>().prop_map(move |last| Records { v4: v4(last), v6: v6(last) }),
        1 => any::<u8>().prop_map(move |last| Records { v4: v4(last), v6: Change::Remove }),
        1 => Just(Records::without(Family::V4)),
        1 => Just(Records::without(Family::V6)),
        2 => Just(Records::REMOVED),
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
    /// answered, the last wish for each family of each good name stands, nothing is acknowledged that the primary does not
    /// hold, nothing is remembered that is not so, and a removal at the CNAME succeeds.
    #[test]
    fn the_last_wish_stands(steps in prop::collection::vec(step(), 1..120)) {
        let mut bench = Bench::new();
        let bad = |name: &str| match name {
            "h0.dyn.example" => Some(failure(Rcode::YXRRSET)),
            "h1.dyn.example" => Some(failure(Rcode::REFUSED)),
            _ => None,
        };
        let any_lost = steps.iter().any(|step| matches!(step, Step::Lose | Step::LoseAfterApplying));
        for step in steps {
            match step {
                Step::Submit { name, records } => bench.change(&format!("h{name}"), records),
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
                        if bench.error(flight, &bad).is_none() && bench.lane.names(flight) > 0 {
                            bench.apply(flight);
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
        let mut last: BTreeMap<_, Records> = BTreeMap::new();
        for (wish, answer) in bench.callers.iter_mut() {
            let answer = answer.try_recv().expect("every caller is answered");
            match bad(wish.name.as_str()) {
                None => prop_assert!(answer.is_ok()),
                Some(Failure { rcode: Rcode::YXRRSET, .. }) if !wish.records.sets() => prop_assert!(answer.is_ok()),
                // Replaced by a removal before it could fail.
                Some(Failure { rcode: Rcode::YXRRSET, .. }) => {
                    let fits = matches!(answer, Err(Trouble::Hidden(_)) | Ok(Applied { superseded: true }));
                    prop_assert!(fits, "{:?} at a CNAME", answer);
                }
                Some(_) => prop_assert!(matches!(answer, Err(Trouble::Refused(_)))),
            }
            let last = last.entry(wish.name.clone()).or_default();
            *last = Records { v4: wish.records.v4.after(last.v4), v6: wish.records.v6.after(last.v6) };
        }
        for (name, records) in last {
            let held = bench.zone.get(name.as_str()).copied().unwrap_or_default();
            if bad(name.as_str()).is_some() {
                prop_assert_eq!(held, Addresses::default());
                continue;
            }
            prop_assert_eq!(held, after(records, Addresses::default()));
            let remembered = bench.memory.compare(&Wish { records, ..test_wish(name.as_str(), "192.0.2.1") }, bench.now);
            prop_assert!(any_lost || remembered != Compared::Differs);
            for other in [Records::REMOVED, set_v4(7), set_v4(8)] {
                let wish = Wish { records: other, ..test_wish(name.as_str(), "192.0.2.1") };
                if after(other, held) != held {
                    prop_assert_ne!(bench.memory.compare(&wish, bench.now), Compared::Same);
                }
            }
        }
    }
}

fn set_v4(last: u8) -> Records {
    Records { v4: Change::Set([192, 0, 2, last].into()), v6: Change::Leave }
}
