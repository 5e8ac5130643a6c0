//! Challenges of certificate authorities (RFC 8555 section 8.4): who may change a host may prove its name by TXT records at
//! `_acme-challenge.HOST`, which serves the host and the wildcard below it, and nowhere else. Knows nothing of who asks how.
//!
//! What the RRset holds is read and swapped, so that what others put there stays, and that two gateways' values stand side by
//! side. The registry knows which values are ours: before the primary does, so that none is ever left behind.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tracing::{info, warn};

use super::authorise::{Authorised, Right};
use super::{Ask, Caller, ChallengeAsked, Gateway, HostVerdict, by};
use crate::engine::{self, Trouble};
use crate::model::{
    Challenge, ChallengeValue, Desired, Hostname, NotAChallenge, Outcome, RrData, RrKey, RrType, Several, TxtValue,
    ZoneName,
};
use crate::registry::Grant;

/// Values of one name that are served together: name and wildcard are proven in one order, each by its own.
const MOST_SERVED: usize = 2;
/// Values of one name that are remembered: one that gave way may still be on its way to the primary.
const MOST_REMEMBERED: usize = 16;
/// In seconds: who looks too early shall not be told the old for long.
const MOST_TTL: u32 = 60;
/// Between two looks for what nobody removed.
const LOOK: Duration = Duration::from_secs(2);
/// So many are removed before the next look.
const AT_ONCE: usize = 100;
/// From a change that came to nothing to the next try, which waits twice as long each time: what is read may be behind.
const PAUSE: Duration = Duration::from_millis(50);

/// The RRset of a host's challenges.
#[derive(Debug)]
struct Place<'g> {
    zone: &'g engine::Zone,
    key: RrKey,
    // Of an RRset that is not there yet, in seconds.
    ttl: u32,
    deadline: Instant,
}

/// What an RRset holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Held {
    values: Vec<TxtValue>,
    ttl: Option<u32>,
}

impl From<Trouble> for HostVerdict {
    fn from(trouble: Trouble) -> Self {
        Self::of(Err(trouble))
    }
}

impl From<NotAChallenge> for HostVerdict {
    fn from(error: NotAChallenge) -> Self {
        Self::new(Outcome::BadAddress, error.to_string())
    }
}

/// What a host is told of its challenges, whether they changed or why they did not.
pub(super) fn told(changed: Result<bool, HostVerdict>) -> HostVerdict {
    match changed {
        Ok(true) => HostVerdict::of(Ok(engine::Applied { superseded: false })),
        Ok(false) => HostVerdict { reason: "it is so already".into(), ..HostVerdict::verified_now() },
        Err(verdict) => verdict,
    }
}

/// Does what is `asked` of the challenges of `host`, as was authorised; whether something changed.
pub(super) async fn change(
    gateway: &Gateway,
    caller: &Caller,
    host: &Hostname,
    asked: &ChallengeAsked,
    ask: &Ask,
    authorised: &Authorised<'_>,
) -> Result<bool, HostVerdict> {
    let name = host.challenge_name().map_err(|error| HostVerdict::new(Outcome::NotAName, error.to_string()))?;
    let value = match asked {
        ChallengeAsked::Present(text) | ChallengeAsked::Remove(text) => Some(ChallengeValue::parse(text)?),
        ChallengeAsked::RemoveAll => None,
    };
    let zone = gateway.zone_of(&name).unwrap_or(authorised.zone);
    let ttl = authorised.ttl.min(MOST_TTL);
    let place = Place { zone, key: RrKey { name, rtype: RrType::Txt }, ttl, deadline: ask.deadline };
    // Counted by their own name: an order changes it four times, and takes nothing from the host's addresses.
    if let Err(wait) = gateway.limits.host(&place.key.name) {
        return Err(HostVerdict::too_fast(wait, "host limit"));
    }
    let mut reservation = None;
    if authorised.grant == Grant::Wildcard {
        let since = gateway.lately();
        let until = since + ask.deadline.saturating_duration_since(since) / 2;
        gateway.is_no_target(host, since, until).await?;
        if matches!(asked, ChallengeAsked::Present(_)) {
            // What proves the host proves its wildcard.
            if let Some(wildcard) = host.wildcard() {
                gateway.is_no_target(&wildcard, since, until).await?;
            }
            let covers = gateway.registry.wildcard_covers_anothers(&caller.account, host);
            if by(ask.deadline, covers).await? {
                return Err(HostVerdict::new(Outcome::NotYourHost, "its wildcard covers what is not granted"));
            }
            let reserved = by(ask.deadline, gateway.registry.reserve(&caller.account, host)).await?;
            let full = || HostVerdict::new(Outcome::NotYourHost, "the account's max_hosts is reached");
            reservation = Some(reserved.ok_or_else(full)?);
        }
    }
    if gateway.registry.news() != authorised.news {
        gateway.is_still_authorised(caller, authorised, host, Right::Own(&ask.asked), ask.deadline).await?;
    }
    let account = &caller.account.login;
    let done = match (asked, value) {
        (ChallengeAsked::Present(_), Some(value)) => present(gateway, &place, &value, account).await,
        (_, Some(value)) => remove(gateway, &place, |known| known.value == value, Some(&value)).await,
        (_, None) => remove(gateway, &place, |known| known.account == **account, None).await,
    };
    if let (Err(verdict), Some(reservation)) = (&done, reservation)
        && verdict.outcome != Outcome::Unreachable
    {
        reservation.release();
    }
    done
}

async fn present(
    gateway: &Gateway,
    place: &Place<'_>,
    value: &ChallengeValue,
    account: &str,
) -> Result<bool, HostVerdict> {
    let challenges = gateway.registry.challenges();
    let name = &place.key.name;
    let text = txt(value)?;
    let known = by(place.deadline, challenges.of(name)).await?;
    if !known.iter().any(|known| known.value == *value) && place.read().await?.values.contains(&text) {
        // Somebody else put it there, and it is not ours to remove.
        return Ok(false);
    }
    let keep = gateway.registry.acme().keep;
    let all = by(place.deadline, challenges.present(name, value, account, keep)).await?;
    let older: Vec<_> = all.iter().skip(MOST_SERVED).filter_map(|older| txt(&older.value).ok()).collect();
    let is_changed = place
        .edit(|held| {
            held.retain(|value| !older.contains(value));
            if !held.contains(&text) {
                held.push(text.clone());
            }
        })
        .await?;
    if let Some(forgotten) = all.get(MOST_REMEMBERED..) {
        // Else they go by their age.
        let _stays = by(place.deadline, challenges.end(forgotten)).await;
    }
    Ok(is_changed)
}

/// Those of ours that `is_meant`, and `named`, whoever put it there: a gateway without a store may have forgotten it.
async fn remove(
    gateway: &Gateway,
    place: &Place<'_>,
    is_meant: impl Fn(&Challenge) -> bool,
    named: Option<&ChallengeValue>,
) -> Result<bool, HostVerdict> {
    let challenges = gateway.registry.challenges();
    let mut meant = by(place.deadline, challenges.of(&place.key.name)).await?;
    meant.retain(is_meant);
    let gone: Vec<_> =
        meant.iter().map(|known| &known.value).chain(named).filter_map(|value| txt(value).ok()).collect();
    // Where nothing of ours is known, the primary is asked all the same: only it says that it is so.
    let is_changed = place.edit(|held| held.retain(|value| !gone.contains(value))).await?;
    if is_changed {
        // Else they go by their age: what was read may be behind, and they may be there.
        let _stays = by(place.deadline, challenges.end(&meant)).await;
    }
    Ok(is_changed)
}

/// Removes for ever what nobody removed in time, each time in the gateway `in_force`.
pub(crate) async fn look_after_challenges(in_force: impl Fn() -> Arc<Gateway> + Send) {
    let mut look = interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut troubled = HashSet::new();
    loop {
        look.tick().await;
        while remove_overdue(&in_force(), &mut troubled).await == AT_ONCE {}
    }
}

/// How many were due; `troubled` are the zones of which it was said that something is left.
async fn remove_overdue(gateway: &Gateway, troubled: &mut HashSet<ZoneName>) -> usize {
    let challenges = gateway.registry.challenges();
    // What is not removed now is due again then, here or at another gateway.
    let lease = gateway.deadline * 2 + Duration::from_secs(10);
    let Ok(due) = challenges.take_due(lease, AT_ONCE).await else { return 0 };
    let mut away = HashSet::new();
    for challenge in &due {
        let Some(zone) = gateway.zone_of(&challenge.name) else {
            if !gateway.registry.is_shared() {
                warn!(name = %challenge.name, "a challenge stays: no zone of ours holds its name any longer");
                let _again = challenges.end(std::slice::from_ref(challenge)).await;
            }
            continue;
        };
        // What cannot be reached is not waited for by each of them.
        if away.contains(zone.name()) {
            continue;
        }
        match remove_by_age(gateway, zone, challenge).await {
            Ok(()) => {
                troubled.remove(zone.name());
            }
            Err(verdict) => {
                away.insert(zone.name().clone());
                if troubled.insert(zone.name().clone()) {
                    warn!(zone = %zone.name(), name = %challenge.name, reason = %verdict.reason, rcode = verdict.rcode, "challenges that nobody removed cannot be removed yet");
                }
            }
        }
    }
    due.len()
}

async fn remove_by_age(gateway: &Gateway, zone: &engine::Zone, challenge: &Challenge) -> Result<(), HostVerdict> {
    let key = RrKey { name: challenge.name.clone(), rtype: RrType::Txt };
    let place = Place { zone, key, ttl: MOST_TTL, deadline: Instant::now() + gateway.deadline };
    let text = txt(&challenge.value)?;
    let is_changed = place.edit(|held| held.retain(|value| *value != text)).await?;
    let challenges = gateway.registry.challenges();
    if challenges.end(std::slice::from_ref(challenge)).await? == 0
        && challenges.of(&challenge.name).await?.iter().any(|known| known.value == challenge.value)
    {
        // It was presented again meanwhile, and perhaps found there.
        place.edit(|held| held.push(text.clone())).await?;
    } else if is_changed {
        info!(name = %challenge.name, account = challenge.account, "a challenge that nobody removed is gone");
    }
    Ok(())
}

impl Place<'_> {
    async fn read(&self) -> Result<Held, Trouble> {
        let mut held = Held::default();
        for desired in self.zone.read(&self.key, self.deadline).await? {
            if let Desired::Set { data: RrData::Txt(values), ttl } = desired {
                held.values.extend(values.iter().cloned());
                held.ttl = Some(ttl);
            }
        }
        Ok(held)
    }

    /// Has the RRset hold what `edit` makes of what it holds, and leaves the TTL of one that is there; whether it had to change.
    async fn edit(&self, edit: impl Fn(&mut Vec<TxtValue>)) -> Result<bool, HostVerdict> {
        let (mut pause, mut is_a_wildcards) = (PAUSE, false);
        loop {
            let read = self.read().await?;
            let before = if is_a_wildcards { Held::default() } else { read.clone() };
            let mut after = before.values.clone();
            edit(&mut after);
            let ttl = before.ttl.unwrap_or(self.ttl);
            let [expected, wanted] = [before.values, after].map(|values| Several::new(values).map(RrData::Txt));
            if wanted == expected {
                return Ok(false);
            }
            let desired = wanted.map_or(Desired::Absent, |data| Desired::Set { data, ttl });
            let expected = expected.into_iter().collect();
            if self.zone.compare_and_swap(self.key.clone(), expected, desired, self.deadline).await? {
                return Ok(true);
            }
            // What was read may be a wildcard's (RFC 4592): then the name itself holds nothing.
            is_a_wildcards = !is_a_wildcards && !read.values.is_empty();
            if is_a_wildcards {
                continue;
            }
            // A CNAME makes the same prerequisites fail as another's change does, and stays.
            self.zone.would_serve(&self.key.name, self.deadline).await?;
            let next = Instant::now() + pause;
            if next >= self.deadline {
                return Err(HostVerdict::unreachable(
                    "others change the record again and again, or it holds what is not written here",
                ));
            }
            sleep_until(next).await;
            pause *= 2;
        }
    }
}

/// A value as a record holds it.
fn txt(value: &ChallengeValue) -> Result<TxtValue, NotAChallenge> {
    TxtValue::new(value.as_str()).map_err(|_| NotAChallenge)
}
