//! UPDATEs that were lost without an answer: the primary may apply them yet, after something newer was accepted. What is to be
//! put right, and when. Pure.
//!
//! ```text
//!   lost ──▶ watched ── something newer accepted ──▶ looked at after 1 s, after two deadlines, and when the signature is too old
//!                                                    ("where the name holds what was lost, set what was accepted") ──▶ forgotten
//! ```

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::Trouble;
use crate::dns::FUDGE;
use crate::model::{Desired, Hostname, RrData, RrKey, RrType};

/// Names that are watched at once.
const MOST: usize = 20_000;
/// Changes that are watched of one RRset.
const MOST_OF_AN_RRSET: usize = 8;
/// From the acknowledgement of something newer to the first look.
const FIRST_LOOK: Duration = Duration::from_secs(1);
/// How long a name that cannot be looked at now is left alone.
const POSTPONED: Duration = Duration::from_millis(100);
/// A primary refuses a message whose signature is older (RFC 8945 section 5.2.3), so that none comes later.
pub const LIFE: Duration = Duration::from_secs(FUDGE as u64 + 1);

/// The names whose changes were lost.
#[derive(Debug)]
pub(super) struct LateUpdates {
    deadline: Duration,
    names: HashMap<Hostname, Watched>,
    // When to look at each of the names.
    due: BTreeSet<(Instant, Hostname)>,
    // What the gateway wants compared and swapped, once.
    once: Vec<Swap>,
}

/// The changes of one name that were lost, and what was accepted since.
#[derive(Debug)]
struct Watched {
    lost: Vec<Lost>,
    last_lost: Instant,
    accepted: Vec<(RrType, Desired)>,
    since: Instant,
    look_at: Instant,
    // What this look has still to ask.
    round: Vec<Swap>,
    // This look began when nothing could come any longer.
    is_last_look: bool,
}

#[derive(Debug)]
struct Lost {
    rtype: RrType,
    // `None` where the RRset was to be removed.
    data: Option<RrData>,
    // Something newer was accepted since: it must not stand.
    is_older: bool,
}

/// Compare and swap: where an RRset holds exactly what is expected, it is to hold what is desired.
#[derive(Debug)]
pub(super) struct Swap {
    pub(super) key: RrKey,
    // Nothing: the RRset does not exist.
    pub(super) expected: Vec<RrData>,
    pub(super) desired: Desired,
    // Who wants to hear whether it was so; what is watched here is asked again until it is answered.
    pub(super) answer: Option<oneshot::Sender<Result<bool, Trouble>>>,
}

impl Swap {
    /// Tells whether it was done.
    pub(super) fn tell(self, done: Result<bool, Trouble>) {
        if let Some(answer) = self.answer {
            let _asker_gone = answer.send(done);
        }
    }
}

impl LateUpdates {
    pub(super) fn new(deadline: Duration) -> Self {
        Self { deadline, names: HashMap::new(), due: BTreeSet::new(), once: Vec::new() }
    }

    /// Another deadline is in force; what is watched, and when it is looked at, stays.
    pub(super) fn set_deadline(&mut self, deadline: Duration) {
        self.deadline = deadline;
    }

    /// The change to `records` was lost; `false` where too many names are watched already.
    pub(super) fn lost<'r>(
        &mut self,
        name: &Hostname,
        records: impl Iterator<Item = (RrType, &'r Desired)>,
        now: Instant,
    ) -> bool {
        if self.names.len() >= MOST && !self.names.contains_key(name) {
            return false;
        }
        let watched = self.names.entry(name.clone()).or_insert_with(|| Watched {
            lost: Vec::new(),
            last_lost: now,
            accepted: Vec::new(),
            since: now,
            look_at: now,
            round: Vec::new(),
            is_last_look: false,
        });
        (watched.last_lost, watched.is_last_look) = (now, false);
        for (rtype, desired) in records {
            let data = desired.data().cloned();
            if watched.lost.iter().any(|lost| lost.rtype == rtype && lost.data == data) {
                continue;
            }
            if watched.lost.iter().filter(|lost| lost.rtype == rtype).count() >= MOST_OF_AN_RRSET
                && let Some(oldest) = watched.lost.iter().position(|lost| lost.rtype == rtype)
            {
                watched.lost.remove(oldest);
            }
            watched.lost.push(Lost { rtype, data, is_older: false });
        }
        self.schedule(name, now);
        true
    }

    /// `records` were accepted after all that was lost before.
    pub(super) fn accepted<'r>(
        &mut self,
        name: &Hostname,
        records: impl Iterator<Item = (RrType, &'r Desired)>,
        now: Instant,
    ) {
        let Some(watched) = self.names.get_mut(name) else { return };
        for (rtype, desired) in records {
            watched.accepted.retain(|(accepted, _)| *accepted != rtype);
            watched.lost.iter_mut().filter(|lost| lost.rtype == rtype).for_each(|lost| lost.is_older = true);
            watched.accepted.push((rtype, desired.clone()));
        }
        watched.since = now;
        watched.round.clear();
        self.schedule(name, now);
    }

    /// To be asked once, whatever the answer.
    pub(super) fn swap_once(&mut self, swap: Swap) {
        if self.once.len() < MOST {
            self.once.push(swap);
        } else {
            swap.tell(Err(Trouble::Overloaded));
        }
    }

    /// The next that is to be asked, of a name that `may_leave`; what the primary can no longer apply goes to `ended`.
    pub(super) fn next(
        &mut self,
        now: Instant,
        may_leave: impl Fn(&Hostname) -> bool,
        mut ended: impl FnMut(&Hostname),
    ) -> Option<Swap> {
        if let Some(ready) = self.once.iter().position(|swap| may_leave(&swap.key.name)) {
            return Some(self.once.swap_remove(ready));
        }
        while self.due.first().is_some_and(|(at, _)| *at <= now) {
            let (_, name) = self.due.pop_first()?;
            let Some(watched) = self.names.get_mut(&name) else { continue };
            if watched.is_last_look && watched.round.is_empty() {
                ended(&name);
                self.names.remove(&name);
                continue;
            }
            if !may_leave(&name) {
                watched.look_at = now + POSTPONED;
                self.due.insert((watched.look_at, name));
                continue;
            }
            if watched.round.is_empty() {
                watched.round = watched.to_put_right(&name);
                watched.is_last_look = now >= watched.last_lost + LIFE;
            }
            let swap = watched.round.pop();
            if watched.round.is_empty() {
                self.schedule(&name, now);
            } else {
                self.due.insert((watched.look_at, name));
            }
            if swap.is_some() {
                return swap;
            }
        }
        None
    }

    /// The primary did not say whether what was lost stands.
    pub(super) fn unanswered(&mut self, swap: Swap, trouble: Trouble, now: Instant) {
        if swap.answer.is_some() {
            return swap.tell(Err(trouble));
        }
        let name = swap.key.name.clone();
        if let Some(watched) = self.names.get_mut(&name) {
            watched.round.push(swap);
            self.due.remove(&(watched.look_at, name.clone()));
            watched.look_at = now + self.deadline;
            self.due.insert((watched.look_at, name));
        }
    }

    /// Whether something is to be asked once, of a name that `may_leave`.
    pub(super) fn is_asked(&self, may_leave: impl Fn(&Hostname) -> bool) -> bool {
        self.once.iter().any(|swap| may_leave(&swap.key.name))
    }

    /// When to look next.
    pub(super) fn next_look(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    fn schedule(&mut self, name: &Hostname, now: Instant) {
        let Some(watched) = self.names.get_mut(name) else { return };
        self.due.remove(&(watched.look_at, name.clone()));
        let looks = [watched.since + FIRST_LOOK, watched.since + self.deadline * 2, watched.last_lost + LIFE];
        // By then the last ones are answered or lost: no flight is older than four deadlines.
        let end = now + self.deadline * 5;
        watched.look_at = looks.into_iter().filter(|look| *look > now).min().unwrap_or(end);
        self.due.insert((watched.look_at, name.clone()));
    }
}

impl Watched {
    fn to_put_right(&self, name: &Hostname) -> Vec<Swap> {
        let older = self.lost.iter().filter(|lost| lost.is_older);
        let swap = |lost: &Lost| {
            let (rtype, desired) = self.accepted.iter().find(|(rtype, _)| *rtype == lost.rtype)?;
            let key = RrKey { name: name.clone(), rtype: *rtype };
            let expected = lost.data.clone().into_iter().collect();
            let is_another = desired.data() != lost.data.as_ref();
            is_another.then(|| Swap { key, expected, desired: desired.clone(), answer: None })
        };
        older.filter_map(swap).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::test_change as change;

    #[test]
    fn of_each_rrset_the_last_that_were_lost_are_watched() {
        let mut late = LateUpdates::new(Duration::from_secs(2));
        let now = Instant::now();
        let name = change("a.dyn.example", "192.0.2.1").name;
        let of = |family: &str, n: usize| change("a.dyn.example", &format!("{family}{n}")).records;
        for n in 0..=MOST_OF_AN_RRSET {
            let (v4, v6) = (of("192.0.2.", n), of("2001:db8::", n));
            late.lost(&name, v4.iter().chain(v6.iter()), now);
        }
        let (v4, v6) = (of("192.0.2.", 99), of("2001:db8::", 99));
        late.accepted(&name, v4.iter().chain(v6.iter()), now);
        let mut expected = Vec::new();
        while let Some(swap) = late.next(now + FIRST_LOOK, |_| true, |_| {}) {
            expected.extend(swap.expected);
        }
        let lost =
            |family| (1..=MOST_OF_AN_RRSET).map(move |n| of(family, n).addresses().iter().next().unwrap().into());
        assert_eq!(expected.len(), 2 * MOST_OF_AN_RRSET);
        assert!(lost("192.0.2.").chain(lost("2001:db8::")).all(|lost| expected.contains(&lost)));
    }

    #[test]
    fn a_swap_is_asked_once_and_when_nothing_else_of_its_name_is_under_way() {
        let mut late = LateUpdates::new(Duration::from_secs(2));
        let now = Instant::now();
        let newer = change("a.dyn.example", "192.0.2.2");
        let (rtype, desired) = newer.records.iter().next().unwrap();
        let key = RrKey { name: newer.name.clone(), rtype };
        let (answer, _answered) = oneshot::channel();
        let expected = vec![RrData::A([192, 0, 2, 1].into())];
        late.swap_once(Swap { key, expected: expected.clone(), desired: desired.clone(), answer: Some(answer) });
        assert!(!late.is_asked(|_| false));
        assert!(late.next(now, |_| false, |_| {}).is_none());
        assert!(late.is_asked(|_| true));
        assert_eq!(late.next(now, |_| true, |_| {}).map(|swap| swap.expected), Some(expected));
        assert!(late.next(now, |_| true, |_| {}).is_none());
    }
}
