//! The newest wish for one name, and everyone who waits for it. Pure.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use tokio::sync::oneshot;

use super::memory::UnderWay;
use super::{Answer, Applied, Trouble, Wish};
use crate::dns::RrsetWrite;
use crate::model::{Addresses, Hostname};

/// A caller who waits for his change.
#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) wish: Wish,
    pub(super) answer: oneshot::Sender<Answer>,
}

/// The newest wish for one name, and everyone who waits for it.
#[derive(Debug)]
pub(super) struct Entry {
    v4: Option<(Ipv4Addr, u32)>,
    v6: Option<(Ipv6Addr, u32)>,
    pub(super) account: Arc<str>,
    pub(super) waiters: Vec<Waiter>,
    // Held from the sending on, whoever still waits: the message may be applied late.
    pub(super) in_flight: Option<UnderWay>,
}

impl Entry {
    pub(super) fn new(waiter: Waiter) -> Self {
        let mut entry = Self {
            v4: None,
            v6: None,
            account: Arc::clone(&waiter.wish.account),
            waiters: Vec::new(),
            in_flight: None,
        };
        entry.add(waiter);
        entry
    }

    pub(super) fn add(&mut self, waiter: Waiter) {
        let Wish { addresses, ttl, account, .. } = &waiter.wish;
        self.v4 = addresses.v4.map(|address| (address, *ttl)).or(self.v4);
        self.v6 = addresses.v6.map(|address| (address, *ttl)).or(self.v6);
        self.account = Arc::clone(account);
        // A router that repeats itself while the primary is down must not pile up.
        if self.waiters.len() == self.waiters.capacity() {
            self.waiters.retain(|waiter| !waiter.answer.is_closed());
        }
        self.waiters.push(waiter);
    }

    pub(super) fn absorb(&mut self, newer: Self) {
        self.v4 = newer.v4.or(self.v4);
        self.v6 = newer.v6.or(self.v6);
        self.account = newer.account;
        self.waiters.extend(newer.waiters);
    }

    pub(super) fn is_wanted(&self) -> bool {
        self.waiters.iter().any(|waiter| !waiter.answer.is_closed())
    }

    pub(super) fn rrsets(&self) -> usize {
        usize::from(self.v4.is_some()) + usize::from(self.v6.is_some())
    }

    pub(super) fn write<'a>(&self, name: &'a Hostname) -> RrsetWrite<'a> {
        RrsetWrite {
            name,
            addresses: Addresses { v4: self.v4.map(|(address, _)| address), v6: self.v6.map(|(address, _)| address) },
            ttl_v4: self.v4.map_or(0, |(_, ttl)| ttl),
            ttl_v6: self.v6.map_or(0, |(_, ttl)| ttl),
        }
    }

    /// What the primary holds once this is applied, family by family, since their TTLs may differ.
    pub(super) fn wishes(&self, name: &Hostname) -> impl Iterator<Item = Wish> + use<> {
        let (name, account) = (name.clone(), Arc::clone(&self.account));
        let v4 = self.v4.map(|(address, ttl)| (Addresses { v4: Some(address), v6: None }, ttl));
        let v6 = self.v6.map(|(address, ttl)| (Addresses { v4: None, v6: Some(address) }, ttl));
        v4.into_iter().chain(v6).map(move |(addresses, ttl)| Wish {
            name: name.clone(),
            addresses,
            ttl,
            account: Arc::clone(&account),
        })
    }

    // The change is over before the caller learns of it: his next request must find the memory in force.
    pub(super) fn succeed(self) {
        drop(self.in_flight);
        let (v4, v6) = (self.v4.map(|(address, _)| address), self.v6.map(|(address, _)| address));
        answer(self.waiters, |Wish { addresses, .. }| {
            let superseded =
                addresses.v4.is_some() && addresses.v4 != v4 || addresses.v6.is_some() && addresses.v6 != v6;
            Ok(Applied { superseded })
        });
    }

    pub(super) fn fail(self, trouble: Trouble) {
        drop(self.in_flight);
        answer(self.waiters, |_| Err(trouble));
    }
}

/// Answers each waiter.
pub(super) fn answer(waiters: impl IntoIterator<Item = Waiter>, outcome: impl Fn(&Wish) -> Answer) {
    for Waiter { wish, answer } in waiters {
        let _waiter_gone = answer.send(outcome(&wish));
    }
}

pub(super) fn rrsets(entries: &[(Hostname, Entry)]) -> usize {
    entries.iter().map(|(_, entry)| entry.rrsets()).sum()
}
