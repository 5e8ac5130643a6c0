//! Whether the store serves. It is read by one part and written by another, and neither ends the other's trouble.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus_client::metrics::gauge::Gauge;
use tracing::{info, warn};

/// What the two parts have to tell.
#[derive(Debug)]
pub(super) struct StoreHealth {
    up: Gauge,
    troubles: Mutex<Troubles>,
}

#[derive(Debug, Default)]
struct Troubles {
    is_away: bool,
    unwritten: Option<Arc<str>>,
}

impl StoreHealth {
    /// Of a store that serves; told in `up`.
    pub(super) fn new(up: Gauge) -> Self {
        up.set(1);
        Self { up, troubles: Mutex::default() }
    }

    /// Whether it does not answer.
    pub(super) fn set_away(&self, is_away: bool) {
        let mut troubles = self.lock();
        troubles.is_away = is_away;
        self.tell(&troubles);
    }

    /// Why nothing can be written, if so: the log tells the first time and the end of it.
    pub(super) fn set_unwritten(&self, why: Option<&dyn std::fmt::Display>) {
        let mut troubles = self.lock();
        match (&troubles.unwritten, why) {
            (None, Some(error)) => {
                warn!(%error, "nothing is written to the store: what is seen of hosts waits in memory");
            }
            (Some(_), None) => info!("the store is written again"),
            _ => {}
        }
        troubles.unwritten = why.map(|why| why.to_string().into());
        self.tell(&troubles);
    }

    /// See [`Self::set_unwritten`].
    pub(super) fn unwritten(&self) -> Option<Arc<str>> {
        self.lock().unwritten.clone()
    }

    fn tell(&self, troubles: &Troubles) {
        self.up.set(i64::from(!troubles.is_away && troubles.unwritten.is_none()));
    }

    fn lock(&self) -> MutexGuard<'_, Troubles> {
        self.troubles.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
