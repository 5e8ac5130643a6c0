//! Settings of a host that few hosts have. Knows neither where they are kept nor who grants them.

use std::fmt;
use std::str::FromStr;

use super::{Hostname, InterfaceId};

/// Hosts that may follow one leader.
pub const MAX_FOLLOWERS: usize = 64;
/// Names of mail servers that a host may have to choose from.
const MAX_MX: usize = 8;

/// Settings of a host that few hosts have; the default is that of all others.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HostExtras {
    /// The host whose prefix it takes.
    pub follow: Option<Hostname>,
    /// Its bits in that prefix, or in the one that is reported for itself.
    pub interface_id: Option<InterfaceId>,
    /// Where its prefix comes from.
    pub prefix_from: PrefixFrom,
    /// Whether `*.HOST` has the same addresses.
    pub wildcard: bool,
    /// Whether a request may remove its addresses.
    pub offline: bool,
    /// The mail servers that a request may name.
    pub mx: Vec<Hostname>,
    /// Whether its PTR records are kept in step.
    pub ptr: bool,
}

/// Where a follower's prefix comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PrefixFrom {
    /// What the leader reports as its prefix: its own address is in another network, as a router's is.
    #[default]
    Prefix,
    /// The /64 of the leader's own address as well: the leader is a machine in the same network.
    Address,
}

/// No word for where a prefix comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is neither \"prefix\" nor \"address\"")]
pub struct UnknownPrefixFrom;

/// Why settings contradict each other, of one host alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ExtrasError {
    /// It would lead itself.
    #[error("a host does not follow itself")]
    Itself,
    /// Without one it has no address of its own in the leader's network.
    #[error("a host that follows another needs an interface id")]
    NoInterfaceId,
    /// It follows nobody.
    #[error("where a prefix comes from is said of a host that follows another")]
    FollowsNobody,
    /// No name has room for one more label.
    #[error("its name is too long for a wildcard below it")]
    NoWildcard,
    /// More than a request needs.
    #[error("a host has at most 8 mail servers")]
    ManyMx,
}

impl HostExtras {
    /// Whether they make sense for the host `name`, as far as it alone tells.
    pub fn check(&self, name: &Hostname) -> Result<(), ExtrasError> {
        if self.follow.as_ref() == Some(name) {
            return Err(ExtrasError::Itself);
        }
        if self.follow.is_some() && self.interface_id.is_none() {
            return Err(ExtrasError::NoInterfaceId);
        }
        if self.follow.is_none() && self.prefix_from != PrefixFrom::default() {
            return Err(ExtrasError::FollowsNobody);
        }
        if self.wildcard && name.wildcard().is_none() {
            return Err(ExtrasError::NoWildcard);
        }
        if self.mx.len() > MAX_MX {
            return Err(ExtrasError::ManyMx);
        }
        Ok(())
    }
}

impl PrefixFrom {
    /// Its word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Prefix => "prefix",
            Self::Address => "address",
        }
    }
}

impl FromStr for PrefixFrom {
    type Err = UnknownPrefixFrom;

    fn from_str(text: &str) -> Result<Self, UnknownPrefixFrom> {
        [Self::Prefix, Self::Address].into_iter().find(|from| from.as_str() == text).ok_or(UnknownPrefixFrom)
    }
}

impl fmt::Display for PrefixFrom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_contradict_each_other_are_told() {
        let name = Hostname::parse("nas.dyn.example").unwrap();
        let leader = Hostname::parse("router.dyn.example").ok();
        let interface_id = "::10".parse().ok();
        let follower = HostExtras { follow: leader.clone(), interface_id, ..HostExtras::default() };
        for good in [
            HostExtras::default(),
            follower.clone(),
            HostExtras { interface_id, wildcard: true, ..HostExtras::default() },
            HostExtras { prefix_from: PrefixFrom::Address, ..follower.clone() },
        ] {
            assert_eq!(good.check(&name), Ok(()));
        }
        for (bad, error) in [
            (HostExtras { follow: Some(name.clone()), ..follower.clone() }, ExtrasError::Itself),
            (HostExtras { interface_id: None, ..follower.clone() }, ExtrasError::NoInterfaceId),
            (HostExtras { prefix_from: PrefixFrom::Address, ..HostExtras::default() }, ExtrasError::FollowsNobody),
            (HostExtras { mx: vec![name.clone(); 9], ..HostExtras::default() }, ExtrasError::ManyMx),
        ] {
            assert_eq!(bad.check(&name), Err(error));
        }
        let long = Hostname::parse(&format!("{0}.{0}.{0}.{1}", "a".repeat(63), "b".repeat(61))).unwrap();
        let wildcard = HostExtras { wildcard: true, ..HostExtras::default() };
        assert_eq!(wildcard.check(&long), Err(ExtrasError::NoWildcard));
    }

    #[test]
    fn words_go_there_and_back() {
        for from in [PrefixFrom::Prefix, PrefixFrom::Address] {
            assert_eq!(from.to_string().parse(), Ok(from));
        }
        assert_eq!("Address".parse::<PrefixFrom>(), Err(UnknownPrefixFrom));
    }
}
