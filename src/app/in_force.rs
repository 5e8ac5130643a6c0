//! The configuration in force as one value: whatever takes it sees one configuration until it lets it go.

use std::sync::{Arc, PoisonError, RwLock};

use crate::config::dialects::OF_CHALLENGES;
use crate::config::{Config, Dialects};
use crate::gateway::Gateway;
use crate::metrics::Metrics;
use crate::net::{ConnectionLimit, Proxies};
use crate::public::Public;

/// All that a reload replaces at once.
#[derive(Debug)]
pub(super) struct InForce {
    pub(super) gateway: Arc<Gateway>,
    pub(super) public: Public,
    pub(super) proxies: Arc<Proxies>,
    pub(super) per_source: Arc<ConnectionLimit>,
}

impl InForce {
    /// What `config` says over `gateway`; `before` are the connections that are there.
    pub(super) fn new(
        config: &Config,
        gateway: Arc<Gateway>,
        before: Option<&ConnectionLimit>,
        metrics: &Metrics,
    ) -> Self {
        let proxies = Arc::new(Proxies {
            trusted: config.http.trusted_proxies.clone(),
            unix: config.http.trusts_unix,
            header: config.http.client_address_header,
        });
        // Who lifts the limit on a source's requests does not want one on its connections.
        let most = config.http.connections_per_source.filter(|_| config.limits.source.is_some());
        let per_source = match before {
            Some(before) => before.with(most, Arc::clone(&proxies)),
            None => ConnectionLimit::new(most, Arc::clone(&proxies)),
        };
        let mut dialects = Dialects { default_zone: config.default_zone().cloned(), ..config.dialects.clone() };
        if !config.acme.dns01 {
            dialects.off.extend(OF_CHALLENGES);
        }
        let public = Public::new(Arc::clone(&gateway), Arc::clone(&proxies), dialects, metrics);
        Self { gateway, public, proxies, per_source }
    }
}

/// Where the configuration in force is found; cheap to clone. Nobody holds the lock for longer than a pointer takes.
#[derive(Debug, Clone)]
pub(super) struct Current(Arc<RwLock<Arc<InForce>>>);

impl Current {
    pub(super) fn new(first: InForce) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(first))))
    }

    pub(super) fn get(&self) -> Arc<InForce> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn set(&self, new: InForce) {
        // What was in force is let go of after the lock is.
        let _before = std::mem::replace(&mut *self.0.write().unwrap_or_else(PoisonError::into_inner), Arc::new(new));
    }
}
