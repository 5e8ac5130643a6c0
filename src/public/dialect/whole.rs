//! One answer for a whole request, where a dialect has one word for all hosts. Pure.

use std::time::Duration;

use super::{Rendered, dyndns2};
use crate::gateway::Verdicts;
use crate::model::Outcome;

/// Where nobody says when to come back.
const COME_BACK: Duration = Duration::from_secs(60);

/// What `say` says, status and body, of the request as a whole; nothing where no change was asked for.
pub(super) fn once(verdicts: &Verdicts, say: impl FnOnce(Outcome) -> (u16, String)) -> Rendered {
    let (status, body) = outcome(verdicts).map_or_else(|| (200, String::new()), say);
    answer(verdicts, status, body)
}

/// The same in JSON.
pub(super) fn json(verdicts: &Verdicts, say: impl FnOnce(Outcome) -> (u16, String)) -> Rendered {
    Rendered { content_type: "application/json", ..once(verdicts, say) }
}

/// A refusal in JSON.
pub(super) fn json_error(status: u16, word: &str) -> (u16, String) {
    (status, serde_json::json!({ "error": word }).to_string())
}

/// An answer in plain text.
pub(super) fn answer(verdicts: &Verdicts, status: u16, body: String) -> Rendered {
    let reasons: Vec<_> = verdicts.each.iter().map(|verdict| dyndns2::reason(verdict.outcome)).collect();
    let wait = verdicts.each.iter().filter_map(|verdict| verdict.retry_after).max();
    Rendered {
        status,
        content_type: "text/plain",
        body,
        reason: reasons.join(", "),
        retry_after: if status == 503 { wait.or(Some(COME_BACK)) } else { wait },
    }
}

/// All hosts must have come through. A client comes back for all of them where one of them may come through later.
fn outcome(verdicts: &Verdicts) -> Option<Outcome> {
    let outcomes = || verdicts.each.iter().map(|verdict| verdict.outcome);
    let temporary = outcomes().find(|outcome| is_temporary(*outcome));
    let failed = || outcomes().find(|outcome| !matches!(outcome, Outcome::Changed | Outcome::Unchanged));
    let changed = || outcomes().find(|outcome| *outcome == Outcome::Changed);
    temporary.or_else(failed).or_else(changed).or_else(|| outcomes().next())
}

/// Whether the same request may come through later.
pub(super) fn is_temporary(outcome: Outcome) -> bool {
    match outcome {
        Outcome::TooFast | Outcome::Unreachable | Outcome::Refused => true,
        Outcome::Changed
        | Outcome::Unchanged
        | Outcome::BadCredentials
        | Outcome::NotAName
        | Outcome::NotYourHost
        | Outcome::TooMany
        | Outcome::Blocked
        | Outcome::NotAllowed
        | Outcome::BadAddress => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::HostVerdict;

    #[test]
    fn what_may_come_through_later_counts_before_what_cannot_and_that_before_what_did() {
        use Outcome::{Changed, NotYourHost, Refused, TooFast, Unchanged};
        for (each, expected) in [
            (&[][..], None),
            (&[Unchanged, Unchanged], Some(Unchanged)),
            (&[Unchanged, Changed], Some(Changed)),
            (&[Changed, NotYourHost], Some(NotYourHost)),
            (&[NotYourHost, Refused, Changed], Some(Refused)),
            (&[Unchanged, TooFast], Some(TooFast)),
        ] {
            let each = each.iter().map(|outcome| HostVerdict::new(*outcome, "")).collect();
            let verdicts = Verdicts { each, ..Verdicts::answered() };
            assert_eq!(outcome(&verdicts), expected);
        }
        let verdicts = Verdicts::once(None, HostVerdict::new(TooFast, ""));
        assert_eq!(answer(&verdicts, 503, String::new()).retry_after, Some(COME_BACK));
    }
}
