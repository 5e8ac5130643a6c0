//! What is pending of each zone, as log and metrics tell it: a line when it begins, and one when none is left.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tracing::{info, warn};

use crate::metrics::Metrics;
use crate::model::ZoneName;

/// The pending changes of all zones, counted.
#[derive(Debug)]
pub(super) struct Backlog {
    episodes: Mutex<HashMap<ZoneName, Episode>>,
    // What a shared store has of each zone, as of the last look through it.
    stored: Mutex<HashMap<ZoneName, usize>>,
    metrics: Metrics,
}

/// From the first pending change of a zone to the last one.
#[derive(Debug)]
pub(super) struct Episode {
    since: Instant,
    pub(super) done: usize,
    pub(super) dropped: usize,
}

impl Backlog {
    pub(super) fn new(metrics: Metrics) -> Self {
        Self { episodes: Mutex::default(), stored: Mutex::default(), metrics }
    }

    /// How many a shared store has of `zone`.
    pub(super) fn stored(&self, zone: &ZoneName) -> usize {
        self.stored.lock().unwrap_or_else(PoisonError::into_inner).get(zone).copied().unwrap_or_default()
    }

    /// One of `zone` went from the queue to the store, and is counted until the next look through that.
    pub(super) fn moved(&self, zone: &ZoneName) {
        *self.stored.lock().unwrap_or_else(PoisonError::into_inner).entry(zone.clone()).or_default() += 1;
    }

    /// A look through the store found these.
    pub(super) fn found(&self, found: HashMap<ZoneName, usize>) {
        *self.stored.lock().unwrap_or_else(PoisonError::into_inner) = found;
    }

    /// One of `zone` came to its end, as `count` counts.
    pub(super) fn ended(&self, zone: &ZoneName, count: impl FnOnce(&mut Episode)) {
        self.episodes.lock().unwrap_or_else(PoisonError::into_inner).get_mut(zone).map(count);
    }

    /// Says that `count` are pending of `zone`, each for so long.
    pub(super) fn report(&self, zone: &ZoneName, count: usize, worth: Option<Duration>) {
        self.metrics.deferred(zone.as_str(), count);
        let mut episodes = self.episodes.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if count > 0 {
            episodes.entry(zone.clone()).or_insert_with(|| {
                warn!(%zone, hosts = count, worth = worth.map(debug), "changes are pending whose requests were answered 911; they are made when the primary answers");
                Episode { since: now, done: 0, dropped: 0 }
            });
        } else if let Some(Episode { since, done, dropped }) = episodes.remove(zone) {
            info!(%zone, done, dropped, within = ?now - since, "no change is pending any longer");
        }
    }
}
