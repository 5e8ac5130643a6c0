//! A bounded blocking call: work on a thread that nothing can interrupt, with an end to the waiting for it. Knows nothing of the
//! work.

use std::time::Duration;

use tokio::task::{JoinError, JoinHandle, spawn_blocking};
use tokio::time::timeout;

/// Threads that were late and go on. Some never end: whoever reads a pipe that was removed meanwhile.
const MOST: usize = 4;

/// Makes such calls; holds the threads that nobody waits for any longer.
#[derive(Debug)]
pub(super) struct BlockingCall<T>(Vec<JoinHandle<T>>);

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub(super) enum BlockingError {
    #[error("still not done after {} s", .0.as_secs())]
    Late(Duration),
    #[error("{MOST} earlier tries are still not done")]
    Busy,
    #[error("it broke down: {0}")]
    Broken(#[from] JoinError),
}

impl<T: Send + 'static> BlockingCall<T> {
    pub(super) fn new() -> Self {
        Self(Vec::new())
    }

    /// Does `work` and waits for its result, for `limit` at most; work that is late goes on.
    pub(super) async fn wait_for(
        &mut self,
        limit: Duration,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, BlockingError> {
        self.0.retain(|thread| !thread.is_finished());
        if self.0.len() >= MOST {
            return Err(BlockingError::Busy);
        }
        let mut thread = spawn_blocking(work);
        match timeout(limit, &mut thread).await {
            Ok(done) => Ok(done?),
            Err(_) => {
                self.0.push(thread);
                Err(BlockingError::Late(limit))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn nobody_waits_for_ever_and_few_threads_hang() {
        let mut call = BlockingCall::new();
        let mut ends = Vec::new();
        for _ in 0..MOST {
            let (end, ended) = mpsc::channel::<()>();
            let late = call.wait_for(Duration::ZERO, move || ended.recv().is_err()).await;
            assert!(matches!(late, Err(BlockingError::Late(_))));
            ends.push(end);
        }
        assert!(matches!(call.wait_for(Duration::MAX, || true).await, Err(BlockingError::Busy)));
        ends.pop();
        while let Err(error) = call.wait_for(Duration::MAX, || true).await {
            assert!(matches!(error, BlockingError::Busy));
            tokio::task::yield_now().await;
        }
    }
}
