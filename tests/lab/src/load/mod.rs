//! Load: many clients of the gateway, the same changes sent straight to a primary, and the look at the end.

mod baseline;
mod exchange;
mod pipeline;
mod read_back;
mod storm;

use std::time::Duration;

pub use baseline::{Updates, one_update_each};
pub use exchange::{Exchange, Plan, Ran, exchange};
pub use read_back::{read_back, wrong};
pub use storm::{Reports, storm};

/// The value that `share` (0 to 1) of `ascending` does not exceed.
#[must_use]
pub fn quantile(ascending: &[Duration], share: f64) -> Duration {
    let last = ascending.len().saturating_sub(1);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "an index"
    )]
    let index = (last as f64 * share.clamp(0.0, 1.0)).round() as usize;
    ascending.get(index).copied().unwrap_or_default()
}
