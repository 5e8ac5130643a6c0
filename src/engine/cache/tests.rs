//! What counts as known, for how long, and what ends it.

use super::*;
use crate::engine::test_wish as wish;

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn only_a_fresh_equal_word_of_the_primary_is_the_same() {
    let memory = Arc::new(Memory::new(MINUTE, 10));
    let (one, two) = (wish("a.dyn.example", "192.0.2.1"), wish("a.dyn.example", "192.0.2.2"));
    let start = Instant::now();
    assert_eq!(memory.compare(&one, start), Compared::Unknown);
    memory.verified(&one, start);
    assert_eq!(memory.compare(&one, start + MINUTE), Compared::Same);
    assert_eq!(memory.compare(&one, start + MINUTE * 2), Compared::Unknown);
    assert_eq!(memory.compare(&two, start + MINUTE * 2), Compared::Differs, "however old");
    assert_eq!(memory.compare(&Wish { ttl: 61, ..one.clone() }, start), Compared::Differs);
    assert_eq!(memory.compare(&wish("a.dyn.example", "2001:db8::1"), start), Compared::Unknown);
    let change = memory.begin(&one.name);
    assert_eq!(memory.compare(&one, start), Compared::Differs, "a change is under way");
    drop(change);
    assert_eq!(memory.compare(&one, start), Compared::Same);
    memory.forget(&one.name);
    assert_eq!(memory.compare(&one, start), Compared::Unknown);
}

#[test]
fn a_removed_family_is_known_to_hold_nothing() {
    use crate::model::{Family, Records};

    let memory = Arc::new(Memory::new(MINUTE, 10));
    let (v4, v6) = (wish("a.dyn.example", "192.0.2.1"), wish("a.dyn.example", "2001:db8::1"));
    let removal = |records| Wish { records, ttl: 7, ..v4.clone() };
    let start = Instant::now();
    assert_eq!(memory.compare(&removal(Records::REMOVED), start), Compared::Unknown);
    memory.verified(&v4, start);
    memory.verified(&v6, start);
    assert_eq!(memory.compare(&removal(Records::REMOVED), start), Compared::Differs);
    memory.verified(&removal(Records::without(Family::V6)), start);
    assert_eq!(memory.compare(&v4, start), Compared::Same, "the other family is left alone");
    assert_eq!(memory.compare(&v6, start), Compared::Differs);
    assert_eq!(memory.compare(&v6, start + MINUTE * 2), Compared::Differs, "however old");
    assert_eq!(memory.compare(&removal(Records::REMOVED), start), Compared::Differs, "the other still stands");
    memory.verified(&removal(Records::REMOVED), start);
    let again = Wish { ttl: 8, ..removal(Records::REMOVED) };
    assert_eq!(memory.compare(&again, start), Compared::Same, "what is not there has no TTL");
    assert_eq!(memory.compare(&again, start + MINUTE * 2), Compared::Unknown);
    assert_eq!(memory.compare(&v4, start), Compared::Differs);
}

#[test]
fn an_answer_counts_only_where_no_change_began_since_the_question() {
    let memory = Arc::new(Memory::new(MINUTE, 10));
    let one = wish("a.dyn.example", "192.0.2.1");
    let now = Instant::now();
    let before = memory.before(&one.name);
    assert!(memory.answered(&one, now, before));
    let before = memory.before(&one.name);
    drop(memory.begin(&one.name));
    assert!(!memory.answered(&one, now, before), "a change began and ended meanwhile");
    let before = memory.before(&one.name);
    memory.forget_all();
    assert!(!memory.answered(&one, now, before), "another primary is in use");
}

#[test]
fn no_word_lasts_while_a_lost_change_may_come() {
    let memory = Arc::new(Memory::new(MINUTE, 10));
    let one = wish("a.dyn.example", "192.0.2.1");
    let now = Instant::now();
    let before = memory.before(&one.name);
    memory.doubt(&one.name);
    assert!(!memory.answered(&one, now, before), "asked before it was lost");
    memory.verified(&one, now);
    assert_eq!(memory.compare(&one, now), Compared::Differs);
    memory.forget_all();
    assert_eq!(memory.compare(&one, now), Compared::Differs, "the next primary has the same data");
    memory.verified(&one, now);
    memory.trust(&one.name);
    assert_eq!(memory.compare(&one, now), Compared::Unknown);
}

#[test]
fn it_is_busy_while_many_changes_are_under_way() {
    let memory = Arc::new(Memory::new(Duration::from_secs(60), 10));
    let name = Hostname::parse("a.dyn.example").unwrap();
    let mut under_way: Vec<_> = (0..BUSY).map(|_| memory.begin(&name)).collect();
    assert!(memory.is_busy());
    under_way.pop();
    assert!(!memory.is_busy());
}

#[test]
fn a_name_that_moved_to_another_zone_is_not_known_and_its_neighbours_are() {
    let memory = Arc::new(Memory::new(MINUTE, 10));
    let (moved, stays) = (wish("a.office.dyn.example", "192.0.2.1"), wish("a.dyn.example", "192.0.2.1"));
    let now = Instant::now();
    [&moved, &stays].into_iter().for_each(|wish| memory.verified(wish, now));
    let before = memory.before(&moved.name);
    memory.forget_within(&ZoneName::parse("office.dyn.example").unwrap());
    assert_eq!((memory.compare(&moved, now), memory.compare(&stays, now)), (Compared::Unknown, Compared::Same));
    assert!(!memory.answered(&moved, now, before), "nor does an answer that was asked for before");
    memory.set_verify_interval(Duration::ZERO);
    assert_eq!(memory.compare(&stays, now + Duration::from_millis(1)), Compared::Unknown);
}

#[test]
fn the_size_is_bounded_and_changes_under_way_stay() {
    let memory = Arc::new(Memory::new(MINUTE, 10));
    let kept = wish("kept.dyn.example", "192.0.2.1");
    let _change = memory.begin(&kept.name);
    for n in 0..1000 {
        memory.verified(&wish(&format!("h{n}.dyn.example"), "192.0.2.1"), Instant::now());
    }
    assert!(memory.lock().known.len() <= 11);
    assert!(memory.lock().known.contains_key(&kept.name));
}

#[test]
fn a_question_asked_while_a_change_is_in_flight_does_not_count() {
    let memory = Arc::new(Memory::new(MINUTE, 10));
    let (old, new) = (wish("a.dyn.example", "192.0.2.1"), wish("a.dyn.example", "192.0.2.2"));
    let now = Instant::now();
    // Caller 1 wants what stands there now, is told Unknown ...
    assert_eq!(memory.compare(&old, now), Compared::Unknown);
    // ... caller 2's change begins on another thread ...
    let change = memory.begin(&new.name);
    // ... caller 1 asks; Knot overtakes and shows the old state; then the change is acknowledged.
    let before = memory.before(&old.name);
    memory.verified(&new, now);
    drop(change);
    assert!(!memory.answered(&old, now, before), "nochg for what the primary no longer holds");
    assert_ne!(memory.compare(&old, now), Compared::Same, "and for a minute to come");
}

#[test]
fn an_answer_of_the_old_primary_does_not_count_after_the_switch() {
    let memory = Arc::new(Memory::new(MINUTE, 10));
    let one = wish("a.dyn.example", "192.0.2.1");
    let now = Instant::now();
    let asked_of_the_old = memory.before(&one.name);
    memory.forget_all();
    let _somebody_elses_question = memory.before(&one.name);
    assert!(!memory.answered(&one, now, asked_of_the_old));
}

#[test]
fn an_answer_does_not_count_after_the_change_that_came_between_was_evicted() {
    let memory = Arc::new(Memory::new(MINUTE, 2));
    let one = wish("a.dyn.example", "192.0.2.1");
    let now = Instant::now();
    let before = memory.before(&one.name);
    drop(memory.begin(&one.name));
    for n in 0..100 {
        memory.verified(&wish(&format!("h{n}.dyn.example"), "192.0.2.1"), now);
    }
    let _again = memory.before(&one.name);
    assert!(!memory.answered(&one, now, before));
}
