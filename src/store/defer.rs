//! Wishes of requests that were told `911`: which of them are written, and which are over since another was answered.

use std::collections::{BTreeSet, HashMap};

use super::host::name;
use super::session::{Clocks, Purpose, ROWS, Work, at_most, optional_number, optional_text, statement};
use super::wanted::{INSERT, bind};
use super::{Millis, Store, StoreError, Wanted};
use crate::model::{Change, Hostname};

/// A family that was asked for before what stands for it stays as it is; so does a wish that records go: their host is
/// gone. `since` always grows, since it tells wishes apart.
const DEFER: &str = "ON CONFLICT (name) DO UPDATE SET \
    ipv4 = CASE WHEN {new4} THEN excluded.ipv4 ELSE wanted.ipv4 END, \
    ipv6 = CASE WHEN {new6} THEN excluded.ipv6 ELSE wanted.ipv6 END, \
    asked4 = CASE WHEN {new4} THEN excluded.asked4 ELSE wanted.asked4 END, \
    asked6 = CASE WHEN {new6} THEN excluded.asked6 ELSE wanted.asked6 END, \
    since = CASE WHEN excluded.since > wanted.since THEN excluded.since ELSE wanted.since + 1 END, \
    ttl = excluded.ttl, expires = excluded.expires, account = excluded.account, source = excluded.source, \
    agent = excluded.agent WHERE ({new4} OR {new6}) \
    AND COALESCE(wanted.ipv4, '-') <> '' AND COALESCE(wanted.ipv6, '-') <> '' RETURNING name";
/// What stands may have been found by the claim, and `since` is behind it then; else the moments in the store's clock
/// decide.
const NEW: [&str; 2] = [
    "(excluded.ipv4 IS NOT NULL AND (excluded.since > wanted.since OR excluded.asked4 > COALESCE(wanted.asked4, 0)))",
    "(excluded.ipv6 IS NOT NULL AND (excluded.since > wanted.since OR excluded.asked6 > COALESCE(wanted.asked6, 0)))",
];
const HOLDERS: &str = "SELECT name, holder4, holder6 FROM state WHERE name IN";
const STANDING: &str = "SELECT name, taker, asked4, asked6 FROM wanted WHERE name IN";
const SETTLED: &str = "SELECT wanted.name FROM wanted JOIN state ON state.name = wanted.name \
    WHERE wanted.source IS NOT NULL AND (settled4 > asked4 OR settled6 > asked6) ORDER BY wanted.name LIMIT $1";
const DROP: &str = "UPDATE wanted SET \
    ipv4 = CASE WHEN {over4} THEN NULL ELSE ipv4 END, asked4 = CASE WHEN {over4} THEN NULL ELSE asked4 END, \
    ipv6 = CASE WHEN {over6} THEN NULL ELSE ipv6 END, asked6 = CASE WHEN {over6} THEN NULL ELSE asked6 END \
    WHERE wanted.source IS NOT NULL AND name IN";
const OVER: [&str; 2] = [
    "EXISTS (SELECT 1 FROM state WHERE state.name = wanted.name AND settled4 > asked4)",
    "EXISTS (SELECT 1 FROM state WHERE state.name = wanted.name AND settled6 > asked6)",
];
const EMPTY: &str = "DELETE FROM wanted WHERE ipv4 IS NULL AND ipv6 IS NULL AND name IN";

/// What a request asked for that was told `911`, perhaps joined to what another asked for before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deferral {
    /// What it is.
    pub wish: Wanted,
    /// When each family was asked for, by our clock.
    pub asked: [Asked; 2],
}

/// A request for a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Asked {
    /// When it was accepted.
    pub at: Millis,
    /// Whether the family was claimed for it: then whoever claimed it since came later. Else only the moments tell.
    pub is_claimed: bool,
}

impl From<Wanted> for Deferral {
    /// Of a request that was accepted when the wish says, and claimed its name.
    fn from(wish: Wanted) -> Self {
        let asked = [Asked { at: wish.since, is_claimed: true }; 2];
        Self { wish, asked }
    }
}

impl Store {
    /// Keeps what requests asked for, each joined to an older one for its name; the names of which something was left
    /// out. With `holder`, that is a family that he claimed and does not hold any longer, for whoever claimed it since
    /// may have written it, unless he has the older wish in hand, for who has not writes nothing.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn defer(&self, deferrals: &[Deferral], holder: Option<&str>) -> Result<Vec<Hostname>, StoreError> {
        let mut deferrals = deferrals.to_vec();
        deferrals.sort_by(|a, b| a.wish.name.cmp(&b.wish.name));
        let mut left_out: BTreeSet<_> = deferrals.iter().map(|deferral| deferral.wish.name.clone()).collect();
        let mut work = self.begin(Purpose::Recording).await?;
        let clocks = work.clocks().await?;
        let mut cut = BTreeSet::new();
        if let Some(holder) = holder {
            work.leave_out(&mut deferrals, &mut cut, holder, clocks).await?;
        }
        let [new4, new6] = NEW;
        let after = DEFER.replace("{new4}", new4).replace("{new6}", new6);
        let bind =
            |query, Deferral { wish, asked }: &Deferral| bind(query, wish, asked.map(|asked| clocks.latest(asked.at)));
        for row in work.write_returning([INSERT, &after], 11, &deferrals, bind).await? {
            left_out.remove(&name(&row, 0)?);
        }
        work.commit().await?;
        left_out.append(&mut cut);
        Ok(left_out.into_iter().collect())
    }

    /// Drops the families of requests' wishes for which a later request was answered; the names.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn drop_settled(&self) -> Result<Vec<Hostname>, StoreError> {
        let mut all = Vec::new();
        loop {
            let rows = self.rows(statement(SETTLED).bind(at_most(ROWS))).await?;
            let names = rows.iter().map(|row| name(row, 0)).collect::<Result<Vec<_>, _>>()?;
            if names.is_empty() {
                return Ok(all);
            }
            let mut work = self.begin(Purpose::Recording).await?;
            work.lock(&names).await?;
            let [over4, over6] = OVER;
            work.of_names(&DROP.replace("{over4}", over4).replace("{over6}", over6), &names).await?;
            work.of_names(EMPTY, &names).await?;
            work.commit().await?;
            all.extend(names);
        }
    }
}

impl Work {
    /// Leaves out of `deferrals` what another gateway was told later, or may have been.
    async fn leave_out(
        &mut self,
        deferrals: &mut Vec<Deferral>,
        cut: &mut BTreeSet<Hostname>,
        holder: &str,
        clocks: Clocks,
    ) -> Result<(), StoreError> {
        let names: Vec<_> = deferrals.iter().map(|deferral| deferral.wish.name.clone()).collect();
        self.lock(&names).await?;
        let mut holders = HashMap::new();
        for row in self.of_names(HOLDERS, &names).await? {
            let is_ours = |column| Ok::<_, StoreError>(optional_text(&row, column)?.as_deref() == Some(holder));
            holders.insert(name(&row, 0)?, [is_ours(1)?, is_ours(2)?]);
        }
        let mut standing = HashMap::new();
        for row in self.of_names(STANDING, &names).await? {
            let in_hand = optional_text(&row, 1)?.as_deref() == Some(holder);
            let asked = [optional_number(&row, 2)?, optional_number(&row, 3)?];
            standing.insert(name(&row, 0)?, (in_hand, asked));
        }
        for Deferral { wish, asked } in &mut *deferrals {
            let is_ours = holders.get(&wish.name).copied().unwrap_or_default();
            let (in_hand, stands) = standing.get(&wish.name).copied().unwrap_or_default();
            let [v4, v6] = [0, 1].map(|family: usize| {
                let Asked { at, is_claimed } = asked[family];
                let is_newest = stands[family].is_none_or(|stands| stands <= clocks.latest(at).0);
                if is_claimed { is_ours[family] || in_hand } else { is_newest }
            });
            if wish.v4.is_made() && !v4 || wish.v6.is_made() && !v6 {
                cut.insert(wish.name.clone());
            }
            wish.v4 = if v4 { wish.v4 } else { Change::Leave };
            wish.v6 = if v6 { wish.v6 } else { Change::Leave };
        }
        deferrals.retain(|Deferral { wish, .. }| wish.v4.is_made() || wish.v6.is_made());
        Ok(())
    }
}
