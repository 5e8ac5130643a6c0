//! A change without an answer in time, which the primary may apply after something newer that another gateway was told: two
//! gateways' connections to a primary have no order. The gateway that sent the older one puts it right, for it alone knows what
//! it sent.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};
use tracing::debug;

use super::MOST_UNDER_WAY;
use crate::engine::{self, Change, LIFE, Late, Unanswered};
use crate::model::{Desired, RrKey};
use crate::registry::PendingChanges;

/// From the end of a message to the first look what others were told: they write it within half a second.
const FIRST_LOOK: Duration = Duration::from_secs(2);

/// Those that are watched.
#[derive(Debug, Clone)]
pub(super) struct LateUpdates(Arc<Semaphore>);

impl LateUpdates {
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(MOST_UNDER_WAY)))
    }

    /// Watches what becomes of `change`, where others are on the store.
    pub(super) fn watch(
        &self,
        store: &Arc<PendingChanges>,
        zone: &engine::Zone,
        change: Change,
        unanswered: Unanswered,
        deadline: Duration,
    ) {
        // More than these nobody watches: so many are under way at once.
        let Ok(place) = Arc::clone(&self.0).try_acquire_owned() else { return };
        let (store, zone) = (Arc::clone(store), zone.downgrade());
        tokio::spawn(async move {
            let looks = match unanswered.ended().await {
                // A pending change is done, or a request answered, within two deadlines where the primary answers.
                Some(Late::Applied) => [Some(FIRST_LOOK), Some(deadline * 2), None],
                Some(Late::Lost) => [Some(FIRST_LOOK), Some(deadline * 2), Some(LIFE)],
                None => [None; 3],
            };
            for pause in looks.into_iter().flatten() {
                sleep(pause).await;
                let Some(zone) = zone.upgrade() else { return };
                put_right(&store, &zone, &change, deadline).await;
            }
            drop(place);
        });
    }
}

/// Where others were told something newer than `change`, and its RRset holds `change` all the same, it shall not.
async fn put_right(store: &PendingChanges, zone: &engine::Zone, change: &Change, deadline: Duration) {
    for (rtype, late) in change.records.iter() {
        let key = RrKey { name: change.name.clone(), rtype };
        // Where the store does not say, the next look may find it.
        let newer = store.answered_since(&key, change.origin.accepted).await.ok().flatten().flatten();
        if let (Desired::Set { data: late, ttl }, Some(data)) = (late, newer)
            && *late != data
        {
            let desired = Desired::Set { data, ttl: *ttl };
            let swapped =
                zone.compare_and_swap(key.clone(), vec![late.clone()], desired, Instant::now() + deadline).await;
            debug!(%key, ?swapped, "compared with what another gateway was told");
        }
    }
}
