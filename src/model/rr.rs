//! Resource records as keys and what they hold (RFC 1035 section 3.2): the words in which changes are spoken of everywhere. A
//! new record type is a variant of [`RrType`] and one of [`RrData`].

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::sync::Arc;

use super::{Addresses, Family, Hostname};

/// A record type that the gateway may write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RrType {
    /// An IPv4 address (RFC 1035 section 3.4.1).
    A,
    /// An IPv6 address (RFC 3596 section 2.1).
    Aaaa,
    /// Text (RFC 1035 section 3.3.14): what proves a name to a certificate authority.
    Txt,
    /// A host's name in a reverse zone (RFC 1035 section 3.3.12).
    Ptr,
    /// Who takes a name's mail (RFC 1035 section 3.3.9).
    Mx,
}

impl RrType {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::A, Self::Aaaa, Self::Txt, Self::Ptr, Self::Mx];
    /// Those that hold an address.
    pub const OF_ADDRESSES: [Self; 2] = [Self::A, Self::Aaaa];

    /// Its mnemonic.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::A => "A",
            Self::Aaaa => "AAAA",
            Self::Txt => "TXT",
            Self::Ptr => "PTR",
            Self::Mx => "MX",
        }
    }

    /// Whether it holds an address.
    #[must_use]
    pub fn is_of_addresses(self) -> bool {
        Self::OF_ADDRESSES.contains(&self)
    }
}

impl fmt::Display for RrType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for RrType {
    type Err = UnknownType;

    fn from_str(text: &str) -> Result<Self, UnknownType> {
        Self::ALL.into_iter().find(|rtype| rtype.as_str() == text).ok_or(UnknownType)
    }
}

impl From<Family> for RrType {
    fn from(family: Family) -> Self {
        match family {
            Family::V4 => Self::A,
            Family::V6 => Self::Aaaa,
        }
    }
}

/// Not a record type that the gateway writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a record type that is written here")]
pub struct UnknownType;

/// Which RRset: an owner name and a type.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RrKey {
    /// The owner name.
    pub name: Hostname,
    /// The record type.
    pub rtype: RrType,
}

impl fmt::Display for RrKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.rtype)
    }
}

/// What an RRset holds: one record, of TXT and MX also several.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum RrData {
    /// Of an A record.
    A(Ipv4Addr),
    /// Of an AAAA record.
    Aaaa(Ipv6Addr),
    /// Of TXT records.
    Txt(Several<TxtValue>),
    /// Of a PTR record.
    Ptr(Hostname),
    /// Of MX records.
    Mx(Several<MailExchange>),
}

/// What the records of one RRset hold: each once, in no order that matters, and at least one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Several<T>(Arc<[T]>);

/// What a TXT record holds: one character-string of printable ASCII.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TxtValue(Box<str>);

/// Not a text that is written into a TXT record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a TXT record's value is 1 to 255 characters of printable ASCII")]
pub struct BadTxt;

/// What an MX record holds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MailExchange {
    /// The lowest is tried first.
    pub preference: u16,
    /// The mail server.
    pub exchange: Hostname,
}

impl<T: Ord + Clone> Several<T> {
    /// `None` where there is nothing.
    pub fn new(all: impl IntoIterator<Item = T>) -> Option<Self> {
        let mut all: Vec<T> = all.into_iter().collect();
        all.sort_unstable();
        all.dedup();
        (!all.is_empty()).then(|| Self(all.into()))
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter()
    }

    fn and(&self, others: &Self) -> Option<Self> {
        Self::new(self.iter().chain(others.iter()).cloned())
    }

    fn shares(&self, others: &Self) -> bool {
        self.iter().any(|one| others.0.contains(one))
    }
}

impl TxtValue {
    /// Checks `text` (RFC 1035 section 3.3: at most 255 octets).
    ///
    /// # Errors
    /// [`BadTxt`]
    pub fn new(text: &str) -> Result<Self, BadTxt> {
        let is_printable = |byte: u8| (b' '..=b'~').contains(&byte);
        if (1..=255).contains(&text.len()) && text.bytes().all(is_printable) {
            Ok(Self(text.into()))
        } else {
            Err(BadTxt)
        }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TxtValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for MailExchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.preference, self.exchange)
    }
}

/// A record a line.
impl<T: fmt::Display> fmt::Display for Several<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().enumerate().try_for_each(|(place, one)| {
            let end = if place == 0 { "" } else { "\n" };
            write!(f, "{end}{one}")
        })
    }
}

impl RrData {
    /// The type of a record that holds it.
    pub fn rtype(&self) -> RrType {
        match self {
            Self::A(_) => RrType::A,
            Self::Aaaa(_) => RrType::Aaaa,
            Self::Txt(_) => RrType::Txt,
            Self::Ptr(_) => RrType::Ptr,
            Self::Mx(_) => RrType::Mx,
        }
    }

    /// Reads what [`fmt::Display`] writes.
    pub fn parse(rtype: RrType, text: &str) -> Option<Self> {
        match rtype {
            RrType::A => text.parse().ok().map(Self::A),
            RrType::Aaaa => text.parse().ok().map(Self::Aaaa),
            RrType::Txt => {
                let values: Option<Vec<_>> = text.split('\n').map(|line| TxtValue::new(line).ok()).collect();
                Several::new(values?).map(Self::Txt)
            }
            RrType::Ptr => Hostname::parse(text).ok().map(Self::Ptr),
            RrType::Mx => {
                let exchange = |line: &str| {
                    let (preference, exchange) = line.split_once(' ')?;
                    let exchange = Hostname::parse(exchange).ok()?;
                    Some(MailExchange { preference: preference.parse().ok()?, exchange })
                };
                let exchanges: Option<Vec<_>> = text.split('\n').map(exchange).collect();
                Several::new(exchanges?).map(Self::Mx)
            }
        }
    }

    /// What an RRset holds that holds both; `None` where it holds only one record, or they are of two types.
    #[must_use]
    pub fn and(&self, other: &Self) -> Option<Self> {
        match (self, other) {
            (Self::Txt(one), Self::Txt(other)) => one.and(other).map(Self::Txt),
            (Self::Mx(one), Self::Mx(other)) => one.and(other).map(Self::Mx),
            _ => None,
        }
    }

    /// Whether a record of both is the same.
    #[must_use]
    pub fn shares(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Txt(one), Self::Txt(other)) => one.shares(other),
            (Self::Mx(one), Self::Mx(other)) => one.shares(other),
            _ => self == other,
        }
    }

    /// The address, of a record that holds one.
    pub fn address(&self) -> Option<IpAddr> {
        match self {
            Self::A(v4) => Some(IpAddr::V4(*v4)),
            Self::Aaaa(v6) => Some(IpAddr::V6(*v6)),
            Self::Txt(_) | Self::Ptr(_) | Self::Mx(_) => None,
        }
    }
}

impl fmt::Display for RrData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::A(v4) => v4.fmt(f),
            Self::Aaaa(v6) => v6.fmt(f),
            Self::Txt(values) => values.fmt(f),
            Self::Ptr(name) => name.fmt(f),
            Self::Mx(exchanges) => exchanges.fmt(f),
        }
    }
}

impl From<IpAddr> for RrData {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(v4) => Self::A(v4),
            IpAddr::V6(v6) => Self::Aaaa(v6),
        }
    }
}

/// What an RRset shall hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Desired {
    /// Nothing: the RRset does not exist.
    Absent,
    /// None of these records; what else it holds stays, for it is somebody else's (RFC 2136 section 2.5.4).
    Without(RrData),
    /// These records, and no others.
    Set {
        /// What they hold.
        data: RrData,
        /// Their TTL in seconds.
        ttl: u32,
    },
}

impl Desired {
    /// What the RRset holds, if it is to exist.
    pub fn data(&self) -> Option<&RrData> {
        match self {
            Self::Absent | Self::Without(_) => None,
            Self::Set { data, .. } => Some(data),
        }
    }

    /// The records' TTL in seconds; of no meaning where there is to be none.
    #[must_use]
    pub fn ttl(&self) -> u32 {
        match self {
            Self::Absent | Self::Without(_) => 0,
            Self::Set { ttl, .. } => *ttl,
        }
    }

    /// Whether records shall exist.
    #[must_use]
    pub fn is_set(&self) -> bool {
        matches!(self, Self::Set { .. })
    }

    /// Whether an RRset that is as `held` says is as it shall be.
    #[must_use]
    pub fn is_met_by(&self, held: &Self) -> bool {
        match (self, held) {
            (Self::Without(gone), Self::Set { data, .. }) => !gone.shares(data),
            (Self::Without(_), Self::Absent) => true,
            _ => self == held,
        }
    }
}

/// What the RRsets of one name shall hold; those that are not listed are left alone.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DesiredRecords(Vec<(RrType, Desired)>);

impl DesiredRecords {
    /// The records of `addresses` with `ttl` seconds.
    pub fn set(addresses: Addresses, ttl: u32) -> Self {
        let set = |address: IpAddr| (Family::of(address).into(), Desired::Set { data: address.into(), ttl });
        addresses.iter().map(set).collect()
    }

    /// None of `types`.
    pub fn absent(types: impl IntoIterator<Item = RrType>) -> Self {
        types.into_iter().map(|rtype| (rtype, Desired::Absent)).collect()
    }

    /// What is desired of the RRset of `rtype`.
    pub fn get(&self, rtype: RrType) -> Option<&Desired> {
        self.0.iter().find(|(other, _)| *other == rtype).map(|(_, desired)| desired)
    }

    /// Each type once.
    pub fn iter(&self) -> impl Iterator<Item = (RrType, &Desired)> {
        self.0.iter().map(|(rtype, desired)| (*rtype, desired))
    }

    /// How many RRsets are changed.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing is.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether any record shall exist.
    pub fn sets(&self) -> bool {
        self.0.iter().any(|(_, desired)| desired.is_set())
    }

    /// The addresses that are set.
    pub fn addresses(&self) -> Addresses {
        self.0.iter().filter_map(|(_, desired)| desired.data()?.address()).collect()
    }
}

impl FromIterator<(RrType, Desired)> for DesiredRecords {
    /// Of one type the last counts.
    fn from_iter<I: IntoIterator<Item = (RrType, Desired)>>(all: I) -> Self {
        let mut records: Vec<(RrType, Desired)> = Vec::new();
        for (rtype, desired) in all {
            match records.iter_mut().find(|(other, _)| *other == rtype) {
                Some((_, known)) => *known = desired,
                None => records.push((rtype, desired)),
            }
        }
        records.sort_by_key(|(rtype, _)| *rtype);
        Self(records)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn txt(values: &[&str]) -> RrData {
        RrData::Txt(Several::new(values.iter().map(|value| TxtValue::new(value).unwrap())).unwrap())
    }

    fn mx(text: &str) -> RrData {
        RrData::parse(RrType::Mx, text).unwrap()
    }

    #[test]
    fn types_and_data_go_there_and_back() {
        let pointer = RrData::Ptr(Hostname::parse("home.dyn.example").unwrap());
        let addresses = ["192.0.2.1", "2001:db8::1"].map(|address| RrData::from(address.parse::<IpAddr>().unwrap()));
        let others =
            [txt(&["one \"two\""]), txt(&["b", " a", "b"]), pointer, mx("10 mail.example\n5 home.dyn.example")];
        for data in addresses.into_iter().chain(others) {
            assert_eq!(data.rtype().as_str().parse(), Ok(data.rtype()));
            assert_eq!(RrData::parse(data.rtype(), &data.to_string()), Some(data));
        }
        assert_eq!("CNAME".parse::<RrType>(), Err(UnknownType));
    }

    #[test]
    fn the_order_of_records_does_not_matter() {
        assert_eq!(txt(&["b", "a", "b"]), txt(&["a", "b"]));
        assert_eq!(mx("10 a.example\n5 b.example"), mx("5 b.example\n10 a.example"));
        assert_eq!(txt(&["a"]).and(&txt(&["b"])), Some(txt(&["b", "a"])));
        assert_eq!(txt(&["a"]).and(&mx("5 b.example")), None);
    }

    #[test]
    fn what_is_no_text_is_refused() {
        for text in ["", "two\nlines", "ümlaut", &"x".repeat(256)] {
            assert_eq!(TxtValue::new(text), Err(BadTxt), "{text:?}");
        }
        assert!(TxtValue::new(&"x".repeat(255)).is_ok());
        assert_eq!(RrData::parse(RrType::Txt, ""), None);
        for text in ["", "mail.example", "10 mail", "65536 mail.example", "10 mail.example\n"] {
            assert_eq!(RrData::parse(RrType::Mx, text), None, "{text:?}");
        }
    }

    #[test]
    fn who_wants_records_gone_minds_no_others() {
        let held = |data| Desired::Set { data, ttl: 60 };
        let without = Desired::Without(txt(&["a", "b"]));
        assert!(without.is_met_by(&Desired::Absent) && without.is_met_by(&held(txt(&["c"]))));
        assert!(!without.is_met_by(&held(txt(&["b", "c"]))));
        assert!(!Desired::Absent.is_met_by(&held(txt(&["c"]))));
    }
}
