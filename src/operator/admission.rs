//! Whether a name may become a host: by the file, by the store, and by what the zone's primary says.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::{Operator, OperatorError};
use crate::config::{self, Zone};
use crate::dns::{Hiding, ProbeError, Prober, Rcode};
use crate::model::{Addresses, Hostname, NameError, ZoneName, canonical};

/// Zones that an error names.
const SHOWN: usize = 5;

/// What an exact grant or a wildcard grant is spelled as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Granted {
    Name(Hostname),
    Below(ZoneName),
}

impl Operator {
    /// A name that one host may have.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn host_name(&self, text: &str) -> Result<Hostname, OperatorError> {
        match self.granted(text)? {
            Granted::Name(name) => Ok(name),
            Granted::Below(above) => Err(OperatorError::Wildcard(format!("*.{above}"))),
        }
    }

    /// A name or a wildcard.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn granted(&self, text: &str) -> Result<Granted, OperatorError> {
        let bad = |why: NameError| OperatorError::BadName { text: text.to_owned(), why };
        match text.strip_prefix("*.") {
            Some(above) => ZoneName::parse(above).map(Granted::Below).map_err(bad),
            None => Hostname::parse(text).map(Granted::Name).map_err(bad),
        }
    }

    /// # Errors
    /// [`OperatorError::NoZone`] where no zone holds what the wildcard covers.
    pub(super) fn must_hold_below(&self, above: &ZoneName) -> Result<(), OperatorError> {
        let is_held = self.config.zones.iter().any(|zone| above.is_within(&zone.name));
        if is_held { Ok(()) } else { Err(self.no_zone(format!("*.{above}"))) }
    }

    /// The zone that holds `name`.
    ///
    /// # Errors
    /// [`OperatorError::NoZone`]
    pub(super) fn zone_of(&self, name: &Hostname) -> Result<&Zone, OperatorError> {
        let apex = self.rules.zone_of(name);
        let zone = apex.and_then(|apex| self.config.zones.iter().find(|zone| zone.name == *apex));
        zone.ok_or_else(|| self.no_zone(name.to_string()))
    }

    fn no_zone(&self, name: String) -> OperatorError {
        let zones: Vec<_> = self.config.zones.iter().take(SHOWN).map(|zone| zone.name.as_str()).collect();
        let more = if self.config.zones.len() > SHOWN { ", …" } else { "" };
        OperatorError::NoZone { name, file: self.file.clone(), zones: zones.join(", ") + more }
    }

    /// Whether `login` may have `name`, as far as the file and the store know. `true` where it has it already.
    ///
    /// # Errors
    /// Why not.
    pub(super) async fn may_have(&self, login: &str, name: &Hostname) -> Result<bool, OperatorError> {
        self.zone_of(name)?;
        self.must_not_declare_host(name, "remove it there before it becomes a host of the store")?;
        match self.store.host(name).await? {
            Some(host) if *host.login == *login => Ok(true),
            Some(host) => Err(OperatorError::Taken { name: name.clone(), owner: host.login.to_string() }),
            None => Ok(false),
        }
    }

    /// `addresses` as one of each family, none of which `name` never gets.
    ///
    /// # Errors
    /// Which one, and why.
    pub(super) fn allowed(&self, name: &Hostname, addresses: &[IpAddr]) -> Result<Addresses, OperatorError> {
        let mut allowed = Addresses::default();
        for address in addresses.iter().copied().map(canonical) {
            let former = match address {
                IpAddr::V4(v4) => allowed.v4.replace(v4).map(IpAddr::V4),
                IpAddr::V6(v6) => allowed.v6.replace(v6).map(IpAddr::V6),
            };
            if let Some(former) = former {
                return Err(OperatorError::TwoOfAFamily(former, address));
            }
        }
        let zone = &self.zone_of(name)?.name;
        match self.rules.refused(zone, allowed) {
            Some(address) => Err(OperatorError::RefusedAddress { address, zone: zone.to_string() }),
            None => Ok(allowed),
        }
    }

    /// Asks the primaries of the names' zones whether each would be served, and holds no address that nobody shall `adopt`.
    ///
    /// # Errors
    /// The first that may not be; or nobody answers.
    pub(super) async fn must_be_free(&self, names: &[Hostname], adopt: bool) -> Result<(), OperatorError> {
        let mut zones: BTreeMap<&ZoneName, (&Zone, Vec<&Hostname>)> = BTreeMap::new();
        for name in names {
            let zone = self.zone_of(name)?;
            zones.entry(&zone.name).or_insert_with(|| (zone, Vec::new())).1.push(name);
        }
        for (zone, names) in zones.into_values() {
            self.ask(zone, &names, adopt).await?;
        }
        Ok(())
    }

    /// As the engine: no connection, silence and SERVFAIL lead to the next primary, any other answer counts.
    async fn ask(&self, zone: &Zone, names: &[&Hostname], adopt: bool) -> Result<(), OperatorError> {
        let mut silent = Vec::new();
        for primary in &zone.primaries {
            match self.ask_primary(zone, primary, names, adopt).await {
                Ok(()) => return Ok(()),
                Err(Trouble::Told(error)) => return Err(error),
                Err(Trouble::Next(error)) => silent.push(format!("{primary}: {error}")),
            }
        }
        let Some(first) = names.first() else { return Ok(()) };
        Err(OperatorError::Unanswered { zone: zone.name.to_string(), name: (*first).clone(), why: silent.join("; ") })
    }

    async fn ask_primary(
        &self,
        zone: &Zone,
        primary: &config::Primary,
        names: &[&Hostname],
        adopt: bool,
    ) -> Result<(), Trouble> {
        let first = names.first().copied();
        let judge = |name: Option<&Hostname>, error: ProbeError| match (error, name) {
            (ProbeError::Failed(failure), Some(name)) if failure.rcode != Rcode::SERVFAIL => {
                Trouble::Told(OperatorError::Unwilling {
                    primary: primary.to_string(),
                    name: name.clone(),
                    why: format!("it answered {failure}"),
                })
            }
            (ProbeError::Encode(error), Some(name)) => Trouble::Told(OperatorError::Unwilling {
                primary: primary.to_string(),
                name: name.clone(),
                why: error.to_string(),
            }),
            (error, _) => Trouble::Next(error),
        };
        let opened = Prober::open(zone, primary, self.config.engine.deadline).await;
        let mut prober = opened.map_err(|error| judge(first, error))?;
        for name in names {
            if let Some((hiding, owner)) = prober.hidden_by(name).await.map_err(|error| judge(Some(name), error))? {
                let why = match hiding {
                    Hiding::Cname => "stands at a CNAME record".to_owned(),
                    Hiding::Delegation if owner == name.as_str() => "stands at a delegation (NS records)".to_owned(),
                    Hiding::Delegation => format!("lies below the delegation at {owner}"),
                    Hiding::Dname => format!("lies below the DNAME record at {owner}"),
                };
                return Err(Trouble::Told(OperatorError::Hidden { name: (*name).clone(), why }));
            }
            if adopt {
                continue;
            }
            let addresses = prober.addresses(name).await.map_err(|error| judge(Some(name), error))?;
            if !addresses.is_empty() {
                let leaving = self.is_pending(name).await.map_err(Trouble::Told)?;
                return Err(Trouble::Told(OperatorError::Occupied { name: (*name).clone(), addresses, leaving }));
            }
        }
        Ok(())
    }
}

/// Why a primary did not let names pass.
enum Trouble {
    /// It told why.
    Told(OperatorError),
    /// It could not be asked: the next one may.
    Next(ProbeError),
}
