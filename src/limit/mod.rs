//! How often something may happen: one limiter a rule, each keyed, capped and swept. Knows nothing of HTTP.

mod concurrent;
mod limiter;
mod repeats;
mod store;

use std::net::IpAddr;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use crate::config::{self, Quota};
use crate::metrics::{LimitKind, Metrics};
use crate::model::{Addresses, Hostname, SourcePrefix, SourceTier};

use limiter::Limiter;
use repeats::Repeats;

pub(crate) use concurrent::{Concurrent, Counted};

/// The limits of the contract; one that is `"off"` never refuses and keeps nothing.
///
/// Each refusal is counted in `dyngate_rate_limited_total`. An error is the time until it may be allowed,
/// a lower bound: others may take what comes free.
#[derive(Debug)]
pub struct Limits {
    // Shared by the configurations before and after a reload, so that nothing that is counted is lost.
    rules: RwLock<LimitRules>,
    // Passwords that are being hashed, by where they came from.
    undecided: Concurrent,
    metrics: Metrics,
}

#[derive(Debug)]
struct LimitRules {
    host: Option<Limiter>,
    account: Option<Limiter>,
    source: Option<PerSource>,
    failed_logins: Option<FailedLogins>,
    repeats: Option<Repeats>,
}

/// One limiter a tier, each with its factor of the quota: the `source` limit, and that side of `failed_logins`.
#[derive(Debug)]
struct PerSource([Limiter; SourceTier::ALL.len()]);

/// The `failed_logins` limit, once for each side of it.
#[derive(Debug)]
struct FailedLogins {
    source: PerSource,
    login: Limiter,
}

impl Limits {
    /// The limits as the file states them, nobody having used any yet.
    pub fn new(config: &config::Limits, metrics: Metrics) -> Self {
        let rules = LimitRules { host: None, account: None, source: None, failed_logins: None, repeats: None };
        let limits = Self { rules: RwLock::new(rules), undecided: Concurrent::default(), metrics };
        limits.set(config);
        limits
    }

    /// Takes other numbers: what is used up stays used up. A limit that is lifted forgets.
    pub(crate) fn set(&self, config: &config::Limits) {
        let mut rules = self.rules.write().unwrap_or_else(PoisonError::into_inner);
        let LimitRules { host, account, source, failed_logins, repeats } = &mut *rules;
        renew(host, config.host, Limiter::new, Limiter::with);
        renew(account, config.account, Limiter::new, Limiter::with);
        renew(source, config.source, PerSource::new, PerSource::with);
        renew(failed_logins, config.failed_logins, FailedLogins::new, FailedLogins::with);
        renew(repeats, config.repeats, Repeats::new, Repeats::with);
    }

    fn rules(&self) -> RwLockReadGuard<'_, LimitRules> {
        self.rules.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts one request from `address`.
    pub fn source(&self, address: IpAddr) -> Result<(), Duration> {
        let verdict = self.rules().source.as_ref().map_or(Ok(()), |sources| sources.take(address));
        self.counted(LimitKind::Source, verdict)
    }

    /// Counts `hosts` hosts of a request of the account `login`; more than the burst count as the burst, or they could
    /// never be served. A refusal counts nothing.
    pub(crate) fn account(&self, login: &str, hosts: u32) -> Result<(), Duration> {
        let verdict = self.rules().account.as_ref().map_or(Ok(()), |limiter| limiter.take(login, hosts));
        self.counted(LimitKind::Account, verdict)
    }

    /// Counts one update of `name` that goes to the primary.
    pub(crate) fn host(&self, name: &Hostname) -> Result<(), Duration> {
        let verdict = self.rules().host.as_ref().map_or(Ok(()), |limiter| limiter.take(name.as_str(), 1));
        self.counted(LimitKind::Host, verdict)
    }

    /// Whether `failed_logins` lets a new password of `login` from `source` be hashed; takes nothing from either.
    ///
    /// `undecided` is how many passwords of this login are being hashed already; those of the source are the guesses that
    /// were let through and not dropped. All of them may turn out wrong, and without them a hundred guesses sent at once would
    /// count as one. So a guess is to be dropped once its failure is counted.
    pub(crate) fn may_hash(&self, source: IpAddr, login: &str, undecided: u32) -> Result<Counted, Duration> {
        let guess = self.undecided.add(source);
        let verdict = self.rules().failed_logins.as_ref().map_or(Ok(()), |failed| {
            let of_source = failed.source.look(source, guess.numbers);
            let of_login = failed.login.look(login, undecided.saturating_add(1));
            match (of_source, of_login) {
                (Err(one), Err(other)) => Err(one.max(other)),
                (one, other) => one.and(other),
            }
        });
        self.counted(LimitKind::FailedLogins, verdict).map(|()| guess)
    }

    /// Counts a wrong password of `login` from `source`.
    pub(crate) fn failed_login(&self, source: IpAddr, login: &str) {
        if let Some(failed) = &self.rules().failed_logins {
            // Where nothing is left there is nothing to take: `may_hash` refuses already.
            let _exhausted = failed.login.take(login, 1);
            failed.source.count(source);
        }
    }

    /// Whether `name` may be answered once more that it has `addresses`; counts nothing.
    pub(crate) fn may_repeat(&self, name: &Hostname, addresses: Addresses) -> Result<(), Duration> {
        let verdict = self.rules().repeats.as_ref().map_or(Ok(()), |repeats| repeats.look(name, addresses));
        self.counted(LimitKind::Repeats, verdict)
    }

    /// Notes that `name` was answered that it has `addresses`; counts it where that was its last answer.
    pub(crate) fn answered(&self, name: &Hostname, addresses: Addresses) {
        if let Some(repeats) = &self.rules().repeats {
            repeats.answered(name, addresses);
        }
    }

    /// Notes that a request for `name` failed on our side: its next one is no repeat, whatever it asks for.
    pub(crate) fn failed(&self, name: &Hostname) {
        if let Some(repeats) = &self.rules().repeats {
            repeats.failed(name);
        }
    }

    fn counted(&self, limit: LimitKind, verdict: Result<(), Duration>) -> Result<(), Duration> {
        if verdict.is_err() {
            self.metrics.rate_limited(limit);
        }
        verdict
    }
}

/// Makes `rule` what `quota` says, with what it has counted.
fn renew<R>(rule: &mut Option<R>, quota: Option<Quota>, new: fn(Quota) -> R, with: fn(R, Quota) -> R) {
    *rule = match (rule.take(), quota) {
        (Some(old), Some(quota)) => Some(with(old, quota)),
        (None, Some(quota)) => Some(new(quota)),
        (_, None) => None,
    };
}

impl FailedLogins {
    fn new(quota: Quota) -> Self {
        Self { source: PerSource::new(quota), login: Limiter::new(quota) }
    }

    fn with(self, quota: Quota) -> Self {
        Self { source: self.source.with(quota), login: self.login.with(quota) }
    }
}

impl PerSource {
    fn new(quota: Quota) -> Self {
        Self(SourceTier::ALL.map(|tier| Limiter::new(times(quota, tier.factor))))
    }

    fn with(self, quota: Quota) -> Self {
        let mut tiers = SourceTier::ALL.into_iter();
        Self(self.0.map(|limiter| match tiers.next() {
            Some(tier) => limiter.with(times(quota, tier.factor)),
            None => limiter,
        }))
    }

    fn tiers(&self, source: IpAddr) -> impl Iterator<Item = (&Limiter, SourcePrefix)> {
        self.0.iter().zip(SourcePrefix::around(source))
    }

    /// Whether each tier has so many for `source`; takes nothing.
    fn look(&self, source: IpAddr, counts: [u32; SourceTier::ALL.len()]) -> Result<(), Duration> {
        self.tiers(source).zip(counts).try_for_each(|((limiter, network), count)| limiter.look(&network, count))
    }

    /// All must agree, and are asked before anything is taken: a /64 that floods and is refused leaves the /48 to its
    /// neighbours, and a network that is refused as a whole costs its single customers nothing. Between the question
    /// and the taking another thread may take the last of a wider network; then this request loses what the
    /// narrower ones gave, narrowest first so that it is its own.
    fn take(&self, source: IpAddr) -> Result<(), Duration> {
        self.look(source, [1; SourceTier::ALL.len()])?;
        self.tiers(source).try_for_each(|(limiter, network)| limiter.take(&network, 1))
    }

    /// Counts one in each tier that has any left.
    fn count(&self, source: IpAddr) {
        for (limiter, network) in self.tiers(source) {
            let _exhausted = limiter.take(&network, 1);
        }
    }
}

fn times(quota: Quota, factor: u32) -> Quota {
    let factor = std::num::NonZeroU32::MIN.saturating_add(factor.saturating_sub(1));
    Quota { burst: quota.burst.saturating_mul(factor), per_minute: quota.per_minute.saturating_mul(factor) }
}

#[cfg(test)]
mod tests;
