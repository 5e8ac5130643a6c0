//! What is known of a name: what it points to, when it last called, and what happened before.

use std::collections::HashMap;
use std::net::IpAddr;
use std::str::FromStr;

use sqlx::any::AnyRow;

use super::account_row::name;
use super::error::readable;
use super::session::{Purpose, at_most, number, optional_number, optional_text, statement, text};
use super::{Store, StoreError};
use crate::model::{Addresses, Hostname, RrData, RrKey, RrType, Timestamp};

pub(super) const BY_NAME: &str = "SELECT name, ipv4, ipv6, verified, last_update, last_seen, \
                                  last_outcome, agent, source FROM state WHERE name = $1";
pub(super) const BY_NAMES: &str = "SELECT name, ipv4, ipv6, verified, last_update, last_seen, last_outcome, \
                        agent, source FROM state WHERE name IN ({text})";
pub(super) const ADDRESSES: &str = "SELECT name, ipv4, ipv6 FROM state WHERE name IN ({text})";
const SETTLED: &str = "SELECT ipv4, ipv6, settled4, settled6 FROM state WHERE name = $1";
const HISTORY: &str = "SELECT at, outcome, source, agent, old, new FROM history WHERE name = $1 \
                       ORDER BY at DESC, id DESC LIMIT $2";
const TRIM: &str = "DELETE FROM history WHERE id IN (SELECT id FROM history WHERE at < $1 ORDER BY at LIMIT $2)";

/// What is known of a name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct State {
    /// What the primary last acknowledged.
    pub addresses: Addresses,
    /// When that was last heard.
    pub verified: Option<Timestamp>,
    /// When its address last changed.
    pub last_update: Option<Timestamp>,
    /// When its router last called.
    pub last_seen: Option<Timestamp>,
    /// What became of that call.
    pub last_outcome: Option<String>,
    /// The router's user agent then.
    pub agent: Option<String>,
    /// The router's address then.
    pub source: Option<IpAddr>,
}

/// A change in a name's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostEvent {
    pub at: Timestamp,
    pub outcome: String,
    /// The router's address.
    pub source: Option<IpAddr>,
    pub agent: Option<String>,
    pub old: Addresses,
    pub new: Addresses,
}

impl Store {
    /// What is known of `name`.
    pub async fn state(&self, name: &Hostname) -> Result<Option<State>, StoreError> {
        let row = self.row(statement(BY_NAME).bind(name.to_string())).await?;
        row.as_ref().map(|row| read(row).map(|(_, state)| state)).transpose()
    }

    /// What is known of each of `names`: one statement for a thousand of them.
    pub async fn states(&self, names: &[Hostname]) -> Result<Vec<(Hostname, State)>, StoreError> {
        Ok(self.of_names(BY_NAMES, names).await?.iter().filter_map(|row| readable(read(row))).collect())
    }

    /// What the primary last acknowledged of each of `names` that is known.
    pub(crate) async fn acknowledged(&self, names: &[Hostname]) -> Result<HashMap<Hostname, Addresses>, StoreError> {
        let held = |row: &AnyRow| {
            let name = name(row, 0)?;
            Ok((name.clone(), addresses(row, 1, &name)))
        };
        Ok(self.of_names(ADDRESSES, names).await?.iter().filter_map(|row| readable(held(row))).collect())
    }

    /// What the RRset was last said to hold, or nothing, where a request was answered for it that had been accepted after
    /// `accepted`, by our clock. Of addresses alone that is kept.
    pub async fn answered_since(&self, key: &RrKey, accepted: Timestamp) -> Result<Option<Option<RrData>>, StoreError> {
        let (address, settled) = match key.rtype {
            RrType::A => (0, 2),
            RrType::Aaaa => (1, 3),
            RrType::Txt | RrType::Ptr | RrType::Mx => return Ok(None),
        };
        let mut work = self.begin(Purpose::Snapshot).await?;
        let row = work.row(statement(SETTLED).bind(key.name.to_string())).await?;
        let clocks = work.clocks().await?;
        work.abandon().await?;
        let Some(row) = row else { return Ok(None) };
        if optional_number(&row, settled)?.is_none_or(|settled| settled <= clocks.by_theirs(accepted).0) {
            return Ok(None);
        }
        let data = |text: String| RrData::parse(key.rtype, &text).ok_or_else(|| unreadable("an address", &key.name));
        Ok(Some(optional_text(&row, address)?.filter(|text| !text.is_empty()).map(data).transpose()?))
    }

    /// The last `limit` changes of `name`, newest first.
    pub async fn history(&self, name: &Hostname, limit: usize) -> Result<Vec<HostEvent>, StoreError> {
        let page = statement(HISTORY).bind(name.to_string()).bind(at_most(limit));
        let event = |row: &AnyRow| {
            Ok(HostEvent {
                at: Timestamp(number(row, 0)?),
                outcome: text(row, 1)?,
                source: optional_text(row, 2)?.and_then(|source| source.parse().ok()),
                agent: optional_text(row, 3)?,
                old: parse_addresses(&text(row, 4)?),
                new: parse_addresses(&text(row, 5)?),
            })
        };
        Ok(self.rows(page).await?.iter().filter_map(|row| readable(event(row))).collect())
    }

    /// Forgets at most `at_most` of the changes before `before`; how many it were.
    pub async fn trim_history(&self, before: Timestamp, at_most: usize) -> Result<u64, StoreError> {
        let mut work = self.begin(Purpose::Recording).await?;
        let trimmed = work.run(statement(TRIM).bind(before.0).bind(super::session::at_most(at_most))).await?;
        work.commit().await?;
        Ok(trimmed)
    }
}

/// Addresses with a space between them.
pub(super) fn addresses_text(addresses: Addresses) -> String {
    addresses.iter().map(|address| address.to_string()).collect::<Vec<_>>().join(" ")
}

/// Reads what [`addresses_text`] writes, and passes over the rest.
pub(super) fn parse_addresses(text: &str) -> Addresses {
    text.split(' ').filter_map(|word| word.parse::<IpAddr>().ok()).collect()
}

/// Those of `name`, which stand at `column` and the next.
fn addresses(row: &AnyRow, column: usize, name: &Hostname) -> Addresses {
    // An empty text is known to be nothing, NULL is nothing known.
    let text = |column| Ok(optional_text(row, column)?.filter(|text| !text.is_empty()));
    Addresses { v4: known(text(column), name), v6: known(text(column + 1), name) }
}

/// What is seen of a name comes again: what cannot be read of it is told, and counts as not known.
fn known<T: FromStr>(text: Result<Option<String>, StoreError>, name: &Hostname) -> Option<T> {
    let parsed = text.and_then(|text| {
        let parsed = text.as_deref().map(T::from_str).transpose();
        parsed.map_err(|_| unreadable("what was seen", name))
    });
    readable(parsed.map_err(|_| unreadable("what was seen", name))).flatten()
}

fn unreadable(what: &str, name: &Hostname) -> StoreError {
    StoreError::Unreadable { what: format!("{what} of \"{name}\"") }
}

pub(super) fn read(row: &AnyRow) -> Result<(Hostname, State), StoreError> {
    let name = name(row, 0)?;
    let time = |column| {
        let read = optional_number(row, column).map_err(|_| unreadable("a time", &name));
        readable(read).flatten().map(Timestamp)
    };
    let text = |column| optional_text(row, column);
    let state = State {
        addresses: addresses(row, 1, &name),
        verified: time(3),
        last_update: time(4),
        last_seen: time(5),
        last_outcome: known(text(6), &name),
        agent: known(text(7), &name),
        source: known(text(8), &name),
    };
    Ok((name, state))
}
