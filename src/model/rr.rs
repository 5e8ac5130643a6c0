//! Resource records as keys and what they hold (RFC 1035 section 3.2): the words in which changes are spoken of everywhere. A
//! new record type is a variant of [`RrType`] and one of [`RrData`].

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use super::{Addresses, Family, Hostname};

/// A record type that the gateway may write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RrType {
    /// An IPv4 address (RFC 1035 section 3.4.1).
    A,
    /// An IPv6 address (RFC 3596 section 2.1).
    Aaaa,
}

impl RrType {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::A, Self::Aaaa];

    /// Its mnemonic.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::A => "A",
            Self::Aaaa => "AAAA",
        }
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

/// What a record holds.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum RrData {
    /// Of an A record.
    A(Ipv4Addr),
    /// Of an AAAA record.
    Aaaa(Ipv6Addr),
}

impl RrData {
    /// The type of a record that holds it.
    pub fn rtype(&self) -> RrType {
        match self {
            Self::A(_) => RrType::A,
            Self::Aaaa(_) => RrType::Aaaa,
        }
    }

    /// Reads what [`fmt::Display`] writes.
    pub fn parse(rtype: RrType, text: &str) -> Option<Self> {
        match rtype {
            RrType::A => text.parse().ok().map(Self::A),
            RrType::Aaaa => text.parse().ok().map(Self::Aaaa),
        }
    }

    /// The address, of a record that holds one.
    pub fn address(&self) -> Option<IpAddr> {
        match self {
            Self::A(v4) => Some(IpAddr::V4(*v4)),
            Self::Aaaa(v6) => Some(IpAddr::V6(*v6)),
        }
    }
}

impl fmt::Display for RrData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::A(v4) => v4.fmt(f),
            Self::Aaaa(v6) => v6.fmt(f),
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
    /// One record.
    Set {
        /// What it holds.
        data: RrData,
        /// Its TTL in seconds.
        ttl: u32,
    },
}

impl Desired {
    /// What the record holds, if there is to be one.
    pub fn data(&self) -> Option<&RrData> {
        match self {
            Self::Absent => None,
            Self::Set { data, .. } => Some(data),
        }
    }

    /// The record's TTL in seconds; of no meaning where there is to be none.
    #[must_use]
    pub fn ttl(&self) -> u32 {
        match self {
            Self::Absent => 0,
            Self::Set { ttl, .. } => *ttl,
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
        self.0.iter().any(|(_, desired)| *desired != Desired::Absent)
    }

    /// Whether any RRset shall not.
    pub fn removes(&self) -> bool {
        self.0.iter().any(|(_, desired)| *desired == Desired::Absent)
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

    #[test]
    fn types_and_data_go_there_and_back() {
        for address in ["192.0.2.1", "2001:db8::1"] {
            let data = RrData::from(address.parse::<IpAddr>().unwrap());
            assert_eq!(data.rtype().as_str().parse(), Ok(data.rtype()));
            assert_eq!(RrData::parse(data.rtype(), &data.to_string()), Some(data));
        }
        assert_eq!("TXT".parse::<RrType>(), Err(UnknownType));
    }
}
