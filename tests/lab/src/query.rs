//! Questions as any resolver would put them: unsigned, over TCP, without memory.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr as _;
use std::time::Duration;

use hickory_proto::op::{Edns, Message, Query, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::Error;

/// A record of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The owner name as sent, without the final dot.
    pub name: String,
    /// Seconds.
    pub ttl: u32,
    /// The type.
    pub kind: RecordType,
    /// The data in presentation format.
    pub data: String,
}

/// What a server answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The response code.
    pub rcode: ResponseCode,
    /// The AA bit.
    pub authoritative: bool,
    /// The answer section, in its order.
    pub records: Vec<Record>,
    /// The authority section.
    pub authority: Vec<Record>,
}

impl Answer {
    /// The data of the records of one type, sorted.
    #[must_use]
    pub fn data(&self, kind: RecordType) -> Vec<&str> {
        let mut data: Vec<_> = self.records.iter().filter(|r| r.kind == kind).map(|r| r.data.as_str()).collect();
        data.sort_unstable();
        data
    }

    /// The addresses among the records.
    #[must_use]
    pub fn addresses(&self) -> Vec<IpAddr> {
        let is_address = |kind| matches!(kind, RecordType::A | RecordType::AAAA);
        self.records.iter().filter(|r| is_address(r.kind)).filter_map(|r| r.data.parse().ok()).collect()
    }
}

/// Asks the server at `addr` for `kind` (such as `AAAA`) at `name`.
///
/// # Errors
/// No connection, no answer within five seconds, or something that is not an answer to this question.
pub async fn query(addr: SocketAddr, name: &str, kind: &str) -> Result<Answer, Error> {
    ask(addr, name, kind, false).await
}

/// As [`query`] with the DO bit, so that signatures are in the answer.
///
/// # Errors
/// As for [`query`].
pub async fn query_dnssec(addr: SocketAddr, name: &str, kind: &str) -> Result<Answer, Error> {
    ask(addr, name, kind, true).await
}

async fn ask(addr: SocketAddr, name: &str, kind: &str, dnssec: bool) -> Result<Answer, Error> {
    let what = format!("{name} {kind} at {addr}");
    let wrong = |why: String| Error::Protocol(format!("{what}: {why}"));
    // As octets: the name of a part of a network has a slash (RFC 2317).
    let labels = name.trim_end_matches('.').split('.').map(str::as_bytes);
    let mut owner = Name::from_labels(labels).map_err(|error| wrong(error.to_string()))?;
    owner.set_fqdn(true);
    let record_type = RecordType::from_str(kind).map_err(|error| wrong(error.to_string()))?;
    let mut message = Message::query();
    message.add_query(Query::query(owner, record_type));
    if dnssec {
        let mut edns = Edns::new();
        edns.set_dnssec_ok(true);
        message.set_edns(edns);
    }
    let octets = message.to_vec().map_err(|error| wrong(error.to_string()))?;
    let reply = timeout(Duration::from_secs(5), exchange(addr, &octets))
        .await
        .map_err(|_| Error::Timeout(what.clone()))?
        .map_err(Error::io(what.clone()))?;
    let reply = Message::from_vec(&reply).map_err(|error| wrong(error.to_string()))?;
    if reply.metadata.id != message.metadata.id {
        return Err(wrong("the answer has another ID".to_owned()));
    }
    Ok(Answer {
        rcode: reply.metadata.response_code,
        authoritative: reply.metadata.authoritative,
        records: reply.answers.iter().map(record).collect(),
        authority: reply.authorities.iter().map(record).collect(),
    })
}

async fn exchange(addr: SocketAddr, octets: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(addr).await?;
    let length = u16::try_from(octets.len()).map_err(std::io::Error::other)?;
    let framed = [&length.to_be_bytes(), octets].concat();
    stream.write_all(&framed).await?;
    let length = stream.read_u16().await?;
    let mut reply = vec![0; usize::from(length)];
    stream.read_exact(&mut reply).await?;
    Ok(reply)
}

fn record(record: &hickory_proto::rr::Record) -> Record {
    let name = record.name.to_ascii();
    let name = name.strip_suffix('.').unwrap_or(&name).to_owned();
    Record { name, ttl: record.ttl, kind: record.record_type(), data: record.data.to_string() }
}
