//! freemyip (<https://freemyip.com/help>): one token, one host, one word.

use super::stated::gives;
use super::{DialectRequest, Echo, Parsed, Rendered, dyndns2, secret, whole};
use crate::gateway::{BadAddress, Verdicts};
use crate::model::Outcome;

/// Where a `hostname` is given too, dyndns2 is spoken.
pub(super) fn claims(request: &DialectRequest<'_>) -> bool {
    gives(request, &["token", "domain"]) && !request.parameters.has("hostname")
}

/// Reads what is asked for.
pub(super) fn parse(request: &DialectRequest<'_>) -> Parsed {
    let parsed = dyndns2::parse(request);
    // To set the caller's address is not what somebody meant who says so.
    let others = ["delete", "txt"].iter().any(|name| request.parameters.has(name));
    let asked = match parsed.asked {
        Ok(_) if others => Err(BadAddress::NotUnderstood("delete and txt are not served")),
        asked => asked,
    };
    Parsed { identity: secret(request.parameters.first_of(&["token"])), asked, ..parsed }
}

/// ddclient and inadyn look for `OK` anywhere.
pub(super) fn render(verdicts: &Verdicts, _: &Echo) -> Rendered {
    whole::once(verdicts, |outcome| {
        let (status, word) = match outcome {
            Outcome::Changed | Outcome::Unchanged => (200, "OK"),
            Outcome::BadCredentials
            | Outcome::NotAName
            | Outcome::NotYourHost
            | Outcome::TooMany
            | Outcome::Blocked
            | Outcome::NotAllowed
            | Outcome::BadAddress => (200, "ERROR"),
            Outcome::TooFast | Outcome::Unreachable | Outcome::Refused => (503, "ERROR"),
        };
        (status, word.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use crate::public::dialect::tests::told;

    #[test]
    fn what_clients_send_is_read() {
        for (query, expected) in [
            ("token=t&domain=a.b", "a.b: 198.51.100.1"),
            ("token=t&domain=a.b&myip=192.0.2.1", "a.b: 192.0.2.1"),
            ("token=t&domain=a.b&delete=yes", "a.b: delete and txt are not served, and is not understood"),
        ] {
            assert_eq!(told("freemyip", &format!("/update?{query}"), "198.51.100.1"), expected, "{query}");
        }
    }
}
