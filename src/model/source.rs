//! What counts as one source: an IPv4 address, or the networks around an IPv6 address. The one place that knows their sizes.

use std::net::{IpAddr, Ipv6Addr};

use super::canonical;

/// A network whose addresses are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct SourcePrefix {
    address: IpAddr,
    length: u8,
}

/// A size of network that is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SourceTier {
    length: u8,
    /// How many times the bound of one source it has.
    pub(crate) factor: u32,
}

impl SourceTier {
    /// All of them, from a single customer's network to what a site may be given (RFC 6177): without the wider ones, a /48
    /// would be 65 536 sources. An IPv4 address is counted in the first alone.
    pub(crate) const ALL: [Self; 3] =
        [Self { length: 64, factor: 1 }, Self { length: 56, factor: 4 }, Self { length: 48, factor: 16 }];

    /// The network of this size around an IPv6 address; an IPv4 address, also a mapped one, is itself.
    fn around(self, address: IpAddr) -> SourcePrefix {
        let address = match address {
            IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << (128 - u32::from(self.length)))).into(),
            IpAddr::V4(_) => address,
        };
        SourcePrefix { address, length: self.length }
    }
}

impl SourcePrefix {
    /// The networks that `address` is counted in, one a tier from the first on.
    pub(crate) fn around(address: IpAddr) -> impl Iterator<Item = Self> + Clone {
        let address = canonical(address);
        let tiers = if address.is_ipv4() { 1 } else { SourceTier::ALL.len() };
        SourceTier::ALL.into_iter().take(tiers).map(move |tier| tier.around(address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn around(address: &str) -> Vec<String> {
        let prefixes = SourcePrefix::around(address.parse().unwrap());
        prefixes.map(|SourcePrefix { address, length }| format!("{address}/{length}")).collect()
    }

    #[test]
    fn an_ipv6_address_is_in_three_networks_and_an_ipv4_address_is_itself() {
        assert_eq!(
            around("2001:db8:1:2345:6:7:8:9"),
            ["2001:db8:1:2345::/64", "2001:db8:1:2300::/56", "2001:db8:1::/48"]
        );
        assert_eq!(around("192.0.2.1"), around("::ffff:192.0.2.1"));
        assert_eq!(around("192.0.2.1"), ["192.0.2.1/64"], "in the first tier");
    }
}
