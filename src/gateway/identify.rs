//! The first step: whose credentials or whose token these are. A guess learns nothing by it, and takes nothing from others.

use std::net::IpAddr;
use std::sync::Arc;

use tokio::time::{Instant, timeout_at};

use super::{Gateway, HostVerdict, Verdicts, by};
use crate::auth::{Credentials, LoginSubject, LoginVerdict};
use crate::model::{Hostname, Outcome, TokenDigest};
use crate::registry::{Account, Unavailable};

impl Gateway {
    /// Which of two credentials counts. Both logins are looked up in any case, and a disabled account is told from an unknown
    /// one by nobody.
    pub(super) async fn either(
        &self,
        first: Credentials,
        second: Credentials,
        deadline: Instant,
    ) -> Result<Credentials, Unavailable> {
        let is_account = async |credentials: &Credentials| {
            let account = by(deadline, self.registry.account(&credentials.login)).await?;
            Ok::<_, Unavailable>(account.is_some_and(|account| !account.secrets().is_empty()))
        };
        let (is_first, is_second) = (is_account(&first).await?, is_account(&second).await?);
        Ok(if is_second && !is_first { second } else { first })
    }

    pub(super) async fn log_in(
        &self,
        credentials: &Credentials,
        source: IpAddr,
        deadline: Instant,
    ) -> Result<Arc<Account>, Verdicts> {
        let since = Instant::now();
        let account = by(deadline, self.registry.account(&credentials.login)).await;
        let account = account.map_err(|away| Verdicts::once(None, away.into()))?;
        let secrets = account.as_ref().map(|account| account.secrets()).unwrap_or_default();
        let subject = match &account {
            Some(account) if !secrets.is_empty() => LoginSubject::Known { login: Arc::clone(&account.login), secrets },
            // A disabled account is told from an unknown one by nobody.
            Some(_) | None => LoginSubject::Dummy(self.registry.dummy(&credentials.login)),
        };
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
                if matches!(subject, LoginSubject::Known { .. }) {
                    // As much work as to find what an unknown one is held against.
                    drop(self.registry.dummy(&credentials.login));
                }
                self.metrics.auth_failure();
                // A router that repeats an old password learns nothing by it. It must not use up what its neighbours behind
                // the same address have, nor what the same person's next device, with the new password, needs.
                if !repeated {
                    self.limits.failed_login(source, &credentials.login);
                }
                // The log's words tell a guess from such a router: packaging/fail2ban reads them.
                let reason = match &account {
                    Some(account) if !account.enabled => "account disabled",
                    _ if repeated => "the same wrong credentials again",
                    _ => "wrong credentials",
                };
                Some(HostVerdict::new(Outcome::BadCredentials, reason))
            }
            LoginVerdict::TooMany { retry_after } => Some(HostVerdict::too_fast(retry_after, "failed_logins limit")),
            LoginVerdict::Overloaded => Some(HostVerdict::unreachable("too many passwords wait to be verified")),
        };
        drop(guess);
        match (account, verdict) {
            (Some(account), None) => Ok(account),
            (account, verdict) => {
                let login = account.map(|account| Arc::clone(&account.login));
                let wrong = || HostVerdict::new(Outcome::BadCredentials, "wrong credentials");
                Err(Verdicts::once(login, verdict.unwrap_or_else(wrong)))
            }
        }
    }

    pub(super) async fn holder(&self, token: &TokenDigest) -> Result<(Arc<Account>, Hostname), HostVerdict> {
        let unknown = |reason| HostVerdict::new(Outcome::BadCredentials, reason);
        let Some(name) = self.registry.host_of_token(token).await? else {
            self.metrics.auth_failure();
            return Err(unknown("unknown token"));
        };
        let host = self.registry.host(&name).await?;
        let Some(login) = host.and_then(|host| host.login.clone()) else {
            return Err(unknown("the token's host is gone"));
        };
        match self.registry.account(&login).await? {
            Some(account) if account.enabled => Ok((account, name)),
            Some(_) | None => Err(unknown("the token's account is disabled")),
        }
    }
}
