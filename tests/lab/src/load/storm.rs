//! Many keep-alive clients that report addresses for many hosts, as after a provider's forced reconnect.

use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::task::JoinSet;

use crate::Error;
use crate::http::{Connection, Request};

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
    // All that follows the target is the same in every request.
    let octets = Request::get("").basic(auth.0, auth.1).octets(addr);
    let rest = octets.strip_prefix(b"GET ").unwrap_or_default().to_vec();
    let work = Arc::new(Work { addr, hosts: hosts.to_vec(), rest, next: AtomicUsize::new(0) });
    let mut tasks = JoinSet::new();
    for _ in 0..clients.clamp(1, hosts.len().max(1)) {
        tasks.spawn(client(Arc::clone(&work)));
    }
    let mut bodies = vec![String::new(); hosts.len()];
    while let Some(done) = tasks.join_next().await {
        let answers = done.map_err(|error| Error::Protocol(format!("a client broke down: {error}")))??;
        for (index, body) in answers {
            bodies[index] = body;
        }
    }
    Ok(bodies)
}

/// What all clients share.
struct Work {
    addr: SocketAddr,
    hosts: Vec<(String, IpAddr)>,
    rest: Vec<u8>,
    next: AtomicUsize,
}

/// One client: takes the next request until none is left.
async fn client(work: Arc<Work>) -> Result<Vec<(usize, String)>, Error> {
    let mut connection = None;
    let mut answers = vec![];
    let mut request = vec![];
    loop {
        let index = work.next.fetch_add(1, Ordering::Relaxed);
        let Some((host, ip)) = work.hosts.get(index) else { return Ok(answers) };
        request.clear();
        let _ = write!(request, "GET /nic/update?hostname={host}&myip={ip}");
        request.extend_from_slice(&work.rest);
        let kept = match connection.take() {
            Some(open) => attempt(open, &request).await.ok(),
            None => None,
        };
        // The gateway may have closed an idle connection in the same moment.
        let (open, body) = match kept {
            Some(answered) => answered,
            None => attempt(Connection::open(work.addr, None).await?, &request).await?,
        };
        connection = open;
        answers.push((index, body));
    }
}

/// The body, and the connection unless the answer closes it.
async fn attempt(mut connection: Connection, request: &[u8]) -> Result<(Option<Connection>, String), Error> {
    connection.write(request).await?;
    let response = connection.read(false).await?;
    let closes = response.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
    Ok(((!closes).then_some(connection), response.text()))
}
