//! The handle of one zone's engine: compare, ask, change.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout_at};

use super::cache::{Compared, Served, VerifiedCache};
use super::driver::{ChangeOrder, Driver, Order};
use super::entry::{Parked, Verdict, Waiter};
use super::health::PrimaryHealth;
use super::jitter::Jitter;
use super::late::Swap;
use super::queue::ZoneQueue;
use super::selection::PrimarySelection;
use super::settings::Settings;
use super::targets::Targets;
use super::{Answer, Change, Ended, Late, Trouble, proven, trouble};
use crate::dns::{AskError, Held, Own, Pool, Rcode, Reader, Route};
use crate::metrics::Metrics;
use crate::model::{Desired, DesiredRecords, Hostname, RrData, RrKey, Timestamp, ZoneName};

/// Changes that have not reached the queue yet.
const QUEUE: usize = 16_384;
/// Hosts remembered in one zone; one that is forgotten costs a question.
const REMEMBERED: usize = 200_000;

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
    targets: OnceLock<Targets>,
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
    /// A caller that waits for `change`, and what it waits with.
    fn new(change: &Change, until: Instant) -> (Waiter, Self) {
        let ((answer, answered), (tell, late)) = (oneshot::channel(), oneshot::channel());
        let waiter = Waiter { records: change.records.clone(), until, answer, late: Some(tell) };
        (waiter, Self { answered, until, late })
    }

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
            reader: reader.clone(),
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
    /// where a change began meanwhile, where some records are to go and others to stay, and in a storm: the change itself then
    /// tells.
    pub async fn holds(&self, change: &Change, deadline: Instant) -> bool {
        let Change { name, records, .. } = change;
        if records.iter().any(|(_, desired)| matches!(desired, Desired::Without(_))) || self.0.cache.is_busy() {
            return false;
        }
        let before = self.0.cache.before(name);
        // Half of the time at most, so that a change can still be made.
        let now = Instant::now();
        let limit = now + deadline.saturating_duration_since(now) / 2;
        match timeout_at(limit, self.0.reader.holds(name, records)).await {
            Ok(Ok(Held::Own)) => self.0.cache.answered(name, records, Instant::now(), before),
            Ok(Ok(Held::Alike)) => {
                self.0.cache.set_served(name, Served::Alike);
                false
            }
            Ok(Ok(Held::Other) | Err(_)) | Err(_) => false,
        }
    }

    /// Whether another zone on the primary lies over `name`, of which something other than ours was served when last seen: a
    /// change of it would be one more that nobody sees.
    pub async fn is_elsewhere(&self, name: &Hostname, deadline: Instant) -> bool {
        self.0.cache.served(name) == Served::Alike
            && matches!(Box::pin(timeout_at(deadline, self.0.reader.zone_over(name))).await, Ok(Ok(Some(_))))
    }

    /// What an RRset holds now, as the primary says.
    ///
    /// # Errors
    /// [`Trouble`]
    pub async fn read(&self, key: &RrKey, deadline: Instant) -> Result<Vec<Desired>, Trouble> {
        asked(timeout_at(deadline, self.0.reader.read(key)).await)
    }

    /// What an RRset of the name itself holds, as the primary says; that counts as verified then.
    pub(crate) async fn own(&self, key: &RrKey, deadline: Instant) -> Result<Own, Trouble> {
        let before = self.0.cache.before(&key.name);
        let own = asked(timeout_at(deadline, self.0.reader.own(key)).await)?;
        let held = match &own {
            Own::Nothing => Desired::Absent,
            Own::Records { data, ttl } => Desired::Set { data: data.clone(), ttl: *ttl },
            Own::Others => return Ok(own),
        };
        let records = DesiredRecords::from_iter([(key.rtype, held)]);
        self.0.cache.answered(&key.name, &records, Instant::now(), before);
        Ok(own)
    }

    /// Whether nothing in the zone hides `name`, as the primary says.
    ///
    /// # Errors
    /// [`Trouble`]; [`Trouble::Hidden`] where something does.
    pub async fn would_serve(&self, name: &Hostname, deadline: Instant) -> Result<(), Trouble> {
        match asked(timeout_at(deadline, self.0.reader.would_serve(name)).await) {
            Err(Trouble::Refused(failure)) if failure.rcode == Rcode::YXRRSET => Err(Trouble::Hidden(failure)),
            other => other,
        }
    }

    /// What the primary last said of an RRset, however long ago, if nothing is under way; asks nobody.
    #[must_use]
    pub fn known(&self, key: &RrKey) -> Option<Desired> {
        self.0.cache.known(key)
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
        let (waiter, submitted) = Submitted::new(&change, until);
        self.enqueue(change, Some(waiter), None)?;
        Ok(submitted)
    }

    /// Hands over changes that travel in one message where there is room for all of them; what becomes of each, in their order.
    ///
    /// # Errors
    /// [`Trouble::Overloaded`]; none was taken.
    pub fn submit_all(&self, changes: Vec<Change>, until: Instant) -> Result<Vec<Submitted>, Trouble> {
        let (mut orders, mut submitted) = (Vec::with_capacity(changes.len()), Vec::with_capacity(changes.len()));
        for change in changes {
            let (waiter, one) = Submitted::new(&change, until);
            let under_way = self.0.cache.begin(&change.name);
            orders.push(ChangeOrder { change, waiter: Some(waiter), row: None, under_way });
            submitted.push(one);
        }
        self.0.orders.try_send(Order::Changes(orders)).map_err(|_| Trouble::Overloaded)?;
        Ok(submitted)
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
        let order = Order::Change(ChangeOrder { change, waiter, row, under_way });
        self.0.orders.try_send(order).map_err(|_| Trouble::Overloaded)
    }

    /// Where an RRset holds exactly what is `expected` (nothing: it does not exist), it is to hold what is `desired`; whether it
    /// was so, and is read back. Waits for what else is pending of the name.
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
        let (name, records) = (key.name.clone(), DesiredRecords::from_iter([(key.rtype, desired.clone())]));
        let swap = Swap { key, expected, desired, answer: Some(answer) };
        self.0.orders.try_send(Order::Swap(swap)).map_err(|_| Trouble::Overloaded)?;
        match timeout_at(deadline, answered).await {
            Ok(Ok(Ok(true))) => {}
            Ok(Ok(other)) => return other,
            Ok(Err(_)) | Err(_) => return Err(Trouble::Timeout),
        }
        let is_alike = self.0.cache.served(&name) == Served::Alike;
        match timeout_at(deadline, self.0.reader.proof(&name, &records, is_alike)).await {
            Ok(proof) => proven(&proof).map(|()| true),
            Err(_) => Err(Trouble::Timeout),
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

    /// Whether the zone's own SOA or NS records name `host`, as the primary said when it was asked at `since` or later.
    ///
    /// # Errors
    /// [`Trouble`] where it did not say before `until`.
    pub async fn is_target(&self, host: &Hostname, since: Instant, until: Instant) -> Result<bool, Trouble> {
        self.targets().has(host, since, until).await
    }

    /// [`Self::is_target`] will be asked: many zones are to be asked at once.
    pub fn want_targets(&self, since: Instant) {
        self.targets().want(since);
    }

    /// Whether the zone's own SOA or NS records named `host` when they were last read; asks nobody, and `false` says nothing.
    #[must_use]
    pub fn was_target(&self, host: &Hostname) -> bool {
        self.targets().had(host)
    }

    fn targets(&self) -> &Targets {
        let ZoneInner { name, route, reader, health, targets, .. } = &*self.0;
        targets.get_or_init(|| Targets::start(name.clone(), route.clone(), reader.clone(), Arc::clone(health)))
    }

    /// How the zone is doing.
    #[must_use]
    pub fn status(&self) -> ZoneStatus {
        let refused = self.0.problem.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let of_targets = self.0.targets.get().and_then(Targets::problem);
        let problems = self.0.health.problem().into_iter().chain(refused).chain(of_targets);
        let problem = problems.reduce(|one, other| format!("{one}; {other}"));
        ZoneStatus { zone: self.0.name.clone(), problem, is_reached: self.is_reached() }
    }

    /// Has the primary asked now and then, so that [`ZoneStatus::is_reached`] is true to what is, also where nothing is changed.
    pub fn watch_primary(&self) {
        self.0.health.watch();
    }
}

/// What an answer means to whoever asked for it, or that there was none in time.
fn asked<T>(answer: Result<Result<T, AskError>, Elapsed>) -> Result<T, Trouble> {
    match answer {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(AskError::Failed(failure))) => Err(trouble(failure)),
        Ok(Err(AskError::Full)) => Err(Trouble::Overloaded),
        Ok(Err(_)) | Err(_) => Err(Trouble::Timeout),
    }
}

impl WeakZone {
    /// The zone, where somebody still waits for a change of it.
    #[must_use]
    pub fn upgrade(&self) -> Option<Zone> {
        self.0.upgrade().map(Zone)
    }
}
