//! What is shown of accounts and hosts, wherever they are kept: each is what a command's `--json` prints.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};

use super::{Cursor, Part, Secret};
use crate::model::{Addresses, Families, HostExtras, Hostname, Timestamp};
use crate::registry::{self, Declared};
use crate::store::{self, HostEvent, Imported, State};

/// An account.
#[derive(Debug, Clone, Serialize)]
pub struct AccountView {
    /// The user name.
    pub login: String,
    /// What it is granted: names, then wildcards (`*.office.dyn.example`); the first of them, where `more` says so.
    pub hosts: Vec<String>,
    /// Distinct names that its wildcard grants may bring into being.
    pub max_hosts: u32,
    /// Whether it may log in.
    pub enabled: bool,
    /// Whether the file declares it.
    pub declared: bool,
    /// Since when; not known of what is declared.
    pub created: Option<Timestamp>,
    /// Where the rest of `hosts` begins, for [`super::Operator::grants`].
    #[serde(skip)]
    pub more: Option<Cursor>,
}

/// An account's secret, as far as it may be shown.
#[derive(Debug, Serialize)]
pub struct SecretView {
    /// The user name.
    pub login: String,
    /// The generated secret, this once; `None` where the caller chose one.
    #[serde(serialize_with = "secret")]
    pub secret: Option<Secret>,
}

/// A host.
#[derive(Debug, Clone, Serialize)]
pub struct HostView {
    /// Its name.
    #[serde(serialize_with = "name")]
    pub name: Hostname,
    /// Whose it is: of a declared one the first in the file that is granted it by name.
    pub account: Option<String>,
    /// Its own TTL in seconds.
    pub ttl: Option<u32>,
    /// Its zone's TTL in seconds; `None` where no zone of the file holds it.
    #[serde(skip)]
    pub zone_ttl: Option<u32>,
    /// Which addresses it may have.
    #[serde(serialize_with = "families")]
    pub families: Families,
    /// For people.
    pub description: Option<String>,
    /// Why it may not be updated.
    pub blocked: Option<String>,
    /// The A record that the primary last acknowledged.
    pub ipv4: Option<Ipv4Addr>,
    /// The AAAA record that it last acknowledged.
    pub ipv6: Option<Ipv6Addr>,
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
    /// What few hosts have.
    #[serde(flatten, serialize_with = "extras")]
    pub extras: HostExtras,
    /// The hosts that take its prefix; known of one host that is shown, not in lists.
    #[serde(skip)]
    pub followers: Vec<Hostname>,
    /// Whether it lies below a wildcard grant, and is no host of its own.
    #[serde(skip)]
    pub below_wildcard: bool,
    /// Whether a gateway is still to change its records.
    #[serde(skip)]
    pub pending: bool,
}

/// A URL of a host's own.
#[derive(Debug, Serialize)]
pub struct TokenView {
    /// The host.
    #[serde(serialize_with = "name")]
    pub name: Hostname,
    /// The path, with the token in it, this once; `None` where there is none any longer.
    #[serde(serialize_with = "secret")]
    pub path: Option<Secret>,
}

/// A change of a host's records, or one that was tried.
#[derive(Debug, Clone, Serialize)]
pub struct EventView {
    /// When.
    pub at: Timestamp,
    /// What became of it.
    pub outcome: String,
    /// Where the request came from.
    pub from: Option<IpAddr>,
    /// What its client calls itself.
    pub agent: Option<String>,
    /// The addresses before, IPv4 first.
    pub old: Option<String>,
    /// The addresses after.
    pub new: Option<String>,
}

/// How much an export wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ExportView {
    /// Lines.
    pub lines: u64,
}

/// How much an import brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ImportView {
    /// Accounts.
    pub accounts: u64,
    /// Hosts.
    pub hosts: u64,
    /// Tokens.
    pub tokens: u64,
    /// Hosts that no zone of the file holds: nobody can update them until one does.
    #[serde(skip)]
    pub outside: u64,
}

impl AccountView {
    /// With at most `limit` of its names.
    pub(super) fn declared(account: &registry::Account, limit: usize) -> Self {
        let mut view = Self {
            login: account.login.to_string(),
            hosts: account.names(None).into_iter().take(limit + 1).map(ToString::to_string).collect(),
            max_hosts: account.max_hosts,
            enabled: true,
            declared: true,
            created: None,
            more: None,
        };
        if view.hosts.len() > limit {
            view.hosts.truncate(limit);
            view.more = view.hosts.last().map(|last| Cursor::after(Part::Declared, last));
        } else {
            view.hosts.extend(account.wildcards.iter().map(|above| format!("*.{above}")));
        }
        view
    }

    /// One of which nothing but the login can be read.
    pub(super) fn unreadable(login: &str) -> Self {
        let (login, hosts) = (login.to_owned(), Vec::new());
        Self { login, hosts, max_hosts: 0, enabled: false, declared: false, created: None, more: None }
    }

    /// Without names: they are all still to be read.
    pub(super) fn stored(account: &store::StoredAccount) -> Self {
        Self {
            login: account.login.to_string(),
            hosts: Vec::new(),
            max_hosts: account.max_hosts,
            enabled: account.enabled,
            declared: false,
            created: Some(account.created),
            more: Some(Cursor::begin(Part::Stored)),
        }
    }
}

impl HostView {
    pub(super) fn stored(host: store::StoredHost, state: State, declared: &Declared) -> Self {
        Self {
            account: Some(host.login.to_string()),
            ttl: host.ttl,
            families: host.families,
            description: Some(host.description).filter(|text| !text.is_empty()),
            blocked: host.blocked,
            extras: host.extras,
            declared: false,
            ..Self::new(&host.name, state, declared)
        }
    }

    pub(super) fn below_wildcard(name: &Hostname, login: String, state: State, declared: &Declared) -> Self {
        let is_declared = declared.account(&login).is_some();
        let view = Self::new(name, state, declared);
        Self { account: Some(login), ttl: None, declared: is_declared, below_wildcard: true, ..view }
    }

    /// As far as the file tells.
    pub(super) fn new(name: &Hostname, state: State, declared: &Declared) -> Self {
        let owner = declared.name(name).and_then(|name| name.owners.first());
        let more = declared.host(name).and_then(|host| host.more.as_deref());
        Self {
            name: name.clone(),
            account: owner.map(ToString::to_string),
            ttl: declared.host(name).and_then(|host| host.ttl),
            zone_ttl: declared.zone_of(name).map(|zone| declared.ttl(zone)),
            families: Families::Both,
            description: None,
            blocked: None,
            ipv4: state.addresses.v4,
            ipv6: state.addresses.v6,
            last_update: state.last_update,
            last_seen: state.last_seen,
            last_outcome: state.last_outcome,
            agent: state.agent,
            from: state.source,
            declared: true,
            extras: more.map(|more| more.extras.clone()).unwrap_or_default(),
            followers: more.map(|more| more.followers.clone()).unwrap_or_default(),
            below_wildcard: false,
            pending: false,
        }
    }

    /// What the primary last acknowledged.
    pub fn addresses(&self) -> Addresses {
        Addresses { v4: self.ipv4, v6: self.ipv6 }
    }

    /// Its families' names.
    pub fn family_names(&self) -> &'static [&'static str] {
        family_names(self.families)
    }
}

impl From<HostEvent> for EventView {
    fn from(event: HostEvent) -> Self {
        let spelled = |addresses: Addresses| {
            let all: Vec<_> = addresses.iter().map(|address| address.to_string()).collect();
            (!all.is_empty()).then(|| all.join(","))
        };
        Self {
            at: event.at,
            outcome: event.outcome,
            from: event.source,
            agent: event.agent,
            old: spelled(event.old),
            new: spelled(event.new),
        }
    }
}

impl ImportView {
    pub(super) fn new(Imported { accounts, hosts, tokens }: Imported, outside: u64) -> Self {
        Self { accounts, hosts, tokens, outside }
    }
}

fn family_names(families: Families) -> &'static [&'static str] {
    match families {
        Families::V4 => &["ipv4"],
        Families::V6 => &["ipv6"],
        Families::Both => &["ipv4", "ipv6"],
    }
}

fn families<S: Serializer>(families: &Families, serializer: S) -> Result<S::Ok, S::Error> {
    family_names(*families).serialize(serializer)
}

fn extras<S: Serializer>(extras: &HostExtras, serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(None)?;
    map.serialize_entry("follow", &extras.follow.as_ref().map(Hostname::as_str))?;
    map.serialize_entry("interface_id", &extras.interface_id.map(|id| id.to_string()))?;
    map.serialize_entry("prefix_from", &extras.follow.as_ref().map(|_| extras.prefix_from.as_str()))?;
    map.serialize_entry("wildcard", &extras.wildcard)?;
    map.serialize_entry("offline", &extras.offline)?;
    map.serialize_entry("mx", &extras.mx.iter().map(Hostname::as_str).collect::<Vec<_>>())?;
    map.serialize_entry("ptr", &extras.ptr)?;
    map.end()
}

fn name<S: Serializer>(name: &Hostname, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(name.as_str())
}

#[expect(clippy::ref_option, reason = "serde hands over a reference to the field")]
fn secret<S: Serializer>(secret: &Option<Secret>, serializer: S) -> Result<S::Ok, S::Error> {
    secret.as_ref().map(|secret| secret.as_str()).serialize(serializer)
}
