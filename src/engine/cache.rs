//! What the primary last said of each host, as it signed it: the only source of `nochg`. Knows no socket; time comes in.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::model::{Desired, DesiredRecords, Hostname, RrKey, RrType, ZoneName};

/// With so many names under way, a question about one more is not worth its time.
const BUSY: usize = 32;

/// The verified cache of one zone; its size is bounded.
#[derive(Debug)]
pub(super) struct VerifiedCache {
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
    rrsets: Vec<(RrType, Verified)>,
    // Changes that wait or are in flight; while there is one, nothing that is remembered counts.
    under_way: usize,
    // A change was lost, and the primary may apply it yet: nothing counts that is remembered.
    doubted: bool,
    last_change: u64,
    served: Served,
}

/// Whether the primary in use serves what our zone holds of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Served {
    /// Its next change is read back.
    #[default]
    Unknown,
    /// What is served for it was another zone's or a wildcard's when last seen: the same, and a read proves nothing.
    Alike,
    /// A change of it was read back.
    Ours,
}

/// What the primary said of an RRset, and when.
#[derive(Debug)]
struct Verified {
    held: Desired,
    at: Instant,
}

/// How what is desired compares with what the primary last said.
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
    cache: Arc<VerifiedCache>,
    name: Hostname,
}

/// The moment before a question was sent; its answer counts only if no change began since.
#[derive(Debug, Clone, Copy)]
pub(super) struct Before(u64);

impl VerifiedCache {
    pub(super) fn new(verify_interval: Duration, capacity: usize) -> Self {
        Self { capacity, hosts: Mutex::new(Hosts { verify_interval, ..Hosts::default() }) }
    }

    /// From now on the primary's word counts for so long.
    pub(super) fn set_verify_interval(&self, verify_interval: Duration) {
        self.lock().verify_interval = verify_interval;
    }

    /// Compares what `name` shall hold with what the primary last said.
    pub(super) fn compare(&self, name: &Hostname, records: &DesiredRecords, now: Instant) -> Compared {
        let hosts = self.lock();
        let Some(known) = hosts.known.get(name) else { return Compared::Unknown };
        if known.under_way > 0 || known.doubted {
            return Compared::Differs;
        }
        let fresh = |at| now.saturating_duration_since(at) <= hosts.verify_interval;
        let mut compared = if records.is_empty() { Compared::Unknown } else { Compared::Same };
        for (rtype, desired) in records.iter() {
            match known.rrsets.iter().find(|(other, _)| *other == rtype) {
                Some((_, verified)) if !desired.is_met_by(&verified.held) => return Compared::Differs,
                Some((_, verified)) if fresh(verified.at) => {}
                Some(_) | None => compared = Compared::Unknown,
            }
        }
        compared
    }

    /// What the primary last said of an RRset, however long ago, if nothing of the name is under way or was lost.
    pub(super) fn known(&self, RrKey { name, rtype }: &RrKey) -> Option<Desired> {
        let hosts = self.lock();
        let known = hosts.known.get(name).filter(|known| known.under_way == 0 && !known.doubted)?;
        known.rrsets.iter().find(|(other, _)| other == rtype).map(|(_, verified)| verified.held.clone())
    }

    /// The primary was seen to hold `records`.
    pub(super) fn verified<'r>(
        &self,
        name: &Hostname,
        records: impl Iterator<Item = (RrType, &'r Desired)>,
        at: Instant,
    ) {
        self.lock().remember(name, records, at, self.capacity);
    }

    /// The same, by the answer to a question; without effect where a change began since `before`.
    /// Returns whether the answer counts.
    pub(super) fn answered(&self, name: &Hostname, records: &DesiredRecords, at: Instant, before: Before) -> bool {
        let mut hosts = self.lock();
        let counts = hosts.known.get(name).is_some_and(|known| known.under_way == 0 && known.last_change <= before.0);
        if counts {
            hosts.remember(name, records.iter(), at, self.capacity);
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
        UnderWay { cache: Arc::clone(self), name: name.clone() }
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

    /// Whether what our zone holds of `name` is served.
    pub(super) fn served(&self, name: &Hostname) -> Served {
        self.lock().known.get(name).map(|known| known.served).unwrap_or_default()
    }

    /// The primary was seen to serve what our zone holds of `name`, or not to.
    pub(super) fn set_served(&self, name: &Hostname, served: Served) {
        self.lock().entry(name, self.capacity).served = served;
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
            known.served = Served::Unknown;
            known.is_kept()
        });
    }

    fn lock(&self) -> MutexGuard<'_, Hosts> {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn forget(&mut self, change: u64) {
        self.rrsets.clear();
        self.last_change = change;
    }

    /// Whether more depends on it than a question.
    fn is_kept(&self) -> bool {
        self.under_way > 0 || self.doubted
    }
}

impl Hosts {
    fn remember<'r>(
        &mut self,
        name: &Hostname,
        records: impl Iterator<Item = (RrType, &'r Desired)>,
        at: Instant,
        capacity: usize,
    ) {
        let known = self.entry(name, capacity);
        for (rtype, held) in records {
            if matches!(held, Desired::Without(_)) {
                // What else it holds nobody said.
                known.rrsets.retain(|(other, _)| *other != rtype);
                continue;
            }
            let verified = Verified { held: held.clone(), at };
            match known.rrsets.iter_mut().find(|(other, _)| *other == rtype) {
                Some((_, older)) => *older = verified,
                None => known.rrsets.push((rtype, verified)),
            }
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
        let mut hosts = self.cache.lock();
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
