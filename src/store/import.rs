//! Importing: the lines of an export, all of them or none.

use std::collections::HashSet;
use std::io;

use super::line::{Line, ReservedLine, TokenLine, VERSION};
use super::session::{Purpose, ROWS, Work, text};
use super::{State, Store, StoreError, StoredAccount, StoredHost, account, host, record, token};
use crate::model::Hostname;

/// How much an import brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Imported {
    /// Accounts.
    pub accounts: u64,
    /// Hosts.
    pub hosts: u64,
    /// Tokens.
    pub tokens: u64,
}

/// Lines of one kind that follow each other, each with its number.
#[derive(Debug)]
enum ImportBatch {
    Accounts(Vec<(u64, StoredAccount)>),
    Hosts(Vec<(u64, StoredHost)>),
    Tokens(Vec<(u64, TokenLine)>),
    States(Vec<(u64, (Hostname, State))>),
    Reserved(Vec<(u64, ReservedLine)>),
}

impl Store {
    /// Takes the lines of an export, in one transaction. What they hold must not be in the store yet, and an account must come
    /// before its hosts, a host before its tokens. Blank lines are passed over.
    ///
    /// # Errors
    /// [`StoreError::BadLine`] names the first line that is wrong; [`StoreError::Clash`] what is in the store already; or the
    /// store cannot be written. In each case nothing was imported.
    pub async fn import(&self, lines: impl Iterator<Item = io::Result<String>> + Send) -> Result<Imported, StoreError> {
        let mut work = self.begin(Purpose::Administration).await?;
        work.allow_long_statements();
        match fill(&mut work, lines).await {
            Ok(imported) => {
                work.changed_everything();
                work.commit().await?;
                Ok(imported)
            }
            Err(error) => {
                // What was wrong matters more than a connection that fails meanwhile.
                let _undone = work.abandon().await;
                Err(error)
            }
        }
    }
}

async fn fill(work: &mut Work, lines: impl Iterator<Item = io::Result<String>> + Send) -> Result<Imported, StoreError> {
    let mut imported = Imported::default();
    let mut batch: Option<ImportBatch> = None;
    let mut started = false;
    for (text, number) in lines.zip(1..) {
        let bad = |why: String| StoreError::BadLine { line: number, why };
        let text = text.map_err(|error| bad(error.to_string()))?;
        if text.trim().is_empty() {
            continue;
        }
        let line = Line::read(&text).map_err(bad)?;
        match (&line, started) {
            (Line::Start(start), false) if start.version == VERSION => {
                started = true;
                continue;
            }
            (Line::Start(start), false) => {
                return Err(bad(format!(
                    "an export of version {}; this dyngate reads version {VERSION}",
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
        if let Some(full) = ImportBatch::add(&mut batch, number, line).map_err(bad)? {
            full.write(work).await?;
        }
    }
    if !started {
        return Err(StoreError::BadLine { line: 1, why: "not an export: it is empty".into() });
    }
    if let Some(last) = batch {
        last.write(work).await?;
    }
    Ok(imported)
}

impl ImportBatch {
    /// Adds a checked line to `batch`, and hands back what it cannot join: another kind, or enough.
    fn add(batch: &mut Option<Self>, number: u64, line: Line) -> Result<Option<Self>, String> {
        let next = match line {
            Line::Start(_) => return Ok(None),
            Line::Account(line) => Self::Accounts(vec![(number, line.check()?)]),
            Line::Host(line) => Self::Hosts(vec![(number, line.check()?)]),
            Line::Token(line) => Self::Tokens(vec![(number, line.check()?)]),
            Line::State(line) => Self::States(vec![(number, line.check()?)]),
            Line::Reserved(line) => Self::Reserved(vec![(number, line.check()?)]),
        };
        Ok(match (batch.as_mut(), next) {
            (Some(Self::Accounts(rows)), Self::Accounts(row)) if rows.len() < ROWS => join(rows, row),
            (Some(Self::Hosts(rows)), Self::Hosts(row)) if rows.len() < ROWS => join(rows, row),
            (Some(Self::Tokens(rows)), Self::Tokens(row)) if rows.len() < ROWS => join(rows, row),
            (Some(Self::States(rows)), Self::States(row)) if rows.len() < ROWS => join(rows, row),
            (Some(Self::Reserved(rows)), Self::Reserved(row)) if rows.len() < ROWS => join(rows, row),
            (_, next) => batch.replace(next),
        })
    }

    async fn write(self, work: &mut Work) -> Result<(), StoreError> {
        match self {
            Self::Accounts(rows) => {
                work.none_there(ACCOUNT, &rows, |row| row.1.login.to_string()).await?;
                work.write(account::INSERT, 6, &rows, |query, row| account::bind(query, &row.1)).await
            }
            Self::Hosts(rows) => {
                work.all_there(ACCOUNT, &rows, |row| row.1.login.to_string()).await?;
                work.none_there(HOST, &rows, |row| row.1.name.to_string()).await?;
                work.write(host::INSERT, 7, &rows, |query, row| host::bind(query, &row.1)).await?;
                let names: Vec<_> = rows.into_iter().map(|(_, host)| host.name).collect();
                work.drop_pending(&names).await
            }
            Self::Tokens(rows) => {
                work.all_there(HOST, &rows, |row| row.1.name.clone()).await?;
                work.none_there(TOKEN, &rows, |row| row.1.digest.clone()).await?;
                work.write(token::INSERT, 4, &rows, |query, (_, line)| {
                    let query = query.bind(line.digest.clone()).bind(line.name.clone());
                    query.bind(line.created).bind(line.expires)
                })
                .await
            }
            Self::States(rows) => {
                let mut names = HashSet::new();
                if let Some((line, (name, _))) = rows.iter().find(|row| !names.insert(&row.1.0)) {
                    return Err(StoreError::BadLine { line: *line, why: format!("a second state of \"{name}\"") });
                }
                // The file's hosts have a state here already: what was seen later stays.
                work.write(record::STATE, 11, &rows, |query, (_, (name, state))| {
                    query
                        .bind(name.to_string())
                        .bind(state.addresses.v4.map(|address| address.to_string()))
                        .bind(state.addresses.v6.map(|address| address.to_string()))
                        .bind(state.verified.map(|at| at.0))
                        .bind(state.last_update.map(|at| at.0))
                        .bind(state.last_seen.map(|at| at.0))
                        .bind(state.last_outcome.clone())
                        .bind(state.agent.clone())
                        .bind(state.source.map(|source| source.to_string()))
                        // Of no use where no pending change moves with it.
                        .bind(None::<i64>)
                        .bind(None::<i64>)
                })
                .await
            }
            Self::Reserved(rows) => {
                work.reserve_imported(rows.iter().map(|(_, line)| (line.login.as_str(), line.name.as_str()))).await
            }
        }
    }
}

fn join<T>(rows: &mut Vec<T>, mut row: Vec<T>) -> Option<ImportBatch> {
    rows.append(&mut row);
    None
}

/// A table and the column that tells its rows apart.
struct KeyColumn {
    table: &'static str,
    column: &'static str,
}

const ACCOUNT: KeyColumn = KeyColumn { table: "account", column: "login" };
const HOST: KeyColumn = KeyColumn { table: "host", column: "name" };
const TOKEN: KeyColumn = KeyColumn { table: "token", column: "digest" };

impl Work {
    /// Which of the keys of `rows` are in the table.
    async fn those_there<T>(
        &mut self,
        KeyColumn { table, column }: KeyColumn,
        rows: &[(u64, T)],
        key: impl Fn(&(u64, T)) -> String,
    ) -> Result<HashSet<String>, StoreError> {
        let keys: HashSet<_> = rows.iter().map(key).collect();
        let keys: Vec<_> = keys.into_iter().collect();
        let there = format!("SELECT {column} FROM {table} WHERE {column} IN");
        let rows = self.listed([&there, ""], |query| query, &keys).await?;
        rows.iter().map(|row| text(row, 0)).collect()
    }

    async fn none_there<T>(
        &mut self,
        of: KeyColumn,
        rows: &[(u64, T)],
        key: impl Fn(&(u64, T)) -> String,
    ) -> Result<(), StoreError> {
        let what = of.table;
        let mut taken = self.those_there(of, rows, &key).await?;
        for row in rows {
            let key = key(row);
            // The second of two in the same batch is one too many as well.
            if !taken.insert(key.clone()) {
                return Err(StoreError::Clash { what: format!("{what} \"{}\" of line {}", key.escape_debug(), row.0) });
            }
        }
        Ok(())
    }

    async fn all_there<T>(
        &mut self,
        of: KeyColumn,
        rows: &[(u64, T)],
        key: impl Fn(&(u64, T)) -> String,
    ) -> Result<(), StoreError> {
        let what = of.table;
        let there = self.those_there(of, rows, &key).await?;
        match rows.iter().find(|row| !there.contains(&key(row))) {
            Some(row) => {
                let why = format!("no {what} \"{}\" before this line, nor in the store", key(row).escape_debug());
                Err(StoreError::BadLine { line: row.0, why })
            }
            None => Ok(()),
        }
    }
}
