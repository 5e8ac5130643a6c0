//! How many RRsets a message takes: as many as the primary answers within a fifth of the deadline, with the window full. Pure.
//!
//! What a message costs is partly its own and partly its RRsets'. Both are learned, since smaller messages help against the
//! second part only: where each costs 200 ms whatever it holds, the primary is helped by large ones.

use std::time::Duration;

use tokio::time::Instant;

use super::queue::WINDOW;
use super::seconds::{Near, Seconds};

/// The most RRsets in a message, whatever the primary can do.
pub(super) const MOST_RRSETS: usize = 500;
const FIRST_RRSETS: usize = 16;
/// So many fit into a message, but for names of dozens of labels: a few of those must not make everyone's messages small.
const FITTING_RRSETS: usize = 100;
/// How much an answer counts when the next one has come.
const KEPT: f64 = 0.8;
const KEPT_LONGER: f64 = 0.9;
/// An answer that comes in this share of the usual time after the one before it came together with that.
const TOGETHER: f64 = 0.125;
/// So many of the answers to messages in flight at one time come together where the primary does all that wait at once.
const MANY_TOGETHER: f64 = 0.2;
/// Sizes that differ less than this, as a share, do not tell the two parts apart.
const ALIKE: f64 = 0.05;

/// The size of batches for one primary.
#[derive(Debug)]
pub(super) struct Pace {
    // What a message may cost, in seconds: it may wait for a window of others.
    target: f64,
    rrsets: usize,
    // How many are not too large to encode, as far as is known.
    most: usize,
    last: Option<Instant>,
    seen: Sums,
    // The share of answers that came together, of those to messages that were in flight at one time; the later weigh more.
    together: f64,
    seconds: Seconds,
}

/// Of the last answers, the later ones weighing more: how many, their RRsets, seconds and the products of both.
#[derive(Debug, Default)]
struct Sums {
    count: f64,
    rrsets: f64,
    seconds: f64,
    rrsets_squared: f64,
    product: f64,
}

impl Pace {
    pub(super) fn new(deadline: Duration) -> Self {
        Self {
            target: target(deadline),
            rrsets: FIRST_RRSETS,
            most: MOST_RRSETS,
            last: None,
            seen: Sums::default(),
            together: 0.0,
            seconds: Seconds::default(),
        }
    }

    /// Another deadline is in force; what was learnt of the primary stays.
    pub(super) fn set_deadline(&mut self, deadline: Duration) {
        self.target = target(deadline);
    }

    /// How many RRsets the next message may take.
    pub(super) fn rrsets(&self) -> usize {
        self.rrsets
    }

    /// A message with so many RRsets that was `sent` then is answered `now`.
    pub(super) fn answered(&mut self, rrsets: usize, sent: Instant, now: Instant) {
        // Primaries answer in turn: until the answer before this one, it waited for others.
        let began = self.last.map_or(sent, |last| last.max(sent));
        self.last = Some(now);
        self.seconds.acknowledged(rrsets);
        let seconds = now.saturating_duration_since(began).as_secs_f64();
        if began > sent {
            let came_together = seconds < TOGETHER * self.seen.mean_seconds();
            self.together = self.together * KEPT_LONGER + (1.0 - KEPT_LONGER) * f64::from(u8::from(came_together));
        }
        self.seen.add(rrsets, seconds);
        // Were all of its cost its RRsets': this answer alone shows that so many fit, whatever came before.
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a cast from a float ends at the largest"
        )]
        let shown = (rrsets as f64 * self.target / seconds) as usize;
        let fitting = self.seen.fitting(self.target).max(shown);
        if fitting < rrsets {
            self.rrsets = fitting.clamp(1, self.most);
        } else if rrsets * 4 >= self.rrsets * 3 {
            // A small message says nothing of large ones.
            self.rrsets = fitting.min(self.rrsets * 2).clamp(1, self.most);
        }
    }

    /// How long the answer to one more message may take behind so many in flight: half as long again as on the average.
    pub(super) fn until_answered(&self, in_flight: usize) -> Duration {
        #[expect(clippy::cast_precision_loss, reason = "a handful")]
        let messages = in_flight as f64 + 1.0;
        Duration::try_from_secs_f64(self.seen.mean_seconds() * messages * 1.5).unwrap_or(Duration::MAX)
    }

    /// What was `sent` then is answered now, by a signature of this `second` of the primary's clock; of ours, `subsecond` has
    /// passed.
    pub(super) fn told_time(&mut self, second: u64, subsecond: Duration, sent: Instant, now: Instant) {
        self.seconds.told(second, subsecond, sent, now);
    }

    /// A message with changes leaves.
    pub(super) fn leaves(&mut self, now: Instant) {
        self.seconds.leaves(now);
    }

    /// Whether a second of the primary's is about to begin, or has just begun, and changes are to be dealt out around that.
    pub(super) fn near_second(&self, now: Instant) -> Option<Near> {
        self.seconds.near(now).filter(|_| self.is_done_together())
    }

    /// When that will be so.
    pub(super) fn next_near(&self, now: Instant) -> Option<Instant> {
        self.seconds.next_near(now).filter(|_| self.is_done_together())
    }

    /// Whether the primary does all that waits at once, as Knot does: a message more costs it next to nothing.
    fn is_done_together(&self) -> bool {
        self.together > MANY_TOGETHER
    }

    /// A message with `sent` RRsets was not answered in time.
    pub(super) fn too_slow(&mut self, sent: usize) {
        self.rrsets = self.rrsets.min(sent / 2).max(1);
    }

    /// A message with so many RRsets was too large to encode. That is no word of the primary's, and will be so again.
    pub(super) fn too_large(&mut self, rrsets: usize) {
        self.most = self.most.min(rrsets - rrsets / 8).max(FITTING_RRSETS);
        self.rrsets = self.rrsets.min(self.most);
    }
}

#[expect(clippy::cast_precision_loss, reason = "a handful")]
fn target(deadline: Duration) -> f64 {
    deadline.as_secs_f64() / 5.0 / WINDOW as f64
}

impl Sums {
    #[expect(clippy::cast_precision_loss, reason = "at most a few hundred")]
    fn add(&mut self, rrsets: usize, seconds: f64) {
        let rrsets = rrsets as f64;
        for (sum, value) in [
            (&mut self.count, 1.0),
            (&mut self.rrsets, rrsets),
            (&mut self.seconds, seconds),
            (&mut self.rrsets_squared, rrsets * rrsets),
            (&mut self.product, rrsets * seconds),
        ] {
            *sum = *sum * KEPT + value;
        }
    }

    fn mean_seconds(&self) -> f64 {
        if self.count > 0.0 { self.seconds / self.count } else { 0.0 }
    }

    /// How many RRsets cost at most `target` seconds; where the message alone costs more, as many as cost the same again.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
    fn fitting(&self, target: f64) -> usize {
        let (own, each) = self.parts();
        ((target - own).max(own) / each).clamp(0.0, MOST_RRSETS as f64) as usize
    }

    /// Seconds of a message, and of each of its RRsets, by least squares.
    fn parts(&self) -> (f64, f64) {
        let (rrsets, seconds) = (self.rrsets / self.count, self.seconds / self.count);
        let variance = self.rrsets_squared / self.count - rrsets * rrsets;
        if variance < (ALIKE * rrsets).powi(2) {
            return (0.0, seconds / rrsets.max(1.0));
        }
        let each = ((self.product / self.count - rrsets * seconds) / variance).max(0.0);
        ((seconds - each * rrsets).max(0.0), each)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// After so many answers of a primary that takes its time for each message and each RRset, one after the other.
    fn settled(answers: usize, own: Duration, each: Duration) -> usize {
        let mut pace = Pace::new(Duration::from_secs(5));
        let mut now = Instant::now();
        for _ in 0..answers {
            let (sent, rrsets) = (now, pace.rrsets());
            now += own + each * u32::try_from(rrsets).unwrap();
            pace.answered(rrsets, sent, now);
        }
        pace.rrsets()
    }

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn it_grows_with_a_fast_primary_and_shrinks_with_a_slow_one() {
        assert_eq!(settled(10, ms(5), Duration::from_micros(20)), MOST_RRSETS);
        // As PowerDNS over SQLite with a large zone: four of these messages take a second.
        let slow = settled(30, ms(0), ms(25));
        assert!((8..=12).contains(&slow), "{slow}");
    }

    #[test]
    fn it_grows_where_size_costs_nothing() {
        assert_eq!(settled(20, ms(200), ms(0)), MOST_RRSETS);
        assert_eq!(settled(20, ms(900), ms(0)), MOST_RRSETS, "smaller ones would not be quicker");
        let half_and_half = settled(60, ms(300), ms(3));
        assert!((50..=200).contains(&half_and_half), "{half_and_half}");
    }

    /// Where so many fit at most: how many messages were too large, and the size in the end.
    fn settled_where(fit: usize, messages: usize) -> (usize, usize) {
        let (mut pace, mut now, mut in_vain) = (Pace::new(Duration::from_secs(5)), Instant::now(), 0);
        for _ in 0..messages {
            let (sent, rrsets) = (now, pace.rrsets());
            if rrsets > fit {
                in_vain += 1;
                pace.too_large(rrsets);
            } else {
                now += ms(1);
                pace.answered(rrsets, sent, now);
            }
        }
        (in_vain, pace.rrsets())
    }

    #[test]
    fn what_proved_too_large_is_not_tried_again() {
        for fit in [190, 257, 299, 499] {
            let (in_vain, size) = settled_where(fit, 20);
            assert!(in_vain <= 8 && size <= fit && size > fit * 4 / 5, "{fit}: {size} after {in_vain} in vain");
            assert_eq!(settled_where(fit, 1000), (in_vain, size), "it was learned for good");
        }
    }

    #[test]
    fn a_slow_answer_lowers_no_ceiling() {
        let (mut pace, mut now) = (Pace::new(Duration::from_secs(5)), Instant::now());
        pace.too_slow(16);
        assert_eq!(pace.rrsets(), 8);
        for _ in 0..10 {
            let sent = now;
            now += ms(1);
            pace.answered(pace.rrsets(), sent, now);
        }
        assert_eq!(pace.rrsets(), MOST_RRSETS);
    }

    #[test]
    fn a_few_monstrous_names_make_no_other_messages_small() {
        let mut pace = Pace::new(Duration::from_secs(5));
        for rrsets in [500, 250, 125, 62, 31, 15, 7, 3, 2].repeat(10) {
            pace.too_large(rrsets);
        }
        let (sent, mut now) = (Instant::now(), Instant::now());
        for _ in 0..10 {
            now += ms(1);
            pace.answered(pace.rrsets(), sent, now);
        }
        assert_eq!(pace.rrsets(), FITTING_RRSETS);
    }

    #[test]
    fn one_slow_answer_is_forgotten() {
        let mut pace = Pace::new(Duration::from_secs(5));
        let mut now = Instant::now();
        for took in [1, 1, 1, 1, 1, 1, 3000].into_iter().chain([1; 40]) {
            let sent = now;
            now += ms(took);
            pace.answered(pace.rrsets(), sent, now);
        }
        assert_eq!(pace.rrsets(), MOST_RRSETS);
    }

    #[test]
    fn a_lone_update_says_nothing_of_large_ones() {
        let (mut pace, sent) = (Pace::new(Duration::from_secs(5)), Instant::now());
        pace.answered(1, sent, sent + ms(1));
        pace.answered(1, sent + ms(100), sent + ms(200));
        assert_eq!(pace.rrsets(), FIRST_RRSETS);
    }

    #[test]
    fn answers_that_come_together_are_told_from_answers_in_turn() {
        let answers = |gaps: &[u64]| {
            let (mut pace, sent, mut now) = (Pace::new(Duration::from_secs(5)), Instant::now(), Instant::now());
            for gap in gaps.iter().cycle().take(24) {
                now += Duration::from_micros(*gap);
                pace.answered(20, sent, now);
            }
            pace.is_done_together()
        };
        assert!(
            answers(&[10_000, 50, 100, 10_000, 10_000, 70, 10_000]),
            "as Knot: what came while it wrote is written at once"
        );
        assert!(!answers(&[10_000, 9_000, 12_000, 4_000]));
        assert!(
            !answers(&[10_000, 9_000, 12_000, 20_000, 100, 9_000, 11_000, 10_000, 10_000, 4_000]),
            "we were late once"
        );
    }

    #[test]
    fn messages_wait_for_those_before_them() {
        let (mut pace, sent) = (Pace::new(Duration::from_secs(5)), Instant::now());
        for n in 1..=8 {
            pace.answered(pace.rrsets(), sent, sent + ms(200) * n);
        }
        assert!(pace.rrsets() > FIRST_RRSETS, "200 ms each, though the last one took 1.6 s");
    }
}
