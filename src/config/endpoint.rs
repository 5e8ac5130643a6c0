//! Where one listener listens: an address and a port, a unix socket, or a socket that systemd hands over.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use toml::Spanned;

use super::format::{EndpointTable, TextOr};
use super::problem::{Problems, quoted};

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

impl Endpoint {
    /// The address, if it is one.
    pub(crate) fn tcp(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) => Some(*address),
            Self::Unix(_) | Self::Systemd(_) => None,
        }
    }

    /// What to do about an address that cannot be listened on.
    pub(crate) fn mend(address: SocketAddr, error: &io::Error) -> &'static str {
        match error.kind() {
            io::ErrorKind::PermissionDenied if address.port() < 1024 => {
                "ports below 1024 need CAP_NET_BIND_SERVICE or a socket of systemd (\"Ports below 1024\" in docs/DEPLOYING.md has \
                 both)"
            }
            io::ErrorKind::AddrNotAvailable => {
                "this machine does not have that address (yet): name one that it has, or 0.0.0.0 or [::]"
            }
            io::ErrorKind::AddrInUse => "stop what holds it (`ss -ltnp` shows it), or choose another port",
            _ => "choose another address or port",
        }
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

/// The listeners of one list, and where each stands.
pub(super) fn check_endpoints(
    list: &[Spanned<TextOr<EndpointTable>>],
    problems: &mut Problems<'_>,
) -> Vec<(Listener, usize)> {
    let mut listeners = Vec::with_capacity(list.len());
    for member in list {
        let at = member.span().start;
        let (text, at, proxy_protocol) = match member.get_ref() {
            TextOr::Text(text) => (text, at, false),
            TextOr::Other(EndpointTable { address, proxy_protocol }) => {
                match problems.required(("a table in `listen`", at), "address", address.as_ref()) {
                    Some(text) => (text.get_ref(), text.span().start, *proxy_protocol),
                    None => continue,
                }
            }
        };
        if let Some(endpoint) = check_endpoint(text, at, problems) {
            listeners.push((Listener { endpoint, proxy_protocol }, at));
        }
    }
    listeners
}

fn check_endpoint(text: &str, at: usize, problems: &mut Problems<'_>) -> Option<Endpoint> {
    if let Some(path) = text.strip_prefix("unix:") {
        let help = "write \"unix:\" and a path, such as \"unix:/run/dyngate/http.sock\"";
        let path = socket_path(path, problems.folder());
        return problems.ok(at, path, |message| (message, help)).map(Endpoint::Unix);
    }
    if let Some(name) = text.strip_prefix("systemd:") {
        let right = |c: char| c.is_ascii_graphic() && c != ':';
        if !name.is_empty() && name.len() <= LONGEST_NAME && name.chars().all(right) {
            return Some(Endpoint::Systemd(name.to_owned()));
        }
        let help = "write \"systemd:\" and what FileDescriptorName= says in the socket unit, such as \"systemd:http\"";
        problems.add(at, format!("{} names no socket of systemd", quoted(text)), help);
        return None;
    }
    check_socket(text, at, problems).map(Endpoint::Tcp)
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

pub(super) fn check_socket(text: &str, at: usize, problems: &mut Problems<'_>) -> Option<SocketAddr> {
    problems.ok(at, text.parse(), |_| {
        let help = match text.parse::<IpAddr>() {
            Ok(IpAddr::V4(address)) => format!("add a port: \"{address}:8245\""),
            Ok(IpAddr::V6(address)) => format!("add brackets and a port: \"[{address}]:8245\""),
            Err(_) => {
                "write \"127.0.0.1:8245\", \"[::1]:8245\", or \"0.0.0.0:8245\" and \"[::]:8245\" for all addresses"
                    .to_owned()
            }
        };
        (format!("{} is not an IP address and a port", quoted(text)), help)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_kinds_of_endpoint() {
        let read = |text: &str| {
            let mut problems = Problems::new(Path::new("/etc/dyngate/gateway.toml"), "");
            let endpoint = check_endpoint(text, 0, &mut problems);
            endpoint.map(|endpoint| endpoint.to_string()).ok_or_else(|| problems.into_errors().to_string())
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
