//! Names that wildcard grants brought into being, counted for each account.

use super::fit;
use super::host::name;
use super::session::{Purpose, Software, at_most, number, statement, text};
use super::{Store, StoreError};
use crate::model::Hostname;

pub(super) const KNOWN: &str = "SELECT COUNT(*) FROM born WHERE login = $1 AND name = $2";
/// Not those that are also a host: it tells more of them. A name of several accounts is the first one's.
const PAGE: &str = "SELECT name, MIN(login) FROM born WHERE name > $1 \
                    AND NOT EXISTS (SELECT 1 FROM host WHERE host.name = born.name) \
                    GROUP BY name ORDER BY name LIMIT $2";
const PAGE_OF: &str = "SELECT name, login FROM born WHERE login = $3 AND name > $1 \
                       AND NOT EXISTS (SELECT 1 FROM host WHERE host.name = born.name) ORDER BY name LIMIT $2";
pub(super) const LOGINS: &str = "SELECT login FROM born WHERE name = $1 ORDER BY login LIMIT 1";
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

    /// At most `limit` names that wildcard grants brought into being and that are no hosts, of `login` or of all, each with the
    /// account: in the order of the names, those after `after`.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn born(
        &self,
        login: Option<&str>,
        after: Option<&Hostname>,
        limit: usize,
    ) -> Result<Vec<(Hostname, String)>, StoreError> {
        let after = after.map(ToString::to_string).unwrap_or_default();
        let page = match login {
            Some(login) => statement(PAGE_OF).bind(after).bind(at_most(limit)).bind(login.to_owned()),
            None => statement(PAGE).bind(after).bind(at_most(limit)),
        };
        self.rows(page).await?.iter().map(|row| Ok((name(row, 0)?, text(row, 1)?))).collect()
    }

    /// The first account whose wildcard grant brought `name` into being.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn born_to(&self, name: &Hostname) -> Result<Option<String>, StoreError> {
        let row = self.row(statement(LOGINS).bind(name.to_string())).await?;
        row.map(|row| text(&row, 0)).transpose()
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
