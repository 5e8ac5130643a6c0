//! How many RRsets a message takes: as many as the primary answers within a fifth of the deadline. Pure.

use std::time::Duration;

/// The most RRsets in a message, whatever the primary can do.
pub(super) const MOST_RRSETS: usize = 500;
const FIRST_RRSETS: usize = 16;

/// The size of batches for one primary.
#[derive(Debug)]
pub(super) struct Pace {
    target: Duration,
    rrsets: usize,
}

impl Pace {
    pub(super) fn new(deadline: Duration) -> Self {
        Self { target: deadline / 5, rrsets: FIRST_RRSETS }
    }

    /// How many RRsets the next message may take.
    pub(super) fn rrsets(&self) -> usize {
        self.rrsets
    }

    /// A message with `sent` RRsets was answered after `took`.
    pub(super) fn answered(&mut self, sent: usize, took: Duration) {
        if took > self.target {
            let fitting = sent.saturating_mul(millis(self.target)) / millis(took).max(1);
            self.rrsets = self.rrsets.min(fitting).max(1);
        } else if sent * 4 >= self.rrsets * 3 && took * 2 <= self.target {
            self.rrsets = (self.rrsets * 2).min(MOST_RRSETS);
        }
    }

    /// A message with `sent` RRsets was too large to encode.
    pub(super) fn too_large(&mut self, sent: usize) {
        self.rrsets = self.rrsets.min(sent / 2).max(1);
    }
}

fn millis(duration: Duration) -> usize {
    usize::try_from(duration.as_millis()).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_with_a_fast_primary_and_shrinks_with_a_slow_one() {
        let mut pace = Pace::new(Duration::from_secs(5));
        for _ in 0..10 {
            pace.answered(pace.rrsets(), Duration::from_millis(10));
        }
        assert_eq!(pace.rrsets(), MOST_RRSETS);
        // 25 ms for each RRset, as PowerDNS over SQLite with a large zone.
        for _ in 0..10 {
            let sent = pace.rrsets();
            pace.answered(sent, Duration::from_millis(25) * u32::try_from(sent).unwrap());
        }
        assert!((20..=40).contains(&pace.rrsets()), "{}", pace.rrsets());
    }

    #[test]
    fn a_lone_update_says_nothing_of_large_ones() {
        let mut pace = Pace::new(Duration::from_secs(5));
        pace.answered(1, Duration::from_millis(1));
        assert_eq!(pace.rrsets(), FIRST_RRSETS);
    }
}
