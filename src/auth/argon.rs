//! One argon2id verification in memory that is used again. Knows of no account and no queue.

use argon2::password_hash::phc::{Output, PasswordHash};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use secrecy::zeroize::Zeroizing;
use subtle::ConstantTimeEq;

/// Whether `password` has a hash that `phcs` tells, one a line: all of one salt, cost and length, and so of one computation.
/// `blocks` grows to what the hash needs and is not shrunk.
///
/// `None` where it cannot be told: a line is not a PHC string of a full hash, or there is no memory.
pub(super) fn verify(phcs: &str, password: &[u8], blocks: &mut Vec<Block>) -> Option<bool> {
    let mut hashes = phcs.split('\n').map(PasswordHash::new);
    let hash = hashes.next()?.ok()?;
    let (salt, expected) = (hash.salt.as_ref()?, hash.hash.as_ref()?.as_bytes());
    let params = Params::try_from(&hash).ok()?;
    let algorithm = Algorithm::new(hash.algorithm.as_str()).ok()?;
    let version = hash.version.map_or(Ok(Version::default()), Version::try_from).ok()?;

    let needed = params.block_count();
    blocks.try_reserve_exact(needed.saturating_sub(blocks.len())).ok()?;
    if blocks.len() < needed {
        blocks.resize(needed, Block::new());
    }
    let mut output = Zeroizing::new([0; Output::MAX_LENGTH]);
    let output = &mut *output.get_mut(..expected.len())?;
    let argon2 = Argon2::new(algorithm, version, params);
    argon2.hash_password_into_with_memory(password, salt, output, blocks.get_mut(..needed)?).ok()?;
    hashes
        .try_fold(output.ct_eq(expected), |right, hash| {
            Some(right | output.ct_eq(hash.ok()?.hash.as_ref()?.as_bytes()))
        })
        .map(bool::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_agrees_with_the_reference_in_used_memory() {
        // "password" and "somesalt", from the reference implementation's src/test.c.
        let phcs = [
            "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
            "$argon2id$v=19$m=256,t=2,p=2$c29tZXNhbHQ$bQk8UB/VmZZF4Oo79iDXuL5/0ttZwg2f/5U52iv1cDc",
        ];
        let mut blocks = vec![Block::default(); 1000];
        for phc in phcs.into_iter().chain(phcs) {
            assert_eq!(verify(phc, b"password", &mut blocks), Some(true), "{phc}");
            assert_eq!(verify(phc, b"passwore", &mut blocks), Some(false), "{phc}");
            assert_eq!(verify(phc, b"password", &mut Vec::new()), Some(true), "{phc}");
        }
    }

    #[test]
    fn one_computation_tells_about_all_of_a_salt() {
        let one = "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";
        let other = one.replace("nf65", "AAAA");
        for both in [format!("{one}\n{other}"), format!("{other}\n{one}")] {
            assert_eq!(verify(&both, b"password", &mut Vec::new()), Some(true));
            assert_eq!(verify(&both, b"passwore", &mut Vec::new()), Some(false));
        }
    }

    #[test]
    fn what_cannot_be_told_is_not_called_wrong() {
        for phc in [
            "",
            "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHRzb21lc2FsdA",
            "$argon2id$v=7$m=8,t=1,p=1$c29tZXNhbHRzb21lc2FsdA$RdescudvJCsgt3ub+b4dWRWJTmaaJObG",
        ] {
            assert_eq!(verify(phc, b"hunter2", &mut Vec::new()), None, "{phc}");
        }
    }
}
