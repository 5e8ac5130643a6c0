//! Messages on their way, how they end, and the groups of names that must travel together. Pure.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use tokio::time::Instant;

use super::entry::Entry;
use super::late::Swap;
use super::quarantine::BatchClass;
use crate::dns::Failure;
use crate::model::Hostname;

/// Names that must travel in a message of their own: a half of a bad batch, or what a lost connection carried.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) names: Vec<Hostname>,
    pub(super) history: History,
}

#[derive(Debug, Clone)]
pub(super) struct History {
    pub(super) class: BatchClass,
    // Shared by all halves of one batch.
    pub(super) culprits_in_a_row: Arc<AtomicU32>,
    pub(super) tried_again: bool,
    pub(super) not_before: Option<Instant>,
    pub(super) primaries_tried: usize,
    // Connections that were lost with this on them, and whether a name in it may be the reason.
    pub(super) losses: u32,
    pub(super) spoils_batches: bool,
}

/// A message on its way.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) entries: Vec<(Hostname, Entry)>,
    pub(super) history: History,
    pub(super) purpose: Purpose,
    pub(super) sent: Instant,
    pub(super) overdue: bool,
}

/// What a message is for.
#[derive(Debug)]
pub(super) enum Purpose {
    /// Its entries are to be changed.
    Change,
    /// It holds no records, and asks whether this failure of its entries was the zone's.
    Probe(Failure),
    /// It holds no records either, and asks whether the primary answers at all.
    Call,
    /// Compare and swap of one RRset of its one entry.
    Swap(Swap),
}

pub(super) type FlightId = u64;

/// What the driver must do after an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Go on.
    Stay,
    /// This primary is in trouble: use the next one in the list.
    Switch,
    /// Send an UPDATE without records, as this flight: it tells whether the zone and the key are fine.
    Probe(FlightId),
}

/// How a flight ended, for the metrics and the log.
#[derive(Debug)]
pub(super) struct FlightEnd {
    pub(super) took: Duration,
    pub(super) next: Next,
    // The deadline had passed before: counted as a timeout then.
    pub(super) counted: bool,
    // The answer speaks of the zone, the key, the clocks or the server, not of a name.
    pub(super) is_zones: bool,
}

impl Group {
    /// It does not pause, or no longer.
    pub(super) fn may_leave(&self, now: Instant) -> bool {
        self.history.not_before.is_none_or(|time| time <= now)
    }
}

impl History {
    pub(super) fn new(class: BatchClass) -> Self {
        Self {
            class,
            culprits_in_a_row: Arc::default(),
            tried_again: false,
            not_before: None,
            primaries_tried: 0,
            losses: 0,
            spoils_batches: false,
        }
    }
}
