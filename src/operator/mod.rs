//! Administration as a service: accounts and hosts, each rule once, each refusal a value with a kind, each list in pages.
//! Knows nothing of arguments, of HTTP, and of the gateway, which hears of a change through the store.

mod account;
mod error;
mod host;
mod moving;
mod primaries;
mod view;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::zeroize::Zeroizing;
use tokio::time::{Instant, sleep};

use crate::auth::secret;
use crate::config::{Config, Zone};
use crate::model::{Hostname, NameError, PasswordDigest, ZoneName, listed};
use crate::registry::Declared;
use crate::store::{Store, StoredSecret};

use primaries::Primaries;

pub use account::NewAccountOptions;
pub use error::{OperatorError, RefusalKind, Resource, Result};
pub use host::NewHostOptions;
pub use view::{AccountView, EventView, ExportView, HostView, ImportView, SecretView, TokenView};

/// A secret that is handed out this once.
pub type Secret = Zeroizing<String>;

/// The most items of a page.
pub const PAGE: usize = 500;

/// How long a change of records is waited for, for a running gateway to do it.
const DONE_WITHIN: Duration = Duration::from_secs(3);
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// Zones that an error names, and grants that a line of the log does.
const SHOWN: usize = 5;

/// What may be done with accounts and hosts under one configuration.
#[derive(Debug)]
pub struct Operator {
    config: Config,
    file: PathBuf,
    declared: Declared,
    store: Store,
    dns: Primaries,
}

/// What is to be done with the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// It is only read: not made, not brought to this version, not changed.
    Read,
    /// Whatever a command may do.
    Write,
}

/// Who does it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    /// Somebody at this machine, with a command.
    Command {
        /// The user that the command runs as.
        uid: u32,
        /// Who became that user with sudo.
        sudo_user: Option<String>,
    },
}

/// Items in their order, and where the next ones are.
#[derive(Debug)]
pub struct Page<T> {
    /// At most as many as were asked for.
    pub items: Vec<T>,
    /// Where the list goes on; `None` after its end.
    pub next: Option<Cursor>,
}

/// A place in a list, between two items: what is added or removed elsewhere meanwhile does not move it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cursor {
    part: Part,
    after: Option<String>,
}

/// The parts of a list, which follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Part {
    #[default]
    Declared,
    Stored,
    BelowWildcards,
}

/// What becomes of records that a change concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordsState {
    /// Nothing was asked for.
    Untouched,
    /// A gateway has done it, and the primary has acknowledged it.
    Done,
    /// It waits for a gateway to start, or for its primary.
    Pending,
}

/// What a grant is spelled as.
#[derive(Debug, Clone, PartialEq, Eq)]
enum GrantText {
    Name(Hostname),
    Below(ZoneName),
}

impl Operator {
    /// Opens the store that `config`, read from `file`, names.
    pub async fn open(config: Config, file: &Path, access: Access) -> Result<Self> {
        let store = match access {
            Access::Read => Store::open_read_only(&config.store.location).await?,
            Access::Write => Store::open(&config.store.location).await?,
        };
        let (declared, dns) = (Declared::new(&config), Primaries::new(config.engine.deadline));
        Ok(Self { config, file: file.to_owned(), declared, store, dns })
    }

    /// Closes the store.
    pub async fn close(self) {
        self.store.close().await;
    }

    pub(super) async fn is_pending(&self, name: &Hostname) -> Result<bool> {
        Ok(!self.store.pending().of(std::slice::from_ref(name)).await?.is_empty())
    }

    /// Waits a moment for gateways to do what is wanted of `names`.
    async fn wait_for(&self, names: &[Hostname]) -> Result<RecordsState> {
        let deadline = Instant::now() + DONE_WITHIN;
        for name in names {
            while self.is_pending(name).await? {
                if Instant::now() >= deadline {
                    return Ok(RecordsState::Pending);
                }
                sleep(LOOK_AGAIN).await;
            }
        }
        Ok(if names.is_empty() { RecordsState::Untouched } else { RecordsState::Done })
    }

    /// Refuses what the file declares; `advice` says what to do there.
    fn must_not_declare_account(&self, login: &str, advice: &str) -> Result<()> {
        match self.declared.account(login) {
            None => Ok(()),
            Some(_) => Err(self.is_declared(format!("account {login:?}"), advice)),
        }
    }

    /// Refuses what the file declares; `advice` says what to do there.
    fn must_not_declare_host(&self, name: &Hostname, advice: &str) -> Result<()> {
        let Some(declared) = self.declared.name(name) else { return Ok(()) };
        let what = match declared.owners.first() {
            Some(owner) => format!("host {name} of account {owner:?}"),
            None => format!("host {name}"),
        };
        Err(self.is_declared(what, advice))
    }

    fn is_declared(&self, what: String, advice: &str) -> OperatorError {
        OperatorError::Declared { what, file: self.file.clone(), advice: advice.to_owned() }
    }

    /// A name that one host may have.
    fn host_name(&self, text: &str) -> Result<Hostname> {
        match GrantText::parse(text)? {
            GrantText::Name(name) => Ok(name),
            GrantText::Below(above) => Err(OperatorError::Wildcard(format!("*.{above}"))),
        }
    }

    fn zone_of(&self, name: &Hostname) -> Result<&Zone> {
        let apex = self.declared.zone_of(name);
        let zone = apex.and_then(|apex| self.config.zones.iter().find(|zone| zone.name == *apex));
        zone.ok_or_else(|| self.no_zone(name.to_string()))
    }

    fn no_zone(&self, name: String) -> OperatorError {
        let zones: Vec<_> = self.config.zones.iter().map(|zone| zone.name.as_str()).collect();
        OperatorError::NoZone { name, file: self.file.clone(), zones: listed(&zones, SHOWN) }
    }

    /// Those of `names`, sorted, that `login` does not have yet and may have, as far as the file and the store know.
    async fn new_to(&self, login: &str, names: Vec<Hostname>) -> Result<Vec<Hostname>> {
        for name in &names {
            self.zone_of(name)?;
            self.must_not_declare_host(name, "remove it there before it becomes a host of the store")?;
        }
        let mut new = names;
        let mut taken: Vec<_> = self.store.owners(&new).await?;
        taken.sort_unstable();
        if let Some((name, owner)) = taken.iter().find(|(_, owner)| owner != login) {
            return Err(OperatorError::Taken { name: name.clone(), owner: owner.clone() });
        }
        new.retain(|name| taken.binary_search_by(|(taken, _)| taken.cmp(name)).is_err());
        Ok(new)
    }

    /// Asks the primaries of the names' zones whether each would be served, and holds no address that nobody shall `adopt`.
    async fn must_be_free(&self, names: &[Hostname], adopt: bool) -> Result<()> {
        let zoned = names.iter().map(|name| Ok((self.zone_of(name)?, name))).collect::<Result<Vec<_>>>()?;
        match self.dns.must_be_free(zoned, adopt).await {
            Err(OperatorError::Occupied { name, addresses, .. }) => {
                let leaving = self.is_pending(&name).await?;
                let user = self.store.reservations().first_account_of(&name).await?;
                Err(OperatorError::Occupied { name, addresses, leaving, user })
            }
            answer => answer,
        }
    }

    /// Has the gateways log that `actor` did it, which is done whether or not they hear of it.
    async fn done(&self, actor: &Actor, action: &'static str, subject: impl fmt::Display) {
        let _heard = self.store.announce(action, &subject.to_string(), &actor.to_string()).await;
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Command { uid, sudo_user } = self;
        write!(f, "command line: ")?;
        if let Some(user) = sudo_user {
            write!(f, "{user} as ")?;
        }
        match unix_user(*uid) {
            Some(name) => write!(f, "{name} (uid {uid})"),
            None => write!(f, "uid {uid}"),
        }
    }
}

/// As passwd(5) names it; other directories of users are not asked.
fn unix_user(uid: u32) -> Option<String> {
    let users = std::fs::read_to_string("/etc/passwd").ok()?;
    let mut users = users.lines().map(|line| line.split(':').collect::<Vec<_>>());
    users.find_map(|user| match user[..] {
        [name, _, id, ..] if id.parse() == Ok(uid) => Some(name.to_owned()),
        _ => None,
    })
}

impl Cursor {
    fn begin(part: Part) -> Self {
        Self { part, after: None }
    }

    fn after(part: Part, key: impl ToString) -> Self {
        Self { part, after: Some(key.to_string()) }
    }

    fn name(&self) -> Result<Option<Hostname>> {
        let parse =
            |text: &String| Hostname::parse(text).map_err(|why| OperatorError::BadName { text: text.clone(), why });
        self.after.as_ref().map(parse).transpose()
    }
}

impl GrantText {
    fn parse(text: &str) -> Result<Self> {
        let bad = |why: NameError| OperatorError::BadName { text: text.to_owned(), why };
        match text.strip_prefix("*.") {
            Some(above) => ZoneName::parse(above).map(Self::Below).map_err(bad),
            None => Hostname::parse(text).map(Self::Name).map_err(bad),
        }
    }
}

/// What stands for a chosen password, or for a secret that is made now and handed out this once.
/// One that is chosen serves `beside` others for a while.
fn make_secret(password: Option<&str>, beside: &[StoredSecret]) -> Result<(Option<Secret>, PasswordDigest)> {
    match password {
        Some(password) => {
            let chosen = beside.iter().find_map(|other| match &other.digest {
                PasswordDigest::Argon2id(phc) => Some(phc),
                PasswordDigest::Sha256(_) => None,
            });
            let phc = chosen.map_or_else(|| secret::hash(password), |other| secret::hash_beside(password, other))?;
            let digest = PasswordDigest::parse(&phc).map_err(|_| OperatorError::Hash)?;
            Ok((None, digest))
        }
        None => {
            let secret = secret::generate()?;
            let digest = secret::digest_of(&secret);
            Ok((Some(secret), digest))
        }
    }
}
