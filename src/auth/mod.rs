//! Who is this. Knows nothing of HTTP, of limits but that it may be refused a hash, and of what an account may do.
//!
//! Three promises: a right password is hashed once and remembered; an unknown login cannot be told from a known one by
//! the answer or by the work it makes; hashing never takes more than its threads and a bounded queue.

mod accounts;
mod argon;
mod credentials;
mod desk;
mod hashers;
mod seen;

use std::sync::Arc;
use std::time::Duration;

use ring::hmac;
use ring::rand::SystemRandom;
use tokio::time::{Instant, timeout_at};

use crate::model::PasswordDigest;

use accounts::{Account, Accounts};
use desk::{Admission, Job, Waiting};
use hashers::Hashers;

pub use credentials::{Credentials, Password};

/// A keyed digest (HMAC-SHA256 under a key of this process) that stands for credentials or a login.
type Tag = [u8; 32];

/// What became of credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// They are this account's; its login.
    Known(Arc<str>),
    /// No such login, or not its password: not told apart.
    Wrong {
        /// The same credentials were answered `Wrong` before: a device that was not told the new password, rather than a guess.
        repeated: bool,
    },
    /// They would have to be hashed, and the limit of failed logins forbids it.
    TooMany {
        /// The time until it may allow it.
        retry_after: Duration,
    },
    /// They would have to be hashed, and that was not done before the deadline: too many wait.
    Overloaded,
}

/// The system's source of random octets failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the system gives no random octets")]
pub struct NoRandomness;

/// Verifies credentials; a cheap handle. Its threads end when the last handle is dropped.
#[derive(Clone, Debug)]
pub struct Authenticator(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    accounts: Arc<Accounts>,
    key: hmac::Key,
    hashers: Hashers,
}

impl Authenticator {
    /// An authenticator for `accounts` that computes at most `hashers` (at least 1) argon2 hashes at once, each on a
    /// thread that starts with the first password and leaves ten seconds after the last. Each takes up to 64 MiB
    /// ([`crate::model::MAX_MEMORY_KIB`]).
    ///
    /// # Errors
    /// [`NoRandomness`]
    pub fn new(
        accounts: impl IntoIterator<Item = (Arc<str>, PasswordDigest)>,
        hashers: usize,
    ) -> Result<Self, NoRandomness> {
        Self::with(accounts, Hashers::new(hashers.max(1)))
    }

    fn with(
        accounts: impl IntoIterator<Item = (Arc<str>, PasswordDigest)>,
        hashers: Hashers,
    ) -> Result<Self, NoRandomness> {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new()).map_err(|_| NoRandomness)?;
        Ok(Self(Arc::new(Inner { accounts: Arc::new(Accounts::new(accounts)), key, hashers })))
    }

    /// Whose `credentials` are.
    ///
    /// `may_hash` is the limit of failed logins. It is asked once for each argon2 hash that would have to be computed,
    /// with the number of hashes of this login that are not decided yet, under a lock: it answers at once and does not
    /// call back. It is not asked for credentials that were seen before, for a joiner of an equal hash, nor for a
    /// generated secret. Nothing but a hash waits, and none past `deadline`.
    pub async fn verify(
        &self,
        credentials: &Credentials,
        may_hash: impl FnOnce(u32) -> Result<(), Duration>,
        deadline: Instant,
    ) -> Verdict {
        let login_tag = self.login_tag(&credentials.login);
        let account = self.0.accounts.of(&credentials.login);
        match account.digest() {
            PasswordDigest::Sha256(digest) => {
                let right = account.is_known() & credentials.password.has_sha256(digest);
                self.verdict(&account, right, || self.tag(credentials, &account))
            }
            PasswordDigest::Argon2id(phc) => {
                let tag = self.tag(credentials, &account);
                let job =
                    || Job { tag, password: credentials.password.clone(), phc: phc.clone(), known: account.is_known() };
                match self.0.hashers.admit(tag, login_tag, deadline, may_hash, job) {
                    Admission::Decided(right) => self.verdict(&account, right, || tag),
                    Admission::Waits(waiting) => match Self::decision(waiting, deadline).await {
                        Some(right) => self.verdict(&account, right, || tag),
                        None => Verdict::Overloaded,
                    },
                    Admission::Refused(retry_after) => Verdict::TooMany { retry_after },
                }
            }
        }
    }

    /// How many argon2 hashes were computed since the start.
    #[must_use]
    pub fn hashes(&self) -> u64 {
        self.0.hashers.hashes()
    }

    /// `None` where the deadline came first, or the hash was given up.
    async fn decision(mut waiting: Waiting, deadline: Instant) -> Option<bool> {
        timeout_at(deadline, waiting.wait_for(Option::is_some)).await.ok()?.ok().and_then(|decision| *decision)
    }

    fn verdict(&self, account: &Account<'_>, right: bool, tag: impl FnOnce() -> Tag) -> Verdict {
        match account {
            Account::Known { login, .. } if right => Verdict::Known(Arc::clone(login)),
            Account::Known { .. } | Account::Decoy(_) => Verdict::Wrong { repeated: self.0.hashers.tell_wrong(tag()) },
        }
    }

    fn login_tag(&self, login: &str) -> Tag {
        self.digest(b"login", &[login.as_bytes()])
    }

    /// Stands for these credentials against this digest: another digest, or a login that comes to be, is another tag.
    fn tag(&self, credentials: &Credentials, account: &Account<'_>) -> Tag {
        let (kind, digest): (&[u8], &[u8]) = match account.digest() {
            PasswordDigest::Argon2id(phc) => (b"argon2id", phc.as_bytes()),
            PasswordDigest::Sha256(digest) => (b"sha256", digest),
        };
        let known: &[u8] = if account.is_known() { b"known" } else { b"decoy" };
        let fields = [credentials.login.as_bytes(), credentials.password.expose(), kind, digest, known];
        self.digest(b"credentials", &fields)
    }

    fn digest(&self, purpose: &[u8], fields: &[&[u8]]) -> Tag {
        let mut context = hmac::Context::with_key(&self.0.key);
        for field in std::iter::once(&purpose).chain(fields) {
            context.update(&field.len().to_be_bytes());
            context.update(field);
        }
        let mut tag = Tag::default();
        // HMAC-SHA256 is 32 octets, as is a tag.
        tag.copy_from_slice(context.sign().as_ref());
        tag
    }
}

#[cfg(test)]
mod tests;
