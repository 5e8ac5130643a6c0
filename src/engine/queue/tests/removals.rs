//! Removals: in the same messages as what is set, without guards of their own.

use super::*;

const HIDDEN: Rcode = Rcode::YXRRSET;

/// A bench whose window is full, so that what is submitted gathers in one message.
fn gathering() -> Bench {
    let mut bench = Bench::new();
    bench.fill_window();
    bench
}

/// Lets the window's messages and all that gathered pass; the answers to what gathered.
fn finish(bench: &mut Bench, rule: &dyn Fn(&str) -> Option<Failure>) -> Vec<Answer> {
    bench.answer_all(rule);
    bench.run(rule);
    bench.answers().split_off(WINDOW)
}

#[test]
fn the_newest_wins_type_by_type() {
    let (both, no_v4, no_v6) = (removed(), without(RrType::A), without(RrType::Aaaa));
    let (v4, v4_v6) = (set("192.0.2.1"), set("192.0.2.1,2001:db8::1"));
    let four_only = and(&v4, &no_v6);
    let before = holding("198.51.100.1,2001:db8::99");
    // Changes in their order, what travels, and which were superseded.
    for (changes, travels, superseded) in [
        (vec![&both], &both, vec![false]),
        (vec![&no_v6], &no_v6, vec![false]),
        (vec![&no_v4, &no_v6], &both, vec![false, false]),
        (vec![&both, &both], &both, vec![false, false]),
        (vec![&no_v4, &v4], &v4, vec![true, false]),
        (vec![&no_v6, &v4], &four_only, vec![false, false]),
        (vec![&both, &v4], &four_only, vec![true, false]),
        (vec![&both, &v4_v6], &v4_v6, vec![true, false]),
        (vec![&v4, &both], &both, vec![true, false]),
        (vec![&v4, &no_v6], &four_only, vec![false, false]),
        (vec![&v4_v6, &no_v6], &four_only, vec![true, false]),
        (vec![&set("192.0.2.9"), &both, &v4], &four_only, vec![true, true, false]),
        (vec![&v4, &both, &v4], &four_only, vec![false, true, false]),
    ] {
        let mut bench = gathering();
        bench.zone.insert("a.dyn.example".to_owned(), before.clone());
        changes.iter().for_each(|records| bench.change("a", records));
        let answers = finish(&mut bench, &|_| None);
        let expected: Vec<_> = superseded.into_iter().map(|superseded| Ok(Applied { superseded })).collect();
        assert_eq!(answers, expected, "{changes:?}");
        assert_eq!(bench.held("a"), after(travels, before.clone()), "{changes:?}");
        assert_eq!(bench.messages, WINDOW + 1, "one message for {changes:?}");
        assert_eq!(bench.compare(&change_to("a.dyn.example", travels)), Compared::Same, "{changes:?}");
    }
}

#[test]
fn what_was_removed_is_not_remembered_as_set() {
    let mut bench = Bench::new();
    let change = test_change("a.dyn.example", "192.0.2.1");
    bench.submit(change.clone());
    bench.run(&|_| None);
    assert_eq!(bench.compare(&change), Compared::Same);
    bench.change("a", &removed());
    bench.run(&|_| None);
    assert_eq!(bench.compare(&change), Compared::Differs);
    assert_eq!(bench.compare(&test_change("a.dyn.example", "2001:db8::1")), Compared::Differs);
}

#[test]
fn a_removal_that_was_lost_is_sent_again_and_believed_by_no_later_word() {
    let mut bench = Bench::new();
    bench.change("a", &removed());
    let flight = bench.queue.depart(bench.now).unwrap();
    bench.change("a", &without(RrType::A));
    assert!(bench.queue.depart(bench.now).is_none(), "its name is in flight");
    bench.apply(flight);
    bench.queue.connection_lost(false, bench.now);
    bench.run(&|_| None);
    assert_eq!(bench.answers(), [Ok(Applied { superseded: false }); 2]);
    let removal = change_to("a.dyn.example", &removed());
    assert_eq!(bench.compare(&removal), Compared::Differs, "what was lost may yet come");
}

#[test]
fn removals_where_addresses_are_hidden_neither_fail_nor_split_the_batch() {
    let mut bench = gathering();
    for n in 0..6 {
        bench.change(&format!("alias{n}"), &removed());
        bench.set(&format!("good{n}"), "192.0.2.1");
    }
    let answers = finish(&mut bench, &|name| name.starts_with("alias").then(|| failure(HIDDEN)));
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert_eq!(bench.messages, WINDOW + 2, "18 RRsets in two messages: {}", bench.messages);
}

#[test]
fn a_removal_is_not_failed_by_the_guard_of_what_was_set_at_its_name() {
    let hidden = Err(Trouble::Hidden(failure(HIDDEN)));
    let done = Ok(Applied { superseded: false });
    let both = and(&set("192.0.2.1"), &without(RrType::Aaaa));
    for (changes, expected) in [
        (vec![removed(), set("192.0.2.1")], vec![done, hidden]),
        (vec![set("192.0.2.1"), without(RrType::Aaaa)], vec![hidden, done]),
        (vec![set("192.0.2.1"), removed(), set("2001:db8::1")], vec![hidden, done, hidden]),
        (vec![without(RrType::A), both], vec![done, hidden]),
    ] {
        let mut bench = gathering();
        changes.iter().for_each(|records| bench.change("alias", records));
        let answers = finish(&mut bench, &|name| name.starts_with("alias").then(|| failure(HIDDEN)));
        assert_eq!(answers, expected, "{changes:?}");
        assert_eq!(bench.queue.pending(), 0);
    }
}

#[test]
fn a_primary_that_fails_guards_which_are_not_there_is_believed() {
    let mut bench = Bench::new();
    bench.change("a", &set("192.0.2.1"));
    bench.change("a", &removed());
    let flight = bench.queue.depart(bench.now).unwrap();
    bench.queue.failed(flight, failure(HIDDEN), bench.now).unwrap();
    assert_eq!(bench.answers(), [Err(Trouble::Hidden(failure(HIDDEN))); 2]);
    assert_eq!(bench.queue.pending(), 0, "it is not asked for ever");
}

#[test]
fn what_came_while_a_message_failed_goes_on_above_the_removals_it_left() {
    let mut bench = Bench::new();
    bench.change("alias", &without(RrType::Aaaa));
    bench.set("alias", "192.0.2.1");
    let first = bench.queue.depart(bench.now).unwrap();
    bench.change("alias", &without(RrType::A));
    let rule = |_: &str| Some(failure(HIDDEN));
    bench.answer(first, &rule);
    bench.run(&rule);
    let done = Ok(Applied { superseded: false });
    assert_eq!(bench.answers(), [done, Err(Trouble::Hidden(failure(HIDDEN))), done]);
    assert_eq!(bench.messages, 2, "both removals in one message");
}

#[test]
fn a_removal_clears_no_name_that_spoiled_a_batch() {
    let mut bench = Bench::new();
    let rule = |_: &str| Some(failure(HIDDEN));
    bench.set("alias", "192.0.2.1");
    bench.run(&rule);
    bench.change("alias", &removed());
    bench.run(&rule);
    assert_eq!(class(&bench, &change_of("alias", "account")), BatchClass::Alone, "its guard was not tried");
}

#[test]
fn a_removal_that_is_not_allowed_fails_alone() {
    let mut bench = gathering();
    for n in 0..6 {
        bench.change(&format!("h{n}"), &removed());
    }
    let refused = failure(Rcode::REFUSED);
    let answers = finish(&mut bench, &|name| (name == "h3.dyn.example").then_some(refused));
    for (n, answer) in answers.into_iter().enumerate() {
        assert_eq!(answer.err(), (n == 3).then_some(Trouble::Refused(refused)), "h{n}");
    }
}
