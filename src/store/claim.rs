//! Claims: which gateway writes a name, and which one runs the wish for it, where several are on one store.

use std::collections::{BTreeMap, HashMap, HashSet};

use sqlx::any::AnyRow;

use super::host::name;
use super::session::{Purpose, Statement, number, optional_text};
use super::{Millis, Store, StoreError};
use crate::model::{Families, Family, Hostname};

const CLAIM: [&str; 2] = [
    "INSERT INTO state (name, holder, generation, holder4, holder6)",
    "ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, \
     generation = state.generation + CASE WHEN state.holder = excluded.holder THEN 0 ELSE 1 END, \
     holder4 = COALESCE(excluded.holder4, state.holder4), holder6 = COALESCE(excluded.holder6, state.holder6) \
     WHERE state.holder IS NULL OR state.holder <> excluded.holder OR excluded.holder4 <> COALESCE(state.holder4, '') \
     OR excluded.holder6 <> COALESCE(state.holder6, '') RETURNING name",
];
/// Of those that another took, the ones whose time is over.
const TAKE: &str = "UPDATE wanted SET taker = ?, taken = ? WHERE (taker IS NULL OR taker = ? OR taken < ?) AND name IN";
const RELEASE: &str = "UPDATE wanted SET taker = NULL, taken = NULL WHERE taker = ? AND taken < ? AND name IN";
const WISHES: &str = "SELECT name, since, taker FROM wanted WHERE name IN";

/// What a claim found.
#[derive(Debug, Clone, Default)]
pub struct Claimed {
    /// The wishes that stand for the claimed names.
    pub wishes: HashMap<Hostname, Standing>,
    /// The names that the claimer did not hold before with these families: what he remembers of them may have been
    /// replaced.
    pub taken: HashSet<Hostname>,
}

/// A wish that stands for a name that was claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Since when: which wish it is.
    pub since: Millis,
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
        until: Millis,
    ) -> Result<Claimed, StoreError> {
        // In one order, so that two who claim the same names never wait for each other.
        let mut together: BTreeMap<&str, [bool; 2]> = BTreeMap::new();
        for (name, families) in names {
            let [v4, v6] = together.entry(name.as_str()).or_default();
            *v4 |= families.allow(Family::V4);
            *v6 |= families.allow(Family::V6);
        }
        let rows: Vec<_> = together.into_iter().collect();
        let names: Vec<_> = rows.iter().map(|(name, _)| *name).collect();
        let mut claimed = Claimed::default();
        if names.is_empty() {
            return Ok(claimed);
        }
        let mut work = self.begin(Purpose::Recording).await?;
        // Locks the rows of all of them, so that of two who claim one name the second sees what the first took.
        let bind = |query: Statement, (name, [v4, v6]): &(&str, [bool; 2])| {
            let query = query.bind((*name).to_owned()).bind(holder.to_owned()).bind(1_i64);
            query.bind(v4.then(|| holder.to_owned())).bind(v6.then(|| holder.to_owned()))
        };
        for row in work.write_returning(CLAIM, 5, &rows, bind).await? {
            claimed.taken.insert(name(&row, 0)?);
        }
        let rows = work.listed([WISHES, ""], |wishes| wishes, &names).await?;
        if !rows.is_empty() {
            let clocks = work.clocks().await?;
            let take = |query: Statement| {
                let query = query.bind(holder.to_owned()).bind(clocks.end(until).0);
                query.bind(holder.to_owned()).bind(clocks.theirs.0)
            };
            let taken = work.listed([TAKE, "RETURNING name"], take, &names).await?;
            let taken = taken.iter().map(|row| name(row, 0)).collect::<Result<HashSet<_>, _>>()?;
            for row in &rows {
                let name = name(row, 0)?;
                let is_ours = taken.contains(&name) || optional_text(row, 2)?.as_deref() == Some(holder);
                claimed.wishes.insert(name, Standing { since: Millis(number(row, 1)?), is_ours });
            }
        }
        work.commit().await?;
        Ok(claimed)
    }

    /// The wishes that stand for `names`, in a store of one gateway alone.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn standing(&self, names: &[Hostname]) -> Result<HashMap<Hostname, Standing>, StoreError> {
        let rows = self.of_names(WISHES, names).await?;
        let standing = |row: &AnyRow| Ok((name(row, 0)?, Standing { since: Millis(number(row, 1)?), is_ours: true }));
        rows.iter().map(standing).collect()
    }

    /// Lets others run what is wished for `names`, but what was claimed until `before` or later.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn release(&self, names: &[Hostname], holder: &str, before: Millis) -> Result<(), StoreError> {
        let mut names: Vec<_> = names.iter().map(Hostname::as_str).collect();
        names.sort_unstable();
        let mut work = self.begin(Purpose::Recording).await?;
        let before = work.clocks().await?.safe_end(before);
        let release = |query: Statement| query.bind(holder.to_owned()).bind(before.0);
        work.listed([RELEASE, ""], release, &names).await?;
        work.commit().await
    }
}
