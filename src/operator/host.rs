//! Hosts: added, shown, set, blocked, removed; their tokens and their history.

use std::net::IpAddr;
use std::time::Duration;

use super::account::Secret;
use super::{HostView, Operator, OperatorError, Records};
use crate::auth::secret;
use crate::model::{DesiredRecords, Families, Hostname, RrKey, Timestamp, TokenDigest};
use crate::store::{self, Event, HostEdit, NewHost, PendingRow, State};

/// Hosts that are read at once.
const PAGE: usize = 1000;

const DECLARED: &str = "change its [[host]] or its account's `hosts` there";

/// What a host shall be like.
#[derive(Debug, Clone, Default)]
pub struct NewHostOptions {
    /// Its own TTL in seconds.
    pub ttl: Option<u32>,
    /// For people.
    pub description: String,
    /// What its records shall hold at once, one of a family.
    pub addresses: Vec<IpAddr>,
    /// Whether records that stand in the zone already may become the account's.
    pub adopt: bool,
}

/// A host that was added.
#[derive(Debug)]
pub struct Added {
    /// The host.
    pub host: HostView,
    /// What became of its addresses.
    pub records: Records,
}

/// Hosts, a page at a time: those of the file, those of the store, then names below wildcard grants; each in order.
#[derive(Debug)]
pub struct HostPages<'o> {
    operator: &'o Operator,
    login: Option<String>,
    declared: Vec<Hostname>,
    after: Option<Hostname>,
    part: Part,
}

/// Where the next hosts are read.
#[derive(Debug, Clone, Copy)]
enum Part {
    Declared,
    Stored,
    BelowWildcards,
    Nowhere,
}

impl Operator {
    /// Adds a host to an account of the store.
    ///
    /// # Errors
    /// [`OperatorError`]
    pub async fn add_host(&self, name: &str, login: &str, options: NewHostOptions) -> Result<Added, OperatorError> {
        let name = self.host_name(name)?;
        let zone = self.zone_of(&name)?;
        let addresses = self.allowed(&name, &options.addresses)?;
        let mend = format!("add \"{name}\" to its `hosts` there");
        self.changeable_account(login, &mend).await?;
        if self.may_have(login, &name).await? {
            return Err(store::StoreError::Clash { what: format!("host \"{name}\" of account \"{login}\"") }.into());
        }
        self.must_be_free(std::slice::from_ref(&name), options.adopt).await?;
        let host = NewHost {
            name: name.clone(),
            login: login.to_owned(),
            ttl: options.ttl,
            families: Families::Both,
            description: options.description,
        };
        let wanted: Vec<_> = DesiredRecords::set(addresses, options.ttl.unwrap_or(zone.ttl))
            .iter()
            .map(|(rtype, desired)| {
                PendingRow::of_command(RrKey { name: name.clone(), rtype }, desired.clone(), login.to_owned())
            })
            .collect();
        self.store.add_host(&host, &wanted).await?;
        let records =
            if wanted.is_empty() { Records::Untouched } else { self.wait_for(std::slice::from_ref(&name)).await? };
        Ok(Added { host: self.show_host(name.as_str()).await?, records })
    }

    /// The host `name`, wherever it is kept.
    ///
    /// # Errors
    /// [`OperatorError`]
    pub async fn show_host(&self, name: &str) -> Result<HostView, OperatorError> {
        let name = self.host_name(name)?;
        let state = self.store.state(&name).await?.unwrap_or_default();
        let view = match self.declared.host(&name) {
            Some(about) => self.view_declared(&name, about, state),
            None => match self.stored_host(&name).await {
                Ok(host) => self.view_stored(host, state),
                Err(OperatorError::BelowWildcard { login, .. }) => self.view_below_wildcard(&name, login, state),
                Err(error) => return Err(error),
            },
        };
        Ok(HostView { waiting: self.is_pending(&name).await?, ..view })
    }

    /// All hosts, or those of `login`.
    ///
    /// # Errors
    /// [`OperatorError::Missing`] where there is no such account.
    pub async fn hosts(&self, login: Option<&str>) -> Result<HostPages<'_>, OperatorError> {
        if let Some(login) = login.filter(|login| self.declared_account(login).is_none()) {
            self.stored_account(login).await?;
        }
        let is_asked = |owners: &[String]| login.is_none_or(|login| owners.iter().any(|owner| owner == login));
        let declared = self.declared.hosts().filter(|(_, about)| is_asked(&about.owners));
        Ok(HostPages {
            operator: self,
            login: login.map(str::to_owned),
            declared: declared.map(|(name, _)| name.clone()).collect(),
            after: None,
            part: Part::Declared,
        })
    }

    /// Changes its settings.
    ///
    /// # Errors
    /// [`OperatorError`]
    pub async fn set_host(&self, name: &str, edit: &HostEdit) -> Result<HostView, OperatorError> {
        let name = self.changeable_host(name).await?;
        self.store.set_host(&name, edit).await?;
        self.show_host(name.as_str()).await
    }

    /// Forbids updates of it and says why, or with `None` allows them again.
    ///
    /// # Errors
    /// [`OperatorError`]
    pub async fn block(&self, name: &str, reason: Option<&str>) -> Result<HostView, OperatorError> {
        if reason.is_some_and(|reason| reason.trim().is_empty()) {
            return Err(OperatorError::Empty("the reason"));
        }
        let name = self.changeable_host(name).await?;
        self.store.block(&name, reason).await?;
        self.show_host(name.as_str()).await
    }

    /// Gives it a token, which is handed out this once; the old ones serve for `keep_old` more, or not at all.
    ///
    /// # Errors
    /// [`OperatorError`]
    pub async fn make_token(
        &self,
        name: &str,
        keep_old: Option<Duration>,
    ) -> Result<(Hostname, Secret), OperatorError> {
        let name = self.changeable_host(name).await?;
        let token = secret::generate()?;
        let until = keep_old.map(|keep| Timestamp::now().plus(keep));
        self.store.set_token(&name, &TokenDigest::of(&token).0, until).await?;
        Ok((name, token))
    }

    /// Takes all its tokens back; how many those were.
    ///
    /// # Errors
    /// [`OperatorError`]
    pub async fn revoke_tokens(&self, name: &str) -> Result<(Hostname, u64), OperatorError> {
        let name = self.changeable_host(name).await?;
        let revoked = self.store.revoke_tokens(&name).await?;
        Ok((name, revoked))
    }

    /// Its last `limit` changes, newest first.
    ///
    /// # Errors
    /// [`OperatorError`]
    pub async fn history(&self, name: &str, limit: usize) -> Result<Vec<Event>, OperatorError> {
        let name = self.host_name(name)?;
        if self.declared.host(&name).is_none() {
            match self.stored_host(&name).await {
                Ok(_) | Err(OperatorError::BelowWildcard { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(self.store.history(&name, limit).await?)
    }

    /// Removes it; what it was, and what becomes of its records.
    ///
    /// # Errors
    /// [`OperatorError`]
    pub async fn remove_host(&self, name: &str, keep_records: bool) -> Result<(HostView, Records), OperatorError> {
        let name = self.host_name(name)?;
        let Some(host) = self.store.host(&name).await? else {
            self.must_not_declare_host(&name, DECLARED)?;
            return Err(self.no_host(&name).await);
        };
        if !keep_records {
            // One that is declared and kept is how a clash of the two is mended; its records are the declared one's.
            self.must_not_declare_host(&name, "remove the store's with --keep-records")?;
        }
        let state = self.store.state(&name).await?.unwrap_or_default();
        let view = self.view_stored(host, state);
        let records = if keep_records { store::Records::Keep } else { store::Records::Remove };
        self.store.remove_host(&name, records).await?;
        let done = if keep_records { Records::Untouched } else { self.wait_for(std::slice::from_ref(&name)).await? };
        Ok((view, done))
    }

    async fn changeable_host(&self, name: &str) -> Result<Hostname, OperatorError> {
        let name = self.host_name(name)?;
        self.must_not_declare_host(&name, DECLARED)?;
        self.stored_host(&name).await.map(|host| host.name)
    }
}

impl HostPages<'_> {
    /// The next page; `None` after the last one.
    ///
    /// # Errors
    /// The store's trouble.
    pub async fn next(&mut self) -> Result<Option<Vec<HostView>>, OperatorError> {
        if matches!(self.part, Part::Nowhere) {
            return Ok(None);
        }
        let mut shown = Vec::new();
        // What follows fills a page up, so that a table of all is aligned.
        while shown.len() < PAGE {
            let (some, next) = match self.part {
                Part::Declared => (self.declared().await?, Part::Stored),
                Part::Stored => (self.stored().await?, Part::BelowWildcards),
                Part::BelowWildcards => (self.below_wildcards().await?, Part::Nowhere),
                Part::Nowhere => break,
            };
            match some {
                Some(some) => shown.extend(some),
                None => (self.part, self.after) = (next, None),
            }
        }
        Ok(Some(shown))
    }

    async fn declared(&mut self) -> Result<Option<Vec<HostView>>, OperatorError> {
        let page: Vec<_> = self.declared.drain(..self.declared.len().min(PAGE)).collect();
        if page.is_empty() {
            return Ok(None);
        }
        let (operator, login) = (self.operator, &self.login);
        let mut states = states(operator, &page).await?;
        let view = |name: &Hostname| {
            let view = operator.view_declared(name, operator.declared.host(name)?, take(&mut states, name));
            Some(HostView { account: login.clone().or(view.account.clone()), ..view })
        };
        Ok(Some(page.iter().filter_map(view).collect()))
    }

    async fn stored(&mut self) -> Result<Option<Vec<HostView>>, OperatorError> {
        let page = self.operator.store.hosts(self.login.as_deref(), self.after.as_ref(), PAGE).await?;
        let Some(last) = page.last() else { return Ok(None) };
        self.after = Some(last.name.clone());
        let names: Vec<_> = page.iter().map(|host| host.name.clone()).collect();
        let mut states = states(self.operator, &names).await?;
        let view = |host: store::Host| {
            let state = take(&mut states, &host.name);
            self.operator.view_stored(host, state)
        };
        Ok(Some(page.into_iter().map(view).collect()))
    }

    async fn below_wildcards(&mut self) -> Result<Option<Vec<HostView>>, OperatorError> {
        let mut page = self.operator.store.reserved(self.login.as_deref(), self.after.as_ref(), PAGE).await?;
        let Some((last, _)) = page.last() else { return Ok(None) };
        self.after = Some(last.clone());
        // One that the file declares by now was told with the others there.
        page.retain(|(name, _)| self.operator.declared.host(name).is_none());
        let names: Vec<_> = page.iter().map(|(name, _)| name.clone()).collect();
        let mut states = states(self.operator, &names).await?;
        let view = |(name, login): (Hostname, String)| {
            let state = take(&mut states, &name);
            self.operator.view_below_wildcard(&name, login, state)
        };
        Ok(Some(page.into_iter().map(view).collect()))
    }
}

type States = std::collections::HashMap<Hostname, State>;

async fn states(operator: &Operator, names: &[Hostname]) -> Result<States, OperatorError> {
    Ok(operator.store.states(names).await?.into_iter().collect())
}

fn take(states: &mut States, name: &Hostname) -> State {
    states.remove(name).unwrap_or_default()
}
