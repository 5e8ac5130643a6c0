//! One rate over many keys: governor's GCRA on our bounded store and tokio's clock. Knows not what the keys mean.

use std::hash::{BuildHasher, Hash, RandomState};
use std::num::NonZeroU32;
use std::time::Duration;

use governor::RateLimiter;
use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use tokio::time::Instant;

use super::store::{BoundedStore, KeyQuery};
use crate::config::Quota;

/// A burst is cut so that it fills within this time: governor counts nanoseconds in 64 bits and does not check.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// A limiter with one quota for each key.
#[derive(Debug)]
pub(super) struct Limiter {
    rate: RateLimiter<KeyQuery, BoundedStore, TokioClock, NoOpMiddleware<Nanos>>,
    burst: NonZeroU32,
    /// How long one takes to come back.
    interval: Duration,
    /// Keys are kept as 64 bits of a keyed hash: attackers choose the keys, and so neither their length nor a
    /// collision can be theirs. Two keys that meet by chance share one quota.
    fingerprints: RandomState,
}

/// tokio's clock, so that tests can pause it; its instants count from its making.
#[derive(Debug, Clone)]
struct TokioClock(Instant);

impl Clock for TokioClock {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        Nanos::new(u64::try_from(self.0.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }
}

impl Limiter {
    pub(super) fn new(quota: Quota) -> Self {
        Self::with_state(quota, BoundedStore::default(), RandomState::new())
    }

    /// The same keys under another quota: what each has used stays used, up to the new burst.
    pub(super) fn with(self, quota: Quota) -> Self {
        let (burst, interval) = measures(quota);
        if (burst, interval) == (self.burst, self.interval) {
            return self;
        }
        let past = self.rate.clock().now().as_u64();
        let (old, new) = (self.interval.as_nanos().max(1), interval.as_nanos());
        let mut state = self.rate.into_state_store();
        // The new clock begins now.
        state.each(|tat| {
            let owed = u128::from(tat.saturating_sub(past)) * new / old;
            u64::try_from(owed.min(new * u128::from(burst.get()))).unwrap_or(u64::MAX)
        });
        Self::with_state(quota, state, self.fingerprints)
    }

    fn with_state(quota: Quota, state: BoundedStore, fingerprints: RandomState) -> Self {
        let (burst, interval) = measures(quota);
        let quota = governor::Quota::per_minute(quota.per_minute).allow_burst(burst);
        Self { rate: RateLimiter::new(quota, state, TokioClock(Instant::now())), burst, interval, fingerprints }
    }

    /// Takes `count` for `key`, the whole burst where `count` is more; nothing where there are fewer.
    pub(super) fn take<K: Hash + ?Sized>(&self, key: &K, count: u32) -> Result<(), Duration> {
        self.ask(KeyQuery { fingerprint: self.fingerprints.hash_one(key), take: true }, count.min(self.burst.get()))
    }

    /// Whether there are `count` for `key`; takes nothing.
    ///
    /// # Errors
    /// The time until there are as many, or, for more than the burst ever gives, the time in which one comes back.
    pub(super) fn look<K: Hash + ?Sized>(&self, key: &K, count: u32) -> Result<(), Duration> {
        self.ask(KeyQuery { fingerprint: self.fingerprints.hash_one(key), take: false }, count)
    }

    fn ask(&self, query: KeyQuery, count: u32) -> Result<(), Duration> {
        let Some(count) = NonZeroU32::new(count) else { return Ok(()) };
        match self.rate.check_key_n(&query, count) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(until)) => Err(until.wait_time_from(self.rate.clock().now())),
            Err(_more_than_the_burst) => Err(self.interval),
        }
    }
}

/// The burst that a quota can have, and how long one takes to come back.
fn measures(quota: Quota) -> (NonZeroU32, Duration) {
    let interval = governor::Quota::per_minute(quota.per_minute).replenish_interval();
    let longest = LONGEST.as_nanos() / interval.as_nanos().max(1);
    let longest = NonZeroU32::new(u32::try_from(longest).unwrap_or(u32::MAX)).unwrap_or(NonZeroU32::MIN);
    (quota.burst.min(longest), interval)
}
