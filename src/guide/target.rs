//! What a device is to be told: host, account, families, and where it reaches the gateway. Knows no device.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use crate::config::is_public;
use crate::model::{Families, Family, Hostname, ZoneName};

/// One host, for one device.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) host: Hostname,
    pub(crate) login: String,
    pub(crate) url: GatewayUrl,
    /// What the device is to report.
    pub(crate) families: Families,
    pub(crate) names: OneFamilyNames,
}

/// The gateway's names that have addresses of one family alone, where it has them.
#[derive(Debug, Clone, Default)]
pub(crate) struct OneFamilyNames {
    pub(crate) v4: Option<Hostname>,
    pub(crate) v6: Option<Hostname>,
}

impl Target {
    pub(crate) fn has(&self, family: Family) -> bool {
        self.families.allow(family)
    }

    fn name_of(&self, family: Family) -> Option<&Hostname> {
        match family {
            Family::V4 => self.names.v4.as_ref(),
            Family::V6 => self.names.v6.as_ref(),
        }
    }

    /// Where a device is reached by that family alone, as far as the gateway has a name for it.
    pub(crate) fn url_of(&self, family: Family) -> GatewayUrl {
        match self.name_of(family) {
            Some(name) => GatewayUrl { host: name.to_string(), origin: UrlOrigin::Given, ..self.url.clone() },
            None => self.url.clone(),
        }
    }

    /// Whether what comes to [`Self::url_of`] comes by that family.
    pub(crate) fn is_seen_by(&self, family: Family) -> bool {
        self.name_of(family).is_some() || self.url.family() == Some(family)
    }

    /// Whether anything can come by that family: an address as server is reached by its own alone.
    pub(crate) fn reaches(&self, family: Family) -> bool {
        self.name_of(family).is_some() || self.url.family().is_none_or(|only| only == family)
    }
}

/// Where a [`GatewayUrl`] comes from, and so how far it can be relied on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UrlOrigin {
    /// The operator named it.
    Given,
    /// The gateway listens there.
    Listen,
    /// Nobody knows: the reader must put another name in its place.
    Placeholder,
}

/// Scheme, host and port by which devices reach the gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GatewayUrl {
    pub(crate) tls: bool,
    // An IPv6 address has its brackets.
    host: String,
    port: Option<u16>,
    pub(crate) origin: UrlOrigin,
}

/// Why a text is not a [`GatewayUrl`]. Never repeats the text: a password may be in it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UrlError {
    #[error("--url begins with neither http:// nor https://\nWrite it as in https://ddns.example.net")]
    Scheme,
    #[error("--url has a user name or password in it\nWrite it without: the login is found in the configuration")]
    Credentials,
    #[error("--url has a path or a query in it\nWrite scheme, host and port alone: the gateway answers at /nic/update")]
    Path,
    #[error("--url has no host name or address in it\nInternational names are written as A-labels (xn--…)")]
    Host,
    #[error("--url has a port that is none\nWrite a number from 1 to 65535")]
    Port,
}

/// What stands for the gateway's name where nobody knows it (RFC 2606 section 3).
const PLACEHOLDER: &str = "ddns.example.net";

impl GatewayUrl {
    /// Reads what an operator typed: scheme, host, port if any, and at most the path `/nic/update`.
    pub(crate) fn parse(text: &str) -> Result<Self, UrlError> {
        let (scheme, rest) = text.split_once("://").ok_or(UrlError::Scheme)?;
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "http" => false,
            "https" => true,
            _ => return Err(UrlError::Scheme),
        };
        if rest.contains('@') {
            return Err(UrlError::Credentials);
        }
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        if !["", "/", "/nic/update"].contains(&path) {
            return Err(UrlError::Path);
        }
        let colon = authority.rfind(':').filter(|at| !authority[*at..].contains(']'));
        let (host, port) = match colon {
            Some(at) => (&authority[..at], Some(authority[at + 1..].parse().map_err(|_| UrlError::Port)?)),
            None => (authority, None),
        };
        if port == Some(0) {
            return Err(UrlError::Port);
        }
        let bracketed = host.strip_prefix('[').and_then(|inner| inner.strip_suffix(']'));
        let is_host = match bracketed {
            Some(inner) => inner.parse::<Ipv6Addr>().is_ok(),
            // One in the operator's network may be a single label.
            None => ZoneName::parse(host).is_ok(),
        };
        if !is_host {
            return Err(UrlError::Host);
        }
        Ok(Self { tls, host: host.to_ascii_lowercase(), port, origin: UrlOrigin::Given })
    }

    /// The first public address that the gateway listens on for plain HTTP, else the placeholder.
    pub(crate) fn guess(listen: &[SocketAddr]) -> Self {
        let public = listen.iter().find(|listen| listen.port() != 0 && is_public(listen.ip()));
        let Some(listen) = public else {
            return Self { tls: true, host: PLACEHOLDER.to_owned(), port: None, origin: UrlOrigin::Placeholder };
        };
        let host = match listen.ip() {
            IpAddr::V4(v4) => v4.to_string(),
            IpAddr::V6(v6) => format!("[{v6}]"),
        };
        let port = Some(listen.port()).filter(|port| *port != 80);
        Self { tls: false, host, port, origin: UrlOrigin::Listen }
    }

    /// Host and port, as a field "server" takes them.
    pub(crate) fn authority(&self) -> String {
        match self.port {
            Some(port) => format!("{}:{port}", self.host),
            None => self.host.clone(),
        }
    }

    /// Scheme, login and host, for devices that take the credentials in the URL; the reader puts the password in.
    pub(crate) fn with_login(&self, login: &str) -> String {
        format!("{}://{login}:PASSWORD@{}", self.scheme(), self.authority())
    }

    fn scheme(&self) -> &'static str {
        if self.tls { "https" } else { "http" }
    }

    /// The family of the address, where it is an address.
    pub(crate) fn family(&self) -> Option<Family> {
        if self.host.starts_with('[') {
            return Some(Family::V6);
        }
        self.host.parse().ok().map(Family::of)
    }
}

/// Scheme, host and port; no slash at the end.
impl fmt::Display for GatewayUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme(), self.authority())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guess(listen: &[&str]) -> GatewayUrl {
        GatewayUrl::guess(&listen.iter().map(|listen| listen.parse().unwrap()).collect::<Vec<_>>())
    }

    #[test]
    fn only_a_public_address_is_guessed() {
        for listen in ["127.0.0.1:8245", "0.0.0.0:8245", "[::]:8245", "10.1.2.3:80", "100.64.0.1:80", "[fd00::1]:80"] {
            let url = guess(&[listen]);
            assert_eq!((url.to_string().as_str(), url.origin), ("https://ddns.example.net", UrlOrigin::Placeholder));
        }
        assert_eq!(guess(&["203.0.113.1:0"]).origin, UrlOrigin::Placeholder, "any free port");
        assert_eq!(guess(&["127.0.0.1:8245", "203.0.113.1:8245"]).to_string(), "http://203.0.113.1:8245");
        assert_eq!(guess(&["[2001:db8::1]:80"]).to_string(), "http://[2001:db8::1]");
    }

    #[test]
    fn a_url_is_scheme_host_and_port() {
        for (text, url) in [
            ("https://DDNS.example.net", "https://ddns.example.net"),
            ("http://gateway:8245/", "http://gateway:8245"),
            ("HTTP://192.0.2.1:8245/nic/update", "http://192.0.2.1:8245"),
            ("https://[2001:db8::1]", "https://[2001:db8::1]"),
            ("https://[2001:db8::1]:8443", "https://[2001:db8::1]:8443"),
        ] {
            assert_eq!(GatewayUrl::parse(text).unwrap().to_string(), url);
        }
        for (text, error) in [
            ("ddns.example.net", UrlError::Scheme),
            ("ftp://ddns.example.net", UrlError::Scheme),
            ("http://user:secret@ddns.example.net", UrlError::Credentials),
            ("http://ddns.example.net/ddns", UrlError::Path),
            ("http://ddns.example.net?x", UrlError::Path),
            ("http://", UrlError::Host),
            ("http://:8245", UrlError::Host),
            ("http://2001:db8::1", UrlError::Host),
            ("http://a'b", UrlError::Host),
            ("http://a b", UrlError::Host),
            ("http://ddns.example.net:", UrlError::Port),
            ("http://ddns.example.net:0", UrlError::Port),
            ("http://ddns.example.net:65536", UrlError::Port),
        ] {
            assert_eq!(GatewayUrl::parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn an_address_has_a_family_and_a_name_has_none() {
        let family = |text: &str| GatewayUrl::parse(text).unwrap().family();
        assert_eq!(family("http://192.0.2.1:8245"), Some(Family::V4));
        assert_eq!(family("http://[2001:db8::1]"), Some(Family::V6));
        assert_eq!(family("http://ddns.example.net"), None);
    }
}
