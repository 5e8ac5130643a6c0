//! A port of 127.0.0.1 that stays ours between stop and start, also against tests in other processes.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::SystemTime;

use rustix::fs::{FlockOperation, flock};

use crate::Error;

/// Below Linux's range for outgoing connections, so that none of those sits on the port of a stopped server.
const FIRST: u32 = 12_000;
const COUNT: u32 = 20_000;

/// Often enough for any machine that has free ports at all.
const ATTEMPTS: u32 = 10;

/// Starts something at a port of its own, and again at another one where a program has taken it meanwhile: between the look
/// for a free port and its use lies a moment that belongs to everybody.
///
/// # Errors
/// What `start` says of anything else.
pub async fn at_free_port<T>(mut start: impl AsyncFnMut(Port) -> Result<T, Error>) -> Result<T, Error> {
    elsewhere(async || start(Port::reserve()?).await).await
}

/// As [`at_free_port`], where `start` itself finds a place: several ports, or an address.
///
/// # Errors
/// As for [`at_free_port`].
pub async fn elsewhere<T>(mut start: impl AsyncFnMut() -> Result<T, Error>) -> Result<T, Error> {
    for _ in 1..ATTEMPTS {
        match start().await {
            Err(error) if error.is_of_a_taken_port() => {}
            done => return done,
        }
    }
    start().await
}

/// A port, reserved by a lock on a file as long as the value lives.
#[derive(Debug)]
pub struct Port {
    number: u16,
    _lock: File,
}

impl Port {
    /// Reserves a port on which both TCP and UDP are free.
    ///
    /// # Errors
    /// None is free, or the system refused a file for the lock.
    pub fn reserve() -> Result<Self, Error> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let folder = std::env::temp_dir().join(format!("dyngate-lab-ports-{}", rustix::process::getuid().as_raw()));
        fs::create_dir_all(&folder).map_err(Error::io(format!("make {}", folder.display())))?;
        let nanos = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.subsec_nanos());
        let start = nanos.wrapping_add(process::id().wrapping_mul(7919));
        for _ in 0..COUNT {
            let step = NEXT.fetch_add(1, Ordering::Relaxed);
            let Ok(number) = u16::try_from(FIRST + start.wrapping_add(step) % COUNT) else { continue };
            let file = folder.join(number.to_string());
            let lock = File::create(&file).map_err(Error::io(format!("make {}", file.display())))?;
            if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok() && is_free(number) {
                return Ok(Self { number, _lock: lock });
            }
        }
        Err(Error::Protocol(format!("no free port between {FIRST} and {}", FIRST + COUNT)))
    }

    /// 127.0.0.1 with this port.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.number).into()
    }

    /// The bare number, for configuration files.
    #[must_use]
    pub fn number(&self) -> u16 {
        self.number
    }
}

fn is_free(number: u16) -> bool {
    let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, number));
    TcpListener::bind(addr).is_ok() && UdpSocket::bind(addr).is_ok()
}
