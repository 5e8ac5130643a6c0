//! The newest wish for one name, and everyone who waits for it. Pure.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::memory::UnderWay;
use super::strays::Undo;
use super::{Answer, Applied, Late, Trouble, Wish};
use crate::dns::RrsetWrite;
use crate::model::{Change, Hostname, Records};

/// A caller who waits for his change.
#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) wish: Wish,
    // Nobody waits for it any longer then.
    pub(super) until: Instant,
    // No client waits: what was deferred, and what a command wants.
    pub(super) is_errand: bool,
    pub(super) answer: oneshot::Sender<Answer>,
    // For who wants to hear of it after he was told that there was no answer.
    pub(super) late: Option<oneshot::Sender<Late>>,
}

/// What a zone's driver is handed.
#[derive(Debug)]
pub(super) enum Handed {
    Change(Waiter),
    Undo(Undo),
}

/// The newest wish for one name, and everyone who waits for it.
#[derive(Debug)]
pub(super) struct Entry {
    // What is set has a TTL of its own.
    v4: Change<(Ipv4Addr, u32)>,
    v6: Change<(Ipv6Addr, u32)>,
    pub(super) account: Arc<str>,
    pub(super) waiters: Vec<Waiter>,
    // Held from the sending on, whoever still waits: the message may be applied late.
    pub(super) in_flight: Option<UnderWay>,
}

impl Entry {
    pub(super) fn new(waiter: Waiter) -> Self {
        let mut entry = Self::of(&waiter.wish);
        entry.waiters.push(waiter);
        entry
    }

    /// An entry for which nobody waits.
    pub(super) fn of(Wish { records, ttl, account, .. }: &Wish) -> Self {
        Self {
            v4: records.v4.map(|address| (address, *ttl)),
            v6: records.v6.map(|address| (address, *ttl)),
            account: Arc::clone(account),
            waiters: Vec::new(),
            in_flight: None,
        }
    }

    pub(super) fn add(&mut self, waiter: Waiter) {
        let newer = Self::of(&waiter.wish);
        self.v4 = newer.v4.after(self.v4);
        self.v6 = newer.v6.after(self.v6);
        self.account = newer.account;
        // A router that repeats itself while the primary is down must not pile up.
        if self.waiters.len() == self.waiters.capacity() {
            self.waiters.retain(|waiter| !waiter.answer.is_closed());
        }
        self.waiters.push(waiter);
    }

    pub(super) fn absorb(&mut self, newer: Self) {
        self.v4 = newer.v4.after(self.v4);
        self.v6 = newer.v6.after(self.v6);
        self.account = newer.account;
        self.waiters.extend(newer.waiters);
    }

    pub(super) fn is_wanted(&self) -> bool {
        self.waiters.iter().any(|waiter| !waiter.answer.is_closed())
    }

    /// Somebody still waits, and will at `then`.
    pub(super) fn is_wanted_at(&self, then: Instant) -> bool {
        self.waiters.iter().any(|waiter| waiter.until > then && !waiter.answer.is_closed())
    }

    pub(super) fn is_errand(&self) -> bool {
        self.waiters.iter().all(|waiter| waiter.is_errand)
    }

    pub(super) fn rrsets(&self) -> usize {
        usize::from(self.v4.is_made()) + usize::from(self.v6.is_made())
    }

    fn records(&self) -> Records {
        Records { v4: self.v4.map(|(address, _)| address), v6: self.v6.map(|(address, _)| address) }
    }

    pub(super) fn write<'a>(&self, name: &'a Hostname) -> RrsetWrite<'a> {
        RrsetWrite {
            name,
            records: self.records(),
            ttl_v4: self.v4.set().map_or(0, |(_, ttl)| ttl),
            ttl_v6: self.v6.set().map_or(0, |(_, ttl)| ttl),
        }
    }

    /// What the primary holds once this is applied, family by family, since their TTLs may differ.
    pub(super) fn wishes(&self, name: &Hostname) -> impl Iterator<Item = Wish> + use<> {
        let (name, account) = (name.clone(), Arc::clone(&self.account));
        let (records, RrsetWrite { ttl_v4, ttl_v6, .. }) = (self.records(), self.write(&name));
        let v4 = (Records { v6: Change::Leave, ..records }, ttl_v4);
        let v6 = (Records { v4: Change::Leave, ..records }, ttl_v6);
        let made = [v4, v6].into_iter().filter(|(records, _)| *records != Records::default());
        made.map(move |(records, ttl)| Wish { name: name.clone(), records, ttl, account: Arc::clone(&account) })
    }

    /// Takes out those who only want to remove, with what they want: a guard that failed was not theirs. `None` where nothing
    /// was set, and so nothing guarded: whatever failed was the removal.
    pub(super) fn part_removals(&mut self) -> Option<Self> {
        if !self.records().sets() {
            return None;
        }
        let (setting, removing): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.waiters).into_iter().partition(|waiter| waiter.wish.records.sets());
        self.waiters = setting;
        let mut removing = removing.into_iter();
        let mut entry = Self::new(removing.next()?);
        removing.for_each(|waiter| entry.add(waiter));
        Some(entry)
    }

    // The change is over before the caller learns of it: his next request must find the memory in force.
    pub(super) fn succeed(self) {
        let newest = self.records();
        drop(self.in_flight);
        answer(self.waiters, |wish| Ok(Applied { superseded: wish.records.is_superseded_by(newest) }));
    }

    /// Its message was lost, and may be applied late, whatever becomes of the next.
    pub(super) fn lost(&mut self) {
        for late in self.waiters.iter_mut().filter_map(|waiter| waiter.late.take()) {
            let _nobody_minds = late.send(Late::Lost);
        }
    }

    pub(super) fn fail(self, trouble: Trouble) {
        drop(self.in_flight);
        answer(self.waiters, |_| Err(trouble));
    }
}

/// Answers each waiter.
pub(super) fn answer(waiters: impl IntoIterator<Item = Waiter>, outcome: impl Fn(&Wish) -> Answer) {
    for Waiter { wish, answer, late, .. } in waiters {
        if let (Err(Ok(_)), Some(late)) = (answer.send(outcome(&wish)), late) {
            let _nobody_minds = late.send(Late::Applied);
        }
    }
}

pub(super) fn rrsets(entries: &[(Hostname, Entry)]) -> usize {
    entries.iter().map(|(_, entry)| entry.rrsets()).sum()
}
