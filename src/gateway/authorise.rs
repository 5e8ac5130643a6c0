//! Whether an account may change a name as it asks: the one place that decides it, for requests and for what is pending.

use tokio::time::Instant;

use super::{Ask, Gateway, HostVerdict};
use crate::engine;
use crate::model::{Family, Hostname, Outcome};
use crate::registry::{Account, Grant, Host};

#[derive(Debug)]
pub(super) struct Authorised<'g> {
    pub(super) zone: &'g engine::Zone,
    pub(super) grant: Grant,
    /// The TTL of its records, in seconds.
    pub(super) ttl: u32,
}

#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) verdict: HostVerdict,
    pub(super) grant: Option<Grant>,
}

impl Gateway {
    /// Whether `account` may do what it asks at `name`, whose settings are `host`. The order of refusals is the contract's.
    pub(super) async fn authorise(
        &self,
        account: &Account,
        name: &Hostname,
        host: Option<&Host>,
        Ask { addresses, wants_extra, deadline }: Ask,
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
        if wants_extra {
            return refused(Outcome::NotAllowed, "offline, wildcard or mx is not granted".to_owned());
        }
        if let Some(reason) = host.and_then(|host| host.blocked.as_ref()) {
            return refused(Outcome::Blocked, format!("blocked: {reason}"));
        }
        if let Some(address) = self.registry.refused(zone.name(), addresses) {
            return refused(Outcome::BadAddress, format!("{address} is refused here"));
        }
        let allows = |address| host.is_none_or(|host| host.families.allow(Family::of(address)));
        if let Some(address) = addresses.iter().find(|address| !allows(*address)) {
            return refused(Outcome::BadAddress, format!("{address} is not of a family that the host may have"));
        }
        if grant == Grant::Wildcard
            && let Err(verdict) = self.is_no_target(zone, name, deadline).await
        {
            return Err(Refusal { verdict, grant: Some(grant) });
        }
        let ttl = host.and_then(|host| host.ttl).unwrap_or_else(|| self.registry.ttl(zone.name()));
        Ok(Authorised { zone, grant, ttl })
    }

    /// A wildcard grant covers no name that serves a zone of ours.
    async fn is_no_target(&self, zone: &engine::Zone, name: &Hostname, deadline: Instant) -> Result<(), HostVerdict> {
        let refused = |reason: &'static str| Err(HostVerdict::new(Outcome::NotYourHost, reason));
        if self.zones.values().any(|other| other.is_known_target(name)) {
            return refused("a zone's SOA or NS records name it");
        }
        match zone.is_target(name, deadline).await {
            Ok(false) => Ok(()),
            Ok(true) => refused("the zone's SOA or NS records name it"),
            Err(trouble) => Err(HostVerdict::of(Err(trouble))),
        }
    }

    pub(super) fn zone_of(&self, name: &Hostname) -> Option<&engine::Zone> {
        self.registry.zone_of(name).and_then(|zone| self.zones.get(zone))
    }
}
