//! Credentials against accounts of both kinds: what is hashed, what is remembered, who waits and who is sent away.

use std::cell::Cell;

use argon2::{Algorithm, Argon2, Params, PasswordHasher, Version};
use ring::digest::{SHA256, digest};
use tokio::time::advance;

use super::hash_queue::MAX_WAITING;
use super::*;

fn argon2id(password: &str) -> PasswordDigest {
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(8, 1, 1, None).unwrap());
    let phc = argon2.hash_password_with_salt(password.as_bytes(), b"salt of 16 octet").unwrap();
    PasswordDigest::parse(&phc.to_string()).unwrap()
}

fn sha256(password: &str) -> PasswordDigest {
    PasswordDigest::Sha256(digest(&SHA256, password.as_bytes()).as_ref().try_into().unwrap())
}

fn slow() -> [(Arc<str>, PasswordDigest); 2] {
    [("slow".into(), argon2id("hunter2")), ("slower".into(), argon2id("correct horse"))]
}

fn fast() -> [(Arc<str>, PasswordDigest); 1] {
    [("fast".into(), sha256("generated"))]
}

/// An authenticator with the accounts that a caller would look up; an unknown login is held against the first one's digest.
#[derive(Clone)]
struct Office {
    authenticator: Authenticator,
    accounts: Vec<(Arc<str>, PasswordDigest)>,
}

impl Office {
    fn new(accounts: impl IntoIterator<Item = (Arc<str>, PasswordDigest)>, hashers: usize) -> Self {
        let authenticator = Authenticator::with(Hashers::new(hashers)).unwrap();
        Self { authenticator, accounts: accounts.into_iter().collect() }
    }

    fn subject(&self, login: &str) -> LoginSubject {
        match self.accounts.iter().find(|(name, _)| **name == *login) {
            Some((login, digest)) => LoginSubject::Known { login: Arc::clone(login), secrets: vec![digest.clone()] },
            None => LoginSubject::Dummy(
                self.accounts.first().map_or(PasswordDigest::Sha256([0; 32]), |(_, digest)| digest.clone()),
            ),
        }
    }

    async fn verify(
        &self,
        credentials: &Credentials,
        may_hash: impl FnMut(u32) -> Result<(), Duration>,
        deadline: Instant,
    ) -> LoginVerdict {
        self.authenticator.verify(credentials, &self.subject(&credentials.login), may_hash, deadline).await
    }

    fn tag(&self, credentials: &Credentials) -> Tag {
        let subject = self.subject(&credentials.login);
        tag(&self.authenticator, credentials, subject.is_known(), &subject.secrets()[0])
    }
}

fn tag(authenticator: &Authenticator, credentials: &Credentials, is_known: bool, digest: &PasswordDigest) -> Tag {
    let (kind, digest): (&[u8], &[u8]) = match digest {
        PasswordDigest::Argon2id(phc) => (b"argon2id", phc.as_bytes()),
        PasswordDigest::Sha256(digest) => (b"sha256", digest),
    };
    authenticator.tag(credentials, is_known, kind, digest)
}

impl std::ops::Deref for Office {
    type Target = Authenticator;

    fn deref(&self) -> &Authenticator {
        &self.authenticator
    }
}

/// Without threads: hashes are computed where the test says.
fn by_hand(accounts: impl IntoIterator<Item = (Arc<str>, PasswordDigest)>) -> Office {
    Office::new(accounts, 0)
}

fn pair(login: &str, password: &str) -> Credentials {
    Credentials::new(login.into(), password.into())
}

fn later() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

fn known(login: &str) -> LoginVerdict {
    LoginVerdict::Known(login.into())
}

const WRONG: LoginVerdict = LoginVerdict::Wrong { repeated: false };
const AGAIN: LoginVerdict = LoginVerdict::Wrong { repeated: true };
const WAIT: Duration = Duration::from_secs(30);

async fn ask(authenticator: &Office, login: &str, password: &str) -> LoginVerdict {
    authenticator.verify(&pair(login, password), |_| Ok(()), later()).await
}

async fn ask_limited(authenticator: &Office, login: &str, password: &str) -> LoginVerdict {
    authenticator.verify(&pair(login, password), |_| Err(WAIT), later()).await
}

#[tokio::test]
async fn a_slow_password_is_hashed_once_right_or_wrong() {
    let authenticator = Office::new(slow(), 2);
    assert_eq!(ask(&authenticator, "slow", "hunter2").await, known("slow"));
    assert_eq!(ask(&authenticator, "slow", "hunter3").await, WRONG);
    assert_eq!(ask(&authenticator, "slow", "correct horse").await, WRONG, "another's password");
    assert_eq!(ask(&authenticator, "stranger", "hunter2").await, WRONG, "a dummy's password");
    assert_eq!(authenticator.hashes(), 4);
    assert_eq!(ask(&authenticator, "slow", "hunter2").await, known("slow"));
    assert_eq!(ask(&authenticator, "slow", "hunter3").await, AGAIN);
    assert_eq!(ask(&authenticator, "stranger", "hunter2").await, AGAIN);
    assert_eq!(authenticator.hashes(), 4);
}

#[tokio::test]
async fn a_generated_secret_is_never_hashed_slowly() {
    let authenticator = by_hand(fast());
    assert_eq!(ask_limited(&authenticator, "fast", "generated").await, known("fast"));
    assert_eq!(ask_limited(&authenticator, "fast", "guessed").await, WRONG);
    assert_eq!(ask_limited(&authenticator, "fast", "guessed").await, AGAIN);
    assert_eq!(ask_limited(&authenticator, "stranger", "generated").await, WRONG);
    assert_eq!(ask_limited(&by_hand([]), "stranger", "").await, WRONG, "nor where there is no account");
    assert_eq!(authenticator.hashes(), 0);
}

#[tokio::test]
async fn the_limit_stops_new_hashes_only() {
    let authenticator = Office::new(slow().into_iter().chain(fast()), 1);
    assert_eq!(ask(&authenticator, "slow", "hunter2").await, known("slow"));
    assert_eq!(ask(&authenticator, "slow", "hunter3").await, WRONG);
    assert_eq!(ask_limited(&authenticator, "slow", "hunter4").await, LoginVerdict::TooMany { retry_after: WAIT });
    assert_eq!(ask_limited(&authenticator, "slow", "hunter2").await, known("slow"));
    assert_eq!(ask_limited(&authenticator, "slow", "hunter3").await, AGAIN);
    assert_eq!(ask_limited(&authenticator, "fast", "generated").await, known("fast"));
    assert_eq!(authenticator.hashes(), 2);
}

#[tokio::test]
async fn equal_credentials_share_one_hash_and_one_question() {
    let authenticator = by_hand(slow());
    let asked = Cell::new(0);
    let may_hash = |_| {
        asked.set(asked.get() + 1);
        Ok(())
    };
    let right = pair("slow", "hunter2");
    let hashed = async {
        tokio::task::yield_now().await;
        assert_eq!(authenticator.0.hashers.waiting(), 1);
        assert!(authenticator.0.hashers.hash_one());
    };
    let (one, other, ()) = tokio::join!(
        authenticator.verify(&right, may_hash, later()),
        authenticator.verify(&right, may_hash, later()),
        hashed
    );
    assert_eq!((one, other), (known("slow"), known("slow")));
    assert_eq!((asked.get(), authenticator.hashes()), (1, 1));
}

#[tokio::test]
async fn the_limit_hears_how_many_hashes_of_the_login_are_undecided() {
    let authenticator = by_hand(slow());
    let heard = Cell::new(Vec::new());
    let may_hash = |undecided| {
        let mut so_far = heard.take();
        so_far.push(undecided);
        heard.set(so_far);
        Ok(())
    };
    let wrong = ["a", "b", "c"].map(|password| pair("slow", password));
    let other = pair("slower", "a");
    let hashed = async { while authenticator.0.hashers.hash_one() {} };
    tokio::join!(
        authenticator.verify(&wrong[0], may_hash, later()),
        authenticator.verify(&wrong[1], may_hash, later()),
        authenticator.verify(&other, may_hash, later()),
        authenticator.verify(&wrong[2], may_hash, later()),
        async {
            tokio::task::yield_now().await;
            hashed.await;
        }
    );
    assert_eq!(heard.take(), [0, 1, 0, 2]);
    assert_eq!(
        authenticator.verify(&pair("slow", "d"), |undecided| Err(WAIT * undecided), later()).await,
        LoginVerdict::TooMany { retry_after: Duration::ZERO }
    );
}

#[tokio::test]
async fn a_full_queue_gives_up_the_oldest_and_hashes_the_newest() {
    let authenticator = by_hand(slow());
    let submit = |password: String| {
        let authenticator = authenticator.clone();
        tokio::spawn(async move { ask(&authenticator, "slow", &password).await })
    };
    let oldest = submit("hunter2".into());
    tokio::task::yield_now().await;
    let rest: Vec<_> = (0..MAX_WAITING - 1).map(|n| submit(format!("wrong{n}"))).collect();
    while authenticator.0.hashers.waiting() < MAX_WAITING {
        tokio::task::yield_now().await;
    }
    assert!(!oldest.is_finished());
    let newest = submit("hunter2 ".into());
    assert_eq!(oldest.await.unwrap(), LoginVerdict::Overloaded);
    assert!(authenticator.0.hashers.hash_one());
    assert_eq!(newest.await.unwrap(), WRONG);
    assert!(rest.iter().all(|one| !one.is_finished()));
    rest.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test(start_paused = true)]
async fn past_its_deadline_nothing_is_hashed() {
    let authenticator = by_hand(slow());
    let deadline = Instant::now() + Duration::from_secs(5);
    assert_eq!(authenticator.verify(&pair("slow", "hunter2"), |_| Ok(()), deadline).await, LoginVerdict::Overloaded);
    assert!(Instant::now() >= deadline, "not before");
    assert!(!authenticator.0.hashers.hash_one());

    let (one, other) = (pair("slow", "hunter2"), pair("slow", "hunter2"));
    let soon = Instant::now() + Duration::from_secs(1);
    let (one, other, ()) = tokio::join!(
        authenticator.verify(&one, |_| Ok(()), soon),
        authenticator.verify(&other, |_| Ok(()), later()),
        async {
            tokio::task::yield_now().await;
            advance(Duration::from_secs(2)).await;
            tokio::task::yield_now().await;
            assert!(authenticator.0.hashers.hash_one(), "a later waiter keeps it alive");
        }
    );
    assert_eq!((one, other), (LoginVerdict::Overloaded, known("slow")));
}

#[tokio::test]
async fn what_nobody_waits_for_is_not_hashed() {
    let authenticator = by_hand(slow());
    let gone = tokio::spawn({
        let authenticator = authenticator.clone();
        async move { ask(&authenticator, "slow", "hunter2").await }
    });
    tokio::task::yield_now().await;
    assert_eq!(authenticator.0.hashers.waiting(), 1);
    gone.abort();
    assert!(gone.await.unwrap_err().is_cancelled());
    assert!(!authenticator.0.hashers.hash_one());
    assert_eq!(authenticator.hashes(), 0);
}

#[tokio::test]
async fn who_hangs_up_before_the_answer_is_no_repeater() {
    let authenticator = by_hand(slow());
    let wrong = pair("slow", "hunter3");
    authenticator.0.hashers.decide(authenticator.tag(&wrong), false);
    assert_eq!(ask_limited(&authenticator, "slow", "hunter3").await, WRONG);
    assert_eq!(ask_limited(&authenticator, "slow", "hunter3").await, AGAIN);
}

#[tokio::test]
async fn a_flood_of_wrong_passwords_does_not_displace_a_right_one() {
    let authenticator = by_hand(slow());
    let tag = |credentials: &Credentials| authenticator.tag(credentials);
    authenticator.0.hashers.decide(tag(&pair("slow", "hunter2")), true);
    for n in 0..40_000 {
        authenticator.0.hashers.decide(tag(&pair("slow", &n.to_string())), false);
    }
    assert_eq!(ask_limited(&authenticator, "slow", "hunter2").await, known("slow"));
    assert_eq!(ask_limited(&authenticator, "slow", "39999").await, WRONG);
    assert_eq!(
        ask_limited(&authenticator, "slow", "0").await,
        LoginVerdict::TooMany { retry_after: WAIT },
        "forgotten"
    );
}

#[tokio::test]
async fn what_cannot_be_decided_is_not_called_wrong() {
    let broken = [("slow".into(), PasswordDigest::Argon2id("$argon2id$".into()))];
    let authenticator = Office::new(broken, 1);
    assert_eq!(ask(&authenticator, "slow", "hunter2").await, LoginVerdict::Overloaded);
}

#[tokio::test]
async fn credentials_that_are_glued_differently_are_others() {
    let authenticator = by_hand(fast());
    let digest = PasswordDigest::Sha256([0; 32]);
    let tag_of = |login, password, known| tag(&authenticator.authenticator, &pair(login, password), known, &digest);
    assert_ne!(tag_of("ab", "c", false), tag_of("a", "bc", false));
    assert_ne!(tag_of("ab", "c", false), tag_of("ab", "c", true), "a login that comes to be is judged anew");
    assert_eq!(tag_of("ab", "c", false), tag_of("ab", "c", false));
}

#[tokio::test]
async fn each_of_several_secrets_opens_and_the_cheap_one_costs_no_hash() {
    let authenticator = Authenticator::new(1).unwrap();
    let secrets = vec![argon2id("old"), sha256("new"), argon2id("older")];
    let subject = LoginSubject::Known { login: "both".into(), secrets };
    let ask = async |password| authenticator.verify(&pair("both", password), &subject, |_| Ok(()), later()).await;
    assert_eq!(ask("new").await, known("both"));
    assert_eq!(authenticator.hashes(), 0);
    assert_eq!(ask("older").await, known("both"));
    assert_eq!(ask("wrong").await, WRONG);
    assert_eq!(ask("wrong").await, AGAIN);
    assert_eq!(authenticator.hashes(), 2, "of one salt");
}

#[tokio::test]
async fn an_account_in_rotation_is_hashed_as_often_as_an_unknown_login() {
    let authenticator = Office::new(slow(), 1);
    let secrets = vec![argon2id("new"), sha256("generated"), argon2id("old"), argon2id("older")];
    let rotating = LoginSubject::Known { login: "rotating".into(), secrets };
    let verify = async |password: &str| {
        let before = authenticator.hashes();
        let verdict =
            authenticator.authenticator.verify(&pair("rotating", password), &rotating, |_| Ok(()), later()).await;
        (verdict, authenticator.hashes() - before)
    };
    assert_eq!(verify("wrong").await, (WRONG, 1));
    assert_eq!(verify("wrong").await, (AGAIN, 0));
    for password in ["new", "old", "older"] {
        assert_eq!(verify(password).await, (known("rotating"), 1), "{password}");
        assert_eq!(verify(password).await, (known("rotating"), 0), "{password}");
    }
    assert_eq!(verify("generated").await, (known("rotating"), 0));
    let before = authenticator.hashes();
    assert_eq!(ask(&authenticator, "stranger", "wrong").await, WRONG);
    assert_eq!(authenticator.hashes() - before, 1);
}
