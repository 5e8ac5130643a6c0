//! Whether a zone's primary can be reached, and the signals that it is in doubt or can be used again.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// A primary that somebody watches is asked once in this time: what watches may ask as often as it likes.
const ASK_EVERY: Duration = Duration::from_secs(5);

/// What the driver tells of its primary.
#[derive(Debug, Default)]
pub(super) struct PrimaryHealth {
    is_reached: AtomicBool,
    on_return: OnceLock<Arc<Notify>>,
    doubted: Notify,
    parked: AtomicUsize,
    asked: Mutex<Option<Instant>>,
    // Why it cannot be reached. What it answers to changes is another trouble, which only its answer to a change ends.
    problem: Mutex<Option<String>>,
}

impl PrimaryHealth {
    /// The last try to connect succeeded, and the connection was of some use.
    pub(super) fn is_reached(&self) -> bool {
        self.is_reached.load(Ordering::Relaxed)
    }

    /// Wakes `waiting` from now on; the first call counts.
    pub(super) fn notify_on_return(&self, waiting: Arc<Notify>) {
        let _first_call_counts = self.on_return.set(waiting);
    }

    /// A question had no answer, or one that tells of trouble at the primary: the driver shall find out.
    pub(super) fn doubt(&self) {
        self.doubted.notify_one();
    }

    /// Somebody watches whether the primary can be reached. A connection that nothing is sent on does not tell.
    pub(super) fn watch(&self) {
        let now = Instant::now();
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if asked.is_none_or(|asked| now >= asked + ASK_EVERY) {
            *asked = Some(now);
            self.doubt();
        }
    }

    /// So many names are pending for which nobody waits.
    pub(super) fn set_parked(&self, names: usize) {
        self.parked.store(names, Ordering::Relaxed);
    }

    /// See [`Self::set_parked`].
    pub(super) fn parked(&self) -> usize {
        self.parked.load(Ordering::Relaxed)
    }

    /// Waits for the next doubt.
    pub(super) async fn doubted(&self) {
        self.doubted.notified().await;
    }

    /// Why the primary cannot be reached, if that was so when it was last tried.
    pub(super) fn problem(&self) -> Option<String> {
        self.problem.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// See [`Self::problem`].
    pub(super) fn set_problem(&self, problem: Option<String>) {
        let is_well = problem.is_none();
        let before = std::mem::replace(&mut *self.problem.lock().unwrap_or_else(PoisonError::into_inner), problem);
        if is_well && before.is_some() {
            self.is_usable_again();
        }
    }

    pub(super) fn lost(&self) {
        self.is_reached.store(false, Ordering::Relaxed);
    }

    /// There is a connection.
    pub(super) fn reached(&self) {
        if !self.is_reached.swap(true, Ordering::Relaxed) {
            self.is_usable_again();
        }
    }

    /// Trouble of another kind is over.
    pub(super) fn is_usable_again(&self) {
        if let Some(waiting) = self.on_return.get() {
            waiting.notify_one();
        }
    }
}
