//! Questions to one primary, one after the other, each answered for what it is worth. None changes anything, except those
//! of the trial, which say so.

mod trial;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use hickory_proto::op::{Message, MessageType, OpCode, Query};
use hickory_proto::rr::rdata::SOA;
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use super::connection::{Connection, Event};
use super::message::{EncodeError, Update, absent, delete_rrset, question, rdata, wire_name};
use super::network::{ConnectError, Tcp};
use super::reply::{Failure, Rcode, Reply, classify, id_of};
use super::tsig::{Signed, Signer, wall_clock};
use crate::config;
use crate::model::{Family, Hostname, RrData};

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The connection was lost and could not be opened again.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The connection stands, and nothing comes.
    #[error("no answer within {0:?}")]
    Silent(Duration),
    /// The primary closed the connection in place of an answer, twice.
    #[error("the connection was closed in place of an answer")]
    Closed,
    /// What came was not DNS, or not an answer.
    #[error("what answers there does not speak DNS")]
    NotDns,
    /// NOERROR without a signature that verifies.
    #[error("the answer is not signed with the key")]
    Unsigned,
    /// An error answer.
    #[error("the primary answered {0}")]
    Failed(Failure),
    /// The question cannot be written.
    #[error(transparent)]
    Encode(#[from] EncodeError),
}

/// What the primary says of the zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Served {
    /// It has the zone.
    Authoritative {
        /// MNAME of the SOA record: the zone's primary, as the zone itself says.
        primary: String,
    },
    /// It has only this zone above, or knows none at all.
    Not {
        /// The zone above.
        above: Option<String>,
    },
}

/// What keeps a name from being served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hiding {
    /// A CNAME record (RFC 1034 section 3.6.2).
    Cname,
    /// A delegation.
    Delegation,
    /// A DNAME record (RFC 6672).
    Dname,
}

/// A connection to one primary, for one zone and its key.
#[derive(Debug)]
pub struct Prober {
    update: Update,
    zone: config::Zone,
    primary: config::Primary,
    timeout: Duration,
    connection: Connection,
    events: mpsc::Receiver<Event>,
    last_id: u16,
}

impl Prober {
    /// Connects to `primary`; each answer may take `timeout`.
    ///
    /// # Errors
    /// [`ProbeError::Connect`], or a name does not fit the wire.
    pub async fn open(zone: &config::Zone, primary: &config::Primary, timeout: Duration) -> Result<Self, ProbeError> {
        let update = Update::new(zone.name.clone(), Signer::new(zone.key.clone())?)?;
        let (connection, events) = Connection::open(&Tcp, primary, zone.source, timeout).await?;
        let (zone, primary) = (zone.clone(), primary.clone());
        Ok(Self { update, zone, primary, timeout, connection, events, last_id: 0 })
    }

    /// What the primary calls itself: `version.bind`, class CHAOS, unsigned (RFC 4892 section 2).
    pub async fn software(&mut self) -> Option<String> {
        let id = self.id();
        let mut message = Message::new(id, MessageType::Query, OpCode::Query);
        let mut query = Query::query(wire_name("version.bind").ok()?, RecordType::TXT);
        query.set_query_class(DNSClass::CH);
        message.queries.push(query);
        if !self.connection.send(&message.to_vec().ok()?) {
            return None;
        }
        let deadline = Instant::now() + self.timeout;
        loop {
            let Ok(Some(Event::Frame(octets))) = timeout_at(deadline, self.events.recv()).await else { return None };
            if id_of(&octets) == Some(id) {
                return Message::from_vec(&octets).ok()?.answers.iter().find_map(text);
            }
        }
    }

    /// Whether the zone is served here, by a signed query for its SOA record.
    ///
    /// # Errors
    /// [`ProbeError`]; an error answer tells of the key or the clock.
    pub async fn zone(&mut self) -> Result<Served, ProbeError> {
        let apex = self.zone.name.to_string();
        if let Some(soa) = self.soa(&apex).await? {
            return Ok(Served::Authoritative { primary: text_of(&soa.mname) });
        }
        let mut above = None;
        for (dot, _) in apex.match_indices('.') {
            let ancestor = apex.get(dot + 1..).unwrap_or_default();
            if above.is_none() && matches!(self.soa(ancestor).await, Ok(Some(_))) {
                above = Some(ancestor.to_owned());
            }
        }
        Ok(Served::Not { above })
    }

    /// The SOA record at `apex`, where it is an apex here.
    async fn soa(&mut self, apex: &str) -> Result<Option<SOA>, ProbeError> {
        let message = match self.ask(false, |update, id| update.query(id, apex, RecordType::SOA)).await {
            Err(ProbeError::Failed(Failure { rcode: Rcode::NXDOMAIN, signed: true, .. })) => return Ok(None),
            answer => answer?,
        };
        let soa = message.answers.iter().find_map(|record| match &record.data {
            RData::SOA(soa) => Some(soa.clone()),
            _ => None,
        });
        Ok(soa.filter(|_| message.authoritative))
    }

    /// The primary's clock minus ours in seconds, to a second or two; 0 where they are at most `tolerance` apart, `None`
    /// where the key is not taken even with 18 hours between them. A server goes by the fudge of the question (RFC 8945
    /// section 5.2.3), so the smallest that it takes tells: PowerDNS never says BADTIME, and its answers have our own time.
    ///
    /// # Errors
    /// [`ProbeError`], except for error answers.
    pub async fn clock(&mut self, tolerance: u16) -> Result<Option<i64>, ProbeError> {
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
    async fn accepts(&mut self, fudge: u16, later: u16) -> Result<bool, ProbeError> {
        let id = self.id();
        let signer = Signer::with_fudge(self.zone.key.clone(), fudge)?;
        let question = question(id, self.zone.name.as_str(), RecordType::SOA)?;
        let signed = signer.sign(&question, wall_clock() + u64::from(later))?;
        match self.exchange(id, false, signed).await {
            Ok(_) => Ok(true),
            Err(ProbeError::Failed(failure)) => Ok(failure.rcode != Rcode::NOTAUTH),
            Err(error) => Err(error),
        }
    }

    /// An UPDATE without records: NOERROR where the zone is served as a primary.
    ///
    /// # Errors
    /// [`ProbeError`].
    pub async fn empty_update(&mut self) -> Result<(), ProbeError> {
        self.ask(true, Update::probe).await.map(drop)
    }

    /// Whether the key may set addresses of `families` at all of `names`, by an addition whose prerequisite never holds: "no
    /// SOA at the apex". YXRRSET means yes, on BIND 9.18, Knot 3.2 and PowerDNS 4.7 alike.
    ///
    /// # Errors
    /// [`ProbeError`]; [`Failure`] with the server's word where it may not.
    pub async fn may_set(&mut self, names: &[&Hostname], families: &[Family]) -> Result<(), ProbeError> {
        self.never(|message| {
            for name in names {
                let owner = wire_name(name.as_str())?;
                for family in families {
                    // Documentation addresses (RFC 5737, RFC 3849).
                    let data = match family {
                        Family::V4 => RrData::A(Ipv4Addr::new(192, 0, 2, 1)),
                        Family::V6 => RrData::Aaaa(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
                    };
                    message.authorities.push(Record::from_rdata(owner.clone(), 60, rdata(&data)));
                }
            }
            Ok(())
        })
        .await
    }

    /// Whether the key may remove addresses at `name`: not subject to BIND's `check-names`, which an addition is.
    ///
    /// # Errors
    /// As for [`Self::may_set`].
    pub async fn may_remove(&mut self, name: &Hostname) -> Result<(), ProbeError> {
        self.never(|message| {
            message.authorities.push(delete_rrset(wire_name(name.as_str())?, RecordType::A));
            Ok(())
        })
        .await
    }

    /// Whether all of `names` would be served, by the guards of a change alone.
    ///
    /// # Errors
    /// [`ProbeError`]: YXRRSET where one would not be.
    pub async fn would_serve(&mut self, names: &[&Hostname]) -> Result<(), ProbeError> {
        self.ask(true, |update, id| update.guards(id, names)).await.map(drop)
    }

    /// What hides `name`, and at which owner.
    ///
    /// # Errors
    /// [`ProbeError`] where the primary does not say.
    pub async fn hidden_by(&mut self, name: &Hostname) -> Result<Option<(Hiding, String)>, ProbeError> {
        let guards: Vec<_> = self.update.hiding(name).map(|(owner, kind)| (owner.to_owned(), kind)).collect();
        for (owner, kind) in guards {
            if self.holds(&owner, kind).await? {
                let hiding = match kind {
                    RecordType::CNAME => Hiding::Cname,
                    RecordType::DNAME => Hiding::Dname,
                    _ => Hiding::Delegation,
                };
                return Ok(Some((hiding, owner)));
            }
        }
        Ok(None)
    }

    /// The addresses at `name` itself: what a wildcard above it lends does not count.
    ///
    /// # Errors
    /// [`ProbeError`] where the primary does not say.
    pub async fn addresses(&mut self, name: &Hostname) -> Result<Vec<IpAddr>, ProbeError> {
        let mut addresses = Vec::new();
        for kind in [RecordType::A, RecordType::AAAA] {
            if !self.holds(name.as_str(), kind).await? {
                continue;
            }
            let answer = self.ask(false, |update, id| update.query(id, name.as_str(), kind)).await?;
            addresses.extend(answer.answers.iter().filter_map(|record| match &record.data {
                RData::A(a) => Some(IpAddr::V4(a.0)),
                RData::AAAA(aaaa) => Some(IpAddr::V6(aaaa.0)),
                _ => None,
            }));
        }
        Ok(addresses)
    }

    /// Whether `owner` itself holds an RRset of `kind`, by the prerequisite that it holds none.
    async fn holds(&mut self, owner: &str, kind: RecordType) -> Result<bool, ProbeError> {
        let is_absent = self.ask(true, |update, id| {
            let mut message = update.empty(id);
            message.answers.push(absent(wire_name(owner)?, kind));
            update.sign(&message)
        });
        match is_absent.await {
            Ok(_) => Ok(false),
            Err(ProbeError::Failed(Failure { rcode: Rcode::YXRRSET, .. })) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Sends an UPDATE that cannot come true; `Ok` where only that kept it from being done.
    async fn never(&mut self, fill: impl FnOnce(&mut Message) -> Result<(), EncodeError>) -> Result<(), ProbeError> {
        let apex = wire_name(self.zone.name.as_str())?;
        let answer = self.ask(true, |update, id| {
            let mut message = update.empty(id);
            message.answers.push(absent(apex, RecordType::SOA));
            fill(&mut message)?;
            update.sign(&message)
        });
        match answer.await {
            Err(ProbeError::Failed(Failure { rcode: Rcode::YXRRSET, .. })) => Ok(()),
            // A server that does what a false prerequisite forbids does not hold to RFC 2136.
            Ok(_) => Err(ProbeError::NotDns),
            Err(error) => Err(error),
        }
    }

    async fn ask(
        &mut self,
        is_update: bool,
        write: impl FnOnce(&Update, u16) -> Result<Signed, EncodeError>,
    ) -> Result<Message, ProbeError> {
        let id = self.id();
        let signed = write(&self.update, id)?;
        self.exchange(id, is_update, signed).await
    }

    /// Sends once more on a new connection where the old one was closed: servers close idle ones and old ones.
    async fn exchange(&mut self, id: u16, is_update: bool, signed: Signed) -> Result<Message, ProbeError> {
        for _ in 0..2 {
            if self.connection.send(&signed.octets)
                && let Some(answer) = self.receive(id, is_update, &signed).await
            {
                return answer;
            }
            (self.connection, self.events) =
                Connection::open(&Tcp, &self.primary, self.zone.source, self.timeout).await?;
        }
        Err(ProbeError::Closed)
    }

    /// `None` where the connection ended.
    async fn receive(&mut self, id: u16, is_update: bool, signed: &Signed) -> Option<Result<Message, ProbeError>> {
        let deadline = Instant::now() + self.timeout;
        let mut heard = ProbeError::Silent(self.timeout);
        loop {
            let octets = match timeout_at(deadline, self.events.recv()).await {
                Ok(Some(Event::Frame(octets))) => octets,
                Ok(Some(Event::Closed(_)) | None) => return None,
                Err(_) => return Some(Err(heard)),
            };
            match classify(&octets, id, is_update, &signed.verifier) {
                Reply::Done(message) => return Some(Ok(*message)),
                Reply::Failed(failure) => return Some(Err(ProbeError::Failed(failure))),
                Reply::Nothing(_) if id_of(&octets) == Some(id) => heard = ProbeError::Unsigned,
                Reply::Nothing(_) => {}
                Reply::Garbage => return Some(Err(ProbeError::NotDns)),
            }
        }
    }

    fn id(&mut self) -> u16 {
        self.last_id = self.last_id.wrapping_add(1);
        self.last_id
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
