//! Builds every part from a `Config` before anything listens, starts them in order, and stops them in order.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hyper::Request;
use hyper::body::Incoming;
use prometheus_client::registry::Registry as MetricsRegistry;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, watch};
use tokio::task::{JoinHandle, JoinSet};
use tracing::{info, warn};

use crate::admin::Admin;
use crate::auth::{Authenticator, NoRandomness};
use crate::config::certificate::PairError;
use crate::config::{self, Config, Location};
use crate::dns::EncodeError;
use crate::engine;
use crate::gateway::Gateway;
use crate::http::{Activated, Certificates, ListenError, Listener, Peer, Place, Proxies, Public, Sources, server};
use crate::limit::Limits;
use crate::metrics::Metrics;
use crate::registry::{self, Registry};
use crate::store::{Store, StoreError};

/// Why the gateway cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// A listener cannot be had.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The certificate of `[http.tls]` cannot be used: an error of configuration.
    #[error("the configuration cannot be used\n{0}")]
    Certificate(#[from] PairError),
    /// The TLS library refuses our settings.
    #[error("cannot speak TLS: {0}; this program was built wrongly")]
    Tls(#[source] io::Error),
    /// The ready file cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    ReadyFile {
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A zone cannot be put into messages.
    #[error("zone {zone}: {source}")]
    Zone {
        /// Its apex.
        zone: String,
        /// Why.
        source: EncodeError,
    },
    /// No key can be made for the digests of credentials.
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The file declares what the store keeps; one line for each.
    #[error("{0}")]
    Clash(String),
    /// Signals cannot be received.
    #[error("cannot wait for signals: {0}")]
    Signals(#[source] io::Error),
}

/// Runs the gateway until SIGTERM or SIGINT, then finishes what is in flight.
///
/// # Errors
/// [`AppError`], before anything was answered.
pub async fn serve(config: &Config, ready_file: Option<&Path>) -> Result<(), AppError> {
    let mut signals = Signals::new().map_err(AppError::Signals)?;
    let running = Running::start(config).await?;
    if let Some(path) = ready_file {
        write_ready_file(path, &running)?;
    }
    info!(
        zones = config.zones.len(),
        accounts = config.accounts.len(),
        version = env!("CARGO_PKG_VERSION"),
        "dyngate is ready"
    );
    let addresses: Vec<_> = running.http.iter().chain(&running.https).map(ToString::to_string).collect();
    tell_systemd(NotifyState::Ready, &format!("zones: {}; routers: {}", config.zones.len(), addresses.join(", ")));

    signals.wait_for_stop(|| running.reload()).await;
    info!("stopping: no new connections, at most 10 s for what is in flight");
    tell_systemd(NotifyState::Stopping, "finishing what is in flight");
    running.stop().await;
    info!("stopped");
    Ok(())
}

/// A gateway whose listeners accept, until it is stopped.
#[derive(Debug)]
pub struct Running {
    /// Where routers are answered over plain HTTP, in the order of the configuration.
    pub http: Vec<Place>,
    /// Where they are answered over TLS.
    pub https: Vec<Place>,
    /// The real address for health and metrics.
    pub admin: SocketAddr,
    certificates: Option<Arc<Certificates>>,
    public_servers: JoinSet<()>,
    public_stop: watch::Sender<bool>,
    admin_server: JoinHandle<()>,
    admin_stop: watch::Sender<bool>,
    gateway: Arc<Gateway>,
}

impl Running {
    /// Binds every listener, builds every part, then lets the listeners accept. Must run inside a tokio runtime.
    ///
    /// # Errors
    /// [`AppError`], before anything was answered.
    pub async fn start(config: &Config) -> Result<Self, AppError> {
        raise_open_files();
        let mut registry = MetricsRegistry::default();
        let metrics = Metrics::register(&mut registry);
        let certificates = config.http.tls.as_ref().map(Certificates::open).transpose()?;
        let acceptor = certificates.as_ref().map(Certificates::acceptor).transpose().map_err(AppError::Tls)?;
        let mut activated = Activated::from_env();
        let plain = bind(&config.http.listen, &mut activated)?;
        let tls = bind(config.http.tls.as_ref().map_or(&[], |tls| &tls.listen), &mut activated)?;
        let admin_listener = Listener::tcp(config.admin.listen)?;
        activated.warn_of_rest();
        let gateway = build(config, &metrics).await?;
        let (public_stop, stopped) = watch::channel(false);

        let proxies = Arc::new(Proxies {
            trusted: config.http.trusted_proxies.clone(),
            unix: config.http.trusts_unix,
            header: config.http.client_address_header,
        });
        // Who lifts the limit on a source's requests does not want one on its connections.
        let most = config.http.connections_per_source.filter(|_| config.limits.source.is_some());
        let sources = most.map(|most| Sources::new(most, Arc::clone(&proxies)));
        let public = Arc::new(Public::new(Arc::clone(&gateway), Arc::clone(&proxies), &metrics));
        let admin = Arc::new(Admin::new(Arc::clone(&gateway), registry, stopped.clone()));

        let (mut http, mut https, mut public_servers) = (Vec::new(), Vec::new(), JoinSet::new());
        let doors = plain.into_iter().map(|listener| (listener, None));
        for ((listener, proxy_protocol), tls) in
            doors.chain(tls.into_iter().map(|listener| (listener, acceptor.clone())))
        {
            info!(address = %listener.place(), tls = tls.is_some(), proxy_protocol, "listening for routers");
            if tls.is_some() { &mut https } else { &mut http }.push(listener.place().clone());
            let proxy_protocol = proxy_protocol.then(|| Arc::clone(&proxies));
            let door = server::Door { proxy_protocol, sources: sources.clone(), tls };
            let public = Arc::clone(&public);
            let answer = move |peer, request| {
                let public = Arc::clone(&public);
                async move { public.answer(peer, request).await }
            };
            public_servers.spawn(server::serve(listener, door, answer, stopped.clone()));
        }
        if let Some(certificates) = &certificates {
            public_servers.spawn(Arc::clone(certificates).keep(stopped.clone()));
        }
        let admin_address = admin_listener.place().tcp().unwrap_or(config.admin.listen);
        info!(address = %admin_address, "listening for health and metrics");
        let answer = move |_: Peer, request: Request<Incoming>| {
            let response = admin.answer(request.method(), request.uri().path());
            async move { response }
        };
        let (admin_stop, admin_stopped) = watch::channel(false);
        let admin_server = tokio::spawn(server::serve(admin_listener, server::Door::default(), answer, admin_stopped));
        Ok(Self {
            http,
            https,
            admin: admin_address,
            certificates,
            public_servers,
            public_stop,
            admin_server,
            admin_stop,
            gateway,
        })
    }

    /// What changes without a restart: the certificate.
    fn reload(&self) {
        if let Some(certificates) = &self.certificates {
            certificates.reload();
        }
        warn!("restart needed for all but the certificate: this version reads its configuration at the start only");
    }

    /// The first address for plain HTTP.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.http.iter().find_map(Place::tcp)
    }

    /// Takes no new connections and finishes what is in flight, at most 10 s for each listener's.
    pub async fn stop(mut self) {
        self.public_stop.send_replace(true);
        while self.public_servers.join_next().await.is_some() {}
        // The admin listener goes last, so that /readyz tells of the stop until the end.
        self.admin_stop.send_replace(true);
        let _ended = self.admin_server.await;
        self.gateway.close().await;
    }
}

/// Does nothing without NOTIFY_SOCKET, which systemd sets for `Type=notify` (sd_notify(3)).
fn tell_systemd(state: NotifyState<'_>, status: &str) {
    if let Err(error) = sd_notify::notify(&[state, NotifyState::Status(status)]) {
        warn!(%error, "systemd cannot be told of our state: NOTIFY_SOCKET names no socket that listens");
    }
}

async fn build(config: &Config, metrics: &Metrics) -> Result<Arc<Gateway>, AppError> {
    let errands = Arc::new(Notify::new());
    let registry = match &config.store.location {
        Location::Memory => {
            info!("no [store]: what is seen of hosts is not kept over a restart");
            Registry::declared(config)
        }
        Location::Sqlite(_) | Location::Postgres(_) => {
            let store = Store::open(&config.store.location).await?;
            let clashes = registry::clashes(config, &store).await?;
            if !clashes.is_empty() {
                return Err(AppError::Clash(clashes.join("\n")));
            }
            let errands = Arc::clone(&errands);
            Registry::with(config, store, move || errands.notify_one()).await?
        }
    };
    let mut zones = Vec::with_capacity(config.zones.len());
    for zone in &config.zones {
        let settings = engine::Settings::new(zone, &config.engine)
            .map_err(|source| AppError::Zone { zone: zone.name.to_string(), source })?;
        zones.push(engine::Zone::start(settings, metrics));
    }
    let gateway = Arc::new(Gateway::new(
        registry,
        Authenticator::new(HASHERS)?,
        Limits::new(&config.limits, metrics.clone()),
        zones,
        metrics.clone(),
        &config.engine,
        Arc::clone(&errands),
    ));
    gateway.prepare().await?;
    tokio::spawn(Arc::clone(&gateway).run_errands(errands));
    Ok(gateway)
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
fn bind(listeners: &[config::Listener], activated: &mut Activated) -> Result<Vec<(Listener, bool)>, ListenError> {
    let mut bound = Vec::with_capacity(listeners.len());
    for listener in listeners {
        let sockets = Listener::bind(&listener.endpoint, activated)?;
        bound.extend(sockets.into_iter().map(|socket| (socket, listener.proxy_protocol)));
    }
    Ok(bound)
}

fn write_ready_file(path: &Path, running: &Running) -> Result<(), AppError> {
    let failed = |source| AppError::ReadyFile { path: path.to_owned(), source };
    let first = |places: &[Place]| places.first().map(ToString::to_string);
    let content = serde_json::json!({
        "http": first(&running.http),
        "https": first(&running.https),
        "admin": running.admin.to_string(),
    });
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(".new");
    std::fs::write(&unfinished, format!("{content}\n")).map_err(failed)?;
    std::fs::rename(&unfinished, path).map_err(failed)
}

struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    hangup: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn wait_for_stop(&mut self, reload: impl Fn()) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.hangup.recv() => reload(),
            }
        }
    }
}
