//! Importing: the lines of an export, all of them or none.

use std::collections::HashSet;
use std::io;
use std::mem::{Discriminant, discriminant};

use super::line::{Line, ReservedLine, TokenLine, VERSION};
use super::session::{Purpose, ROWS, Work, text};
use super::{State, Store, StoreError, StoredAccount, StoredHost, record};
use crate::model::{Hostname, Timestamp};

/// How much an import brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Imported {
    pub accounts: u64,
    pub hosts: u64,
    pub tokens: u64,
}

/// Lines of one kind that follow each other, each with its number.
#[derive(Debug, Default)]
struct ImportBatch {
    kind: Option<Discriminant<Line>>,
    accounts: Vec<(u64, StoredAccount)>,
    hosts: Vec<(u64, StoredHost)>,
    tokens: Vec<(u64, TokenLine)>,
    states: Vec<(u64, (Hostname, State))>,
    reserved: Vec<(u64, ReservedLine)>,
    lines: usize,
}

/// Takes the lines, in one transaction; the first that is wrong undoes it.
pub(super) async fn import(
    store: &Store,
    lines: impl Iterator<Item = io::Result<String>> + Send,
) -> Result<Imported, StoreError> {
    let mut work = store.begin(Purpose::Administration).await?;
    work.allow_long_statements();
    let imported = fill(&mut work, lines).await?;
    work.changed_everything();
    work.commit().await?;
    Ok(imported)
}

async fn fill(work: &mut Work, lines: impl Iterator<Item = io::Result<String>> + Send) -> Result<Imported, StoreError> {
    let mut imported = Imported::default();
    let mut batch = ImportBatch::default();
    let mut started = false;
    for (text, number) in lines.zip(1..) {
        let bad = |why: String| StoreError::BadLine { line: number, why };
        let text = text.map_err(|error| bad(error.to_string()))?;
        if text.trim().is_empty() {
            continue;
        }
        let line = Line::read(&text).map_err(bad)?;
        match (&line, started) {
            (Line::Start(start), false) if (1..=VERSION).contains(&start.version) => {
                started = true;
                continue;
            }
            (Line::Start(start), false) => {
                return Err(bad(format!(
                    "an export of version {}; this dyngate reads up to version {VERSION}",
                    start.version
                )));
            }
            (Line::Start(_), true) => return Err(bad("a second first line".into())),
            (_, false) => return Err(bad("not an export: the first line has the kind \"dyngate-export\"".into())),
            (_, true) => {}
        }
        match &line {
            Line::Account(_) => imported.accounts += 1,
            Line::Host(_) => imported.hosts += 1,
            Line::Token(_) => imported.tokens += 1,
            Line::Start(_) | Line::State(_) | Line::Reserved(_) => {}
        }
        if batch.kind != Some(discriminant(&line)) || batch.lines == ROWS {
            std::mem::take(&mut batch).write(work).await?;
        }
        batch.add(number, line).map_err(bad)?;
    }
    if !started {
        return Err(StoreError::BadLine { line: 1, why: "not an export: it is empty".into() });
    }
    batch.write(work).await?;
    work.check_leaders().await?;
    Ok(imported)
}

impl ImportBatch {
    fn add(&mut self, number: u64, line: Line) -> Result<(), String> {
        (self.kind, self.lines) = (Some(discriminant(&line)), self.lines + 1);
        match line {
            Line::Start(_) => {}
            Line::Account(line) => self.accounts.push((number, line.check()?)),
            Line::Host(line) => self.hosts.push((number, line.check()?)),
            Line::Token(line) => self.tokens.push((number, line.check()?)),
            Line::State(line) => self.states.push((number, line.check()?)),
            Line::Reserved(line) => self.reserved.push((number, line.check()?)),
        }
        Ok(())
    }

    async fn write(self, work: &mut Work) -> Result<(), StoreError> {
        let Self { accounts, hosts, tokens, states, reserved, .. } = self;
        none_there(work, ACCOUNT, &accounts, |account| account.login.to_string()).await?;
        work.insert_accounts(accounts.iter().map(|(_, account)| account)).await?;

        all_there(work, ACCOUNT, &hosts, |host| host.login.to_string()).await?;
        none_there(work, HOST, &hosts, |host| host.name.to_string()).await?;
        work.insert_hosts(hosts.iter().map(|(_, host)| host)).await?;

        all_there(work, HOST, &tokens, |token| token.name.clone()).await?;
        none_there(work, TOKEN, &tokens, |token| token.digest.clone()).await?;
        let token = |(_, line): (u64, TokenLine)| {
            (line.digest, line.name, Timestamp(line.created), line.expires.map(Timestamp))
        };
        work.insert_tokens(tokens.into_iter().map(token)).await?;

        let mut names = HashSet::new();
        if let Some((line, (name, _))) = states.iter().find(|row| !names.insert(&row.1.0)) {
            return Err(StoreError::BadLine { line: *line, why: format!("a second state of \"{name}\"") });
        }
        // The file's hosts have a state here already: what was seen later stays.
        work.write(record::STATE, &states, |rows, (_, (name, state))| {
            rows.bind(name.to_string())
                .bind(state.addresses.v4.map(|address| address.to_string()))
                .bind(state.addresses.v6.map(|address| address.to_string()))
                .bind(state.verified.map(|at| at.0))
                .bind(state.last_update.map(|at| at.0))
                .bind(state.last_seen.map(|at| at.0))
                .bind(&state.last_outcome)
                .bind(&state.agent)
                .bind(state.source.map(|source| source.to_string()))
                // Of no use where no pending change moves with it.
                .bind(None::<i64>)
                .bind(None::<i64>)
        })
        .await?;
        work.reserve_imported(reserved.iter().map(|(_, line)| (line.login.as_str(), line.name.as_str()))).await
    }
}

/// A table and the column that tells its rows apart.
type KeyColumn = [&'static str; 2];

const ACCOUNT: KeyColumn = ["account", "login"];
const HOST: KeyColumn = ["host", "name"];
const TOKEN: KeyColumn = ["token", "digest"];

/// Which of `keys` are in the table.
async fn those_there(
    work: &mut Work,
    [table, column]: KeyColumn,
    keys: impl Iterator<Item = String>,
) -> Result<HashSet<String>, StoreError> {
    let keys: HashSet<_> = keys.collect();
    let there = format!("SELECT {column} FROM {table} WHERE {column} IN ({{text}})");
    let rows = work.of_names(&there, &Vec::from_iter(keys)).await?;
    rows.iter().map(|row| text(row, 0)).collect()
}

async fn none_there<T>(
    work: &mut Work,
    of: KeyColumn,
    rows: &[(u64, T)],
    key: impl Fn(&T) -> String,
) -> Result<(), StoreError> {
    let mut taken = those_there(work, of, rows.iter().map(|(_, row)| key(row))).await?;
    // The second of two in the same batch is one too many as well.
    match rows.iter().find(|(_, row)| !taken.insert(key(row))) {
        Some((line, row)) => {
            Err(StoreError::Clash { what: format!("{} \"{}\" of line {line}", of[0], key(row).escape_debug()) })
        }
        None => Ok(()),
    }
}

async fn all_there<T>(
    work: &mut Work,
    of: KeyColumn,
    rows: &[(u64, T)],
    key: impl Fn(&T) -> String,
) -> Result<(), StoreError> {
    let there = those_there(work, of, rows.iter().map(|(_, row)| key(row))).await?;
    match rows.iter().find(|(_, row)| !there.contains(&key(row))) {
        Some((line, row)) => {
            let why = format!("no {} \"{}\" before this line, nor in the store", of[0], key(row).escape_debug());
            Err(StoreError::BadLine { line: *line, why })
        }
        None => Ok(()),
    }
}
