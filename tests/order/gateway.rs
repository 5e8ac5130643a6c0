//! What a gateway does with the engine: it compares, asks and changes, looks after what is pending, keeps rows of it, and starts
//! anew with them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use dyngate::engine::{Change, Client, Compared, End, Ended, Keep, Origin, Parked, Trouble, Verdict, Zone};
use dyngate::model::{DesiredRecords, Hostname, RrKey, Timestamp};
use lab::Chance;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout};

use crate::network::Simulated;
use crate::reference::{Request, Word};
use crate::{DEADLINE, zones};

/// One gateway after the other, on one store.
pub struct Gateway {
    state: Mutex<State>,
    restarted: watch::Sender<u64>,
}

struct State {
    network: Simulated,
    random: u64,
    zones: [Zone; 2],
    ended: mpsc::UnboundedReceiver<Vec<Ended>>,
    requests: Vec<Request>,
    // The store's. A change bears the number of its request as the time when it was accepted.
    rows: BTreeMap<RrKey, (Timestamp, Change)>,
    // A look is under way, or a restart.
    is_busy: bool,
    outlived: usize,
    // Nothing is taken back any longer.
    is_fair: bool,
}

impl Gateway {
    pub fn start(network: Simulated, random: u64) -> Arc<Self> {
        let (tell, ended) = mpsc::unbounded_channel();
        let zones = zones(&network, random, &tell);
        let (requests, rows) = (Vec::new(), BTreeMap::new());
        let state =
            State { network, random, zones, ended, requests, rows, is_busy: false, outlived: 0, is_fair: false };
        Arc::new(Self { state: Mutex::new(state), restarted: watch::Sender::new(0) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub fn zones(&self) -> [Zone; 2] {
        self.state().zones.clone()
    }

    pub fn requests(&self) -> Vec<Request> {
        self.state().requests.clone()
    }

    pub fn outlived(&self) -> usize {
        self.state().outlived
    }

    pub fn clear_up(&self) {
        self.state().is_fair = true;
    }

    /// A request, whose client waits so long.
    pub async fn ask(self: Arc<Self>, name: Hostname, records: DesiredRecords, keep: Keep, wait: Duration) {
        let mut restarted = self.restarted.subscribe();
        tokio::select! {
            // Whoever the end of a gateway cuts off is told nothing any longer.
            biased;
            Ok(()) = restarted.changed() => {}
            () = self.answer(name, records, keep, wait) => {}
        }
    }

    /// Goes the way of a request: compare, ask, change.
    async fn answer(&self, name: Hostname, records: DesiredRecords, keep: Keep, wait: Duration) {
        let deadline = Instant::now() + DEADLINE;
        let zone = self.state().zone(&name);
        let change = |number: usize| change(&name, &records, number, keep);
        let number = self.state().submitted(&name, &records, keep == Keep::Always);
        match zone.compare(&change(number)) {
            Compared::Same => return self.state().told(number, Word::Remembered),
            Compared::Differs => {}
            Compared::Unknown => {
                if zone.holds(&change(number), deadline).await {
                    return self.state().told(number, Word::Asked);
                }
                // It is the change that has a place among the others.
                self.state().told(number, Word::Failed);
                self.state().requests[number].is_owed = false;
            }
        }
        let is_asked = self.state().requests[number].word.is_some();
        let number = if is_asked { self.state().submitted(&name, &records, keep == Keep::Always) } else { number };
        let answer = timeout(wait, zone.change(change(number), deadline)).await.unwrap_or(Err(Trouble::Timeout));
        let mut state = self.state();
        match answer {
            Ok(_) => {
                let row = |rtype| RrKey { name: name.clone(), rtype };
                for key in records.iter().map(|(rtype, _)| row(rtype)) {
                    state.clear(&key, number);
                }
                state.told(number, Word::Good);
            }
            Err(trouble) => {
                let is_told = matches!(trouble, Trouble::Refused(_) | Trouble::Hidden(_) | Trouble::Dropped);
                // So is what wants the same: its caller hears that only the operator can mend it.
                let told = records.clone();
                let is_same = |request: &Request| {
                    request.name == name.as_str()
                        && told.iter().any(|(rtype, desired)| request.records.get(rtype) == Some(desired))
                };
                let same = state.requests.iter_mut().filter(|request| is_same(request));
                same.for_each(|request| request.is_owed &= !is_told);
                state.told(number, Word::Failed);
            }
        }
    }

    /// A command wants a record changed; the store has a row of it.
    pub fn command(&self, name: &Hostname, records: &DesiredRecords) {
        let mut state = self.state();
        let number = state.submitted(name, records, true);
        state.told(number, Word::Failed);
        let wanted = change(name, records, number, Keep::Always);
        for (rtype, desired) in records.iter() {
            let one = DesiredRecords::from_iter([(rtype, desired.clone())]);
            let key = RrKey { name: name.clone(), rtype };
            state.rows.insert(key, (stamp(number), Change { records: one, ..wanted.clone() }));
        }
        state.zone(name).park(wanted, Some(stamp(number))).unwrap();
    }

    /// Keeps and releases what is parked, for ever.
    pub async fn look_after_pending(self: Arc<Self>, mut chance: Chance) {
        loop {
            sleep(Duration::from_millis(100) + chance.millis(900)).await;
            let zones = {
                let mut state = self.state();
                if state.is_busy {
                    continue;
                }
                state.is_busy = true;
                state.take_ended();
                state.zones.clone()
            };
            for zone in &zones {
                let mut after = None;
                loop {
                    let page = zone.parked(after.take(), 2).await;
                    let Some(last) = page.last() else { break };
                    after = Some(last.key.name.clone());
                    let verdicts = self.state().decide(page, zone.is_reached(), &mut chance);
                    zone.settle(verdicts).await;
                }
            }
            self.state().is_busy = false;
        }
    }

    /// Another gateway takes the place of this one, with what the store has; `is_orderly` where the one before kept all.
    pub async fn restart(&self, is_orderly: bool) {
        if std::mem::replace(&mut self.state().is_busy, true) {
            return;
        }
        if is_orderly {
            for zone in self.zones() {
                zone.park_all().await;
                let page = zone.parked(None, usize::MAX).await;
                let verdicts = self.state().keep_all(page);
                zone.settle(verdicts).await;
                // The driver tells what ended in its next turn.
                sleep(Duration::from_millis(1)).await;
            }
        }
        let mut state = self.state();
        state.take_ended();
        state.network.world().note(|| format!("a restart, orderly: {is_orderly}"));
        let network = state.network.next();
        let (tell, ended) = mpsc::unbounded_channel();
        state.zones = zones(&network, state.random, &tell);
        (state.network, state.ended) = (network, ended);
        state.lose_what_is_not_kept();
        for (key, (stamp, change)) in state.rows.clone() {
            state.zone(&key.name).park(change, Some(stamp)).unwrap();
        }
        self.restarted.send_modify(|count| *count += 1);
        state.is_busy = false;
    }
}

impl State {
    fn zone(&self, name: &Hostname) -> Zone {
        self.zones.iter().find(|zone| name.is_within(zone.name())).unwrap().clone()
    }

    fn submitted(&mut self, name: &Hostname, records: &DesiredRecords, is_owed: bool) -> usize {
        let (number, now) = (self.requests.len(), Instant::now());
        self.network.world().note(|| format!("request {number}: {name} {records:?}"));
        let (name, records) = (name.to_string(), records.clone());
        self.requests.push(Request { name, records, number, submitted: now, word: None, told: now, is_owed });
        number
    }

    fn told(&mut self, number: usize, word: Word) {
        self.network.world().note(|| format!("request {number} is told {word:?}"));
        let request = &mut self.requests[number];
        (request.word, request.told) = (Some(word), Instant::now());
    }

    /// Rows of older changes of an RRset go, for a newer one was acknowledged.
    fn clear(&mut self, key: &RrKey, number: usize) {
        if self.rows.get(key).is_some_and(|(row, _)| *row <= stamp(number)) {
            self.rows.remove(key);
        }
    }

    fn take_ended(&mut self) {
        while let Ok(ended) = self.ended.try_recv() {
            for Ended { key, origin, row, end, .. } in ended {
                self.network.world().note(|| format!("{key} of request {} ended: {end:?}", origin.accepted.0));
                self.outlived += usize::from(matches!(end, End::Done { is_awaited: false }));
                if row.is_some_and(|row| self.rows.get(&key).is_some_and(|(kept, _)| *kept == row)) {
                    self.rows.remove(&key);
                }
            }
        }
    }

    fn keep(&mut self, parked: Parked) -> (Parked, Verdict) {
        let Parked { key, desired, origin, .. } = &parked;
        let row = origin.accepted;
        if self.rows.get(key).is_some_and(|(kept, _)| *kept > row) {
            // A command's came after the page was read, and the store keeps the newer one.
            return (parked, Verdict::Forget);
        }
        let records = DesiredRecords::from_iter([(key.rtype, desired.clone())]);
        let change = Change { name: key.name.clone(), records, origin: Arc::clone(origin) };
        self.network.world().note(|| format!("{key} of request {} is kept", row.0));
        self.rows.insert(key.clone(), (row, change));
        (parked, Verdict::Kept(row))
    }

    fn keep_all(&mut self, page: Vec<Parked>) -> Vec<(Parked, Verdict)> {
        page.into_iter().filter(|parked| parked.row.is_none()).map(|parked| self.keep(parked)).collect()
    }

    fn decide(&mut self, page: Vec<Parked>, is_reached: bool, chance: &mut Chance) -> Vec<(Parked, Verdict)> {
        let mut verdicts = Vec::new();
        for parked in page {
            if parked.row.is_none() && !(is_reached && parked.is_ready) {
                verdicts.push(self.keep(parked.clone()));
            }
            if !is_reached || !parked.is_ready {
                continue;
            }
            let number = usize::try_from(parked.origin.accepted.0).unwrap();
            if !self.is_fair && chance.percent(3) {
                self.network.world().note(|| format!("{} of request {number} is forgotten", parked.key));
                self.requests[number].is_owed = false;
                if parked.row.is_some() {
                    self.clear(&parked.key, number);
                }
                verdicts.push((parked, Verdict::Forget));
            } else if self.is_fair || chance.percent(80) {
                self.network.world().note(|| format!("{} of request {number} is released", parked.key));
                verdicts.push((parked, Verdict::Release { ttl: 60 }));
            }
        }
        verdicts
    }

    /// Whoever still waits is told nothing, and what has no row is not made any longer.
    fn lose_what_is_not_kept(&mut self) {
        for request in &mut self.requests {
            if request.word.is_none() {
                (request.word, request.told) = (Some(Word::Failed), Instant::now());
            }
            let name = Hostname::parse(&request.name).unwrap();
            let is_kept = |rtype| {
                let row = self.rows.get(&RrKey { name: name.clone(), rtype });
                row.is_some_and(|(row, _)| *row == stamp(request.number))
            };
            let is_done = request.word != Some(Word::Failed);
            request.is_owed &= is_done || request.records.iter().all(|(rtype, _)| is_kept(rtype));
        }
    }
}

fn stamp(number: usize) -> Timestamp {
    Timestamp(i64::try_from(number).unwrap())
}

fn change(name: &Hostname, records: &DesiredRecords, number: usize, keep: Keep) -> Change {
    let client = Some(Client { source: [192, 0, 2, 200].into(), agent: None });
    let origin = Origin { account: Arc::from("account"), client, accepted: stamp(number), keep };
    Change { name: name.clone(), records: records.clone(), origin: Arc::new(origin) }
}
