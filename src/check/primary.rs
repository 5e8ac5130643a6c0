//! One primary of one zone: from "is anybody there" to "may this key change these names", each question only where the one
//! before it was answered well.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ring::rand::{SecureRandom as _, SystemRandom};
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::{Instant, sleep};

use super::advice::Adviser;
use super::rights::{Split, split};
use super::software::{Software, shown};
use super::{AskedName, Checked, Extent, Finding};
use crate::config::{Primary, Zone};
use crate::dns::{AskError, FUDGE, Failure, Hiding, Pool, Prober, Rcode, Served, TsigFault};
use crate::model::{Families, Family, RrType};

/// The owner of the record that `Extent::Write` adds and removes.
const LABEL: &str = "_dyngate-check";

/// Clocks further apart than this, in seconds, are worth a warning: at [`FUDGE`] everything stops.
const CLOCK_WARNING: u16 = 60;

/// So many names get addresses for a moment, and so many are tried until enough are found that nobody uses; of each kind of
/// grant.
const MOST_WRITTEN: usize = 4;
const MOST_TRIED: usize = 20;

pub(super) async fn examine(
    pool: &Pool,
    zone: &Zone,
    primary: &Primary,
    asked: &[AskedName],
    timeout: Duration,
    extent: Extent,
    progress: &UnboundedSender<usize>,
) -> Checked {
    let mut adviser = Adviser { zone, primary, software: Software::Unknown };
    let (mut server, mut findings, mut settled) = (None, Vec::new(), 0);
    let tell = |names: usize| {
        let _nobody_looks = progress.send(names);
    };
    let examined = async {
        let prober = Prober::new(pool, zone, primary, timeout)?;
        let version = prober.software().await?;
        adviser.software = Software::of(version.as_deref());
        server = version.as_deref().map(shown);
        let (others, asked): (Vec<_>, Vec<_>) = asked.iter().partition(|asked| asked.other.is_some());
        let mut examination =
            Examination { prober, adviser: &adviser, asked, others, timeout, findings: &mut findings };
        let done = |names| {
            settled += names;
            tell(names);
        };
        examination.run(extent, done).await
    };
    if let Err(error) = examined.await {
        findings.push(trouble(error, &adviser));
    }
    tell(asked.len().saturating_sub(settled));
    Checked { zone: zone.name.to_string(), primary: primary.to_string(), server, names: asked.len(), findings }
}

struct Examination<'c> {
    prober: Prober,
    adviser: &'c Adviser<'c>,
    asked: Vec<&'c AskedName>,
    // Records that are no addresses.
    others: Vec<&'c AskedName>,
    timeout: Duration,
    findings: &'c mut Vec<Finding>,
}

impl<'c> Examination<'c> {
    async fn run(&mut self, extent: Extent, mut done: impl FnMut(usize)) -> Result<(), AskError> {
        let Some(soa_primary) = self.zone().await? else { return Ok(()) };
        // A server that answers nobody without the key is a hidden primary, which is no fault.
        let is_seen_by_all = self.prober.is_seen_by_all().await?;
        if is_seen_by_all == Some(false) {
            self.findings.push(self.adviser.other_view());
        }
        let Some(served) = self.rights(&soa_primary, &mut done).await? else { return Ok(()) };
        self.others(&mut done).await?;
        if extent == Extent::Write {
            self.write(&soa_primary, &served, is_seen_by_all == Some(true)).await?;
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

    /// The names that the key may change and the primary would serve; `None` where it is not the primary, or takes nothing.
    async fn rights(
        &mut self,
        soa_primary: &str,
        done: impl FnMut(usize),
    ) -> Result<Option<Vec<&'c AskedName>>, AskError> {
        let names = self.asked.clone();
        let may_set = async |prober: &Prober, names: &[&AskedName]| {
            let names: Vec<_> = names.iter().map(|asked| (&asked.name, asked.families)).collect();
            prober.may_set(&names).await
        };
        let rights = split(&self.prober, &names, may_set, done).await?;
        if let Some(finding) = self.takes_nothing(&rights, soa_primary).await? {
            self.findings.push(finding);
            return Ok(None);
        }
        let (mut denied, mut strange, mut unchecked) = (Vec::new(), BTreeMap::new(), Vec::new());
        let (mut v4_alone, mut v6_alone) = (Vec::new(), Vec::new());
        for (asked, failure) in &rights.bad {
            if !matches!((failure.rcode, failure.tsig), (Rcode::REFUSED, _) | (Rcode::NOTAUTH, _)) {
                strange.entry(failure.rcode.0).or_insert((*failure, Vec::new())).1.push(*asked);
            } else if asked.name.has_underscore() && self.prober.may_remove(&asked.name).await.is_ok() {
                unchecked.push(*asked);
            } else if let Some(family) = self.only_family(asked).await {
                if family == Family::V4 { &mut v4_alone } else { &mut v6_alone }.push(*asked);
            } else {
                denied.push(*asked);
            }
        }
        for (failure, names) in strange.into_values() {
            self.findings.push(self.adviser.strange(failure).about(grants(&names)));
        }
        if !unchecked.is_empty() {
            self.findings.push(self.adviser.check_names().about(grants(&unchecked)));
        }
        for (family, names) in [(Family::V4, v4_alone), (Family::V6, v6_alone)] {
            if let Some(first) = names.first() {
                self.findings.push(self.adviser.one_family(&first.name, family).about(grants(&names)));
            }
        }
        if let Some(first) = denied.first() {
            let all = rights.all_bad() && denied.len() == rights.bad.len();
            // Without records there is no right to check: whoever refuses that refuses the zone.
            let refuses_zone = all && matches!(self.prober.empty_update().await, Err(AskError::Failed(_)));
            let finding = if all {
                self.adviser.may_not_update(soa_primary, refuses_zone)
            } else {
                self.adviser.may_not_update_names(&first.name)
            };
            self.findings.push(finding.about(grants(&denied)));
        }
        self.challenges(&rights.good).await?;
        let served = self.hidden(&rights).await?;
        // Where no name can be changed, a TXT record tells nothing more.
        Ok((!rights.all_bad()).then_some(served))
    }

    /// The records that are no addresses and that the key may not set, type by type.
    async fn others(&mut self, done: impl FnMut(usize)) -> Result<(), AskError> {
        let may_set = async |prober: &Prober, names: &[&AskedName]| {
            let records: Vec<_> = names.iter().filter_map(|asked| Some((&asked.name, asked.other?))).collect();
            prober.may_set_others(&records).await
        };
        let rights = split(&self.prober, &self.others, may_set, done).await?;
        let (mut denied, mut strange) = (BTreeMap::<_, Vec<_>>::new(), BTreeMap::new());
        for (asked, failure) in rights.bad {
            match (asked.other, failure.rcode) {
                (Some(rtype), Rcode::REFUSED | Rcode::NOTAUTH) => denied.entry(rtype).or_default().push(asked),
                _ => strange.entry(failure.rcode.0).or_insert((failure, Vec::new())).1.push(asked),
            }
        }
        for (failure, names) in strange.into_values() {
            self.findings.push(self.adviser.strange(failure).about(grants(&names)));
        }
        for (rtype, names) in denied {
            if let Some(first) = names.first() {
                self.findings.push(self.adviser.may_not_set(&first.name, rtype).about(grants(&names)));
            }
        }
        Ok(())
    }

    /// Names whose challenges the key may not write, of those whose addresses it may.
    async fn challenges(&mut self, names: &[&'c AskedName]) -> Result<(), AskError> {
        let asked: Vec<_> = names.iter().copied().filter(|asked| asked.challenge.is_some()).collect();
        let may_set = async |prober: &Prober, names: &[&AskedName]| {
            let records: Vec<_> =
                names.iter().filter_map(|asked| Some((asked.challenge.as_ref()?, RrType::Txt))).collect();
            prober.may_set_others(&records).await
        };
        let denied = split(&self.prober, &asked, may_set, |_| {}).await?.bad;
        if let Some((AskedName { challenge: Some(first), grant, .. }, _)) = denied.first() {
            let (rule, name) = match grant.strip_prefix("*.") {
                Some(above) => ("subdomain", above),
                None => ("name", first.as_str()),
            };
            let names: Vec<_> = denied.iter().map(|(asked, _)| *asked).collect();
            self.findings.push(self.adviser.no_challenges(rule, name).about(grants(&names)));
        }
        Ok(())
    }

    /// What is found where no name can be changed whatever the rights are.
    async fn takes_nothing(&self, rights: &Split<'_>, soa_primary: &str) -> Result<Option<Finding>, AskError> {
        let Some((_, failure)) = rights.bad.first().filter(|_| rights.all_bad()) else { return Ok(None) };
        let all = |is: fn(&Failure) -> bool| rights.bad.iter().all(|(_, failure)| is(failure));
        if all(|failure| failure.rcode == Rcode::NOTIMP) {
            return Ok(Some(self.adviser.no_updates()));
        }
        // Knot itself never signs the refusal of an UPDATE for want of a right: the zone is frozen, or another server said so.
        let is_signed = |failure: &Failure| failure.signed && matches!(failure.rcode, Rcode::REFUSED | Rcode::NOTAUTH);
        if self.adviser.software != Software::Knot || !all(is_signed) {
            return Ok(None);
        }
        let refused = |answer: Result<(), AskError>| match answer {
            Err(AskError::Failed(failure)) => Ok(failure.rcode == Rcode::REFUSED),
            Err(error) => Err(error),
            Ok(()) => Ok(false),
        };
        Ok(Some(match refused(self.prober.empty_update().await)? {
            true => self.adviser.frozen(soa_primary),
            false => self.adviser.refused_elsewhere(soa_primary, *failure),
        }))
    }

    /// The one family that the key may set at the name, of several that it may have.
    async fn only_family(&self, asked: &AskedName) -> Option<Family> {
        for (family, alone) in [(Family::V4, Families::V4), (Family::V6, Families::V6)] {
            if asked.families == Families::Both && self.prober.may_set(&[(&asked.name, alone)]).await.is_ok() {
                return Some(family);
            }
        }
        None
    }

    /// Names that a server would take and never serve; the others are returned. PowerDNS tells only of names that the key may
    /// change.
    async fn hidden(&mut self, rights: &Split<'c>) -> Result<Vec<&'c AskedName>, AskError> {
        let would_serve = async |prober: &Prober, names: &[&AskedName]| {
            let names: Vec<_> = names.iter().map(|asked| &asked.name).collect();
            prober.would_serve(&names).await
        };
        let served = split(&self.prober, &rights.good, would_serve, |_| {}).await?;
        let bad = served.bad.iter().map(|(asked, _)| &asked.name);
        let names: Vec<_> = served.good.iter().map(|asked| &asked.name).chain(bad).collect();
        let inner = self.prober.zones_over(&names).await?;
        for (asked, failure) in &served.bad {
            let hiding = if failure.rcode == Rcode::YXRRSET { self.prober.hidden_by(&asked.name).await? } else { None };
            let grant = &asked.grant;
            let finding = match hiding {
                Some((Hiding::Cname, _)) => self.adviser.at_cname(grant),
                Some((Hiding::Delegation, owner)) => self.adviser.delegated(grant, &owner, inner.contains(&owner)),
                Some((Hiding::Dname, owner)) => self.adviser.below_dname(grant, &owner),
                None => self.adviser.strange(*failure),
            };
            self.findings.push(finding.about(vec![grant.clone()]));
        }
        if rights.stopped || served.stopped {
            self.findings.push(self.adviser.not_all_asked());
        }
        let (mut ours, mut theirs) = (Vec::new(), BTreeMap::<_, Vec<_>>::new());
        for asked in served.good {
            let mut owners = std::iter::once(asked.name.as_str()).chain(asked.name.ancestors());
            match owners.find_map(|owner| inner.get(owner)) {
                Some(apex) => theirs.entry(apex).or_default().push(asked),
                None => ours.push(asked),
            }
        }
        for (apex, names) in theirs {
            self.findings.push(self.adviser.other_zone(apex).about(grants(&names)));
        }
        Ok(ours)
    }

    /// Changes that are taken back: what is acknowledged is there, and everybody sees it.
    async fn write(&mut self, soa_primary: &str, names: &[&AskedName], is_seen: bool) -> Result<(), AskError> {
        let value = token();
        let is_dropped = match self.prober.write_text(LABEL, &value).await {
            Ok(()) => match self.look(soa_primary, &value, is_seen).await? {
                Some(is_dropped) => is_dropped,
                None => return Ok(()),
            },
            Err(AskError::Failed(failure)) => {
                self.findings.push(match failure.rcode {
                    Rcode::SERVFAIL => self.adviser.cannot_write(),
                    Rcode::NOTIMP => self.adviser.no_updates(),
                    _ => self.adviser.write_refused(LABEL, failure),
                });
                if matches!(failure.rcode, Rcode::SERVFAIL | Rcode::NOTIMP) {
                    return Ok(());
                }
                false
            }
            Err(error) => return Err(error),
        };
        let tried = self.addresses(names).await?;
        if is_dropped && tried == 0 {
            self.findings.push(self.adviser.drops_text(LABEL));
        }
        Ok(())
    }

    /// Whether the TXT record was dropped, which is taken back here; `None` where another server wrote it. A primary shows a
    /// change at once; a secondary that forwards shows it when it comes back.
    async fn look(&mut self, soa_primary: &str, value: &str, is_seen: bool) -> Result<Option<bool>, AskError> {
        let shows = |found: Result<Option<String>, AskError>| found.is_ok_and(|text| text.as_deref() == Some(value));
        let written = Instant::now();
        let is_here = shows(self.prober.read_text(LABEL).await);
        // A policy dropped it, as PowerDNS lets one do; a server that forwards asks its primary, which has it.
        let mut may_be_primary = is_here;
        let is_dropped = !is_here && matches!(self.prober.holds_text(LABEL, value).await, Ok(false));
        if !is_here && !is_dropped {
            let mut arrived = false;
            while !arrived && written.elapsed() < self.timeout {
                sleep(Duration::from_millis(100)).await;
                arrived = shows(self.prober.read_text(LABEL).await);
            }
            // named signs a change before it shows it.
            let may_sign = arrived && self.adviser.software == Software::Bind && self.prober.is_signed().await?;
            let after = arrived.then(|| written.elapsed());
            self.findings.push(match after.filter(|_| may_sign) {
                Some(after) => self.adviser.shows_late(soa_primary, after),
                None => self.adviser.forwards(soa_primary, after),
            });
            may_be_primary = may_sign;
        } else if is_here && is_seen && self.prober.shows_text_to_all(LABEL, value).await == Some(false) {
            self.findings.push(self.adviser.other_view());
        }
        if is_dropped {
            return Ok(Some(true));
        }
        let why = match self.prober.remove_text(LABEL).await {
            Ok(()) => match self.prober.holds_text(LABEL, value).await {
                Ok(false) => None,
                Ok(true) => Some("it answers NOERROR and keeps it".to_owned()),
                Err(error) => Some(error.to_string()),
            },
            Err(error) => Some(error.to_string()),
        };
        if let Some(why) = why {
            self.findings.push(self.adviser.left_behind(&format!("{LABEL}.{}", self.adviser.zone.name), "TXT", &why));
        }
        Ok(may_be_primary.then_some(false))
    }

    /// Whether addresses at granted names that nobody uses come to be; how many names were tried.
    async fn addresses(&mut self, names: &[&AskedName]) -> Result<usize, AskError> {
        let (exact, below): (Vec<&AskedName>, Vec<_>) =
            names.iter().copied().partition(|asked| asked.grant == asked.name.as_str());
        let (mut all_tried, mut types, mut dropped) = (0, BTreeSet::new(), Vec::new());
        for kind in [below, exact] {
            let mut written = 0;
            for asked in kind.into_iter().take(MOST_TRIED) {
                let tried = match self.prober.try_addresses(&asked.name, asked.families).await {
                    Ok(Some(tried)) => tried,
                    Ok(None) => continue,
                    Err(AskError::Failed(failure)) => {
                        let finding = match failure.rcode {
                            Rcode::SERVFAIL => self.adviser.cannot_write(),
                            _ => self.adviser.strange(failure),
                        };
                        self.findings.push(finding.about(grants(&[asked])));
                        return Ok(all_tried);
                    }
                    Err(error) => return Err(error),
                };
                for family in tried.left {
                    let (owner, rtype) = (asked.name.as_str(), RrType::from(family).as_str());
                    self.findings.push(self.adviser.left_behind(
                        owner,
                        rtype,
                        "the primary did not say that it is gone",
                    ));
                }
                if !tried.dropped.is_empty() {
                    types.extend(tried.dropped.into_iter().map(RrType::from));
                    dropped.push(asked);
                }
                (written, all_tried) = (written + 1, all_tried + 1);
                if written == MOST_WRITTEN {
                    break;
                }
            }
        }
        if !dropped.is_empty() {
            let types: Vec<_> = types.into_iter().map(RrType::as_str).collect();
            self.findings.push(self.adviser.drops(&types.join(" and ")).about(grants(&dropped)));
        }
        Ok(all_tried)
    }
}

fn grants(names: &[&AskedName]) -> Vec<String> {
    names.iter().map(|asked| asked.grant.clone()).collect()
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
