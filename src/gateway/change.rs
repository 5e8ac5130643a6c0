//! The last step of a request: compare, submit, record.

use std::sync::Arc;

use tokio::time::Instant;

use super::authorise::Authorised;
use super::{Caller, Gateway, HostVerdict, by};
use crate::engine::{self, Change, Client, Compared, Keep, Origin, Trouble};
use crate::model::{Addresses, DesiredRecords, Hostname, Outcome, Timestamp};
use crate::registry::{Cleared, Grant, Unavailable};

impl Gateway {
    /// Sets `addresses` at `name`, as was authorised.
    pub(super) async fn set(
        &self,
        caller: &Caller,
        name: &Hostname,
        addresses: Addresses,
        Authorised { zone, grant, ttl }: Authorised<'_>,
        deadline: Instant,
    ) -> HostVerdict {
        let client = Client { source: caller.source, agent: caller.agent.clone() };
        let origin = Arc::new(Origin {
            account: Arc::clone(&caller.account.login),
            client: Some(client),
            accepted: Timestamp::now(),
            keep: self.defer.map_or(Keep::WithCaller, |worth| Keep::Until(deadline + worth)),
        });
        let change = Change { name: name.clone(), records: DesiredRecords::set(addresses, ttl), origin };
        match grant {
            Grant::Exact => self.change(caller, zone, change, deadline).await,
            Grant::Wildcard => self.change_below_wildcard(caller, zone, change, deadline).await,
        }
    }

    async fn change_below_wildcard(
        &self,
        caller: &Caller,
        zone: &engine::Zone,
        change: Change,
        deadline: Instant,
    ) -> HostVerdict {
        let account = &caller.account;
        let name = change.name.clone();
        // One that is reserved when nobody waits any longer goes on counting, as after any 911.
        let reservation = match by(deadline, self.registry.reserve(account, &name)).await {
            Ok(Some(reservation)) => reservation,
            Ok(None) => return HostVerdict::new(Outcome::NotYourHost, "the account's max_hosts is reached"),
            Err(away) => return away.into(),
        };
        let verdict = self.change(caller, zone, change, deadline).await;
        if verdict.outcome == Outcome::Unreachable {
            self.saw(caller, &name, verdict.outcome, DesiredRecords::default(), Timestamp::now());
        }
        // After a timeout the name may yet come into being, so it goes on counting.
        if matches!(verdict.outcome, Outcome::NotYourHost | Outcome::TooFast | Outcome::Refused) {
            reservation.release();
        }
        verdict
    }

    async fn change(&self, caller: &Caller, zone: &engine::Zone, change: Change, deadline: Instant) -> HostVerdict {
        let (name, records) = (change.name.clone(), change.records.clone());
        let accepted = change.origin.accepted;
        let compared = zone.compare(&change);
        // What is asked for is what the host was told and what the primary last said: past the rate not even a question.
        if compared != Compared::Differs && self.limits.may_repeat(&name, records.addresses()).is_err() {
            return HostVerdict::new(Outcome::Blocked, "repeats limit");
        }
        let verdict = match self.compare_and_change(zone, change, compared, deadline).await {
            Ok(verdict) => verdict,
            Err(away) => return away.into(),
        };
        if matches!(verdict.outcome, Outcome::Changed | Outcome::Unchanged) {
            self.saw(caller, &name, verdict.outcome, records, accepted);
        }
        verdict
    }

    async fn compare_and_change(
        &self,
        zone: &engine::Zone,
        change: Change,
        compared: Compared,
        deadline: Instant,
    ) -> Result<HostVerdict, Unavailable> {
        let is_shared = self.registry.is_shared();
        if compared == Compared::Same && !is_shared {
            return Ok(HostVerdict::new(Outcome::Unchanged, "verified lately"));
        }
        // Another gateway may be doing what was asked for before, and must not be done after us. Rows that a store keeps which is
        // away are worked on only once all gateways have told it what they answered meanwhile.
        if is_shared
            && self.registry.trouble().is_none()
            && self.clear_pending(&change, deadline).await == Cleared::Leased
        {
            // It is the newest all the same: what is pending here of an older request gives way to it.
            let _no_more_room = zone.park(change, None);
            return Ok(HostVerdict::of(Err(Trouble::Timeout)));
        }
        // Where another gateway may have changed it since it was verified, a repeat asks, and meets no limit for that.
        if compared == Compared::Same && zone.holds(&change, deadline).await {
            return Ok(HostVerdict::verified_now());
        }
        if let Err(wait) = self.limits.host(&change.name) {
            return Ok(HostVerdict::too_fast(wait, "host limit"));
        }
        if compared == Compared::Unknown && zone.holds(&change, deadline).await {
            return Ok(HostVerdict::verified_now());
        }
        let submitted = match zone.submit(change.clone(), deadline) {
            Ok(submitted) => submitted,
            Err(trouble) => return Ok(HostVerdict::of(Err(trouble))),
        };
        let (answer, unanswered) = submitted.answer_or_none().await;
        if let Some(unanswered) = unanswered {
            if let Some(pending) = self.registry.pending().filter(|_| is_shared) {
                self.late.watch(pending, zone, change, unanswered, self.deadline);
            }
        } else if answer.is_ok() && !is_shared && self.clear_pending(&change, deadline).await != Cleared::Yes {
            // A row of an older request would bring that back at the next start.
            return Err(Unavailable);
        }
        Ok(HostVerdict::of(answer))
    }
    /// What is pending in the store of older requests for the same RRsets goes.
    async fn clear_pending(&self, Change { name, records, origin }: &Change, deadline: Instant) -> Cleared {
        match self.registry.pending() {
            Some(pending) => pending.clear(name, records, origin.accepted, deadline).await,
            None => Cleared::Yes,
        }
    }
}
