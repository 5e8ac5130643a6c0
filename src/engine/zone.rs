//! The handle of one zone's engine: compare, ask, change.

use std::collections::HashSet;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, timeout_at};
use tracing::warn;

use super::blame::{Blame, advice, weigh};
use super::cache::{Compared, VerifiedCache};
use super::driver::{Driver, Order};
use super::entry::{Parked, Verdict, Waiter};
use super::health::PrimaryHealth;
use super::jitter::Jitter;
use super::late::Swap;
use super::queue::ZoneQueue;
use super::selection::PrimarySelection;
use super::settings::Settings;
use super::{Answer, Change, Ended, Late, Trouble};
use crate::dns::{AskError, Failure, Pool, Reader, Route};
use crate::metrics::Metrics;
use crate::model::{Desired, Hostname, RrData, RrKey, Timestamp, ZoneName};

/// Changes that have not reached the queue yet.
const QUEUE: usize = 16_384;
/// Hosts remembered in one zone; one that is forgotten costs a question.
const REMEMBERED: usize = 200_000;
const TARGETS_EVERY: Duration = Duration::from_secs(300);
const TARGETS_RETRY: Duration = Duration::from_secs(1);

/// One zone, ready to be changed; cheap to clone. Its tasks end when the last handle is dropped.
#[derive(Debug, Clone)]
pub struct Zone(Arc<ZoneInner>);

/// A zone that may have ended.
#[derive(Debug, Clone)]
pub struct WeakZone(Weak<ZoneInner>);

#[derive(Debug)]
struct ZoneInner {
    name: ZoneName,
    settings: watch::Sender<Arc<Settings>>,
    // Tells which settings the driver has taken.
    route: watch::Receiver<Route>,
    cache: Arc<VerifiedCache>,
    orders: mpsc::Sender<Order>,
    reader: Reader,
    problem: Arc<Mutex<Option<String>>>,
    health: Arc<PrimaryHealth>,
    // Read from the first question on: only wildcard grants need them.
    targets: OnceLock<watch::Receiver<Targets>>,
}

/// The names that the zone's own SOA and NS records point to.
#[derive(Debug, Clone)]
enum Targets {
    Unknown,
    Known(Arc<HashSet<Hostname>>),
    /// The primary does not tell us; a change would fail in the same way.
    Withheld(Failure),
}

/// A change that the engine has; it goes on after this is dropped where it was sent already.
#[derive(Debug)]
pub struct Submitted {
    answered: oneshot::Receiver<Answer>,
    until: Instant,
    late: oneshot::Receiver<Late>,
}

/// A change without an answer in time.
#[derive(Debug)]
pub struct Unanswered(oneshot::Receiver<Late>);

impl Submitted {
    /// Waits for what becomes of it.
    ///
    /// # Errors
    /// [`Trouble`]; after [`Trouble::Timeout`] the change may still be applied.
    pub async fn answer(self) -> Answer {
        self.answer_or_none().await.0
    }

    /// The same; after [`Trouble::Timeout`], what tells whether it was applied.
    pub async fn answer_or_none(self) -> (Answer, Option<Unanswered>) {
        match timeout_at(self.until, self.answered).await {
            Ok(Ok(answer)) => (answer, None),
            Ok(Err(_)) | Err(_) => (Err(Trouble::Timeout), Some(Unanswered(self.late))),
        }
    }
}

impl Unanswered {
    /// Waits for the end of its message; `None` where it was never sent, or failed.
    pub async fn ended(self) -> Option<Late> {
        self.0.await.ok()
    }
}

/// How a zone is doing.
#[derive(Debug, Clone)]
pub struct ZoneStatus {
    /// Its apex.
    pub zone: ZoneName,
    /// What is wrong with the primary in use; `None` where the last contact succeeded.
    pub problem: Option<String>,
    /// The primary in use was reached when last tried.
    pub is_reached: bool,
}

impl Zone {
    /// Starts the engine of a zone, which takes its connections from `pool`, and tells `ended` of changes that end while nobody
    /// waits for them. Must be called inside a tokio runtime.
    #[must_use]
    pub fn start(pool: &Pool, settings: Settings, metrics: &Metrics, ended: mpsc::UnboundedSender<Vec<Ended>>) -> Self {
        let random = RandomState::new().hash_one(&settings.zone.name);
        Self::start_with(random, pool, settings, metrics, ended)
    }

    /// The same with `random` in place of chance.
    #[must_use]
    pub fn start_with(
        random: u64,
        pool: &Pool,
        settings: Settings,
        metrics: &Metrics,
        ended: mpsc::UnboundedSender<Vec<Ended>>,
    ) -> Self {
        let settings = Arc::new(settings);
        let name = settings.zone.name.clone();
        let cache = Arc::new(VerifiedCache::new(settings.verify_interval, REMEMBERED));
        let selection = PrimarySelection::new(Arc::clone(&settings));
        let route = selection.route();
        let reader = Reader::start(pool.clone(), route.clone());
        let queue = ZoneQueue::new(settings.deadline, settings.zone.primaries.len(), Arc::clone(&cache));
        let problem = Arc::default();
        let health = Arc::<PrimaryHealth>::default();
        let (orders, ordered) = mpsc::channel(QUEUE);
        let settings = watch::Sender::new(settings);
        let driver = Driver {
            pool: pool.clone(),
            jitter: Jitter::new(random),
            selection,
            settings: settings.subscribe(),
            cache: Arc::clone(&cache),
            queue,
            orders: ordered,
            ended,
            problem: Arc::clone(&problem),
            health: Arc::clone(&health),
            metrics: metrics.zone(name.as_str()),
        };
        tokio::spawn(driver.run());
        let targets = OnceLock::new();
        Self(Arc::new(ZoneInner { name, settings, route, cache, orders, reader, problem, health, targets }))
    }

    /// Goes by other settings of the same zone; in force for all that is submitted once this returns.
    pub async fn set(&self, settings: Settings) {
        if self.0.settings.borrow().says_the_same(&settings) {
            return;
        }
        let settings = Arc::new(settings);
        self.0.cache.set_verify_interval(settings.verify_interval);
        self.0.settings.send_replace(Arc::clone(&settings));
        let is_taken = |route: &Route| Arc::ptr_eq(&route.update, &settings.update);
        let mut route = self.0.route.clone();
        let _driver_gone = route.wait_for(is_taken).await;
    }

    /// Names at or below `apex` begin or cease to be another zone's: nothing that is remembered of them counts.
    pub fn forget_within(&self, apex: &ZoneName) {
        self.0.cache.forget_within(apex);
    }

    /// Another gateway may have changed `name`: nothing that is remembered of it counts.
    pub fn forget(&self, name: &Hostname) {
        self.0.cache.forget(name);
    }

    /// A handle that lets it end.
    #[must_use]
    pub fn downgrade(&self) -> WeakZone {
        WeakZone(Arc::downgrade(&self.0))
    }

    /// The apex.
    #[must_use]
    pub fn name(&self) -> &ZoneName {
        &self.0.name
    }

    /// Compares `change` with what the primary last said; asks nobody.
    #[must_use]
    pub fn compare(&self, change: &Change) -> Compared {
        self.0.cache.compare(&change.name, &change.records, Instant::now())
    }

    /// Asks the primary whether the name itself already holds what `change` wants. `false` also where it does not answer,
    /// where a change began meanwhile, where something is to be removed, and in a storm: the change itself then tells.
    pub async fn holds(&self, change: &Change, deadline: Instant) -> bool {
        let Change { name, records, .. } = change;
        if records.removes() || self.0.cache.is_busy() {
            return false;
        }
        let before = self.0.cache.before(name);
        // Half of the time at most, so that a change can still be made.
        let now = Instant::now();
        let limit = now + deadline.saturating_duration_since(now) / 2;
        let held = timeout_at(limit, self.0.reader.holds(name, records)).await;
        matches!(held, Ok(Ok(true))) && self.0.cache.answered(name, records, Instant::now(), before)
    }

    /// What an RRset holds now, as the primary says.
    ///
    /// # Errors
    /// [`Trouble`]
    pub async fn read(&self, key: &RrKey, deadline: Instant) -> Result<Vec<Desired>, Trouble> {
        match timeout_at(deadline, self.0.reader.read(key)).await {
            Ok(Ok(held)) => Ok(held),
            Ok(Err(AskError::Failed(failure))) => Err(trouble(failure)),
            Ok(Err(AskError::Full)) => Err(Trouble::Overloaded),
            Ok(Err(_)) | Err(_) => Err(Trouble::Timeout),
        }
    }

    /// Sets or removes, in one message with whatever else travels now. To remove what is not there succeeds.
    ///
    /// # Errors
    /// [`Trouble`]; after [`Trouble::Timeout`] the change is pending, as long as its origin says.
    pub async fn change(&self, change: Change, deadline: Instant) -> Answer {
        self.submit(change, deadline)?.answer().await
    }

    /// Hands over what [`Self::change`] waits for.
    ///
    /// # Errors
    /// [`Trouble::Overloaded`]
    pub fn submit(&self, change: Change, until: Instant) -> Result<Submitted, Trouble> {
        let ((answer, answered), (tell, late)) = (oneshot::channel(), oneshot::channel());
        let waiter = Waiter { records: change.records.clone(), until, answer, late: Some(tell) };
        self.enqueue(change, Some(waiter), None)?;
        Ok(Submitted { answered, until, late })
    }

    /// Hands over a change for which nobody waits, in place of all that was handed over before for its RRsets: it leaves once
    /// it was authorised again. `row` is the store's.
    ///
    /// # Errors
    /// [`Trouble::Overloaded`]
    pub fn park(&self, change: Change, row: Option<Timestamp>) -> Result<(), Trouble> {
        self.enqueue(change, None, row)
    }

    fn enqueue(&self, change: Change, waiter: Option<Waiter>, row: Option<Timestamp>) -> Result<(), Trouble> {
        let under_way = self.0.cache.begin(&change.name);
        let order = Order::Change { change, waiter, row, under_way };
        self.0.orders.try_send(order).map_err(|_| Trouble::Overloaded)
    }

    /// Where an RRset holds exactly what is `expected` (nothing: it does not exist), it is to hold what is `desired`; whether it
    /// was so. Waits for what else is pending of the name.
    ///
    /// # Errors
    /// [`Trouble`]; after [`Trouble::Timeout`] it may still be done.
    pub async fn compare_and_swap(
        &self,
        key: RrKey,
        expected: Vec<RrData>,
        desired: Desired,
        deadline: Instant,
    ) -> Result<bool, Trouble> {
        let (answer, answered) = oneshot::channel();
        let swap = Swap { key, expected, desired, answer: Some(answer) };
        self.0.orders.try_send(Order::Swap(swap)).map_err(|_| Trouble::Overloaded)?;
        match timeout_at(deadline, answered).await {
            Ok(Ok(done)) => done,
            Ok(Err(_)) | Err(_) => Err(Trouble::Timeout),
        }
    }

    /// Changes for which nobody waits, of at most `most` names in their order, those after `after`; before the first also those
    /// in flight.
    pub async fn parked(&self, after: Option<Hostname>, most: usize) -> Vec<Parked> {
        let (answer, parked) = oneshot::channel();
        let _ended = self.0.orders.send(Order::List { after, most, answer }).await;
        parked.await.unwrap_or_default()
    }

    /// How many names are pending for which nobody waits.
    #[must_use]
    pub fn parked_count(&self) -> usize {
        self.0.health.parked()
    }

    /// Does what was decided of parked changes, each where it is still the newest of its RRset.
    pub async fn settle(&self, verdicts: Vec<(Parked, Verdict)>) {
        let (done, settled) = oneshot::channel();
        let _ended = self.0.orders.send(Order::Settle(verdicts, done)).await;
        let _ended = settled.await;
    }

    /// Parks all that is not in flight: the gateway stops.
    pub async fn park_all(&self) {
        let (done, parked) = oneshot::channel();
        let _ended = self.0.orders.send(Order::ParkAll(done)).await;
        let _ended = parked.await;
    }

    /// Whether the primary in use was reached when last tried.
    #[must_use]
    pub fn is_reached(&self) -> bool {
        self.0.health.is_reached()
    }

    /// Wakes `waiting` whenever the primary can be used again after it could not.
    pub fn on_return(&self, waiting: Arc<Notify>) {
        self.0.health.notify_on_return(waiting);
    }

    /// Whether the zone's own SOA or NS records name `host`.
    ///
    /// # Errors
    /// [`Trouble`] where the primary did not say before `deadline`.
    pub async fn is_target(&self, host: &Hostname, deadline: Instant) -> Result<bool, Trouble> {
        let mut targets = self.0.targets.get_or_init(|| self.watch_targets()).clone();
        let found = timeout_at(deadline, targets.wait_for(|targets| !matches!(targets, Targets::Unknown)));
        match found.await {
            Ok(Ok(targets)) => match &*targets {
                Targets::Known(targets) => Ok(targets.contains(host)),
                Targets::Withheld(failure) => Err(trouble(*failure)),
                Targets::Unknown => Err(Trouble::Timeout),
            },
            Ok(Err(_)) | Err(_) => Err(Trouble::Timeout),
        }
    }

    /// Whether the zone's own SOA or NS records are known to name `host`; asks nobody, for it may be another zone's host.
    #[must_use]
    pub fn is_known_target(&self, host: &Hostname) -> bool {
        let targets = self.0.targets.get_or_init(|| self.watch_targets()).borrow();
        matches!(&*targets, Targets::Known(targets) if targets.contains(host))
    }

    fn watch_targets(&self) -> watch::Receiver<Targets> {
        let (found, targets) = watch::channel(Targets::Unknown);
        let ZoneInner { name, route, reader, problem, health, .. } = &*self.0;
        let (problem, health) = (Arc::clone(problem), Arc::clone(health));
        tokio::spawn(find_targets(name.clone(), route.clone(), reader.clone(), problem, health, found));
        targets
    }

    /// How the zone is doing.
    #[must_use]
    pub fn status(&self) -> ZoneStatus {
        let refused = self.0.problem.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let problem = self.0.health.problem().into_iter().chain(refused).reduce(|one, other| format!("{one}; {other}"));
        ZoneStatus { zone: self.0.name.clone(), problem, is_reached: self.is_reached() }
    }

    /// Has the primary asked now and then, so that [`ZoneStatus::is_reached`] is true to what is, also where nothing is changed.
    pub fn watch_primary(&self) {
        self.0.health.watch();
    }
}

impl WeakZone {
    /// The zone, where somebody still waits for a change of it.
    #[must_use]
    pub fn upgrade(&self) -> Option<Zone> {
        self.0.upgrade().map(Zone)
    }
}

fn trouble(failure: Failure) -> Trouble {
    match weigh(failure) {
        Blame::Clock | Blame::Server => Trouble::Failed(failure),
        Blame::Hidden | Blame::Name | Blame::NameOrZone | Blame::Zone => Trouble::Refused(failure),
    }
}

/// Keeps the targets of the apex's SOA and NS records current, until nobody wants them.
async fn find_targets(
    zone: ZoneName,
    mut route: watch::Receiver<Route>,
    reader: Reader,
    problem: Arc<Mutex<Option<String>>>,
    health: Arc<PrimaryHealth>,
    found: watch::Sender<Targets>,
) {
    let mut complained = false;
    loop {
        route.mark_unchanged();
        let pause = match reader.zone_targets().await {
            Ok(targets) => {
                found.send_replace(Targets::Known(Arc::new(targets.into_iter().collect())));
                if std::mem::take(&mut complained) {
                    *problem.lock().unwrap_or_else(PoisonError::into_inner) = None;
                }
                TARGETS_EVERY
            }
            Err(error) => {
                // As long as nobody's changes are let through, none of them would find out.
                if error.leads_to_next_primary() {
                    health.doubt();
                }
                let advised = match error {
                    AskError::Failed(failure) => advice(failure),
                    _ => "see that the primary can be reached and serves the zone",
                };
                if let AskError::Failed(failure) = error {
                    *problem.lock().unwrap_or_else(PoisonError::into_inner) = Some(format!("{error}: {advised}"));
                    // What was known stays.
                    found.send_if_modified(|targets| match targets {
                        Targets::Known(_) => false,
                        Targets::Unknown | Targets::Withheld(_) => {
                            *targets = Targets::Withheld(failure);
                            true
                        }
                    });
                }
                if !std::mem::replace(&mut complained, true) {
                    warn!(%zone, %error, advice = advised, "the zone's SOA and NS records cannot be read; wildcard grants wait for them");
                }
                TARGETS_RETRY
            }
        };
        tokio::select! {
            () = sleep(pause) => {}
            // Another primary, or another key.
            Ok(()) = route.changed() => {}
            () = found.closed() => return,
        }
    }
}
