//! Names that wildcard grants brought into being, counted for each account.

use super::fit;
use super::session::{Purpose, Software, number, statement};
use super::{Store, StoreError};
use crate::model::Hostname;

pub(super) const KNOWN: &str = "SELECT COUNT(*) FROM born WHERE login = $1 AND name = $2";
const COUNT: &str = "SELECT COUNT(*) FROM born WHERE login = $1";
/// Login and name.
pub(super) const INSERT_NEW: [&str; 2] = ["INSERT INTO born (login, name)", "ON CONFLICT (login, name) DO NOTHING"];
const DELETE: &str = "DELETE FROM born WHERE login = $1 AND name = $2";
/// One at a time for each login: it may be one of the file, which has no row to lock.
const LOCK: &str = "SELECT pg_advisory_xact_lock(731057962, hashtext($1))";

/// Whether a name may come into being.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Born {
    /// It did, just now.
    New,
    /// It had before.
    Known,
    /// The account has as many as it may have.
    TooMany,
}

impl Store {
    /// Counts `name` among those that `login`'s wildcard grants brought into being, unless there are `most` already.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn bear(&self, login: &str, name: &Hostname, most: u32) -> Result<Born, StoreError> {
        fit::login(login)?;
        let known = || statement(KNOWN).bind(login.to_owned()).bind(name.to_string());
        // Nearly always; it needs no writer.
        if is_some(self.row(known()).await?)? {
            return Ok(Born::Known);
        }
        let mut work = self.begin(Purpose::Recording).await?;
        if work.software() == Software::Postgres {
            work.row(statement(LOCK).bind(login.to_owned())).await?;
        }
        if is_some(work.row(known()).await?)? {
            work.abandon().await?;
            return Ok(Born::Known);
        }
        let count = work.row(statement(COUNT).bind(login.to_owned())).await?;
        if count.map_or(Ok(0), |row| number(&row, 0))? >= i64::from(most) {
            work.abandon().await?;
            return Ok(Born::TooMany);
        }
        work.write(INSERT_NEW, 2, &[()], |query, ()| query.bind(login.to_owned()).bind(name.to_string())).await?;
        work.commit().await?;
        Ok(Born::New)
    }

    /// Takes back what [`Self::bear`] counted: the name did not come into being.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn unbear(&self, login: &str, name: &Hostname) -> Result<(), StoreError> {
        let mut work = self.begin(Purpose::Recording).await?;
        work.run(statement(DELETE).bind(login.to_owned()).bind(name.to_string())).await?;
        work.commit().await
    }
}

fn is_some(count: Option<sqlx::any::AnyRow>) -> Result<bool, StoreError> {
    count.map_or(Ok(false), |row| Ok(number(&row, 0)? > 0))
}
