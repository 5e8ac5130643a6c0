//! Keeps what requests asked for while the primary was away: in memory, and where there is a store, in it too, at most half a
//! second behind.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};
use tracing::{debug, info, warn};

use super::Gateway;
use super::wishes::Wishes;
use crate::metrics::Metrics;
use crate::model::{Hostname, Records, Timestamp, ZoneName};
use crate::registry::{Claim, Registry};
use crate::store::{Asked, Deferral, Standing, Store, StoreError, Unwanted, Wanted};

/// Hosts whose requests are kept; those of further ones are not.
const MOST: usize = 100_000;
/// How far the store may be behind.
const BEHIND: Duration = Duration::from_millis(500);
/// Wishes in one transaction.
const BATCH: usize = 1_000;
/// Answered requests that wait for their older wishes to go from the store.
const MOST_UNWANTED: usize = 20_000;
/// Between two lines about a recovery.
const PROGRESS: Duration = Duration::from_secs(5);

/// What is deferred, and how it is kept.
///
/// Each configuration has one of its own; all but how long it is worth is common to them.
#[derive(Debug, Clone)]
pub(super) struct Deferred {
    // How long it is worth doing; `None` where nothing is deferred.
    worth: Option<Duration>,
    wishes: Arc<Mutex<Wishes>>,
    zones: Arc<Mutex<HashMap<ZoneName, Episode>>>,
    metrics: Metrics,
    wake: Arc<Notify>,
    unwanted: mpsc::Sender<Order>,
    // Until the writer is started.
    orders: Arc<Mutex<Option<mpsc::Receiver<Order>>>>,
}

/// From the first wish of a zone to the last one.
#[derive(Debug)]
struct Episode {
    since: Instant,
    told: Instant,
    applied: usize,
    dropped: usize,
    is_full: bool,
}

enum Order {
    Forget(Unwanted, oneshot::Sender<bool>),
    Write(oneshot::Sender<()>),
}

/// A request for a name, from its acceptance to its end.
#[derive(Debug)]
pub(super) struct Ticket<'d> {
    deferred: &'d Deferred,
    name: Hostname,
    at: Timestamp,
    asked: Asked,
}

impl Deferred {
    pub(super) fn new(worth: Option<Duration>, metrics: Metrics, wake: Arc<Notify>) -> Self {
        let (unwanted, orders) = mpsc::channel(MOST_UNWANTED);
        Self {
            worth,
            wishes: Arc::default(),
            zones: Arc::default(),
            metrics,
            wake,
            unwanted,
            orders: Arc::new(Mutex::new(Some(orders))),
        }
    }

    /// The same, where what is deferred from now on is worth doing for so long.
    pub(super) fn with(&self, worth: Option<Duration>) -> Self {
        Self { worth, ..self.clone() }
    }

    /// Whether a request for `name` is under way, or something is wished for it.
    pub(super) fn knows(&self, name: &Hostname) -> bool {
        self.wishes().knows(name)
    }

    /// A request for `name` was accepted at `now`.
    pub(super) fn begin(&self, name: &Hostname, now: Timestamp) -> Ticket<'_> {
        let at = self.wishes().begin(name, now);
        Ticket { deferred: self, name: name.clone(), at, asked: Asked { at: now, claimed: None } }
    }

    /// How many wishes of requests each zone has.
    pub(super) fn of(&self, zone: &ZoneName) -> usize {
        self.wishes().counts().find(|(of, _)| *of == zone).map_or(0, |(_, count)| count)
    }

    pub(super) fn wishes(&self) -> MutexGuard<'_, Wishes> {
        self.wishes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells what changed since the last call: gauges, and a line when a zone has nothing left.
    pub(super) fn tell(&self) {
        let wishes = self.wishes();
        let counts: Vec<_> = wishes.counts().map(|(zone, count)| (zone.clone(), count)).collect();
        drop(wishes);
        let mut zones = self.zones.lock().unwrap_or_else(PoisonError::into_inner);
        for (zone, count) in counts {
            self.metrics.deferred(zone.as_str(), count);
            let now = Instant::now();
            if count > 0 {
                let episode = zones.entry(zone.clone()).or_insert_with(|| {
                    warn!(
                        %zone, hosts = count, worth = ?self.worth,
                        "requests were answered 911; what they ask for is kept, and done when the primary answers"
                    );
                    Episode { since: now, told: now, applied: 0, dropped: 0, is_full: false }
                });
                if episode.applied > 0 && now - episode.told >= PROGRESS {
                    episode.told = now;
                    info!(%zone, applied = episode.applied, left = count, "deferred changes are being done");
                }
            } else if let Some(episode) = zones.remove(&zone) {
                let Episode { since, applied, dropped, .. } = episode;
                info!(%zone, applied, dropped, within = ?now - since, "no change is deferred any longer");
            }
        }
    }

    /// Something is left of a wish that was looked at.
    pub(super) fn look_again(&self) {
        self.wake.notify_one();
    }

    /// Deferred changes of `zone` came to an end.
    pub(super) fn count(&self, zone: &ZoneName, applied: usize, dropped: usize) {
        if let Some(episode) = self.zones.lock().unwrap_or_else(PoisonError::into_inner).get_mut(zone) {
            episode.applied += applied;
            episode.dropped += dropped;
        }
    }

    /// Takes in what the store keeps; before any request is answered.
    pub(super) async fn load(&self, registry: &Registry) -> Result<(), StoreError> {
        let Some(store) = registry.store() else { return Ok(()) };
        let mut after = None;
        loop {
            let page = store.wanted(after.as_ref(), BATCH).await?;
            let is_last = page.len() < BATCH;
            after = page.last().map(|deferral| deferral.wish.name.clone());
            self.found(page, registry);
            if is_last {
                self.tell();
                return Ok(());
            }
        }
    }

    /// Takes in a page of the store. Records that shall go are nobody's host any longer and need not be known.
    pub(super) fn found(&self, page: Vec<Deferral>, registry: &Registry) {
        let is_shared = registry.store().is_some_and(Store::is_shared);
        let mut wishes = self.wishes();
        for Deferral { wish: wanted, asked } in page {
            let zone = registry.zone_of(&wanted.name).filter(|_| wanted.source.is_some());
            if wishes.count() < MOST || wishes.knows(&wanted.name) {
                // Who is alone counts on, whatever becomes of the clock.
                let at = if is_shared { asked.map(|asked| asked.at) } else { [wanted.since; 2] };
                wishes.load(wanted, at, zone);
            }
        }
    }

    /// Writes for ever to the store of the gateway `in_force`, where there is one.
    pub(super) async fn write(&self, in_force: impl Fn() -> Arc<Gateway>) {
        let Some(mut orders) = self.orders.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
        let mut tick = interval(BEHIND);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut some = Vec::with_capacity(BATCH);
        // Who waits until all is written.
        let mut waiting: Vec<oneshot::Sender<()>> = Vec::new();
        loop {
            tokio::select! {
                count = orders.recv_many(&mut some, BATCH) => {
                    if count == 0 {
                        return;
                    }
                    waiting.extend(self.forget_all(&mut some, &in_force().registry).await);
                    if !waiting.is_empty() {
                        tick.reset_immediately();
                    }
                }
                _ = tick.tick() => {
                    let gateway = in_force();
                    // A batch at a time: no request waits for all of them until what is over is forgotten.
                    if self.write_some(&gateway.registry).await {
                        tick.reset_immediately();
                    } else {
                        for written in waiting.drain(..) {
                            let _asker_gone = written.send(());
                        }
                    }
                    gateway.deferred.tell();
                }
            }
        }
    }

    /// Forgets what is to be forgotten; who else waits, until all is written.
    async fn forget_all(&self, orders: &mut Vec<Order>, registry: &Registry) -> Vec<oneshot::Sender<()>> {
        let (mut unwanted, mut forgotten, mut waiting) = (Vec::new(), Vec::new(), Vec::new());
        for order in orders.drain(..) {
            match order {
                Order::Forget(what, done) => {
                    unwanted.push(what);
                    forgotten.push(done);
                }
                Order::Write(done) => waiting.push(done),
            }
        }
        for Unwanted { name, v4, v6, until, .. } in &unwanted {
            debug!(host = %name, v4, v6, until = until.0, "forgotten");
        }
        if !unwanted.is_empty() {
            let done = match registry.store() {
                Some(store) => store.unwant(&unwanted).await.is_ok(),
                None => true,
            };
            for sender in forgotten {
                let _asker_gone = sender.send(done);
            }
        }
        waiting
    }

    /// Writes a batch of what the store does not have; whether there was any, and it has it now.
    async fn write_some(&self, registry: &Registry) -> bool {
        let some = self.wishes().unwritten(BATCH);
        if some.is_empty() {
            return false;
        }
        let left_out = match registry.defer(&some).await {
            Ok(left_out) => left_out,
            Err(error) => {
                debug!(%error, "deferred changes wait for the store");
                return false;
            }
        };
        for Deferral { wish, .. } in &some {
            debug!(host = %wish.name, v4 = ?wish.v4, v6 = ?wish.v6, since = wish.since.0, "deferred");
        }
        for host in &left_out {
            info!(%host, "a deferred change is not kept: a newer one is, or another gateway took the host over");
        }
        // Other gateways need not wait until the claim ends.
        let before = registry.claims_end();
        registry.release(&self.written(&some, &left_out), before).await;
        true
    }

    /// The store has these, but for `left_out`; the names without a request under way.
    fn written(&self, some: &[Deferral], left_out: &[Hostname]) -> Vec<Hostname> {
        let mut wishes = self.wishes();
        if wishes.written(some) {
            self.look_again();
        }
        for Deferral { wish, .. } in some.iter().filter(|deferral| left_out.contains(&deferral.wish.name)) {
            wishes.left_out(&wish.name, wish.since);
        }
        let names = some.iter().map(|deferral| &deferral.wish.name);
        names.filter(|name| wishes.is_idle(name, 0)).cloned().collect()
    }

    /// Writes what is not written yet.
    pub(super) async fn flush(&self) {
        let (done, written) = oneshot::channel();
        if self.unwanted.send(Order::Write(done)).await.is_ok() {
            let _writer_ended = written.await;
        }
    }

    /// Forgets what is not wanted any longer, in the store too; `false` where that could not be.
    pub(super) async fn forget(&self, unwanted: Unwanted) -> bool {
        let (done, forgotten) = oneshot::channel();
        self.unwanted.try_send(Order::Forget(unwanted, done)).is_ok() && forgotten.await.unwrap_or(false)
    }
}

impl Ticket<'_> {
    /// The request was answered: whatever was wished before it, by the families that it names, is over. `standing` is what
    /// the store said of the name. `false` where the store could not be told, and would bring the older wish back.
    pub(super) async fn answered(&self, records: Records, standing: Option<Standing>, deadline: Instant) -> bool {
        let known = self.deferred.wishes().answered(&self.name, self.at, records);
        let stands = |standing: Standing| Unwanted {
            v4: records.v4.is_made(),
            v6: records.v6.is_made(),
            ..Unwanted::all(self.name.clone(), standing.since)
        };
        match known.or_else(|| standing.map(stands)) {
            // What stands may have been joined to another gateway's, and then its moment is later than we know.
            Some(known) => {
                let until = standing.map_or(known.until, |standing| known.until.max(standing.since));
                let unwanted = Unwanted { until, asked: Some(self.asked.at), ..known };
                timeout_at(deadline, self.deferred.forget(unwanted)).await.unwrap_or(false)
            }
            None => true,
        }
    }

    /// The name was to be claimed; a wish that stands for it came before this request.
    pub(super) fn claimed(&mut self, claim: Claim) {
        let found = claim.wish.map_or(Timestamp(0), |standing| standing.since);
        self.asked.claimed = claim.is_made.then_some(found);
    }

    /// Whether what is wished for its name may go into other hands once the request is over; `stands` is whether the store had
    /// a wish for it.
    pub(super) fn lets_go(&self, stands: bool) -> bool {
        let wishes = self.deferred.wishes();
        (stands || wishes.has(&self.name)) && wishes.is_idle(&self.name, 1)
    }

    /// The request was answered `911`: what it asks for, as `wanted` says, is done as soon as may be.
    pub(super) fn defer(&self, wanted: Wanted, zone: &ZoneName) {
        let is_kept = {
            let mut wishes = self.deferred.wishes();
            // Where nothing is deferred any longer, it takes the place of what was: an older wish shall not be what comes of it.
            let expires = match self.deferred.worth {
                Some(worth) => Some(Timestamp::now().plus(worth)),
                None => wishes.expires(&self.name),
            };
            let Some(expires) = expires else { return };
            wishes.defer(Wanted { since: self.at, expires: Some(expires), ..wanted }, self.asked, zone, MOST)
        };
        if self.deferred.of(zone) == 1 {
            self.deferred.tell();
        }
        if !is_kept {
            let mut zones = self.deferred.zones.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(episode) = zones.get_mut(zone).filter(|episode| !episode.is_full) {
                episode.is_full = true;
                warn!(%zone, most = MOST, "no more changes can be deferred; those routers must come again");
            }
        }
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        if self.deferred.wishes().end(&self.name) {
            self.deferred.wake.notify_one();
        }
    }
}
