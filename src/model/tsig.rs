//! TSIG keys (RFC 8945): name, algorithm, secret.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret as _, SecretSlice};
use subtle::ConstantTimeEq as _;

use super::{NameError, ZoneName};

/// The HMACs that we sign with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// hmac-sha256
    HmacSha256,
    /// hmac-sha384
    HmacSha384,
    /// hmac-sha512
    HmacSha512,
}

/// Why a key cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TsigError {
    /// hmac-md5, hmac-sha1 and hmac-sha224: retired by RFC 8945 section 6, or not served.
    #[error("'{0}' is too weak and not served")]
    Weak(String),
    /// Not the name of an HMAC.
    #[error("'{0}' is not a TSIG algorithm")]
    Unknown(String),
    /// The secret is not base64, or nothing.
    #[error("the secret is not base64")]
    Secret,
    /// The key's name is not a domain name.
    #[error("the key's name is not a domain name: {0}")]
    Name(#[from] NameError),
}

impl Algorithm {
    /// The name as in RFC 8945 section 6.
    pub fn name(self) -> &'static str {
        match self {
            Self::HmacSha256 => "hmac-sha256",
            Self::HmacSha384 => "hmac-sha384",
            Self::HmacSha512 => "hmac-sha512",
        }
    }
}

impl FromStr for Algorithm {
    type Err = TsigError;

    fn from_str(text: &str) -> Result<Self, TsigError> {
        let name = text.trim_end_matches('.').to_ascii_lowercase();
        match name.as_str() {
            "hmac-sha256" => Ok(Self::HmacSha256),
            "hmac-sha384" => Ok(Self::HmacSha384),
            "hmac-sha512" => Ok(Self::HmacSha512),
            "hmac-md5" | "hmac-md5.sig-alg.reg.int" | "hmac-sha1" | "hmac-sha224" => Err(TsigError::Weak(name)),
            _ => Err(TsigError::Unknown(name)),
        }
    }
}

/// The name of a key, in lower case: PowerDNS looks it up byte by byte.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct KeyName(ZoneName);

impl KeyName {
    /// Checks `text`, with or without the final dot.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        ZoneName::parse(text).map(Self)
    }

    /// The name as text: lower case, no final dot.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A key that we share with a primary.
#[derive(Debug, Clone)]
pub struct TsigKey {
    /// Its name on both sides.
    pub name: KeyName,
    /// Its HMAC.
    pub algorithm: Algorithm,
    secret: SecretSlice<u8>,
}

impl TsigKey {
    /// A key from the base64 of its secret; white space around it is ignored.
    ///
    /// # Errors
    /// [`TsigError::Secret`] where it is empty or not base64; the text itself is not repeated.
    pub fn new(name: KeyName, algorithm: Algorithm, secret: &str) -> Result<Self, TsigError> {
        let octets = STANDARD.decode(secret.trim()).map_err(|_| TsigError::Secret)?;
        if octets.is_empty() {
            return Err(TsigError::Secret);
        }
        Ok(Self { name, algorithm, secret: octets.into() })
    }

    /// The secret's octets: for signing only.
    pub fn expose(&self) -> &[u8] {
        self.secret.expose_secret()
    }
}

/// The same on both sides: name, algorithm and secret.
impl PartialEq for TsigKey {
    fn eq(&self, other: &Self) -> bool {
        let same_secret: bool = self.expose().ct_eq(other.expose()).into();
        self.name == other.name && self.algorithm == other.algorithm && same_secret
    }
}

impl Eq for TsigKey {}
