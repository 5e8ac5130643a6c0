//! Hosts: names that are granted to one account, with their settings.

use std::collections::BTreeMap;
use std::sync::Arc;

use sqlx::any::AnyRow;

use super::fit;
use super::session::{
    Purpose, Statement, Work, at_most, listing, number, optional_number, optional_text, statement, text,
};
use super::{Store, StoreError, Subject};
use crate::model::{Families, Hostname, PendingChange, Timestamp};

pub(super) const BY_NAME: &str =
    "SELECT name, login, ttl, families, description, blocked, created FROM host WHERE name = $1";
const PAGE: &str = "SELECT name, login, ttl, families, description, blocked, created FROM host WHERE name > $1 \
                    ORDER BY name LIMIT $2";
const PAGE_OF: &str = "SELECT name, login, ttl, families, description, blocked, created FROM host \
                       WHERE login = $3 AND name > $1 ORDER BY name LIMIT $2";
pub(super) const NAMES_OF: &str = "SELECT name FROM host WHERE login = $1 AND name > $2 ORDER BY name LIMIT $3";
const NAMES_OF_ALL: [&str; 2] = ["SELECT login, name FROM host WHERE login IN", "ORDER BY login, name LIMIT ?"];
const OWNERS: &str = "SELECT name, login FROM host WHERE name IN";
const COUNT: &str = "SELECT COUNT(*) FROM host";
const SET: &str = "UPDATE host SET ttl = $2, families = $3, description = $4, blocked = $5 WHERE name = $1";
/// The columns and order of [`bind`].
pub(super) const INSERT: [&str; 2] =
    ["INSERT INTO host (name, login, ttl, families, description, blocked, created)", ""];

/// A name of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredHost {
    /// Its name.
    pub name: Hostname,
    /// Whose it is.
    pub login: Arc<str>,
    /// Its TTL in seconds, in place of the zone's.
    pub ttl: Option<u32>,
    /// Which addresses it may have.
    pub families: Families,
    /// For people.
    pub description: String,
    /// Why it may not be updated, while it may not.
    pub blocked: Option<String>,
    /// Since when.
    pub created: Timestamp,
}

/// A host to be.
#[derive(Debug, Clone)]
pub struct NewHost {
    /// Its name.
    pub name: Hostname,
    /// Whose it will be.
    pub login: String,
    /// Its TTL in seconds, in place of the zone's.
    pub ttl: Option<u32>,
    /// Which addresses it may have.
    pub families: Families,
    /// For people.
    pub description: String,
}

/// What to change of a host; `None` leaves it as it is.
#[derive(Debug, Clone, Default)]
pub struct HostEdit {
    /// Its TTL in seconds, or none of its own.
    pub ttl: Option<Option<u32>>,
    /// Which addresses it may have.
    pub families: Option<Families>,
    /// For people.
    pub description: Option<String>,
}

impl Store {
    /// The host `name`.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn host(&self, name: &Hostname) -> Result<Option<StoredHost>, StoreError> {
        let row = self.row(statement(BY_NAME).bind(name.to_string())).await?;
        row.as_ref().map(read).transpose()
    }

    /// The accounts of those of `names` that are hosts, in no order.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn owners(&self, names: &[Hostname]) -> Result<Vec<(Hostname, String)>, StoreError> {
        let rows = self.of_names(OWNERS, names).await?;
        rows.iter().map(|row| Ok((name(row, 0)?, text(row, 1)?))).collect()
    }

    /// At most `limit` names of `login`, in their order, those after `after`.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn hosts_of(
        &self,
        login: &str,
        after: Option<&Hostname>,
        limit: usize,
    ) -> Result<Vec<Hostname>, StoreError> {
        let after = after.map(ToString::to_string).unwrap_or_default();
        let page = statement(NAMES_OF).bind(login.to_owned()).bind(after).bind(at_most(limit));
        self.rows(page).await?.iter().map(|row| name(row, 0)).collect()
    }

    /// The first `limit` names of these accounts, in the order of the logins, then of the names.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn hosts_of_all(
        &self,
        logins: &[&Arc<str>],
        limit: usize,
    ) -> Result<Vec<(String, Hostname)>, StoreError> {
        let mut found = Vec::new();
        for statement in listing(self.inner.database, NAMES_OF_ALL, |query| query, logins) {
            let rows = self.rows(statement.bind(at_most(limit - found.len()))).await?;
            found.extend(
                rows.iter().map(|row| Ok((text(row, 0)?, name(row, 1)?))).collect::<Result<Vec<_>, StoreError>>()?,
            );
            if found.len() >= limit {
                break;
            }
        }
        Ok(found)
    }

    /// At most `limit` hosts, in the order of their names, of `login` or of all, those after `after`.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn hosts(
        &self,
        login: Option<&str>,
        after: Option<&Hostname>,
        limit: usize,
    ) -> Result<Vec<StoredHost>, StoreError> {
        let after = after.map(ToString::to_string).unwrap_or_default();
        let page = match login {
            Some(login) => statement(PAGE_OF).bind(after).bind(at_most(limit)).bind(login.to_owned()),
            None => statement(PAGE).bind(after).bind(at_most(limit)),
        };
        self.rows(page).await?.iter().map(read).collect()
    }

    /// How many hosts there are.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn count_hosts(&self) -> Result<u64, StoreError> {
        self.count(COUNT).await
    }

    /// Adds a host, and what the zone shall hold for it in place of all that was pending of its name, or nothing.
    ///
    /// # Errors
    /// [`StoreError::Clash`] where it is there already; [`StoreError::Unknown`] where the account is not; or the store cannot
    /// be written.
    pub async fn add_host(&self, host: &NewHost, pending: &[PendingChange]) -> Result<(), StoreError> {
        let mut work = self.begin(Purpose::Administration).await?;
        if work.account(&host.login).await?.is_none() {
            return work.without_account(&host.login).await;
        }
        work.add_hosts(std::slice::from_ref(host), Timestamp::now()).await?;
        work.changed(Subject::Account(host.login.as_str().into()));
        work.put_pending(pending).await?;
        work.commit().await
    }

    /// Changes its settings.
    ///
    /// # Errors
    /// [`StoreError::Unknown`]; [`StoreError::Unfit`]; or the store cannot be written.
    pub async fn set_host(&self, name: &Hostname, edit: &HostEdit) -> Result<(), StoreError> {
        self.change_host(name, |host| {
            if let Some(ttl) = edit.ttl {
                host.ttl = ttl;
            }
            if let Some(families) = edit.families {
                host.families = families;
            }
            if let Some(description) = &edit.description {
                host.description.clone_from(description);
            }
        })
        .await
    }

    /// Forbids updates of it and says why, or with `None` allows them again.
    ///
    /// # Errors
    /// [`StoreError::Unknown`]; [`StoreError::Unfit`]; or the store cannot be written.
    pub async fn block(&self, name: &Hostname, reason: Option<&str>) -> Result<(), StoreError> {
        self.change_host(name, |host| host.blocked = reason.map(str::to_owned)).await
    }

    async fn change_host(&self, name: &Hostname, change: impl FnOnce(&mut StoredHost)) -> Result<(), StoreError> {
        let mut work = self.begin(Purpose::Administration).await?;
        let Some(mut host) = work.host(name).await? else { return work.without_host(name).await };
        change(&mut host);
        check(&host)?;
        let set = statement(SET).bind(name.to_string()).bind(host.ttl.map(i64::from));
        let set = set.bind(families_text(host.families).to_owned()).bind(host.description).bind(host.blocked);
        work.run(set).await?;
        work.changed(Subject::Host(name.clone()));
        work.commit().await
    }
}

impl Work {
    pub(super) async fn host(&mut self, name: &Hostname) -> Result<Option<StoredHost>, StoreError> {
        let row = self.row(statement(BY_NAME).bind(name.to_string())).await?;
        row.as_ref().map(read).transpose()
    }

    pub(super) async fn without_host<T>(self, name: &Hostname) -> Result<T, StoreError> {
        self.abandon().await?;
        Err(StoreError::Unknown { what: format!("host \"{name}\"") })
    }

    /// The accounts of those of `names` that are hosts.
    pub(super) async fn owners(&mut self, names: &[Hostname]) -> Result<BTreeMap<Hostname, String>, StoreError> {
        let rows = self.of_names(OWNERS, names).await?;
        rows.iter().map(|row| Ok((name(row, 0)?, text(row, 1)?))).collect()
    }

    /// Their accounts must be there. What an earlier host of a name left to be done must not happen to the new one.
    pub(super) async fn add_hosts(&mut self, hosts: &[NewHost], created: Timestamp) -> Result<(), StoreError> {
        let new = |host: &NewHost| StoredHost {
            name: host.name.clone(),
            login: host.login.as_str().into(),
            ttl: host.ttl,
            families: host.families,
            description: host.description.clone(),
            blocked: None,
            created,
        };
        let hosts: Vec<_> = hosts.iter().map(new).collect();
        hosts.iter().try_for_each(check)?;
        let names: Vec<_> = hosts.iter().map(|host| host.name.clone()).collect();
        if let Some((name, login)) = self.owners(&names).await?.pop_first() {
            return Err(StoreError::Clash { what: format!("host \"{name}\" of account \"{login}\"") });
        }
        self.write(INSERT, 7, &hosts, bind).await?;
        names.iter().for_each(|name| self.changed(Subject::Host(name.clone())));
        self.drop_pending(&names).await
    }
}

/// What the store takes of it.
pub(super) fn check(host: &StoredHost) -> Result<(), StoreError> {
    fit::line("the description", &host.description)?;
    if let Some(reason) = &host.blocked {
        fit::line("the reason", reason)?;
    }
    host.ttl.map_or(Ok(()), fit::ttl)
}

/// Binds what [`INSERT`] writes.
pub(super) fn bind(query: Statement, host: &StoredHost) -> Statement {
    query
        .bind(host.name.to_string())
        .bind(host.login.to_string())
        .bind(host.ttl.map(i64::from))
        .bind(families_text(host.families).to_owned())
        .bind(host.description.clone())
        .bind(host.blocked.clone())
        .bind(host.created.0)
}

pub(super) fn families_text(families: Families) -> &'static str {
    match families {
        Families::V4 => "4",
        Families::V6 => "6",
        Families::Both => "46",
    }
}

pub(super) fn parse_families(text: &str) -> Option<Families> {
    match text {
        "4" => Some(Families::V4),
        "6" => Some(Families::V6),
        "46" => Some(Families::Both),
        _ => None,
    }
}

/// A host name of a row.
pub(super) fn name(row: &AnyRow, column: usize) -> Result<Hostname, StoreError> {
    let text = text(row, column)?;
    Hostname::parse(&text).map_err(|error| StoreError::broken(format!("it holds \"{text}\" as a name: {error}")))
}

pub(super) fn read(row: &AnyRow) -> Result<StoredHost, StoreError> {
    let name = name(row, 0)?;
    let broken = |what: &str| StoreError::broken(format!("{what} of host \"{name}\" cannot be read"));
    Ok(StoredHost {
        login: text(row, 1)?.into(),
        ttl: optional_number(row, 2)?.map(u32::try_from).transpose().map_err(|_| broken("the TTL"))?,
        families: parse_families(&text(row, 3)?).ok_or_else(|| broken("families"))?,
        description: text(row, 4)?,
        blocked: optional_text(row, 5)?,
        created: Timestamp(number(row, 6)?),
        name,
    })
}
