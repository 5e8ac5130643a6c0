//! Why there is no demonstration, or no more, in words for someone who sees dyngate for the first time.

use std::io;
use std::path::PathBuf;

use super::{FIRST, START, ZONE};
use crate::app::AppError;
use crate::auth::NoRandomness;
use crate::config::Errors;
use crate::dns::{AskError, EncodeError};

/// Why there is no demonstration, or no more.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// No name server is installed.
    #[error(
        "no name server to show it with: neither knotd nor named is in {}\n\
         install one and try again:  sudo apt install knot\n\
         it is elsewhere:            dyngate demo --path FOLDER",
        shown(.0)
    )]
    Missing(Vec<PathBuf>),
    /// The scratch folder or a file in it.
    #[error("cannot write the files of the demonstration in {}: {source}; TMPDIR can name another folder", folder.display())]
    Folder {
        /// Where.
        folder: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// No port is free for UDP and TCP.
    #[error("cannot have a port of 127.0.0.1 for the name server: {0}")]
    Port(#[source] io::Error),
    /// The name server's process.
    #[error("cannot start {program}: {source}")]
    Start {
        /// What.
        program: String,
        /// What the system said.
        source: io::Error,
    },
    /// It runs and does not serve the zone.
    #[error("{program} runs, and does not serve {ZONE} within {START:?}: {source}")]
    NotServed {
        /// What.
        program: String,
        /// What it last answered.
        source: AskError,
    },
    /// It ended by itself.
    #[error("{program} has ended, and the demonstration with it; the end of its log:\n{log}")]
    Died {
        /// What.
        program: String,
        /// Its last lines.
        log: String,
    },
    /// Our own gateway listens, and not on an address.
    #[error("the gateway of the demonstration has no address; this is a mistake in dyngate")]
    NoAddress,
    /// Our own configuration.
    #[error("the demonstration's own configuration is wrong; please report this\n{0}")]
    Config(Errors),
    /// Our own zone.
    #[error("the demonstration's own zone cannot be asked for; please report this: {0}")]
    Zone(#[from] EncodeError),
    /// The gateway cannot start.
    #[error(transparent)]
    App(#[from] AppError),
    /// The update failed.
    #[error("the gateway answered \"{answer}\" in place of \"good {FIRST}\"; the end of the name server's log:\n{log}")]
    NotGood {
        /// What it answered.
        answer: String,
        /// The name server's last lines; the gateway's own stand on standard error.
        log: String,
    },
    /// The gateway did not answer.
    #[error("the gateway does not answer: {0}")]
    Silent(#[source] io::Error),
    /// The name server does not show what it acknowledged.
    #[error("the name server answered \"{0}\" in place of \"{FIRST}\"")]
    NotShown(String),
    /// No key can be made.
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
    /// Signals cannot be received.
    #[error("cannot wait for signals: {0}")]
    Signals(#[source] io::Error),
    /// What is shown cannot be written.
    #[error("cannot write to standard output: {0}")]
    Output(#[source] io::Error),
}

fn shown(folders: &[PathBuf]) -> String {
    folders.iter().map(|folder| folder.display().to_string()).collect::<Vec<_>>().join(":")
}
