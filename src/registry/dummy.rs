//! What the password of an unknown login is held against. Knows nothing of hashing.

use std::collections::HashSet;
use std::sync::Arc;

use ring::{digest, hmac};

use crate::model::PasswordDigest;
use crate::store::{Store, StoreError};

/// Accounts of the store, in the order of their logins, each with a digest: that of a chosen password where it has one.
pub(super) type CopiedAccounts = Vec<(Arc<str>, PasswordDigest)>;

/// Accounts of the store whose digests are copied for unknown logins.
const MOST: usize = 1000;

/// Where there is no account at all, an unknown login does the cheap work.
const NOBODY: PasswordDigest = PasswordDigest::Sha256([0; 32]);

/// Digests of real accounts, to be copied.
#[derive(Debug)]
pub(super) struct DummyDigests {
    digests: Vec<PasswordDigest>,
    key: hmac::Key,
}

impl DummyDigests {
    /// Copies of `accounts`, which come in an order that a restart does not change. The key is made from all of them: the
    /// same after a restart, or the logins that stay slow would be the real ones.
    pub(super) fn new<'a>(accounts: impl IntoIterator<Item = (&'a str, PasswordDigest)>) -> Self {
        let mut all = digest::Context::new(&digest::SHA256);
        let mut digests = Vec::new();
        for (login, digest) in accounts {
            all.update(login.as_bytes());
            all.update(match &digest {
                PasswordDigest::Argon2id(phc) => phc.as_bytes(),
                PasswordDigest::Sha256(digest) => digest,
            });
            digests.push(digest);
        }
        Self { digests, key: hmac::Key::new(hmac::HMAC_SHA256, all.finish().as_ref()) }
    }

    /// A keyed hash of `login` picks an account to copy, so that unknown logins are as often slow as known ones, and each
    /// the same every time.
    pub(super) fn of(&self, login: &str) -> PasswordDigest {
        let tag = hmac::sign(&self.key, login.as_bytes());
        let number = tag.as_ref().iter().take(8).fold(0_u64, |number, octet| number << 8 | u64::from(*octet));
        let index = (u128::from(number) * self.digests.len() as u128) >> 64;
        usize::try_from(index).ok().and_then(|index| self.digests.get(index)).cloned().unwrap_or(NOBODY)
    }
}

pub(super) async fn accounts_to_copy(store: &Store) -> Result<CopiedAccounts, StoreError> {
    let kept = store.accounts(None, MOST).await?.into_iter();
    let slow_if_any = |account: crate::store::StoredAccount| {
        let digests = account.secrets.into_iter().map(|secret| secret.digest);
        Some((account.login, digests.max_by(|one, other| work(one).cmp(work(other)))?))
    };
    Ok(kept.filter_map(slow_if_any).collect())
}

/// Whether one of `now` makes work that none of `before` makes: whoever makes it would be no unknown login.
pub(super) fn makes_new_work(before: &CopiedAccounts, now: &CopiedAccounts) -> bool {
    let before: HashSet<_> = before.iter().map(|(_, digest)| work(digest)).collect();
    now.iter().any(|(_, digest)| !before.contains(work(digest)))
}

/// What a digest costs, as a PHC string tells it before the salt; nothing for a generated secret.
fn work(digest: &PasswordDigest) -> &str {
    match digest {
        PasswordDigest::Argon2id(phc) => phc.rsplitn(3, '$').last().unwrap_or_default(),
        PasswordDigest::Sha256(_) => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_logins_are_slow_as_often_as_known_ones() {
        let slow = (0..3).map(|_| ("slow", PasswordDigest::Argon2id(String::new())));
        let fast = (0..7).map(|_| ("fast", PasswordDigest::Sha256([0; 32])));
        let dummies = DummyDigests::new(slow.chain(fast));
        let is_slow = |n: &u32| matches!(dummies.of(&format!("stranger{n}")), PasswordDigest::Argon2id(_));
        // 3 of 10: the mean is 300, one standard deviation 14.5. The key is made of fixed accounts, and so the count is fixed.
        assert!((256..=344).contains(&(0..1000).filter(is_slow).count()));
        assert_eq!((0..1000).filter(is_slow).count(), (0..1000).filter(is_slow).count(), "each the same every time");
    }

    #[test]
    fn work_is_new_where_nobody_made_it_before() {
        let argon = |costs: &str, salt: &str| {
            ("slow".into(), PasswordDigest::Argon2id(format!("$argon2id$v=19${costs}${salt}$aGFzaA")))
        };
        let fast = || ("fast".into(), PasswordDigest::Sha256([0; 32]));
        assert!(makes_new_work(&vec![], &vec![fast()]));
        assert!(makes_new_work(&vec![fast()], &vec![fast(), argon("m=8,t=1,p=1", "one")]));
        assert!(!makes_new_work(&vec![argon("m=8,t=1,p=1", "one")], &vec![argon("m=8,t=1,p=1", "other")]));
        assert!(makes_new_work(&vec![argon("m=8,t=1,p=1", "one")], &vec![argon("m=8,t=2,p=1", "one")]));
        assert!(!makes_new_work(&vec![fast(), argon("m=8,t=1,p=1", "one")], &vec![fast()]), "gone is not new");
    }

    #[test]
    fn with_no_account_at_all_the_work_is_the_cheap_one() {
        assert!(matches!(DummyDigests::new([]).of("anyone"), PasswordDigest::Sha256(_)));
    }
}
