//! The table of changes that are still to be made, for commands and for requests that the primary kept from being answered.
//! Knows nothing of how they are made.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::Duration;

use sqlx::any::AnyRow;
use tracing::warn;

use super::account_row::name;
use super::clock::Clocks;
use super::fit;
use super::rows::Rows;
use super::session::{
    Database, Purpose, Statement, Work, at_most, number, optional_number, optional_text, statement, text,
};
use super::{Store, StoreError, Subject};
use crate::model::{Desired, Family, Hostname, PendingChange, RrData, RrKey, RrType, Timestamp, mail_exchanges};

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT name, rtype, data, ttl, account, source, agent, accepted, expires, lease_owner, lease_until \
             FROM pending ",
            $rest
        )
    };
}

/// `accepted` always grows, so that it tells a row from the one that it replaced. The lease stays: whoever works on the older
/// row may still be sending it.
macro_rules! upsert {
    ($condition:literal) => {
        concat!(
            "INSERT INTO pending (name, rtype, data, ttl, account, source, agent, accepted, expires) \
             {text, text, text, bigint, text, text, text, bigint, bigint} \
             ON CONFLICT (name, rtype) DO UPDATE SET data = excluded.data, ttl = excluded.ttl, \
             account = excluded.account, source = excluded.source, agent = excluded.agent, \
             expires = excluded.expires, accepted = CASE WHEN excluded.accepted > pending.accepted \
             THEN excluded.accepted ELSE pending.accepted + 1 END ",
            $condition,
            " RETURNING name, rtype, accepted"
        )
    };
}

const PAGE: &str = select!("WHERE (name, rtype) > ($1, $2) ORDER BY name, rtype LIMIT $3");
const PAGE_OF_COMMANDS: &str =
    select!("WHERE source IS NULL AND (name, rtype) > ($1, $2) ORDER BY name, rtype LIMIT $3");
pub(super) const BY_NAMES: &str = select!("WHERE name IN ({text})");
const LOCK: &str = select!("WHERE name IN ({text}) ORDER BY name, rtype FOR UPDATE");
#[cfg(test)]
pub(super) const BY_NAME: &str = select!("WHERE name = $1");
const UPSERT: &str = upsert!("");
/// Of what gateways say, the newest stands; but that a command wants a name's records gone does not give way to a request that
/// a gateway accepted before it heard of that.
const UPSERT_NEWER: &str = upsert!(
    "WHERE excluded.accepted >= pending.accepted \
     AND (excluded.source IS NULL OR pending.source IS NOT NULL OR pending.data IS NOT NULL)"
);
/// The order of a gateway that is alone is its queue's, whatever becomes of the clock; but for what it has not heard of yet.
const UPSERT_ALONE: &str = upsert!(
    "WHERE excluded.source IS NULL OR pending.source IS NOT NULL \
     OR (pending.data IS NOT NULL AND excluded.accepted >= pending.accepted)"
);
const DELETE: &str = "DELETE FROM pending WHERE (name, rtype) IN ({text, text})";
const DELETE_NAMES: &str = "DELETE FROM pending WHERE name IN ({text}) RETURNING name";
const LEASE: &str = "UPDATE pending SET lease_owner = ?, lease_until = ? WHERE (name, rtype) IN ({text, text})";
const LEASED_TO: &str = "SELECT name, rtype FROM pending WHERE lease_owner = $1";

/// In place of a TTL: the records are to go, and no others.
const WITHOUT: i64 = -1;
/// A command is in force in each gateway after two seconds; in milliseconds, with some to spare.
const HEARD_OF_WITHIN: i64 = 3_000;

/// The table, of one store.
#[derive(Debug, Clone, Copy)]
pub struct PendingTable<'s>(pub(super) &'s Store);

/// What of a row decides who may touch it; readable even where the rest is not.
struct Locked {
    key: RrKey,
    stamp: Timestamp,
    owner: Option<String>,
    until: Option<Timestamp>,
    // A command wants the records gone.
    is_removal: bool,
    row: AnyRow,
}

impl Locked {
    fn is_leased(&self, clocks: Clocks) -> bool {
        self.owner.is_some() && self.until.is_some_and(|until| until > clocks.theirs)
    }
}

impl PendingTable<'_> {
    /// Writes rows in groups, the newest of each RRset. In SQLite they replace what is there; in PostgreSQL only where they
    /// are not older. The keys and stamps of those that stand.
    pub async fn keep(self, rows: &[PendingChange]) -> Result<Vec<(RrKey, Timestamp)>, StoreError> {
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let upsert = if self.0.is_shared() { UPSERT_NEWER } else { UPSERT_ALONE };
        let mut work = self.0.begin(Purpose::Administration).await?;
        let kept = work.upsert_pending(upsert, rows).await?;
        let of_commands: BTreeSet<_> = rows.iter().filter(|row| row.source.is_none()).map(|row| &row.key).collect();
        let mut names: BTreeSet<_> =
            kept.iter().filter(|(key, _)| of_commands.contains(key)).map(|(key, _)| &key.name).collect();
        if names.is_empty() && self.0.is_shared() {
            // That there is something at all: others look for the rest by themselves.
            names.extend(kept.first().map(|(key, _)| &key.name));
        }
        names.into_iter().for_each(|name| work.changed(Subject::Pending(name.clone())));
        work.commit().await?;
        Ok(kept)
    }

    /// At most `limit` rows in the order of their keys, those after `after`; fewer where no more follow. One that cannot be
    /// read is left out with a warning.
    pub async fn page(self, after: Option<&RrKey>, limit: usize) -> Result<Vec<PendingChange>, StoreError> {
        self.page_by(PAGE, after, limit).await
    }

    /// The same of those that commands want.
    pub async fn page_of_commands(self, after: Option<&RrKey>, limit: usize) -> Result<Vec<PendingChange>, StoreError> {
        self.page_by(PAGE_OF_COMMANDS, after, limit).await
    }

    async fn page_by(
        self,
        sql: &'static str,
        after: Option<&RrKey>,
        limit: usize,
    ) -> Result<Vec<PendingChange>, StoreError> {
        let mut work = self.0.begin(Purpose::Snapshot).await?;
        let clocks = work.clocks().await?;
        let mut after = after.map(|key| (key.name.to_string(), key.rtype.as_str().to_owned())).unwrap_or_default();
        let mut page = Vec::new();
        while page.len() < limit {
            let missing = limit - page.len();
            let some = statement(sql).bind(after.0).bind(after.1).bind(at_most(missing));
            let rows = work.rows(some).await?;
            page.extend(rows.iter().filter_map(|row| readable(row, clocks)));
            let last = rows.last().filter(|_| rows.len() == missing);
            let Some((Ok(name), Ok(rtype))) = last.map(|row| (text(row, 0), text(row, 1))) else { break };
            after = (name, rtype);
        }
        work.abandon().await?;
        Ok(page)
    }

    /// The rows of `names`.
    pub async fn of(self, names: &[Hostname]) -> Result<Vec<PendingChange>, StoreError> {
        let mut work = self.0.begin(Purpose::Snapshot).await?;
        let clocks = work.clocks().await?;
        let rows = work.of_names(BY_NAMES, names).await?;
        work.abandon().await?;
        Ok(rows.iter().filter_map(|row| readable(row, clocks)).collect())
    }

    /// These rows are over: they go, by their stamps, unless they were replaced.
    pub async fn end(self, rows: &[(RrKey, Timestamp)]) -> Result<(), StoreError> {
        if rows.is_empty() {
            return Ok(());
        }
        let mut work = self.0.begin(Purpose::Pending).await?;
        let locked = work.lock_pending(rows.iter().map(|(key, _)| &key.name)).await?;
        let ended: HashSet<_> = rows.iter().map(|(key, stamp)| (key, *stamp)).collect();
        let is_over = |row: &Locked| ended.contains(&(&row.key, row.stamp));
        let over: Vec<_> = locked.into_iter().filter(is_over).map(|row| row.key).collect();
        work.write(DELETE, &over, bind_key).await?;
        work.commit().await
    }

    /// Requests that were accepted at these times, by our clock, are about to be compared or were answered: older rows of
    /// their keys go. In SQLite, where all requests are ours, each row goes. The keys of those that stay: of leased ones, and of
    /// what a command wants gone, until each gateway has heard of that, or a request that it forbids would undo it.
    pub async fn clear(self, requests: &[(RrKey, Timestamp)]) -> Result<Vec<RrKey>, StoreError> {
        if requests.is_empty() {
            return Ok(Vec::new());
        }
        let mut accepted: HashMap<&RrKey, Timestamp> = HashMap::new();
        for (key, at) in requests {
            let newest = accepted.entry(key).or_default();
            *newest = (*newest).max(*at);
        }
        let mut work = self.0.begin(Purpose::Pending).await?;
        let locked = work.lock_pending(accepted.keys().map(|key| &key.name)).await?;
        if locked.is_empty() {
            work.abandon().await?;
            return Ok(Vec::new());
        }
        let clocks = work.clocks().await?;
        let is_alone = !self.0.is_shared();
        let age = |row: &Locked| accepted.get(&row.key).map(|at| clocks.by_theirs(*at).0.saturating_sub(row.stamp.0));
        let is_older = |row: &Locked| age(row).is_some_and(|age| is_alone || age > 0);
        let is_heard_of = |row: &Locked| age(row).is_some_and(|age| age > HEARD_OF_WITHIN);
        let stays = |row: &Locked| row.is_leased(clocks) || (row.is_removal && !is_heard_of(row));
        let older = locked.into_iter().filter(is_older);
        let (kept, over): (Vec<_>, Vec<_>) = older.partition(stays);
        let over: Vec<_> = over.into_iter().map(|row| row.key).collect();
        work.write(DELETE, &over, bind_key).await?;
        work.commit().await?;
        Ok(kept.into_iter().map(|row| row.key).collect())
    }

    /// Takes the lease, for `lease` from now, on those of `keys` that nobody has and that were accepted `age` ago or earlier:
    /// the rows. The lease is this store's, as it was opened.
    pub async fn lease(self, keys: &[RrKey], age: Duration, lease: Duration) -> Result<Vec<PendingChange>, StoreError> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let asked: BTreeSet<_> = keys.iter().collect();
        let mut work = self.0.begin(Purpose::Pending).await?;
        let locked = work.lock_pending(asked.iter().map(|key| &key.name)).await?;
        let clocks = work.clocks().await?;
        let (newest, until) = (clocks.theirs.minus(age), clocks.theirs.plus(lease));
        let is_free = |row: &&Locked| asked.contains(&row.key) && !row.is_leased(clocks) && row.stamp <= newest;
        let taken: Vec<_> = locked.iter().filter(is_free).filter_map(|row| readable(&row.row, clocks)).collect();
        let owner = &self.0.inner.gateway;
        let bind = |statement: Statement| statement.bind(owner.clone()).bind(until.0);
        work.on_rows(LEASE, bind, &taken, |rows, row| bind_key(rows, &row.key)).await?;
        work.commit().await?;
        Ok(taken)
    }

    /// Our leases on `keys` end.
    pub async fn release(self, keys: &[RrKey]) -> Result<(), StoreError> {
        if keys.is_empty() {
            return Ok(());
        }
        let asked: BTreeSet<_> = keys.iter().collect();
        let mut work = self.0.begin(Purpose::Pending).await?;
        let locked = work.lock_pending(asked.iter().map(|key| &key.name)).await?;
        let owner = Some(&self.0.inner.gateway);
        let is_ours = |row: &Locked| asked.contains(&row.key) && row.owner.as_ref() == owner;
        let ours: Vec<_> = locked.into_iter().filter(is_ours).map(|row| row.key).collect();
        work.on_rows(LEASE, |statement| statement.bind(None::<String>).bind(None::<i64>), &ours, bind_key).await?;
        work.commit().await
    }

    /// All our leases end.
    pub async fn release_all(self) -> Result<(), StoreError> {
        let rows = self.0.rows(statement(LEASED_TO).bind(self.0.inner.gateway.clone())).await?;
        let keys: Vec<_> = rows.iter().filter_map(|row| key(row).ok()).collect();
        self.release(&keys).await
    }
}

impl Work {
    /// What a command wants stands in place of what was pending of its RRsets, whoever accepted that when.
    pub(super) async fn put_pending(&mut self, rows: &[PendingChange]) -> Result<(), StoreError> {
        for row in rows {
            fit::login(&row.account)?;
            if let Desired::Set { ttl, .. } = row.desired {
                fit::ttl(ttl)?;
            }
        }
        self.upsert_pending(UPSERT, rows).await?;
        let names: BTreeSet<_> = rows.iter().map(|row| &row.key.name).collect();
        names.into_iter().for_each(|name| self.changed(Subject::Pending(name.clone())));
        Ok(())
    }

    /// Addresses of `name` go that are not of `families`; that others were to go, which it may have again, is over.
    pub(super) async fn remove_other_families(
        &mut self,
        name: &Hostname,
        login: &str,
        families: &[Family],
    ) -> Result<(), StoreError> {
        let may_have = |rtype: RrType| families.iter().any(|family| RrType::from(*family) == rtype);
        let locked = self.lock_pending(std::iter::once(name)).await?;
        let over = locked.into_iter().filter(|row| row.is_removal && may_have(row.key.rtype)).map(|row| row.key);
        self.write(DELETE, &over.collect::<Vec<_>>(), bind_key).await?;
        let removals = PendingChange::removal(name, login).into_iter().filter(|change| !may_have(change.key.rtype));
        self.put_pending(&removals.collect::<Vec<_>>()).await
    }

    /// The MX records go that a request may have set for these servers, and the host's own before them where `all` of them go;
    /// that others were to go is over. Records of others at the name stay.
    pub(super) async fn remove_mail(
        &mut self,
        name: &Hostname,
        login: &str,
        servers: impl IntoIterator<Item = &Hostname>,
        all: bool,
    ) -> Result<(), StoreError> {
        let key = RrKey { name: name.clone(), rtype: RrType::Mx };
        match mail_exchanges(name, servers, all) {
            Some(gone) => {
                let removal = PendingChange::of_command(key, Desired::Without(gone), login.to_owned());
                self.put_pending(std::slice::from_ref(&removal)).await
            }
            None => self.drop_removal(&key).await,
        }
    }

    /// That a command wanted records of the RRset gone is over.
    async fn drop_removal(&mut self, key: &RrKey) -> Result<(), StoreError> {
        let locked = self.lock_pending(std::iter::once(&key.name)).await?;
        let over = locked.into_iter().filter(|row| row.is_removal && row.key == *key).map(|row| row.key);
        self.write(DELETE, &over.collect::<Vec<_>>(), bind_key).await.map(drop)
    }

    /// Nothing stays pending of `names`, whoever asked for it.
    pub(super) async fn drop_pending(&mut self, names: &[Hostname]) -> Result<(), StoreError> {
        self.lock_pending(names.iter()).await?;
        let gone = self.of_names(DELETE_NAMES, names).await?;
        let gone: BTreeSet<_> = gone.iter().filter_map(|row| name(row, 0).ok()).collect();
        gone.into_iter().for_each(|name| self.changed(Subject::Pending(name)));
        Ok(())
    }

    /// Writes the newest of each key, in the order of the keys; the keys and stamps that were written.
    async fn upsert_pending(
        &mut self,
        upsert: &str,
        rows: &[PendingChange],
    ) -> Result<Vec<(RrKey, Timestamp)>, StoreError> {
        let mut newest: BTreeMap<&RrKey, &PendingChange> = BTreeMap::new();
        for row in rows {
            let of_key = newest.entry(&row.key).or_insert(row);
            if row.accepted >= of_key.accepted {
                *of_key = row;
            }
        }
        let newest: Vec<_> = newest.into_values().collect();
        let clocks = self.clocks().await?;
        let bind = |rows, row: &&PendingChange| bind_row(rows, row, clocks);
        let written = self.write(upsert, &newest, bind).await?;
        written.iter().map(|row| Ok((key(row)?, Timestamp(number(row, 2)?)))).collect()
    }

    /// The rows of these names, which nobody else changes until the transaction ends. All lock them in one order, so that two
    /// never wait for each other.
    async fn lock_pending(&mut self, names: impl Iterator<Item = &Hostname>) -> Result<Vec<Locked>, StoreError> {
        let names: BTreeSet<_> = names.collect();
        let names: Vec<_> = names.into_iter().collect();
        let lock = match self.database() {
            // It has one writer.
            Database::Sqlite => BY_NAMES,
            Database::Postgres => LOCK,
        };
        let rows = self.of_names(lock, &names).await?;
        let locked = |row: AnyRow| {
            Some(Locked {
                key: key(&row).ok()?,
                stamp: Timestamp(number(&row, 7).ok()?),
                owner: optional_text(&row, 9).ok()?,
                until: optional_number(&row, 10).ok()?.map(Timestamp),
                is_removal: (optional_text(&row, 2).ok()?.is_none() || number(&row, 3).ok()? == WITHOUT)
                    && optional_text(&row, 5).ok()?.is_none(),
                row,
            })
        };
        Ok(rows.into_iter().filter_map(locked).collect())
    }
}

fn bind_key(rows: Rows, key: &RrKey) -> Rows {
    rows.bind(key.name.to_string()).bind(key.rtype.as_str())
}

fn bind_row(rows: Rows, row: &PendingChange, clocks: Clocks) -> Rows {
    let (data, ttl) = match &row.desired {
        Desired::Absent => (None, 0),
        Desired::Without(data) => (Some(data.to_string()), WITHOUT),
        Desired::Set { data, ttl } => (Some(data.to_string()), i64::from(*ttl)),
    };
    bind_key(rows, &row.key)
        .bind(data)
        .bind(ttl)
        .bind(&row.account)
        .bind(row.source.map(|source| source.to_string()))
        .bind(row.agent.as_deref().map(fit::agent))
        .bind(clocks.by_theirs(row.accepted).0)
        .bind(row.expires.map(|expires| expires.0))
}

/// The key of a row that begins with it.
fn key(row: &AnyRow) -> Result<RrKey, StoreError> {
    let name = name(row, 0)?;
    let rtype = text(row, 1)?;
    let unknown = |_| StoreError::Unreadable { what: format!("the type {rtype:?} of a change of \"{name}\"") };
    Ok(RrKey { rtype: rtype.parse().map_err(unknown)?, name })
}

/// The row, unless somebody's hand spoiled it: the others are not to wait for it.
fn readable(row: &AnyRow, clocks: Clocks) -> Option<PendingChange> {
    let said = read(row, clocks);
    said.inspect_err(|error| {
        let name = text(row, 0).unwrap_or_default();
        warn!(host = ?name, %error, "a pending change is passed over: delete its row from the store's table \"pending\"");
    })
    .ok()
}

fn read(row: &AnyRow, clocks: Clocks) -> Result<PendingChange, StoreError> {
    let key = key(row)?;
    let broken = |what| StoreError::Unreadable { what: format!("the {what} of the change of \"{}\"", key.name) };
    let data = optional_text(row, 2)?.map(|text| RrData::parse(key.rtype, &text).ok_or_else(|| broken("data")));
    let desired = match (data.transpose()?, number(row, 3)?) {
        (None, WITHOUT) => return Err(broken("data")),
        (None, _) => Desired::Absent,
        (Some(data), WITHOUT) => Desired::Without(data),
        (Some(data), ttl) => Desired::Set { data, ttl: u32::try_from(ttl).map_err(|_| broken("TTL"))? },
    };
    let source = optional_text(row, 5)?.map(|text| text.parse()).transpose().map_err(|_| broken("source"))?;
    let stamp = Timestamp(number(row, 7)?);
    Ok(PendingChange {
        desired,
        account: text(row, 4)?,
        source,
        agent: optional_text(row, 6)?,
        accepted: clocks.by_ours(stamp),
        expires: optional_number(row, 8)?.map(Timestamp),
        stamp,
        key,
    })
}
