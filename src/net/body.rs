//! The body of a request, which a stop does not wait for. Knows nothing of what is in it.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::sync::watch;
use tokio::time::sleep;

use super::server::{BoxError, LAST_WORD, stopped};

/// A body as it comes.
pub struct RequestBody {
    body: Incoming,
    // Of a body that is still to come.
    stop: Option<watch::Receiver<bool>>,
    // Begun where the body is waited for.
    cut: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

/// The rest of the body did not come before the stop.
#[derive(Debug, thiserror::Error)]
#[error("stopping, and the body is not whole")]
pub(crate) struct Stopping;

impl RequestBody {
    /// `body`, of which nothing is waited for long after `stop` turned true.
    pub fn new(body: Incoming, stop: &watch::Receiver<bool>) -> Self {
        let stop = (!body.is_end_stream()).then(|| stop.clone());
        Self { body, stop, cut: None }
    }
}

impl std::fmt::Debug for RequestBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RequestBody").finish_non_exhaustive()
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        if let Some(mut stop) = self.stop.take() {
            self.cut = Some(Box::pin(async move {
                stopped(&mut stop).await;
                sleep(LAST_WORD).await;
            }));
        }
        let Some(cut) = &mut self.cut else { return Poll::Pending };
        ready!(cut.as_mut().poll(cx));
        Poll::Ready(Some(Err(Stopping.into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
