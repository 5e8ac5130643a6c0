//! Which name of a reverse zone stands for an address (RFC 1035 section 3.5, RFC 3596 section 2.5, RFC 2317).

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

use super::{Hostname, ZoneName};

/// The name in `zone` that stands for `address`, if one does.
#[must_use]
pub fn pointer_in(zone: &ZoneName, address: IpAddr) -> Option<Hostname> {
    let name = match address {
        IpAddr::V4(v4) => match classless(zone, v4) {
            Some(name) => name,
            None => reverse_v4(v4),
        },
        IpAddr::V6(v6) => reverse_v6(v6),
    };
    Hostname::parse(&name).ok().filter(|name| name.is_within(zone))
}

fn reverse_v4(address: Ipv4Addr) -> String {
    let [a, b, c, d] = address.octets();
    format!("{d}.{c}.{b}.{a}.in-addr.arpa")
}

fn reverse_v6(address: Ipv6Addr) -> String {
    let mut bits = address.to_bits();
    let mut name = String::with_capacity(72);
    for _ in 0..32 {
        let _always_fits = write!(name, "{:x}.", bits & 0xf);
        bits >>= 4;
    }
    name.push_str("ip6.arpa");
    name
}

/// The name in a zone of RFC 2317, whose first label says for which part of the network above it stands.
fn classless(zone: &ZoneName, address: Ipv4Addr) -> Option<String> {
    let (label, network) = zone.as_str().split_once('.')?;
    let reversed = reverse_v4(address);
    let (last, of_address) = reversed.split_once('.')?;
    let is_meant = network == of_address && part(label)?.contains(&last.parse().ok()?);
    is_meant.then(|| format!("{last}.{zone}"))
}

/// What `0/25`, `0-127` and `0-25` stand for: of two numbers with `-` between them the second is the last address where that
/// makes a network, else a length.
fn part(label: &str) -> Option<RangeInclusive<u8>> {
    let (first, second) = label.split_once(['/', '-'])?;
    let number = |text: &str| text.bytes().all(|digit| digit.is_ascii_digit()).then(|| text.parse::<u8>().ok())?;
    let (first, second) = (number(first)?, number(second)?);
    let is_network = |last: u8| {
        let size = u16::from(last).checked_sub(u16::from(first))? + 1;
        (size.is_power_of_two() && u16::from(first) % size == 0).then_some(first..=last)
    };
    let of_length = || {
        let size = (24..=32).contains(&second).then(|| 1u16 << (32 - second))?;
        is_network(u8::try_from(u16::from(first) + size - 1).ok()?)
    };
    if label.contains('-') { is_network(second).or_else(of_length) } else { of_length() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pointer(zone: &str, address: &str) -> Option<String> {
        pointer_in(&ZoneName::parse(zone).unwrap(), address.parse().unwrap()).map(|name| name.to_string())
    }

    #[test]
    fn an_address_has_its_name_in_the_zones_of_its_networks() {
        for zone in ["113.0.203.in-addr.arpa", "0.203.in-addr.arpa", "203.in-addr.arpa"] {
            assert_eq!(pointer(zone, "203.0.113.7").as_deref(), Some("7.113.0.203.in-addr.arpa"), "{zone}");
        }
        assert_eq!(pointer("7.113.0.203.in-addr.arpa", "203.0.113.7").as_deref(), Some("7.113.0.203.in-addr.arpa"));
        for zone in ["dyn.example", "112.0.203.in-addr.arpa", "8.b.d.0.1.0.0.2.ip6.arpa", "17.113.0.203.in-addr.arpa"] {
            assert_eq!(pointer(zone, "203.0.113.7"), None, "{zone}");
        }
        let of_v6 = "7.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa";
        assert_eq!(pointer("8.b.d.0.1.0.0.2.ip6.arpa", "2001:db8::7").as_deref(), Some(of_v6));
        assert_eq!(pointer("113.0.203.in-addr.arpa", "2001:db8::7"), None);
    }

    #[test]
    fn a_part_of_a_network_has_the_names_of_its_addresses() {
        for (label, within, outside) in [
            ("0/25", &[0, 127][..], &[128, 255][..]),
            ("128/25", &[128, 255], &[0, 127]),
            ("0-127", &[0, 127], &[128]),
            ("0-25", &[0, 127], &[128]),
            ("128-25", &[128, 255], &[127]),
            ("64-26", &[64, 127], &[63, 128]),
            ("16-31", &[16, 31], &[15, 32]),
            ("7/32", &[7], &[6, 8]),
            ("0/24", &[0, 255], &[]),
        ] {
            let zone = format!("{label}.113.0.203.in-addr.arpa");
            for last in within {
                let name = pointer(&zone, &format!("203.0.113.{last}"));
                assert_eq!(name, Some(format!("{last}.{zone}")), "{last} in {label}");
            }
            for last in outside {
                assert_eq!(pointer(&zone, &format!("203.0.113.{last}")), None, "{last} in {label}");
            }
            assert_eq!(pointer(&zone, "203.0.114.0"), None, "{label} of another network");
        }
        for label in ["1/25", "0/33", "0/23", "3-5", "0/", "+0/25", "256/25", "128/24"] {
            assert_eq!(part(label), None, "{label}");
        }
    }
}
