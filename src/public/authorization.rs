//! Credentials of a request: HTTP Basic (RFC 7617), or the query where a device cannot send it. Pure.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use hyper::header::{AUTHORIZATION, HeaderMap};

use super::parameters::{Parameters, text};
use crate::auth::Credentials;

// Old clients leave the padding out.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

const LOGIN: [&str; 4] = ["username", "user", "login", "u"];
const PASSWORD: [&str; 4] = ["password", "pass", "passwd", "p"];

/// The credentials of a request; a Basic header wins over the query. An empty `Basic :`, which inadyn sends where nothing is
/// configured, is none.
pub(super) fn credentials(headers: &HeaderMap, parameters: &Parameters) -> Option<Credentials> {
    match headers.get(AUTHORIZATION).and_then(|value| basic(value.as_bytes())) {
        Some(Basic::Given(credentials)) => return Some(credentials),
        Some(Basic::Unreadable) => return None,
        Some(Basic::Empty) | None => {}
    }
    let login = parameters.first_of(&LOGIN)?;
    Some(Credentials::new(login.to_owned(), parameters.first_of(&PASSWORD)?.to_owned()))
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
        credentials(&headers(header.map(str::as_bytes)), &Parameters::parse(query.as_bytes())).map(|found| found.login)
    }

    #[test]
    fn basic_wins_and_an_empty_one_is_none() {
        let query = "username=query&password=secret";
        assert_eq!(login(Some("Basic YmFzaWM6YTpi"), query).as_deref(), Some("basic"));
        assert_eq!(login(Some("basic YmFzaWM6YTpi"), "").as_deref(), Some("basic"));
        assert_eq!(login(Some("Basic Og=="), ""), None);
        assert_eq!(login(Some("Basic Og=="), query).as_deref(), Some("query"));
        assert_eq!(login(Some("Basic !!!!"), query), None, "a header that cannot be read wins all the same");
        assert_eq!(login(Some("Bearer abc"), query).as_deref(), Some("query"));
        assert_eq!(login(None, "u=short&p=x").as_deref(), Some("short"));
        assert_eq!(login(None, "u=short"), None);
    }

    proptest! {
        #[test]
        fn no_header_panics(octets: Vec<u8>) {
            let _read = credentials(&headers(Some(&octets)), &Parameters::default());
        }
    }
}
