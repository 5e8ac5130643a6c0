//! One statement after the other: each with a limit of time, writers in transactions that are undone unless committed.

use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::time::Duration;

use sqlx::any::{AnyArguments, AnyRow};
use sqlx::pool::PoolConnection;
use sqlx::query::Query;
use sqlx::{Any, AnyPool, AssertSqlSafe, Row as _};
use tokio::time::timeout;
use tracing::warn;

use super::StoreInner;
use super::clock::Clocks;
use super::error::{StoreError, classify};
use super::feed::{self, Subject};
use super::rows::{Rows, expanded};
use crate::model::Timestamp;

/// A statement with what was bound to it.
pub(super) type Statement = Query<'static, Any, AnyArguments>;

/// The longest wait for one statement: more than SQLite waits for a lock, and than PostgreSQL is told to.
const LIMIT: Duration = Duration::from_secs(6);
/// The same for a statement that moves a whole store.
const LONG: Duration = Duration::from_secs(600);
/// How many rows one statement takes: others wait for its locks meanwhile.
pub(super) const ROWS: usize = 1000;

const CLOCK: &str = "SELECT FLOOR(EXTRACT(EPOCH FROM clock_timestamp()) * 1000)::BIGINT";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Database {
    Sqlite,
    Postgres,
}

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
            // The time-outs free the lock from one that vanished.
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

/// A statement in which `?` is the place of a value and `{text, bigint}` that of [`Rows`]; all are bound in their order.
pub(super) fn composed(database: Database, sql: &str) -> Statement {
    // Planned anew each time: a plan of when a table was small would serve a whole import.
    sqlx::query(AssertSqlSafe(expanded(database, sql))).persistent(false)
}

/// A statement on names alone.
pub(super) fn of_names<N: ToString>(database: Database, sql: &str, names: &[N]) -> Statement {
    composed(database, sql).bind(Rows::text_of(names, |rows, name| rows.bind(name.to_string())))
}

/// How many rows a page may have, as SQL counts.
pub(super) fn at_most(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

async fn within<T>(limit: Duration, answer: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, StoreError> {
    match timeout(limit, answer).await {
        Ok(answer) => answer.map_err(classify),
        Err(_) => Err(StoreError::unavailable(format!("it did not answer within {} s", limit.as_secs()))),
    }
}

/// What a statement read.
#[derive(Default)]
pub(super) struct Found {
    pub(super) rows: Vec<AnyRow>,
    /// How many more there are that cannot be read.
    pub(super) unreadable: usize,
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

    /// Rows of which the driver can make nothing are passed over.
    pub(super) async fn rows(&mut self, statement: Statement) -> Result<Vec<AnyRow>, StoreError> {
        Ok(self.found(statement).await?.rows)
    }

    pub(super) async fn found(&mut self, statement: Statement) -> Result<Found, StoreError> {
        self.waiting = true;
        let mut found = Found::default();
        let read = async {
            let mut rows = statement.fetch(&mut *self.connection);
            while let Some(row) = poll_fn(|context| rows.as_mut().poll_next(context)).await {
                match row {
                    Ok(row) => found.rows.push(row),
                    // Octets that are no text.
                    Err(error @ (sqlx::Error::Decode(_) | sqlx::Error::ColumnDecode { .. })) => {
                        warn!(%error, "a row of the store is passed over: its octets are no text");
                        found.unreadable += 1;
                    }
                    Err(error) => return Err(error),
                }
            }
            Ok(())
        };
        within(self.limit, read).await?;
        self.waiting = false;
        Ok(found)
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

/// A transaction; dropped, it is undone with its connection.
#[derive(Debug)]
pub(super) struct Work {
    session: Session,
    store: Arc<StoreInner>,
    changes: Vec<Subject>,
    everything: bool,
}

impl Work {
    pub(super) async fn begin(
        mut session: Session,
        store: Arc<StoreInner>,
        purpose: Purpose,
    ) -> Result<Self, StoreError> {
        session.script(purpose.begin(store.database)).await?;
        session.waiting = true;
        Ok(Self { session, store, changes: Vec::new(), everything: false })
    }

    pub(super) fn database(&self) -> Database {
        self.store.database
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

    /// A statement on the rows of `items`, [`expanded`]; `before` binds the values that stand before them.
    pub(super) async fn on_rows<T>(
        &mut self,
        sql: &str,
        before: impl Fn(Statement) -> Statement,
        items: &[T],
        bind: impl Fn(Rows, &T) -> Rows,
    ) -> Result<Vec<AnyRow>, StoreError> {
        let mut returned = Vec::new();
        for items in items.chunks(ROWS) {
            let statement = before(composed(self.store.database, sql)).bind(Rows::text_of(items, &bind));
            returned.extend(self.rows(statement).await?);
        }
        Ok(returned)
    }

    /// The same, where they are its only values.
    pub(super) async fn write<T>(
        &mut self,
        sql: &str,
        items: &[T],
        bind: impl Fn(Rows, &T) -> Rows,
    ) -> Result<Vec<AnyRow>, StoreError> {
        self.on_rows(sql, |statement| statement, items, bind).await
    }

    /// The same on names alone.
    pub(super) async fn of_names<N: ToString>(&mut self, sql: &str, names: &[N]) -> Result<Vec<AnyRow>, StoreError> {
        self.write(sql, names, |rows, name| rows.bind(name.to_string())).await
    }

    /// Reads the store's clock, which all gateways on it have in common.
    pub(super) async fn clocks(&mut self) -> Result<Clocks, StoreError> {
        let before = Timestamp::now();
        match self.store.database {
            // Its gateway is alone on it.
            Database::Sqlite => Ok(Clocks::one(before)),
            Database::Postgres => {
                let row = self.row(statement(CLOCK)).await?;
                let theirs = row.as_ref().map(|row| number(row, 0)).transpose()?.unwrap_or_default();
                Ok(self.store.clock.read(before, Timestamp(theirs), Timestamp::now()))
            }
        }
    }

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

pub(super) fn text(row: &AnyRow, column: usize) -> Result<String, StoreError> {
    row.try_get(column).map_err(classify)
}

pub(super) fn optional_text(row: &AnyRow, column: usize) -> Result<Option<String>, StoreError> {
    row.try_get(column).map_err(classify)
}

pub(super) fn number(row: &AnyRow, column: usize) -> Result<i64, StoreError> {
    row.try_get(column).map_err(classify)
}

pub(super) fn optional_number(row: &AnyRow, column: usize) -> Result<Option<i64>, StoreError> {
    row.try_get(column).map_err(classify)
}
