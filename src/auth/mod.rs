//! Who is this. Knows nothing of HTTP, of limits but that it may be refused a hash, and of what an account may do.
//!
//! Three promises: a right password is hashed once and remembered; an unknown login cannot be told from a known one by
//! the answer or by the work it makes; hashing never takes more than its threads and a bounded queue.

mod argon;
mod credentials;
mod hash_queue;
mod hashers;
pub mod secret;
mod seen;

use std::sync::Arc;
use std::time::Duration;

use ring::hmac;
use ring::rand::SystemRandom;
use tokio::time::{Instant, timeout_at};

use crate::model::PasswordDigest;

use hash_queue::{Admission, DecisionReceiver, HashQueue, Job};
use hashers::Hashers;

pub use credentials::{Credentials, Password};

/// A keyed digest (HMAC-SHA256 under a key of this process) that stands for credentials or a login.
type Tag = [u8; 32];

/// What became of credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoginVerdict {
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

/// What credentials are held against.
#[derive(Debug, Clone)]
pub enum LoginSubject {
    /// An account.
    Known {
        /// Its login.
        login: Arc<str>,
        /// What stands for its passwords: each is as good as the others.
        secrets: Vec<PasswordDigest>,
    },
    /// None: this digest costs the work that an account would, and its answer is never yes.
    Dummy(PasswordDigest),
}

/// Verifies credentials; a cheap handle. Its threads end when the last handle is dropped.
#[derive(Clone, Debug)]
pub struct Authenticator(Arc<AuthenticatorInner>);

#[derive(Debug)]
struct AuthenticatorInner {
    key: hmac::Key,
    hashers: Hashers,
}

impl Authenticator {
    /// An authenticator that computes at most `hashers` (at least 1) argon2 hashes at once, each on a thread that starts
    /// with the first password and leaves ten seconds after the last. Each takes up to 64 MiB
    /// ([`crate::model::MAX_MEMORY_KIB`]).
    pub fn new(hashers: usize) -> Result<Self, NoRandomness> {
        Self::with(Hashers::new(hashers.max(1)))
    }

    fn with(hashers: Hashers) -> Result<Self, NoRandomness> {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new()).map_err(|_| NoRandomness)?;
        Ok(Self(Arc::new(AuthenticatorInner { key, hashers })))
    }

    /// Whether `credentials`, whose login led to `subject`, are right.
    ///
    /// `may_hash` is the limit of failed logins. It is asked once for each argon2 hash that would have to be computed,
    /// with the number of hashes of this login that are not decided yet, under a lock: it answers at once and does not
    /// call back. It is not asked for credentials that were seen before, for a joiner of an equal hash, nor for a
    /// generated secret. Nothing but a hash waits, and none past `deadline`.
    pub async fn verify(
        &self,
        credentials: &Credentials,
        subject: &LoginSubject,
        mut may_hash: impl FnMut(u32) -> Result<(), Duration>,
        deadline: Instant,
    ) -> LoginVerdict {
        // An empty password is never right, though somebody may have stored its digest; the work is that of any other.
        let may_be_right = subject.is_known() && !credentials.password.expose().is_empty();
        // The cheap ones first: nobody who has one shall wait for the hash of another.
        for digest in subject.secrets() {
            let PasswordDigest::Sha256(octets) = digest else { continue };
            let right = may_be_right & credentials.password.has_sha256(octets);
            if let Some(verdict) = subject.verdict(right) {
                return verdict;
            }
        }
        let login_tag = self.login_tag(&credentials.login);
        for phcs in subject.computations() {
            let tag = self.tag(credentials, may_be_right, b"argon2id", phcs.as_bytes());
            let job = || Job { tag, password: credentials.password.clone(), phcs: phcs.clone(), known: may_be_right };
            let admit = |queue: &mut HashQueue| queue.admit(tag, login_tag, deadline, &mut may_hash, job);
            let right = match self.0.hashers.admit(admit) {
                Admission::Decided(right) => right,
                Admission::Waits(waiting) => match Self::decision(waiting, deadline).await {
                    Some(right) => right,
                    None => return LoginVerdict::Overloaded,
                },
                Admission::Refused(retry_after) => return LoginVerdict::TooMany { retry_after },
            };
            if let Some(verdict) = subject.verdict(right) {
                return verdict;
            }
        }
        let tag = match (subject.secrets().first(), subject.computations().first()) {
            (Some(PasswordDigest::Sha256(digest)), _) => Some(self.tag(credentials, may_be_right, b"sha256", digest)),
            (_, phcs) => phcs.map(|phcs| self.tag(credentials, may_be_right, b"argon2id", phcs.as_bytes())),
        };
        LoginVerdict::Wrong { repeated: tag.is_some_and(|tag| self.0.hashers.tell_wrong(tag)) }
    }

    /// How many argon2 hashes were computed since the start.
    pub fn hashes(&self) -> u64 {
        self.0.hashers.hashes()
    }

    /// `None` where the deadline came first, or the hash was given up.
    async fn decision(mut waiting: DecisionReceiver, deadline: Instant) -> Option<bool> {
        timeout_at(deadline, waiting.wait_for(Option::is_some)).await.ok()?.ok().and_then(|decision| *decision)
    }

    fn login_tag(&self, login: &str) -> Tag {
        self.digest(b"login", &[login.as_bytes()])
    }

    /// Stands for these credentials against `digest`: another digest, or a login that comes to be, is another tag.
    fn tag(&self, credentials: &Credentials, is_known: bool, kind: &[u8], digest: &[u8]) -> Tag {
        let known: &[u8] = if is_known { b"known" } else { b"dummy" };
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

impl LoginSubject {
    fn secrets(&self) -> &[PasswordDigest] {
        match self {
            Self::Known { secrets, .. } => secrets,
            Self::Dummy(digest) => std::slice::from_ref(digest),
        }
    }

    /// The chosen passwords' PHC strings, those that one computation tells about in one, a line each: an account in rotation
    /// makes no more work than any other.
    fn computations(&self) -> Vec<String> {
        let mut all: Vec<String> = Vec::new();
        for digest in self.secrets() {
            let PasswordDigest::Argon2id(phc) = digest else { continue };
            // What is before the last dollar sign is cost and salt.
            let same = |other: &&mut String| {
                let other = other.split('\n').next().unwrap_or_default();
                other.len() == phc.len() && other.rsplit_once('$').map(|it| it.0) == phc.rsplit_once('$').map(|it| it.0)
            };
            match all.iter_mut().find(same) {
                Some(other) => *other = format!("{other}\n{phc}"),
                None => all.push(phc.clone()),
            }
        }
        all
    }

    fn is_known(&self) -> bool {
        matches!(self, Self::Known { .. })
    }

    fn verdict(&self, right: bool) -> Option<LoginVerdict> {
        match self {
            Self::Known { login, .. } if right => Some(LoginVerdict::Known(Arc::clone(login))),
            Self::Known { .. } | Self::Dummy(_) => None,
        }
    }
}

#[cfg(test)]
mod tests;
