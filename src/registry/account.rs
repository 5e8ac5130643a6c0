//! An account and a host as the gateway sees them, wherever they are kept.

use std::collections::HashSet;
use std::sync::Arc;

use subtle::ConstantTimeEq as _;

use crate::config;
use crate::model::{Families, HostExtras, Hostname, PasswordDigest, Timestamp, TokenDigest, ZoneName};
use crate::store::{StoredAccount, StoredHost, StoredSecret};

/// Someone who may update.
#[derive(Debug, Clone)]
pub struct Account {
    /// The user name.
    pub login: Arc<str>,
    /// Whether the configuration file declares it: no command changes it then.
    pub(crate) is_declared: bool,
    /// Whether its credentials open anything.
    pub(crate) enabled: bool,
    /// What stands for its passwords, newest first.
    pub(super) secrets: Vec<StoredSecret>,
    /// Names that the file grants exactly; those of the store are [`Host`]s.
    pub(super) exact: HashSet<Hostname>,
    /// Names below which everything is granted.
    pub(crate) wildcards: Vec<ZoneName>,
    /// Distinct names that the wildcard grants may bring into being.
    pub(crate) max_hosts: u32,
    pub(super) created: Timestamp,
}

#[derive(Debug, Clone)]
pub(crate) struct Host {
    /// Whose it is; `None` where the file declares it, whose accounts name their hosts themselves.
    pub(crate) login: Option<Arc<str>>,
    /// In seconds, in place of the zone's.
    pub(crate) ttl: Option<u32>,
    /// Which addresses it may have.
    pub(crate) families: Families,
    /// Why an operator has blocked it.
    pub(crate) blocked: Option<String>,
    /// What few hosts have; apart, so that the others stay small.
    pub(crate) more: Option<Arc<HostMore>>,
}

/// What few hosts have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct HostMore {
    pub(crate) extras: HostExtras,
    /// The hosts that take its prefix, in their order; at most [`crate::model::MAX_FOLLOWERS`].
    pub(crate) followers: Vec<Hostname>,
}

impl Account {
    pub(super) fn declared(account: &config::Account) -> Self {
        Self {
            login: account.login.as_str().into(),
            is_declared: true,
            enabled: true,
            secrets: vec![StoredSecret { digest: account.secret.clone(), expires: None }],
            exact: account.hosts.iter().cloned().collect(),
            wildcards: account.wildcards.clone(),
            max_hosts: account.max_hosts,
            created: Timestamp(0),
        }
    }

    pub(super) fn stored(account: StoredAccount) -> Self {
        Self {
            login: account.login,
            is_declared: false,
            enabled: account.enabled,
            secrets: account.secrets,
            exact: HashSet::new(),
            wildcards: account.wildcards,
            max_hosts: account.max_hosts,
            created: account.created,
        }
    }

    /// What its password is held against now: nothing where it is disabled.
    pub(crate) fn secrets(&self) -> Vec<PasswordDigest> {
        let now = Timestamp::now();
        let in_force = |secret: &&StoredSecret| self.enabled && secret.expires.is_none_or(|expires| now < expires);
        self.secrets.iter().filter(in_force).map(|secret| secret.digest.clone()).collect()
    }

    /// Whether a generated secret with this digest opens it now.
    pub(crate) fn is_opened_by(&self, digest: &TokenDigest) -> bool {
        self.secrets().iter().any(|secret| match secret {
            PasswordDigest::Sha256(octets) => octets.ct_eq(&digest.0).into(),
            PasswordDigest::Argon2id(_) => false,
        })
    }

    /// The names that the file grants it exactly and that come after `after`, in their order.
    pub(crate) fn names(&self, after: Option<&Hostname>) -> Vec<&Hostname> {
        let mut names: Vec<_> = self.exact.iter().filter(|name| after.is_none_or(|after| *name > after)).collect();
        names.sort_unstable();
        names
    }
}

impl Host {
    pub(super) fn declared(host: &config::Host, followers: Vec<Hostname>) -> Self {
        let more = HostMore::of(host.extras.clone(), followers);
        Self { login: None, ttl: host.ttl, families: Families::Both, blocked: None, more }
    }

    /// A name that the file grants and whose only setting is that it leads.
    pub(super) fn leader(followers: Vec<Hostname>) -> Self {
        let more = HostMore::of(HostExtras::default(), followers);
        Self { login: None, ttl: None, families: Families::Both, blocked: None, more }
    }

    /// What few hosts have, if this one has any of it.
    pub(crate) fn extras(&self) -> Option<&HostExtras> {
        self.more.as_deref().map(|more| &more.extras)
    }

    /// The host whose prefix it takes.
    pub(crate) fn follows(&self) -> Option<&Hostname> {
        self.more.as_deref()?.extras.follow.as_ref()
    }

    pub(super) fn stored((host, followers): (StoredHost, Vec<Hostname>)) -> Self {
        let more = HostMore::of(host.extras, followers);
        Self { login: Some(host.login), ttl: host.ttl, families: host.families, blocked: host.blocked, more }
    }

    /// Whether its IPv6 address is made of a prefix, which perhaps another host reports.
    pub(super) fn is_composed(&self) -> bool {
        let extras = self.more.as_ref().map(|more| &more.extras);
        extras.is_some_and(|extras| extras.follow.is_some() || extras.interface_id.is_some())
    }
}

impl HostMore {
    fn of(extras: HostExtras, followers: Vec<Hostname>) -> Option<Arc<Self>> {
        let more = Self { extras, followers };
        (more != Self::default()).then(|| Arc::new(more))
    }
}
