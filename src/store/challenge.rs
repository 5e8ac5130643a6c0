//! The table of challenges that are served, or may be. It knows nothing of how they come to be.

use std::time::Duration;

use sqlx::any::AnyRow;

use super::account_row::name;
use super::error::readable;
use super::fit;
use super::rows::Rows;
use super::session::{Purpose, at_most, composed, number, statement, text};
use super::{Store, StoreError};
use crate::model::{Challenge, ChallengeValue, Hostname, Timestamp};

pub(super) const OF_NAME: &str = "SELECT name, value, account, presented FROM challenge WHERE name = $1";
const PUT: &str = "INSERT INTO challenge (name, value, account, presented, expires) VALUES ($1, $2, $3, $4, $5) \
                   ON CONFLICT (name, value) DO UPDATE SET account = excluded.account, \
                   presented = excluded.presented, expires = excluded.expires";
const DELETE: &str = "DELETE FROM challenge WHERE (name, value, presented) IN ({text, text, bigint}) RETURNING name";
const FIRST_DUE: &str = "SELECT expires FROM challenge WHERE expires <= $1 ORDER BY expires LIMIT 1";
/// A row that somebody else took meanwhile is not due any longer.
const TAKE_DUE: &str = "UPDATE challenge SET expires = ? WHERE expires <= ? AND (name, value) IN \
                        (SELECT name, value FROM challenge WHERE expires <= ? ORDER BY expires LIMIT ?) \
                        RETURNING name, value, account, presented";

/// The table, of one store.
#[derive(Debug, Clone, Copy)]
pub struct ChallengeTable<'s>(pub(super) &'s Store);

impl ChallengeTable<'_> {
    /// Those at `name`, newest first.
    pub async fn of(self, name: &Hostname) -> Result<Vec<Challenge>, StoreError> {
        let rows = self.0.rows(statement(OF_NAME).bind(name.to_string())).await?;
        Ok(newest_first(&rows))
    }

    /// `value` is presented at `name` by `account`, for `keep` from now on: all that are there now, newest first.
    ///
    /// # Errors
    /// The store cannot be written; then nothing was.
    pub async fn present(
        self,
        name: &Hostname,
        value: &ChallengeValue,
        account: &str,
        keep: Duration,
    ) -> Result<Vec<Challenge>, StoreError> {
        fit::login(account)?;
        let mut work = self.0.begin(Purpose::Pending).await?;
        let of_name = || statement(OF_NAME).bind(name.to_string());
        let newest = newest_first(&work.rows(of_name()).await?).first().map_or(0, |newest| newest.presented.0);
        let now = work.clocks().await?.theirs;
        // A later one is later by its stamp, whatever the clock says.
        let stamp = now.0.max(newest.saturating_add(1));
        let put = statement(PUT).bind(name.to_string()).bind(value.as_str().to_owned()).bind(account.to_owned());
        work.run(put.bind(stamp).bind(now.plus(keep).0)).await?;
        let rows = work.rows(of_name()).await?;
        work.commit().await?;
        Ok(newest_first(&rows))
    }

    /// These are served no longer; how many of them were not presented again meanwhile.
    pub async fn end(self, gone: &[Challenge]) -> Result<usize, StoreError> {
        if gone.is_empty() {
            return Ok(0);
        }
        let mut work = self.0.begin(Purpose::Pending).await?;
        let bind = |rows: Rows, gone: &Challenge| {
            rows.bind(gone.name.as_str()).bind(gone.value.as_str()).bind(gone.presented.0)
        };
        let ended = work.write(DELETE, gone, bind).await?.len();
        work.commit().await?;
        Ok(ended)
    }

    /// At most `limit` of those whose time has come, and which nobody else takes for `lease` from now on.
    pub async fn take_due(self, lease: Duration, limit: usize) -> Result<Vec<Challenge>, StoreError> {
        let mut look = self.0.begin(Purpose::Snapshot).await?;
        let now = look.clocks().await?.theirs;
        let due = look.row(statement(FIRST_DUE).bind(now.0)).await?;
        look.abandon().await?;
        if due.is_none() {
            return Ok(Vec::new());
        }
        let mut work = self.0.begin(Purpose::Pending).await?;
        let take = composed(work.database(), TAKE_DUE);
        let rows = work.rows(take.bind(now.plus(lease).0).bind(now.0).bind(now.0).bind(at_most(limit))).await?;
        work.commit().await?;
        Ok(newest_first(&rows))
    }
}

fn newest_first(rows: &[AnyRow]) -> Vec<Challenge> {
    let mut all: Vec<_> = rows.iter().filter_map(|row| readable(challenge(row))).collect();
    all.sort_by(|one, other| (other.presented, &other.value).cmp(&(one.presented, &one.value)));
    all
}

fn challenge(row: &AnyRow) -> Result<Challenge, StoreError> {
    let name = name(row, 0)?;
    let broken = |_| StoreError::Unreadable { what: format!("a challenge of \"{name}\"") };
    let value = ChallengeValue::parse(&text(row, 1)?).map_err(broken)?;
    Ok(Challenge { value, account: text(row, 2)?, presented: Timestamp(number(row, 3)?), name })
}
