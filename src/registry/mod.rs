//! Accounts, hosts and grants as the file declares them: who may change which name, in which zone, with which TTL.
//! Knows nothing of HTTP and asks no name server.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use ipnet::IpNet;

use crate::config::{self, Config};
use crate::model::{Addresses, Hostname, PasswordDigest, ZoneName};

/// Everything that is declared.
#[derive(Debug)]
pub struct Registry {
    accounts: HashMap<Arc<str>, Account>,
    zones: HashMap<ZoneName, Rules>,
    owners: HashMap<Hostname, HashSet<Arc<str>>>,
    ttls: HashMap<Hostname, u32>,
    refuse: Vec<IpNet>,
    // Names that each account's wildcard grants brought into being since the start.
    born: Mutex<HashMap<Arc<str>, HashSet<Hostname>>>,
}

#[derive(Debug)]
struct Account {
    exact: HashSet<Hostname>,
    wildcards: Vec<ZoneName>,
    max_hosts: usize,
}

#[derive(Debug)]
struct Rules {
    ttl: u32,
    allow: Vec<IpNet>,
    protect: HashSet<Hostname>,
}

/// How a name is granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grant {
    /// By name.
    Exact,
    /// By a wildcard: the caller must also rule out that the zone's SOA or NS records name it.
    Wildcard,
}

/// Why a name is not granted; for the log, never for the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// No zone holds the name.
    #[error("no zone of ours holds the name")]
    NoZone,
    /// Neither exactly nor by a wildcard.
    #[error("not granted to this account")]
    NotGranted,
    /// A wildcard covers it, but it is granted exactly to someone else.
    #[error("granted exactly to another account")]
    AnothersHost,
    /// A wildcard covers it, but the zone protects it.
    #[error("protected in its zone")]
    Protected,
    /// The apex of a zone of ours, which only a grant by name covers.
    #[error("the apex of a zone")]
    Apex,
    /// A wildcard owner directly below the granted name.
    #[error("a wildcard grant does not cover the wildcard owner directly below it")]
    WildcardOwner,
}

impl Registry {
    /// Takes what `config` declares.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let mut owners: HashMap<Hostname, HashSet<Arc<str>>> = HashMap::new();
        let mut accounts = HashMap::new();
        for account in &config.accounts {
            let login: Arc<str> = account.login.as_str().into();
            for host in &account.hosts {
                owners.entry(host.clone()).or_default().insert(Arc::clone(&login));
            }
            accounts.insert(login, Account::new(account));
        }
        Self {
            accounts,
            zones: config.zones.iter().map(|zone| (zone.name.clone(), Rules::new(zone))).collect(),
            owners,
            ttls: config.hosts.iter().filter_map(|host| Some((host.name.clone(), host.ttl?))).collect(),
            refuse: config.refuse.clone(),
            born: Mutex::default(),
        }
    }

    /// The accounts' logins and stored secrets, for the authenticator.
    pub fn secrets(config: &Config) -> impl Iterator<Item = (Arc<str>, PasswordDigest)> {
        config.accounts.iter().map(|account| (account.login.as_str().into(), account.secret.clone()))
    }

    /// Whether `login` is an account's.
    #[must_use]
    pub fn knows(&self, login: &str) -> bool {
        self.accounts.contains_key(login)
    }

    /// The host of an account whose grants name exactly one.
    #[must_use]
    pub fn only_host(&self, login: &str) -> Option<&Hostname> {
        let account = self.accounts.get(login)?;
        let mut hosts = account.exact.iter();
        match (hosts.next(), hosts.next(), account.wildcards.is_empty()) {
            (Some(only), None, true) => Some(only),
            _ => None,
        }
    }

    /// The zone that holds `name`: the longest match.
    #[must_use]
    pub fn zone_of(&self, name: &Hostname) -> Option<&ZoneName> {
        std::iter::once(name.as_str()).chain(name.ancestors()).find_map(|apex| {
            let (zone, _) = self.zones.get_key_value(apex)?;
            Some(zone)
        })
    }

    /// Whether `name` is granted by name to `login`.
    #[must_use]
    pub fn is_exact(&self, login: &str, name: &Hostname) -> bool {
        self.accounts.get(login).is_some_and(|account| account.exact.contains(name))
    }

    /// How `login` may change `name`.
    ///
    /// # Errors
    /// [`Denied`].
    pub fn grant(&self, login: &str, name: &Hostname) -> Result<Grant, Denied> {
        let rules = self.zone_of(name).and_then(|zone| self.zones.get(zone)).ok_or(Denied::NoZone)?;
        let account = self.accounts.get(login).ok_or(Denied::NotGranted)?;
        if account.exact.contains(name) {
            return Ok(Grant::Exact);
        }
        let mut covering = account.wildcards.iter().filter(|suffix| name.is_below(suffix.as_str())).peekable();
        if covering.peek().is_none() {
            return Err(Denied::NotGranted);
        }
        let owner_of = name.as_str().strip_prefix("*.");
        if covering.all(|suffix| Some(suffix.as_str()) == owner_of) {
            return Err(Denied::WildcardOwner);
        }
        if self.zones.contains_key(name.as_str()) {
            return Err(Denied::Apex);
        }
        if self.owners.contains_key(name) {
            return Err(Denied::AnothersHost);
        }
        if rules.protect.contains(name) {
            return Err(Denied::Protected);
        }
        Ok(Grant::Wildcard)
    }

    /// The TTL of `name`'s records in `zone`, in seconds.
    #[must_use]
    pub fn ttl(&self, name: &Hostname, zone: &ZoneName) -> u32 {
        let zone_ttl = || self.zones.get(zone).map_or(60, |rules| rules.ttl);
        self.ttls.get(name).copied().unwrap_or_else(zone_ttl)
    }

    /// The first of `addresses` that a name in `zone` never gets.
    #[must_use]
    pub fn refused(&self, zone: &ZoneName, addresses: Addresses) -> Option<IpAddr> {
        let allow = self.zones.get(zone).map(|rules| rules.allow.as_slice()).unwrap_or_default();
        let covers = |networks: &[IpNet], address| networks.iter().any(|network| network.contains(&address));
        addresses.iter().find(|address| covers(&self.refuse, *address) && !covers(allow, *address))
    }

    /// Counts `name` among those that `login`'s wildcard grants brought into being. `None` where there are too many
    /// already; `Some(true)` where it is new.
    pub fn bear(&self, login: &Arc<str>, name: &Hostname) -> Option<bool> {
        let most = self.accounts.get(login)?.max_hosts;
        let mut born = self.born.lock().unwrap_or_else(PoisonError::into_inner);
        let names = born.entry(Arc::clone(login)).or_default();
        if names.contains(name) {
            return Some(false);
        }
        (names.len() < most).then(|| names.insert(name.clone()))
    }

    /// Takes back what [`Self::bear`] counted: the name did not come into being.
    pub fn unbear(&self, login: &str, name: &Hostname) {
        let mut born = self.born.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(names) = born.get_mut(login) {
            names.remove(name);
        }
    }
}

impl Account {
    fn new(account: &config::Account) -> Self {
        Self {
            exact: account.hosts.iter().cloned().collect(),
            wildcards: account.wildcards.clone(),
            max_hosts: usize::try_from(account.max_hosts).unwrap_or(usize::MAX),
        }
    }
}

impl Rules {
    fn new(zone: &config::Zone) -> Self {
        Self { ttl: zone.ttl, allow: zone.allow.clone(), protect: zone.protect.iter().cloned().collect() }
    }
}
