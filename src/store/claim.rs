//! Claims: which gateway writes a name, and which one runs the wish for it, where several are on one store.

use std::collections::{BTreeMap, HashMap, HashSet};

use sqlx::any::AnyRow;

use super::host::name;
use super::session::{Purpose, Statement, Work, number, statement};
use super::{Deferral, Store, StoreError};
use crate::model::{Families, Family, Hostname, Timestamp};

const CLAIM: [&str; 2] = [
    "INSERT INTO state (name, holder, generation, holder4, holder6)",
    "ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, \
     generation = state.generation + CASE WHEN state.holder = excluded.holder THEN 0 ELSE 1 END, \
     holder4 = COALESCE(excluded.holder4, state.holder4), holder6 = COALESCE(excluded.holder6, state.holder6) \
     WHERE state.holder IS NULL OR state.holder <> excluded.holder OR excluded.holder4 <> COALESCE(state.holder4, '') \
     OR excluded.holder6 <> COALESCE(state.holder6, '') RETURNING name",
];
const TAKE: &str = "UPDATE wanted SET taker = ?, taken = ? WHERE (taker IS NULL OR taker = ? OR taken < ?) AND name IN";
const RELEASE: &str = "UPDATE wanted SET taker = NULL, taken = NULL WHERE taker = ? AND taken < ? AND name IN";
const IN_HAND: &str = "SELECT name FROM wanted WHERE taker = $1";
const WISHES: &str = "SELECT name, since FROM wanted WHERE name IN";

/// What a claim found.
#[derive(Debug, Clone, Default)]
pub struct Claimed {
    /// The wishes that stand for the claimed names.
    pub wishes: HashMap<Hostname, Standing>,
    /// The names that the claimer did not hold before with these families: what he remembers of them may have been
    /// replaced.
    pub taken: HashSet<Hostname>,
}

/// The wishes that a gateway took.
#[derive(Debug, Clone, Default)]
pub struct InHand {
    /// As they stand now.
    pub wishes: Vec<Deferral>,
    /// The names that it did not hold before, as [`Claimed::taken`] says.
    pub taken: HashSet<Hostname>,
}

/// A wish that stands for a name that was claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Since when: which wish it is.
    pub since: Timestamp,
    /// Whether it is the claimer's to run or to replace; else another has it in hand.
    pub is_ours: bool,
}

impl Store {
    /// Makes `holder` the one who writes these families of these names. The generation of each name that somebody else
    /// held, or nobody, grows by one. What is wished for them is his until `until`, unless another took it and his time
    /// is not over.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn claim(
        &self,
        names: &[(Hostname, Families)],
        holder: &str,
        until: Timestamp,
    ) -> Result<Claimed, StoreError> {
        let together = together(names);
        if together.is_empty() {
            return Ok(Claimed::default());
        }
        let mut work = self.begin(Purpose::Recording).await?;
        let taken = work.hold(&together, holder).await?;
        let names: Vec<_> = together.into_keys().collect();
        let mut wishes = work.standing(&names).await?;
        if !wishes.is_empty() {
            let names: Vec<_> = wishes.keys().cloned().collect();
            for name in work.take(&names, holder, until).await? {
                wishes.entry(name).and_modify(|standing| standing.is_ours = true);
            }
        }
        work.commit().await?;
        Ok(Claimed { wishes, taken })
    }

    /// Takes what is wished for `names` until `until`, but what another has in hand, and makes `holder` the one who wrote
    /// those names last. Not their families: what another was told since the wish was made is newer, and may be deferred.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn claim_wishes(&self, names: &[Hostname], holder: &str, until: Timestamp) -> Result<InHand, StoreError> {
        if names.is_empty() {
            return Ok(InHand::default());
        }
        let mut work = self.begin(Purpose::Recording).await?;
        work.lock(names).await?;
        let ours = work.take(names, holder, until).await?;
        let wishes = work.wanted_of(&ours.into_iter().collect::<Vec<_>>()).await?;
        let no_family = |deferral: &Deferral| (deferral.wish.name.clone(), [false; 2]);
        let taken = work.hold(&wishes.iter().map(no_family).collect(), holder).await?;
        work.commit().await?;
        Ok(InHand { wishes, taken })
    }

    /// Lets others run what is wished for `names`, but what was claimed until `before` or later.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn release(&self, names: &[Hostname], holder: &str, before: Timestamp) -> Result<(), StoreError> {
        let mut work = self.begin(Purpose::Recording).await?;
        let before = work.clocks().await?.safe_end(before);
        work.lock(names).await?;
        let release = |query: Statement| query.bind(holder.to_owned()).bind(before.0);
        work.listed([RELEASE, ""], release, names).await?;
        work.commit().await
    }

    /// Lets others run all that `holder` has in hand: he goes.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn release_all(&self, holder: &str) -> Result<(), StoreError> {
        let rows = self.rows(statement(IN_HAND).bind(holder.to_owned())).await?;
        let names = rows.iter().map(|row| name(row, 0)).collect::<Result<Vec<_>, _>>()?;
        if names.is_empty() {
            return Ok(());
        }
        self.release(&names, holder, Timestamp(i64::MAX)).await
    }
}

/// Each name once, with all its families; in one order, so that two who claim the same names never wait for each other.
fn together(names: &[(Hostname, Families)]) -> BTreeMap<Hostname, [bool; 2]> {
    let mut together: BTreeMap<Hostname, [bool; 2]> = BTreeMap::new();
    for (name, families) in names {
        let [v4, v6] = together.entry(name.clone()).or_default();
        *v4 |= families.allow(Family::V4);
        *v6 |= families.allow(Family::V6);
    }
    together
}

impl Work {
    /// Makes `holder` the one who writes these; the names that he did not hold before. Locks the rows of all of them, so
    /// that of two who claim one name the second sees what the first took.
    async fn hold(
        &mut self,
        names: &BTreeMap<Hostname, [bool; 2]>,
        holder: &str,
    ) -> Result<HashSet<Hostname>, StoreError> {
        let rows: Vec<_> = names.iter().collect();
        let bind = |query: Statement, (name, [v4, v6]): &(&Hostname, &[bool; 2])| {
            let query = query.bind(name.to_string()).bind(holder.to_owned()).bind(1_i64);
            query.bind(v4.then(|| holder.to_owned())).bind(v6.then(|| holder.to_owned()))
        };
        let taken = self.write_returning(CLAIM, 5, &rows, bind).await?;
        taken.iter().map(|row| name(row, 0)).collect()
    }

    /// The wishes that stand for `names`, nobody's yet.
    async fn standing(&mut self, names: &[Hostname]) -> Result<HashMap<Hostname, Standing>, StoreError> {
        let standing =
            |row: &AnyRow| Ok((name(row, 0)?, Standing { since: Timestamp(number(row, 1)?), is_ours: false }));
        self.of_names(WISHES, names).await?.iter().map(standing).collect()
    }

    /// Takes the wishes for `names` that are nobody's, or his, or another's whose time is over, until `until`; the names.
    pub(super) async fn take(
        &mut self,
        names: &[Hostname],
        holder: &str,
        until: Timestamp,
    ) -> Result<HashSet<Hostname>, StoreError> {
        let clocks = self.clocks().await?;
        let take = |query: Statement| {
            let query = query.bind(holder.to_owned()).bind(clocks.end(until).0);
            query.bind(holder.to_owned()).bind(clocks.theirs.0)
        };
        let taken = self.listed([TAKE, "RETURNING name"], take, names).await?;
        taken.iter().map(|row| name(row, 0)).collect()
    }
}
