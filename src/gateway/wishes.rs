//! What requests asked for and did not get, and in which order: of one name the last accepted request wins, family by
//! family. Pure: no store, and time comes in.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;

use crate::model::{Change, Hostname, Records, Timestamp, ZoneName};
use crate::store::{Asked, Deferral, Unwanted, Wanted};

/// Names with a request under way, and names with a wish.
#[derive(Debug, Default)]
pub(super) struct Wishes {
    names: BTreeMap<Hostname, Name>,
    // Those of requests, by zone.
    counts: HashMap<ZoneName, usize>,
    count: usize,
    // Grows with each look through the store.
    scan: u64,
}

#[derive(Debug, Default)]
struct Name {
    under_way: u32,
    latest: Timestamp,
    // The newest request of each family that was answered, as long as the name is in the map.
    answered: [Timestamp; 2],
    wish: Option<Kept>,
    // The engine has the wish.
    is_run: bool,
    // A run passed over the wish, since a request was under way.
    passed_over: bool,
}

#[derive(Debug)]
struct Kept {
    wanted: Wanted,
    // When each family was asked for.
    at: [Timestamp; 2],
    // The same for the store, as long as it does not have it.
    asked: [Asked; 2],
    // `None` for a command's.
    zone: Option<ZoneName>,
    // The families that the store does not have yet. It alone says what is left of the others: where gateways share it,
    // another one may have been told something newer since.
    unwritten: [bool; 2],
    scan: u64,
}

impl Kept {
    fn made(&self) -> [bool; 2] {
        touched(Records { v4: self.wanted.v4, v6: self.wanted.v6 })
    }

    fn is_unwritten(&self) -> bool {
        self.unwritten != [false, false]
    }

    /// Family by family the newer one wins: requests may end in another order than they came.
    fn join(&mut self, other: Self) {
        let [v4, v6] = [0, 1]
            .map(|family: usize| other.made()[family] && !(self.made()[family] && self.at[family] > other.at[family]));
        let Self { wanted, at, asked, unwritten, .. } = other;
        if v4 {
            (self.wanted.v4, self.at[0], self.asked[0], self.unwritten[0]) = (wanted.v4, at[0], asked[0], unwritten[0]);
        }
        if v6 {
            (self.wanted.v6, self.at[1], self.asked[1], self.unwritten[1]) = (wanted.v6, at[1], asked[1], unwritten[1]);
        }
        if wanted.since > self.wanted.since {
            let (v4, v6) = (self.wanted.v4, self.wanted.v6);
            self.wanted = Wanted { v4, v6, ..wanted };
        }
    }

    fn leave(&mut self, v4: bool, v6: bool) -> bool {
        if v4 {
            (self.wanted.v4, self.unwritten[0]) = (Change::Leave, false);
        }
        if v6 {
            (self.wanted.v6, self.unwritten[1]) = (Change::Leave, false);
        }
        self.wanted.v4.is_made() || self.wanted.v6.is_made()
    }
}

fn touched(records: Records) -> [bool; 2] {
    [records.v4.is_made(), records.v6.is_made()]
}

impl Wishes {
    /// Wishes of requests.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Wishes of requests in each zone that ever had one.
    pub(super) fn counts(&self) -> impl Iterator<Item = (&ZoneName, usize)> {
        self.counts.iter().map(|(zone, count)| (zone, *count))
    }

    /// The zone that the wish for `name` was deferred in.
    pub(super) fn zone(&self, name: &Hostname) -> Option<ZoneName> {
        self.names.get(name)?.wish.as_ref()?.zone.clone()
    }

    /// Whether a request for `name` is under way, or something is wished for it.
    pub(super) fn knows(&self, name: &Hostname) -> bool {
        self.names.contains_key(name)
    }

    /// A request for `name` was accepted: its place in the order of all requests for it.
    pub(super) fn begin(&mut self, name: &Hostname, now: Timestamp) -> Timestamp {
        let of_name = self.names.entry(name.clone()).or_default();
        of_name.under_way += 1;
        of_name.latest = now.max(Timestamp(of_name.latest.0.saturating_add(1)));
        of_name.latest
    }

    /// Whether nothing but `requests` is under way for `name` here: neither a wish of ours to the store or the primary, nor
    /// more requests.
    pub(super) fn is_idle(&self, name: &Hostname, requests: u32) -> bool {
        let is_unwritten = |of_name: &Name| of_name.wish.as_ref().is_some_and(Kept::is_unwritten);
        let is_idle = |of_name: &Name| of_name.under_way <= requests && !of_name.is_run && !is_unwritten(of_name);
        self.names.get(name).is_none_or(is_idle)
    }

    /// Whether something is wished for `name`.
    pub(super) fn has(&self, name: &Hostname) -> bool {
        self.names.get(name).is_some_and(|of_name| of_name.wish.is_some())
    }

    /// Whether the engine has the wish for `name`.
    pub(super) fn runs(&mut self, name: &Hostname, is_run: bool) {
        if let Some(of_name) = self.names.get_mut(name) {
            of_name.is_run = is_run;
        }
    }

    /// The request is over. Whether a wish is left that was passed over for its sake.
    pub(super) fn end(&mut self, name: &Hostname) -> bool {
        let Some(of_name) = self.names.get_mut(name) else { return false };
        of_name.under_way = of_name.under_way.saturating_sub(1);
        if of_name.under_way > 0 {
            return false;
        }
        let passed_over = std::mem::take(&mut of_name.passed_over);
        of_name.answered = Default::default();
        let has_wish = of_name.wish.is_some();
        if !has_wish {
            self.names.remove(name);
        }
        passed_over && has_wish
    }

    /// The request of `at` was answered: what was asked for before it is not wanted any longer. What must go from the store.
    pub(super) fn answered(&mut self, name: &Hostname, at: Timestamp, records: Records) -> Option<Unwanted> {
        let of_name = self.names.get_mut(name)?;
        let touched = touched(records);
        for (answered, touched) in of_name.answered.iter_mut().zip(touched) {
            if touched {
                *answered = (*answered).max(at);
            }
        }
        let kept = of_name.wish.as_mut()?;
        let made = kept.made();
        let [v4, v6] = [0, 1].map(|family: usize| touched[family] && made[family] && kept.at[family] < at);
        let until = kept.wanted.since;
        if !kept.leave(v4, v6) {
            self.take(name);
        }
        (v4 || v6).then(|| Unwanted { v4, v6, ..Unwanted::all(name.clone(), until) })
    }

    /// The request whose wish this is was answered `911`: its place is `wanted.since`. It is joined to what was asked for
    /// before, unless a newer request was answered meanwhile. `false` where there are `most` already.
    pub(super) fn defer(&mut self, mut wanted: Wanted, asked: Asked, zone: &ZoneName, most: usize) -> bool {
        let is_full = self.count >= most;
        let at = wanted.since;
        let of_name = self.names.entry(wanted.name.clone()).or_default();
        let older = |family: usize| of_name.answered[family] > at;
        let (v4_is_old, v6_is_old) = (older(0), older(1));
        if v4_is_old {
            wanted.v4 = Change::Leave;
        }
        if v6_is_old {
            wanted.v6 = Change::Leave;
        }
        if touched(Records { v4: wanted.v4, v6: wanted.v6 }) == [false, false] {
            return true;
        }
        if is_full && of_name.wish.as_ref().is_none_or(|kept| kept.zone.is_none()) {
            return false;
        }
        let name = wanted.name.clone();
        let unwritten = touched(Records { v4: wanted.v4, v6: wanted.v6 });
        let zone = Some(zone.clone());
        let mut kept = Kept { wanted, at: [at; 2], asked: [asked; 2], zone, unwritten, scan: self.scan };
        if let Some(other) = self.take_keeping(&name) {
            kept.join(other);
        }
        self.put(name, kept);
        true
    }

    /// What the store keeps, each family of which was asked for at `at`. `zone` is `None` where a command wants it.
    pub(super) fn load(&mut self, wanted: Wanted, at: [Timestamp; 2], zone: Option<&ZoneName>) {
        let (name, since, scan) = (wanted.name.clone(), wanted.since, self.scan);
        let of_name = self.names.entry(name.clone()).or_default();
        match &mut of_name.wish {
            Some(kept) if kept.is_unwritten() => {
                kept.scan = scan;
                return;
            }
            // It was read before ours was written; where it is another gateway's, the next look finds it.
            Some(kept) if kept.wanted.since > since => return,
            // Ours may have been joined there to what another gateway was told.
            Some(_) | None => {}
        }
        let [v4, v6] = [0, 1].map(|family: usize| of_name.answered[family] > at[family]);
        of_name.latest = at.into_iter().fold(of_name.latest, Timestamp::max);
        let (asked, unwritten) = Default::default();
        let mut kept = Kept { wanted, at, asked, zone: zone.cloned(), unwritten, scan };
        let is_left = kept.leave(v4, v6);
        self.take_keeping(&name);
        if is_left {
            self.put(name, kept);
        } else {
            self.forget_idle(&name);
        }
    }

    /// A look through the store begins.
    pub(super) fn begin_scan(&mut self) {
        self.scan += 1;
    }

    /// The look has ended: what was not found there is gone.
    pub(super) fn end_scan(&mut self) {
        let scan = self.scan;
        let is_gone = |name: &Name| name.wish.as_ref().is_some_and(|kept| !kept.is_unwritten() && kept.scan < scan);
        let gone: Vec<_> =
            self.names.iter().filter(|(_, of_name)| is_gone(of_name)).map(|(name, _)| name.clone()).collect();
        gone.iter().for_each(|name| drop(self.take(name)));
    }

    /// What of the wishes the store does not have yet.
    pub(super) fn unwritten(&self, limit: usize) -> Vec<Deferral> {
        let unwritten = |kept: &Kept| {
            let [v4, v6] = kept.unwritten;
            let mut wanted = kept.wanted.clone();
            wanted.v4 = if v4 { wanted.v4 } else { Change::Leave };
            wanted.v6 = if v6 { wanted.v6 } else { Change::Leave };
            Deferral { wish: wanted, asked: kept.asked }
        };
        let kept = self.names.values().filter_map(|name| name.wish.as_ref());
        kept.filter(|kept| kept.is_unwritten()).take(limit).map(unwritten).collect()
    }

    /// The store has these. Whether one of them was passed over until it did.
    pub(super) fn written(&mut self, wishes: &[Deferral]) -> bool {
        let scan = self.scan;
        let mut passed_over = false;
        for Deferral { wish: wanted, .. } in wishes {
            let Some(of_name) = self.names.get_mut(&wanted.name) else { continue };
            if let Some(kept) = &mut of_name.wish
                && kept.wanted.since == wanted.since
            {
                // An older request may have ended meanwhile, and joined the other family.
                kept.unwritten[0] &= kept.wanted.v4 != wanted.v4;
                kept.unwritten[1] &= kept.wanted.v6 != wanted.v6;
                kept.scan = scan;
            }
            passed_over |= of_name.under_way == 0 && std::mem::take(&mut of_name.passed_over);
        }
        passed_over
    }

    /// The store has something newer than the wish of `since`, or than part of it: the next look tells what.
    pub(super) fn left_out(&mut self, name: &Hostname, since: Timestamp) {
        let kept = self.names.get(name).and_then(|of_name| of_name.wish.as_ref());
        if kept.is_some_and(|kept| kept.wanted.since == since && !kept.is_unwritten()) {
            self.take(name);
        }
    }

    /// Until when what a request wished for `name` is worth doing.
    pub(super) fn expires(&self, name: &Hostname) -> Option<Timestamp> {
        let kept = self.names.get(name)?.wish.as_ref().filter(|kept| kept.zone.is_some())?;
        kept.wanted.expires
    }

    /// At most `limit` wishes in the order of the names, those after `after`.
    pub(super) fn page(&self, after: Option<&Hostname>, limit: usize) -> Vec<Wanted> {
        let range = match after {
            Some(after) => (Bound::Excluded(after), Bound::Unbounded),
            None => (Bound::Unbounded, Bound::Unbounded),
        };
        let kept = self.names.range::<Hostname, _>(range).filter_map(|(_, name)| name.wish.as_ref());
        kept.take(limit).map(|kept| kept.wanted.clone()).collect()
    }

    /// The wish of `since`, where it may be done now: no request for its name is under way, and it is written as it is.
    pub(super) fn ready(&mut self, name: &Hostname, since: Timestamp) -> Option<Wanted> {
        let of_name = self.names.get_mut(name)?;
        let kept = of_name.wish.as_ref().filter(|kept| kept.wanted.since == since)?;
        if of_name.under_way > 0 || kept.is_unwritten() {
            of_name.passed_over = true;
            return None;
        }
        Some(kept.wanted.clone())
    }

    /// The wish of `since` is done.
    pub(super) fn done(&mut self, name: &Hostname, since: Timestamp) {
        self.dropped(&Unwanted::all(name.clone(), since));
    }

    /// These families of the wish are given up, but for what joined it since and is not written yet.
    pub(super) fn dropped(&mut self, Unwanted { name, until, v4, v6, .. }: &Unwanted) {
        let Some(kept) = self.names.get_mut(name).and_then(|of_name| of_name.wish.as_mut()) else { return };
        let [v4_is_new, v6_is_new] = kept.unwritten;
        if kept.wanted.since == *until && !kept.leave(*v4 && !v4_is_new, *v6 && !v6_is_new) {
            self.take(name);
        }
    }

    fn put(&mut self, name: Hostname, kept: Kept) {
        if let Some(zone) = &kept.zone {
            self.count += 1;
            *self.counts.entry(zone.clone()).or_default() += 1;
        }
        self.names.entry(name).or_default().wish = Some(kept);
    }

    fn take(&mut self, name: &Hostname) -> Option<Kept> {
        let kept = self.take_keeping(name);
        self.forget_idle(name);
        kept
    }

    fn take_keeping(&mut self, name: &Hostname) -> Option<Kept> {
        let kept = self.names.get_mut(name)?.wish.take()?;
        if let Some(count) = kept.zone.as_ref().and_then(|zone| self.counts.get_mut(zone)) {
            self.count -= 1;
            *count -= 1;
        }
        Some(kept)
    }

    fn forget_idle(&mut self, name: &Hostname) {
        if self.names.get(name).is_some_and(|of_name| of_name.under_way == 0 && of_name.wish.is_none()) {
            self.names.remove(name);
        }
    }
}

#[cfg(test)]
mod tests;
