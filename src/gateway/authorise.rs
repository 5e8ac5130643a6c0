//! Whether an account may change a name as it asks: the one place that decides it, for requests and for what is pending.

use std::time::Duration;

use tokio::time::Instant;

use super::{Asked, Caller, Gateway, HostVerdict, by};
use crate::engine;
use crate::model::{Addresses, DesiredRecords, Family, Hostname, Outcome};
use crate::registry::{Account, Grant, Host, Unavailable};

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

/// Why a name may be changed, to be looked at again.
#[derive(Debug, Clone, Copy)]
pub(super) enum Right<'a> {
    /// The account is granted it, with what is asked.
    Own(&'a Asked),
    /// The account is granted the host that it follows; with these records.
    Followed(&'a DesiredRecords),
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
        if asked.removals().is_some() && !host.and_then(Host::extras).is_some_and(|extras| extras.offline) {
            return refused(Outcome::NotAllowed, "offline is not granted".to_owned());
        }
        if let Some(reason) = host.and_then(|host| host.blocked.as_ref()) {
            return refused(Outcome::Blocked, format!("blocked: {reason}"));
        }
        if let Some(unfit) = self.unfit(zone, host, asked.addresses) {
            return refused(Outcome::BadAddress, unfit);
        }
        if grant == Grant::Wildcard && self.zones.values().any(|zone| zone.was_target(name)) {
            return refused(Outcome::NotYourHost, SERVES.to_owned());
        }
        Ok(Authorised { zone, grant, ttl: self.ttl(zone, host), news })
    }

    /// Whether a request of `account`, which may change `leader` as it is granted, may change `name` as well, whose settings are
    /// `host`, as was heard up to `news`: it follows the other by its own settings, which are its owner's word. Who leads by a
    /// wildcard alone moves what it might change by itself, and no more.
    pub(super) async fn may_accompany(
        &self,
        account: &Account,
        (leader, leads): (&Hostname, Grant),
        name: &Hostname,
        host: Option<&Host>,
        news: u64,
        records: &DesiredRecords,
    ) -> Result<Result<Authorised<'_>, HostVerdict>, Unavailable> {
        let refused = |outcome, reason: String| Ok(Err(HostVerdict::new(outcome, reason)));
        let not_along = |reason: &str| refused(Outcome::NotYourHost, reason.to_owned());
        let Some(host) = host.filter(|host| host.follows() == Some(leader)) else {
            return not_along("it does not follow");
        };
        if let Some(login) = host.login.as_deref().filter(|login| **login != *account.login)
            && self.registry.account(login).await?.is_none_or(|account| !account.enabled)
        {
            return not_along("its account is disabled");
        }
        let Some(zone) = self.zone_of(name) else { return not_along("no zone of ours holds the name") };
        let grant = match leads {
            Grant::Exact => Grant::Exact,
            Grant::Wildcard => match self.registry.grant(account, name, Some(host)) {
                Ok(grant) if grant == Grant::Exact || !name.has_underscore() => grant,
                Ok(_) | Err(_) => return not_along("it is not granted to whom a wildcard alone grants its leader"),
            },
        };
        if let Some(reason) = &host.blocked {
            return refused(Outcome::Blocked, format!("blocked: {reason}"));
        }
        if let Some(unfit) = self.unfit(zone, Some(host), records.addresses()) {
            return refused(Outcome::BadAddress, unfit);
        }
        Ok(Ok(Authorised { zone, grant, ttl: self.ttl(zone, Some(host)), news }))
    }

    /// The same of a change that is made by itself: the host that it follows is looked up, and whether `account` may change that.
    pub(super) async fn may_follow(
        &self,
        account: &Account,
        name: &Hostname,
        host: Option<&Host>,
        news: u64,
        records: &DesiredRecords,
    ) -> Result<Result<Authorised<'_>, HostVerdict>, Unavailable> {
        if let Some(above) = name.below_wildcard() {
            return self.may_go_with(account, &above, name, host, news, records).await;
        }
        let Some(leader) = host.and_then(Host::follows) else {
            return Ok(Err(HostVerdict::new(Outcome::NotYourHost, "it follows nobody")));
        };
        let leads = self.registry.host(leader).await?;
        match self.authorise(account, leader, leads.as_deref(), news, &Asked::default()).await {
            Ok(leads) => self.may_accompany(account, (leader, leads.grant), name, host, news, records).await,
            Err(Refusal { verdict, .. }) => Ok(Err(verdict)),
        }
    }

    /// Whether a request of `account` may change the wildcard `name`, which goes with the host `above` by that one's settings:
    /// whoever may change that may change it too, unless it is another's host by itself.
    async fn may_go_with(
        &self,
        account: &Account,
        above: &Hostname,
        name: &Hostname,
        itself: Option<&Host>,
        news: u64,
        records: &DesiredRecords,
    ) -> Result<Result<Authorised<'_>, HostVerdict>, Unavailable> {
        let refused = |reason: &'static str| Ok(Err(HostVerdict::new(Outcome::NotYourHost, reason)));
        let host = self.registry.host(above).await?;
        let Some(host) = host.as_deref().filter(|host| host.extras().is_some_and(|extras| extras.wildcard)) else {
            return refused("wildcard is not granted to the host above it");
        };
        let owner = host.login.as_deref().unwrap_or(&account.login);
        if self.registry.is_anothers(owner, name, itself) {
            return refused("it is another account's host");
        }
        let authorised = match self.authorise(account, above, Some(host), news, &Asked::of_records(records)).await {
            Ok(authorised) => authorised,
            Err(Refusal { verdict, .. }) if verdict.outcome == Outcome::NotYourHost => {
                match Box::pin(self.may_follow(account, above, Some(host), news, records)).await? {
                    Ok(authorised) => authorised,
                    Err(_) => return Ok(Err(verdict)),
                }
            }
            Err(Refusal { verdict, .. }) => return Ok(Err(verdict)),
        };
        let Some(zone) = self.zone_of(name) else { return refused("no zone of ours holds the name") };
        Ok(Ok(Authorised { zone, grant: Grant::Exact, ..authorised }))
    }

    /// Why a host in `zone` may not have one of `addresses`.
    pub(super) fn unfit(&self, zone: &engine::Zone, host: Option<&Host>, addresses: Addresses) -> Option<String> {
        if let Some(address) = self.registry.refused(zone.name(), addresses) {
            return Some(format!("{address} is refused here"));
        }
        let allows = |address| host.is_none_or(|host| host.families.allow(Family::of(address)));
        let foreign = addresses.iter().find(|address| !allows(*address))?;
        Some(format!("{foreign} is not of a family that the host may have"))
    }

    /// The TTL of records of a host in `zone`, in seconds.
    pub(super) fn ttl(&self, zone: &engine::Zone, host: Option<&Host>) -> u32 {
        host.and_then(|host| host.ttl).unwrap_or_else(|| self.registry.ttl(zone.name()))
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
        right: Right<'_>,
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
            let again = match right {
                Right::Own(asked) => {
                    let authorised = self.authorise(&account, name, host.as_deref(), news, asked).await;
                    authorised.map_err(|Refusal { verdict, .. }| verdict)
                }
                Right::Followed(records) => {
                    by(deadline, self.may_follow(&account, name, host.as_deref(), news, records)).await?
                }
            };
            match again {
                Ok(again) if (again.grant, again.ttl) == (authorised.grant, authorised.ttl) => {}
                Ok(_) => break,
                Err(verdict) => return Err(verdict),
            }
        }
        Err(HostVerdict::unreachable("its settings changed meanwhile"))
    }

    pub(super) fn zone_of(&self, name: &Hostname) -> Option<&engine::Zone> {
        self.registry.zone_of(name).and_then(|zone| self.zones.get(zone))
    }
}
