//! The one use case: identify, authorise, compare, limit, submit, remember. The order of the contract is written here, once,
//! for every dialect. Knows nothing of HTTP and nothing of DNS messages.

mod authorise;
mod backlog;
mod carried_out;
mod challenge;
mod granted;
mod identify;
mod late;
mod pending;
mod plan;
mod pointers;
mod request;
mod together;
mod verdict;

use std::collections::HashMap;
use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use tracing::{Instrument as _, Span};

use crate::auth::Authenticator;
use crate::config;
use crate::engine::{self, Change, Client, Compared, Keep, Origin, Submitted, Trouble};
use crate::limit::Limits;
use crate::metrics::Metrics;
use crate::model::{DesiredRecords, Hostname, Outcome, Timestamp, ZoneName};
use crate::registry::{Account, Cleared, Grant, Registry, Sighting, Unavailable};

use authorise::{Authorised, Refusal, Right};
use backlog::Backlog;
use carried_out::CarriedOut;
use late::LateUpdates;
use together::{Part, Together};

pub(crate) use challenge::look_after_challenges;
pub use request::{Admitted, Asked, BadAddress, ChallengeAsked, Identity, Labels, More, PrefixAsked, UpdateRequest};
pub(crate) use verdict::{HostVerdict, Verdicts};

pub(crate) const MOST_HOSTS: usize = 20;

/// Who asks, and what the answers are recorded with.
#[derive(Debug, Clone)]
struct Caller {
    account: Arc<Account>,
    // The host whose token was shown: no other may be changed.
    only: Option<Hostname>,
    source: IpAddr,
    agent: Option<Arc<str>>,
}

/// What is asked for all hosts of a request, and by when it is answered.
#[derive(Debug, Clone)]
struct Ask {
    asked: Asked,
    deadline: Instant,
}

/// Holds all parts together; shared by all connections.
#[derive(Debug)]
pub struct Gateway {
    registry: Registry,
    authenticator: Authenticator,
    limits: Arc<Limits>,
    zones: HashMap<ZoneName, engine::Zone>,
    metrics: Metrics,
    deadline: Duration,
    // How long a change is worth making after its caller was answered; `None` where it goes with its caller.
    defer: Option<Duration>,
    backlog: Arc<Backlog>,
    late: LateUpdates,
    places: Arc<Semaphore>,
}

/// Requests under way at once; one more is turned away. A client that hangs up leaves its request behind.
const MOST_UNDER_WAY: usize = 20_000;

impl Gateway {
    /// A gateway over parts that are running.
    pub fn new(
        registry: Registry,
        authenticator: Authenticator,
        limits: Limits,
        zones: impl IntoIterator<Item = engine::Zone>,
        metrics: Metrics,
        engine: &config::Engine,
    ) -> Self {
        Self {
            registry,
            authenticator,
            limits: Arc::new(limits),
            zones: by_name(zones),
            deadline: engine.deadline,
            defer: engine.defer,
            backlog: Arc::new(Backlog::new(metrics.clone())),
            metrics,
            late: LateUpdates::new(),
            places: Arc::new(Semaphore::new(MOST_UNDER_WAY)),
        }
    }

    /// A gateway for another configuration that goes on where this one is: who was verified, what was counted, what is
    /// pending, and the requests under way are common to both. A request begins and ends in one of them.
    pub fn succeeded(
        &self,
        registry: Registry,
        zones: impl IntoIterator<Item = engine::Zone>,
        engine: &config::Engine,
    ) -> Self {
        Self {
            registry,
            authenticator: self.authenticator.clone(),
            limits: Arc::clone(&self.limits),
            zones: by_name(zones),
            metrics: self.metrics.clone(),
            deadline: engine.deadline,
            defer: engine.defer,
            backlog: Arc::clone(&self.backlog),
            late: self.late.clone(),
            places: Arc::clone(&self.places),
        }
    }

    /// Accounts and hosts.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The engine of the zone with this apex.
    pub fn zone(&self, apex: &ZoneName) -> Option<&engine::Zone> {
        self.zones.get(apex)
    }

    pub(crate) fn zones(&self) -> impl Iterator<Item = engine::ZoneStatus> {
        self.zones.values().map(engine::Zone::status)
    }

    /// Has the primaries asked now and then whether they are there: somebody watches.
    pub fn watch_primaries(&self) {
        self.zones.values().for_each(engine::Zone::watch_primary);
    }

    /// Writes what is kept, and takes leave of the store.
    pub(crate) async fn close(&self) {
        self.keep_pending().await;
        self.registry.close().await;
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
    /// save a guesser the failed login, nor leave a change half counted. `told` hears what became of it in any case.
    pub async fn update(
        self: &Arc<Self>,
        mut request: UpdateRequest,
        told: impl FnOnce(&Verdicts) + Send + 'static,
    ) -> Verdicts {
        let mut hosts = std::mem::take(&mut request.hosts);
        let overloaded = |reason| Verdicts::once(None, HostVerdict::unreachable(reason));
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            self.failed(&hosts);
            let verdicts = Verdicts { hosts, ..overloaded("too many requests are under way") };
            told(&verdicts);
            return verdicts;
        };
        let gateway = Arc::clone(self);
        let carried_out = async move {
            let verdicts = gateway.carry_out(request, &mut hosts).await;
            if matches!(verdicts.each.as_slice(), [whole] if whole.outcome == Outcome::Unreachable) {
                gateway.failed(&hosts);
            }
            drop(place);
            let verdicts = Verdicts { hosts, ..verdicts };
            told(&verdicts);
            verdicts
        };
        CarriedOut::new(carried_out.in_current_span()).await
    }

    /// A request for these failed as a whole, on our side, perhaps before we knew who asks: at worst a stranger saves a
    /// host one count of the abuse rule.
    fn failed(&self, hosts: &[String]) {
        for name in hosts.iter().take(MOST_HOSTS).filter_map(|host| Hostname::parse(host).ok()) {
            self.limits.failed(&name);
        }
    }

    async fn carry_out(self: &Arc<Self>, request: UpdateRequest, hosts: &mut Vec<String>) -> Verdicts {
        let since = Instant::now();
        let deadline = since + self.deadline;
        let UpdateRequest { identity, labels, asked, only_identity, admitted: Admitted(source), agent, .. } = request;
        let identity = match identity {
            // Seldom: in a box of its own, so that a request stays small.
            Identity::Either(two) => match Box::pin(self.either(*two, deadline)).await {
                Ok(counts) => counts,
                Err(away) => return Verdicts::once(None, away.into()),
            },
            other => other,
        };
        let identified = match identity {
            Identity::Nobody | Identity::Either(..) => {
                return Verdicts::once(None, HostVerdict::new(Outcome::BadCredentials, "no credentials"));
            }
            Identity::Password(credentials) => self.log_in(&credentials, source, (since, deadline)).await,
            Identity::Secret(secret) => {
                Box::pin(self.log_in_without_login(secret, hosts, source, (since, deadline))).await
            }
            Identity::Token(token) => {
                // Its host is meant, whatever is said of others.
                hosts.clear();
                self.holder(&token, source, deadline).await.map_err(|verdict| Verdicts::once(None, verdict))
            }
        };
        let (account, only) = match identified {
            Ok(identified) => identified,
            Err(verdicts) => return verdicts,
        };
        if let (Some(only), true) = (&only, hosts.is_empty()) {
            hosts.push(only.to_string());
        }
        Span::current().record("login", &*account.login);
        let login = Some(Arc::clone(&account.login));
        if only_identity {
            return Verdicts { login, ..Verdicts::answered() };
        }
        let once = |verdict| Verdicts::once(login.clone(), verdict);
        let count = u32::try_from(hosts.len().max(1)).unwrap_or(u32::MAX);
        if let Err(wait) = self.limits.account(&account.login, count) {
            return once(HostVerdict::too_fast(wait, "account limit"));
        }
        if hosts.len() > MOST_HOSTS {
            return once(HostVerdict::new(Outcome::TooMany, "more than 20 hosts"));
        }
        let asked = match asked {
            Ok(asked) => asked,
            Err(error) => return once(HostVerdict::new(Outcome::BadAddress, error.to_string())),
        };
        if hosts.is_empty() {
            match by(deadline, self.registry.only_host(&account)).await {
                Ok(Some(only)) => hosts.push(only.to_string()),
                Ok(None) => return once(HostVerdict::new(Outcome::NotAName, "no host name")),
                Err(away) => return once(away.into()),
            }
        }
        if let Labels::Begin(default_zone) = &labels
            && let Err(away) = by(deadline, self.qualify(&account, only.as_ref(), hosts, default_zone.as_ref())).await
        {
            return once(away.into());
        }
        let caller = Caller { account, only, source, agent };
        let each = self.each(&caller, hosts, Ask { asked, deadline }).await;
        Verdicts { login, hosts: Vec::new(), each }
    }

    /// Puts whole names in the place of single labels. A label that begins several hosts stays one, and is no host name.
    async fn qualify(
        &self,
        account: &Account,
        only: Option<&Hostname>,
        hosts: &mut [String],
        default_zone: Option<&ZoneName>,
    ) -> Result<(), Unavailable> {
        for label in hosts.iter_mut().filter(|host| !host.contains('.')) {
            let begins = |name: &&Hostname| name.as_str().split('.').next() == Some(&label.to_ascii_lowercase());
            if let Some(only) = only.filter(begins) {
                *label = only.to_string();
                continue;
            }
            match (self.registry.hosts_that_begin(account, label).await?.as_slice(), default_zone) {
                ([only], _) => *label = only.to_string(),
                ([], Some(zone)) => *label = format!("{label}.{zone}"),
                ([], None) | ([_, _, ..], _) => {}
            }
        }
        Ok(())
    }

    /// All hosts at once; one that is named twice is changed once and answered twice.
    async fn each(self: &Arc<Self>, caller: &Caller, hosts: &[String], ask: Ask) -> Vec<HostVerdict> {
        if let [only] = hosts {
            return vec![self.host(caller, only, &ask).await];
        }
        let mut tasks = JoinSet::new();
        let mut verdicts = HashMap::new();
        for host in hosts {
            if verdicts.insert(host_key(host), None).is_some() {
                continue;
            }
            let (gateway, caller, host, ask) = (Arc::clone(self), caller.clone(), host.clone(), ask.clone());
            let changed = async move {
                let verdict = gateway.host(&caller, &host, &ask).await;
                (host_key(&host), verdict)
            };
            tasks.spawn(changed.in_current_span());
        }
        while let Some(done) = tasks.join_next().await {
            if let Ok((key, verdict)) = done {
                verdicts.insert(key, Some(verdict));
            }
        }
        let unfinished = || HostVerdict::unreachable("the request was given up");
        hosts.iter().map(|host| verdicts.get(&host_key(host)).cloned().flatten().unwrap_or_else(unfinished)).collect()
    }

    async fn host(&self, caller: &Caller, host: &str, ask: &Ask) -> HostVerdict {
        let since = Instant::now();
        let name = match Hostname::parse(host) {
            Ok(name) => name,
            Err(error) => return HostVerdict::new(Outcome::NotAName, error.to_string()),
        };
        if caller.only.as_ref().is_some_and(|only| *only != name) {
            return HostVerdict::new(Outcome::NotYourHost, "the token is another host's");
        }
        let news = self.registry.news();
        let host = match by(ask.deadline, self.registry.host(&name)).await {
            Ok(host) => host,
            Err(away) => {
                self.limits.failed(&name);
                return away.into();
            }
        };
        let (verdict, grant) = match self.authorise(&caller.account, &name, host.as_deref(), news, &ask.asked).await {
            Ok(authorised) if ask.asked == Asked::default() => {
                (HostVerdict::new(Outcome::Unchanged, "nothing is asked for"), Some(authorised.grant))
            }
            Ok(authorised) => {
                let grant = Some(authorised.grant);
                let is_plain = ask.asked.more.is_none() && host.as_deref().is_none_or(|host| host.more.is_none());
                let verdict = match ask.asked.challenge() {
                    None if is_plain => self.set(caller, &name, ask, authorised).await,
                    // Seldom: in boxes of their own, so that a request stays small.
                    None => {
                        let together = Together { gateway: self, caller, name: &name, ask };
                        Box::pin(together.set(host.as_deref(), authorised)).await
                    }
                    Some(asked) => {
                        let changed = challenge::change(self, caller, &name, asked, ask, &authorised);
                        challenge::told(Box::pin(changed).await)
                    }
                };
                (verdict, grant)
            }
            Err(Refusal { verdict, grant }) => (verdict, grant),
        };
        if grant.is_none() {
            let knock = self.registry.knock_at_host(&name, since);
            let _no_time_left = Box::pin(timeout_at(ask.deadline, knock)).await;
        }
        let is_answered = matches!(verdict.outcome, Outcome::Changed | Outcome::Unchanged);
        if is_answered && !ask.asked.addresses.is_empty() {
            self.limits.answered(&name, ask.asked.addresses);
        } else if matches!(verdict.outcome, Outcome::Unreachable | Outcome::Refused) {
            self.limits.failed(&name);
        }
        // What was answered is recorded already. Below a wildcard there are more names than anybody may fill the store with: only
        // those that came to be are recorded, and where they are counted.
        if !is_answered && grant == Some(Grant::Exact) && ask.asked.challenge().is_none() {
            self.saw(caller, &name, verdict.outcome, DesiredRecords::default(), Timestamp::now());
        }
        verdict
    }

    /// Sets the addresses at `name`, as was authorised.
    async fn set(
        &self,
        caller: &Caller,
        name: &Hostname,
        &Ask { ref asked, deadline }: &Ask,
        authorised: Authorised<'_>,
    ) -> HostVerdict {
        let origin = self.origin(caller, deadline);
        let records = DesiredRecords::set(asked.addresses, authorised.ttl);
        let grant = authorised.grant;
        let change = Change { name: name.clone(), records, origin };
        let part = Part { authorised, change, leader: None, has_pointers: false };
        let made = self.change(caller, &part, deadline);
        match grant {
            Grant::Exact => made.await,
            Grant::Wildcard => self.below_wildcard(caller, name, deadline, made).await,
        }
    }

    /// What a request wants, on whose behalf, and until when.
    fn origin(&self, caller: &Caller, deadline: Instant) -> Arc<Origin> {
        let client = Client { source: caller.source, agent: caller.agent.clone() };
        Arc::new(Origin {
            account: Arc::clone(&caller.account.login),
            client: Some(client),
            accepted: Timestamp::now(),
            keep: self.defer.map_or(Keep::WithCaller, |worth| Keep::Until(deadline + worth)),
        })
    }

    /// Makes a change of `name` below a wildcard, which counts.
    async fn below_wildcard(
        &self,
        caller: &Caller,
        name: &Hostname,
        deadline: Instant,
        made: impl Future<Output = HostVerdict>,
    ) -> HostVerdict {
        // One that is reserved when nobody waits any longer goes on counting, as after any 911.
        let reservation = match by(deadline, self.registry.reserve(&caller.account, name)).await {
            Ok(Some(reservation)) => reservation,
            Ok(None) => return HostVerdict::new(Outcome::NotYourHost, "the account's max_hosts is reached"),
            Err(away) => return away.into(),
        };
        let verdict = made.await;
        if verdict.outcome == Outcome::Unreachable {
            self.saw(caller, name, verdict.outcome, DesiredRecords::default(), Timestamp::now());
        }
        // After a timeout the name may yet come into being, so it goes on counting.
        if matches!(verdict.outcome, Outcome::NotYourHost | Outcome::TooFast | Outcome::Refused) {
            reservation.release();
        }
        verdict
    }

    async fn change(&self, caller: &Caller, part: &Part<'_>, deadline: Instant) -> HostVerdict {
        let Change { name, records, origin } = &part.change;
        let compared = part.authorised.zone.compare(&part.change);
        // What is asked for is what the host was told and what the primary last said: past the rate not even a question.
        if compared != Compared::Differs && self.limits.may_repeat(name, records.addresses()).is_err() {
            return HostVerdict::new(Outcome::Blocked, "repeats limit");
        }
        let verdict = match self.compare_and_change(caller, part, compared, deadline).await {
            Ok(verdict) => verdict,
            Err(away) => return away.into(),
        };
        if matches!(verdict.outcome, Outcome::Changed | Outcome::Unchanged) {
            self.saw(caller, name, verdict.outcome, records.clone(), origin.accepted);
        }
        verdict
    }

    async fn compare_and_change(
        &self,
        caller: &Caller,
        part: &Part<'_>,
        compared: Compared,
        deadline: Instant,
    ) -> Result<HostVerdict, Unavailable> {
        if let Some(verdict) = self.settle(part, compared, deadline).await? {
            return Ok(verdict);
        }
        if let Err(wait) = self.limits.host(&part.change.name) {
            return Ok(HostVerdict::too_fast(wait, "host limit"));
        }
        if let Some(verdict) = self.ask_before(caller, part, compared, deadline).await? {
            return Ok(verdict);
        }
        match part.authorised.zone.submit(part.change.clone(), deadline) {
            Ok(submitted) => self.end(part, submitted, deadline).await,
            Err(trouble) => Ok(HostVerdict::of(Err(trouble))),
        }
    }

    /// What becomes of a change that meets no limit for it: it is known to be made, or another gateway works on an older one.
    async fn settle(
        &self,
        part: &Part<'_>,
        compared: Compared,
        deadline: Instant,
    ) -> Result<Option<HostVerdict>, Unavailable> {
        let (zone, change) = (part.authorised.zone, &part.change);
        let is_shared = self.registry.is_shared();
        if compared == Compared::Same && !is_shared {
            return Ok(Some(HostVerdict::new(Outcome::Unchanged, "verified lately")));
        }
        // Another gateway may be doing what was asked for before, and must not be done after us. Rows that a store keeps which is
        // away are worked on only once all gateways have told it what they answered meanwhile.
        if is_shared
            && self.registry.trouble().is_none()
            && self.clear_pending(change, deadline).await == Cleared::Leased
        {
            // It is the newest all the same: what is pending here of an older request gives way to it.
            let _no_more_room = zone.park(change.clone(), None);
            return Ok(Some(HostVerdict::of(Err(Trouble::Timeout))));
        }
        // Where another gateway may have changed it since it was verified, a repeat asks, and meets no limit for that.
        let is_held = compared == Compared::Same && zone.holds(change, deadline).await;
        Ok(is_held.then(HostVerdict::verified_now))
    }

    /// What becomes of a change instead of being handed over, by what is asked of the primary and of the registry before.
    async fn ask_before(
        &self,
        caller: &Caller,
        part: &Part<'_>,
        compared: Compared,
        deadline: Instant,
    ) -> Result<Option<HostVerdict>, Unavailable> {
        let Part { authorised, change, .. } = part;
        let zone = authorised.zone;
        if compared == Compared::Unknown && zone.holds(change, deadline).await {
            return Ok(Some(HostVerdict::verified_now()));
        }
        if zone.is_elsewhere(&change.name, deadline).await {
            return Ok(Some(HostVerdict::of(Err(Trouble::Elsewhere))));
        }
        // Half of the time at most, so that a change can still be made.
        let since = self.lately();
        let until = since + deadline.saturating_duration_since(since) / 2;
        if authorised.grant == Grant::Wildcard
            && let Err(verdict) = Box::pin(self.is_no_target(&change.name, since, until)).await
        {
            if verdict.outcome == Outcome::Unreachable && self.defer.is_some() {
                // It is judged again when all zones can be read.
                let _no_more_room = zone.park(change.clone(), None);
            }
            return Ok(Some(verdict));
        }
        if self.registry.news() != authorised.news
            && let asked = Asked::of_records(&change.records)
            && let right = if part.leader.is_some() { Right::Followed(&change.records) } else { Right::Own(&asked) }
            && let Err(verdict) =
                Box::pin(self.is_still_authorised(caller, authorised, &change.name, right, deadline)).await
        {
            return Ok(Some(verdict));
        }
        Ok(None)
    }

    /// Waits for what becomes of a change that was handed over.
    async fn end(&self, part: &Part<'_>, submitted: Submitted, deadline: Instant) -> Result<HostVerdict, Unavailable> {
        let (zone, change) = (part.authorised.zone, &part.change);
        let is_shared = self.registry.is_shared();
        let (answer, unanswered) = submitted.answer_or_none().await;
        if let Some(unanswered) = unanswered {
            if let Some(pending) = self.registry.pending().filter(|_| is_shared) {
                self.late.watch(pending, zone, change.clone(), unanswered, self.deadline);
            }
        } else if answer.is_ok() && !is_shared && self.clear_pending(change, deadline).await != Cleared::Yes {
            // A row of an older request would bring that back at the next start.
            return Err(Unavailable);
        }
        Ok(HostVerdict::of(answer))
    }

    /// What is pending in the store of older requests for the same RRsets goes.
    async fn clear_pending(&self, Change { name, records, origin }: &Change, deadline: Instant) -> Cleared {
        match self.registry.pending() {
            Some(pending) => pending.clear(name, records, origin.accepted, deadline).await,
            None => Cleared::Yes,
        }
    }

    fn saw(&self, caller: &Caller, name: &Hostname, outcome: Outcome, held: DesiredRecords, asked: Timestamp) {
        let (name, source, agent) = (name.clone(), Some(caller.source), caller.agent.clone());
        self.registry.saw(Sighting { name, outcome, source, agent, held, asked });
    }
}

fn by_name(zones: impl IntoIterator<Item = engine::Zone>) -> HashMap<ZoneName, engine::Zone> {
    zones.into_iter().map(|zone| (zone.name().clone(), zone)).collect()
}

/// What the store says, if it does by `deadline`: what a request asks of it is asked through here. Nothing is half done where
/// nobody waits any longer: a transaction is undone with its connection, unless it was committed at that very moment.
async fn by<T, E: From<Unavailable>>(deadline: Instant, answer: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    timeout_at(deadline, answer).await.unwrap_or_else(|_| Err(Unavailable.into()))
}

/// Two spellings of one name are one host.
fn host_key(host: &str) -> String {
    Hostname::parse(host).map_or_else(|_| host.to_owned(), |name| name.to_string())
}
