//! Sockets that systemd opened before us and hands over by name (sd_listen_fds(3)).

use std::env;
use std::io;

use listenfd::ListenFd;
use tokio::net::{TcpListener, UnixListener};
use tracing::warn;

use super::listener::{ListenError, ListeningSocket};

/// What systemd handed over and no listener took yet.
pub(crate) struct Activated {
    sockets: ListenFd,
    names: Vec<String>,
}

impl Activated {
    /// Reads LISTEN_PID, LISTEN_FDS and LISTEN_FDNAMES; nothing is there unless they are meant for this process.
    pub(crate) fn from_env() -> Self {
        // The names first: the variables are removed with the next line.
        let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
        let sockets = ListenFd::from_env();
        let mut names: Vec<_> = names.split(':').filter(|name| !name.is_empty()).map(str::to_owned).collect();
        names.resize(sockets.len(), "unknown".to_owned());
        Self { sockets, names }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    pub(super) fn take(&mut self, name: &str) -> Result<Vec<ListeningSocket>, ListenError> {
        let failed = |source| ListenError::NotAListener { name: name.to_owned(), source };
        let mut taken = Vec::new();
        for (number, there) in self.names.iter().enumerate() {
            if there == name {
                taken.extend(listener(&mut self.sockets, number).map_err(failed)?);
            }
        }
        if taken.is_empty() {
            let there = match self.names.as_slice() {
                [] => "it handed over none".to_owned(),
                names => format!("there are: {}", names.join(", ")),
            };
            return Err(ListenError::NotActivated { name: name.to_owned(), there });
        }
        Ok(taken)
    }

    /// Says which sockets no listener of the configuration took: their clients would wait for ever.
    pub(crate) fn warn_of_rest(mut self) {
        for (number, name) in self.names.iter().enumerate() {
            if matches!(self.sockets.take_raw_fd(number), Ok(Some(_))) {
                warn!(
                    name,
                    "systemd handed over a socket that no listener takes; write \"systemd:{name}\" into `listen`"
                );
            }
        }
    }
}

fn listener(sockets: &mut ListenFd, number: usize) -> io::Result<Option<ListeningSocket>> {
    // Which of the two it is, the socket itself tells; the wrong one stays where it is.
    if let Ok(taken) = sockets.take_tcp_listener(number) {
        let Some(socket) = taken else { return Ok(None) };
        socket.set_nonblocking(true)?;
        return ListeningSocket::accepting_tcp(TcpListener::from_std(socket)?).map(Some);
    }
    let Some(socket) = sockets.take_unix_listener(number)? else { return Ok(None) };
    socket.set_nonblocking(true)?;
    ListeningSocket::accepting_unix(UnixListener::from_std(socket)?).map(Some)
}
