//! The store: accounts, hosts, tokens and what was seen of them, in SQLite or PostgreSQL. SQL and nothing else: it knows
//! neither HTTP nor DNS, nor what a gateway does with it.

mod account;
mod error;
mod export;
mod feed;
mod fit;
mod host;
mod import;
mod line;
mod lock;
mod open;
mod pending;
mod record;
mod remove;
mod reserve;
mod schema;
mod session;
mod state;
mod token;

#[cfg(test)]
mod tests;

use std::fs::File;
use std::sync::Arc;

use sqlx::AnyPool;

use session::{Database, Session};

pub use account::{NewAccount, StoredAccount, StoredSecret};
pub use error::{Cause, StoreError};
pub use export::Export;
pub use feed::{Feed, News, Subject};
pub use fit::{MAX_AGENT, MAX_SECRETS, MAX_TEXT};
pub use host::{HostEdit, NewHost, StoredHost};
pub use import::Imported;
pub use pending::PendingTable;
pub use record::{AddressChange, Calls, Seen};
pub use remove::RecordsPolicy;
pub use reserve::{NameRequest, Reserved};
pub use state::{HostEvent, State};
pub use token::TokenHolder;

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
    // What the feed listens with; only PostgreSQL's.
    url: Option<secrecy::SecretString>,
}

impl Store {
    /// Whether gateways of other machines may share it.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.inner.database == Database::Postgres
    }

    /// The changes that are still to be made.
    #[must_use]
    pub fn pending(&self) -> PendingTable<'_> {
        PendingTable(self)
    }

    /// Whether it answers.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], or what else keeps it from it.
    pub async fn ping(&self) -> Result<(), StoreError> {
        Session::new(&self.inner.readers).await?.script("SELECT 1").await
    }

    /// Waits for what is under way, then closes every connection; another gateway may serve an SQLite file from then on.
    pub async fn close(&self) {
        self.inner.readers.close().await;
        self.inner.writers.close().await;
        let _ends_with_us = self.inner.lock.as_ref().map(File::unlock);
    }
}
