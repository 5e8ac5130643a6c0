//! What we ask of a primary, as signed messages: the change of many hosts, the empty probe, the exact question, reads.

use std::collections::HashSet;

use hickory_proto::op::{Message, MessageType, OpCode, Query};
use hickory_proto::rr::rdata::{MX, PTR, TXT};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};

use super::tsig::{Signed, Signer};
use crate::model::{Desired, DesiredRecords, Hostname, MailExchange, RrData, RrType, Several, TxtValue, ZoneName};

/// The largest message that we send, in octets: half of what a frame holds, far from where hickory cuts.
pub(crate) const MAX_MESSAGE: usize = 32 * 1024;

/// Why a message cannot be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the text of an error says what it is, and names its fields")]
pub enum EncodeError {
    /// It would exceed [`MAX_MESSAGE`]; fewer hosts will fit.
    #[error("the message would be larger than 32 KiB")]
    TooLarge,
    #[error("a name cannot be written in wire format")]
    Name,
}

/// A change of one RRset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RrsetUpdate<'a> {
    /// The owner name.
    pub name: &'a Hostname,
    /// The record type.
    pub rtype: RrType,
    /// What it shall hold.
    pub desired: &'a Desired,
}

impl RrsetUpdate<'_> {
    /// Whether the change must be guarded: only a record that is set can fail to be served. Where an RRset is only removed,
    /// whatever stands there instead (a CNAME, say) makes the removal no less true, and must not fail the message.
    pub(crate) fn is_guarded(&self) -> bool {
        self.desired.is_set()
    }

    /// "Delete an RRset", and where it is set anew, "Add To An RRset"; or "Delete An RR From An RRset" (RFC 2136 sections 2.5.2,
    /// 2.5.1 and 2.5.4).
    fn write(&self, message: &mut Message, owner: &Name) -> Result<(), EncodeError> {
        if let Desired::Without(gone) = self.desired {
            let first = message.authorities.len();
            push(&mut message.authorities, owner, 0, gone)?;
            message.authorities.iter_mut().skip(first).for_each(|record| record.dns_class = DNSClass::NONE);
            return Ok(());
        }
        message.authorities.push(delete_rrset(owner.clone(), record_type(self.rtype)));
        match self.desired {
            Desired::Set { data, ttl } => push(&mut message.authorities, owner, *ttl, data),
            Desired::Absent | Desired::Without(_) => Ok(()),
        }
    }
}

/// Builds UPDATEs (RFC 2136) for one zone.
#[derive(Debug)]
pub struct Update {
    zone: ZoneName,
    apex: Name,
    signer: Signer,
}

impl Update {
    /// A builder for `zone` that signs with `signer`.
    pub fn new(zone: ZoneName, signer: Signer) -> Result<Self, EncodeError> {
        Ok(Self { apex: wire_name(zone.as_str())?, zone, signer })
    }

    /// Replaces or removes all the RRsets of `changes`, of which those of one name follow each other. What is set is guarded so
    /// that NOERROR means that it is served: no CNAME and no NS at each name, no NS and no DNAME above it inside the zone, no
    /// DNAME at the apex (RFC 2136 section 2.4.3).
    ///
    /// # Errors
    /// [`EncodeError`]; nothing is cut silently.
    pub fn replace(&self, id: u16, changes: &[RrsetUpdate<'_>]) -> Result<Signed, EncodeError> {
        let mut message = self.empty();
        message.answers.reserve(2 * changes.len() + 1);
        message.authorities.reserve(2 * changes.len());
        self.guard(&mut message, changes.iter().filter(|change| change.is_guarded()).map(|change| change.name))?;
        for of_name in changes.chunk_by(|one, next| one.name == next.name) {
            let Some(first) = of_name.first() else { continue };
            let owner = wire_name(first.name.as_str())?;
            of_name.iter().try_for_each(|change| change.write(&mut message, &owner))?;
        }
        self.signer.sign(&message, id)
    }

    /// Compare and swap: makes `change`, guarded as [`Self::replace`] does, where its RRset holds exactly `expected` (no record:
    /// does not exist); YXRRSET or NXRRSET where not (RFC 2136 sections 2.4.2 and 2.4.3).
    pub fn compare_and_swap(
        &self,
        id: u16,
        expected: &[RrData],
        change: &RrsetUpdate<'_>,
    ) -> Result<Signed, EncodeError> {
        let mut message = self.empty();
        let owner = wire_name(change.name.as_str())?;
        if expected.is_empty() {
            message.answers.push(absent(owner.clone(), record_type(change.rtype)));
        }
        expected.iter().try_for_each(|data| push(&mut message.answers, &owner, 0, data))?;
        if change.is_guarded() {
            self.guard(&mut message, std::iter::once(change.name))?;
        }
        change.write(&mut message, &owner)?;
        self.signer.sign(&message, id)
    }

    /// An UPDATE without records: NOERROR tells that the zone is served and the key is known.
    pub fn probe(&self, id: u16) -> Result<Signed, EncodeError> {
        self.signer.sign(&self.empty(), id)
    }

    /// Only the guards of [`Self::replace`]: YXRRSET where one of `names` would not be served.
    pub(super) fn guards(&self, names: &[&Hostname]) -> Result<Message, EncodeError> {
        let mut message = self.empty();
        self.guard(&mut message, names.iter().copied())?;
        Ok(message)
    }

    /// Prerequisites alone (RFC 2136 sections 2.4.2 and 2.4.3): NOERROR where the name itself holds exactly `records`, NXRRSET or
    /// YXRRSET where not. A wildcard's answer does not count; the TTL does not either. That an RRset is without some records no
    /// prerequisite says.
    pub(super) fn holds_exactly(&self, name: &Hostname, records: &DesiredRecords) -> Result<Message, EncodeError> {
        let mut message = self.empty();
        let owner = wire_name(name.as_str())?;
        for (rtype, desired) in records.iter() {
            match desired {
                Desired::Absent => message.answers.push(absent(owner.clone(), record_type(rtype))),
                Desired::Without(_) => {}
                Desired::Set { data, .. } => push(&mut message.answers, &owner, 0, data)?,
            }
        }
        Ok(message)
    }

    pub(super) fn signer(&self) -> &Signer {
        &self.signer
    }

    pub(super) fn zone(&self) -> &ZoneName {
        &self.zone
    }

    /// `name` and what is above it, below the apex.
    pub(super) fn below_apex<'n>(&'n self, name: &'n Hostname) -> impl Iterator<Item = &'n str> {
        std::iter::once(name.as_str())
            .chain(name.ancestors())
            .take_while(|owner| owner.len() > self.zone.as_str().len())
    }

    /// What must not be there for `name` to be served, with where; the apex comes first.
    pub(super) fn hiding<'n>(&'n self, name: &'n Hostname) -> impl Iterator<Item = (&'n str, RecordType)> {
        let (owner, apex) = (name.as_str(), self.zone.as_str());
        let above = self.below_apex(name).skip(1);
        [(apex, RecordType::DNAME), (owner, RecordType::CNAME)]
            .into_iter()
            .chain((owner != apex).then_some((owner, RecordType::NS)))
            .chain(above.flat_map(|ancestor| [(ancestor, RecordType::NS), (ancestor, RecordType::DNAME)]))
    }

    /// The prerequisites that rule out what hides any of `names`, each once.
    fn guard<'n>(
        &'n self,
        message: &mut Message,
        names: impl Iterator<Item = &'n Hostname>,
    ) -> Result<(), EncodeError> {
        let mut guarded = HashSet::new();
        for (owner, kind) in names.flat_map(|name| self.hiding(name)) {
            if guarded.insert((owner, kind)) {
                message.answers.push(absent(wire_name(owner)?, kind));
            }
        }
        Ok(())
    }

    /// An UPDATE without records, not signed yet.
    pub(super) fn empty(&self) -> Message {
        let mut message = Message::new(0, MessageType::Query, OpCode::Update);
        message.queries.push(Query::query(self.apex.clone(), RecordType::SOA));
        message
    }
}

/// A query, not signed yet; signed, it also chooses BIND's view.
pub(super) fn query(name: &str, kind: RecordType) -> Result<Message, EncodeError> {
    let mut message = Message::new(0, MessageType::Query, OpCode::Query);
    message.queries.push(Query::query(wire_name(name)?, kind));
    Ok(message)
}

pub(super) fn wire_name(name: &str) -> Result<Name, EncodeError> {
    let labels = name.split('.').map(str::as_bytes);
    let mut name = Name::from_labels(labels).map_err(|_| EncodeError::Name)?;
    name.set_fqdn(true);
    Ok(name)
}

pub(super) fn record_type(rtype: RrType) -> RecordType {
    match rtype {
        RrType::A => RecordType::A,
        RrType::Aaaa => RecordType::AAAA,
        RrType::Txt => RecordType::TXT,
        RrType::Ptr => RecordType::PTR,
        RrType::Mx => RecordType::MX,
    }
}

/// Adds the records of `owner` that hold `data`.
pub(super) fn push(records: &mut Vec<Record>, owner: &Name, ttl: u32, data: &RrData) -> Result<(), EncodeError> {
    let mut add = |rdata| records.push(Record::from_rdata(owner.clone(), ttl, rdata));
    match data {
        RrData::A(v4) => add(RData::A((*v4).into())),
        RrData::Aaaa(v6) => add(RData::AAAA((*v6).into())),
        RrData::Txt(values) => {
            values.iter().for_each(|value| add(RData::TXT(TXT::new(vec![value.as_str().to_owned()]))));
        }
        RrData::Ptr(name) => add(RData::PTR(PTR(wire_name(name.as_str())?))),
        RrData::Mx(exchanges) => {
            for MailExchange { preference, exchange } in exchanges.iter() {
                add(RData::MX(MX::new(*preference, wire_name(exchange.as_str())?)));
            }
        }
    }
    Ok(())
}

/// What a record holds, of a type that is written here and as it is written here.
pub(super) fn rr_data(rdata: &RData) -> Option<RrData> {
    match rdata {
        RData::A(a) => Some(RrData::A(a.0)),
        RData::AAAA(aaaa) => Some(RrData::Aaaa(aaaa.0)),
        RData::TXT(txt) => {
            let [only] = &*txt.txt_data else { return None };
            Several::new([TxtValue::new(std::str::from_utf8(only).ok()?).ok()?]).map(RrData::Txt)
        }
        RData::PTR(ptr) => host_name(&ptr.0).map(RrData::Ptr),
        RData::MX(mx) => {
            let exchange = host_name(&mx.exchange)?;
            Several::new([MailExchange { preference: mx.preference, exchange }]).map(RrData::Mx)
        }
        _ => None,
    }
}

/// What an RRset holds that consists of `records`, where it could be written here.
pub(super) fn rrset_data(records: &[Record]) -> Option<RrData> {
    let (first, others) = records.split_first()?;
    others.iter().try_fold(rr_data(&first.data)?, |all, record| all.and(&rr_data(&record.data)?))
}

/// "RRset does not exist" (RFC 2136 section 2.4.3).
pub(super) fn absent(name: Name, kind: RecordType) -> Record {
    let mut record = Record::update0(name, 0, kind);
    record.dns_class = DNSClass::NONE;
    record
}

/// "Delete an RRset" (RFC 2136 section 2.5.2).
pub(super) fn delete_rrset(name: Name, kind: RecordType) -> Record {
    let mut record = Record::update0(name, 0, kind);
    record.dns_class = DNSClass::ANY;
    record
}

/// Reads a name that came over the wire as a host name, if it is one.
pub(super) fn host_name(name: &Name) -> Option<Hostname> {
    Hostname::parse(&name.to_ascii()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    use crate::model::{KeyName, TsigKey};

    fn update() -> Update {
        let key = TsigKey::new(KeyName::parse("k").unwrap(), "hmac-sha256".parse().unwrap(), "c2VjcmV0").unwrap();
        Update::new(ZoneName::parse("dyn.example").unwrap(), Signer::new(&key).unwrap()).unwrap()
    }

    const SET: Desired = Desired::Set { data: RrData::A(Ipv4Addr::new(192, 0, 2, 1)), ttl: 60 };

    fn write(name: &Hostname) -> RrsetUpdate<'_> {
        RrsetUpdate { name, rtype: RrType::A, desired: &SET }
    }

    fn remove(name: &Hostname, rtype: RrType) -> RrsetUpdate<'_> {
        RrsetUpdate { name, rtype, desired: &Desired::Absent }
    }

    #[test]
    fn a_change_carries_each_guard_once() {
        let names = ["a.b.dyn.example", "c.b.dyn.example", "dyn.example"].map(|name| Hostname::parse(name).unwrap());
        let writes: Vec<_> = names.iter().map(write).collect();
        let signed = update().replace(7, &writes).unwrap();
        let message = Message::from_vec(&signed.octets).unwrap();
        let guards: Vec<_> =
            message.answers.iter().map(|record| format!("{} {}", record.name, record.record_type())).collect();
        assert_eq!(
            guards,
            [
                "dyn.example. DNAME",
                "a.b.dyn.example. CNAME",
                "a.b.dyn.example. NS",
                "b.dyn.example. NS",
                "b.dyn.example. DNAME",
                "c.b.dyn.example. CNAME",
                "c.b.dyn.example. NS",
                "dyn.example. CNAME",
            ]
        );
        assert_eq!(message.authorities.len(), 6, "a delete and an add for each name");
        assert!(message.signature().is_some());
    }

    #[test]
    fn a_removal_is_a_deletion_alone_and_unguarded() {
        let names = ["gone.dyn.example", "half.b.dyn.example"].map(|name| Hostname::parse(name).unwrap());
        let gone = RrType::OF_ADDRESSES.map(|rtype| remove(&names[0], rtype));
        let half = [write(&names[1]), remove(&names[1], RrType::Aaaa)];
        let content = |writes: &[RrsetUpdate<'_>]| {
            let message = Message::from_vec(&update().replace(7, writes).unwrap().octets).unwrap();
            let show = |record: &Record| {
                let name = record.name.to_ascii();
                format!("{} {} {}", name.split('.').next().unwrap(), record.dns_class, record.record_type())
            };
            let guards: Vec<_> = message.answers.iter().map(show).collect();
            (guards, message.authorities.iter().map(show).collect::<Vec<_>>())
        };
        let removed = ["gone ANY A", "gone ANY AAAA"].map(str::to_owned);
        assert_eq!(content(&gone), (Vec::new(), removed.to_vec()));
        let (guards, changes) = content(&[gone, half].concat());
        assert_eq!(guards, ["dyn NONE DNAME", "half NONE CNAME", "half NONE NS", "b NONE NS", "b NONE DNAME"]);
        assert_eq!(changes[..2], removed);
        assert_eq!(changes[2..], ["half ANY A", "half IN A", "half ANY AAAA"]);
    }

    #[test]
    fn a_conditional_change_names_what_must_stand_there() {
        let name = Hostname::parse("a.dyn.example").unwrap();
        let show = |record: &Record| format!("{} {} {}", record.dns_class, record.record_type(), record.data);
        let lost = [RrData::A(Ipv4Addr::new(192, 0, 2, 9))];
        let signed = update().compare_and_swap(7, &lost, &write(&name)).unwrap();
        let message = Message::from_vec(&signed.octets).unwrap();
        assert_eq!(show(&message.answers[0]), "IN A 192.0.2.9");
        assert_eq!(message.answers.len(), 4, "the guards follow");
        assert_eq!(message.authorities.len(), 2, "a delete and an add");
        let signed = update().compare_and_swap(7, &[], &remove(&name, RrType::Aaaa)).unwrap();
        let message = Message::from_vec(&signed.octets).unwrap();
        assert!(show(&message.answers[0]).starts_with("NONE AAAA"));
        assert_eq!((message.answers.len(), message.authorities.len()), (1, 1), "a removal has no guard");
    }

    #[test]
    fn an_rrset_of_several_records_is_written_and_expected_whole() {
        let data = |rtype, text| RrData::parse(rtype, text).unwrap();
        let texts = Desired::Set { data: data(RrType::Txt, "one\ntwo"), ttl: 60 };
        let exchanges = data(RrType::Mx, "5 home.dyn.example\n10 mail.example");
        let gone = Desired::Without(exchanges.clone());
        let (challenge, home) = (["_acme-challenge.home.dyn.example", "home.dyn.example"])
            .map(|name| Hostname::parse(name).unwrap())
            .into();
        let writes = [
            RrsetUpdate { name: &challenge, rtype: RrType::Txt, desired: &texts },
            RrsetUpdate { name: &home, rtype: RrType::Mx, desired: &gone },
        ];
        let message = Message::from_vec(&update().replace(7, &writes).unwrap().octets).unwrap();
        let show = |record: &Record| format!("{} {} {}", record.dns_class, record.record_type(), record.ttl);
        let changes: Vec<_> = message.authorities.iter().map(show).collect();
        assert_eq!(changes, ["ANY TXT 0", "IN TXT 60", "IN TXT 60", "NONE MX 0", "NONE MX 0"]);
        assert_eq!(Some(&exchanges), rrset_data(&message.authorities[3..]).as_ref());
        assert_eq!(texts.data(), rrset_data(&message.authorities[1..3]).as_ref());
        assert_eq!(rrset_data(&message.authorities[2..4]), None, "two types are no RRset");
        let is_of_home =
            |record: &Record| record.name.to_ascii() == "home.dyn.example." && record.record_type() != RecordType::NS;
        assert!(!message.answers.iter().any(|guard| is_of_home(guard) && guard.record_type() == RecordType::CNAME));
        let swap = update().compare_and_swap(7, &[exchanges], &writes[1]).unwrap();
        let message = Message::from_vec(&swap.octets).unwrap();
        assert_eq!(message.answers.iter().map(show).collect::<Vec<_>>(), ["IN MX 0", "IN MX 0"]);
        let records = DesiredRecords::from_iter([(RrType::Txt, texts)]);
        assert_eq!(update().holds_exactly(&challenge, &records).unwrap().answers.len(), 2);
    }

    #[test]
    fn what_is_not_written_here_is_not_read_as_if_it_were() {
        let name = || Name::from_ascii("mail.example.").unwrap();
        for foreign in [
            RData::TXT(TXT::new(vec!["two".to_owned(), "strings".to_owned()])),
            RData::TXT(TXT::from_bytes(vec![b"\xff"])),
            RData::MX(MX::new(0, Name::root())),
            RData::PTR(PTR(Name::from_ascii("localhost.").unwrap())),
            RData::CNAME(hickory_proto::rr::rdata::CNAME(name())),
        ] {
            assert_eq!(rr_data(&foreign), None, "{foreign:?}");
        }
        let of = |rdata| Record::from_rdata(name(), 60, rdata);
        let texts = |text: &str| of(RData::TXT(TXT::new(vec![text.to_owned()])));
        assert!(rrset_data(&[texts("a"), texts("b")]).is_some());
        assert_eq!(rrset_data(&[texts("a"), texts("")]), None);
        let pointer = || of(RData::PTR(PTR(name())));
        assert!(rrset_data(&[pointer()]).is_some());
        assert_eq!(rrset_data(&[pointer(), pointer()]), None);
    }

    #[test]
    fn a_message_is_refused_before_hickory_cuts_it() {
        let names: Vec<_> =
            (0..2000).map(|n| Hostname::parse(&format!("{n}{}.dyn.example", "x".repeat(50))).unwrap()).collect();
        for count in (1..2000).step_by(97) {
            let writes: Vec<_> = names[..count].iter().map(write).collect();
            match update().replace(7, &writes) {
                Ok(signed) => {
                    let message = Message::from_vec(&signed.octets).unwrap();
                    assert_eq!(message.authorities.len(), 2 * count);
                }
                Err(error) => assert_eq!(error, EncodeError::TooLarge),
            }
        }
    }
}
