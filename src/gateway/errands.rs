//! Changes that nobody waits for: what commands want, and what requests asked for while the primary was away. They are kept
//! until the primary has acknowledged them.

use std::collections::HashSet;
use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::{debug, info, warn};

use super::Gateway;
use crate::engine::{self, Compared, Trouble, Wish};
use crate::model::{Family, Hostname, Records, Timestamp, ZoneName};
use crate::registry::Grant;
use crate::store::{Deferral, InHand, Store, StoreError, Unwanted, Wanted};

/// Errands under way at once: less than the engine's queue by far, so that requests find room.
const AT_ONCE: usize = 500;
/// Between two tries of what could not be done.
const AGAIN: Duration = Duration::from_secs(10);

/// What became of an errand.
enum End {
    Done,
    // Nobody may want it any longer, or one family of it alone, and why.
    Dropped(Option<Family>, String),
    Kept(Trouble),
    // Something newer is under way, or came.
    Passed,
}

impl Gateway {
    /// Takes in what the store keeps of earlier runs; to be called before the first request.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn prepare(&self) -> Result<(), StoreError> {
        self.deferred.load(&self.registry).await
    }

    /// Runs errands for ever, each round in the gateway `in_force`: at the start, when `wake` says that there are new ones,
    /// when a primary is back, and again what failed.
    pub async fn run_errands(in_force: impl Fn() -> Arc<Self> + Clone + Send + 'static, wake: Arc<Notify>) {
        // The writer holds no gateway while it waits, or zones that a reload removed would never end.
        let writer = in_force().deferred.clone();
        let by_writer = in_force.clone();
        tokio::spawn(async move { writer.write(by_writer).await });
        let mut again = interval(AGAIN);
        again.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = wake.notified() => {}
                _ = again.tick() => {}
            }
            let gateway = in_force();
            // Before the look: a zone that is new and reached during it is looked at again.
            gateway.zones.values().for_each(|zone| zone.on_return(Arc::clone(&wake)));
            gateway.all_errands().await;
            gateway.deferred.tell();
        }
    }

    fn zone_of(&self, name: &Hostname) -> Option<&engine::Zone> {
        self.registry.zone_of(name).and_then(|zone| self.zones.get(zone))
    }

    async fn all_errands(self: &Arc<Self>) {
        // What is run is what the store has.
        self.deferred.flush().await;
        match self.registry.drop_settled().await {
            Ok(settled) => {
                for host in settled {
                    info!(%host, "what was deferred, or asked by a command, is dropped where a later request was answered");
                }
            }
            // The store's trouble, which /readyz tells.
            Err(error) => return debug!(%error, "deferred changes wait for the store"),
        }
        let era = self.registry.returns();
        let mut after: Option<Hostname> = None;
        let mut troubled = HashSet::new();
        self.deferred.wishes().begin_scan();
        loop {
            let page = match self.registry.store() {
                Some(store) => {
                    let Ok(page) = store.wanted(after.as_ref(), AT_ONCE).await else { return };
                    self.deferred.found(page.clone(), &self.registry);
                    page
                }
                None => self.deferred.wishes().page(after.as_ref(), AT_ONCE).into_iter().map(Deferral::from).collect(),
            };
            let is_last = page.len() < AT_ONCE;
            after = page.last().map(|deferral| deferral.wish.name.clone());
            if self.page(page, &mut troubled, era).await.is_err() || self.registry.returns() != era {
                return;
            }
            if is_last {
                break;
            }
        }
        if self.registry.store().is_some() {
            self.deferred.wishes().end_scan();
        }
    }

    /// Runs a page of errands, but those of zones that cannot be reached, or had trouble in this run.
    /// Where the store was away since `era`, what it has may be older than what was answered meanwhile: nothing is run.
    async fn page(
        self: &Arc<Self>,
        page: Vec<Deferral>,
        troubled: &mut HashSet<ZoneName>,
        era: u64,
    ) -> Result<(), StoreError> {
        let mut ends: Vec<(Wanted, End)> = Vec::new();
        let mut some = Vec::new();
        for deferral in page {
            let wanted = &deferral.wish;
            if wanted.expires.is_some_and(|expires| expires <= Timestamp::now()) {
                ends.push((deferral.wish, End::Dropped(None, "it is too old".to_owned())));
                continue;
            }
            match self.zone_of(&wanted.name) {
                Some(zone) if zone.is_reached() && !troubled.contains(zone.name()) => some.push(deferral),
                Some(_) => {}
                None if wanted.source.is_some() => {
                    // Where several gateways share the store, another one may have the zone; else it lasts until it expires.
                    if !self.registry.store().is_some_and(Store::is_shared) {
                        ends.push((deferral.wish, End::Dropped(None, "no zone of ours holds the name".to_owned())));
                    }
                }
                None => {
                    warn!(host = %wanted.name, "records shall change, and no zone of ours holds the name: it waits until one does");
                }
            }
        }
        some.retain(|Deferral { wish, .. }| self.deferred.wishes().ready(&wish.name, wish.since).is_some());
        let names: Vec<_> = some.iter().map(|deferral| deferral.wish.name.clone()).collect();
        if let Some(InHand { wishes, taken }) = self.registry.claim_wishes(&names).await? {
            for name in taken {
                if let Some(zone) = self.zone_of(&name) {
                    zone.forget(&name);
                }
            }
            if self.registry.returns() != era {
                return Ok(());
            }
            // Another gateway has the others in hand, or they are gone; and these may be newer than the page.
            self.deferred.found(wishes.clone(), &self.registry);
            some = wishes;
        }
        let mut under_way = JoinSet::new();
        for Deferral { wish, asked } in some {
            let gateway = Arc::clone(self);
            under_way.spawn(async move {
                let end = gateway.errand(&wish, asked.map(|asked| asked.at)).await;
                (wish, end)
            });
        }
        while let Some(ended) = under_way.join_next().await {
            ends.extend(ended.ok());
        }
        self.ended(ends, troubled).await
    }

    /// Lets other gateways have the wishes for these names, but where a request is under way here: it counts on them being
    /// in our hand, and lets go itself.
    async fn release_idle(&self, mut names: Vec<Hostname>) {
        let before = self.registry.claims_end();
        names.retain(|name| self.deferred.wishes().is_idle(name, 0));
        if !names.is_empty() {
            self.registry.release(&names, before).await;
        }
    }

    /// Does it; each family was asked for at `asked`.
    async fn errand(&self, wanted: &Wanted, asked: [Timestamp; 2]) -> End {
        let Some(zone) = self.zone_of(&wanted.name) else { return End::Passed };
        let ttl = match &wanted.source {
            Some(_) => match self.may_still(wanted, zone.name()).await {
                Ok(Some(ttl)) => ttl,
                Ok(None) => return End::Passed,
                Err(end) => return end,
            },
            None => wanted.ttl,
        };
        zone.enter(self.registry.returns());
        let submitted = {
            let mut wishes = self.deferred.wishes();
            // From here on a newer request stands behind this change in the engine.
            let Some(wanted) = wishes.ready(&wanted.name, wanted.since) else { return End::Passed };
            let records = Records { v4: wanted.v4, v6: wanted.v6 };
            let wish = Wish { name: wanted.name, records, ttl, account: wanted.account.into() };
            if zone.compare(&wish) == Compared::Same {
                // The answer came late.
                return End::Done;
            }
            wishes.runs(&wish.name, true);
            (zone.submit_errand(wish.clone(), Instant::now() + self.deadline), wish)
        };
        debug!(host = %wanted.name, v4 = ?wanted.v4, v6 = ?wanted.v6, since = wanted.since.0, "handed to the engine");
        let answer = match submitted {
            (Ok(submitted), wish) => {
                let (answer, unanswered) = submitted.answer_or_none().await;
                if let Some(unanswered) = unanswered {
                    self.watch(zone, wish, asked, unanswered);
                }
                answer
            }
            (Err(trouble), _) => Err(trouble),
        };
        match answer {
            Ok(_) => End::Done,
            Err(Trouble::Hidden(_)) if wanted.source.is_some() => End::Dropped(
                None,
                "the name stands at a CNAME or delegation, or below a delegation or DNAME".to_owned(),
            ),
            Err(trouble) => End::Kept(trouble),
        }
    }

    /// Whether the request would pass today: the TTL of its records. `None` where nobody can tell now.
    async fn may_still(&self, wanted: &Wanted, zone: &ZoneName) -> Result<Option<u32>, End> {
        let Ok(host) = self.registry.host(&wanted.name).await else { return Ok(None) };
        let Ok(account) = self.registry.account(&wanted.account).await else { return Ok(None) };
        let dropped = |why: &dyn Display| End::Dropped(None, why.to_string());
        let account = account.filter(|account| account.enabled).ok_or(dropped(&"its account is gone or disabled"))?;
        let grant = self.registry.grant(&account, &wanted.name, host.as_deref()).map_err(|denied| dropped(&denied))?;
        if grant == Grant::Wildcard && self.zones.values().any(|zone| zone.is_known_target(&wanted.name)) {
            return Err(dropped(&"a zone's SOA or NS records name it"));
        }
        if let Some(reason) = host.as_ref().and_then(|host| host.blocked.as_ref()) {
            return Err(dropped(&format_args!("blocked: {reason}")));
        }
        let addresses = Records { v4: wanted.v4, v6: wanted.v6 }.addresses();
        if let Some(refused) = self.registry.refused(zone, addresses) {
            return Err(End::Dropped(Some(Family::of(refused)), format!("{refused} is refused here")));
        }
        let allows = |address| host.as_ref().is_none_or(|host| host.families.allow(Family::of(address)));
        if let Some(foreign) = addresses.iter().find(|address| !allows(*address)) {
            let why = format!("{foreign} is not of a family that the host may have");
            return Err(End::Dropped(Some(Family::of(foreign)), why));
        }
        let ttl = host.as_ref().and_then(|host| host.ttl);
        Ok(Some(ttl.unwrap_or_else(|| self.registry.ttl(zone))))
    }

    /// Tells the store and the log.
    async fn ended(&self, ends: Vec<(Wanted, End)>, troubled: &mut HashSet<ZoneName>) -> Result<(), StoreError> {
        let (mut done, mut dropped, mut kept) = (Vec::new(), Vec::new(), Vec::new());
        let mut is_left = false;
        for (wanted, end) in ends {
            let Wanted { name, since, source, v4, v6, .. } = wanted;
            self.deferred.wishes().runs(&name, false);
            // Of a zone that is gone: where it was deferred.
            let zone = self.registry.zone_of(&name).cloned().or_else(|| self.deferred.wishes().zone(&name));
            match end {
                End::Done => {
                    if let (Some(zone), true) = (zone, source.is_some()) {
                        self.deferred.count(&zone, 1, 0);
                    } else {
                        let action = if (Records { v4, v6 }) == Records::REMOVED { "removed" } else { "set" };
                        info!(host = %name, action, "records changed as a command asked");
                    }
                    done.push((name, since));
                }
                End::Dropped(family, why) => {
                    warn!(host = %name, reason = why, "a deferred change is dropped");
                    let is_meant = |of| family.is_none_or(|family| family == of);
                    let unwanted =
                        Unwanted { v4: is_meant(Family::V4), v6: is_meant(Family::V6), ..Unwanted::all(name, since) };
                    if v4.is_made() && !unwanted.v4 || v6.is_made() && !unwanted.v6 {
                        kept.push(unwanted.name.clone());
                        is_left = true;
                    } else if let (Some(zone), true) = (zone, source.is_some()) {
                        self.deferred.count(&zone, 0, 1);
                    }
                    dropped.push(unwanted);
                }
                End::Kept(trouble) => {
                    if source.is_none() {
                        warn!(host = %name, ?trouble, "records could not be changed as a command asked; tried again");
                    }
                    if let (Some(zone), true) = (zone, trouble.passes()) {
                        troubled.insert(zone);
                    }
                    kept.push(name);
                }
                End::Passed => kept.push(name),
            }
        }
        if let Some(store) = self.registry.store() {
            if !done.is_empty() {
                let fulfilled = store.fulfilled_all(&done).await?;
                if fulfilled < done.len() {
                    // What another gateway was told meanwhile stands there now.
                    kept.extend(done.iter().map(|(name, _)| name.clone()));
                }
            }
            if !dropped.is_empty() {
                store.unwant(&dropped).await?;
            }
            self.release_idle(kept).await;
        }
        let mut wishes = self.deferred.wishes();
        done.iter().for_each(|(name, since)| wishes.done(name, *since));
        dropped.iter().for_each(|unwanted| wishes.dropped(unwanted));
        drop(wishes);
        if is_left {
            self.deferred.look_again();
        }
        self.deferred.tell();
        Ok(())
    }
}
