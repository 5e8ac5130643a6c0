//! Builds every part from a `Config` before anything listens, starts them in order, reloads and stops them.

mod collected;
mod difference;
mod in_force;
mod reload;
mod supervision;

use std::collections::HashMap;
use std::convert::Infallible;
use std::fs;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry as MetricsRegistry;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::{JoinHandle, JoinSet, spawn_blocking};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tracing::{info, warn};

use crate::api::AdminApi;
use crate::api::reload::ReloadRequest;
use crate::auth::{Authenticator, NoRandomness};
use crate::config::certificate::PairError;
use crate::config::{self, Config, Endpoint, Errors, Location};
use crate::dns::{EncodeError, Pool, Tcp};
use crate::engine::{self, Ended};
use crate::gateway::{Gateway, look_after_challenges};
use crate::limit::Limits;
use crate::metrics::{Metrics, OpenConnection};
use crate::net::{self, Activated, Certificates, ConnectionPolicy, ListenError, ListeningSocket, LoadedCertificate};
use crate::registry::Registry;
use crate::store::{Store, StoreError};
pub use supervision::end_on_panic;

use collected::Process;
use in_force::{Current, InForce};
use reload::Reloader;

/// Why the gateway cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AppError {
    #[error("the configuration cannot be used\n{0}")]
    Config(#[from] Errors),
    #[error(transparent)]
    Listen(#[from] ListenError),
    #[error("the configuration cannot be used\n{0}")]
    Certificate(#[from] PairError),
    #[error("cannot speak TLS: {0}; this program was built wrongly")]
    Tls(#[source] io::Error),
    #[error("cannot write {}: {source}", path.display())]
    ReadyFile { path: PathBuf, source: io::Error },
    #[error("zone {zone}: {source}")]
    Zone { zone: String, source: EncodeError },
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{0}")]
    Clash(String),
    #[error("a part of the gateway ended that nobody stopped; please report this")]
    PartEnded,
    #[error("cannot wait for signals: {0}")]
    Signals(#[source] io::Error),
}

/// How long the parts that look after routers may take at the end: a little more than `net` gives to what is in flight.
const DRAIN: Duration = Duration::from_millis(10_500);
/// How long the admin listener may.
const ADMIN_DRAIN: Duration = Duration::from_secs(1);
/// How long the store may, to hear what it was not told yet.
const LEAVE: Duration = Duration::from_secs(3);

/// Runs the gateway with the configuration at `path` until SIGTERM or SIGINT, then finishes what is in flight. Each SIGHUP has the
/// file read again; one that comes before the start, after it.
pub(crate) async fn serve(path: &Path, ready_file: Option<&Path>) -> Result<(), AppError> {
    let signals = |kind| signal(kind).map_err(AppError::Signals);
    let mut hangups = signals(SignalKind::hangup())?;
    let (mut terminate, mut interrupt) = (signals(SignalKind::terminate())?, signals(SignalKind::interrupt())?);
    let mut told_to_end = async || {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    // As a reload reads it: files that it names are the same ones then.
    let from = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    // A task of its own, and readers with threads of theirs: whatever the start waits for, signals are heard.
    let mut starting = tokio::spawn(async move {
        let read_from = from.clone();
        let config = spawn_blocking(move || Config::load(&read_from)).await.map_err(|_| AppError::PartEnded)??;
        let running = Running::start(&config, &from).await?;
        Ok::<_, AppError>((config, running))
    });
    let (config, mut running) = tokio::select! {
        started = &mut starting => started.map_err(|_| AppError::PartEnded)??,
        () = told_to_end() => {
            info!("stopped before the start was done");
            return Ok(());
        }
    };
    if let Some(path) = ready_file {
        write_ready_file(path, &running)?;
    }
    info!(
        zones = config.zones.len(),
        accounts = config.accounts.len(),
        version = env!("CARGO_PKG_VERSION"),
        "dyngate is ready"
    );
    tell_systemd(&[NotifyState::Ready], &reload::status(&config, &running.routers()));

    loop {
        tokio::select! {
            () = told_to_end() => break,
            _ = hangups.recv() => reload::order(&running.reloads),
            () = running.part_ended() => return Err(AppError::PartEnded),
        }
    }
    info!("stopping: no new connections, at most 10 s for what is in flight");
    tell_systemd(&[NotifyState::Stopping], "finishing what is in flight");
    running.stop().await;
    info!("stopped");
    Ok(())
}

/// A gateway whose listeners accept, until it is stopped.
#[derive(Debug)]
pub(crate) struct Running {
    /// Where routers are answered over plain HTTP, in the order of the configuration.
    pub(crate) http: Vec<Endpoint>,
    /// Where they are answered over TLS.
    pub(crate) https: Vec<Endpoint>,
    /// The real address for health and metrics.
    pub(crate) admin: SocketAddr,
    reloads: mpsc::Sender<ReloadRequest>,
    public_servers: JoinSet<()>,
    // What looks after pending changes; it needs no stop, and is ended.
    background: JoinSet<()>,
    public_stop: watch::Sender<bool>,
    admin_server: JoinHandle<()>,
    admin_stop: watch::Sender<bool>,
    current: Current,
}

impl Running {
    /// Binds every listener, builds every part, then lets the listeners accept. `path` is where `config` was read from.
    /// Must run inside a tokio runtime.
    pub(crate) async fn start(config: &Config, path: &Path) -> Result<Self, AppError> {
        raise_open_files();
        let mut registry = MetricsRegistry::default();
        let metrics = Metrics::register(&mut registry);
        let certificates = match config.http.tls.clone() {
            Some(tls) => {
                let read = spawn_blocking(move || LoadedCertificate::read(&tls)).await;
                let expiry = Metrics::certificate_expiry(&mut registry);
                Some(Certificates::new(read.map_err(|_| AppError::PartEnded)??, expiry))
            }
            None => None,
        };
        let acceptor = certificates.as_ref().map(Certificates::acceptor).transpose().map_err(AppError::Tls)?;
        let mut activated = Activated::from_env();
        let wait = if activated.is_empty() { Duration::ZERO } else { SUCCESSION };
        let plain = bind(&config.http.listen, &mut activated)?;
        let tls = bind(config.http.tls.as_ref().map_or(&[], |tls| &tls.listen), &mut activated)?;
        let admin_listener = ListeningSocket::tcp(config.admin.listen)?;
        activated.warn_of_rest();
        let wake = Arc::new(Notify::new());
        let (ended, endings) = mpsc::unbounded_channel();
        let pool = Pool::new(Arc::new(Tcp));
        let gateway = build(config, wait, &pool, &metrics, &wake, &ended).await?;
        let current = Current::new(InForce::new(config, gateway, None, &metrics));
        let in_force = {
            let current = current.clone();
            move || Arc::clone(&current.get().gateway)
        };
        registry.register_collector(Box::new(Process::new()));
        if !matches!(config.store.location, Location::Memory) {
            registry.register("dyngate_store_up", "1 while the store can be read and written", metrics.store_up());
        }
        let mut background = JoinSet::new();
        background.spawn(Gateway::look_after_pending(in_force.clone(), Arc::clone(&wake), endings));
        background.spawn(look_after_challenges(in_force.clone()));
        let (public_stop, stopped) = watch::channel(false);
        let (mut http, mut https, mut public_servers) = (Vec::new(), Vec::new(), JoinSet::new());
        let listeners = plain.into_iter().map(|listener| (listener, None));
        for ((listener, proxy_protocol), tls) in
            listeners.chain(tls.into_iter().map(|listener| (listener, acceptor.clone())))
        {
            info!(address = %listener.address(), tls = tls.is_some(), proxy_protocol, "listening for routers");
            if tls.is_some() { &mut https } else { &mut http }.push(listener.address().clone());
            let (connections, current) = (metrics.connections(), current.clone());
            public_servers.spawn(serve_routers(listener, proxy_protocol, tls, connections, current, stopped.clone()));
        }
        if let Some(certificates) = &certificates {
            public_servers.spawn(Arc::clone(certificates).keep(stopped.clone()));
        }
        let reloader = Reloader {
            path: path.to_owned(),
            started: config.clone(),
            config: config.clone(),
            current: current.clone(),
            certificates,
            metrics,
            pool,
            removed: HashMap::new(),
            wake,
            ended,
            routers: all_places(&http, &https),
        };
        let (reloads, reloading) = reloader.start(stopped.clone());
        public_servers.spawn(reloading);

        let admin_address = admin_listener.address().tcp().unwrap_or(config.admin.listen);
        info!(address = %admin_address, "listening for health, metrics and reloads");
        let admin = AdminApi::new(in_force, registry, reloads.clone(), stopped).service();
        let service = move |_| admin.clone();
        let (admin_stop, admin_stopped) = watch::channel(false);
        let admin_server = tokio::spawn(net::serve(admin_listener, ConnectionPolicy::default, service, admin_stopped));
        Ok(Self {
            http,
            https,
            admin: admin_address,
            reloads,
            public_servers,
            background,
            public_stop,
            admin_server,
            admin_stop,
            current,
        })
    }

    fn routers(&self) -> String {
        all_places(&self.http, &self.https)
    }

    /// The first address for plain HTTP.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.http.iter().find_map(Endpoint::tcp)
    }

    /// Waits for the end of a part, which is none's to come before [`Self::stop`].
    async fn part_ended(&mut self) {
        tokio::select! {
            Some(_) = self.public_servers.join_next() => {}
            Some(_) = self.background.join_next() => {}
            _ = &mut self.admin_server => {}
        }
    }

    /// Takes no new connections and finishes what is in flight, within 15 s in all.
    pub(crate) async fn stop(mut self) {
        self.public_stop.send_replace(true);
        let ended = async { while self.public_servers.join_next().await.is_some() {} };
        if timeout(DRAIN, ended).await.is_err() {
            warn!("a part did not end in time and is cut");
        }
        // The admin listener goes last, so that /readyz tells of the stop until the end.
        self.admin_stop.send_replace(true);
        let _ended = timeout(ADMIN_DRAIN, self.admin_server).await;
        let leave = async {
            self.background.shutdown().await;
            self.current.get().gateway.close().await;
        };
        if timeout(LEAVE, leave).await.is_err() {
            warn!("the store did not take in time what it was not told yet");
        }
    }
}

/// Does nothing without NOTIFY_SOCKET, which systemd sets for `Type=notify` (sd_notify(3)).
fn tell_systemd(state: &[NotifyState<'_>], status: &str) {
    if let Err(error) = sd_notify::notify(&[state, &[NotifyState::Status(status)]].concat()) {
        warn!(%error, "systemd cannot be told of our state: NOTIFY_SOCKET names no socket that listens");
    }
}

/// How long a gateway that stops may keep an SQLite store where systemd holds the sockets, so that clients wait meanwhile: longer
/// than a stop takes. Without them it would have kept the ports as well.
const SUCCESSION: Duration = Duration::from_secs(30);

async fn build(
    config: &Config,
    wait: Duration,
    pool: &Pool,
    metrics: &Metrics,
    wake: &Arc<Notify>,
    ended: &mpsc::UnboundedSender<Vec<Ended>>,
) -> Result<Arc<Gateway>, AppError> {
    let registry = match &config.store.location {
        Location::Memory => {
            info!("no [store]: what is seen of hosts is not kept over a restart");
            if config.acme.dns01 {
                info!("no [store]: challenges that are served when the gateway stops stay in the zone");
            }
            Registry::declared(config)
        }
        Location::Sqlite(_) | Location::Postgres(_) => {
            let store = Store::serve(&config.store.location, wait).await?;
            let wake = Arc::clone(wake);
            let registry = Registry::with(config, store, metrics, move || wake.notify_one()).await?;
            let clashes = registry.clashes(config).await?;
            if !clashes.is_empty() {
                return Err(AppError::Clash(clashes.join("\n")));
            }
            registry
        }
    };
    let mut zones = Vec::with_capacity(config.zones.len());
    for zone in &config.zones {
        let settings = engine::Settings::new(zone, &config.engine)
            .map_err(|source| AppError::Zone { zone: zone.name.to_string(), source })?;
        zones.push(engine::Zone::start(pool, settings, metrics, ended.clone()));
    }
    let gateway = Arc::new(Gateway::new(
        registry,
        Authenticator::new(HASHERS)?,
        Limits::new(&config.limits, metrics.clone()),
        zones,
        metrics.clone(),
        &config.engine,
    ));
    gateway.prepare().await;
    Ok(gateway)
}

/// Answers routers; each connection and each request by what is then in force.
async fn serve_routers(
    listener: ListeningSocket,
    proxy_protocol: bool,
    tls: Option<TlsAcceptor>,
    connections: Gauge,
    current: Current,
    stop: watch::Receiver<bool>,
) {
    let for_requests = current.clone();
    let unreadable: net::Unreadable = {
        let current = current.clone();
        Arc::new(move |peer, status, why| current.get().public.unreadable(peer, status, why))
    };
    let policy = move || {
        let in_force = current.get();
        let proxy_protocol = proxy_protocol.then(|| Arc::clone(&in_force.proxies));
        ConnectionPolicy {
            proxy_protocol,
            per_source: Some(Arc::clone(&in_force.per_source)),
            tls: tls.clone(),
            unreadable: Some(Arc::clone(&unreadable)),
            open: Some(OpenConnection::new(&connections)),
        }
    };
    let service = move |peer| {
        let for_requests = for_requests.clone();
        service_fn(move |request| {
            let in_force = for_requests.get();
            async move { Ok::<_, Infallible>(in_force.public.answer(peer, request).await) }
        })
    };
    net::serve(listener, policy, service, stop).await;
}

fn all_places(http: &[Endpoint], https: &[Endpoint]) -> String {
    http.iter().chain(https).map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Threads that hash passwords. One, whatever the machine has: a flood of wrong passwords from everywhere on many logins is
/// hashed as fast as it comes, and shall cost no more than a core.
const HASHERS: usize = 1;

/// Each connection is an open file, and the usual soft limit is 1024.
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        warn!(%error, limit = limit.current, "the limit of open files stays");
    }
}

/// Each listener, and whether it is for proxies that speak the PROXY protocol.
fn bind(
    listeners: &[config::Listener],
    activated: &mut Activated,
) -> Result<Vec<(ListeningSocket, bool)>, ListenError> {
    let mut bound = Vec::with_capacity(listeners.len());
    for listener in listeners {
        let sockets = ListeningSocket::bind(&listener.endpoint, activated)?;
        bound.extend(sockets.into_iter().map(|socket| (socket, listener.proxy_protocol)));
    }
    Ok(bound)
}

fn write_ready_file(path: &Path, running: &Running) -> Result<(), AppError> {
    let first = |places: &[Endpoint]| places.first().map(ToString::to_string);
    let content = serde_json::json!({
        "http": first(&running.http),
        "https": first(&running.https),
        "admin": running.admin.to_string(),
    });
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(".new");
    let unfinished = PathBuf::from(unfinished);
    let failed = |source| AppError::ReadyFile { path: unfinished.clone(), source };
    // What an earlier run left there goes, a link itself and not what it names. Nobody's file is written through a link that
    // somebody puts there meanwhile.
    match fs::remove_file(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        Ok(()) | Err(_) => {}
    }
    let mut file = fs::OpenOptions::new().write(true).create_new(true).open(&unfinished).map_err(failed)?;
    writeln!(file, "{content}").map_err(failed)?;
    fs::rename(&unfinished, path).map_err(|source| AppError::ReadyFile { path: path.to_owned(), source })
}
