//! Questions to one primary, one after the other, each answered for what it is worth. None changes anything, except two
//! that say so.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::rr::rdata::TXT;
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::exchange::AskError;
use super::message::{EncodeError, Update, absent, delete_rrset, query, rdata, rr_data, wire_name};
use super::pool::Pool;
use super::reader::{Reader, Route};
use super::reply::{Failure, Rcode};
use super::tsig::Signer;
use crate::config;
use crate::model::{Family, Hostname, RrData, TsigKey};

/// How long another writer may keep a primary from writing, and between two tries.
const LOCKED: Duration = Duration::from_secs(1);
const AGAIN: Duration = Duration::from_millis(100);

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

    /// Whether the key may set addresses of `families` at all of `names`, by an addition whose prerequisite never holds: "no
    /// SOA at the apex". YXRRSET means yes, on BIND 9.18, Knot 3.2 and PowerDNS 4.7 alike.
    pub(crate) async fn may_set(&self, names: &[&Hostname], families: &[Family]) -> Result<(), AskError> {
        // Documentation addresses (RFC 5737, RFC 3849).
        let data = families.iter().map(|family| match family {
            Family::V4 => RrData::A(Ipv4Addr::new(192, 0, 2, 1)),
            Family::V6 => RrData::Aaaa(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
        });
        let mut records = Vec::new();
        for name in names {
            let owner = wire_name(name.as_str())?;
            records.extend(data.clone().map(|data| Record::from_rdata(owner.clone(), 60, rdata(&data))));
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
        let owner = wire_name(&self.below_apex(label))?;
        let data = RData::TXT(TXT::new(vec![value.to_owned()]));
        self.change(vec![delete_rrset(owner.clone(), RecordType::TXT), Record::from_rdata(owner, 0, data)]).await
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
        let owner = wire_name(&self.below_apex(label))?;
        self.change(vec![delete_rrset(owner, RecordType::TXT)]).await
    }

    /// An UPDATE of these; where the primary says SERVFAIL, again for a second: PowerDNS says so while something else writes
    /// into its SQLite file.
    async fn change(&self, records: Vec<Record>) -> Result<(), AskError> {
        let until = Instant::now() + LOCKED;
        let mut message = self.update.empty();
        message.authorities = records;
        loop {
            match self.reader.ask(message.clone()).await {
                Err(AskError::Failed(Failure { rcode: Rcode::SERVFAIL, .. })) if Instant::now() < until => {
                    sleep(AGAIN).await;
                }
                answer => return answer.map(drop),
            }
        }
    }

    fn below_apex(&self, label: &str) -> String {
        format!("{label}.{}", self.update.zone())
    }
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
