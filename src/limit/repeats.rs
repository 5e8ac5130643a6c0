//! The abuse rule: how often a host may be answered again what it was last answered. Knows nothing of zones and primaries.

use std::time::Duration;

use quick_cache::sync::Cache;

use super::limiter::Limiter;
use crate::config::Quota;
use crate::model::{Addresses, Hostname};

/// Hosts whose last answer is remembered; one that is forgotten is no repeater at its next request. About 200 octets apiece.
const REMEMBERED: usize = 65_536;

/// The `repeats` limit.
///
/// A repeat asks for what the same host was last answered `good` or `nochg` with. So nobody repeats who was told to come
/// back: a failure of ours takes back what was answered before, and the next `good` or `nochg` is news.
#[derive(Debug)]
pub(super) struct Repeats {
    rate: Limiter,
    answered: Cache<Hostname, Addresses>,
}

impl Repeats {
    pub(super) fn new(quota: Quota) -> Self {
        Self { rate: Limiter::new(quota), answered: Cache::new(REMEMBERED) }
    }

    /// The same hosts under another quota.
    pub(super) fn with(self, quota: Quota) -> Self {
        Self { rate: self.rate.with(quota), ..self }
    }

    /// Whether one more repeat of `addresses` may be answered; counts nothing, for the answer may yet be a failure of ours.
    pub(super) fn look(&self, name: &Hostname, addresses: Addresses) -> Result<(), Duration> {
        if self.repeats(name, addresses) { self.rate.look(name.as_str(), 1) } else { Ok(()) }
    }

    /// Notes that the host was answered that it has `addresses`, and counts a repeat.
    pub(super) fn answered(&self, name: &Hostname, addresses: Addresses) {
        if self.repeats(name, addresses) {
            // Several at once may have been let through by the last that was left.
            let _exhausted = self.rate.take(name.as_str(), 1);
            return;
        }
        // A router may send its two families one by one.
        let before = self.answered.get(name).unwrap_or_default();
        let now = Addresses { v4: addresses.v4.or(before.v4), v6: addresses.v6.or(before.v6) };
        self.answered.insert(name.clone(), now);
    }

    /// Notes that the host was told to come back, through no fault of its own.
    pub(super) fn failed(&self, name: &Hostname) {
        self.answered.remove(name);
    }

    fn repeats(&self, name: &Hostname, addresses: Addresses) -> bool {
        let same = |answered: Addresses| {
            addresses.v4.is_none_or(|v4| answered.v4 == Some(v4))
                && addresses.v6.is_none_or(|v6| answered.v6 == Some(v6))
        };
        self.answered.get(name).is_some_and(same)
    }
}
