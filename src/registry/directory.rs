//! Look-ups in the store through a bounded memory, which the store's feed of changes keeps true. While the store is away,
//! what was seen lately goes on being good for a while.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use quick_cache::sync::Cache;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tracing::{info, warn};

use super::dummy::{CopiedAccounts, accounts_to_copy, makes_new_work};
use super::store_health::StoreHealth;
use super::{Account, Host, Unavailable};
use crate::model::{Hostname, TokenDigest, check_login};
use crate::store::{News, Store, StoreError, Subject, TokenHolder};

/// Accounts and hosts that are remembered, each; about 300 octets apiece.
const REMEMBERED: usize = 65_536;
const TIMEOUT: Duration = Duration::from_secs(2);
/// Between two tries of a store that is away.
const RETRY: Duration = Duration::from_millis(500);

/// What the store says of an account, of a name, of a token and of a generated secret; `None` is remembered too.
#[derive(Debug)]
pub(super) struct Directory {
    store: Store,
    accounts: Cache<Arc<str>, Remembered<Option<Arc<Account>>>>,
    hosts: Cache<Hostname, Remembered<Option<Arc<Host>>>>,
    tokens: Cache<TokenDigest, Remembered<Option<TokenHolder>>>,
    secrets: Cache<TokenDigest, Remembered<Option<Arc<str>>>>,
    // How often the feed lost its thread: what was remembered before is looked up again, unless the store is away.
    lost: AtomicU64,
    // Grows with each change: an answer that was under way meanwhile may be old and is not remembered.
    news: AtomicU64,
    grace: Duration,
    presence: RwLock<Presence>,
    health: Arc<StoreHealth>,
    #[cfg(test)]
    questions: AtomicU64,
    // Whose digests unknown logins are held against.
    copied: RwLock<Arc<CopiedAccounts>>,
}

#[derive(Debug, Clone)]
struct Remembered<V> {
    lost: u64,
    // What cannot be read is remembered too, so that it is asked for and told once.
    value: Result<V, Unavailable>,
    // When the store was asked, and whether since then somebody was turned away who may have guessed.
    asked: Instant,
    is_knocked: bool,
}

/// Whether the store answers, since when, and why not.
#[derive(Debug)]
enum Presence {
    Here(Instant),
    Away(Instant, Arc<str>),
}

impl Directory {
    pub(super) fn new(store: Store, grace: Duration, copied: CopiedAccounts, health: Arc<StoreHealth>) -> Arc<Self> {
        Arc::new(Self {
            store,
            accounts: Cache::new(REMEMBERED),
            hosts: Cache::new(REMEMBERED),
            tokens: Cache::new(REMEMBERED),
            secrets: Cache::new(REMEMBERED),
            lost: AtomicU64::new(0),
            news: AtomicU64::new(0),
            grace,
            presence: RwLock::new(Presence::Here(Instant::now())),
            health,
            #[cfg(test)]
            questions: AtomicU64::new(0),
            copied: RwLock::new(Arc::new(copied)),
        })
    }

    /// How often something was looked up in the store.
    #[cfg(test)]
    pub(super) fn questions(&self) -> u64 {
        self.questions.load(Ordering::SeqCst)
    }

    /// Follows the feed of changes for ever. `on_pending` hears of names whose records shall change.
    pub(super) async fn follow(self: Arc<Self>, mut on_pending: impl FnMut()) {
        let mut feed = self.store.feed();
        let mut ping = interval(RETRY);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let news = tokio::select! {
                news = feed.next() => news,
                _ = ping.tick() => {
                    match self.ask(self.store.ping()).await {
                        Ok(()) => self.is_back(),
                        Err(Unavailable) => sleep(RETRY).await,
                    }
                    continue;
                }
            };
            match news {
                Ok(news) => {
                    self.is_back();
                    let is_of_accounts = match news {
                        News::Changed(subjects) => {
                            self.news.fetch_add(1, Ordering::SeqCst);
                            subjects.iter().for_each(|subject| self.forget(subject, &mut on_pending));
                            subjects.iter().any(|subject| matches!(subject, Subject::Account(_)))
                        }
                        News::Lost => {
                            self.lost.fetch_add(1, Ordering::SeqCst);
                            on_pending();
                            true
                        }
                    };
                    if is_of_accounts {
                        self.look_at_accounts().await;
                    }
                }
                Err(error) => {
                    self.is_away(&error.to_string());
                    sleep(RETRY).await;
                }
            }
        }
    }

    /// An account whose password costs what none did before would be told from every unknown login.
    async fn look_at_accounts(&self) {
        if let Ok(now) = self.ask(accounts_to_copy(&self.store)).await
            // Others in their place would move unknown logins from slow to fast and back, and the known ones would stay.
            && makes_new_work(&self.copied(), &now)
        {
            self.set_copied(now);
        }
    }

    /// Accounts whose digests unknown logins are held against from now on.
    pub(super) fn set_copied(&self, copied: CopiedAccounts) {
        *self.copied.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(copied);
    }

    pub(super) fn copied(&self) -> Arc<CopiedAccounts> {
        Arc::clone(&self.copied.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn forget(&self, subject: &Subject, on_pending: &mut impl FnMut()) {
        match subject {
            Subject::Account(login) => drop(self.accounts.remove(login)),
            Subject::Host(name) => drop(self.hosts.remove(name)),
            Subject::Token(digest) => {
                self.tokens.remove(&TokenDigest(*digest));
                self.secrets.remove(&TokenDigest(*digest));
            }
            Subject::Pending(_) => on_pending(),
            Subject::Done(_) => {}
        }
    }

    pub(super) async fn account(&self, login: &str) -> Result<Option<Arc<Account>>, Unavailable> {
        // Whoever may be asked and remembered is chosen by strangers: PostgreSQL takes no NUL, and memory no 16 KiB a login.
        if check_login(login).is_err() {
            return Ok(None);
        }
        self.find(&self.accounts, login, || login.into(), async || self.fetch_account(login).await).await
    }

    async fn fetch_account(&self, login: &str) -> Result<Option<Arc<Account>>, StoreError> {
        Ok(self.store.account(login).await?.map(|account| Arc::new(Account::stored(account))))
    }

    async fn fetch_host(&self, name: &Hostname) -> Result<Option<Arc<Host>>, StoreError> {
        Ok(self.store.leader(name).await?.map(|host| Arc::new(Host::stored(host))))
    }

    /// Wrong credentials for `login` came at `since`: one look-up is made for them, and none for the next.
    pub(super) async fn knock(&self, login: &str, since: Instant) {
        if check_login(login).is_ok() {
            let fetch = async || self.fetch_account(login).await;
            self.knocked(&self.accounts, login, || login.into(), fetch, since).await;
        }
    }

    /// The same of a host that is not its asker's.
    pub(super) async fn knock_at_host(&self, name: &Hostname, since: Instant) {
        self.knocked(&self.hosts, name, || name.clone(), async || self.fetch_host(name).await, since).await;
    }

    pub(super) async fn host(&self, name: &Hostname) -> Result<Option<Arc<Host>>, Unavailable> {
        self.find(&self.hosts, name, || name.clone(), async || self.fetch_host(name).await).await
    }

    pub(super) async fn token(&self, digest: &TokenDigest) -> Result<Option<TokenHolder>, Unavailable> {
        self.find(&self.tokens, digest, || *digest, async || self.store.host_of_token(&digest.0).await).await
    }

    /// Whose a generated secret is: the account itself says whether it still serves.
    pub(super) async fn login_of_secret(&self, digest: &TokenDigest) -> Result<Option<Arc<str>>, Unavailable> {
        let fetch = async || self.store.login_of_secret(&digest.0).await;
        self.find(&self.secrets, digest, || *digest, fetch).await
    }

    /// At most `limit` hosts of an account, those after `after`, never from memory.
    pub(super) async fn hosts_of(
        &self,
        login: &str,
        after: Option<&Hostname>,
        limit: usize,
    ) -> Result<Vec<Hostname>, Unavailable> {
        if self.is_known_away() {
            return Err(Unavailable);
        }
        Box::pin(self.ask(self.store.hosts_of(login, after, limit))).await
    }

    /// Whether a host of another account stands directly below `name`, never from memory.
    pub(super) async fn has_anothers_below(&self, login: &str, name: &Hostname) -> Result<bool, Unavailable> {
        if self.is_known_away() {
            return Err(Unavailable);
        }
        Box::pin(self.ask(self.store.has_anothers_below(login, name))).await
    }

    /// Asks the store, which is away where it does not answer.
    async fn ask<V>(&self, question: impl Future<Output = Result<V, StoreError>>) -> Result<V, Unavailable> {
        self.answer(question).await?
    }

    /// The same; within, whether it can be read.
    async fn answer<V>(
        &self,
        question: impl Future<Output = Result<V, StoreError>>,
    ) -> Result<Result<V, Unavailable>, Unavailable> {
        let why = match timeout(TIMEOUT, question).await {
            Ok(Ok(value)) => return Ok(Ok(value)),
            // The others can be, and the store is here.
            Ok(Err(error @ StoreError::Unreadable { .. })) => {
                warn!(%error, "an account or a host is answered 911");
                return Ok(Err(Unavailable));
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer within 2 s".to_owned(),
        };
        self.is_away(&why);
        Err(Unavailable)
    }

    /// From memory, else from the store, whose answer is remembered unless news came meanwhile.
    async fn find<K, Q, V>(
        &self,
        cache: &Cache<K, Remembered<V>>,
        key: &Q,
        own: impl FnOnce() -> K,
        fetch: impl AsyncFnOnce() -> Result<V, StoreError>,
    ) -> Result<V, Unavailable>
    where
        K: std::hash::Hash + Eq + Clone,
        Q: std::hash::Hash + quick_cache::Equivalent<K> + ?Sized,
        V: Clone,
    {
        let (lost, news) = (self.lost.load(Ordering::SeqCst), self.news.load(Ordering::SeqCst));
        let remembered = cache.get(key).filter(|_| self.may_remember());
        let is_away = self.is_known_away();
        match remembered {
            Some(remembered) if is_away || remembered.lost == lost => return remembered.value,
            // Its absence takes seconds to notice: once is enough.
            None if is_away => return Err(Unavailable),
            Some(_) | None => {}
        }
        let asked = Instant::now();
        #[cfg(test)]
        self.questions.fetch_add(1, Ordering::SeqCst);
        // On the heap: each request would carry the kilobytes of a statement, though few ask.
        let Ok(value) = Box::pin(self.answer(fetch())).await else {
            return remembered.map_or(Err(Unavailable), |remembered| remembered.value);
        };
        let is_knocked = remembered.is_some_and(|remembered| remembered.is_knocked);
        cache.insert(own(), Remembered { lost, value: value.clone(), asked, is_knocked });
        if self.news.load(Ordering::SeqCst) != news {
            cache.remove(key);
        }
        value
    }

    /// Asks for what was answered from memory or from the file, unless it was asked for since, or after an earlier knock.
    async fn knocked<K, Q, V>(
        &self,
        cache: &Cache<K, Remembered<V>>,
        key: &Q,
        own: impl FnOnce() -> K,
        fetch: impl AsyncFnOnce() -> Result<V, StoreError>,
        since: Instant,
    ) where
        K: std::hash::Hash + Eq + Clone,
        Q: std::hash::Hash + quick_cache::Equivalent<K> + ?Sized,
        V: Clone,
    {
        let (lost, news) = (self.lost.load(Ordering::SeqCst), self.news.load(Ordering::SeqCst));
        let remembered = cache.get(key).filter(|remembered| remembered.lost == lost);
        if self.is_known_away() || remembered.as_ref().is_some_and(|remembered| remembered.is_knocked) {
            return;
        }
        let remembered = match remembered.filter(|remembered| remembered.asked >= since) {
            Some(remembered) => remembered,
            None => {
                let asked = Instant::now();
                #[cfg(test)]
                self.questions.fetch_add(1, Ordering::SeqCst);
                let Ok(value) = Box::pin(self.answer(fetch())).await else { return };
                Remembered { lost, value, asked, is_knocked: true }
            }
        };
        cache.insert(own(), Remembered { is_knocked: true, ..remembered });
        if self.news.load(Ordering::SeqCst) != news {
            cache.remove(key);
        }
    }

    /// Whether what is remembered counts: always, unless the store is away for longer than the grace.
    pub(super) fn may_remember(&self) -> bool {
        self.trouble().is_none_or(|(_, is_past_grace)| !is_past_grace)
    }

    /// Whether the store is away, as far as that was noticed.
    pub(super) fn is_known_away(&self) -> bool {
        matches!(*self.presence.read().unwrap_or_else(PoisonError::into_inner), Presence::Away(..))
    }

    /// Why the store is away, if it is, and whether even what is remembered no longer counts.
    pub(super) fn trouble(&self) -> Option<(Arc<str>, bool)> {
        match &*self.presence.read().unwrap_or_else(PoisonError::into_inner) {
            Presence::Here(_) => None,
            Presence::Away(since, why) => Some((Arc::clone(why), since.elapsed() > self.grace)),
        }
    }

    /// Grows before anything that changed is forgotten, and so before anybody acts on the news.
    pub(super) fn news(&self) -> u64 {
        self.news.load(Ordering::SeqCst) + self.lost.load(Ordering::SeqCst)
    }

    /// When it last came back, or we came.
    pub(super) fn returned(&self) -> Instant {
        match *self.presence.read().unwrap_or_else(PoisonError::into_inner) {
            Presence::Here(since) => since,
            Presence::Away(..) => Instant::now(),
        }
    }

    fn is_away(&self, why: &str) {
        let mut presence = self.presence.write().unwrap_or_else(PoisonError::into_inner);
        if let Presence::Here(_) = *presence {
            *presence = Presence::Away(Instant::now(), why.into());
            self.health.set_away(true);
            warn!(error = why, grace = ?self.grace, "the store is away: accounts and hosts that were seen lately go on working");
        }
    }

    fn is_back(&self) {
        let mut presence = self.presence.write().unwrap_or_else(PoisonError::into_inner);
        if let Presence::Away(..) = *presence {
            *presence = Presence::Here(Instant::now());
            self.health.set_away(false);
            info!("the store is back");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Location;
    use crate::model::{Families, PasswordDigest};
    use crate::store::{NewAccount, NewHost};

    fn directory(store: Store) -> Arc<Directory> {
        let health = Arc::new(StoreHealth::new(prometheus_client::metrics::gauge::Gauge::default()));
        Directory::new(store, Duration::ZERO, CopiedAccounts::new(), health)
    }

    /// What `look` asks the store.
    async fn questions(directory: &Directory, look: impl Future<Output = ()>) -> u64 {
        let before = directory.questions();
        look.await;
        directory.questions() - before
    }

    #[tokio::test]
    async fn known_and_unknown_cost_the_same_look_ups() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&Location::Sqlite(folder.path().join("store.db"))).await.unwrap();
        let host = |name: &str, login: &str| NewHost {
            name: Hostname::parse(name).unwrap(),
            login: login.to_owned(),
            ttl: None,
            families: Families::Both,
            description: String::new(),
        };
        for login in ["active", "idle"] {
            let secret = PasswordDigest::Sha256([1; 32]);
            let account = NewAccount { login: login.to_owned(), secret, max_hosts: 1, wildcards: Vec::new() };
            store.add_account(&account, &[host(&format!("{login}.example"), login)]).await.unwrap();
        }
        let directory = directory(store);
        let name = |text: &str| Hostname::parse(text).unwrap();
        // Its router has called.
        directory.account("active").await.unwrap();
        directory.host(&name("active.example")).await.unwrap();
        // What the file declares is not looked up before.
        for (login, is_declared) in [("active", false), ("idle", false), ("nobody", false), ("declared", true)] {
            for (time, cost) in [("first", 1), ("second", 0), ("third", 0)] {
                let wrong = async {
                    let since = Instant::now();
                    if !is_declared {
                        directory.account(login).await.unwrap();
                    }
                    directory.knock(login, since).await;
                };
                assert_eq!(questions(&directory, wrong).await, cost, "the {time} wrong password for {login}");
                let not_granted = async {
                    let (since, name) = (Instant::now(), name(&format!("{login}.example")));
                    if !is_declared {
                        directory.host(&name).await.unwrap();
                    }
                    directory.knock_at_host(&name, since).await;
                };
                assert_eq!(questions(&directory, not_granted).await, cost, "the {time} try of {login}'s host");
            }
        }
        let right = async { drop(directory.account("active").await.unwrap()) };
        assert_eq!(questions(&directory, right).await, 0, "its router does not pay for it");
    }

    #[tokio::test]
    async fn what_cannot_be_a_login_is_neither_asked_for_nor_remembered() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&Location::Sqlite(folder.path().join("store.db"))).await.unwrap();
        let directory = directory(store);
        for login in ["x".repeat(256), "a\0b".to_owned(), "a:b".to_owned(), String::new()] {
            assert!(directory.account(&login).await.unwrap().is_none());
            assert_eq!(directory.accounts.len(), 0, "{login:?}");
        }
        assert!(directory.account("stranger").await.unwrap().is_none());
        assert_eq!(directory.accounts.len(), 1, "nobody is asked twice about a stranger");
    }
}
