//! The first step: whose credentials, whose secret or whose token these are. A guess learns nothing by it, and takes nothing from others.

use std::net::IpAddr;
use std::sync::Arc;

use tokio::time::{Instant, timeout_at};

use super::{Gateway, HostVerdict, Identity, Verdicts, by};
use crate::auth::{Credentials, LoginSubject, LoginVerdict, Password};
use crate::model::{Hostname, Outcome, PasswordDigest, TokenDigest};
use crate::registry::{Account, Unavailable};

/// Whose credentials they were, and where they are a host's token, that host: no other may be changed.
pub(super) type Identified = (Arc<Account>, Option<Hostname>);

/// What a secret without a login opens.
enum Opened {
    This(Identified),
    /// Nothing; the log's words for it.
    Nothing(&'static str),
}

const WRONG: &str = "wrong credentials";
const DISABLED: &str = "account disabled";
const UNKNOWN_TOKEN: &str = "unknown token";

/// What is held against a secret that no login came with: there is none to be told from others.
const NOBODYS: LoginSubject = LoginSubject::Dummy(PasswordDigest::Sha256([0; 32]));

impl Gateway {
    /// Which of two identities counts. Both are looked up in any case, and a disabled account is told from an unknown one by
    /// nobody.
    pub(super) async fn either(
        &self,
        [first, second]: [Identity; 2],
        deadline: Instant,
    ) -> Result<Identity, Unavailable> {
        let (is_first, is_second) =
            (self.is_somebodys(&first, deadline).await?, self.is_somebodys(&second, deadline).await?);
        Ok(if is_second && !is_first { second } else { first })
    }

    async fn is_somebodys(&self, identity: &Identity, deadline: Instant) -> Result<bool, Unavailable> {
        match identity {
            Identity::Password(credentials) => {
                let account = by(deadline, self.registry.account(&credentials.login)).await?;
                let is_account = account.is_some_and(|account| !account.secrets().is_empty());
                Ok(self.opened_beside(credentials, deadline).await?.is_some() || is_account)
            }
            Identity::Secret(secret) => Ok(matches!(self.opened(secret, deadline).await?, Opened::This(_))),
            Identity::Nobody | Identity::Either(_) | Identity::Token(_) => Ok(false),
        }
    }

    /// Who has a secret that came without a login: a host's token, else what was generated for an account, both by their digest;
    /// else the password of the account whose login is the host that is named. No argon2 hash is tried but that one's.
    pub(super) async fn log_in_without_login(
        &self,
        secret: Password,
        hosts: &[String],
        source: IpAddr,
        (since, deadline): (Instant, Instant),
    ) -> Result<Identified, Verdicts> {
        let away = |away: Unavailable| Verdicts::once(None, away.into());
        match self.opened(&secret, deadline).await.map_err(away)? {
            Opened::This(identified) => Ok(identified),
            Opened::Nothing(reason) => {
                let login = hosts.first().cloned().unwrap_or_default();
                let credentials = Credentials { login, password: secret };
                self.log_in_as(&credentials, reason, source, (since, deadline)).await
            }
        }
    }

    pub(super) async fn log_in(
        &self,
        credentials: &Credentials,
        source: IpAddr,
        time: (Instant, Instant),
    ) -> Result<Identified, Verdicts> {
        self.log_in_as(credentials, WRONG, source, time).await
    }

    /// What a secret alone opens, whatever stands beside it.
    async fn opened(&self, secret: &Password, deadline: Instant) -> Result<Opened, Unavailable> {
        // Somebody may have stored the digest of nothing.
        if secret.expose().is_empty() {
            return Ok(Opened::Nothing(WRONG));
        }
        let digest = secret.token_digest();
        // Before the store is asked, which may be away.
        let declared = self.registry.declared_by_secret(&digest).filter(|account| account.is_opened_by(&digest));
        if let Some(account) = declared {
            return Ok(Opened::This((account, None)));
        }
        let of_host = by(deadline, self.token_holder(&digest)).await?;
        let account = by(deadline, self.registry.account_by_secret(&digest)).await?;
        Ok(match (of_host, account) {
            (Opened::Nothing(_), Some(account)) if account.is_opened_by(&digest) => Opened::This((account, None)),
            (Opened::Nothing(_), Some(account)) if !account.enabled => Opened::Nothing(DISABLED),
            (Opened::Nothing(UNKNOWN_TOKEN), _) => Opened::Nothing(WRONG),
            (of_host, _) => of_host,
        })
    }

    /// What the password opens where the login is none: empty or `none`, which devices insist on; the name of the host whose token
    /// the password is, as HE.net and nsupdate.info have it; the secret once more.
    async fn opened_beside(
        &self,
        credentials: &Credentials,
        deadline: Instant,
    ) -> Result<Option<Identified>, Unavailable> {
        let Credentials { login, password } = credentials;
        let is_no_login = credentials.has_no_login();
        let named = Hostname::parse(login).ok().filter(|name| name.as_str().contains('.'));
        let is_twice = password.is(login);
        if password.expose().is_empty() || !(is_no_login || is_twice || named.is_some()) {
            return Ok(None);
        }
        if is_twice {
            return Ok(match self.opened(password, deadline).await? {
                Opened::This(identified) => Some(identified),
                Opened::Nothing(_) => None,
            });
        }
        match by(deadline, self.token_holder(&password.token_digest())).await? {
            Opened::This(holder) if is_no_login || holder.1 == named => Ok(Some(holder)),
            Opened::This(_) | Opened::Nothing(_) => Ok(None),
        }
    }

    /// `wrong` is what the log says of a guess, `since` when its request came: what [`Self::either`] looked up was for it too.
    async fn log_in_as(
        &self,
        credentials: &Credentials,
        wrong: &'static str,
        source: IpAddr,
        (since, deadline): (Instant, Instant),
    ) -> Result<Identified, Verdicts> {
        let away = |away: Unavailable| Verdicts::once(None, away.into());
        let account = by(deadline, self.registry.account(&credentials.login)).await.map_err(away)?;
        let secrets = account.as_ref().map(|account| account.secrets()).unwrap_or_default();
        let subject = match &account {
            Some(account) if !secrets.is_empty() => LoginSubject::Known { login: Arc::clone(&account.login), secrets },
            // No account has it: there is nothing to hide.
            _ if credentials.login.is_empty() => NOBODYS,
            // A disabled account is told from an unknown one by nobody.
            Some(_) | None => LoginSubject::Dummy(self.registry.dummy(&credentials.login)),
        };
        let is_known = matches!(subject, LoginSubject::Known { .. });
        if !is_known && let Some(identified) = self.opened_beside(credentials, deadline).await.map_err(away)? {
            return Ok(identified);
        }
        // Kept until a failure is counted. An account with two secrets is one guess.
        let mut guess = None;
        let may_hash = |undecided| {
            drop(guess.take());
            guess = Some(self.limits.may_hash(source, &credentials.login, undecided)?);
            Ok(())
        };
        let verdict = match self.authenticator.verify(credentials, &subject, may_hash, deadline).await {
            LoginVerdict::Known(_) => None,
            LoginVerdict::Wrong { repeated } => {
                let knock = self.registry.knock(&credentials.login, since);
                let _no_time_left = Box::pin(timeout_at(deadline, knock)).await;
                if is_known {
                    // As much work as to find what an unknown one is held against, and what opens without a login.
                    drop(self.registry.dummy(&credentials.login));
                    drop(self.opened_beside(credentials, deadline).await);
                }
                self.metrics.auth_failure();
                // A router that repeats an old password learns nothing by it. It must not use up what its neighbours behind
                // the same address have, nor what the same person's next device, with the new password, needs.
                if !repeated {
                    self.limits.failed_login(source, &credentials.login);
                }
                // The log's words tell a guess from such a router: packaging/fail2ban reads them.
                let reason = match &account {
                    Some(account) if !account.enabled => DISABLED,
                    _ if repeated && wrong == WRONG => "the same wrong credentials again",
                    _ => wrong,
                };
                Some(HostVerdict::new(Outcome::BadCredentials, reason))
            }
            LoginVerdict::TooMany { retry_after } => Some(HostVerdict::too_fast(retry_after, "failed_logins limit")),
            LoginVerdict::Overloaded => Some(HostVerdict::unreachable("too many passwords wait to be verified")),
        };
        drop(guess);
        match (account, verdict) {
            (Some(account), None) => Ok((account, None)),
            (account, verdict) => {
                let login = account.map(|account| Arc::clone(&account.login));
                let wrong = || HostVerdict::new(Outcome::BadCredentials, WRONG);
                Err(Verdicts::once(login, verdict.unwrap_or_else(wrong)))
            }
        }
    }

    /// Whose the token in a URL is.
    pub(super) async fn holder(
        &self,
        token: &TokenDigest,
        source: IpAddr,
        deadline: Instant,
    ) -> Result<Identified, HostVerdict> {
        let reason = match by(deadline, self.token_holder(token)).await? {
            Opened::This(holder) => return Ok(holder),
            Opened::Nothing(reason) => reason,
        };
        self.metrics.auth_failure();
        let credentials = Credentials { login: String::new(), password: token.0.to_vec().into() };
        let verdict = self.authenticator.verify(&credentials, &NOBODYS, |_| Ok(()), deadline).await;
        if verdict == (LoginVerdict::Wrong { repeated: false }) {
            self.limits.failed_login(source, &credentials.login);
        }
        Err(HostVerdict::new(Outcome::BadCredentials, reason))
    }

    async fn token_holder(&self, token: &TokenDigest) -> Result<Opened, Unavailable> {
        let Some(name) = self.registry.host_of_token(token).await? else { return Ok(Opened::Nothing(UNKNOWN_TOKEN)) };
        let host = self.registry.host(&name).await?;
        let Some(login) = host.and_then(|host| host.login.clone()) else {
            return Ok(Opened::Nothing("the token's host is gone"));
        };
        Ok(match self.registry.account(&login).await? {
            Some(account) if account.enabled => Opened::This((account, Some(name))),
            Some(_) | None => Opened::Nothing("the token's account is disabled"),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::path::Path;
    use std::time::Duration;

    use super::*;
    use crate::auth::Authenticator;
    use crate::config::Config;
    use crate::limit::Limits;
    use crate::metrics::Metrics;
    use crate::registry::Registry;

    /// `declared.dyn.example` is a login; its secret is `secret`.
    const CONFIG: &str = r#"
[[key]]
name = "k"
algorithm = "hmac-sha256"
secret = "c2VjcmV0"

[[zone]]
name = "dyn.example"
primaries = ["127.0.0.1"]
key = "k"

[[account]]
login = "declared.dyn.example"
secret = "$sha256$K7gNU3sdo+OL0wNhqoVWhr3g6s1xYv72ol/pe/Unols="
hosts = ["declared.dyn.example"]
"#;
    const SOURCE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    async fn gateway(folder: &Path) -> Gateway {
        let config = Config::parse(CONFIG, Path::new("gateway.toml")).unwrap();
        let metrics = Metrics::register(&mut prometheus_client::registry::Registry::default());
        let kept = [("kept.dyn.example", true), ("off.dyn.example", false)];
        let registry = Registry::with_accounts(&config, folder, &kept, &metrics).await;
        let limits = Limits::new(&config.limits, metrics.clone());
        let gateway = Gateway::new(registry, Authenticator::new(1).unwrap(), limits, [], metrics, &config.engine);
        let deadline = Instant::now() + Duration::from_secs(60);
        // The feed's first answer has all that was remembered looked up again.
        while gateway.registry.news() == 0 {
            assert!(Instant::now() < deadline);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        gateway
    }

    #[tokio::test]
    async fn a_wrong_secret_costs_the_same_look_ups_whoever_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let gateway = gateway(folder.path()).await;
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut costs = Vec::new();
        for login in ["nobody.dyn.example", "kept.dyn.example", "off.dyn.example", "declared.dyn.example"] {
            let mut of_login = Vec::new();
            for guess in 0..3 {
                let before = gateway.registry.questions();
                let credentials = Credentials::new(login.to_owned(), format!("guess {guess} for {login}"));
                assert!(gateway.log_in(&credentials, SOURCE, (Instant::now(), deadline)).await.is_err());
                of_login.push(gateway.registry.questions() - before);
            }
            for guess in 3..6 {
                let before = gateway.registry.questions();
                let secret = format!("guess {guess} for {login}").into();
                let hosts = [login.to_owned()];
                assert!(
                    gateway.log_in_without_login(secret, &hosts, SOURCE, (Instant::now(), deadline)).await.is_err()
                );
                of_login.push(gateway.registry.questions() - before);
            }
            costs.push(of_login);
        }
        assert_eq!(costs, vec![[2, 1, 1, 2, 2, 2]; 4], "the account and a token; a token; a token and a secret");
        // Beside another secret: both are looked up before one of them is held against anything.
        let mut costs = Vec::new();
        let mut cases = ["nobody.dyn.example", "kept.dyn.example", "off.dyn.example", "declared.dyn.example"]
            .map(|login| (login, false))
            .to_vec();
        cases.push(("kept.dyn.example", true));
        for (login, is_remembered) in cases {
            let folder = tempfile::tempdir().unwrap();
            let gateway = self::gateway(folder.path()).await;
            if is_remembered {
                gateway.registry.account(login).await.unwrap();
            }
            let mut of_login = Vec::new();
            for guess in 0..2 {
                let before = gateway.registry.questions();
                let credentials = Credentials::new(login.to_owned(), format!("guess {guess} for {login}"));
                let two = [Identity::Password(credentials), Identity::Secret(format!("secret {guess}").into())];
                let since = Instant::now();
                let Ok(Identity::Password(counts)) = gateway.either(two, deadline).await else { panic!("the first") };
                assert!(gateway.log_in(&counts, SOURCE, (since, deadline)).await.is_err());
                of_login.push(gateway.registry.questions() - before);
            }
            costs.push(of_login);
        }
        assert_eq!(costs, vec![[4, 3]; 5], "the account, a token, a token and a secret; the last three");
        let before = gateway.registry.questions();
        let right = |secret: &str| {
            gateway.log_in_without_login(secret.to_owned().into(), &[], SOURCE, (Instant::now(), deadline))
        };
        assert_eq!(&*right("secret").await.unwrap().0.login, "declared.dyn.example");
        assert_eq!(gateway.registry.questions(), before, "what the file declares needs no store");
        for cost in [2, 0] {
            let before = gateway.registry.questions();
            assert_eq!(&*right("kept.dyn.example").await.unwrap().0.login, "kept.dyn.example");
            assert_eq!(gateway.registry.questions() - before, cost, "it is remembered, and the account was already");
        }
        assert!(right("off.dyn.example").await.is_err());
    }
}
