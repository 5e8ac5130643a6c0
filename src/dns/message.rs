//! What we ask of a primary, as signed messages: the change of many hosts, the empty probe, the exact question, reads.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hickory_proto::op::{Message, MessageType, OpCode, Query};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};

use super::tsig::{Signed, Signer, wall_clock};
use crate::model::{Addresses, Change, Hostname, Records, ZoneName};

/// The largest message that we send, in octets: half of what a frame holds, far from where hickory cuts.
pub const MAX_MESSAGE: usize = 32 * 1024;

/// Why a message cannot be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// It would exceed [`MAX_MESSAGE`]; fewer hosts will fit.
    #[error("the message would be larger than 32 KiB")]
    TooLarge,
    /// A name does not fit the wire.
    #[error("a name cannot be written in wire format")]
    Name,
}

/// What shall become of the address records of one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RrsetWrite<'a> {
    /// The owner name.
    pub name: &'a Hostname,
    /// The change of each RRset.
    pub records: Records,
    /// TTL of the A record, in seconds, where one is set.
    pub ttl_v4: u32,
    /// TTL of the AAAA record, in seconds, where one is set.
    pub ttl_v6: u32,
}

impl RrsetWrite<'_> {
    /// Whether the change must be guarded: only an address that is set can fail to be served. Where addresses are only
    /// removed, whatever stands there instead (a CNAME, say) makes the removal no less true, and must not fail the message.
    #[must_use]
    pub fn is_guarded(&self) -> bool {
        self.records.sets()
    }

    fn change(&self, message: &mut Message, owner: &Name) {
        change(message, owner, RecordType::A, self.ttl_v4, self.records.v4.map(Ipv4Addr::into));
        change(message, owner, RecordType::AAAA, self.ttl_v6, self.records.v6.map(Ipv6Addr::into));
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
    ///
    /// # Errors
    /// [`EncodeError::Name`] where the apex does not fit the wire.
    pub fn new(zone: ZoneName, signer: Signer) -> Result<Self, EncodeError> {
        Ok(Self { apex: wire_name(zone.as_str())?, zone, signer })
    }

    /// Replaces or removes the RRsets of all `writes`. What is set is guarded so that NOERROR means that it is served: no
    /// CNAME and no NS at each name, no NS and no DNAME above it inside the zone, no DNAME at the apex (RFC 2136 section 2.4.3).
    ///
    /// # Errors
    /// [`EncodeError`]; nothing is cut silently.
    pub fn replace(&self, id: u16, writes: &[RrsetWrite<'_>]) -> Result<Signed, EncodeError> {
        let mut message = self.empty(id);
        message.answers.reserve(2 * writes.len() + 1);
        message.authorities.reserve(4 * writes.len());
        self.guard(&mut message, writes.iter().filter(|write| write.is_guarded()).map(|write| write.name))?;
        for write in writes {
            write.change(&mut message, &wire_name(write.name.as_str())?);
        }
        self.sign(&message)
    }

    /// Does what `write` says, unguarded, where the name holds exactly what `held` says of each family that it makes; YXRRSET
    /// or NXRRSET where not (RFC 2136 sections 2.4.2 and 2.4.3).
    ///
    /// # Errors
    /// [`EncodeError`], in theory.
    pub fn replace_where(&self, id: u16, held: Records, write: &RrsetWrite<'_>) -> Result<Signed, EncodeError> {
        let mut message = self.empty(id);
        let owner = wire_name(write.name.as_str())?;
        for (kind, change) in [(RecordType::A, held.v4.map(Into::into)), (RecordType::AAAA, held.v6.map(Into::into))] {
            match change {
                Change::Leave => {}
                Change::Remove => message.answers.push(absent(owner.clone(), kind)),
                Change::Set(address) => message.answers.push(Record::from_rdata(owner.clone(), 0, rdata(address))),
            }
        }
        write.change(&mut message, &owner);
        self.sign(&message)
    }

    /// Only the guards of [`Self::replace`]: YXRRSET where one of `names` would not be served.
    ///
    /// # Errors
    /// [`EncodeError`].
    pub(super) fn guards(&self, id: u16, names: &[&Hostname]) -> Result<Signed, EncodeError> {
        let mut message = self.empty(id);
        self.guard(&mut message, names.iter().copied())?;
        self.sign(&message)
    }

    /// An UPDATE without records: NOERROR tells that the zone is served and the key is known.
    ///
    /// # Errors
    /// [`EncodeError`], in theory.
    pub fn probe(&self, id: u16) -> Result<Signed, EncodeError> {
        self.signer.sign(&self.empty(id), wall_clock())
    }

    /// A value-dependent prerequisite alone (RFC 2136 section 2.4.2): NOERROR where the name itself holds exactly these
    /// addresses, NXRRSET where not. A wildcard's answer does not count; the TTL does not either.
    ///
    /// # Errors
    /// [`EncodeError`], in theory.
    pub fn holds_exactly(&self, id: u16, name: &Hostname, addresses: Addresses) -> Result<Signed, EncodeError> {
        let mut message = self.empty(id);
        for address in addresses.iter() {
            message.answers.push(Record::from_rdata(wire_name(name.as_str())?, 0, rdata(address)));
        }
        self.sign(&message)
    }

    /// A signed query; the signature also chooses BIND's view.
    ///
    /// # Errors
    /// [`EncodeError`], in theory.
    pub(super) fn query(&self, id: u16, name: &str, kind: RecordType) -> Result<Signed, EncodeError> {
        self.sign(&question(id, name, kind)?)
    }

    /// Signs a message that this zone's other files built.
    pub(super) fn sign(&self, message: &Message) -> Result<Signed, EncodeError> {
        self.signer.sign(message, wall_clock())
    }

    /// The zone that is changed.
    pub(super) fn zone(&self) -> &ZoneName {
        &self.zone
    }

    /// What must not be there for `name` to be served, with where; the apex comes first.
    pub(super) fn hiding<'n>(&'n self, name: &'n Hostname) -> impl Iterator<Item = (&'n str, RecordType)> {
        let (owner, apex) = (name.as_str(), self.zone.as_str());
        let above = name.ancestors().take_while(|ancestor| ancestor.len() > apex.len());
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
        let mut guarded = BTreeSet::new();
        for (owner, kind) in names.flat_map(|name| self.hiding(name)) {
            if guarded.insert((owner, kind)) {
                message.answers.push(absent(wire_name(owner)?, kind));
            }
        }
        Ok(())
    }

    pub(super) fn empty(&self, id: u16) -> Message {
        let mut message = Message::new(id, MessageType::Query, OpCode::Update);
        message.queries.push(Query::query(self.apex.clone(), RecordType::SOA));
        message
    }
}

/// "Delete an RRset", and where it is set anew, "Add To An RRset" (RFC 2136 sections 2.5.2 and 2.5.1).
fn change(message: &mut Message, owner: &Name, kind: RecordType, ttl: u32, change: Change<IpAddr>) {
    if change.is_made() {
        message.authorities.push(delete_rrset(owner.clone(), kind));
    }
    if let Some(address) = change.set() {
        message.authorities.push(Record::from_rdata(owner.clone(), ttl, rdata(address)));
    }
}

/// A query, not signed yet.
pub(super) fn question(id: u16, name: &str, kind: RecordType) -> Result<Message, EncodeError> {
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.queries.push(Query::query(wire_name(name)?, kind));
    Ok(message)
}

pub(super) fn wire_name(name: &str) -> Result<Name, EncodeError> {
    let labels = name.split('.').map(str::as_bytes);
    let mut name = Name::from_labels(labels).map_err(|_| EncodeError::Name)?;
    name.set_fqdn(true);
    Ok(name)
}

pub(super) fn rdata(address: IpAddr) -> RData {
    match address {
        IpAddr::V4(v4) => RData::A(v4.into()),
        IpAddr::V6(v6) => RData::AAAA(v6.into()),
    }
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
    use crate::model::{KeyName, TsigKey};

    fn update() -> Update {
        let key = TsigKey::new(KeyName::parse("k").unwrap(), "hmac-sha256".parse().unwrap(), "c2VjcmV0").unwrap();
        Update::new(ZoneName::parse("dyn.example").unwrap(), Signer::new(key).unwrap()).unwrap()
    }

    fn write(name: &Hostname) -> RrsetWrite<'_> {
        let v4 = Some("192.0.2.1".parse().unwrap());
        RrsetWrite { name, records: Addresses { v4, v6: None }.into(), ttl_v4: 60, ttl_v6: 60 }
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
        let gone = RrsetWrite { records: Records::REMOVED, ..write(&names[0]) };
        let half = write(&names[1]);
        let half = RrsetWrite { records: Records { v6: Change::Remove, ..half.records }, ..half };
        let content = |writes: &[RrsetWrite<'_>]| {
            let message = Message::from_vec(&update().replace(7, writes).unwrap().octets).unwrap();
            let show = |record: &Record| {
                let name = record.name.to_ascii();
                format!("{} {} {}", name.split('.').next().unwrap(), record.dns_class, record.record_type())
            };
            let guards: Vec<_> = message.answers.iter().map(show).collect();
            (guards, message.authorities.iter().map(show).collect::<Vec<_>>())
        };
        let removed = ["gone ANY A", "gone ANY AAAA"].map(str::to_owned);
        assert_eq!(content(std::slice::from_ref(&gone)), (Vec::new(), removed.to_vec()));
        let (guards, changes) = content(&[gone, half]);
        assert_eq!(guards, ["dyn NONE DNAME", "half NONE CNAME", "half NONE NS", "b NONE NS", "b NONE DNAME"]);
        assert_eq!(changes[..2], removed);
        assert_eq!(changes[2..], ["half ANY A", "half IN A", "half ANY AAAA"]);
    }

    #[test]
    fn a_conditional_change_names_what_must_stand_there() {
        let name = Hostname::parse("a.dyn.example").unwrap();
        let lost = Records { v4: Change::Set("192.0.2.9".parse().unwrap()), v6: Change::Remove };
        let signed = update().replace_where(7, lost, &write(&name)).unwrap();
        let message = Message::from_vec(&signed.octets).unwrap();
        let show = |record: &Record| format!("{} {} {}", record.dns_class, record.record_type(), record.data);
        assert_eq!(message.answers.iter().map(show).collect::<Vec<_>>()[0], "IN A 192.0.2.9");
        assert!(show(&message.answers[1]).starts_with("NONE AAAA"));
        assert_eq!(message.authorities.len(), 2, "a delete and an add");
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
