//! Makes pauses uneven: gateways that lost the same primary must not return in step.

use std::time::Duration;

/// What pauses are jittered by.
#[derive(Debug)]
pub(super) struct Jitter(u64);

impl Jitter {
    /// Begins with `random`.
    pub(super) fn new(random: u64) -> Self {
        Self(random)
    }

    /// `pause`, less up to a quarter.
    pub(super) fn shorten(&mut self, pause: Duration) -> Duration {
        // Of a linear congruential generator (Knuth's MMIX) the upper bits are the better ones.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let thousandth = u32::try_from((self.0 >> 33) % 1000).unwrap_or_default();
        pause - pause / 4 * thousandth / 1000
    }
}
