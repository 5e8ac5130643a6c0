//! What a lost connection leaves behind: what is sent again, and what the primary may yet apply after something newer.

use super::*;

impl Lane {
    /// The connection is gone, and with it the answers to all flights: those for whom someone still waits are sent again.
    /// With `by_us` the connection was given up for another reason, which throws no suspicion on what it carried.
    /// Returns the flights that waited in vain and for how long, but for those that were overdue already.
    pub(in crate::engine) fn connection_lost(&mut self, by_us: bool, now: Instant) -> Vec<(FlightId, Duration)> {
        let mut lost: Vec<_> = self.flights.drain().collect();
        if !lost.is_empty() {
            self.silent_until = Some(now);
        }
        lost.sort_unstable_by_key(|(id, _)| std::cmp::Reverse(*id));
        for (_, flight) in &lost {
            // No answer in time is an answer: the next messages are smaller.
            if flight.overdue && matches!(flight.purpose, Purpose::Change) {
                self.pace.too_slow(rrsets(&flight.entries));
            }
        }
        let in_vain = lost.iter().filter(|(_, flight)| !flight.overdue);
        let waited = in_vain.map(|(id, flight)| (*id, now.saturating_duration_since(flight.sent))).collect();
        for (_, Flight { mut entries, mut history, purpose, .. }) in lost {
            if !matches!(purpose, Purpose::Probe(_)) {
                for (name, entry) in &mut entries {
                    self.may_come_late(name, entry, now);
                    entry.lost();
                }
            }
            if let Purpose::Undo(undo) = purpose {
                self.strays.unanswered(undo, now);
                self.look_is_over(entries, now);
                continue;
            }
            history.losses += 1;
            history.suspect |= !by_us && history.losses > 1;
            if let (true, [(name, entry)]) = (history.suspect, entries.as_slice()) {
                self.suspects.caught(name, &entry.account, now);
            }
            let (wanted, unwanted): (Vec<_>, Vec<_>) = entries.into_iter().partition(|(_, entry)| entry.is_wanted());
            for (name, entry) in unwanted {
                self.unlock(&name, now);
                drop(entry);
            }
            if history.suspect && wanted.len() > 1 {
                self.regroup_halves(wanted, &history);
            } else if !wanted.is_empty() {
                self.regroup(wanted, history);
            }
        }
        waited
    }

    /// Lets go of what nobody waits for any longer, while nothing can leave.
    pub(in crate::engine) fn forget_unwanted(&mut self, now: Instant) {
        self.silent_until = Some(now);
        self.waiting.retain(|_, entry| entry.is_wanted());
        let Self { waiting, ready, again, .. } = self;
        ready.retain(|name| waiting.contains_key(name));
        again.iter_mut().for_each(|group| group.names.retain(|name| waiting.contains_key(name)));
        again.retain(|group| !group.names.is_empty());
    }

    /// What a look for a stray is to find and to set; `None` for any other flight.
    pub(in crate::engine) fn undoes(&self, flight: FlightId) -> Option<Records> {
        match self.flights.get(&flight).map(|flight| &flight.purpose) {
            Some(Purpose::Undo(undo)) => Some(undo.lost),
            Some(Purpose::Change | Purpose::Probe(_) | Purpose::Call) | None => None,
        }
    }

    /// A message that undoes what came late of a name for which nothing else waits or is in flight.
    pub(super) fn look_for_strays(&mut self, now: Instant) -> Option<FlightId> {
        let Self { strays, waiting, locked, memory, .. } = self;
        let may_leave = |name: &Hostname| !waiting.contains_key(name) && !locked.contains(name);
        let undo = strays.next(now, may_leave, |name| memory.trust(name))?;
        let (name, mut entry) = (undo.wish.name.clone(), Entry::of(&undo.wish));
        entry.in_flight = Some(self.memory.begin(&name));
        self.locked.insert(name.clone());
        Some(self.launch(vec![(name, entry)], History::new(Company::Alone), Purpose::Undo(undo), now))
    }

    pub(super) fn look_is_over(&mut self, entries: Vec<(Hostname, Entry)>, now: Instant) {
        for (name, _) in entries {
            self.unlock(&name, now);
        }
    }

    /// The change that `entry` holds was lost: whatever the primary says from now on, it may be applied later.
    fn may_come_late(&mut self, name: &Hostname, entry: &Entry, now: Instant) {
        if self.strays.lost(name, entry.wishes(name), now) {
            self.memory.doubt(name);
        } else {
            self.memory.forget(name);
        }
    }
}
