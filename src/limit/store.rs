//! What governor remembers of each key, in bounded memory: a set-associative table that forgets whoever owes least.

use std::sync::{Mutex, MutexGuard, PoisonError};

use governor::nanos::Nanos;
use governor::state::StateStore;

const SHARDS: usize = 16;
const SETS: usize = 390;
const WAYS: usize = 16;

/// The most keys a store holds, whatever comes: 99 840 of 16 octets, 1.6 MB, allocated by sixteenths as they are used.
const CAPACITY: usize = SHARDS * SETS * WAYS;
const _: () = assert!(CAPACITY <= 100_000);

/// A key's fingerprint and its theoretical arrival time (TAT, in nanoseconds). An empty slot is all zero, which says
/// the same as a slot whose TAT is past: nothing.
type Slot = (u64, u64);

/// A question about one key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct KeyQuery {
    /// The key: a keyed hash of it, evenly spread, which no attacker can aim at one set.
    pub(super) fingerprint: u64,
    /// Whether the new state is kept, or was only asked for.
    pub(super) take: bool,
}

/// TATs by fingerprint.
///
/// A fingerprint belongs to one set of sixteen slots. When all are taken, the one with the smallest TAT is given up: whose
/// TAT is past goes first and loses nothing, then whoever would be free again soonest, so that a flood of new keys
/// displaces its own before it displaces a key that is limited. There is nothing to sweep, and no request ever pays
/// for another's growth.
#[derive(Debug, Default)]
pub(super) struct BoundedStore {
    shards: [Mutex<Vec<Slot>>; SHARDS],
}

impl BoundedStore {
    fn shard(&self, fingerprint: u64) -> MutexGuard<'_, Vec<Slot>> {
        let shard = &self.shards[(fingerprint >> 32) as usize % SHARDS];
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes every TAT in force by `change`.
    pub(super) fn each(&mut self, change: impl Fn(u64) -> u64) {
        for shard in &mut self.shards {
            let places = shard.get_mut().unwrap_or_else(PoisonError::into_inner);
            places.iter_mut().filter(|place| place.1 > 0).for_each(|place| place.1 = change(place.1));
        }
    }
}

impl StateStore for BoundedStore {
    type Key = KeyQuery;

    fn measure_and_replace<T, F, E>(&self, query: &KeyQuery, measure: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let KeyQuery { fingerprint, take } = *query;
        let mut places = self.shard(fingerprint);
        let start = (fingerprint & u64::from(u32::MAX)) as usize % SETS * WAYS;
        let known = places.get(start..start + WAYS).and_then(|set| set.iter().position(|place| place.0 == fingerprint));
        let tat = known.and_then(|way| places.get(start + way)).map(|place| Nanos::new(place.1));
        let (answer, next) = measure(tat)?;
        if take {
            if places.is_empty() {
                *places = vec![(0, 0); SETS * WAYS];
            }
            let set = &mut places[start..start + WAYS];
            let place = match known {
                Some(way) => set.get_mut(way),
                None => set.iter_mut().min_by_key(|place| place.1),
            };
            if let Some(place) = place {
                *place = (fingerprint, next.as_u64());
            }
        }
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl BoundedStore {
        fn set(&self, fingerprint: u64, tat: u64) {
            let query = KeyQuery { fingerprint, take: true };
            let stored: Result<(), ()> = self.measure_and_replace(&query, |_| Ok(((), Nanos::new(tat))));
            stored.unwrap();
        }

        fn get(&self, fingerprint: u64) -> Option<u64> {
            let query = KeyQuery { fingerprint, take: false };
            let seen: Result<_, ()> = self.measure_and_replace(&query, |tat| Ok((tat, Nanos::new(u64::MAX))));
            seen.unwrap().map(Nanos::as_u64)
        }

        fn len(&self) -> usize {
            let live = |shard: &Mutex<Vec<Slot>>| shard.lock().unwrap().iter().filter(|place| place.1 > 0).count();
            self.shards.iter().map(live).sum()
        }
    }

    #[test]
    fn looking_keeps_nothing_and_a_refusal_changes_nothing() {
        let store = BoundedStore::default();
        assert_eq!(store.get(7), None);
        assert!(store.shards.iter().all(|shard| shard.lock().unwrap().is_empty()), "no memory before the first key");
        store.set(7, 40);
        let refused: Result<(), u64> = store
            .measure_and_replace(&KeyQuery { fingerprint: 7, take: true }, |tat| Err(tat.map_or(0, Nanos::as_u64)));
        assert_eq!((refused, store.get(7)), (Err(40), Some(40)));
    }

    #[test]
    fn a_full_set_gives_up_the_smallest_tat() {
        let store = BoundedStore::default();
        let of_one_set = |n: u64| 1 + n * SETS as u64;
        for n in 0..WAYS as u64 {
            store.set(of_one_set(n), 100 - n);
        }
        store.set(of_one_set(99), 50);
        assert_eq!(store.get(of_one_set(WAYS as u64 - 1)), None, "the smallest is forgotten");
        assert_eq!((store.get(of_one_set(0)), store.get(of_one_set(99))), (Some(100), Some(50)));
        assert_eq!(store.len(), WAYS);
    }

    #[test]
    fn it_fills_to_its_capacity_and_no_further() {
        let store = BoundedStore::default();
        // Weyl's sequence: 64-bit values that are evenly spread.
        for n in 1..=300_000_u64 {
            store.set(n.wrapping_mul(0x9e37_79b9_7f4a_7c15), n);
        }
        assert!((CAPACITY * 95 / 100..=CAPACITY).contains(&store.len()), "{}", store.len());
    }
}
