//! ZoneEdit (`/auth/dynamic.html`): requests as in dyndns2, and one element for each host. pfSense looks for the codes anywhere in
//! the answer, so that no other number may read like one.

use super::{Echo, Rendered, dyndns2, whole};
use crate::gateway::Verdicts;
use crate::model::Outcome;

/// What pfSense takes for failed, wherever it stands.
const MISLEADING: [&str; 2] = ["700", "799"];

/// The elements, one a line.
pub(super) fn render(verdicts: &Verdicts, echo: &Echo) -> Rendered {
    let outcomes = || verdicts.each.iter().map(|verdict| verdict.outcome);
    let lines: Vec<_> = outcomes().map(|outcome| element(outcome, echo)).collect();
    let status = match verdicts.each.as_slice() {
        _ if outcomes().any(whole::is_temporary) => 503,
        [only] if only.outcome == Outcome::BadCredentials => 401,
        _ => 200,
    };
    whole::answer(verdicts, status, lines.join("\n"))
}

fn element(outcome: Outcome, echo: &Echo) -> String {
    let text = dyndns2::reason(outcome);
    let done = |code: u16, text: &str| {
        let address = echo.v4.iter().chain(&echo.v6).find(|text| !MISLEADING.iter().any(|code| text.contains(code)));
        let address = address.map(|address| format!(" IP=\"{address}\"")).unwrap_or_default();
        format!("<SUCCESS CODE=\"{code}\" TEXT=\"{text}\"{address}>")
    };
    // ddclient takes 707 for done.
    let failed = |code: u16| format!("<ERROR CODE=\"{code}\" TEXT=\"{text}\">");
    match outcome {
        Outcome::Changed => done(200, "updated"),
        Outcome::Unchanged => done(201, "not changed"),
        Outcome::BadAddress => failed(701),
        Outcome::TooFast => failed(702),
        Outcome::BadCredentials => failed(708),
        Outcome::NotAName | Outcome::NotYourHost => failed(709),
        Outcome::TooMany | Outcome::Blocked | Outcome::NotAllowed | Outcome::Unreachable | Outcome::Refused => {
            failed(700)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::HostVerdict;

    #[test]
    fn there_is_an_element_for_each_host_and_no_number_but_its_code() {
        let outcomes = [Outcome::Changed, Outcome::NotYourHost];
        let each = outcomes.into_iter().map(|outcome| HostVerdict::new(outcome, "")).collect();
        let echo = |v6: &str| Echo { v6: Some(v6.to_owned()), ..Echo::default() };
        let verdicts = Verdicts { each, ..Verdicts::answered() };
        let lines =
            "<SUCCESS CODE=\"200\" TEXT=\"updated\" IP=\"2001:db8::1\">\n<ERROR CODE=\"709\" TEXT=\"not your host\">";
        assert_eq!(render(&verdicts, &echo("2001:db8::1")).body, lines);
        let misleading = Verdicts::once(None, HostVerdict::new(Outcome::Changed, ""));
        assert_eq!(render(&misleading, &echo("2001:db8:700::1")).body, "<SUCCESS CODE=\"200\" TEXT=\"updated\">");
    }
}
