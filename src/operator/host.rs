//! Hosts: added, shown, set, blocked, removed; their tokens and their history.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use super::{
    Actor, Cursor, EventView, HostView, Operator, OperatorError, Page, Part, RecordsState, Resource, Result, Secret,
    TokenView,
};
use crate::auth::secret;
use crate::model::{
    Addresses, Desired, DesiredRecords, Families, Hostname, PendingChange, RrData, RrKey, RrType, Timestamp,
    TokenDigest, canonical,
};
use crate::store::{self, HostEdit, NewHost, RecordsPolicy, State};

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

impl Operator {
    /// Adds a host to an account of the store; it, and what becomes of its addresses.
    pub async fn add_host(
        &self,
        actor: &Actor,
        name: &str,
        login: &str,
        options: NewHostOptions,
    ) -> Result<(HostView, RecordsState)> {
        let name = self.host_name(name)?;
        let zone = self.zone_of(&name)?;
        let addresses = self.allowed(&name, &options.addresses)?;
        self.changeable_account(login, &format!("add \"{name}\" to its `hosts` there")).await?;
        let new = self.new_to(login, vec![name.clone()]).await?;
        if new.is_empty() {
            return Err(store::StoreError::Clash { what: format!("host \"{name}\" of account \"{login}\"") }.into());
        }
        self.must_be_free(&new, options.adopt).await?;
        let host = NewHost {
            name: name.clone(),
            login: login.to_owned(),
            ttl: options.ttl,
            families: Families::Both,
            description: options.description,
        };
        let pending: Vec<_> = DesiredRecords::set(addresses, options.ttl.unwrap_or(zone.ttl))
            .iter()
            .map(|(rtype, desired)| {
                PendingChange::of_command(RrKey { name: name.clone(), rtype }, desired.clone(), login.to_owned())
            })
            .collect();
        self.store.add_host(&host, &pending).await?;
        self.done(actor, "host.add", &name).await;
        let records = if pending.is_empty() { RecordsState::Untouched } else { self.wait_for(&new).await? };
        Ok((self.host(name.as_str()).await?, records))
    }

    /// The host `name`, wherever it is kept.
    pub async fn host(&self, name: &str) -> Result<HostView> {
        let name = self.host_name(name)?;
        let state = self.store.state(&name).await?.unwrap_or_default();
        let view = match self.declared.name(&name) {
            Some(_) => HostView::new(&name, state, &self.declared),
            None => match self.store.leader(&name).await? {
                Some((host, followers)) => HostView { followers, ..HostView::stored(host, state, &self.declared) },
                None => match self.no_host(&name).await {
                    OperatorError::BelowWildcard { login, .. } => {
                        HostView::below_wildcard(&name, login, state, &self.declared)
                    }
                    error => return Err(error),
                },
            },
        };
        Ok(HostView { pending: self.is_pending(&name).await?, ..view })
    }

    /// At most `limit` hosts, of `login` or of all, from `after` on: those of the file, those of the store, then names below
    /// wildcard grants; each in their order.
    pub async fn hosts(&self, login: Option<&str>, after: Option<&Cursor>, limit: usize) -> Result<Page<HostView>> {
        if let Some(login) = login.filter(|login| self.declared.account(login).is_none()) {
            self.stored_account(login).await?;
        }
        let mut at = after.cloned().unwrap_or_default();
        let mut items = Vec::new();
        // What follows fills a page up, so that a table of all is aligned.
        loop {
            let room = limit - items.len();
            let (some, read, last) = match at.part {
                Part::Declared => self.declared_hosts(login, at.name()?.as_ref(), room).await?,
                Part::Stored => self.stored_hosts(login, at.name()?.as_ref(), room).await?,
                Part::BelowWildcards => self.hosts_below_wildcards(login, at.name()?.as_ref(), room).await?,
            };
            items.extend(some);
            at = match (at.part, last) {
                (part, Some(last)) if read == room => Cursor::after(part, last),
                (Part::Declared, _) => Cursor::begin(Part::Stored),
                (Part::Stored, _) => Cursor::begin(Part::BelowWildcards),
                (Part::BelowWildcards, _) => return Ok(Page { items, next: None }),
            };
            if items.len() == limit {
                return Ok(Page { items, next: Some(at) });
            }
        }
    }

    /// Changes its settings; it, and what becomes of records that it may no longer have.
    pub async fn set_host(&self, actor: &Actor, name: &str, edit: &HostEdit) -> Result<(HostView, RecordsState)> {
        let name = self.changeable_host(name).await?;
        if let Some(Some(leader)) = &edit.follow {
            self.must_not_declare_host(leader, "only hosts of the file follow it: add this one there as a [[host]]")?;
        }
        let mut edit = edit.clone();
        if edit.ptr == Some(false) {
            edit.gone.extend(self.pointers(&self.stored_host(&name).await?).await?);
        }
        self.store.set_host(&name, &edit).await?;
        self.done(actor, "host.set", &name).await;
        let mut changed: Vec<_> = edit.gone.iter().map(|gone| gone.key.name.clone()).collect();
        if edit.mx.is_some() {
            changed.push(name.clone());
        }
        if matches!(edit.families, Some(Families::V4 | Families::V6)) {
            changed.push(name.clone());
        }
        if edit.wildcard == Some(false) {
            changed.extend(name.wildcard());
        }
        let records = self.wait_for(&changed).await?;
        Ok((self.host(name.as_str()).await?, records))
    }

    /// Gives it to another account and leaves its records alone; it, and how many of its URLs are taken back.
    pub async fn move_host(&self, actor: &Actor, name: &str, login: &str) -> Result<(HostView, u64)> {
        let name = self.changeable_host(name).await?;
        let advice = format!("remove the store's host with its records kept, and add \"{name}\" to its `hosts` there");
        self.changeable_account(login, &advice).await?;
        if self.stored_host(&name).await?.login.as_ref() == login {
            return Err(store::StoreError::Clash { what: format!("host \"{name}\" of account \"{login}\"") }.into());
        }
        let revoked = self.store.move_host(&name, login).await?;
        self.done(actor, "host.move", &name).await;
        Ok((self.host(name.as_str()).await?, revoked))
    }

    /// Forbids updates of it and says why, or with `None` allows them again.
    pub async fn block(&self, actor: &Actor, name: &str, reason: Option<&str>) -> Result<HostView> {
        if reason.is_some_and(|reason| reason.trim().is_empty()) {
            return Err(OperatorError::Empty("the reason"));
        }
        let name = self.changeable_host(name).await?;
        self.store.block(&name, reason).await?;
        self.done(actor, if reason.is_some() { "host.block" } else { "host.unblock" }, &name).await;
        self.host(name.as_str()).await
    }

    /// Gives it a URL of its own, which is handed out this once; the old ones serve for `keep_old` more, or not at all.
    pub async fn make_token(&self, actor: &Actor, name: &str, keep_old: Option<Duration>) -> Result<TokenView> {
        let name = self.changeable_host(name).await?;
        let token = secret::generate()?;
        let until = keep_old.map(|keep| Timestamp::now().plus(keep));
        self.store.set_token(&name, &TokenDigest::of(&token).0, until).await?;
        self.done(actor, "host.token", &name).await;
        Ok(TokenView { name, path: Some(Secret::new(format!("/update/{}", *token))) })
    }

    /// Takes all its URLs back; how many those were.
    pub async fn revoke_tokens(&self, actor: &Actor, name: &str) -> Result<(TokenView, u64)> {
        let name = self.changeable_host(name).await?;
        let revoked = self.store.revoke_tokens(&name).await?;
        self.done(actor, "host.token.revoke", &name).await;
        Ok((TokenView { name, path: None }, revoked))
    }

    /// Its last `limit` changes, newest first.
    pub async fn history(&self, name: &str, limit: usize) -> Result<Vec<EventView>> {
        let name = self.host_name(name)?;
        if self.declared.name(&name).is_none() {
            match self.stored_host(&name).await {
                Ok(_) | Err(OperatorError::BelowWildcard { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(self.store.history(&name, limit).await?.into_iter().map(EventView::from).collect())
    }

    /// Removes a host whose name somebody's hand spoiled in the store, so that it is none; whether there is one.
    pub async fn remove_misnamed_host(&self, actor: &Actor, text: &str) -> Result<bool> {
        if Hostname::parse(text).is_ok_and(|name| name.as_str() == text)
            || !self.store.remove_misnamed_host(text).await?
        {
            return Ok(false);
        }
        self.done(actor, "host.remove", text.escape_debug()).await;
        Ok(true)
    }

    /// Removes it; what it was, and what becomes of its records.
    pub async fn remove_host(
        &self,
        actor: &Actor,
        name: &str,
        records: RecordsPolicy,
    ) -> Result<(HostView, RecordsState)> {
        let name = self.host_name(name)?;
        let host = match self.store.host(&name).await {
            Ok(Some(host)) => Some(host),
            Ok(None) => {
                self.must_not_declare_host(&name, DECLARED)?;
                return Err(self.no_host(&name).await);
            }
            // To remove it is how that is mended.
            Err(store::StoreError::Unreadable { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        // One that is declared and kept is how a clash of the two is mended; its records are the declared one's.
        if records == RecordsPolicy::Remove && self.declared.name(&name).is_some() {
            return Err(OperatorError::AlsoDeclared { name, file: self.file.clone() });
        }
        let state = self.store.state(&name).await?.unwrap_or_default();
        let view = match host {
            Some(host) => HostView::stored(host, state, &self.declared),
            None => HostView::new(&name, state, &self.declared),
        };
        self.store.remove_host(&name, records).await?;
        self.done(actor, "host.remove", &name).await;
        let state = match records {
            RecordsPolicy::Keep => RecordsState::Untouched,
            RecordsPolicy::Remove => self.wait_for(std::slice::from_ref(&name)).await?,
        };
        Ok((view, state))
    }

    /// That the PTR records go which name a host at the addresses that it had last; those of another's name stay.
    async fn pointers(&self, host: &store::StoredHost) -> Result<Vec<PendingChange>> {
        let state = self.store.state(&host.name).await?.unwrap_or_default();
        let removal = |address| {
            let (_, name) = self.declared.pointer(address)?;
            let gone = Desired::Without(RrData::Ptr(host.name.clone()));
            Some(PendingChange::of_command(RrKey { name, rtype: RrType::Ptr }, gone, host.login.to_string()))
        };
        Ok(state.addresses.iter().filter_map(removal).collect())
    }

    /// `addresses` as one of each family, none of which `name` never gets.
    fn allowed(&self, name: &Hostname, addresses: &[IpAddr]) -> Result<Addresses> {
        let mut allowed = Addresses::default();
        for address in addresses.iter().copied().map(canonical) {
            let former = match address {
                IpAddr::V4(v4) => allowed.v4.replace(v4).map(IpAddr::V4),
                IpAddr::V6(v6) => allowed.v6.replace(v6).map(IpAddr::V6),
            };
            if let Some(former) = former {
                return Err(OperatorError::TwoOfAFamily(former, address));
            }
        }
        let zone = &self.zone_of(name)?.name;
        match self.declared.refused(zone, allowed) {
            Some(address) => Err(OperatorError::RefusedAddress { address, zone: zone.to_string() }),
            None => Ok(allowed),
        }
    }

    async fn changeable_host(&self, name: &str) -> Result<Hostname> {
        let name = self.host_name(name)?;
        self.must_not_declare_host(&name, DECLARED)?;
        self.stored_host(&name).await.map(|host| host.name)
    }

    async fn stored_host(&self, name: &Hostname) -> Result<store::StoredHost> {
        match self.store.host(name).await? {
            Some(host) => Ok(host),
            None => Err(self.no_host(name).await),
        }
    }

    /// Why there is no host `name` in the store.
    async fn no_host(&self, name: &Hostname) -> OperatorError {
        match self.store.reservations().first_account_of(name).await {
            Ok(Some(login)) => OperatorError::BelowWildcard { name: name.clone(), login },
            Ok(None) => OperatorError::Missing(Resource::Host(name.clone())),
            Err(error) => error.into(),
        }
    }

    async fn declared_hosts(&self, login: Option<&str>, after: Option<&Hostname>, room: usize) -> ViewsOfPart {
        let names: Vec<_> = match login {
            None => self.declared.names(after).take(room).cloned().collect(),
            Some(login) => {
                let account = self.declared.account(login);
                account
                    .map(|account| account.names(after).into_iter().take(room).cloned().collect())
                    .unwrap_or_default()
            }
        };
        let mut states = self.states(&names).await?;
        let view = |name: &Hostname| {
            let view = HostView::new(name, take(&mut states, name), &self.declared);
            HostView { account: login.map(str::to_owned).or(view.account), ..view }
        };
        Ok((names.iter().map(view).collect(), names.len(), names.last().cloned()))
    }

    async fn stored_hosts(&self, login: Option<&str>, after: Option<&Hostname>, room: usize) -> ViewsOfPart {
        let hosts = self.store.hosts(login, after, room).await?;
        let names: Vec<_> = hosts.iter().map(|host| host.name.clone()).collect();
        let mut states = self.states(&names).await?;
        let view = |host: store::StoredHost| {
            let state = take(&mut states, &host.name);
            HostView::stored(host, state, &self.declared)
        };
        Ok((hosts.into_iter().map(view).collect(), names.len(), names.last().cloned()))
    }

    async fn hosts_below_wildcards(&self, login: Option<&str>, after: Option<&Hostname>, room: usize) -> ViewsOfPart {
        let mut hosts = self.store.reservations().page(login, after, room).await?;
        let (read, last) = (hosts.len(), hosts.last().map(|(name, _)| name.clone()));
        // One that the file declares by now was told with the others there.
        hosts.retain(|(name, _)| self.declared.name(name).is_none());
        let names: Vec<_> = hosts.iter().map(|(name, _)| name.clone()).collect();
        let mut states = self.states(&names).await?;
        let view = |(name, login): (Hostname, String)| {
            let state = take(&mut states, &name);
            HostView::below_wildcard(&name, login, state, &self.declared)
        };
        Ok((hosts.into_iter().map(view).collect(), read, last))
    }

    async fn states(&self, names: &[Hostname]) -> Result<HashMap<Hostname, State>> {
        Ok(self.store.states(names).await?.into_iter().collect())
    }
}

/// Views of a part, how many rows were read for them, and the last name of those.
type ViewsOfPart = Result<(Vec<HostView>, usize, Option<Hostname>)>;

fn take(states: &mut HashMap<Hostname, State>, name: &Hostname) -> State {
    states.remove(name).unwrap_or_default()
}
