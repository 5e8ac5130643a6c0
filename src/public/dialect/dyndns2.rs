//! dyndns2, the protocol of `/nic/update`: Dyn's "Members NIC Update API" as routers speak it.

use super::stated::apart;
use super::{DialectRequest, Echo, Parsed, Rendered};
use crate::auth::Credentials;
use crate::gateway::{Identity, Labels, Verdicts};
use crate::model::{Hostname, Outcome};
use crate::public::authorization::identity;
use crate::public::spellings;

/// Whether this grammar takes a request at its paths: any but at the root, where a page would be, and a host or an address must be
/// said.
pub(super) fn claims(request: &DialectRequest<'_>) -> bool {
    let is_root = request.head.uri.path().bytes().all(|octet| octet == b'/');
    !is_root || spellings::are_in(request.parameters) || is_meant(request)
}

/// Whether a request to a path that is nobody's is one of this grammar: somebody says who asks, and for what. The login may be the
/// host.
pub(super) fn is_meant(request: &DialectRequest<'_>) -> bool {
    match identity(&request.head.headers, request.parameters) {
        Identity::Nobody => false,
        Identity::Password(Credentials { login, .. }) if is_host_name(&login) => true,
        Identity::Password(_) | Identity::Secret(_) | Identity::Either(_) | Identity::Token(_) => {
            spellings::are_in(request.parameters)
        }
    }
}

fn is_host_name(login: &str) -> bool {
    login.contains('.') && Hostname::parse(login).is_ok()
}

/// Reads what is asked for.
pub(in crate::public) fn parse(request: &DialectRequest<'_>) -> Parsed {
    let DialectRequest { head, parameters, client, settings, .. } = *request;
    let hosts = spellings::hosts(parameters);
    let (asked, echo) = apart(spellings::asked(parameters, &hosts, client.address, settings));
    Parsed { identity: identity(&head.headers, parameters), hosts, labels: Labels::NoHost, asked, echo }
}

/// The answer for `verdicts`: one line for each.
pub(in crate::public) fn render(verdicts: &Verdicts, echo: &Echo) -> Rendered {
    let verdicts = &verdicts.each;
    let outcomes = || verdicts.iter().map(|verdict| verdict.outcome);
    let lines: Vec<_> = outcomes().map(|outcome| line(outcome, echo)).collect();
    let reasons: Vec<_> = outcomes().map(reason).collect();
    Rendered {
        status: match verdicts.as_slice() {
            [only] => status(only.outcome),
            _ if outcomes().any(|outcome| status(outcome) == 503) => 503,
            _ => 200,
        },
        content_type: "text/plain",
        body: lines.join("\n"),
        reason: reasons.join(", "),
        retry_after: verdicts.iter().filter_map(|verdict| verdict.retry_after).max(),
    }
}

pub(super) fn line(outcome: Outcome, echo: &Echo) -> String {
    let word = match outcome {
        Outcome::Changed => "good",
        Outcome::Unchanged => "nochg",
        Outcome::BadCredentials => "badauth",
        Outcome::NotAName => "notfqdn",
        Outcome::NotYourHost => "nohost",
        Outcome::TooMany => "numhost",
        Outcome::Blocked => "abuse",
        Outcome::NotAllowed => "!donator",
        Outcome::BadAddress => "badip",
        Outcome::TooFast | Outcome::Unreachable => "911",
        Outcome::Refused => "dnserr",
    };
    match (outcome, &echo.v4, &echo.v6) {
        (Outcome::Changed | Outcome::Unchanged, Some(v4), Some(v6)) => format!("{word} {v4},{v6}"),
        (Outcome::Changed | Outcome::Unchanged, Some(only), None)
        | (Outcome::Changed | Outcome::Unchanged, None, Some(only)) => format!("{word} {only}"),
        _ => word.to_owned(),
    }
}

fn status(outcome: Outcome) -> u16 {
    match outcome {
        Outcome::BadCredentials => 401,
        Outcome::BadAddress => 400,
        // inadyn `custom` and ez-ipupdate end for good on 200 with 911, inadyn on 429.
        Outcome::TooFast | Outcome::Unreachable | Outcome::Refused => 503,
        Outcome::Changed
        | Outcome::Unchanged
        | Outcome::NotAName
        | Outcome::NotYourHost
        | Outcome::TooMany
        | Outcome::Blocked
        | Outcome::NotAllowed => 200,
    }
}

pub(super) fn reason(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Changed => "changed",
        Outcome::Unchanged => "unchanged",
        Outcome::BadCredentials => "bad credentials",
        Outcome::NotAName => "not a host name",
        Outcome::NotYourHost => "not your host",
        Outcome::TooMany => "too many hosts",
        Outcome::Blocked => "blocked",
        Outcome::NotAllowed => "not allowed",
        Outcome::BadAddress => "bad address",
        Outcome::TooFast => "too fast",
        Outcome::Unreachable => "primary unreachable",
        Outcome::Refused => "primary refuses us",
    }
}
