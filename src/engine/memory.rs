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
mod tests;
