//! Reads the configuration again, checks it whole, and only then puts all of it in force. The one place that reloads.

use std::collections::{HashMap, HashSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep_until};
use tracing::{error, info, warn};

use super::difference::{changed, needs_restart};
use super::in_force::{Current, InForce};
use super::tell_systemd;
use crate::api::reload::{ReloadRefused, ReloadRequest, Reloaded};
use crate::config::Config;
use crate::dns::Pool;
use crate::engine::{self, Ended, Settings, WeakZone};
use crate::gateway::Gateway;
use crate::metrics::Metrics;
use crate::model::ZoneName;
use crate::net::{Certificates, LoadedCertificate};
use crate::registry::Registry;

/// Who wants a reload and is not served yet; all of them are served by the next one.
const MOST_ORDERS: usize = 16;
/// So many reloads within this time go ahead at once; what is ordered beyond that waits together and is one. Each reads files, asks
/// the store and writes lines into the log, and whoever reaches the admin listener may order any number.
const MOST_WITHIN: (usize, Duration) = (10, Duration::from_secs(10));

/// The configuration, and the certificate that it names.
type FilesRead = Result<(Config, Option<LoadedCertificate>), Vec<String>>;

pub(super) struct Reloader {
    /// The file that the gateway was started with.
    pub(super) path: PathBuf,
    /// What the gateway was started with: what is not reloaded is as it says.
    pub(super) started: Config,
    pub(super) config: Config,
    pub(super) current: Current,
    pub(super) certificates: Option<Arc<Certificates>>,
    pub(super) metrics: Metrics,
    /// The connections to primaries, of all zones.
    pub(super) pool: Pool,
    /// Removed zones, some of whose changes may still be waited for.
    pub(super) removed: HashMap<ZoneName, WeakZone>,
    /// Wakes whoever looks after what is pending.
    pub(super) wake: Arc<Notify>,
    /// Where zones tell what ends while nobody waits for it.
    pub(super) ended: mpsc::UnboundedSender<Vec<Ended>>,
    /// What systemd is told of the listeners.
    pub(super) routers: String,
}

/// A configuration that will do: nothing of it can fail any more.
struct CheckedConfig {
    config: Config,
    registry: Registry,
    zones: Vec<Settings>,
    certificate: Option<LoadedCertificate>,
}

/// Asks for a reload and does not wait for it. One that waits already will read the file after this.
pub(super) fn order(orders: &mpsc::Sender<ReloadRequest>) {
    let (done, _nobody_waits) = oneshot::channel();
    let _one_is_to_come = orders.try_send(ReloadRequest { content: None, done });
}

impl Reloader {
    /// Reloads whenever it is ordered, one after the other, until `stop` turns true. The sender is for those who order.
    pub(super) fn start(
        self,
        mut stop: watch::Receiver<bool>,
    ) -> (mpsc::Sender<ReloadRequest>, impl Future<Output = ()>) {
        let (orders, mut queue) = mpsc::channel::<ReloadRequest>(MOST_ORDERS);
        let mut reloader = self;
        let run = async move {
            let serve = async {
                let (mut waiting, mut begun) = (Vec::new(), VecDeque::new());
                let (most, within) = MOST_WITHIN;
                loop {
                    if begun.len() == most
                        && let Some(first) = begun.pop_front()
                    {
                        sleep_until(first + within).await;
                    }
                    if queue.recv_many(&mut waiting, MOST_ORDERS).await == 0 {
                        break;
                    }
                    begun.push_back(Instant::now());
                    reloader.serve(std::mem::take(&mut waiting)).await;
                }
            };
            tokio::select! {
                () = serve => {}
                _ = stop.wait_for(|stop| *stop) => {}
            }
        };
        (orders, run)
    }

    /// One reload for all of `orders`; none where each wants another content to be read than what is there.
    async fn serve(&mut self, orders: Vec<ReloadRequest>) {
        let wanted: Option<Vec<_>> = orders.iter().map(|order| order.content.clone()).collect();
        let done = self.reload(wanted.as_deref()).await;
        for order in orders {
            let is_other = order.content.is_some_and(|content| content != self.config.content);
            let answer = match &done {
                Ok(reloaded) if is_other => {
                    Err(ReloadRefused { problems: vec![other_content()], file: reloaded.file.clone() })
                }
                done => done.clone(),
            };
            let _nobody_waits = order.done.send(answer);
        }
    }

    /// With `wanted`, only a configuration of one of these contents.
    async fn reload(&mut self, wanted: Option<&[Vec<u8>]>) -> Result<Reloaded, ReloadRefused> {
        let now = NotifyState::monotonic_usec_now().ok();
        let reloading: Vec<_> = std::iter::once(NotifyState::Reloading).chain(now).collect();
        tell_systemd(&reloading, "reading the configuration again");
        let file = self.path.display().to_string();
        let done = match self.check(wanted).await {
            Ok(checked) => {
                let changed = changed(&self.config, &checked.config);
                let restart = needs_restart(&self.started, &checked.config);
                self.apply(checked).await;
                self.metrics.reloaded();
                let counts = if changed.is_empty() { "nothing".to_owned() } else { changed.join("; ") };
                info!(file, changed = counts, "configuration reloaded");
                for what in &restart {
                    warn!(
                        file,
                        what, "restart needed: the file differs from the start here, and what the start found stays"
                    );
                }
                Ok(Reloaded { file, changed, restart })
            }
            Err(problems) => {
                for problem in &problems {
                    error!("{problem}");
                }
                error!(file, problems = problems.len(), "the configuration is not taken; the one in force stays");
                Err(ReloadRefused { file, problems })
            }
        };
        tell_systemd(&[NotifyState::Ready], &status(&self.config, &self.routers));
        done
    }

    /// Reads the file and all that it names, and makes of it what can fail.
    async fn check(&mut self, wanted: Option<&[Vec<u8>]>) -> Result<CheckedConfig, Vec<String>> {
        let path = self.path.clone();
        let said = |what: &dyn std::fmt::Display| vec![format!("{}: {what}", path.display())];
        let from = path.clone();
        let (config, certificate) = spawn_blocking(move || read(&from)).await.map_err(|error| said(&error))??;
        if wanted.is_some_and(|wanted| !wanted.contains(&config.content)) {
            return Err(said(&other_content()));
        }
        let in_force = self.current.get();
        let registry = in_force.gateway.registry();
        let clashes = registry.clashes(&config).await.map_err(|error| said(&error))?;
        if !clashes.is_empty() {
            return Err(clashes.iter().flat_map(|clash| said(clash)).collect());
        }
        let mut zones = Vec::with_capacity(config.zones.len());
        for zone in &config.zones {
            let settings = Settings::new(zone, &config.engine);
            zones.push(settings.map_err(|error| said(&format!("zone {}: {error}", zone.name)))?);
        }
        let registry = registry.redeclared(&config).await.map_err(|error| said(&error))?;
        Ok(CheckedConfig { config, registry, zones, certificate })
    }

    /// Puts all of it in force. Requests that began before end as they began.
    async fn apply(&mut self, checked: CheckedConfig) {
        let CheckedConfig { config, registry, zones: settings, certificate } = checked;
        let before = self.current.get();
        let mut zones = Vec::with_capacity(settings.len());
        for (zone, settings) in config.zones.iter().zip(settings) {
            // A zone that comes back while a change of it is on its way has one queue, not two.
            let removed = || self.removed.get(&zone.name).and_then(WeakZone::upgrade);
            zones.push(match before.gateway.zone(&zone.name).cloned().or_else(removed) {
                Some(running) => {
                    running.set(settings).await;
                    running
                }
                None => engine::Zone::start(&self.pool, settings, &self.metrics, self.ended.clone()),
            });
        }
        self.part(&config, &before.gateway, &zones);
        before.gateway.limits().set(&config.limits);
        let gateway = Arc::new(before.gateway.succeeded(registry, zones, &config.engine));
        self.current.set(InForce::new(&config, gateway, Some(&before.per_source), &self.metrics));
        if let (Some(certificates), Some(new)) = (&self.certificates, certificate) {
            certificates.show(new);
        }
        self.config = config;
        // A record that a command wants may have waited for its zone.
        self.wake.notify_one();
    }

    /// Names at or below a zone that comes or goes belong to another one from now on: whatever was remembered of them does
    /// not count there.
    fn part(&mut self, new: &Config, before: &Gateway, zones: &[engine::Zone]) {
        let old: HashSet<_> = self.config.zones.iter().map(|zone| &zone.name).collect();
        let new: HashSet<_> = new.zones.iter().map(|zone| &zone.name).collect();
        for apex in old.symmetric_difference(&new) {
            zones.iter().for_each(|zone| zone.forget_within(apex));
        }
        self.removed.retain(|_, zone| zone.upgrade().is_some());
        let gone = old.difference(&new).filter_map(|apex| before.zone(apex));
        self.removed.extend(gone.map(|zone| (zone.name().clone(), zone.downgrade())));
    }
}

fn other_content() -> String {
    "what stands there, or in a file that it names, is other than what was checked".to_owned()
}

/// The file, and the certificate that it names.
fn read(path: &Path) -> FilesRead {
    let config = Config::load(path).map_err(|errors| {
        // One line each: a log is read line by line.
        errors.problems().iter().map(|problem| problem.to_string().replace("\n  ", "; ")).collect::<Vec<_>>()
    })?;
    let certificate = config.http.tls.as_ref().map(LoadedCertificate::read).transpose();
    let certificate = certificate.map_err(|error| vec![format!("{}: {error}", path.display())])?;
    Ok((config, certificate))
}

/// What `systemctl status` shows.
pub(super) fn status(config: &Config, routers: &str) -> String {
    format!("zones: {}; routers: {routers}", config.zones.len())
}
