//! A change without an answer in time, which the primary may apply after something newer that another gateway was told: two
//! gateways' connections to a primary have no order. The gateway that sent the older one puts it right, for it alone knows what
//! it sent.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tracing::debug;

use super::Gateway;
use crate::engine::{self, Change, LIFE, Late, Unanswered};
use crate::model::{Desired, RrKey};
use crate::store::Store;

/// From the end of a message to the first look what others were told: they write it within half a second.
const FIRST_LOOK: Duration = Duration::from_secs(2);

impl Gateway {
    /// Watches what becomes of `change`, where others are on the store.
    pub(super) fn watch(&self, zone: &engine::Zone, change: Change, unanswered: Unanswered) {
        let Some(store) = self.registry.store().filter(|store| store.is_shared()).cloned() else { return };
        // More than these nobody watches: so many are under way at once.
        let Ok(place) = Arc::clone(&self.watched).try_acquire_owned() else { return };
        let (zone, deadline) = (zone.downgrade(), self.deadline);
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
async fn put_right(store: &Store, zone: &engine::Zone, change: &Change, deadline: Duration) {
    for (rtype, late) in change.records.iter() {
        let key = RrKey { name: change.name.clone(), rtype };
        let newer = match store.answered_since(&key, change.origin.accepted).await {
            Ok(newer) => newer.flatten(),
            // The next look may find it.
            Err(error) => {
                debug!(%key, %error, "the store does not say whether a late update replaced a newer one");
                continue;
            }
        };
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
