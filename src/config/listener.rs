//! `[http]`, `[http.tls]` and `[admin]`: where we listen and which forwarding header is believed.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;

use super::endpoint::{Endpoint, Placed, read_endpoints, read_socket};
use super::network::read_networks;
use super::problem::{Once, Problems, quoted};
use super::section::{Key, Section, Text, Value};
use super::{Admin, ForwardingHeader, Http, Listener, Tls};

const LISTEN: Key = Key::new("listen", r#"["127.0.0.1:8245"]"#);
const TRUSTED_PROXIES: Key = Key::new("trusted_proxies", r#"["127.0.0.1/32"]"#);
const CLIENT_ADDRESS_HEADER: Key = Key::new("client_address_header", r#""x-forwarded-for""#);
const CONNECTIONS_PER_SOURCE: Key = Key::new("connections_per_source", "256");
const TLS_LISTEN: Key = Key::new("listen", r#"["0.0.0.0:8443"]"#);
const CERTIFICATE: Key = Key::new("certificate", r#""fullchain.pem""#);
const PRIVATE_KEY: Key = Key::new("private_key", r#""privkey.pem""#);
const ADMIN_LISTEN: Key = Key::new("listen", r#""127.0.0.1:8246""#);

const HTTP_DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8245);
const ADMIN_DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8246);

/// Connections at once from one source, unless the file says otherwise.
const CONNECTIONS: u32 = 256;
/// What one listener takes of all sources.
const MOST_CONNECTIONS: u32 = 16_384;

/// `[http]`, `[http.tls]` and `[admin]`, which must not want the same port.
pub(super) fn read_listeners(
    http: Section<'_>,
    admin: Section<'_>,
    folder: &Path,
    problems: &mut Problems<'_>,
) -> (Http, Admin) {
    let http_at = http.at();
    let (http, places) = read_http(http, folder, problems);
    let mut admin = admin;
    let (listen, admin_at) = match admin.optional(ADMIN_LISTEN) {
        Some(value) => (value.text(problems).and_then(|text| read_socket(text, problems)), Some(value.at())),
        None => (Some(ADMIN_DEFAULT), None),
    };
    admin.finish(problems);
    let clash = |admin| {
        let tcp = places.iter().filter_map(|place| Some((place.address?, place.at)));
        tcp.into_iter().find(|(address, _)| clash_between(*address, admin))
    };
    if let Some((address, place)) = listen.and_then(clash) {
        problems.add(
            admin_at.or(place).unwrap_or(http_at),
            format!("[http] and [admin] would both listen on {address}"),
            "give [admin] a port of its own, such as listen = \"127.0.0.1:8246\"",
        );
    }
    (http, Admin { listen: listen.unwrap_or(ADMIN_DEFAULT) })
}

/// A listener as far as others must agree with it.
struct Place {
    /// `None` where it is no TCP listener.
    address: Option<SocketAddr>,
    /// Where it stands; `None` for the default.
    at: Option<usize>,
    proxy_protocol: bool,
}

/// `[http]` with its TLS, and each of their listeners' places.
fn read_http(mut section: Section<'_>, folder: &Path, problems: &mut Problems<'_>) -> (Http, Vec<Place>) {
    let mut once = Once::new();
    let mut places = Vec::new();
    let (listen, is_empty) = match section.optional(LISTEN) {
        None => {
            places.push(Place { address: Some(HTTP_DEFAULT), at: None, proxy_protocol: false });
            (vec![Listener::from(HTTP_DEFAULT)], None)
        }
        Some(value) => {
            let listen = read_listen(&value, folder, &mut once, &mut places, problems);
            (listen, is_empty(&value).then(|| (value.at(), value.label())))
        }
    };
    let tls = section.table("tls", "[http.tls]", problems);
    if let (None, Some((at, label))) = (&tls, is_empty) {
        let help = format!("for example: {}", LISTEN.line());
        problems.add(at, format!("{label} is empty: no router could reach us"), help);
    }
    let tls = tls.and_then(|tls| read_tls(tls, folder, &mut once, &mut places, problems));
    let (trusted_proxies, trusts_unix) = match section.optional(TRUSTED_PROXIES) {
        Some(value) => read_proxies(&value, problems),
        None => (Vec::new(), false),
    };
    if trusted_proxies.is_empty() && !trusts_unix {
        for at in places.iter().filter(|place| place.proxy_protocol).filter_map(|place| place.at) {
            problems.absent(
                at,
                "only trusted proxies may speak the PROXY protocol, and none is named",
                format!("add the networks of the proxies, such as {}, or \"unix\"", TRUSTED_PROXIES.line()),
            );
        }
    }
    let header = section.optional(CLIENT_ADDRESS_HEADER).and_then(|value| value.text(problems));
    let client_address_header = header.and_then(|header| read_header(header, problems));
    let connections = section.optional(CONNECTIONS_PER_SOURCE);
    let connections_per_source = match connections {
        Some(value) if value.is_off() => None,
        Some(value) => value.integer(1..=MOST_CONNECTIONS, problems),
        None => Some(CONNECTIONS),
    };
    section.finish(problems);
    let http = Http {
        listen,
        tls,
        trusted_proxies,
        trusts_unix,
        client_address_header: client_address_header.unwrap_or(ForwardingHeader::XForwardedFor),
        connections_per_source,
    };
    (http, places)
}

/// `[http.tls]`; its files are not read here, since they change while we run.
fn read_tls(
    mut section: Section<'_>,
    folder: &Path,
    once: &mut Once<Endpoint>,
    places: &mut Vec<Place>,
    problems: &mut Problems<'_>,
) -> Option<Tls> {
    let listen = section.required(TLS_LISTEN).map(|value| {
        if is_empty(&value) {
            let help = format!("for example: {}; or remove the section", TLS_LISTEN.line());
            problems.add(value.at(), format!("{} is empty", value.label()), help);
        }
        read_listen(&value, folder, once, places, problems)
    });
    let mut file = |key| {
        let text = section.required(key)?.text(problems)?;
        if text.text.is_empty() {
            problems.add(text.at, "this names no file", format!("for example: {}", key.line()));
        }
        Some(folder.join(text.text))
    };
    let (certificate, private_key) = (file(CERTIFICATE), file(PRIVATE_KEY));
    section.finish(problems);
    Some(Tls { listen: listen?, certificate: certificate?, private_key: private_key? })
}

fn is_empty(value: &Value<'_>) -> bool {
    value.raw().as_array().is_some_and(|members| members.is_empty())
}

/// The listeners of one list; each endpoint stands once in the whole file, port 0 as often as wanted.
fn read_listen(
    value: &Value<'_>,
    folder: &Path,
    once: &mut Once<Endpoint>,
    places: &mut Vec<Place>,
    problems: &mut Problems<'_>,
) -> Vec<Listener> {
    let mut listen = Vec::new();
    for Placed { listener, at } in read_endpoints(value, folder, problems) {
        let address = match listener.endpoint {
            Endpoint::Tcp(address) => Some(address),
            Endpoint::Unix(_) | Endpoint::Systemd(_) => None,
        };
        let free = address.is_some_and(|address| address.port() == 0);
        let shown = format!("address {}", listener.endpoint);
        if free || once.check(listener.endpoint.clone(), at, &shown, problems) {
            places.push(Place { address, at: Some(at), proxy_protocol: listener.proxy_protocol });
            listen.push(listener);
        }
    }
    listen
}

/// Networks, and whether "unix" is among them.
fn read_proxies(value: &Value<'_>, problems: &mut Problems<'_>) -> (Vec<ipnet::IpNet>, bool) {
    let texts = value.texts(problems).unwrap_or_default();
    let (unix, networks): (Vec<_>, Vec<_>) = texts.into_iter().partition(|text| text.text == "unix");
    (read_networks(networks, problems), !unix.is_empty())
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
