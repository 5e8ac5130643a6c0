//! What a host points to: at most one address of each family; and which families it may have.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An address family, and with it the type of the record (A, AAAA).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    /// IPv4, type A.
    V4,
    /// IPv6, type AAAA (RFC 3596).
    V6,
}

impl Family {
    /// The family that `address` belongs to.
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }
}

/// The families that a host may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Families {
    /// IPv4 alone.
    V4,
    /// IPv6 alone.
    V6,
    /// Both.
    #[default]
    Both,
}

impl Families {
    /// Those of the two that are among them; `None` where neither is.
    pub fn of(v4: bool, v6: bool) -> Option<Self> {
        match (v4, v6) {
            (true, true) => Some(Self::Both),
            (true, false) => Some(Self::V4),
            (false, true) => Some(Self::V6),
            (false, false) => None,
        }
    }

    /// Whether `family` is among them.
    pub fn allow(self, family: Family) -> bool {
        match self {
            Self::V4 => family == Family::V4,
            Self::V6 => family == Family::V6,
            Self::Both => true,
        }
    }

    /// Each of them, IPv4 first.
    pub fn iter(self) -> impl Iterator<Item = Family> {
        [Family::V4, Family::V6].into_iter().filter(move |family| self.allow(*family))
    }
}

/// Addresses by family; a family that is `None` is left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Addresses {
    /// The A record's address.
    pub v4: Option<Ipv4Addr>,
    /// The AAAA record's address.
    pub v6: Option<Ipv6Addr>,
}

impl Addresses {
    /// The addresses that are given, IPv4 first.
    pub fn iter(&self) -> impl Iterator<Item = IpAddr> + use<> {
        self.v4.map(IpAddr::V4).into_iter().chain(self.v6.map(IpAddr::V6))
    }

    /// How many families are given, and so how many RRsets a change writes.
    pub fn len(&self) -> usize {
        usize::from(self.v4.is_some()) + usize::from(self.v6.is_some())
    }

    /// Whether no family is given.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl From<IpAddr> for Addresses {
    fn from(address: IpAddr) -> Self {
        Self::from_iter([address])
    }
}

impl FromIterator<IpAddr> for Addresses {
    /// Of one family the last counts.
    fn from_iter<I: IntoIterator<Item = IpAddr>>(all: I) -> Self {
        let mut addresses = Self::default();
        for address in all {
            match address {
                IpAddr::V4(v4) => addresses.v4 = Some(v4),
                IpAddr::V6(v6) => addresses.v6 = Some(v6),
            }
        }
        addresses
    }
}

/// An IPv4-mapped IPv6 address (RFC 4291 section 2.5.5.2) is the IPv4 address.
pub fn canonical(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_is_what_nobody_narrowed() {
        assert_eq!(Families::default().iter().collect::<Vec<_>>(), [Family::V4, Family::V6]);
        assert_eq!(Families::V4.iter().collect::<Vec<_>>(), [Family::V4]);
        assert!(!Families::V6.allow(Family::V4));
    }
}
