//! What the commands on accounts and hosts have in common: the file, the store, standard output, and exit codes.

use std::io::{self, IsTerminal as _, Write as _};
use std::path::Path;
use std::time::Duration;

use clap::Args;
use secrecy::zeroize::Zeroizing;
use serde::Serialize;
use tokio::runtime::Builder;

use super::hash::{HashError, read_password};
use super::table::{clean, escaped};
use super::{ConfigFile, Ended, USAGE, fail, load, runtime};
use crate::config::Location;
use crate::operator::{At, Operator, OperatorError, Records};
use crate::store::StoreError;

/// What each of them takes.
#[derive(Debug, Args)]
pub(super) struct Common {
    #[command(flatten)]
    pub(super) file: ConfigFile,
    /// Print JSON
    #[arg(long, global = true)]
    pub(super) json: bool,
}

/// Why a command ends early.
#[derive(Debug, thiserror::Error)]
pub(super) enum CommandError {
    #[error(transparent)]
    Operator(#[from] OperatorError),
    #[error(transparent)]
    Password(#[from] HashError),
    #[error("cannot write to standard output: {0}")]
    Output(#[source] io::Error),
}

/// Runs `work` on the store that the configuration at `path` names.
pub(super) fn run(path: &Path, work: impl AsyncFnOnce(&Operator) -> Result<(), CommandError>) -> Ended {
    let config = load(path)?;
    if matches!(config.store.location, Location::Memory) {
        return Err(fail(USAGE, &format_args!("{}: {}", path.display(), StoreError::Memory)));
    }
    let runtime = runtime(Builder::new_current_thread())?;
    let done = runtime.block_on(async {
        let operator = Operator::open(config, path).await?;
        let done = work(&operator).await;
        operator.close().await;
        done
    });
    match done {
        Ok(()) => Ok(()),
        // Who reads has seen enough.
        Err(CommandError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(CommandError::Operator(error)) if error.is_closed_pipe() => Ok(()),
        Err(error) => {
            let code = match &error {
                CommandError::Operator(error) if error.at() == At::Caller => USAGE,
                CommandError::Password(HashError::Empty | HashError::TooLong) => USAGE,
                CommandError::Operator(_) | CommandError::Password(_) | CommandError::Output(_) => 1,
            };
            Err(fail(code, &clean(&error.to_string())))
        }
    }
}

/// Writes `text` to standard output.
pub(super) fn print(text: &str) -> Result<(), CommandError> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(CommandError::Output)
}

/// Writes one JSON value on a line.
pub(super) fn print_json(value: &impl Serialize) -> Result<(), CommandError> {
    print(&format!("{}\n", json(value)?))
}

/// Writes an array as it comes, a value a line.
pub(super) struct JsonArray {
    is_empty: bool,
}

impl JsonArray {
    pub(super) fn begin() -> Result<Self, CommandError> {
        print("[")?;
        Ok(Self { is_empty: true })
    }

    pub(super) fn extend<T: Serialize>(&mut self, values: impl IntoIterator<Item = T>) -> Result<(), CommandError> {
        let mut text = String::new();
        for value in values {
            text.push_str(if std::mem::take(&mut self.is_empty) { "\n" } else { ",\n" });
            text.push_str(&json(&value)?);
        }
        print(&text)
    }

    pub(super) fn end(self) -> Result<(), CommandError> {
        print(if self.is_empty { "]\n" } else { "\n]\n" })
    }
}

fn json(value: &impl Serialize) -> Result<String, CommandError> {
    let text = serde_json::to_string(value).map_err(|error| CommandError::Output(error.into()))?;
    Ok(escaped(&text))
}

/// Tells people what a result does not say, on standard error.
pub(super) fn note(text: &str) {
    let _stderr_gone = writeln!(io::stderr(), "dyngate: {}", clean(text));
}

/// What became of records, `done` where a gateway has done it.
pub(super) fn note_records(what: &str, done: &str, records: Records) {
    match records {
        Records::Untouched => {}
        Records::Done => note(&format!("{what}: {done}")),
        Records::Waiting => {
            note(&format!(
                "{what}: waits for the gateway, which does it at its next start or when its primary answers"
            ));
        }
    }
}

/// The password of `--password-stdin`.
pub(super) fn password(from_stdin: bool) -> Result<Option<Zeroizing<String>>, CommandError> {
    if !from_stdin {
        return Ok(None);
    }
    if io::stdin().is_terminal() {
        let _stderr_gone = write!(io::stderr(), "Password: ");
    }
    Ok(Some(read_password(io::stdin().lock())?))
}

/// A duration as the configuration writes it.
///
/// # Errors
/// What would be right.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    crate::config::parse_duration(text).ok_or_else(|| "write an integer with ms, s, m, h or d, such as 1h".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_those_of_the_configuration() {
        assert_eq!(duration("1h"), Ok(Duration::from_secs(3600)));
        for text in ["", "1", "h", "1 h", "-1h", "1w"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
