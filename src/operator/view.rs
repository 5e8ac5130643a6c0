//! An account and a host as they are shown, wherever they are kept.

use std::net::IpAddr;

use super::declared::Names;
use super::{Operator, OperatorError};
use crate::config;
use crate::model::{Addresses, Families, Hostname, Timestamp};
use crate::store::{self, State};

/// An account.
#[derive(Debug, Clone)]
pub struct AccountView {
    /// The user name.
    pub login: String,
    /// What it is granted: names, then wildcards (`*.office.dyn.example`).
    pub hosts: Vec<String>,
    /// Distinct names that its wildcard grants may bring into being.
    pub max_hosts: u32,
    /// Whether it may log in.
    pub enabled: bool,
    /// Whether the file declares it.
    pub declared: bool,
    /// Since when; not known of what is declared.
    pub created: Option<Timestamp>,
}

/// A host.
#[derive(Debug, Clone)]
pub struct HostView {
    /// Its name.
    pub name: Hostname,
    /// Whose it is: of a declared one the first in the file that is granted it by name.
    pub account: Option<String>,
    /// Its own TTL in seconds.
    pub ttl: Option<u32>,
    /// Its zone's TTL in seconds; `None` where no zone of the file holds it.
    pub zone_ttl: Option<u32>,
    /// Which addresses it may have.
    pub families: Families,
    /// For people.
    pub description: Option<String>,
    /// Why it may not be updated.
    pub blocked: Option<String>,
    /// What the primary last acknowledged.
    pub addresses: Addresses,
    /// When its address last changed.
    pub last_update: Option<Timestamp>,
    /// When its router last called.
    pub last_seen: Option<Timestamp>,
    /// What became of that.
    pub last_outcome: Option<String>,
    /// The router's user agent then.
    pub agent: Option<String>,
    /// The router's address then.
    pub from: Option<IpAddr>,
    /// Whether the file declares it, or the account whose wildcard it lies below.
    pub declared: bool,
    /// Whether it lies below a wildcard grant, and is no host of its own.
    pub below_wildcard: bool,
    /// Whether a gateway is still to change its records.
    pub waiting: bool,
}

impl AccountView {
    pub(super) fn declared(account: &config::Account) -> Self {
        let names = account.hosts.iter().map(ToString::to_string);
        Self {
            login: account.login.clone(),
            hosts: names.chain(account.wildcards.iter().map(|above| format!("*.{above}"))).collect(),
            max_hosts: account.max_hosts,
            enabled: true,
            declared: true,
            created: None,
        }
    }
}

impl Operator {
    pub(super) async fn view_account(&self, account: &store::Account) -> Result<AccountView, OperatorError> {
        let names = self.store.hosts_of(&account.login, usize::MAX).await?;
        let wildcards = account.wildcards.iter().map(|above| format!("*.{above}"));
        Ok(AccountView {
            login: account.login.to_string(),
            hosts: names.iter().map(ToString::to_string).chain(wildcards).collect(),
            max_hosts: account.max_hosts,
            enabled: account.enabled,
            declared: false,
            created: Some(account.created),
        })
    }

    pub(super) fn view_stored(&self, host: store::Host, state: State) -> HostView {
        let about = Names { owners: vec![host.login.to_string()], ttl: host.ttl };
        HostView {
            families: host.families,
            description: Some(host.description).filter(|text| !text.is_empty()),
            blocked: host.blocked,
            declared: false,
            ..self.view_declared(&host.name, &about, state)
        }
    }

    pub(super) fn view_below_wildcard(&self, name: &Hostname, login: String, state: State) -> HostView {
        let declared = self.declared_account(&login).is_some();
        let about = Names { owners: vec![login], ttl: None };
        HostView { declared, below_wildcard: true, ..self.view_declared(name, &about, state) }
    }

    pub(super) fn view_declared(&self, name: &Hostname, about: &Names, state: State) -> HostView {
        HostView {
            name: name.clone(),
            account: about.owners.first().cloned(),
            ttl: about.ttl,
            zone_ttl: self.rules.zone_of(name).map(|zone| self.rules.ttl(zone)),
            families: Families::Both,
            description: None,
            blocked: None,
            addresses: state.addresses,
            last_update: state.last_update,
            last_seen: state.last_seen,
            last_outcome: state.last_outcome,
            agent: state.agent,
            from: state.source,
            declared: true,
            below_wildcard: false,
            waiting: false,
        }
    }
}
