//! More than a primary can do at once, or than fits a message: who is sent, in whose turn, and who is turned away.

use super::*;

#[test]
fn a_storm_encodes_next_to_nothing_in_vain() {
    let key = TsigKey::new(KeyName::parse("k").unwrap(), "hmac-sha256".parse().unwrap(), "c2VjcmV0").unwrap();
    let update = Update::new(ZoneName::parse("dyn.example").unwrap(), Signer::new(&key).unwrap()).unwrap();
    let mut bench = Bench::new();
    for n in 0..8000 {
        bench.set(&format!("h{n}"), "192.0.2.1");
    }
    let mut in_vain = 0;
    while let Some(flight) = bench.queue.depart(bench.now) {
        if update.replace(7, &bench.queue.updates(flight)).is_ok() {
            bench.answer(flight, &|_| None);
        } else {
            in_vain += 1;
            bench.queue.too_large(flight);
        }
    }
    assert!(bench.answers().iter().all(Result::is_ok));
    assert!((1..=6).contains(&in_vain), "{in_vain} of {} messages and more", bench.messages);
}

#[test]
fn one_message_of_background_changes_is_under_way_at_a_time() {
    let mut bench = Bench::new();
    for n in 0..60 {
        bench.submit_background(&kept(Keep::Always, test_change(&format!("b{n}.dyn.example"), "192.0.2.1")));
    }
    let is_clients = |bench: &Bench, flight| bench.queue.updates(flight)[0].name.as_str().starts_with("client");
    let first = bench.queue.depart(bench.now).unwrap();
    assert!(!bench.queue.has_work(bench.now) && bench.queue.depart(bench.now).is_none());
    for n in 0..WORTH_A_MESSAGE {
        bench.set(&format!("client{n}"), "192.0.2.1");
    }
    let clients = bench.queue.depart(bench.now).unwrap();
    assert!(is_clients(&bench, clients));
    assert_eq!(bench.queue.depart(bench.now), None);
    bench.answer(first, &|_| None);
    let second = bench.queue.depart(bench.now).unwrap();
    assert!(!is_clients(&bench, second));
    [clients, second].into_iter().for_each(|flight| bench.answer(flight, &|_| None));
    bench.run(&|_| None);
    assert_eq!(bench.held("b59"), holding("192.0.2.1"));
}

#[test]
fn a_client_that_asks_for_what_a_background_change_is_about_does_not_wait_with_those() {
    let mut bench = Bench::new();
    for n in 0..100 {
        bench.submit_background(&kept(Keep::Always, test_change(&format!("h{n}.dyn.example"), "192.0.2.1")));
    }
    bench.set("h99", "192.0.2.2");
    let left = [(); 2].map(|()| bench.queue.depart(bench.now).unwrap());
    assert_eq!(left.map(|flight| bench.queue.names(flight)), [16, 1]);
    assert_eq!(bench.queue.updates(left[1])[0].name.as_str(), "h99.dyn.example");
    left.into_iter().for_each(|flight| bench.answer(flight, &|_| None));
    bench.run(&|_| None);
    assert_eq!(bench.held("h99"), holding("192.0.2.2"));
}

#[test]
fn who_cannot_be_answered_in_time_is_told_and_who_came_later_is_sent() {
    let ms = Duration::from_millis;
    let mut bench = Bench::new();
    for n in 0..20 {
        bench.set(&format!("h{n}"), "192.0.2.1");
        let flight = bench.queue.depart(bench.now).unwrap();
        bench.now += ms(500);
        bench.answer(flight, &|_| None);
    }
    bench.fill_window();
    let oldest = *bench.queue.flights.keys().min().unwrap();
    bench.callers_go();
    bench.submit_until(test_change("late.dyn.example", "192.0.2.2"), bench.now + ms(1500));
    bench.submit_until(test_change("fresh.dyn.example", "192.0.2.2"), bench.now + DEADLINE);
    bench.now += ms(500);
    bench.answer(oldest, &|_| None);
    let flight = bench.queue.depart(bench.now).unwrap();
    assert_eq!(bench.queue.names(flight), 1);
    bench.answer(flight, &|_| None);
    assert_eq!(bench.answers(), [Err(Trouble::Overloaded), Ok(Applied { superseded: false })]);
    assert_eq!(bench.held("late"), Held::new());
}

#[test]
fn who_waited_while_the_primary_was_silent_is_not_told_that_too_many_wait() {
    let mut bench = Bench::new();
    bench.fill_window();
    let oldest = *bench.queue.flights.keys().min().unwrap();
    bench.callers_go();
    bench.submit_until(test_change("late.dyn.example", "192.0.2.2"), bench.now + DEADLINE * 7 / 10);
    bench.now += DEADLINE * 6 / 10;
    bench.answer(oldest, &|_| None);
    bench.submit_until(test_change("fresh.dyn.example", "192.0.2.2"), bench.now + DEADLINE);
    let flight = bench.queue.depart(bench.now).unwrap();
    bench.answer(flight, &|_| None);
    assert_eq!(bench.answers(), [Err(Trouble::Silent), Ok(Applied { superseded: false })]);
}
