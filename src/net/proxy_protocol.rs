//! The PROXY protocol, version 2 (haproxy's proxy-protocol.txt): the address of a proxy's client, sent before its first octet.
//! Pure; of everything behind the addresses (TLVs) only the length is looked at.

use std::net::{IpAddr, SocketAddr};

use super::client_address::Peer;

/// The longest header that is read, in octets: what the specification promises to fit into one segment.
pub(super) const LONGEST: usize = 536;

pub(super) const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family and transport, length of the rest.
const FIXED: usize = 16;

const LOCAL: u8 = 0x20;
const PROXY: u8 = 0x21;
const UNSPEC: u8 = 0x00;
const TCP4: u8 = 0x11;
const TCP6: u8 = 0x21;
const UNIX_STREAM: u8 = 0x31;

/// What the octets that have come so far say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Header {
    /// So many more octets belong to it for certain, at least one.
    More(usize),
    /// The proxy speaks for itself: a health check.
    Local,
    Client(Peer),
}

/// Why octets are no header that we take; it is the proxy's fault, or it is no proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Malformed {
    #[error("does not begin with a PROXY header, version 2")]
    NoHeader,
    #[error("speaks version 1 of the PROXY protocol; let it send version 2 (haproxy: send-proxy-v2)")]
    Version1,
    #[error("sent a PROXY header with version and command {0:#04x}")]
    Command(u8),
    #[error("sent a PROXY header for family and transport {0:#04x}; TCP over IPv4 or IPv6, and unix sockets are taken")]
    Family(u8),
    #[error("sent a PROXY header of {0} octets; at most {LONGEST} are read")]
    TooLong(usize),
    #[error("sent a PROXY header that is too short for its addresses")]
    TooShort,
}

/// Judges what has come so far; never asks for an octet that could belong to what follows the header.
pub(super) fn parse(octets: &[u8]) -> Result<Header, Malformed> {
    if octets.iter().zip(SIGNATURE).any(|(octet, right)| *octet != right) {
        return Err(if octets.starts_with(b"PROXY ") { Malformed::Version1 } else { Malformed::NoHeader });
    }
    let Some((fixed, rest)) = octets.split_first_chunk::<FIXED>() else {
        // One that is not of the protocol may never send so many, but must not be waited for.
        return Ok(Header::More(if octets.len() < SIGNATURE.len() { SIGNATURE.len() } else { FIXED } - octets.len()));
    };
    let [.., command, family, high, low] = *fixed;
    let length = usize::from(u16::from_be_bytes([high, low]));
    if command != LOCAL && command != PROXY {
        return Err(Malformed::Command(command));
    }
    if FIXED + length > LONGEST {
        return Err(Malformed::TooLong(FIXED + length));
    }
    let least = match (command, family) {
        (LOCAL, _) | (_, UNSPEC) => 0,
        (_, TCP4) => 12,
        (_, TCP6) => 36,
        (_, UNIX_STREAM) => 216,
        _ => return Err(Malformed::Family(family)),
    };
    if length < least {
        return Err(Malformed::TooShort);
    }
    if rest.len() < length {
        return Ok(Header::More(length - rest.len()));
    }
    Ok(match (command, family) {
        (LOCAL, _) => Header::Local,
        (_, TCP4) => Header::Client(source::<4>(rest)?),
        (_, TCP6) => Header::Client(source::<16>(rest)?),
        // Where the proxy knows no address, its own must not be taken for the client's.
        _ => Header::Client(Peer::Unnamed),
    })
}

/// Source address, destination address, source port, destination port; of addresses of `N` octets.
fn source<const N: usize>(addresses: &[u8]) -> Result<Peer, Malformed>
where
    IpAddr: From<[u8; N]>,
{
    let (source, rest) = addresses.split_first_chunk::<N>().ok_or(Malformed::TooShort)?;
    let port = rest.get(N..).and_then(<[u8]>::first_chunk::<2>).ok_or(Malformed::TooShort)?;
    Ok(Peer::Ip(SocketAddr::new(IpAddr::from(*source), u16::from_be_bytes(*port))))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use proptest::prelude::*;

    use super::*;

    fn header(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[command, family], &length, rest].concat()
    }

    const V4: [u8; 12] = [203, 0, 113, 7, 192, 0, 2, 1, 0x12, 0x67, 0x1f, 0x90];

    fn v6_rest(source: &str) -> Vec<u8> {
        let address = |text: &str| text.parse::<Ipv6Addr>().unwrap().octets();
        [&address(source)[..], &address("2001:db8::1"), &[0x12, 0x67, 0x1f, 0x90]].concat()
    }

    fn client(address: &str) -> Result<Header, Malformed> {
        Ok(Header::Client(Peer::Ip(address.parse().unwrap())))
    }

    #[test]
    fn the_client_is_whom_the_header_names() {
        let tlvs = [0x04, 0, 3, 1, 2, 3, 0xee, 0xff, 0xff];
        for (command, family, rest, expected) in [
            (PROXY, TCP4, V4.to_vec(), client("203.0.113.7:4711")),
            (PROXY, TCP4, [&V4[..], &tlvs].concat(), client("203.0.113.7:4711")),
            (PROXY, TCP6, v6_rest("2001:db8::7"), client("[2001:db8::7]:4711")),
            (PROXY, TCP6, [v6_rest("::ffff:203.0.113.7"), tlvs.to_vec()].concat(), client("[::ffff:203.0.113.7]:4711")),
            (PROXY, UNIX_STREAM, vec![b'x'; 216], Ok(Header::Client(Peer::Unnamed))),
            (PROXY, UNSPEC, vec![], Ok(Header::Client(Peer::Unnamed))),
            (PROXY, UNSPEC, tlvs.to_vec(), Ok(Header::Client(Peer::Unnamed))),
            (LOCAL, UNSPEC, vec![], Ok(Header::Local)),
            (LOCAL, TCP4, V4.to_vec(), Ok(Header::Local)),
            (LOCAL, 0xff, vec![1, 2], Ok(Header::Local)),
            (PROXY, TCP4, vec![1; LONGEST - FIXED], client("1.1.1.1:257")),
        ] {
            assert_eq!(parse(&header(command, family, &rest)), expected, "{command:#x} {family:#x}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (octets, expected) in [
            (b"GET / HTTP/1.1\r\n\r\n".to_vec(), Malformed::NoHeader),
            (b"\r\n\r\nGET".to_vec(), Malformed::NoHeader),
            (b"\x16\x03\x01".to_vec(), Malformed::NoHeader),
            (b"PROXY TCP4 203.0.113.7".to_vec(), Malformed::Version1),
            (header(0x11, TCP4, &V4), Malformed::Command(0x11)),
            (header(0x22, TCP4, &V4), Malformed::Command(0x22)),
            (header(PROXY, 0x12, &V4), Malformed::Family(0x12)),
            (header(PROXY, 0x41, &V4), Malformed::Family(0x41)),
            (header(PROXY, TCP4, &V4[..11]), Malformed::TooShort),
            (header(PROXY, TCP6, &[0; 35]), Malformed::TooShort),
            (header(PROXY, UNIX_STREAM, &[0; 215]), Malformed::TooShort),
            (header(PROXY, TCP4, &[0; LONGEST - FIXED + 1]), Malformed::TooLong(LONGEST + 1)),
            // Judged by the length it claims, before 65535 octets have come.
            (header(PROXY, TCP4, &[0; 65535])[..FIXED].to_vec(), Malformed::TooLong(FIXED + 65535)),
        ] {
            assert_eq!(parse(&octets), Err(expected), "{octets:?}");
        }
    }

    #[test]
    fn a_header_in_pieces_is_never_read_past_its_end() {
        for whole in [header(PROXY, TCP4, &[&V4[..], &[0xee, 0, 0]].concat()), header(LOCAL, UNSPEC, &[])] {
            for length in 0..whole.len() {
                match parse(&whole[..length]) {
                    Ok(Header::More(more)) => assert!(more > 0 && length + more <= whole.len(), "{length} {more}"),
                    other => panic!("{length}: {other:?}"),
                }
            }
        }
    }

    proptest! {
        #[test]
        fn no_octets_panic(octets in prop::collection::vec(any::<u8>(), 0..700)) {
            let _ = parse(&octets);
        }

        #[test]
        fn nothing_behind_the_signature_panics_or_asks_for_too_much(
            rest in prop::collection::vec(any::<u8>(), 0..700), near in any::<bool>(),
        ) {
            let mut octets = [&SIGNATURE[..], &rest].concat();
            if near && octets.len() > 16 {
                (octets[12], octets[14]) = (PROXY, octets[14] & 1);
            }
            if let Ok(Header::More(more)) = parse(&octets) {
                prop_assert!(more > 0 && octets.len() + more <= LONGEST);
            }
        }
    }
}
