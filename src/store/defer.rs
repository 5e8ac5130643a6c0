//! Wishes of requests that were told `911`: which of them are written, and which are over since another was answered.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::host::name;
use super::session::{
    Clocks, Purpose, ROWS, Statement, Work, at_most, number, optional_number, optional_text, statement,
};
use super::wanted::{INSERT, bind};
use super::{Store, StoreError, Subject, Wanted};
use crate::model::{Change, Hostname, Timestamp};

/// A wish that records go stays as it is: their host is gone. `since` always grows, since it tells wishes apart.
const DEFER: [&str; 2] = [
    INSERT,
    "ON CONFLICT (name) DO UPDATE SET ipv4 = COALESCE(excluded.ipv4, wanted.ipv4), \
     ipv6 = COALESCE(excluded.ipv6, wanted.ipv6), \
     asked4 = COALESCE(excluded.asked4, wanted.asked4), asked6 = COALESCE(excluded.asked6, wanted.asked6), \
     since = CASE WHEN excluded.since > wanted.since THEN excluded.since ELSE wanted.since + 1 END, \
     ttl = excluded.ttl, expires = excluded.expires, account = excluded.account, source = excluded.source, \
     agent = excluded.agent \
     WHERE COALESCE(wanted.ipv4, '-') <> '' AND COALESCE(wanted.ipv6, '-') <> '' RETURNING name",
];
const HOLDERS: &str = "SELECT name, holder4, holder6 FROM state WHERE name IN";
const STANDING: &str = "SELECT name, since, taker, asked4, asked6 FROM wanted WHERE name IN";
/// Of a moment that is yet to come, the store's clock was set back since: nobody knows what came after it.
const SETTLED: &str = "SELECT wanted.name, wanted.source FROM wanted JOIN state ON state.name = wanted.name \
    WHERE (settled4 > asked4 AND settled4 <= $1) OR (settled6 > asked6 AND settled6 <= $1) ORDER BY wanted.name LIMIT $2";
const DROP: &str = "UPDATE wanted SET \
    ipv4 = CASE WHEN settled4 > asked4 AND settled4 <= ? THEN NULL ELSE wanted.ipv4 END, \
    asked4 = CASE WHEN settled4 > asked4 AND settled4 <= ? THEN NULL ELSE asked4 END, \
    ipv6 = CASE WHEN settled6 > asked6 AND settled6 <= ? THEN NULL ELSE wanted.ipv6 END, \
    asked6 = CASE WHEN settled6 > asked6 AND settled6 <= ? THEN NULL ELSE asked6 END \
    FROM state WHERE state.name = wanted.name AND wanted.name IN";
const EMPTY: &str = "DELETE FROM wanted WHERE ipv4 IS NULL AND ipv6 IS NULL AND name IN";

/// A wish, perhaps joined of what several requests asked for that were told `911`.
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
    pub at: Timestamp,
    /// Where the family was claimed for it, the `since` of the wish that stood then, or 0: that one came before, and
    /// whoever claimed the family since came later. Else only the moments tell.
    pub claimed: Option<Timestamp>,
}

impl From<Wanted> for Deferral {
    /// Of a request that was accepted when the wish says, and claimed its name.
    fn from(wish: Wanted) -> Self {
        let asked = [Asked { at: wish.since, claimed: Some(Timestamp(0)) }; 2];
        Self { wish, asked }
    }
}

/// What stands for a name, to whoever defers a change of it.
#[derive(Debug, Default)]
struct Stands {
    // Nobody else is on the store: `since` tells which came first, whatever becomes of the clock.
    is_alone: bool,
    // Who wrote each family last is he who defers.
    is_ours: [bool; 2],
    // So is he who has the wish in hand.
    in_hand: bool,
    since: Option<Timestamp>,
    asked: [Option<Timestamp>; 2],
}

impl Store {
    /// Keeps what requests asked for, each joined to an older one for its name; the names of which something was left
    /// out. That is a family for which something stands that was asked for later, and with a holder one that he claimed and
    /// does not hold any longer, for whoever claimed it since may have written it, unless he has the older wish in hand, for
    /// who has not writes nothing. What is nobody's is his from then on, as if he had claimed it: he may have a newer request
    /// under way that found nothing to claim.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn defer(
        &self,
        deferrals: &[Deferral],
        holder: Option<(&str, Timestamp)>,
    ) -> Result<Vec<Hostname>, StoreError> {
        let mut deferrals = deferrals.to_vec();
        deferrals.sort_by(|a, b| a.wish.name.cmp(&b.wish.name));
        let mut work = self.begin(Purpose::Recording).await?;
        let clocks = work.clocks().await?;
        let stands = work.stands(&deferrals, holder.map(|(holder, _)| holder)).await?;
        let mut left_out = BTreeSet::new();
        for Deferral { wish, asked } in &mut deferrals {
            let Some(stands) = stands.get(&wish.name) else { continue };
            let [v4, v6] = [0, 1].map(|family| stands.gives_way(family, wish.since, asked[family], clocks));
            if wish.v4.is_made() && !v4 || wish.v6.is_made() && !v6 {
                left_out.insert(wish.name.clone());
            }
            wish.v4 = if v4 { wish.v4 } else { Change::Leave };
            wish.v6 = if v6 { wish.v6 } else { Change::Leave };
        }
        deferrals.retain(|Deferral { wish, .. }| wish.v4.is_made() || wish.v6.is_made());
        let bind =
            |query, Deferral { wish, asked }: &Deferral| bind(query, wish, asked.map(|asked| clocks.latest(asked.at)));
        let written = work.write_returning(DEFER, 11, &deferrals, bind).await?;
        let written = written.iter().map(|row| name(row, 0)).collect::<Result<Vec<_>, _>>()?;
        if let Some((holder, until)) = holder {
            work.take(&written, holder, until).await?;
        }
        work.commit().await?;
        let written: HashSet<_> = written.into_iter().collect();
        left_out
            .extend(deferrals.into_iter().map(|deferral| deferral.wish.name).filter(|name| !written.contains(name)));
        Ok(left_out.into_iter().collect())
    }

    /// Drops the families of wishes for which a later request was answered; the names.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn drop_settled(&self) -> Result<Vec<Hostname>, StoreError> {
        let mut all = Vec::new();
        loop {
            let mut work = self.begin(Purpose::Recording).await?;
            let now = work.clocks().await?.theirs.0;
            let rows = work.rows(statement(SETTLED).bind(now).bind(at_most(ROWS))).await?;
            let names = rows.iter().map(|row| name(row, 0)).collect::<Result<Vec<_>, _>>()?;
            if names.is_empty() {
                work.abandon().await?;
                return Ok(all);
            }
            work.lock(&names).await?;
            let bind = |drop| [now; 4].into_iter().fold(drop, |drop: Statement, now| drop.bind(now));
            work.listed([DROP, ""], bind, &names).await?;
            work.of_names(EMPTY, &names).await?;
            for (row, name) in rows.iter().zip(&names) {
                if optional_text(row, 1)?.is_none() {
                    work.changed(Subject::Wanted(name.clone()));
                }
            }
            work.commit().await?;
            all.extend(names);
        }
    }
}

impl Work {
    /// What stands for the names of `deferrals`, and stays so until the transaction ends.
    async fn stands(
        &mut self,
        deferrals: &[Deferral],
        holder: Option<&str>,
    ) -> Result<HashMap<Hostname, Stands>, StoreError> {
        let names: Vec<_> = deferrals.iter().map(|deferral| deferral.wish.name.clone()).collect();
        let nothing = || Stands { is_alone: holder.is_none(), ..Stands::default() };
        let mut stands: HashMap<_, _> = names.iter().map(|name| (name.clone(), nothing())).collect();
        if let Some(holder) = holder {
            self.lock(&names).await?;
            for row in self.of_names(HOLDERS, &names).await? {
                let is_ours = |column| Ok::<_, StoreError>(optional_text(&row, column)?.as_deref() == Some(holder));
                stands.entry(name(&row, 0)?).or_default().is_ours = [is_ours(1)?, is_ours(2)?];
            }
        }
        for row in self.of_names(STANDING, &names).await? {
            let of_name = stands.entry(name(&row, 0)?).or_default();
            of_name.since = Some(Timestamp(number(&row, 1)?));
            of_name.in_hand = holder.is_some() && optional_text(&row, 2)?.as_deref() == holder;
            of_name.asked = [optional_number(&row, 3)?.map(Timestamp), optional_number(&row, 4)?.map(Timestamp)];
        }
        Ok(stands)
    }
}

impl Stands {
    /// Whether a request for `family` that is part of a wish of `since` takes the place of what stands.
    fn gives_way(&self, family: usize, since: Timestamp, asked: Asked, clocks: Clocks) -> bool {
        let was_before = |stands| match asked.claimed {
            _ if self.is_alone => stands < since,
            Some(found) => stands <= found,
            None => false,
        };
        let is_newest = self.since.is_none_or(was_before)
            || self.asked[family].is_none_or(|stands| stands < clocks.latest(asked.at));
        let may_write = self.is_alone || asked.claimed.is_none() || self.is_ours[family] || self.in_hand;
        may_write && is_newest
    }
}
