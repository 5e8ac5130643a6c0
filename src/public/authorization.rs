//! Credentials of a request: HTTP Basic (RFC 7617), or the query where a device cannot send it; a secret alone in either. Pure.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use hyper::header::{AUTHORIZATION, HeaderMap};

use super::parameters::{Parameters, text};
use crate::auth::{Credentials, Password};
use crate::gateway::Identity;

// Old clients leave the padding out.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The shortest name of a meaning counts where no longer one is given.
pub(super) const LOGIN: [&str; 5] = ["username", "user", "login", "mid", "u"];
pub(super) const PASSWORD: [&str; 10] = ["password", "pass", "passwd", "pwd", "pw", "token", "apikey", "key", "p", "k"];
/// pfSense's form for Google Domains has a field of this name, and the pair in it.
pub(super) const PAIR: &str = "username:password";

/// Who asks. A Basic header wins over the query unless its login is none: empty, or `none`, which devices insist on, or no
/// account's, as where a FRITZ!Box has the credentials in its URL. An empty `Basic :`, which inadyn sends where nothing is
/// configured, is no header. A secret in `Token` (deSEC's clients) or `Bearer` counts where the query's credentials are nobody's.
pub(super) fn identity(headers: &HeaderMap, parameters: &Parameters) -> Identity {
    let header = headers.get(AUTHORIZATION).and_then(|value| authorization(value.as_bytes()));
    match (header, in_parameters(parameters)) {
        (Some(Authorization::Unreadable), _) | (None, None) => Identity::Nobody,
        (Some(Authorization::Basic(basic)), None) => Identity::Password(basic),
        (Some(Authorization::Basic(basic)), Some(query)) if !basic.has_no_login() => {
            Identity::Either(Box::new([Identity::Password(basic), query]))
        }
        (Some(Authorization::Secret(secret)), None) => Identity::Secret(secret),
        (Some(Authorization::Secret(secret)), Some(query)) => {
            Identity::Either(Box::new([query, Identity::Secret(secret)]))
        }
        (Some(Authorization::Basic(_)) | None, Some(query)) => query,
    }
}

fn in_parameters(parameters: &Parameters) -> Option<Identity> {
    let (login, password) = (parameters.first_of(&LOGIN), parameters.first_of(&PASSWORD));
    match (login, password) {
        (Some(login), Some(password)) => {
            Some(Identity::Password(Credentials::new(login.into_owned(), password.into_owned())))
        }
        (None, Some(secret)) => Some(Identity::Secret(secret.into_owned().into())),
        (_, None) => {
            let pair = parameters.first_of(&[PAIR])?;
            let (login, password) = pair.split_once(':')?;
            Some(Identity::Password(Credentials::new(login.to_owned(), password.to_owned())))
        }
    }
}

/// What an Authorization header holds.
enum Authorization {
    Basic(Credentials),
    Secret(Password),
    Unreadable,
}

/// `None` where the scheme is another, or there is nothing in it.
fn authorization(header: &[u8]) -> Option<Authorization> {
    let space = header.iter().position(|octet| *octet == b' ')?;
    let (scheme, rest) = header.split_at_checked(space)?;
    let rest = rest.trim_ascii();
    if scheme.eq_ignore_ascii_case(b"token") || scheme.eq_ignore_ascii_case(b"bearer") {
        return (!rest.is_empty()).then(|| Authorization::Secret(text(rest.to_vec()).into()));
    }
    if !scheme.eq_ignore_ascii_case(b"basic") {
        return None;
    }
    let Ok(octets) = LENIENT.decode(rest) else { return Some(Authorization::Unreadable) };
    // The password may hold colons, the login not.
    match text(octets).split_once(':') {
        None => Some(Authorization::Unreadable),
        Some(("", "")) => None,
        Some((login, password)) => Some(Authorization::Basic(Credentials::new(login.to_owned(), password.to_owned()))),
    }
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
        who(&identity(&headers(header.map(str::as_bytes)), &Parameters::parse(query.as_bytes())))
    }

    fn who(identity: &Identity) -> Option<String> {
        match identity {
            Identity::Password(only) => Some(only.login.clone()),
            Identity::Secret(secret) => Some(format!("whoever has {}", String::from_utf8_lossy(secret.expose()))),
            Identity::Either(two) => Some(two.iter().filter_map(who).collect::<Vec<_>>().join(", else ")),
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
        assert_eq!(login(None, "u=short&p=x").as_deref(), Some("short"));
        assert_eq!(login(None, "u=short"), None);
        assert_eq!(login(Some("Digest abc"), query).as_deref(), Some("query"), "a scheme that is not read");
    }

    #[test]
    fn a_secret_needs_no_login_wherever_it_stands() {
        for (header, query, expected) in [
            (None, "token=t", "whoever has t"),
            (None, "hostname=a.example&PASSWORD=t", "whoever has t"),
            (None, "username=&pwd=t", "whoever has t"),
            (None, "MID=a&PWD=t", "a"),
            (None, "user=a&token=t", "a"),
            (None, "password=long&p=x&token=y&k=z", "whoever has long"),
            (None, "p=&k=t", "whoever has t"),
            (None, "key=t", "whoever has t"),
            (None, "username:password=a:b:c&hostname=x", "a"),
            (Some("Token t"), "", "whoever has t"),
            (Some("token  t "), "", "whoever has t"),
            (Some("Bearer t"), "", "whoever has t"),
            (Some("Bearer t"), "username=a&password=b", "a, else whoever has t"),
            (Some("Basic YTpi"), "token=t", "a, else whoever has t"),
            (Some("Basic bm9uZTpi"), "token=t", "whoever has t"),
        ] {
            assert_eq!(login(header, query).as_deref(), Some(expected), "{header:?} {query}");
        }
        for (header, query) in [
            (Some("Bearer"), ""),
            (Some("Bearer "), ""),
            (Some("Token"), "token="),
            (Some("Bearert"), "username:password=a"),
        ] {
            assert_eq!(login(header, query), None, "{header:?} {query}");
        }
    }

    proptest! {
        #[test]
        fn no_header_panics(octets: Vec<u8>) {
            let _read = identity(&headers(Some(&octets)), &Parameters::default());
        }
    }
}
