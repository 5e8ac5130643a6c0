//! What the commands on accounts and hosts have in common: the file, the store, standard output, and exit codes.

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use secrecy::zeroize::Zeroizing;
use serde::Serialize;
use tokio::runtime::Builder;

use super::hash::{HashCommandError, prompt, read_password};
use super::table::{Cell, Paint, Table};
use super::{CommandResult, ConfigFile, USAGE, fail, load, log, runtime};
use crate::config::Location;
use crate::model::{clean, escaped};
use crate::operator::{Access, Actor, Cursor, Operator, OperatorError, Page, RecordsState, RefusalKind, Resource};
use crate::store::{RecordsPolicy, StoreError};

#[derive(Debug, Args)]
pub(super) struct Common {
    #[command(flatten)]
    pub(super) file: ConfigFile,
    /// Print JSON
    #[arg(long, global = true)]
    pub(super) json: bool,
}

impl Common {
    pub(super) fn output(&self) -> Output {
        Output { is_json: self.json }
    }
}

#[derive(Debug, thiserror::Error)]
pub(super) enum CommandError {
    #[error(transparent)]
    Operator(#[from] OperatorError),
    #[error(transparent)]
    Password(#[from] HashCommandError),
    #[error("cannot write to standard output: {0}")]
    Output(#[source] io::Error),
}

/// Runs `work` on the store that the configuration names.
pub(super) fn run(
    common: &Common,
    access: Access,
    work: impl AsyncFnOnce(&Operator, &Actor, Output) -> Result<(), CommandError>,
) -> CommandResult {
    log::start(log::Format::Text, "warn").map_err(|error| fail(USAGE, &error))?;
    let path = &common.file.config;
    let config = load(path)?;
    if matches!(config.store.location, Location::Memory) {
        return Err(fail(USAGE, &format_args!("{}: {}", path.display(), StoreError::Memory)));
    }
    let sudo_user = std::env::var("SUDO_USER").ok();
    let actor = Actor::Command { uid: rustix::process::getuid().as_raw(), sudo_user };
    let runtime = runtime(Builder::new_current_thread())?;
    let done = runtime.block_on(async {
        let operator = Operator::open(config, path, access).await?;
        let done = work(&operator, &actor, common.output()).await;
        operator.close().await;
        done
    });
    match done {
        Ok(()) => Ok(()),
        // Whoever reads has seen enough.
        Err(CommandError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(CommandError::Operator(error)) if error.is_closed_pipe() => Ok(()),
        Err(CommandError::Operator(error)) => Err(refused(&error)),
        Err(error) => {
            let is_typed = matches!(error, CommandError::Password(HashCommandError::Empty | HashCommandError::TooLong));
            Err(fail(if is_typed { USAGE } else { 1 }, &clean(&error.to_string())))
        }
    }
}

pub(super) fn refused(error: &OperatorError) -> ExitCode {
    let advice = match error {
        OperatorError::Missing(Resource::Account(_)) => "`dyngate account list` shows those that there are".to_owned(),
        OperatorError::Missing(Resource::Host(_)) => "`dyngate host list` shows those that there are".to_owned(),
        OperatorError::Missing(Resource::Grant { login, .. }) => {
            format!("`dyngate account show {login}` shows what it has")
        }
        OperatorError::AlsoDeclared { .. } => "remove the store's with --keep-records".to_owned(),
        OperatorError::Wildcard(text) => format!("grant a wildcard with `dyngate account grant LOGIN '{text}'`"),
        OperatorError::Taken { name, .. } => {
            format!("`dyngate host move {name} --to LOGIN` gives it to another account, its records untouched")
        }
        OperatorError::Occupied { .. } => "choose another name, or take them over with --adopt".to_owned(),
        OperatorError::Unanswered { .. } | OperatorError::Unwilling { .. } => {
            "`dyngate check` says what to mend; nothing was changed".to_owned()
        }
        _ => String::new(),
    };
    let code = if error.kind() == RefusalKind::Unavailable { 1 } else { USAGE };
    let between = if advice.is_empty() { "" } else { ": " };
    fail(code, &clean(&format!("{error}{between}{advice}")))
}

/// What is printed on standard output: JSON, or text for people.
#[derive(Debug, Clone, Copy)]
pub(super) struct Output {
    is_json: bool,
}

impl Output {
    pub(super) fn one<T: Serialize>(self, value: &T, text: impl FnOnce(&T) -> String) -> Result<(), CommandError> {
        if self.is_json { print(&format!("{}\n", json(value)?)) } else { print(&text(value)) }
    }

    /// A list as it comes, page by page: a table, or an array with a value a line.
    pub(super) async fn pages<T: Serialize, const N: usize>(
        self,
        titles: [&'static str; N],
        row: impl Fn(&T) -> [Cell; N],
        mut read: impl AsyncFnMut(Option<Cursor>) -> Result<Page<T>, CommandError>,
    ) -> Result<(), CommandError> {
        let mut table = Table::new(titles, Paint::stdout());
        let mut between = "[\n";
        let mut page = read(None).await?;
        loop {
            let mut text = String::new();
            if self.is_json {
                for value in &page.items {
                    text = text + between + &json(value)?;
                    between = ",\n";
                }
            } else {
                text = table.page(&page.items.iter().map(&row).collect::<Vec<_>>());
            }
            print(&text)?;
            match page.next {
                None => break,
                next => page = read(next).await?,
            }
        }
        match (self.is_json, between) {
            (false, _) => Ok(()),
            (true, "[\n") => print("[]\n"),
            (true, _) => print("\n]\n"),
        }
    }
}

pub(super) fn print(text: &str) -> Result<(), CommandError> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(CommandError::Output)
}

fn json(value: &impl Serialize) -> Result<String, CommandError> {
    let text = serde_json::to_string(value).map_err(|error| CommandError::Output(error.into()))?;
    Ok(escaped(&text))
}

/// Where it is changed.
pub(super) fn kept_in(declared: bool) -> &'static str {
    if declared { "file" } else { "store" }
}

pub(super) fn records_policy(keep_records: bool) -> RecordsPolicy {
    if keep_records { RecordsPolicy::Keep } else { RecordsPolicy::Remove }
}

/// Tells people what a result does not say, on standard error.
pub(super) fn note(text: &str) {
    let _stderr_gone = writeln!(io::stderr(), "dyngate: {}", clean(text));
}

/// What became of records, `done` where a gateway has done it.
pub(super) fn note_records(what: &str, done: &str, records: RecordsState) {
    match records {
        RecordsState::Untouched => {}
        RecordsState::Done => note(&format!("{what}: {done}")),
        RecordsState::Pending => {
            note(&format!(
                "{what}: waits for the gateway, which does it at its next start or when its primary answers"
            ));
        }
    }
}

pub(super) fn password(from_stdin: bool) -> Result<Option<Zeroizing<String>>, CommandError> {
    if !from_stdin {
        return Ok(None);
    }
    prompt();
    Ok(Some(read_password(io::stdin().lock())?))
}

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
