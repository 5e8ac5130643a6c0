//! Logins and their digests, and the digest that an unknown login is held against. Knows nothing of hashing.

use std::collections::BTreeMap;
use std::sync::Arc;

use ring::{digest, hmac};

use crate::model::PasswordDigest;

/// Where there is no account at all, an unknown login does the cheap work.
const NOBODY: PasswordDigest = PasswordDigest::Sha256([0; 32]);

/// The accounts, sorted by login.
#[derive(Debug)]
pub(super) struct Accounts {
    sorted: Vec<(Arc<str>, PasswordDigest)>,
    // Made from all stored secrets: the same after a restart, or the logins that stay slow would be the real ones.
    decoy_key: hmac::Key,
}

/// What a login leads to.
#[derive(Debug)]
pub(super) enum Account<'a> {
    /// An account.
    Known {
        /// Its login.
        login: &'a Arc<str>,
        /// What its password is held against.
        digest: &'a PasswordDigest,
    },
    /// None: this digest costs the work that an account would, and its answer is never yes.
    Decoy(&'a PasswordDigest),
}

impl Accounts {
    /// Of a login that is given twice, the last counts.
    pub(super) fn new(accounts: impl IntoIterator<Item = (Arc<str>, PasswordDigest)>) -> Self {
        let sorted: Vec<_> = accounts.into_iter().collect::<BTreeMap<_, _>>().into_iter().collect();
        let mut all = digest::Context::new(&digest::SHA256);
        for (login, digest) in &sorted {
            let digest = match digest {
                PasswordDigest::Argon2id(phc) => phc.as_bytes(),
                PasswordDigest::Sha256(digest) => digest,
            };
            all.update(login.as_bytes());
            all.update(digest);
        }
        Self { sorted, decoy_key: hmac::Key::new(hmac::HMAC_SHA256, all.finish().as_ref()) }
    }

    /// The account of `login`. For an unknown one, a keyed hash of it picks an account to copy, so that unknown
    /// logins are as often slow as known ones, and each the same every time.
    pub(super) fn of<'a>(&'a self, login: &str) -> Account<'a> {
        let decoy = self.pick(login);
        let found = self.sorted.binary_search_by(|(name, _)| name.as_ref().cmp(login));
        match found.ok().and_then(|index| self.sorted.get(index)) {
            Some((login, digest)) => Account::Known { login, digest },
            None => Account::Decoy(decoy),
        }
    }

    fn pick(&self, login: &str) -> &PasswordDigest {
        let tag = hmac::sign(&self.decoy_key, login.as_bytes());
        let number = tag.as_ref().iter().take(8).fold(0_u64, |number, octet| number << 8 | u64::from(*octet));
        let index = (u128::from(number) * self.sorted.len() as u128) >> 64;
        usize::try_from(index).ok().and_then(|index| self.sorted.get(index)).map_or(&NOBODY, |(_, digest)| digest)
    }
}

impl<'a> Account<'a> {
    /// What the password is held against.
    pub(super) fn digest(&self) -> &'a PasswordDigest {
        match self {
            Self::Known { digest, .. } | Self::Decoy(digest) => digest,
        }
    }

    /// Whether there is such an account.
    pub(super) fn is_known(&self) -> bool {
        matches!(self, Self::Known { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_logins_are_slow_as_often_as_known_ones() {
        let slow = |n: u32| (format!("slow{n}").into(), PasswordDigest::Argon2id(String::new()));
        let fast = |n: u32| (format!("fast{n}").into(), PasswordDigest::Sha256([0; 32]));
        let accounts = Accounts::new((0..3).map(slow).chain((0..7).map(fast)));
        let is_slow = |n: &u32| {
            let login = format!("stranger{n}");
            let account = accounts.of(&login);
            assert!(!account.is_known());
            matches!(account.digest(), PasswordDigest::Argon2id(_))
        };
        // 3 of 10: the mean is 300, one standard deviation 14.5. The key is made of fixed accounts, and so the count is fixed.
        assert!((256..=344).contains(&(0..1000).filter(is_slow).count()));
        assert_eq!((0..1000).filter(is_slow).count(), (0..1000).filter(is_slow).count(), "each the same every time");
    }

    #[test]
    fn with_no_account_at_all_the_work_is_the_cheap_one() {
        let account = Accounts::new([]);
        assert!(matches!(account.of("anyone"), Account::Decoy(PasswordDigest::Sha256(_))));
    }

    #[test]
    fn a_login_is_found_exactly() {
        let accounts = Accounts::new([("b".into(), NOBODY), ("a".into(), NOBODY), ("c".into(), NOBODY)]);
        for login in ["a", "b", "c"] {
            assert!(accounts.of(login).is_known());
        }
        assert!(!accounts.of("A").is_known() && !accounts.of("").is_known());
    }
}
