//! `dyngate hash`: what stands for a password in the file; and how any command reads one.

use std::io::{self, BufRead, IsTerminal as _, Write};

use secrecy::zeroize::Zeroizing;

use crate::auth::secret::{self, HashError};

/// The longest password that is read, in octets.
const MAX_PASSWORD: usize = 1024;

/// Why there is no hash.
#[derive(Debug, thiserror::Error)]
pub(super) enum HashCommandError {
    #[error("the password is empty: give it on standard input, on a line of its own")]
    Empty,
    #[error("the password is longer than {MAX_PASSWORD} octets")]
    TooLong,
    #[error("cannot read the password")]
    Read(#[source] io::Error),
    #[error("cannot write the result")]
    Write(#[source] io::Error),
    #[error(transparent)]
    Hash(#[from] HashError),
}

/// Hashes the first line of `input`, or with `generate` makes a secret and reads nothing, and writes the result to `output`.
///
/// # Errors
/// [`HashCommandError::Empty`] and [`HashCommandError::TooLong`] are the user's (exit 64), the others the machine's.
pub(super) fn run(generate: bool, input: impl BufRead, mut output: impl Write) -> Result<(), HashCommandError> {
    let lines = if generate { generated()? } else { Zeroizing::new(secret::hash(&read_password(input)?)? + "\n") };
    output.write_all(lines.as_bytes()).and_then(|()| output.flush()).map_err(HashCommandError::Write)
}

pub(super) fn prompt() {
    if io::stdin().is_terminal() {
        let _stderr_gone = write!(io::stderr(), "Password: ");
    }
}

/// The octets up to the first `\n` or `\r\n`, as the gateway reads a Basic password: UTF-8, or else Latin-1 turned into it.
pub(super) fn read_password(input: impl BufRead) -> Result<Zeroizing<String>, HashCommandError> {
    // Room for the line end and one octet too many; never grown, so that no copy is left behind.
    let most = MAX_PASSWORD + 3;
    let mut line = Zeroizing::new(Vec::with_capacity(most));
    input.take(most as u64).read_until(b'\n', &mut line).map_err(HashCommandError::Read)?;
    let octets = line.strip_suffix(b"\n").map_or(line.as_slice(), |line| line.strip_suffix(b"\r").unwrap_or(line));
    match octets.len() {
        0 => Err(HashCommandError::Empty),
        1..=MAX_PASSWORD => Ok(Zeroizing::new(match str::from_utf8(octets) {
            Ok(text) => text.to_owned(),
            Err(_) => octets.iter().copied().map(char::from).collect(),
        })),
        _ => Err(HashCommandError::TooLong),
    }
}

/// Line 1 the secret; line 2 what the file holds of it.
fn generated() -> Result<Zeroizing<String>, HashCommandError> {
    let secret = secret::generate().map_err(HashError::from)?;
    let stored = secret::digest_of(&secret).text();
    Ok(Zeroizing::new(format!("{}\n{stored}\n", *secret)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::PasswordDigest;

    fn output(generate: bool, input: &[u8]) -> Result<String, HashCommandError> {
        let mut output = Vec::new();
        run(generate, input, &mut output).map(|()| String::from_utf8(output).unwrap())
    }

    fn password(input: &[u8]) -> String {
        read_password(input).unwrap().to_string()
    }

    #[test]
    fn a_password_becomes_one_line() {
        let text = output(false, b"hunter2\r\nmore").unwrap();
        let phc = text.strip_suffix('\n').unwrap();
        assert!(matches!(PasswordDigest::parse(phc), Ok(PasswordDigest::Argon2id(_))), "{phc}");
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
            assert!(matches!(read_password(nothing), Err(HashCommandError::Empty)), "{nothing:?}");
        }
        for end in [&b""[..], b"\n", b"\r\n"] {
            assert_eq!(password(&[&[b'a'; MAX_PASSWORD], end].concat()).len(), MAX_PASSWORD);
            let long = [&[b'a'; MAX_PASSWORD + 1], end].concat();
            assert!(matches!(read_password(long.as_slice()), Err(HashCommandError::TooLong)));
        }
        assert!(matches!(read_password(io::BufReader::new(io::repeat(b'a'))), Err(HashCommandError::TooLong)));
    }

    #[test]
    fn a_generated_secret_goes_with_its_digest() {
        let text = output(true, b"").unwrap();
        let [secret, stored] = text.lines().collect::<Vec<_>>().try_into().unwrap();
        assert_eq!(PasswordDigest::parse(stored), Ok(secret::digest_of(secret)));
        assert_ne!(output(true, b"").unwrap(), text);
    }
}
