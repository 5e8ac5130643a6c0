//! Questions to one primary, each answered for what it is worth. None changes anything, except those that say so.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::Message;
use hickory_proto::rr::rdata::TXT;
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::exchange::AskError;
use super::message::{EncodeError, Update, absent, delete_rrset, push, query, record_type, rr_data, wire_name};
use super::pool::Pool;
use super::reader::{Reader, Route};
use super::reply::{Failure, Rcode};
use super::tsig::Signer;
use crate::config;
use crate::model::{Desired, DesiredRecords, Families, Family, Hostname, RrData, RrType, TsigKey};

/// How long another writer may keep a primary from writing, and between two tries.
const LOCKED: Duration = Duration::from_secs(1);
const AGAIN: Duration = Duration::from_millis(100);
/// Queries on their way at a time.
const AT_ONCE: usize = 100;
/// How often a zone is looked at that changes under our eyes.
const LOOKS: usize = 5;

/// What the primary says of the zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Served {
    Authoritative {
        /// MNAME of the SOA record: the zone's primary, as the zone itself says.
        primary: String,
    },
    /// It has only this zone above, or knows none at all.
    Not { above: Option<String> },
}

/// What keeps a name from being served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hiding {
    /// A CNAME record (RFC 1034 section 3.6.2).
    Cname,
    Delegation,
    /// A DNAME record (RFC 6672).
    Dname,
}

/// What became of addresses that were set for a moment.
#[derive(Debug, Default)]
pub(crate) struct Tried {
    /// Acknowledged, and never there.
    pub(crate) dropped: Vec<Family>,
    /// Could not be taken back.
    pub(crate) left: Vec<Family>,
}

/// Asks one primary about one zone, with the zone's key.
#[derive(Debug)]
pub(crate) struct Prober {
    reader: Reader,
    update: Arc<Update>,
    key: TsigKey,
}

impl Prober {
    /// A prober of `primary` that takes its connection from `pool`; each answer may take `timeout`.
    pub(crate) fn new(
        pool: &Pool,
        zone: &config::Zone,
        primary: &config::Primary,
        timeout: Duration,
    ) -> Result<Self, EncodeError> {
        let update = Arc::new(Update::new(zone.name.clone(), Signer::new(&zone.key)?)?);
        let route = Route { update: Arc::clone(&update), primary: primary.clone(), source: zone.source, timeout };
        let reader = Reader::start(pool.clone(), watch::Sender::new(route).subscribe());
        Ok(Self { reader, update, key: zone.key.clone() })
    }

    /// What the primary calls itself, if it does: `version.bind`, class CHAOS, unsigned (RFC 4892 section 2). Only where there is
    /// no connection, it is an error that it does not.
    pub(crate) async fn software(&self) -> Result<Option<String>, AskError> {
        let mut message = query("version.bind", RecordType::TXT)?;
        for query in &mut message.queries {
            query.set_query_class(DNSClass::CH);
        }
        match self.reader.ask_by(Some(Signer::unsigned()), message).await {
            Ok(message) => Ok(message.answers.iter().find_map(text)),
            Err(error @ AskError::Connect(_)) => Err(error),
            Err(_) => Ok(None),
        }
    }

    /// Whether the zone is served here, by a signed query for its SOA record; an error answer tells of the key or the clock.
    pub(crate) async fn zone(&self) -> Result<Served, AskError> {
        let apex = self.update.zone().as_str();
        if let Some(soa) = self.reader.soa(apex).await? {
            return Ok(Served::Authoritative { primary: text_of(&soa.mname) });
        }
        let mut above = None;
        for (dot, _) in apex.match_indices('.') {
            let ancestor = apex.get(dot + 1..).unwrap_or_default();
            if above.is_none() && matches!(self.reader.soa(ancestor).await, Ok(Some(_))) {
                above = Some(ancestor.to_owned());
            }
        }
        Ok(Served::Not { above })
    }

    /// The apexes of those zones within ours that are served here too and hold any of `names`: an UPDATE of our zone is taken
    /// for such a name, and queries are answered from theirs.
    pub(crate) async fn zones_over(&self, names: &[&Hostname]) -> Result<BTreeSet<String>, AskError> {
        let apexes: BTreeSet<_> =
            names.iter().flat_map(|name| self.update.below_apex(name)).map(str::to_owned).collect();
        let mut apexes = apexes.into_iter();
        let (mut found, mut asked) = (BTreeSet::new(), JoinSet::new());
        loop {
            for apex in apexes.by_ref().take(AT_ONCE - asked.len()) {
                let reader = self.reader.clone();
                asked.spawn(async move { (reader.soa(&apex).await, apex) });
            }
            match asked.join_next().await {
                None => return Ok(found),
                Some(Ok((Ok(Some(_)), apex))) => drop(found.insert(apex)),
                // An error answer to one name is no zone.
                Some(Ok((Ok(None) | Err(AskError::Failed(_)), _)) | Err(_)) => {}
                Some(Ok((Err(error), _))) => return Err(error),
            }
        }
    }

    /// Whether the zone is signed (RFC 4034 section 2).
    pub(crate) async fn is_signed(&self) -> Result<bool, AskError> {
        let answer = self.reader.ask(query(self.update.zone().as_str(), RecordType::DNSKEY)?).await?;
        Ok(answer.answers.iter().any(|record| record.record_type() == RecordType::DNSKEY))
    }

    /// Whether who asks without the key is shown the zone that the key is shown; `None` where such queries are not answered.
    pub(crate) async fn is_seen_by_all(&self) -> Result<Option<bool>, AskError> {
        let apex = self.update.zone().as_str();
        for _ in 0..LOOKS {
            let before = self.reader.soa(apex).await?;
            let public = match self.reader.soa_by(Some(Signer::unsigned()), apex).await {
                // A hidden primary refuses them; something between may drop them.
                Err(_) | Ok(None) => return Ok(None),
                Ok(public) => public,
            };
            let after = self.reader.soa(apex).await?;
            if public == before || public == after {
                return Ok(Some(true));
            }
            // Else somebody changes the zone just now.
            if before == after {
                return Ok(Some(false));
            }
        }
        Ok(None)
    }

    /// The primary's clock minus ours in seconds, to a second or two; 0 where they are at most `tolerance` apart, `None`
    /// where the key is not taken even with 18 hours between them. A server goes by the fudge of the question (RFC 8945
    /// section 5.2.3), so the smallest that it takes tells: PowerDNS never says BADTIME, and its answers have our own time.
    pub(crate) async fn clock(&self, tolerance: u16) -> Result<Option<i64>, AskError> {
        if self.accepts(tolerance, 0).await? {
            return Ok(Some(0));
        }
        let (mut rejected, mut accepted) = (tolerance, u16::MAX);
        if !self.accepts(accepted, 0).await? {
            return Ok(None);
        }
        while accepted - rejected > 1 {
            let middle = rejected + (accepted - rejected) / 2;
            if self.accepts(middle, 0).await? { accepted = middle } else { rejected = middle }
        }
        // Signed as late as a clock that is ahead would show: nearer to that one, further from one that is behind.
        let ahead = self.accepts(accepted, accepted).await?;
        Ok(Some(if ahead { i64::from(accepted) } else { -i64::from(accepted) }))
    }

    /// Whether a query that is signed `later` seconds from now is taken with this fudge, in seconds.
    async fn accepts(&self, fudge: u16, later: u16) -> Result<bool, AskError> {
        let signer = Signer::with_fudge(&self.key, fudge, later)?;
        let question = query(self.update.zone().as_str(), RecordType::SOA)?;
        match self.reader.ask_by(Some(signer), question).await {
            Ok(_) => Ok(true),
            Err(AskError::Failed(failure)) => Ok(failure.rcode != Rcode::NOTAUTH),
            Err(error) => Err(error),
        }
    }

    /// An UPDATE without records: NOERROR where the zone is served as a primary.
    pub(crate) async fn empty_update(&self) -> Result<(), AskError> {
        self.reader.ask(self.update.empty()).await.map(drop)
    }

    /// Whether the key may set addresses of these families at all of `names`, by an addition whose prerequisite never holds:
    /// "no SOA at the apex". YXRRSET means yes, on BIND 9.18, Knot 3.2 and PowerDNS 4.7 alike.
    pub(crate) async fn may_set(&self, names: &[(&Hostname, Families)]) -> Result<(), AskError> {
        let mut records = Vec::new();
        for (name, families) in names {
            records.extend(examples(name, *families)?);
        }
        self.never(records).await
    }

    /// Whether the key may set records of these types, which are no addresses, by the same.
    pub(crate) async fn may_set_others(&self, all: &[(&Hostname, RrType)]) -> Result<(), AskError> {
        let mut records = Vec::with_capacity(all.len());
        for (name, rtype) in all {
            if let Some(data) = RrData::parse(*rtype, example_text(*rtype)) {
                push(&mut records, &wire_name(name.as_str())?, 0, &data)?;
            }
        }
        self.never(records).await
    }

    /// Whether the key may remove addresses at `name`: not subject to BIND's `check-names`, which an addition is.
    pub(crate) async fn may_remove(&self, name: &Hostname) -> Result<(), AskError> {
        self.never(vec![delete_rrset(wire_name(name.as_str())?, RecordType::A)]).await
    }

    /// Whether all of `names` would be served, by the guards of a change alone: YXRRSET where one would not be.
    pub(crate) async fn would_serve(&self, names: &[&Hostname]) -> Result<(), AskError> {
        self.reader.ask(self.update.guards(names)?).await.map(drop)
    }

    /// What hides `name`, and at which owner.
    pub(crate) async fn hidden_by(&self, name: &Hostname) -> Result<Option<(Hiding, String)>, AskError> {
        for (owner, kind) in self.update.hiding(name) {
            if self.holds(owner, kind).await? {
                let hiding = match kind {
                    RecordType::CNAME => Hiding::Cname,
                    RecordType::DNAME => Hiding::Dname,
                    _ => Hiding::Delegation,
                };
                return Ok(Some((hiding, owner.to_owned())));
            }
        }
        Ok(None)
    }

    /// The addresses at `name` itself: what a wildcard above it lends does not count.
    pub(crate) async fn addresses(&self, name: &Hostname) -> Result<Vec<IpAddr>, AskError> {
        let mut addresses = Vec::new();
        for kind in [RecordType::A, RecordType::AAAA] {
            if !self.holds(name.as_str(), kind).await? {
                continue;
            }
            let answer = self.reader.ask(query(name.as_str(), kind)?).await?;
            addresses.extend(answer.answers.iter().filter_map(|record| rr_data(&record.data)?.address()));
        }
        Ok(addresses)
    }

    /// Whether `owner` itself holds an RRset of `kind`, by the prerequisite that it holds none.
    async fn holds(&self, owner: &str, kind: RecordType) -> Result<bool, AskError> {
        let mut message = self.update.empty();
        message.answers.push(absent(wire_name(owner)?, kind));
        match self.reader.ask(message).await {
            Ok(_) => Ok(false),
            Err(AskError::Failed(Failure { rcode: Rcode::YXRRSET, .. })) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Sends an UPDATE of `records` that cannot come true; `Ok` where only that kept it from being done.
    async fn never(&self, records: Vec<Record>) -> Result<(), AskError> {
        let mut message = self.update.empty();
        message.answers.push(absent(wire_name(self.update.zone().as_str())?, RecordType::SOA));
        message.authorities = records;
        match self.reader.ask(message).await {
            Err(AskError::Failed(Failure { rcode: Rcode::YXRRSET, .. })) => Ok(()),
            // A server that does what a false prerequisite forbids does not hold to RFC 2136.
            Ok(_) => Err(AskError::NotDns),
            Err(error) => Err(error),
        }
    }

    // ---- A record that is written, read and removed again: the one thing that shows that changes come to be.

    /// Puts a TXT record with `value` and TTL 0 at `label` below the apex, in place of what is there. **A change.**
    pub(crate) async fn write_text(&self, label: &str, value: &str) -> Result<(), AskError> {
        let record = self.text_record(label, value)?;
        let mut message = self.update.empty();
        message.authorities = vec![delete_rrset(record.name.clone(), RecordType::TXT), record];
        self.change(message).await
    }

    /// Whether the TXT record is there, by a prerequisite: where a secondary forwards updates, its primary says so.
    pub(crate) async fn holds_text(&self, label: &str, value: &str) -> Result<bool, AskError> {
        let mut message = self.update.empty();
        message.answers.push(self.text_record(label, value)?);
        self.is_so(message).await
    }

    /// Whether who asks without the key is shown it; `None` where such queries are not answered.
    pub(crate) async fn shows_text_to_all(&self, label: &str, value: &str) -> Option<bool> {
        let question = query(&self.below_apex(label), RecordType::TXT).ok()?;
        match self.reader.ask_by(Some(Signer::unsigned()), question).await {
            Ok(message) => Some(message.answers.iter().any(|record| text(record).as_deref() == Some(value))),
            Err(AskError::Failed(Failure { rcode: Rcode::NXDOMAIN, .. })) => Some(false),
            Err(_) => None,
        }
    }

    /// The TXT record at `label` below the apex.
    pub(crate) async fn read_text(&self, label: &str) -> Result<Option<String>, AskError> {
        match self.reader.ask(query(&self.below_apex(label), RecordType::TXT)?).await {
            Ok(message) => Ok(message.answers.iter().find_map(text)),
            Err(AskError::Failed(Failure { rcode: Rcode::NXDOMAIN, .. })) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Removes the TXT records at `label` below the apex. **A change.**
    pub(crate) async fn remove_text(&self, label: &str) -> Result<(), AskError> {
        let mut message = self.update.empty();
        message.authorities.push(delete_rrset(wire_name(&self.below_apex(label))?, RecordType::TXT));
        self.change(message).await
    }

    /// Sets addresses of documentation at `name`, where nobody uses it and it would be served, looks whether they are there, and
    /// takes them back, each where it is still ours: a router may have come meanwhile. `None` where the name is in use. **A
    /// change.**
    pub(crate) async fn try_addresses(&self, name: &Hostname, families: Families) -> Result<Option<Tried>, AskError> {
        let owner = wire_name(name.as_str())?;
        let mut message = self.update.guards(&[name])?;
        // "Name is not in use" (RFC 2136 section 2.4.5).
        message.answers.push(absent(owner.clone(), RecordType::ANY));
        message.authorities = examples(name, families)?;
        match self.change(message).await {
            Err(AskError::Failed(Failure { rcode: Rcode::YXDOMAIN | Rcode::YXRRSET, .. })) => return Ok(None),
            answer => answer?,
        }
        let mut tried = Tried::default();
        for family in families.iter() {
            let data = example(family);
            let records = DesiredRecords::from_iter([(data.rtype(), Desired::Set { data, ttl: 0 })]);
            let question = self.update.holds_exactly(name, &records)?;
            // Where nobody can say, it is taken back as well.
            if matches!(self.is_so(question.clone()).await, Ok(false)) {
                tried.dropped.push(family);
                continue;
            }
            let mut removal = question.clone();
            removal.authorities.push(delete_rrset(owner.clone(), record_type(family.into())));
            let removed = self.change(removal).await;
            let is_another = matches!(removed, Err(AskError::Failed(Failure { rcode: Rcode::NXRRSET, .. })));
            if !is_another && (removed.is_err() || self.is_so(question).await.unwrap_or(true)) {
                tried.left.push(family);
            }
        }
        Ok(Some(tried))
    }

    /// Whether the prerequisites hold that an UPDATE consists of.
    async fn is_so(&self, message: Message) -> Result<bool, AskError> {
        match self.reader.ask(message).await {
            Ok(_) => Ok(true),
            Err(AskError::Failed(Failure { rcode: Rcode::NXRRSET, .. })) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// An UPDATE; where the primary says SERVFAIL, again for a second: PowerDNS says so while something else writes into its
    /// SQLite file.
    async fn change(&self, message: Message) -> Result<(), AskError> {
        let until = Instant::now() + LOCKED;
        loop {
            match self.reader.ask(message.clone()).await {
                Err(AskError::Failed(Failure { rcode: Rcode::SERVFAIL, .. })) if Instant::now() < until => {
                    sleep(AGAIN).await;
                }
                answer => return answer.map(drop),
            }
        }
    }

    fn text_record(&self, label: &str, value: &str) -> Result<Record, EncodeError> {
        let data = RData::TXT(TXT::new(vec![value.to_owned()]));
        Ok(Record::from_rdata(wire_name(&self.below_apex(label))?, 0, data))
    }

    fn below_apex(&self, label: &str) -> String {
        format!("{label}.{}", self.update.zone())
    }
}

/// An address of documentation (RFC 5737, RFC 3849).
fn example(family: Family) -> RrData {
    match family {
        Family::V4 => RrData::A(Ipv4Addr::new(192, 0, 2, 1)),
        Family::V6 => RrData::Aaaa(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
    }
}

/// What a record may hold (RFC 2606).
fn example_text(rtype: RrType) -> &'static str {
    match rtype {
        RrType::A => "192.0.2.1",
        RrType::Aaaa => "2001:db8::1",
        RrType::Txt => "dyngate-check",
        RrType::Ptr => "dyngate-check.example",
        RrType::Mx => "10 dyngate-check.example",
    }
}

/// Such an address of each family, as records of `name`.
fn examples(name: &Hostname, families: Families) -> Result<Vec<Record>, EncodeError> {
    let owner = wire_name(name.as_str())?;
    let mut records = Vec::with_capacity(2);
    families.iter().try_for_each(|family| push(&mut records, &owner, 0, &example(family)))?;
    Ok(records)
}

fn text(record: &Record) -> Option<String> {
    match &record.data {
        RData::TXT(txt) => {
            Some(txt.txt_data.iter().map(|part| String::from_utf8_lossy(part)).collect::<Vec<_>>().concat())
        }
        _ => None,
    }
}

fn text_of(name: &Name) -> String {
    name.to_ascii().trim_end_matches('.').to_ascii_lowercase()
}
