//! A scripted primary: it speaks DNS over TCP and TSIG, and does to each message what the script says, for all that a
//! real server cannot be made to do.

mod reply;
mod wire;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hickory_proto::op::{Message, OpCode, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, Record, RecordType, TSigner};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::port::{Port, at_free_port};
use crate::{Error, Key};

/// What the fake does with a message.
#[derive(Debug, Clone)]
pub enum Action {
    /// A true answer, signed with the key over the request's MAC (RFC 8945 section 5.3).
    Answer(ResponseCode),
    /// The same, later; other messages are answered meanwhile.
    AnswerAfter(Duration, ResponseCode),
    /// A true, signed NOERROR with these records in its answer section and AA set: for questions.
    Records(Vec<Record>),
    /// An answer without TSIG.
    Unsigned(ResponseCode),
    /// A signed answer whose header bears another ID; its TSIG still names the right one.
    WrongId(ResponseCode),
    /// A signed NOERROR with one bit of its MAC turned.
    WrongMac,
    /// NOTAUTH with TSIG error BADKEY and an empty MAC, as BIND and Knot answer an unknown key.
    BadKey,
    /// NOTAUTH with TSIG error BADSIG and an empty MAC, as for a wrong secret.
    BadSig,
    /// NOTAUTH with TSIG error BADTIME, signed; the server's clock is off from ours by so many seconds.
    BadTime(i64),
    /// These octets without any frame.
    Garbage(Vec<u8>),
    /// These octets behind their length.
    Frame(Vec<u8>),
    /// Half of a signed NOERROR behind its full length, then the connection is closed.
    Truncated,
    /// A signed NOERROR with the TC bit.
    TruncatedBit,
    /// The connection is closed without an answer to this message.
    Drop,
    /// No answer, ever; the connection stays.
    Silent,
    /// A signed answer, one octet at a time.
    Bytewise(ResponseCode),
    /// One after the other: an unsigned NOERROR and then the true answer, for example.
    All(Vec<Action>),
}

/// A message that the fake received.
#[derive(Debug, Clone)]
pub struct Received {
    /// Which connection, from 0.
    pub connection: usize,
    /// Which message of all, from 0.
    pub number: usize,
    /// Which message on its connection, from 0.
    pub number_here: usize,
    /// The ID of the header.
    pub id: u16,
    /// The operation of the header.
    pub opcode: OpCode,
    /// The message as it came, without its length.
    pub raw: Vec<u8>,
    /// The zone of an UPDATE or the name of a question, lower case, no final dot.
    pub zone: String,
    /// The owner names of the update section in order, each once, lower case, no final dot.
    pub owners: Vec<String>,
    /// Whether it bears a TSIG record.
    pub signed: bool,
    /// Whether that TSIG verifies with the fake's key.
    pub verified: bool,
}

impl Received {
    /// The message as hickory reads it: in an UPDATE `queries` is the zone, `answers` the prerequisites and `authorities`
    /// the updates.
    #[must_use]
    pub fn message(&self) -> Option<Message> {
        Message::from_vec(&self.raw).ok()
    }
}

/// What UPDATEs made of the zone, for scripts that are to answer as a primary would.
#[derive(Debug, Default)]
pub struct Memory(HashMap<(String, RecordType), Vec<Record>>);

impl Memory {
    /// Takes in an UPDATE whose prerequisites hold (RFC 2136 section 3), and answers; a question gets the records.
    pub fn answer(&mut self, received: &Received) -> Action {
        let Some(message) = received.message() else { return Action::Answer(ResponseCode::FormErr) };
        let key = |name: &Name, kind| (name.to_ascii().trim_end_matches('.').to_ascii_lowercase(), kind);
        if received.opcode == OpCode::Query {
            let held = message.queries.first().and_then(|asked| self.0.get(&key(asked.name(), asked.query_type())));
            return Action::Records(held.cloned().unwrap_or_default());
        }
        for record in &message.answers {
            let held = self.0.get(&key(&record.name, record.record_type())).map(Vec::as_slice).unwrap_or_default();
            match record.dns_class {
                DNSClass::NONE if !held.is_empty() => return Action::Answer(ResponseCode::YXRRSet),
                DNSClass::IN if !held.iter().any(|held| held.data == record.data) => {
                    return Action::Answer(ResponseCode::NXRRSet);
                }
                _ => {}
            }
        }
        for record in message.authorities {
            let key = key(&record.name, record.record_type());
            match record.dns_class {
                DNSClass::ANY => drop(self.0.remove(&key)),
                _ => self.0.entry(key).or_default().push(record),
            }
        }
        Action::Answer(ResponseCode::NoError)
    }
}

type Script = Box<dyn FnMut(&Received) -> Action + Send>;

/// What the tasks of the fake share.
struct Shared {
    signer: TSigner,
    script: Mutex<Script>,
    received: watch::Sender<Vec<Received>>,
    /// Each open connection's tasks.
    connections: Mutex<HashMap<usize, JoinHandle<()>>>,
    opened: watch::Sender<usize>,
    half_open: AtomicBool,
}

/// A scripted primary on a free port of 127.0.0.1; everything of it ends when it is dropped.
pub struct FakePrimary {
    port: Port,
    shared: Arc<Shared>,
    accepting: Mutex<Option<JoinHandle<()>>>,
}

impl FakePrimary {
    /// Starts one that signs with `key` and asks `script` about every message.
    ///
    /// # Errors
    /// No free port, or a key that hickory cannot sign with.
    pub async fn start(key: &Key, script: impl FnMut(&Received) -> Action + Send + 'static) -> Result<Self, Error> {
        let shared = Arc::new(Shared {
            signer: key.signer()?,
            script: Mutex::new(Box::new(script)),
            received: watch::Sender::new(vec![]),
            connections: Mutex::new(HashMap::new()),
            opened: watch::Sender::new(0),
            half_open: AtomicBool::new(false),
        });
        at_free_port(async |port| {
            let fake = Self { port, shared: Arc::clone(&shared), accepting: Mutex::new(None) };
            fake.listen_again().await?;
            Ok(fake)
        })
        .await
    }

    /// Where it listens; the same after `listen_again`.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.port.addr()
    }

    /// Another script from the next message on.
    pub fn script(&self, script: impl FnMut(&Received) -> Action + Send + 'static) {
        *lock(&self.shared.script) = Box::new(script);
    }

    /// All messages so far, in order of arrival.
    #[must_use]
    pub fn received(&self) -> Vec<Received> {
        self.shared.received.borrow().clone()
    }

    /// Waits until at least `count` messages have come, and returns all.
    ///
    /// # Errors
    /// They did not come within `limit`.
    pub async fn wait_for(&self, count: usize, limit: Duration) -> Result<Vec<Received>, Error> {
        let mut receiver = self.shared.received.subscribe();
        let came = timeout(limit, receiver.wait_for(|all| all.len() >= count)).await;
        match came {
            Ok(Ok(all)) => Ok(all.clone()),
            _ => Err(Error::Timeout(format!("{} of {count} messages came within {limit:?}", self.received().len()))),
        }
    }

    /// How many connections were accepted so far.
    #[must_use]
    pub fn connections(&self) -> usize {
        *self.shared.opened.borrow()
    }

    /// With true, connections from now on are accepted and never read.
    pub fn half_open(&self, on: bool) {
        self.shared.half_open.store(on, Ordering::SeqCst);
    }

    /// Closes every open connection at once; the listener stays.
    pub async fn close_connections(&self) {
        let tasks: Vec<_> = lock(&self.shared.connections).drain().map(|(_, task)| task).collect();
        for task in tasks {
            task.abort();
            let _ = task.await;
        }
    }

    /// Refuses new connections; open ones stay, see [`FakePrimary::close_connections`].
    pub async fn stop_listening(&self) {
        let task = lock(&self.accepting).take();
        if let Some(task) = task {
            task.abort();
            let _ = task.await;
        }
    }

    /// Listens on the same port again.
    ///
    /// # Errors
    /// The port was taken meanwhile.
    pub async fn listen_again(&self) -> Result<(), Error> {
        self.stop_listening().await;
        let listener = TcpListener::bind(self.addr()).await.map_err(Error::io(format!("listen on {}", self.addr())))?;
        let shared = Arc::clone(&self.shared);
        *lock(&self.accepting) = Some(tokio::spawn(accept(listener, shared)));
        Ok(())
    }
}

impl Drop for FakePrimary {
    fn drop(&mut self) {
        if let Some(task) = lock(&self.accepting).take() {
            task.abort();
        }
        for (_, task) in lock(&self.shared.connections).drain() {
            task.abort();
        }
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept().await {
        let number = *shared.opened.borrow();
        let mut connections = lock(&shared.connections);
        let task = if shared.half_open.load(Ordering::SeqCst) {
            tokio::spawn(async move {
                let _open = stream;
                std::future::pending::<()>().await;
            })
        } else {
            tokio::spawn(wire::serve(stream, number, Arc::clone(&shared)))
        };
        connections.insert(number, task);
        drop(connections);
        shared.opened.send_modify(|count| *count += 1);
    }
}

/// A script that panicked fails its own test; the fake goes on.
fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
