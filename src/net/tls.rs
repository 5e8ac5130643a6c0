//! The certificate of the TLS listeners: which one is shown, and when its files are read again. Open connections keep theirs.

use std::io;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus_client::metrics::gauge::Gauge;
use rustls::crypto::ring;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tracing::{debug, error, info, warn};

use super::client_address::Peer;
use super::server::pass_on_panic;
use crate::config::Tls;
use crate::config::certificate::{FileStamp, Pair, PairError, date};

const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often an approaching end is told.
const WARN_EVERY: Duration = Duration::from_secs(86_400);
/// A client that takes longer is no client.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);
/// How long a connection whose handshake failed is read, so that the client sees why and no reset.
const LINGER: Duration = Duration::from_secs(1);
/// How much of it, in octets.
const LINGER_MOST: u64 = 64 * 1024;

/// A pair that was read, fits and is in time, and what its files looked like before.
#[derive(Debug)]
pub(crate) struct LoadedCertificate {
    files: Tls,
    stamps: FileStamps,
    pair: Pair,
}

/// The pair that is shown to new connections.
#[derive(Debug)]
pub(crate) struct Certificates {
    shown: RwLock<LoadedCertificate>,
    /// When the shown one expires, in seconds since the epoch.
    expiry: Gauge,
}

type FileStamps = [Option<FileStamp>; 2];

impl LoadedCertificate {
    /// Reads the files that `files` names.
    pub(crate) fn read(files: &Tls) -> Result<Self, PairError> {
        // Before the files are read: what changes in between is seen as a change.
        let stamps = FileStamp::of_pair(files).unwrap_or_default();
        Ok(Self { files: files.clone(), stamps, pair: Pair::load(files, SystemTime::now())? })
    }

    fn expiry(&self) -> i64 {
        let seconds = self.pair.not_after.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        i64::try_from(seconds).unwrap_or(i64::MAX)
    }
}

impl Certificates {
    pub(crate) fn new(first: LoadedCertificate, expiry: Gauge) -> Arc<Self> {
        expiry.set(first.expiry());
        Arc::new(Self { shown: RwLock::new(first), expiry })
    }

    /// What TLS listeners accept with: TLS 1.2 and 1.3, HTTP/1.1 and 1.0.
    pub(crate) fn acceptor(self: &Arc<Self>) -> io::Result<TlsAcceptor> {
        let mut config = rustls::ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[&TLS13, &TLS12])
            .map_err(io::Error::other)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(self) as Arc<dyn ResolvesServerCert>);
        // A client that speaks HTTP/1.0 alone says so here, and would be refused (RFC 7301 section 3.2).
        config.alpn_protocols = vec![b"http/1.1".to_vec(), b"http/1.0".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }

    /// Shows `new` to new connections, and looks at its files from now on.
    pub(crate) fn show(&self, new: LoadedCertificate) {
        let (file, expires) = (new.files.certificate.display().to_string(), date(new.pair.not_after));
        self.expiry.set(new.expiry());
        let old = std::mem::replace(&mut *self.shown.write().unwrap_or_else(PoisonError::into_inner), new);
        if old.pair.certified.cert == self.pair().certified.cert {
            info!(%file, "the certificate is the same");
        } else {
            info!(%file, expires, "new connections get the new certificate");
        }
    }

    /// Reads the files again whenever they have changed, until `stop` turns true.
    ///
    /// # Panics
    /// With the panic of the reading.
    pub(crate) async fn keep(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        tokio::select! {
            () = self.look() => {}
            _ = stop.wait_for(|stop| *stop) => {}
        }
    }

    async fn look(&self) {
        let (mut seen, mut warned, mut is_away) = (self.shown().stamps, None::<Instant>, false);
        loop {
            if self.pair().expires_soon(SystemTime::now()) && warned.is_none_or(|at| at.elapsed() > WARN_EVERY) {
                warned = Some(Instant::now());
                let (file, expires) =
                    (self.shown().files.certificate.display().to_string(), date(self.pair().not_after));
                warn!(%file, expires, "the certificate has less than 14 days left; renew it");
            }
            sleep(LOOK_EVERY).await;
            let (files, tried) = (self.shown().files.clone(), self.shown().stamps);
            let looked_at = files.clone();
            let looked = pass_on_panic(spawn_blocking(move || FileStamp::of_pair(&looked_at)).await);
            let now = match looked {
                Some(Ok(now)) => now,
                Some(Err(error)) => {
                    if !std::mem::replace(&mut is_away, true) {
                        let file = files.certificate.display().to_string();
                        error!(%file, %error, "the certificate cannot be looked at; the one in use stays");
                    }
                    continue;
                }
                None => return,
            };
            is_away = false;
            // Two files are written one after the other: a pair is read once nothing moves any more.
            let settled = std::mem::replace(&mut seen, now) == now;
            if settled && now != tried {
                self.read_again(files, now).await;
            }
        }
    }

    async fn read_again(&self, files: Tls, now: FileStamps) {
        let read_from = files.clone();
        let read = pass_on_panic(spawn_blocking(move || LoadedCertificate::read(&read_from)).await);
        let Some(read) = read else { return };
        // A reload may have named others meanwhile.
        if self.shown().files != files {
            return;
        }
        match read {
            Ok(new) => self.show(new),
            Err(error) => {
                let expires = date(self.pair().not_after);
                error!(%error, expires, "the new certificate cannot be used; the old one stays");
                self.shown.write().unwrap_or_else(PoisonError::into_inner).stamps = now;
            }
        }
    }

    fn shown(&self) -> RwLockReadGuard<'_, LoadedCertificate> {
        self.shown.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn pair(&self) -> Pair {
        self.shown().pair.clone()
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.pair().certified)
    }
}

/// The stream inside TLS, or nothing, and then the connection is closed.
pub(super) async fn shake_hands<S>(acceptor: &TlsAcceptor, stream: S, peer: Peer) -> Option<TlsStream<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    match timeout(HANDSHAKE_WITHIN, acceptor.accept(stream).into_fallible()).await {
        Ok(Ok(stream)) => Some(stream),
        Ok(Err((error, stream))) => {
            debug!(%peer, %error, "a TLS handshake failed");
            linger(stream).await;
            None
        }
        Err(_) => {
            debug!(%peer, "a TLS handshake took too long");
            None
        }
    }
}

/// Ends our half and reads out the other: octets left unread would turn the alert into a reset.
async fn linger<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) {
    let end = async {
        stream.shutdown().await?;
        tokio::io::copy(&mut stream.take(LINGER_MOST), &mut tokio::io::sink()).await
    };
    let _over_either_way = timeout(LINGER, end).await;
}
