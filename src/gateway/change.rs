//! The last step of a request: compare, submit, remember; and keep what the primary could not be told.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use super::deferred::Ticket;
use super::{Caller, Gateway, HostVerdict, by};
use crate::engine::{self, Compared, Trouble, Wish};
use crate::model::{Families, Hostname, Outcome, Timestamp};
use crate::registry::{Claim, Unavailable};
use crate::store::{Born, Wanted};

/// Between two looks whether another gateway is done with a name.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

impl Gateway {
    pub(super) async fn change_below_wildcard(
        &self,
        caller: &Caller,
        zone: &engine::Zone,
        wish: Wish,
        deadline: Instant,
    ) -> HostVerdict {
        let account = &caller.account;
        if self.zones.values().any(|other| other.is_known_target(&wish.name)) {
            return HostVerdict::new(Outcome::NotYourHost, "a zone's SOA or NS records name it");
        }
        match zone.is_target(&wish.name, deadline).await {
            Ok(false) => {}
            Ok(true) => return HostVerdict::new(Outcome::NotYourHost, "the zone's SOA or NS records name it"),
            Err(trouble) => return HostVerdict::of(Err(trouble)),
        }
        let name = wish.name.clone();
        // One that is counted while nobody waits any longer goes on counting, as after any 911.
        let is_new = match by(deadline, self.registry.bear(account, &name)).await {
            Ok(Born::New) => true,
            Ok(Born::Known) => false,
            Ok(Born::TooMany) => return HostVerdict::new(Outcome::NotYourHost, "the account's max_hosts is reached"),
            Err(away) => return away.into(),
        };
        let verdict = self.change(caller, zone, wish, deadline).await;
        if verdict.outcome == Outcome::Unreachable {
            self.saw(caller, &name, verdict.outcome, None, Timestamp::now());
        }
        // After a timeout the name may yet come into being, so it goes on counting.
        let came_to_nothing = matches!(verdict.outcome, Outcome::NotYourHost | Outcome::TooFast | Outcome::Refused);
        if is_new && came_to_nothing {
            let _counts_on = timeout_at(deadline, self.registry.unbear(&account.login, &name)).await;
        }
        verdict
    }

    /// Compares, changes, and keeps what the primary could not be told.
    pub(super) async fn change(
        &self,
        caller: &Caller,
        zone: &engine::Zone,
        wish: Wish,
        deadline: Instant,
    ) -> HostVerdict {
        let asked = Timestamp::now();
        zone.enter(self.registry.returns());
        let held = Some(wish.records.addresses());
        let is_known = self.deferred.knows(&wish.name);
        let compared = zone.compare(&wish);
        // What is asked for is what the host was told and what the primary last said: past the rate not even a question.
        if compared != Compared::Differs && self.limits.may_repeat(&wish.name, wish.records.addresses()).is_err() {
            return HostVerdict::new(Outcome::Blocked, "repeats limit");
        }
        if !is_known && compared == Compared::Same && self.may_go_by_memory(zone, &wish, deadline).await {
            self.saw(caller, &wish.name, Outcome::Unchanged, held, asked);
            return HostVerdict::new(Outcome::Unchanged, "verified lately");
        }
        let mut ticket = self.deferred.begin(&wish.name, asked);
        let mut claim = Claim::default();
        let answer = self.compare_and_change(zone, wish.clone(), asked, &mut claim, deadline).await;
        let standing = claim.wish;
        let is_known = is_known || standing.is_some();
        ticket.claimed(claim);
        let verdict = match answer {
            Ok(verdict) => verdict,
            Err(trouble) => {
                // Who is turned away under too much comes back; what was asked for before must not be what comes of it.
                if is_known || trouble != Trouble::Overloaded {
                    self.defer(&ticket, caller, zone, &wish);
                }
                return HostVerdict::of(Err(trouble));
            }
        };
        if matches!(verdict.outcome, Outcome::Changed | Outcome::Unchanged) {
            if !ticket.answered(wish.records, standing, deadline).await {
                // What was asked for before would come back.
                self.defer(&ticket, caller, zone, &wish);
                return Unavailable.into();
            }
            self.saw(caller, &wish.name, verdict.outcome, held, asked);
        }
        if is_known && matches!(verdict.outcome, Outcome::Unreachable | Outcome::Refused) {
            // An older wish may stand, and shall not be what comes of it.
            self.defer(&ticket, caller, zone, &wish);
        }
        let before = self.registry.claims_end();
        if ticket.lets_go(standing.is_some()) {
            let names = std::slice::from_ref(&wish.name);
            let _until_the_claim_ends = timeout_at(deadline, self.registry.release(names, before)).await;
        }
        verdict
    }

    async fn compare_and_change(
        &self,
        zone: &engine::Zone,
        wish: Wish,
        asked: Timestamp,
        claim: &mut Claim,
        deadline: Instant,
    ) -> Result<HostVerdict, Trouble> {
        let mut compared = zone.compare(&wish);
        if compared == Compared::Same {
            if self.may_go_by_memory(zone, &wish, deadline).await {
                return Ok(HostVerdict::new(Outcome::Unchanged, "verified lately"));
            }
            compared = Compared::Unknown;
        }
        if let Err(wait) = self.limits.host(&wish.name) {
            return Ok(HostVerdict::too_fast(wait, "host limit"));
        }
        let (name, families) = (wish.name.clone(), wish.records.families());
        // A name that cannot be claimed in time is not deferred: a wish that no store can be told to forget would stand in the
        // way of the router's next try, which finds the store known to be away.
        match self.claim(zone, &name, families, deadline).await {
            Ok(made) => *claim = made,
            Err(away) => return Ok(away.into()),
        }
        // Another gateway is doing what was deferred.
        while claim.wish.is_some_and(|wish| !wish.is_ours) {
            if Instant::now() + LOOK_AGAIN > deadline {
                return Err(Trouble::Timeout);
            }
            sleep(LOOK_AGAIN).await;
            let again = self.claim(zone, &name, families, deadline).await.map_err(|Unavailable| Trouble::Timeout)?;
            if !again.is_made {
                // Nobody says whether it is done.
                return Err(Trouble::Timeout);
            }
            *claim = again;
        }
        if compared == Compared::Unknown && zone.holds(&wish, deadline).await {
            return Ok(HostVerdict {
                rcode: Some("NOERROR".to_owned()),
                ..HostVerdict::new(Outcome::Unchanged, "verified now")
            });
        }
        let (answer, unanswered) = zone.submit(wish.clone(), deadline)?.answer_or_none().await;
        if let Some(unanswered) = unanswered {
            self.watch(zone, wish, [asked; 2], unanswered);
        }
        if answer.is_ok() {
            // Past the deadline it is deferred, and so claimed when it is looked at again.
            let again = self.claim(zone, &name, families, deadline).await.map_err(|Unavailable| Trouble::Timeout)?;
            // Another gateway is doing what was deferred there meanwhile, and may be done after us.
            if again.wish.is_some_and(|wish| !wish.is_ours) {
                return Err(Trouble::Timeout);
            }
        }
        match answer {
            Err(trouble) if trouble.passes() => Err(trouble),
            answer => Ok(HostVerdict::of(answer)),
        }
    }

    /// What is remembered is `wish`: whether that counts, and is not forgotten meanwhile.
    async fn may_go_by_memory(&self, zone: &engine::Zone, wish: &Wish, deadline: Instant) -> bool {
        let is_ours = timeout_at(deadline, self.registry.may_go_by_memory(&wish.name)).await.unwrap_or(false);
        zone.enter(self.registry.returns());
        is_ours && zone.compare(wish) == Compared::Same
    }

    /// Claims these families of `name`; not where the store leaves that open until the deadline, for it may yet be
    /// done. What was remembered before another gateway claimed it is forgotten: from now on the name is ours, and
    /// memory counts again.
    async fn claim(
        &self,
        zone: &engine::Zone,
        name: &Hostname,
        families: Families,
        deadline: Instant,
    ) -> Result<Claim, Unavailable> {
        let claim = by(deadline, async { Ok(self.registry.claim(name, families).await) }).await;
        if !claim.as_ref().is_ok_and(|claim| claim.was_ours) {
            zone.forget(name);
        }
        claim
    }

    fn defer(&self, ticket: &Ticket<'_>, caller: &Caller, zone: &engine::Zone, wish: &Wish) {
        let wanted = Wanted {
            name: wish.name.clone(),
            v4: wish.records.v4,
            v6: wish.records.v6,
            ttl: wish.ttl,
            since: Timestamp(0),
            expires: None,
            account: wish.account.to_string(),
            source: Some(caller.source),
            agent: caller.agent.as_deref().map(str::to_owned),
        };
        ticket.defer(wanted, zone.name());
    }
}
