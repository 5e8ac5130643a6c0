//! What the primary last said of each host, as it signed it: the only source of `nochg`. Knows no socket; time comes in.

use std::collections::HashMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::Wish;
use crate::model::{Change, Hostname, ZoneName};

/// With so many changes under way, a question about one more is not worth its time. What is in flight counts twice: for its
/// caller and for its message.
const BUSY: usize = 64;

/// The memory of one zone; its size is bounded.
#[derive(Debug)]
pub(super) struct Memory {
    capacity: usize,
    hosts: Mutex<Hosts>,
}

#[derive(Debug, Default)]
struct Hosts {
    verify_interval: Duration,
    known: HashMap<Hostname, Known>,
    changes: u64,
    // Changes of all hosts.
    under_way: usize,
}

#[derive(Debug, Default)]
struct Known {
    v4: Option<Seen<Ipv4Addr>>,
    v6: Option<Seen<Ipv6Addr>>,
    // Changes that wait or are in flight; while there is one, nothing that is remembered counts.
    under_way: usize,
    // A change was lost, and the primary may apply it yet: nothing counts that is remembered.
    doubted: bool,
    last_change: u64,
}

#[derive(Debug, Clone, Copy)]
struct Seen<A> {
    // `None` where the name holds no RRset of this family, and the TTL says nothing.
    address: Option<A>,
    ttl: u32,
    at: Instant,
}

/// How a wish compares with what is remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compared {
    /// The same, and verified lately.
    Same,
    /// Something else, however old, or a change is under way or was lost: no question is needed.
    Differs,
    /// Nobody knows: the primary must be asked.
    Unknown,
}

/// A change of a name is under way until this is dropped.
#[derive(Debug)]
pub(super) struct UnderWay {
    memory: Arc<Memory>,
    name: Hostname,
}

/// The moment before a question was sent; its answer counts only if no change began since.
#[derive(Debug, Clone, Copy)]
pub(super) struct Before(u64);

impl Memory {
    pub(super) fn new(verify_interval: Duration, capacity: usize) -> Self {
        Self { capacity, hosts: Mutex::new(Hosts { verify_interval, ..Hosts::default() }) }
    }

    /// From now on the primary's word counts for so long.
    pub(super) fn set_verify_interval(&self, verify_interval: Duration) {
        self.lock().verify_interval = verify_interval;
    }

    /// Compares `wish` with what the primary last said.
    pub(super) fn compare(&self, wish: &Wish, now: Instant) -> Compared {
        let hosts = self.lock();
        let Some(known) = hosts.known.get(&wish.name) else { return Compared::Unknown };
        if known.under_way > 0 || known.doubted {
            return Compared::Differs;
        }
        let fresh = |at| now.saturating_duration_since(at) <= hosts.verify_interval;
        let v4 = Self::compare_one(known.v4, wish.records.v4, wish.ttl, fresh);
        let v6 = Self::compare_one(known.v6, wish.records.v6, wish.ttl, fresh);
        match [v4, v6] {
            [Some(Compared::Differs), _] | [_, Some(Compared::Differs)] => Compared::Differs,
            [Some(Compared::Unknown), _] | [_, Some(Compared::Unknown)] | [None, None] => Compared::Unknown,
            [Some(Compared::Same), Some(Compared::Same) | None] | [None, Some(Compared::Same)] => Compared::Same,
        }
    }

    /// `None` where the family is left alone.
    fn compare_one<A: PartialEq>(
        seen: Option<Seen<A>>,
        change: Change<A>,
        ttl: u32,
        fresh: impl Fn(Instant) -> bool,
    ) -> Option<Compared> {
        if !change.is_made() {
            return None;
        }
        let address = change.set();
        Some(match seen {
            None => Compared::Unknown,
            Some(seen) if seen.address != address || address.is_some() && seen.ttl != ttl => Compared::Differs,
            Some(seen) if !fresh(seen.at) => Compared::Unknown,
            Some(_) => Compared::Same,
        })
    }

    /// The primary was seen to hold what `wish` says.
    pub(super) fn verified(&self, wish: &Wish, at: Instant) {
        self.lock().remember(wish, at, self.capacity);
    }

    /// The same, by the answer to a question; without effect where a change began since `before`.
    /// Returns whether the answer counts.
    pub(super) fn answered(&self, wish: &Wish, at: Instant, before: Before) -> bool {
        let mut hosts = self.lock();
        let counts =
            hosts.known.get(&wish.name).is_some_and(|known| known.under_way == 0 && known.last_change <= before.0);
        if counts {
            hosts.remember(wish, at, self.capacity);
        }
        counts
    }

    /// Whether so much is changed now that a question costs more than a change that may change nothing.
    pub(super) fn is_busy(&self) -> bool {
        self.lock().under_way >= BUSY
    }

    /// Marks the moment before a question about `name`.
    pub(super) fn before(&self, name: &Hostname) -> Before {
        let mut hosts = self.lock();
        hosts.entry(name, self.capacity);
        Before(hosts.changes)
    }

    /// A change of `name` begins.
    pub(super) fn begin(self: &Arc<Self>, name: &Hostname) -> UnderWay {
        let mut hosts = self.lock();
        hosts.changes += 1;
        let change = hosts.changes;
        hosts.under_way += 1;
        let known = hosts.entry(name, self.capacity);
        known.under_way += 1;
        known.last_change = change;
        UnderWay { memory: Arc::clone(self), name: name.clone() }
    }

    /// A change of `name` may or may not have been applied: nothing is known of it any longer.
    pub(super) fn forget(&self, name: &Hostname) {
        let mut hosts = self.lock();
        hosts.changes += 1;
        let change = hosts.changes;
        if let Some(known) = hosts.known.get_mut(name) {
            known.forget(change);
        }
    }

    /// A change of `name` was lost, and may be applied at any time from now on: until it is [`Self::trust`]ed again, no
    /// word of the primary on it lasts.
    pub(super) fn doubt(&self, name: &Hostname) {
        let mut hosts = self.lock();
        hosts.changes += 1;
        let change = hosts.changes;
        let known = hosts.entry(name, self.capacity);
        known.doubted = true;
        known.forget(change);
    }

    /// Nothing that was lost of `name` can be applied any longer.
    pub(super) fn trust(&self, name: &Hostname) {
        let mut hosts = self.lock();
        let change = hosts.changes;
        if let Some(known) = hosts.known.get_mut(name) {
            known.doubted = false;
            // What was seen while it was doubted may have been replaced.
            known.forget(change);
        }
    }

    /// Another primary is in use: nothing is known any longer.
    pub(super) fn forget_all(&self) {
        self.forget_where(|_| true);
    }

    /// Names at or below `apex` begin or cease to be another zone's: nothing is known of them any longer.
    pub(super) fn forget_within(&self, apex: &ZoneName) {
        self.forget_where(|name| name.is_within(apex));
    }

    fn forget_where(&self, is_meant: impl Fn(&Hostname) -> bool) {
        let mut hosts = self.lock();
        hosts.changes += 1;
        let change = hosts.changes;
        hosts.known.retain(|name, known| {
            if !is_meant(name) {
                return true;
            }
            known.forget(change);
            known.is_kept()
        });
    }

    fn lock(&self) -> MutexGuard<'_, Hosts> {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn forget(&mut self, change: u64) {
        (self.v4, self.v6, self.last_change) = (None, None, change);
    }

    /// Whether more depends on it than a question.
    fn is_kept(&self) -> bool {
        self.under_way > 0 || self.doubted
    }
}

impl Hosts {
    fn remember(&mut self, wish: &Wish, at: Instant, capacity: usize) {
        let known = self.entry(&wish.name, capacity);
        if wish.records.v4.is_made() {
            known.v4 = Some(Seen { address: wish.records.v4.set(), ttl: wish.ttl, at });
        }
        if wish.records.v6.is_made() {
            known.v6 = Some(Seen { address: wish.records.v6.set(), ttl: wish.ttl, at });
        }
    }

    fn entry(&mut self, name: &Hostname, capacity: usize) -> &mut Known {
        if self.known.len() >= capacity && !self.known.contains_key(name) {
            // Half at once, so that the cost of making room is spread over many hosts.
            let mut keep = false;
            self.known.retain(|_, known| {
                keep = !keep;
                keep || known.is_kept()
            });
        }
        // A question that was asked before the name was forgotten must not count for it now.
        let last_change = self.changes;
        self.known.entry(name.clone()).or_insert_with(|| Known { last_change, ..Known::default() })
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut hosts = self.memory.lock();
        hosts.changes += 1;
        hosts.under_way -= 1;
        let change = hosts.changes;
        if let Some(known) = hosts.known.get_mut(&self.name) {
            known.under_way -= 1;
            known.last_change = change;
        }
    }
}

#[cfg(test)]
mod tests {
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
}
