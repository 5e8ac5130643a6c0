//! Sockets that accept connections: TCP, unix, and those that systemd hands over. Knows nothing of what is said on them.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixListener, UnixSocket, UnixStream};
use tokio_util::either::Either;
use tracing::warn;

use super::activation::Activated;
use super::client_address::Peer;
use crate::config::Endpoint;

/// Connections that wait to be accepted: all routers of a provider come back in the same second.
const BACKLOG: u32 = 4096;
/// Owner and group may connect; others have no business on a socket that skips the network's bounds.
const SOCKET_MODE: u32 = 0o660;

/// Why an endpoint cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ListenError {
    #[error("cannot listen on {address}: {source}; {}", Endpoint::mend(*address, source))]
    Tcp { address: SocketAddr, source: io::Error },
    #[error("cannot listen on unix:{}: {source}; its folder must exist, and the user that dyngate runs as must be able to write there", path.display())]
    Unix { path: PathBuf, source: io::Error },
    #[error("cannot listen on unix:{}: another program does; stop it, or choose another path", .0.display())]
    Held(PathBuf),
    #[error("cannot listen on unix:{}: there is something that is not a socket; remove it, or choose another path", .0.display())]
    NotASocket(PathBuf),
    #[error(
        "systemd handed over no socket named {name:?} ({there}); write FileDescriptorName={name} into the socket unit, and start dyngate through it"
    )]
    NotActivated { name: String, there: String },
    #[error(
        "the socket {name:?} of systemd cannot be listened on: {source}; write ListenStream= into the socket unit, and Accept=no"
    )]
    NotAListener { name: String, source: io::Error },
}

/// A socket that accepts; its file, if we made one, goes when this is dropped.
#[derive(Debug)]
pub(crate) struct ListeningSocket {
    socket: Socket,
    /// Where it really is: the port that was free, and never `Systemd`.
    address: Endpoint,
    _file: Option<SocketFile>,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl ListeningSocket {
    /// Listens on `endpoint`; systemd may hand over several sockets under one name. Must run inside a tokio runtime.
    pub(crate) fn bind(endpoint: &Endpoint, activated: &mut Activated) -> Result<Vec<Self>, ListenError> {
        match endpoint {
            Endpoint::Tcp(address) => Ok(vec![Self::tcp(*address)?]),
            Endpoint::Unix(path) => Ok(vec![Self::unix(path)?]),
            Endpoint::Systemd(name) => activated.take(name),
        }
    }

    /// Listens on an address, of its own family alone.
    pub(crate) fn tcp(address: SocketAddr) -> Result<Self, ListenError> {
        let failed = |source| ListenError::Tcp { address, source };
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }.map_err(failed)?;
        socket.set_reuseaddr(true).map_err(failed)?;
        if address.is_ipv6() {
            // Linux would let [::] take IPv4 too, and 0.0.0.0 beside it would be the same port twice.
            rustix::net::sockopt::set_ipv6_v6only(&socket, true).map_err(|error| failed(error.into()))?;
        }
        socket.bind(address).map_err(failed)?;
        Self::accepting_tcp(socket.listen(BACKLOG).map_err(failed)?).map_err(failed)
    }

    fn unix(path: &Path) -> Result<Self, ListenError> {
        let failed = |source| ListenError::Unix { path: path.to_owned(), source };
        remove_stale(path)?;
        let socket = UnixSocket::new_stream().map_err(failed)?;
        socket.bind(path).map_err(failed)?;
        let file = SocketFile { path: path.to_owned(), identity: identity(path).map_err(failed)? };
        // Nobody can connect before it listens.
        fs::set_permissions(path, fs::Permissions::from_mode(SOCKET_MODE)).map_err(failed)?;
        let listener = socket.listen(BACKLOG).map_err(failed)?;
        Ok(Self { socket: Socket::Unix(listener), address: Endpoint::Unix(path.to_owned()), _file: Some(file) })
    }

    pub(super) fn accepting_tcp(listener: TcpListener) -> io::Result<Self> {
        let address = Endpoint::Tcp(listener.local_addr()?);
        Ok(Self { socket: Socket::Tcp(listener), address, _file: None })
    }

    pub(super) fn accepting_unix(listener: UnixListener) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let address = Endpoint::Unix(address.as_pathname().unwrap_or(Path::new("")).to_owned());
        Ok(Self { socket: Socket::Unix(listener), address, _file: None })
    }

    pub(crate) fn address(&self) -> &Endpoint {
        &self.address
    }

    pub(super) async fn accept(&self) -> io::Result<(AcceptedStream, Peer)> {
        match &self.socket {
            Socket::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                Ok((Either::Left(stream), Peer::Ip(peer)))
            }
            Socket::Unix(listener) => Ok((Either::Right(listener.accept().await?.0), Peer::Unix)),
        }
    }
}

/// Removes a socket file that a gateway left behind which was killed; nothing else.
fn remove_stale(path: &Path) -> Result<(), ListenError> {
    let failed = |source| ListenError::Unix { path: path.to_owned(), source };
    let Ok(there) = fs::symlink_metadata(path) else { return Ok(()) };
    if !there.file_type().is_socket() {
        return Err(ListenError::NotASocket(path.to_owned()));
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_) => Err(ListenError::Held(path.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path).map_err(failed),
        Err(source) => Err(failed(source)),
    }
}

/// A socket file of ours.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // A gateway that was started after us may have put its own in its place.
        if identity(&self.path).is_ok_and(|there| there == self.identity)
            && let Err(error) = fs::remove_file(&self.path)
        {
            warn!(path = %self.path.display(), %error, "the socket file stays behind; the next start removes it");
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

pub(super) type AcceptedStream = Either<TcpStream, UnixStream>;

/// Sends small answers at once.
pub(super) fn set_nodelay(stream: &AcceptedStream) -> io::Result<()> {
    match stream {
        Either::Left(stream) => stream.set_nodelay(true),
        Either::Right(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_to_do_depends_on_why_nobody_can_listen() {
        let error = |address: &str, kind: io::ErrorKind| {
            ListenError::Tcp { address: address.parse().unwrap(), source: kind.into() }.to_string()
        };
        let denied = error("0.0.0.0:80", io::ErrorKind::PermissionDenied);
        assert!(denied.contains("CAP_NET_BIND_SERVICE") && !denied.contains("choose another"), "{denied}");
        assert!(error("0.0.0.0:8245", io::ErrorKind::AddrInUse).contains("stop what holds it"));
        assert!(error("192.0.2.1:8245", io::ErrorKind::AddrNotAvailable).contains("does not have that address"));
    }

    #[tokio::test]
    async fn both_families_listen_on_one_port() {
        let four = ListeningSocket::tcp("0.0.0.0:0".parse().unwrap()).unwrap();
        let port = four.address().tcp().unwrap().port();
        let six = ListeningSocket::tcp(([0_u16; 8], port).into()).unwrap();
        assert_eq!(six.address().to_string(), format!("[::]:{port}"));
        let (accepted, connected) = tokio::join!(six.accept(), TcpStream::connect(("::1", port)));
        assert!(connected.is_ok());
        assert!(matches!(accepted.unwrap().1, Peer::Ip(peer) if peer.is_ipv6()));
    }

    #[tokio::test]
    async fn a_socket_file_comes_and_goes_and_only_a_stale_one_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("http.sock");
        let listener = ListeningSocket::unix(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, SOCKET_MODE);
        assert!(matches!(ListeningSocket::unix(&path), Err(ListenError::Held(_))), "somebody accepts there");
        drop(listener);
        assert!(!path.exists());
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "left behind");
        let first = ListeningSocket::unix(&path).unwrap();
        // Another one in its place is not ours to remove.
        fs::remove_file(&path).unwrap();
        let _second = ListeningSocket::unix(&path).unwrap();
        drop(first);
        assert!(path.exists());
        let file = folder.path().join("file");
        fs::write(&file, "mine").unwrap();
        assert!(matches!(ListeningSocket::unix(&file), Err(ListenError::NotASocket(_))));
        assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
        let error = ListeningSocket::unix(&folder.path().join("absent/http.sock")).unwrap_err();
        assert!(error.to_string().contains("its folder must exist"), "{error}");
    }
}
