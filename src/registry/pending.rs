//! Changes that are still to be made, in the store: kept while nobody waits for them, leased to the one gateway that makes them,
//! and gone before a newer request is answered. Knows nothing of how they are made.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};
use tracing::debug;

use super::Unavailable;
use crate::model::{DesiredRecords, Hostname, PendingChange, RrData, RrKey, Timestamp};
use crate::store::{Store, StoreError};

/// Between two looks whether another gateway's lease has ended.
const LEASED: Duration = Duration::from_millis(50);
/// Requests that are cleared for in one transaction, and those that wait for one.
const BATCH: usize = 500;
const MOST_CLEARED: usize = 20_000;
const PAGE: usize = 1_000;

/// What the store keeps of changes that are still to be made. A stamp tells a change from one that replaced it.
#[derive(Debug)]
pub(crate) struct PendingChanges {
    store: Store,
    known: Arc<Mutex<Known>>,
    // What earlier runs left, until it is taken.
    left: Mutex<Vec<PendingChange>>,
    clear: mpsc::Sender<Clear>,
    // Clears until this is dropped.
    _clearing: JoinSet<()>,
}

/// What the store may have, so that the usual request asks nothing.
#[derive(Debug)]
enum Known {
    /// In a store of our own: each change.
    Each(HashMap<RrKey, Timestamp>),
    /// In a shared store: whether there is any.
    Any(bool),
}

/// A request before which older changes shall go.
#[derive(Debug)]
struct Clear {
    keys: Vec<(RrKey, Timestamp)>,
    // Whether another gateway is working on one of them.
    cleared: oneshot::Sender<Result<bool, Unavailable>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cleared {
    /// They are, or there was none.
    Yes,
    /// Another gateway is working on one until the deadline.
    Leased,
    /// The store does not do it.
    Unavailable,
}

impl PendingChanges {
    /// Reads what earlier runs left in a store of our own, and starts the task that clears.
    pub(super) async fn start(store: Store) -> Result<Self, StoreError> {
        let (known, left) = if store.is_shared() {
            (Known::Any(!store.pending().page(None, 1).await?.is_empty()), Vec::new())
        } else {
            (Known::Each(HashMap::new()), every(&store, false).await?)
        };
        let known = Arc::new(Mutex::new(known));
        let (clear, clears) = mpsc::channel(MOST_CLEARED);
        let mut clearing = JoinSet::new();
        clearing.spawn(clear_in_groups(store.clone(), Arc::clone(&known), clears));
        Ok(Self { store, known, left: Mutex::new(left), clear, _clearing: clearing })
    }

    pub(crate) fn is_shared(&self) -> bool {
        self.store.is_shared()
    }

    /// What earlier runs left in a store of our own; nothing the second time.
    #[must_use]
    pub(crate) fn take_left(&self) -> Vec<PendingChange> {
        std::mem::take(&mut *self.left.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What commands want that is not known yet, in a store of our own.
    pub(crate) async fn new_of_commands(&self) -> Result<Vec<PendingChange>, Unavailable> {
        let mut all = every(&self.store, true).await.map_err(unavailable)?;
        if let Known::Each(known) = &*lock(&self.known) {
            all.retain(|change| known.get(&change.key) != Some(&change.stamp));
        }
        Ok(all)
    }

    /// One that the store has is looked after from now on.
    pub(crate) fn know(&self, key: RrKey, stamp: Timestamp) {
        lock(&self.known).add([(key, stamp)]);
    }

    /// At most `limit` of a shared store in the order of their keys, those after `after`.
    pub(crate) async fn page(&self, after: Option<&RrKey>, limit: usize) -> Result<Vec<PendingChange>, Unavailable> {
        if after.is_some() {
            return self.store.pending().page(after, limit).await.map_err(unavailable);
        }
        // One that comes while it is read is not forgotten.
        lock(&self.known).set_any(true);
        let page = self.store.pending().page(None, limit).await.map_err(unavailable)?;
        lock(&self.known).set_any(!page.is_empty());
        Ok(page)
    }

    /// Keeps `changes`; those that stand now, with their stamps: where one is missing, the store has a newer one.
    pub(crate) async fn keep(&self, changes: &[PendingChange]) -> Result<HashMap<RrKey, Timestamp>, Unavailable> {
        if changes.is_empty() {
            return Ok(HashMap::new());
        }
        // Known before they are written: a newer request that is answered meanwhile has them removed.
        lock(&self.known).add(changes.iter().map(|change| (change.key.clone(), change.accepted)));
        let kept = self.store.pending().keep(changes).await.map_err(unavailable)?;
        lock(&self.known).add(kept.iter().cloned());
        Ok(kept.into_iter().collect())
    }

    /// These are over and go, unless they were replaced.
    pub(crate) async fn end(&self, over: &[(RrKey, Timestamp)]) -> Result<(), Unavailable> {
        self.store.pending().end(over).await.map_err(unavailable)?;
        if let Known::Each(known) = &mut *lock(&self.known) {
            for (key, stamp) in over {
                if known.get(key) == Some(stamp) {
                    known.remove(key);
                }
            }
        }
        Ok(())
    }

    /// Which of these the store has no longer.
    pub(crate) async fn gone(&self, all: &[(RrKey, Option<Timestamp>)]) -> Result<HashSet<RrKey>, Unavailable> {
        let names: Vec<_> = all.iter().map(|(key, _)| key.name.clone()).collect();
        let there = self.store.pending().of(&names).await.map_err(unavailable)?;
        let there: HashSet<_> = there.into_iter().map(|change| (change.key, Some(change.stamp))).collect();
        Ok(all.iter().filter(|change| !there.contains(change)).map(|(key, _)| key.clone()).collect())
    }

    /// Before a request that was accepted at `accepted`, or after it was answered: what is older goes of those RRsets of `name`
    /// that `records` names.
    pub(crate) async fn clear(
        &self,
        name: &Hostname,
        records: &DesiredRecords,
        accepted: Timestamp,
        deadline: Instant,
    ) -> Cleared {
        let keys = || records.iter().map(|(rtype, _)| RrKey { name: name.clone(), rtype });
        if !lock(&self.known).may_have(keys()) {
            return Cleared::Yes;
        }
        loop {
            let (cleared, is_leased) = oneshot::channel();
            let clear = Clear { keys: keys().map(|key| (key, accepted)).collect(), cleared };
            if self.clear.try_send(clear).is_err() {
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

    /// Takes the lease, for `lease` from now, on those of `keys` that nobody has and that were accepted `age` ago or earlier.
    pub(crate) async fn lease(
        &self,
        keys: &[RrKey],
        age: Duration,
        lease: Duration,
    ) -> Result<Vec<PendingChange>, Unavailable> {
        self.store.pending().lease(keys, age, lease).await.map_err(unavailable)
    }

    pub(crate) async fn release(&self, keys: &[RrKey]) -> Result<(), Unavailable> {
        self.store.pending().release(keys).await.map_err(unavailable)
    }

    /// All our leases end: we stop. Where the store is away, they expire.
    pub(crate) async fn release_all(&self) {
        let _until_they_expire = self.store.pending().release_all().await;
    }

    /// What `key` was last said to hold, or nothing, where a request was answered for it that had been accepted after
    /// `accepted`.
    pub(crate) async fn answered_since(
        &self,
        key: &RrKey,
        accepted: Timestamp,
    ) -> Result<Option<Option<RrData>>, Unavailable> {
        self.store.answered_since(key, accepted).await.map_err(unavailable)
    }
}

impl Known {
    fn add(&mut self, changes: impl IntoIterator<Item = (RrKey, Timestamp)>) {
        match self {
            Self::Each(known) => known.extend(changes),
            Self::Any(any) => *any |= changes.into_iter().next().is_some(),
        }
    }

    fn set_any(&mut self, is_any: bool) {
        if let Self::Any(any) = self {
            *any = is_any;
        }
    }

    fn may_have(&self, mut keys: impl Iterator<Item = RrKey>) -> bool {
        match self {
            Self::Each(known) => !known.is_empty() && keys.any(|key| known.contains_key(&key)),
            Self::Any(any) => *any,
        }
    }
}

fn lock(known: &Mutex<Known>) -> MutexGuard<'_, Known> {
    known.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is wrong with the store, /readyz tells.
fn unavailable(error: StoreError) -> Unavailable {
    debug!(%error, "pending changes wait for the store");
    Unavailable
}

/// All that the store keeps, or all that commands want, a page at a time.
async fn every(store: &Store, of_commands: bool) -> Result<Vec<PendingChange>, StoreError> {
    let mut all: Vec<PendingChange> = Vec::new();
    loop {
        let after = all.last().map(|change| &change.key);
        let page = if of_commands {
            store.pending().page_of_commands(after, PAGE).await?
        } else {
            store.pending().page(after, PAGE).await?
        };
        if page.is_empty() {
            return Ok(all);
        }
        all.extend(page);
    }
}

/// Removes older changes before or after requests for ever, for many requests in one transaction.
async fn clear_in_groups(store: Store, known: Arc<Mutex<Known>>, mut clears: mpsc::Receiver<Clear>) {
    let mut some = Vec::with_capacity(BATCH);
    while clears.recv_many(&mut some, BATCH).await > 0 {
        let keys: Vec<_> = some.iter().flat_map(|clear| clear.keys.clone()).collect();
        let kept = store.pending().clear(&keys).await.map_err(unavailable);
        if let (Ok(kept), Known::Each(known)) = (&kept, &mut *lock(&known)) {
            for (key, _) in keys.iter().filter(|(key, _)| !kept.contains(key)) {
                known.remove(key);
            }
        }
        for Clear { keys, cleared: tell } in some.drain(..) {
            // In a store of our own the queue has what was kept, in its order.
            let is_kept = |kept: &Vec<RrKey>| store.is_shared() && keys.iter().any(|(key, _)| kept.contains(key));
            let _asker_gone = tell.send(kept.as_ref().map(is_kept).map_err(|away| *away));
        }
    }
}
