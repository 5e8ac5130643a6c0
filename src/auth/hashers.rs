//! The threads that compute argon2 hashes, beside the queue that tells them which. Knows nothing of accounts.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use argon2::Block;
use rustix::process::nice;
use tokio::time::Instant;

use super::Tag;
use super::argon;
use super::hash_queue::{Admission, HashQueue, Job};

/// A thread without work leaves after this time, and with it its argon2 memory.
const IDLE: Duration = Duration::from_secs(10);

/// How far a thread stands back behind those that serve: it computes for 15 ms at a time, and a request waits for none of it.
const NICE: i32 = 5;

/// Starts threads as they are needed; they end when this is dropped.
#[derive(Debug)]
pub(super) struct Hashers {
    shared: Arc<HashersShared>,
    most: usize,
}

#[derive(Debug)]
struct HashersShared {
    state: Mutex<HashersState>,
    work: Condvar,
}

#[derive(Debug)]
struct HashersState {
    queue: HashQueue,
    threads: usize,
    idle: usize,
    hashes: u64,
    closed: bool,
}

impl Hashers {
    /// At most `most` threads; with 0, hashes wait until the deadline (for tests).
    pub(super) fn new(most: usize) -> Self {
        let state = HashersState { queue: HashQueue::new(), threads: 0, idle: 0, hashes: 0, closed: false };
        Self { shared: Arc::new(HashersShared { state: Mutex::new(state), work: Condvar::new() }), most }
    }

    /// What the queue admits; wakes or starts a thread for a new hash.
    pub(super) fn admit(&self, admit: impl FnOnce(&mut HashQueue) -> Admission) -> Admission {
        let mut state = self.shared.lock();
        let admission = admit(&mut state.queue);
        if matches!(admission, Admission::Waits(_)) {
            // Where a start fails, the running threads take the work, or a later request tries again.
            if state.queue.waiting() > state.idle && state.threads < self.most && self.start(state.threads).is_ok() {
                state.threads += 1;
            }
            self.shared.work.notify_one();
        }
        admission
    }

    pub(super) fn tell_wrong(&self, tag: Tag) -> bool {
        self.shared.lock().queue.tell_wrong(tag)
    }

    pub(super) fn hashes(&self) -> u64 {
        self.shared.lock().hashes
    }

    fn start(&self, number: usize) -> std::io::Result<()> {
        let shared = Arc::clone(&self.shared);
        let run = move || {
            // Linux knows a priority of each thread. Where it cannot be lowered, hashing works all the same.
            let _as_before = nice(NICE);
            let mut blocks = Vec::new();
            while let Some(job) = shared.next() {
                shared.hash(&job, &mut blocks);
            }
        };
        thread::Builder::new().name(format!("argon2-{number}")).spawn(run).map(drop)
    }

    /// What a thread does, once, on the caller's.
    #[cfg(test)]
    pub(super) fn hash_one(&self) -> bool {
        let job = self.shared.lock().queue.next(Instant::now());
        job.inspect(|job| self.shared.hash(job, &mut Vec::new())).is_some()
    }

    /// As if a hash had been computed and nobody had waited.
    #[cfg(test)]
    pub(super) fn decide(&self, tag: Tag, right: bool) {
        self.shared.lock().queue.finish(tag, Some(right));
    }

    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.shared.lock().queue.waiting()
    }
}

impl Drop for Hashers {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.work.notify_all();
    }
}

impl HashersShared {
    fn lock(&self) -> MutexGuard<'_, HashersState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next job; `None` tells the thread to leave.
    fn next(&self) -> Option<Job> {
        let mut state = self.lock();
        loop {
            if state.closed {
                state.threads -= 1;
                return None;
            }
            if let Some(job) = state.queue.next(Instant::now()) {
                return Some(job);
            }
            state.idle += 1;
            let waited = self.work.wait_timeout(state, IDLE);
            let (woken, waited) = waited.unwrap_or_else(PoisonError::into_inner);
            state = woken;
            state.idle -= 1;
            if waited.timed_out() && state.queue.waiting() == 0 {
                state.threads -= 1;
                return None;
            }
        }
    }

    fn hash(&self, job: &Job, blocks: &mut Vec<Block>) {
        let right = argon::verify(&job.phcs, job.password.expose(), blocks).map(|right| right & job.known);
        let mut state = self.lock();
        state.hashes += u64::from(right.is_some());
        state.queue.finish(job.tag, right);
    }
}

#[cfg(test)]
mod tests {
    use super::super::Password;
    use super::*;

    fn submit(hashers: &Hashers, number: u8) -> Admission {
        let tag = [number; 32];
        // A salt, but no hash of 32 octets that any password has.
        let phc = "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHRzb21lc2FsdA$RdescudvJCsgt3ub+b4dWRWJTmaaJObG".to_owned();
        let job = || Job { tag, password: Password::from(vec![number]), phcs: phc, known: true };
        let deadline = Instant::now() + Duration::from_secs(60);
        hashers.admit(|queue| queue.admit(tag, tag, deadline, |_| Ok(()), job))
    }

    #[tokio::test]
    async fn threads_start_when_needed_are_bounded_and_leave_with_the_handle() {
        let hashers = Hashers::new(2);
        let shared = Arc::downgrade(&hashers.shared);
        assert_eq!(shared.strong_count(), 1, "none before the first password");
        for number in 0..100 {
            let Admission::Waits(mut waiting) = submit(&hashers, number) else { panic!("{number} is new") };
            let _second_at_once = submit(&hashers, number + 100);
            assert!(hashers.shared.lock().threads <= 2);
            assert_eq!(*waiting.wait_for(Option::is_some).await.unwrap(), Some(false));
        }
        drop(hashers);
        while shared.strong_count() > 0 {
            thread::yield_now();
        }
    }
}
