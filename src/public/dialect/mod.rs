//! The dialects: each a pure `parse` from a request to what is asked for, and a pure, total `render` from outcomes to an
//! answer.

pub(in crate::public) mod checkip;
pub(in crate::public) mod dyndns2;
pub(in crate::public) mod token;

use std::time::Duration;

/// An answer, before it is HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::public) struct Answer {
    /// The status code.
    pub status: u16,
    /// The body, whole.
    pub body: String,
    /// `X-Dyngate-Reason`: a fixed phrase for each line.
    pub reason: String,
    /// `Retry-After`, rounded up to whole seconds.
    pub retry_after: Option<Duration>,
    /// Whether `WWW-Authenticate: Basic` is sent.
    pub challenge: bool,
}
