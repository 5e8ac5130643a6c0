//! What can go wrong with the store: who is at fault, and what to do.

use std::error::Error;
use std::io;
use std::path::PathBuf;

use tracing::warn;

/// The cause, as the database or the system put it.
pub(crate) type Cause = Box<dyn Error + Send + Sync>;

/// Why the store did not do it. No text holds a secret, nor the URL of a database.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the text of an error says what it is, and names its fields")]
pub enum StoreError {
    /// `memory:` keeps nothing.
    #[error("there is no store: set `[store] url` to `sqlite:FILE` or to the URL of a PostgreSQL database")]
    Memory,
    #[error("the store's folder {0} does not exist: make it, and give it to the user that dyngate runs as")]
    NoFolder(PathBuf),
    /// The URL cannot be understood; not repeated, since it may hold a password.
    #[error("the store's URL cannot be read: {0}")]
    Url(String),
    /// Down, out of reach, or locked by somebody else: it may work again soon.
    #[error("the store cannot be reached: {why}")]
    Unavailable { why: String, source: Option<Cause> },
    #[error(
        "the store {} is served by another gateway already ({by}), and an SQLite file belongs to one: stop that gateway, or give \
         this one a file of its own; only a PostgreSQL database serves several",
        path.display()
    )]
    Served {
        path: PathBuf,
        /// Which process does: `process 4711`.
        by: String,
    },
    #[error("the store does not let dyngate in: {why}")]
    Denied { why: String, source: Option<Cause> },
    /// Only read: whoever reads makes none.
    #[error(
        "there is no store {0} yet: the gateway makes it at its start, and so does the first account that is added"
    )]
    Missing(String),
    /// Only read: whoever reads does not bring it to its version.
    #[error(
        "the store is of an older dyngate (its schema has version {found}, this one needs {known}): restart the gateway in \
         this version, which brings the store to it; nothing was changed"
    )]
    Older { found: i64, known: i64 },
    #[error(
        "the store is of a newer dyngate (its schema has version {found}, this one knows {known}): run that version; \
         nothing was changed"
    )]
    Newer { found: i64, known: i64 },
    #[error(
        "the store is in use by gateways of an older dyngate ({them}): stop all of them first, since gateways of two versions \
         cannot share a store; nothing was changed"
    )]
    OlderGateways {
        /// Their sessions: `from 192.0.2.1, backend 4711`.
        them: String,
    },
    #[error("the store cannot be written: {why}")]
    ReadOnly { why: String, source: Option<Cause> },
    #[error("the store's disk is full: make room; nothing was changed")]
    Full { source: Option<Cause> },
    #[error("the store is broken: {why}")]
    Broken { why: String, source: Option<Cause> },
    /// Somebody's hand or a failing disk spoiled a row: the rest of the store serves.
    #[error("{what} cannot be read in the store: remove that account or host, and add it anew")]
    Unreadable {
        /// What of it: `a secret of account "router1"`.
        what: String,
    },
    #[error("{what} is already in the store")]
    Clash {
        /// What does: `account "router1"`.
        what: String,
    },
    #[error("the store has no {what}")]
    Unknown {
        /// What is missing: `host "home.dyn.example"`.
        what: String,
    },
    #[error("{what} {why}")]
    Unfit {
        /// Which value: `the description`.
        what: &'static str,
        /// What is wrong with it: `is longer than 200 characters`.
        why: String,
    },
    #[error("line {line}: {why}; nothing was imported")]
    BadLine { line: u64, why: String },
}

impl StoreError {
    pub(super) fn unavailable(why: impl Into<String>) -> Self {
        Self::Unavailable { why: why.into(), source: None }
    }

    pub(super) fn broken(why: impl Into<String>) -> Self {
        Self::Broken { why: why.into(), source: None }
    }
}

/// How the driver's cause follows is up to whoever shows it.
const NO_TLS: &str = "it answers, and TLS with it failed: its certificate, or `sslmode` and `sslrootcert` in the URL";
/// The value, unless its row cannot be read: that is told, and the others do not wait for it.
pub(super) fn readable<T>(read: Result<T, StoreError>) -> Option<T> {
    read.inspect_err(|error| warn!(%error, "a row of the store is passed over")).ok()
}

/// What the driver said, by the party at fault.
pub(super) fn classify(error: sqlx::Error) -> StoreError {
    let why = match &error {
        // The URL's, which may hold the password.
        sqlx::Error::Configuration(_) => return StoreError::Url("it names no database that can be used".into()),
        sqlx::Error::Database(said) => {
            let code = said.code().unwrap_or_default().into_owned();
            // SQLSTATE has five characters; SQLite's extended codes are shorter than a SQLSTATE of digits alone.
            return match code.parse::<u32>() {
                Ok(number) if code.len() < 5 => sqlite(number, error),
                _ => postgres(&code, error),
            };
        }
        sqlx::Error::Io(cause) if cause.kind() == io::ErrorKind::StorageFull => {
            return StoreError::Full { source: Some(Box::new(error)) };
        }
        // What rustls refuses: a certificate that it does not trust, a name that is not in it, no TLS at all.
        sqlx::Error::Io(cause) if cause.kind() == io::ErrorKind::InvalidData => NO_TLS,
        sqlx::Error::Tls(_) => NO_TLS,
        sqlx::Error::Io(cause) if cause.kind() == io::ErrorKind::PermissionDenied => {
            "the system does not let dyngate's user connect to its server"
        }
        sqlx::Error::Io(cause) if cause.kind() == io::ErrorKind::NotFound => {
            "there is no socket of a server where the URL says: is it running, and is that its folder?"
        }
        sqlx::Error::Io(_) => "the connection to its server failed; is it running?",
        sqlx::Error::PoolTimedOut => "no connection to it in time; its server is down or overloaded",
        sqlx::Error::PoolClosed => "it was closed",
        sqlx::Error::WorkerCrashed => "its connection ended",
        sqlx::Error::Protocol(_) => "its server spoke out of turn",
        _ => return StoreError::Unreadable { what: "a row".into() },
    };
    StoreError::Unavailable { why: why.into(), source: Some(Box::new(error)) }
}

/// By SQLite's result codes (sqlite.org/rescode.html): the low eight bits are the primary one.
fn sqlite(code: u32, error: sqlx::Error) -> StoreError {
    let source = Some(Box::new(error) as Cause);
    match (code & 0xff, code) {
        (5 | 6, _) => StoreError::Unavailable { why: "another process keeps its file locked".into(), source },
        (3 | 23, _) => StoreError::Denied { why: "the system refused access to its file".into(), source },
        (8, _) => StoreError::ReadOnly { why: "its file or folder is read-only".into(), source },
        // The shared memory beside the file could not grow: on a full disk nothing else fails first.
        (13, _) | (10, 4874) => StoreError::Full { source },
        (11, _) => StoreError::Broken { why: "its file is damaged: restore it from a copy".into(), source },
        (26, _) => StoreError::Broken { why: "its file is not an SQLite database".into(), source },
        (14, _) => StoreError::Unavailable {
            why: "its file cannot be opened: the folder must exist, and dyngate's user must be able to write in it"
                .into(),
            source,
        },
        (10, _) => StoreError::Unavailable { why: "its disk failed to read or write".into(), source },
        (1, _) => StoreError::Broken { why: "its tables are not those of dyngate".into(), source },
        _ => StoreError::Broken { why: "it refused the statement".into(), source },
    }
}

/// By PostgreSQL's SQLSTATE (its manual's appendix A).
fn postgres(code: &str, error: sqlx::Error) -> StoreError {
    let source = Some(Box::new(error) as Cause);
    let unavailable = |why: &str, source| StoreError::Unavailable { why: why.into(), source };
    match code {
        "53100" => StoreError::Full { source },
        "25006" => StoreError::ReadOnly { why: "its server takes no changes; is it a replica?".into(), source },
        "55P03" | "57014" | "25P03" => unavailable("another session keeps it locked", source),
        "40001" | "40P01" => unavailable("two changes met; try again", source),
        "3D000" => StoreError::Denied { why: "its server has no such database: create it".into(), source },
        "42501" => StoreError::Denied { why: "the role lacks a right: make it the database's owner".into(), source },
        "42P07" => StoreError::Broken {
            why: "the database has a table of another program: give dyngate a database of its own".into(),
            source,
        },
        "XX001" | "XX002" => StoreError::Broken { why: "its data are damaged: restore a copy".into(), source },
        _ => match code.get(..2).unwrap_or_default() {
            "08" | "57" => unavailable("its server is starting, stopping or gone", source),
            "53" => unavailable("its server is overloaded", source),
            "28" => StoreError::Denied { why: "its server refused the role or the password".into(), source },
            "42" => StoreError::Broken { why: "its tables are not those of dyngate".into(), source },
            _ => StoreError::Broken { why: "its server refused the statement".into(), source },
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_answers_is_not_called_down() {
        for (kind, words) in [
            (io::ErrorKind::InvalidData, "TLS with it failed"),
            (io::ErrorKind::PermissionDenied, "does not let"),
            (io::ErrorKind::NotFound, "no socket"),
            (io::ErrorKind::ConnectionRefused, "is it running?"),
        ] {
            let error = classify(sqlx::Error::Io(kind.into())).to_string();
            assert!(error.contains(words), "{error}");
        }
        assert!(classify(sqlx::Error::Tls("no".into())).to_string().contains("sslmode"));
    }
}
