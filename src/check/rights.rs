//! Which of many names a question fails for: many in one message, and halves of it until the culprits are alone.

use super::AskedName;
use crate::dns::{AskError, EncodeError, Failure, Prober};

const BATCH: usize = 100;
/// After so many culprits nobody needs more of them.
const MOST_CULPRITS: usize = 50;
/// After so many culprits and not one innocent, all are taken for culprits.
const ALL_CULPRITS: usize = 8;

#[derive(Debug, Default)]
pub(super) struct Split<'n> {
    /// Those that the question holds for.
    pub(super) good: Vec<&'n AskedName>,
    /// Those that it does not hold for, each with the server's word.
    pub(super) bad: Vec<(&'n AskedName, Failure)>,
    /// Whether names were left out because there were too many culprits.
    pub(super) stopped: bool,
}

impl Split<'_> {
    pub(super) fn all_bad(&self) -> bool {
        self.good.is_empty() && !self.bad.is_empty()
    }
}

/// Asks `question` about `names`, many at a time; tells `done` how many are settled after each answer.
///
/// # Errors
/// [`AskError`], except for error answers: those split.
pub(super) async fn split<'n>(
    prober: &Prober,
    names: &[&'n AskedName],
    question: impl AsyncFn(&Prober, &[&AskedName]) -> Result<(), AskError>,
    mut done: impl FnMut(usize),
) -> Result<Split<'n>, AskError> {
    let mut split = Split::default();
    let mut waiting: Vec<&[&'n AskedName]> = names.rchunks(BATCH).collect();
    while let Some(batch) = waiting.pop() {
        if split.bad.len() >= MOST_CULPRITS || (split.bad.len() >= ALL_CULPRITS && split.good.is_empty()) {
            split.stopped = true;
            break;
        }
        match (question(prober, batch).await, batch) {
            (Ok(()), _) => split.good.extend(batch),
            (Err(AskError::Failed(failure)), [only]) => split.bad.push((only, failure)),
            (Err(AskError::Failed(_) | AskError::Encode(EncodeError::TooLarge)), [_, _, ..]) => {
                let (first, second) = batch.split_at(batch.len() / 2);
                waiting.extend([second, first]);
                continue;
            }
            (Err(error), _) => return Err(error),
        }
        done(batch.len());
    }
    Ok(split)
}
