//! Changes that are still to be made: of commands, and of requests that nobody waits for any longer. Knows no queue and no zone.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use sqlx::any::AnyRow;
use tracing::warn;

use super::fit;
use super::host::name;
use super::session::{
    Clocks, Purpose, ROWS, Software, Statement, Work, at_most, composed, number, optional_number, optional_text,
    places, statement, text,
};
use super::{Store, StoreError, Subject};
use crate::model::{Desired, Hostname, RrData, RrKey, RrType, Timestamp};

const COLUMNS: &str = "name, rtype, data, ttl, account, source, agent, accepted, expires";
const PAGE: &str = "SELECT name, rtype, data, ttl, account, source, agent, accepted, expires FROM pending \
                    WHERE name > $1 OR (name = $1 AND rtype > $2) ORDER BY name, rtype LIMIT $3";
const PAGE_OF_COMMANDS: &str = "SELECT name, rtype, data, ttl, account, source, agent, accepted, expires FROM pending \
                                WHERE source IS NULL AND (name > $1 OR (name = $1 AND rtype > $2)) \
                                ORDER BY name, rtype LIMIT $3";
const BY_NAMES: &str =
    "SELECT name, rtype, data, ttl, account, source, agent, accepted, expires FROM pending WHERE name IN";
const ANY: &str = "SELECT COUNT(*) FROM (SELECT 1 FROM pending LIMIT 1) AS some";
const INSERT: &str = "INSERT INTO pending (name, rtype, data, ttl, account, source, agent, accepted, expires)";
/// A lease on the older row stays until its gateway is done with it.
const UPDATE: &str = "ON CONFLICT (name, rtype) DO UPDATE SET data = excluded.data, ttl = excluded.ttl, \
                      account = excluded.account, source = excluded.source, agent = excluded.agent, \
                      accepted = excluded.accepted, expires = excluded.expires";
const DROP: &str = "DELETE FROM pending WHERE name IN";
const RELEASE_ALL: &str = "UPDATE pending SET lease_owner = NULL, lease_until = NULL WHERE lease_owner = $1";

/// A change of one RRset that is still to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingRow {
    /// Which RRset.
    pub key: RrKey,
    /// What it shall hold.
    pub desired: Desired,
    /// On whose behalf.
    pub account: String,
    /// Where the request came from; `None` where a command wants it.
    pub source: Option<IpAddr>,
    /// What its client calls itself.
    pub agent: Option<String>,
    /// When the request was accepted, by our clock.
    pub accepted: Timestamp,
    /// The same as the store has it, which tells the row from a newer one; of no meaning before it is written.
    pub stamp: Timestamp,
    /// From when on it is not worth making.
    pub expires: Option<Timestamp>,
}

impl Store {
    /// Writes what nobody waits for, each in place of an older row of its RRset; where gateways share the store a newer one
    /// stays. The rows that stand as they were given, each with its stamp.
    ///
    /// # Errors
    /// [`StoreError::Unfit`]; or the store cannot be written.
    pub async fn keep_pending(&self, rows: &[PendingRow]) -> Result<Vec<(RrKey, Timestamp)>, StoreError> {
        let Some(first) = rows.first() else { return Ok(Vec::new()) };
        // Where there are others to tell, the feed's lock is taken.
        let purpose = if self.is_shared() { Purpose::Administration } else { Purpose::Recording };
        let mut work = self.begin(purpose).await?;
        let only_newer = if self.is_shared() { "WHERE excluded.accepted >= pending.accepted" } else { "" };
        let kept = work.write_pending(rows, only_newer).await?;
        if self.is_shared() {
            work.changed(Subject::Pending(first.key.name.clone()));
        }
        work.commit().await?;
        Ok(kept)
    }

    /// At most `limit` rows in the order of the keys, those after `after`.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn pending(&self, after: Option<&RrKey>, limit: usize) -> Result<Vec<PendingRow>, StoreError> {
        self.page(PAGE, after, limit).await
    }

    /// The same of what commands want.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn pending_of_commands(
        &self,
        after: Option<&RrKey>,
        limit: usize,
    ) -> Result<Vec<PendingRow>, StoreError> {
        self.page(PAGE_OF_COMMANDS, after, limit).await
    }

    async fn page(
        &self,
        sql: &'static str,
        after: Option<&RrKey>,
        limit: usize,
    ) -> Result<Vec<PendingRow>, StoreError> {
        let (name, rtype) = after.map(|key| (key.name.to_string(), key.rtype.as_str())).unwrap_or_default();
        let mut work = self.begin(Purpose::Snapshot).await?;
        let rows = work.rows(statement(sql).bind(name).bind(rtype).bind(at_most(limit))).await?;
        work.read_pending(&rows).await
    }

    /// What is pending of `names`.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn pending_of(&self, names: &[Hostname]) -> Result<Vec<PendingRow>, StoreError> {
        let mut work = self.begin(Purpose::Snapshot).await?;
        let rows = work.of_names(BY_NAMES, names).await?;
        work.read_pending(&rows).await
    }

    /// Whether anything is pending.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn any_pending(&self) -> Result<bool, StoreError> {
        let row = self.row(statement(ANY)).await?;
        Ok(row.map_or(Ok(0), |row| number(&row, 0))? > 0)
    }

    /// These rows are over, each where it is still the one with this stamp.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn end_pending(&self, rows: &[(RrKey, Timestamp)]) -> Result<(), StoreError> {
        if rows.is_empty() {
            return Ok(());
        }
        let mut rows: Vec<_> = rows.iter().collect();
        rows.sort();
        let mut work = self.begin(Purpose::Recording).await?;
        for some in rows.chunks(ROWS) {
            let list = vec!["(?, ?, CAST(? AS BIGINT))"; some.len()].join(", ");
            let sql = format!("DELETE FROM pending WHERE (name, rtype, accepted) IN (VALUES {list})");
            let delete = composed(work.software(), sql);
            let bind = |delete: Statement, (key, stamp): &&(RrKey, Timestamp)| bind_key(delete, key).bind(stamp.0);
            work.run(some.iter().fold(delete, bind)).await?;
        }
        work.commit().await
    }

    /// Requests for these RRsets were accepted then: older rows go, but for leased ones, whose keys are returned. Of a store
    /// that is not shared all rows go.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn clear_pending(&self, requests: &[(RrKey, Timestamp)]) -> Result<Vec<RrKey>, StoreError> {
        // A statement may name each row once.
        let mut newest: BTreeMap<&RrKey, Timestamp> = BTreeMap::new();
        for (key, asked) in requests {
            newest.entry(key).and_modify(|newest| *newest = (*newest).max(*asked)).or_insert(*asked);
        }
        let newest: Vec<_> = newest.into_iter().collect();
        let mut work = self.begin(Purpose::Recording).await?;
        let clocks = work.clocks().await?;
        let mut leased = Vec::new();
        for some in newest.chunks(ROWS) {
            match work.software() {
                Software::Sqlite => {
                    let sql = format!("DELETE FROM pending WHERE (name, rtype) IN (VALUES {})", keys_list(some.len()));
                    let delete = composed(work.software(), sql);
                    work.run(some.iter().fold(delete, |delete, (key, _)| bind_key(delete, key))).await?;
                }
                Software::Postgres => {
                    let list = vec!["(?, ?, CAST(? AS BIGINT))"; some.len()].join(", ");
                    let older = format!(
                        "(VALUES {list}) AS asked (name, rtype, at) WHERE pending.name = asked.name \
                         AND pending.rtype = asked.rtype AND pending.accepted <= asked.at"
                    );
                    let bind = |statement: Statement, (key, asked): &(&RrKey, Timestamp)| {
                        bind_key(statement, key).bind(clocks.earliest(*asked).0)
                    };
                    let free = format!("DELETE FROM pending USING {older} AND COALESCE(lease_until, 0) <= ?");
                    let free = some.iter().fold(composed(work.software(), free), bind);
                    work.run(free.bind(clocks.theirs.0)).await?;
                    let rest = format!("SELECT pending.name, pending.rtype FROM pending, {older}");
                    let rest = some.iter().fold(composed(work.software(), rest), bind);
                    for row in work.rows(rest).await? {
                        leased.push(key(&row)?);
                    }
                }
            }
        }
        work.commit().await?;
        Ok(leased)
    }

    /// Takes the lease on those of `keys` that nobody has and that were accepted `age` ago or earlier, for `lease`; the rows.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn lease_pending(
        &self,
        keys: &[RrKey],
        owner: &str,
        age: Duration,
        lease: Duration,
    ) -> Result<Vec<PendingRow>, StoreError> {
        let mut work = self.begin(Purpose::Recording).await?;
        let now = work.clocks().await?.theirs;
        let mut leased = Vec::new();
        for some in keys.chunks(ROWS) {
            let sql = format!(
                "UPDATE pending SET lease_owner = ?, lease_until = ? WHERE (name, rtype) IN \
                 (SELECT name, rtype FROM pending WHERE (name, rtype) IN (VALUES {}) AND accepted <= ? \
                 AND COALESCE(lease_until, 0) <= ? ORDER BY name, rtype{}) RETURNING {COLUMNS}",
                keys_list(some.len()),
                if self.is_shared() { " FOR UPDATE SKIP LOCKED" } else { "" }
            );
            let take = composed(work.software(), sql).bind(owner.to_owned()).bind(now.plus(lease).0);
            let take = some.iter().fold(take, bind_key).bind(now.minus(age).0).bind(now.0);
            let rows = work.rows(take).await?;
            let clocks = work.clocks().await?;
            leased.extend(rows.iter().filter_map(|row| read(row, clocks)));
        }
        work.commit().await?;
        Ok(leased)
    }

    /// The leases of `owner` on these rows end.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn release_pending(&self, keys: &[RrKey], owner: &str) -> Result<(), StoreError> {
        if keys.is_empty() {
            return Ok(());
        }
        let mut work = self.begin(Purpose::Recording).await?;
        for some in keys.chunks(ROWS) {
            let sql = format!(
                "UPDATE pending SET lease_owner = NULL, lease_until = NULL WHERE lease_owner = ? \
                 AND (name, rtype) IN (VALUES {})",
                keys_list(some.len())
            );
            let release = composed(work.software(), sql).bind(owner.to_owned());
            work.run(some.iter().fold(release, bind_key)).await?;
        }
        work.commit().await
    }

    /// All leases of `owner` end.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn release_all_pending(&self, owner: &str) -> Result<(), StoreError> {
        let mut work = self.begin(Purpose::Recording).await?;
        work.run(statement(RELEASE_ALL).bind(owner.to_owned())).await?;
        work.commit().await
    }
}

impl Work {
    /// What a command wants of the zone, in place of whatever was pending of the same RRsets.
    pub(super) async fn put_pending(&mut self, rows: &[PendingRow]) -> Result<(), StoreError> {
        self.write_pending(rows, "").await?;
        rows.iter().for_each(|row| self.changed(Subject::Pending(row.key.name.clone())));
        Ok(())
    }

    /// Nothing is pending of these names any longer.
    pub(super) async fn drop_pending(&mut self, names: &[Hostname]) -> Result<(), StoreError> {
        for row in self.listed([DROP, "RETURNING name"], |delete| delete, names).await? {
            self.changed(Subject::Pending(name(&row, 0)?));
        }
        Ok(())
    }

    async fn write_pending(&mut self, rows: &[PendingRow], only: &str) -> Result<Vec<(RrKey, Timestamp)>, StoreError> {
        // One statement may touch each row once; in the order of the keys, so that two gateways never wait in a circle.
        let mut newest: BTreeMap<&RrKey, &PendingRow> = BTreeMap::new();
        for row in rows {
            fit::login(&row.account)?;
            if let Desired::Set { ttl, .. } = row.desired {
                fit::ttl(ttl)?;
            }
            newest.insert(&row.key, row);
        }
        let newest: Vec<_> = newest.into_values().collect();
        let clocks = self.clocks().await?;
        let after = format!("{UPDATE} {only} RETURNING name, rtype, accepted");
        let bind = |query: Statement, row: &&PendingRow| {
            let (data, ttl) = match &row.desired {
                Desired::Absent => (None, 0),
                Desired::Set { data, ttl } => (Some(data.to_string()), i64::from(*ttl)),
            };
            bind_key(query, &row.key)
                .bind(data)
                .bind(ttl)
                .bind(row.account.clone())
                .bind(row.source.map(|source| source.to_string()))
                .bind(row.agent.as_deref().map(fit::agent))
                .bind(clocks.latest(row.accepted).0)
                .bind(row.expires.map(|expires| expires.0))
        };
        let written = self.write_returning([INSERT, &after], 9, &newest, bind).await?;
        written.iter().map(|row| Ok((key(row)?, Timestamp(number(row, 2)?)))).collect()
    }

    async fn read_pending(mut self, rows: &[AnyRow]) -> Result<Vec<PendingRow>, StoreError> {
        let clocks = self.clocks().await?;
        self.abandon().await?;
        Ok(rows.iter().filter_map(|row| read(row, clocks)).collect())
    }
}

fn keys_list(count: usize) -> String {
    vec![places(2); count].join(", ")
}

fn bind_key(query: Statement, key: &RrKey) -> Statement {
    query.bind(key.name.to_string()).bind(key.rtype.as_str())
}

fn key(row: &AnyRow) -> Result<RrKey, StoreError> {
    let rtype = text(row, 1)?;
    let rtype = rtype.parse().map_err(|_| StoreError::broken(format!("\"{rtype}\" is no record type")))?;
    Ok(RrKey { name: name(row, 0)?, rtype })
}

/// One that cannot be read is passed over, and named.
fn read(row: &AnyRow, clocks: Clocks) -> Option<PendingRow> {
    let read = || -> Result<PendingRow, StoreError> {
        let key = key(row)?;
        let broken = |what| StoreError::broken(format!("the {what} of \"{key}\" cannot be read"));
        let desired = match optional_text(row, 2)? {
            None => Desired::Absent,
            Some(data) => Desired::Set {
                data: RrData::parse(key.rtype, &data).ok_or_else(|| broken("data"))?,
                ttl: u32::try_from(number(row, 3)?).map_err(|_| broken("TTL"))?,
            },
        };
        let source = optional_text(row, 5)?.map(|source| source.parse()).transpose().map_err(|_| broken("source"))?;
        let stamp = Timestamp(number(row, 7)?);
        Ok(PendingRow {
            desired,
            account: text(row, 4)?,
            source,
            agent: optional_text(row, 6)?,
            accepted: clocks.ours(stamp),
            stamp,
            expires: optional_number(row, 8)?.map(Timestamp),
            key,
        })
    };
    match read() {
        Ok(row) => Some(row),
        Err(error) => {
            let of = text(row, 0).unwrap_or_default();
            warn!(name = of, %error, "a row of the table \"pending\" is passed over: remove it, or its host");
            None
        }
    }
}

/// What a command wants: `desired` of one RRset, on behalf of `account`.
impl PendingRow {
    /// A row that a command writes now.
    #[must_use]
    pub fn of_command(key: RrKey, desired: Desired, account: &str) -> Self {
        let now = Timestamp::now();
        let account = account.to_owned();
        Self { key, desired, account, source: None, agent: None, accepted: now, stamp: now, expires: None }
    }

    /// Rows by which `name` has no address any more.
    pub(super) fn removal(name: &Hostname, account: &str) -> impl Iterator<Item = Self> {
        let key = move |rtype| RrKey { name: name.clone(), rtype };
        RrType::ALL.into_iter().map(move |rtype| Self::of_command(key(rtype), Desired::Absent, account))
    }
}
