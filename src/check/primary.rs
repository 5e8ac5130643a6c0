//! One primary of one zone: from "is anybody there" to "may this key change these names", each question only where the one
//! before it was answered well.

use std::time::Duration;

use ring::rand::{SecureRandom as _, SystemRandom};
use tokio::time::{Instant, sleep};

use super::advice::Adviser;
use super::rights::{Split, split};
use super::software::{Software, shown};
use super::{AskedNames, Checked, Extent, Finding};
use crate::config::{Primary, Zone};
use crate::dns::{AskError, FUDGE, Failure, Hiding, Pool, Prober, Rcode, Served, TsigFault};
use crate::model::{Family, Hostname};

/// The owner of the record that `Extent::Write` adds and removes.
const LABEL: &str = "_dyngate-check";

/// Clocks further apart than this, in seconds, are worth a warning: at [`FUDGE`] everything stops.
const CLOCK_WARNING: u16 = 60;

pub(super) async fn examine(
    pool: &Pool,
    zone: &Zone,
    primary: &Primary,
    asked: &[AskedNames],
    timeout: Duration,
    extent: Extent,
) -> Checked {
    let mut adviser = Adviser { zone, primary, software: Software::Unknown };
    let (mut server, mut findings) = (None, Vec::new());
    let examined = async {
        let prober = Prober::new(pool, zone, primary, timeout)?;
        let version = prober.software().await?;
        adviser.software = Software::of(version.as_deref());
        server = version.as_deref().map(shown);
        let mut examination = Examination { prober, adviser: &adviser, asked, timeout, findings: &mut findings };
        examination.run(extent).await
    };
    if let Err(error) = examined.await {
        findings.push(trouble(error, &adviser));
    }
    Checked { zone: zone.name.to_string(), primary: primary.to_string(), server, names: asked.len(), findings }
}

struct Examination<'c> {
    prober: Prober,
    adviser: &'c Adviser<'c>,
    asked: &'c [AskedNames],
    timeout: Duration,
    findings: &'c mut Vec<Finding>,
}

impl Examination<'_> {
    async fn run(&mut self, extent: Extent) -> Result<(), AskError> {
        let Some(soa_primary) = self.zone().await? else { return Ok(()) };
        let is_primary = self.rights(&soa_primary).await?;
        if extent == Extent::Write && is_primary {
            self.write(&soa_primary).await?;
        }
        Ok(())
    }

    /// Key, clock and zone, by one signed query; MNAME of the SOA where all is well.
    async fn zone(&mut self) -> Result<Option<String>, AskError> {
        let failure = match self.prober.zone().await {
            Ok(Served::Authoritative { primary }) => {
                if let Some(seconds) = self.prober.clock(CLOCK_WARNING).await?.filter(|seconds| *seconds != 0) {
                    self.findings.push(self.adviser.clock_drifts(seconds));
                }
                return Ok(Some(primary));
            }
            Ok(Served::Not { above }) => {
                self.findings.push(self.adviser.zone_not_served(above.as_deref()));
                return Ok(None);
            }
            Err(AskError::Failed(failure)) => failure,
            Err(error) => return Err(error),
        };
        let finding = match (failure.rcode, failure.tsig) {
            (_, Some(TsigFault::BadKey)) => self.adviser.unknown_key(),
            (_, Some(TsigFault::BadSig)) => self.adviser.wrong_secret(),
            (_, Some(TsigFault::BadTime(seconds))) => self.adviser.clock(seconds),
            // Knot 3.4 signs no answer for a key that it has not; of a wrong secret and of a wrong clock it says so.
            (Rcode::NOTAUTH, None) if self.adviser.software == Software::Knot => self.adviser.unknown_key(),
            // PowerDNS has one answer for an unknown key, a wrong secret and a wrong clock.
            (Rcode::NOTAUTH, None) => match self.prober.clock(FUDGE).await? {
                Some(seconds) => self.adviser.clock(Some(seconds)),
                None => self.adviser.key_or_secret(),
            },
            // Who does not serve a zone refuses the query, as who may not be asked; an UPDATE tells them apart. PowerDNS has no
            // list of who may ask, and refuses every UPDATE as long as `dnsupdate` is off.
            (Rcode::REFUSED, _) => match self.prober.empty_update().await {
                Ok(()) => self.adviser.no_queries(),
                Err(AskError::Failed(update)) => {
                    let asked = update.rcode == Rcode::REFUSED && self.adviser.software != Software::PowerDns;
                    if asked { self.adviser.no_queries() } else { self.adviser.zone_not_served(None) }
                }
                Err(error) => return Err(error),
            },
            (Rcode::SERVFAIL, _) => self.adviser.zone_broken(),
            _ => self.adviser.strange(failure),
        };
        self.findings.push(finding);
        Ok(None)
    }

    /// Whether it may be the primary: false where its answers are another server's.
    async fn rights(&mut self, soa_primary: &str) -> Result<bool, AskError> {
        const BOTH: [Family; 2] = [Family::V4, Family::V6];
        let names: Vec<_> = self.asked.iter().map(|asked| &asked.name).collect();
        let rights = split(&self.prober, &names, async |prober, names| prober.may_set(names, &BOTH).await).await?;
        if let Some(failure) = self.refused_elsewhere(&rights) {
            self.findings.push(self.adviser.refused_elsewhere(soa_primary, failure));
            return Ok(false);
        }
        let mut denied = Vec::new();
        for (name, failure) in &rights.bad {
            if !matches!((failure.rcode, failure.tsig), (Rcode::REFUSED, _) | (Rcode::NOTAUTH, _)) {
                self.findings.push(self.adviser.strange(*failure).about(self.grants(&[name])));
            } else if name.has_underscore() && self.prober.may_remove(name).await.is_ok() {
                self.findings.push(self.adviser.check_names().about(self.grants(&[name])));
            } else if let Some(family) = self.only_family(name).await {
                self.findings.push(self.adviser.one_family(name, family).about(self.grants(&[name])));
            } else {
                denied.push(*name);
            }
        }
        if let Some(first) = denied.first() {
            let all = rights.all_bad() && denied.len() == rights.bad.len();
            let finding =
                if all { self.adviser.may_not_update(soa_primary) } else { self.adviser.may_not_update_names(first) };
            self.findings.push(finding.about(self.grants(&denied)));
        }
        self.hidden(&rights).await?;
        Ok(true)
    }

    /// What the primary behind a secondary said. Knot itself never signs the refusal of an UPDATE.
    fn refused_elsewhere(&self, rights: &Split<'_>) -> Option<Failure> {
        let is_elsewhere =
            |failure: &Failure| failure.signed && matches!(failure.rcode, Rcode::REFUSED | Rcode::NOTAUTH);
        let all = rights.all_bad() && rights.bad.iter().all(|(_, failure)| is_elsewhere(failure));
        let (_, failure) = rights.bad.first().filter(|_| all && self.adviser.software == Software::Knot)?;
        Some(*failure)
    }

    /// The one family that the key may set at `name`.
    async fn only_family(&self, name: &Hostname) -> Option<Family> {
        for family in [Family::V4, Family::V6] {
            if self.prober.may_set(&[name], &[family]).await.is_ok() {
                return Some(family);
            }
        }
        None
    }

    /// Names that a server would take and never serve. PowerDNS tells only of names that the key may change.
    async fn hidden(&mut self, rights: &Split<'_>) -> Result<(), AskError> {
        let served = split(&self.prober, &rights.good, async |prober, names| prober.would_serve(names).await).await?;
        for (name, failure) in &served.bad {
            let hiding = if failure.rcode == Rcode::YXRRSET { self.prober.hidden_by(name).await? } else { None };
            let grants = self.grants(&[name]);
            let grant = grants.first().map_or(name.as_str(), String::as_str);
            let finding = match hiding {
                Some((Hiding::Cname, _)) => self.adviser.at_cname(grant),
                Some((Hiding::Delegation, owner)) => self.adviser.delegated(grant, &owner),
                Some((Hiding::Dname, owner)) => self.adviser.below_dname(grant, &owner),
                None => self.adviser.strange(*failure),
            };
            self.findings.push(finding.about(grants));
        }
        if rights.stopped || served.stopped {
            self.findings.push(self.adviser.not_all_asked());
        }
        Ok(())
    }

    /// A primary shows a change at once; a secondary that forwards shows it when it comes back.
    async fn write(&mut self, soa_primary: &str) -> Result<(), AskError> {
        let value = token();
        match self.prober.write_text(LABEL, &value).await {
            Ok(()) => {}
            Err(AskError::Failed(failure)) => {
                self.findings.push(self.adviser.write_refused(LABEL, failure));
                return Ok(());
            }
            Err(error) => return Err(error),
        }
        let shows = |found: Result<Option<String>, AskError>| found.is_ok_and(|text| text.as_ref() == Some(&value));
        let written = Instant::now();
        if !shows(self.prober.read_text(LABEL).await) {
            let mut arrived = false;
            while !arrived && written.elapsed() < self.timeout {
                sleep(Duration::from_millis(100)).await;
                arrived = shows(self.prober.read_text(LABEL).await);
            }
            self.findings.push(self.adviser.forwards(soa_primary, arrived.then(|| written.elapsed())));
        }
        if let Err(error) = self.prober.remove_text(LABEL).await {
            self.findings.push(self.adviser.left_behind(LABEL, &error));
        }
        Ok(())
    }

    fn grants(&self, names: &[&Hostname]) -> Vec<String> {
        let grant =
            |name: &&Hostname| self.asked.iter().find(|asked| asked.name == **name).map(|asked| asked.grant.clone());
        names.iter().filter_map(grant).collect()
    }
}

fn trouble(error: AskError, adviser: &Adviser<'_>) -> Finding {
    match error {
        AskError::Connect(error) => adviser.unreachable(&error),
        AskError::Silent(timeout) => adviser.silent(timeout),
        AskError::Closed => adviser.closed(),
        AskError::NotDns => adviser.not_dns(),
        AskError::Unsigned => adviser.unsigned(),
        AskError::Failed(failure) => adviser.strange(failure),
        // The last two are a reader's.
        AskError::Encode(_) | AskError::NoZone | AskError::Full => {
            Finding::error("unwritable", error.to_string(), Vec::new())
        }
    }
}

/// 64 random bits in hexadecimal: an older record must not pass for ours.
fn token() -> String {
    let mut octets = [0; 8];
    let _without_randomness_it_is_still_checked = SystemRandom::new().fill(&mut octets);
    format!("{:016x}", u64::from_be_bytes(octets))
}
