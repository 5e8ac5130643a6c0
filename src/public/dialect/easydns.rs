//! easyDNS and who speaks like it (`/dyn/*.php`): requests as in dyndns2, other words. One of them stands for all clients: ddclient
//! 3.10 wants `NOERROR` first, qdm12 an `OK` anywhere.

use super::{Echo, Rendered, whole};
use crate::gateway::Verdicts;
use crate::model::Outcome;

/// The answer for all hosts.
pub(super) fn render(verdicts: &Verdicts, _: &Echo) -> Rendered {
    whole::once(verdicts, |outcome| {
        let (status, words) = match outcome {
            Outcome::Changed | Outcome::Unchanged => (200, "NOERROR OK"),
            Outcome::BadCredentials => (401, "NOACCESS"),
            Outcome::NotAName | Outcome::NotYourHost => (200, "NOACCESS"),
            Outcome::TooMany | Outcome::BadAddress => (200, "ILLEGAL INPUT"),
            Outcome::Blocked | Outcome::NotAllowed => (200, "NOSERVICE"),
            Outcome::TooFast => (503, "TOOSOON"),
            Outcome::Unreachable | Outcome::Refused => (503, "NOSERVICE"),
        };
        (status, words.to_owned())
    })
}
