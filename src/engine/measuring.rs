//! Coalescing alone, for `benches/pure` and for nothing else: the queue is the engine's own, and through a whole zone the bench
//! would measure TSIG and tasks in its place.

use std::collections::VecDeque;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::Change;
use super::cache::VerifiedCache;
use super::entry::Waiter;
use super::queue::ZoneQueue;

/// What a message takes there and back, so that its size settles as it would.
const TRIP: Duration = Duration::from_millis(1);

/// A queue, and a primary that says yes to everything without having read it.
#[derive(Debug)]
pub struct Coalescing {
    queue: ZoneQueue,
    cache: Arc<VerifiedCache>,
    now: Instant,
}

/// What became of the changes.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Coalesced {
    /// Messages that left.
    pub messages: usize,
    /// RRsets in all of them.
    pub rrsets: usize,
    /// Callers that were told of their success.
    pub answered: usize,
    /// Those whose change a newer one replaced.
    pub superseded: usize,
}

impl Coalescing {
    /// A queue in which nothing waits.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "for a bench alone")]
    pub fn new() -> Self {
        let cache = Arc::new(VerifiedCache::new(Duration::from_secs(60), 10_000));
        Self { queue: ZoneQueue::new(Duration::from_secs(5), 1, Arc::clone(&cache)), cache, now: Instant::now() }
    }

    /// All `changes` come at once; returns when all of their callers are answered.
    pub fn run(&mut self, changes: &[Change]) -> Coalesced {
        let until = self.now + TRIP * 100_000;
        let mut callers = Vec::with_capacity(changes.len());
        for change in changes {
            let (answer, answered) = oneshot::channel();
            let waiter = Waiter { records: change.records.clone(), until, answer, late: None };
            let under_way = self.cache.begin(&change.name);
            self.queue.submit(change, Some(waiter), None, under_way, self.now);
            callers.push(answered);
        }
        let mut seen = Coalesced::default();
        let mut flights = VecDeque::new();
        loop {
            while let Some(flight) = self.queue.depart(self.now) {
                seen.messages += 1;
                seen.rrsets += black_box(self.queue.updates(flight)).len();
                flights.push_back(flight);
            }
            let Some(flight) = flights.pop_front() else { break };
            self.now += TRIP;
            self.queue.acknowledged(flight, self.now);
            while let Some(read) = self.queue.next_to_prove() {
                self.queue.read_back(&read.name, Ok(()), self.now);
            }
        }
        for applied in callers.iter_mut().filter_map(|caller| caller.try_recv().ok()?.ok()) {
            seen.answered += 1;
            seen.superseded += usize::from(applied.superseded);
        }
        seen
    }
}
