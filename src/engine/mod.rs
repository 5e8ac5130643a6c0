//! The update engine: one lane for each zone, in which changes that arrive together travel together. Knows nothing of HTTP
//! and no type of hickory's.

mod blame;
mod course;
mod driver;
mod entry;
mod flight;
mod jitter;
mod lane;
mod link;
#[doc(hidden)]
pub mod measuring;
mod memory;
mod pace;
mod reach;
mod ready;
mod settings;
mod strays;
mod suspects;
mod zone;

use std::sync::Arc;

use crate::dns::Failure;
use crate::model::{Hostname, Records};

pub use memory::Compared;
pub use settings::Settings;
pub use strays::LIFE;
pub use zone::{Submitted, Unanswered, WeakZone, Zone, ZoneStatus};

/// What shall become of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// Its owner name.
    pub name: Hostname,
    /// Its address records: by family set, removed, or left alone.
    pub records: Records,
    /// TTL of the records that are set, in seconds.
    pub ttl: u32,
    /// Whose request it is.
    pub account: Arc<str>,
}

/// The primary acknowledged a change, signed and verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Applied {
    /// A newer wish for the same host travelled in place of this one, as if this one had been written and at once replaced.
    pub superseded: bool,
}

/// Why a change did not happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// The name stands at a CNAME or a delegation, or below a delegation or a DNAME.
    Hidden(Failure),
    /// The primary will not take it from us; the operator must act.
    Refused(Failure),
    /// The primary cannot write now, or the clocks are apart.
    Failed(Failure),
    /// No answer before the deadline.
    Timeout,
    /// The primary was silent until too little time was left. This one was not sent.
    Silent,
    /// More changes wait than we hold, or than the primary can do in time. This one was not sent.
    Overloaded,
}

/// What became of a change after its caller was told [`Trouble::Timeout`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Late {
    /// The primary acknowledged it.
    Applied,
    /// Its connection was lost: the primary may apply it until its signature is too old.
    Lost,
}

impl Trouble {
    /// Whether it may be over without anybody's doing.
    #[must_use]
    pub fn passes(self) -> bool {
        !matches!(self, Self::Hidden(_) | Self::Refused(_))
    }
}

/// What a caller learns of his change.
pub type Answer = Result<Applied, Trouble>;

#[cfg(test)]
fn test_wish(name: &str, address: &str) -> Wish {
    Wish {
        name: Hostname::parse(name).unwrap(),
        records: crate::model::Addresses::from(address.parse::<std::net::IpAddr>().unwrap()).into(),
        ttl: 60,
        account: Arc::from("account"),
    }
}
