//! Removing hosts and accounts, with all that hangs on them.

use super::host::name;
use super::session::{Purpose, Work, statement};
use super::{Store, StoreError, Subject};
use crate::model::{Hostname, PendingChange};

const DELETE_HOSTS: &str = "DELETE FROM host WHERE name IN";
const HOSTS_OF: &str = "SELECT name FROM host WHERE login = $1";
/// Names below wildcards that are reserved for this account alone: not those that are also somebody's host.
const RESERVED_OF: &str = "SELECT name FROM reserved WHERE login = $1 \
    AND NOT EXISTS (SELECT 1 FROM host WHERE host.name = reserved.name) \
    AND NOT EXISTS (SELECT 1 FROM reserved AS other WHERE other.name = reserved.name AND other.login <> $1)";
const TOKENS_OF: &str = "SELECT token.digest FROM token JOIN host ON host.name = token.name WHERE host.login = $1";
const DELETE_HOSTS_OF: &str = "DELETE FROM host WHERE login = $1";
const DELETE_RESERVED: &str = "DELETE FROM reserved WHERE login = $1";
const DELETE_COUNT: &str = "DELETE FROM reserved_count WHERE login = $1";
const DELETE_ACCOUNT: &str = "DELETE FROM account WHERE login = $1";
const FORGET: [&str; 2] = ["DELETE FROM state WHERE name IN", "DELETE FROM history WHERE name IN"];

/// What becomes of the zone's records of a host that is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordsPolicy {
    /// They stay, and whatever was pending of them is forgotten.
    Keep,
    /// They go: that is pending from the removal on.
    Remove,
}

impl Store {
    /// Removes a host, its tokens, its state and its history.
    ///
    /// # Errors
    /// [`StoreError::Unknown`]; or the store cannot be written.
    pub async fn remove_host(&self, name: &Hostname, records: RecordsPolicy) -> Result<(), StoreError> {
        let mut work = self.begin(Purpose::Administration).await?;
        let Some(host) = work.host(name).await? else { return work.without_host(name).await };
        work.remove_hosts(std::slice::from_ref(name), &host.login, records).await?;
        work.changed(Subject::Account(host.login));
        work.commit().await
    }

    /// Removes an account with its hosts and the names below wildcards that are reserved for it alone, and all that was known
    /// of them; the removed names, in their order.
    ///
    /// # Errors
    /// [`StoreError::Unknown`]; or the store cannot be written.
    pub async fn remove_account(&self, login: &str, records: RecordsPolicy) -> Result<Vec<Hostname>, StoreError> {
        let mut work = self.begin(Purpose::Administration).await?;
        work.allow_long_statements();
        if work.account(login).await?.is_none() {
            return work.without_account(login).await;
        }
        work.lock_counts([login].into_iter()).await?;
        let bound = |sql| statement(sql).bind(login.to_owned());
        let mut names = Vec::new();
        for row in work.rows(bound(HOSTS_OF)).await?.iter().chain(&work.rows(bound(RESERVED_OF)).await?) {
            names.push(name(row, 0)?);
        }
        names.sort_unstable();
        let tokens = work.rows(bound(TOKENS_OF)).await?;
        tokens.iter().try_for_each(|row| work.token_changed(row))?;
        for sql in [DELETE_HOSTS_OF, DELETE_RESERVED, DELETE_COUNT, DELETE_ACCOUNT] {
            work.run(bound(sql)).await?;
        }
        work.forget(&names, login, records).await?;
        work.changed(Subject::Account(login.into()));
        names.iter().for_each(|name| work.changed(Subject::Host(name.clone())));
        work.commit().await?;
        Ok(names)
    }
}

impl Work {
    /// Hosts of `login`, with their tokens, state and history.
    pub(super) async fn remove_hosts(
        &mut self,
        names: &[Hostname],
        login: &str,
        records: RecordsPolicy,
    ) -> Result<(), StoreError> {
        self.tokens_changed(names).await?;
        self.of_names(DELETE_HOSTS, names).await?;
        self.forget(names, login, records).await?;
        names.iter().for_each(|name| self.changed(Subject::Host(name.clone())));
        Ok(())
    }

    /// All that is known of `names`; what is pending of them from now on is what becomes of their records.
    async fn forget(&mut self, names: &[Hostname], login: &str, records: RecordsPolicy) -> Result<(), StoreError> {
        for sql in FORGET {
            self.of_names(sql, names).await?;
        }
        match records {
            RecordsPolicy::Keep => self.drop_pending(names).await,
            RecordsPolicy::Remove => {
                let removals = names.iter().flat_map(|name| PendingChange::removal(name, login));
                self.put_pending(&removals.collect::<Vec<_>>()).await
            }
        }
    }
}
