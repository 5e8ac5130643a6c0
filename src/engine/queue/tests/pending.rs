//! Changes that outlive their callers: parked, released, kept, and how they end.

use super::*;
use crate::engine::{End, Ended};

const ROW: Timestamp = Timestamp(77);
const OTHER_ROW: Timestamp = Timestamp(78);

fn a(address: &str) -> Change {
    test_change("a.dyn.example", address)
}

/// A change that is kept, whose caller has gone at its deadline.
fn given_up(bench: &mut Bench, change: Change) {
    bench.submit_until(kept(Keep::Always, change), bench.now + DEADLINE);
    bench.now += DEADLINE;
    bench.callers_go();
    bench.queue.sweep(bench.now);
}

fn is_ready(bench: &Bench) -> Vec<(RrType, bool)> {
    bench.parked().into_iter().map(|parked| (parked.key.rtype, parked.is_ready)).collect()
}

fn ends(bench: &mut Bench) -> Vec<(Desired, Option<Timestamp>, End)> {
    bench.queue.take_ended().into_iter().map(|Ended { desired, row, end, .. }| (desired, row, end)).collect()
}

fn desired(change: &Change) -> Desired {
    change.records.iter().next().unwrap().1.clone()
}

const DONE: End = End::Done { is_awaited: false };

#[test]
fn what_its_caller_left_is_parked_and_leaves_when_it_is_released() {
    let mut bench = Bench::new();
    given_up(&mut bench, a("192.0.2.1"));
    assert!(bench.queue.depart(bench.now).is_none(), "it must be authorised again");
    assert!(!bench.queue.has_work(bench.now));
    assert_eq!(bench.compare(&a("192.0.2.2")), Compared::Differs, "no nochg while it is pending");
    assert_eq!((is_ready(&bench), bench.queue.parked_count()), (vec![(RrType::A, true)], 1));
    assert!(ends(&mut bench).is_empty());
    bench.settle_all(Verdict::Release { ttl: 33 });
    let flight = bench.queue.depart(bench.now).unwrap();
    let set = Desired::Set { data: RrData::A([192, 0, 2, 1].into()), ttl: 33 };
    assert_eq!(*bench.queue.updates(flight)[0].desired, set, "with the TTL that it was authorised with");
    bench.answer(flight, &|_| None);
    assert_eq!(ends(&mut bench), [(set, None, DONE)]);
    assert_eq!((bench.queue.pending(), bench.queue.parked_count()), (0, 0));
    assert_eq!(bench.held("a"), holding("192.0.2.1"));
}

#[test]
fn what_goes_with_its_caller_goes_unless_it_is_in_flight() {
    let mut bench = Bench::new();
    bench.set("a", "192.0.2.1");
    bench.set("b", "192.0.2.1");
    bench.queue.depart(bench.now).unwrap();
    bench.set("c", "192.0.2.1");
    bench.callers_go();
    bench.queue.sweep(bench.now);
    assert_eq!(bench.queue.waiting(), 0);
    bench.answer_all(&|_| None);
    assert_eq!([bench.held("a"), bench.held("c")], [holding("192.0.2.1"), Held::new()]);
    assert_eq!(bench.queue.take_ended().len(), 2, "what was in flight is told of");
}

#[test]
fn a_caller_that_hangs_up_early_takes_its_authorisation_with_it() {
    let mut bench = Bench::new();
    bench.submit(kept(Keep::Always, a("192.0.2.1")));
    bench.callers_go();
    assert!(bench.queue.depart(bench.now).is_none());
    assert_eq!(is_ready(&bench), [(RrType::A, true)]);
}

#[test]
fn a_newer_change_of_one_type_leaves_the_others_parked_one_where_it_is() {
    let mut bench = Bench::new();
    given_up(&mut bench, a("192.0.2.1"));
    bench.set("a", "2001:db8::1");
    let flight = bench.queue.depart(bench.now).unwrap();
    assert_eq!(bench.queue.updates(flight).len(), 1, "what is parked is not authorised");
    bench.answer(flight, &|_| None);
    assert_eq!(bench.answers(), [Ok(Applied { superseded: false })]);
    assert_eq!(bench.held("a"), holding("2001:db8::1"));
    assert_eq!(is_ready(&bench), [(RrType::A, true)]);
    bench.settle_all(RELEASE);
    bench.run(&|_| None);
    assert_eq!(bench.held("a"), holding("192.0.2.1,2001:db8::1"));
}

#[test]
fn a_newer_change_of_the_same_rrset_takes_the_place_of_a_parked_one() {
    let mut bench = Bench::new();
    given_up(&mut bench, a("192.0.2.1"));
    let stale = bench.parked();
    bench.set("a", "192.0.2.2");
    let stale = stale.into_iter().map(|parked| (parked, Verdict::Release { ttl: 1 })).collect();
    bench.queue.settle(stale, bench.now);
    bench.run(&|_| None);
    assert_eq!(bench.held("a"), holding("192.0.2.2"));
    assert_eq!(bench.compare(&a("192.0.2.2")), Compared::Same, "its TTL is that of its own authorisation");
    assert!(ends(&mut bench).is_empty());
}

#[test]
fn a_caller_whose_change_a_background_change_replaced_is_not_told_of_what_was_not_done() {
    let mut bench = Bench::new();
    bench.fill_window();
    bench.change("a", &set("192.0.2.1,2001:db8::1"));
    bench.set("a", "2001:db8::2");
    // A command sets the record; it is not authorised yet.
    bench.park(&kept(Keep::Always, a("192.0.2.9")), None);
    bench.answer_all(&|_| None);
    assert!(bench.queue.depart(bench.now).is_none(), "one of the callers waits for both");
    assert!(bench.callers[WINDOW].1.try_recv().is_err(), "neither has anything been done");
    bench.queue.sweep(bench.now);
    assert_eq!(is_ready(&bench), [(RrType::A, true), (RrType::Aaaa, true)]);
    bench.settle_all(RELEASE);
    bench.run(&|_| None);
    let answers = bench.answers().split_off(WINDOW);
    assert_eq!(answers, [Ok(Applied { superseded: true }), Ok(Applied { superseded: false })]);
    assert_eq!(bench.held("a"), holding("192.0.2.9,2001:db8::2"));
}

#[test]
fn who_waits_for_what_is_forgotten_hears_of_no_answer() {
    let mut bench = Bench::new();
    bench.set("a", "192.0.2.1");
    bench.set("a", "2001:db8::1");
    bench.park(&kept(Keep::Always, a("192.0.2.9")), None);
    let flight = bench.queue.depart(bench.now).unwrap();
    assert_eq!(bench.queue.updates(flight).len(), 1);
    bench.settle_all(Verdict::Forget);
    bench.answer(flight, &|_| None);
    assert_eq!(bench.answers(), [Err(Trouble::Timeout), Ok(Applied { superseded: false })]);
    assert_eq!(bench.queue.pending(), 0);
}

#[test]
fn what_was_forgotten_after_its_release_is_in_no_line_any_longer() {
    let mut bench = Bench::new();
    given_up(&mut bench, a("192.0.2.1"));
    let listed = bench.parked();
    bench.settle_all(RELEASE);
    bench.queue.settle(listed.into_iter().map(|parked| (parked, Verdict::Forget)).collect(), bench.now);
    assert_eq!(bench.queue.pending(), 0);
    bench.set("a", "192.0.2.2");
    bench.queue.depart(bench.now).unwrap();
    bench.set("a", "192.0.2.3");
    bench.now += DEADLINE / WAIT_SHARE;
    assert!(bench.queue.depart(bench.now).is_none(), "its name is in flight");
}

#[test]
fn what_the_primary_could_not_take_rests_and_is_tried_again() {
    for (rcode, is_told) in [
        (Rcode::SERVFAIL, Trouble::Failed(failure(Rcode::SERVFAIL))),
        (Rcode::REFUSED, Trouble::Refused(failure(Rcode::REFUSED))),
    ] {
        let mut bench = Bench::new();
        given_up(&mut bench, a("192.0.2.1"));
        bench.settle_all(RELEASE);
        for _ in 0..4 {
            if let Some(flight) = bench.queue.depart(bench.now) {
                bench.answer(flight, &|_| Some(failure(rcode)));
            }
            bench.now += PAUSE;
        }
        assert_eq!(is_ready(&bench), [(RrType::A, false)], "{is_told:?}");
        assert!(bench.queue.depart(bench.now).is_none());
        bench.now += AGAIN;
        assert_eq!(is_ready(&bench), [(RrType::A, true)], "{is_told:?}");
        assert!(bench.queue.depart(bench.now).is_none(), "nor without authorisation");
        assert!(ends(&mut bench).is_empty());
        bench.settle_all(RELEASE);
        bench.run(&|_| None);
        assert_eq!(bench.held("a"), holding("192.0.2.1"));
        assert_eq!(ends(&mut bench), [(desired(&a("192.0.2.1")), None, DONE)]);
    }
}

#[test]
fn of_what_its_caller_hears_that_the_operator_must_mend_it_nothing_stays() {
    let refused = failure(Rcode::REFUSED);
    let mut bench = Bench::new();
    bench.submit(kept(Keep::Always, a("192.0.2.1")));
    bench.run(&|_| Some(refused));
    assert_eq!(bench.answers(), [Err(Trouble::Refused(refused))]);
    assert!(ends(&mut bench).is_empty());
    // With SERVFAIL it is the primary's trouble, and passes.
    let sick = failure(Rcode::SERVFAIL);
    bench.callers_go();
    bench.submit(kept(Keep::Always, a("192.0.2.1")));
    for _ in 0..4 {
        if let Some(flight) = bench.queue.depart(bench.now) {
            bench.answer(flight, &|_| Some(sick));
        }
        bench.now += PAUSE;
    }
    assert_eq!(bench.answers(), [Err(Trouble::Failed(sick))]);
    assert_eq!(is_ready(&bench), [(RrType::A, false)]);
}

#[test]
fn what_is_hidden_fails_for_good() {
    let hidden = failure(Rcode::YXRRSET);
    let mut bench = Bench::new();
    given_up(&mut bench, a("192.0.2.1"));
    bench.settle_all(RELEASE);
    bench.run(&|_| Some(hidden));
    assert_eq!(ends(&mut bench), [(desired(&a("192.0.2.1")), None, End::Failed(Trouble::Hidden(hidden)))]);
}

#[test]
fn what_is_too_old_expires() {
    let mut bench = Bench::new();
    let end = bench.now + Duration::from_secs(60);
    bench.submit(kept(Keep::Until(end), a("192.0.2.1")));
    bench.submit(kept(Keep::Always, test_change("b.dyn.example", "192.0.2.1")));
    bench.callers_go();
    bench.queue.sweep(bench.now);
    bench.now = end - Duration::from_millis(1);
    bench.queue.sweep(bench.now);
    assert!(ends(&mut bench).is_empty());
    bench.now = end;
    bench.queue.sweep(bench.now);
    assert_eq!(ends(&mut bench), [(desired(&a("192.0.2.1")), None, End::Expired)]);
    assert_eq!(bench.parked().len(), 1, "what is kept until it is done does not");
    assert_eq!(bench.compare(&a("192.0.2.1")), Compared::Unknown, "nothing is under way any longer");
}

#[test]
fn what_somebody_waits_for_does_not_expire() {
    let mut bench = Bench::new();
    bench.submit(kept(Keep::Until(bench.now), a("192.0.2.1")));
    bench.queue.sweep(bench.now);
    bench.run(&|_| None);
    assert_eq!(bench.answers(), [Ok(Applied { superseded: false })]);
}

#[test]
fn a_row_is_told_of_when_its_change_is_done() {
    let mut bench = Bench::new();
    given_up(&mut bench, a("192.0.2.1"));
    bench.settle_all(Verdict::Kept(ROW));
    assert_eq!(bench.parked()[0].row, Some(ROW));
    bench.settle_all(RELEASE);
    bench.run(&|_| None);
    assert_eq!(ends(&mut bench), [(desired(&a("192.0.2.1")), Some(ROW), DONE)]);
}

#[test]
fn what_takes_the_place_of_a_kept_change_inherits_its_row() {
    let mut bench = Bench::new();
    given_up(&mut bench, a("192.0.2.1"));
    bench.settle_all(Verdict::Kept(ROW));
    bench.set("a", "192.0.2.2");
    bench.run(&|_| None);
    let end = End::Done { is_awaited: true };
    assert_eq!(ends(&mut bench), [(desired(&a("192.0.2.2")), Some(ROW), end)], "the older one's is to go");
}

#[test]
fn an_older_changes_row_is_written_anew_for_what_took_its_place() {
    let mut bench = Bench::new();
    given_up(&mut bench, a("192.0.2.1"));
    bench.settle_all(Verdict::Kept(ROW));
    given_up(&mut bench, a("192.0.2.2"));
    let listed = bench.parked();
    assert_eq!(listed[0].row, None, "a restart would bring back the older one");
    bench.queue.settle(vec![(listed[0].clone(), Verdict::Kept(OTHER_ROW))], bench.now);
    assert_eq!(bench.parked()[0].row, Some(OTHER_ROW));
    bench.settle_all(Verdict::Forget);
    assert!(ends(&mut bench).is_empty(), "whoever forgets it knows its row");
}

#[test]
fn what_is_forgotten_tells_of_an_older_changes_row() {
    let mut bench = Bench::new();
    given_up(&mut bench, a("192.0.2.1"));
    bench.settle_all(Verdict::Kept(ROW));
    given_up(&mut bench, a("192.0.2.2"));
    bench.settle_all(Verdict::Forget);
    assert_eq!(ends(&mut bench), [(desired(&a("192.0.2.2")), Some(ROW), End::Superseded)]);
    assert_eq!(bench.queue.pending(), 0);
}

#[test]
fn what_is_forgotten_tells_of_a_row_that_was_written_since_it_was_listed() {
    let mut bench = Bench::new();
    given_up(&mut bench, a("192.0.2.1"));
    let listed = bench.parked();
    bench.settle_all(Verdict::Kept(ROW));
    bench.queue.settle(listed.into_iter().map(|parked| (parked, Verdict::Forget)).collect(), bench.now);
    assert_eq!(ends(&mut bench), [(desired(&a("192.0.2.1")), Some(ROW), End::Superseded)]);
}

#[test]
fn a_row_of_what_ended_while_it_was_written_is_to_go() {
    let mut bench = Bench::new();
    given_up(&mut bench, a("192.0.2.1"));
    let listed = bench.parked();
    bench.set("a", "192.0.2.2");
    bench.run(&|_| None);
    bench.queue.settle(listed.into_iter().map(|parked| (parked, Verdict::Kept(ROW))).collect(), bench.now);
    assert_eq!(ends(&mut bench), [(desired(&a("192.0.2.1")), Some(ROW), End::Superseded)]);
}

#[test]
fn what_is_in_flight_can_be_kept_and_is_not_forgotten() {
    let mut bench = Bench::new();
    bench.submit_until(kept(Keep::Always, a("192.0.2.1")), bench.now + DEADLINE);
    bench.queue.depart(bench.now).unwrap();
    bench.now += DEADLINE;
    bench.callers_go();
    assert_eq!(bench.queue.newly_overdue(bench.now).len(), 1);
    let listed = bench.parked();
    assert!(listed[0].is_in_flight && !listed[0].is_ready);
    assert_eq!(bench.queue.parked_count(), 1);
    bench.settle_all(Verdict::Forget);
    bench.settle_all(RELEASE);
    bench.settle_all(Verdict::Kept(ROW));
    // Its connection is lost: it is parked again, with its row.
    bench.queue.connection_lost(false, bench.now);
    assert!(bench.queue.depart(bench.now).is_none(), "it must be authorised again");
    let listed = bench.parked();
    assert_eq!((listed[0].row, listed[0].is_ready, listed[0].is_in_flight), (Some(ROW), true, false));
    bench.settle_all(RELEASE);
    bench.run(&|_| None);
    assert_eq!(ends(&mut bench), [(desired(&a("192.0.2.1")), Some(ROW), DONE)]);
}

#[test]
fn all_is_parked_when_the_gateway_stops() {
    let mut bench = Bench::new();
    bench.set("flies", "192.0.2.1");
    bench.queue.depart(bench.now).unwrap();
    bench.set("goes", "192.0.2.1");
    bench.submit(kept(Keep::Always, a("192.0.2.1")));
    given_up(&mut bench, test_change("parked.dyn.example", "192.0.2.1"));
    bench.submit(kept(Keep::Always, test_change("b.dyn.example", "192.0.2.1")));
    bench.queue.park_all(bench.now);
    assert_eq!(bench.answers(), [Err(Trouble::Timeout)]);
    let parked: Vec<_> = bench.parked().into_iter().map(|parked| parked.key.name.to_string()).collect();
    assert_eq!(parked, ["a.dyn.example", "b.dyn.example", "parked.dyn.example"]);
    assert!(bench.queue.depart(bench.now).is_none());
    bench.answer_all(&|_| None);
    assert_eq!(bench.held("flies"), holding("192.0.2.1"));
}

#[test]
fn all_that_is_pending_is_told_of_when_the_zone_ends() {
    let mut bench = Bench::new();
    bench.set("goes", "192.0.2.1");
    bench.submit(kept(Keep::Always, test_change("waits.dyn.example", "192.0.2.1")));
    bench.park(&kept(Keep::Always, test_change("parked.dyn.example", "192.0.2.1")), Some(ROW));
    bench.park(&kept(Keep::Until(bench.now), test_change("old.dyn.example", "192.0.2.1")), Some(ROW));
    bench.queue.close(bench.now);
    assert_eq!(bench.answers(), [Err(Trouble::Timeout); 2]);
    let mut ended: Vec<_> =
        bench.queue.take_ended().into_iter().map(|ended| (ended.key.name.to_string(), ended.row, ended.end)).collect();
    ended.sort_by(|one, other| one.0.cmp(&other.0));
    let told = [("old", Some(ROW)), ("parked", Some(ROW)), ("waits", None)];
    assert_eq!(ended, told.map(|(name, row)| (format!("{name}.dyn.example"), row, End::Expired)));
    assert_eq!((bench.queue.pending(), bench.queue.parked_count()), (0, 0));
}

#[test]
fn who_hears_of_a_newer_change_leaves_it_to_be_recorded() {
    let mut bench = Bench::new();
    bench.set("a", "192.0.2.1");
    bench.submit(kept(Keep::Always, a("192.0.2.2")));
    bench.callers.pop();
    let flight = bench.queue.depart(bench.now).unwrap();
    bench.answer(flight, &|_| None);
    assert_eq!(bench.answers(), [Ok(Applied { superseded: true })]);
    assert_eq!(ends(&mut bench), [(desired(&a("192.0.2.2")), None, DONE)]);
}

#[test]
fn a_late_update_is_put_right_while_something_of_its_name_is_parked() {
    let mut bench = Bench::new();
    bench.set("a", "192.0.2.1");
    bench.queue.depart(bench.now).unwrap();
    bench.queue.connection_lost(false, bench.now);
    bench.set("a", "192.0.2.2");
    bench.run(&|_| None);
    bench.park(&kept(Keep::Always, a("2001:db8::1")), None);
    bench.now += Duration::from_secs(1);
    assert!(bench.queue.has_work(bench.now));
    let look = bench.queue.depart(bench.now).unwrap();
    assert!(bench.queue.swaps(look).is_some());
    bench.settle_all(RELEASE);
    assert!(bench.queue.depart(bench.now).is_none(), "its name is in flight");
    bench.queue.acknowledged(look, bench.now).unwrap();
    assert!(bench.queue.depart(bench.now).is_some());
}
