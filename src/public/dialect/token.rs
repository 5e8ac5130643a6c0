//! The URL of one host: `/update/TOKEN`, and `/cpanelwebcall/TOKEN` as cPanel's devices call it. The token is the credential.

use std::sync::Arc;

use super::super::parameters::Parameters;
use super::Answer;
use super::dyndns2::{self, Spelling};
use crate::gateway::{Admitted, HostVerdict, Identity, UpdateRequest};
use crate::model::TokenDigest;
use crate::net::ClientAddress;

/// The label of the metrics.
pub(in crate::public) const NAME: &str = "token";

const PATHS: [&str; 2] = ["/update/", "/cpanelwebcall/"];

/// The token in `path`, and the path as a log may show it.
#[must_use]
pub(in crate::public) fn of_path(path: &str) -> Option<(TokenDigest, &'static str)> {
    let (prefix, token) = PATHS.iter().find_map(|prefix| Some((*prefix, path.strip_prefix(prefix)?)))?;
    let shown = if prefix == "/update/" { "/update/…" } else { "/cpanelwebcall/…" };
    Some((TokenDigest::of(token), shown))
}

/// Reads what is asked for: an address, or the caller's own.
pub(in crate::public) fn parse(
    parameters: &Parameters,
    token: TokenDigest,
    client: ClientAddress,
    admitted: Admitted,
    agent: Option<Arc<str>>,
) -> (UpdateRequest, Spelling) {
    let (asked, spelling) = dyndns2::parse(parameters, Identity::Token(token), client, admitted, agent);
    (UpdateRequest { hosts: Vec::new(), wants_extra: false, ..asked }, spelling)
}

/// dyndns2's answer, without a challenge: there is no login to ask for.
#[must_use]
pub(in crate::public) fn render(verdicts: &[HostVerdict], spelling: &Spelling) -> Answer {
    Answer { challenge: false, ..dyndns2::render(verdicts, spelling) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_what_follows_the_path_and_is_never_shown() {
        let token = "abcd-efgh";
        assert_eq!(of_path("/update/abcd-efgh"), Some((TokenDigest::of(token), "/update/…")));
        assert_eq!(of_path("/cpanelwebcall/abcd-efgh"), Some((TokenDigest::of(token), "/cpanelwebcall/…")));
        for other in ["/update", "/nic/update", "/updates/abcd", "/UPDATE/abcd"] {
            assert_eq!(of_path(other), None, "{other}");
        }
        assert_eq!(of_path("/update/"), Some((TokenDigest::of(""), "/update/…")), "nobody's token");
    }
}
