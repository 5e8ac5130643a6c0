//! Secrets made here: generated ones, and what stands for a chosen password. Knows of no account.

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, PasswordHasher, Version};
use ring::rand::{SecureRandom as _, SystemRandom};
use secrecy::zeroize::Zeroizing;

use super::NoRandomness;
use crate::model::{PasswordDigest, TokenDigest};

/// The memory cost in KiB, the passes and the lanes of the contract.
const COST: (u32, u32, u32) = (19_456, 2, 1);
/// Lower-case base32 (RFC 4648 section 6): no `0`, `1`, `8` or `9` to mistake.
const BASE32: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// Why nothing stands for a password.
#[derive(Debug, thiserror::Error)]
pub enum HashError {
    /// No salt can be made.
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
    /// There is no memory for argon2.
    #[error("the password cannot be hashed: {0}")]
    Argon2(argon2::password_hash::Error),
}

/// A new secret: 160 bits in eight groups of four.
pub fn generate() -> Result<Zeroizing<String>, NoRandomness> {
    let octets = Zeroizing::new(random::<20>()?);
    Ok(Zeroizing::new(base32_groups(&octets)))
}

/// What stands for a generated secret: 160 bits need no slow hash.
pub fn digest_of(secret: &str) -> PasswordDigest {
    PasswordDigest::Sha256(TokenDigest::of(secret).0)
}

/// The argon2id PHC string of a chosen password.
pub fn hash(password: &str) -> Result<String, HashError> {
    hash_with(password, &random::<16>()?)
}

/// The same of one that serves beside `other`, a PHC string of ours: with its salt, so that one computation tells about both.
pub fn hash_beside(password: &str, other: &str) -> Result<String, HashError> {
    let phc = hash(password)?;
    let cost_of = |phc: &str| phc.rsplitn(3, '$').nth(2).map(str::to_owned);
    let salt = PasswordHash::new(other).ok().and_then(|other| other.salt).filter(|_| cost_of(&phc) == cost_of(other));
    salt.map_or(Ok(phc), |salt| hash_with(password, &salt))
}

fn hash_with(password: &str, salt: &[u8]) -> Result<String, HashError> {
    let (memory_kib, passes, lanes) = COST;
    let params = Params::new(memory_kib, passes, lanes, None).map_err(|error| HashError::Argon2(error.into()))?;
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let hash = argon2.hash_password_with_salt(password.as_bytes(), salt).map_err(HashError::Argon2)?;
    Ok(hash.to_string())
}

/// Five octets are eight characters, two groups.
fn base32_groups(octets: &[u8; 20]) -> String {
    let mut text = String::with_capacity(39);
    for five in octets.chunks(5) {
        let bits = five.iter().fold(0_u64, |bits, octet| bits << 8 | u64::from(*octet));
        for place in (0..8).rev() {
            if place % 4 == 3 && !text.is_empty() {
                text.push('-');
            }
            text.push(char::from(BASE32[(bits >> (5 * place)) as usize % 32]));
        }
    }
    text
}

pub(crate) fn random<const N: usize>() -> Result<[u8; N], NoRandomness> {
    let mut octets = [0; N];
    SystemRandom::new().fill(&mut octets).map_err(|_| NoRandomness)?;
    Ok(octets)
}

#[cfg(test)]
mod tests {
    use argon2::PasswordVerifier;

    use super::*;

    #[test]
    fn a_password_becomes_what_verifies() {
        let phc = hash("hunter2").unwrap();
        assert!(phc.starts_with("$argon2id$v=19$m=19456,t=2,p=1$") && !phc.contains('\n'), "{phc}");
        assert!(matches!(PasswordDigest::parse(&phc), Ok(PasswordDigest::Argon2id(_))));
        assert_eq!(Argon2::default().verify_password(b"hunter2", phc.as_str()), Ok(()));
    }

    #[test]
    fn two_passwords_that_serve_together_have_one_salt() {
        let old = hash("hunter2").unwrap();
        let new = hash_beside("correct horse", &old).unwrap();
        let salt = |phc: &str| phc.rsplit_once('$').unwrap().0.to_owned();
        assert_eq!(salt(&new), salt(&old));
        assert_eq!(Argon2::default().verify_password(b"correct horse", new.as_str()), Ok(()));
        let foreign = "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";
        assert!(hash_beside("correct horse", foreign).unwrap().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
    }

    #[test]
    fn a_generated_secret_has_eight_groups_and_is_never_the_same() {
        let secret = generate().unwrap();
        let groups: Vec<_> = secret.split('-').collect();
        assert!(groups.len() == 8 && groups.iter().all(|group| group.len() == 4), "{}", *secret);
        assert!(secret.bytes().all(|octet| octet == b'-' || BASE32.contains(&octet)));
        assert_ne!(*generate().unwrap(), *secret);
    }

    #[test]
    fn base32_is_rfc_4648s() {
        // Section 10: "fooba" is MZXW6YTB.
        assert_eq!(base32_groups(b"foobafoobafoobafooba"), ["mzxw-6ytb"; 4].join("-"));
    }
}
