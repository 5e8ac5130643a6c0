//! Changes for which nobody waits any longer: kept in the store while they wait, authorised again before they are made, and
//! recorded when they are done.
//!
//! With no store or one of its own, the gateway keeps them in the zones' queues, and the store has a row of each in case of a
//! restart. On a store of several gateways the rows are what there is: a gateway takes the lease on one, reads the zone, and
//! makes the change by compare and swap.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::{SecureRandom as _, SystemRandom};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout_at};
use tracing::{debug, info, warn};

use super::Gateway;
use super::authorise::{Extra, Refusal};
use crate::engine::{self, Change, Client, End, Ended, Keep, Origin, Parked, Trouble, Verdict};
use crate::metrics::Metrics;
use crate::model::{Desired, DesiredRecords, Outcome, RrKey, Timestamp, ZoneName};
use crate::registry::{Sighting, Unavailable};
use crate::store::{PendingRow, StoreError};

/// Between two looks for what nobody waits for.
const LOOK: Duration = Duration::from_millis(500);
/// Between two looks through the rows that nobody told of.
const AGAIN: Duration = Duration::from_secs(10);
/// Names in one page.
const PAGE: usize = 1_000;
/// Names that one look releases: more wait for the next, so that no authorisation is old when its change leaves.
const MOST_RELEASED: usize = 20_000;
/// Rows that are worked on at once: fewer than the engine's queue takes by far, so that requests find room.
const AT_ONCE: usize = 500;
/// Rows of other gateways' requests are left alone until all gateways have recorded what they answered meanwhile.
const SETTLED: Duration = Duration::from_secs(3);
/// Between two looks whether another gateway's lease on a row has ended.
const LEASED: Duration = Duration::from_millis(50);
/// Requests whose older rows go in one statement, and those that wait for one.
const BATCH: usize = 500;
const MOST_CLEARED: usize = 20_000;
/// Between two lines about a recovery.
const PROGRESS: Duration = Duration::from_secs(5);

/// What is common to all configurations, and how long a change is worth keeping in this one.
#[derive(Debug, Clone)]
pub(super) struct Pending {
    // `None` where a change goes with its caller.
    worth: Option<Duration>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    // The rows that this gateway wrote or read, with what tells each from a newer one; of a store of its own all that there are.
    rows: Mutex<HashMap<RrKey, Timestamp>>,
    // Whether a store of several gateways has any row, as far as is known.
    any_rows: AtomicBool,
    // What the last look through such a store found, by zone.
    found: Mutex<HashMap<ZoneName, usize>>,
    clear: mpsc::Sender<Clear>,
    // Until the task is started that does it.
    clears: Mutex<Option<mpsc::Receiver<Clear>>>,
    // Stands in this gateway's leases.
    owner: String,
    episodes: Mutex<HashMap<ZoneName, Episode>>,
    metrics: Metrics,
}

/// From the first pending change of a zone to the last one.
#[derive(Debug)]
struct Episode {
    since: Instant,
    told: Instant,
    done: usize,
    dropped: usize,
}

/// A request before which older rows shall go.
#[derive(Debug)]
struct Clear {
    keys: Vec<(RrKey, Timestamp)>,
    // Whether another gateway is working on one of them.
    cleared: oneshot::Sender<Result<bool, Unavailable>>,
}

/// Whether older rows are gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cleared {
    /// They are, or there was none.
    Yes,
    /// Another gateway is working on one until the deadline.
    Leased,
    /// The store does not do it.
    Unavailable,
}

/// What became of a row.
enum RowEnd {
    Done,
    Dropped(String),
    // It is tried again.
    Left(Trouble),
}

impl Pending {
    pub(super) fn new(worth: Option<Duration>, metrics: Metrics) -> Self {
        let (clear, clears) = mpsc::channel(MOST_CLEARED);
        let shared = Shared {
            rows: Mutex::default(),
            any_rows: AtomicBool::new(false),
            found: Mutex::default(),
            clear,
            clears: Mutex::new(Some(clears)),
            owner: random_name(),
            episodes: Mutex::default(),
            metrics,
        };
        Self { worth, shared: Arc::new(shared) }
    }

    /// The same, where a change is worth keeping for so long.
    pub(super) fn with(&self, worth: Option<Duration>) -> Self {
        Self { worth, shared: Arc::clone(&self.shared) }
    }

    /// How long a change is kept that is answered by `deadline`.
    pub(super) fn keep(&self, deadline: Instant) -> Keep {
        self.worth.map_or(Keep::WithCaller, |worth| Keep::Until(deadline + worth))
    }

    /// Older rows of what `change` changes go from the store.
    pub(super) async fn clear(&self, change: &Change, deadline: Instant) -> Cleared {
        let key = |rtype| RrKey { name: change.name.clone(), rtype };
        let keys = || change.records.iter().map(|(rtype, _)| (key(rtype), change.origin.accepted));
        let may_have_rows = self.shared.any_rows.load(Ordering::Relaxed) || {
            let rows = self.shared.rows();
            !rows.is_empty() && keys().any(|(key, _)| rows.contains_key(&key))
        };
        if !may_have_rows {
            return Cleared::Yes;
        }
        loop {
            let (cleared, is_leased) = oneshot::channel();
            let clear = Clear { keys: keys().collect(), cleared };
            if self.shared.clear.try_send(clear).is_err() {
                return Cleared::Unavailable;
            }
            match timeout_at(deadline, is_leased).await {
                Ok(Ok(Ok(false))) => return Cleared::Yes,
                Ok(Ok(Ok(true))) if Instant::now() + LEASED < deadline => sleep(LEASED).await,
                Ok(Ok(Ok(true))) => return Cleared::Leased,
                Ok(_) | Err(_) => return Cleared::Unavailable,
            }
        }
    }
}

impl Shared {
    fn rows(&self) -> MutexGuard<'_, HashMap<RrKey, Timestamp>> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn found(&self) -> MutexGuard<'_, HashMap<ZoneName, usize>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Pending changes of `zone` came to an end.
    fn count(&self, zone: &ZoneName, done: usize, dropped: usize) {
        if let Some(episode) = self.episodes.lock().unwrap_or_else(PoisonError::into_inner).get_mut(zone) {
            episode.done += done;
            episode.dropped += dropped;
        }
    }

    /// Tells the log that changes of `zone` are pending, that they are being made, and that none is left.
    fn report(&self, zone: &ZoneName, count: usize, worth: Option<Duration>) {
        self.metrics.deferred(zone.as_str(), count);
        let mut episodes = self.episodes.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if count > 0 {
            let episode = episodes.entry(zone.clone()).or_insert_with(|| {
                warn!(%zone, hosts = count, ?worth, "changes are pending whose requests were answered 911; they are made when the primary answers");
                Episode { since: now, told: now, done: 0, dropped: 0 }
            });
            if episode.done > 0 && now - episode.told >= PROGRESS {
                episode.told = now;
                info!(%zone, done = episode.done, left = count, "pending changes are being made");
            }
        } else if let Some(Episode { since, done, dropped, .. }) = episodes.remove(zone) {
            info!(%zone, done, dropped, within = ?now - since, "no change is pending any longer");
        }
    }
}

impl Gateway {
    /// Hosts of `zone` whose last request was answered 911, and is done when the primary answers.
    #[must_use]
    pub fn pending(&self, zone: &ZoneName) -> usize {
        let parked = self.zones.get(zone).map_or(0, engine::Zone::parked_count);
        parked + self.pending.shared.found().get(zone).copied().unwrap_or_default()
    }

    /// Takes in what the store keeps of earlier runs; to be called before the first request.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn prepare(&self) -> Result<(), StoreError> {
        match self.registry.store() {
            Some(store) if store.is_shared() => {
                self.pending.shared.any_rows.store(store.any_pending().await?, Ordering::Relaxed);
            }
            Some(_) | None => {
                for (zone, count) in self.load(false).await? {
                    self.pending.shared.report(&zone, count, self.pending.worth);
                }
            }
        }
        Ok(())
    }

    /// Looks after what is pending for ever, each time in the gateway `in_force`: `wake` says that there is something new, or a
    /// primary is back; `endings` are the engines' words on what nobody waited for.
    pub async fn look_after_pending(
        in_force: impl Fn() -> Arc<Self> + Clone + Send + 'static,
        wake: Arc<Notify>,
        mut endings: mpsc::UnboundedReceiver<Vec<Ended>>,
    ) {
        // No gateway is held while it waits, or zones that a reload removed would never end.
        let clears = in_force().pending.shared.clears.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut owned = JoinSet::new();
        if let Some(clears) = clears {
            owned.spawn(clear_in_groups(in_force.clone(), clears));
        }
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut again = interval(AGAIN);
        again.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // Rows that are to go from the store, and whether some could not be worked on yet for their age.
        let (mut over, mut has_young) = (Vec::new(), false);
        loop {
            let mut has_news = false;
            tokio::select! {
                () = wake.notified() => has_news = true,
                _ = again.tick() => has_news = true,
                _ = look.tick() => {}
                Some(ended) = endings.recv() => {
                    in_force().ended(ended, &mut over);
                    if over.len() < BATCH {
                        continue;
                    }
                }
                Some(ended) = owned.join_next() => {
                    // It ends with us alone: a panic of it is ours.
                    if let Err(error) = ended {
                        std::panic::resume_unwind(error.into_panic());
                    }
                }
            }
            let gateway = in_force();
            // Before the look: a zone that is new and reached during it is looked at again.
            gateway.zones.values().for_each(|zone| zone.on_return(Arc::clone(&wake)));
            gateway.forget_rows(&mut over).await;
            for zone in gateway.zones.values().filter(|zone| zone.parked_count() > 0) {
                gateway.look_after_zone(zone, false).await;
            }
            let looked = if gateway.registry.is_shared() {
                if has_news {
                    gateway.pending.shared.any_rows.store(true, Ordering::Relaxed);
                }
                if has_news || has_young { gateway.work_on_rows().await } else { Ok(false) }
            } else if has_news {
                gateway.load(true).await.map(|_| false)
            } else {
                Ok(false)
            };
            // Else the store's trouble, which /readyz tells.
            has_young = looked.unwrap_or_else(|error| {
                debug!(%error, "pending changes wait for the store");
                true
            });
            // What is over is counted before it is said that nothing is left.
            while let Ok(ended) = endings.try_recv() {
                gateway.ended(ended, &mut over);
            }
            for zone in gateway.zones.keys() {
                gateway.pending.shared.report(zone, gateway.pending(zone), gateway.pending.worth);
            }
        }
    }

    /// Writes what is pending, as far as there is a store.
    pub(super) async fn keep_pending(&self) {
        if let Some(store) = self.registry.store() {
            for zone in self.zones.values() {
                zone.park_all().await;
                self.look_after_zone(zone, true).await;
            }
            let _until_the_leases_end = store.release_all_pending(&self.pending.shared.owner).await;
        }
    }

    // ---- What the engine tells.

    fn ended(&self, all: Vec<Ended>, over: &mut Vec<(RrKey, Timestamp)>) {
        for Ended { key, desired, origin, row, end } in all {
            over.extend(row.map(|row| (key.clone(), row)));
            let zone = self.registry.zone_of(&key.name);
            match end {
                End::Done { is_awaited: true } | End::Superseded => {}
                End::Done { is_awaited: false } => {
                    if let Some(zone) = zone {
                        self.pending.shared.count(zone, 1, 0);
                    }
                    self.record_done(&key, desired, &origin);
                }
                End::Failed(trouble) => {
                    warn!(host = %key.name, rtype = %key.rtype, ?trouble, "a pending change is dropped: the primary does not take it");
                    if let Some(zone) = zone {
                        self.pending.shared.count(zone, 0, 1);
                    }
                }
                End::Expired => {
                    warn!(host = %key.name, rtype = %key.rtype, "a pending change is dropped: it is too old, or its zone is gone");
                    if let Some(zone) = zone {
                        self.pending.shared.count(zone, 0, 1);
                    }
                }
            }
        }
    }

    fn record_done(&self, key: &RrKey, desired: Desired, origin: &Origin) {
        let client = origin.client.as_ref();
        if client.is_none() {
            let action = if desired == Desired::Absent { "removed" } else { "set" };
            info!(host = %key.name, rtype = %key.rtype, action, "a record changed as a command asked");
        }
        self.registry.saw(Sighting {
            name: key.name.clone(),
            outcome: Outcome::Changed,
            source: client.map(|client| client.source),
            agent: client.and_then(|client| client.agent.clone()),
            held: DesiredRecords::from_iter([(key.rtype, desired)]),
            asked: origin.accepted,
        });
    }

    /// The store forgets rows that are over.
    async fn forget_rows(&self, over: &mut Vec<(RrKey, Timestamp)>) {
        let Some(store) = self.registry.store() else { return over.clear() };
        if over.is_empty() || store.end_pending(over).await.is_err() {
            return;
        }
        let mut rows = self.pending.shared.rows();
        for (key, row) in over.drain(..) {
            if rows.get(&key) == Some(&row) {
                rows.remove(&key);
            }
        }
    }

    // ---- A zone's queue.

    /// Keeps what nobody waits for, and releases what may be made now. With `at_last` it is kept alone.
    async fn look_after_zone(&self, zone: &engine::Zone, at_last: bool) {
        let (mut after, mut released) = (None, 0);
        loop {
            let page = zone.parked(after.take(), PAGE).await;
            let Some(last) = page.last() else { return };
            after = Some(last.key.name.clone());
            let (mut verdicts, mut over) = (Vec::new(), Vec::new());
            let is_shared = self.registry.is_shared();
            let may_release = !is_shared && !at_last && zone.is_reached();
            // On a shared store what is parked lives on there alone, whatever row it has.
            let is_to_be_kept = |parked: &&Parked| match is_shared {
                true => parked.row.is_none() || !parked.is_in_flight,
                false => parked.row.is_none() && !(may_release && parked.is_ready),
            };
            let unkept: Vec<_> = page.iter().filter(is_to_be_kept).cloned().collect();
            self.keep_rows(unkept, is_shared, &mut verdicts).await;
            if may_release {
                let ready: Vec<_> = page.into_iter().filter(|parked| parked.is_ready).collect();
                released += ready.len();
                let Ok(taken_back) = self.taken_back(&ready).await else { continue };
                for parked in ready {
                    if taken_back.contains(&parked.key) {
                        verdicts.push((parked, Verdict::Forget));
                        continue;
                    }
                    match self.may_still(&parked.key, &parked.desired, &parked.origin).await {
                        Ok(Some(ttl)) => verdicts.push((parked, Verdict::Release { ttl })),
                        // Nobody can tell now.
                        Ok(None) => {}
                        Err(why) => {
                            warn!(host = %parked.key.name, rtype = %parked.key.rtype, reason = why, "a pending change is dropped");
                            self.pending.shared.count(zone.name(), 0, 1);
                            over.extend(parked.row.map(|row| (parked.key.clone(), row)));
                            verdicts.push((parked, Verdict::Forget));
                        }
                    }
                }
            }
            self.forget_rows(&mut over).await;
            if !verdicts.is_empty() {
                zone.settle(verdicts).await;
            }
            if released >= MOST_RELEASED {
                return;
            }
        }
    }

    /// Which of those that commands wanted they want no longer: their rows are gone.
    async fn taken_back(&self, ready: &[Parked]) -> Result<HashSet<RrKey>, StoreError> {
        let of_commands: Vec<_> = ready.iter().filter(|parked| parked.origin.client.is_none()).collect();
        let Some(store) = self.registry.store().filter(|_| !of_commands.is_empty()) else { return Ok(HashSet::new()) };
        let names: Vec<_> = of_commands.iter().map(|parked| parked.key.name.clone()).collect();
        let rows: HashSet<_> = store.pending_of(&names).await?.into_iter().map(|row| (row.key, row.stamp)).collect();
        let is_gone = |parked: &&&Parked| !parked.row.is_some_and(|row| rows.contains(&(parked.key.clone(), row)));
        Ok(of_commands.iter().filter(is_gone).map(|parked| parked.key.clone()).collect())
    }

    /// Writes `unkept` to the store, if there is one.
    async fn keep_rows(&self, unkept: Vec<Parked>, is_shared: bool, verdicts: &mut Vec<(Parked, Verdict)>) {
        let Some(store) = self.registry.store() else { return };
        if unkept.is_empty() {
            return;
        }
        let rows: Vec<_> = unkept.iter().map(row).collect();
        if !is_shared {
            // Known before they are written: a newer request that is answered meanwhile has them removed.
            let mut known = self.pending.shared.rows();
            known.extend(rows.iter().map(|row| (row.key.clone(), row.accepted)));
        }
        let kept = match store.keep_pending(&rows).await {
            Ok(kept) => kept,
            Err(error) => return debug!(%error, "pending changes wait for the store"),
        };
        let kept: HashMap<_, _> = kept.into_iter().collect();
        if is_shared {
            self.pending.shared.any_rows.store(true, Ordering::Relaxed);
        } else {
            self.pending.shared.rows().extend(kept.clone());
        }
        let mut found = self.pending.shared.found();
        for parked in unkept {
            // What leaves the queue for the store is counted until the next look through that.
            if is_shared
                && !parked.is_in_flight
                && kept.contains_key(&parked.key)
                && let Some(zone) = self.registry.zone_of(&parked.key.name)
            {
                *found.entry(zone.clone()).or_default() += 1;
            }
            let verdict = match kept.get(&parked.key) {
                // It lives on in the store alone; what is in flight stays, and its row goes with it.
                Some(stamp) if is_shared && parked.is_in_flight => Verdict::Kept(*stamp),
                Some(stamp) if !is_shared => Verdict::Kept(*stamp),
                // The store has a newer one.
                Some(_) | None => Verdict::Forget,
            };
            verdicts.push((parked, verdict));
        }
    }

    /// Takes in rows of a store of our own: all of them, or those of commands that are not known yet; how many of each zone.
    async fn load(&self, of_commands: bool) -> Result<HashMap<ZoneName, usize>, StoreError> {
        let mut loaded = HashMap::new();
        let Some(store) = self.registry.store() else { return Ok(loaded) };
        let (mut after, mut over) = (None, Vec::new());
        loop {
            let page = if of_commands {
                store.pending_of_commands(after.as_ref(), PAGE).await?
            } else {
                store.pending(after.as_ref(), PAGE).await?
            };
            let Some(last) = page.last() else { break };
            after = Some(last.key.clone());
            for row in page {
                if self.pending.shared.rows().get(&row.key) == Some(&row.stamp) {
                    continue;
                }
                let Some(zone) = self.zone_of(&row.key.name) else {
                    if row.source.is_some() {
                        warn!(host = %row.key.name, rtype = %row.key.rtype, "a pending change is dropped: no zone of ours holds the name");
                        over.push((row.key, row.stamp));
                    } else {
                        warn!(host = %row.key.name, rtype = %row.key.rtype, "a record shall change, and no zone of ours holds the name: it waits until one does");
                    }
                    continue;
                };
                let (key, stamp) = (row.key.clone(), row.stamp);
                let change = change(row);
                // More than the queue takes at once: it is patient.
                while zone.park(change.clone(), Some(stamp)).is_err() {
                    sleep(LEASED).await;
                }
                self.pending.shared.rows().insert(key, stamp);
                *loaded.entry(zone.name().clone()).or_default() += 1;
            }
        }
        self.forget_rows(&mut over).await;
        Ok(loaded)
    }

    // ---- A store of several gateways.

    /// Works on the rows of zones that can be reached, a page at a time; the first trouble of a zone ends its part. Whether some
    /// are too young yet, or another gateway works on them.
    async fn work_on_rows(self: &Arc<Self>) -> Result<bool, StoreError> {
        let Some(store) = self.registry.store() else { return Ok(false) };
        // What was answered while the store was away is told first, by all gateways.
        if self.registry.returned() + SETTLED > Instant::now() {
            self.pending.shared.any_rows.store(store.any_pending().await?, Ordering::Relaxed);
            return Ok(true);
        }
        self.registry.flush().await;
        let mut found = HashMap::new();
        let mut troubled = HashSet::new();
        let (mut after, mut any, mut has_young) = (None, false, false);
        loop {
            let page = store.pending(after.as_ref(), AT_ONCE).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.key.clone());
            any = true;
            has_young |= self.work_on_page(page, &mut found, &mut troubled).await?;
        }
        self.pending.shared.any_rows.store(any, Ordering::Relaxed);
        *self.pending.shared.found() = found;
        Ok(has_young)
    }

    async fn work_on_page(
        self: &Arc<Self>,
        page: Vec<PendingRow>,
        found: &mut HashMap<ZoneName, usize>,
        troubled: &mut HashSet<ZoneName>,
    ) -> Result<bool, StoreError> {
        let Some(store) = self.registry.store() else { return Ok(false) };
        let (mut over, mut due) = (Vec::new(), Vec::new());
        for row in page {
            match self.zone_of(&row.key.name) {
                _ if row.expires.is_some_and(|expires| expires <= Timestamp::now()) => {
                    warn!(host = %row.key.name, rtype = %row.key.rtype, "a pending change is dropped: it is too old");
                    over.push((row.key, row.stamp));
                }
                Some(zone) => {
                    *found.entry(zone.name().clone()).or_default() += 1;
                    if zone.is_reached() && !troubled.contains(zone.name()) {
                        due.push(row.key);
                    }
                }
                // Another gateway may have the zone; else it lasts until it expires.
                None => {}
            }
        }
        let owner = &self.pending.shared.owner;
        let lease = self.deadline * 2 + Duration::from_secs(10);
        let leased = if due.is_empty() { Vec::new() } else { store.lease_pending(&due, owner, SETTLED, lease).await? };
        let has_young = leased.len() < due.len();
        let mut under_way = JoinSet::new();
        for row in leased {
            let gateway = Arc::clone(self);
            under_way.spawn(async move {
                let end = gateway.work_on(&row).await;
                (row, end)
            });
        }
        let mut left = Vec::new();
        while let Some(ended) = under_way.join_next().await {
            let Ok((row, end)) = ended else { continue };
            let zone = self.registry.zone_of(&row.key.name);
            match end {
                RowEnd::Done => {
                    let PendingRow { key, desired, stamp, .. } = row.clone();
                    self.record_done(&key, desired, &change(row).origin);
                    if let Some(zone) = zone {
                        self.pending.shared.count(zone, 1, 0);
                    }
                    over.push((key, stamp));
                }
                RowEnd::Dropped(why) => {
                    warn!(host = %row.key.name, rtype = %row.key.rtype, reason = why, "a pending change is dropped");
                    if let Some(zone) = zone {
                        self.pending.shared.count(zone, 0, 1);
                    }
                    over.push((row.key, row.stamp));
                }
                RowEnd::Left(trouble) => {
                    debug!(host = %row.key.name, ?trouble, "a pending change waits");
                    troubled.extend(zone.cloned());
                    left.push(row.key);
                }
            }
        }
        for (key, _) in &over {
            if let Some(count) = self.registry.zone_of(&key.name).and_then(|zone| found.get_mut(zone)) {
                *count = count.saturating_sub(1);
            }
        }
        store.end_pending(&over).await?;
        // Those as well of which a newer one took the place meanwhile.
        left.extend(over.into_iter().map(|(key, _)| key));
        store.release_pending(&left, owner).await?;
        Ok(has_young)
    }

    /// Makes the change of a leased row, unless something newer stands.
    async fn work_on(&self, row: &PendingRow) -> RowEnd {
        let (Some(store), Some(zone)) = (self.registry.store(), self.zone_of(&row.key.name)) else {
            return RowEnd::Left(Trouble::Timeout);
        };
        let deadline = Instant::now() + self.deadline;
        let key = &row.key;
        let origin = change(row.clone()).origin;
        let ttl = match self.may_still(key, &row.desired, &origin).await {
            Ok(Some(ttl)) => ttl,
            Ok(None) => return RowEnd::Left(Trouble::Timeout),
            Err(why) => return RowEnd::Dropped(why),
        };
        // A command's removal is for good: its host is gone.
        if row.source.is_some() || row.desired != Desired::Absent {
            match store.answered_since(key, row.accepted).await {
                Ok(None) => {}
                Ok(Some(_)) => return RowEnd::Dropped("a later request was answered".to_owned()),
                Err(_) => return RowEnd::Left(Trouble::Timeout),
            }
        }
        let desired = match &row.desired {
            Desired::Absent => Desired::Absent,
            Desired::Set { data, .. } => Desired::Set { data: data.clone(), ttl },
        };
        let held = match zone.read(key, deadline).await {
            Ok(held) => held,
            Err(trouble) => return RowEnd::Left(trouble),
        };
        let is_held = match &desired {
            Desired::Absent => held.is_empty(),
            Desired::Set { .. } => held.as_slice() == std::slice::from_ref(&desired),
        };
        if is_held {
            return RowEnd::Done;
        }
        let expected: Vec<_> = held.iter().filter_map(|held| held.data().cloned()).collect();
        // What was read may be a wildcard's (RFC 4592): then the name itself holds nothing.
        let maybe_a_wildcards = (!expected.is_empty()).then(Vec::new);
        for expected in std::iter::once(expected).chain(maybe_a_wildcards) {
            match zone.compare_and_swap(key.clone(), expected, desired.clone(), deadline).await {
                Ok(true) => return RowEnd::Done,
                Ok(false) => {}
                Err(Trouble::Hidden(_)) => return RowEnd::Dropped("the name is hidden in its zone".to_owned()),
                Err(trouble) => return RowEnd::Left(trouble),
            }
        }
        RowEnd::Dropped("somebody else changed the record".to_owned())
    }

    // ---- Both.

    /// The TTL with which a change may still be made; `None` where nobody can tell now, else why it may not.
    async fn may_still(&self, key: &RrKey, desired: &Desired, origin: &Origin) -> Result<Option<u32>, String> {
        let ttl = match desired {
            Desired::Absent => 0,
            Desired::Set { ttl, .. } => *ttl,
        };
        if origin.client.is_none() {
            return Ok(Some(ttl));
        }
        let Ok(host) = self.registry.host(&key.name).await else { return Ok(None) };
        let Ok(account) = self.registry.account(&origin.account).await else { return Ok(None) };
        let account = account.ok_or("its account is gone")?;
        let addresses = DesiredRecords::from_iter([(key.rtype, desired.clone())]).addresses();
        let deadline = Instant::now() + self.deadline;
        match self.authorise(&account, &key.name, host.as_deref(), (addresses, Extra::None), deadline).await {
            Ok(authorised) => Ok(Some(authorised.ttl)),
            Err(Refusal { verdict, .. }) if verdict.retry_after.is_some() => Ok(None),
            Err(Refusal { verdict, .. }) => Err(verdict.reason.into_owned()),
        }
    }
}

/// Removes older rows before or after requests for ever, many requests in one statement.
async fn clear_in_groups(in_force: impl Fn() -> Arc<Gateway>, mut clears: mpsc::Receiver<Clear>) {
    let mut some = Vec::with_capacity(BATCH);
    while clears.recv_many(&mut some, BATCH).await > 0 {
        let gateway = in_force();
        let keys: Vec<_> = some.iter().flat_map(|clear| clear.keys.clone()).collect();
        let cleared = match gateway.registry.store() {
            Some(store) => store.clear_pending(&keys).await.map_err(|_| Unavailable),
            None => Ok(Vec::new()),
        };
        if cleared.is_ok() {
            let mut rows = gateway.pending.shared.rows();
            for (key, _) in &keys {
                rows.remove(key);
            }
        }
        for Clear { keys, cleared: tell } in some.drain(..) {
            let is_leased = |leased: &Vec<RrKey>| keys.iter().any(|(key, _)| leased.contains(key));
            let _asker_gone = tell.send(cleared.as_ref().map(is_leased).map_err(|away| *away));
        }
    }
}

fn row(Parked { key, desired, origin, .. }: &Parked) -> PendingRow {
    let expires = match origin.keep {
        Keep::Until(end) => Some(Timestamp::now().plus(end.saturating_duration_since(Instant::now()))),
        Keep::WithCaller => Some(Timestamp::now()),
        Keep::Always => None,
    };
    PendingRow {
        key: key.clone(),
        desired: desired.clone(),
        account: origin.account.to_string(),
        source: origin.client.as_ref().map(|client| client.source),
        agent: origin.client.as_ref().and_then(|client| client.agent.as_deref().map(str::to_owned)),
        accepted: origin.accepted,
        stamp: origin.accepted,
        expires,
    }
}

fn change(PendingRow { key, desired, account, source, agent, accepted, expires, .. }: PendingRow) -> Change {
    let left = |expires: Timestamp| expires.0.saturating_sub(Timestamp::now().0).max(0).unsigned_abs();
    let keep = match expires {
        Some(expires) => Keep::Until(Instant::now() + Duration::from_millis(left(expires))),
        None => Keep::Always,
    };
    let client = source.map(|source| Client { source, agent: agent.map(Into::into) });
    let origin = Arc::new(Origin { account: account.into(), client, accepted, keep });
    Change { name: key.name, records: DesiredRecords::from_iter([(key.rtype, desired)]), origin }
}

/// Another one after each start: leases of an earlier process are nobody's.
fn random_name() -> String {
    let mut octets = [0; 12];
    let _zeros_only_share_leases = SystemRandom::new().fill(&mut octets);
    URL_SAFE_NO_PAD.encode(octets)
}
