//! Where a driver's connection to the primary in use stands, and what happens on it next.

use std::pin::Pin;

use tokio::time::Instant;

use crate::dns::{Event, Lease, Leased};

pub(super) enum Link {
    /// No connection, and none is needed.
    Idle,
    /// The last attempt failed.
    Down {
        last_try: Instant,
        next_try: Instant,
    },
    Connecting(Pin<Box<dyn Future<Output = Leased> + Send>>),
    Up {
        lease: Lease,
        heard: Instant,
        // A message was sent on it: where others wait for a connection, it is their turn once this one's are answered.
        is_used: bool,
    },
}

pub(super) enum Happened {
    Leased(Leased),
    Event(Option<Event>),
}

impl Link {
    /// Waits for it; for ever where there is no connection.
    pub(super) async fn next(&mut self) -> Happened {
        match self {
            Self::Idle | Self::Down { .. } => std::future::pending().await,
            Self::Connecting(leasing) => Happened::Leased(leasing.await),
            Self::Up { lease, .. } => Happened::Event(lease.next().await),
        }
    }
}
