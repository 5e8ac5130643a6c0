//! All talk on a connection to a primary: signed messages out, many at a time, and each answer matched with its message and
//! verified. What a loss means, and how long to wait, is the caller's to say.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::Message;
use tokio::time::Instant;

use super::message::EncodeError;
use super::network::ConnectError;
use super::pool::{Lease, Leased, Pool};
use super::reply::{Failure, Reply, classify, id_of};
use super::tsig::{Signed, Verifier};
use crate::config::Primary;

/// A connection, or none, with what was sent on it and is not answered yet, each with a `T` of the caller's.
///
/// ```text
///   closed ── open ──▶ opening ──▶ open ── rest, when all is answered ──▶ closed, the connection kept by the pool
///      ▲                  │          │
///      └──────────────────┴──────────┴── it is lost, or `close`
/// ```
#[expect(missing_debug_implementations, reason = "a connection shows nothing")]
pub struct Exchange<T> {
    link: Link,
    sent: HashMap<u16, Sent<T>>,
}

enum Link {
    Closed,
    Opening(Pin<Box<dyn Future<Output = Leased> + Send>>),
    Open { lease: Lease, heard: Instant, is_used: bool },
}

struct Sent<T> {
    of: T,
    verifier: Verifier,
    is_doubtful: bool,
}

/// What happens on an exchange.
#[derive(Debug)]
pub enum Event<T> {
    /// There is a connection.
    Opened,
    /// There is none.
    Unreachable(Arc<ConnectError>),
    /// A message was answered: NOERROR, verified, or an error, signed or not.
    Answer(T, Result<Box<Message>, Failure>),
    /// What came for a message is not to be believed; the true answer may follow.
    Unbelieved {
        /// Why.
        reason: &'static str,
        /// Nothing like it came for this message before.
        is_first: bool,
    },
    /// An answer to no message that waits for one.
    Unasked,
    /// What came is not DNS: the stream cannot be trusted any longer.
    NotDns,
    /// The connection has ended.
    Closed(io::Error),
}

#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum AskError {
    #[error("{0}")]
    Connect(#[source] Arc<ConnectError>),
    #[error("the connection was closed in place of an answer")]
    Closed,
    #[error("no answer within {0:?}")]
    Silent(Duration),
    #[error("what answers there does not speak DNS")]
    NotDns,
    /// NOERROR without a signature that verifies.
    #[error("the answer is not signed with the key")]
    Unsigned,
    #[error("the primary answered {0}")]
    Failed(Failure),
    /// The answer holds no SOA and no NS record.
    #[error("the primary does not serve the zone")]
    NoZone,
    #[error("too many questions wait")]
    Full,
    #[error(transparent)]
    Encode(#[from] EncodeError),
}

impl AskError {
    /// Whether the next primary of the zone is to be asked: this one is in trouble, and another may do better. What it says of
    /// the zone, the key or a name counts.
    pub(crate) fn leads_to_next_primary(&self) -> bool {
        match self {
            Self::Connect(_) | Self::Closed | Self::Silent(_) | Self::NotDns | Self::Unsigned => true,
            Self::Failed(failure) => failure.leads_to_next_primary(),
            Self::NoZone | Self::Full | Self::Encode(_) => false,
        }
    }
}

impl<T> Exchange<T> {
    /// Begins to take a connection to `primary` from `pool`; [`Pool::lease`] says what `source` and `limit` are.
    pub fn open(&mut self, pool: &Pool, primary: Primary, source: Option<IpAddr>, limit: Duration) {
        let pool = pool.clone();
        self.link = Link::Opening(Box::pin(async move { pool.lease(primary, source, limit).await }));
    }

    pub(crate) fn is_closed(&self) -> bool {
        matches!(self.link, Link::Closed)
    }

    /// Whether it is this one's turn to send: once it has and others wait for a connection, it is theirs.
    pub(crate) fn has_turn(&self) -> bool {
        matches!(&self.link, Link::Open { lease, is_used, .. } if !(*is_used && lease.is_wanted()))
    }

    /// An ID for the next message.
    pub fn fresh_id(&mut self) -> u16 {
        match &mut self.link {
            Link::Open { lease, .. } => lease.connection.fresh_id(|id| self.sent.contains_key(&id)),
            Link::Closed | Link::Opening(_) => 0,
        }
    }

    /// Sends a message with a fresh ID; what its answer comes with is `of`, which is dropped where there is no connection.
    pub fn send(&mut self, of: T, Signed { octets, verifier }: Signed) {
        let Link::Open { lease, is_used, .. } = &mut self.link else { return };
        *is_used = true;
        lease.connection.send(&octets);
        self.sent.insert(verifier.id, Sent { of, verifier, is_doubtful: false });
    }

    /// What happens next; waits for ever where it is closed. After [`Event::Closed`] and [`Event::NotDns`], [`Self::close`] ends
    /// it and returns what was not answered.
    pub async fn next(&mut self) -> Event<T> {
        match &mut self.link {
            Link::Closed => std::future::pending().await,
            Link::Opening(leasing) => match leasing.await {
                Ok(lease) => {
                    self.link = Link::Open { lease, heard: Instant::now(), is_used: false };
                    Event::Opened
                }
                Err(error) => {
                    self.link = Link::Closed;
                    Event::Unreachable(error)
                }
            },
            Link::Open { lease, heard, .. } => match lease.connection.next().await {
                Ok(octets) => {
                    *heard = Instant::now();
                    self.receive(&octets)
                }
                Err(error) => Event::Closed(error),
            },
        }
    }

    fn receive(&mut self, octets: &[u8]) -> Event<T> {
        let Some(Entry::Occupied(mut sent)) = id_of(octets).map(|id| self.sent.entry(id)) else {
            return if Message::from_vec(octets).is_ok() { Event::Unasked } else { Event::NotDns };
        };
        let answer = match classify(octets, &sent.get().verifier) {
            Reply::Done(message) => Ok(message),
            Reply::Failed(failure) => Err(failure),
            Reply::Nothing(reason) => {
                let is_first = !std::mem::replace(&mut sent.get_mut().is_doubtful, true);
                return Event::Unbelieved { reason, is_first };
            }
            Reply::Garbage => return Event::NotDns,
        };
        Event::Answer(sent.remove().of, answer)
    }

    /// Whether what came for the message of `of` was not to be believed.
    pub(crate) fn is_doubtful(&self, of: impl Fn(&T) -> bool) -> bool {
        self.sent.values().any(|sent| sent.is_doubtful && of(&sent.of))
    }

    pub(crate) fn unanswered(&self) -> usize {
        self.sent.len()
    }

    /// When the oldest message without an answer left, and when anything came since, if it did.
    pub(crate) fn waits_since(&self) -> Option<(Instant, Instant)> {
        let oldest = self.sent.values().map(|sent| sent.verifier.signed_at()).min()?;
        match &self.link {
            Link::Open { heard, .. } => Some((oldest, oldest.max(*heard))),
            Link::Closed | Link::Opening(_) => None,
        }
    }

    /// Gives the connection back to the pool where all that was sent is answered.
    pub(crate) fn rest(&mut self) {
        if self.sent.is_empty() {
            match std::mem::replace(&mut self.link, Link::Closed) {
                Link::Open { lease, .. } => lease.give_back(),
                other => self.link = other,
            }
        }
    }

    /// Ends the connection, and returns what was not answered, each with whether what came for it was not to be believed.
    pub(crate) fn close(&mut self) -> impl Iterator<Item = (T, bool)> {
        self.link = Link::Closed;
        self.sent.drain().map(|(_, sent)| (sent.of, sent.is_doubtful))
    }
}

impl<T> Default for Exchange<T> {
    fn default() -> Self {
        Self { link: Link::Closed, sent: HashMap::new() }
    }
}

impl<T> Drop for Exchange<T> {
    fn drop(&mut self) {
        self.rest();
    }
}

#[cfg(test)]
mod tests {
    use super::super::reply::Rcode;
    use super::*;

    #[test]
    fn trouble_leads_to_the_next_primary_and_a_refusal_never() {
        let failed = |rcode| AskError::Failed(Failure { rcode, tsig: None, signed: true });
        let silent = AskError::Silent(Duration::from_secs(1));
        for error in [AskError::Closed, silent, AskError::NotDns, AskError::Unsigned, failed(Rcode::SERVFAIL)] {
            assert!(error.leads_to_next_primary(), "{error}");
        }
        for error in [Rcode::REFUSED, Rcode::NOTAUTH, Rcode::NXDOMAIN, Rcode::YXRRSET].map(failed) {
            assert!(!error.leads_to_next_primary(), "{error}");
        }
    }
}
