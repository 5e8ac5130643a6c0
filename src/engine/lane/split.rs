//! What becomes of a batch in which a name is bad: halves, until the culprits are alone.

use super::*;

impl Lane {
    /// One of `entries` is bad: alone it is proven, else the halves tell.
    pub(super) fn blame_name(
        &mut self,
        entries: Vec<(Hostname, Entry)>,
        history: &History,
        failure: Failure,
        now: Instant,
    ) {
        if let [(name, entry)] = entries.as_slice() {
            self.suspects.caught(name, &entry.account, now);
            let in_a_row = history.culprits_in_a_row.fetch_add(1, Ordering::Relaxed) + 1;
            let trouble = match weigh(failure) {
                Blame::Hidden => Trouble::Hidden(failure),
                _ => Trouble::Refused(failure),
            };
            self.fail_all(entries, trouble, now);
            if in_a_row >= MOST_CULPRITS_IN_A_ROW {
                self.give_up(history, now);
            }
            return;
        }
        // Who has brought three bad names already is parted from the others, so that they need not pay for more of his.
        let (offenders, others): (Vec<_>, Vec<_>) = entries
            .into_iter()
            .partition(|(name, entry)| matches!(self.suspects.company(name, &entry.account, now), Company::Account(_)));
        let mut by_account: BTreeMap<Arc<str>, Vec<_>> = BTreeMap::new();
        for (name, entry) in offenders {
            by_account.entry(Arc::clone(&entry.account)).or_default().push((name, entry));
        }
        let is_alone = by_account.len() + usize::from(!others.is_empty()) == 1;
        for (account, entries) in by_account {
            if is_alone {
                return self.regroup_halves(entries, history);
            }
            self.regroup(entries, History::new(Company::Account(account)));
        }
        if is_alone {
            self.regroup_halves(others, history);
        } else if !others.is_empty() {
            self.regroup(others, history.clone());
        }
    }

    /// Too many culprits in a row: what is left of their batch queues again, and their company rests.
    fn give_up(&mut self, history: &History, now: Instant) {
        let (left, others) = std::mem::take(&mut self.again)
            .into_iter()
            .partition(|group: &Group| Arc::ptr_eq(&group.history.culprits_in_a_row, &history.culprits_in_a_row));
        self.again = others;
        let left: VecDeque<Group> = left;
        for name in left.into_iter().flat_map(|group| group.names) {
            self.queue(name, now);
        }
        self.resting.insert(history.company.clone(), now + REST);
    }

    pub(super) fn regroup_halves(&mut self, mut entries: Vec<(Hostname, Entry)>, history: &History) {
        let second = entries.split_off(entries.len() / 2);
        for half in [second, entries] {
            if !half.is_empty() {
                self.regroup(half, history.clone());
            }
        }
    }
}
