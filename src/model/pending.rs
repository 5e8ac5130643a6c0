//! A change that is still to be made, as it is kept. Knows nothing of where, nor of how it is made.

use std::net::IpAddr;

use super::{Desired, Hostname, RrKey, RrType, Timestamp};

/// A change of one RRset that is still to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingChange {
    /// Which RRset.
    pub key: RrKey,
    /// What it shall hold.
    pub desired: Desired,
    /// On whose behalf.
    pub account: String,
    /// Where the request came from; `None` where a command wants it.
    pub source: Option<IpAddr>,
    /// What its client calls itself.
    pub agent: Option<String>,
    /// When its request was accepted, by our clock.
    pub accepted: Timestamp,
    /// From when on it is not worth making.
    pub expires: Option<Timestamp>,
    /// When it was accepted by the store's clock, exactly as that keeps it: it tells this change from one that replaced it.
    /// Nothing where it is not kept yet.
    pub stamp: Timestamp,
}

impl PendingChange {
    /// That a command wants `desired` in the RRset `key`.
    #[must_use]
    pub fn of_command(key: RrKey, desired: Desired, account: String) -> Self {
        let (accepted, stamp) = (Timestamp::now(), Timestamp::default());
        Self { key, desired, account, source: None, agent: None, accepted, expires: None, stamp }
    }

    /// That a command wants `name` to have no address.
    #[must_use]
    pub fn removal(name: &Hostname, account: &str) -> [Self; 2] {
        RrType::OF_ADDRESSES
            .map(|rtype| Self::of_command(RrKey { name: name.clone(), rtype }, Desired::Absent, account.to_owned()))
    }
}
