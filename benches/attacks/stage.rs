//! A real BIND, the gateway in front of it behind a proxy that is trusted, and everybody's accounts.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use argon2::{Algorithm, Argon2, Params, PasswordHasher as _, Version};
use lab::{Gateway, Key, Kind, Server, Setup, digest, new_secret};

use crate::Failure;
use crate::others::{KNOWN, MOVING, Others, QUIET};

pub(crate) const ZONE: &str = "dyn.example";
/// What all chosen passwords are.
const PASSWORD: &str = "correct-horse-battery-staple";
/// The login of the attacker who has an account: the host of the same name, and all names below a delegation.
pub(crate) const INSIDER: &str = "insider";

/// Who has a chosen password, which takes a hash to look at; whoever has none has a generated secret. An unknown login
/// costs what a known one does, so this decides about guesses too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Chosen {
    Nobody,
    People,
    /// But for the insider.
    Everybody,
}

/// A running gateway.
pub(crate) struct Stage {
    pub(crate) gateway: Gateway,
    pub(crate) others: Arc<Others>,
    pub(crate) secret: String,
    _primary: Server,
}

impl Stage {
    /// `limits` are lines of `[limits]`.
    pub(crate) async fn start(limits: &str, chosen: Chosen, shared: Option<IpAddr>) -> Result<Self, Failure> {
        let key = Key::generate("gateway-key");
        let delegation = ["sub NS ns.elsewhere.example."];
        let primary = Server::start(Kind::Bind, Setup::new().key(&key).zone_with(ZONE, &delegation)).await?;
        let (secret, slow) = (new_secret(), argon2id()?);
        let fast = digest(&secret);
        let mut config = format!(
            "[http]\nlisten = [\"127.0.0.1:0\"]\ntrusted_proxies = [\"127.0.0.0/8\"]\n[admin]\nlisten = \"127.0.0.1:0\"\n\
             [limits]\n{limits}\n{}[[zone]]\nname = \"{ZONE}\"\nprimaries = [\"{}\"]\nkey = \"{}\"\n",
            key.toml(),
            primary.addr(),
            key.name,
        );
        let mut account = |login: &str, secret: &str, hosts: &str| {
            let _ = write!(config, "[[account]]\nlogin = \"{login}\"\nsecret = \"{secret}\"\nhosts = [{hosts}]\n");
        };
        account(INSIDER, &fast, &format!("\"{INSIDER}.{ZONE}\", \"*.sub.{ZONE}\""));
        // What is stored, and what is sent.
        let (slow, fast) = ((&*slow, PASSWORD), (&*fast, &*secret));
        let routers = if chosen == Chosen::Everybody { slow } else { fast };
        let people = if chosen == Chosen::Nobody { fast } else { slow };
        for (name, (count, _), (digest, _)) in
            [("quiet", QUIET, routers), ("moving", MOVING, routers), ("known", KNOWN, people)]
        {
            for number in 0..count {
                account(&format!("{name}{number}"), digest, &format!("\"{name}{number}.{ZONE}\""));
            }
        }
        let gateway = Gateway::builder(env!("CARGO_BIN_EXE_dyngate")).config(&config).start().await?;
        let others = Others {
            gateway: gateway.http(),
            routers_secret: routers.1.to_owned(),
            peoples_secret: people.1.to_owned(),
            shared,
            fresh: AtomicU32::new(0),
            turns: Default::default(),
        };
        Ok(Self { gateway, others: Arc::new(others), secret, _primary: primary })
    }

    /// Distinct names in all UPDATEs so far.
    pub(crate) async fn names_sent(&self) -> Result<f64, Failure> {
        Ok(self.gateway.metric("dyngate_update_batch_hosts_sum").await?)
    }

    /// How often each limit was met so far.
    pub(crate) async fn limited(&self) -> Result<Vec<(&'static str, f64)>, Failure> {
        let mut all = vec![];
        for limit in ["source", "failed_logins", "account", "host", "repeats"] {
            let met = self.gateway.metric(&format!("dyngate_rate_limited_total{{limit=\"{limit}\"}}")).await?;
            all.push((limit, met));
        }
        Ok(all)
    }
}

/// m=19456, t=2, p=1: what `dyngate hash` makes.
fn argon2id() -> Result<String, Failure> {
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::DEFAULT);
    let hash = argon2.hash_password_with_salt(PASSWORD.as_bytes(), b"salt of the bench");
    Ok(hash.map_err(|error| error.to_string())?.to_string())
}
