//! Whose request it is: the peer, or whom a trusted proxy names. Pure.

use std::net::IpAddr;

use hyper::HeaderMap;
use ipnet::IpNet;

use crate::config::ForwardingHeader;
use crate::model::canonical;

/// The client behind a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Client {
    /// For limits and log: the last address that is certain.
    pub source: IpAddr,
    /// What may become a record; `None` where a trusted proxy named something that is no address.
    pub address: Option<IpAddr>,
}

/// The networks that are believed, and the one header that is read from them.
#[derive(Debug, Clone)]
pub struct Proxies {
    /// Whose header is believed.
    pub trusted: Vec<IpNet>,
    /// Which header; every other one is ignored.
    pub header: ForwardingHeader,
}

impl Proxies {
    /// Walks all lines of the header from the right, past trusted networks.
    #[must_use]
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> Client {
        let mut source = canonical(peer);
        if !self.trusts(source) {
            return Client { source, address: Some(source) };
        }
        let name = match self.header {
            ForwardingHeader::XForwardedFor => "x-forwarded-for",
            ForwardingHeader::Forwarded => "forwarded",
        };
        let lines: Vec<&[u8]> = headers.get_all(name).iter().map(hyper::header::HeaderValue::as_bytes).collect();
        let list = lines.join(&b","[..]);
        let Ok(list) = std::str::from_utf8(&list) else { return Client { source, address: None } };
        for hop in split_hops(list).into_iter().rev() {
            let address = match self.header {
                ForwardingHeader::XForwardedFor => node(hop),
                ForwardingHeader::Forwarded => forwarded_for(hop),
            };
            let Some(address) = address else { return Client { source, address: None } };
            source = canonical(address);
            if !self.trusts(source) {
                break;
            }
        }
        Client { source, address: Some(source) }
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(&address))
    }
}

/// Elements of the list, empty ones left out; commas inside quotes do not separate.
fn split_hops(list: &str) -> Vec<&str> {
    let mut quoted = false;
    let separates = |character: char| {
        quoted ^= character == '"';
        character == ',' && !quoted
    };
    list.split(separates).map(str::trim).filter(|hop| !hop.is_empty()).collect()
}

/// `for=` of one element (RFC 7239 section 4).
fn forwarded_for(hop: &str) -> Option<IpAddr> {
    let pairs = hop.split(';').filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.into_iter().find(|(name, _)| name.trim().eq_ignore_ascii_case("for"))?;
    let value = value.trim();
    node(value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value))
}

/// An address, with or without brackets and port.
fn node(text: &str) -> Option<IpAddr> {
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    if let Some(rest) = text.strip_prefix('[') {
        let (address, port) = rest.split_once(']')?;
        let port_is_one = port.is_empty() || port.strip_prefix(':')?.parse::<u16>().is_ok();
        return port_is_one.then(|| address.parse().ok().map(IpAddr::V6)).flatten();
    }
    text.parse::<std::net::SocketAddrV4>().ok().map(|address| IpAddr::V4(*address.ip()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn client(header: ForwardingHeader, peer: &str, lines: &[&str]) -> Client {
        let name = match header {
            ForwardingHeader::XForwardedFor => "x-forwarded-for",
            ForwardingHeader::Forwarded => "forwarded",
        };
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(name, line.parse().unwrap());
        }
        let trusted = vec!["127.0.0.0/8".parse().unwrap(), "10.0.0.0/8".parse().unwrap()];
        Proxies { trusted, header }.client(peer.parse().unwrap(), &headers)
    }

    fn certain(address: &str) -> Client {
        let address = address.parse().unwrap();
        Client { source: address, address: Some(address) }
    }

    #[test]
    fn only_trusted_hops_are_walked_past() {
        use ForwardingHeader::{Forwarded, XForwardedFor};
        for (header, peer, lines, expected) in [
            (XForwardedFor, "192.0.2.9", &["198.51.100.1"][..], "192.0.2.9"),
            (XForwardedFor, "127.0.0.1", &["198.51.100.1"], "198.51.100.1"),
            (XForwardedFor, "::ffff:127.0.0.1", &["::ffff:198.51.100.1"], "198.51.100.1"),
            (XForwardedFor, "127.0.0.1", &["203.0.113.66, 198.51.100.1"], "198.51.100.1"),
            (XForwardedFor, "127.0.0.1", &["203.0.113.66", "198.51.100.1, 10.0.0.7"], "198.51.100.1"),
            (XForwardedFor, "127.0.0.1", &["198.51.100.1:4711"], "198.51.100.1"),
            (XForwardedFor, "127.0.0.1", &["[2001:db8::1]:4711"], "2001:db8::1"),
            (XForwardedFor, "127.0.0.1", &[], "127.0.0.1"),
            (XForwardedFor, "127.0.0.1", &["10.0.0.7"], "10.0.0.7"),
            (Forwarded, "127.0.0.1", &["for=203.0.113.66, For=\"[2001:db8::1]:4711\";proto=http"], "2001:db8::1"),
            (Forwarded, "127.0.0.1", &["by=x;for=198.51.100.1", "for=10.0.0.7"], "198.51.100.1"),
        ] {
            assert_eq!(client(header, peer, lines), certain(expected), "{peer} {lines:?}");
        }
    }

    #[test]
    fn what_is_no_address_never_becomes_one() {
        let proxy = "127.0.0.1".parse().unwrap();
        for lines in
            [&["198.51.100.1, unknown"][..], &["_hidden"], &["198.51.100.1, 1.2.3"], &["[2001:db8::1"], &["\"a"]]
        {
            let expected = Client { source: proxy, address: None };
            assert_eq!(client(ForwardingHeader::XForwardedFor, "127.0.0.1", lines), expected, "{lines:?}");
            assert_eq!(client(ForwardingHeader::Forwarded, "127.0.0.1", lines), expected, "{lines:?}");
        }
    }

    proptest! {
        #[test]
        fn no_header_panics(line in "[ -~]*") {
            client(ForwardingHeader::XForwardedFor, "127.0.0.1", &[&line]);
            client(ForwardingHeader::Forwarded, "127.0.0.1", &[&line]);
        }
    }
}
