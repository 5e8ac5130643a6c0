//! The first change of a name is read back before anybody hears of it, and no other.

use super::*;

/// One that was sent and acknowledged, and is to be read back.
fn acknowledged(bench: &mut Bench) -> Hostname {
    let flight = bench.queue.depart(bench.now).unwrap();
    bench.messages += 1;
    bench.queue.acknowledged(flight, bench.now).unwrap();
    bench.queue.next_to_prove().unwrap().name
}

fn unanswered(bench: &mut Bench) -> bool {
    bench.callers.iter_mut().all(|(_, answered)| answered.try_recv().is_err())
}

#[test]
fn nobody_hears_of_a_first_change_before_it_is_read_back_and_other_names_go_on() {
    let mut bench = Bench::new();
    bench.set("a", "192.0.2.1");
    let name = acknowledged(&mut bench);
    let change = test_change("a.dyn.example", "192.0.2.1");
    assert!(unanswered(&mut bench));
    assert_eq!(bench.compare(&change), Compared::Differs, "no nochg for what nobody read");
    bench.set("b", "192.0.2.2");
    bench.set("a", "192.0.2.3");
    let other = bench.queue.depart(bench.now).unwrap();
    assert_eq!(bench.queue.updates(other)[0].name.as_str(), "b.dyn.example", "the name itself waits");
    assert!(!bench.queue.read_back(&name, Ok(()), bench.now));
    assert_eq!(bench.callers[0].1.try_recv(), Ok(Ok(Applied { superseded: false })));
    bench.answer(other, &|_| None);
    bench.run(&|_| None);
    assert_eq!(bench.reads, 1, "of b alone: a was read");
}

#[test]
fn a_storm_costs_one_read_a_name_at_each_primary_and_no_message_more() {
    let mut bench = Bench::new();
    let mut counts = Vec::new();
    for round in 1..=4 {
        if round == 4 {
            bench.cache.forget_all();
            bench.queue.primary_changed(bench.now);
        }
        grow(&mut bench);
        (0..1000).for_each(|n| bench.set(&format!("h{n}"), &format!("192.0.2.{round}")));
        bench.run(&|_| None);
        counts.push((std::mem::take(&mut bench.messages), std::mem::take(&mut bench.reads)));
    }
    let [first, second, third, moved] = counts.try_into().unwrap();
    assert_eq!([first.1, second.1, third.1, moved.1], [1000, 0, 0, 1000]);
    assert_eq!([first.0, third.0, moved.0], [second.0; 3], "messages");
}

#[test]
fn what_is_not_read_back_is_sent_once_more_and_fails_then() {
    for trouble in [Trouble::Dropped, Trouble::Timeout, Trouble::Refused(failure(Rcode::REFUSED))] {
        let mut bench = Bench::new();
        bench.set("a", "192.0.2.1");
        let name = acknowledged(&mut bench);
        assert!(!bench.queue.read_back(&name, Err(trouble), bench.now), "something else may have written just then");
        assert!(unanswered(&mut bench));
        assert_eq!(acknowledged(&mut bench), name);
        assert!(bench.queue.read_back(&name, Err(trouble), bench.now));
        assert_eq!(bench.answers(), [Err(trouble)]);
        assert_eq!(bench.messages, 2);
        assert_eq!(bench.compare(&test_change("a.dyn.example", "192.0.2.1")), Compared::Unknown, "never nochg");
        bench.set("a", "192.0.2.1");
        bench.run(&|_| None);
        assert_eq!(bench.answers_left(), [Ok(Applied { superseded: false })], "once it is mended");
    }
}

#[test]
fn what_another_zone_serves_fails_at_once_and_a_removal_with_it_is_done() {
    let mut bench = Bench::new();
    bench.change("a", &set("192.0.2.1"));
    bench.change("a", &without(RrType::Aaaa));
    let name = acknowledged(&mut bench);
    assert!(bench.queue.read_back(&name, Err(Trouble::Elsewhere), bench.now));
    assert_eq!(bench.cache.served(&name), Served::Alike);
    bench.run(&|_| None);
    assert_eq!(bench.answers(), [Err(Trouble::Elsewhere), Ok(Applied { superseded: false })]);
}

#[test]
fn what_nobody_waits_for_is_read_back_too_and_rests_where_it_is_dropped() {
    let mut bench = Bench::new();
    bench.submit_background(&kept(Keep::Always, test_change("a.dyn.example", "192.0.2.1")));
    for _ in 0..2 {
        let name = acknowledged(&mut bench);
        assert!(bench.queue.is_proving() && bench.queue.take_ended().is_empty());
        bench.queue.read_back(&name, Err(Trouble::Dropped), bench.now);
    }
    assert!(bench.queue.depart(bench.now).is_none());
    assert!(bench.parked().iter().all(|parked| !parked.is_ready), "it rests");
    bench.now += AGAIN;
    bench.settle_all(RELEASE);
    bench.run(&|_| None);
    assert!(matches!(bench.queue.take_ended().as_slice(), [Ended { end: End::Done { is_awaited: false }, .. }]));
}

#[test]
fn what_one_primary_acknowledged_goes_to_the_next_where_it_was_not_read() {
    let mut bench = Bench::new();
    bench.set("a", "192.0.2.1");
    let name = acknowledged(&mut bench);
    bench.cache.forget_all();
    bench.queue.primary_changed(bench.now);
    assert!(!bench.queue.read_back(&name, Ok(()), bench.now), "the first one's word counts no longer");
    assert!(unanswered(&mut bench));
    bench.run(&|_| None);
    assert_eq!(bench.answers(), [Ok(Applied { superseded: false })]);
    assert_eq!((bench.messages, bench.reads), (2, 1));
}

#[test]
fn what_was_not_read_back_and_went_with_its_caller_may_be_done_all_the_same() {
    let mut bench = Bench::new();
    let before = test_change("a.dyn.example", "192.0.2.1");
    bench.cache.verified(&before.name, before.records.iter(), bench.now);
    bench.change("a", &removed());
    let name = acknowledged(&mut bench);
    bench.callers_go();
    bench.queue.read_back(&name, Err(Trouble::Timeout), bench.now);
    bench.queue.sweep(bench.now);
    assert_eq!(bench.queue.pending(), 0);
    assert_eq!(bench.compare(&before), Compared::Unknown);
}
