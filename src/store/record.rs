//! Recording what was seen: many calls in one transaction.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::fit;
use super::rows::Rows;
use super::session::Purpose;
use super::state::addresses_text;
use super::{Store, StoreError};
use crate::model::{Addresses, DesiredRecords, Family, Hostname, RrData, RrType, Timestamp};

/// Times never go back: what was seen later stays, whoever tells it first. An address of a request that was accepted earlier
/// serves only where none is known, and so does an imported one that was verified earlier.
pub(super) const STATE: &str = "INSERT INTO state (name, ipv4, ipv6, verified, last_update, last_seen, last_outcome, \
     agent, source, settled4, settled6) \
     {text, text, text, bigint, bigint, bigint, text, text, text, bigint, bigint} \
     ON CONFLICT (name) DO UPDATE SET \
     ipv4 = CASE WHEN COALESCE(excluded.settled4, excluded.verified, -1) >= \
       CASE WHEN excluded.settled4 IS NULL THEN COALESCE(state.verified, 0) ELSE COALESCE(state.settled4, 0) END \
       THEN COALESCE(excluded.ipv4, state.ipv4) ELSE COALESCE(state.ipv4, excluded.ipv4) END, \
     ipv6 = CASE WHEN COALESCE(excluded.settled6, excluded.verified, -1) >= \
       CASE WHEN excluded.settled6 IS NULL THEN COALESCE(state.verified, 0) ELSE COALESCE(state.settled6, 0) END \
       THEN COALESCE(excluded.ipv6, state.ipv6) ELSE COALESCE(state.ipv6, excluded.ipv6) END, \
     verified = CASE WHEN excluded.verified >= COALESCE(state.verified, 0) \
       THEN excluded.verified ELSE state.verified END, \
     last_update = CASE WHEN excluded.last_update >= COALESCE(state.last_update, 0) \
       THEN excluded.last_update ELSE state.last_update END, \
     last_outcome = CASE WHEN excluded.last_seen >= COALESCE(state.last_seen, 0) \
       THEN excluded.last_outcome ELSE state.last_outcome END, \
     agent = CASE WHEN excluded.last_seen >= COALESCE(state.last_seen, 0) THEN excluded.agent ELSE state.agent END, \
     source = CASE WHEN excluded.last_seen >= COALESCE(state.last_seen, 0) THEN excluded.source ELSE state.source END, \
     last_seen = CASE WHEN excluded.last_seen >= COALESCE(state.last_seen, 0) \
       THEN excluded.last_seen ELSE state.last_seen END, \
     settled4 = CASE WHEN excluded.settled4 >= COALESCE(state.settled4, 0) \
       THEN excluded.settled4 ELSE state.settled4 END, \
     settled6 = CASE WHEN excluded.settled6 >= COALESCE(state.settled6, 0) \
       THEN excluded.settled6 ELSE state.settled6 END";
const HISTORY: &str = "INSERT INTO history (name, at, outcome, source, agent, old, new) \
                       {text, bigint, text, text, text, text, text}";

/// A router's call for a name.
#[derive(Debug, Clone)]
pub struct Seen {
    /// The name.
    pub name: Hostname,
    /// When.
    pub at: Timestamp,
    /// What became of it: the outcome's label.
    pub outcome: &'static str,
    /// The router's address; `None` where a command wanted it.
    pub source: Option<IpAddr>,
    /// The router's user agent; the store keeps its first 200 characters.
    pub agent: Option<String>,
    /// What it changed: one row of the history, and the name's last update.
    pub change: Option<AddressChange>,
    /// What the primary was heard to hold; a type that is not listed is left as it was.
    pub held: DesiredRecords,
    /// Of each family, when the newest request was accepted that was answered for it, by our clock.
    pub settled: [Option<Timestamp>; 2],
}

/// What a name pointed to, and points to since.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(missing_docs, reason = "the names say it")]
pub struct AddressChange {
    pub old: Addresses,
    pub new: Addresses,
}

/// All calls for one name that wait to be written: the newest, what was answered last for each family, and what changed.
#[derive(Debug, Clone)]
pub struct Calls {
    latest: Seen,
    last_update: Option<Timestamp>,
    verified: Option<Timestamp>,
    held: [Option<HeldRrset>; 2],
    settled: [Option<Timestamp>; 2],
    changes: Vec<Seen>,
}

/// What an RRset holds: what was answered to the newest request stays, whichever was answered first.
#[derive(Debug, Clone, Copy)]
struct HeldRrset {
    // `None` where it is known to hold nothing.
    address: Option<IpAddr>,
    settled: Option<Timestamp>,
    at: Timestamp,
}

impl From<Seen> for Calls {
    fn from(seen: Seen) -> Self {
        let (at, settled) = (seen.at, seen.settled);
        let held = [(RrType::A, settled[0]), (RrType::Aaaa, settled[1])].map(|(rtype, settled)| {
            let desired = seen.held.get(rtype)?;
            Some(HeldRrset { address: desired.data().and_then(RrData::address), settled, at })
        });
        Self {
            last_update: seen.change.map(|_| at),
            verified: (!seen.held.is_empty()).then_some(at),
            held,
            settled,
            changes: seen.change.iter().map(|_| seen.clone()).collect(),
            latest: seen,
        }
    }
}

impl Calls {
    /// Takes in other calls for the name; of those that changed it, the newest `most` stay.
    pub fn absorb(&mut self, other: Self, most: usize) {
        let order = |held: &HeldRrset| (held.settled, held.at);
        for (held, others) in self.held.iter_mut().zip(other.held) {
            *held = [*held, others].into_iter().flatten().max_by_key(order);
        }
        self.settled = [0, 1].map(|family: usize| self.settled[family].max(other.settled[family]));
        self.last_update = self.last_update.max(other.last_update);
        self.verified = self.verified.max(other.verified);
        if other.latest.at >= self.latest.at {
            self.latest = other.latest;
        }
        self.changes.extend(other.changes);
        self.changes.sort_by_key(|seen| seen.at);
        self.changes.drain(..self.changes.len().saturating_sub(most));
    }

    pub(crate) fn at(&self) -> Timestamp {
        self.latest.at
    }

    /// How many of them changed the name.
    pub(crate) fn changes(&self) -> usize {
        self.changes.len()
    }

    /// The family that a router reported, where it reported one alone.
    pub(crate) fn only_family(&self) -> Option<Family> {
        self.latest.source?;
        let mut reported = self.held.iter().flatten().filter_map(|held| held.address).map(Family::of);
        reported.next().filter(|_| reported.next().is_none())
    }

    /// Whether nothing but a command's removal was done: its host may be gone, and gets no state again.
    pub(crate) fn is_removal(&self) -> bool {
        self.latest.source.is_none() && !self.latest.held.sets()
    }

    /// Says of each change what was there before, where the name held `before` at first. A family that a change leaves alone
    /// is as it was.
    pub(crate) fn follow(&mut self, mut before: Addresses) {
        for seen in &mut self.changes {
            let Some(change) = &mut seen.change else { continue };
            let set = seen.held.addresses();
            let is_left_alone = |rtype| seen.held.get(rtype).is_none();
            let new = Addresses {
                v4: set.v4.or(before.v4.filter(|_| is_left_alone(RrType::A))),
                v6: set.v6.or(before.v6.filter(|_| is_left_alone(RrType::Aaaa))),
            };
            *change = AddressChange { old: before, new };
            before = new;
        }
    }
}

impl Store {
    /// Keeps what was seen of these names, in one transaction. Their order keeps two gateways from waiting for each other.
    ///
    /// # Errors
    /// The store cannot be written; then nothing was.
    pub async fn record(&self, calls: &BTreeMap<Hostname, Calls>) -> Result<(), StoreError> {
        if calls.is_empty() {
            return Ok(());
        }
        let states: Vec<_> = calls.values().collect();
        let changes: Vec<_> = states.iter().flat_map(|calls| &calls.changes).collect();
        let mut work = self.begin(Purpose::Recording).await?;
        let clocks = work.clocks().await?;
        work.write(STATE, &states, |rows, calls| {
            let rows = bind_state(rows, calls);
            calls.settled.iter().fold(rows, |rows, at| rows.bind(at.map(|at| clocks.by_theirs(at).0)))
        })
        .await?;
        work.write(HISTORY, &changes, |rows, seen| bind_change(rows, seen)).await?;
        work.commit().await
    }
}

fn bind_state(rows: Rows, calls: &Calls) -> Rows {
    let seen = &calls.latest;
    // An empty text is known to be nothing, NULL is nothing known.
    let text = |held: HeldRrset| held.address.map_or_else(String::new, |address| address.to_string());
    let [v4, v6] = calls.held.map(|held| held.map(text));
    // A command is no call.
    let called = seen.source.map(|_| seen.at.0);
    rows.bind(seen.name.to_string())
        .bind(v4)
        .bind(v6)
        .bind(calls.verified.map(|at| at.0))
        .bind(calls.last_update.map(|at| at.0))
        .bind(called)
        .bind(called.map(|_| seen.outcome))
        .bind(seen.agent.as_deref().map(fit::agent))
        .bind(seen.source.map(|source| source.to_string()))
}

fn bind_change(rows: Rows, seen: &Seen) -> Rows {
    let AddressChange { old, new } = seen.change.unwrap_or_default();
    rows.bind(seen.name.to_string())
        .bind(seen.at.0)
        .bind(seen.outcome)
        .bind(seen.source.map(|source| source.to_string()))
        .bind(seen.agent.as_deref().map(fit::agent))
        .bind(addresses_text(old))
        .bind(addresses_text(new))
}
