//! Counts names below wildcards, so that no account brings more of them into being than it may: many in one transaction of the
//! store, or in memory where there is none. Knows nothing of what is done with a name.
//!
//! A name is reserved before the primary is asked to make it. Requests for one name that run at the same time rely on one
//! reservation. The name is released when the last of them has failed for good; it stays as soon as one of them succeeded, or
//! may yet succeed.
//!
//! ```text
//!               reserve                 the last user fails             the task
//!   (nothing) ───────────▶ UNPROVEN(n) ─────────────────────▶ UNUSED ───────────▶ (nothing)
//!                               │  ▲                             │
//!                   one is kept │  └─────────── reserve ─────────┘
//!                               ▼
//!                             PROVEN: only the store knows it, and a bounded cache
//! ```

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use quick_cache::sync::Cache;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::directory::Directory;
use super::{Account, Unavailable};
use crate::model::{Hostname, Timestamp};
use crate::store::{NameRequest, Reserved, Store, StoreError};

const BATCH: usize = 500;
/// Requests that wait for one; the next is turned away.
const MOST_WAITING: usize = 20_000;
/// Proven names that need no question; about 150 octets apiece.
const REMEMBERED: usize = 65_536;
const TIMEOUT: Duration = Duration::from_secs(2);

/// Reserves names, and releases those that came to nothing; its task ends with it.
#[derive(Debug)]
pub(super) struct Reserver {
    shared: Arc<ReserverShared>,
    store: Option<(Arc<Directory>, JoinHandle<()>)>,
}

/// A name that counts for an account, as somebody who is about to make it relies on. Dropped, it counts for good: the name was
/// made, or may be made yet.
#[derive(Debug)]
pub struct Reservation {
    shared: Arc<ReserverShared>,
    // None where it had been reserved before, by whomever.
    unproven: Option<NameOfAccount>,
}

/// An account's name. An account that was removed and made again has other names than before.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct NameOfAccount {
    login: Arc<str>,
    created: Timestamp,
    name: Hostname,
}

#[derive(Debug)]
struct ReserverShared {
    books: Mutex<Books>,
    proven: Cache<NameOfAccount, ()>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct Books {
    /// How many requests under way rely on each name that nobody has kept: none where it shall be released.
    unproven: HashMap<NameOfAccount, usize>,
    /// Names whose last user has failed; one that found another user since is passed over.
    unused: Vec<NameOfAccount>,
    waiting: VecDeque<WaitingRequest>,
    /// Without a store: the names of each account since the start.
    here: Option<HashMap<Arc<str>, HashSet<Hostname>>>,
}

/// `None` where the account has as many names as it may have.
type ReserverAnswer = Result<Option<Reservation>, Unavailable>;

#[derive(Debug)]
struct WaitingRequest {
    key: NameOfAccount,
    most: u32,
    answer: oneshot::Sender<ReserverAnswer>,
}

/// What one transaction does: names that it reserves, and those that it releases since nobody relies on them any longer.
struct ReserverBatch {
    reserve: Vec<WaitingRequest>,
    release: Vec<(Arc<str>, Hostname)>,
}

impl Reserver {
    pub(super) fn in_memory() -> Self {
        Self { shared: ReserverShared::new(Some(HashMap::new())), store: None }
    }

    /// Counts in `store`, which is away when `directory` says so.
    pub(super) fn start(store: Store, directory: Arc<Directory>) -> Self {
        let shared = ReserverShared::new(None);
        let task = tokio::spawn(Arc::clone(&shared).run(store, Arc::clone(&directory)));
        Self { shared, store: Some((directory, task)) }
    }

    /// Reserves `name` for `account`; `None` where it has as many as it may have. While the store is away, what was reserved
    /// lately is, and nothing else.
    pub(super) async fn reserve(&self, account: &Account, name: &Hostname) -> ReserverAnswer {
        let key = NameOfAccount { login: Arc::clone(&account.login), created: account.created, name: name.clone() };
        let Some((directory, _)) = &self.store else { return Ok(self.shared.reserve_here(key, account.max_hosts)) };
        if directory.may_remember()
            && let Some(reservation) = self.shared.join(&key)
        {
            return Ok(Some(reservation));
        }
        if directory.is_known_away() {
            return Err(Unavailable);
        }
        self.shared.ask(key, account.max_hosts)?.await.unwrap_or(Err(Unavailable))
    }

    /// Without a store: forgets the names of all other accounts.
    pub(super) fn retain(&self, is_account: impl Fn(&str) -> bool) {
        if let Some(here) = &mut self.shared.books().here {
            here.retain(|login, _| is_account(login));
        }
    }
}

impl Drop for Reserver {
    fn drop(&mut self) {
        if let Some((_, task)) = &self.store {
            task.abort();
        }
    }
}

impl Reservation {
    /// What relied on it has failed for good: it will make no name.
    pub fn release(mut self) {
        if let Some(key) = self.unproven.take() {
            self.shared.failed(key);
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if let Some(key) = self.unproven.take() {
            self.shared.kept(key);
        }
    }
}

impl ReserverShared {
    fn new(here: Option<HashMap<Arc<str>, HashSet<Hostname>>>) -> Arc<Self> {
        let books = Mutex::new(Books { here, ..Books::default() });
        Arc::new(Self { books, proven: Cache::new(REMEMBERED), wake: Notify::new() })
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reservation(self: &Arc<Self>, unproven: Option<NameOfAccount>) -> Reservation {
        Reservation { shared: Arc::clone(self), unproven }
    }

    fn reserve_here(self: &Arc<Self>, key: NameOfAccount, most: u32) -> Option<Reservation> {
        let mut books = self.books();
        let Books { here, unproven, .. } = &mut *books;
        let names = here.get_or_insert_default().entry(Arc::clone(&key.login)).or_default();
        let is_new = !names.contains(&key.name);
        if is_new && names.len() >= usize::try_from(most).unwrap_or(usize::MAX) {
            return None;
        }
        if is_new {
            names.insert(key.name.clone());
            unproven.insert(key.clone(), 0);
        }
        let users = unproven.get_mut(&key).map(|users| *users += 1);
        Some(self.reservation(users.map(|()| key)))
    }

    /// What needs no question: a name that another request has just reserved, or one that is proven.
    fn join(self: &Arc<Self>, key: &NameOfAccount) -> Option<Reservation> {
        if let Some(users) = self.books().unproven.get_mut(key) {
            *users += 1;
            return Some(self.reservation(Some(key.clone())));
        }
        self.proven.get(key).map(|()| self.reservation(None))
    }

    fn ask(&self, key: NameOfAccount, most: u32) -> Result<oneshot::Receiver<ReserverAnswer>, Unavailable> {
        let mut books = self.books();
        if books.waiting.len() >= MOST_WAITING {
            return Err(Unavailable);
        }
        let (answer, answered) = oneshot::channel();
        books.waiting.push_back(WaitingRequest { key, most, answer });
        self.wake.notify_one();
        Ok(answered)
    }

    fn kept(&self, key: NameOfAccount) {
        let was_unproven = self.books().unproven.remove(&key).is_some();
        if was_unproven {
            self.proven.insert(key, ());
        }
    }

    fn failed(&self, key: NameOfAccount) {
        let mut books = self.books();
        // Where there is none, another one has been kept.
        let Some(users) = books.unproven.get_mut(&key) else { return };
        *users = users.saturating_sub(1);
        if *users > 0 {
            return;
        }
        if books.here.is_none() {
            books.unused.push(key);
            return self.wake.notify_one();
        }
        books.unproven.remove(&key);
        if let Some(names) = books.here.as_mut().and_then(|here| here.get_mut(&key.login)) {
            names.remove(&key.name);
        }
    }

    /// Asks the store for all that wait, one transaction after the other: those that come meanwhile are in the next.
    async fn run(self: Arc<Self>, store: Store, directory: Arc<Directory>) {
        loop {
            self.wake.notified().await;
            while let Some(ReserverBatch { reserve, release }) = self.next() {
                let answers = if directory.is_known_away() {
                    None
                } else {
                    let requests: Vec<_> = reserve.iter().map(WaitingRequest::request).collect();
                    let ask = || timeout(TIMEOUT, store.reservations().reserve(&release, &requests));
                    match ask().await {
                        // A connection that rested for a moment may have died with a server that is back already.
                        Ok(Err(StoreError::Unavailable { .. })) => ask().await,
                        answers => answers,
                    }
                    .ok()
                    .and_then(Result::ok)
                };
                self.answer(reserve, answers);
            }
        }
    }

    /// What the next transaction does. What it cannot release goes on counting.
    fn next(&self) -> Option<ReserverBatch> {
        let mut books = self.books();
        let Books { waiting, unused, unproven, .. } = &mut *books;
        if waiting.is_empty() && unused.is_empty() {
            return None;
        }
        let reserve = waiting.drain(..waiting.len().min(BATCH)).collect();
        let mut release = Vec::new();
        for key in unused.drain(..unused.len().min(BATCH)) {
            if unproven.get(&key) == Some(&0) {
                unproven.remove(&key);
                release.push((key.login, key.name));
            }
        }
        Some(ReserverBatch { reserve, release })
    }

    fn answer(self: &Arc<Self>, waiting: Vec<WaitingRequest>, answers: Option<Vec<Reserved>>) {
        let mut said = Vec::with_capacity(waiting.len());
        let mut books = self.books();
        let answers = answers.unwrap_or_default();
        for (number, WaitingRequest { key, answer, .. }) in waiting.into_iter().enumerate() {
            let reserved = match answers.get(number) {
                Some(Reserved::New) => {
                    *books.unproven.entry(key.clone()).or_default() += 1;
                    Ok(Some(self.reservation(Some(key))))
                }
                // Since it was asked for, a request before this one may have reserved it, and be under way.
                Some(Reserved::Known) => Ok(Some(match books.unproven.get_mut(&key) {
                    Some(users) => {
                        *users += 1;
                        self.reservation(Some(key))
                    }
                    None => {
                        self.proven.insert(key, ());
                        self.reservation(None)
                    }
                })),
                Some(Reserved::TooMany) => Ok(None),
                None => Err(Unavailable),
            };
            said.push((answer, reserved));
        }
        // Whoever no longer waits lets a reservation drop, which opens the books.
        drop(books);
        for (answer, reserved) in said {
            let _asker_gone = answer.send(reserved);
        }
    }
}

impl WaitingRequest {
    fn request(&self) -> NameRequest {
        NameRequest { login: Arc::clone(&self.key.login), name: self.key.name.clone(), most: self.most }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn in_memory_too_a_name_stays_for_whoever_relies_on_it() {
        let reserver = Reserver::in_memory();
        let account = Account {
            login: "a".into(),
            is_declared: true,
            enabled: true,
            secrets: Vec::new(),
            exact: HashSet::new(),
            wildcards: Vec::new(),
            max_hosts: 1,
            created: Timestamp(0),
        };
        let [one, other] = ["one.example", "other.example"].map(|name| Hostname::parse(name).unwrap());
        let get = async |name: &Hostname| reserver.reserve(&account, name).await.unwrap();
        let (first, second) = (get(&one).await.unwrap(), get(&one).await.unwrap());
        first.release();
        assert!(get(&other).await.is_none(), "the second one relies on the first name");
        second.release();
        let (kept, failing) = (get(&other).await.unwrap(), get(&other).await.unwrap());
        drop(kept);
        failing.release();
        assert!(get(&one).await.is_none(), "the other name was made");
        reserver.retain(|login| login != "a");
        assert!(get(&one).await.is_some());
    }
}
