//! The update engine: one queue for each zone, in which changes that arrive together travel together, and stay until they are
//! done. Knows nothing of HTTP, of SQL, and no type of hickory's.

mod blame;
mod cache;
mod driver;
mod entry;
mod flight;
mod health;
mod jitter;
mod late;
#[doc(hidden)]
pub mod measuring;
mod pace;
mod quarantine;
mod queue;
mod ready;
mod seconds;
mod selection;
mod settings;
mod targets;
mod zone;

use std::net::IpAddr;
use std::sync::Arc;

use tokio::time::Instant;

use blame::{Blame, weigh};

use crate::dns::{AskError, Failure, Proof};
use crate::model::{Desired, DesiredRecords, Hostname, RrKey, Timestamp};

pub(crate) use crate::dns::Own;
pub use cache::Compared;
pub use entry::{Parked, Verdict};
pub use late::LIFE;
pub use settings::Settings;
pub use zone::{Submitted, Unanswered, WeakZone, Zone, ZoneStatus};

/// What shall become of one name's records, and on whose behalf.
#[derive(Debug, Clone)]
pub struct Change {
    /// The owner name.
    pub name: Hostname,
    /// What its RRsets shall hold.
    pub records: DesiredRecords,
    /// Who wants it.
    pub origin: Arc<Origin>,
}

/// Who wants a change, since when, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// On whose behalf.
    pub account: Arc<str>,
    /// Whose request it is; `None` where a command wants it.
    pub client: Option<Client>,
    /// When the request was accepted.
    pub accepted: Timestamp,
    /// Until when it is worth doing.
    pub keep: Keep,
}

/// Where a request came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// Its address.
    pub source: IpAddr,
    /// What it calls itself.
    pub agent: Option<Arc<str>>,
}

/// How long a change is worth doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// As long as somebody waits for it.
    WithCaller,
    /// Until then, whoever waits.
    Until(Instant),
    /// Until it is done.
    Always,
}

impl Keep {
    /// Whether it is worth doing at `now` though nobody waits for it.
    #[must_use]
    pub fn is_worth(self, now: Instant) -> bool {
        match self {
            Self::WithCaller => false,
            Self::Until(end) => now < end,
            Self::Always => true,
        }
    }
}

/// The primary acknowledged a change, signed and verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Applied {
    /// A newer change of the same RRset travelled in place of this one, as if this one had been written and at once replaced.
    pub superseded: bool,
}

/// Why a change did not happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// The name stands at a CNAME or a delegation, or below a delegation or a DNAME.
    Hidden(Failure),
    /// The primary acknowledged it, and another zone on it serves the name.
    Elsewhere,
    /// The primary will not take it from us; the operator must act.
    Refused(Failure),
    /// The primary acknowledged it, and did not do it; the operator must act.
    Dropped,
    /// The primary cannot write now, or the clocks are apart.
    Failed(Failure),
    /// No answer before the deadline.
    Timeout,
    /// The primary was silent until too little time was left. This one was not sent.
    Silent,
    /// More changes wait than we hold, or than the primary can do in time. This one was not sent.
    Overloaded,
}

/// How an RRset's change ended for which nobody waited any longer, or of which the store has a row.
#[derive(Debug)]
pub struct Ended {
    /// Which RRset.
    pub key: RrKey,
    /// What was desired.
    pub desired: Desired,
    /// Who wanted it.
    pub origin: Arc<Origin>,
    /// Which row the store has of it.
    pub row: Option<Timestamp>,
    /// What became of it.
    pub end: End,
}

/// What became of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The primary acknowledged it; `is_awaited` where callers were told.
    Done {
        /// Whether callers were told.
        is_awaited: bool,
    },
    /// The primary will never take it.
    Failed(Trouble),
    /// It is not worth doing any longer, or its zone is gone.
    Expired,
    /// A newer one took its place while the store was told of it.
    Superseded,
}

/// What became of a change after its caller was told [`Trouble::Timeout`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Late {
    /// The primary acknowledged it.
    Applied,
    /// Its connection was lost: the primary may apply it until its signature is too old.
    Lost,
}

/// What an error answer means to whoever asked.
fn trouble(failure: Failure) -> Trouble {
    match weigh(failure) {
        Blame::Clock | Blame::Server => Trouble::Failed(failure),
        Blame::Hidden | Blame::Name | Blame::NameOrZone | Blame::Zone => Trouble::Refused(failure),
    }
}

/// What the read-back of a change means to whoever asked for it.
fn proven(proof: &Result<Proof, AskError>) -> Result<(), Trouble> {
    match proof {
        Ok(Proof::Served) => Ok(()),
        Ok(Proof::Elsewhere(_)) => Err(Trouble::Elsewhere),
        Ok(Proof::Dropped) => Err(Trouble::Dropped),
        Err(AskError::Failed(failure)) => Err(trouble(*failure)),
        Err(_) => Err(Trouble::Timeout),
    }
}

/// What a caller learns of its change.
pub type Answer = Result<Applied, Trouble>;

#[cfg(test)]
fn test_change(name: &str, address: &str) -> Change {
    Change {
        name: Hostname::parse(name).unwrap(),
        records: DesiredRecords::set(address.parse::<IpAddr>().unwrap().into(), 60),
        origin: test_origin(Keep::WithCaller),
    }
}

#[cfg(test)]
fn test_origin(keep: Keep) -> Arc<Origin> {
    let client = Client { source: [192, 0, 2, 200].into(), agent: None };
    Arc::new(Origin { account: Arc::from("account"), client: Some(client), accepted: Timestamp(0), keep })
}
