//! Moments as the store keeps them; the wall clock is read here alone.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Milliseconds since the epoch, UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Millis(pub i64);

impl Millis {
    /// The wall clock's.
    #[must_use]
    pub fn now() -> Self {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(Self(0), |since| Self(whole(since)))
    }

    /// The same moment by a clock that shows `there` when ours shows `here`; never later than that.
    #[must_use]
    pub(super) fn by(self, there: Self, here: Self) -> Self {
        Self(there.0.saturating_sub(here.0.saturating_sub(self.0).max(0)))
    }

    /// `later` from it.
    #[must_use]
    pub fn plus(self, later: Duration) -> Self {
        Self(self.0.saturating_add(whole(later)))
    }

    /// `earlier` than it.
    #[must_use]
    pub fn minus(self, earlier: Duration) -> Self {
        Self(self.0.saturating_sub(whole(earlier)))
    }
}

fn whole(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_stops_at_the_ends() {
        assert_eq!(Millis(5).plus(Duration::from_secs(1)), Millis(1005));
        assert_eq!(Millis(5).minus(Duration::from_secs(1)), Millis(-995));
        assert_eq!(Millis(5).plus(Duration::MAX), Millis(i64::MAX));
        assert!(Millis::now() > Millis(1_700_000_000_000));
    }
}
