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
pub(crate) enum DemoError {
    #[error(
        "no name server to show it with: neither knotd nor named is in {}\n\
         install one and try again:  sudo apt install knot\n\
         it is elsewhere:            dyngate demo --path FOLDER",
        shown(.0)
    )]
    Missing(Vec<PathBuf>),
    #[error("cannot write the files of the demonstration in {}: {source}; TMPDIR can name another folder", folder.display())]
    Folder { folder: PathBuf, source: io::Error },
    #[error("cannot have a port of 127.0.0.1 for the name server: {0}")]
    Port(#[source] io::Error),
    #[error("cannot start {program}: {source}")]
    Start { program: String, source: io::Error },
    #[error("{program} runs, and does not serve {ZONE} within {START:?}: {source}")]
    NotServed { program: String, source: AskError },
    #[error("{program} has ended, and the demonstration with it; the end of its log:\n{log}")]
    Died { program: String, log: String },
    #[error("the gateway of the demonstration has no address; this is a mistake in dyngate")]
    NoAddress,
    #[error("the demonstration's own configuration is wrong; please report this\n{0}")]
    Config(Errors),
    #[error("the demonstration's own zone cannot be asked for; please report this: {0}")]
    Zone(#[from] EncodeError),
    #[error(transparent)]
    App(#[from] AppError),
    #[error("the gateway answered \"{answer}\" in place of \"good {FIRST}\"; the end of the name server's log:\n{log}")]
    NotGood { answer: String, log: String },
    #[error("the gateway does not answer: {0}")]
    Silent(#[source] io::Error),
    #[error("the name server answered \"{0}\" in place of \"{FIRST}\"")]
    NotShown(String),
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
    #[error("cannot wait for signals: {0}")]
    Signals(#[source] io::Error),
    #[error("cannot write to standard output: {0}")]
    Output(#[source] io::Error),
}

fn shown(folders: &[PathBuf]) -> String {
    folders.iter().map(|folder| folder.display().to_string()).collect::<Vec<_>>().join(":")
}
