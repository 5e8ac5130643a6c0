//! What was lost without an answer: the primary may apply it yet, after something newer was accepted. Which of it to undo,
//! and when. Pure.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use tokio::time::Instant;

use super::Wish;
use crate::dns::FUDGE;
use crate::model::{Hostname, Records};

/// Names that are watched at once.
const MOST: usize = 20_000;
/// Changes that are watched of one family of a name.
const MOST_OF_A_FAMILY: usize = 8;
/// From the acknowledgement of something newer to the first look.
const FIRST_LOOK: Duration = Duration::from_secs(1);
/// How long a name that cannot be looked at now is left alone.
const POSTPONED: Duration = Duration::from_millis(100);
/// A primary refuses a message whose signature is older (RFC 8945 section 5.2.3), so that none comes later.
pub const LIFE: Duration = Duration::from_secs(FUDGE as u64 + 1);

/// The names whose changes were lost.
#[derive(Debug)]
pub(super) struct Strays {
    deadline: Duration,
    names: HashMap<Hostname, Stray>,
    // When to look at each of the names.
    due: BTreeSet<(Instant, Hostname)>,
    // What the gateway knows to be undone, once.
    once: Vec<Undo>,
}

/// The changes of one name that were lost, and what was accepted since; each of one family.
#[derive(Debug)]
struct Stray {
    lost: Vec<Lost>,
    last_lost: Instant,
    accepted: Vec<Wish>,
    since: Instant,
    look_at: Instant,
    // What this look has still to ask.
    round: Vec<Undo>,
    // This look began when nothing could come any longer.
    is_last_look: bool,
}

#[derive(Debug)]
struct Lost {
    records: Records,
    // Something newer was accepted since: it must not stand.
    is_older: bool,
}

/// Where a name holds what was lost, it is to hold what was accepted since.
#[derive(Debug, Clone)]
pub(super) struct Undo {
    pub(super) lost: Records,
    pub(super) wish: Wish,
}

impl Strays {
    pub(super) fn new(deadline: Duration) -> Self {
        Self { deadline, names: HashMap::new(), due: BTreeSet::new(), once: Vec::new() }
    }

    /// Another deadline is in force; what is watched, and when it is looked at, stays.
    pub(super) fn set_deadline(&mut self, deadline: Duration) {
        self.deadline = deadline;
    }

    /// The change of `wishes`, each of one family, was lost; `false` where too many names are watched already.
    pub(super) fn lost(&mut self, name: &Hostname, wishes: impl Iterator<Item = Wish>, now: Instant) -> bool {
        if self.names.len() >= MOST && !self.names.contains_key(name) {
            return false;
        }
        let stray = self.names.entry(name.clone()).or_insert_with(|| Stray {
            lost: Vec::new(),
            last_lost: now,
            accepted: Vec::new(),
            since: now,
            look_at: now,
            round: Vec::new(),
            is_last_look: false,
        });
        (stray.last_lost, stray.is_last_look) = (now, false);
        for Wish { records, .. } in wishes {
            if stray.lost.iter().any(|lost| lost.records == records) {
                continue;
            }
            let same = |lost: &Lost| of_one_family(lost.records, records);
            if stray.lost.iter().filter(|lost| same(lost)).count() >= MOST_OF_A_FAMILY
                && let Some(oldest) = stray.lost.iter().position(same)
            {
                stray.lost.remove(oldest);
            }
            stray.lost.push(Lost { records, is_older: false });
        }
        self.schedule(name, now);
        true
    }

    /// `wishes`, each of one family, were accepted after all that was lost before.
    pub(super) fn accepted(&mut self, name: &Hostname, wishes: impl Iterator<Item = Wish>, now: Instant) {
        let Some(stray) = self.names.get_mut(name) else { return };
        for wish in wishes {
            stray.accepted.retain(|accepted| !of_one_family(accepted.records, wish.records));
            let lost = stray.lost.iter_mut().filter(|lost| of_one_family(lost.records, wish.records));
            lost.for_each(|lost| lost.is_older = true);
            stray.accepted.push(wish);
        }
        stray.since = now;
        stray.round.clear();
        self.schedule(name, now);
    }

    /// Another gateway was told something newer: asked once, whatever the answer.
    pub(super) fn undo_once(&mut self, undo: Undo) {
        if self.once.len() < MOST {
            self.once.push(undo);
        }
    }

    /// The next that is to be undone, of a name that `may_leave`; what the primary can no longer apply goes to `ended`.
    pub(super) fn next(
        &mut self,
        now: Instant,
        may_leave: impl Fn(&Hostname) -> bool,
        mut ended: impl FnMut(&Hostname),
    ) -> Option<Undo> {
        if let Some(ready) = self.once.iter().position(|undo| may_leave(&undo.wish.name)) {
            return Some(self.once.swap_remove(ready));
        }
        while self.due.first().is_some_and(|(at, _)| *at <= now) {
            let (_, name) = self.due.pop_first()?;
            let Some(stray) = self.names.get_mut(&name) else { continue };
            if stray.is_last_look && stray.round.is_empty() {
                ended(&name);
                self.names.remove(&name);
                continue;
            }
            if !may_leave(&name) {
                stray.look_at = now + POSTPONED;
                self.due.insert((stray.look_at, name));
                continue;
            }
            if stray.round.is_empty() {
                stray.round = stray.to_undo();
                stray.is_last_look = now >= stray.last_lost + LIFE;
            }
            let undo = stray.round.pop();
            if stray.round.is_empty() {
                self.schedule(&name, now);
            } else {
                self.due.insert((stray.look_at, name));
            }
            if undo.is_some() {
                return undo;
            }
        }
        None
    }

    /// The primary did not say whether what was lost stands.
    pub(super) fn unanswered(&mut self, undo: Undo, now: Instant) {
        let name = undo.wish.name.clone();
        if let Some(stray) = self.names.get_mut(&name) {
            stray.round.push(undo);
            self.due.remove(&(stray.look_at, name.clone()));
            stray.look_at = now + self.deadline;
            self.due.insert((stray.look_at, name));
        }
    }

    /// Whether something is to be undone once, of a name that `may_leave`.
    pub(super) fn is_asked(&self, may_leave: impl Fn(&Hostname) -> bool) -> bool {
        self.once.iter().any(|undo| may_leave(&undo.wish.name))
    }

    /// When to look next.
    pub(super) fn next_look(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    fn schedule(&mut self, name: &Hostname, now: Instant) {
        let Some(stray) = self.names.get_mut(name) else { return };
        self.due.remove(&(stray.look_at, name.clone()));
        let looks = [stray.since + FIRST_LOOK, stray.since + self.deadline * 2, stray.last_lost + LIFE];
        // By then the last ones are answered or lost: no flight is older than four deadlines.
        let end = now + self.deadline * 5;
        stray.look_at = looks.into_iter().filter(|look| *look > now).min().unwrap_or(end);
        self.due.insert((stray.look_at, name.clone()));
    }
}

impl Stray {
    fn to_undo(&self) -> Vec<Undo> {
        let older = self.lost.iter().filter(|lost| lost.is_older);
        let undo = |lost: &Lost| {
            let wish = self.accepted.iter().find(|wish| of_one_family(wish.records, lost.records))?;
            (wish.records != lost.records).then(|| Undo { lost: lost.records, wish: wish.clone() })
        };
        older.filter_map(undo).collect()
    }
}

fn of_one_family(one: Records, other: Records) -> bool {
    one.v4.is_made() == other.v4.is_made()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::test_wish as wish;

    #[test]
    fn of_each_family_the_last_that_were_lost_are_watched() {
        let mut strays = Strays::new(Duration::from_secs(2));
        let now = Instant::now();
        let name = wish("a.dyn.example", "192.0.2.1").name;
        let of = |family: &str, n: usize| wish("a.dyn.example", &format!("{family}{n}"));
        for n in 0..=MOST_OF_A_FAMILY {
            strays.lost(&name, [of("192.0.2.", n), of("2001:db8::", n)].into_iter(), now);
        }
        strays.accepted(&name, [of("192.0.2.", 99), of("2001:db8::", 99)].into_iter(), now);
        let mut undone = Vec::new();
        while let Some(undo) = strays.next(now + FIRST_LOOK, |_| true, |_| {}) {
            undone.push(undo.lost);
        }
        let expected = |family| (1..=MOST_OF_A_FAMILY).map(move |n| of(family, n).records);
        assert_eq!(undone.len(), 2 * MOST_OF_A_FAMILY);
        assert!(expected("192.0.2.").chain(expected("2001:db8::")).all(|lost| undone.contains(&lost)));
    }

    #[test]
    fn what_another_gateway_replaced_is_asked_once_and_when_nothing_else_of_its_name_is_under_way() {
        let mut strays = Strays::new(Duration::from_secs(2));
        let now = Instant::now();
        let (lost, newer) = (wish("a.dyn.example", "192.0.2.1").records, wish("a.dyn.example", "192.0.2.2"));
        strays.undo_once(Undo { lost, wish: newer });
        assert!(!strays.is_asked(|_| false));
        assert!(strays.next(now, |_| false, |_| {}).is_none());
        assert!(strays.is_asked(|_| true));
        assert_eq!(strays.next(now, |_| true, |_| {}).map(|undo| undo.lost), Some(lost));
        assert!(strays.next(now, |_| true, |_| {}).is_none());
    }
}
