//! Where one listener listens: an address and a port, a unix socket, or a socket that systemd hands over.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use toml::de::DeValue;

use super::problem::{Problems, quoted};
use super::section::{Key, Section, Text, Value};

const ADDRESS: Key = Key::new("address", r#""0.0.0.0:8245""#);
const PROXY_PROTOCOL: Key = Key::new("proxy_protocol", "true");

/// What the address of a unix socket has room for (unix(7)), without the final zero.
const LONGEST_SOCKET_PATH: usize = 107;
/// What systemd takes for FileDescriptorName= (systemd.socket(5)).
const LONGEST_NAME: usize = 255;

/// What a listener is bound to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// An address, of this family alone, and a port; port 0 takes a free one.
    Tcp(SocketAddr),
    /// A socket file, made at the start and removed at the end.
    Unix(PathBuf),
    /// All sockets that systemd hands over under this FileDescriptorName.
    Systemd(String),
}

/// One listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Where.
    pub endpoint: Endpoint,
    /// Whether each connection begins with a PROXY protocol header, version 2.
    pub proxy_protocol: bool,
}

impl From<SocketAddr> for Listener {
    fn from(address: SocketAddr) -> Self {
        Self { endpoint: Endpoint::Tcp(address), proxy_protocol: false }
    }
}

/// As the file spells it.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Systemd(name) => write!(f, "systemd:{name}"),
        }
    }
}

/// A listener and the octet of the file where it stands.
pub(super) struct Placed {
    pub(super) listener: Listener,
    pub(super) at: usize,
}

/// A list whose members are strings or tables.
pub(super) fn read_endpoints(value: &Value<'_>, folder: &Path, problems: &mut Problems<'_>) -> Vec<Placed> {
    let wanted = "a list of strings";
    let DeValue::Array(members) = value.raw() else {
        value.wrong_type(wanted, value.raw(), value.at(), problems);
        return Vec::new();
    };
    let mut placed = Vec::with_capacity(members.len());
    for member in members.iter() {
        let at = member.span().start;
        let (text, proxy_protocol) = match member.get_ref() {
            DeValue::String(text) => (Some(Text { text, at }), false),
            DeValue::Table(table) => {
                let mut section = Section::new("a table in `listen`", table, at);
                let text = section.required(ADDRESS).and_then(|value| value.text(problems));
                let wants = section.optional(PROXY_PROTOCOL).and_then(|value| value.boolean(problems));
                section.finish(problems);
                (text, wants.unwrap_or(false))
            }
            other => {
                value.wrong_type(wanted, other, at, problems);
                (None, false)
            }
        };
        if let Some(endpoint) = text.and_then(|text| read_endpoint(text, folder, problems)) {
            placed
                .push(Placed { listener: Listener { endpoint, proxy_protocol }, at: text.map_or(at, |text| text.at) });
        }
    }
    placed
}

fn read_endpoint(text: Text<'_>, folder: &Path, problems: &mut Problems<'_>) -> Option<Endpoint> {
    if let Some(path) = text.text.strip_prefix("unix:") {
        return match socket_path(path, folder) {
            Ok(path) => Some(Endpoint::Unix(path)),
            Err(message) => {
                problems.add(text.at, message, "write \"unix:\" and a path, such as \"unix:/run/dyngate/http.sock\"");
                None
            }
        };
    }
    if let Some(name) = text.text.strip_prefix("systemd:") {
        let right = |c: char| c.is_ascii_graphic() && c != ':';
        if !name.is_empty() && name.len() <= LONGEST_NAME && name.chars().all(right) {
            return Some(Endpoint::Systemd(name.to_owned()));
        }
        let help = "write \"systemd:\" and what FileDescriptorName= says in the socket unit, such as \"systemd:http\"";
        problems.add(text.at, format!("{} names no socket of systemd", quoted(text.text)), help);
        return None;
    }
    read_socket(text, problems).map(Endpoint::Tcp)
}

fn socket_path(path: &str, folder: &Path) -> Result<PathBuf, String> {
    match path.chars().next() {
        None => return Err("\"unix:\" has no path".to_owned()),
        Some('@' | '\0') => {
            return Err(format!("{} is an abstract socket, which every user may connect to", quoted(path)));
        }
        Some(_) => {}
    }
    let path = folder.join(path);
    match path.as_os_str().len() {
        0..=LONGEST_SOCKET_PATH => Ok(path),
        length => Err(format!("the path of a unix socket has at most {LONGEST_SOCKET_PATH} octets, this one {length}")),
    }
}

/// An IP address and a port.
pub(super) fn read_socket(text: Text<'_>, problems: &mut Problems<'_>) -> Option<SocketAddr> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_kinds_of_endpoint() {
        let read = |text: &str| {
            let mut problems = Problems::new(Path::new("f"), "");
            let endpoint = read_endpoint(Text { text, at: 0 }, Path::new("/etc/dyngate"), &mut problems);
            endpoint.map(|endpoint| endpoint.to_string()).ok_or_else(|| problems.into_errors().unwrap().to_string())
        };
        for (text, shown) in [
            ("127.0.0.1:0", "127.0.0.1:0"),
            ("[::]:80", "[::]:80"),
            ("unix:/run/x.sock", "unix:/run/x.sock"),
            ("unix:x.sock", "unix:/etc/dyngate/x.sock"),
            ("systemd:http", "systemd:http"),
            ("systemd:dyngate.socket", "systemd:dyngate.socket"),
        ] {
            assert_eq!(read(text).unwrap(), shown);
        }
        let long = format!("unix:/{}", "x".repeat(107));
        for text in ["", "unix:", "unix:@x", "unix:\0x", &long, "systemd:", "systemd:a:b", "systemd:a b", "/run/x"] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
