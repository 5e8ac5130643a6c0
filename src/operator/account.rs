//! Accounts: added, shown, disabled, removed; what they are granted; their secrets.

use std::time::Duration;

use super::{
    AccountView, Actor, Cursor, GrantText, Operator, OperatorError, PAGE, Page, Part, RecordsState, Resource, Result,
    SHOWN, SecretView, make_secret,
};
use crate::config::DEFAULT_MAX_HOSTS;
use crate::model::{Families, Hostname, Timestamp, ZoneName, listed};
use crate::store::{self, NewAccount, NewHost, RecordsPolicy, StoreError};

/// Names that are read with one account, and on average with each of a page.
const NAMES: usize = 10 * PAGE;

/// What an account shall be like.
#[derive(Debug, Clone, Copy, Default)]
pub struct NewAccountOptions<'a> {
    /// Names and wildcards.
    pub grants: &'a [String],
    /// Whether records that stand in the zone already may become the account's.
    pub adopt: bool,
    /// Distinct names that its wildcard grants may bring into being.
    pub max_hosts: Option<u32>,
    /// A password that was chosen, in place of a secret that is made.
    pub password: Option<&'a str>,
}

impl Operator {
    /// Adds an account with what it is granted, or nothing.
    pub async fn add_account(&self, actor: &Actor, login: &str, options: NewAccountOptions<'_>) -> Result<SecretView> {
        self.must_not_declare_account(login, "choose another login, or remove that [[account]] first")?;
        if self.store.account(login).await?.is_some() {
            return Err(StoreError::Clash { what: format!("account {login:?}") }.into());
        }
        let (names, wildcards) = self.grant_names(options.grants)?;
        let names = self.new_to(login, names).await?;
        self.must_be_free(&names, options.adopt).await?;
        let (secret, digest) = make_secret(options.password, &[])?;
        let account = NewAccount {
            login: login.to_owned(),
            secret: digest,
            max_hosts: options.max_hosts.unwrap_or(DEFAULT_MAX_HOSTS),
            wildcards,
        };
        let hosts: Vec<_> = names.into_iter().map(|name| new_host(name, login)).collect();
        self.store.add_account(&account, &hosts).await?;
        self.done(actor, "account.add", login).await;
        Ok(SecretView { login: login.to_owned(), secret })
    }

    /// The account of `login`.
    pub async fn account(&self, login: &str) -> Result<AccountView> {
        match self.declared.account(login) {
            Some(account) => Ok(AccountView::declared(account, NAMES)),
            None => self.view_account(self.stored_account(login).await?).await,
        }
    }

    /// At most `limit` accounts, from `after` on: those of the file, then those of the store, each in their order.
    pub async fn accounts(&self, after: Option<&Cursor>, limit: usize) -> Result<Page<AccountView>> {
        let mut at = after.cloned().unwrap_or_default();
        let mut items = Vec::new();
        if at.part == Part::Declared {
            let declared = self.declared.accounts(at.after.as_deref()).take(limit);
            items.extend(declared.map(|account| AccountView::declared(account, NAMES)));
            if items.len() == limit {
                let next = items.last().map(|last| Cursor::after(Part::Declared, &last.login));
                return Ok(Page { items, next });
            }
            at = Cursor::begin(Part::Stored);
        }
        let stored = self.store.accounts(at.after.as_deref(), limit - items.len()).await?;
        let is_full = items.len() + stored.len() == limit;
        let last = stored.last().filter(|_| is_full);
        let next = last.map(|last| Cursor::after(Part::Stored, &last.login));
        items.extend(self.view_accounts(&stored).await?);
        Ok(Page { items, next })
    }

    /// A page of what an account is granted, from where [`AccountView::more`] or the page before ends.
    pub async fn grants(&self, login: &str, after: &Cursor) -> Result<Page<String>> {
        let after = after.name()?;
        let (names, wildcards, part) = match self.declared.account(login) {
            Some(account) => {
                let names = account.names(after.as_ref()).into_iter().take(NAMES).cloned().collect();
                (names, account.wildcards.clone(), Part::Declared)
            }
            None => {
                let account = self.stored_account(login).await?;
                (self.store.hosts_of(login, after.as_ref(), NAMES).await?, account.wildcards, Part::Stored)
            }
        };
        let next = names.last().filter(|_| names.len() == NAMES).map(|last| Cursor::after(part, last));
        let mut items: Vec<_> = names.iter().map(ToString::to_string).collect();
        if next.is_none() {
            items.extend(spelled(&wildcards));
        }
        Ok(Page { items, next })
    }

    /// Lets it log in, or not.
    pub async fn set_enabled(&self, actor: &Actor, login: &str, enabled: bool) -> Result<AccountView> {
        self.changeable_account(login, "remove that [[account]], or its hosts, there").await?;
        self.store.set_enabled(login, enabled).await?;
        self.done(actor, if enabled { "account.enable" } else { "account.disable" }, login).await;
        self.account(login).await
    }

    /// Removes an account with its hosts; what it was, how many names are gone, and what becomes of their records.
    pub async fn remove_account(
        &self,
        actor: &Actor,
        login: &str,
        records: RecordsPolicy,
    ) -> Result<(AccountView, usize, RecordsState)> {
        // One that is declared and kept is how a clash of the two is mended.
        let view = match self.store.account(login).await {
            Ok(Some(account)) => {
                AccountView { hosts: spelled(&account.wildcards).collect(), ..AccountView::stored(&account) }
            }
            Ok(None) => {
                self.must_not_declare_account(login, "remove that [[account]] there")?;
                return Err(OperatorError::Missing(Resource::Account(login.to_owned())));
            }
            // To remove it is how that is mended.
            Err(StoreError::Unreadable { .. }) => AccountView::unreadable(login),
            Err(error) => return Err(error.into()),
        };
        // All of them are read for their removal anyhow.
        let hosts = self.store.hosts_of(login, None, usize::MAX).await?;
        let hosts = hosts.iter().map(ToString::to_string).chain(view.hosts).collect();
        let view = AccountView { hosts, more: None, ..view };
        let names = self.store.remove_account(login, records).await?;
        self.done(actor, "account.remove", login).await;
        let state = match records {
            RecordsPolicy::Keep => RecordsState::Untouched,
            RecordsPolicy::Remove => self.wait_for(&names).await?,
        };
        Ok((view, names.len(), state))
    }

    /// Grants names and wildcards, all of them or none; those that it has already stay.
    pub async fn grant(&self, actor: &Actor, login: &str, grants: &[String], adopt: bool) -> Result<AccountView> {
        self.changeable_account(login, "add the name to its `hosts` there").await?;
        let (names, wildcards) = self.grant_names(grants)?;
        let new = self.new_to(login, names).await?;
        self.must_be_free(&new, adopt).await?;
        let hosts: Vec<_> = new.into_iter().map(|name| new_host(name, login)).collect();
        self.store.grant(login, &hosts, &wildcards).await?;
        self.done(actor, "account.grant", format_args!("{login}: {}", listed(grants, SHOWN))).await;
        self.account(login).await
    }

    /// Takes names and wildcards back, all of them or none: each must be its own. The records of names stay.
    pub async fn revoke(&self, actor: &Actor, login: &str, grants: &[String]) -> Result<AccountView> {
        let account = self.changeable_account(login, "remove the name from its `hosts` there").await?;
        // A zone that is gone from the file must not keep what was granted in it.
        let (names, wildcards) = sorted(grants)?;
        let owners = self.store.owners(&names).await?;
        let is_its = |name: &Hostname| owners.iter().any(|(owned, owner)| owned == name && owner == login);
        let missing = names.iter().find(|name| !is_its(name)).map(ToString::to_string);
        let missing = missing.or_else(|| spelled(wildcards.iter().filter(|w| !account.wildcards.contains(w))).next());
        if let Some(text) = missing {
            return Err(OperatorError::Missing(Resource::Grant { login: login.to_owned(), text }));
        }
        self.store.revoke(login, &names, &wildcards).await?;
        self.done(actor, "account.revoke", format_args!("{login}: {}", listed(grants, SHOWN))).await;
        self.account(login).await
    }

    /// Gives it a new secret; the old ones serve for `keep_old` more, or not at all.
    pub async fn rotate(
        &self,
        actor: &Actor,
        login: &str,
        keep_old: Option<Duration>,
        password: Option<&str>,
    ) -> Result<SecretView> {
        let account = self.changeable_account(login, "set its `secret` there").await?;
        let beside = if keep_old.is_some() { account.secrets.as_slice() } else { &[] };
        let (secret, digest) = make_secret(password, beside)?;
        self.store.rotate(login, &digest, keep_old.map(|keep| Timestamp::now().plus(keep))).await?;
        self.done(actor, "account.rotate", login).await;
        Ok(SecretView { login: login.to_owned(), secret })
    }

    /// The account, which must be in the store and not in the file; `advice` says what to do there.
    pub(super) async fn changeable_account(&self, login: &str, advice: &str) -> Result<store::StoredAccount> {
        self.must_not_declare_account(login, advice)?;
        self.stored_account(login).await
    }

    pub(super) async fn stored_account(&self, login: &str) -> Result<store::StoredAccount> {
        let account = self.store.account(login).await?;
        account.ok_or_else(|| OperatorError::Missing(Resource::Account(login.to_owned())))
    }

    async fn view_account(&self, account: store::StoredAccount) -> Result<AccountView> {
        let mut views = self.view_accounts(std::slice::from_ref(&account)).await?;
        Ok(views.pop().unwrap_or_else(|| AccountView::stored(&account)))
    }

    /// Views of accounts in the order of their logins, with names as far as one look at the store brings them.
    async fn view_accounts(&self, accounts: &[store::StoredAccount]) -> Result<Vec<AccountView>> {
        let logins: Vec<_> = accounts.iter().map(|account| &account.login).collect();
        let (mut names, is_cut) = self.store.hosts_of_all(&logins, NAMES).await?;
        let cut = names.last().filter(|_| is_cut).cloned();
        let mut views = Vec::with_capacity(accounts.len());
        for account in accounts {
            let mut view = AccountView::stored(account);
            let rest = names.split_off(names.partition_point(|(login, _)| *login <= view.login));
            view.hosts = names.iter().map(|(_, name)| name.to_string()).collect();
            names = rest;
            view.more = match &cut {
                Some((login, name)) if *login == view.login => Some(Cursor::after(Part::Stored, name)),
                Some((login, _)) if *login < view.login => view.more,
                _ => None,
            };
            if view.more.is_none() {
                view.hosts.extend(spelled(&account.wildcards));
            }
            views.push(view);
        }
        Ok(views)
    }

    /// Names and wildcards, each once, each in a zone of the file.
    fn grant_names(&self, texts: &[String]) -> Result<(Vec<Hostname>, Vec<ZoneName>)> {
        let (names, wildcards) = sorted(texts)?;
        let is_held = |above: &ZoneName| self.config.zones.iter().any(|zone| above.is_within(&zone.name));
        names.iter().try_for_each(|name| self.zone_of(name).map(drop))?;
        match wildcards.iter().find(|above| !is_held(above)) {
            Some(above) => Err(self.no_zone(format!("*.{above}"))),
            None => Ok((names, wildcards)),
        }
    }
}

/// Names and wildcards, each once and in order.
fn sorted(texts: &[String]) -> Result<(Vec<Hostname>, Vec<ZoneName>)> {
    let (mut names, mut wildcards) = (Vec::new(), Vec::new());
    for text in texts {
        match GrantText::parse(text)? {
            GrantText::Name(name) => names.push(name),
            GrantText::Below(above) => wildcards.push(above),
        }
    }
    names.sort_unstable();
    names.dedup();
    wildcards.sort_unstable();
    wildcards.dedup();
    Ok((names, wildcards))
}

fn spelled<'a>(wildcards: impl IntoIterator<Item = &'a ZoneName>) -> impl Iterator<Item = String> {
    wildcards.into_iter().map(|above| format!("*.{above}"))
}

fn new_host(name: Hostname, login: &str) -> NewHost {
    let (login, description) = (login.to_owned(), String::new());
    NewHost { name, login, ttl: None, families: Families::Both, description }
}
