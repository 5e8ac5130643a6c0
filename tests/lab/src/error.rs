//! What can go wrong in the laboratory, in words that say what to install or where to look.

use std::io;

/// Why a server, the gateway or a question failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A program is not on this machine.
    #[error("{program} not found: apt-get install {package}")]
    Missing {
        /// The program or file that was looked for.
        program: String,
        /// The Debian package that brings it.
        package: &'static str,
    },
    /// The operating system refused something.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// Another program listens where a child was to.
    #[error("{what}: another program has its port\n--- its log ---\n{log}")]
    PortTaken {
        /// Which child.
        what: String,
        /// All it wrote.
        log: String,
    },
    /// A child ended early or never answered.
    #[error("{what} did not start: {why}\n--- its log ---\n{log}")]
    NotStarted {
        /// Which child.
        what: String,
        /// What was seen from outside.
        why: String,
        /// All it wrote.
        log: String,
    },
    /// A tool of a name server failed.
    #[error("{command} failed: {output}")]
    Command {
        /// Program and arguments.
        command: String,
        /// Its standard output and error.
        output: String,
    },
    /// This kind of server cannot do what the set-up asks for.
    #[error("{0}")]
    Unsupported(String),
    /// The peer answered with something that is not its protocol.
    #[error("{0}")]
    Protocol(String),
    /// Nothing came in time.
    #[error("timed out: {0}")]
    Timeout(String),
}

impl Error {
    /// Whether another port would do.
    pub(crate) fn is_of_a_taken_port(&self) -> bool {
        match self {
            Self::PortTaken { .. } => true,
            Self::Io { source, .. } => source.kind() == io::ErrorKind::AddrInUse,
            _ => false,
        }
    }

    /// For `map_err`: the system's error with what was tried.
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}
