//! Whose request it is: the peer, or whom a trusted proxy names. Pure.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use hyper::HeaderMap;
use ipnet::IpNet;

use crate::config::ForwardingHeader;
use crate::model::canonical;

/// The other end of a connection, as the system or a PROXY header tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// An address and a port.
    Ip(SocketAddr),
    /// Somebody on this machine, through a socket file.
    Unix,
    /// A proxy's client that the proxy could not name; never believed in anything.
    Unnamed,
}

impl Peer {
    /// Its address, if it has one.
    pub fn ip(self) -> Option<IpAddr> {
        match self {
            Self::Ip(address) => Some(canonical(address.ip())),
            Self::Unix | Self::Unnamed => None,
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Unix => f.write_str("unix"),
            Self::Unnamed => f.write_str("unnamed"),
        }
    }
}

/// Stands for every peer without an address: one source for the limits, and no address that a name could get.
const NO_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// The client behind a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientAddress {
    /// For limits and log: the last address that is certain.
    pub source: IpAddr,
    /// What may become a record; `None` where a trusted proxy named something that is no address, or nothing named one.
    pub address: Option<IpAddr>,
}

/// The networks that are believed, and the one header that is read from them.
#[derive(Debug, Clone)]
pub struct Proxies {
    /// Whose header is believed.
    pub trusted: Vec<IpNet>,
    /// Whether that of a peer on a unix socket is.
    pub unix: bool,
    /// Which header; every other one is ignored.
    pub header: ForwardingHeader,
}

impl Proxies {
    /// Walks all lines of the header from the right, past trusted networks.
    pub fn client(&self, peer: Peer, headers: &HeaderMap) -> ClientAddress {
        let mut address = peer.ip();
        if !self.trusts_peer(peer) {
            return ClientAddress { source: address.unwrap_or(NO_ADDRESS), address };
        }
        let name = match self.header {
            ForwardingHeader::XForwardedFor => "x-forwarded-for",
            ForwardingHeader::Forwarded => "forwarded",
        };
        // Each hop is judged by itself: what a client wrote to the left must not spoil what the proxy appended.
        let lines = headers.get_all(name).iter().map(hyper::header::HeaderValue::as_bytes);
        for hop in lines.rev().flat_map(|line| self.hops(line).into_iter().rev()) {
            let named = std::str::from_utf8(hop).ok().and_then(|hop| match self.header {
                ForwardingHeader::XForwardedFor => node(hop),
                ForwardingHeader::Forwarded => forwarded_for(hop),
            });
            let Some(named) = named.map(canonical) else {
                return ClientAddress { source: address.unwrap_or(NO_ADDRESS), address: None };
            };
            address = Some(named);
            if !self.trusts(named) {
                break;
            }
        }
        ClientAddress { source: address.unwrap_or(NO_ADDRESS), address }
    }

    /// Whether what `peer` says of its client is believed.
    pub fn trusts_peer(&self, peer: Peer) -> bool {
        match peer {
            Peer::Ip(address) => self.trusts(canonical(address.ip())),
            Peer::Unix => self.unix,
            Peer::Unnamed => false,
        }
    }

    /// Elements of one line, empty ones left out. Commas inside the quotes of `Forwarded` do not separate, unless a quote is
    /// left open.
    fn hops<'a>(&self, line: &'a [u8]) -> Vec<&'a [u8]> {
        let quotes = line.iter().filter(|octet| **octet == b'"').count();
        let heeds_quotes = self.header == ForwardingHeader::Forwarded && quotes % 2 == 0;
        let mut quoted = false;
        let separates = |octet: &u8| {
            quoted ^= heeds_quotes && *octet == b'"';
            *octet == b',' && !quoted
        };
        line.split(separates).map(<[u8]>::trim_ascii).filter(|hop| !hop.is_empty()).collect()
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(&address))
    }
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

    fn client(header: ForwardingHeader, peer: &str, lines: &[&str]) -> ClientAddress {
        let name = match header {
            ForwardingHeader::XForwardedFor => "x-forwarded-for",
            ForwardingHeader::Forwarded => "forwarded",
        };
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(name, hyper::header::HeaderValue::from_bytes(line.as_bytes()).unwrap());
        }
        let trusted = vec!["127.0.0.0/8".parse().unwrap(), "10.0.0.0/8".parse().unwrap()];
        let peer = match peer {
            "unix" => Peer::Unix,
            "unnamed" => Peer::Unnamed,
            address => Peer::Ip((address.parse::<IpAddr>().unwrap(), 4711).into()),
        };
        Proxies { trusted, unix: true, header }.client(peer, &headers)
    }

    fn certain(address: &str) -> ClientAddress {
        let address = address.parse().unwrap();
        ClientAddress { source: address, address: Some(address) }
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
            (XForwardedFor, "unix", &["203.0.113.66, 198.51.100.1"], "198.51.100.1"),
            (XForwardedFor, "unix", &["198.51.100.1, 10.0.0.7"], "198.51.100.1"),
            (Forwarded, "127.0.0.1", &["for=203.0.113.66, For=\"[2001:db8::1]:4711\";proto=http"], "2001:db8::1"),
            (Forwarded, "127.0.0.1", &["by=x;for=198.51.100.1", "for=10.0.0.7"], "198.51.100.1"),
        ] {
            assert_eq!(client(header, peer, lines), certain(expected), "{peer} {lines:?}");
        }
    }

    #[test]
    fn what_a_client_writes_does_not_spoil_what_the_proxy_appends() {
        for header in [ForwardingHeader::XForwardedFor, ForwardingHeader::Forwarded] {
            let ours = match header {
                ForwardingHeader::XForwardedFor => "198.51.100.1",
                ForwardingHeader::Forwarded => "for=198.51.100.1",
            };
            for theirs in ["\"", "garbage", ",,", "for=\"", "\u{ff}"] {
                assert_eq!(
                    client(header, "127.0.0.1", &[&format!("{theirs}, {ours}")]),
                    certain("198.51.100.1"),
                    "{theirs}"
                );
                assert_eq!(client(header, "127.0.0.1", &[theirs, ours]), certain("198.51.100.1"), "{theirs}");
            }
        }
    }

    #[test]
    fn what_is_no_address_never_becomes_one() {
        let proxy = "127.0.0.1".parse().unwrap();
        for lines in
            [&["198.51.100.1, unknown"][..], &["_hidden"], &["198.51.100.1, 1.2.3"], &["[2001:db8::1"], &["\"a"]]
        {
            let expected = ClientAddress { source: proxy, address: None };
            assert_eq!(client(ForwardingHeader::XForwardedFor, "127.0.0.1", lines), expected, "{lines:?}");
            assert_eq!(client(ForwardingHeader::Forwarded, "127.0.0.1", lines), expected, "{lines:?}");
        }
    }

    #[test]
    fn who_has_no_address_and_is_not_named_gets_none() {
        let nobody = ClientAddress { source: NO_ADDRESS, address: None };
        for (peer, lines) in
            [("unix", &[][..]), ("unix", &["unknown"]), ("unnamed", &[]), ("unnamed", &["198.51.100.1"])]
        {
            assert_eq!(client(ForwardingHeader::XForwardedFor, peer, lines), nobody, "{peer} {lines:?}");
        }
        let proxies = Proxies { trusted: Vec::new(), unix: false, header: ForwardingHeader::XForwardedFor };
        let mut headers = HeaderMap::new();
        headers.append("x-forwarded-for", "198.51.100.1".parse().unwrap());
        assert_eq!(proxies.client(Peer::Unix, &headers), nobody, "a unix peer is not trusted unless that is said");
    }

    proptest! {
        #[test]
        fn no_header_panics(line in "[ -~]*") {
            client(ForwardingHeader::XForwardedFor, "127.0.0.1", &[&line]);
            client(ForwardingHeader::Forwarded, "127.0.0.1", &[&line]);
        }
    }
}
