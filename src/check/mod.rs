//! Asks every primary of every zone whether the gateway could work with it, and says in plain words what to mend. Changes
//! nothing unless told to.

mod advice;
mod certificate;
mod finding;
mod listeners;
mod names;
mod primary;
mod rights;
mod secrets;
mod software;
mod store;

use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use crate::config::Config;
use crate::dns::{Pool, Tcp};
use crate::model::{Families, HostExtras, Hostname, RrType, ZoneName};
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
    /// A TXT record, and addresses at a few granted names that nobody uses, are also added, looked for and removed.
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
struct AskedName {
    /// The name itself, or one that a wildcard grant covers.
    name: Hostname,
    /// The grant, as it is spelled.
    grant: String,
    /// Which addresses it may have.
    families: Families,
    /// What else than addresses is asked about there.
    other: Option<RrType>,
    /// Where its challenges stand, where credentials may write any.
    challenge: Option<Hostname>,
}

/// Checks `config` and calls `progress` with how many names were asked about, of how many.
pub(crate) async fn run(config: &Config, extent: Extent, mut progress: impl FnMut(usize, usize)) -> Report {
    let mut report = Report { checked: Vec::new(), here: secrets::examine(config) };
    report.here.extend(config.http.tls.as_ref().and_then(|tls| certificate::examine(tls, SystemTime::now())));
    if extent == Extent::Offline {
        return report;
    }
    report.here.extend(listeners::examine(config));
    report.here.extend(names::examine(&config.http, config.engine.deadline).await);
    let mut names = NamesByZone::declared(config);
    report.here.extend(store::examine(config, &mut names).await);
    let asked = names.in_order();
    let all = asked.iter().zip(&config.zones).map(|(names, zone)| names.len() * zone.primaries.len()).sum();
    let free = Arc::new(Semaphore::new(AT_ONCE));
    let pool = Pool::with_most(Arc::new(Tcp), CONNECTIONS);
    let (telling, mut told) = mpsc::unbounded_channel();
    let mut zones = JoinSet::new();
    for (number, (zone, asked)) in config.zones.iter().cloned().zip(asked).enumerate() {
        let (free, telling) = (Arc::clone(&free), telling.clone());
        let (pool, timeout) = (pool.clone(), config.engine.deadline);
        zones.spawn(async move {
            let _turn = free.acquire().await;
            let mut checked = Vec::with_capacity(zone.primaries.len());
            // One after the other: they hold the same data, and one record serves `Extent::Write` for all.
            for primary in &zone.primaries {
                checked.push(primary::examine(&pool, &zone, primary, &asked, timeout, extent, &telling).await);
            }
            (number, checked)
        });
    }
    drop(telling);
    let mut asked = 0;
    while let Some(names) = told.recv().await {
        asked += names;
        progress(asked, all);
    }
    let mut done: Vec<_> = zones.join_all().await;
    done.sort_unstable_by_key(|(number, _)| *number);
    report.checked = done.into_iter().flat_map(|(_, checked)| checked).collect();
    report
}

/// What the primaries of each zone are asked about.
struct NamesByZone<'c> {
    config: &'c Config,
    declared: Declared,
    // In the order of the zones.
    names: Vec<Vec<AskedName>>,
}

impl<'c> NamesByZone<'c> {
    /// Those of the file: the names that accounts are granted, one below each wildcard grant, and hosts that follow others.
    fn declared(config: &'c Config) -> Self {
        let names = config.zones.iter().map(|_| Vec::new()).collect();
        let mut all = Self { config, declared: Declared::new(config), names };
        for account in &config.accounts {
            account.hosts.iter().for_each(|host| all.add(host.clone(), Families::Both));
            account.wildcards.iter().for_each(|above| all.add_below(above));
        }
        // They may be granted to nobody, and move with those whom they follow.
        let followers = config.hosts.iter().filter(|host| host.extras.follow.is_some());
        followers.for_each(|host| all.add(host.name.clone(), Families::V6));
        config.hosts.iter().for_each(|host| all.add_beside(&host.name, &host.extras));
        all
    }

    /// What a host has beside its addresses.
    fn add_beside(&mut self, name: &Hostname, extras: &HostExtras) {
        if extras.wildcard {
            name.wildcard().into_iter().for_each(|wildcard| self.add(wildcard, Families::Both));
        }
        if !extras.mx.is_empty() {
            self.add_other(name, RrType::Mx);
        }
        if extras.ptr {
            self.add_pointers();
        }
    }

    /// A name, in the zone that holds it.
    fn add(&mut self, name: Hostname, families: Families) {
        let zone = self.declared.zone_of(&name).cloned();
        let challenge = name.challenge_name().ok().filter(|_| self.config.acme.dns01);
        let asked = AskedName { grant: name.to_string(), name, families, other: None, challenge };
        self.push(zone.as_ref(), asked);
    }

    /// Records beside its addresses, in the zone that holds its name.
    fn add_other(&mut self, name: &Hostname, rtype: RrType) {
        let zone = self.declared.zone_of(name).cloned();
        let asked = AskedName {
            grant: name.to_string(),
            name: name.clone(),
            families: Families::Both,
            other: Some(rtype),
            challenge: None,
        };
        self.push(zone.as_ref(), asked);
    }

    /// Some address of each reverse zone: a host's PTR record may come to stand in any.
    fn add_pointers(&mut self) {
        for (zone, names) in self.config.zones.iter().zip(&mut self.names).filter(|(zone, _)| zone.name.is_reverse()) {
            let Ok(name) = Hostname::parse(&format!("dyngate-check.{}", zone.name)) else { continue };
            let grant = format!("*.{}", zone.name);
            names.push(AskedName { name, grant, families: Families::Both, other: Some(RrType::Ptr), challenge: None });
        }
    }

    fn push(&mut self, zone: Option<&ZoneName>, asked: AskedName) {
        let zone = zone.and_then(|apex| self.config.zones.iter().position(|zone| zone.name == *apex));
        if let Some(names) = zone.and_then(|number| self.names.get_mut(number)) {
            names.push(asked);
        }
    }

    /// One name for a wildcard grant, in each zone that it covers names of.
    fn add_below(&mut self, above: &ZoneName) {
        for (zone, names) in self.config.zones.iter().zip(&mut self.names) {
            // A grant that begins above the zone covers all of it.
            let within = if zone.name.is_within(above) { &zone.name } else { above };
            let Ok(name) = Hostname::parse(&format!("dyngate-check.{within}")) else { continue };
            if self.declared.zone_of(&name) == Some(&zone.name) {
                let challenge = name.challenge_name().ok().filter(|_| self.config.acme.dns01);
                let grant = format!("*.{above}");
                names.push(AskedName { name, grant, families: Families::Both, other: None, challenge });
            }
        }
    }

    /// Each name once.
    fn in_order(mut self) -> Vec<Vec<AskedName>> {
        for names in &mut self.names {
            names.sort_by(|a, b| (&a.name, a.other).cmp(&(&b.name, b.other)));
            names.dedup_by(|a, b| (&a.name, a.other) == (&b.name, b.other));
        }
        self.names
    }
}
