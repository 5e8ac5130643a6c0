//! What the zones' primaries say of names that are to become hosts. Knows neither accounts nor the store.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::OperatorError;
use crate::config::Zone;
use crate::dns::{AskError, Hiding, Pool, Prober, Tcp};
use crate::model::{Hostname, ZoneName};

/// Asks primaries.
#[derive(Debug)]
pub(super) struct Primaries {
    pool: Pool,
    timeout: Duration,
}

impl Primaries {
    /// Each answer may take `timeout`.
    pub(super) fn new(timeout: Duration) -> Self {
        Self { pool: Pool::new(Arc::new(Tcp)), timeout }
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

    async fn ask(&self, zone: &Zone, names: &[&Hostname], adopt: bool) -> Result<(), OperatorError> {
        let Some(first) = names.first() else { return Ok(()) };
        let mut silent = Vec::new();
        for primary in &zone.primaries {
            let mut at = *first;
            let answer = async {
                let prober = Prober::new(&self.pool, zone, primary, self.timeout)?;
                for name in names {
                    at = name;
                    if let Some(refusal) = obstacle(&prober, name, adopt).await? {
                        return Ok(Err(refusal));
                    }
                }
                Ok(Ok(()))
            };
            let why = match answer.await {
                Ok(verdict) => return verdict,
                Err(error) if error.leads_to_next_primary() => {
                    silent.push(format!("{primary}: {error}"));
                    continue;
                }
                Err(AskError::Failed(failure)) => format!("it answered {failure}"),
                Err(error) => error.to_string(),
            };
            return Err(OperatorError::Unwilling { primary: primary.to_string(), name: at.clone(), why });
        }
        Err(OperatorError::Unanswered { zone: zone.name.to_string(), name: (*first).clone(), why: silent.join("; ") })
    }
}

/// What keeps `name` from becoming a host.
async fn obstacle(prober: &Prober, name: &Hostname, adopt: bool) -> Result<Option<OperatorError>, AskError> {
    if let Some((hiding, owner)) = prober.hidden_by(name).await? {
        let why = match hiding {
            Hiding::Cname => "stands at a CNAME record".to_owned(),
            Hiding::Delegation if owner == name.as_str() => "stands at a delegation (NS records)".to_owned(),
            Hiding::Delegation => format!("lies below the delegation at {owner}"),
            Hiding::Dname => format!("lies below the DNAME record at {owner}"),
        };
        return Ok(Some(OperatorError::Hidden { name: name.clone(), why }));
    }
    if let Some(apex) = prober.zones_over(&[name]).await?.last() {
        let why = format!("lies in {apex}, a zone of its own at its primary");
        return Ok(Some(OperatorError::Hidden { name: name.clone(), why }));
    }
    let addresses = if adopt { Vec::new() } else { prober.addresses(name).await? };
    if addresses.is_empty() {
        return Ok(None);
    }
    Ok(Some(OperatorError::Occupied { name: name.clone(), addresses, leaving: false, user: None }))
}
