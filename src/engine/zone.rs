//! The handle of one zone's engine: compare, ask, change.

use std::collections::HashSet;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, timeout_at};
use tracing::warn;

use super::blame::{Blame, advice, weigh};
use super::driver::Driver;
use super::entry::Waiter;
use super::lane::Lane;
use super::memory::{Compared, Memory, UnderWay};
use super::reach::Reach;
use super::{Answer, Trouble, Wish};
use crate::config;
use crate::dns::{EncodeError, Failure, Held, Network, ReadError, Reader, Signer, Tcp, Update};
use crate::metrics::Metrics;
use crate::model::{Hostname, ZoneName};

/// Changes that have not reached the lane yet.
const QUEUE: usize = 16_384;
/// Hosts remembered in one zone; one that is forgotten costs a question.
const REMEMBERED: usize = 200_000;
const TARGETS_EVERY: Duration = Duration::from_secs(300);
const TARGETS_RETRY: Duration = Duration::from_secs(1);

/// One zone, ready to be changed; cheap to clone. Its tasks end when the last handle is dropped.
#[derive(Debug, Clone)]
pub struct Zone {
    name: ZoneName,
    memory: Arc<Memory>,
    changes: mpsc::Sender<Waiter>,
    reader: Reader,
    problem: Arc<Mutex<Option<String>>>,
    reach: Arc<Reach>,
    // Read from the first question on: only wildcard grants need them.
    targets: Arc<OnceLock<watch::Receiver<Targets>>>,
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
    _under_way: UnderWay,
}

impl Submitted {
    /// Waits for what becomes of it.
    ///
    /// # Errors
    /// [`Trouble`]; after [`Trouble::Timeout`] the change may still be applied.
    pub async fn answer(self, deadline: Instant) -> Answer {
        match timeout_at(deadline, self.answered).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) | Err(_) => Err(Trouble::Timeout),
        }
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
    /// Starts the engine of `zone`. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// [`EncodeError::Name`] where a name does not fit the wire.
    pub fn start(zone: &config::Zone, engine: &config::Engine, metrics: &Metrics) -> Result<Self, EncodeError> {
        Self::start_over(Arc::new(Tcp), RandomState::new().hash_one(&zone.name), zone, engine, metrics)
    }

    /// The same over `network`, with `random` in place of chance.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_over(
        network: Arc<dyn Network>,
        random: u64,
        zone: &config::Zone,
        engine: &config::Engine,
        metrics: &Metrics,
    ) -> Result<Self, EncodeError> {
        let update = Arc::new(Update::new(zone.name.clone(), Signer::new(zone.key.clone())?)?);
        let memory = Arc::new(Memory::new(engine.verify_interval, REMEMBERED));
        let in_use = Arc::new(AtomicUsize::new(0));
        let reader =
            Reader::start(Arc::clone(&network), Arc::clone(&update), zone, Arc::clone(&in_use), engine.deadline);
        let problem = Arc::default();
        let reach = Arc::<Reach>::default();
        let (changes, queue) = mpsc::channel(QUEUE);
        let metrics = metrics.zone(zone.name.as_str());
        let driver = Driver {
            network,
            random,
            zone: zone.clone(),
            update,
            deadline: engine.deadline,
            memory: Arc::clone(&memory),
            lane: Lane::new(engine.deadline, zone.primaries.len(), Arc::clone(&memory)),
            changes: queue,
            in_use,
            problem: Arc::clone(&problem),
            reach: Arc::clone(&reach),
            up: vec![None; zone.primaries.len()],
            metrics,
        };
        tokio::spawn(driver.run());
        Ok(Self { name: zone.name.clone(), memory, changes, reader, problem, reach, targets: Arc::default() })
    }

    /// The apex.
    #[must_use]
    pub fn name(&self) -> &ZoneName {
        &self.name
    }

    /// Compares `wish` with what the primary last said; asks nobody.
    #[must_use]
    pub fn compare(&self, wish: &Wish) -> Compared {
        self.memory.compare(wish, Instant::now())
    }

    /// Asks the primary whether the name itself already holds what `wish` says. `false` also where it does not answer,
    /// where a change began meanwhile, where something is to be removed, and in a storm: the change itself then tells.
    pub async fn holds(&self, wish: &Wish, deadline: Instant) -> bool {
        if wish.records.removes() || self.memory.is_busy() {
            return false;
        }
        let before = self.memory.before(&wish.name);
        // Half of the time at most, so that a change can still be made.
        let now = Instant::now();
        let limit = now + deadline.saturating_duration_since(now) / 2;
        let held = timeout_at(limit, self.reader.holds(&wish.name, wish.records.addresses(), wish.ttl)).await;
        matches!(held, Ok(Ok(Held::Exactly))) && self.memory.answered(wish, Instant::now(), before)
    }

    /// Sets or removes, in one message with whatever else travels now. To remove what is not there succeeds.
    ///
    /// # Errors
    /// [`Trouble`]; after [`Trouble::Timeout`] the change may still be applied.
    pub async fn change(&self, wish: Wish, deadline: Instant) -> Answer {
        self.submit(wish)?.answer(deadline).await
    }

    /// Hands a change to the engine, behind all that were handed to it before.
    ///
    /// # Errors
    /// [`Trouble::Overloaded`]
    pub fn submit(&self, wish: Wish) -> Result<Submitted, Trouble> {
        let under_way = self.memory.begin(&wish.name);
        let (answer, answered) = oneshot::channel();
        self.changes.try_send(Waiter { wish, answer }).map_err(|_| Trouble::Overloaded)?;
        Ok(Submitted { answered, _under_way: under_way })
    }

    /// Whether the primary in use was reached when last tried.
    #[must_use]
    pub fn is_reached(&self) -> bool {
        self.reach.is_reached()
    }

    /// Wakes `who` whenever the primary can be used again after it could not.
    pub fn on_return(&self, who: Arc<Notify>) {
        self.reach.tell(who);
    }

    /// Whether the zone's own SOA or NS records name `host`.
    ///
    /// # Errors
    /// [`Trouble`] where the primary did not say before `deadline`.
    pub async fn is_target(&self, host: &Hostname, deadline: Instant) -> Result<bool, Trouble> {
        let mut targets = self.targets.get_or_init(|| self.watch_targets()).clone();
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
        let targets = self.targets.get_or_init(|| self.watch_targets()).borrow();
        matches!(&*targets, Targets::Known(targets) if targets.contains(host))
    }

    fn watch_targets(&self) -> watch::Receiver<Targets> {
        let (found, targets) = watch::channel(Targets::Unknown);
        tokio::spawn(find_targets(self.name.clone(), self.reader.clone(), Arc::clone(&self.problem), found));
        targets
    }

    /// How the zone is doing.
    #[must_use]
    pub fn status(&self) -> ZoneStatus {
        let problem = self.problem.lock().unwrap_or_else(PoisonError::into_inner).clone();
        ZoneStatus { zone: self.name.clone(), problem }
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
    reader: Reader,
    problem: Arc<Mutex<Option<String>>>,
    found: watch::Sender<Targets>,
) {
    let mut complained = false;
    loop {
        let pause = match reader.zone_targets().await {
            Ok(targets) => {
                found.send_replace(Targets::Known(Arc::new(targets.into_iter().collect())));
                if std::mem::take(&mut complained) {
                    *problem.lock().unwrap_or_else(PoisonError::into_inner) = None;
                }
                TARGETS_EVERY
            }
            Err(error) => {
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
            () = found.closed() => return,
        }
    }
}
