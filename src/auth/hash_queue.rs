//! What is known of credentials, and which hashes wait or run: plain state, no thread, no lock, no clock of its own.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::Tag;
use super::credentials::Password;
use super::seen::SeenTags;

/// Hashes that wait, at most; past it the oldest is given up.
pub(super) const MAX_WAITING: usize = 256;
/// Right credentials that are remembered: apart from wrong ones, so that no flood of guesses displaces them.
const MAX_RIGHT: usize = 65_536;
/// Wrong credentials that are remembered, so as not to hash them again.
const MAX_WRONG: usize = 16_384;

/// Awaits a decision; an error means that none will come.
pub(super) type DecisionReceiver = watch::Receiver<Option<bool>>;

#[derive(Debug)]
pub(super) struct Job {
    pub(super) tag: Tag,
    pub(super) password: Password,
    /// The PHC strings to hold it against, a line each.
    pub(super) phcs: String,
    /// Whether the login exists: otherwise the answer is no, whatever the hash.
    pub(super) known: bool,
}

/// What becomes of credentials in the queue.
#[derive(Debug)]
pub(super) enum Admission {
    /// They were decided before.
    Decided(bool),
    /// They are being decided.
    Waits(DecisionReceiver),
    /// The limit forbids to hash them for this long.
    Refused(Duration),
}

/// The state behind the hashers' lock.
#[derive(Debug)]
pub(super) struct HashQueue {
    right: SeenTags,
    wrong: SeenTags,
    /// Wrong credentials whose client was told so, of any kind of account.
    told: SeenTags,
    /// Newest last.
    waiting: VecDeque<Job>,
    /// Those that wait and those that are hashed.
    open: HashMap<Tag, Undecided>,
}

#[derive(Debug)]
struct Undecided {
    login: Tag,
    decision: watch::Sender<Option<bool>>,
    /// The latest of those who wait.
    deadline: Instant,
}

impl HashQueue {
    pub(super) fn new() -> Self {
        Self {
            right: SeenTags::new(MAX_RIGHT),
            wrong: SeenTags::new(MAX_WRONG),
            told: SeenTags::new(MAX_WRONG),
            waiting: VecDeque::new(),
            open: HashMap::new(),
        }
    }

    /// Answers from memory, joins an equal hash, or queues a new one if `may_hash` lets it (see
    /// [`super::Authenticator::verify`]).
    pub(super) fn admit(
        &mut self,
        tag: Tag,
        login: Tag,
        deadline: Instant,
        may_hash: impl FnOnce(u32) -> Result<(), Duration>,
        job: impl FnOnce() -> Job,
    ) -> Admission {
        if self.right.contains(&tag) {
            return Admission::Decided(true);
        }
        if self.wrong.contains(&tag) {
            return Admission::Decided(false);
        }
        if let Some(open) = self.open.get_mut(&tag) {
            open.deadline = open.deadline.max(deadline);
            return Admission::Waits(open.decision.subscribe());
        }
        let undecided = self.open.values().filter(|open| open.login == login).count();
        if let Err(wait) = may_hash(u32::try_from(undecided).unwrap_or(u32::MAX)) {
            return Admission::Refused(wait);
        }
        if self.waiting.len() >= MAX_WAITING
            && let Some(oldest) = self.waiting.pop_front()
        {
            self.open.remove(&oldest.tag);
        }
        let (decision, waiting) = watch::channel(None);
        self.open.insert(tag, Undecided { login, decision, deadline });
        self.waiting.push_back(job());
        Admission::Waits(waiting)
    }

    /// The newest job that someone still waits for at `now`; the others are given up on the way.
    pub(super) fn next(&mut self, now: Instant) -> Option<Job> {
        while let Some(job) = self.waiting.pop_back() {
            let awaited = |open: &Undecided| open.decision.receiver_count() > 0 && open.deadline > now;
            if self.open.get(&job.tag).is_some_and(awaited) {
                return Some(job);
            }
            self.open.remove(&job.tag);
        }
        None
    }

    /// Ends the job of `tag`: `None` where it could not be decided, and then nothing is remembered.
    pub(super) fn finish(&mut self, tag: Tag, decision: Option<bool>) {
        let open = self.open.remove(&tag);
        let Some(right) = decision else { return };
        let _known_before = if right { self.right.insert(tag) } else { self.wrong.insert(tag) };
        if let Some(open) = open {
            open.decision.send_replace(Some(right));
        }
    }

    /// Notes that a client is told that the credentials of `tag` are wrong; whether one was told before.
    ///
    /// Told, not decided: who hangs up before the answer and asks again is no repeater.
    pub(super) fn tell_wrong(&mut self, tag: Tag) -> bool {
        self.told.insert(tag)
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }
}
