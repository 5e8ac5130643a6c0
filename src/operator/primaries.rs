//! What the zones' primaries say of names that are to become hosts. Knows neither accounts nor the store.

use std::collections::BTreeMap;
use std::time::Duration;

use super::OperatorError;
use crate::config::{self, Zone};
use crate::dns::{Hiding, ProbeError, Prober, Rcode};
use crate::model::{Hostname, ZoneName};

/// Asks primaries.
#[derive(Debug)]
pub(super) struct Primaries {
    timeout: Duration,
}

/// Why a primary did not let names pass.
enum PrimaryTrouble {
    /// It told why.
    Told(OperatorError),
    /// It could not be asked: the next one may.
    Next(ProbeError),
}

impl Primaries {
    /// Each answer may take `timeout`.
    pub(super) fn new(timeout: Duration) -> Self {
        Self { timeout }
    }

    /// Whether each name would be served by its zone, and holds no address that nobody shall `adopt`.
    ///
    /// # Errors
    /// The first that may not be; or nobody answers.
    pub(super) async fn must_be_free(&self, names: Vec<(&Zone, &Hostname)>, adopt: bool) -> Result<(), OperatorError> {
        let mut zones: BTreeMap<&ZoneName, (&Zone, Vec<&Hostname>)> = BTreeMap::new();
        for (zone, name) in names {
            zones.entry(&zone.name).or_insert_with(|| (zone, Vec::new())).1.push(name);
        }
        for (zone, names) in zones.into_values() {
            self.ask(zone, &names, adopt).await?;
        }
        Ok(())
    }

    /// As the engine: no connection, silence and SERVFAIL lead to the next primary, any other answer counts.
    async fn ask(&self, zone: &Zone, names: &[&Hostname], adopt: bool) -> Result<(), OperatorError> {
        let Some(first) = names.first() else { return Ok(()) };
        let mut silent = Vec::new();
        for primary in &zone.primaries {
            match self.ask_primary(zone, primary, names, adopt).await {
                Ok(()) => return Ok(()),
                Err(PrimaryTrouble::Told(error)) => return Err(error),
                Err(PrimaryTrouble::Next(error)) => silent.push(format!("{primary}: {error}")),
            }
        }
        Err(OperatorError::Unanswered { zone: zone.name.to_string(), name: (*first).clone(), why: silent.join("; ") })
    }

    async fn ask_primary(
        &self,
        zone: &Zone,
        primary: &config::Primary,
        names: &[&Hostname],
        adopt: bool,
    ) -> Result<(), PrimaryTrouble> {
        let judge = |name: Option<&Hostname>, error: ProbeError| {
            let why = match &error {
                ProbeError::Failed(failure) if failure.rcode != Rcode::SERVFAIL => format!("it answered {failure}"),
                ProbeError::Encode(error) => error.to_string(),
                _ => return PrimaryTrouble::Next(error),
            };
            match name {
                Some(name) => PrimaryTrouble::Told(OperatorError::Unwilling {
                    primary: primary.to_string(),
                    name: name.clone(),
                    why,
                }),
                None => PrimaryTrouble::Next(error),
            }
        };
        let opened = Prober::open(zone, primary, self.timeout).await;
        let mut prober = opened.map_err(|error| judge(names.first().copied(), error))?;
        for name in names {
            if let Some((hiding, owner)) = prober.hidden_by(name).await.map_err(|error| judge(Some(name), error))? {
                let why = match hiding {
                    Hiding::Cname => "stands at a CNAME record".to_owned(),
                    Hiding::Delegation if owner == name.as_str() => "stands at a delegation (NS records)".to_owned(),
                    Hiding::Delegation => format!("lies below the delegation at {owner}"),
                    Hiding::Dname => format!("lies below the DNAME record at {owner}"),
                };
                return Err(PrimaryTrouble::Told(OperatorError::Hidden { name: (*name).clone(), why }));
            }
            if adopt {
                continue;
            }
            let addresses = prober.addresses(name).await.map_err(|error| judge(Some(name), error))?;
            if !addresses.is_empty() {
                let name = (*name).clone();
                return Err(PrimaryTrouble::Told(OperatorError::Occupied { name, addresses, leaving: false }));
            }
        }
        Ok(())
    }
}
