//! Recording what was seen: many calls in one transaction.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::fit;
use super::session::{Purpose, Statement};
use super::state::addresses_text;
use super::{Store, StoreError};
use crate::model::{Addresses, Hostname, Timestamp};

/// Times never go back: what was seen later stays, whoever tells it first. An address of a request that was accepted earlier
/// serves only where none is known, and so does an imported one that was verified earlier.
pub(super) const STATE: [&str; 2] = [
    "INSERT INTO state (name, ipv4, ipv6, verified, last_update, last_seen, last_outcome, agent, source, \
     settled4, settled6)",
    "ON CONFLICT (name) DO UPDATE SET \
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
       THEN excluded.settled6 ELSE state.settled6 END",
];
const HISTORY: [&str; 2] = ["INSERT INTO history (name, at, outcome, source, agent, old, new)", ""];

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
    /// What the primary was heard to hold; a family that is `None` is left as it was.
    pub held: Option<Addresses>,
    /// Of which family it is now known to hold no address.
    pub removed: [bool; 2],
    /// Of each family, when the newest request was accepted that was answered for it, by our clock.
    pub settled: [Option<Timestamp>; 2],
}

impl Seen {
    /// Takes in what another call for the name settled.
    pub fn settle(&mut self, other: [Option<Timestamp>; 2]) {
        self.settled = [0, 1].map(|family: usize| self.settled[family].max(other[family]));
    }
}

/// What a name pointed to, and points to since.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddressChange {
    /// Before.
    pub old: Addresses,
    /// Since.
    pub new: Addresses,
}

/// All calls for one name, together: a statement may touch each row once.
struct Together<'a> {
    latest: &'a Seen,
    last_update: Option<Timestamp>,
    held: Addresses,
    verified: Option<Timestamp>,
    settled: [Option<Timestamp>; 2],
}

impl Store {
    /// Keeps what was seen, in one transaction.
    ///
    /// # Errors
    /// The store cannot be written; then nothing was.
    pub async fn record(&self, seen: &[Seen]) -> Result<(), StoreError> {
        if seen.is_empty() {
            return Ok(());
        }
        let states = together(seen);
        let changes: Vec<_> = seen.iter().filter_map(|seen| Some((seen, seen.change?))).collect();
        let mut work = self.begin(Purpose::Recording).await?;
        let clocks = work.clocks().await?;
        work.write(STATE, 11, &states, |query, state| {
            let query = bind_state(query, state);
            state.settled.iter().fold(query, |query, at| query.bind(at.map(|at| clocks.earliest(at).0)))
        })
        .await?;
        work.write(HISTORY, 7, &changes, bind_change).await?;
        work.commit().await
    }
}

/// In the order of the names, so that two recorders never wait for each other.
fn together(seen: &[Seen]) -> Vec<Together<'_>> {
    let mut in_time: Vec<_> = seen.iter().collect();
    in_time.sort_by_key(|seen| seen.at);
    let mut names: BTreeMap<&Hostname, Together<'_>> = BTreeMap::new();
    for seen in in_time {
        let state = names.entry(&seen.name).or_insert(Together {
            latest: seen,
            last_update: None,
            held: Addresses::default(),
            verified: None,
            settled: [None; 2],
        });
        state.latest = seen;
        state.settled = [0, 1].map(|family: usize| state.settled[family].max(seen.settled[family]));
        if seen.change.is_some() {
            state.last_update = Some(seen.at);
        }
        if let Some(held) = seen.held {
            state.held = Addresses { v4: held.v4.or(state.held.v4), v6: held.v6.or(state.held.v6) };
            state.verified = Some(seen.at);
        }
    }
    names.into_values().collect()
}

fn bind_state(query: Statement, state: &Together<'_>) -> Statement {
    let seen = state.latest;
    query
        .bind(seen.name.to_string())
        .bind(state.held.v4.map(|address| address.to_string()))
        .bind(state.held.v6.map(|address| address.to_string()))
        .bind(state.verified.map(|at| at.0))
        .bind(state.last_update.map(|at| at.0))
        .bind(seen.at.0)
        .bind(seen.outcome.to_owned())
        .bind(seen.agent.as_deref().map(fit::agent))
        .bind(seen.source.map(|source| source.to_string()))
}

fn bind_change(query: Statement, (seen, change): &(&Seen, AddressChange)) -> Statement {
    query
        .bind(seen.name.to_string())
        .bind(seen.at.0)
        .bind(seen.outcome.to_owned())
        .bind(seen.source.map(|source| source.to_string()))
        .bind(seen.agent.as_deref().map(fit::agent))
        .bind(addresses_text(change.old))
        .bind(addresses_text(change.new))
}
