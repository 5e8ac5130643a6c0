//! The zone queue against a model of a primary that may refuse names, lose messages, and answer in any order.

mod bench;
mod interleavings;
mod late;
mod order;
mod overload;
mod pending;
mod proving;
mod removals;
mod seconds;

use std::collections::BTreeMap;
use std::net::IpAddr;

use tokio::sync::oneshot;

use bench::{Bench, Held, RELEASE, after, and, change_to, holding, kept, put, removed, set, without};

use super::*;
use crate::dns::{Rcode, Signer, TsigFault, Update};
use crate::engine::cache::Served;
use crate::engine::{Answer, Applied, Compared, Keep, Origin, test_change, test_origin};
use crate::model::{DesiredRecords, KeyName, RrData, RrKey, RrType, TsigKey, ZoneName};

const DEADLINE: Duration = Duration::from_secs(5);

fn failure(rcode: Rcode) -> Failure {
    Failure { rcode, tsig: None, signed: true }
}

#[test]
fn a_lone_change_leaves_at_once_and_the_rest_gather_while_it_is_answered() {
    let mut bench = Bench::new();
    bench.set("a", "192.0.2.1");
    let lone = bench.queue.depart(bench.now).unwrap();
    for n in 0..WORTH_A_MESSAGE - 1 {
        bench.set(&format!("g{n}"), "192.0.2.1");
    }
    assert!(bench.queue.depart(bench.now).is_none(), "they would be no sooner done");
    assert_eq!(bench.queue.next_rest_end(bench.now), Some(bench.now + DEADLINE / WAIT_SHARE));
    bench.answer(lone, &|_| None);
    let gathered = bench.queue.depart(bench.now).unwrap();
    assert_eq!(bench.queue.names(gathered), WORTH_A_MESSAGE - 1, "all that gathered travels together");
}

#[test]
fn many_changes_wait_for_no_answer_and_a_few_not_for_long() {
    let mut bench = Bench::new();
    bench.set("a", "192.0.2.1");
    bench.queue.depart(bench.now).unwrap();
    for n in 0..WORTH_A_MESSAGE {
        bench.set(&format!("g{n}"), "192.0.2.1");
    }
    assert!(bench.queue.depart(bench.now).is_some(), "they are worth a message");
    bench.set("b", "192.0.2.1");
    assert!(bench.queue.depart(bench.now).is_none());
    bench.now += DEADLINE / WAIT_SHARE;
    assert!(bench.queue.depart(bench.now).is_some());
}

#[test]
fn the_window_has_an_end() {
    let mut bench = Bench::new();
    bench.fill_window();
    for n in 0..WORTH_A_MESSAGE {
        bench.set(&format!("g{n}"), "192.0.2.1");
    }
    assert!(bench.queue.depart(bench.now).is_none());
}

#[test]
fn the_newest_address_wins_and_both_callers_are_answered() {
    let mut bench = Bench::new();
    bench.fill_window();
    bench.set("a", "192.0.2.1");
    bench.set("a", "192.0.2.2");
    bench.set("a", "2001:db8::1");
    bench.answer_all(&|_| None);
    bench.run(&|_| None);
    let answers = bench.answers();
    assert_eq!(answers[WINDOW], Ok(Applied { superseded: true }));
    assert_eq!(answers[WINDOW + 1], Ok(Applied { superseded: false }));
    assert_eq!(answers[WINDOW + 2], Ok(Applied { superseded: false }), "the other type is not replaced");
    assert_eq!(bench.messages, WINDOW + 1);
    assert_eq!(bench.compare(&test_change("a.dyn.example", "192.0.2.2")), Compared::Same);
}

#[test]
fn what_nobody_waits_for_is_not_revived_by_what_comes_after_it() {
    let mut bench = Bench::new();
    bench.set("a", "2001:db8::1");
    bench.callers_go();
    bench.set("a", "192.0.2.1");
    let flight = bench.queue.depart(bench.now).unwrap();
    bench.answer(flight, &|_| None);
    assert_eq!(bench.answers(), [Ok(Applied { superseded: false })]);
    let known = test_change("a.dyn.example", "192.0.2.1");
    assert_eq!(bench.compare(&known), Compared::Differs, "no nochg while anything of the name is pending");
    bench.run(&|_| None);
    assert_eq!(bench.compare(&known), Compared::Same);
    assert_eq!(bench.held("a"), holding("192.0.2.1"));
    assert_eq!(bench.messages, 1, "what went with its caller is not sent");
}

#[test]
fn two_messages_in_flight_never_hold_the_same_name() {
    let mut bench = Bench::new();
    bench.set("a", "192.0.2.1");
    let first = bench.queue.depart(bench.now).unwrap();
    bench.set("a", "192.0.2.2");
    assert!(bench.queue.depart(bench.now).is_none());
    bench.answer(first, &|_| None);
    assert!(bench.queue.depart(bench.now).is_some());
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
        grow(&mut bench);
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
        assert_eq!(bench.queue.quarantine.class(&name, &Arc::from("x"), bench.now), BatchClass::Alone);
    }
}

#[test]
fn a_failure_of_the_zone_does_not_cost_a_message_for_each_name() {
    let mut bench = Bench::new();
    for n in 0..16 {
        bench.set(&format!("h{n}"), "192.0.2.1");
    }
    let refused = failure(Rcode::REFUSED);
    let flight = bench.queue.depart(bench.now).unwrap();
    let Next::Probe(probe) = bench.queue.failed(flight, refused, bench.now).unwrap().next else {
        panic!("REFUSED may be the name's");
    };
    assert!(bench.queue.failed(probe, refused, bench.now).unwrap().is_zones);
    assert!(bench.answers().iter().all(|answer| *answer == Err(Trouble::Refused(refused))));
    assert_eq!(bench.queue.pending(), 0);
}

#[test]
fn an_account_full_of_bad_names_does_not_hold_up_the_others_for_long() {
    let mut bench = Bench::new();
    for n in 0..20 {
        bench.submit(change_of(&format!("bad{n}"), "attacker"));
        bench.set(&format!("good{n}"), "192.0.2.1");
    }
    bench.run(&|name| name.starts_with("bad").then(|| failure(Rcode::YXRRSET)));
    let answers = bench.answers();
    let good = bench.callers.iter().zip(&answers).filter(|((change, _), _)| change.name.as_str().starts_with("good"));
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
    bench.callers_go();
    bench.set("c", "192.0.2.1");
    bench.queue.sweep(bench.now);
    assert_eq!(bench.queue.pending(), 1);
    bench.callers_go();
    assert!(bench.queue.depart(bench.now).is_none());
    bench.queue.sweep(bench.now);
    assert_eq!(bench.queue.pending(), 0);
    assert!(bench.queue.take_ended().is_empty(), "they were told all there is to tell");
}

#[test]
fn a_late_answer_is_believed_and_remembered() {
    let mut bench = Bench::new();
    bench.set("a", "192.0.2.1");
    let flight = bench.queue.depart(bench.now).unwrap();
    bench.callers_go();
    bench.now += DEADLINE;
    assert_eq!(bench.queue.newly_overdue(bench.now), [flight]);
    assert!(bench.queue.newly_overdue(bench.now).is_empty(), "counted once");
    let change = test_change("a.dyn.example", "192.0.2.1");
    assert_eq!(bench.compare(&change), Compared::Differs, "its name stays locked");
    bench.answer(flight, &|_| None);
    assert_eq!(bench.compare(&change), Compared::Same);
}

#[test]
fn a_lost_message_is_sent_again_with_what_came_meanwhile() {
    let mut bench = Bench::new();
    bench.set("a", "192.0.2.1");
    bench.set("b", "192.0.2.1");
    bench.queue.depart(bench.now).unwrap();
    bench.set("a", "192.0.2.2");
    assert_eq!(bench.queue.connection_lost(false, bench.now).len(), 1);
    bench.run(&|_| None);
    assert_eq!(bench.messages, 1);
    assert_eq!(bench.held("a"), holding("192.0.2.2"));
    assert!(bench.answers().iter().all(Result::is_ok));
}

fn change_of(name: &str, account: &str) -> Change {
    let change = test_change(&format!("{name}.dyn.example"), "192.0.2.1");
    let origin = Origin { account: Arc::from(account), ..Origin::clone(&change.origin) };
    Change { origin: Arc::new(origin), ..change }
}

fn class(bench: &Bench, change: &Change) -> BatchClass {
    bench.queue.quarantine.class(&change.name, &change.origin.account, bench.now)
}

#[test]
fn a_rest_that_is_over_wakes_nobody() {
    let mut bench = Bench::new();
    for n in 0..8 {
        bench.set(&format!("bad{n}"), "192.0.2.1");
    }
    while let Some(flight) = bench.queue.depart(bench.now) {
        bench.answer(flight, &|_| Some(failure(Rcode::YXRRSET)));
    }
    assert!(bench.queue.next_rest_end(bench.now).is_some());
    bench.now += REST;
    assert!(bench.queue.next_rest_end(bench.now).is_none());
}

#[test]
fn a_router_that_repeats_itself_does_not_pile_up() {
    let mut bench = Bench::new();
    for _ in 0..10_000 {
        bench.callers_go();
        bench.set("a", "192.0.2.1");
        bench.queue.sweep(bench.now);
    }
    let entry = bench.queue.waiting.values().next().unwrap();
    assert!(entry.waiters.len() <= 16, "{}", entry.waiters.len());
}

#[test]
fn a_batch_that_was_never_answered_makes_the_next_ones_smaller() {
    let mut bench = Bench::new();
    grow(&mut bench);
    for n in 0..500 {
        bench.set(&format!("h{n}"), "192.0.2.1");
    }
    bench.queue.depart(bench.now).unwrap();
    bench.now += DEADLINE * 2;
    bench.queue.newly_overdue(bench.now);
    bench.queue.connection_lost(false, bench.now);
    assert!(bench.queue.pace.rrsets() < 500);
}

#[test]
fn servfail_makes_no_culprit_and_leaves_nothing_to_believe() {
    let mut bench = Bench::new();
    let sick = |_: &str| Some(failure(Rcode::SERVFAIL));
    for n in 0..3 {
        bench.submit(change_of(&format!("h{n}"), "isp"));
        bench.run(&|_| None);
        let records = DesiredRecords::set(IpAddr::from([192, 0, 2, 1]).into(), 61);
        bench.submit(Change { records, ..change_of(&format!("h{n}"), "isp") });
        bench.run(&sick);
        let before = change_of(&format!("h{n}"), "isp");
        assert_eq!(bench.compare(&before), Compared::Unknown, "it may have been written all the same");
    }
    assert_eq!(class(&bench, &change_of("h0", "isp")), BatchClass::Everyone);
    assert_eq!(class(&bench, &change_of("other", "isp")), BatchClass::Everyone);
}

#[test]
fn what_a_lost_connection_applies_late_is_undone() {
    let mut bench = Bench::new();
    bench.set("a", "192.0.2.1");
    bench.queue.depart(bench.now).unwrap();
    bench.queue.connection_lost(false, bench.now);
    bench.set("a", "192.0.2.2");
    bench.run(&|_| None);
    let newer = test_change("a.dyn.example", "192.0.2.2");
    assert_eq!(bench.compare(&newer), Compared::Differs, "no nochg while the old one may come");
    assert!(bench.queue.depart(bench.now).is_none(), "nothing is looked for at once");
    bench.now += Duration::from_secs(1);
    let look = bench.queue.depart(bench.now).unwrap();
    let (expected, update) = bench.queue.swaps(look).unwrap();
    assert_eq!(expected, [RrData::A([192, 0, 2, 1].into())]);
    assert_eq!(Some(update.desired), newer.records.get(RrType::A));
    bench.queue.failed(look, failure(Rcode::NXRRSET), bench.now).unwrap();
    assert!(bench.queue.depart(bench.now).is_none(), "it has not come");
    bench.now += DEADLINE * 2;
    let look = bench.queue.depart(bench.now).unwrap();
    bench.queue.acknowledged(look, bench.now).unwrap();
    // The last look, when its signature is too old; then the name is as any other.
    bench.now += Duration::from_secs(301);
    let look = bench.queue.depart(bench.now).unwrap();
    bench.queue.failed(look, failure(Rcode::NXRRSET), bench.now).unwrap();
    bench.now += DEADLINE * 5;
    assert!(bench.queue.depart(bench.now).is_none());
    assert_eq!(bench.queue.late.next_look(), None);
    bench.submit(newer.clone());
    bench.run(&|_| None);
    assert_eq!(bench.compare(&newer), Compared::Same);
}

#[test]
fn what_was_lost_after_the_last_success_is_left_where_it_came() {
    let mut bench = Bench::new();
    bench.set("a", "192.0.2.1");
    bench.run(&|_| None);
    bench.set("a", "192.0.2.2");
    bench.queue.depart(bench.now).unwrap();
    bench.callers_go();
    bench.queue.connection_lost(false, bench.now);
    for _ in 0..400 {
        bench.now += Duration::from_secs(1);
        assert!(bench.queue.depart(bench.now).is_none(), "it is the newer one");
    }
    assert_eq!(bench.queue.late.next_look(), None);
}

#[test]
fn what_servfail_may_have_written_is_not_remembered_as_it_was_before() {
    let mut bench = Bench::new();
    let old = test_change("a.dyn.example", "192.0.2.1");
    bench.submit(old.clone());
    bench.run(&|_| None);
    assert_eq!(bench.compare(&old), Compared::Same);
    bench.set("a", "192.0.2.2");
    let flight = bench.queue.depart(bench.now).unwrap();
    bench.queue.failed(flight, failure(Rcode::SERVFAIL), bench.now).unwrap();
    // Written for all that; the second try ends otherwise.
    bench.now += PAUSE;
    bench.run(&|_| Some(failure(Rcode::REFUSED)));
    assert_eq!(bench.compare(&old), Compared::Unknown);
}

#[test]
fn ones_bad_names_do_not_stand_in_front_of_everybody() {
    let mut bench = Bench::new();
    grow(&mut bench);
    for n in 0..400 {
        bench.submit(change_of(&format!("{}{n}", if n % 2 == 0 { "bad" } else { "fine" }), "attacker"));
    }
    let rule = |name: &str| name.starts_with("bad").then(|| failure(Rcode::YXRRSET));
    let first = bench.queue.depart(bench.now).unwrap();
    bench.submit(change_of("victim", "victim"));
    bench.answer(first, &rule);
    for count in 0.. {
        assert!(count < 10, "the victim waits behind {count} messages");
        let flight = bench.queue.depart(bench.now).unwrap();
        let is_victims = bench.queue.updates(flight).iter().any(|update| update.name.as_str() == "victim.dyn.example");
        bench.answer(flight, &rule);
        if is_victims {
            break;
        }
    }
}

#[test]
fn a_name_that_takes_its_connection_with_it_travels_alone() {
    let mut bench = Bench::new();
    let killer = change_of("killer", "account");
    bench.submit(killer.clone());
    for _ in 0..2 {
        assert_eq!(class(&bench, &killer), BatchClass::Everyone, "once is no proof");
        bench.queue.depart(bench.now).unwrap();
        bench.queue.connection_lost(false, bench.now);
    }
    assert_eq!(class(&bench, &killer), BatchClass::Alone);
}

#[test]
fn eight_culprits_in_a_row_do_not_fail_the_innocent() {
    let mut bench = Bench::new();
    grow(&mut bench);
    for n in 0..8 {
        bench.submit(change_of(&format!("bad{n}"), &format!("account{}", n / 2)));
    }
    for n in 0..492 {
        bench.submit(change_of(&format!("good{n}"), "isp"));
    }
    bench.run(&|name| name.starts_with("bad").then(|| failure(Rcode::YXRRSET)));
    let answers = bench.answers();
    assert!(answers[8..].iter().all(Result::is_ok));
}

#[test]
fn a_late_answer_is_as_old_as_its_message() {
    let mut bench = Bench::new();
    bench.set("a", "192.0.2.1");
    let flight = bench.queue.depart(bench.now).unwrap();
    bench.now += Duration::from_secs(50);
    bench.answer(flight, &|_| None);
    bench.now += Duration::from_secs(50);
    let change = test_change("a.dyn.example", "192.0.2.1");
    assert_eq!(bench.compare(&change), Compared::Unknown, "a hand edit may be a minute old");
}

fn grow(bench: &mut Bench) {
    while bench.queue.pace.rrsets() < 500 {
        bench.queue.pace.answered(bench.queue.pace.rrsets(), bench.now, bench.now);
    }
}
