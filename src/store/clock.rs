//! How far the store's clock is from ours: gateways that share a store order what they do by its clock. Knows no SQL.

use std::sync::{Mutex, PoisonError};

use crate::model::Timestamp;

/// What is known of the difference. A moment is the same one whenever it is asked for, unless the clocks changed.
#[derive(Debug, Default)]
pub(super) struct Clock(Mutex<Option<Difference>>);

/// In milliseconds.
#[derive(Debug, Clone, Copy)]
struct Difference {
    // What their clock is ahead of ours.
    ahead: i64,
    // How wide the gap was in which theirs was read.
    gap: i64,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Clocks {
    /// What theirs shows now.
    pub(super) theirs: Timestamp,
    ahead: i64,
}

impl Clock {
    /// Learns from a reading of theirs between two of ours. A reading that the known difference agrees with replaces it only
    /// if it is far more exact.
    pub(super) fn read(&self, before: Timestamp, theirs: Timestamp, after: Timestamp) -> Clocks {
        // All three are cut off to the millisecond.
        let (least, most) = (theirs.0 - after.0 - 1, theirs.0 - before.0 + 1);
        let read = Difference { ahead: least.midpoint(most), gap: most - least };
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let agrees = |known: &Difference| (least..=most).contains(&known.ahead) && known.gap <= read.gap * 2;
        let difference = known.filter(agrees).unwrap_or(read);
        *known = Some(difference);
        Clocks { theirs, ahead: difference.ahead }
    }
}

impl Clocks {
    /// Of a store whose gateway is alone on it.
    pub(super) fn one(now: Timestamp) -> Self {
        Self { theirs: now, ahead: 0 }
    }

    /// A moment of ours by the store's clock.
    pub(super) fn by_theirs(&self, ours: Timestamp) -> Timestamp {
        Timestamp(ours.0.saturating_add(self.ahead))
    }

    /// A moment of the store's by ours.
    pub(super) fn by_ours(&self, theirs: Timestamp) -> Timestamp {
        Timestamp(theirs.0.saturating_sub(self.ahead))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_stays_the_same_one() {
        let clock = Clock::default();
        let read = |before, theirs, after| clock.read(Timestamp(before), Timestamp(theirs), Timestamp(after));
        let moment = Timestamp(990);
        let first = read(1000, 5000, 1010);
        assert_eq!(first.by_theirs(moment), Timestamp(4985));
        assert_eq!(first.by_ours(Timestamp(4985)), moment);
        assert_eq!(read(2000, 6003, 2020).by_theirs(moment), Timestamp(4985), "no better");
        assert_eq!(read(3000, 6998, 3001).by_theirs(moment), Timestamp(4987), "far better");
        assert_eq!(read(4000, 7999, 4003).by_theirs(moment), Timestamp(4987));
        assert_eq!(read(5000, 8000, 5010).by_theirs(moment), Timestamp(3985), "a clock was set");
    }
}
