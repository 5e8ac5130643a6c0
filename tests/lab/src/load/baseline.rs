//! What the gateway is measured against: signed UPDATEs sent straight to a primary, pipelined, of one host or of many.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType, TSigVerifier, TSigner};

use super::pipeline::{Job, run};
use crate::{Error, Key};

const TTL: u32 = 60;

/// Sends one signed UPDATE for each host ("delete the RRset" and "add" with TTL 60), `in_flight` at once in total over
/// `connections` TCP connections, until the answer to each says NOERROR and is signed right.
///
/// # Errors
/// The first answer that is missing, not signed or not NOERROR.
pub async fn one_update_each(
    addr: SocketAddr,
    key: &Key,
    zone: &str,
    hosts: &[(String, IpAddr)],
    connections: usize,
    in_flight: usize,
) -> Result<(), Error> {
    Updates { key, zone, hosts, batch: 1 }.send(addr, connections, in_flight).await.map(drop)
}

/// Signed UPDATEs of so many hosts each.
#[derive(Debug, Clone, Copy)]
pub struct Updates<'a> {
    /// Signs.
    pub key: &'a Key,
    /// The zone of all hosts.
    pub zone: &'a str,
    /// What each shall point to.
    pub hosts: &'a [(String, IpAddr)],
    /// Hosts in a message, at least one.
    pub batch: usize,
}

impl Updates<'_> {
    /// Sends them as [`one_update_each`] does; returns the time from each message to its answer, ascending.
    ///
    /// # Errors
    /// As for [`one_update_each`].
    pub async fn send(self, addr: SocketAddr, connections: usize, in_flight: usize) -> Result<Vec<Duration>, Error> {
        let zone = wire_name(self.zone)?;
        let batches: Vec<_> = self.hosts.chunks(self.batch.max(1)).map(<[_]>::to_vec).collect();
        let count = batches.len();
        run(addr, Batches { signer: self.key.signer()?, zone, batches }, count, connections, in_flight).await
    }
}

struct Batches {
    signer: TSigner,
    zone: Name,
    batches: Vec<Vec<(String, IpAddr)>>,
}

impl Batches {
    fn wrong(&self, index: usize, why: impl std::fmt::Display) -> Error {
        Error::Protocol(format!("the UPDATE of {}: {why}", self.batches[index][0].0))
    }
}

impl Job for Batches {
    type Awaited = TSigVerifier;

    fn ask(&self, index: usize, id: u16) -> Result<(Vec<u8>, TSigVerifier), Error> {
        let mut message = Message::new(id, MessageType::Query, OpCode::Update);
        message.queries.push(Query::query(self.zone.clone(), RecordType::SOA));
        for (host, address) in &self.batches[index] {
            let owner = wire_name(host)?;
            let (kind, data) = match *address {
                IpAddr::V4(v4) => (RecordType::A, RData::A(v4.into())),
                IpAddr::V6(v6) => (RecordType::AAAA, RData::AAAA(v6.into())),
            };
            let mut delete = Record::update0(owner.clone(), 0, kind);
            delete.dns_class = DNSClass::ANY;
            message.authorities.extend([delete, Record::from_rdata(owner, TTL, data)]);
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let verifier = message.finalize(&self.signer, now).map_err(|error| self.wrong(index, error))?;
        let verifier = verifier.ok_or_else(|| self.wrong(index, "not signed"))?;
        Ok((message.to_vec().map_err(|error| self.wrong(index, error))?, verifier))
    }

    fn check(&self, index: usize, mut verifier: TSigVerifier, answer: &[u8]) -> Result<(), Error> {
        let answer = verifier.verify(answer).map_err(|error| self.wrong(index, error))?;
        match answer.metadata.response_code {
            ResponseCode::NoError => Ok(()),
            rcode => Err(self.wrong(index, rcode)),
        }
    }
}

/// `name`, absolute.
pub(super) fn wire_name(name: &str) -> Result<Name, Error> {
    let mut wire = Name::from_ascii(name).map_err(|error| Error::Protocol(format!("{name}: {error}")))?;
    wire.set_fqdn(true);
    Ok(wire)
}
