//! The configuration file, checked: every value here is right, every reference resolves. Knows nothing that runs.

mod account;
pub(crate) mod certificate;
pub(crate) mod dialects;
mod document;
mod endpoint;
mod engine;
pub(crate) mod file;
mod format;
#[cfg(any(fuzzing, test))]
pub mod fuzzing;
mod host;
mod key;
mod key_file;
mod listener;
mod network;
mod primary;
mod problem;
mod suggest;
mod zone;

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use secrecy::{ExposeSecret as _, SecretString};

use crate::model::{HostExtras, Hostname, PasswordDigest, TsigKey, ZoneName};

use account::check_accounts;
use dialects::check_dialects;
use engine::{check_acme, check_engine, check_limits, check_store};
use format::Document;
use host::check_hosts;
use key::Keys;
use listener::check_listeners;
use network::check_addresses;
use problem::Problems;
use zone::Zones;

pub use account::DEFAULT_MAX_HOSTS;
pub use endpoint::{Endpoint, Listener};
pub use engine::parse_duration;
pub use format::MAX_TTL;
pub(crate) use network::is_public;
pub use problem::{Errors, Position, Problem};

/// The largest file that is read, in octets: about a hundred thousand accounts.
const MAX_FILE: u64 = 16 * 1024 * 1024;

/// All of a `gateway.toml`.
#[derive(Debug, Clone)]
pub struct Config {
    /// `[http]`
    pub http: Http,
    /// `[admin]`
    pub admin: Admin,
    /// `[engine]`
    pub engine: Engine,
    /// `[limits]`
    pub limits: Limits,
    /// `[addresses] refuse`
    pub refuse: Vec<IpNet>,
    /// `[dialects]`
    pub dialects: Dialects,
    /// `[[zone]]`, each with its key.
    pub zones: Vec<Zone>,
    /// `[[account]]`
    pub accounts: Vec<Account>,
    /// `[[host]]`
    pub hosts: Vec<Host>,
    /// `[store]`
    pub store: Store,
    /// `[acme]`
    pub acme: Acme,
    /// The files that only their owner may write, and which secret only he may read in them.
    pub secret_files: Vec<(PathBuf, Option<&'static str>)>,
    /// SHA-256 over this file and those that it names: whether two programs have read the same.
    pub content: Vec<u8>,
}

impl Config {
    /// Reads and checks the file at `path`, and the key files that it names, relative to its folder.
    ///
    /// # Errors
    /// All that is wrong with it, in one list; or why it cannot be read.
    pub fn load(path: &Path) -> Result<Self, Errors> {
        let from = path.to_owned();
        file::in_time(path, move || Self::load_now(&from)).unwrap_or_else(|error| {
            let message = format!("this file, or one that it names, cannot be read: {error}");
            let help = "name files of this machine, or bring the server back".to_owned();
            Err(Problem { path: path.to_owned(), position: None, message, help }.into())
        })
    }

    fn load_now(path: &Path) -> Result<Self, Errors> {
        let text = file::read_text(path, MAX_FILE).map(SecretString::from).map_err(|error| {
            let help = format!("{}: --config or DYNGATE_CONFIG names the configuration", error.advice(path));
            Problem { path: path.to_owned(), position: None, message: error.message(), help }
        })?;
        Self::parse(text.expose_secret(), path)
    }

    /// Checks `text` as the content of the file at `path`; reads the key files that it names.
    pub fn parse(text: &str, path: &Path) -> Result<Self, Errors> {
        let mut problems = Problems::new(path, text);
        let config = document::read(text, &mut problems).map(|typed| Self::check(typed, &mut problems));
        let errors = problems.into_errors();
        config.filter(|_| errors.problems().is_empty()).ok_or(errors)
    }

    /// The zone of a name that is sent without one: where the file does not say, its only one that is no reverse zone.
    pub fn default_zone(&self) -> Option<&ZoneName> {
        let mut zones = self.zones.iter().map(|zone| &zone.name).filter(|zone| !zone.is_reverse());
        let only = zones.next().filter(|_| zones.next().is_none());
        self.dialects.default_zone.as_ref().or(only)
    }

    /// What was typed as what it means; right where no problem was found.
    fn check(typed: Document, problems: &mut Problems<'_>) -> Self {
        let (http, admin) = check_listeners(&typed.http, typed.tls.as_ref(), typed.admin.get_ref(), problems);
        let mut keys = Keys::check(&typed.keys, problems);
        let zones = Zones::check(&typed.zones, &mut keys, problems);
        let has_accounts = !typed.accounts.is_empty();
        let accounts = check_accounts(typed.accounts, &zones, problems);
        let (store, url_in) = check_store(typed.store, problems);
        let itself = || problems.path().to_owned();
        let keys = keys.into_files().into_iter().map(|file| (file, Some("the secret of a key")));
        let mut secret_files: Vec<_> = keys
            .chain(url_in.map(|file| (file, Some("the password of a database"))))
            .chain(has_accounts.then(|| (itself(), Some("what stands for the passwords of accounts"))))
            .chain(http.tls.iter().map(|tls| (tls.certificate.clone(), None)))
            .chain([(itself(), None)])
            .collect();
        secret_files.sort_by(|(one, _), (other, _)| one.cmp(other));
        secret_files.dedup_by(|(later, _), (first, _)| later == first);
        Self {
            http,
            admin,
            engine: check_engine(typed.engine.into_inner(), problems),
            limits: check_limits(typed.limits.into_inner(), problems),
            refuse: check_addresses(typed.addresses.into_inner(), problems),
            dialects: check_dialects(typed.dialects.get_ref(), &zones, problems),
            hosts: check_hosts(typed.hosts, &accounts, &zones, problems),
            accounts: accounts.checked,
            store,
            acme: check_acme(typed.acme.into_inner(), problems),
            zones: zones.checked,
            secret_files,
            content: problems.content(),
        }
    }
}

/// What routers reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Http {
    /// Listeners for plain HTTP; at least one, unless there is TLS.
    pub listen: Vec<Listener>,
    /// `[http.tls]`
    pub tls: Option<Tls>,
    /// Networks whose forwarding header is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Whether the forwarding header of a peer on a unix socket is believed.
    pub trusts_unix: bool,
    /// The one header that is read from them.
    pub client_address_header: ForwardingHeader,
    /// Connections at once from one IPv4 address or IPv6 /64; `None` is "off".
    pub connections_per_source: Option<u32>,
    /// A name of this gateway that has IPv4 addresses alone.
    pub ipv4_name: Option<Hostname>,
    /// A name of this gateway that has IPv6 addresses alone.
    pub ipv6_name: Option<Hostname>,
}

/// What routers reach with TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// Listeners for TLS, at least one.
    pub listen: Vec<Listener>,
    /// The certificate and those that signed it, in PEM.
    pub certificate: PathBuf,
    /// Its private key, in PEM.
    pub private_key: PathBuf,
}

/// The header in which a trusted proxy names its client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForwardingHeader {
    /// `X-Forwarded-For`
    XForwardedFor,
    /// `Forwarded` (RFC 7239)
    Forwarded,
}

/// Health and metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    /// Where; port 0 takes a free one.
    pub listen: SocketAddr,
}

/// Where accounts, hosts and what was seen of them are kept.
#[derive(Debug, Clone)]
pub enum Location {
    /// Nowhere: what the file declares is all there is, and nothing outlives the process.
    Memory,
    /// An SQLite file.
    Sqlite(PathBuf),
    /// A PostgreSQL database, by its URL, which may hold a password.
    Postgres(SecretString),
}

/// `[store]`
#[derive(Debug, Clone)]
pub struct Store {
    /// Where.
    pub location: Location,
    /// How long what was seen lately goes on working while the store is away.
    pub grace: Duration,
    /// How long the history of a host is kept.
    pub history: Duration,
}

/// The engine's two settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Engine {
    /// After it a request is answered `911`.
    pub deadline: Duration,
    /// How long the primary's last word on a host is taken for true.
    pub verify_interval: Duration,
    /// How long what a request asked for is worth doing after it was answered `911`; `None` is "off".
    pub defer: Option<Duration>,
}

/// Challenges by which a certificate authority has a host's name proven (RFC 8555 section 8.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acme {
    /// Whether each host's credential may write TXT at `_acme-challenge.HOST`.
    pub dns01: bool,
    /// How long a value stays that nobody removed.
    pub keep: Duration,
}

/// Burst and steady rate; `None` in [`Limits`] is "off".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// How many at once.
    pub burst: std::num::NonZeroU32,
    /// How many a minute from then on.
    pub per_minute: std::num::NonZeroU32,
}

/// `[limits]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Updates of one host that go to the primary.
    pub host: Option<Quota>,
    /// Hosts in one account's requests.
    pub account: Option<Quota>,
    /// Requests from one IPv4 address or IPv6 /64.
    pub source: Option<Quota>,
    /// Wrong passwords, per source and per login.
    pub failed_logins: Option<Quota>,
    /// The same address of one host, again: past it the host is answered `abuse`.
    pub repeats: Option<Quota>,
}

/// `[dialects]`
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dialects {
    /// The zone of a name that is sent without one; see [`Config::default_zone`].
    pub default_zone: Option<ZoneName>,
    /// The names of those that are not served.
    pub off: Vec<&'static str>,
    /// Whether an address that is given and empty asks for the removal of its family.
    pub empty_deletes: bool,
}

/// A zone that we change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone {
    /// Its apex.
    pub name: ZoneName,
    /// Writers of the same data, in order; at least one.
    pub primaries: Vec<Primary>,
    /// What its UPDATEs are signed with.
    pub key: TsigKey,
    /// TTL of records in seconds, unless a host says otherwise.
    pub ttl: u32,
    /// Networks that `refuse` covers and this zone may have.
    pub allow: Vec<IpNet>,
    /// Names that no wildcard grant covers.
    pub protect: Vec<Hostname>,
    /// Our own address towards the primaries.
    pub source: Option<IpAddr>,
}

/// A primary as the file names it; a host name is looked up at each new connection.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Primary {
    /// An address (IPv6 without brackets) or a host name.
    pub host: String,
    /// The port, 53 unless said.
    pub port: u16,
}

/// Someone who may update.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The user name.
    pub login: String,
    /// What stands for the password.
    pub secret: PasswordDigest,
    /// Names granted exactly.
    pub hosts: Vec<Hostname>,
    /// Names below which everything is granted: the part after `*.`.
    pub wildcards: Vec<ZoneName>,
    /// Distinct names that the wildcard grants may bring into being.
    pub max_hosts: u32,
}

/// Settings of one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// Its name.
    pub name: Hostname,
    /// Its TTL in seconds, in place of the zone's.
    pub ttl: Option<u32>,
    /// What few hosts have.
    pub extras: HostExtras,
}

impl std::fmt::Display for Primary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}
