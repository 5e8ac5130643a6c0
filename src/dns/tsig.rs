//! Signing and verifying with TSIG (RFC 8945).

use std::time::{SystemTime, UNIX_EPOCH};

use hickory_proto::op::{Message, OpCode};
use hickory_proto::rr::rdata::tsig::{TSIG, TsigAlgorithm, make_tsig_record};
use hickory_proto::rr::{Name, TSigner};
use hickory_proto::serialize::binary::{BinEncodable as _, BinEncoder};
use tokio::time::Instant;

use super::message::EncodeError;
use crate::model::{Algorithm, TsigKey};

/// How far two clocks may be apart, in seconds (the value that RFC 8945 section 10 recommends).
pub(crate) const FUDGE: u16 = 300;

/// Signs messages with one key; cheap to clone.
#[derive(Clone)]
pub struct Signer {
    // None signs nothing.
    key: Option<TSigner>,
    // What its clock is ahead of ours, in seconds.
    ahead: u64,
}

/// A message, ready to be framed, and what its answer is checked with.
#[derive(Debug)]
pub struct Signed {
    /// The message with its TSIG record.
    pub octets: Vec<u8>,
    /// Checks the answer.
    pub verifier: Verifier,
}

/// Checks the answer to one request.
#[derive(Clone)]
pub struct Verifier {
    pub(super) id: u16,
    pub(super) op_code: OpCode,
    // None where the request has no signature: nor has the answer.
    key: Option<TSigner>,
    request_mac: Vec<u8>,
    // The request's time, and when that was: our wall clock may step before the answer comes.
    signed: (u64, Instant),
}

impl Signer {
    /// A signer for `key`.
    pub fn new(key: &TsigKey) -> Result<Self, EncodeError> {
        Self::with_fudge(key, FUDGE, 0)
    }

    /// As [`Self::new`], for clocks that may be `fudge` seconds apart, by a clock that is `ahead` seconds ahead of ours.
    pub(super) fn with_fudge(key: &TsigKey, fudge: u16, ahead: u16) -> Result<Self, EncodeError> {
        let algorithm = match key.algorithm {
            Algorithm::HmacSha256 => TsigAlgorithm::HmacSha256,
            Algorithm::HmacSha384 => TsigAlgorithm::HmacSha384,
            Algorithm::HmacSha512 => TsigAlgorithm::HmacSha512,
        };
        let name = Name::from_ascii(key.name.as_str()).map_err(|_| EncodeError::Name)?;
        let signer = TSigner::new(key.expose().to_vec(), algorithm, name, fudge).map_err(|_| EncodeError::Name)?;
        Ok(Self { key: Some(signer), ahead: ahead.into() })
    }

    /// Signs nothing, for what is asked of a primary that may not know the key.
    pub(super) fn unsigned() -> Self {
        Self { key: None, ahead: 0 }
    }

    /// Encodes `message` once, with this ID, and appends the TSIG record.
    pub(super) fn sign(&self, message: &Message, id: u16) -> Result<Signed, EncodeError> {
        let mut octets = message.to_vec().map_err(|_| EncodeError::Name)?;
        // hickory cuts a message at 65 535 octets, sets TC (RFC 1035 section 4.1.1) and says nothing.
        if octets.len() > super::MAX_MESSAGE || octets.get(2).is_none_or(|flags| flags & 0x02 != 0) {
            return Err(EncodeError::TooLarge);
        }
        if let Some(place) = octets.first_chunk_mut() {
            *place = id.to_be_bytes();
        }
        let now = wall_clock() + self.ahead;
        let mut verifier = Verifier {
            id,
            op_code: message.op_code,
            key: self.key.clone(),
            request_mac: Vec::new(),
            signed: (now, Instant::now()),
        };
        let Some(key) = &self.key else { return Ok(Signed { octets, verifier }) };
        let stub = TSIG::new(key.algorithm().clone(), now, key.fudge(), Vec::new(), id, None, Vec::new());
        let encode = |emit: &dyn Fn(&mut BinEncoder<'_>) -> Result<(), hickory_proto::ProtoError>| {
            let mut tail = Vec::with_capacity(128);
            emit(&mut BinEncoder::new(&mut tail)).map(|()| tail).map_err(|_| EncodeError::Name)
        };
        let unsigned = octets.len();
        octets.extend(encode(&|encoder| stub.emit_tsig_for_mac(encoder, key.signer_name()))?);
        verifier.request_mac = key.sign(&octets).map_err(|_| EncodeError::Name)?;
        octets.truncate(unsigned);
        let record = make_tsig_record(key.signer_name().clone(), stub.set_mac(verifier.request_mac.clone()));
        octets.extend(encode(&|encoder| record.emit(encoder))?);
        if let Some(additionals) = octets.get_mut(10..12) {
            let count = u16::try_from(message.additionals.len()).map_err(|_| EncodeError::TooLarge)? + 1;
            additionals.copy_from_slice(&count.to_be_bytes());
        }
        Ok(Signed { octets, verifier })
    }
}

impl Verifier {
    pub(super) fn signed_at(&self) -> Instant {
        self.signed.1
    }

    /// Whether an answer counts without a signature.
    pub(super) fn takes_unsigned(&self) -> bool {
        self.key.is_none()
    }

    /// Whether `octets`, which hickory must have parsed before (its verifier trusts the counts), is signed by the key as
    /// the answer to our request, within the fudge around `now`, or around what our clock would say had it not stepped since.
    pub(super) fn verify(&self, octets: &[u8], now: u64) -> bool {
        let Some(key) = &self.key else { return false };
        let (time, since) = self.signed;
        let unstepped = time.saturating_add(since.elapsed().as_secs());
        match key.verify_message_byte(octets, Some(&self.request_mac), true) {
            Ok((_, time, _)) => [now, unstepped].iter().any(|ours| time.abs_diff(*ours) <= u64::from(key.fudge())),
            Err(_) => false,
        }
    }
}

/// Wall time for TSIG, in seconds since the epoch.
pub(super) fn wall_clock() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Signer(…)")
    }
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Verifier(…)")
    }
}
