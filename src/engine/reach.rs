//! Whether a zone's primary can be reached, who doubts it, and who is told when it can be used again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use tokio::sync::Notify;

/// What the driver tells of its primary.
#[derive(Debug, Default)]
pub(super) struct Reach {
    is_reached: AtomicBool,
    on_return: OnceLock<Arc<Notify>>,
    doubted: Notify,
}

impl Reach {
    /// The last try to connect succeeded, and the connection was of some use.
    pub(super) fn is_reached(&self) -> bool {
        self.is_reached.load(Ordering::Relaxed)
    }

    /// Wakes `who` from now on; the first call counts.
    pub(super) fn tell(&self, who: Arc<Notify>) {
        let _somebody_is_told_already = self.on_return.set(who);
    }

    /// A question had no answer, or one that tells of trouble at the primary: the driver shall find out.
    pub(super) fn doubt(&self) {
        self.doubted.notify_one();
    }

    /// Waits for the next doubt.
    pub(super) async fn doubted(&self) {
        self.doubted.notified().await;
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
        if let Some(who) = self.on_return.get() {
            who.notify_one();
        }
    }
}
