//! A change without an answer in time, which the primary may apply after something newer that another gateway was told: two
//! gateways' connections to a primary have no order. Whoever sent the older one sees to it, for he alone knows what he sent.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use tracing::debug;

use super::Gateway;
use crate::engine::{self, LIFE, Late, Unanswered, Wish};
use crate::model::{Change, Records, Timestamp};
use crate::store::Store;

/// From the end of a message to the first look what others were told: they write it within half a second.
const FIRST_LOOK: Duration = Duration::from_secs(2);

impl Gateway {
    /// Watches for what becomes of `wish`, of which each family was asked for at `asked`, where others are on the store.
    pub(super) fn watch(&self, zone: &engine::Zone, wish: Wish, asked: [Timestamp; 2], unanswered: Unanswered) {
        let Some(store) = self.registry.store().filter(|store| store.is_shared()).cloned() else { return };
        // More than these nobody watches: so many are under way at once.
        let Ok(place) = Arc::clone(&self.watched).try_acquire_owned() else { return };
        let (zone, deadline) = (zone.downgrade(), self.deadline);
        tokio::spawn(async move {
            let looks = match unanswered.ended().await {
                // A deferred change is done, or a request answered, within two deadlines where the primary answers.
                Some(Late::Applied) => [Some(FIRST_LOOK), Some(deadline * 2), None],
                Some(Late::Lost) => [Some(FIRST_LOOK), Some(deadline * 2), Some(LIFE)],
                None => [None; 3],
            };
            for pause in looks.into_iter().flatten() {
                sleep(pause).await;
                let Some(zone) = zone.upgrade() else { return };
                undo_what_is_older(&store, &zone, &wish, asked).await;
            }
            drop(place);
        });
    }
}

/// Where others were told something newer than `wish`, and its name holds `wish` all the same, it shall not.
async fn undo_what_is_older(store: &Store, zone: &engine::Zone, wish: &Wish, asked: [Timestamp; 2]) {
    let newer = match store.answered_since(&wish.name, asked).await {
        Ok(newer) => newer,
        // The next look may find it.
        Err(error) => {
            return debug!(host = %wish.name, %error, "nobody can tell whether a late change replaced a newer one");
        }
    };
    let Records { v4, v6 } = wish.records;
    if let (Change::Set(_), Some(newer)) = (v4, newer.v4)
        && v4.set() != Some(newer)
    {
        undo(zone, wish, Records { v4, v6: Change::Leave }, Records { v4: Change::Set(newer), v6: Change::Leave });
    }
    if let (Change::Set(_), Some(newer)) = (v6, newer.v6)
        && v6.set() != Some(newer)
    {
        undo(zone, wish, Records { v4: Change::Leave, v6 }, Records { v4: Change::Leave, v6: Change::Set(newer) });
    }
}

fn undo(zone: &engine::Zone, wish: &Wish, lost: Records, newer: Records) {
    zone.undo(lost, Wish { records: newer, ..wish.clone() });
}
