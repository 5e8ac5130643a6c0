//! Accounts: who may update, with which secrets and wildcard grants.

use std::sync::Arc;

use sqlx::any::AnyRow;

use super::fit::{self, MAX_SECRETS};
use super::session::{Purpose, Work, at_most, number, statement, text};
use super::{NewHost, RecordsPolicy, Store, StoreError, Subject};
use crate::model::{Hostname, PasswordDigest, Timestamp, ZoneName};

pub(super) const BY_LOGIN: &str =
    "SELECT login, secrets, wildcards, max_hosts, enabled, created FROM account WHERE login = $1";
const PAGE: &str = "SELECT login, secrets, wildcards, max_hosts, enabled, created FROM account WHERE login > $1 \
                    ORDER BY login LIMIT $2";
const LOGINS: &str = "SELECT login FROM account WHERE login IN";
const COUNT: &str = "SELECT COUNT(*) FROM account";
const SET_ENABLED: &str = "UPDATE account SET enabled = $2 WHERE login = $1";
const SET_SECRETS: &str = "UPDATE account SET secrets = $2 WHERE login = $1";
const SET_WILDCARDS: &str = "UPDATE account SET wildcards = $2 WHERE login = $1";
/// The columns and order of [`bind`].
pub(super) const INSERT: [&str; 2] =
    ["INSERT INTO account (login, secrets, wildcards, max_hosts, enabled, created)", ""];

/// Somebody who may update.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredAccount {
    /// The user name.
    pub login: Arc<str>,
    /// What stands for its passwords, newest first; those that expired may be among them.
    pub secrets: Vec<StoredSecret>,
    /// Names below which everything is granted: the part after `*.`.
    pub wildcards: Vec<ZoneName>,
    /// Distinct names that the wildcard grants may bring into being.
    pub max_hosts: u32,
    /// Whether it may log in.
    pub enabled: bool,
    /// Since when.
    pub created: Timestamp,
}

/// What stands for a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSecret {
    /// Its digest.
    pub digest: PasswordDigest,
    /// From when on it is not taken any more.
    pub expires: Option<Timestamp>,
}

/// An account to be.
#[derive(Debug, Clone)]
pub struct NewAccount {
    /// The user name.
    pub login: String,
    /// What stands for its password.
    pub secret: PasswordDigest,
    /// Distinct names that the wildcard grants may bring into being.
    pub max_hosts: u32,
    /// Names below which everything is granted: the part after `*.`.
    pub wildcards: Vec<ZoneName>,
}

impl Store {
    /// The account of `login`.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn account(&self, login: &str) -> Result<Option<StoredAccount>, StoreError> {
        let row = self.row(statement(BY_LOGIN).bind(login.to_owned())).await?;
        row.as_ref().map(read).transpose()
    }

    /// At most `limit` accounts in the order of their logins, those after `after`.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn accounts(&self, after: Option<&str>, limit: usize) -> Result<Vec<StoredAccount>, StoreError> {
        let page = statement(PAGE).bind(after.unwrap_or_default().to_owned()).bind(at_most(limit));
        self.rows(page).await?.iter().map(read).collect()
    }

    /// Those of `logins` that are accounts, in no order.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn logins(&self, logins: &[Arc<str>]) -> Result<Vec<String>, StoreError> {
        self.of_names(LOGINS, logins).await?.iter().map(|row| text(row, 0)).collect()
    }

    /// How many accounts there are.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn count_accounts(&self) -> Result<u64, StoreError> {
        self.count(COUNT).await
    }

    pub(super) async fn count(&self, sql: &'static str) -> Result<u64, StoreError> {
        let row = self.row(statement(sql)).await?;
        let count = row.as_ref().map_or(Ok(0), |row| number(row, 0))?;
        Ok(u64::try_from(count).unwrap_or(0))
    }

    /// Adds an account with its hosts, or nothing. Nothing stays pending of the hosts' names.
    ///
    /// # Errors
    /// [`StoreError::Clash`] names what is there already; or the store cannot be written.
    pub async fn add_account(&self, account: &NewAccount, hosts: &[NewHost]) -> Result<(), StoreError> {
        fit::login(&account.login)?;
        fit::wildcards(account.wildcards.len())?;
        let account = StoredAccount {
            login: account.login.as_str().into(),
            secrets: vec![StoredSecret { digest: account.secret.clone(), expires: None }],
            wildcards: account.wildcards.clone(),
            max_hosts: account.max_hosts,
            enabled: true,
            created: Timestamp::now(),
        };
        let mut work = self.begin(Purpose::Administration).await?;
        if work.account(&account.login).await?.is_some() {
            work.abandon().await?;
            return Err(StoreError::Clash { what: format!("account \"{}\"", account.login) });
        }
        work.write(INSERT, 6, std::slice::from_ref(&account), bind).await?;
        work.changed(Subject::Account(Arc::clone(&account.login)));
        work.add_hosts(hosts, account.created).await?;
        work.commit().await
    }

    /// Lets it log in, or not.
    ///
    /// # Errors
    /// [`StoreError::Unknown`]; or the store cannot be written.
    pub async fn set_enabled(&self, login: &str, enabled: bool) -> Result<(), StoreError> {
        let mut work = self.begin(Purpose::Administration).await?;
        let set = statement(SET_ENABLED).bind(login.to_owned()).bind(i64::from(enabled));
        if work.run(set).await? == 0 {
            return work.without_account(login).await;
        }
        work.changed(Subject::Account(login.into()));
        work.commit().await
    }

    /// Gives it hosts, and everything below these names: all of it or nothing. Wildcards that it has already stay; nothing
    /// stays pending of the hosts' names.
    ///
    /// # Errors
    /// [`StoreError::Unknown`]; [`StoreError::Clash`] where a host is there already; [`StoreError::Unfit`]; or the store
    /// cannot be written.
    pub async fn grant(&self, login: &str, hosts: &[NewHost], wildcards: &[ZoneName]) -> Result<(), StoreError> {
        let mut work = self.begin(Purpose::Administration).await?;
        let Some(mut account) = work.account(login).await? else { return work.without_account(login).await };
        for wildcard in wildcards {
            if !account.wildcards.contains(wildcard) {
                account.wildcards.push(wildcard.clone());
            }
        }
        fit::wildcards(account.wildcards.len())?;
        work.set_wildcards(&account).await?;
        work.add_hosts(hosts, Timestamp::now()).await?;
        work.commit().await
    }

    /// Takes hosts and wildcards back: all of them, or none. The hosts' records stay.
    ///
    /// # Errors
    /// [`StoreError::Unknown`] where there is no such account, or one of them was not granted; or the store cannot be written.
    pub async fn revoke(&self, login: &str, names: &[Hostname], wildcards: &[ZoneName]) -> Result<(), StoreError> {
        let mut work = self.begin(Purpose::Administration).await?;
        let Some(mut account) = work.account(login).await? else { return work.without_account(login).await };
        let owners = work.owners(names).await?;
        let is_its = |name: &Hostname| owners.get(name).is_some_and(|owner| owner == login);
        let missing = match wildcards.iter().find(|wildcard| !account.wildcards.contains(wildcard)) {
            Some(wildcard) => Some(format!("*.{wildcard}")),
            None => names.iter().find(|name| !is_its(name)).map(ToString::to_string),
        };
        if let Some(missing) = missing {
            work.abandon().await?;
            return Err(StoreError::Unknown { what: format!("grant of \"{missing}\" to account \"{login}\"") });
        }
        account.wildcards.retain(|granted| !wildcards.contains(granted));
        work.set_wildcards(&account).await?;
        work.remove_hosts(names, login, RecordsPolicy::Keep).await?;
        work.commit().await
    }

    /// Gives it a new secret. Those that it has serve until `keep_old_until`, or no more; none lives longer than it would have.
    ///
    /// # Errors
    /// [`StoreError::Unknown`]; [`StoreError::Unfit`] where too many old ones are still in force; or the store cannot be
    /// written.
    pub async fn rotate(
        &self,
        login: &str,
        digest: &PasswordDigest,
        keep_old_until: Option<Timestamp>,
    ) -> Result<(), StoreError> {
        let mut work = self.begin(Purpose::Administration).await?;
        let Some(account) = work.account(login).await? else { return work.without_account(login).await };
        let now = Timestamp::now();
        let mut secrets = vec![StoredSecret { digest: digest.clone(), expires: None }];
        if let Some(until) = keep_old_until.filter(|until| *until > now) {
            let alive = account.secrets.into_iter().filter(|old| old.expires.is_none_or(|expires| expires > now));
            let ending = |old: StoredSecret| {
                let expires = old.expires.map_or(until, |expires| expires.min(until));
                StoredSecret { digest: old.digest, expires: Some(expires) }
            };
            secrets.extend(alive.map(ending));
        }
        if secrets.len() > MAX_SECRETS {
            work.abandon().await?;
            let why =
                format!("has {} secrets that are still in force: rotate without keeping the old ones", MAX_SECRETS);
            return Err(StoreError::Unfit { what: "the account", why });
        }
        work.run(statement(SET_SECRETS).bind(login.to_owned()).bind(secrets_text(&secrets))).await?;
        work.changed(Subject::Account(login.into()));
        work.commit().await
    }
}

impl Work {
    pub(super) async fn account(&mut self, login: &str) -> Result<Option<StoredAccount>, StoreError> {
        let row = self.row(statement(BY_LOGIN).bind(login.to_owned())).await?;
        row.as_ref().map(read).transpose()
    }

    pub(super) async fn without_account<T>(self, login: &str) -> Result<T, StoreError> {
        self.abandon().await?;
        Err(StoreError::Unknown { what: format!("account \"{login}\"") })
    }

    async fn set_wildcards(&mut self, account: &StoredAccount) -> Result<(), StoreError> {
        let set = statement(SET_WILDCARDS).bind(account.login.to_string());
        self.run(set.bind(wildcards_text(&account.wildcards))).await?;
        self.changed(Subject::Account(Arc::clone(&account.login)));
        Ok(())
    }
}

/// Binds what [`INSERT`] writes.
pub(super) fn bind(query: super::session::Statement, account: &StoredAccount) -> super::session::Statement {
    query
        .bind(account.login.to_string())
        .bind(secrets_text(&account.secrets))
        .bind(wildcards_text(&account.wildcards))
        .bind(i64::from(account.max_hosts))
        .bind(i64::from(account.enabled))
        .bind(account.created.0)
}

fn secrets_text(secrets: &[StoredSecret]) -> String {
    let line = |secret: &StoredSecret| match secret.expires {
        Some(Timestamp(expires)) => format!("{} {expires}", secret.digest.text()),
        None => secret.digest.text(),
    };
    secrets.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn wildcards_text(wildcards: &[ZoneName]) -> String {
    wildcards.iter().map(ZoneName::as_str).collect::<Vec<_>>().join(" ")
}

pub(super) fn read(row: &AnyRow) -> Result<StoredAccount, StoreError> {
    let login = text(row, 0)?;
    let broken = |what: &str| StoreError::broken(format!("{what} of account \"{login}\" cannot be read"));
    let secret = |line: &str| {
        let (digest, expires) = line.split_once(' ').map_or((line, None), |(digest, expires)| (digest, Some(expires)));
        let expires = expires.map(str::parse).transpose().map_err(|_| broken("a secret's end"))?;
        let digest = PasswordDigest::parse(digest).map_err(|_| broken("a secret"))?;
        Ok(StoredSecret { digest, expires: expires.map(Timestamp) })
    };
    let wildcards = text(row, 2)?;
    let wildcards = wildcards.split_ascii_whitespace().map(ZoneName::parse).collect::<Result<_, _>>();
    Ok(StoredAccount {
        secrets: text(row, 1)?.lines().map(secret).collect::<Result<_, StoreError>>()?,
        wildcards: wildcards.map_err(|_| broken("a wildcard"))?,
        max_hosts: u32::try_from(number(row, 3)?).map_err(|_| broken("max_hosts"))?,
        enabled: number(row, 4)? != 0,
        created: Timestamp(number(row, 5)?),
        login: login.into(),
    })
}
