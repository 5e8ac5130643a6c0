//! The look at the end: every name is asked for, none may be lost or wrong.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::RecordType;

use super::baseline::wire_name;
use super::pipeline::{Job, run};
use crate::Error;

const CONNECTIONS: usize = 2;
const IN_FLIGHT: usize = 64;

/// Asks the server at `addr` for every host: each must have exactly its address in its family.
///
/// # Errors
/// The first host without an answer or with another one.
pub async fn read_back(addr: SocketAddr, hosts: &[(String, IpAddr)]) -> Result<(), Error> {
    wrong(addr, hosts).await?.into_iter().next().map_or(Ok(()), |(_, first)| Err(Error::Protocol(first)))
}

/// As [`read_back`], but tells every host that holds something else, by its number, with what it holds.
///
/// # Errors
/// The first host without an answer.
pub async fn wrong(addr: SocketAddr, hosts: &[(String, IpAddr)]) -> Result<Vec<(usize, String)>, Error> {
    let found = Arc::new(Mutex::new(vec![]));
    let questions = Questions { hosts: hosts.to_vec(), wrong: Arc::clone(&found) };
    run(addr, questions, hosts.len(), CONNECTIONS, IN_FLIGHT).await?;
    let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(std::mem::take(&mut *found))
}

struct Questions {
    hosts: Vec<(String, IpAddr)>,
    wrong: Arc<Mutex<Vec<(usize, String)>>>,
}

impl Job for Questions {
    type Awaited = ();

    fn ask(&self, index: usize, id: u16) -> Result<(Vec<u8>, ()), Error> {
        let (host, address) = &self.hosts[index];
        let kind = if address.is_ipv4() { RecordType::A } else { RecordType::AAAA };
        let mut message = Message::new(id, MessageType::Query, OpCode::Query);
        message.queries.push(Query::query(wire_name(host)?, kind));
        Ok((message.to_vec().map_err(|error| Error::Protocol(format!("{host}: {error}")))?, ()))
    }

    fn check(&self, index: usize, (): (), answer: &[u8]) -> Result<(), Error> {
        let (host, address) = &self.hosts[index];
        let answer = Message::from_vec(answer).map_err(|error| Error::Protocol(format!("{host}: {error}")))?;
        let found: Vec<_> = answer.answers.iter().filter_map(|record| record.data.ip_addr()).collect();
        let rcode = answer.metadata.response_code;
        if rcode == ResponseCode::NoError && found == [*address] {
            return Ok(());
        }
        let wrong = format!("{host}: {rcode}, {found:?} is served where {address} was acknowledged");
        self.wrong.lock().unwrap_or_else(PoisonError::into_inner).push((index, wrong));
        Ok(())
    }
}
