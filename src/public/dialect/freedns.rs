//! FreeDNS (<https://freedns.afraid.org>): the URL of one host, `/u/TOKEN/` (v2) or `/dynamic/update.php?TOKEN` (v1), with its
//! parameters in the words of dyndns2. Home Assistant's `freedns` is aimed by its `url:`.

use super::{DialectRequest, Echo, Parsed, Rendered, dyndns2, secret, whole};
use crate::gateway::Verdicts;
use crate::model::Outcome;

/// Reads what is asked for: v2. Without a token, somebody shows credentials.
pub(super) fn parse(request: &DialectRequest<'_>) -> Parsed {
    let parsed = dyndns2::parse(request);
    if request.rest.is_empty() {
        return parsed;
    }
    Parsed { identity: secret(Some(request.rest.into())), ..parsed }
}

/// The same in v1, whose token is the first item of the query that is no pair.
pub(super) fn parse_v1(request: &DialectRequest<'_>) -> Parsed {
    let mut items = request.head.uri.query().unwrap_or_default().split('&');
    let token = items.find(|item| !item.is_empty() && !item.contains('='));
    let Some(token) = token else { return dyndns2::parse(request) };
    let parameters = &request.parameters.without(token);
    let parsed = dyndns2::parse(&DialectRequest { parameters, ..*request });
    Parsed { identity: secret(Some(token.into())), ..parsed }
}

/// pfSense and qdm12 read these words in any letter case.
pub(super) fn render(verdicts: &Verdicts, echo: &Echo) -> Rendered {
    let unchanged =
        |host: &str, address: &str| format!("No IP change detected for {host} with IP {address}, skipping update");
    answer(verdicts, echo, unchanged)
}

/// v1 says `ERROR` where nothing changed, and its clients take that for well done.
pub(super) fn render_v1(verdicts: &Verdicts, echo: &Echo) -> Rendered {
    answer(verdicts, echo, |_, address| format!("ERROR: Address {address} has not changed."))
}

fn answer(verdicts: &Verdicts, echo: &Echo, unchanged: impl FnOnce(&str, &str) -> String) -> Rendered {
    let host = verdicts.hosts.first().map_or("the host", String::as_str);
    let addresses: Vec<_> = echo.v4.iter().chain(&echo.v6).map(String::as_str).collect();
    let address = addresses.join(",");
    whole::once(verdicts, |outcome| {
        let error = |status, words: &str| (status, format!("ERROR: {words}"));
        match outcome {
            Outcome::Changed => (200, format!("Updated {host} to {address} in 0.1 seconds")),
            Outcome::Unchanged => (200, unchanged(host, &address)),
            Outcome::BadCredentials => error(401, "Unable to locate this record"),
            Outcome::NotAName | Outcome::NotYourHost => error(404, "Unable to locate this record"),
            Outcome::TooMany => error(400, "Too many hosts"),
            Outcome::Blocked | Outcome::NotAllowed => error(403, "Forbidden"),
            Outcome::BadAddress => error(400, "Invalid address"),
            Outcome::TooFast => error(503, "Too fast"),
            Outcome::Unreachable | Outcome::Refused => error(503, "Temporary failure"),
        }
    })
}

#[cfg(test)]
mod tests {
    use crate::gateway::Identity;
    use crate::public::dialect::tests::{read, told};

    #[test]
    fn the_token_is_the_host_and_the_rest_is_read_as_in_dyndns2() {
        for (dialect, target, expected) in [
            ("freedns", "/u/Ab-cd", ": 198.51.100.1"),
            ("freedns", "/u/Ab-cd?address=192.0.2.1", ": 192.0.2.1"),
            ("freedns", "/u/Ab-cd?hostname=a.b&myip=192.0.2.1", "a.b: 192.0.2.1"),
            ("freedns-v1", "/dynamic/update.php?Ab-cd", ": 198.51.100.1"),
            ("freedns-v1", "/dynamic/update.php?Ab-cd&address=192.0.2.1", ": 192.0.2.1"),
            ("freedns-v1", "/dynamic/update.php?address=192.0.2.1&Ab-cd", ": 192.0.2.1"),
        ] {
            assert_eq!(told(dialect, target, "198.51.100.1"), expected, "{target}");
            let proof = read(dialect, target, "198.51.100.1").identity;
            assert!(matches!(proof, Identity::Secret(secret) if secret.expose() == b"Ab-cd"), "{target}");
        }
        let stated = told("freedns-v1", "/dynamic/update.php?myip&myip=192.0.2.1", "198.51.100.1");
        assert_eq!(stated, ": 192.0.2.1", "a token that is called like an address hides none");
        assert!(matches!(
            read("freedns-v1", "/dynamic/update.php?address=", "198.51.100.1").identity,
            Identity::Nobody
        ));
    }
}
