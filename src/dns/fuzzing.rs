//! Targets for what comes from a primary, or from whoever stands in its place: frames, replies, names.

use std::cell::OnceCell;

use bytes::BytesMut;
use hickory_proto::op::{Message, MessageType, OpCode};
use hickory_proto::rr::rdata::tsig::{TSIG, TsigAlgorithm, make_tsig_record};
use hickory_proto::rr::{Name, TSigner};

use super::frame::{next_frame, write_frame};
use super::message::{host_name, wire_name};
use super::reply::{Reply, classify, id_of};
use super::tsig::{Signed, Signer, Verifier, wall_clock};
use super::{FUDGE, Rcode, Update};
use crate::model::{Algorithm, Hostname, KeyName, TsigKey, ZoneName};

/// A count, so many lengths of pieces, and a stream. However it is cut, the frames are the same, and nothing is lost.
pub fn frames(octets: &[u8]) {
    let Some((count, rest)) = octets.split_first() else { return };
    let Some((cuts, stream)) = rest.split_at_checked(usize::from(count % 16)) else { return };
    let mut whole = BytesMut::from(stream);
    let expected: Vec<_> = std::iter::from_fn(|| next_frame(&mut whole)).collect();
    let mut taken = Vec::new();
    expected.iter().for_each(|frame| write_frame(&mut taken, frame));
    assert!(stream.starts_with(&taken));
    assert_eq!(taken.len() + whole.len(), stream.len());

    let mut arrived = BytesMut::new();
    let mut seen = Vec::new();
    let mut left = stream;
    let mut lengths = cuts.iter().cycle();
    while !left.is_empty() {
        let cut = lengths.next().copied().unwrap_or(u8::MAX);
        // The lowest bit leaves frames untaken for a while.
        let (piece, tail) = left.split_at(usize::from(cut / 2 + 1).min(left.len()));
        arrived.extend_from_slice(piece);
        left = tail;
        if cut % 2 == 0 {
            seen.extend(std::iter::from_fn(|| next_frame(&mut arrived)));
        }
    }
    seen.extend(std::iter::from_fn(|| next_frame(&mut arrived)));
    assert_eq!(seen, expected);
    assert_eq!(arrived, whole);
}

/// A host name: what is taken is written the same way from then on, and survives the wire.
pub fn name(octets: &[u8]) {
    let Ok(text) = std::str::from_utf8(octets) else { return };
    if let Ok(zone) = ZoneName::parse(text) {
        assert_eq!(ZoneName::parse(zone.as_str()).as_ref(), Ok(&zone));
        assert!(wire_name(zone.as_str()).is_ok(), "{zone}");
    }
    let Ok(host) = Hostname::parse(text) else { return };
    assert!(host.as_str().len() <= 253 && host.ancestors().count() == host.as_str().matches('.').count());
    assert_eq!(Hostname::parse(host.as_str()).as_ref(), Ok(&host));
    let Ok(wire) = wire_name(host.as_str()) else { panic!("{host} does not fit the wire") };
    assert_eq!(host_name(&wire), Some(host));
}

/// Two octets that choose what is done to a message, then the message. As it is, it is never taken for a success, for it
/// cannot be signed; signed by us, it is one where it should be, and not with any other content once a bit is flipped.
pub fn reply(octets: &[u8]) {
    let Some((choice, message)) = octets.split_first_chunk::<2>() else { return };
    let request = Request::new();
    for op_code in [OpCode::Update, OpCode::Query] {
        let id = id_of(message).unwrap_or_default();
        match classify(message, &request.verifier(id, op_code)) {
            Reply::Done(_) => panic!("a success that we did not sign"),
            Reply::Failed(failure) => assert!(!failure.signed && !failure.to_string().is_empty()),
            Reply::Nothing(reason) => assert!(!reason.is_empty()),
            Reply::Garbage => {}
        }
    }
    let Ok(mut message) = Message::from_vec(message) else { return };
    for record in message.answers.iter().chain(&message.authorities).chain(&message.additionals) {
        let _not_every_name_is_a_host_name = host_name(&record.name);
    }
    message.signature = None;
    if let Some(octets) = request.answer(&message) {
        check_signed(&message, octets, u16::from_be_bytes(*choice), &request);
    }
}

fn check_signed(message: &Message, mut octets: Vec<u8>, flip: u16, request: &Request) {
    let classified = |octets: &[u8], op_code| classify(octets, &request.verifier(message.id, op_code));
    let Ok(read) = Message::from_vec(&octets) else { return };
    for op_code in [OpCode::Update, OpCode::Query] {
        let is_answer = read.message_type == MessageType::Response && read.op_code == op_code;
        let is_success = is_answer && Rcode(read.response_code.into()) == Rcode::NOERROR;
        let done = matches!(classified(&octets, op_code), Reply::Done(_));
        assert_eq!(done, is_success, "{read}");
    }
    let bit = usize::from(flip) % (octets.len() * 8);
    if let Some(octet) = octets.get_mut(bit / 8) {
        *octet ^= 1 << (bit % 8);
    }
    for op_code in [OpCode::Update, OpCode::Query] {
        if let Reply::Done(mut changed) = classified(&octets, op_code) {
            // A bit that says nothing: the letter case of the key's name, say.
            changed.signature = None;
            let mut read = read.clone();
            read.signature = None;
            assert_eq!(*changed, read, "bit {bit} changed a signed message");
        }
    }
}

/// A request that we signed, and the means to sign its answer as a primary would.
struct Request {
    signed: Signed,
    mac: Vec<u8>,
    primary: TSigner,
}

impl Request {
    fn new() -> Self {
        thread_local!(static SIGNER: OnceCell<Update> = const { OnceCell::new() });
        let (Ok(zone), Ok(key)) = (ZoneName::parse("dyn.example"), KeyName::parse("gateway-key")) else {
            panic!("both are names");
        };
        let Ok(key) = TsigKey::new(key, Algorithm::HmacSha256, "c2VjcmV0IG9mIHRoZSBmdXp6aW5nIHRhcmdldHM=") else {
            panic!("the secret is base64");
        };
        let secret = key.expose().to_vec();
        let signed = SIGNER.with(|update| {
            let update = update.get_or_init(|| match Signer::new(&key).and_then(|signer| Update::new(zone, signer)) {
                Ok(update) => update,
                Err(error) => panic!("{error}"),
            });
            update.probe(7)
        });
        let Ok(signed) = signed else { panic!("the probe can be signed") };
        let mac = Message::from_vec(&signed.octets).ok().and_then(|probe| Some(probe.signature()?.data.mac.clone()));
        let name = Name::from_ascii("gateway-key").ok();
        let primary = name.and_then(|name| TSigner::new(secret, TsigAlgorithm::HmacSha256, name, FUDGE).ok());
        let (Some(mac), Some(primary)) = (mac, primary) else { panic!("the probe is signed") };
        Self { signed, mac, primary }
    }

    /// What checks the answer, as if the request had this ID and opcode.
    fn verifier(&self, id: u16, op_code: OpCode) -> Verifier {
        let mut verifier = self.signed.verifier.clone();
        (verifier.id, verifier.op_code) = (id, op_code);
        verifier
    }

    /// `message` signed as the answer; `None` where it cannot be written.
    fn answer(&self, message: &Message) -> Option<Vec<u8>> {
        let octets = message.to_vec().ok().filter(|octets| octets.len() < 60_000)?;
        let algorithm = self.primary.algorithm().clone();
        let stub = TSIG::new(algorithm, wall_clock(), FUDGE, Vec::new(), message.id, None, Vec::new());
        let covered = self.primary.encode_response_tbs(&self.mac, &octets, &stub).ok()?;
        let mac = self.primary.sign(&covered).ok()?;
        let mut signed = message.clone();
        signed.set_signature(Box::new(make_tsig_record(self.primary.signer_name().clone(), stub.set_mac(mac))));
        signed.to_vec().ok()
    }
}
