//! Two primaries of the same data, of whatever zone: they verify, weigh prerequisites, apply and sign as RFC 2136 and RFC 8945 say.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use hickory_proto::op::{Message, OpCode, ResponseCode};
use hickory_proto::rr::rdata::tsig::{TSIG, TsigAlgorithm, make_tsig_record};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType, TSigner};
use tokio::time::Instant;

pub const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
/// Who is let in no longer: RFC 8945 section 5.2.3.
const FUDGE: Duration = Duration::from_secs(300);

type Key = (String, RecordType);

/// The zones, and what they have held.
pub struct Primary {
    signer: TSigner,
    /// Each RRset's address from each moment on; `None` where it is gone.
    pub history: BTreeMap<Key, Vec<(Instant, Option<IpAddr>)>>,
    // How many entries the history of an RRset had when a message of a lost connection had changed it; and which of them a
    // gateway had not put right when it ended.
    late: BTreeMap<Key, usize>,
    left: BTreeMap<Key, usize>,
    /// Names at which a CNAME stands.
    pub hidden: BTreeSet<String>,
    /// Names that the key may not change.
    pub forbidden: BTreeSet<String>,
}

/// A message as the primary read it.
pub struct Asked {
    pub message: Message,
    pub at: Instant,
    /// The names that it would change.
    pub names: BTreeSet<String>,
}

impl Primary {
    pub fn new() -> Self {
        let name = Name::from_ascii("k").unwrap();
        Self {
            signer: TSigner::new(SECRET.to_vec(), TsigAlgorithm::HmacSha256, name, 300).unwrap(),
            history: BTreeMap::new(),
            late: BTreeMap::new(),
            left: BTreeMap::new(),
            hidden: BTreeSet::new(),
            forbidden: BTreeSet::new(),
        }
    }

    /// Reads a message; the gateway never sends one that does not verify.
    pub fn read(&self, octets: &[u8]) -> Asked {
        let message = Message::from_vec(octets).expect("the gateway sends DNS");
        self.signer.verify_message_byte(octets, None, true).expect("the gateway signs");
        let names = message.authorities.iter().map(|record| plain(&record.name)).collect();
        Asked { message, at: Instant::now(), names }
    }

    pub fn held(&self, name: &str, kind: RecordType) -> Option<IpAddr> {
        self.history.get(&(name.to_owned(), kind)).and_then(|all| all.last()).and_then(|(_, address)| *address)
    }

    /// Does what `asked` says, whose connection was lost.
    pub fn carry_out_late(&mut self, asked: &Asked) {
        self.carry_out(asked);
        for record in &asked.message.authorities {
            let key = (plain(&record.name), record.record_type());
            let entries = self.history.get(&key).map_or(0, Vec::len);
            self.late.insert(key, entries);
        }
    }

    /// The next gateway does not know what the one before had on its way.
    pub fn gateway_ends(&mut self) {
        self.left.append(&mut self.late);
    }

    /// Whether the RRset holds what a late message made of it just before a gateway ended.
    pub fn is_left(&self, name: &str, kind: RecordType) -> bool {
        let key = (name.to_owned(), kind);
        self.left.get(&key).is_some_and(|entries| self.history.get(&key).map(Vec::len) == Some(*entries))
    }

    /// Does what `asked` says, now. A message whose signature has grown too old is refused.
    pub fn carry_out(&mut self, asked: &Asked) -> (ResponseCode, Vec<Record>) {
        let message = &asked.message;
        if asked.at.elapsed() >= FUDGE {
            return (ResponseCode::NotAuth, Vec::new());
        }
        if message.op_code == OpCode::Query {
            let query = &message.queries[0];
            let held = self.held(&plain(query.name()), query.query_type());
            let record = held.map(|address| Record::from_rdata(query.name().clone(), 60, rdata(address)));
            return (ResponseCode::NoError, record.into_iter().collect());
        }
        if let Some(rcode) = message.answers.iter().find_map(|record| self.fails(record)) {
            return (rcode, Vec::new());
        }
        if asked.names.iter().any(|name| self.forbidden.contains(name)) {
            return (ResponseCode::Refused, Vec::new());
        }
        for record in &message.authorities {
            let key = (plain(&record.name), record.record_type());
            let address = match record.dns_class {
                DNSClass::ANY => None,
                _ => address(&record.data),
            };
            let now = Instant::now();
            let history = self.history.entry(key).or_default();
            // A message is one moment: nobody sees the RRset between its deletion and its addition.
            history.pop_if(|(at, held)| *at == now && held.is_none());
            history.push((now, address));
        }
        (ResponseCode::NoError, Vec::new())
    }

    /// RFC 2136 section 3.2.
    fn fails(&self, record: &Record) -> Option<ResponseCode> {
        let (name, kind) = (plain(&record.name), record.record_type());
        let held = self.held(&name, kind);
        let stands = match kind {
            RecordType::CNAME => self.hidden.contains(&name),
            _ => held.is_some(),
        };
        match record.dns_class {
            DNSClass::NONE => stands.then_some(ResponseCode::YXRRSet),
            DNSClass::ANY => (!stands).then_some(ResponseCode::NXRRSet),
            _ => (held != address(&record.data)).then_some(ResponseCode::NXRRSet),
        }
    }

    /// The answer, signed over the request's MAC.
    pub fn reply(&self, asked: &Asked, rcode: ResponseCode, records: Vec<Record>, signed: bool) -> Vec<u8> {
        let mut message = Message::error_msg(asked.message.id, asked.message.op_code, rcode);
        message.metadata.authoritative = true;
        message.queries.clone_from(&asked.message.queries);
        message.answers = records;
        let request = asked.message.signature.as_ref().unwrap();
        if signed {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
            let (algorithm, fudge) = (self.signer.algorithm().clone(), self.signer.fudge());
            let tsig = TSIG::new(algorithm, now, fudge, vec![], message.id, None, vec![]);
            let octets = message.to_vec().unwrap();
            let covered = self.signer.encode_response_tbs(&request.data.mac, &octets, &tsig).unwrap();
            let mac = self.signer.sign(&covered).unwrap();
            message.set_signature(Box::new(make_tsig_record(self.signer.signer_name().clone(), tsig.set_mac(mac))));
        }
        message.to_vec().unwrap()
    }
}

fn plain(name: &Name) -> String {
    name.to_ascii().trim_end_matches('.').to_ascii_lowercase()
}

fn address(data: &RData) -> Option<IpAddr> {
    match data {
        RData::A(a) => Some(a.0.into()),
        RData::AAAA(aaaa) => Some(aaaa.0.into()),
        _ => None,
    }
}

fn rdata(address: IpAddr) -> RData {
    match address {
        IpAddr::V4(v4) => RData::A(v4.into()),
        IpAddr::V6(v6) => RData::AAAA(v6.into()),
    }
}
