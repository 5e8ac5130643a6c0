//! Logins and their digests, and the digest that an unknown login is held against. Knows nothing of hashing.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Tag;
use crate::model::PasswordDigest;

/// Where there is no account at all, an unknown login does the cheap work.
const NOBODY: PasswordDigest = PasswordDigest::Sha256([0; 32]);

/// The accounts, sorted by login.
#[derive(Debug)]
pub(super) struct Accounts(Vec<(Arc<str>, PasswordDigest)>);

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
        Self(accounts.into_iter().collect::<BTreeMap<_, _>>().into_iter().collect())
    }

    /// The account of `login`. For an unknown one, the keyed hash `tag` of the login picks an account to copy, so that
    /// unknown logins are as often slow as known ones, and each the same every time.
    pub(super) fn of<'a>(&'a self, login: &str, tag: &Tag) -> Account<'a> {
        let decoy = self.pick(tag);
        match self.0.binary_search_by(|(name, _)| name.as_ref().cmp(login)).ok().and_then(|index| self.0.get(index)) {
            Some((login, digest)) => Account::Known { login, digest },
            None => Account::Decoy(decoy),
        }
    }

    fn pick(&self, tag: &Tag) -> &PasswordDigest {
        let number = tag.iter().take(8).fold(0_u64, |number, octet| number << 8 | u64::from(*octet));
        let index = (u128::from(number) * self.0.len() as u128) >> 64;
        usize::try_from(index).ok().and_then(|index| self.0.get(index)).map_or(&NOBODY, |(_, digest)| digest)
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
    use ring::digest::{SHA256, digest};

    use super::*;

    fn tag(login: &str) -> Tag {
        digest(&SHA256, login.as_bytes()).as_ref().try_into().unwrap()
    }

    #[test]
    fn unknown_logins_are_slow_as_often_as_known_ones() {
        let slow = |n: u32| (format!("slow{n}").into(), PasswordDigest::Argon2id(String::new()));
        let fast = |n: u32| (format!("fast{n}").into(), PasswordDigest::Sha256([0; 32]));
        let accounts = Accounts::new((0..3).map(slow).chain((0..7).map(fast)));
        let is_slow = |n: &u32| {
            let login = format!("stranger{n}");
            let account = accounts.of(&login, &tag(&login));
            assert!(!account.is_known());
            matches!(account.digest(), PasswordDigest::Argon2id(_))
        };
        // 3 of 10: the mean is 300, one standard deviation 14.5. The tags are fixed, and so is the count.
        assert!((256..=344).contains(&(0..1000).filter(is_slow).count()));
        assert_eq!((0..1000).filter(is_slow).count(), (0..1000).filter(is_slow).count(), "each the same every time");
    }

    #[test]
    fn with_no_account_at_all_the_work_is_the_cheap_one() {
        let account = Accounts::new([]);
        assert!(matches!(account.of("anyone", &tag("anyone")), Account::Decoy(PasswordDigest::Sha256(_))));
    }

    #[test]
    fn a_login_is_found_exactly() {
        let accounts = Accounts::new([("b".into(), NOBODY), ("a".into(), NOBODY), ("c".into(), NOBODY)]);
        for login in ["a", "b", "c"] {
            assert!(accounts.of(login, &tag(login)).is_known());
        }
        assert!(!accounts.of("A", &tag("A")).is_known() && !accounts.of("", &tag("")).is_known());
    }
}
