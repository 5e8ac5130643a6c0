//! Names below wildcards, which count for an account once they are reserved. It knows nothing of the requests behind them.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use sqlx::any::AnyRow;

use super::account_row::name_and_login;
use super::fit;
use super::rows::Rows;
use super::session::{Purpose, Statement, Work, at_most, number, optional_text, statement, text};
use super::{Store, StoreError};
use crate::model::Hostname;

const RESERVED: &str = "SELECT login, name, gateway FROM reserved WHERE name IN ({text})";
/// Not those that are also a host: it tells more of them. A name of several accounts is the first one's.
const PAGE: &str = "SELECT name, MIN(login) FROM reserved WHERE name > $1 \
                    AND NOT EXISTS (SELECT 1 FROM host WHERE host.name = reserved.name) \
                    GROUP BY name ORDER BY name LIMIT $2";
const PAGE_OF: &str = "SELECT name, login FROM reserved WHERE login = $3 AND name > $1 \
                       AND NOT EXISTS (SELECT 1 FROM host WHERE host.name = reserved.name) ORDER BY name LIMIT $2";
pub(super) const LOGINS: &str = "SELECT login FROM reserved WHERE name = $1 ORDER BY login LIMIT 1";
const INSERT: &str = "INSERT INTO reserved (login, name, gateway) {text, text, text} \
                      ON CONFLICT (login, name) DO NOTHING RETURNING login";
const DELETE: &str = "DELETE FROM reserved WHERE login = ? AND gateway = ? AND name IN ({text}) RETURNING login";
const SHARE: &str = "UPDATE reserved SET gateway = NULL WHERE gateway <> ? AND (login, name) IN ({text, text})";
/// Locks the counts too, one gateway at a time for each login: it may be one of the file, which has no row to lock.
const COUNTS: &str = "INSERT INTO reserved_count (login, names) {text, bigint} \
                      ON CONFLICT (login) DO UPDATE SET names = reserved_count.names RETURNING login, names";
const SET_COUNTS: &str = "INSERT INTO reserved_count (login, names) {text, bigint} \
                          ON CONFLICT (login) DO UPDATE SET names = excluded.names";
/// The names below wildcards, of one store.
#[derive(Debug, Clone, Copy)]
pub struct Reservations<'s>(pub(super) &'s Store);

/// A name below a wildcard, which is to count for an account.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the names say it")]
pub struct NameRequest {
    pub login: Arc<str>,
    pub name: Hostname,
    /// How many such names the account may have.
    pub most: u32,
}

/// Whether a name is reserved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reserved {
    /// It is, since this call.
    New,
    /// It had been before.
    Known,
    /// It is not: the account has as many as it may have.
    TooMany,
}

impl Reservations<'_> {
    /// Releases what `released` names, and reserves what `requests` name in their order, in one transaction; what became of
    /// each request. A name is released only where this store, as it was opened, reserved it and no other gateway asked for
    /// it since.
    ///
    /// # Errors
    /// The store cannot be written; then nothing was.
    pub async fn reserve(
        self,
        released: &[(Arc<str>, Hostname)],
        requests: &[NameRequest],
    ) -> Result<Vec<Reserved>, StoreError> {
        requests.iter().try_for_each(|request| fit::login(&request.login))?;
        let gateway = self.0.inner.gateway.as_str();
        if released.is_empty() {
            // Nearly always; it needs no writer.
            let names = requests.iter().map(|request| request.name.clone()).collect::<BTreeSet<_>>();
            let there = there(&self.0.of_names(RESERVED, &Vec::from_iter(names)).await?, gateway)?;
            if requests.iter().all(|request| there.get(&key(request)) == Some(&true)) {
                return Ok(vec![Reserved::Known; requests.len()]);
            }
        }
        let mut work = self.0.begin(Purpose::Recording).await?;
        let reserved = work.reserve(gateway, released, requests).await?;
        work.commit().await?;
        Ok(reserved)
    }

    /// At most `limit` names below wildcards that are reserved and are no hosts, of `login` or of all, each with the account:
    /// in the order of the names, those after `after`.
    pub async fn page(
        self,
        login: Option<&str>,
        after: Option<&Hostname>,
        limit: usize,
    ) -> Result<Vec<(Hostname, String)>, StoreError> {
        let page = |after, most| match login {
            Some(login) => statement(PAGE_OF).bind(after).bind(most).bind(login.to_owned()),
            None => statement(PAGE).bind(after).bind(most),
        };
        self.0.page(after.map(Hostname::as_str), limit, page, name_and_login).await
    }

    /// The first account that `name` is reserved for.
    pub async fn first_account_of(self, name: &Hostname) -> Result<Option<String>, StoreError> {
        let row = self.0.row(statement(LOGINS).bind(name.to_string())).await?;
        row.map(|row| text(&row, 0)).transpose()
    }
}

type LoginAndName = (String, String);

fn key(request: &NameRequest) -> LoginAndName {
    (request.login.to_string(), request.name.to_string())
}

/// What is reserved of the names that were asked for, for whatever login: by us or for good, or else by another gateway, which
/// may release it.
fn there(rows: &[AnyRow], gateway: &str) -> Result<HashMap<LoginAndName, bool>, StoreError> {
    let is_ours = |row| Ok::<_, StoreError>(optional_text(row, 2)?.is_none_or(|by| by == gateway));
    rows.iter().map(|row| Ok(((text(row, 0)?, text(row, 1)?), is_ours(row)?))).collect()
}

impl Work {
    async fn reserve(
        &mut self,
        gateway: &str,
        released: &[(Arc<str>, Hostname)],
        requests: &[NameRequest],
    ) -> Result<Vec<Reserved>, StoreError> {
        let logins = released.iter().map(|(login, _)| login).chain(requests.iter().map(|request| &request.login));
        let before = self.lock_counts(logins.map(AsRef::as_ref)).await?;
        let mut counts = before.clone();

        let mut by_login: HashMap<&str, Vec<&Hostname>> = HashMap::new();
        released.iter().for_each(|(login, name)| by_login.entry(login).or_default().push(name));
        for (login, names) in by_login {
            let bind = |query: Statement| query.bind(login.to_owned()).bind(gateway.to_owned());
            let deleted = self.on_rows(DELETE, bind, &names, |rows, name| rows.bind(name.to_string())).await?.len();
            *counts.entry(login.to_owned()).or_default() -= at_most(deleted);
        }

        let names = requests.iter().map(|request| request.name.clone()).collect::<BTreeSet<_>>();
        let there = there(&self.of_names(RESERVED, &Vec::from_iter(names)).await?, gateway)?;
        let (mut new, mut shared, mut answers) = (BTreeSet::new(), BTreeSet::new(), Vec::with_capacity(requests.len()));
        for request in requests {
            let key = key(request);
            let count = counts.entry(key.0.clone()).or_default();
            answers.push(match there.get(&key) {
                Some(true) => Reserved::Known,
                Some(false) => {
                    shared.insert(key);
                    Reserved::Known
                }
                None if new.contains(&key) => Reserved::New,
                None if *count < i64::from(request.most) => {
                    *count += 1;
                    new.insert(key);
                    Reserved::New
                }
                None => Reserved::TooMany,
            });
        }
        if !shared.is_empty() {
            self.share(gateway, &shared).await?;
        }
        self.write(INSERT, &Vec::from_iter(new), |rows, (login, name)| rows.bind(login).bind(name).bind(gateway))
            .await?;
        counts.retain(|login, count| before.get(login) != Some(count));
        self.set_counts(counts).await?;
        Ok(answers)
    }

    /// Another gateway reserved these and may still see its request fail: what two rely on stays.
    async fn share(&mut self, gateway: &str, names: &BTreeSet<LoginAndName>) -> Result<(), StoreError> {
        // Of other accounts nothing: their counts are not locked.
        let bind = |statement: Statement| statement.bind(gateway.to_owned());
        let names = Vec::from_iter(names);
        self.on_rows(SHARE, bind, &names, |rows, (login, name)| rows.bind(login).bind(name)).await.map(drop)
    }

    /// How many names each of these has. Nobody else changes that before the end of this transaction; the order keeps two
    /// gateways from waiting for each other.
    pub(super) async fn lock_counts(
        &mut self,
        logins: impl Iterator<Item = &str>,
    ) -> Result<HashMap<String, i64>, StoreError> {
        let logins: BTreeSet<_> = logins.collect();
        let bind = |rows: Rows, login: &&str| rows.bind(login).bind(0);
        let counts = self.write(COUNTS, &Vec::from_iter(logins), bind).await?;
        // One that cannot be read is its account's alone, which gets no more names.
        counts.iter().map(|row| Ok((text(row, 0)?, number(row, 1).unwrap_or(i64::MAX)))).collect()
    }

    async fn set_counts(&mut self, counts: HashMap<String, i64>) -> Result<(), StoreError> {
        let counts = Vec::from_iter(counts);
        self.write(SET_COUNTS, &counts, |rows, (login, count)| rows.bind(login).bind(count)).await.map(drop)
    }

    /// Reserves these for good, however many the accounts may have.
    pub(super) async fn reserve_imported<'a>(
        &mut self,
        names: impl Iterator<Item = (&'a str, &'a str)> + Clone,
    ) -> Result<(), StoreError> {
        let mut counts = self.lock_counts(names.clone().map(|(login, _)| login)).await?;
        let bind = |rows: Rows, (login, name): &(&str, &str)| rows.bind(login).bind(name).bind(None::<&str>);
        for new in self.write(INSERT, &Vec::from_iter(names), bind).await? {
            *counts.entry(text(&new, 0)?).or_default() += 1;
        }
        self.set_counts(counts).await
    }
}
