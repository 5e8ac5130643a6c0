//! One statement after the other: each with a limit of time, writers in transactions that are undone unless committed.

use std::future::Future;
use std::time::Duration;

use sqlx::any::{AnyArguments, AnyRow};
use sqlx::pool::PoolConnection;
use sqlx::query::Query;
use sqlx::{Any, AnyPool, AssertSqlSafe, Row as _};
use tokio::time::timeout;

use super::error::{StoreError, classify};
use super::feed::{self, Subject};
use crate::model::{Hostname, Timestamp};

/// A statement with what was bound to it.
pub(super) type Statement = Query<'static, Any, AnyArguments>;

/// The longest wait for one statement: more than SQLite waits for a lock, and than PostgreSQL is told to.
const LIMIT: Duration = Duration::from_secs(6);
/// The same for a statement that moves a whole store.
const LONG: Duration = Duration::from_secs(600);
/// How many rows are written or asked for by one statement: SQLite takes 32 766 values in one, PostgreSQL 65 535, and both
/// need longer to understand a statement than to run it.
pub(super) const ROWS: usize = 500;

const CLOCK: &str = "SELECT (EXTRACT(EPOCH FROM clock_timestamp()) * 1000)::BIGINT";

/// Which database it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Database {
    Sqlite,
    Postgres,
}

/// What a transaction is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Accounts, hosts and secrets: on the disk before it returns, and one at a time, so that what was read in it stays true.
    Administration,
    /// What is still to be done: on the disk before it returns, for what came back after it was over would undo newer changes.
    Pending,
    /// What was seen: a power cut may take the last moments of it from SQLite, a killed process nothing.
    Recording,
    /// Reading many pages of one moment.
    Snapshot,
}

impl Purpose {
    fn begin(self, database: Database) -> &'static str {
        match (database, self) {
            (Database::Sqlite, Self::Administration | Self::Pending) => "PRAGMA synchronous = FULL; BEGIN IMMEDIATE",
            (Database::Sqlite, Self::Recording) => "PRAGMA synchronous = NORMAL; BEGIN IMMEDIATE",
            (Database::Sqlite, Self::Snapshot) => "BEGIN",
            // The lock also makes the feed's numbers appear in their order. The time-outs free it from one that vanished.
            (Database::Postgres, Self::Administration) => {
                "BEGIN; SET LOCAL lock_timeout = '5s'; SET LOCAL idle_in_transaction_session_timeout = '30s'; \
                 SELECT pg_advisory_xact_lock(7310579629843408741)"
            }
            (Database::Postgres, Self::Pending | Self::Recording) => {
                "BEGIN; SET LOCAL lock_timeout = '5s'; SET LOCAL idle_in_transaction_session_timeout = '30s'"
            }
            (Database::Postgres, Self::Snapshot) => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        }
    }
}

/// A statement that is prepared once and kept.
pub(super) fn statement(sql: &'static str) -> Statement {
    sqlx::query(sql)
}

/// A statement of the caller's making, from texts of this room alone, in which `?` is the place of a value; not kept.
pub(super) fn composed(database: Database, sql: String) -> Statement {
    let sql = match database {
        // To SQLite `$1` is a name, and it looks through all of them for each; a thousand rows would take it seconds.
        Database::Sqlite => sql,
        Database::Postgres => numbered(&sql),
    };
    sqlx::query(AssertSqlSafe(sql)).persistent(false)
}

/// `$1`, `$2`, `$3` for each `?`.
fn numbered(sql: &str) -> String {
    let mut parts = sql.split('?');
    let mut numbered = parts.next().unwrap_or_default().to_owned();
    for (before, part) in parts.enumerate() {
        numbered.push_str(&format!("${}", before + 1));
        numbered.push_str(part);
    }
    numbered
}

/// `(?, ?, ?)`
pub(super) fn places(count: usize) -> String {
    format!("({})", vec!["?"; count].join(", "))
}

/// For each few hundred of `names` a statement: `before`, a list of places for them, `after`. `bind` binds the values of `before`.
pub(super) fn listing<N: ToString>(
    database: Database,
    [before, after]: [&str; 2],
    bind: impl Fn(Statement) -> Statement,
    names: &[N],
) -> Vec<Statement> {
    let of_some = |names: &[N]| {
        let statement = bind(composed(database, format!("{before} {} {after}", places(names.len()))));
        names.iter().fold(statement, |statement, name| statement.bind(name.to_string()))
    };
    names.chunks(ROWS).map(of_some).collect()
}

/// How many rows a page may have, as SQL counts.
pub(super) fn at_most(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// Waits for `answer` no longer than `limit`.
async fn within<T>(limit: Duration, answer: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, StoreError> {
    match timeout(limit, answer).await {
        Ok(answer) => answer.map_err(classify),
        Err(_) => Err(StoreError::unavailable(format!("it did not answer within {} s", limit.as_secs()))),
    }
}

/// A connection of a pool, which goes back to it only after it has answered in time.
#[derive(Debug)]
pub(super) struct Session {
    connection: PoolConnection<Any>,
    limit: Duration,
    // Asked, and not answered yet: the connection is of no use to others.
    waiting: bool,
}

impl Session {
    pub(super) async fn new(pool: &AnyPool) -> Result<Self, StoreError> {
        let connection = within(LIMIT, pool.acquire()).await?;
        Ok(Self { connection, limit: LIMIT, waiting: false })
    }

    pub(super) async fn rows(&mut self, statement: Statement) -> Result<Vec<AnyRow>, StoreError> {
        self.waiting = true;
        let rows = within(self.limit, statement.fetch_all(&mut *self.connection)).await?;
        self.waiting = false;
        Ok(rows)
    }

    pub(super) async fn row(&mut self, statement: Statement) -> Result<Option<AnyRow>, StoreError> {
        self.waiting = true;
        let row = within(self.limit, statement.fetch_optional(&mut *self.connection)).await?;
        self.waiting = false;
        Ok(row)
    }

    /// How many rows it wrote.
    pub(super) async fn run(&mut self, statement: Statement) -> Result<u64, StoreError> {
        self.waiting = true;
        let done = within(self.limit, statement.execute(&mut *self.connection)).await?;
        self.waiting = false;
        Ok(done.rows_affected())
    }

    /// Statements without anything bound to them.
    pub(super) async fn script(&mut self, sql: &'static str) -> Result<(), StoreError> {
        self.waiting = true;
        within(self.limit, sqlx::raw_sql(sql).execute(&mut *self.connection)).await?;
        self.waiting = false;
        Ok(())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if self.waiting {
            self.connection.close_on_drop();
        }
    }
}

/// The store's clock, and ours before and after it was read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clocks {
    pub(super) theirs: Timestamp,
    before: Timestamp,
    after: Timestamp,
}

impl Clocks {
    /// The earliest that a moment of ours may be by the store's clock.
    pub(super) fn earliest(&self, ours: Timestamp) -> Timestamp {
        ours.by(self.theirs, self.after)
    }

    /// The latest.
    pub(super) fn latest(&self, ours: Timestamp) -> Timestamp {
        ours.by(self.theirs, self.before)
    }

    /// The earliest that a moment of the store's may be by ours.
    pub(super) fn ours(&self, theirs: Timestamp) -> Timestamp {
        theirs.by(self.before, self.theirs)
    }
}

/// A transaction; dropped, it is undone with its connection.
#[derive(Debug)]
pub(super) struct Work {
    session: Session,
    database: Database,
    changes: Vec<Subject>,
    everything: bool,
}

impl Work {
    pub(super) async fn begin(mut session: Session, database: Database, purpose: Purpose) -> Result<Self, StoreError> {
        session.script(purpose.begin(database)).await?;
        session.waiting = true;
        Ok(Self { session, database, changes: Vec::new(), everything: false })
    }

    pub(super) fn database(&self) -> Database {
        self.database
    }

    pub(super) async fn rows(&mut self, statement: Statement) -> Result<Vec<AnyRow>, StoreError> {
        let rows = self.session.rows(statement).await;
        self.session.waiting = true;
        rows
    }

    pub(super) async fn row(&mut self, statement: Statement) -> Result<Option<AnyRow>, StoreError> {
        let row = self.session.row(statement).await;
        self.session.waiting = true;
        row
    }

    /// How many rows it wrote.
    pub(super) async fn run(&mut self, statement: Statement) -> Result<u64, StoreError> {
        let written = self.session.run(statement).await;
        self.session.waiting = true;
        written
    }

    /// Each of the `rows` through one statement of many rows: `before`, the rows' places, `after`.
    pub(super) async fn write<T>(
        &mut self,
        [before, after]: [&str; 2],
        columns: usize,
        rows: &[T],
        bind: impl Fn(Statement, &T) -> Statement,
    ) -> Result<(), StoreError> {
        self.write_returning([before, after], columns, rows, bind).await.map(drop)
    }

    /// The same; what the statements return.
    pub(super) async fn write_returning<T>(
        &mut self,
        [before, after]: [&str; 2],
        columns: usize,
        rows: &[T],
        bind: impl Fn(Statement, &T) -> Statement,
    ) -> Result<Vec<AnyRow>, StoreError> {
        let mut returned = Vec::new();
        for rows in rows.chunks(ROWS) {
            let places = vec![places(columns); rows.len()].join(", ");
            let statement = composed(self.database, format!("{before} VALUES {places} {after}"));
            returned.extend(self.rows(rows.iter().fold(statement, &bind)).await?);
        }
        Ok(returned)
    }

    /// The rows of `names`: see [`listing`].
    pub(super) async fn listed<N: ToString>(
        &mut self,
        parts: [&str; 2],
        bind: impl Fn(Statement) -> Statement,
        names: &[N],
    ) -> Result<Vec<AnyRow>, StoreError> {
        let mut found = Vec::new();
        for statement in listing(self.database, parts, bind, names) {
            found.extend(self.rows(statement).await?);
        }
        Ok(found)
    }

    /// The rows of `names`, by a statement that ends before their list.
    pub(super) async fn of_names(&mut self, sql: &str, names: &[Hostname]) -> Result<Vec<AnyRow>, StoreError> {
        self.listed([sql, ""], |statement| statement, names).await
    }

    /// Reads the store's clock, which all gateways on it have in common.
    pub(super) async fn clocks(&mut self) -> Result<Clocks, StoreError> {
        let before = Timestamp::now();
        match self.database {
            // Its gateway is alone on it.
            Database::Sqlite => Ok(Clocks { theirs: before, before, after: before }),
            Database::Postgres => {
                let row = self.row(statement(CLOCK)).await?;
                let theirs = row.as_ref().map(|row| number(row, 0)).transpose()?.unwrap_or_default();
                Ok(Clocks { theirs: Timestamp(theirs), before, after: Timestamp::now() })
            }
        }
    }

    /// Tells the feed.
    pub(super) fn changed(&mut self, subject: Subject) {
        self.changes.push(subject);
    }

    /// Tells the feed that more changed than is worth telling.
    pub(super) fn changed_everything(&mut self) {
        self.everything = true;
    }

    /// Gives statements that move a whole store their time.
    pub(super) fn allow_long_statements(&mut self) {
        self.session.limit = LONG;
    }

    pub(super) async fn commit(mut self) -> Result<(), StoreError> {
        if self.everything || !self.changes.is_empty() {
            let changes = std::mem::take(&mut self.changes);
            let everything = self.everything;
            feed::append(&mut self, &changes, everything).await?;
        }
        self.session.script("COMMIT").await
    }

    /// Undoes it and keeps the connection.
    pub(super) async fn abandon(mut self) -> Result<(), StoreError> {
        self.session.script("ROLLBACK").await
    }
}

/// A text of a row.
pub(super) fn text(row: &AnyRow, column: usize) -> Result<String, StoreError> {
    row.try_get(column).map_err(classify)
}

/// A text of a row, or NULL.
pub(super) fn optional_text(row: &AnyRow, column: usize) -> Result<Option<String>, StoreError> {
    row.try_get(column).map_err(classify)
}

/// A number of a row.
pub(super) fn number(row: &AnyRow, column: usize) -> Result<i64, StoreError> {
    row.try_get(column).map_err(classify)
}

/// A number of a row, or NULL.
pub(super) fn optional_number(row: &AnyRow, column: usize) -> Result<Option<i64>, StoreError> {
    row.try_get(column).map_err(classify)
}
