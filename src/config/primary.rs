//! Primaries as a zone names them: an address or a host name, with or without a port.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::model::ZoneName;

use super::Primary;

const PORT: u16 = 53;

/// What `text` names, and its address where it is one; else what would be right.
pub(super) fn parse(text: &str) -> Result<(Primary, Option<IpAddr>), &'static str> {
    if let Some(rest) = text.strip_prefix('[') {
        let help = "an IPv6 address with a port is written \"[2001:db8::1]:53\"";
        let (address, port) = rest.split_once(']').ok_or(help)?;
        let address: Ipv6Addr = address.parse().map_err(|_| help)?;
        return Ok(literal(IpAddr::V6(address), parse_port(port)?));
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(literal(address, PORT));
    }
    let (host, port) = text.find(':').map_or((text, ""), |colon| text.split_at(colon));
    if let Ok(address) = host.parse::<Ipv4Addr>() {
        return Ok(literal(IpAddr::V4(address), parse_port(port)?));
    }
    if port.matches(':').count() > 1 {
        return Err("an IPv6 address is written \"2001:db8::1\", with a port \"[2001:db8::1]:53\"");
    }
    let name = ZoneName::parse(host)
        .map_err(|_| "write an address or a host name, such as \"127.0.0.1:53\" or \"ns1.example\"")?;
    // No top-level domain is a number (RFC 3696 section 2): this is an address with a slip in it.
    if name.as_str().rsplit('.').next().is_some_and(|label| label.bytes().all(|octet| octet.is_ascii_digit())) {
        return Err("an IPv4 address has four numbers from 0 to 255, such as \"127.0.0.1:53\"");
    }
    Ok((Primary { host: host.to_ascii_lowercase(), port: parse_port(port)? }, None))
}

fn literal(address: IpAddr, port: u16) -> (Primary, Option<IpAddr>) {
    let address = address.to_canonical();
    (Primary { host: address.to_string(), port }, Some(address))
}

/// Nothing, or `:` and a port.
fn parse_port(text: &str) -> Result<u16, &'static str> {
    if text.is_empty() {
        return Ok(PORT);
    }
    let digits = text.strip_prefix(':').filter(|digits| digits.bytes().all(|octet| octet.is_ascii_digit()));
    let port = digits.and_then(|digits| digits.parse().ok()).filter(|port| *port != 0);
    port.ok_or("a port is a number from 1 to 65535; without one it is 53")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_is_read() {
        for (text, host, port, literal) in [
            ("127.0.0.1:5353", "127.0.0.1", 5353, true),
            ("127.0.0.1", "127.0.0.1", 53, true),
            ("[2001:DB8::1]:5353", "2001:db8::1", 5353, true),
            ("[2001:db8::1]", "2001:db8::1", 53, true),
            ("2001:db8:0::1", "2001:db8::1", 53, true),
            ("::ffff:192.0.2.1", "192.0.2.1", 53, true),
            ("NS1.example", "ns1.example", 53, false),
            ("ns1.example.:5353", "ns1.example.", 5353, false),
            ("localhost", "localhost", 53, false),
        ] {
            let (primary, address) = parse(text).unwrap();
            assert_eq!(primary, Primary { host: host.to_owned(), port }, "{text}");
            assert_eq!(address.is_some(), literal, "{text}");
        }
    }

    #[test]
    fn a_slip_is_not_taken_for_a_host_name() {
        for text in [
            "",
            ":53",
            "127.0.0.256",
            "127.0.0.1:",
            "127.0.0.1:0",
            "127.0.0.1:65536",
            "127.0.0.1:+53",
            "127.1",
            "[127.0.0.1]:53",
            "[::1",
            "[::1]53",
            "::1::2",
            "2001:db8::1:53:x",
            "fe80::1%eth0",
            "ns1.example:dns",
            "ns1 .example",
            "tcp://ns1.example",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
