//! What a reply is worth. Only a verified NOERROR is success; an unsigned error is still an error; an unsigned NOERROR is
//! nothing. Pure.

use std::fmt;

use hickory_proto::op::{Message, MessageType};
use hickory_proto::rr::Record;
use hickory_proto::rr::rdata::tsig::{TSIG, TsigError};

use super::tsig::{Verifier, wall_clock};

/// A response code, shown by its name in the field (RFC 1035 section 4.1.1, RFC 2136 section 2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rcode(pub u16);

#[expect(missing_docs, reason = "the names are the standards'")]
impl Rcode {
    pub const NOERROR: Self = Self(0);
    pub(crate) const FORMERR: Self = Self(1);
    pub const SERVFAIL: Self = Self(2);
    pub(crate) const NXDOMAIN: Self = Self(3);
    pub(crate) const NOTIMP: Self = Self(4);
    pub(crate) const REFUSED: Self = Self(5);
    pub(crate) const YXDOMAIN: Self = Self(6);
    pub const YXRRSET: Self = Self(7);
    pub const NXRRSET: Self = Self(8);
    pub(crate) const NOTAUTH: Self = Self(9);
    pub(crate) const NOTZONE: Self = Self(10);
}

impl fmt::Display for Rcode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match *self {
            Self::NOERROR => "NOERROR",
            Self::FORMERR => "FORMERR",
            Self::SERVFAIL => "SERVFAIL",
            Self::NXDOMAIN => "NXDOMAIN",
            Self::NOTIMP => "NOTIMP",
            Self::REFUSED => "REFUSED",
            Self::YXDOMAIN => "YXDOMAIN",
            Self::YXRRSET => "YXRRSET",
            Self::NXRRSET => "NXRRSET",
            Self::NOTAUTH => "NOTAUTH",
            Self::NOTZONE => "NOTZONE",
            Self(other) => return write!(f, "RCODE{other}"),
        };
        f.write_str(name)
    }
}

/// What the TSIG record of an error says (RFC 8945 section 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TsigFault {
    /// The primary does not know the key, or (Knot) will not let it change one of the names.
    BadKey,
    /// The secrets differ.
    BadSig,
    /// The clocks differ: the primary's minus ours, in seconds, where it told its time.
    BadTime(Option<i64>),
    Other(u16),
}

/// An error answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure {
    pub rcode: Rcode,
    /// What the TSIG record adds.
    pub(crate) tsig: Option<TsigFault>,
    /// Whether the answer's signature was verified.
    pub(crate) signed: bool,
}

impl Failure {
    /// Whether the next primary is to be asked: the server is in trouble. REFUSED and NOTAUTH speak of the zone and the key,
    /// which are the same everywhere.
    pub(crate) fn leads_to_next_primary(&self) -> bool {
        self.rcode == Rcode::SERVFAIL
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.rcode.fmt(f)?;
        match self.tsig {
            None => {}
            Some(TsigFault::BadKey) => f.write_str("/BADKEY")?,
            Some(TsigFault::BadSig) => f.write_str("/BADSIG")?,
            Some(TsigFault::BadTime(None)) => f.write_str("/BADTIME")?,
            Some(TsigFault::BadTime(Some(seconds))) => write!(f, "/BADTIME ({seconds:+} s)")?,
            Some(TsigFault::Other(code)) => write!(f, "/TSIG{code}")?,
        }
        if self.signed { Ok(()) } else { f.write_str(" (unsigned)") }
    }
}

/// What a frame turned out to be.
#[derive(Debug)]
pub enum Reply {
    /// Verified NOERROR: what was asked is done.
    Done(Box<Message>),
    /// An error, signed or not.
    Failed(Failure),
    /// Not an answer to believe; the real one may still come. The reason is for the log.
    Nothing(&'static str),
    /// Not DNS: the stream cannot be trusted any longer.
    Garbage,
}

/// The ID of a message, for finding its request.
pub(super) fn id_of(octets: &[u8]) -> Option<u16> {
    octets.first_chunk::<2>().map(|id| u16::from_be_bytes(*id))
}

/// The second of its sender's clock, since the epoch, in which `message` was signed.
#[must_use]
pub(crate) fn signed_in(message: &Message) -> Option<u64> {
    message.signature().map(|record| record.data.time)
}

/// Weighs `octets` as the answer to the request of `verifier`.
pub fn classify(octets: &[u8], verifier: &Verifier) -> Reply {
    // Parse before verifying: hickory's verifier may panic on octets that do not parse.
    let Ok(message) = Message::from_vec(octets) else {
        return Reply::Garbage;
    };
    if message.id != verifier.id {
        return Reply::Nothing("another message's ID");
    }
    if message.message_type != MessageType::Response || message.op_code != verifier.op_code {
        return Reply::Nothing("not a response to our opcode");
    }
    let now = wall_clock();
    // hickory subtracts the fudge from the time.
    let verifiable = |record: &Record<TSIG>| record.data.time >= u64::from(record.data.fudge);
    let signed = message.signature().is_some_and(verifiable) && verifier.verify(octets, now);
    let rcode = Rcode(message.response_code.into());
    let tsig = message.signature().and_then(|record| {
        Some(match record.data.error? {
            TsigError::BadKey => TsigFault::BadKey,
            TsigError::BadSig => TsigFault::BadSig,
            TsigError::BadTime => TsigFault::BadTime(server_time(&record.data.other).map(|theirs| {
                i64::try_from(theirs).unwrap_or(i64::MAX).saturating_sub(i64::try_from(now).unwrap_or(i64::MAX))
            })),
            other => TsigFault::Other(other.into()),
        })
    });
    match (rcode, tsig, signed || verifier.takes_unsigned()) {
        (Rcode::NOERROR, None, true) => Reply::Done(Box::new(message)),
        (Rcode::NOERROR, _, _) => Reply::Nothing("NOERROR without a signature that verifies"),
        _ => Reply::Failed(Failure { rcode, tsig, signed }),
    }
}

/// Other Data of a BADTIME answer: the server's time in 48 bits (RFC 8945 section 5.2.3).
fn server_time(other: &[u8]) -> Option<u64> {
    let octets: &[u8; 6] = other.try_into().ok()?;
    Some(octets.iter().fold(0, |time, octet| time << 8 | u64::from(*octet)))
}
