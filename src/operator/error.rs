//! Why something was refused: what is in the way, and who can do something about it. Knows no command.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;

use crate::auth::{NoRandomness, secret};
use crate::model::{Hostname, NameError};
use crate::store::StoreError;

/// What kind of refusal it is: who can do something about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalKind {
    /// There is no such thing.
    NotFound,
    /// It meets something that is there already.
    Conflict,
    /// The file declares it, and only its editor may change it.
    ReadOnly,
    /// What was asked for can never be.
    Invalid,
    /// The store, the primary or the machine does not serve now: the same may work later.
    Unavailable,
}

/// What is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resource {
    /// An account, by its login.
    Account(String),
    /// A host.
    Host(Hostname),
    /// A grant.
    Grant {
        /// To whom.
        login: String,
        /// Of what.
        text: String,
    },
}

/// What was done, or why nothing was.
pub type Result<T, E = OperatorError> = std::result::Result<T, E>;

/// Why nothing was changed. No text holds a secret, and none names a command.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the text of an error says what it is, and names its fields")]
pub enum OperatorError {
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The file declares it, and only its editor may change it.
    #[error("{what} is declared in {}: {advice}", file.display())]
    Declared { what: String, file: PathBuf, advice: String },
    /// The file declares it too, so that its records are not the store's to remove.
    #[error("host {name} is declared in {} too, and its records are the declared one's", file.display())]
    AlsoDeclared { name: Hostname, file: PathBuf },
    #[error("there is no {0}")]
    Missing(Resource),
    /// It has no settings that could be changed.
    #[error(
        "{name} is no host of its own, but below a wildcard that account \"{}\" is granted: grant it that name by itself first",
        login.escape_debug()
    )]
    BelowWildcard { name: Hostname, login: String },
    #[error("\"{}\" is not a host name: {why}", text.escape_debug())]
    BadName { text: String, why: NameError },
    /// A wildcard where one name is needed.
    #[error("\"{0}\" is not one name")]
    Wildcard(String),
    #[error("no [[zone]] of {} holds {name}: the zones there are {zones}", file.display())]
    NoZone { name: String, file: PathBuf, zones: String },
    #[error("{name} is a host of account \"{owner}\" already")]
    Taken { name: Hostname, owner: String },
    /// It would never be served.
    #[error("{name} {why}, so its address would never be served: mend the zone, or choose another name")]
    Hidden { name: Hostname, why: String },
    /// Somebody else put addresses there.
    #[error(
        "{name} has {} in the zone already, which the account's first update would replace{}{}",
        list(addresses),
        if *leaving { " (they still wait for a gateway to remove them, since the host was removed)" } else { "" },
        user.as_ref().map(|login| format!("; a router of account {login:?} keeps them up, below a wildcard")).unwrap_or_default()
    )]
    Occupied { name: Hostname, addresses: Vec<IpAddr>, leaving: bool, user: Option<String> },
    #[error("{address} is refused: `[addresses] refuse` covers it, and zone {zone} has no `allow` for it")]
    RefusedAddress { address: IpAddr, zone: String },
    #[error("{0} and {1} are of one family: a host has at most one IPv4 and one IPv6 address")]
    TwoOfAFamily(IpAddr, IpAddr),
    /// A text that says nothing.
    #[error("{0} is empty")]
    Empty(&'static str),
    /// Nobody could be asked about the name.
    #[error("no primary of zone {zone} answers, so nobody can say whether {name} is free ({why})")]
    Unanswered { zone: String, name: Hostname, why: String },
    /// The primary does not work with the zone's key.
    #[error("{primary} does not say whether {name} is free: {why}")]
    Unwilling { primary: String, name: Hostname, why: String },
    #[error("cannot {action} {}: {source}", file.display())]
    File { action: &'static str, file: PathBuf, source: io::Error },
    #[error("cannot write the export: {0}")]
    Write(#[source] io::Error),
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
    #[error("the password cannot be hashed")]
    Hash,
}

impl OperatorError {
    /// What kind of refusal it is.
    pub fn kind(&self) -> RefusalKind {
        match self {
            Self::Store(error) => match error {
                StoreError::Unknown { .. } => RefusalKind::NotFound,
                StoreError::Memory | StoreError::Clash { .. } => RefusalKind::Conflict,
                StoreError::Url(_) | StoreError::Unfit { .. } | StoreError::BadLine { .. } => RefusalKind::Invalid,
                StoreError::NoFolder(_)
                | StoreError::Served { .. }
                | StoreError::Unavailable { .. }
                | StoreError::Denied { .. }
                | StoreError::Missing(_)
                | StoreError::Older { .. }
                | StoreError::Newer { .. }
                | StoreError::OlderGateways { .. }
                | StoreError::ReadOnly { .. }
                | StoreError::Full { .. }
                | StoreError::Broken { .. }
                | StoreError::Unreadable { .. } => RefusalKind::Unavailable,
            },
            Self::Missing(_) => RefusalKind::NotFound,
            Self::BelowWildcard { .. } | Self::Taken { .. } | Self::Hidden { .. } | Self::Occupied { .. } => {
                RefusalKind::Conflict
            }
            Self::Declared { .. } | Self::AlsoDeclared { .. } => RefusalKind::ReadOnly,
            Self::BadName { .. }
            | Self::Wildcard(_)
            | Self::NoZone { .. }
            | Self::RefusedAddress { .. }
            | Self::TwoOfAFamily(..)
            | Self::Empty(_) => RefusalKind::Invalid,
            Self::File { source, .. } => match source.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::IsADirectory => RefusalKind::Invalid,
                _ => RefusalKind::Unavailable,
            },
            Self::Unanswered { .. } | Self::Unwilling { .. } | Self::Write(_) | Self::Randomness(_) | Self::Hash => {
                RefusalKind::Unavailable
            }
        }
    }

    /// Whether whoever read the output has gone.
    pub fn is_closed_pipe(&self) -> bool {
        matches!(self, Self::Write(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Account(login) => write!(f, "account {login:?}"),
            Self::Host(name) => write!(f, "host {name}"),
            Self::Grant { login, text } => write!(f, "grant of {text} to account {login:?}"),
        }
    }
}

impl From<secret::HashError> for OperatorError {
    fn from(error: secret::HashError) -> Self {
        match error {
            secret::HashError::Randomness(error) => Self::Randomness(error),
            secret::HashError::Argon2(_) => Self::Hash,
        }
    }
}

fn list(addresses: &[IpAddr]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
