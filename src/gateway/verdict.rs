//! What became of a request: outcomes for the client, reasons for the log.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use crate::engine::{self, Applied, Trouble};
use crate::model::Outcome;
use crate::registry::Unavailable;

/// When to come back after the primary could not be asked, and after it refused us.
const AFTER_UNREACHABLE: Duration = Duration::from_secs(60);
const AFTER_REFUSED: Duration = Duration::from_secs(300);

/// What became of a request, or of one host of it.
#[derive(Debug, Clone)]
pub struct Verdicts {
    /// The login that was tried, where it is an account's: people type passwords into the wrong field, and the log must not
    /// repeat them.
    pub(crate) login: Option<Arc<str>>,
    /// The hosts that were asked for, as they were sent, or found out: an account's only one, a token's.
    pub(crate) hosts: Vec<String>,
    /// One for each host of the request in its order; or one for the whole request; none where no change was asked for.
    pub each: Vec<HostVerdict>,
}

/// An outcome, and what the log says about it.
#[derive(Debug, Clone)]
pub struct HostVerdict {
    /// What the client is told.
    pub outcome: Outcome,
    /// When it may come back, where the outcome says that it should.
    pub(crate) retry_after: Option<Duration>,
    /// What was really the matter; for the log only.
    pub reason: Cow<'static, str>,
    /// What the primary answered last, if it was asked.
    pub(crate) rcode: Option<String>,
}

impl Verdicts {
    /// No change was asked for.
    pub(crate) fn answered() -> Self {
        Self { login: None, hosts: Vec::new(), each: Vec::new() }
    }

    pub(crate) fn once(login: Option<Arc<str>>, verdict: HostVerdict) -> Self {
        Self { login, hosts: Vec::new(), each: vec![verdict] }
    }
}

impl From<Unavailable> for HostVerdict {
    fn from(Unavailable: Unavailable) -> Self {
        Self::unreachable("the store does not say: it is away, or a row of it cannot be read")
    }
}

impl HostVerdict {
    pub(crate) fn new(outcome: Outcome, reason: impl Into<Cow<'static, str>>) -> Self {
        Self { outcome, retry_after: None, reason: reason.into(), rcode: None }
    }

    /// The same, and what the log says besides.
    pub(super) fn and_says(self, more: impl IntoIterator<Item: AsRef<str>>) -> Self {
        more.into_iter().fold(self, |verdict, said| {
            let reason = format!("{}; {}", verdict.reason, said.as_ref());
            Self { reason: reason.into(), ..verdict }
        })
    }

    pub(super) fn too_fast(wait: Duration, reason: &'static str) -> Self {
        Self { retry_after: Some(wait), ..Self::new(Outcome::TooFast, reason) }
    }

    /// The primary was asked, and the name itself holds what is wanted.
    pub(super) fn verified_now() -> Self {
        Self { rcode: Some("NOERROR".to_owned()), ..Self::new(Outcome::Unchanged, "verified now") }
    }

    /// The primary cannot be asked now, or we are overloaded.
    pub(crate) fn unreachable(reason: &'static str) -> Self {
        Self { retry_after: Some(AFTER_UNREACHABLE), ..Self::new(Outcome::Unreachable, reason) }
    }

    /// Only the operator can mend it.
    fn refused(reason: &'static str) -> Self {
        Self { retry_after: Some(AFTER_REFUSED), ..Self::new(Outcome::Refused, reason) }
    }

    pub(super) fn of(answer: engine::Answer) -> Self {
        let (verdict, rcode) = match answer {
            Ok(Applied { superseded: false }) => (Self::new(Outcome::Changed, "acknowledged"), "NOERROR".to_owned()),
            Ok(Applied { superseded: true }) => {
                (Self::new(Outcome::Changed, "acknowledged, and replaced by a newer request"), "NOERROR".to_owned())
            }
            Err(Trouble::Hidden(failure)) => (
                Self::new(
                    Outcome::NotYourHost,
                    "the name stands at a CNAME or delegation, or below a delegation or DNAME",
                ),
                failure.to_string(),
            ),
            Err(Trouble::Elsewhere) => (
                Self::new(Outcome::NotYourHost, "another zone on the primary lies over the name"),
                "NOERROR".to_owned(),
            ),
            Err(Trouble::Refused(failure)) => (Self::refused("the primary refuses us"), failure.to_string()),
            Err(Trouble::Dropped) => (
                Self::refused("the primary acknowledged the change and dropped it: see its update policy"),
                "NOERROR".to_owned(),
            ),
            Err(Trouble::Failed(failure)) => (Self::unreachable("the primary cannot write now"), failure.to_string()),
            Err(Trouble::Timeout) => return Self::unreachable("no answer before the deadline"),
            Err(Trouble::Silent) => return Self::unreachable("the primary was silent for too long"),
            Err(Trouble::Overloaded) => return Self::unreachable("more changes wait than the primary can do in time"),
        };
        Self { rcode: Some(rcode), ..verdict }
    }
}
