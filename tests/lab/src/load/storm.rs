//! Routers that report addresses for many hosts, as after a provider's forced reconnect.

use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use super::exchange::{Exchange, Plan, Ran, exchange};
use crate::Error;
use crate::http::Request;

/// Requests to `/nic/update`, one for each host.
#[derive(Debug)]
pub struct Reports {
    /// Host n gets this address.
    pub hosts: Vec<(String, IpAddr)>,
    /// What stands before the address in each right answer: `good` or `nochg`.
    pub word: &'static str,
    // All that follows the target is the same in every request of one account.
    rests: Vec<Vec<u8>>,
}

impl Reports {
    /// Host n is reported with the credentials number n modulo their number; `more` are further header lines, each with
    /// its line end.
    #[must_use]
    pub fn new(addr: SocketAddr, credentials: &[(String, String)], hosts: Vec<(String, IpAddr)>, more: &str) -> Self {
        let rests = credentials.iter().map(|(login, password)| {
            let octets = Request::get("").basic(login, password).octets(addr);
            let rest = octets.strip_prefix(b"GET ").unwrap_or_default();
            let rest = rest.strip_suffix(b"\r\n").unwrap_or_default();
            [rest, more.as_bytes(), b"\r\n"].concat()
        });
        Self { rests: rests.collect(), word: "good", hosts }
    }

    /// Waits for `nochg`.
    #[must_use]
    pub fn unchanged(mut self) -> Self {
        self.word = "nochg";
        self
    }
}

impl Exchange for Reports {
    fn ask(&self, index: usize, request: &mut Vec<u8>) {
        let (host, ip) = &self.hosts[index % self.hosts.len()];
        let _ = write!(request, "GET /nic/update?hostname={host}&myip={ip}");
        request.extend_from_slice(&self.rests[index % self.rests.len()]);
    }

    fn judge(&self, index: usize, _: u16, body: &[u8]) -> Result<(), String> {
        let body = std::str::from_utf8(body).unwrap_or("octets that are not text");
        let (_, address) = &self.hosts[index % self.hosts.len()];
        let said = body.strip_prefix(self.word).and_then(|said| said.strip_prefix(' '));
        if said.and_then(|said| said.parse().ok()) == Some(*address) { Ok(()) } else { Err(body.to_owned()) }
    }
}

/// Sends `/nic/update?hostname=H&myip=A` for each host over `clients` connections at once, with `auth` as login and
/// password; returns the bodies in the order of `hosts`.
///
/// # Errors
/// The first request that got no answer, even on a second connection.
pub async fn storm(
    addr: SocketAddr,
    auth: (&str, &str),
    hosts: &[(String, IpAddr)],
    clients: usize,
) -> Result<Vec<String>, Error> {
    let reports = Reports::new(addr, &[(auth.0.to_owned(), auth.1.to_owned())], hosts.to_vec(), "");
    let bodies = Mutex::new(vec![String::new(); hosts.len()]);
    let kept = Arc::new(Kept { reports, bodies });
    let _: Ran = exchange(addr, &kept, Plan::new(hosts.len(), clients)).await?;
    let mut bodies = kept.bodies.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(std::mem::take(&mut *bodies))
}

/// Reports whose answers are kept, whatever they are.
struct Kept {
    reports: Reports,
    bodies: Mutex<Vec<String>>,
}

impl Exchange for Kept {
    fn ask(&self, index: usize, request: &mut Vec<u8>) {
        self.reports.ask(index, request);
    }

    fn judge(&self, index: usize, _: u16, body: &[u8]) -> Result<(), String> {
        let mut bodies = self.bodies.lock().unwrap_or_else(PoisonError::into_inner);
        bodies[index] = String::from_utf8_lossy(body).into_owned();
        Ok(())
    }
}
