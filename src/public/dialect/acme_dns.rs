//! acme-dns' API (joohoi/acme-dns), with which certbot, lego, acme.sh, Caddy and cert-manager prove names: `update` has a value
//! served at the `_acme-challenge` of a host; `register` makes no accounts here. Errors are JSON, which pyacmedns parses.

use hyper::Method;
use hyper::header::HeaderMap;

use super::{DialectRequest, Echo, Parsed, Rendered, whole};
use crate::auth::Credentials;
use crate::gateway::{Asked, BadAddress, ChallengeAsked, Identity, Labels, Verdicts};
use crate::model::{Hostname, Outcome};
use crate::public::authorization::identity;
use crate::public::json::JsonObject;
use crate::public::parameters::Parameters;

const USER: &str = "x-api-user";
const KEY: &str = "x-api-key";

/// Whether a POST is not what others send to `/update`. Clients call their JSON a form.
pub(super) fn claims(request: &DialectRequest<'_>) -> bool {
    let headers = &request.head.headers;
    request.head.method == Method::POST
        && (super::is_below(request.head, "acme-dns")
            || headers.contains_key(USER)
            || headers.contains_key(KEY)
            || JsonObject::is_begun_by(request.body))
}

/// Whether it is a POST.
pub(super) fn registers(request: &DialectRequest<'_>) -> bool {
    request.head.method == Method::POST
}

/// Whether it is no POST.
pub(super) fn asks_for_health(request: &DialectRequest<'_>) -> bool {
    request.head.method != Method::POST
}

/// Reads which host's value is meant: `subdomain` is the host, with or without `_acme-challenge.`
pub(super) fn parse(request: &DialectRequest<'_>) -> Parsed {
    let DialectRequest { head, body, .. } = *request;
    let read =
        JsonObject::parse(body).ok_or(BadAddress::NotUnderstood("the body is no JSON object")).and_then(|json| {
            let [subdomain, txt] = ["subdomain", "txt"].map(|key| json.text(key).map(|text| text.map(str::to_owned)));
            let value = super::challenge_value(&txt?.unwrap_or_default())?;
            Ok((subdomain?, value))
        });
    let (subdomain, value) = match read {
        Ok((subdomain, value)) => (subdomain, Ok(value)),
        Err(error) => (None, Err(error)),
    };
    let subdomain = subdomain.unwrap_or_default();
    let host = Hostname::challenged(&subdomain).unwrap_or(&subdomain).to_owned();
    let echo = Echo { txt: value.as_ref().ok().cloned(), ..Echo::default() };
    let asked = value.map(|value| Asked::of_challenge(ChallengeAsked::Present(value)));
    // One host in any case: another one than it names is never meant.
    Parsed {
        identity: credentials(&head.headers, head.uri.query()),
        hosts: vec![host],
        labels: Labels::NoHost,
        asked,
        echo,
    }
}

/// The two headers, or what other clients send in their place.
fn credentials(headers: &HeaderMap, query: Option<&str>) -> Identity {
    let said = |name| headers.get_all(name).iter().map(|value| value.to_str().unwrap_or_default()).collect::<Vec<_>>();
    match (said(USER).as_slice(), said(KEY).as_slice()) {
        ([user], [key]) if !user.is_empty() && !key.is_empty() => {
            Identity::Password(Credentials::new((*user).to_owned(), (*key).to_owned()))
        }
        ([], []) => identity(headers, &Parameters::parse(query.unwrap_or_default().as_bytes())),
        // Half of it, or two that say different things.
        _ => Identity::Nobody,
    }
}

/// The answer for the one host of a request.
pub(super) fn render(verdicts: &Verdicts, echo: &Echo) -> Rendered {
    whole::json(verdicts, |outcome| {
        match outcome {
            // With the blank, as it writes it.
            Outcome::Changed | Outcome::Unchanged => {
                let value = serde_json::Value::from(echo.txt.as_deref().unwrap_or_default());
                (200, format!("{{\"txt\": {value}}}"))
            }
            Outcome::BadCredentials
            | Outcome::NotAName
            | Outcome::NotYourHost
            | Outcome::TooMany
            | Outcome::Blocked
            | Outcome::NotAllowed => whole::json_error(401, "forbidden"),
            Outcome::BadAddress => whole::json_error(400, "bad_txt"),
            Outcome::TooFast => whole::json_error(503, "too_fast"),
            Outcome::Unreachable | Outcome::Refused => whole::json_error(503, "db_error"),
        }
    })
}

/// Accounts are made by the operator; lego and certbot show what they are told.
pub(super) fn register(_: &DialectRequest<'_>) -> Rendered {
    let (status, body) = whole::json_error(403, "forbidden: whoever runs this server makes its accounts");
    let (reason, retry_after) = ("not allowed".to_owned(), None);
    Rendered { status, content_type: "application/json", body, reason, retry_after }
}

/// Nothing, which is well.
pub(super) fn health(_: &DialectRequest<'_>) -> Rendered {
    let (body, reason, retry_after) = (String::new(), String::new(), None);
    Rendered { status: 200, content_type: "text/plain", body, reason, retry_after }
}
