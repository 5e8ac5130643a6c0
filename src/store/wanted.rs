//! What the zone shall hold and does not yet: written by commands, and by gateways for requests that the primary kept from
//! being answered; fulfilled by a gateway.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use sqlx::any::AnyRow;

use super::fit;
use super::host::name;
use super::session::{
    Clocks, Purpose, Software, Statement, Work, at_most, number, optional_number, optional_text, statement, text,
};
use super::state::{self, addresses_text};
use super::{Asked, Deferral, State, Store, StoreError, Subject};
use crate::model::{Addresses, Change, Hostname, Timestamp};

pub(super) const BY_NAME: &str = "SELECT name, ipv4, ipv6, ttl, since, expires, account, source, agent FROM wanted \
                                  WHERE name = $1";
const BY_NAMES: &str = "SELECT name, ipv4, ipv6, ttl, since, expires, account, source, agent, asked4, asked6 FROM wanted \
                        WHERE name IN";
const PAGE: &str = "SELECT name, ipv4, ipv6, ttl, since, expires, account, source, agent, asked4, asked6 FROM wanted \
                    WHERE name > $1 ORDER BY name LIMIT $2";
/// What a wish is written with.
pub(super) const INSERT: &str =
    "INSERT INTO wanted (name, ipv4, ipv6, ttl, since, expires, account, source, agent, asked4, asked6)";
/// A family that the newer wish leaves alone keeps the older one; `since` always grows, since it tells wishes apart.
const UPSERT: [&str; 2] = [
    INSERT,
    "ON CONFLICT (name) DO UPDATE SET ipv4 = COALESCE(excluded.ipv4, wanted.ipv4), \
     ipv6 = COALESCE(excluded.ipv6, wanted.ipv6), ttl = excluded.ttl, \
     since = CASE WHEN excluded.since > wanted.since THEN excluded.since ELSE wanted.since + 1 END, \
     expires = excluded.expires, account = excluded.account, source = excluded.source, agent = excluded.agent, \
     asked4 = COALESCE(excluded.asked4, wanted.asked4), asked6 = COALESCE(excluded.asked6, wanted.asked6)",
];
/// Changes nothing, and keeps others from claiming these names until the transaction ends.
/// An older wish that comes to the store later is not to be run.
const SETTLE: &str = "UPDATE state SET settled4 = COALESCE((SELECT asked4 FROM wanted \
    WHERE wanted.name = state.name AND asked4 > COALESCE(settled4, 0)), settled4), \
    settled6 = COALESCE((SELECT asked6 FROM wanted \
    WHERE wanted.name = state.name AND asked6 > COALESCE(settled6, 0)), settled6) WHERE name IN";
const LEAVE_OUT: &str = "UPDATE wanted SET \
    ipv4 = CASE WHEN $1 > 0 AND (since <= $3 OR asked4 <= $4) THEN NULL ELSE ipv4 END, \
    asked4 = CASE WHEN $1 > 0 AND (since <= $3 OR asked4 <= $4) THEN NULL ELSE asked4 END, \
    ipv6 = CASE WHEN $2 > 0 AND (since <= $3 OR asked6 <= $4) THEN NULL ELSE ipv6 END, \
    asked6 = CASE WHEN $2 > 0 AND (since <= $3 OR asked6 <= $4) THEN NULL ELSE asked6 END WHERE name = $5";
const EMPTY: &str = "DELETE FROM wanted WHERE name = $1 AND ipv4 IS NULL AND ipv6 IS NULL";
const DELETE: &str = "DELETE FROM wanted WHERE name = $1";
const LOCK: [&str; 2] = ["SELECT name FROM state WHERE name IN", "ORDER BY name FOR UPDATE"];
/// NULL is nothing known.
const NOTE: [&str; 2] = [
    "INSERT INTO state (name, generation, ipv4, ipv6, verified, last_update)",
    "ON CONFLICT (name) DO UPDATE SET ipv4 = COALESCE(excluded.ipv4, state.ipv4), \
     ipv6 = COALESCE(excluded.ipv6, state.ipv6), verified = excluded.verified, last_update = excluded.last_update",
];
const FORGET_V4: &str = "UPDATE state SET ipv4 = NULL, verified = $2, last_update = $2 WHERE name = $1";
const FORGET_V6: &str = "UPDATE state SET ipv6 = NULL, verified = $2, last_update = $2 WHERE name = $1";
const HISTORY: [&str; 2] = ["INSERT INTO history (name, at, outcome, source, agent, old, new)", ""];

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
    pub since: Timestamp,
    /// From when on it is not worth fulfilling.
    pub expires: Option<Timestamp>,
    /// On whose behalf.
    pub account: String,
    /// Where the request came from whose address it is; `None` where a command wants it.
    pub source: Option<IpAddr>,
    /// What its client calls itself.
    pub agent: Option<String>,
}

/// What of a wish is not wanted any longer: those families, of wishes not newer than `until`, or asked for before `asked`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unwanted {
    /// The name.
    pub name: Hostname,
    /// The `since` of the newest that goes.
    pub until: Timestamp,
    /// When the request was accepted after which it is not, by our clock: a wish that another gateway joined it to since
    /// has a later `since`.
    pub asked: Option<Timestamp>,
    /// Whether its A record is not.
    pub v4: bool,
    /// Whether its AAAA record is not.
    pub v6: bool,
}

impl Unwanted {
    /// The whole wish.
    #[must_use]
    pub fn all(name: Hostname, until: Timestamp) -> Self {
        Self { name, until, asked: None, v4: true, v6: true }
    }
}

impl Wanted {
    /// The wish that `name` has no address any more.
    #[must_use]
    pub fn removal(name: Hostname, account: String, since: Timestamp) -> Self {
        Self {
            name,
            v4: Change::Remove,
            v6: Change::Remove,
            ttl: 0,
            since,
            expires: None,
            account,
            source: None,
            agent: None,
        }
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
    pub async fn wanted(&self, after: Option<&Hostname>, limit: usize) -> Result<Vec<Deferral>, StoreError> {
        let page = statement(PAGE).bind(after.map(ToString::to_string).unwrap_or_default()).bind(at_most(limit));
        let mut work = self.begin(Purpose::Snapshot).await?;
        let rows = work.rows(page).await?;
        let clocks = work.clocks().await?;
        work.abandon().await?;
        rows.iter().map(|row| read_asked(row, clocks)).collect()
    }

    /// The wish for `name`.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn wanted_of(&self, name: &Hostname) -> Result<Option<Wanted>, StoreError> {
        let row = self.row(statement(BY_NAME).bind(name.to_string())).await?;
        row.as_ref().map(read).transpose()
    }

    /// The wishes for `names`.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn wanted_of_all(&self, names: &[Hostname]) -> Result<Vec<Deferral>, StoreError> {
        let mut work = self.begin(Purpose::Snapshot).await?;
        let wishes = work.wanted_of(names).await?;
        work.abandon().await?;
        Ok(wishes)
    }

    /// Takes back the wish of `since`, since the zone holds it now, and notes that as verified. `false` where there is a newer
    /// one, which stays, or none.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn fulfilled(&self, name: &Hostname, since: Timestamp) -> Result<bool, StoreError> {
        Ok(self.fulfilled_all(&[(name.clone(), since)]).await? > 0)
    }

    /// The same for several, in one transaction; how many it were.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn fulfilled_all(&self, wishes: &[(Hostname, Timestamp)]) -> Result<usize, StoreError> {
        let since: HashMap<_, _> = wishes.iter().map(|(name, since)| (name, *since)).collect();
        let names: Vec<_> = wishes.iter().map(|(name, _)| name.clone()).collect();
        let mut work = self.begin(Purpose::Administration).await?;
        // In the order of a claim, so that the two never wait for each other.
        work.lock(&names).await?;
        let rows = work.of_names(BY_NAMES, &names).await?;
        let mut wishes = rows.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        wishes.retain(|wish| since.get(&wish.name) == Some(&wish.since));
        if wishes.is_empty() {
            work.abandon().await?;
            return Ok(0);
        }
        let names: Vec<_> = wishes.iter().map(|wish| wish.name.clone()).collect();
        work.of_names(SETTLE, &names).await?;
        for wish in &wishes {
            work.run(statement(DELETE).bind(wish.name.to_string())).await?;
            if wish.source.is_none() {
                work.changed(Subject::Wanted(wish.name.clone()));
            }
        }
        work.note(&wishes).await?;
        work.commit().await?;
        Ok(wishes.len())
    }

    /// Forgets what is not wanted any longer.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn unwant(&self, unwanted: &[Unwanted]) -> Result<(), StoreError> {
        let mut unwanted: Vec<_> = unwanted.iter().collect();
        unwanted.sort_by(|a, b| a.name.cmp(&b.name));
        let mut work = self.begin(Purpose::Administration).await?;
        let clocks = work.clocks().await?;
        for Unwanted { name, until, asked, v4, v6 } in unwanted {
            let asked = asked.map_or(Timestamp(i64::MIN), |asked| clocks.earliest(asked));
            let left = statement(LEAVE_OUT).bind(i64::from(*v4)).bind(i64::from(*v6)).bind(until.0).bind(asked.0);
            work.run(left.bind(name.to_string())).await?;
            work.run(statement(EMPTY).bind(name.to_string())).await?;
        }
        work.commit().await
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
            let now = self.clocks().await?.theirs;
            self.write(UPSERT, 11, &round, |query, wish| bind(query, wish, [now; 2])).await?;
            round.iter().for_each(|wish| self.changed(Subject::Wanted(wish.name.clone())));
            wishes = later;
        }
        Ok(())
    }

    /// The zone holds what was wished. A name whose state is gone, as its host is, gets none for a removal.
    async fn note(&mut self, wishes: &[Wanted]) -> Result<(), StoreError> {
        let now = Timestamp::now();
        let names: Vec<_> = wishes.iter().map(|wish| wish.name.clone()).collect();
        let rows = self.of_names(state::BY_NAMES, &names).await?;
        let states = rows.iter().map(state::read).collect::<Result<HashMap<Hostname, State>, _>>()?;
        let sets = |wish: &&Wanted| wish.v4.set().is_some() || wish.v6.set().is_some();
        let setting: Vec<_> = wishes.iter().filter(sets).collect();
        self.write(NOTE, 6, &setting, |query, wish| {
            let query = query.bind(wish.name.to_string()).bind(0_i64).bind(held(&wish.v4)).bind(held(&wish.v6));
            query.bind(now.0).bind(now.0)
        })
        .await?;
        for wish in wishes {
            for (is_gone, forget) in [(wish.v4 == Change::Remove, FORGET_V4), (wish.v6 == Change::Remove, FORGET_V6)] {
                if is_gone {
                    self.run(statement(forget).bind(wish.name.to_string()).bind(now.0)).await?;
                }
            }
        }
        // Of a host that is gone, a claim alone may have left a row.
        let is_known = |state: &State| !state.addresses.is_empty();
        let known: Vec<_> =
            wishes.iter().filter(|wish| sets(wish) || states.get(&wish.name).is_some_and(is_known)).collect();
        self.write(HISTORY, 7, &known, |query, wish| {
            let old = states.get(&wish.name).map(|state| state.addresses).unwrap_or_default();
            let new = Addresses { v4: becomes(wish.v4, old.v4), v6: becomes(wish.v6, old.v6) };
            let query = query.bind(wish.name.to_string()).bind(now.0).bind("changed".to_owned());
            let query = query.bind(wish.source.map(|source| source.to_string()));
            query.bind(wish.agent.as_deref().map(fit::agent)).bind(addresses_text(old)).bind(addresses_text(new))
        })
        .await
    }

    /// The wishes for `names`.
    pub(super) async fn wanted_of(&mut self, names: &[Hostname]) -> Result<Vec<Deferral>, StoreError> {
        let rows = self.of_names(BY_NAMES, names).await?;
        let clocks = self.clocks().await?;
        rows.iter().map(|row| read_asked(row, clocks)).collect()
    }

    /// Keeps others from claiming these names until the transaction ends; in the order of a claim.
    pub(super) async fn lock(&mut self, names: &[Hostname]) -> Result<(), StoreError> {
        match self.software() {
            // It has one writer.
            Software::Sqlite => Ok(()),
            Software::Postgres => self.listed(LOCK, |lock| lock, names).await.map(drop),
        }
    }
}

fn becomes<A>(change: Change<A>, old: Option<A>) -> Option<A> {
    match change {
        Change::Leave => old,
        Change::Remove => None,
        Change::Set(address) => Some(address),
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

/// Binds a row of [`INSERT`]; `asked` is by the store's clock.
pub(super) fn bind(query: Statement, wish: &Wanted, asked: [Timestamp; 2]) -> Statement {
    let [v4, v6] = asked.map(|at| at.0);
    query
        .bind(wish.name.to_string())
        .bind(wish_text(&wish.v4))
        .bind(wish_text(&wish.v6))
        .bind(i64::from(wish.ttl))
        .bind(wish.since.0)
        .bind(wish.expires.map(|expires| expires.0))
        .bind(wish.account.clone())
        .bind(wish.source.map(|source| source.to_string()))
        .bind(wish.agent.as_deref().map(fit::agent))
        .bind(wish.v4.is_made().then_some(v4))
        .bind(wish.v6.is_made().then_some(v6))
}

/// A wish, and when it was asked for by our clock, at the earliest.
fn read_asked(row: &AnyRow, clocks: Clocks) -> Result<Deferral, StoreError> {
    let asked = |column| {
        let at = optional_number(row, column)?.map(Timestamp).map(|at| clocks.ours(at)).unwrap_or_default();
        Ok::<_, StoreError>(Asked { at, claimed: None })
    };
    Ok(Deferral { wish: read(row)?, asked: [asked(9)?, asked(10)?] })
}

fn read(row: &AnyRow) -> Result<Wanted, StoreError> {
    let name = name(row, 0)?;
    let broken = || StoreError::broken(format!("the wish for \"{name}\" cannot be read"));
    Ok(Wanted {
        v4: parse_wish(optional_text(row, 1)?).map_err(|_| broken())?,
        v6: parse_wish(optional_text(row, 2)?).map_err(|_| broken())?,
        ttl: u32::try_from(number(row, 3)?).map_err(|_| broken())?,
        since: Timestamp(number(row, 4)?),
        expires: optional_number(row, 5)?.map(Timestamp),
        account: text(row, 6)?,
        source: optional_text(row, 7)?.map(|text| text.parse()).transpose().map_err(|_| broken())?,
        agent: optional_text(row, 8)?,
        name,
    })
}
