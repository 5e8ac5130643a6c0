//! What the file declares, as commands look for it: by login, by name, by owner.

use std::collections::{BTreeMap, HashMap};

use super::{Operator, OperatorError};
use crate::config::{self, Config};
use crate::model::Hostname;

/// Accounts and hosts of the file; positions in its lists.
#[derive(Debug)]
pub(super) struct Declared {
    accounts: HashMap<String, usize>,
    hosts: BTreeMap<Hostname, Names>,
}

/// What the file says of a name.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// Logins that are granted it by name, in the file's order.
    pub(super) owners: Vec<String>,
    /// Its own TTL.
    pub(super) ttl: Option<u32>,
}

impl Declared {
    pub(super) fn new(config: &Config) -> Self {
        let mut hosts: BTreeMap<Hostname, Names> = BTreeMap::new();
        for account in &config.accounts {
            for name in &account.hosts {
                hosts.entry(name.clone()).or_default().owners.push(account.login.clone());
            }
        }
        for host in &config.hosts {
            hosts.entry(host.name.clone()).or_default().ttl = host.ttl;
        }
        let accounts = config.accounts.iter().enumerate().map(|(at, account)| (account.login.clone(), at)).collect();
        Self { accounts, hosts }
    }

    pub(super) fn host(&self, name: &Hostname) -> Option<&Names> {
        self.hosts.get(name)
    }

    /// Every name, sorted.
    pub(super) fn hosts(&self) -> impl Iterator<Item = (&Hostname, &Names)> {
        self.hosts.iter()
    }
}

impl Operator {
    pub(super) fn declared_account(&self, login: &str) -> Option<&config::Account> {
        self.declared.accounts.get(login).and_then(|at| self.config.accounts.get(*at))
    }

    /// # Errors
    /// [`OperatorError::Declared`] where the file declares the account; `mend` says what to do there.
    pub(super) fn must_not_declare_account(&self, login: &str, mend: &str) -> Result<(), OperatorError> {
        match self.declared_account(login) {
            None => Ok(()),
            Some(_) => Err(OperatorError::Declared {
                what: format!("account {login:?}"),
                file: self.file.clone(),
                mend: mend.to_owned(),
            }),
        }
    }

    /// # Errors
    /// [`OperatorError::Declared`] where the file declares the name; `mend` says what to do there.
    pub(super) fn must_not_declare_host(&self, name: &Hostname, mend: &str) -> Result<(), OperatorError> {
        let Some(names) = self.declared.host(name) else { return Ok(()) };
        let what = match names.owners.first() {
            Some(owner) => format!("host {name} of account {owner:?}"),
            None => format!("host {name}"),
        };
        Err(OperatorError::Declared { what, file: self.file.clone(), mend: mend.to_owned() })
    }

    /// The account must be in the store.
    ///
    /// # Errors
    /// [`OperatorError::Missing`]; or the store's trouble.
    pub(super) async fn stored_account(&self, login: &str) -> Result<crate::store::Account, OperatorError> {
        self.store.account(login).await?.ok_or_else(|| missing_account(login))
    }

    /// The host must be in the store.
    ///
    /// # Errors
    /// [`OperatorError::Missing`]; or the store's trouble.
    pub(super) async fn stored_host(&self, name: &Hostname) -> Result<crate::store::Host, OperatorError> {
        match self.store.host(name).await? {
            Some(host) => Ok(host),
            None => Err(self.no_host(name).await),
        }
    }

    /// Why there is no host `name` in the store.
    pub(super) async fn no_host(&self, name: &Hostname) -> OperatorError {
        match self.store.reserved_for(name).await {
            Ok(Some(login)) => OperatorError::BelowWildcard { name: name.clone(), login },
            Ok(None) => OperatorError::Missing {
                what: format!("host {name}"),
                mend: "`dyngate host list` shows those that there are".to_owned(),
            },
            Err(error) => error.into(),
        }
    }
}

pub(super) fn missing_account(login: &str) -> OperatorError {
    OperatorError::Missing {
        what: format!("account {login:?}"),
        mend: "`dyngate account list` shows those that there are".to_owned(),
    }
}
