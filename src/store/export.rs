//! Exporting: the store of one moment, as lines.

use std::collections::{HashSet, VecDeque};

use sqlx::any::AnyRow;
use tracing::warn;

use super::account_row::{name, read_account, read_host};
use super::error::readable;
use super::line::{HostLine, Line, ReservedLine, StartLine, StateLine, TokenLine, VERSION};
use super::session::{Purpose, Work, number, optional_number, statement, text};
use super::{Store, StoreError, account, state};

/// Rows that are read at once.
const PAGE: i64 = 1000;
/// The stage of the hosts.
const HOSTS: usize = 1;

/// A page of rows after a key, and how a row becomes a line.
struct ExportStage {
    page: &'static str,
    // The parts of the key that every row comes after; a row begins with its own.
    first: &'static [&'static str],
    read: fn(&AnyRow) -> Result<Line, StoreError>,
}

/// What is exported, in this order: an account comes before its hosts, a host before its tokens. Pending
/// changes stay behind, since they are made where they were accepted, and so does the history.
const STAGES: [ExportStage; 5] = [
    ExportStage { page: account::ACCOUNTS, first: &[""], read: |row| Ok(Line::Account((&read_account(row)?).into())) },
    ExportStage { page: account::HOSTS, first: &[""], read: |row| Ok(Line::Host(HostLine::from(&read_host(row)?))) },
    ExportStage {
        page: "SELECT digest, name, created, expires FROM token WHERE digest > $1 ORDER BY digest LIMIT $2",
        first: &[""],
        read: |row| {
            let (digest, name) = (text(row, 0)?, name(row, 1)?.to_string());
            let (created, expires) = (number(row, 2)?, optional_number(row, 3)?);
            Ok(Line::Token(TokenLine { name, digest, created, expires }))
        },
    },
    ExportStage {
        page: "SELECT name, ipv4, ipv6, verified, last_update, last_seen, last_outcome, agent, \
               source FROM state WHERE name > $1 ORDER BY name LIMIT $2",
        first: &[""],
        read: |row| {
            let (name, state) = state::read(row)?;
            Ok(Line::State(StateLine::new(&name, &state)))
        },
    },
    ExportStage {
        page: "SELECT login, name FROM reserved WHERE (login, name) > ($1, $2) ORDER BY login, name LIMIT $3",
        first: &["", ""],
        read: |row| Ok(Line::Reserved(ReservedLine { login: text(row, 0)?, name: name(row, 1)?.to_string() })),
    },
];

/// A store on its way to a file. While it lives, an SQLite store's log grows with what is written.
#[derive(Debug)]
pub struct Export {
    work: Option<Work>,
    stage: usize,
    after: Vec<String>,
    lines: VecDeque<String>,
    // Of each stage, what cannot be read.
    left_out: HashSet<(usize, String)>,
    accounts: HashSet<String>,
}

impl Export {
    pub(super) async fn begin(store: &Store) -> Result<Self, StoreError> {
        let mut work = store.begin(Purpose::Snapshot).await?;
        work.allow_long_statements();
        // A snapshot is of the moment of its first statement, not of its BEGIN.
        work.row(statement("SELECT MAX(id) FROM change")).await?;
        let start = Line::Start(StartLine { version: VERSION }).write()?;
        let (left_out, accounts) = (HashSet::new(), HashSet::new());
        Ok(Self { work: Some(work), stage: 0, after: Vec::new(), lines: VecDeque::from([start]), left_out, accounts })
    }

    /// The next line, without an end of line; `None` after the last one.
    ///
    /// # Errors
    /// The store cannot be read, and the export is to be begun again.
    pub async fn next(&mut self) -> Result<Option<String>, StoreError> {
        while self.lines.is_empty() {
            let (Some(stage), Some(work)) = (STAGES.get(self.stage), &mut self.work) else {
                if let Some(work) = self.work.take() {
                    work.abandon().await?;
                }
                return Ok(None);
            };
            if self.after.is_empty() {
                self.after = stage.first.iter().map(ToString::to_string).collect();
            }
            let page = self.after.iter().fold(statement(stage.page), |page, part| page.bind(part.clone()));
            let rows = work.rows(page.bind(PAGE)).await?;
            let before = self.after.clone();
            for row in &rows {
                let key = (0..stage.first.len()).map(|column| text(row, column)).collect::<Result<Vec<_>, _>>();
                let Some(key) = readable(key) else { continue };
                match readable((stage.read)(row)).filter(|line| self.is_whole(line)) {
                    Some(line) => self.lines.push_back(line.write()?),
                    None => drop(self.left_out.insert((self.stage, key.first().cloned().unwrap_or_default()))),
                }
                self.after = key;
            }
            if self.after == before {
                self.stage += 1;
                self.after.clear();
            }
        }
        Ok(self.lines.pop_front())
    }

    /// Whether what it needs is exported too: no import takes a host without its account. What cannot be read stays behind, with
    /// a warning, and all that is its own.
    fn is_whole(&mut self, line: &Line) -> bool {
        match line {
            Line::Account(account) => self.accounts.insert(account.login.clone()),
            Line::Host(host) if !self.accounts.contains(&host.account) => {
                warn!(host = host.name, "is left out of the export: its account cannot be read");
                false
            }
            Line::Token(token) => !self.left_out.contains(&(HOSTS, token.name.clone())),
            Line::Start(_) | Line::Host(_) | Line::State(_) | Line::Reserved(_) => true,
        }
    }
}
