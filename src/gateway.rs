//! The one use case: identify, authorise, limit, compare, submit, remember. The order of the contract is written here, once,
//! for every dialect. Knows nothing of HTTP and nothing of DNS messages.

use std::borrow::Cow;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::auth::{Authenticator, Credentials, Verdict};
use crate::engine::{self, Applied, Compared, Trouble, Wish};
use crate::limit::Limits;
use crate::metrics::Metrics;
use crate::model::{Addresses, Hostname, Outcome, ZoneName};
use crate::registry::{Grant, Registry};

/// The most hosts in one request.
pub const MOST_HOSTS: usize = 20;
/// When to come back after the primary could not be asked, and after it refused us.
const AFTER_UNREACHABLE: Duration = Duration::from_secs(60);
const AFTER_REFUSED: Duration = Duration::from_secs(300);

/// A request for changes, whatever dialect it came in.
#[derive(Debug)]
pub struct UpdateRequest {
    /// Who asks.
    pub credentials: Option<Credentials>,
    /// The host names as they were sent.
    pub hosts: Vec<String>,
    /// What all of them shall point to; `Err` where an address cannot be read or a family is named twice.
    pub addresses: Result<Addresses, BadAddress>,
    /// Whether something is asked for that must be granted: `offline`, `wildcard`, `mx`.
    pub wants_extra: bool,
    /// Where the request comes from.
    pub admitted: Admitted,
}

/// A request that passed the source limit, from this address.
#[derive(Debug, Clone, Copy)]
pub struct Admitted(IpAddr);

/// Why the addresses of a request are no good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadAddress {
    /// Not an address.
    #[error("not an address")]
    Unparsable,
    /// Two different ones of one family.
    #[error("two addresses of one family")]
    TwoOfAFamily,
    /// None is given, and the caller's own must not or cannot be used.
    #[error("no address is left to set")]
    None,
}

/// What became of a request, or of one host of it.
#[derive(Debug, Clone)]
pub struct Verdicts {
    /// The account, where the credentials were right.
    pub account: Option<Arc<str>>,
    /// One for each host of the request in its order; or one for the whole request.
    pub each: Vec<HostVerdict>,
}

/// An outcome, and what the log says about it.
#[derive(Debug, Clone)]
pub struct HostVerdict {
    /// What the client is told.
    pub outcome: Outcome,
    /// When he may come back, where the outcome says that he should.
    pub retry_after: Option<Duration>,
    /// What was really the matter; for the log only.
    pub reason: Cow<'static, str>,
    /// What the primary answered last, if it was asked.
    pub rcode: Option<String>,
}

/// Holds all parts together; shared by all connections.
#[derive(Debug)]
pub struct Gateway {
    registry: Registry,
    authenticator: Authenticator,
    limits: Limits,
    zones: HashMap<ZoneName, engine::Zone>,
    metrics: Metrics,
    deadline: Duration,
    places: Arc<Semaphore>,
}

/// Requests under way at once; one more is turned away. A client that hangs up leaves his request behind.
const MOST_UNDER_WAY: usize = 20_000;

impl Gateway {
    /// A gateway over parts that are running.
    #[must_use]
    pub fn new(
        registry: Registry,
        authenticator: Authenticator,
        limits: Limits,
        zones: impl IntoIterator<Item = engine::Zone>,
        metrics: Metrics,
        deadline: Duration,
    ) -> Self {
        let zones = zones.into_iter().map(|zone| (zone.name().clone(), zone)).collect();
        let places = Arc::new(Semaphore::new(MOST_UNDER_WAY));
        Self { registry, authenticator, limits, zones, metrics, deadline, places }
    }

    /// Whether `login` may be named in the log: only an account's, for people type passwords into the wrong field.
    #[must_use]
    pub fn knows(&self, login: &str) -> bool {
        self.registry.knows(login)
    }

    /// How each zone is doing.
    pub fn zones(&self) -> impl Iterator<Item = engine::ZoneStatus> {
        self.zones.values().map(engine::Zone::status)
    }

    /// Counts a request from `source`; to be called before anything of it is read beyond its headers.
    ///
    /// # Errors
    /// What it is answered where the source limit is met.
    pub fn admit(&self, source: IpAddr) -> Result<Admitted, Verdicts> {
        match self.limits.source(source) {
            Ok(()) => Ok(Admitted(source)),
            Err(wait) => Err(Verdicts::once(None, HostVerdict::too_fast(wait, "source limit"))),
        }
    }

    /// Carries out `request`, by its deadline, whether or not the client stays to hear the answer: hanging up must not
    /// save a guesser his failed login, nor leave a change half counted.
    pub async fn update(self: &Arc<Self>, request: UpdateRequest) -> Verdicts {
        let overloaded = |reason| Verdicts::once(None, HostVerdict::unreachable(reason));
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            return overloaded("too many requests are under way");
        };
        let gateway = Arc::clone(self);
        let carried_out = tokio::spawn(async move {
            let verdicts = gateway.carry_out(request).await;
            drop(place);
            verdicts
        });
        carried_out.await.unwrap_or_else(|_| overloaded("the request was given up"))
    }

    async fn carry_out(self: &Arc<Self>, request: UpdateRequest) -> Verdicts {
        let deadline = Instant::now() + self.deadline;
        let UpdateRequest { credentials, hosts, addresses, wants_extra, admitted: Admitted(source) } = request;
        let account = match self.identify(credentials, source, deadline).await {
            Ok(account) => account,
            Err(verdict) => return Verdicts::once(None, verdict),
        };
        let once = |verdict| Verdicts::once(Some(Arc::clone(&account)), verdict);
        let count = u32::try_from(hosts.len().max(1)).unwrap_or(u32::MAX);
        if let Err(wait) = self.limits.account(&account, count) {
            return once(HostVerdict::too_fast(wait, "account limit"));
        }
        if hosts.len() > MOST_HOSTS {
            return once(HostVerdict::new(Outcome::TooMany, "more than 20 hosts"));
        }
        let addresses = match addresses {
            Ok(addresses) => addresses,
            Err(error) => return once(HostVerdict::new(Outcome::BadAddress, error.to_string())),
        };
        let hosts = match (hosts.is_empty(), self.registry.only_host(&account)) {
            (false, _) => hosts,
            (true, Some(only)) => vec![only.to_string()],
            (true, None) => return once(HostVerdict::new(Outcome::NotAName, "no host name")),
        };
        let each = self.each(&account, &hosts, addresses, wants_extra, deadline).await;
        Verdicts { account: Some(account), each }
    }

    async fn identify(
        &self,
        credentials: Option<Credentials>,
        source: IpAddr,
        deadline: Instant,
    ) -> Result<Arc<str>, HostVerdict> {
        let Some(credentials) = credentials else {
            return Err(HostVerdict::new(Outcome::BadCredentials, "no credentials"));
        };
        let may_hash = |undecided| self.limits.may_hash(source, &credentials.login, undecided);
        match self.authenticator.verify(&credentials, may_hash, deadline).await {
            Verdict::Known(account) => Ok(account),
            Verdict::Wrong { repeated } => {
                self.metrics.auth_failure();
                // A router that repeats an old password must not use up what its neighbours behind the same address have.
                self.limits.failed_login((!repeated).then_some(source), &credentials.login);
                Err(HostVerdict::new(Outcome::BadCredentials, "wrong credentials"))
            }
            Verdict::TooMany { retry_after } => Err(HostVerdict::too_fast(retry_after, "failed_logins limit")),
            Verdict::Overloaded => Err(HostVerdict::unreachable("too many passwords wait to be verified")),
        }
    }

    /// All hosts at once; one that is named twice is changed once and answered twice.
    async fn each(
        self: &Arc<Self>,
        account: &Arc<str>,
        hosts: &[String],
        addresses: Addresses,
        wants_extra: bool,
        deadline: Instant,
    ) -> Vec<HostVerdict> {
        if let [only] = hosts {
            return vec![self.host(account, only, addresses, wants_extra, deadline).await];
        }
        let mut tasks = JoinSet::new();
        let mut verdicts = HashMap::new();
        for host in hosts {
            if verdicts.insert(host_key(host), None).is_some() {
                continue;
            }
            let (gateway, account, host) = (Arc::clone(self), Arc::clone(account), host.clone());
            tasks.spawn(async move {
                let verdict = gateway.host(&account, &host, addresses, wants_extra, deadline).await;
                (host_key(&host), verdict)
            });
        }
        while let Some(done) = tasks.join_next().await {
            if let Ok((key, verdict)) = done {
                verdicts.insert(key, Some(verdict));
            }
        }
        let unfinished = || HostVerdict::unreachable("the request was given up");
        hosts.iter().map(|host| verdicts.get(&host_key(host)).cloned().flatten().unwrap_or_else(unfinished)).collect()
    }

    async fn host(
        &self,
        account: &Arc<str>,
        host: &str,
        addresses: Addresses,
        wants_extra: bool,
        deadline: Instant,
    ) -> HostVerdict {
        let name = match Hostname::parse(host) {
            Ok(name) => name,
            Err(error) => return HostVerdict::new(Outcome::NotAName, error.to_string()),
        };
        if name.has_underscore() && !self.registry.is_exact(account, &name) {
            return HostVerdict::new(Outcome::NotAName, "a name with '_' that is not granted exactly");
        }
        let grant = match self.registry.grant(account, &name) {
            Ok(grant) => grant,
            Err(denied) => return HostVerdict::new(Outcome::NotYourHost, denied.to_string()),
        };
        let zone = self.registry.zone_of(&name).and_then(|zone| self.zones.get(zone));
        let Some(zone) = zone else { return HostVerdict::new(Outcome::NotYourHost, "no zone of ours holds the name") };
        if wants_extra {
            return HostVerdict::new(Outcome::NotAllowed, "offline, wildcard or mx is not granted");
        }
        if let Some(refused) = self.registry.refused(zone.name(), addresses) {
            return HostVerdict::new(Outcome::BadAddress, format!("{refused} is refused here"));
        }
        let ttl = self.registry.ttl(&name, zone.name());
        let wish = Wish { name, records: addresses.into(), ttl, account: Arc::clone(account) };
        match grant {
            Grant::Exact => self.change(zone, wish, deadline).await,
            Grant::Wildcard => self.change_below_wildcard(zone, wish, deadline).await,
        }
    }

    async fn change_below_wildcard(&self, zone: &engine::Zone, wish: Wish, deadline: Instant) -> HostVerdict {
        if self.zones.values().any(|other| other.is_known_target(&wish.name)) {
            return HostVerdict::new(Outcome::NotYourHost, "a zone's SOA or NS records name it");
        }
        match zone.is_target(&wish.name, deadline).await {
            Ok(false) => {}
            Ok(true) => return HostVerdict::new(Outcome::NotYourHost, "the zone's SOA or NS records name it"),
            Err(trouble) => return HostVerdict::of(Err(trouble)),
        }
        let (account, name) = (Arc::clone(&wish.account), wish.name.clone());
        let Some(is_new) = self.registry.bear(&account, &name) else {
            return HostVerdict::new(Outcome::NotYourHost, "the account's max_hosts is reached");
        };
        let verdict = self.change(zone, wish, deadline).await;
        // After a timeout the name may yet come into being, so it goes on counting.
        let came_to_nothing = matches!(verdict.outcome, Outcome::NotYourHost | Outcome::TooFast | Outcome::Refused);
        if is_new && came_to_nothing {
            self.registry.unbear(&account, &name);
        }
        verdict
    }

    async fn change(&self, zone: &engine::Zone, wish: Wish, deadline: Instant) -> HostVerdict {
        let compared = zone.compare(&wish);
        if compared == Compared::Same {
            return HostVerdict::new(Outcome::Unchanged, "verified lately");
        }
        if let Err(wait) = self.limits.host(&wish.name) {
            return HostVerdict::too_fast(wait, "host limit");
        }
        if compared == Compared::Unknown && zone.holds(&wish, deadline).await {
            return HostVerdict {
                rcode: Some("NOERROR".to_owned()),
                ..HostVerdict::new(Outcome::Unchanged, "verified now")
            };
        }
        HostVerdict::of(zone.change(wish, deadline).await)
    }
}

/// Two spellings of one name are one host.
fn host_key(host: &str) -> String {
    Hostname::parse(host).map_or_else(|_| host.to_owned(), |name| name.to_string())
}

impl Verdicts {
    fn once(account: Option<Arc<str>>, verdict: HostVerdict) -> Self {
        Self { account, each: vec![verdict] }
    }
}

impl HostVerdict {
    fn new(outcome: Outcome, reason: impl Into<Cow<'static, str>>) -> Self {
        Self { outcome, retry_after: None, reason: reason.into(), rcode: None }
    }

    fn too_fast(wait: Duration, reason: &'static str) -> Self {
        Self { retry_after: Some(wait), ..Self::new(Outcome::TooFast, reason) }
    }

    /// The primary cannot be asked now, or we are overloaded.
    #[must_use]
    pub fn unreachable(reason: &'static str) -> Self {
        Self { retry_after: Some(AFTER_UNREACHABLE), ..Self::new(Outcome::Unreachable, reason) }
    }

    fn of(answer: engine::Answer) -> Self {
        let (verdict, rcode) = match answer {
            Ok(Applied { superseded: false }) => (Self::new(Outcome::Changed, "acknowledged"), "NOERROR".to_owned()),
            Ok(Applied { superseded: true }) => {
                (Self::new(Outcome::Changed, "acknowledged, and replaced by a newer request"), "NOERROR".to_owned())
            }
            Err(Trouble::Hidden(failure)) => (
                Self::new(
                    Outcome::NotYourHost,
                    "the name stands at a CNAME or delegation, or below a delegation or DNAME",
                ),
                failure.to_string(),
            ),
            Err(Trouble::Refused(failure)) => {
                let refused = Self::new(Outcome::Refused, "the primary refuses us");
                (Self { retry_after: Some(AFTER_REFUSED), ..refused }, failure.to_string())
            }
            Err(Trouble::Failed(failure)) => (Self::unreachable("the primary cannot write now"), failure.to_string()),
            Err(Trouble::Timeout) => return Self::unreachable("no answer before the deadline"),
            Err(Trouble::Overloaded) => return Self::unreachable("too many changes wait"),
        };
        Self { rcode: Some(rcode), ..verdict }
    }
}
