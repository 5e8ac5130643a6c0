//! A challenge by which a certificate authority has a name proven (RFC 8555 section 8.4), as it is kept. Knows nothing of where.

use super::{Hostname, NameError, Timestamp};

/// The label below a host that holds its challenges.
const LABEL: &str = "_acme-challenge";

/// What a TXT record of a challenge holds: SHA-256 over a key authorisation, as base64url without padding.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChallengeValue(Box<str>);

/// Not 43 characters of base64url.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the value of a challenge: 43 letters, digits, '-' and '_'")]
pub struct NotAChallenge;

/// A value that is served, or may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    /// The owner name of the record.
    pub name: Hostname,
    /// What it holds.
    pub value: ChallengeValue,
    /// Whose credential presented it.
    pub account: String,
    /// When it was presented last, by the clock of whatever keeps it; later than any other of its name.
    pub presented: Timestamp,
}

impl ChallengeValue {
    /// Checks `text`.
    pub fn parse(text: &str) -> Result<Self, NotAChallenge> {
        let is_of_it = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if text.len() == 43 && text.bytes().all(is_of_it) { Ok(Self(text.into())) } else { Err(NotAChallenge) }
    }

    /// The value as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Hostname {
    /// Where the challenges of this name and of the wildcard below it stand.
    pub fn challenge_name(&self) -> Result<Self, NameError> {
        Self::parse(&format!("{LABEL}.{self}"))
    }

    /// The text after `_acme-challenge.`, in any letter case; `None` where `text` does not begin so.
    pub fn challenged(text: &str) -> Option<&str> {
        let (label, host) = text.split_once('.')?;
        label.eq_ignore_ascii_case(LABEL).then_some(host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_a_digest_and_nothing_else() {
        let value = "LoqXcYV8q5ONbJQxbmR7SCTNo3tiAXDfowyjxAjEuX0";
        assert_eq!(ChallengeValue::parse(value).unwrap().as_str(), value);
        for wrong in ["", &value[1..], &format!("{value}a"), &value.replace('q', "="), &value.replace('q', "é")] {
            assert_eq!(ChallengeValue::parse(wrong), Err(NotAChallenge), "{wrong}");
        }
    }

    #[test]
    fn a_host_and_its_challenge_name_each_other() {
        let host = Hostname::parse("home.dyn.example").unwrap();
        assert_eq!(host.challenge_name().unwrap().as_str(), "_acme-challenge.home.dyn.example");
        assert_eq!(Hostname::challenged("_ACME-challenge.home.dyn.example."), Some("home.dyn.example."));
        assert_eq!(Hostname::challenged("home._acme-challenge.dyn.example"), None);
        let long = Hostname::parse(&format!("{}com", "a.".repeat(120))).unwrap();
        assert_eq!(long.challenge_name(), Err(NameError::LongName));
        assert!(Hostname::parse("*.dyn.example").unwrap().challenge_name().is_err());
    }
}
