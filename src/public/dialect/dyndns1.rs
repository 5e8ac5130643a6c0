//! dyndns1 (`/nic/dyndns`), which ddclient still speaks: requests as in dyndns2 with the host in `host_id`, and an answer of lines
//! that it looks for by name.

use super::{Echo, Rendered, dyndns2, whole};
use crate::gateway::Verdicts;
use crate::model::Outcome;

/// The answer for all hosts.
pub(super) fn render(verdicts: &Verdicts, _: &Echo) -> Rendered {
    whole::once(verdicts, |outcome| {
        let (status, code) = match outcome {
            Outcome::Changed | Outcome::Unchanged => (200, "NOERROR"),
            Outcome::BadCredentials => (401, "NOACCESS"),
            Outcome::NotAName | Outcome::NotYourHost => (200, "NOACCESS"),
            Outcome::TooMany | Outcome::BadAddress => (200, "ILLEGAL"),
            Outcome::Blocked | Outcome::NotAllowed => (200, "NOSERVICE"),
            Outcome::TooFast => (503, "TOOSOON"),
            Outcome::Unreachable | Outcome::Refused => (503, "NOSERVICE"),
        };
        let title = dyndns2::reason(outcome);
        (status, format!("<TITLE>{title}</TITLE>\nreturn code: {code}\nerror code: {code}"))
    })
}
