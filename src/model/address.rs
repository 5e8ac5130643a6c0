//! What a host points to, at most one address of each family, and what shall become of it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Families;

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
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
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
    #[must_use]
    pub fn len(&self) -> usize {
        usize::from(self.v4.is_some()) + usize::from(self.v6.is_some())
    }

    /// Whether no family is given.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl From<IpAddr> for Addresses {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(v4) => Self { v4: Some(v4), v6: None },
            IpAddr::V6(v6) => Self { v4: None, v6: Some(v6) },
        }
    }
}

/// What shall become of one RRset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Change<A> {
    /// It is left alone.
    #[default]
    Leave,
    /// It ceases to be.
    Remove,
    /// It is replaced whole.
    Set(A),
}

impl<A> Change<A> {
    /// What is set, if anything is.
    #[must_use]
    pub fn set(self) -> Option<A> {
        match self {
            Self::Set(address) => Some(address),
            Self::Leave | Self::Remove => None,
        }
    }

    /// The same change, of something made of its address.
    #[must_use]
    pub fn map<B>(self, make: impl FnOnce(A) -> B) -> Change<B> {
        match self {
            Self::Leave => Change::Leave,
            Self::Remove => Change::Remove,
            Self::Set(address) => Change::Set(make(address)),
        }
    }

    /// This one, made after `older`: it wins unless it leaves the RRset alone.
    #[must_use]
    pub fn after(self, older: Self) -> Self {
        match self {
            Self::Leave => older,
            Self::Remove | Self::Set(_) => self,
        }
    }

    /// Whether the RRset is touched.
    #[must_use]
    pub fn is_made(&self) -> bool {
        match self {
            Self::Leave => false,
            Self::Remove | Self::Set(_) => true,
        }
    }
}

impl<A> From<Option<A>> for Change<A> {
    fn from(address: Option<A>) -> Self {
        address.map_or(Self::Leave, Self::Set)
    }
}

/// What shall become of the address records of a name, by family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Records {
    /// Of its A RRset.
    pub v4: Change<Ipv4Addr>,
    /// Of its AAAA RRset.
    pub v6: Change<Ipv6Addr>,
}

impl Records {
    /// All address records go.
    pub const REMOVED: Self = Self { v4: Change::Remove, v6: Change::Remove };

    /// The address records of `family` go.
    #[must_use]
    pub fn without(family: Family) -> Self {
        match family {
            Family::V4 => Self { v4: Change::Remove, v6: Change::Leave },
            Family::V6 => Self { v4: Change::Leave, v6: Change::Remove },
        }
    }

    /// The families that are touched; both where none is.
    #[must_use]
    pub fn families(self) -> Families {
        match (self.v4.is_made(), self.v6.is_made()) {
            (true, false) => Families::V4,
            (false, true) => Families::V6,
            (true, true) | (false, false) => Families::Both,
        }
    }

    /// The addresses that are set.
    #[must_use]
    pub fn addresses(self) -> Addresses {
        Addresses { v4: self.v4.set(), v6: self.v6.set() }
    }

    /// Whether any address is set.
    #[must_use]
    pub fn sets(self) -> bool {
        !self.addresses().is_empty()
    }

    /// Whether anything is removed.
    #[must_use]
    pub fn removes(self) -> bool {
        self.v4 == Change::Remove || self.v6 == Change::Remove
    }

    /// Whether a family that this changes is changed otherwise by `newest`.
    #[must_use]
    pub fn is_superseded_by(self, newest: Self) -> bool {
        self.v4.is_made() && self.v4 != newest.v4 || self.v6.is_made() && self.v6 != newest.v6
    }
}

impl From<Addresses> for Records {
    fn from(Addresses { v4, v6 }: Addresses) -> Self {
        Self { v4: v4.into(), v6: v6.into() }
    }
}

/// An IPv4-mapped IPv6 address (RFC 4291 section 2.5.5.2) is the IPv4 address.
#[must_use]
pub fn canonical(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

#[cfg(test)]
mod tests {
    use super::Change::{Leave, Remove, Set};
    use super::*;

    #[test]
    fn the_newer_change_wins_unless_it_leaves_the_family_alone() {
        for (newer, older, result) in [
            (Leave, Leave, Leave),
            (Leave, Remove, Remove),
            (Leave, Set(1), Set(1)),
            (Remove, Leave, Remove),
            (Remove, Set(1), Remove),
            (Set(2), Leave, Set(2)),
            (Set(2), Remove, Set(2)),
            (Set(2), Set(1), Set(2)),
        ] {
            assert_eq!(newer.after(older), result, "{newer:?} after {older:?}");
        }
    }

    #[test]
    fn one_is_superseded_where_a_family_of_its_own_ends_otherwise() {
        let set = Records::from(Addresses::from(IpAddr::V4(Ipv4Addr::LOCALHOST)));
        let set_and_removed = Records { v6: Remove, ..set };
        for (wish, newest, superseded) in [
            (set, set, false),
            (set, set_and_removed, false),
            (set, Records::REMOVED, true),
            (Records::REMOVED, Records::REMOVED, false),
            (Records::REMOVED, set_and_removed, true),
            (Records::without(Family::V6), set_and_removed, false),
            (Records::without(Family::V4), set_and_removed, true),
        ] {
            assert_eq!(wish.is_superseded_by(newest), superseded, "{wish:?} by {newest:?}");
        }
    }
}
