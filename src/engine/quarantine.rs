//! Names that spoiled a batch, and accounts that keep bringing such names: they travel apart for a while. Bounded; time comes in.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::model::Hostname;

const MOST: usize = 10_000;
const CULPRIT_FOR: Duration = Duration::from_secs(600);
const OFFENDER_FOR: Duration = Duration::from_secs(600);
const OFFENCES: usize = 3;
const OFFENCES_WITHIN: Duration = Duration::from_secs(60);

/// What was learnt from poisoned batches.
#[derive(Debug, Default)]
pub(super) struct Quarantine {
    culprits: HashMap<Hostname, Instant>,
    accounts: HashMap<Arc<str>, Offences>,
}

#[derive(Debug)]
struct Offences {
    // The last ones, oldest first.
    at: VecDeque<Instant>,
    offender_until: Option<Instant>,
}

/// With what a name travels in a message.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum BatchClass {
    /// With everyone.
    Everyone,
    /// With others for which no client waits: thousands of them take turns with those for which one does.
    Background,
    /// With names of the same account only.
    Account(Arc<str>),
    /// Alone.
    Alone,
}

impl Quarantine {
    /// `name`, brought by `account`, was proven to spoil its batch.
    pub(super) fn add(&mut self, name: &Hostname, account: &Arc<str>, now: Instant) {
        make_room(&mut self.culprits, |until| *until > now);
        self.culprits.insert(name.clone(), now + CULPRIT_FOR);
        make_room(&mut self.accounts, |offences| offences.at.back().is_some_and(|last| *last + OFFENDER_FOR > now));
        let offences = self
            .accounts
            .entry(Arc::clone(account))
            .or_insert_with(|| Offences { at: VecDeque::with_capacity(OFFENCES), offender_until: None });
        if offences.at.len() == OFFENCES {
            offences.at.pop_front();
        }
        offences.at.push_back(now);
        let within = offences.at.front().is_some_and(|first| *first + OFFENCES_WITHIN >= now);
        if offences.at.len() == OFFENCES && within {
            offences.offender_until = Some(now + OFFENDER_FOR);
        }
    }

    /// `name` went through.
    pub(super) fn cleared(&mut self, name: &Hostname) {
        if !self.culprits.is_empty() {
            self.culprits.remove(name);
        }
    }

    /// How `name`, brought by `account`, travels now.
    pub(super) fn class(&self, name: &Hostname, account: &Arc<str>, now: Instant) -> BatchClass {
        let offender = |offences: &Offences| offences.offender_until.is_some_and(|until| until > now);
        if self.culprits.get(name).is_some_and(|until| *until > now) {
            BatchClass::Alone
        } else if self.accounts.get(account).is_some_and(offender) {
            BatchClass::Account(Arc::clone(account))
        } else {
            BatchClass::Everyone
        }
    }
}

fn make_room<K: Clone + Eq + Hash, V>(map: &mut HashMap<K, V>, keep: impl Fn(&V) -> bool) {
    if map.len() >= MOST {
        map.retain(|_, value| keep(value));
    }
    if map.len() >= MOST {
        map.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_culprit_travels_alone_until_it_is_cleared_or_forgotten() {
        let mut quarantine = Quarantine::default();
        let (name, account) = (Hostname::parse("a.dyn.example").unwrap(), Arc::from("account"));
        let now = Instant::now();
        assert_eq!(quarantine.class(&name, &account, now), BatchClass::Everyone);
        quarantine.add(&name, &account, now);
        assert_eq!(quarantine.class(&name, &account, now), BatchClass::Alone);
        assert_eq!(quarantine.class(&name, &account, now + CULPRIT_FOR), BatchClass::Everyone);
        quarantine.cleared(&name);
        assert_eq!(quarantine.class(&name, &account, now), BatchClass::Everyone);
    }

    #[test]
    fn an_account_that_brings_three_in_a_minute_travels_by_itself() {
        let mut quarantine = Quarantine::default();
        let (account, other): (Arc<str>, Arc<str>) = (Arc::from("account"), Arc::from("other"));
        let name = |n: u32| Hostname::parse(&format!("h{n}.dyn.example")).unwrap();
        let now = Instant::now();
        for n in 0..3 {
            assert_eq!(quarantine.class(&name(9), &account, now), BatchClass::Everyone);
            quarantine.add(&name(n), &account, now);
        }
        assert_eq!(quarantine.class(&name(9), &account, now), BatchClass::Account(Arc::clone(&account)));
        assert_eq!(quarantine.class(&name(9), &other, now), BatchClass::Everyone);
    }

    #[test]
    fn the_minute_slides_and_an_old_offence_is_forgotten() {
        let mut quarantine = Quarantine::default();
        let account = Arc::from("account");
        let start = Instant::now();
        let other = Hostname::parse("other.dyn.example").unwrap();
        for seconds in [0, 59, 61, 62] {
            let name = Hostname::parse(&format!("h{seconds}.dyn.example")).unwrap();
            quarantine.add(&name, &account, start + Duration::from_secs(seconds));
        }
        let then = start + Duration::from_secs(62);
        assert_eq!(quarantine.class(&other, &account, then), BatchClass::Account(Arc::clone(&account)));
        let tomorrow = start + Duration::from_secs(86_400);
        quarantine.add(&Hostname::parse("h.dyn.example").unwrap(), &account, tomorrow);
        assert_eq!(quarantine.class(&other, &account, tomorrow), BatchClass::Everyone);
    }

    #[test]
    fn three_in_an_hour_are_no_offence() {
        let mut quarantine = Quarantine::default();
        let account = Arc::from("account");
        let mut now = Instant::now();
        for n in 0..10 {
            quarantine.add(&Hostname::parse(&format!("h{n}.dyn.example")).unwrap(), &account, now);
            now += Duration::from_secs(120);
        }
        assert_eq!(quarantine.class(&Hostname::parse("x.dyn.example").unwrap(), &account, now), BatchClass::Everyone);
    }
}
