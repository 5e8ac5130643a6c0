//! The handle of one zone's engine: compare, ask, change.

use std::collections::HashSet;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, timeout_at};
use tracing::warn;

use super::blame::{Blame, advice, weigh};
use super::course::Course;
use super::driver::Driver;
use super::entry::{Handed, Waiter};
use super::jitter::Jitter;
use super::lane::Lane;
use super::memory::{Compared, Memory, UnderWay};
use super::reach::Reach;
use super::settings::Settings;
use super::strays::Undo;
use super::{Answer, Late, Trouble, Wish};
use crate::dns::{Failure, Held, Pool, ReadError, Reader, Route};
use crate::metrics::Metrics;
use crate::model::{Hostname, Records, ZoneName};

/// Changes that have not reached the lane yet.
const QUEUE: usize = 16_384;
/// Hosts remembered in one zone; one that is forgotten costs a question.
const REMEMBERED: usize = 200_000;
const TARGETS_EVERY: Duration = Duration::from_secs(300);
const TARGETS_RETRY: Duration = Duration::from_secs(1);

/// One zone, ready to be changed; cheap to clone. Its tasks end when the last handle is dropped.
#[derive(Debug, Clone)]
pub struct Zone(Arc<Inner>);

/// A zone that may have ended.
#[derive(Debug, Clone)]
pub struct WeakZone(Weak<Inner>);

#[derive(Debug)]
struct Inner {
    name: ZoneName,
    settings: watch::Sender<Arc<Settings>>,
    // Tells which settings the driver has taken.
    route: watch::Receiver<Route>,
    memory: Arc<Memory>,
    changes: mpsc::Sender<Handed>,
    reader: Reader,
    problem: Arc<Mutex<Option<String>>>,
    reach: Arc<Reach>,
    // Which era what is remembered is of.
    era: AtomicU64,
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
    _under_way: UnderWay,
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
}

impl Zone {
    /// Starts the engine of a zone, which takes its connections from `pool`. Must be called inside a tokio runtime.
    #[must_use]
    pub fn start(pool: &Pool, settings: Settings, metrics: &Metrics) -> Self {
        let random = RandomState::new().hash_one(&settings.zone.name);
        Self::start_with(random, pool, settings, metrics)
    }

    /// The same with `random` in place of chance.
    #[must_use]
    pub fn start_with(random: u64, pool: &Pool, settings: Settings, metrics: &Metrics) -> Self {
        let settings = Arc::new(settings);
        let name = settings.zone.name.clone();
        let memory = Arc::new(Memory::new(settings.verify_interval, REMEMBERED));
        let course = Course::new(Arc::clone(&settings));
        let route = course.route();
        let reader = Reader::start(pool.clone(), route.clone());
        let lane = Lane::new(settings.deadline, settings.zone.primaries.len(), Arc::clone(&memory));
        let problem = Arc::default();
        let reach = Arc::<Reach>::default();
        let (changes, queue) = mpsc::channel(QUEUE);
        let settings = watch::Sender::new(settings);
        let driver = Driver {
            pool: pool.clone(),
            jitter: Jitter::new(random),
            course,
            settings: settings.subscribe(),
            memory: Arc::clone(&memory),
            lane,
            changes: queue,
            problem: Arc::clone(&problem),
            reach: Arc::clone(&reach),
            metrics: metrics.zone(name.as_str()),
        };
        tokio::spawn(driver.run());
        let targets = OnceLock::new();
        let era = AtomicU64::new(0);
        Self(Arc::new(Inner { name, settings, route, memory, changes, reader, problem, reach, era, targets }))
    }

    /// Goes by other settings of the same zone; in force for all that is submitted once this returns.
    pub async fn set(&self, settings: Settings) {
        if self.0.settings.borrow().says_the_same(&settings) {
            return;
        }
        let settings = Arc::new(settings);
        self.0.memory.set_verify_interval(settings.verify_interval);
        self.0.settings.send_replace(Arc::clone(&settings));
        let is_taken = |route: &Route| Arc::ptr_eq(&route.update, &settings.update);
        let mut route = self.0.route.clone();
        let _driver_gone = route.wait_for(is_taken).await;
    }

    /// Names at or below `apex` begin or cease to be another zone's: nothing that is remembered of them counts.
    pub fn forget_within(&self, apex: &ZoneName) {
        self.0.memory.forget_within(apex);
    }

    /// Another gateway may have changed `name`: nothing that is remembered of it counts.
    pub fn forget(&self, name: &Hostname) {
        self.0.memory.forget(name);
    }

    /// What was remembered in another era than `era` does not count.
    pub fn enter(&self, era: u64) {
        if self.0.era.load(Ordering::SeqCst) != era {
            self.0.memory.forget_all();
            self.0.era.store(era, Ordering::SeqCst);
        }
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

    /// Compares `wish` with what the primary last said; asks nobody.
    #[must_use]
    pub fn compare(&self, wish: &Wish) -> Compared {
        self.0.memory.compare(wish, Instant::now())
    }

    /// Asks the primary whether the name itself already holds what `wish` says. `false` also where it does not answer,
    /// where a change began meanwhile, where something is to be removed, and in a storm: the change itself then tells.
    pub async fn holds(&self, wish: &Wish, deadline: Instant) -> bool {
        if wish.records.removes() || self.0.memory.is_busy() {
            return false;
        }
        let before = self.0.memory.before(&wish.name);
        // Half of the time at most, so that a change can still be made.
        let now = Instant::now();
        let limit = now + deadline.saturating_duration_since(now) / 2;
        let held = timeout_at(limit, self.0.reader.holds(&wish.name, wish.records.addresses(), wish.ttl)).await;
        matches!(held, Ok(Ok(Held::Exactly))) && self.0.memory.answered(wish, Instant::now(), before)
    }

    /// Sets or removes, in one message with whatever else travels now. To remove what is not there succeeds.
    ///
    /// # Errors
    /// [`Trouble`]; after [`Trouble::Timeout`] the change may still be applied.
    pub async fn change(&self, wish: Wish, deadline: Instant) -> Answer {
        self.submit(wish, deadline)?.answer().await
    }

    /// Hands over what [`Self::change`] waits for.
    ///
    /// # Errors
    /// [`Trouble::Overloaded`]
    pub fn submit(&self, wish: Wish, until: Instant) -> Result<Submitted, Trouble> {
        self.hand(wish, until, false)
    }

    /// Another gateway was told the newer `wish`, of one family, and `lost` may have been applied after it: where the name
    /// holds exactly that, it is to hold `wish`. Asked once.
    pub fn undo(&self, lost: Records, wish: Wish) {
        let _too_much_to_do = self.0.changes.try_send(Handed::Undo(Undo { lost, wish }));
    }

    /// Hands over a change for which no client waits, behind all that were handed over before for its name. Such changes
    /// travel with their like, and take turns with the others.
    ///
    /// # Errors
    /// [`Trouble::Overloaded`]
    pub fn submit_errand(&self, wish: Wish, until: Instant) -> Result<Submitted, Trouble> {
        self.hand(wish, until, true)
    }

    fn hand(&self, wish: Wish, until: Instant, is_errand: bool) -> Result<Submitted, Trouble> {
        let under_way = self.0.memory.begin(&wish.name);
        let ((answer, answered), (tell, late)) = (oneshot::channel(), oneshot::channel());
        let waiter = Waiter { wish, until, is_errand, answer, late: Some(tell) };
        self.0.changes.try_send(Handed::Change(waiter)).map_err(|_| Trouble::Overloaded)?;
        Ok(Submitted { answered, until, late, _under_way: under_way })
    }

    /// Whether the primary in use was reached when last tried.
    #[must_use]
    pub fn is_reached(&self) -> bool {
        self.0.reach.is_reached()
    }

    /// Wakes `who` whenever the primary can be used again after it could not.
    pub fn on_return(&self, who: Arc<Notify>) {
        self.0.reach.tell(who);
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
        let Inner { name, route, reader, problem, reach, .. } = &*self.0;
        let (problem, reach) = (Arc::clone(problem), Arc::clone(reach));
        tokio::spawn(find_targets(name.clone(), route.clone(), reader.clone(), problem, reach, found));
        targets
    }

    /// How the zone is doing.
    #[must_use]
    pub fn status(&self) -> ZoneStatus {
        let problem = self.0.problem.lock().unwrap_or_else(PoisonError::into_inner).clone();
        ZoneStatus { zone: self.0.name.clone(), problem }
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
    reach: Arc<Reach>,
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
                let is_primarys = match &error {
                    ReadError::Connect(_) | ReadError::Lost => true,
                    ReadError::Failed(failure) => weigh(*failure) == Blame::Server,
                    ReadError::Full | ReadError::NoZone | ReadError::Encode(_) => false,
                };
                if is_primarys {
                    reach.doubt();
                }
                let mend = match error {
                    ReadError::Failed(failure) => advice(failure),
                    _ => "see that the primary can be reached and serves the zone",
                };
                if let ReadError::Failed(failure) = error {
                    *problem.lock().unwrap_or_else(PoisonError::into_inner) = Some(format!("{error}: {mend}"));
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
                    warn!(%zone, %error, mend, "the zone's SOA and NS records cannot be read; wildcard grants wait for them");
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
