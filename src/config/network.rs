//! Networks, and what is refused by default.

use std::net::{IpAddr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net};

use super::format::{self, Text};
use super::problem::{Problems, quoted};

/// What a public name never gets, unless the file says otherwise: what no stranger could reach there (RFC 6890, multicast). Of IPv6
/// that is all but 2000::/3, and in there Teredo and 6to4, whose addresses lead on to an IPv4 address, a private one perhaps.
const DEFAULT: [&str; 16] = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "::/3",
    "2001::/32",
    "2002::/16",
    "4000::/2",
    "8000::/1",
];

pub(super) fn check_addresses(typed: format::AddressesSection, problems: &mut Problems<'_>) -> Vec<IpNet> {
    match typed.refuse {
        Some(refuse) => check_networks(&refuse, problems),
        None => default().collect(),
    }
}

fn default() -> impl Iterator<Item = IpNet> {
    DEFAULT.iter().filter_map(|text| text.parse().ok())
}

/// Whether a stranger could reach it, as far as its network tells.
pub(crate) fn is_public(address: IpAddr) -> bool {
    !default().any(|network| network.contains(&address.to_canonical()))
}

pub(super) fn check_networks<'t>(texts: impl IntoIterator<Item = &'t Text>, problems: &mut Problems<'_>) -> Vec<IpNet> {
    let mut networks = Vec::new();
    for text in texts {
        let (at, text) = (text.span().start, text.get_ref());
        networks.extend(problems.ok(at, parse(text), |error| {
            match error {
            NetworkError::NotANetwork => (
                format!("{} is not a network", quoted(text)),
                "write an address, a slash and the length of the prefix, such as \"10.0.0.0/8\" or \"2001:db8::/32\""
                    .to_owned(),
            ),
            NetworkError::HostBits(network) => (
                format!("{} has bits set beyond its prefix", quoted(text)),
                format!(
                    "the network is \"{network}\"; the single address is \"{0}/{1}\"",
                    text.split('/').next().unwrap_or(""),
                    network.max_prefix_len()
                ),
            ),
        }
        }));
    }
    networks
}

/// Why a text is not a network.
#[derive(Debug, PartialEq, Eq)]
enum NetworkError {
    NotANetwork,
    /// The network that was probably meant.
    HostBits(IpNet),
}

/// A network, or an address alone, which is a network of one. IPv4-mapped ones (`::ffff:0:0/96`) are IPv4.
fn parse(text: &str) -> Result<IpNet, NetworkError> {
    let network = match text.parse::<IpAddr>() {
        Ok(address) => IpNet::from(address),
        Err(_) => text.parse::<IpNet>().map_err(|_| NetworkError::NotANetwork)?,
    };
    if network.trunc() != network {
        return Err(NetworkError::HostBits(network.trunc()));
    }
    Ok(canonical(network))
}

fn canonical(network: IpNet) -> IpNet {
    let mapped = |v6: Ipv6Addr, length: u8| Ipv4Net::new(v6.to_ipv4_mapped()?, length.checked_sub(96)?).ok();
    match network {
        IpNet::V4(_) => network,
        IpNet::V6(v6) => mapped(v6.network(), v6.prefix_len()).map_or(network, IpNet::V4),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_a_network() {
        for text in DEFAULT {
            assert!(parse(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn of_ipv6_nothing_but_global_unicast_is_public_and_no_tunnel_in_it() {
        let public = |text: &str| is_public(text.parse().unwrap());
        // The last and the first addresses around 2000::/3, and tunnels to 127.0.0.1 and 10.0.0.1.
        for text in [
            "::",
            "::1",
            "::10.0.0.1",
            "64:ff9b::a00:1",
            "64:ff9b:1::1",
            "100::1",
            "1fff:ffff::1",
            "2001::1",
            "2001:0:4136:e378:8000:63bf:80ff:fffe",
            "2002:7f00:1::1",
            "4000::",
            "5f00::1",
            "7fff::1",
            "8000::1",
            "fd00::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "ffff::1",
            "::ffff:10.0.0.1",
            "192.168.1.1",
        ] {
            assert!(!public(text), "{text}");
        }
        for text in [
            "2000::",
            "2001:1::1",
            "2001:db8::1",
            "2003::1",
            "3fff:ffff::1",
            "::ffff:192.0.2.1",
            "198.51.100.1",
            "203.0.113.1",
        ] {
            assert!(public(text), "{text}");
        }
    }

    #[test]
    fn networks_are_networks() {
        let network = |text: &str| text.parse::<IpNet>().unwrap();
        assert_eq!(parse("192.0.2.7"), Ok(network("192.0.2.7/32")));
        assert_eq!(parse("2001:db8::1"), Ok(network("2001:db8::1/128")));
        assert_eq!(parse("::ffff:10.0.0.0/104"), Ok(network("10.0.0.0/8")));
        assert_eq!(parse("::/0"), Ok(network("::/0")));
        assert_eq!(parse("10.1.2.3/8"), Err(NetworkError::HostBits(network("10.0.0.0/8"))));
        for text in ["", "10.0.0.0/33", "10.0.0.0/", "10/8", "[::1]/128", "example/8", "10.0.0.0 /8"] {
            assert_eq!(parse(text), Err(NetworkError::NotANetwork), "{text}");
        }
    }
}
