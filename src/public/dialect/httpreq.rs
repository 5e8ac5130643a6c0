//! httpreq, lego's protocol for a name server behind HTTP, which acme.sh, certbot and Traefik speak too: `present` has a value
//! served, `cleanup` removes it. In its RAW mode the server makes the value of the key authorisation (RFC 8555 section 8.4).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hyper::Method;
use ring::digest::{SHA256, digest};

use super::{DialectRequest, Echo, Parsed, Rendered, whole};
use crate::gateway::{Asked, BadAddress, ChallengeAsked, Labels, Verdicts};
use crate::model::{Hostname, Outcome};
use crate::public::authorization::identity;
use crate::public::json::JsonObject;
use crate::public::parameters::Parameters;

/// What is said of a challenge, in either mode.
struct Said {
    /// The owner name, as the client spells it.
    fqdn: String,
    host: String,
    value: String,
}

/// Whether it is a POST.
pub(super) fn claims(request: &DialectRequest<'_>) -> bool {
    request.head.method == Method::POST
}

/// Reads which host's value is meant, of JSON or of a form.
pub(super) fn parse(request: &DialectRequest<'_>) -> Parsed {
    let DialectRequest { head, body, parameters, .. } = *request;
    // A form's `token` is no credential.
    let query = Parameters::parse(head.uri.query().unwrap_or_default().as_bytes());
    let identity = identity(&head.headers, &query);
    let said = if JsonObject::is_begun_by(body) {
        let json = JsonObject::parse(body).ok_or(BadAddress::NotUnderstood("the body is no JSON object"));
        json.and_then(|json| read(|key| json.text(key).map(|text| text.unwrap_or_default().to_owned())))
    } else if parameters.has_foreign_body() {
        Err(BadAddress::NotUnderstood("the body is neither JSON nor a form"))
    } else {
        read(|key| Ok(parameters.first_of(&[key]).unwrap_or_default().into_owned()))
    };
    let is_cleanup = head.uri.path().trim_end_matches('/').ends_with("cleanup");
    let ask = if is_cleanup { ChallengeAsked::Remove } else { ChallengeAsked::Present };
    let (host, asked, echo) = match said {
        Ok(Said { fqdn, host, value }) => {
            let asked = Asked::of_challenge(ask(value.clone()));
            (host, Ok(asked), Echo { fqdn: is_name(&fqdn).then_some(fqdn), txt: Some(value), ..Echo::default() })
        }
        Err(error) => (String::new(), Err(error), Echo::default()),
    };
    // One host in any case: another one than it names is never meant.
    Parsed { identity, hosts: vec![host], labels: Labels::NoHost, asked, echo }
}

/// Whether it may stand in an answer.
fn is_name(fqdn: &str) -> bool {
    Hostname::parse(fqdn).is_ok()
}

fn read(text: impl Fn(&str) -> Result<String, BadAddress>) -> Result<Said, BadAddress> {
    let (fqdn, value) = (text("fqdn")?, text("value")?);
    let (domain, key_authorisation) = (text("domain")?, text("keyauth")?);
    match [&fqdn, &value, &domain, &key_authorisation].map(|text| !text.is_empty()) {
        [true, true, false, false] => {
            let host =
                Hostname::challenged(&fqdn).ok_or(BadAddress::NotUnderstood("fqdn is not at _acme-challenge"))?;
            Ok(Said { host: host.to_owned(), value: super::challenge_value(&value)?, fqdn })
        }
        [false, false, true, true] => {
            // lego leaves the `*.` out.
            let host = domain.strip_prefix("*.").unwrap_or(&domain).to_owned();
            let value = URL_SAFE_NO_PAD.encode(digest(&SHA256, key_authorisation.as_bytes()));
            Ok(Said { fqdn: format!("_acme-challenge.{host}"), host, value })
        }
        _ => Err(BadAddress::NotUnderstood("it says neither fqdn and value nor domain and keyAuth")),
    }
}

/// The answer for the one host of a request: acme.sh wants the value in it.
pub(super) fn render(verdicts: &Verdicts, echo: &Echo) -> Rendered {
    whole::json(verdicts, |outcome| match outcome {
        Outcome::Changed | Outcome::Unchanged => {
            (200, serde_json::json!({ "fqdn": echo.fqdn, "value": echo.txt }).to_string())
        }
        Outcome::BadCredentials => whole::json_error(401, "unauthorized"),
        Outcome::NotAName | Outcome::NotYourHost => whole::json_error(403, "not your host"),
        Outcome::TooMany | Outcome::Blocked | Outcome::NotAllowed => whole::json_error(403, "forbidden"),
        Outcome::BadAddress => whole::json_error(400, "bad value"),
        Outcome::TooFast => whole::json_error(503, "too fast"),
        Outcome::Unreachable | Outcome::Refused => whole::json_error(503, "try again later"),
    })
}
