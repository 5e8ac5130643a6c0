//! What the file declares, looked up by login, by name and by zone: accounts, grants, hosts' settings, zones' rules. The one
//! index of a configuration; knows nothing of the store.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use ipnet::IpNet;

use super::dummy::{CopiedAccounts, DummyDigests};
use super::{Account, Denied, Grant, Host};
use crate::config::{self, Config};
use crate::model::{Addresses, Hostname, PasswordDigest, TokenDigest, ZoneName, pointer_in};

/// A `gateway.toml`, indexed.
#[derive(Debug)]
pub(crate) struct Declared {
    accounts: HashMap<Arc<str>, Arc<Account>>,
    // Whose a generated secret is; `None` where several accounts have it.
    generated: HashMap<TokenDigest, Option<Arc<str>>>,
    zones: HashMap<ZoneName, ZoneRules>,
    // Those for the least addresses first.
    reverse: Vec<ZoneName>,
    names: HashMap<Hostname, DeclaredName>,
    // For lists, which no request asks for.
    logins_in_order: OnceLock<Vec<Arc<str>>>,
    names_in_order: OnceLock<Vec<Hostname>>,
    // Of all zones: a name may be written in one and lie in another within it.
    protect: HashSet<Hostname>,
    refuse: Vec<IpNet>,
    secrets: CopiedAccounts,
    // Made of ours and of those that came last; not before somebody unknown asks.
    dummies: Mutex<Option<(Option<Arc<CopiedAccounts>>, DummyDigests)>>,
}

/// What the file says of a name that it grants exactly or has a `[[host]]` for.
#[derive(Debug, Default)]
pub(crate) struct DeclaredName {
    /// The accounts that are granted it by name, in the file's order.
    pub(crate) owners: Vec<Arc<str>>,
    host: Option<Arc<Host>>,
}

#[derive(Debug)]
struct ZoneRules {
    ttl: u32,
    allow: Vec<IpNet>,
}

impl Declared {
    pub(crate) fn new(config: &Config) -> Self {
        let mut names: HashMap<Hostname, DeclaredName> = HashMap::new();
        let mut accounts = HashMap::new();
        let mut secrets = CopiedAccounts::new();
        let mut generated: HashMap<TokenDigest, Option<Arc<str>>> = HashMap::new();
        for account in &config.accounts {
            if let PasswordDigest::Sha256(octets) = account.secret {
                let login = Some(account.login.as_str().into());
                generated.entry(TokenDigest(octets)).and_modify(|login| *login = None).or_insert(login);
            }
            let account = Arc::new(Account::declared(account));
            for host in &account.exact {
                names.entry(host.clone()).or_default().owners.push(Arc::clone(&account.login));
            }
            secrets.extend(account.secrets.first().map(|secret| (Arc::clone(&account.login), secret.digest.clone())));
            accounts.insert(Arc::clone(&account.login), account);
        }
        let mut followers: HashMap<&Hostname, Vec<Hostname>> = HashMap::new();
        for host in &config.hosts {
            if let Some(leader) = &host.extras.follow {
                followers.entry(leader).or_default().push(host.name.clone());
            }
        }
        for host in &config.hosts {
            let led = followers.remove(&host.name).unwrap_or_default();
            names.entry(host.name.clone()).or_default().host = Some(Arc::new(Host::declared(host, led)));
        }
        // Names that are granted and have no `[[host]]`.
        for (leader, led) in followers {
            names.entry(leader.clone()).or_default().host = Some(Arc::new(Host::leader(led)));
        }
        let mut reverse: Vec<_> = config.zones.iter().map(|zone| &zone.name).filter(|zone| zone.is_reverse()).collect();
        reverse.sort_by_key(|zone| std::cmp::Reverse(zone.as_str().len()));
        Self {
            accounts,
            reverse: reverse.into_iter().cloned().collect(),
            generated,
            zones: config.zones.iter().map(|zone| (zone.name.clone(), ZoneRules::new(zone))).collect(),
            names,
            logins_in_order: OnceLock::new(),
            names_in_order: OnceLock::new(),
            protect: config.zones.iter().flat_map(|zone| &zone.protect).cloned().collect(),
            refuse: config.refuse.clone(),
            secrets,
            dummies: Mutex::default(),
        }
    }

    pub(crate) fn account(&self, login: &str) -> Option<&Arc<Account>> {
        self.accounts.get(login)
    }

    /// Whose the generated secret with this digest is; within, `None` where it is that of several accounts.
    pub(super) fn login_of_secret(&self, digest: &TokenDigest) -> Option<Option<&Arc<str>>> {
        self.generated.get(digest).map(Option::as_ref)
    }

    pub(crate) fn host(&self, name: &Hostname) -> Option<&Arc<Host>> {
        self.names.get(name)?.host.as_ref()
    }

    /// What is declared of `name` itself, if anything is.
    pub(crate) fn name(&self, name: &Hostname) -> Option<&DeclaredName> {
        self.names.get(name)
    }

    /// The accounts whose logins come after `after`, in their order.
    pub(crate) fn accounts(&self, after: Option<&str>) -> impl Iterator<Item = &Arc<Account>> {
        let logins = self.logins_in_order.get_or_init(|| in_order(&self.accounts));
        let from = after.map_or(0, |after| logins.partition_point(|login| **login <= *after));
        logins.iter().skip(from).filter_map(|login| self.accounts.get(login))
    }

    /// The names of which something is declared and which come after `after`, in their order.
    pub(crate) fn names(&self, after: Option<&Hostname>) -> impl Iterator<Item = &Hostname> {
        let names = self.names_in_order.get_or_init(|| in_order(&self.names));
        let from = after.map_or(0, |after| names.partition_point(|name| name <= after));
        names.iter().skip(from)
    }

    /// What an unknown login is held against, where `stored` are accounts too.
    pub(super) fn dummy(&self, login: &str, stored: Option<Arc<CopiedAccounts>>) -> PasswordDigest {
        let place = |stored: &Option<Arc<CopiedAccounts>>| stored.as_ref().map(Arc::as_ptr);
        let mut made = self.dummies.lock().unwrap_or_else(PoisonError::into_inner);
        let of_those = made.take().filter(|(of, _)| place(of) == place(&stored));
        let (_, dummies) = made.insert(of_those.unwrap_or_else(|| {
            let mut all: Vec<_> = self.secrets.iter().chain(stored.iter().flat_map(|all| all.iter())).collect();
            all.sort_by(|(a, _), (b, _)| a.cmp(b));
            let dummies = DummyDigests::new(all.into_iter().map(|(login, digest)| (login.as_ref(), digest.clone())));
            (stored, dummies)
        }));
        dummies.of(login)
    }

    /// The zone that holds `name`: the longest match.
    pub(crate) fn zone_of(&self, name: &Hostname) -> Option<&ZoneName> {
        std::iter::once(name.as_str()).chain(name.ancestors()).find_map(|apex| {
            let (zone, _) = self.zones.get_key_value(apex)?;
            Some(zone)
        })
    }

    /// How `account` may change `name`, which is `host` where it has settings.
    pub(crate) fn grant(&self, account: &Account, name: &Hostname, host: Option<&Host>) -> Result<Grant, Denied> {
        self.zone_of(name).ok_or(Denied::NoZone)?;
        let owner = host.and_then(|host| host.login.as_ref());
        if account.exact.contains(name) || owner == Some(&account.login) {
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
        if owner.is_some() || self.names.get(name).is_some_and(|name| !name.owners.is_empty()) {
            return Err(Denied::AnothersHost);
        }
        if self.protect.contains(name) {
            return Err(Denied::Protected);
        }
        if self.zone_of(name).is_some_and(ZoneName::is_reverse) {
            return Err(Denied::Reverse);
        }
        Ok(Grant::Wildcard)
    }

    /// Whether the wildcard directly below `name` covers what the file grants to others, protects, or has as an apex.
    pub(super) fn wildcard_covers_anothers(&self, account: &Account, name: &Hostname) -> bool {
        let is_below = |other: &str| other.split_once('.').is_some_and(|(_, above)| above == name.as_str());
        let is_anothers = |(other, declared): (&Hostname, &DeclaredName)| {
            is_below(other.as_str()) && !declared.owners.is_empty() && !declared.owners.contains(&account.login)
        };
        let is_protected = |other: &Hostname| is_below(other.as_str()) && !account.exact.contains(other);
        self.names.iter().any(is_anothers)
            || self.protect.iter().any(is_protected)
            || self.zones.keys().any(|apex| is_below(apex.as_str()))
    }

    pub(crate) fn has_pointers(&self) -> bool {
        !self.reverse.is_empty()
    }

    /// The name that stands for `address` in a reverse zone of ours, and that zone; of several the one for the least addresses.
    pub(crate) fn pointer(&self, address: IpAddr) -> Option<(&ZoneName, Hostname)> {
        let mut pointers = self.reverse.iter().filter_map(|zone| Some((zone, pointer_in(zone, address)?)));
        pointers.next()
    }

    /// The TTL of records in `zone`, in seconds.
    pub(crate) fn ttl(&self, zone: &ZoneName) -> u32 {
        self.zones.get(zone).map_or(60, |rules| rules.ttl)
    }

    /// The first of `addresses` that a name in `zone` never gets.
    pub(crate) fn refused(&self, zone: &ZoneName, addresses: Addresses) -> Option<IpAddr> {
        let allow = self.zones.get(zone).map(|rules| rules.allow.as_slice()).unwrap_or_default();
        let covers = |networks: &[IpNet], address| networks.iter().any(|network| network.contains(&address));
        addresses.iter().find(|address| covers(&self.refuse, *address) && !covers(allow, *address))
    }
}

fn in_order<K: Clone + Ord, V>(map: &HashMap<K, V>) -> Vec<K> {
    let mut keys: Vec<_> = map.keys().cloned().collect();
    keys.sort_unstable();
    keys
}

impl ZoneRules {
    fn new(zone: &config::Zone) -> Self {
        Self { ttl: zone.ttl, allow: zone.allow.clone() }
    }
}
