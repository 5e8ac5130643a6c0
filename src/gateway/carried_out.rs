//! A request is carried out though its client goes away.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::runtime::Handle;

/// A future that becomes a task of its own where whoever waits for it goes away: as a task from the start, each request would
/// be scheduled, and wait for its end, once more.
#[derive(Debug)]
pub(super) struct CarriedOut<F>(Option<Pin<Box<F>>>)
where
    F: Future<Output: Send> + Send + 'static;

impl<F: Future<Output: Send> + Send + 'static> CarriedOut<F> {
    pub(super) fn new(future: F) -> Self {
        Self(Some(Box::pin(future)))
    }
}

impl<F: Future<Output: Send> + Send + 'static> Future for CarriedOut<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        // One that panics is not polled again.
        let Some(mut future) = self.0.take() else { return Poll::Pending };
        let polled = future.as_mut().poll(context);
        if polled.is_pending() {
            self.0 = Some(future);
        }
        polled
    }
}

impl<F: Future<Output: Send> + Send + 'static> Drop for CarriedOut<F> {
    fn drop(&mut self) {
        if let (Some(rest), Ok(runtime)) = (self.0.take(), Handle::try_current()) {
            runtime.spawn(rest);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use tokio::sync::oneshot;
    use tokio::time::{Duration, timeout};

    use super::*;

    #[tokio::test]
    async fn what_is_awaited_gives_its_answer() {
        assert_eq!(CarriedOut::new(ready(1)).await, 1);
        let (answer, answered) = oneshot::channel();
        let waits = CarriedOut::new(answered);
        answer.send(2).unwrap();
        assert_eq!(waits.await, Ok(2));
    }

    #[tokio::test]
    async fn what_nobody_awaits_any_longer_is_carried_out() {
        let (go, gone) = oneshot::channel();
        let (done, is_done) = oneshot::channel();
        let mut waits = Box::pin(CarriedOut::new(async {
            gone.await.unwrap();
            done.send(()).unwrap();
        }));
        assert!(timeout(Duration::ZERO, &mut waits).await.is_err(), "begun");
        drop(waits);
        go.send(()).unwrap();
        is_done.await.unwrap();
    }

    #[tokio::test]
    async fn one_that_was_never_begun_is_carried_out_too() {
        let (done, is_done) = oneshot::channel();
        drop(CarriedOut::new(async { done.send(()).unwrap() }));
        is_done.await.unwrap();
        drop(CarriedOut::new(pending::<()>()));
    }
}
