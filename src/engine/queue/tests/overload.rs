//! More than a primary can do at once, or than fits a message: who is sent, in whose turn, and who is turned away.

use super::*;

#[test]
fn a_storm_encodes_next_to_nothing_in_vain() {
    let key = TsigKey::new(KeyName::parse("k").unwrap(), "hmac-sha256".parse().unwrap(), "c2VjcmV0").unwrap();
    let update = Update::new(ZoneName::parse("dyn.example").unwrap(), Signer::new(key).unwrap()).unwrap();
    let mut bench = Bench::new();
    for n in 0..8000 {
        bench.set(&format!("h{n}"), "192.0.2.1");
    }
    let mut in_vain = 0;
    while let Some(flight) = bench.lane.depart(bench.now) {
        if update.replace(7, &bench.lane.writes(flight)).is_ok() {
            bench.answer(flight, &|_| None);
        } else {
            in_vain += 1;
            bench.lane.too_large(flight);
        }
    }
    assert!(bench.answers().iter().all(Result::is_ok));
    assert!((1..=6).contains(&in_vain), "{in_vain} of {} messages and more", bench.messages);
}

#[test]
fn errands_take_turns_with_clients() {
    let mut bench = Bench::new();
    for n in 0..60 {
        bench.submit_errand(test_wish(&format!("errand{n}.dyn.example"), "192.0.2.1"));
    }
    let first = bench.lane.depart(bench.now).unwrap();
    bench.set("client", "192.0.2.1");
    let next = [(); 2].map(|()| bench.lane.depart(bench.now).unwrap());
    let named = next.map(|flight| bench.lane.writes(flight)[0].name.as_str().starts_with("client"));
    assert_eq!(named, [false, true], "before the last of the errands");
    [first].into_iter().chain(next).for_each(|flight| bench.answer(flight, &|_| None));
    bench.run(&|_| None);
}

#[test]
fn a_client_who_asks_for_what_an_errand_is_about_does_not_wait_with_the_errands() {
    let mut bench = Bench::new();
    for n in 0..100 {
        bench.submit_errand(test_wish(&format!("h{n}.dyn.example"), "192.0.2.1"));
    }
    bench.set("h99", "192.0.2.2");
    let left = [(); 2].map(|()| bench.lane.depart(bench.now).unwrap());
    assert_eq!(left.map(|flight| bench.lane.names(flight)), [16, 1]);
    assert_eq!(bench.lane.writes(left[1])[0].name.as_str(), "h99.dyn.example");
    left.into_iter().for_each(|flight| bench.answer(flight, &|_| None));
    bench.run(&|_| None);
    assert_eq!(bench.held("h99"), "192.0.2.2".parse::<std::net::IpAddr>().unwrap().into());
}

#[test]
fn who_cannot_be_answered_in_time_is_told_and_who_came_after_him_is_sent() {
    let ms = Duration::from_millis;
    let mut bench = Bench::new();
    for n in 0..20 {
        bench.set(&format!("h{n}"), "192.0.2.1");
        let flight = bench.lane.depart(bench.now).unwrap();
        bench.now += ms(500);
        bench.answer(flight, &|_| None);
    }
    bench.fill_window();
    let oldest = *bench.lane.flights.keys().min().unwrap();
    bench.callers.clear();
    bench.submit_until(test_wish("late.dyn.example", "192.0.2.2"), bench.now + ms(1500));
    bench.submit_until(test_wish("fresh.dyn.example", "192.0.2.2"), bench.now + DEADLINE);
    bench.now += ms(500);
    bench.answer(oldest, &|_| None);
    let flight = bench.lane.depart(bench.now).unwrap();
    assert_eq!(bench.lane.names(flight), 1);
    bench.answer(flight, &|_| None);
    assert_eq!(bench.answers(), [Err(Trouble::Overloaded), Ok(Applied { superseded: false })]);
    assert_eq!(bench.held("late"), Addresses::default());
}

#[test]
fn who_waited_while_the_primary_was_silent_is_not_told_that_too_many_wait() {
    let mut bench = Bench::new();
    bench.fill_window();
    let oldest = *bench.lane.flights.keys().min().unwrap();
    bench.callers.clear();
    bench.submit_until(test_wish("late.dyn.example", "192.0.2.2"), bench.now + DEADLINE * 7 / 10);
    bench.now += DEADLINE * 6 / 10;
    bench.answer(oldest, &|_| None);
    bench.submit_until(test_wish("fresh.dyn.example", "192.0.2.2"), bench.now + DEADLINE);
    let flight = bench.lane.depart(bench.now).unwrap();
    bench.answer(flight, &|_| None);
    assert_eq!(bench.answers(), [Err(Trouble::Silent), Ok(Applied { superseded: false })]);
}
