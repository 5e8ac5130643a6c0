//! `dyngate hash`: what stands for a password in the file. Knows no terminal: the caller prompts.

use std::io::{self, BufRead, Write};

use argon2::{Algorithm, Argon2, Params, PasswordHasher, Version};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
use secrecy::zeroize::Zeroizing;

/// The longest password that is read, in octets.
const MAX_PASSWORD: usize = 1024;
/// The memory cost in KiB, the passes and the lanes of the contract.
const COST: (u32, u32, u32) = (19_456, 2, 1);
/// Lower-case base32 (RFC 4648 section 6): no `0`, `1`, `8` or `9` to mistake.
const BASE32: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// Why there is no hash.
#[derive(Debug, thiserror::Error)]
pub(super) enum HashError {
    /// Nothing before the first line end.
    #[error("the password is empty: give it on standard input, on a line of its own")]
    Empty,
    /// More than 1024 octets before the first line end.
    #[error("the password is longer than {MAX_PASSWORD} octets")]
    TooLong,
    /// Standard input failed.
    #[error("cannot read the password")]
    Read(#[source] io::Error),
    /// Standard output failed.
    #[error("cannot write the result")]
    Write(#[source] io::Error),
    /// The system's source of random octets failed.
    #[error("the system gives no random octets")]
    Randomness,
    /// There is no memory for argon2.
    #[error("the password cannot be hashed: {0}")]
    Argon2(argon2::password_hash::Error),
}

/// Hashes the first line of `input`, or with `generate` makes a secret and reads nothing, and writes the result to `output`.
///
/// # Errors
/// [`HashError::Empty`] and [`HashError::TooLong`] are the user's (exit 64), the others the machine's.
pub(super) fn run(generate: bool, input: impl BufRead, mut output: impl Write) -> Result<(), HashError> {
    let lines = if generate { generated()? } else { Zeroizing::new(hashed(&read_password(input)?)?) };
    output.write_all(lines.as_bytes()).and_then(|()| output.flush()).map_err(HashError::Write)
}

/// The octets up to the first `\n` or `\r\n`, as the gateway reads a Basic password: UTF-8, or else Latin-1 turned into it.
fn read_password(input: impl BufRead) -> Result<Zeroizing<String>, HashError> {
    // Room for the line end and one octet too many; never grown, so that no copy is left behind.
    let most = MAX_PASSWORD + 3;
    let mut line = Zeroizing::new(Vec::with_capacity(most));
    input.take(most as u64).read_until(b'\n', &mut line).map_err(HashError::Read)?;
    let octets = line.strip_suffix(b"\n").map_or(line.as_slice(), |line| line.strip_suffix(b"\r").unwrap_or(line));
    match octets.len() {
        0 => Err(HashError::Empty),
        1..=MAX_PASSWORD => Ok(Zeroizing::new(match str::from_utf8(octets) {
            Ok(text) => text.to_owned(),
            Err(_) => octets.iter().copied().map(char::from).collect(),
        })),
        _ => Err(HashError::TooLong),
    }
}

fn hashed(password: &str) -> Result<String, HashError> {
    let (memory_kib, passes, lanes) = COST;
    let params = Params::new(memory_kib, passes, lanes, None).map_err(|error| HashError::Argon2(error.into()))?;
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let hash = argon2.hash_password_with_salt(password.as_bytes(), &random::<16>()?).map_err(HashError::Argon2)?;
    Ok(format!("{hash}\n"))
}

/// Line 1 the secret, 160 bits in eight groups of four; line 2 what the file holds of it.
fn generated() -> Result<Zeroizing<String>, HashError> {
    let octets = Zeroizing::new(random::<20>()?);
    let secret = Zeroizing::new(base32_groups(&octets));
    let stored = STANDARD.encode(digest(&SHA256, secret.as_bytes()));
    Ok(Zeroizing::new(format!("{}\n$sha256${stored}\n", *secret)))
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

fn random<const N: usize>() -> Result<[u8; N], HashError> {
    let mut octets = [0; N];
    SystemRandom::new().fill(&mut octets).map_err(|_| HashError::Randomness)?;
    Ok(octets)
}

#[cfg(test)]
mod tests {
    use argon2::PasswordVerifier;

    use super::*;
    use crate::model::PasswordDigest;

    fn output(generate: bool, input: &[u8]) -> Result<String, HashError> {
        let mut output = Vec::new();
        run(generate, input, &mut output).map(|()| String::from_utf8(output).unwrap())
    }

    fn password(input: &[u8]) -> String {
        read_password(input).unwrap().to_string()
    }

    #[test]
    fn a_password_becomes_one_line_that_verifies() {
        let text = output(false, b"hunter2\r\nmore").unwrap();
        let phc = text.strip_suffix('\n').unwrap();
        assert!(phc.starts_with("$argon2id$v=19$m=19456,t=2,p=1$") && !phc.contains('\n'), "{phc}");
        assert!(matches!(PasswordDigest::parse(phc), Ok(PasswordDigest::Argon2id(_))));
        assert_eq!(Argon2::default().verify_password(b"hunter2", phc), Ok(()));
    }

    #[test]
    fn the_line_end_is_no_part_of_the_password() {
        assert_eq!(password(b"a b \n"), "a b ");
        assert_eq!(password(b"a\r\n"), "a");
        assert_eq!(password(b"a\rb\r\r\n"), "a\rb\r");
        assert_eq!(password(b"a"), "a");
        assert_eq!(password("ä\n".as_bytes()), "ä");
        assert_eq!(password(b"\xe4\n"), "ä", "Latin-1");
    }

    #[test]
    fn nothing_and_too_much_are_refused() {
        for nothing in [&b""[..], b"\n", b"\r\n", b"\nsecond"] {
            assert!(matches!(read_password(nothing), Err(HashError::Empty)), "{nothing:?}");
        }
        for end in [&b""[..], b"\n", b"\r\n"] {
            assert_eq!(password(&[&[b'a'; MAX_PASSWORD], end].concat()).len(), MAX_PASSWORD);
            let long = [&[b'a'; MAX_PASSWORD + 1], end].concat();
            assert!(matches!(read_password(long.as_slice()), Err(HashError::TooLong)));
        }
        assert!(matches!(read_password(io::BufReader::new(io::repeat(b'a'))), Err(HashError::TooLong)));
    }

    #[test]
    fn a_generated_secret_goes_with_its_digest() {
        let text = output(true, b"").unwrap();
        let [secret, stored] = text.lines().collect::<Vec<_>>().try_into().unwrap();
        let groups: Vec<_> = secret.split('-').collect();
        assert!(groups.len() == 8 && groups.iter().all(|group| group.len() == 4), "{secret}");
        assert!(secret.bytes().all(|octet| octet == b'-' || BASE32.contains(&octet)));
        let digest: [u8; 32] = digest(&SHA256, secret.as_bytes()).as_ref().try_into().unwrap();
        assert_eq!(PasswordDigest::parse(stored), Ok(PasswordDigest::Sha256(digest)));
        assert_ne!(output(true, b"").unwrap(), text);
    }

    #[test]
    fn base32_is_rfc_4648s() {
        // Section 10: "fooba" is MZXW6YTB.
        assert_eq!(base32_groups(b"foobafoobafoobafooba"), ["mzxw-6ytb"; 4].join("-"));
    }
}
