//! What the zone shall hold and does not yet: written by commands, fulfilled by a gateway.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use sqlx::any::AnyRow;

use super::fit;
use super::host::name;
use super::session::{Purpose, Statement, Work, at_most, number, optional_number, optional_text, statement, text};
use super::{Millis, Store, StoreError, Subject};
use crate::model::{Change, Hostname};

pub(super) const BY_NAME: &str = "SELECT name, ipv4, ipv6, ttl, since, expires, account FROM wanted WHERE name = $1";
const PAGE: &str = "SELECT name, ipv4, ipv6, ttl, since, expires, account FROM wanted WHERE name > $1 \
                    ORDER BY name LIMIT $2";
/// A family that the newer wish leaves alone keeps the older one; `since` always grows, since it tells wishes apart.
const UPSERT: [&str; 2] = [
    "INSERT INTO wanted (name, ipv4, ipv6, ttl, since, expires, account)",
    "ON CONFLICT (name) DO UPDATE SET ipv4 = COALESCE(excluded.ipv4, wanted.ipv4), \
     ipv6 = COALESCE(excluded.ipv6, wanted.ipv6), ttl = excluded.ttl, \
     since = CASE WHEN excluded.since > wanted.since THEN excluded.since ELSE wanted.since + 1 END, \
     expires = excluded.expires, account = excluded.account",
];
const DELETE: &str = "DELETE FROM wanted WHERE name = $1";
/// NULL is nothing known.
const NOTE: [&str; 2] = [
    "INSERT INTO state (name, generation, ipv4, ipv6, verified)",
    "ON CONFLICT (name) DO UPDATE SET ipv4 = COALESCE(excluded.ipv4, state.ipv4), \
     ipv6 = COALESCE(excluded.ipv6, state.ipv6), verified = excluded.verified",
];
const FORGET_V4: &str = "UPDATE state SET ipv4 = NULL, verified = $2 WHERE name = $1";
const FORGET_V6: &str = "UPDATE state SET ipv6 = NULL, verified = $2 WHERE name = $1";

/// What the zone shall hold for a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The name.
    pub name: Hostname,
    /// Its A record.
    pub v4: Change<Ipv4Addr>,
    /// Its AAAA record.
    pub v6: Change<Ipv6Addr>,
    /// The records' TTL in seconds.
    pub ttl: u32,
    /// Since when; it tells this wish from a later one for the same name.
    pub since: Millis,
    /// From when on it is not worth fulfilling.
    pub expires: Option<Millis>,
    /// On whose behalf.
    pub account: String,
}

impl Wanted {
    /// The wish that `name` has no address any more.
    #[must_use]
    pub fn removal(name: Hostname, account: String, since: Millis) -> Self {
        Self { name, v4: Change::Remove, v6: Change::Remove, ttl: 0, since, expires: None, account }
    }
}

impl Store {
    /// Wishes, each joined to an older one for its name.
    ///
    /// # Errors
    /// [`StoreError::Unfit`]; or the store cannot be written.
    pub async fn want(&self, wishes: &[Wanted]) -> Result<(), StoreError> {
        let mut work = self.begin(Purpose::Administration).await?;
        work.want(wishes).await?;
        work.commit().await
    }

    /// At most `limit` wishes in the order of the names, those after `after`.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn wanted(&self, after: Option<&Hostname>, limit: usize) -> Result<Vec<Wanted>, StoreError> {
        let page = statement(PAGE).bind(after.map(ToString::to_string).unwrap_or_default()).bind(at_most(limit));
        self.rows(page).await?.iter().map(read).collect()
    }

    /// The wish for `name`.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn wanted_of(&self, name: &Hostname) -> Result<Option<Wanted>, StoreError> {
        let row = self.row(statement(BY_NAME).bind(name.to_string())).await?;
        row.as_ref().map(read).transpose()
    }

    /// Takes back the wish of `since`, since the zone holds it now, and notes that as verified. `false` where there is a newer
    /// one, which stays, or none.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn fulfilled(&self, name: &Hostname, since: Millis) -> Result<bool, StoreError> {
        let mut work = self.begin(Purpose::Administration).await?;
        let row = work.row(statement(BY_NAME).bind(name.to_string())).await?;
        let Some(wish) = row.as_ref().map(read).transpose()?.filter(|wish| wish.since == since) else {
            work.abandon().await?;
            return Ok(false);
        };
        work.unwant(name).await?;
        work.note(&wish).await?;
        work.commit().await?;
        Ok(true)
    }
}

impl Work {
    pub(super) async fn want(&mut self, wishes: &[Wanted]) -> Result<(), StoreError> {
        for wish in wishes {
            fit::ttl(wish.ttl)?;
            fit::login(&wish.account)?;
        }
        // One statement may touch each name once: further wishes for it follow in the next round.
        let mut wishes: Vec<_> = wishes.iter().collect();
        while !wishes.is_empty() {
            let mut round = std::collections::BTreeMap::new();
            let mut later = Vec::new();
            for wish in wishes {
                match round.entry(&wish.name) {
                    std::collections::btree_map::Entry::Vacant(place) => {
                        place.insert(wish);
                    }
                    std::collections::btree_map::Entry::Occupied(_) => later.push(wish),
                }
            }
            let round: Vec<_> = round.into_values().collect();
            self.write(UPSERT, 7, &round, |query, wish| bind(query, wish)).await?;
            round.iter().for_each(|wish| self.changed(Subject::Wanted(wish.name.clone())));
            wishes = later;
        }
        Ok(())
    }

    /// Takes back whatever is wished for `name`.
    pub(super) async fn unwant(&mut self, name: &Hostname) -> Result<(), StoreError> {
        if self.run(statement(DELETE).bind(name.to_string())).await? > 0 {
            self.changed(Subject::Wanted(name.clone()));
        }
        Ok(())
    }

    /// The zone holds what was wished. A name whose state is gone, as its host is, gets none for a removal.
    async fn note(&mut self, wish: &Wanted) -> Result<(), StoreError> {
        let now = Millis::now();
        let (v4, v6) = (held(&wish.v4), held(&wish.v6));
        if v4.is_some() || v6.is_some() {
            self.write(NOTE, 5, &[(v4, v6)], |query, (v4, v6)| {
                query.bind(wish.name.to_string()).bind(0_i64).bind(v4.clone()).bind(v6.clone()).bind(now.0)
            })
            .await?;
        }
        if wish.v4 == Change::Remove {
            self.run(statement(FORGET_V4).bind(wish.name.to_string()).bind(now.0)).await?;
        }
        if wish.v6 == Change::Remove {
            self.run(statement(FORGET_V6).bind(wish.name.to_string()).bind(now.0)).await?;
        }
        Ok(())
    }
}

fn held<A: ToString>(wish: &Change<A>) -> Option<String> {
    match wish {
        Change::Leave | Change::Remove => None,
        Change::Set(address) => Some(address.to_string()),
    }
}

fn wish_text<A: ToString>(wish: &Change<A>) -> Option<String> {
    match wish {
        Change::Leave => None,
        Change::Remove => Some(String::new()),
        Change::Set(address) => Some(address.to_string()),
    }
}

fn parse_wish<A: FromStr>(text: Option<String>) -> Result<Change<A>, A::Err> {
    match text.as_deref() {
        None => Ok(Change::Leave),
        Some("") => Ok(Change::Remove),
        Some(text) => text.parse().map(Change::Set),
    }
}

fn bind(query: Statement, wish: &Wanted) -> Statement {
    query
        .bind(wish.name.to_string())
        .bind(wish_text(&wish.v4))
        .bind(wish_text(&wish.v6))
        .bind(i64::from(wish.ttl))
        .bind(wish.since.0)
        .bind(wish.expires.map(|expires| expires.0))
        .bind(wish.account.clone())
}

fn read(row: &AnyRow) -> Result<Wanted, StoreError> {
    let name = name(row, 0)?;
    let broken = || StoreError::broken(format!("the wish for \"{name}\" cannot be read"));
    Ok(Wanted {
        v4: parse_wish(optional_text(row, 1)?).map_err(|_| broken())?,
        v6: parse_wish(optional_text(row, 2)?).map_err(|_| broken())?,
        ttl: u32::try_from(number(row, 3)?).map_err(|_| broken())?,
        since: Millis(number(row, 4)?),
        expires: optional_number(row, 5)?.map(Millis),
        account: text(row, 6)?,
        name,
    })
}
