//! `[http]` and `[admin]`: where we listen and which forwarding header is believed.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::network::read_networks;
use super::problem::{Once, Problems, quoted};
use super::section::{Key, Section, Text};
use super::{Admin, ForwardingHeader, Http};

const LISTEN: Key = Key::new("listen", r#"["127.0.0.1:8245"]"#);
const TRUSTED_PROXIES: Key = Key::new("trusted_proxies", r#"["127.0.0.1/32"]"#);
const CLIENT_ADDRESS_HEADER: Key = Key::new("client_address_header", r#""x-forwarded-for""#);
const ADMIN_LISTEN: Key = Key::new("listen", r#""127.0.0.1:8246""#);

const HTTP_DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8245);
const ADMIN_DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8246);

/// `[http]` and `[admin]`, which must not want the same port.
pub(super) fn read_listeners(http: Section<'_>, admin: Section<'_>, problems: &mut Problems<'_>) -> (Http, Admin) {
    let http_at = http.at();
    let (http, places) = read_http(http, problems);
    let mut admin = admin;
    let (listen, admin_at) = match admin.optional(ADMIN_LISTEN) {
        Some(value) => (value.text(problems).and_then(|text| read_socket(text, problems)), Some(value.at())),
        None => (Some(ADMIN_DEFAULT), None),
    };
    admin.finish(problems);
    if let Some(listen) = listen {
        let clash = http.listen.iter().zip(places.iter().map(Some).chain(std::iter::repeat(None)));
        if let Some((http, place)) = clash.into_iter().find(|(http, _)| clash_between(**http, listen)) {
            let at = admin_at.or(place.copied()).unwrap_or(http_at);
            problems.add(
                at,
                format!("[http] and [admin] would both listen on {http}"),
                "give [admin] a port of its own, such as listen = \"127.0.0.1:8246\"",
            );
        }
    }
    (http, Admin { listen: listen.unwrap_or(ADMIN_DEFAULT) })
}

/// `[http]`, and where each of its addresses stands.
fn read_http(mut section: Section<'_>, problems: &mut Problems<'_>) -> (Http, Vec<usize>) {
    let mut listen = Vec::new();
    let mut places = Vec::new();
    match section.optional(LISTEN) {
        None => listen.push(HTTP_DEFAULT),
        Some(value) => {
            let texts = value.texts(problems);
            if texts.as_ref().is_some_and(Vec::is_empty) {
                problems.add(
                    value.at(),
                    format!("{} is empty: no router could reach us", value.label()),
                    format!("for example: {}", LISTEN.line()),
                );
            }
            let mut once = Once::new();
            for text in texts.unwrap_or_default() {
                let Some(address) = read_socket(text, problems) else { continue };
                if address.port() == 0 || once.check(address, text.at, &format!("address {address}"), problems) {
                    listen.push(address);
                    places.push(text.at);
                }
            }
        }
    }
    let trusted_proxies = section.optional(TRUSTED_PROXIES).map(|value| read_networks(&value, problems));
    let header = section.optional(CLIENT_ADDRESS_HEADER).and_then(|value| value.text(problems));
    let client_address_header = header.and_then(|header| read_header(header, problems));
    section.finish(problems);
    let http = Http {
        listen,
        trusted_proxies: trusted_proxies.unwrap_or_default(),
        client_address_header: client_address_header.unwrap_or(ForwardingHeader::XForwardedFor),
    };
    (http, places)
}

fn read_header(header: Text<'_>, problems: &mut Problems<'_>) -> Option<ForwardingHeader> {
    match header.text.to_ascii_lowercase().as_str() {
        "x-forwarded-for" => Some(ForwardingHeader::XForwardedFor),
        "forwarded" => Some(ForwardingHeader::Forwarded),
        _ => {
            problems.add(
                header.at,
                format!("{} is not a header that we read the client's address from", quoted(header.text)),
                "write \"x-forwarded-for\" or \"forwarded\", whichever the proxy sets",
            );
            None
        }
    }
}

fn read_socket(text: Text<'_>, problems: &mut Problems<'_>) -> Option<SocketAddr> {
    let parsed = text.text.parse().ok();
    if parsed.is_none() {
        let help = match text.text.parse::<IpAddr>() {
            Ok(IpAddr::V4(address)) => format!("add a port: \"{address}:8245\""),
            Ok(IpAddr::V6(address)) => format!("add brackets and a port: \"[{address}]:8245\""),
            Err(_) => {
                "write \"127.0.0.1:8245\", \"[::1]:8245\", or \"0.0.0.0:8245\" and \"[::]:8245\" for all addresses"
                    .to_owned()
            }
        };
        problems.add(text.at, format!("{} is not an IP address and a port", quoted(text.text)), help);
    }
    parsed
}

/// Whether two listeners cannot both be had: the same port, on the same address or on all of that family.
fn clash_between(one: SocketAddr, other: SocketAddr) -> bool {
    let (one_ip, other_ip) = (one.ip(), other.ip());
    let covers = one_ip == other_ip
        || one_ip.is_ipv4() == other_ip.is_ipv4() && (one_ip.is_unspecified() || other_ip.is_unspecified());
    one.port() == other.port() && one.port() != 0 && covers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_listeners_clash_on_one_port_of_one_address() {
        let clash = |one: &str, other: &str| clash_between(one.parse().unwrap(), other.parse().unwrap());
        assert!(clash("127.0.0.1:80", "127.0.0.1:80"));
        assert!(clash("0.0.0.0:80", "127.0.0.1:80"));
        assert!(clash("[::1]:80", "[::]:80"));
        assert!(!clash("127.0.0.1:80", "127.0.0.1:81"));
        assert!(!clash("127.0.0.1:80", "127.0.0.2:80"));
        assert!(!clash("127.0.0.1:80", "[::]:80"));
        assert!(!clash("127.0.0.1:0", "127.0.0.1:0"));
    }
}
