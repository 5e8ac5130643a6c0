//! Changes for which nobody waits any longer: kept while they wait, authorised again before they are made, and recorded when
//! they are done.
//!
//! With no store or one of its own, they stay in the zones' queues, and the store has each in case of a restart. Where several
//! gateways share a store, they leave the queues for it, and whichever gateway takes the lease on one makes it by compare and
//! swap.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tracing::{debug, info, warn};

use super::authorise::{Authorised, Refusal};
use super::granted::may_have_mail;
use super::pointers::Pointers;
use super::{Asked, Gateway, HostVerdict};
use crate::engine::{self, Change, Client, End, Ended, Keep, Origin, Parked, Trouble, Verdict};
use crate::model::{Desired, DesiredRecords, Outcome, PendingChange, RrData, RrKey, Timestamp, ZoneName};
use crate::registry::{Grant, Host, PendingChanges, Sighting, Unavailable};

/// Between two looks for what nobody waits for.
const LOOK: Duration = Duration::from_millis(500);
/// Between two looks through the store that nobody told of.
const AGAIN: Duration = Duration::from_secs(10);
/// Between two tries where a zone takes no more at once.
const FULL: Duration = Duration::from_millis(50);
const PAGE: usize = 1_000;
/// Names that one look releases: more wait for the next, so that no authorisation is old when its change leaves.
const MOST_RELEASED: usize = 20_000;
/// Changes that are over, of which the store hears at once.
const MOST_OVER: usize = 500;
/// Leased changes that are made at once: fewer than the engine's queue takes by far, so that requests find room.
const AT_ONCE: usize = 500;
/// What a shared store has is left alone until all gateways have recorded what they answered meanwhile.
const SETTLED: Duration = Duration::from_secs(3);

pub(super) enum Unmade {
    Dropped(Cow<'static, str>),
    Waits(Trouble),
    /// The record changed after it was read: by a newer request, which `state` tells soon, or by what another gateway sent late of
    /// an older one. It is judged again.
    Overtaken,
}

impl From<Trouble> for Unmade {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Hidden(_) | Trouble::Elsewhere => Self::Dropped(HostVerdict::of(Err(trouble)).reason),
            other => Self::Waits(other),
        }
    }
}

impl From<Unavailable> for Unmade {
    fn from(Unavailable: Unavailable) -> Self {
        Self::Waits(Trouble::Timeout)
    }
}

impl Gateway {
    /// Hosts of `zone` whose last request was answered 911, and is done when the primary answers.
    pub(crate) fn pending(&self, zone: &ZoneName) -> usize {
        self.zones.get(zone).map_or(0, engine::Zone::parked_count) + self.backlog.stored(zone)
    }

    /// Takes in what earlier runs left; to be called before the first request.
    pub(crate) async fn prepare(&self) {
        let Some(pending) = self.registry.pending() else { return };
        for (zone, count) in self.take_in(pending, pending.take_left()).await {
            self.backlog.report(&zone, count, self.defer);
            if let Some(zone) = self.zones.get(&zone) {
                // Its answer comes behind all that was taken in, or what waits there would be counted as none.
                let _first = zone.parked(None, 1).await;
            }
        }
    }

    /// Looks after what is pending for ever, each time in the gateway `in_force`: `wake` says that there is something new, or a
    /// primary is back; `endings` are the engines' words on what nobody waited for.
    pub(crate) async fn look_after_pending(
        in_force: impl Fn() -> Arc<Self> + Send,
        wake: Arc<Notify>,
        mut endings: mpsc::UnboundedReceiver<Vec<Ended>>,
    ) {
        let [mut look, mut again] = [LOOK, AGAIN].map(interval);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        again.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // What is to go from the store, and whether something there could not be made yet.
        let (mut over, mut has_more) = (Vec::new(), false);
        loop {
            // No gateway is held while it waits, or zones that a reload removed would never end.
            let mut has_news = false;
            tokio::select! {
                () = wake.notified() => has_news = true,
                _ = again.tick() => has_news = true,
                _ = look.tick() => {}
                Some(ended) = endings.recv() => {
                    in_force().ended(ended, &mut over).await;
                    if over.len() < MOST_OVER {
                        continue;
                    }
                }
            }
            let gateway = in_force();
            // Before the look: a zone that is new and reached during it is looked at again.
            gateway.zones.values().for_each(|zone| zone.on_return(Arc::clone(&wake)));
            gateway.end_in_store(&mut over).await;
            // What cannot be known soon is not waited for by each change in turn.
            let since = Instant::now();
            for zone in gateway.zones.values().filter(|zone| zone.parked_count() > 0) {
                gateway.look_after_zone(zone, Some((since, since + LOOK))).await;
            }
            // While the store is away, there may be more.
            has_more = gateway.look_into_store(has_news, has_more).await.unwrap_or(true);
            // What is over is counted before it is said that nothing is left.
            while let Ok(ended) = endings.try_recv() {
                gateway.ended(ended, &mut over).await;
            }
            for zone in gateway.zones.keys() {
                gateway.backlog.report(zone, gateway.pending(zone), gateway.defer);
            }
        }
    }

    /// Keeps what is pending, as far as there is a store.
    pub(super) async fn keep_pending(&self) {
        let Some(pending) = self.registry.pending() else { return };
        for zone in self.zones.values() {
            zone.park_all().await;
            self.look_after_zone(zone, None).await;
        }
        pending.release_all().await;
    }

    // ---- How one ends.

    /// What the engine tells; what is to go from the store for it.
    async fn ended(&self, all: Vec<Ended>, over: &mut Vec<(RrKey, Timestamp)>) {
        for Ended { key, desired, origin, row, end } in all {
            match end {
                End::Done { is_awaited: true } | End::Superseded => {}
                End::Done { is_awaited: false } => self.done(&key, desired, &origin).await,
                End::Failed(trouble) => self.dropped(&key, &HostVerdict::of(Err(trouble)).reason),
                End::Expired => self.dropped(&key, "it is too old, or its zone is gone"),
            }
            over.extend(row.map(|row| (key, row)));
        }
    }

    async fn done(&self, key: &RrKey, desired: Desired, origin: &Arc<Origin>) {
        if let Some(zone) = self.registry.zone_of(&key.name) {
            self.backlog.ended(zone, |episode| episode.done += 1);
        }
        let client = origin.client.as_ref();
        if client.is_none() {
            let action = if desired.is_set() { "set" } else { "removed" };
            info!(host = %key.name, rtype = %key.rtype, action, "a record changed as a command asked");
        }
        // What is known of a host is its addresses.
        if !key.rtype.is_of_addresses() {
            return;
        }
        Pointers(self).follow(key, &desired, origin).await;
        self.registry.saw(Sighting {
            name: key.name.clone(),
            outcome: Outcome::Changed,
            source: client.map(|client| client.source),
            agent: client.and_then(|client| client.agent.clone()),
            held: DesiredRecords::from_iter([(key.rtype, desired)]),
            asked: origin.accepted,
        });
    }

    fn dropped(&self, key: &RrKey, reason: &str) {
        warn!(host = %key.name, rtype = %key.rtype, reason, "a pending change is dropped");
        if let Some(zone) = self.registry.zone_of(&key.name) {
            self.backlog.ended(zone, |episode| episode.dropped += 1);
        }
    }

    /// The store forgets what is over; while it is away, that stays in `over`.
    async fn end_in_store(&self, over: &mut Vec<(RrKey, Timestamp)>) {
        let ended = match self.registry.pending() {
            Some(pending) => pending.end(over).await,
            None => Ok(()),
        };
        if ended.is_ok() {
            over.clear();
        }
    }

    /// The TTL with which a change may still be made, in seconds.
    /// Below a wildcard it counts what zones' servers were at `since` or later, if that is known by `until`.
    async fn may_still(
        &self,
        key: &RrKey,
        desired: &Desired,
        origin: &Origin,
        (since, until): (Instant, Instant),
    ) -> Result<u32, Unmade> {
        if origin.client.is_none() {
            return Ok(desired.ttl());
        }
        let news = self.registry.news();
        // A PTR record is its host's, whose name it holds.
        let name = match desired {
            Desired::Without(RrData::Ptr(host)) => {
                Pointers(self).may_go(key, host, until).await?;
                return Ok(0);
            }
            // What only takes away what was its own needs no right any longer.
            Desired::Without(_) => return Ok(0),
            Desired::Set { data: RrData::Ptr(host), .. } => host.clone(),
            Desired::Set { .. } | Desired::Absent => key.name.clone(),
        };
        let host = self.registry.host(&name).await?;
        let account = self.registry.account(&origin.account).await?;
        let account = account.ok_or(Unmade::Dropped("its account is gone".into()))?;
        let records = DesiredRecords::from_iter([(key.rtype, desired.clone())]);
        let asked = Asked::of_records(&records);
        let authorised = match self.authorise(&account, &name, host.as_deref(), news, &asked).await {
            Ok(authorised) => Ok(authorised),
            // The right to it may be that to the host which it follows, or whose wildcard it is.
            Err(Refusal { verdict, .. }) if verdict.outcome == Outcome::NotYourHost => {
                let followed = self.may_follow(&account, &name, host.as_deref(), news, &records).await?;
                followed.map_err(|_| verdict)
            }
            Err(Refusal { verdict, .. }) => Err(verdict),
        };
        let Authorised { ttl, grant, .. } = authorised.map_err(|verdict| Unmade::Dropped(verdict.reason))?;
        let extras = host.as_deref().and_then(Host::extras);
        let ttl = match desired.data() {
            Some(mail @ RrData::Mx(_)) if !extras.is_some_and(|extras| may_have_mail(&name, extras, mail)) => {
                return Err(Unmade::Dropped("its mx is not granted any longer".into()));
            }
            Some(RrData::Ptr(_)) if !extras.is_some_and(|extras| extras.ptr) => {
                return Err(Unmade::Dropped("its ptr is not granted any longer".into()));
            }
            Some(RrData::Ptr(_)) => {
                Pointers(self).may_stand(key, desired, &name, until).await?;
                desired.ttl()
            }
            _ => ttl,
        };
        match grant {
            Grant::Exact => Ok(ttl),
            Grant::Wildcard => match self.is_no_target(&name, since, until).await {
                Ok(()) => Ok(ttl),
                // Nobody can tell now.
                Err(verdict) if verdict.retry_after.is_some() => Err(Unmade::Waits(Trouble::Timeout)),
                Err(verdict) => Err(Unmade::Dropped(verdict.reason)),
            },
        }
    }

    // ---- A zone's queue.

    /// Keeps what nobody waits for, and releases what may be made now, as zones' servers are known within `known`; without it
    /// nothing is released.
    async fn look_after_zone(&self, zone: &engine::Zone, known: Option<(Instant, Instant)>) {
        let (mut after, mut released) = (None, 0);
        while released < MOST_RELEASED {
            let page = zone.parked(after.take(), PAGE).await;
            let Some(last) = page.last() else { return };
            after = Some(last.key.name.clone());
            let known = known.filter(|_| !self.registry.is_shared() && zone.is_reached());
            let (ready, others): (Vec<_>, Vec<_>) =
                page.into_iter().partition(|parked| known.is_some() && parked.is_ready);
            released += ready.len();
            let mut verdicts = self.keep_parked(zone, others).await;
            if let Some(known) = known {
                verdicts.extend(self.judge(ready, known).await);
            }
            if !verdicts.is_empty() {
                zone.settle(verdicts).await;
            }
        }
    }

    /// The store, if there is one, gets what it has not got yet.
    async fn keep_parked(&self, zone: &engine::Zone, parked: Vec<Parked>) -> Vec<(Parked, Verdict)> {
        let Some(pending) = self.registry.pending() else { return Vec::new() };
        // A shared store alone has it from now on, unless it is in flight.
        let leaves = |parked: &Parked| pending.is_shared() && !parked.is_in_flight;
        let unkept: Vec<_> = parked.into_iter().filter(|parked| parked.row.is_none() || leaves(parked)).collect();
        let Ok(kept) = pending.keep(&unkept.iter().map(to_keep).collect::<Vec<_>>()).await else { return Vec::new() };
        let decided = |parked: Parked| {
            let verdict = match kept.get(&parked.key) {
                Some(stamp) if !leaves(&parked) => Verdict::Kept(*stamp),
                Some(_) => {
                    self.backlog.moved(zone.name());
                    Verdict::Forget
                }
                // The store has a newer one.
                None => Verdict::Forget,
            };
            (parked, verdict)
        };
        unkept.into_iter().map(decided).collect()
    }

    /// Which of `ready` may be made now.
    async fn judge(&self, ready: Vec<Parked>, known: (Instant, Instant)) -> Vec<(Parked, Verdict)> {
        let Ok(taken_back) = self.taken_back(&ready).await else { return Vec::new() };
        let (mut verdicts, mut over) = (Vec::new(), Vec::new());
        for parked in ready {
            if taken_back.contains(&parked.key) {
                verdicts.push((parked, Verdict::Forget));
                continue;
            }
            let verdict = match self.may_still(&parked.key, &parked.desired, &parked.origin, known).await {
                Ok(ttl) => {
                    Pointers(self).leave(&parked.key, &parked.desired, &parked.origin).await;
                    Verdict::Release { ttl }
                }
                Err(Unmade::Waits(_) | Unmade::Overtaken) => continue,
                Err(Unmade::Dropped(reason)) => {
                    self.dropped(&parked.key, &reason);
                    over.extend(parked.row.map(|row| (parked.key.clone(), row)));
                    Verdict::Forget
                }
            };
            verdicts.push((parked, verdict));
        }
        self.end_in_store(&mut over).await;
        verdicts
    }

    /// Which of those that commands wanted they want no longer.
    async fn taken_back(&self, ready: &[Parked]) -> Result<HashSet<RrKey>, Unavailable> {
        // Without a row, it is what a command's change brought about.
        let of_commands = ready.iter().filter(|parked| parked.origin.client.is_none() && parked.row.is_some());
        let of_commands: Vec<_> = of_commands.map(|parked| (parked.key.clone(), parked.row)).collect();
        match self.registry.pending() {
            Some(pending) if !of_commands.is_empty() => pending.gone(&of_commands).await,
            Some(_) | None => Ok(HashSet::new()),
        }
    }

    // ---- The store.

    /// Looks for what is new there, where it `has_news`, or had more than could be made; whether it has more.
    async fn look_into_store(self: &Arc<Self>, has_news: bool, has_more: bool) -> Result<bool, Unavailable> {
        match self.registry.pending() {
            Some(pending) if pending.is_shared() && (has_news || has_more) => self.make_all(pending).await,
            Some(pending) if !pending.is_shared() && has_news => {
                self.take_in(pending, pending.new_of_commands().await?).await;
                Ok(false)
            }
            Some(_) | None => Ok(false),
        }
    }

    /// The zones' queues take over what a store of our own has; how many each of them.
    async fn take_in(&self, pending: &PendingChanges, all: Vec<PendingChange>) -> HashMap<ZoneName, usize> {
        let (mut taken, mut over) = (HashMap::new(), Vec::new());
        for change in all {
            let (key, stamp) = (change.key.clone(), change.stamp);
            let Some(zone) = self.zone_of(&key.name) else {
                if change.source.is_some() {
                    self.dropped(&key, "no zone of ours holds the name");
                    over.push((key, stamp));
                } else {
                    warn!(host = %key.name, rtype = %key.rtype, "a record shall change, and no zone of ours holds the name: it waits until one does");
                }
                continue;
            };
            let change = to_make(change);
            // More than the queue takes at once: it is patient.
            while zone.park(change.clone(), Some(stamp)).is_err() {
                sleep(FULL).await;
            }
            pending.know(key, stamp);
            *taken.entry(zone.name().clone()).or_default() += 1;
        }
        self.end_in_store(&mut over).await;
        taken
    }

    /// Makes what a shared store has of zones that can be reached, a page at a time; the first trouble of a zone ends its part.
    /// Whether some are too young yet, or another gateway works on them.
    async fn make_all(self: &Arc<Self>, pending: &PendingChanges) -> Result<bool, Unavailable> {
        // What was answered while the store was away is told first, by all gateways.
        if self.registry.returned() + SETTLED > Instant::now() {
            pending.page(None, 1).await?;
            return Ok(true);
        }
        self.registry.flush().await;
        let (mut left, mut troubled) = (HashMap::new(), HashSet::new());
        let (mut after, mut is_left) = (None, false);
        loop {
            let page = pending.page(after.as_ref(), AT_ONCE).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.key.clone());
            is_left |= self.make_page(pending, page, &mut left, &mut troubled).await?;
        }
        self.backlog.found(left);
        Ok(is_left)
    }

    async fn make_page(
        self: &Arc<Self>,
        pending: &PendingChanges,
        page: Vec<PendingChange>,
        left: &mut HashMap<ZoneName, usize>,
        troubled: &mut HashSet<ZoneName>,
    ) -> Result<bool, Unavailable> {
        let (mut over, mut waiting, mut due) = (Vec::new(), Vec::new(), Vec::new());
        for PendingChange { key, stamp, expires, .. } in page {
            if expires.is_some_and(|expires| expires <= Timestamp::now()) {
                self.dropped(&key, "it is too old");
                over.push((key, stamp));
            } else if let Some(zone) = self.zone_of(&key.name) {
                *left.entry(zone.name().clone()).or_default() += 1;
                if zone.is_reached() && !troubled.contains(zone.name()) {
                    due.push(key);
                }
            }
            // Else another gateway may have the zone; it stays until it expires.
        }
        let leased = pending.lease(&due, SETTLED, self.deadline * 2 + Duration::from_secs(10)).await?;
        let mut is_left = leased.len() < due.len();
        let make = |change: PendingChange| {
            let gateway = Arc::clone(self);
            async move { (gateway.make(&change).await, change) }
        };
        let mut under_way: JoinSet<_> = leased.into_iter().map(make).collect();
        while let Some(ended) = under_way.join_next().await {
            let Ok((made, change)) = ended else { continue };
            let (key, stamp, desired) = (change.key.clone(), change.stamp, change.desired.clone());
            match made {
                Ok(()) => self.done(&key, desired, &to_make(change).origin).await,
                Err(Unmade::Dropped(reason)) => self.dropped(&key, &reason),
                Err(Unmade::Overtaken) => {
                    debug!(%key, "the record changed before a pending change could be made");
                    is_left = true;
                    waiting.push(key);
                    continue;
                }
                Err(Unmade::Waits(trouble)) => {
                    debug!(%key, ?trouble, "a pending change waits");
                    troubled.extend(self.registry.zone_of(&key.name).cloned());
                    waiting.push(key);
                    continue;
                }
            }
            if let Some(left) = self.registry.zone_of(&key.name).and_then(|zone| left.get_mut(zone)) {
                *left -= 1;
            }
            over.push((key, stamp));
        }
        pending.end(&over).await?;
        // The leases of those as well of which a newer one took the place meanwhile.
        waiting.extend(over.into_iter().map(|(key, _)| key));
        pending.release(&waiting).await?;
        Ok(is_left)
    }

    /// Makes a leased change, unless something newer stands.
    async fn make(&self, change: &PendingChange) -> Result<(), Unmade> {
        let PendingChange { key, desired, accepted, .. } = change;
        let (Some(pending), Some(zone)) = (self.registry.pending(), self.zone_of(&key.name)) else {
            return Err(Unmade::Waits(Trouble::Timeout));
        };
        let deadline = Instant::now() + self.deadline;
        let known = (self.lately(), deadline);
        let ttl = self.may_still(key, desired, &to_make(change.clone()).origin, known).await?;
        // A command's removal is for good: its host is gone.
        let is_for_good = change.source.is_none() && !desired.is_set();
        if !is_for_good && pending.answered_since(key, *accepted).await?.is_some() {
            return Err(Unmade::Dropped("a later request was answered".into()));
        }
        let desired = match desired {
            Desired::Set { data, .. } => Desired::Set { data: data.clone(), ttl },
            Desired::Absent | Desired::Without(_) => desired.clone(),
        };
        let held = zone.read(key, deadline).await?;
        Pointers(self).leave(key, &desired, &to_make(change.clone()).origin).await;
        if let (Desired::Without(RrData::Ptr(host)), Some(_)) = (&desired, change.source) {
            // It may have come back before that was read; whoever sets the record from now on makes the swap fail.
            Pointers(self).may_go(key, host, deadline).await?;
        }
        let is_held = match &desired {
            Desired::Absent => held.is_empty(),
            Desired::Without(_) => held.iter().all(|held| desired.is_met_by(held)),
            Desired::Set { .. } => held.as_slice() == std::slice::from_ref(&desired),
        };
        if is_held {
            return Ok(());
        }
        let expected: Vec<_> = held.iter().filter_map(|held| held.data().cloned()).collect();
        // What was read may be a wildcard's (RFC 4592): then the name itself holds nothing.
        let maybe_a_wildcards = (!expected.is_empty()).then(Vec::new);
        for expected in std::iter::once(expected).chain(maybe_a_wildcards) {
            if zone.compare_and_swap(key.clone(), expected, desired.clone(), deadline).await? {
                return Ok(());
            }
        }
        Err(Unmade::Overtaken)
    }
}

/// A parked change as it is kept, with what is left of its time by the wall clock.
fn to_keep(Parked { key, desired, origin, .. }: &Parked) -> PendingChange {
    let expires = match origin.keep {
        Keep::Until(end) => Some(Timestamp::now().plus(end.saturating_duration_since(Instant::now()))),
        Keep::WithCaller => Some(Timestamp::now()),
        Keep::Always => None,
    };
    let client = origin.client.as_ref();
    PendingChange {
        key: key.clone(),
        desired: desired.clone(),
        account: origin.account.to_string(),
        source: client.map(|client| client.source),
        agent: client.and_then(|client| client.agent.as_deref().map(str::to_owned)),
        accepted: origin.accepted,
        stamp: origin.accepted,
        expires,
    }
}

/// What was kept, as the engine takes it.
fn to_make(PendingChange { key, desired, account, source, agent, accepted, expires, .. }: PendingChange) -> Change {
    let left = |expires: Timestamp| expires.0.saturating_sub(Timestamp::now().0).max(0).unsigned_abs();
    let keep = match expires {
        Some(expires) => Keep::Until(Instant::now() + Duration::from_millis(left(expires))),
        None => Keep::Always,
    };
    let client = source.map(|source| Client { source, agent: agent.map(Into::into) });
    let origin = Arc::new(Origin { account: account.into(), client, accepted, keep });
    Change { name: key.name, records: DesiredRecords::from_iter([(key.rtype, desired)]), origin }
}
