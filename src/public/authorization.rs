//! Credentials of a request: HTTP Basic (RFC 7617), or the query where a device cannot send it. Pure.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use hyper::header::{AUTHORIZATION, HeaderMap};

use super::parameters::{Parameters, text};
use crate::auth::Credentials;
use crate::gateway::Identity;

// Old clients leave the padding out.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

pub(super) const LOGIN: [&str; 4] = ["username", "user", "login", "u"];
pub(super) const PASSWORD: [&str; 4] = ["password", "pass", "passwd", "p"];

/// Who asks. A Basic header wins over the query unless its login is none: empty, or `none`, which devices insist on, or no
/// account's, as where a FRITZ!Box has the credentials in its URL. An empty `Basic :`, which inadyn sends where nothing is
/// configured, is no header.
pub(super) fn identity(headers: &HeaderMap, parameters: &Parameters) -> Identity {
    let login = parameters.first_of(&LOGIN).zip(parameters.first_of(&PASSWORD));
    let query = login.map(|(login, password)| Credentials::new(login.into_owned(), password.into_owned()));
    match (headers.get(AUTHORIZATION).and_then(|value| basic(value.as_bytes())), query) {
        (Some(Basic::Unreadable), _) | (Some(Basic::Empty) | None, None) => Identity::Nobody,
        (Some(Basic::Given(basic)), None) => Identity::Password(basic),
        (Some(Basic::Given(basic)), Some(query)) if !is_no_login(&basic.login) => Identity::Either(basic, query),
        (_, Some(query)) => Identity::Password(query),
    }
}

fn is_no_login(login: &str) -> bool {
    login.is_empty() || login.eq_ignore_ascii_case("none")
}

/// What a Basic header holds.
enum Basic {
    Given(Credentials),
    Empty,
    Unreadable,
}

/// `None` where the scheme is another.
fn basic(header: &[u8]) -> Option<Basic> {
    let (scheme, encoded) = header.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    let Ok(octets) = LENIENT.decode(encoded.trim_ascii()) else { return Some(Basic::Unreadable) };
    // The password may hold colons, the login not.
    Some(match text(octets).split_once(':') {
        None => Basic::Unreadable,
        Some(("", "")) => Basic::Empty,
        Some((login, password)) => Basic::Given(Credentials::new(login.to_owned(), password.to_owned())),
    })
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn headers(authorization: Option<&[u8]>) -> HeaderMap {
        let value = authorization.and_then(|octets| HeaderValue::from_bytes(octets).ok());
        value.into_iter().map(|value| (AUTHORIZATION, value)).collect()
    }

    fn login(header: Option<&str>, query: &str) -> Option<String> {
        match identity(&headers(header.map(str::as_bytes)), &Parameters::parse(query.as_bytes())) {
            Identity::Password(only) => Some(only.login),
            Identity::Either(first, second) => Some(format!("{}, else {}", first.login, second.login)),
            Identity::Nobody | Identity::Token(_) => None,
        }
    }

    #[test]
    fn basic_wins_and_an_empty_one_is_none() {
        let query = "username=query&password=secret";
        assert_eq!(login(Some("Basic YmFzaWM6YTpi"), query).as_deref(), Some("basic, else query"));
        assert_eq!(login(Some("basic YmFzaWM6YTpi"), "").as_deref(), Some("basic"));
        assert_eq!(login(Some("Basic Og=="), ""), None);
        assert_eq!(login(Some("Basic Og=="), query).as_deref(), Some("query"));
        assert_eq!(login(Some("Basic !!!!"), query), None, "a header that cannot be read wins all the same");
        for no_login in ["none:x", "NONE:", ":x"] {
            let header = format!("Basic {}", LENIENT.encode(no_login));
            assert_eq!(login(Some(&header), query).as_deref(), Some("query"), "{no_login}");
            assert!(login(Some(&header), "").is_some(), "{no_login} is tried where there is nothing else");
        }
        assert_eq!(login(Some("Bearer abc"), query).as_deref(), Some("query"));
        assert_eq!(login(None, "u=short&p=x").as_deref(), Some("short"));
        assert_eq!(login(None, "u=short"), None);
    }

    proptest! {
        #[test]
        fn no_header_panics(octets: Vec<u8>) {
            let _read = identity(&headers(Some(&octets)), &Parameters::default());
        }
    }
}
