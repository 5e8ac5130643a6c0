//! What counts as known, for how long, and what ends it.

use super::*;
use crate::engine::{Change, test_change as change};

const MINUTE: Duration = Duration::from_secs(60);

impl VerifiedCache {
    fn compares(&self, change: &Change, now: Instant) -> Compared {
        self.compare(&change.name, &change.records, now)
    }

    fn is_verified(&self, change: &Change, at: Instant) {
        self.verified(&change.name, change.records.iter(), at);
    }

    fn is_answered(&self, change: &Change, at: Instant, before: Before) -> bool {
        self.answered(&change.name, &change.records, at, before)
    }
}

#[test]
fn only_a_fresh_equal_word_of_the_primary_is_the_same() {
    let cache = Arc::new(VerifiedCache::new(MINUTE, 10));
    let (one, two) = (change("a.dyn.example", "192.0.2.1"), change("a.dyn.example", "192.0.2.2"));
    let start = Instant::now();
    assert_eq!(cache.compares(&one, start), Compared::Unknown);
    cache.is_verified(&one, start);
    assert_eq!(cache.compares(&one, start + MINUTE), Compared::Same);
    assert_eq!(cache.compares(&one, start + MINUTE * 2), Compared::Unknown);
    assert_eq!(cache.compares(&two, start + MINUTE * 2), Compared::Differs, "however old");
    let other_ttl = DesiredRecords::set(one.records.addresses(), 61);
    assert_eq!(cache.compare(&one.name, &other_ttl, start), Compared::Differs);
    assert_eq!(cache.compares(&change("a.dyn.example", "2001:db8::1"), start), Compared::Unknown);
    let under_way = cache.begin(&one.name);
    assert_eq!(cache.compares(&one, start), Compared::Differs, "a change is under way");
    drop(under_way);
    assert_eq!(cache.compares(&one, start), Compared::Same);
    cache.forget(&one.name);
    assert_eq!(cache.compares(&one, start), Compared::Unknown);
}

#[test]
fn a_removed_rrset_is_known_to_hold_nothing() {
    let cache = Arc::new(VerifiedCache::new(MINUTE, 10));
    let (v4, v6) = (change("a.dyn.example", "192.0.2.1"), change("a.dyn.example", "2001:db8::1"));
    let removal = |types: &[RrType]| Change { records: DesiredRecords::absent(types.iter().copied()), ..v4.clone() };
    let (both, of_v6) = (removal(&RrType::OF_ADDRESSES), removal(&[RrType::Aaaa]));
    let start = Instant::now();
    assert_eq!(cache.compares(&both, start), Compared::Unknown);
    cache.is_verified(&v4, start);
    cache.is_verified(&v6, start);
    assert_eq!(cache.compares(&both, start), Compared::Differs);
    cache.is_verified(&of_v6, start);
    assert_eq!(cache.compares(&v4, start), Compared::Same, "the other type is left alone");
    assert_eq!(cache.compares(&v6, start), Compared::Differs);
    assert_eq!(cache.compares(&v6, start + MINUTE * 2), Compared::Differs, "however old");
    assert_eq!(cache.compares(&both, start), Compared::Differs, "the other still stands");
    cache.is_verified(&both, start);
    assert_eq!(cache.compares(&both, start), Compared::Same);
    assert_eq!(cache.compares(&both, start + MINUTE * 2), Compared::Unknown);
    assert_eq!(cache.compares(&v4, start), Compared::Differs);
}

#[test]
fn an_answer_counts_only_where_no_change_began_since_the_question() {
    let cache = Arc::new(VerifiedCache::new(MINUTE, 10));
    let one = change("a.dyn.example", "192.0.2.1");
    let now = Instant::now();
    let before = cache.before(&one.name);
    assert!(cache.is_answered(&one, now, before));
    let before = cache.before(&one.name);
    drop(cache.begin(&one.name));
    assert!(!cache.is_answered(&one, now, before), "a change began and ended meanwhile");
    let before = cache.before(&one.name);
    cache.forget_all();
    assert!(!cache.is_answered(&one, now, before), "another primary is in use");
}

#[test]
fn no_word_lasts_while_a_lost_change_may_come() {
    let cache = Arc::new(VerifiedCache::new(MINUTE, 10));
    let one = change("a.dyn.example", "192.0.2.1");
    let now = Instant::now();
    let before = cache.before(&one.name);
    cache.doubt(&one.name);
    assert!(!cache.is_answered(&one, now, before), "asked before it was lost");
    cache.is_verified(&one, now);
    assert_eq!(cache.compares(&one, now), Compared::Differs);
    cache.forget_all();
    assert_eq!(cache.compares(&one, now), Compared::Differs, "the next primary has the same data");
    cache.is_verified(&one, now);
    cache.trust(&one.name);
    assert_eq!(cache.compares(&one, now), Compared::Unknown);
}

#[test]
fn it_is_busy_while_many_changes_are_under_way() {
    let cache = Arc::new(VerifiedCache::new(Duration::from_secs(60), 10));
    let name = Hostname::parse("a.dyn.example").unwrap();
    let mut under_way: Vec<_> = (0..BUSY).map(|_| cache.begin(&name)).collect();
    assert!(cache.is_busy());
    under_way.pop();
    assert!(!cache.is_busy());
}

#[test]
fn a_name_that_moved_to_another_zone_is_not_known_and_its_neighbours_are() {
    let cache = Arc::new(VerifiedCache::new(MINUTE, 10));
    let (moved, stays) = (change("a.office.dyn.example", "192.0.2.1"), change("a.dyn.example", "192.0.2.1"));
    let now = Instant::now();
    [&moved, &stays].into_iter().for_each(|change| cache.is_verified(change, now));
    let before = cache.before(&moved.name);
    cache.forget_within(&ZoneName::parse("office.dyn.example").unwrap());
    assert_eq!((cache.compares(&moved, now), cache.compares(&stays, now)), (Compared::Unknown, Compared::Same));
    assert!(!cache.is_answered(&moved, now, before), "nor does an answer that was asked for before");
    cache.set_verify_interval(Duration::ZERO);
    assert_eq!(cache.compares(&stays, now + Duration::from_millis(1)), Compared::Unknown);
}

#[test]
fn the_size_is_bounded_and_changes_under_way_stay() {
    let cache = Arc::new(VerifiedCache::new(MINUTE, 10));
    let kept = change("kept.dyn.example", "192.0.2.1");
    let _under_way = cache.begin(&kept.name);
    for n in 0..1000 {
        cache.is_verified(&change(&format!("h{n}.dyn.example"), "192.0.2.1"), Instant::now());
    }
    assert!(cache.lock().known.len() <= 11);
    assert!(cache.lock().known.contains_key(&kept.name));
}

#[test]
fn a_question_asked_while_a_change_is_in_flight_does_not_count() {
    let cache = Arc::new(VerifiedCache::new(MINUTE, 10));
    let (old, new) = (change("a.dyn.example", "192.0.2.1"), change("a.dyn.example", "192.0.2.2"));
    let now = Instant::now();
    // Caller 1 wants what stands there now, is told Unknown ...
    assert_eq!(cache.compares(&old, now), Compared::Unknown);
    // ... caller 2's change begins on another thread ...
    let under_way = cache.begin(&new.name);
    // ... caller 1 asks; Knot overtakes and shows the old state; then the change is acknowledged.
    let before = cache.before(&old.name);
    cache.is_verified(&new, now);
    drop(under_way);
    assert!(!cache.is_answered(&old, now, before), "nochg for what the primary no longer holds");
    assert_ne!(cache.compares(&old, now), Compared::Same, "and for a minute to come");
}

#[test]
fn an_answer_of_the_old_primary_does_not_count_after_the_switch() {
    let cache = Arc::new(VerifiedCache::new(MINUTE, 10));
    let one = change("a.dyn.example", "192.0.2.1");
    let now = Instant::now();
    let asked_of_the_old = cache.before(&one.name);
    cache.forget_all();
    let _somebody_elses_question = cache.before(&one.name);
    assert!(!cache.is_answered(&one, now, asked_of_the_old));
}

#[test]
fn an_answer_does_not_count_after_the_change_that_came_between_was_evicted() {
    let cache = Arc::new(VerifiedCache::new(MINUTE, 2));
    let one = change("a.dyn.example", "192.0.2.1");
    let now = Instant::now();
    let before = cache.before(&one.name);
    drop(cache.begin(&one.name));
    for n in 0..100 {
        cache.is_verified(&change(&format!("h{n}.dyn.example"), "192.0.2.1"), now);
    }
    let _again = cache.before(&one.name);
    assert!(!cache.is_answered(&one, now, before));
}
