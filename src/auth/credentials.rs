//! What a client says it is, with a password that neither prints nor lingers.

use std::fmt;

use ring::digest::{SHA256, digest};
use secrecy::{ExposeSecret, SecretSlice};
use subtle::ConstantTimeEq;

use crate::model::TokenDigest;

/// A login and a password, as a client sent them.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The user name.
    pub login: String,
    /// The password.
    pub password: Password,
}

/// A password's octets: wiped when dropped, never shown.
#[derive(Clone)]
pub struct Password(SecretSlice<u8>);

impl Credentials {
    /// The pair; `password` is from now on in memory that is wiped when dropped.
    pub fn new(login: String, password: String) -> Self {
        Self { login, password: password.into() }
    }

    /// Whether the login is none: empty, or `none`, for devices that insist on one.
    pub(crate) fn has_no_login(&self) -> bool {
        self.login.is_empty() || self.login.eq_ignore_ascii_case("none")
    }
}

impl Password {
    /// The octets: for hashing only.
    pub fn expose(&self) -> &[u8] {
        self.0.expose_secret()
    }

    /// What it is looked up by where it came without a login.
    pub fn token_digest(&self) -> TokenDigest {
        let mut octets = [0; 32];
        octets.copy_from_slice(digest(&SHA256, self.expose()).as_ref());
        TokenDigest(octets)
    }

    /// Whether it is `text`, in constant time where both are as long.
    pub(crate) fn is(&self, text: &str) -> bool {
        self.expose().ct_eq(text.as_bytes()).into()
    }

    /// Whether `expected` is the SHA-256 of this password, in constant time.
    pub(super) fn has_sha256(&self, expected: &[u8; 32]) -> bool {
        self.token_digest().0.ct_eq(expected).into()
    }
}

impl From<Vec<u8>> for Password {
    fn from(octets: Vec<u8>) -> Self {
        Self(octets.into())
    }
}

impl From<String> for Password {
    fn from(text: String) -> Self {
        text.into_bytes().into()
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_password() {
        let shown = format!("{:?}", Credentials::new("router1".into(), "hunter2".into()));
        assert_eq!(shown, "Credentials { login: \"router1\", password: Password(…) }");
    }
}
