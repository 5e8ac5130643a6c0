//! `[http]`, `[http.tls]` and `[admin]`: where we listen and which forwarding header is believed.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use toml::Spanned;

use super::endpoint::{Endpoint, check_endpoints, check_socket};
use super::engine::check_or_off;
use super::format::{self, Text, TextOr, example};
use super::network::check_networks;
use super::problem::{Once, Problems, label, quoted};
use super::{Admin, ForwardingHeader, Http, Listener, Tls};
use crate::model::Hostname;

const HTTP_DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8245);
const ADMIN_DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8246);

/// Connections at once from one source, unless the file says otherwise.
const CONNECTIONS: u32 = 256;

/// `[http]`, `[http.tls]` and `[admin]`, which must not want the same port.
pub(super) fn check_listeners(
    http: &Spanned<format::HttpSection>,
    tls: Option<&Spanned<format::TlsSection>>,
    admin: &format::AdminSection,
    problems: &mut Problems<'_>,
) -> (Http, Admin) {
    let mut listeners = Listeners { once: Once::new(), places: Vec::new() };
    let http = check_http(http, tls, &mut listeners, problems);
    let listen = match &admin.listen {
        Some(text) => check_socket(text.get_ref(), text.span().start, problems),
        None => Some(ADMIN_DEFAULT),
    };
    let clash = |admin| listeners.addresses().find(|(address, _)| clash_between(*address, admin));
    if let Some((address, at)) = listen.and_then(clash) {
        problems.add(
            admin.listen.as_ref().map_or(at, |text| text.span().start),
            format!("[http] and [admin] would both listen on {address}"),
            "give [admin] a port of its own, such as listen = \"127.0.0.1:8246\"",
        );
    }
    (http, Admin { listen: listen.unwrap_or(ADMIN_DEFAULT) })
}

fn check_http(
    typed: &Spanned<format::HttpSection>,
    tls: Option<&Spanned<format::TlsSection>>,
    listeners: &mut Listeners,
    problems: &mut Problems<'_>,
) -> Http {
    const TITLE: &str = "[http]";
    let (at, typed) = (typed.span().start, typed.get_ref());
    let mut listen = Vec::new();
    if let Some(list) = &typed.listen {
        if list.get_ref().is_empty() && tls.is_none() && !problems.is_excused(at, "listen") {
            let message = format!("{} is empty: no router could reach us", label(TITLE, "listen"));
            problems.add(list.span().start, message, format!("for example: {}", example(TITLE, "listen")));
        }
        listen = listeners.take(list.get_ref(), problems);
    } else if !problems.is_excused(at, "listen") {
        listen.push(Listener::from(HTTP_DEFAULT));
        listeners.places.push((Listener::from(HTTP_DEFAULT), at));
    }
    let tls = tls.and_then(|tls| check_tls(tls, listeners, problems));
    let (unix, networks): (Vec<&Text>, Vec<&Text>) =
        typed.trusted_proxies.iter().partition(|text| text.get_ref() == "unix");
    let (trusted_proxies, trusts_unix) = (check_networks(networks, problems), !unix.is_empty());
    if typed.trusted_proxies.is_empty() && !problems.is_excused(at, "trusted_proxies") {
        for (_, at) in listeners.places.iter().filter(|(listener, _)| listener.proxy_protocol) {
            problems.add(
                *at,
                "only trusted proxies may speak the PROXY protocol, and none is named",
                format!("add the networks of the proxies, such as {}, or \"unix\"", example(TITLE, "trusted_proxies")),
            );
        }
    }
    let connections_per_source = match typed.connections_per_source.clone() {
        None => Some(CONNECTIONS),
        Some(value) => {
            check_or_off(TITLE, "connections_per_source", "an integer", value, problems).map(|number| number.0)
        }
    };
    let header = typed.client_address_header.as_ref().and_then(|header| check_header(header, problems));
    let mut name = |key, text: &Option<Text>| text.as_ref().and_then(|text| check_name(key, text, problems));
    let (ipv4_name, ipv6_name) = (name("ipv4_name", &typed.ipv4_name), name("ipv6_name", &typed.ipv6_name));
    if let (true, Some(text)) = (ipv4_name.is_some() && ipv4_name == ipv6_name, &typed.ipv6_name) {
        let message = format!(
            "{} is the name of `ipv4_name` too: one name cannot be of either family alone",
            quoted(text.get_ref())
        );
        problems.add(text.span().start, message, format!("for example: {}", example(TITLE, "ipv6_name")));
    }
    Http {
        listen,
        tls,
        trusted_proxies,
        trusts_unix,
        client_address_header: header.unwrap_or(ForwardingHeader::XForwardedFor),
        connections_per_source,
        ipv4_name,
        ipv6_name,
    }
}

/// A name of this gateway that devices look up.
fn check_name(key: &str, text: &Text, problems: &mut Problems<'_>) -> Option<Hostname> {
    let (at, typed) = (text.span().start, text.get_ref());
    let help = || format!("for example: {}", example("[http]", key));
    if typed.parse::<IpAddr>().is_ok() {
        problems.add(at, format!("{} is an address: `{key}` is a name that has such addresses", quoted(typed)), help());
        return None;
    }
    let name = problems.ok(at, Hostname::parse(typed), |error| {
        (format!("{} is not the name of a host: {error}", quoted(typed)), help())
    })?;
    if name.as_str().starts_with('*') || name.has_underscore() {
        problems.add(at, format!("{} is not a name that devices look up", quoted(typed)), help());
        return None;
    }
    Some(name)
}

/// `[http.tls]`; its files are not read here, since they change while we run.
fn check_tls(
    typed: &Spanned<format::TlsSection>,
    listeners: &mut Listeners,
    problems: &mut Problems<'_>,
) -> Option<Tls> {
    const TITLE: &str = "[http.tls]";
    let (at, typed) = (typed.span().start, typed.get_ref());
    let listen = problems.required((TITLE, at), "listen", typed.listen.as_ref()).map(|list| {
        if list.get_ref().is_empty() && !problems.is_excused(at, "listen") {
            let help = format!("for example: {}; or remove the section", example(TITLE, "listen"));
            problems.add(list.span().start, format!("{} is empty", label(TITLE, "listen")), help);
        }
        listeners.take(list.get_ref(), problems)
    });
    let mut file = |key, file: Option<&Text>| {
        let text = problems.required((TITLE, at), key, file)?;
        if text.get_ref().is_empty() {
            let help = format!("for example: {}", example(TITLE, key));
            problems.add(text.span().start, "this names no file", help);
        }
        Some(problems.folder().join(text.get_ref()))
    };
    let certificate = file("certificate", typed.certificate.as_ref());
    let private_key = file("private_key", typed.private_key.as_ref());
    Some(Tls { listen: listen?, certificate: certificate?, private_key: private_key? })
}

/// The listeners that were found, and where each stands.
struct Listeners {
    once: Once<Endpoint>,
    places: Vec<(Listener, usize)>,
}

impl Listeners {
    /// Those of one list; each endpoint stands once in the whole file, port 0 as often as wanted.
    fn take(&mut self, list: &[Spanned<TextOr<format::EndpointTable>>], problems: &mut Problems<'_>) -> Vec<Listener> {
        let mut listen = Vec::new();
        for (listener, at) in check_endpoints(list, problems) {
            let free = listener.endpoint.tcp().is_some_and(|address| address.port() == 0);
            let shown = format!("address {}", listener.endpoint);
            if free || self.once.check(listener.endpoint.clone(), at, &shown, problems) {
                self.places.push((listener.clone(), at));
                listen.push(listener);
            }
        }
        listen
    }

    fn addresses(&self) -> impl Iterator<Item = (SocketAddr, usize)> {
        self.places.iter().filter_map(|(listener, at)| Some((listener.endpoint.tcp()?, *at)))
    }
}

fn check_header(header: &Text, problems: &mut Problems<'_>) -> Option<ForwardingHeader> {
    match header.get_ref().to_ascii_lowercase().as_str() {
        "x-forwarded-for" => Some(ForwardingHeader::XForwardedFor),
        "forwarded" => Some(ForwardingHeader::Forwarded),
        _ => {
            problems.add(
                header.span().start,
                format!("{} is not a header that we read the client's address from", quoted(header.get_ref())),
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
