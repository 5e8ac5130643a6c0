//! Accounts, hosts and grants, declared in the file and kept in the store: who may change which name, in which zone, with
//! which TTL; and what was last seen of each host. Knows nothing of HTTP and asks no name server.

mod account;
mod challenges;
mod declared;
mod directory;
mod dummy;
mod one_family;
mod pending;
mod recorder;
mod reserver;
mod store_health;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::config::{self, Config};
use crate::metrics::Metrics;
use crate::model::{Addresses, Hostname, PasswordDigest, Timestamp, TokenDigest, ZoneName};
use crate::store::{Store, StoreError};

use directory::Directory;
use dummy::accounts_to_copy;
use recorder::Recorder;
use reserver::Reserver;
use store_health::StoreHealth;

pub use account::Account;
pub(crate) use account::{Host, HostMore};
pub(crate) use challenges::Challenges;
pub(crate) use declared::Declared;
pub(crate) use pending::{Cleared, PendingChanges};
pub(crate) use recorder::Sighting;
pub use reserver::Reservation;

/// Everything that is declared, and everything that is kept.
#[derive(Debug)]
pub struct Registry {
    declared: Declared,
    stored: Option<Arc<Stored>>,
    reserver: Arc<Reserver>,
    challenges: Arc<Challenges>,
    acme: config::Acme,
}

#[derive(Debug)]
struct Stored {
    store: Store,
    directory: Arc<Directory>,
    recorder: Recorder,
    pending: Arc<PendingChanges>,
    health: Arc<StoreHealth>,
    // Follows the feed until this is dropped.
    _follower: JoinSet<()>,
}

/// The store does not answer, and what was asked is not remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the store is away")]
pub struct Unavailable;

/// How a name is granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Grant {
    Exact,
    /// By a wildcard: the caller must also rule out that the zone's SOA or NS records name it.
    Wildcard,
}

/// Why a name is not granted; for the log, never for the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Denied {
    #[error("no zone of ours holds the name")]
    NoZone,
    #[error("not granted to this account")]
    NotGranted,
    /// A wildcard covers it, but it is granted exactly to someone else.
    #[error("granted exactly to another account")]
    AnothersHost,
    #[error("protected in its zone")]
    Protected,
    /// The apex of a zone of ours, which only a grant by name covers.
    #[error("the apex of a zone")]
    Apex,
    #[error("a wildcard grant does not cover names of addresses")]
    Reverse,
    #[error("a wildcard grant does not cover the wildcard owner directly below it")]
    WildcardOwner,
}

impl Registry {
    /// What `config` declares, and nothing else.
    pub fn declared(config: &Config) -> Self {
        Self {
            declared: Declared::new(config),
            stored: None,
            reserver: Arc::new(Reserver::in_memory()),
            challenges: Arc::new(Challenges::in_memory()),
            acme: config.acme.clone(),
        }
    }

    /// What `config` declares and `store` keeps, as one. Starts the tasks that follow the store and write to it; `on_pending`
    /// is called when a command wants records changed.
    pub async fn with(
        config: &Config,
        store: Store,
        metrics: &Metrics,
        on_pending: impl FnMut() + Send + 'static,
    ) -> Result<Self, StoreError> {
        let declared = Declared::new(config);
        let health = Arc::new(StoreHealth::new(metrics.store_up()));
        let copied = accounts_to_copy(&store).await?;
        let directory = Directory::new(store.clone(), config.store.grace, copied, Arc::clone(&health));
        let pending = Arc::new(PendingChanges::start(store.clone()).await?);
        let mut follower = JoinSet::new();
        follower.spawn(Arc::clone(&directory).follow(on_pending));
        let unwritten = metrics.store_unwritten();
        let (known, healthy) = (Arc::clone(&directory), Arc::clone(&health));
        let recorder = Recorder::start(store.clone(), config.store.history, unwritten, healthy, known);
        let reserver = Arc::new(Reserver::start(store.clone(), Arc::clone(&directory)));
        let challenges = Arc::new(Challenges::kept(store.clone()));
        Ok(Self {
            declared,
            stored: Some(Arc::new(Stored { store, directory, recorder, pending, health, _follower: follower })),
            reserver,
            challenges,
            acme: config.acme.clone(),
        })
    }

    /// What `config` declares in place of what was, with the same store and all that is remembered of it.
    pub async fn redeclared(&self, config: &Config) -> Result<Self, StoreError> {
        if let Some(stored) = &self.stored {
            stored.directory.set_copied(accounts_to_copy(&stored.store).await?);
        }
        let declared = Declared::new(config);
        self.reserver.retain(|login| declared.account(login).is_some());
        Ok(Self {
            declared,
            stored: self.stored.clone(),
            reserver: Arc::clone(&self.reserver),
            challenges: Arc::clone(&self.challenges),
            acme: config.acme.clone(),
        })
    }

    /// The account of `login`.
    pub async fn account(&self, login: &str) -> Result<Option<Arc<Account>>, Unavailable> {
        match (self.declared.account(login), &self.stored) {
            (Some(account), _) => Ok(Some(Arc::clone(account))),
            (None, Some(stored)) => stored.directory.account(login).await,
            (None, None) => Ok(None),
        }
    }

    /// What the password of an unknown login is held against: the work of a real account, and never right.
    pub(crate) fn dummy(&self, login: &str) -> PasswordDigest {
        self.declared.dummy(login, self.stored.as_ref().map(|stored| stored.directory.copied()))
    }

    pub(crate) async fn host(&self, name: &Hostname) -> Result<Option<Arc<Host>>, Unavailable> {
        match (self.declared.host(name), &self.stored) {
            (Some(host), _) => Ok(Some(Arc::clone(host))),
            (None, Some(stored)) => stored.directory.host(name).await,
            (None, None) => Ok(None),
        }
    }

    /// The host that the token with this SHA-256 digest stands for.
    pub(crate) async fn host_of_token(&self, digest: &TokenDigest) -> Result<Option<Hostname>, Unavailable> {
        let Some(stored) = &self.stored else { return Ok(None) };
        let holder = stored.directory.token(digest).await?;
        let in_force = holder.filter(|holder| holder.expires.is_none_or(|expires| Timestamp::now() < expires));
        Ok(in_force.map(|holder| holder.name))
    }

    /// The account that the file declares with the generated secret of this SHA-256.
    pub(crate) fn declared_by_secret(&self, digest: &TokenDigest) -> Option<Arc<Account>> {
        self.declared.login_of_secret(digest).flatten().and_then(|login| self.declared.account(login)).cloned()
    }

    /// The same of the store: it may be disabled, and the secret may have expired. A secret of several accounts is nobody's, and
    /// one that the file has too is not the store's.
    pub(crate) async fn account_by_secret(&self, digest: &TokenDigest) -> Result<Option<Arc<Account>>, Unavailable> {
        let Some(stored) = &self.stored else { return Ok(None) };
        match stored.directory.login_of_secret(digest).await? {
            Some(login) if self.declared.login_of_secret(digest).is_none() => stored.directory.account(&login).await,
            Some(_) | None => Ok(None),
        }
    }

    /// The host of an account whose grants name exactly one, else the one that its login names.
    pub(crate) async fn only_host(&self, account: &Account) -> Result<Option<Hostname>, Unavailable> {
        if let Some(only) = self.only_granted(account).await? {
            return Ok(Some(only));
        }
        let Some(name) = Hostname::parse(&account.login).ok().filter(|name| name.as_str().contains('.')) else {
            return Ok(None);
        };
        let host = self.host(&name).await?;
        Ok(self.grant(account, &name, host.as_deref()).is_ok().then_some(name))
    }

    async fn only_granted(&self, account: &Account) -> Result<Option<Hostname>, Unavailable> {
        if !account.wildcards.is_empty() {
            return Ok(None);
        }
        let mut hosts: Vec<_> = account.exact.iter().take(2).cloned().collect();
        if let (false, Some(stored)) = (account.is_declared, &self.stored) {
            hosts = stored.directory.hosts_of(&account.login, None, 2).await?;
        }
        Ok(if hosts.len() == 1 { hosts.pop() } else { None })
    }

    /// The hosts that are granted exactly to an account and whose first label is `label`; two at most.
    pub(crate) async fn hosts_that_begin(&self, account: &Account, label: &str) -> Result<Vec<Hostname>, Unavailable> {
        let begin = format!("{}.", label.to_ascii_lowercase());
        let begins = |name: &&Hostname| name.as_str().starts_with(&begin);
        let mut hosts: Vec<_> = account.exact.iter().filter(begins).take(2).cloned().collect();
        // Stored names are in the order of their octets. Nothing but letters and digits begins a label after the first, but for a
        // '_' that comes after both.
        if let (false, Some(stored), Ok(before)) =
            (account.is_declared, &self.stored, Hostname::parse(&format!("{begin}0")))
        {
            hosts = stored.directory.hosts_of(&account.login, Some(&before), 2).await?;
            hosts.retain(|name| begins(&name));
        }
        Ok(hosts)
    }

    /// The zone that holds `name`: the longest match.
    pub(crate) fn zone_of(&self, name: &Hostname) -> Option<&ZoneName> {
        self.declared.zone_of(name)
    }

    /// The name that stands for `address` in a reverse zone of ours, and that zone.
    pub(crate) fn pointer(&self, address: IpAddr) -> Option<(&ZoneName, Hostname)> {
        self.declared.pointer(address)
    }

    /// Whether `name`, which is `host` where it has settings, is a host of others than the account `login`.
    pub(crate) fn is_anothers(&self, login: &str, name: &Hostname, host: Option<&Host>) -> bool {
        let is_other = |owner: &Arc<str>| **owner != *login;
        let owners = self.declared.name(name).map(|declared| declared.owners.as_slice()).unwrap_or_default();
        host.and_then(|host| host.login.as_ref()).is_some_and(is_other)
            || !owners.is_empty() && owners.iter().all(is_other)
    }

    /// Whether the wildcard directly below `name`, which a wildcard grant of `account` covers, covers what such a grant does
    /// not: a host of others, a protected name or an apex.
    pub(crate) async fn wildcard_covers_anothers(
        &self,
        account: &Account,
        name: &Hostname,
    ) -> Result<bool, Unavailable> {
        match &self.stored {
            _ if self.declared.wildcard_covers_anothers(account, name) => Ok(true),
            Some(stored) => stored.directory.has_anothers_below(&account.login, name).await,
            None => Ok(false),
        }
    }

    /// Whether any reverse zone is ours.
    pub(crate) fn has_pointers(&self) -> bool {
        self.declared.has_pointers()
    }

    pub(crate) fn grant(&self, account: &Account, name: &Hostname, host: Option<&Host>) -> Result<Grant, Denied> {
        self.declared.grant(account, name, host)
    }

    /// The TTL of records in `zone`, in seconds.
    pub(crate) fn ttl(&self, zone: &ZoneName) -> u32 {
        self.declared.ttl(zone)
    }

    /// The first of `addresses` that a name in `zone` never gets.
    pub(crate) fn refused(&self, zone: &ZoneName, addresses: Addresses) -> Option<IpAddr> {
        self.declared.refused(zone, addresses)
    }

    /// Reserves `name` for `account`, whose wildcard grant covers it; `None` where it has as many such names as it may have.
    pub async fn reserve(&self, account: &Account, name: &Hostname) -> Result<Option<Reservation>, Unavailable> {
        self.reserver.reserve(account, name).await
    }

    pub(crate) fn is_shared(&self) -> bool {
        self.stored.as_ref().is_some_and(|stored| stored.store.is_shared())
    }

    /// How much was heard of changes in the store: while it is the same, what was looked up since still holds here.
    pub(crate) fn news(&self) -> u64 {
        self.stored.as_ref().map_or(0, |stored| stored.directory.news())
    }

    /// When the store last came back, or we came.
    pub(crate) fn returned(&self) -> Instant {
        self.stored.as_ref().map_or_else(Instant::now, |stored| stored.directory.returned())
    }

    /// Writes what was noted of hosts until now.
    pub(crate) async fn flush(&self) {
        if let Some(stored) = &self.stored {
            stored.recorder.flush().await;
        }
    }

    /// Notes what became of a host's request; written within a second, and nobody waits for it.
    pub(crate) fn saw(&self, sighting: Sighting) {
        if let Some(stored) = &self.stored {
            if self.declared.host(&sighting.name).is_some_and(|host| host.is_composed()) {
                stored.recorder.is_no_reporter(&sighting.name);
            }
            stored.recorder.note(sighting);
        }
    }

    /// What the store keeps of changes that are still to be made, if there is one.
    pub(crate) fn pending(&self) -> Option<&Arc<PendingChanges>> {
        self.stored.as_ref().map(|stored| &stored.pending)
    }

    /// The challenges that are served, or may be.
    pub(crate) fn challenges(&self) -> &Challenges {
        &self.challenges
    }

    /// Whether credentials may write challenges, and how long one stays.
    pub(crate) fn acme(&self) -> &config::Acme {
        &self.acme
    }

    /// What `config` declares and the store keeps too, each as a sentence that names both.
    pub(crate) async fn clashes(&self, config: &Config) -> Result<Vec<String>, StoreError> {
        match self.stored.as_deref() {
            Some(stored) => clashes(&stored.store, &Declared::new(config)).await,
            None => Ok(Vec::new()),
        }
    }

    /// Writes what was noted, and takes leave of the store.
    pub(crate) async fn close(&self) {
        if let Some(stored) = &self.stored {
            self.flush().await;
            stored.store.close().await;
        }
    }

    /// Why nothing is written to the store, if so.
    pub fn unwritten(&self) -> Option<Arc<str>> {
        self.stored.as_ref().and_then(|stored| stored.health.unwritten())
    }

    /// Somebody's credentials were wrong, which came at `since`. A login that is declared or was remembered costs the look-up
    /// then that an unknown one has cost, so that time tells neither from the other.
    pub(crate) async fn knock(&self, login: &str, since: Instant) {
        if let Some(stored) = &self.stored {
            stored.directory.knock(login, since).await;
        }
    }

    /// The same of a host that is not its asker's.
    pub(crate) async fn knock_at_host(&self, name: &Hostname, since: Instant) {
        if let Some(stored) = &self.stored {
            stored.directory.knock_at_host(name, since).await;
        }
    }

    /// What `config` declares, and a store in `folder` with these accounts, enabled or not. The secret of each is its login.
    #[cfg(test)]
    pub(crate) async fn with_accounts(
        config: &Config,
        folder: &std::path::Path,
        accounts: &[(&str, bool)],
        metrics: &Metrics,
    ) -> Self {
        let store = Store::open(&crate::config::Location::Sqlite(folder.join("store.db"))).await.unwrap();
        for (login, is_enabled) in accounts {
            let secret = PasswordDigest::Sha256(TokenDigest::of(login).0);
            let account =
                crate::store::NewAccount { login: (*login).to_owned(), secret, max_hosts: 1, wildcards: Vec::new() };
            store.add_account(&account, &[]).await.unwrap();
            store.set_enabled(login, *is_enabled).await.unwrap();
        }
        Self::with(config, store, metrics, || ()).await.unwrap()
    }

    /// How often an account, a host or a secret was looked up in the store.
    #[cfg(test)]
    pub(crate) fn questions(&self) -> u64 {
        self.stored.as_ref().map_or(0, |stored| stored.directory.questions())
    }

    /// Why the store is away, if it is, and whether even what is remembered no longer counts.
    pub fn trouble(&self) -> Option<(Arc<str>, bool)> {
        self.stored.as_ref().and_then(|stored| stored.directory.trouble())
    }
}

/// What is `declared` and kept in `store` too, each as a sentence that names both: a gateway does not start so.
pub(crate) async fn clashes(store: &Store, declared: &Declared) -> Result<Vec<String>, StoreError> {
    let logins: Vec<_> = declared.accounts(None).map(|account| Arc::clone(&account.login)).collect();
    let mut logins = store.logins(&logins).await?;
    logins.sort_unstable();
    let mut clashes: Vec<_> = logins
        .into_iter()
        .map(|login| {
            format!(
                "account {login:?} is declared in the file and kept in the store: remove its [[account]], or run \
                 `dyngate account remove {login} --keep-records` before you declare it and its hosts"
            )
        })
        .collect();
    let names: Vec<_> = declared.names(None).cloned().collect();
    let kept: BTreeMap<_, _> = store.owners(&names).await?.into_iter().collect();
    for (name, login) in kept {
        clashes.push(format!(
            "host {name} is declared in the file and kept in the store for account {login:?}: remove it from the file, or run \
             `dyngate host remove {name} --keep-records`",
        ));
    }
    Ok(clashes)
}
