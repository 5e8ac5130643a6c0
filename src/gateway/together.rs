//! Changes that one request makes at several names: each is compared and asked about by itself, all of a zone are handed over
//! together, and what became of them is one answer. Knows neither prefixes nor settings.

use std::future::{Future, poll_fn};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::task::Poll;

use tokio::time::Instant;
use tracing::warn;

use super::authorise::Authorised;
use super::granted::GrantedRecords;
use super::plan::{self, Companion, Follower, Stays};
use super::pointers::{Moved, Pointers};
use super::{Ask, Caller, Gateway, HostVerdict, by};
use crate::engine::{Change, Compared, Submitted, Trouble};
use crate::model::{Addresses, Desired, DesiredRecords, Hostname, Outcome, RrData, RrKey, RrType, Timestamp};
use crate::registry::{Grant, Host, HostMore, Unavailable};

/// A change of a request, and the right to make it.
#[derive(Debug)]
pub(super) struct Part<'g> {
    pub(super) authorised: Authorised<'g>,
    pub(super) change: Change,
    /// Whom it accompanies; `None` of the host that is named.
    pub(super) leader: Option<Hostname>,
    /// Whether PTR records are kept in step with it.
    pub(super) has_pointers: bool,
}

/// A request for one host that changes several names.
#[derive(Clone, Copy)]
pub(super) struct Together<'g> {
    pub(super) gateway: &'g Gateway,
    pub(super) caller: &'g Caller,
    /// The host that is named.
    pub(super) name: &'g Hostname,
    pub(super) ask: &'g Ask,
}

impl<'g> Together<'g> {
    /// Sets what is asked of the host, as was authorised, and what goes with it.
    pub(super) async fn set(&self, host: Option<&Host>, authorised: Authorised<'g>) -> HostVerdict {
        let Self { gateway, caller, name, ask } = *self;
        let nothing = HostMore::default();
        let more = host.and_then(|host| host.more.as_deref()).unwrap_or(&nothing);
        let held = match plan::needs_held(&ask.asked, &more.extras) {
            false => None,
            true => match self.held_v6(&authorised).await {
                Ok(held) => held,
                Err(trouble) => return HostVerdict::of(Err(trouble)),
            },
        };
        let own = match plan::own(&ask.asked, &more.extras, held) {
            Ok(own) => own,
            Err(overlaps) => return HostVerdict::new(Outcome::BadAddress, overlaps.to_string()),
        };
        if let Some(unfit) = gateway.unfit(authorised.zone, host, own) {
            return HostVerdict::new(Outcome::BadAddress, unfit);
        }
        let (companions, verdicts) = match self.companions(more, own, authorised.grant).await {
            Ok(companions) => companions,
            Err(away) => return away.into(),
        };
        let asked_beside = ask.asked.more.as_deref();
        let GrantedRecords { records, wildcard, ignored } =
            GrantedRecords::new(name, &more.extras, own, asked_beside, authorised.ttl);
        if records.is_empty() && companions.is_empty() {
            return match verdicts.into_iter().next() {
                Some(verdict) => verdict,
                None if plan::needs_held(&ask.asked, &more.extras) => {
                    HostVerdict::new(Outcome::BadAddress, "no address is held that the prefix could move")
                }
                None => HostVerdict::new(Outcome::BadAddress, "nothing here takes the prefix"),
            };
        }
        let origin = gateway.origin(caller, ask.deadline);
        let (grant, is_named) = (authorised.grant, !records.is_empty());
        let change = |name: Hostname, records| Change { name, records, origin: Arc::clone(&origin) };
        let mut parts = Vec::with_capacity(companions.len() + 1);
        let mut wildcards: Vec<_> = wildcard.into_iter().collect();
        if is_named {
            let has_pointers = more.extras.ptr;
            parts.push(Part { authorised, change: change(name.clone(), records), leader: None, has_pointers });
        }
        for (authorised, Companion { name: companion, records, has_wildcard, has_pointers, .. }) in companions {
            let Ok(records) = records else { continue };
            wildcards.extend(companion.wildcard().filter(|_| has_wildcard).map(|wildcard| (wildcard, records.clone())));
            let change = change(companion, records);
            parts.push(Part { authorised, change, leader: Some(name.clone()), has_pointers });
        }
        for (wildcard, records) in wildcards {
            match self.with_wildcard(&wildcard, &records).await {
                Ok(Ok(authorised)) => {
                    let (change, leader) = (change(wildcard, records), Some(name.clone()));
                    parts.push(Part { authorised, change, leader, has_pointers: false });
                }
                Ok(Err(verdict)) => self.stays(&wildcard, &verdict),
                Err(away) => return away.into(),
            }
        }
        let made = self.make(parts);
        let verdict = match grant {
            Grant::Wildcard if is_named => gateway.below_wildcard(caller, name, ask.deadline, made).await,
            Grant::Wildcard | Grant::Exact => made.await,
        };
        verdict.and_says(ignored)
    }

    /// Whether the wildcard may have these records too.
    async fn with_wildcard(
        &self,
        wildcard: &Hostname,
        records: &DesiredRecords,
    ) -> Result<Result<Authorised<'g>, HostVerdict>, Unavailable> {
        let Self { gateway, caller, ask, .. } = *self;
        let news = gateway.registry.news();
        let host = by(ask.deadline, gateway.registry.host(wildcard)).await?;
        let judge = gateway.may_follow(&caller.account, wildcard, host.as_deref(), news, records);
        by(ask.deadline, judge).await
    }

    /// The AAAA record that the host holds.
    async fn held_v6(&self, authorised: &Authorised<'_>) -> Result<Option<Ipv6Addr>, Trouble> {
        let key = RrKey { name: self.name.clone(), rtype: RrType::Aaaa };
        let held = authorised.zone.read(&key, self.ask.deadline).await?;
        Ok(held.iter().find_map(|held| match held.data() {
            Some(RrData::Aaaa(v6)) => Some(*v6),
            _ => None,
        }))
    }

    /// Those that may change with the host, which gets `own` and is granted so; of the others, what is the matter with each, which the log says.
    async fn companions(
        &self,
        more: &HostMore,
        own: Addresses,
        grant: Grant,
    ) -> Result<(Vec<(Authorised<'g>, Companion)>, Vec<HostVerdict>), Unavailable> {
        let Self { gateway, caller, name: leader, ask } = *self;
        let prefix = ask.asked.more.as_ref().and_then(|more| more.prefix);
        if more.followers.is_empty() || prefix.is_none() && own.v6.is_none() {
            return Ok(Default::default());
        }
        let news = gateway.registry.news();
        let mut hosts = Vec::with_capacity(more.followers.len());
        for follower in &more.followers {
            if let Some(host) = by(ask.deadline, gateway.registry.host(follower)).await? {
                hosts.push((follower, host));
            }
        }
        let followers = hosts.iter().filter_map(|(name, host)| {
            let extras = &host.more.as_deref()?.extras;
            Some(Follower { name, extras, ttl: gateway.zone_of(name).map_or(0, |zone| gateway.ttl(zone, Some(host))) })
        });
        let (mut ready, mut verdicts) = (Vec::new(), Vec::new());
        for companion in plan::followers(&ask.asked, own, followers) {
            let host = hosts.iter().find(|(name, _)| **name == companion.name).map(|(_, host)| &**host);
            let judged = match &companion.records {
                Ok(records) => {
                    let leads = (leader, grant);
                    let judge = gateway.may_accompany(&caller.account, leads, &companion.name, host, news, records);
                    by(ask.deadline, judge).await?
                }
                Err(stays @ Stays::Overlaps) => Err(HostVerdict::new(Outcome::BadAddress, stays.to_string())),
                Err(stays @ Stays::NotGranted) => Err(HostVerdict::new(Outcome::NotAllowed, stays.to_string())),
            };
            match judged {
                Ok(authorised) => ready.push((authorised, companion)),
                Err(verdict) => {
                    self.stays(&companion.name, &verdict);
                    verdicts.push(verdict);
                }
            }
        }
        Ok((ready, verdicts))
    }

    /// A companion is not changed, which hinders no other.
    fn stays(&self, name: &Hostname, verdict: &HostVerdict) {
        let Self { gateway, caller, name: leader, .. } = *self;
        warn!(host = %name, %leader, reason = %verdict.reason, "what changes with another host stays as it is");
        if name.below_wildcard().is_none() {
            gateway.saw(caller, name, verdict.outcome, DesiredRecords::default(), Timestamp::now());
        }
    }

    /// Makes all of `parts`, of which those of a zone travel together; what that is for the host.
    async fn make(&self, parts: Vec<Part<'g>>) -> HostVerdict {
        let Self { gateway, caller, name, ask } = *self;
        let compared: Vec<_> = parts.iter().map(|part| part.authorised.zone.compare(&part.change)).collect();
        let addresses = ask.asked.addresses;
        if !addresses.is_empty()
            && !compared.contains(&Compared::Differs)
            && gateway.limits.may_repeat(name, addresses).is_err()
        {
            return HostVerdict::new(Outcome::Blocked, "repeats limit");
        }
        let known = parts.iter().zip(&compared).map(|(part, compared)| gateway.settle(part, *compared, ask.deadline));
        let mut verdicts = all(known).await;
        if verdicts.iter().any(|verdict| matches!(verdict, Ok(None)))
            && let Err(wait) = gateway.limits.host(name)
        {
            return HostVerdict::too_fast(wait, "host limit");
        }
        let asked = parts.iter().zip(&compared).zip(&verdicts).map(|((part, compared), known)| async {
            match known {
                Ok(None) => gateway.ask_before(caller, part, *compared, ask.deadline).await,
                Ok(Some(verdict)) => Ok(Some(verdict.clone())),
                Err(away) => Err(*away),
            }
        });
        verdicts = all(asked).await;
        let left = parts.iter().zip(&verdicts).map(|(part, verdict)| async {
            let Part { authorised, change: Change { name, records, .. }, has_pointers, .. } = part;
            match verdict {
                Ok(None) if *has_pointers => Pointers::held_before(authorised.zone, name, records, ask.deadline).await,
                _ => Vec::new(),
            }
        });
        let left = all(left).await;
        let submitted = submit(&parts, &verdicts, ask.deadline);
        let ended = parts.iter().zip(verdicts).zip(submitted).map(|((part, verdict), submitted)| async {
            match (verdict, submitted) {
                (Ok(Some(verdict)), _) => verdict,
                (Err(away), _) => away.into(),
                (Ok(None), Some(Ok(submitted))) => {
                    gateway.end(part, submitted, ask.deadline).await.unwrap_or_else(HostVerdict::from)
                }
                (Ok(None), Some(Err(trouble))) => HostVerdict::of(Err(trouble)),
                (Ok(None), None) => HostVerdict::of(Err(Trouble::Overloaded)),
            }
        });
        let verdicts = all(ended).await;
        let pointed = parts.iter().zip(&verdicts).zip(&left).map(|((part, verdict), old)| async {
            if part.has_pointers { self.point(part, verdict, old).await } else { None }
        });
        let pointed: Vec<_> = all(pointed).await.into_iter().flatten().collect();
        for (part, verdict) in parts.iter().zip(&verdicts) {
            let is_answered = matches!(verdict.outcome, Outcome::Changed | Outcome::Unchanged);
            let Change { name: changed, records, origin } = &part.change;
            if part.leader.is_some() && changed.below_wildcard().is_some() && is_answered {
                continue;
            }
            if is_answered {
                gateway.saw(caller, changed, verdict.outcome, records.clone(), origin.accepted);
            } else if part.leader.is_some() {
                self.stays(changed, verdict);
            }
        }
        as_one(parts.iter().map(|part| (&part.change.name, part.leader.is_some())).zip(verdicts)).and_says(pointed)
    }

    /// The PTR records of a host follow what became of its change, which is not less true without them; what the log is to say.
    async fn point(&self, part: &Part<'_>, verdict: &HostVerdict, old: &[IpAddr]) -> Option<String> {
        let Change { name, records, origin } = &part.change;
        let moved = Moved { host: name, old, new: records.addresses() };
        let is_held = |(rtype, desired): (RrType, &Desired)| {
            let key = RrKey { name: name.clone(), rtype };
            !rtype.is_of_addresses() || part.authorised.zone.known(&key).as_ref() == Some(desired)
        };
        match verdict.outcome {
            // A newer request may have taken its place.
            Outcome::Changed | Outcome::Unchanged if records.iter().all(is_held) => {
                let said = Pointers(self.gateway).point(moved, origin, self.ask.deadline).await;
                // Of a repeat, its own line says it.
                if let (Outcome::Changed, Some(reason)) = (verdict.outcome, &said) {
                    warn!(host = %name, reason, "forward and reverse differ");
                }
                said
            }
            Outcome::Unreachable => {
                Pointers(self.gateway).leave_later(moved, origin);
                None
            }
            _ => None,
        }
    }
}

/// Hands over what no verdict has settled: all of a zone in one order.
fn submit(
    parts: &[Part<'_>],
    verdicts: &[Result<Option<HostVerdict>, Unavailable>],
    deadline: Instant,
) -> Vec<Option<Result<Submitted, Trouble>>> {
    let mut submitted: Vec<_> = parts.iter().map(|_| None).collect();
    let unsettled = parts.iter().zip(&mut submitted).zip(verdicts).filter(|(_, verdict)| matches!(verdict, Ok(None)));
    let mut left: Vec<_> = unsettled.map(|(part_and_place, _)| part_and_place).collect();
    while let Some((first, _)) = left.first() {
        let zone = first.authorised.zone;
        let is_of_zone = |(part, _): &(&Part<'_>, _)| part.authorised.zone.name() == zone.name();
        let (of_zone, others): (Vec<_>, Vec<_>) = left.into_iter().partition(is_of_zone);
        left = others;
        let changes: Vec<_> = of_zone.iter().map(|(part, _)| part.change.clone()).collect();
        match zone.submit_all(changes, deadline) {
            Ok(all) => of_zone.into_iter().zip(all).for_each(|((_, place), one)| *place = Some(Ok(one))),
            Err(trouble) => of_zone.into_iter().for_each(|(_, place)| *place = Some(Err(trouble))),
        }
    }
    submitted
}

/// What became of several names' changes, as the host's own: `good` says that all are in place. A companion that can never be
/// changed as it is does not count, since no router could do anything about it.
fn as_one<'a>(verdicts: impl Iterator<Item = ((&'a Hostname, bool), HostVerdict)>) -> HostVerdict {
    let of_companion = |name: &Hostname, verdict: HostVerdict| {
        let reason = format!("{name}: {}", verdict.reason);
        HostVerdict { reason: reason.into(), ..verdict }
    };
    let mut own = None;
    // The companion's verdict that counts most.
    let mut other: Option<HostVerdict> = None;
    let weight = |verdict: &HostVerdict| match verdict.outcome {
        Outcome::Refused => 5,
        Outcome::Unreachable | Outcome::TooFast => 4,
        Outcome::Changed => 3,
        Outcome::Unchanged => 2,
        _ => 1,
    };
    for ((name, is_companion), verdict) in verdicts {
        if !is_companion {
            own = Some(verdict);
        } else if other.as_ref().is_none_or(|other| weight(other) < weight(&verdict)) {
            other = Some(of_companion(name, verdict));
        }
    }
    match (own, other) {
        (Some(own), Some(other)) => {
            let is_answered = matches!(own.outcome, Outcome::Changed | Outcome::Unchanged);
            if is_answered && weight(&other) > weight(&own) { other } else { own }
        }
        (Some(only), None) | (None, Some(only)) => only,
        (None, None) => HostVerdict::unreachable("nothing became of it"),
    }
}

/// What all of `futures` say, in their order.
async fn all<'f, T>(futures: impl Iterator<Item = impl Future<Output = T> + Send + 'f>) -> Vec<T> {
    let mut all: Vec<_> = futures.map(|future| (Box::pin(future), None)).collect();
    poll_fn(|context| {
        let mut are_ready = true;
        for (future, output) in &mut all {
            if output.is_none() {
                match future.as_mut().poll(context) {
                    Poll::Ready(value) => *output = Some(value),
                    Poll::Pending => are_ready = false,
                }
            }
        }
        if are_ready { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    all.into_iter().filter_map(|(_, output)| output).collect()
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;

    use super::*;

    fn outcome(own: Option<Outcome>, companions: &[Outcome]) -> Outcome {
        let name = Hostname::parse("nas.dyn.example").unwrap();
        let own = own.map(|outcome| ((&name, false), HostVerdict::new(outcome, "")));
        let companions = companions.iter().map(|outcome| ((&name, true), HostVerdict::new(*outcome, "")));
        as_one(own.into_iter().chain(companions)).outcome
    }

    #[test]
    fn good_says_that_all_that_can_be_are_in_place() {
        use Outcome::{BadAddress, Blocked, Changed, NotYourHost, Refused, Unchanged, Unreachable};
        for (own, companions, is) in [
            (Some(Unchanged), &[][..], Unchanged),
            (Some(Unchanged), &[Unchanged, Unchanged], Unchanged),
            (Some(Unchanged), &[Unchanged, Changed], Changed),
            (Some(Changed), &[Unchanged, NotYourHost], Changed),
            (Some(Changed), &[Changed, Unreachable, BadAddress], Unreachable),
            (Some(Unchanged), &[Refused, Unreachable], Refused),
            (Some(Unchanged), &[Blocked], Unchanged),
            (Some(NotYourHost), &[Unreachable], NotYourHost),
            (None, &[Unchanged, Changed], Changed),
            (None, &[Unchanged, BadAddress], Unchanged),
            (None, &[BadAddress], BadAddress),
        ] {
            assert_eq!(outcome(own, companions), is, "{own:?} {companions:?}");
        }
    }

    #[tokio::test]
    async fn all_are_awaited_at_once_and_told_in_their_order() {
        let (tell, told) = tokio::sync::oneshot::channel::<u8>();
        let first = Box::pin(async { told.await.unwrap() }) as Pin<Box<dyn Future<Output = u8> + Send>>;
        let second = Box::pin(async move {
            tell.send(1).unwrap();
            2
        });
        assert_eq!(all([first, second].into_iter()).await, [1, 2]);
        assert!(all(Vec::<std::future::Ready<u8>>::new().into_iter()).await.is_empty());
    }
}
