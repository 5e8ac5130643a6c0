//! How an account's secret is kept: a slow hash of a chosen password, or a digest of a generated one.

use std::fmt;

use argon2::Params;
use argon2::password_hash::phc::PasswordHash;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The largest memory cost that is accepted, in KiB (64 MiB): what one request may make us allocate.
pub const MAX_MEMORY_KIB: u32 = 64 * 1024;
/// The largest number of passes (`t`) that is accepted.
pub const MAX_ITERATIONS: u32 = 10;

/// What is stored in place of a password.
#[derive(Clone, PartialEq, Eq)]
pub enum PasswordDigest {
    /// An argon2id PHC string, its costs checked against the bounds.
    Argon2id(String),
    /// SHA-256 of a generated secret of 160 bits, which needs no slow hash.
    Sha256([u8; 32]),
}

/// Why a text is not a stored secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// Neither of the two forms: most likely the password itself.
    #[error("a password in plain text is not accepted")]
    PlainText,
    /// `$sha256$` is not followed by the base64 of 32 octets.
    #[error("'$sha256$' is not followed by the padded base64 of a SHA-256 digest")]
    Sha256,
    /// `$argon2id$` is not followed by what a PHC string needs.
    #[error("not a valid argon2id PHC string")]
    Phc,
    /// argon2i, argon2d, bcrypt, scrypt, …
    #[error("'{0}' is not served; only argon2id and sha256 are")]
    Algorithm(String),
    /// A cost that would let one request take too much of this machine.
    #[error("the costs m={memory_kib} KiB, t={iterations} are beyond the bounds of m=65536 (64 MiB) and t=10")]
    Cost {
        /// The memory cost found.
        memory_kib: u32,
        /// The passes found.
        iterations: u32,
    },
}

impl PasswordDigest {
    /// Reads a PHC string or `$sha256$` and base64.
    ///
    /// # Errors
    /// What is wrong; never a part of `text`, which may be a password.
    pub fn parse(text: &str) -> Result<Self, PasswordError> {
        if let Some(digest) = text.strip_prefix("$sha256$") {
            let octets = STANDARD.decode(digest).map_err(|_| PasswordError::Sha256)?;
            return octets.try_into().map(Self::Sha256).map_err(|_| PasswordError::Sha256);
        }
        let algorithm = text.strip_prefix('$').and_then(|rest| rest.split_once('$')).map(|(name, _)| name);
        match algorithm {
            Some("argon2id") => Self::parse_argon2id(text),
            Some(name @ ("argon2i" | "argon2d" | "1" | "2a" | "2b" | "2y" | "5" | "6" | "y" | "scrypt")) => {
                Err(PasswordError::Algorithm(name.to_owned()))
            }
            _ => Err(PasswordError::PlainText),
        }
    }

    /// The text that [`Self::parse`] reads.
    pub fn text(&self) -> String {
        match self {
            Self::Argon2id(phc) => phc.clone(),
            Self::Sha256(octets) => format!("$sha256${}", STANDARD.encode(octets)),
        }
    }

    fn parse_argon2id(text: &str) -> Result<Self, PasswordError> {
        let hash = PasswordHash::new(text).map_err(|_| PasswordError::Phc)?;
        if hash.hash.is_none() || hash.salt.is_none() {
            return Err(PasswordError::Phc);
        }
        let params = Params::try_from(&hash).map_err(|_| PasswordError::Phc)?;
        if params.m_cost() > MAX_MEMORY_KIB || params.t_cost() > MAX_ITERATIONS {
            return Err(PasswordError::Cost { memory_kib: params.m_cost(), iterations: params.t_cost() });
        }
        Ok(Self::Argon2id(text.to_owned()))
    }
}

impl fmt::Debug for PasswordDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Argon2id(_) => "Argon2id(…)",
            Self::Sha256(_) => "Sha256(…)",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_is_told_apart() {
        let phc = "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$RdescudvJCsgt3ub+b4dWRWJTmaaJObG";
        assert!(matches!(PasswordDigest::parse(phc), Ok(PasswordDigest::Argon2id(_))));
        let digest = format!("$sha256${}", STANDARD.encode([7; 32]));
        assert_eq!(PasswordDigest::parse(&digest), Ok(PasswordDigest::Sha256([7; 32])));
        assert_eq!(PasswordDigest::Sha256([7; 32]).text(), digest);
        assert_eq!(PasswordDigest::parse(phc).unwrap().text(), phc);
        assert_eq!(PasswordDigest::parse("hunter2"), Err(PasswordError::PlainText));
        assert_eq!(PasswordDigest::parse("$sha256$AAAA"), Err(PasswordError::Sha256));
        assert_eq!(PasswordDigest::parse("$argon2id$oops"), Err(PasswordError::Phc));
        assert_eq!(PasswordDigest::parse("$2b$10$abc"), Err(PasswordError::Algorithm("2b".into())));
        for costs in ["m=65537,t=2,p=1", "m=19456,t=11,p=1"] {
            let costly = phc.replace("m=19456,t=2,p=1", costs);
            assert!(matches!(PasswordDigest::parse(&costly), Err(PasswordError::Cost { .. })), "{costs}");
        }
    }

    #[test]
    fn debug_shows_no_digest() {
        assert_eq!(format!("{:?}", PasswordDigest::Sha256([7; 32])), "Sha256(…)");
    }
}
