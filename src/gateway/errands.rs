//! Changes that nobody waits for: records that a command asked for. They are kept in the store until the primary has
//! acknowledged them.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::{info, warn};

use super::Gateway;
use crate::engine::Wish;
use crate::model::{Hostname, Records};
use crate::store::{Millis, Store, Wanted};

/// Errands under way at once.
const AT_ONCE: usize = 500;
/// Between two tries of what could not be done.
const AGAIN: Duration = Duration::from_secs(10);

impl Gateway {
    /// Runs errands for ever: at the start, when `wake` says that there are new ones, and again what failed.
    pub async fn run_errands(self: Arc<Self>, wake: Arc<Notify>) {
        let mut again = interval(AGAIN);
        again.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while let Some(store) = self.registry.store() {
            tokio::select! {
                () = wake.notified() => {}
                _ = again.tick() => {}
            }
            self.all_errands(store).await;
        }
    }

    async fn all_errands(self: &Arc<Self>, store: &Store) {
        let mut after: Option<Hostname> = None;
        loop {
            // An error is the store's trouble, which /readyz tells.
            let Ok(page) = store.wanted(after.as_ref(), AT_ONCE).await else { return };
            let is_last = page.len() < AT_ONCE;
            after = page.last().map(|wanted| wanted.name.clone());
            let mut under_way = JoinSet::new();
            for wanted in page {
                let gateway = Arc::clone(self);
                under_way.spawn(async move { gateway.errand(wanted).await });
            }
            while under_way.join_next().await.is_some() {}
            if is_last {
                return;
            }
        }
    }

    async fn errand(&self, wanted: Wanted) {
        let Some(store) = self.registry.store() else { return };
        let Wanted { name, v4, v6, ttl, since, expires, account } = wanted;
        let records = Records { v4, v6 };
        if expires.is_some_and(|expires| expires <= Millis::now()) {
            let _kept_until_next_time = store.fulfilled(&name, since).await;
            return;
        }
        let zone = self.registry.zone_of(&name).and_then(|zone| self.zones.get(zone));
        let Some(zone) = zone else {
            return warn!(host = %name, "records shall change, and no zone of ours holds the name: it waits until one does");
        };
        self.registry.claim(&name).await;
        let wish = Wish { name: name.clone(), records, ttl, account: account.into() };
        match zone.change(wish, Instant::now() + self.deadline).await {
            Ok(_) => {
                self.registry.claim(&name).await;
                let action = if records == Records::REMOVED { "removed" } else { "set" };
                info!(host = %name, action, "records changed as a command asked");
                let _asked_again_otherwise = store.fulfilled(&name, since).await;
            }
            Err(trouble) => {
                warn!(host = %name, ?trouble, "records could not be changed as a command asked; tried again")
            }
        }
    }
}
