//! What the queue holds of one name: for each RRset the newest that is desired, and everyone who waits to hear of it. Pure.

use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::cache::UnderWay;
use super::late::Swap;
use super::{Answer, Applied, Change, End, Ended, Keep, Late, Origin, Trouble};
use crate::dns::RrsetUpdate;
use crate::model::{Desired, DesiredRecords, Hostname, RrKey, RrType, Timestamp};

/// A caller that waits for its change.
#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) records: DesiredRecords,
    // Nobody waits for it any longer then.
    pub(super) until: Instant,
    pub(super) answer: oneshot::Sender<Answer>,
    // Tells what became of it after the caller was told that there was no answer.
    pub(super) late: Option<oneshot::Sender<Late>>,
}

impl Waiter {
    fn is_gone(&self) -> bool {
        self.answer.is_closed()
    }
}

/// A change of one RRset.
#[derive(Debug)]
pub(super) struct PendingRrset {
    pub(super) rtype: RrType,
    pub(super) desired: Desired,
    pub(super) origin: Arc<Origin>,
    // Tells it from an older and a newer one of the same RRset.
    pub(super) number: u64,
    // It may leave until then, where somebody waits for it or it was released; else it must be authorised again.
    pub(super) authorised_until: Instant,
    pub(super) is_released: bool,
    // The primary could not take it: it is not tried before.
    pub(super) rests_until: Option<Instant>,
    // Which row the store has of this RRset.
    pub(super) row: Option<Timestamp>,
    // That row holds an older change: this one is yet to be written.
    pub(super) is_row_older: bool,
}

/// All that is pending of one name.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) rrsets: Vec<PendingRrset>,
    // Of the newest change.
    pub(super) account: Arc<str>,
    pub(super) waiters: Vec<Waiter>,
    // Nobody waits for it, and it is to be authorised again before it leaves.
    pub(super) is_parked: bool,
    // It was acknowledged once, and could not be read back.
    pub(super) was_unread: bool,
    // As long as something is pending, nothing that the verified cache holds of the name counts.
    _under_way: UnderWay,
}

/// An RRset's change for which nobody waits.
#[derive(Debug, Clone)]
pub struct Parked {
    /// Which RRset.
    pub key: RrKey,
    /// What it shall hold.
    pub desired: Desired,
    /// Who wants it.
    pub origin: Arc<Origin>,
    /// Which row the store has of it; `None` also where that is of an older change.
    pub row: Option<Timestamp>,
    /// Whether it is to be authorised again now; else it is in flight, or rests.
    pub is_ready: bool,
    /// Whether it is in flight.
    pub is_in_flight: bool,
    pub(super) number: u64,
}

/// What shall become of a change for which nobody waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is authorised again, with this TTL.
    Release {
        /// In seconds; of no meaning where the RRset is removed.
        ttl: u32,
    },
    /// It leaves the queue: it is not allowed any longer, or lives on in the store alone. What is in flight stays.
    Forget,
    /// The store has this row of it.
    Kept(Timestamp),
}

impl Entry {
    pub(super) fn new(account: Arc<str>, under_way: UnderWay) -> Self {
        Self {
            rrsets: Vec::new(),
            account,
            waiters: Vec::new(),
            is_parked: false,
            was_unread: false,
            _under_way: under_way,
        }
    }

    /// What a compare and swap sends, for which nobody waits here.
    pub(super) fn of_swap(Swap { key, desired, .. }: &Swap, under_way: UnderWay, now: Instant) -> Self {
        let origin = Origin { account: Arc::from(""), client: None, accepted: Timestamp(0), keep: Keep::WithCaller };
        let change = DesiredRecords::from_iter([(key.rtype, desired.clone())]);
        let mut entry = Self::new(Arc::clone(&origin.account), under_way);
        let change = Change { name: key.name.clone(), records: change, origin: Arc::new(origin) };
        // No verdict on a change is meant for it.
        entry.desire(&change, u64::MAX, now, None);
        entry
    }

    /// Takes what `change` wants in place of what was wanted before.
    pub(super) fn desire(&mut self, change: &Change, number: u64, authorised_until: Instant, row: Option<Timestamp>) {
        self.account = Arc::clone(&change.origin.account);
        for (rtype, desired) in change.records.iter() {
            let (desired, origin) = (desired.clone(), Arc::clone(&change.origin));
            self.put(PendingRrset { row, ..PendingRrset::new(rtype, desired, origin, number, authorised_until) });
        }
    }

    /// A newer one takes the place of an older, and the older one's row.
    fn put(&mut self, newer: PendingRrset) {
        match self.rrsets.iter_mut().find(|rrset| rrset.rtype == newer.rtype) {
            Some(rrset) if newer.row.is_none() => {
                *rrset = PendingRrset { row: rrset.row, is_row_older: rrset.row.is_some(), ..newer };
            }
            Some(rrset) => *rrset = newer,
            None => self.rrsets.push(newer),
        }
    }

    pub(super) fn wait(&mut self, waiter: Waiter) {
        // A router that repeats itself while the primary is down must not pile up.
        if self.waiters.len() == self.waiters.capacity() {
            self.waiters.retain(|waiter| !waiter.is_gone());
        }
        self.waiters.push(waiter);
    }

    /// Takes in what came after it.
    pub(super) fn absorb(&mut self, newer: Self) {
        self.account = newer.account;
        newer.rrsets.into_iter().for_each(|rrset| self.put(rrset));
        self.waiters.extend(newer.waiters);
    }

    /// Somebody waits to hear of it.
    pub(super) fn is_awaited(&self) -> bool {
        self.waiters.iter().any(|waiter| !waiter.is_gone())
    }

    /// Somebody waits, and still will at `then`.
    pub(super) fn is_awaited_at(&self, then: Instant) -> bool {
        self.waiters.iter().any(|waiter| waiter.until > then && !waiter.is_gone())
    }

    /// Nobody ever waited for what is pending here.
    pub(super) fn is_background(&self) -> bool {
        self.waiters.is_empty()
    }

    pub(super) fn is_authorised(&self, now: Instant) -> bool {
        self.rrsets.iter().any(|rrset| self.may_leave(rrset, now))
    }

    fn may_leave(&self, rrset: &PendingRrset, now: Instant) -> bool {
        rrset.authorised_until > now && (rrset.is_released || self.is_awaited_of(rrset.rtype))
    }

    fn is_awaited_of(&self, rtype: RrType) -> bool {
        self.waiters.iter().any(|waiter| waiter.records.get(rtype).is_some() && !waiter.is_gone())
    }

    /// Takes out what may not leave before it is authorised again, and who waits for it: nobody hears of a part of its change.
    pub(super) fn part_unauthorised(&mut self, now: Instant, under_way: impl FnOnce() -> UnderWay) -> Option<Self> {
        let unauthorised = self.rrsets.iter().filter(|rrset| !self.may_leave(rrset, now));
        let mut staying: Vec<_> = unauthorised.map(|rrset| rrset.rtype).collect();
        if staying.is_empty() {
            return None;
        }
        let mut parted = Self::new(Arc::clone(&self.account), under_way());
        while let Some(place) = self
            .waiters
            .iter()
            .position(|waiter| !waiter.is_gone() && waiter.records.iter().any(|(rtype, _)| staying.contains(&rtype)))
        {
            let waiter = self.waiters.swap_remove(place);
            staying.extend(waiter.records.iter().map(|(rtype, _)| rtype));
            parted.waiters.push(waiter);
        }
        parted.rrsets = self.rrsets.extract_if(.., |rrset| staying.contains(&rrset.rtype)).collect();
        Some(parted)
    }

    /// Nobody waits any longer for those who went.
    pub(super) fn forget_gone(&mut self) {
        self.waiters.retain(|waiter| !waiter.is_gone());
    }

    /// Takes the RRset at `place` out, which is not allowed any longer, or kept elsewhere; who waits for it hears of no answer.
    /// Whoever forgets it takes care of the row `known`.
    pub(super) fn forget(&mut self, place: usize, known: Option<Timestamp>, name: &Hostname, ended: &mut Vec<Ended>) {
        let rrset = self.rrsets.swap_remove(place);
        tell(self.waiters.extract_if(.., |waiter| waiter.records.get(rrset.rtype).is_some()), Trouble::Timeout);
        if rrset.row != known {
            ended.push(rrset.ended(name, End::Superseded));
        }
    }

    /// Takes out what only removes, and who only wants to remove: a guard that failed was not theirs. `None` where nothing is
    /// set, and so nothing guarded: whatever failed was the removal.
    pub(super) fn part_removals(&mut self, under_way: impl FnOnce() -> UnderWay) -> Option<Self> {
        let set = self.rrsets.iter().find(|rrset| rrset.desired.is_set())?;
        let (origin, number) = (Arc::clone(&set.origin), set.number);
        let (setting, removing): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.waiters).into_iter().partition(|waiter| waiter.records.sets());
        self.waiters = setting;
        let fails_with_a_caller = |rtype: RrType| self.waiters.iter().any(|waiter| waiter.records.get(rtype).is_some());
        let (parted, failing) = std::mem::take(&mut self.rrsets)
            .into_iter()
            .partition(|rrset| !rrset.desired.is_set() && !fails_with_a_caller(rrset.rtype));
        self.rrsets = failing;
        let mut parted = Self { rrsets: parted, ..Self::new(Arc::clone(&self.account), under_way()) };
        for waiter in removing {
            for (rtype, desired) in waiter.records.iter() {
                if !parted.rrsets.iter().any(|rrset| rrset.rtype == rtype) {
                    let (desired, origin) = (desired.clone(), Arc::clone(&origin));
                    parted.put(PendingRrset::new(rtype, desired, origin, number, waiter.until));
                }
            }
            parted.waiters.push(waiter);
        }
        (!parted.rrsets.is_empty()).then_some(parted)
    }

    /// The records as the message has them.
    pub(super) fn updates<'a>(&'a self, name: &'a Hostname) -> impl Iterator<Item = RrsetUpdate<'a>> {
        self.rrsets.iter().map(move |PendingRrset { rtype, desired, .. }| RrsetUpdate { name, rtype: *rtype, desired })
    }

    /// What the primary holds once this is applied.
    pub(super) fn records(&self) -> impl Iterator<Item = (RrType, &Desired)> {
        self.rrsets.iter().map(|rrset| (rrset.rtype, &rrset.desired))
    }

    /// Whether any record is set, and so guarded.
    pub(super) fn sets(&self) -> bool {
        self.rrsets.iter().any(|rrset| rrset.desired.is_set())
    }

    /// It is done. The change is over before the caller learns of it: the next request must find the verified cache in force.
    pub(super) fn succeed(self, name: &Hostname, ended: &mut Vec<Ended>) {
        let Self { rrsets, waiters, _under_way: under_way, .. } = self;
        drop(under_way);
        let mut awaited = Vec::with_capacity(rrsets.len());
        for Waiter { records, answer, late, .. } in waiters {
            let holds = |rtype: RrType, desired: &Desired| {
                rrsets.iter().any(|rrset| rrset.rtype == rtype && rrset.desired == *desired)
            };
            let superseded = !records.iter().all(|(rtype, desired)| holds(rtype, desired));
            match (answer.send(Ok(Applied { superseded })), late) {
                (Ok(()), _) => {
                    let own = records.iter().filter(|(rtype, desired)| holds(*rtype, desired));
                    awaited.extend(own.map(|(rtype, _)| rtype));
                }
                (Err(_), Some(late)) => drop(late.send(Late::Applied)),
                (Err(_), None) => {}
            }
        }
        for rrset in rrsets {
            let is_awaited = awaited.contains(&rrset.rtype);
            if !is_awaited || rrset.row.is_some() {
                ended.push(rrset.ended(name, End::Done { is_awaited }));
            }
        }
    }

    /// It failed. What is to be tried again at `again` is left, for which nobody waits.
    pub(super) fn fail(
        mut self,
        name: &Hostname,
        trouble: Trouble,
        [now, again]: [Instant; 2],
        ended: &mut Vec<Ended>,
    ) -> Option<Self> {
        let waiters = std::mem::take(&mut self.waiters);
        // Others hear of it too, in whose place it travelled.
        let is_awaited = |rrset: &PendingRrset| {
            let is_own = |waiter: &Waiter| waiter.records.get(rrset.rtype) == Some(&rrset.desired);
            waiters.iter().any(|waiter| !waiter.is_gone() && is_own(waiter))
        };
        for mut rrset in std::mem::take(&mut self.rrsets) {
            let is_over = match trouble {
                Trouble::Hidden(_) | Trouble::Elsewhere | Trouble::Overloaded => true,
                // Its caller hears what only the operator can mend; for others it is tried until it expires.
                Trouble::Refused(_) | Trouble::Dropped => is_awaited(&rrset),
                Trouble::Failed(_) | Trouble::Timeout | Trouble::Silent => false,
            };
            if !is_over && rrset.origin.keep.is_worth(now) {
                (rrset.authorised_until, rrset.rests_until) = (now, Some(again));
                self.rrsets.push(rrset);
            } else if rrset.row.is_some() || is_over && !is_awaited(&rrset) {
                ended.push(rrset.ended(name, if is_over { End::Failed(trouble) } else { End::Expired }));
            }
        }
        let left = (!self.rrsets.is_empty()).then_some(self);
        tell(waiters, trouble);
        left
    }

    /// What is not worth doing any longer without a caller goes; whether anything is left.
    pub(super) fn expire(&mut self, name: &Hostname, now: Instant, ended: &mut Vec<Ended>) -> bool {
        let Self { rrsets, waiters, .. } = self;
        let is_awaited =
            |rtype: RrType| waiters.iter().any(|waiter| !waiter.is_gone() && waiter.records.get(rtype).is_some());
        for rrset in rrsets.extract_if(.., |rrset| !rrset.origin.keep.is_worth(now) && !is_awaited(rrset.rtype)) {
            if rrset.row.is_some() || rrset.origin.keep != Keep::WithCaller {
                ended.push(rrset.ended(name, End::Expired));
            }
        }
        !self.rrsets.is_empty()
    }

    /// All of it ends, though it was worth doing.
    pub(super) fn end_all(self, name: &Hostname, ended: &mut Vec<Ended>) {
        ended.extend(self.rrsets.into_iter().map(|rrset| rrset.ended(name, End::Expired)));
    }

    /// Its message was lost, and may be applied late, whatever becomes of the next.
    pub(super) fn lost(&mut self) {
        for late in self.waiters.iter_mut().filter_map(|waiter| waiter.late.take()) {
            let _nobody_minds = late.send(Late::Lost);
        }
    }
}

impl PendingRrset {
    fn new(rtype: RrType, desired: Desired, origin: Arc<Origin>, number: u64, authorised_until: Instant) -> Self {
        Self {
            rtype,
            desired,
            origin,
            number,
            authorised_until,
            is_released: false,
            rests_until: None,
            row: None,
            is_row_older: false,
        }
    }

    fn ended(self, name: &Hostname, end: End) -> Ended {
        let Self { rtype, desired, origin, row, .. } = self;
        Ended { key: RrKey { name: name.clone(), rtype }, desired, origin, row, end }
    }

    pub(super) fn parked(&self, name: &Hostname, is_ready: bool, is_in_flight: bool) -> Parked {
        let key = RrKey { name: name.clone(), rtype: self.rtype };
        let (desired, origin) = (self.desired.clone(), Arc::clone(&self.origin));
        let row = self.row.filter(|_| !self.is_row_older);
        Parked { key, desired, origin, row, is_ready, is_in_flight, number: self.number }
    }
}

/// Tells all of them.
pub(super) fn tell(waiters: impl IntoIterator<Item = Waiter>, trouble: Trouble) {
    for waiter in waiters {
        let _caller_gone = waiter.answer.send(Err(trouble));
    }
}

pub(super) fn rrsets(entries: &[(Hostname, Entry)]) -> usize {
    entries.iter().map(|(_, entry)| entry.rrsets.len()).sum()
}
