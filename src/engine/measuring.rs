//! Coalescing alone, for `benches/pure` and for nothing else: the lane is the engine's own, and through a whole zone the bench
//! would measure TSIG and tasks in its place.

use std::collections::VecDeque;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::Wish;
use super::entry::Waiter;
use super::lane::Lane;
use super::memory::Memory;

/// What a message takes there and back, so that its size settles as it would.
const TRIP: Duration = Duration::from_millis(1);

/// A lane, and a primary that says yes to everything without having read it.
#[derive(Debug)]
pub struct Coalescing {
    lane: Lane,
    now: Instant,
}

/// What became of the wishes.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Coalesced {
    /// Messages that left.
    pub messages: usize,
    /// RRsets in all of them.
    pub rrsets: usize,
    /// Callers that were told of their success.
    pub answered: usize,
    /// Those whose wish a newer one replaced.
    pub superseded: usize,
}

impl Coalescing {
    /// A lane in which nothing waits.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "for a bench alone")]
    pub fn new() -> Self {
        let memory = Arc::new(Memory::new(Duration::from_secs(60), 10_000));
        Self { lane: Lane::new(Duration::from_secs(5), 1, memory), now: Instant::now() }
    }

    /// All `wishes` come at once; returns when all of their callers are answered.
    pub fn run(&mut self, wishes: &[Wish]) -> Coalesced {
        let until = self.now + TRIP * 100_000;
        let mut callers = Vec::with_capacity(wishes.len());
        for wish in wishes {
            let (answer, answered) = oneshot::channel();
            self.lane.submit(Waiter { wish: wish.clone(), until, is_errand: false, answer, late: None }, self.now);
            callers.push(answered);
        }
        let mut seen = Coalesced::default();
        let mut flights = VecDeque::new();
        loop {
            while let Some(flight) = self.lane.depart(self.now) {
                seen.messages += 1;
                seen.rrsets += black_box(self.lane.writes(flight)).len();
                flights.push_back(flight);
            }
            let Some(flight) = flights.pop_front() else { break };
            self.now += TRIP;
            self.lane.acknowledged(flight, self.now);
        }
        for applied in callers.iter_mut().filter_map(|caller| caller.try_recv().ok()?.ok()) {
            seen.answered += 1;
            seen.superseded += usize::from(applied.superseded);
        }
        seen
    }
}
