//! From an acknowledgement to the end of a change: the first change of a name since the primary was chosen is read back before
//! anybody hears of it. Its name stays locked meanwhile; all other names go on.
//!
//! ```text
//!                    the name was read back before
//!   acknowledged ──┬───────────────────────────────────────────────▶ DONE
//!                  └──▶ PROVING ── served ─────────────────────────▶ DONE
//!                         │  ▲
//!                         │  └─ sent and acknowledged again ─┐
//!                         ├──── not so, or no answer: once ──┘
//!                         └──── another zone's; a second time; ────▶ FAILED
//! ```

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::Ordering;

use tokio::time::Instant;

use super::ZoneQueue;
use crate::engine::Trouble;
use crate::engine::cache::Served;
use crate::engine::entry::{Entry, rrsets};
use crate::engine::flight::{Flight, FlightEnd, FlightId, Next, Purpose};
use crate::model::{DesiredRecords, Hostname};

/// Changes that the primary acknowledged and that are yet to be read back.
#[derive(Debug, Default)]
pub(super) struct Proving {
    // Each with when its message left; in the order of names, so that a run can be repeated.
    entries: BTreeMap<Hostname, (Entry, Instant)>,
    // Those that nobody reads yet.
    unread: VecDeque<Hostname>,
}

/// What is to be read back.
#[derive(Debug)]
pub(in crate::engine) struct ToProve {
    pub(in crate::engine) name: Hostname,
    pub(in crate::engine) records: DesiredRecords,
    /// Something else that is served for the name may be just like it.
    pub(in crate::engine) is_alike: bool,
}

impl Proving {
    pub(super) fn entries(&self) -> impl Iterator<Item = (&Hostname, &Entry)> {
        self.entries.iter().map(|(name, (entry, _))| (name, entry))
    }

    pub(super) fn entry_mut(&mut self, name: &Hostname) -> Option<&mut Entry> {
        self.entries.get_mut(name).map(|(entry, _)| entry)
    }
}

impl ZoneQueue {
    /// The primary acknowledged the flight, signed and verified.
    pub(in crate::engine) fn acknowledged(&mut self, flight: FlightId, now: Instant) -> Option<FlightEnd> {
        let Flight { entries, history, purpose, sent, overdue } = self.flights.remove(&flight)?;
        let took = self.heard(sent, now);
        match purpose {
            // The zone and the key are fine: one of the names is not.
            Purpose::Probe(failure) => self.blame_name(entries, &history, failure, now),
            Purpose::Swap(swap) => {
                self.cache.forget(&swap.key.name);
                self.release_names(entries, now);
                swap.tell(Ok(true));
            }
            Purpose::Call => {}
            Purpose::Change => {
                self.pace.answered(rrsets(&entries), sent, now);
                history.culprits_in_a_row.store(0, Ordering::Relaxed);
                for (name, entry) in entries {
                    self.late.accepted(&name, entry.records(), now);
                    if self.cache.served(&name) == Served::Ours {
                        self.done(&name, entry, sent, now);
                    } else {
                        self.proving.unread.push_back(name.clone());
                        self.proving.entries.insert(name, (entry, sent));
                    }
                }
            }
        }
        Some(FlightEnd { took, next: Next::Stay, counted: overdue, is_zones: false })
    }

    fn done(&mut self, name: &Hostname, entry: Entry, sent: Instant, now: Instant) {
        // An unguarded removal does not prove that the name is served.
        if entry.sets() {
            self.quarantine.cleared(name);
        }
        self.cache.verified(name, entry.records(), sent);
        self.unlock(name, now);
        entry.succeed(name, &mut self.ended);
    }

    /// Whether anything is yet to be read back.
    pub(in crate::engine) fn is_proving(&self) -> bool {
        !self.proving.entries.is_empty()
    }

    /// The next that is to be read back.
    pub(in crate::engine) fn next_to_prove(&mut self) -> Option<ToProve> {
        let name = self.proving.unread.pop_front()?;
        let (entry, _) = self.proving.entries.get(&name)?;
        let records = entry.records().map(|(rtype, desired)| (rtype, desired.clone())).collect();
        let is_alike = self.cache.served(&name) == Served::Alike;
        Some(ToProve { name, records, is_alike })
    }

    /// Whether `name` was found to be `served`. What is not is sent again, once: something else that wrote at that very moment, or
    /// an older UPDATE that came late, is no fault of the primary's, and a read without an answer says nothing of the change. It is
    /// not done either: nobody is told `good` for what was not read. Returns whether the change failed for good.
    pub(in crate::engine) fn read_back(&mut self, name: &Hostname, served: Result<(), Trouble>, now: Instant) -> bool {
        let Some((mut entry, sent)) = self.proving.entries.remove(name) else { return false };
        match served {
            Ok(()) => {
                if entry.sets() {
                    self.cache.set_served(name, Served::Ours);
                }
                self.done(name, entry, sent, now);
                false
            }
            Err(trouble) if trouble == Trouble::Elsewhere || entry.was_unread => {
                if trouble == Trouble::Elsewhere {
                    self.cache.set_served(name, Served::Alike);
                }
                self.cache.forget(name);
                self.fail_all(vec![(name.clone(), entry)], trouble, now);
                true
            }
            Err(_) => {
                entry.was_unread = true;
                self.prove_again(name, entry, now);
                false
            }
        }
    }

    /// Nothing that is being read back counts any longer: another primary, or another view of it, is in use.
    pub(super) fn prove_all_again(&mut self, now: Instant) {
        self.proving.unread.clear();
        while let Some((name, (entry, _))) = self.proving.entries.pop_first() {
            self.prove_again(&name, entry, now);
        }
    }

    fn prove_again(&mut self, name: &Hostname, entry: Entry, now: Instant) {
        // It may go with its caller, and is done all the same.
        self.cache.forget(name);
        self.put_back(name.clone(), entry);
        self.unlock(name, now);
    }
}
