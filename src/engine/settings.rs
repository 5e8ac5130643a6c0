//! What a zone's engine goes by: made whole from the configuration before any of it is taken. Knows no socket.

use std::sync::Arc;
use std::time::Duration;

use crate::config;
use crate::dns::{EncodeError, Signer, Update};

/// The settings of one zone; a running engine takes others with [`super::Zone::set`].
#[derive(Debug)]
pub struct Settings {
    pub(super) zone: config::Zone,
    pub(super) deadline: Duration,
    pub(super) verify_interval: Duration,
    // Signs with the zone's key. Each `Settings` has one of its own, by which it is told apart.
    pub(super) update: Arc<Update>,
}

impl Settings {
    /// What `zone` and `engine` say.
    ///
    /// # Errors
    /// [`EncodeError::Name`] where a name does not fit the wire.
    pub fn new(zone: &config::Zone, engine: &config::Engine) -> Result<Self, EncodeError> {
        let update = Arc::new(Update::new(zone.name.clone(), Signer::new(&zone.key)?)?);
        let (deadline, verify_interval) = (engine.deadline, engine.verify_interval);
        Ok(Self { zone: zone.clone(), deadline, verify_interval, update })
    }

    /// Whether an engine that goes by one need not hear of the other.
    pub(super) fn says_the_same(&self, other: &Self) -> bool {
        self.zone == other.zone && (self.deadline, self.verify_interval) == (other.deadline, other.verify_interval)
    }
}
