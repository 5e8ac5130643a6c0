//! When the primary's clock begins a second, and how the changes of a storm leave around that moment. Pure.
//!
//! Knot 3.2 plans what a zone is to do in whole seconds. An UPDATE that finds the zone at rest after a second has begun, and less
//! than 1 s after the zone's last change, is left until that 1 s is over, and so is all that comes meanwhile. A zone that is
//! at work when the second begins never rests so. That it is at work is seen to by messages that leave every few milliseconds
//! around that moment, each with its part of what waits. They leave so only where the primary does together what waits (`pace`):
//! to any other, each message more costs its own time.

use std::time::Duration;

use tokio::time::Instant;

/// Around the beginning of a second: more than twice what a message takes, and than clocks and answers may be apart.
const BEFORE: Duration = Duration::from_millis(30);
const AFTER: Duration = Duration::from_millis(10);
/// Between two messages then: less than an fsync.
const STEP: Duration = Duration::from_millis(2);
/// Names that are acknowledged in a second of a storm; with fewer, nothing waits when it is needed.
const STORM: usize = 200;
/// Two clocks drift apart by a part in so many at most.
const DRIFT: i64 = 10_000;
const SECOND: i64 = 1_000_000_000;

/// What is known of the primary's seconds.
#[derive(Debug, Default)]
pub(super) struct Seconds {
    // Moments are nanoseconds since the first message with a word on it was sent.
    origin: Option<Instant>,
    told: Option<Told>,
    // Names that were acknowledged in the primary's last second, and in this one.
    acknowledged: [usize; 2],
    left: Option<Instant>,
}

/// What the primary's last word of its time shows.
#[derive(Debug, Clone, Copy)]
struct Told {
    second: u64,
    at: i64,
    // That second began between these.
    earliest: i64,
    latest: i64,
    // A second of our own clock began then: both may go by the same time.
    ours: i64,
}

/// The beginning of a second is near.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Near {
    /// So many messages are to leave around it from now on.
    pub(super) messages: usize,
    /// The next may leave then.
    pub(super) next: Instant,
}

impl Seconds {
    /// The primary answered what was `sent` then in this `second` of its clock; of ours, `subsecond` has passed now.
    pub(super) fn told(&mut self, second: u64, subsecond: Duration, sent: Instant, now: Instant) {
        self.origin.get_or_insert(sent);
        let at = self.moment(now);
        let alone = Told {
            second,
            at,
            earliest: self.moment(sent) - SECOND,
            latest: at,
            ours: at - i64::from(subsecond.subsec_nanos()),
        };
        let passed = self.told.and_then(|old| i64::try_from(second.checked_sub(old.second)?).ok()?.checked_mul(SECOND));
        let both = self.told.zip(passed).map(|(old, passed)| {
            let drift = (at - old.at) / DRIFT;
            let earliest = alone.earliest.max(old.earliest.saturating_add(passed) - drift);
            let latest = alone.latest.min(old.latest.saturating_add(passed).saturating_add(drift));
            Told { earliest, latest, ..alone }
        });
        if passed != Some(0) {
            self.acknowledged = [self.acknowledged[1], 0];
        }
        // A clock that was set is learned anew.
        self.told = Some(both.filter(|both| both.earliest <= both.latest).unwrap_or(alone));
    }

    /// So many names were acknowledged.
    pub(super) fn acknowledged(&mut self, names: usize) {
        self.acknowledged[1] += names;
    }

    /// A message with changes leaves.
    pub(super) fn leaves(&mut self, now: Instant) {
        self.left = Some(now);
    }

    /// Whether a second is about to begin, or has just begun, in a storm.
    pub(super) fn near(&self, now: Instant) -> Option<Near> {
        let until = self.until_next(now)?;
        let since = Duration::from_nanos(SECOND.unsigned_abs()).saturating_sub(until);
        let rest = match (AFTER.checked_sub(since), until <= BEFORE) {
            (Some(rest), _) => rest,
            (None, true) => until + AFTER,
            (None, false) => return None,
        };
        let messages = usize::try_from(rest.as_nanos().div_ceil(STEP.as_nanos())).unwrap_or(1).max(1);
        Some(Near { messages, next: self.left.map_or(now, |left| left + STEP) })
    }

    /// When the beginning of a second will be near, in a storm.
    pub(super) fn next_near(&self, now: Instant) -> Option<Instant> {
        self.until_next(now)?.checked_sub(BEFORE).map(|until| now + until)
    }

    /// How long it is until the primary's next second, in a storm.
    fn until_next(&self, now: Instant) -> Option<Duration> {
        let told = self.told.filter(|_| self.acknowledged.iter().any(|names| *names >= STORM))?;
        let until = (told.began() - self.moment(now)).rem_euclid(SECOND);
        Some(Duration::from_nanos(until.unsigned_abs()))
    }

    fn moment(&self, at: Instant) -> i64 {
        let since = self.origin.map_or(Duration::ZERO, |origin| at.saturating_duration_since(origin));
        i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
    }
}

impl Told {
    /// When a second of the primary's began, most likely: with ours, as far as its words allow that.
    fn began(&self) -> i64 {
        let ours = (self.ours - self.earliest).rem_euclid(SECOND);
        let range = self.latest - self.earliest;
        self.earliest + if ours <= range { ours } else { range / 2 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// A storm of `answers` from a primary whose clock is ahead of ours by `ahead`, each answer after 20 ms; and when a second
    /// of the primary's begins after it.
    fn storm(answers: u64, ahead: Duration) -> (Seconds, Instant) {
        let origin = Instant::now();
        let mut seconds = Seconds::default();
        for sent in (0..answers).map(|n| ms(n * 23)) {
            let (signed, now) = (sent + ms(15) + ahead, sent + ms(20));
            seconds.told(
                1_000 + signed.as_secs(),
                Duration::from_nanos(now.subsec_nanos().into()),
                origin + sent,
                origin + now,
            );
            seconds.acknowledged(100);
        }
        let end = ms(answers * 23) + ahead;
        (seconds, origin + Duration::from_secs(end.as_secs() + 1) - ahead)
    }

    #[test]
    fn from_the_first_answers_on_both_clocks_are_taken_to_agree() {
        let (seconds, second) = storm(3, ms(0));
        assert_eq!(seconds.near(second - BEFORE - ms(1)), None);
        let near = seconds.near(second - BEFORE).unwrap();
        assert_eq!(near.messages, 20);
        assert_eq!(seconds.near(second + ms(5)).unwrap().messages, 3);
        assert_eq!(seconds.near(second + AFTER + ms(1)), None);
        assert_eq!(seconds.next_near(second + AFTER + ms(1)), Some(second + ms(1000) - BEFORE));
    }

    #[test]
    fn a_clock_apart_from_ours_is_learned_within_seconds() {
        for ahead in [40, 300, 500, 990] {
            let (seconds, second) = storm(200, ms(ahead));
            let near = seconds.next_near(second - ms(500)).unwrap() + BEFORE;
            let apart = near.saturating_duration_since(second).max(second.saturating_duration_since(near));
            assert!(apart <= ms(10), "{ahead}: {apart:?}");
        }
    }

    #[test]
    fn a_clock_that_was_set_is_learned_anew() {
        let (mut seconds, second) = storm(200, ms(300));
        let sent = second + ms(400);
        seconds.told(5, ms(0), sent, sent + ms(20));
        seconds.acknowledged(STORM);
        assert_eq!(seconds.next_near(sent + ms(40)), Some(sent + ms(1020) - BEFORE), "with ours, for now");
    }

    #[test]
    fn without_a_storm_or_a_word_of_the_primary_nothing_is_near() {
        let (mut seconds, second) = storm(1, ms(0));
        assert_eq!((seconds.near(second), seconds.next_near(second)), (None, None));
        seconds.acknowledged(STORM);
        assert!(seconds.near(second).is_some());
        let mut seconds = Seconds::default();
        seconds.acknowledged(STORM);
        assert_eq!(seconds.near(second), None);
    }

    #[test]
    fn messages_leave_one_after_the_other() {
        let (mut seconds, second) = storm(3, ms(0));
        let now = second - ms(10);
        assert_eq!(seconds.near(now).unwrap().next, now);
        seconds.leaves(now);
        assert_eq!(seconds.near(now + ms(1)).unwrap(), Near { messages: 10, next: now + STEP });
    }
}
