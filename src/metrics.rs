//! The metric types, registered in a registry that is passed in; who counts is not known here.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use crate::model::Outcome;

/// Everything that a handler may count; cheap to clone.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<All>);

#[derive(Debug)]
struct All {
    requests: Family<RequestLabels, Counter>,
    request_duration: Family<DialectLabel, Histogram, fn() -> Histogram>,
    updates: Family<UpdateLabels, Counter>,
    update_duration: Family<ZoneLabel, Histogram, fn() -> Histogram>,
    batch_hosts: Family<ZoneLabel, Histogram, fn() -> Histogram>,
    pending: Family<ZoneLabel, Gauge>,
    deferred: Family<ZoneLabel, Gauge>,
    primary_up: Family<PrimaryLabels, Gauge>,
    auth_failures: Counter,
    rate_limited: Family<LimitLabel, Counter>,
    store_unwritten: Gauge,
    connections: Gauge,
    reloads: Counter,
    store_up: Gauge,
    zones: Mutex<HashMap<String, Series>>,
}

/// What a zone has brought into being, and how many hold it: it goes with the last.
#[derive(Debug, Default)]
struct Series {
    holders: usize,
    rcodes: BTreeSet<String>,
    primaries: BTreeSet<String>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct DialectLabel {
    dialect: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RequestLabels {
    dialect: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ZoneLabel {
    zone: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct UpdateLabels {
    zone: String,
    rcode: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct PrimaryLabels {
    zone: String,
    primary: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct LimitLabel {
    limit: &'static str,
}

/// The limits, as the label `limit` names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LimitKind {
    /// Updates of one host.
    Host,
    /// Hosts of one account.
    Account,
    /// Requests from one source.
    Source,
    /// Wrong passwords.
    FailedLogins,
    /// The same address of one host, again.
    Repeats,
}

impl LimitKind {
    const ALL: [Self; 5] = [Self::Host, Self::Account, Self::Source, Self::FailedLogins, Self::Repeats];

    /// The label's value.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Account => "account",
            Self::Source => "source",
            Self::FailedLogins => "failed_logins",
            Self::Repeats => "repeats",
        }
    }
}

/// The metrics of one zone, looked up once; the zone's series end when the last of them is dropped.
#[derive(Debug)]
pub struct ZoneMetrics {
    zone: String,
    all: Arc<All>,
    update_duration: Histogram,
    batch_hosts: Histogram,
    /// Changes that wait or are in flight.
    pub pending: Gauge,
}

/// Counted among the open connections while it is there.
#[derive(Debug)]
pub struct OpenConnection(Gauge);

impl OpenConnection {
    /// One more.
    #[must_use]
    pub fn new(open: &Gauge) -> Self {
        open.inc();
        Self(open.clone())
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// The metrics of one dialect, looked up once.
#[derive(Clone, Debug)]
pub struct DialectMetrics {
    outcomes: [Counter; Outcome::ALL.len()],
    answered: Counter,
    duration: Histogram,
}

// Seconds: from an answer out of memory to past the default deadline.
const SECONDS: [f64; 15] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];
const HOSTS: [f64; 11] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 384.0, 500.0];

/// The outcome of a request that asks for no change: an address is told, or credentials are right.
pub const ANSWERED: &str = "answered";

impl Metrics {
    /// Registers all of them in `registry`.
    pub fn register(registry: &mut Registry) -> Self {
        let seconds: fn() -> Histogram = || Histogram::new(SECONDS);
        let hosts: fn() -> Histogram = || Histogram::new(HOSTS);
        let all = All {
            requests: Family::default(),
            request_duration: Family::new_with_constructor(seconds),
            updates: Family::default(),
            update_duration: Family::new_with_constructor(seconds),
            batch_hosts: Family::new_with_constructor(hosts),
            pending: Family::default(),
            deferred: Family::default(),
            primary_up: Family::default(),
            auth_failures: Counter::default(),
            rate_limited: Family::default(),
            store_unwritten: Gauge::default(),
            connections: Gauge::default(),
            reloads: Counter::default(),
            store_up: Gauge::default(),
            zones: Mutex::default(),
        };
        let registry = registry.sub_registry_with_prefix("dyngate");
        registry.register(
            "requests",
            "Hosts in requests, by outcome; requests that no dialect answers, by HTTP status",
            all.requests.clone(),
        );
        registry.register_with_unit(
            "request_duration",
            "From a request's last byte to its answer",
            Unit::Seconds,
            all.request_duration.clone(),
        );
        registry.register(
            "updates",
            "UPDATE messages with changes, and probes of the zone, by rcode",
            all.updates.clone(),
        );
        registry.register_with_unit(
            "update_duration",
            "From an UPDATE's sending to its verified answer",
            Unit::Seconds,
            all.update_duration.clone(),
        );
        registry.register("update_batch_hosts", "Distinct names in an UPDATE", all.batch_hosts.clone());
        registry.register("pending_changes", "Changes that wait for an UPDATE or are in one", all.pending.clone());
        registry.register(
            "deferred_changes",
            "Hosts whose last request was answered 911 and is done when the primary answers",
            all.deferred.clone(),
        );
        registry.register("primary_up", "1 where the last contact with the primary succeeded", all.primary_up.clone());
        registry.register("auth_failures", "Requests with wrong credentials", all.auth_failures.clone());
        registry.register("rate_limited", "Requests or hosts that met a limit", all.rate_limited.clone());
        registry.register(
            "store_unwritten",
            "Rows of what was seen of hosts that wait to be written to the store",
            all.store_unwritten.clone(),
        );
        registry.register("connections", "Open connections of routers", all.connections.clone());
        registry.register("reloads", "Reloads that came into force", all.reloads.clone());
        let version = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "Which program this is", version);
        for kind in LimitKind::ALL {
            let _present_from_the_start = all.rate_limited.get_or_create(&LimitLabel { limit: kind.label() });
        }
        Self(Arc::new(all))
    }

    /// Registers until when the certificate of the TLS listeners is valid, in seconds since the epoch.
    pub fn certificate_expiry(registry: &mut Registry) -> Gauge {
        let expiry = Gauge::default();
        registry.register_with_unit(
            "dyngate_certificate_expiry_timestamp",
            "When the certificate that TLS listeners show expires, since the epoch",
            Unit::Seconds,
            expiry.clone(),
        );
        expiry
    }

    /// The gauge of open connections.
    #[must_use]
    pub fn connections(&self) -> Gauge {
        self.0.connections.clone()
    }

    /// A new configuration came into force.
    pub fn reloaded(&self) {
        self.0.reloads.inc();
    }

    /// The metrics of `dialect`.
    #[must_use]
    pub fn dialect(&self, dialect: &'static str) -> DialectMetrics {
        let requests = |outcome| self.0.requests.get_or_create_owned(&RequestLabels { dialect, outcome });
        DialectMetrics {
            outcomes: Outcome::ALL.map(|outcome| requests(outcome.label())),
            answered: requests(ANSWERED),
            duration: self.0.request_duration.get_or_create_owned(&DialectLabel { dialect }),
        }
    }

    /// A request was answered in no dialect.
    pub fn unserved(&self, outcome: &'static str) {
        self.0.requests.get_or_create(&RequestLabels { dialect: "none", outcome }).inc();
    }

    /// The metrics of `zone`.
    #[must_use]
    pub fn zone(&self, zone: &str) -> ZoneMetrics {
        let label = ZoneLabel { zone: zone.to_owned() };
        let mut zones = self.0.zones.lock().unwrap_or_else(PoisonError::into_inner);
        zones.entry(zone.to_owned()).or_default().holders += 1;
        let _present_from_the_start = self.0.deferred.get_or_create(&label);
        ZoneMetrics {
            zone: zone.to_owned(),
            all: Arc::clone(&self.0),
            update_duration: self.0.update_duration.get_or_create_owned(&label),
            batch_hosts: self.0.batch_hosts.get_or_create_owned(&label),
            pending: self.0.pending.get_or_create_owned(&label),
        }
    }

    /// So many changes are deferred in `zone`; without effect where the zone is gone.
    pub fn deferred(&self, zone: &str, count: usize) {
        let zones = self.0.zones.lock().unwrap_or_else(PoisonError::into_inner);
        if zones.contains_key(zone) {
            let gauge = self.0.deferred.get_or_create_owned(&ZoneLabel { zone: zone.to_owned() });
            gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    /// The gauge of rows that wait to be written to the store.
    #[must_use]
    pub fn store_unwritten(&self) -> Gauge {
        self.0.store_unwritten.clone()
    }

    /// Whether the store can be read and written; registered where there is one.
    #[must_use]
    pub fn store_up(&self) -> Gauge {
        self.0.store_up.clone()
    }

    /// A request had wrong credentials.
    pub fn auth_failure(&self) {
        self.0.auth_failures.inc();
    }

    /// A limit was met.
    pub fn rate_limited(&self, limit: LimitKind) {
        self.0.rate_limited.get_or_create(&LimitLabel { limit: limit.label() }).inc();
    }
}

impl DialectMetrics {
    /// So many hosts of a request have this outcome.
    pub fn hosts(&self, outcome: Outcome, count: usize) {
        self.outcomes[outcome as usize].inc_by(count as u64);
    }

    /// A request asked for no change, and has its answer.
    pub fn answered(&self) {
        self.answered.inc();
    }

    /// A request was answered after `seconds`.
    pub fn request(&self, seconds: f64) {
        self.duration.observe(seconds);
    }
}

impl ZoneMetrics {
    /// An UPDATE with `hosts` distinct names was sent.
    pub fn sent(&self, hosts: usize) {
        self.batch_hosts.observe(f64::from(u32::try_from(hosts).unwrap_or(u32::MAX)));
    }

    /// An UPDATE ended with `rcode` after `seconds`.
    pub fn ended(&self, rcode: &str, seconds: f64) {
        self.update_duration.observe(seconds);
        self.series(|series| series.rcodes.insert(rcode.to_owned()));
        self.all.updates.get_or_create(&UpdateLabels { zone: self.zone.clone(), rcode: rcode.to_owned() }).inc();
    }

    /// The gauge that tells whether `primary` was reached last time.
    #[must_use]
    pub fn primary_up(&self, primary: &str) -> Gauge {
        self.series(|series| series.primaries.insert(primary.to_owned()));
        self.all.primary_up.get_or_create_owned(&self.primary(primary))
    }

    /// `primary` is none of the zone's any longer.
    pub fn forget_primary(&self, primary: &str) {
        self.series(|series| series.primaries.remove(primary));
        self.all.primary_up.remove(&self.primary(primary));
    }

    fn primary(&self, primary: &str) -> PrimaryLabels {
        PrimaryLabels { zone: self.zone.clone(), primary: primary.to_owned() }
    }

    fn series(&self, change: impl FnOnce(&mut Series) -> bool) {
        let mut zones = self.all.zones.lock().unwrap_or_else(PoisonError::into_inner);
        let _was_there = zones.get_mut(&self.zone).map(change);
    }
}

impl Drop for ZoneMetrics {
    fn drop(&mut self) {
        let mut zones = self.all.zones.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(series) = zones.get_mut(&self.zone) else { return };
        series.holders -= 1;
        if series.holders > 0 {
            return;
        }
        let Some(series) = zones.remove(&self.zone) else { return };
        for rcode in series.rcodes {
            self.all.updates.remove(&UpdateLabels { zone: self.zone.clone(), rcode });
        }
        for primary in series.primaries {
            self.all.primary_up.remove(&self.primary(&primary));
        }
        let label = ZoneLabel { zone: self.zone.clone() };
        self.all.update_duration.remove(&label);
        self.all.batch_hosts.remove(&label);
        self.all.pending.remove(&label);
        self.all.deferred.remove(&label);
    }
}
