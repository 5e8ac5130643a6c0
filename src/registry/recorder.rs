//! Writes what was seen of hosts: many in one transaction, less than a second behind, and never while anybody waits. Knows no SQL.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::{Mutex as AsyncMutex, Notify};
use tokio::time::{MissedTickBehavior, interval, sleep};
use tracing::warn;

use super::directory::Directory;
use super::one_family::OneFamily;
use super::store_health::StoreHealth;
use crate::model::{Addresses, DesiredRecords, Families, Hostname, Outcome, RrType, Timestamp};
use crate::store::{AddressChange, Calls, Seen, Store, StoreError};

/// How far the store may be behind.
const BEHIND: Duration = Duration::from_millis(200);
/// Rows that are not waited with.
const FULL: usize = 2_000;
/// Names in one transaction: whoever reserves a name waits for no longer one.
const BATCH: usize = 500;
/// Rows that wait to be written while the store is away; the oldest sixteenth makes room for more.
const MOST_WAITING: usize = 200_000;
/// Changes of one name among them: a router in a loop fills no memory.
const MOST_OF_ONE: usize = 16;
/// Rows of history that are removed at once.
const TRIMMED: usize = 5_000;
/// Between two looks for history that is too old.
const TRIM: Duration = Duration::from_secs(600);

#[derive(Debug, Clone)]
pub(crate) struct Sighting {
    pub(crate) name: Hostname,
    /// What its client was told.
    pub(crate) outcome: Outcome,
    /// Where the request came from; `None` where a command wanted it.
    pub(crate) source: Option<IpAddr>,
    pub(crate) agent: Option<Arc<str>>,
    /// What the name now holds, as far as this request proved it.
    pub(crate) held: DesiredRecords,
    pub(crate) asked: Timestamp,
}

/// Collects sightings and writes them; its task ends with it.
#[derive(Debug)]
pub(super) struct Recorder {
    shared: Arc<RecorderShared>,
    task: tokio::task::JoinHandle<()>,
}

#[derive(Debug)]
struct RecorderShared {
    store: Store,
    waiting: Mutex<Unwritten>,
    full: Notify,
    // One writer at a time, so that nothing older overtakes.
    writing: AsyncMutex<()>,
    unwritten: Gauge,
    health: Arc<StoreHealth>,
    directory: Arc<Directory>,
    one_family: OneFamily,
}

/// What is to be written: a row of the state of each name, and one of the history for each change.
#[derive(Debug, Default)]
struct Unwritten {
    names: BTreeMap<Hostname, Calls>,
    rows: usize,
    // Taken out, and neither written nor back.
    under_way: usize,
}

impl Recorder {
    /// Starts the task that writes to `store`, removes history older than `history`, and counts in `unwritten`; `directory` tells
    /// which families a host may have.
    pub(super) fn start(
        store: Store,
        history: Duration,
        unwritten: Gauge,
        health: Arc<StoreHealth>,
        directory: Arc<Directory>,
    ) -> Self {
        let (waiting, full, writing) = (Mutex::default(), Notify::new(), AsyncMutex::default());
        let one_family = OneFamily::default();
        let shared =
            Arc::new(RecorderShared { store, waiting, full, writing, unwritten, health, directory, one_family });
        let task = tokio::spawn(Arc::clone(&shared).run(history));
        Self { shared, task }
    }

    pub(super) fn note(&self, sighting: Sighting) {
        let Sighting { name, outcome, source, agent, held, asked } = sighting;
        // What was there before is looked up when it is written.
        let change = (outcome == Outcome::Changed && !held.is_empty()).then(AddressChange::default);
        let agent = agent.as_deref().map(str::to_owned);
        let outcome = outcome.label();
        let settled = [RrType::A, RrType::Aaaa].map(|rtype| held.get(rtype).map(|_| asked));
        let seen = Seen { name: name.clone(), at: Timestamp::now(), outcome, source, agent, change, held, settled };
        let is_full = self.shared.change(|waiting| {
            waiting.add(name, seen.into());
            waiting.rows >= FULL
        });
        if is_full {
            self.shared.full.notify_one();
        }
    }

    /// `name` reports nothing itself, so that nothing is said of its families.
    pub(super) fn is_no_reporter(&self, name: &Hostname) {
        self.shared.one_family.settle(name);
    }

    /// Writes all that waits now.
    pub(super) async fn flush(&self) {
        let _waits_on = self.shared.write().await;
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn rows(calls: &Calls) -> usize {
    1 + calls.changes()
}

impl Unwritten {
    fn add(&mut self, name: Hostname, calls: Calls) {
        match self.names.entry(name) {
            Entry::Vacant(place) => self.rows += rows(place.insert(calls)),
            Entry::Occupied(mut there) => {
                self.rows -= rows(there.get());
                there.get_mut().absorb(calls, MOST_OF_ONE);
                self.rows += rows(there.get());
            }
        }
        if self.rows > MOST_WAITING {
            let lost = self.make_room(MOST_WAITING / 16);
            warn!(
                lost,
                waiting = self.rows,
                "the store cannot be written for too long: the oldest news of hosts are lost"
            );
        }
    }

    /// Takes back all that was under way.
    fn put_back(&mut self, unwritten: BTreeMap<Hostname, Calls>) {
        let newer = std::mem::replace(&mut self.names, unwritten);
        self.rows = std::mem::take(&mut self.under_way);
        newer.into_iter().for_each(|(name, calls)| self.add(name, calls));
    }

    /// Lets go of at least `least` rows, the oldest first: of names that nothing changed, and where there are none, of the
    /// others. How many they were.
    fn make_room(&mut self, least: usize) -> usize {
        let before = self.rows;
        for may_go in [|calls: &Calls| calls.changes() == 0, |_: &Calls| true] {
            let mut times: Vec<_> = self.names.values().filter(|calls| may_go(calls)).map(Calls::at).collect();
            let Some(last) = times.len().min(least).checked_sub(1) else { continue };
            let (_, &mut newest, _) = times.select_nth_unstable(last);
            self.names.retain(|_, calls| !may_go(calls) || calls.at() > newest);
            self.rows = self.names.values().map(rows).sum();
            break;
        }
        before - self.rows
    }
}

impl RecorderShared {
    async fn run(self: Arc<Self>, history: Duration) {
        let mut tick = interval(BEHIND);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut trim = interval(TRIM);
        trim.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = trim.tick() => {
                    self.trim(history).await;
                    continue;
                }
                _ = tick.tick() => {}
                () = self.full.notified() => {}
            }
            if !self.write().await {
                sleep(BEHIND).await;
            }
        }
    }

    fn change<T>(&self, change: impl FnOnce(&mut Unwritten) -> T) -> T {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let done = change(&mut waiting);
        self.unwritten.set(i64::try_from(waiting.rows + waiting.under_way).unwrap_or(i64::MAX));
        done
    }

    /// Writes all that waits; whether it was written.
    async fn write(&self) -> bool {
        let _turn = self.writing.lock().await;
        let mut all = self.change(|waiting| {
            waiting.under_way = std::mem::take(&mut waiting.rows);
            std::mem::take(&mut waiting.names)
        });
        while !all.is_empty() {
            let mut batch: BTreeMap<_, _> = std::iter::from_fn(|| all.pop_first()).take(BATCH).collect();
            let written: usize = batch.values().map(rows).sum();
            if let Err(error) = self.record(&mut batch).await {
                self.health.set_unwritten(Some(&error));
                all.append(&mut batch);
                self.change(|waiting| waiting.put_back(all));
                return false;
            }
            self.health.set_unwritten(None);
            self.change(|waiting| waiting.under_way -= written);
        }
        true
    }

    async fn record(&self, batch: &mut BTreeMap<Hostname, Calls>) -> Result<(), StoreError> {
        let wonders = |name: &Hostname, calls: &Calls| calls.only_family().is_some() && self.one_family.wonders(name);
        let asked = batch.iter().filter(|(name, calls)| calls.changes() > 0 || wonders(name, calls));
        let asked: Vec<_> = asked.map(|(name, _)| name.clone()).collect();
        let held = self.store.acknowledged(&asked).await?;
        batch.retain(|name, calls| held.contains_key(name) || !calls.is_removal());
        for (name, calls) in &mut *batch {
            calls.follow(held.get(name).copied().unwrap_or_default());
        }
        self.store.record(batch).await?;
        for (name, calls) in batch.iter().filter(|(name, calls)| wonders(name, calls)) {
            self.look_at_families(name, calls, held.get(name).copied().unwrap_or_default()).await;
        }
        Ok(())
    }

    async fn look_at_families(&self, name: &Hostname, calls: &Calls, before: Addresses) {
        // It was authorised a moment ago, so this is remembered.
        let Ok(host) = self.directory.host(name).await else { return };
        if host.as_ref().is_some_and(|host| host.is_composed()) {
            return self.one_family.settle(name);
        }
        let families = host.map_or(Families::Both, |host| host.families);
        if let Some(reported) = calls.only_family() {
            self.one_family.look(name, families, reported, before);
        }
    }

    async fn trim(&self, history: Duration) {
        let before = Timestamp::now().minus(history);
        // In pieces, so that no lock is held for long.
        loop {
            match self.store.trim_history(before, TRIMMED).await {
                Ok(removed) if removed == TRIMMED as u64 => {}
                Ok(_) => return,
                Err(error) => return warn!(%error, "old history stays"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(name: usize, at: i64, is_change: bool) -> (Hostname, Calls) {
        let name = Hostname::parse(&format!("h{name}.example")).unwrap();
        let seen = Seen {
            name: name.clone(),
            at: Timestamp(at),
            outcome: "changed",
            source: Some(IpAddr::from([192, 0, 2, 1])),
            agent: None,
            change: is_change.then(AddressChange::default),
            held: DesiredRecords::default(),
            settled: [None; 2],
        };
        (name, seen.into())
    }

    #[test]
    fn the_oldest_calls_make_room_and_changes_last() {
        let mut waiting = Unwritten::default();
        let add = |waiting: &mut Unwritten, name, at, is_change| {
            let (name, calls) = call(name, at, is_change);
            waiting.add(name, calls);
        };
        for at in 0..10 {
            add(&mut waiting, usize::try_from(at).unwrap(), at, at % 2 == 0);
        }
        assert_eq!((waiting.names.len(), waiting.rows), (10, 15));
        add(&mut waiting, 1, 10, false);
        assert_eq!(waiting.rows, 15, "one more call of a name is no further row");
        assert_eq!(waiting.make_room(2), 2);
        let left = |waiting: &Unwritten| {
            let mut times: Vec<_> = waiting.names.values().map(|calls| calls.at().0).collect();
            times.sort_unstable();
            times
        };
        assert_eq!(left(&waiting), [0, 2, 4, 6, 7, 8, 9, 10]);
        assert_eq!(waiting.make_room(9), 3, "all that changed nothing");
        assert_eq!(left(&waiting), [0, 2, 4, 6, 8]);
        assert_eq!((waiting.make_room(1), waiting.rows), (2, 8), "and then the oldest change with its name");
        assert_eq!(left(&waiting), [2, 4, 6, 8]);
    }

    #[test]
    fn what_could_not_be_written_waits_with_what_is_newer() {
        let mut waiting = Unwritten::default();
        let [(name, first), (_, second)] = [call(1, 1, true), call(1, 2, true)];
        waiting.add(name.clone(), first);
        (waiting.under_way, waiting.rows) = (waiting.rows, 0);
        let taken = std::mem::take(&mut waiting.names);
        waiting.add(name.clone(), second);
        waiting.put_back(taken);
        assert_eq!((waiting.rows, waiting.under_way, waiting.names[&name].at()), (3, 0, Timestamp(2)));
        for at in 3..100 {
            waiting.add(name.clone(), call(1, at, true).1);
        }
        assert_eq!(waiting.rows, 1 + MOST_OF_ONE);
    }
}
