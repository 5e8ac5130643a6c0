//! How many of something each source has at once: connections, passwords that are not decided yet. Knows not of what.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::model::{SourcePrefix, SourceTier};

/// How many each network has; one without any is not in it, so that there are never more than what is counted.
#[derive(Debug, Clone, Default)]
pub(crate) struct Concurrent(Arc<Mutex<HashMap<SourcePrefix, u32>>>);

/// One that is counted until this is dropped.
#[derive(Debug)]
#[must_use = "it counts for as long as it is kept"]
pub(crate) struct Counted {
    all: Concurrent,
    source: IpAddr,
    /// How many there were with it, one number a tier.
    pub(super) numbers: [u32; SourceTier::ALL.len()],
}

impl Concurrent {
    /// Counts one more of `source`, whatever it has.
    pub(crate) fn add(&self, source: IpAddr) -> Counted {
        self.count(&mut self.lock(), source)
    }

    /// Counts one more of `source`, unless one of its networks has `most` times the tier's factor already.
    #[must_use]
    pub(crate) fn add_below(&self, most: u32, source: IpAddr) -> Option<Counted> {
        let mut all = self.lock();
        let mut tiers = SourceTier::ALL.into_iter().zip(SourcePrefix::around(source));
        let is_full = tiers
            .any(|(tier, network)| all.get(&network).is_some_and(|count| *count >= most.saturating_mul(tier.factor)));
        if is_full { None } else { Some(self.count(&mut all, source)) }
    }

    fn count(&self, all: &mut HashMap<SourcePrefix, u32>, source: IpAddr) -> Counted {
        let mut numbers = [0; SourceTier::ALL.len()];
        for (number, network) in numbers.iter_mut().zip(SourcePrefix::around(source)) {
            let count = all.entry(network).or_insert(0);
            *count = count.saturating_add(1);
            *number = *count;
        }
        Counted { all: self.clone(), source, numbers }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SourcePrefix, u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut all = self.all.lock();
        for network in SourcePrefix::around(self.source) {
            if let Entry::Occupied(mut count) = all.entry(network) {
                *count.get_mut() = count.get().saturating_sub(1);
                if *count.get() == 0 {
                    count.remove();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_56_has_four_times_and_a_48_sixteen_times_what_a_64_has() {
        let concurrent = Concurrent::default();
        let add = |network: u16| concurrent.add_below(2, ip(&format!("2001:db8:0:{network:x}::1")));
        let of_56: Vec<_> = (0..0x100).filter_map(add).collect();
        assert_eq!(of_56.len(), 8);
        let of_48: Vec<_> = (1..0x100).filter_map(|n| add(n << 8)).collect();
        assert_eq!(of_56.len() + of_48.len(), 32);
        let _another = concurrent.add_below(2, ip("2001:db8:1::1")).unwrap();
        drop(of_56);
        assert!(add(0).is_some());
        drop(of_48);
        assert_eq!(concurrent.lock().len(), 3, "the other one's networks");
    }

    #[test]
    fn what_is_gone_is_forgotten() {
        let concurrent = Concurrent::default();
        for number in 0..1000_u32 {
            drop(concurrent.add(std::net::Ipv4Addr::from(number).into()));
        }
        assert!(concurrent.lock().is_empty());
    }
}
