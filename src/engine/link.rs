//! Where a driver's connection to the primary in use stands, and what happens on it next.

use std::pin::Pin;

use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::dns::{ConnectError, Connection, Event};

pub(super) type Opened = Result<(Connection, mpsc::Receiver<Event>), ConnectError>;

pub(super) enum Link {
    /// No connection, and none is needed.
    Idle,
    /// The last attempt failed.
    Down {
        last_try: Instant,
        next_try: Instant,
    },
    Connecting(Pin<Box<dyn Future<Output = Opened> + Send>>),
    Up {
        connection: Connection,
        events: mpsc::Receiver<Event>,
        heard: Instant,
    },
}

pub(super) enum Happened {
    Opened(Opened),
    Event(Option<Event>),
}

impl Link {
    /// Waits for it; for ever where there is no connection.
    pub(super) async fn next(&mut self) -> Happened {
        match self {
            Self::Idle | Self::Down { .. } => std::future::pending().await,
            Self::Connecting(opening) => Happened::Opened(opening.await),
            Self::Up { events, .. } => Happened::Event(events.recv().await),
        }
    }
}
