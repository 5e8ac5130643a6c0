//! Challenges of certificate authorities that are served, or may be: kept in the store, or in memory where there is none. Knows
//! nothing of how they come to be.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tracing::debug;

use super::Unavailable;
use crate::model::{Challenge, ChallengeValue, Hostname, Timestamp};
use crate::store::{Store, StoreError};

/// Values that are kept in memory; one more is turned away.
const MOST: usize = 20_000;

/// What is known of values that were presented and not removed: those at a name that are not in here are somebody else's.
#[derive(Debug)]
pub(crate) enum Challenges {
    Memory(Mutex<Vec<InMemory>>),
    Kept(Store),
}

#[derive(Debug)]
pub(crate) struct InMemory {
    challenge: Challenge,
    expires: Timestamp,
}

impl Challenges {
    pub(super) fn in_memory() -> Self {
        Self::Memory(Mutex::default())
    }

    pub(super) fn kept(store: Store) -> Self {
        Self::Kept(store)
    }

    /// Those at `name`, newest first.
    pub(crate) async fn of(&self, name: &Hostname) -> Result<Vec<Challenge>, Unavailable> {
        match self {
            Self::Memory(all) => Ok(newest_first(&lock(all), name)),
            Self::Kept(store) => store.challenges().of(name).await.map_err(unavailable),
        }
    }

    /// `value` is presented at `name` by `account`, for `keep` from now on: all that are there now, newest first.
    pub(crate) async fn present(
        &self,
        name: &Hostname,
        value: &ChallengeValue,
        account: &str,
        keep: Duration,
    ) -> Result<Vec<Challenge>, Unavailable> {
        let all = match self {
            Self::Memory(all) => all,
            Self::Kept(store) => {
                return store.challenges().present(name, value, account, keep).await.map_err(unavailable);
            }
        };
        let mut all = lock(all);
        let newest = newest_first(&all, name).first().map_or(0, |newest| newest.presented.0);
        all.retain(|known| !(known.challenge.name == *name && known.challenge.value == *value));
        if all.len() >= MOST {
            return Err(Unavailable);
        }
        let now = Timestamp::now();
        let presented = Timestamp(now.0.max(newest.saturating_add(1)));
        let challenge = Challenge { name: name.clone(), value: value.clone(), account: account.to_owned(), presented };
        all.push(InMemory { challenge, expires: now.plus(keep) });
        Ok(newest_first(&all, name))
    }

    /// These are served no longer; how many of them were not presented again meanwhile.
    pub(crate) async fn end(&self, gone: &[Challenge]) -> Result<usize, Unavailable> {
        match self {
            Self::Memory(all) => {
                let mut all = lock(all);
                let before = all.len();
                all.retain(|known| !gone.contains(&known.challenge));
                Ok(before - all.len())
            }
            Self::Kept(store) => store.challenges().end(gone).await.map_err(unavailable),
        }
    }

    /// At most `limit` of those whose time has come, and which are not due again before `lease` is over.
    pub(crate) async fn take_due(&self, lease: Duration, limit: usize) -> Result<Vec<Challenge>, Unavailable> {
        match self {
            Self::Memory(all) => {
                let now = Timestamp::now();
                let mut all = lock(all);
                let due = all.iter_mut().filter(|known| known.expires <= now).take(limit);
                Ok(due
                    .map(|known| {
                        known.expires = now.plus(lease);
                        known.challenge.clone()
                    })
                    .collect())
            }
            Self::Kept(store) => store.challenges().take_due(lease, limit).await.map_err(unavailable),
        }
    }
}

fn newest_first(all: &[InMemory], name: &Hostname) -> Vec<Challenge> {
    let mut of_name: Vec<_> = all.iter().map(|known| &known.challenge).filter(|known| known.name == *name).collect();
    of_name.sort_by_key(|one| std::cmp::Reverse(one.presented));
    of_name.into_iter().cloned().collect()
}

fn lock(all: &Mutex<Vec<InMemory>>) -> std::sync::MutexGuard<'_, Vec<InMemory>> {
    all.lock().unwrap_or_else(PoisonError::into_inner)
}

fn unavailable(error: StoreError) -> Unavailable {
    debug!(%error, "challenges wait for the store");
    Unavailable
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Location;

    fn value(letter: &str) -> ChallengeValue {
        ChallengeValue::parse(&letter.repeat(43)).unwrap()
    }

    fn values(all: &[Challenge]) -> String {
        all.iter().map(|challenge| &challenge.value.as_str()[..1]).collect()
    }

    async fn they_are_kept_in_order_and_go_by_their_age(challenges: &Challenges) {
        const HOUR: Duration = Duration::from_secs(3600);
        let name = Hostname::parse("_acme-challenge.home.dyn.example").unwrap();
        let other = Hostname::parse("_acme-challenge.other.dyn.example").unwrap();
        for (at, letter) in [(&name, "a"), (&name, "b"), (&other, "a"), (&name, "c")] {
            challenges.present(at, &value(letter), "router1", HOUR).await.unwrap();
        }
        assert_eq!(values(&challenges.of(&name).await.unwrap()), "cba");
        let again = challenges.present(&name, &value("b"), "router2", Duration::ZERO).await.unwrap();
        assert_eq!((values(&again), again[0].account.as_str()), ("bca".to_owned(), "router2"));

        let due = challenges.take_due(HOUR, 10).await.unwrap();
        assert_eq!(due, again[..1], "the one whose time has come");
        assert!(challenges.take_due(HOUR, 10).await.unwrap().is_empty(), "somebody is at it");
        challenges.present(&name, &value("b"), "router2", HOUR).await.unwrap();
        assert_eq!(challenges.end(&due).await, Ok(0), "it was presented again meanwhile");
        let all = challenges.of(&name).await.unwrap();
        assert_eq!(challenges.end(&all[1..]).await, Ok(2));
        assert_eq!(values(&challenges.of(&name).await.unwrap()), "b");
        assert_eq!(values(&challenges.of(&other).await.unwrap()), "a");
    }

    #[tokio::test]
    async fn in_memory() {
        they_are_kept_in_order_and_go_by_their_age(&Challenges::in_memory()).await;
    }

    #[tokio::test]
    async fn in_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&Location::Sqlite(folder.path().join("s.db"))).await.unwrap();
        they_are_kept_in_order_and_go_by_their_age(&Challenges::kept(store)).await;
    }

    #[tokio::test]
    async fn in_a_database() {
        let server = lab::Postgres::start().await.unwrap();
        let store = Store::open(&Location::Postgres(server.url().into())).await.unwrap();
        they_are_kept_in_order_and_go_by_their_age(&Challenges::kept(store)).await;
    }
}
