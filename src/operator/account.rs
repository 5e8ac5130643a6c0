//! Accounts: added, shown, disabled, removed; what they are granted; their secrets.

use std::sync::Arc;
use std::time::Duration;

use secrecy::zeroize::Zeroizing;

use super::admission::Granted;
use super::declared::missing_account;
use super::{AccountView, Operator, OperatorError, Records, make_secret};
use crate::config::DEFAULT_MAX_HOSTS;
use crate::model::{Families, Hostname, Timestamp, ZoneName};
use crate::store::{self, NewAccount, NewHost, StoreError};

/// A secret that is handed out this once.
pub type Secret = Zeroizing<String>;

/// Accounts that are read at once.
const PAGE: usize = 500;

/// What became of an account's secret.
#[derive(Debug)]
pub struct Shown {
    /// The user name.
    pub login: String,
    /// The generated secret; `None` where the caller chose one.
    pub secret: Option<Secret>,
}

/// Accounts, a page at a time: those of the file, then those of the store, each in order.
#[derive(Debug)]
pub struct AccountPages<'o> {
    operator: &'o Operator,
    declared: Vec<AccountView>,
    after: Option<Arc<str>>,
    is_done: bool,
}

impl Operator {
    /// Adds an account with what it is granted, or nothing.
    ///
    /// # Errors
    /// [`OperatorError`]
    pub async fn add_account(
        &self,
        login: &str,
        grants: &[String],
        adopt: bool,
        max_hosts: Option<u32>,
        password: Option<&str>,
    ) -> Result<Shown, OperatorError> {
        self.must_not_declare_account(login, "choose another login, or remove that [[account]] first")?;
        if self.store.account(login).await?.is_some() {
            return Err(StoreError::Clash { what: format!("account {login:?}") }.into());
        }
        let (names, wildcards) = self.grants(grants)?;
        for name in &names {
            self.may_have(login, name).await?;
        }
        self.must_be_free(&names, adopt).await?;
        let (secret, digest) = make_secret(password)?;
        let account = NewAccount {
            login: login.to_owned(),
            secret: digest,
            max_hosts: max_hosts.unwrap_or(DEFAULT_MAX_HOSTS),
            wildcards,
        };
        let hosts: Vec<_> = names.into_iter().map(|name| new_host(name, login)).collect();
        self.store.add_account(&account, &hosts).await?;
        Ok(Shown { login: login.to_owned(), secret })
    }

    /// The account of `login`.
    ///
    /// # Errors
    /// [`OperatorError`]
    pub async fn show_account(&self, login: &str) -> Result<AccountView, OperatorError> {
        match self.declared_account(login) {
            Some(account) => Ok(AccountView::declared(account)),
            None => self.view_account(&self.stored_account(login).await?).await,
        }
    }

    /// All accounts.
    #[must_use]
    pub fn accounts(&self) -> AccountPages<'_> {
        let mut declared: Vec<_> = self.config.accounts.iter().map(AccountView::declared).collect();
        declared.sort_unstable_by(|a, b| a.login.cmp(&b.login));
        AccountPages { operator: self, declared, after: None, is_done: false }
    }

    /// Lets it log in, or not.
    ///
    /// # Errors
    /// [`OperatorError`]
    pub async fn set_enabled(&self, login: &str, enabled: bool) -> Result<AccountView, OperatorError> {
        self.changeable_account(login, "remove that [[account]], or its hosts, there").await?;
        self.store.set_enabled(login, enabled).await?;
        self.show_account(login).await
    }

    /// Removes an account with its hosts; what it was, the names that are gone, and what becomes of their records.
    ///
    /// # Errors
    /// [`OperatorError`]
    pub async fn remove_account(
        &self,
        login: &str,
        keep_records: bool,
    ) -> Result<(AccountView, Vec<Hostname>, Records), OperatorError> {
        // One that is declared and kept is how a clash of the two is mended.
        let Some(account) = self.store.account(login).await? else {
            self.must_not_declare_account(login, "remove that [[account]] there")?;
            return Err(missing_account(login));
        };
        let view = self.view_account(&account).await?;
        let records = if keep_records { store::Records::Keep } else { store::Records::Remove };
        let names = self.store.remove_account(login, records).await?;
        let done = if keep_records { Records::Untouched } else { self.wait_for(&names).await? };
        Ok((view, names, done))
    }

    /// Grants names and wildcards; those that it has already stay.
    ///
    /// # Errors
    /// [`OperatorError`]
    pub async fn grant(&self, login: &str, grants: &[String], adopt: bool) -> Result<AccountView, OperatorError> {
        self.changeable_account(login, "add the name to its `hosts` there").await?;
        let (names, wildcards) = self.grants(grants)?;
        let mut new = Vec::with_capacity(names.len());
        for name in names {
            if !self.may_have(login, &name).await? {
                new.push(name);
            }
        }
        self.must_be_free(&new, adopt).await?;
        let hosts: Vec<_> = new.into_iter().map(|name| new_host(name, login)).collect();
        self.store.grant(login, &hosts, &wildcards).await?;
        self.show_account(login).await
    }

    /// Takes names and wildcards back: each must be its own. The records of names stay.
    ///
    /// # Errors
    /// [`OperatorError`]
    pub async fn revoke(&self, login: &str, grants: &[String]) -> Result<AccountView, OperatorError> {
        let account = self.changeable_account(login, "remove the name from its `hosts` there").await?;
        // A zone that is gone from the file must not keep what was granted in it.
        let (mut names, mut wildcards) = (Vec::new(), Vec::new());
        for text in grants {
            let missing = || OperatorError::Missing {
                what: format!("grant of {text} to account {login:?}"),
                mend: format!("`dyngate account show {login}` shows what it has"),
            };
            match self.granted(text)? {
                Granted::Below(above) if account.wildcards.contains(&above) => wildcards.push(above),
                Granted::Below(_) => return Err(missing()),
                Granted::Name(name) => {
                    let host = self.store.host(&name).await?.filter(|host| *host.login == *login);
                    names.push(host.ok_or_else(missing)?.name);
                }
            }
        }
        names.sort_unstable();
        names.dedup();
        self.store.revoke(login, &names, &wildcards).await?;
        self.show_account(login).await
    }

    /// Gives it a new secret; the old ones serve for `keep_old` more, or not at all.
    ///
    /// # Errors
    /// [`OperatorError`]
    pub async fn rotate(
        &self,
        login: &str,
        keep_old: Option<Duration>,
        password: Option<&str>,
    ) -> Result<Shown, OperatorError> {
        self.changeable_account(login, "set its `secret` there").await?;
        let (secret, digest) = make_secret(password)?;
        self.store.rotate(login, &digest, keep_old.map(|keep| Timestamp::now().plus(keep))).await?;
        Ok(Shown { login: login.to_owned(), secret })
    }

    pub(super) async fn changeable_account(&self, login: &str, mend: &str) -> Result<store::Account, OperatorError> {
        self.must_not_declare_account(login, mend)?;
        self.stored_account(login).await
    }

    /// Names and wildcards, each once, each in a zone of the file.
    fn grants(&self, texts: &[String]) -> Result<(Vec<Hostname>, Vec<ZoneName>), OperatorError> {
        let (mut names, mut wildcards) = (Vec::new(), Vec::new());
        for text in texts {
            match self.granted(text)? {
                Granted::Name(name) => {
                    self.zone_of(&name)?;
                    names.push(name);
                }
                Granted::Below(above) => {
                    self.must_hold_below(&above)?;
                    wildcards.push(above);
                }
            }
        }
        names.sort_unstable();
        names.dedup();
        wildcards.sort_unstable();
        wildcards.dedup();
        Ok((names, wildcards))
    }
}

impl AccountPages<'_> {
    /// The next page; `None` after the last one.
    ///
    /// # Errors
    /// The store's trouble.
    pub async fn next(&mut self) -> Result<Option<Vec<AccountView>>, OperatorError> {
        if self.is_done {
            return Ok(None);
        }
        let page = self.operator.store.accounts(self.after.as_deref(), PAGE).await?;
        self.is_done = page.len() < PAGE;
        // The file's lead the first page, so that a table of both is aligned.
        let mut shown = std::mem::take(&mut self.declared);
        for account in &page {
            shown.push(self.operator.view_account(account).await?);
        }
        self.after = page.into_iter().next_back().map(|account| account.login);
        Ok(Some(shown))
    }
}

fn new_host(name: Hostname, login: &str) -> NewHost {
    let (login, description) = (login.to_owned(), String::new());
    NewHost { name, login, ttl: None, families: Families::Both, description }
}
