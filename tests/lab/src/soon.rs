//! The wait for something that nobody announces: bounded, and it says for what it waited.

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// Longer than anything takes on a busy machine, shorter than the suite lets a test run.
const LIMIT: Duration = Duration::from_secs(60);

/// Looks again and again until `look` is satisfied.
///
/// # Panics
/// It is not within a minute.
pub async fn soon(what: &str, mut look: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !look().await {
        assert!(Instant::now() < deadline, "waited {LIMIT:?} for: {what}");
        sleep(Duration::from_millis(10)).await;
    }
}
