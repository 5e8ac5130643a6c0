//! Builds every part from a `Config` before anything listens, starts them in order, and stops them in order.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hyper::Request;
use hyper::body::Incoming;
use prometheus_client::registry::Registry as MetricsRegistry;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::{TcpListener, TcpSocket};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{info, warn};

use crate::admin::Admin;
use crate::auth::{Authenticator, NoRandomness};
use crate::config::Config;
use crate::dns::EncodeError;
use crate::engine;
use crate::gateway::Gateway;
use crate::http::{Proxies, Public, server};
use crate::limit::Limits;
use crate::metrics::Metrics;
use crate::registry::Registry;

/// Why the gateway cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// An address is taken, not ours, or needs a privilege.
    #[error("cannot listen on {address}: {source}; choose another address or port, or stop what holds it")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
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
    raise_open_files();
    let mut registry = MetricsRegistry::default();
    let metrics = Metrics::register(&mut registry);
    let mut public_listeners = Vec::new();
    for address in &config.http.listen {
        public_listeners.push(bind(*address)?);
    }
    let (admin_listener, admin_address) = bind(config.admin.listen)?;
    let gateway = Arc::new(build(config, &metrics)?);
    let (stop, stopped) = watch::channel(false);

    let proxies = Proxies { trusted: config.http.trusted_proxies.clone(), header: config.http.client_address_header };
    let public = Arc::new(Public::new(Arc::clone(&gateway), proxies, &metrics));
    let admin = Arc::new(Admin::new(Arc::clone(&gateway), registry, stopped.clone()));
    let http_address = public_listeners.first().map(|(_, address)| *address);

    let mut servers = JoinSet::new();
    for (listener, address) in public_listeners {
        info!(%address, "listening for routers");
        let public = Arc::clone(&public);
        let answer = move |peer, request| {
            let public = Arc::clone(&public);
            async move { public.answer(peer, request).await }
        };
        servers.spawn(server::serve(listener, answer, stopped.clone()));
    }
    info!(address = %admin_address, "listening for health and metrics");
    let answer = move |_: SocketAddr, request: Request<Incoming>| {
        let response = admin.answer(request.method(), request.uri().path());
        async move { response }
    };
    // The admin listener goes last, so that /readyz tells of the stop until the end.
    let (admin_stop, admin_stopped) = watch::channel(false);
    let admin_server = tokio::spawn(server::serve(admin_listener, answer, admin_stopped));
    if let Some(path) = ready_file {
        write_ready_file(path, http_address, admin_address)?;
    }
    info!(
        zones = config.zones.len(),
        accounts = config.accounts.len(),
        version = env!("CARGO_PKG_VERSION"),
        "dyngate is ready; nothing is kept over a restart in this version"
    );

    signals.wait_for_stop().await;
    info!("stopping: no new connections, at most 10 s for what is in flight");
    stop.send_replace(true);
    while servers.join_next().await.is_some() {}
    admin_stop.send_replace(true);
    let _ended = admin_server.await;
    info!("stopped");
    Ok(())
}

fn build(config: &Config, metrics: &Metrics) -> Result<Gateway, AppError> {
    let mut zones = Vec::with_capacity(config.zones.len());
    for zone in &config.zones {
        let engine = engine::Zone::start(zone, &config.engine, metrics)
            .map_err(|source| AppError::Zone { zone: zone.name.to_string(), source })?;
        zones.push(engine);
    }
    let hashers = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    Ok(Gateway::new(
        Registry::new(config),
        Authenticator::new(Registry::secrets(config), hashers)?,
        Limits::new(&config.limits, metrics.clone()),
        zones,
        metrics.clone(),
        config.engine.deadline,
    ))
}

/// Connections that wait to be accepted: all routers of a provider come back in the same second.
const BACKLOG: u32 = 4096;

/// Each connection is an open file, and the usual soft limit is 1024.
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        warn!(%error, limit = limit.current, "the limit of open files stays");
    }
}

fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), AppError> {
    let failed = |source| AppError::Listen { address, source };
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }.map_err(failed)?;
    socket.set_reuseaddr(true).map_err(failed)?;
    socket.bind(address).map_err(failed)?;
    let listener = socket.listen(BACKLOG).map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

fn write_ready_file(path: &Path, http: Option<SocketAddr>, admin: SocketAddr) -> Result<(), AppError> {
    let failed = |source| AppError::ReadyFile { path: path.to_owned(), source };
    let content = serde_json::json!({
        "http": http.map(|address| address.to_string()),
        "https": null,
        "admin": admin.to_string(),
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

    async fn wait_for_stop(&mut self) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.hangup.recv() => warn!("restart needed: this version reads its configuration at the start only"),
            }
        }
    }
}
