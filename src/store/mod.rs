//! The store: accounts, hosts, tokens and what was seen of them, in SQLite or PostgreSQL. SQL and nothing else: it knows
//! neither HTTP nor DNS, nor what a gateway does with it.

mod account;
mod account_row;
mod challenge;
mod clock;
mod error;
mod export;
mod feed;
mod fit;
mod import;
mod line;
mod lock;
mod open;
mod pending;
mod record;
mod reserve;
mod rows;
mod schema;
mod session;
mod state;

#[cfg(test)]
mod tests;

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use sqlx::AnyPool;
use sqlx::any::AnyRow;

use crate::config::Location;

use clock::Clock;
use error::readable;
use session::{Database, Purpose, ROWS, Session, Statement, Work, at_most, of_names, text};

pub use account::{HostEdit, NewAccount, NewHost, RecordsPolicy, TokenHolder};
pub(crate) use account::{StoredAccount, StoredHost, StoredSecret};
pub(crate) use challenge::ChallengeTable;
pub use error::StoreError;
pub(crate) use export::Export;
pub use feed::{Feed, News, Subject};
pub use import::Imported;
pub(crate) use pending::PendingTable;
pub use record::{AddressChange, Calls, Seen};
pub(crate) use reserve::Reservations;
pub use reserve::{NameRequest, Reserved};
pub(crate) use state::HostEvent;
pub use state::State;

/// A database with our schema; a clone is the same one. It must be made and dropped inside a tokio runtime.
#[derive(Debug, Clone)]
pub struct Store {
    inner: Arc<StoreInner>,
}

#[derive(Debug)]
struct StoreInner {
    database: Database,
    // SQLite has one writer at a time: what waits for it waits here, in order, and not in SQLite's polling.
    writers: AnyPool,
    readers: AnyPool,
    // What we are called among the gateways on it: another one each time that it is opened.
    gateway: String,
    // SQLite's, while a gateway serves it.
    lock: Option<File>,
    clock: Clock,
    // What the feed listens with; only PostgreSQL's.
    url: Option<secrecy::SecretString>,
}

impl Store {
    /// Opens the store, makes an SQLite file that is not there yet (only its owner may read it), and brings the schema to
    /// this version.
    ///
    /// # Errors
    /// Whatever keeps it from serving; a store of a newer version is left as it is.
    pub async fn open(location: &Location) -> Result<Self, StoreError> {
        open::open(location).await
    }

    /// The same for who only reads: nothing is made, brought to this version, or changed.
    ///
    /// # Errors
    /// [`StoreError::Missing`], [`StoreError::Older`] where a gateway must make it or bring it up first; or whatever keeps it
    /// from being read.
    pub async fn open_read_only(location: &Location) -> Result<Self, StoreError> {
        open::open_read_only(location).await
    }

    /// The same for a gateway: an SQLite file is its own until the store is closed. One that stops may take `wait` until
    /// the file is free.
    ///
    /// # Errors
    /// [`StoreError::Served`] where another gateway has the file; or as for [`Self::open`].
    pub(crate) async fn serve(location: &Location, wait: Duration) -> Result<Self, StoreError> {
        open::serve(location, wait).await
    }

    /// Whether gateways of other machines may share it.
    pub fn is_shared(&self) -> bool {
        self.inner.database == Database::Postgres
    }

    /// The changes that are still to be made.
    pub fn pending(&self) -> PendingTable<'_> {
        PendingTable(self)
    }

    /// The challenges that are served, or may be.
    pub fn challenges(&self) -> ChallengeTable<'_> {
        ChallengeTable(self)
    }

    /// The names below wildcards.
    pub fn reservations(&self) -> Reservations<'_> {
        Reservations(self)
    }

    /// A reader of the feed. Its first answer is [`News::Lost`]: what was read of the store before may be old already.
    pub fn feed(&self) -> Feed {
        Feed::new(self.clone())
    }

    /// Begins an export: JSON lines, secrets as digests, all of this moment.
    pub async fn export(&self) -> Result<Export, StoreError> {
        Export::begin(self).await
    }

    /// Takes the lines of an export, in one transaction. What they hold must not be in the store yet, and an account must come
    /// before its hosts, a host before its tokens. Blank lines are passed over.
    ///
    /// # Errors
    /// [`StoreError::BadLine`] names the first line that is wrong; [`StoreError::Clash`] what is in the store already; or the
    /// store cannot be written. In each case nothing was imported.
    pub async fn import(&self, lines: impl Iterator<Item = io::Result<String>> + Send) -> Result<Imported, StoreError> {
        import::import(self, lines).await
    }

    /// Whether it answers.
    pub async fn ping(&self) -> Result<(), StoreError> {
        Session::new(&self.inner.readers).await?.script("SELECT 1").await
    }

    /// Waits for what is under way, then closes every connection; another gateway may serve an SQLite file from then on.
    pub async fn close(&self) {
        self.inner.readers.close().await;
        self.inner.writers.close().await;
        let _ends_with_us = self.inner.lock.as_ref().map(File::unlock);
    }

    /// Tells the log of each gateway that serves it what somebody has done.
    ///
    /// # Errors
    /// The store could not take it.
    pub async fn announce(&self, action: &str, subject: &str, by: &str) -> Result<(), StoreError> {
        let plain = |text: &str| text.replace(char::is_control, " ");
        let mut work = self.begin(Purpose::Administration).await?;
        work.changed(Subject::Done([action, &plain(subject), &plain(by)].join("\t").into()));
        work.commit().await
    }

    /// One statement that reads all its rows.
    async fn rows(&self, statement: Statement) -> Result<Vec<AnyRow>, StoreError> {
        Session::new(&self.inner.readers).await?.rows(statement).await
    }

    /// A statement that reads the rows of `names`.
    async fn of_names<N: ToString>(&self, sql: &str, names: &[N]) -> Result<Vec<AnyRow>, StoreError> {
        let mut found = Vec::new();
        for names in names.chunks(ROWS) {
            found.extend(self.rows(of_names(self.inner.database, sql, names)).await?);
        }
        Ok(found)
    }

    /// At most `limit` of the rows that `page` reads after a key, those that can be read; each begins with its key.
    async fn page<T>(
        &self,
        after: Option<&str>,
        limit: usize,
        page: impl Fn(String, i64) -> Statement,
        read: impl Fn(&AnyRow) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        let mut after = after.unwrap_or_default().to_owned();
        let mut all = Vec::new();
        // Rows that have no place in the order: they may come again.
        let mut passed = 0_usize;
        while all.len() < limit {
            let asked = (limit - all.len()).saturating_add(passed);
            let found = Session::new(&self.inner.readers).await?.found(page(after.clone(), at_most(asked))).await?;
            let missing = limit - all.len();
            all.extend(found.rows.iter().filter_map(|row| readable(read(row))).take(missing));
            let keys: Vec<_> = found.rows.iter().filter_map(|row| text(row, 0).ok()).collect();
            let read = found.rows.len() + found.unreadable;
            if read < asked {
                break;
            }
            passed = read - keys.len() + if keys.is_empty() { passed } else { 0 };
            after = keys.into_iter().next_back().unwrap_or(after);
        }
        Ok(all)
    }

    /// One statement that reads at most one row.
    async fn row(&self, statement: Statement) -> Result<Option<AnyRow>, StoreError> {
        Session::new(&self.inner.readers).await?.row(statement).await
    }

    /// Begins a transaction.
    async fn begin(&self, purpose: Purpose) -> Result<Work, StoreError> {
        let pool = match purpose {
            Purpose::Administration | Purpose::Pending | Purpose::Recording => &self.inner.writers,
            Purpose::Snapshot => &self.inner.readers,
        };
        Work::begin(Session::new(pool).await?, Arc::clone(&self.inner), purpose).await
    }
}
