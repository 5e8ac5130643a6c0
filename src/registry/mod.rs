//! Accounts, hosts and grants, declared in the file and kept in the store: who may change which name, in which zone, with
//! which TTL; and what was last seen of each host. Knows nothing of HTTP and asks no name server.

mod account;
mod declared;
mod decoys;
mod directory;
mod holds;
mod recorder;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::config::Config;
use crate::model::{Addresses, Families, Hostname, PasswordDigest, Timestamp, TokenDigest, ZoneName};
use crate::store::{Born, Deferral, InHand, Store, StoreError};

use declared::Declared;
use decoys::strangers;
use directory::Directory;
use holds::Holds;
use recorder::Recorder;

pub use account::{Account, Host};
pub use holds::Claim;
pub use recorder::Sighting;

/// How long gateways may take to notice that the store is back, and to tell it what they answered meanwhile.
const TELL: Duration = Duration::from_secs(3);

/// Everything that is declared, and everything that is kept.
#[derive(Debug)]
pub struct Registry {
    declared: Declared,
    kept: Option<Arc<Kept>>,
    born: Arc<Mutex<BornHere>>,
}

/// Without a store: names that each account's wildcard grants brought into being since the start.
type BornHere = HashMap<Arc<str>, HashSet<Hostname>>;

/// The parts that need a store.
#[derive(Debug)]
struct Kept {
    store: Store,
    directory: Arc<Directory>,
    recorder: Recorder,
    // Where other gateways may be on the store.
    holds: Option<Holds>,
}

/// The store does not answer, and what was asked is not remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the store is away")]
pub struct Unavailable;

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
    /// What `config` declares, and nothing else.
    #[must_use]
    pub fn declared(config: &Config) -> Self {
        Self { declared: Declared::new(config), kept: None, born: Arc::default() }
    }

    /// What `config` declares and `store` keeps, as one. Starts the tasks that follow the store and write to it; `wanted`
    /// is called when a command wants records changed.
    ///
    /// # Errors
    /// The store cannot be read, or keeps what the file declares.
    pub async fn with(
        config: &Config,
        store: Store,
        wanted: impl FnMut() + Send + 'static,
    ) -> Result<Self, StoreError> {
        let declared = Declared::new(config);
        let directory = Directory::new(store.clone(), config.store.grace, strangers(&store).await?);
        tokio::spawn(Arc::clone(&directory).follow(wanted));
        let recorder = Recorder::start(store.clone(), config.store.history);
        let holds = store.is_shared().then(|| Holds::start(&store, lease(config)));
        Ok(Self { declared, kept: Some(Arc::new(Kept { store, directory, recorder, holds })), born: Arc::default() })
    }

    /// What `config` declares in place of what was, with the same store and all that is remembered of it.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn redeclared(&self, config: &Config) -> Result<Self, StoreError> {
        if let Some(kept) = &self.kept {
            kept.directory.met(strangers(&kept.store).await?);
        }
        let declared = Declared::new(config);
        let mut born = self.born.lock().unwrap_or_else(PoisonError::into_inner);
        born.retain(|login, _| declared.account(login).is_some());
        drop(born);
        if let Some(holds) = self.holds() {
            holds.lengthen(lease(config));
        }
        Ok(Self { declared, kept: self.kept.clone(), born: Arc::clone(&self.born) })
    }

    /// The account of `login`.
    ///
    /// # Errors
    /// [`Unavailable`]
    pub async fn account(&self, login: &str) -> Result<Option<Arc<Account>>, Unavailable> {
        match (self.declared.account(login), &self.kept) {
            (Some(account), _) => Ok(Some(Arc::clone(account))),
            (None, Some(kept)) => kept.directory.account(login).await,
            (None, None) => Ok(None),
        }
    }

    /// The account that the file declares for `login`.
    #[must_use]
    pub fn declared_account(&self, login: &str) -> Option<&Account> {
        self.declared.account(login).map(Arc::as_ref)
    }

    /// What the password of an unknown login is held against: the work of a real account, and never right.
    #[must_use]
    pub fn decoy(&self, login: &str) -> PasswordDigest {
        self.declared.decoy(login, self.kept.as_ref().map(|kept| kept.directory.strangers()))
    }

    /// The settings of `name`, if it has some.
    ///
    /// # Errors
    /// [`Unavailable`]
    pub async fn host(&self, name: &Hostname) -> Result<Option<Arc<Host>>, Unavailable> {
        match (self.declared.host(name), &self.kept) {
            (Some(host), _) => Ok(Some(Arc::clone(host))),
            (None, Some(kept)) => kept.directory.host(name).await,
            (None, None) => Ok(None),
        }
    }

    /// The host that the token with this SHA-256 digest stands for.
    ///
    /// # Errors
    /// [`Unavailable`]
    pub async fn host_of_token(&self, digest: &TokenDigest) -> Result<Option<Hostname>, Unavailable> {
        let Some(kept) = &self.kept else { return Ok(None) };
        let holder = kept.directory.token(digest).await?;
        let in_force = |(name, expires): directory::Holder| {
            expires.is_none_or(|expires| Timestamp::now() < expires).then_some(name)
        };
        Ok(holder.and_then(in_force))
    }

    /// The host of an account whose grants name exactly one.
    ///
    /// # Errors
    /// [`Unavailable`]
    pub async fn only_host(&self, account: &Account) -> Result<Option<Hostname>, Unavailable> {
        if !account.wildcards.is_empty() {
            return Ok(None);
        }
        let mut hosts: Vec<_> = account.exact.iter().take(2).cloned().collect();
        if let (false, Some(kept)) = (account.is_declared, &self.kept) {
            hosts = kept.directory.hosts_of(&account.login, 2).await?;
        }
        Ok(if hosts.len() == 1 { hosts.pop() } else { None })
    }

    /// The zone that holds `name`: the longest match.
    #[must_use]
    pub fn zone_of(&self, name: &Hostname) -> Option<&ZoneName> {
        self.declared.zone_of(name)
    }

    /// How `account` may change `name`, whose settings are `host`.
    ///
    /// # Errors
    /// [`Denied`].
    pub fn grant(&self, account: &Account, name: &Hostname, host: Option<&Host>) -> Result<Grant, Denied> {
        self.declared.grant(account, name, host)
    }

    /// The TTL of records in `zone`, in seconds.
    #[must_use]
    pub fn ttl(&self, zone: &ZoneName) -> u32 {
        self.declared.ttl(zone)
    }

    /// The first of `addresses` that a name in `zone` never gets.
    #[must_use]
    pub fn refused(&self, zone: &ZoneName, addresses: Addresses) -> Option<IpAddr> {
        self.declared.refused(zone, addresses)
    }

    /// Counts `name` among those that `account`'s wildcard grants brought into being.
    ///
    /// # Errors
    /// [`Unavailable`]
    pub async fn bear(&self, account: &Account, name: &Hostname) -> Result<Born, Unavailable> {
        if let Some(kept) = &self.kept {
            return kept.directory.bear(account, name).await;
        }
        let most = usize::try_from(account.max_hosts).unwrap_or(usize::MAX);
        let mut born = self.born.lock().unwrap_or_else(PoisonError::into_inner);
        let names = born.entry(Arc::clone(&account.login)).or_default();
        Ok(if names.contains(name) {
            Born::Known
        } else if names.len() < most {
            names.insert(name.clone());
            Born::New
        } else {
            Born::TooMany
        })
    }

    /// Takes back what [`Self::bear`] counted: the name did not come into being.
    pub async fn unbear(&self, login: &Arc<str>, name: &Hostname) {
        if let Some(kept) = &self.kept {
            return kept.directory.unbear(login, name).await;
        }
        let mut born = self.born.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(names) = born.get_mut(login) {
            names.remove(name);
        }
    }

    /// Whether what this gateway remembers of `name` counts: another one on the same store may have changed it since.
    pub async fn may_go_by_memory(&self, name: &Hostname) -> bool {
        match self.holds() {
            Some(holds) => self.trouble().is_none() && holds.is_ours(name).await,
            None => true,
        }
    }

    /// How often a store that others may be on came back: they claimed nothing while it was away, so that what was remembered
    /// of any name before may have been replaced, whoever holds it.
    #[must_use]
    pub fn returns(&self) -> u64 {
        self.kept.as_ref().filter(|kept| kept.holds.is_some()).map_or(0, |kept| kept.directory.returns())
    }

    /// Claims these families of `name`: before the primary is asked about it or told to change it, and again after a
    /// change. The answer is the wish that stands for it in a store of several gateways, and whether what is remembered
    /// of it counts. While the store is away nothing is claimed, and nobody who notices goes by what he remembers.
    pub async fn claim(&self, name: &Hostname, families: Families) -> Claim {
        match (self.holds(), self.trouble()) {
            (Some(holds), None) => holds.claim(name, families).await,
            (Some(_), Some(_)) => Claim::default(),
            (None, _) => Claim { is_made: true, was_ours: true, wish: None },
        }
    }

    /// Takes what is wished for `names`, but what another gateway has in hand; `None` without a store.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn claim_wishes(&self, names: &[Hostname]) -> Result<Option<InHand>, StoreError> {
        match (&self.kept, self.holds()) {
            (Some(kept), Some(holds)) => holds.claim_wishes(&kept.store, names).await.map(Some),
            (Some(kept), None) => {
                let wishes = kept.store.wanted_of_all(names).await?;
                Ok(Some(InHand { wishes, ..InHand::default() }))
            }
            (None, _) => Ok(None),
        }
    }

    /// When a claim of this moment ends: to be asked before it is looked which names nobody needs, for [`Self::release`].
    #[must_use]
    pub fn claims_end(&self) -> Timestamp {
        self.holds().map_or(Timestamp::default(), Holds::claims_end)
    }

    /// Lets other gateways run what is wished for `names`, unless it was claimed until `before` or later: a request may have
    /// come meanwhile, which counts on its claim. What fails lasts as long as the claim.
    pub async fn release(&self, names: &[Hostname], before: Timestamp) {
        if let (Some(kept), Some(holds)) = (&self.kept, self.holds()) {
            let _until_the_claim_ends = kept.store.release(names, holds.me(), before).await;
        }
    }

    /// Keeps what requests asked for, but for what another gateway has claimed since; the names of which something was
    /// left out.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn defer(&self, wishes: &[Deferral]) -> Result<Vec<Hostname>, StoreError> {
        match &self.kept {
            Some(kept) => {
                let holder = self.holds().map(|holds| (holds.me(), holds.claims_end()));
                kept.store.defer(wishes, holder).await
            }
            None => Ok(Vec::new()),
        }
    }

    /// Forgets what is wished by requests and commands, by address family, where a newer request was answered by a gateway that
    /// did not know of the wish, or could not tell the store then; the names. Waits for all gateways to tell a store that
    /// came back.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn drop_settled(&self) -> Result<Vec<Hostname>, StoreError> {
        let Some(kept) = &self.kept else { return Ok(Vec::new()) };
        while kept.holds.is_some() {
            let told = kept.directory.returned() + TELL;
            if told <= Instant::now() {
                break;
            }
            sleep_until(told).await;
        }
        self.flush().await;
        kept.store.drop_settled().await
    }

    /// Writes what was noted of hosts until now.
    pub async fn flush(&self) {
        if let Some(kept) = &self.kept {
            kept.recorder.flush().await;
        }
    }

    fn holds(&self) -> Option<&Holds> {
        self.kept.as_ref()?.holds.as_ref()
    }

    /// Notes what became of a host's request; written within a second, by nobody who waits.
    pub fn saw(&self, sighting: Sighting) {
        if let Some(kept) = &self.kept {
            kept.recorder.note(sighting);
        }
    }

    /// The store, if there is one.
    #[must_use]
    pub fn store(&self) -> Option<&Store> {
        self.kept.as_ref().map(|kept| &kept.store)
    }

    /// Writes what was noted, and takes leave of the store.
    pub async fn close(&self) {
        if let Some(kept) = &self.kept {
            self.flush().await;
            if let Some(holds) = &kept.holds {
                let _until_the_claims_end = kept.store.release_all(holds.me()).await;
            }
            kept.store.close().await;
        }
    }

    /// Why the store is away, if it is, and whether even what is remembered no longer counts.
    #[must_use]
    pub fn trouble(&self) -> Option<(Arc<str>, bool)> {
        self.kept.as_ref().and_then(|kept| kept.directory.trouble())
    }
}

/// What `config` declares and `store` keeps too, each as a sentence that names both.
///
/// # Errors
/// The store cannot be read.
pub async fn clashes(config: &Config, store: &Store) -> Result<Vec<String>, StoreError> {
    let mut clashes = Vec::new();
    for account in &config.accounts {
        if store.account(&account.login).await?.is_some() {
            clashes.push(format!(
                "account {:?} is declared in the file and kept in the store: remove its [[account]], or run \
                 `dyngate account remove` before you declare it",
                account.login
            ));
        }
    }
    let granted = config.accounts.iter().flat_map(|account| &account.hosts);
    let names: BTreeSet<_> = granted.chain(config.hosts.iter().map(|host| &host.name)).cloned().collect();
    let kept: BTreeMap<_, _> = store.owners(&Vec::from_iter(names)).await?.into_iter().collect();
    for (name, login) in kept {
        clashes.push(format!(
            "host {name} is declared in the file and kept in the store for account {login:?}: remove it from the file, or run \
             `dyngate host remove --keep-records`",
        ));
    }
    Ok(clashes)
}

/// How long a claim lasts: longer than a change takes, from its claim to its answer, by clocks that differ a little.
fn lease(config: &Config) -> Duration {
    config.engine.deadline * 2 + Duration::from_secs(10)
}
