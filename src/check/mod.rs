//! Asks every primary of every zone whether the gateway could work with it, and says in plain words what to mend. Changes
//! nothing unless told to.

mod advice;
mod certificate;
mod finding;
mod primary;
mod rights;
mod secrets;
mod software;

use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::config::{Config, Zone};
use crate::dns::{Pool, Tcp};
use crate::model::{Hostname, ZoneName};
use crate::registry::Declared;

pub(crate) use finding::{Advice, Finding, Level};

/// Zones that are asked at the same time.
const AT_ONCE: usize = 8;
/// Connections to one primary: with the 16 of a gateway beside, the 20 that PowerDNS takes.
const CONNECTIONS: usize = 4;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    /// The configuration and the files that it names.
    Offline,
    /// Questions to every primary; nothing is changed.
    Questions,
    /// A TXT record is also added, read back and removed.
    Write,
}

/// What became of one primary of one zone.
#[derive(Debug, Clone)]
pub(crate) struct Checked {
    pub(crate) zone: String,
    /// The primary as the configuration names it.
    pub(crate) primary: String,
    /// What the primary calls itself, where it tells.
    pub(crate) server: Option<String>,
    /// Names that were asked about.
    pub(crate) names: usize,
    /// What was found, in the order in which it was.
    pub(crate) findings: Vec<Finding>,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Report {
    /// One for each primary of each zone, in the configuration's order.
    pub(crate) checked: Vec<Checked>,
    /// What was found on this machine.
    pub(crate) here: Vec<Finding>,
}

impl Report {
    pub(crate) fn findings(&self) -> impl Iterator<Item = &Finding> {
        self.here.iter().chain(self.checked.iter().flat_map(|checked| &checked.findings))
    }

    pub(crate) fn count(&self, level: Level) -> usize {
        self.findings().filter(|finding| finding.level == level).count()
    }
}

/// A name that the primary is asked about.
#[derive(Debug, Clone)]
struct AskedNames {
    /// The name itself, or one that a wildcard grant covers.
    name: Hostname,
    /// The grant, as the configuration spells it.
    grant: String,
}

/// Checks `config` and calls `progress` with the number of zones done after each.
pub(crate) async fn run(config: &Config, extent: Extent, mut progress: impl FnMut(usize)) -> Report {
    let mut report = Report { checked: Vec::new(), here: secrets::examine(config) };
    report.here.extend(config.http.tls.as_ref().and_then(|tls| certificate::examine(tls, SystemTime::now())));
    if extent == Extent::Offline {
        return report;
    }
    let (mut asked, free) = (names(config), Arc::new(Semaphore::new(AT_ONCE)));
    let pool = Pool::with_most(Arc::new(Tcp), CONNECTIONS);
    let mut zones = JoinSet::new();
    for (number, zone) in config.zones.iter().cloned().enumerate() {
        let (asked, free) = (asked.get_mut(number).map(std::mem::take).unwrap_or_default(), Arc::clone(&free));
        let (pool, timeout) = (pool.clone(), config.engine.deadline);
        zones.spawn(async move {
            let _turn = free.acquire().await;
            let mut checked = Vec::with_capacity(zone.primaries.len());
            // One after the other: they hold the same data, and one record serves `Extent::Write` for all.
            for primary in &zone.primaries {
                checked.push(primary::examine(&pool, &zone, primary, &asked, timeout, extent).await);
            }
            (number, checked)
        });
    }
    let mut done = Vec::with_capacity(config.zones.len());
    while let Some(zone) = zones.join_next().await {
        done.extend(zone.ok());
        progress(done.len());
    }
    done.sort_unstable_by_key(|(number, _)| *number);
    report.checked = done.into_iter().flat_map(|(_, checked)| checked).collect();
    report
}

/// For each zone the names that accounts are granted, and one below each wildcard grant.
fn names(config: &Config) -> Vec<Vec<AskedNames>> {
    let declared = Declared::new(config);
    let mut names: Vec<Vec<AskedNames>> =
        config.zones.iter().map(|zone| below_wildcards(zone, config, &declared)).collect();
    for host in config.accounts.iter().flat_map(|account| &account.hosts) {
        let zone = declared.zone_of(host).and_then(|apex| config.zones.iter().position(|zone| zone.name == *apex));
        if let Some(names) = zone.and_then(|number| names.get_mut(number)) {
            names.push(AskedNames { name: host.clone(), grant: host.to_string() });
        }
    }
    for names in &mut names {
        names.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        names.dedup_by(|a, b| a.name == b.name);
    }
    names
}

/// One name in `zone` for each wildcard grant that covers names in it.
fn below_wildcards(zone: &Zone, config: &Config, declared: &Declared) -> Vec<AskedNames> {
    let covered = |above: &ZoneName| {
        // A grant that begins above the zone covers all of it.
        let within = if zone.name.is_within(above) { &zone.name } else { above };
        let name = Hostname::parse(&format!("dyngate-check.{within}")).ok()?;
        (*declared.zone_of(&name)? == zone.name).then(|| AskedNames { name, grant: format!("*.{above}") })
    };
    config.accounts.iter().flat_map(|account| &account.wildcards).filter_map(covered).collect()
}
