//! Writes what was seen of hosts: many in one transaction, at most a second behind, and never while anybody waits.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Mutex as AsyncMutex, Notify};
use tokio::time::{MissedTickBehavior, interval};
use tracing::{debug, warn};

use crate::model::{Addresses, Desired, DesiredRecords, Hostname, Outcome, RrType, Timestamp};
use crate::store::{AddressChange, Seen, Store, StoreError};

/// How far the store may be behind.
const BEHIND: Duration = Duration::from_millis(500);
/// Hosts that wait to be written; with more the store is not waited for, and news of further ones are lost.
const MOST_WAITING: usize = 200_000;
/// Sightings of one host that wait; the newest stays.
const MOST_OF_ONE: usize = 16;
/// Hosts in one transaction.
const BATCH: usize = 5_000;
/// Between two looks for history that is too old.
const TRIM: Duration = Duration::from_secs(600);

/// What became of one host's request.
#[derive(Debug, Clone)]
pub struct Sighting {
    /// Which host.
    pub name: Hostname,
    /// What its client was told.
    pub outcome: Outcome,
    /// Where the request came from; `None` where a command wanted it.
    pub source: Option<IpAddr>,
    /// What the client calls itself.
    pub agent: Option<Arc<str>>,
    /// What the name now holds, as far as this request proved it.
    pub held: DesiredRecords,
    /// When the request was accepted.
    pub asked: Timestamp,
}

/// Collects sightings and writes them; its task ends with it.
#[derive(Debug)]
pub(super) struct Recorder {
    shared: Arc<Shared>,
    task: tokio::task::JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    store: Store,
    waiting: Mutex<HashMap<Hostname, Vec<Seen>>>,
    full: Notify,
    // One writer at a time, so that nothing older overtakes.
    writing: AsyncMutex<()>,
}

impl Recorder {
    /// Starts the task that writes to `store` and removes history older than `history`.
    pub(super) fn start(store: Store, history: Duration) -> Self {
        let shared =
            Arc::new(Shared { store, waiting: Mutex::default(), full: Notify::new(), writing: AsyncMutex::default() });
        let task = tokio::spawn(Arc::clone(&shared).run(history));
        Self { shared, task }
    }

    /// Notes `sighting`; of several without a change only the newest is written.
    pub(super) fn note(&self, sighting: Sighting) {
        let Sighting { name, outcome, source, agent, held, asked } = sighting;
        // What was there before is looked up when it is written.
        let changed = (outcome == Outcome::Changed && !held.is_empty()).then(|| held.addresses());
        let change = changed.map(|new| AddressChange { old: Addresses::default(), new });
        let agent = agent.as_deref().map(str::to_owned);
        let outcome = outcome.label();
        let settled = [RrType::A, RrType::Aaaa].map(|rtype| held.get(rtype).map(|_| asked));
        let removed = [RrType::A, RrType::Aaaa].map(|rtype| held.get(rtype) == Some(&Desired::Absent));
        let held = (!held.is_empty()).then(|| held.addresses());
        let mut seen =
            Seen { name: name.clone(), at: Timestamp::now(), outcome, source, agent, change, held, removed, settled };
        let mut waiting = self.shared.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() >= MOST_WAITING && !waiting.contains_key(&name) {
            return;
        }
        let of_name = waiting.entry(name).or_default();
        let full = of_name.len() >= MOST_OF_ONE;
        match of_name.last_mut() {
            // A router in a loop costs one row.
            Some(last) if full || (last.outcome == seen.outcome && seen.change.is_none()) => {
                seen.settle(last.settled);
                *last = seen;
            }
            _ => of_name.push(seen),
        }
        if waiting.len().is_multiple_of(BATCH) {
            self.shared.full.notify_one();
        }
    }

    /// Writes all that waits now.
    pub(super) async fn flush(&self) {
        self.shared.write().await;
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    async fn run(self: Arc<Self>, history: Duration) {
        let mut tick = interval(BEHIND);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut trim = interval(TRIM);
        trim.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = tick.tick() => self.write().await,
                () = self.full.notified() => self.write().await,
                _ = trim.tick() => self.trim(history).await,
            }
        }
    }

    async fn write(&self) {
        let _turn = self.writing.lock().await;
        let all = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        let mut all: Vec<Seen> = all.into_values().flatten().collect();
        while !all.is_empty() {
            let mut batch = all.split_off(all.len().saturating_sub(BATCH));
            if let Err(error) = self.record(&mut batch).await {
                debug!(%error, "what was seen of hosts waits for the store");
                all.extend(batch);
                return self.put_back(all);
            }
        }
    }

    async fn record(&self, batch: &mut [Seen]) -> Result<(), StoreError> {
        batch.sort_by(|a, b| a.name.cmp(&b.name).then(a.at.cmp(&b.at)));
        let mut changed: Vec<_> =
            batch.iter().filter(|seen| seen.change.is_some()).map(|seen| seen.name.clone()).collect();
        changed.dedup();
        let mut held: HashMap<_, _> =
            self.store.states(&changed).await?.into_iter().map(|(name, state)| (name, state.addresses)).collect();
        for seen in &mut *batch {
            let Some(change) = &mut seen.change else { continue };
            let held = held.entry(seen.name.clone()).or_default();
            change.old = *held;
            let [v4, v6] = seen.removed;
            change.new = Addresses {
                v4: change.new.v4.or(held.v4.filter(|_| !v4)),
                v6: change.new.v6.or(held.v6.filter(|_| !v6)),
            };
            *held = change.new;
        }
        self.store.record(batch).await
    }

    /// Before what was noted meanwhile.
    fn put_back(&self, unwritten: Vec<Seen>) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        for seen in unwritten {
            if waiting.len() < MOST_WAITING || waiting.contains_key(&seen.name) {
                let of_name = waiting.entry(seen.name.clone()).or_default();
                if of_name.len() < MOST_OF_ONE {
                    let at = of_name.partition_point(|other| other.at <= seen.at);
                    of_name.insert(at, seen);
                } else if let Some(last) = of_name.last_mut() {
                    last.settle(seen.settled);
                }
            }
        }
    }

    async fn trim(&self, history: Duration) {
        let before = Timestamp::now().minus(history);
        // In pieces, so that no lock is held for long.
        loop {
            match self.store.trim_history(before, BATCH).await {
                Ok(removed) if removed == BATCH as u64 => {}
                Ok(_) => return,
                Err(error) => return warn!(%error, "old history stays"),
            }
        }
    }
}
