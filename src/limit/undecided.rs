//! Passwords from each network that are not decided yet. Knows neither logins nor rates.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How many guesses each network has under way; one without any is not in it.
#[derive(Debug, Default)]
pub(super) struct Undecided(Arc<Mutex<HashMap<IpAddr, u32>>>);

/// A password that may yet turn out wrong, until this is dropped.
#[derive(Debug)]
#[must_use = "it counts for as long as it is kept"]
pub struct Guess {
    all: Arc<Mutex<HashMap<IpAddr, u32>>>,
    network: IpAddr,
    number: u32,
}

impl Undecided {
    /// Counts another one of `network`.
    pub(super) fn one_more(&self, network: IpAddr) -> Guess {
        let mut all = lock(&self.0);
        let count = all.entry(network).or_insert(0);
        *count = count.saturating_add(1);
        let number = *count;
        drop(all);
        Guess { all: Arc::clone(&self.0), network, number }
    }
}

impl Guess {
    /// How many of its network there were with it.
    pub(super) fn number(&self) -> u32 {
        self.number
    }
}

impl Drop for Guess {
    fn drop(&mut self) {
        if let Entry::Occupied(mut count) = lock(&self.all).entry(self.network) {
            *count.get_mut() = count.get().saturating_sub(1);
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

fn lock(all: &Mutex<HashMap<IpAddr, u32>>) -> MutexGuard<'_, HashMap<IpAddr, u32>> {
    all.lock().unwrap_or_else(PoisonError::into_inner)
}
