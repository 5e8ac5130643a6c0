//! The fake's answers, true and false: a reply to one message, signed over its MAC (RFC 8945 sections 4.3 and 5.3).

use std::time::SystemTime;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::rdata::tsig::{TSIG, TsigError, make_tsig_record};
use hickory_proto::rr::{Record, TSigner};

use super::Received;

/// Answers to one message; a message that cannot be read is answered by its ID alone.
pub(super) struct Reply<'a> {
    received: &'a Received,
    signer: &'a TSigner,
    request: Option<Message>,
}

impl<'a> Reply<'a> {
    pub(super) fn to(received: &'a Received, signer: &'a TSigner) -> Self {
        Self { received, signer, request: received.message() }
    }

    pub(super) fn signed(&self, rcode: ResponseCode) -> Vec<u8> {
        self.sign(self.bare(rcode), self.tsig(None, vec![]))
    }

    pub(super) fn records(&self, records: Vec<Record>) -> Vec<u8> {
        let mut message = self.bare(ResponseCode::NoError);
        message.answers = records;
        self.sign(message, self.tsig(None, vec![]))
    }

    pub(super) fn unsigned(&self, rcode: ResponseCode) -> Vec<u8> {
        encode(&self.bare(rcode))
    }

    pub(super) fn wrong_id(&self, rcode: ResponseCode) -> Vec<u8> {
        let mut octets = self.signed(rcode);
        octets[0] ^= 0x55;
        octets
    }

    pub(super) fn wrong_mac(&self) -> Vec<u8> {
        let mut message = self.signed_message(self.bare(ResponseCode::NoError), self.tsig(None, vec![]));
        if let Some(first) = message.signature.as_mut().and_then(|record| record.data.mac.first_mut()) {
            *first ^= 1;
        }
        encode(&message)
    }

    pub(super) fn bad_key(&self) -> Vec<u8> {
        self.with_empty_mac(TsigError::BadKey)
    }

    pub(super) fn bad_sig(&self) -> Vec<u8> {
        self.with_empty_mac(TsigError::BadSig)
    }

    /// RFC 8945 section 5.2.3: the client's time in the record, the server's time as 48 bits in Other Data.
    pub(super) fn bad_time(&self, offset: i64) -> Vec<u8> {
        let server = now().saturating_add_signed(offset).to_be_bytes();
        let mut tsig = self.tsig(Some(TsigError::BadTime), server[2..].to_vec());
        if let Some(request) = self.request.as_ref().and_then(|request| request.signature.as_ref()) {
            tsig.time = request.data.time;
        }
        self.sign(self.bare(ResponseCode::NotAuth), tsig)
    }

    pub(super) fn truncated_bit(&self) -> Vec<u8> {
        let mut message = self.bare(ResponseCode::NoError);
        message.metadata.truncation = true;
        self.sign(message, self.tsig(None, vec![]))
    }

    fn bare(&self, rcode: ResponseCode) -> Message {
        let mut message = Message::error_msg(self.received.id, self.received.opcode, rcode);
        message.metadata.authoritative = true;
        if let Some(request) = &self.request {
            message.queries.clone_from(&request.queries);
        }
        message
    }

    fn tsig(&self, error: Option<TsigError>, other: Vec<u8>) -> TSIG {
        let algorithm = self.signer.algorithm().clone();
        TSIG::new(algorithm, now(), self.signer.fudge(), vec![], self.received.id, error, other)
    }

    fn with_empty_mac(&self, error: TsigError) -> Vec<u8> {
        let mut message = self.bare(ResponseCode::NotAuth);
        let tsig = self.tsig(Some(error), vec![]);
        message.set_signature(Box::new(make_tsig_record(self.signer.signer_name().clone(), tsig)));
        encode(&message)
    }

    fn sign(&self, message: Message, tsig: TSIG) -> Vec<u8> {
        encode(&self.signed_message(message, tsig))
    }

    /// Signed over the request's MAC; a request without one is answered without TSIG, as servers do.
    #[expect(clippy::expect_used, reason = "our own small messages encode, and the key was checked when it was made")]
    fn signed_message(&self, mut message: Message, tsig: TSIG) -> Message {
        let Some(request) = self.request.as_ref().and_then(|request| request.signature.as_ref()) else {
            return message;
        };
        let octets = encode(&message);
        let covered = self.signer.encode_response_tbs(&request.data.mac, &octets, &tsig).expect("it encodes");
        let mac = self.signer.sign(&covered).expect("the key signs");
        message.set_signature(Box::new(make_tsig_record(self.signer.signer_name().clone(), tsig.set_mac(mac))));
        message
    }
}

#[expect(clippy::expect_used, reason = "our own small messages encode")]
fn encode(message: &Message) -> Vec<u8> {
    message.to_vec().expect("it encodes")
}

fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_secs())
}
