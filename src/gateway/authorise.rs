//! Whether an account may change a name as it asks: the one place that decides it, for requests and for what is pending.

use std::time::Duration;

use tokio::time::Instant;

use super::{Asked, Caller, Gateway, HostVerdict, by};
use crate::engine;
use crate::model::{Family, Hostname, Outcome};
use crate::registry::{Account, Grant, Host};

/// How long it counts what a zone's servers were, and for how many zones it is longer: each is asked once in half of that time,
/// however many changes need to know.
const FRESH: Duration = Duration::from_millis(250);
const FRESH_OF_EACH: Duration = Duration::from_millis(10);
/// How often what was authorised is looked at again before its caller is told to come back.
const MOST_LOOKS: usize = 3;

const SERVES: &str = "a zone's SOA or NS records name it";

#[derive(Debug)]
pub(super) struct Authorised<'g> {
    pub(super) zone: &'g engine::Zone,
    pub(super) grant: Grant,
    /// The TTL of its records, in seconds.
    pub(super) ttl: u32,
    /// What the registry had heard before it was asked.
    pub(super) news: u64,
}

#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) verdict: HostVerdict,
    pub(super) grant: Option<Grant>,
}

impl Gateway {
    /// Whether `account` may do what it asks at `name`, whose settings are `host`, as was heard up to `news`. The order of refusals
    /// is the contract's. Before a change below a wildcard is made, [`Self::is_no_target`] is asked too.
    pub(super) async fn authorise(
        &self,
        account: &Account,
        name: &Hostname,
        host: Option<&Host>,
        news: u64,
        asked: &Asked,
    ) -> Result<Authorised<'_>, Refusal> {
        let refusal =
            |grant, outcome, reason: String| Err(Refusal { verdict: HostVerdict::new(outcome, reason), grant });
        if !account.enabled {
            return refusal(None, Outcome::BadCredentials, "the account is disabled".to_owned());
        }
        let granted = self.registry.grant(account, name, host);
        if name.has_underscore() && granted != Ok(Grant::Exact) {
            return refusal(None, Outcome::NotAName, "a name with '_' that is not granted exactly".to_owned());
        }
        let grant = match granted {
            Ok(grant) => grant,
            Err(denied) => return refusal(None, Outcome::NotYourHost, denied.to_string()),
        };
        let refused = |outcome, reason| refusal(Some(grant), outcome, reason);
        let Some(zone) = self.zone_of(name) else {
            return refused(Outcome::NotYourHost, "no zone of ours holds the name".to_owned());
        };
        if asked.challenge().is_some() && !self.registry.acme().dns01 {
            return refused(Outcome::NotAllowed, "[acme] dns01 is off".to_owned());
        }
        if asked.wants_extra() {
            return refused(Outcome::NotAllowed, "offline, wildcard or mx is not granted".to_owned());
        }
        if let Some(reason) = host.and_then(|host| host.blocked.as_ref()) {
            return refused(Outcome::Blocked, format!("blocked: {reason}"));
        }
        if let Some(address) = self.registry.refused(zone.name(), asked.addresses) {
            return refused(Outcome::BadAddress, format!("{address} is refused here"));
        }
        let allows = |address| host.is_none_or(|host| host.families.allow(Family::of(address)));
        if let Some(address) = asked.addresses.iter().find(|address| !allows(*address)) {
            return refused(Outcome::BadAddress, format!("{address} is not of a family that the host may have"));
        }
        if grant == Grant::Wildcard && self.zones.values().any(|zone| zone.was_target(name)) {
            return refused(Outcome::NotYourHost, SERVES.to_owned());
        }
        let ttl = host.and_then(|host| host.ttl).unwrap_or_else(|| self.registry.ttl(zone.name()));
        Ok(Authorised { zone, grant, ttl, news })
    }

    /// Whether no zone's SOA or NS records name what a wildcard grant covers, as all their primaries said when they were asked at
    /// `since` or later, or last where none of the zone's can be reached.
    pub(super) async fn is_no_target(
        &self,
        name: &Hostname,
        since: Instant,
        until: Instant,
    ) -> Result<(), HostVerdict> {
        // Before what is known is too old: the changes of a storm wait for no question then.
        let half_old = since + since.elapsed() / 2;
        self.zones.values().for_each(|zone| zone.want_targets(half_old));
        for zone in self.zones.values() {
            match zone.is_target(name, since, until).await {
                Ok(false) => {}
                Ok(true) => return Err(HostVerdict::new(Outcome::NotYourHost, SERVES)),
                Err(trouble) => {
                    let verdict = HostVerdict::of(Err(trouble));
                    let unread =
                        format!("zone {}: its SOA and NS records may name it: {}", zone.name(), verdict.reason);
                    return Err(HostVerdict { reason: unread.into(), ..verdict });
                }
            }
        }
        Ok(())
    }

    /// Since when zones' servers count as known to what is decided now.
    pub(super) fn lately(&self) -> Instant {
        let now = Instant::now();
        let of_all = FRESH_OF_EACH.saturating_mul(u32::try_from(self.zones.len()).unwrap_or(u32::MAX));
        now.checked_sub(FRESH.max(of_all)).unwrap_or(now)
    }

    /// Whether what was authorised still is, the last question before a change is handed over. What a command forbids and wants
    /// gone may have been done while the request waited, and would be there again.
    pub(super) async fn is_still_authorised(
        &self,
        caller: &Caller,
        authorised: &Authorised<'_>,
        name: &Hostname,
        asked: &Asked,
        deadline: Instant,
    ) -> Result<(), HostVerdict> {
        let mut heard = authorised.news;
        for _ in 0..MOST_LOOKS {
            let news = self.registry.news();
            if news == heard {
                return Ok(());
            }
            heard = news;
            let host = by(deadline, self.registry.host(name)).await?;
            let Some(account) = by(deadline, self.registry.account(&caller.account.login)).await? else {
                return Err(HostVerdict::new(Outcome::BadCredentials, "the account is gone"));
            };
            match self.authorise(&account, name, host.as_deref(), news, asked).await {
                Ok(again) if (again.grant, again.ttl) == (authorised.grant, authorised.ttl) => {}
                Ok(_) => break,
                Err(Refusal { verdict, .. }) => return Err(verdict),
            }
        }
        Err(HostVerdict::unreachable("its settings changed meanwhile"))
    }

    pub(super) fn zone_of(&self, name: &Hostname) -> Option<&engine::Zone> {
        self.registry.zone_of(name).and_then(|zone| self.zones.get(zone))
    }
}
