//! What the store takes: the lengths and characters of texts that people and routers choose.

use super::StoreError;
use crate::model::check_login;

/// The longest description and the longest reason, in characters.
pub(crate) const MAX_TEXT: usize = 200;
/// What is kept of a user agent, in characters.
pub(crate) const MAX_AGENT: usize = 200;
/// How many secrets an account may have at once: the newest, and older ones until they expire.
pub(crate) const MAX_SECRETS: usize = 8;
/// How many wildcards an account may have: they are read with it.
const MAX_WILDCARDS: usize = 1000;

pub(super) fn login(login: &str) -> Result<(), StoreError> {
    check_login(login).map_err(|error| StoreError::Unfit { what: "the login", why: error.to_string() })
}

/// A line for people.
pub(super) fn line(what: &'static str, text: &str) -> Result<(), StoreError> {
    let why = if text.chars().count() > MAX_TEXT {
        "is longer than 200 characters"
    } else if text.chars().any(char::is_control) {
        "has a control character in it"
    } else {
        return Ok(());
    };
    Err(StoreError::Unfit { what, why: why.into() })
}

/// RFC 2181 section 8.
pub(super) fn ttl(ttl: u32) -> Result<(), StoreError> {
    if i32::try_from(ttl).is_ok() {
        return Ok(());
    }
    Err(StoreError::Unfit { what: "the TTL", why: "is larger than 2147483647 seconds".into() })
}

pub(super) fn wildcards(count: usize) -> Result<(), StoreError> {
    if count <= MAX_WILDCARDS {
        return Ok(());
    }
    Err(StoreError::Unfit { what: "the list of wildcards", why: format!("is longer than {MAX_WILDCARDS}") })
}

/// What is kept of a user agent: it is a stranger's text.
pub(super) fn agent(agent: &str) -> String {
    agent.chars().filter(|character| !character.is_control()).take(MAX_AGENT).collect()
}

pub(super) fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

/// Reads what [`hex`] writes of 32 octets.
pub(super) fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut octets = [0; 32];
    if text.len() != 64 || !text.bytes().all(|digit| digit.is_ascii_digit() || (b'a'..=b'f').contains(&digit)) {
        return None;
    }
    for (octet, at) in octets.iter_mut().zip((0..64).step_by(2)) {
        *octet = u8::from_str_radix(text.get(at..at + 2)?, 16).ok()?;
    }
    Some(octets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_goes_there_and_back() {
        let octets: [u8; 32] = std::array::from_fn(|index| u8::try_from(index * 8).unwrap());
        assert_eq!(unhex(&hex(&octets)), Some(octets));
        assert_eq!(unhex(&"+f".repeat(32)), None);
        assert_eq!(unhex(&"é".repeat(32)), None);
        assert_eq!(unhex("00"), None);
    }

    #[test]
    fn texts_are_bounded_and_of_one_line() {
        assert!(line("the reason", &"ä".repeat(200)).is_ok());
        assert!(line("the reason", &"ä".repeat(201)).is_err());
        assert!(line("the reason", "two\nlines").is_err());
        assert!(login("a:b").is_err() && login("").is_err() && login("router 1").is_ok());
        assert_eq!(agent(&format!("ddclient\u{1b}{}", "x".repeat(300))).len(), 200);
    }
}
