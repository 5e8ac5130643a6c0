//! What an operator does with accounts and hosts while gateways run: each command's rules, as values. Knows nothing of
//! arguments, of output, and of the gateway, which hears of it through the store.

mod account;
mod admission;
mod declared;
mod error;
mod host;
mod moving;
mod view;

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::auth::secret;
use crate::config::Config;
use crate::model::{Hostname, PasswordDigest};
use crate::registry::Registry;
use crate::store::Store;

use declared::Declared;

pub use account::{AccountPages, Secret, Shown};
pub use error::{At, OperatorError};
pub use host::{Added, HostPages, NewHostOptions};
pub use moving::{Exported, Moved};
pub use view::{AccountView, HostView};

/// How long a command waits for a running gateway to do what it asked for.
const PATIENCE: Duration = Duration::from_secs(3);
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// The file's declarations and the store, open for commands.
#[derive(Debug)]
pub struct Operator {
    config: Config,
    file: PathBuf,
    store: Store,
    rules: Registry,
    declared: Declared,
}

/// What became of records that a command wants changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Records {
    /// Nothing was asked for.
    Untouched,
    /// A gateway has done it, and the primary has acknowledged it.
    Done,
    /// It waits for a gateway to start, or for its primary.
    Waiting,
}

impl Operator {
    /// Opens the store that `config`, read from `file`, names.
    ///
    /// # Errors
    /// [`OperatorError::Store`]
    pub async fn open(config: Config, file: &Path) -> Result<Self, OperatorError> {
        let store = Store::open(&config.store.location).await?;
        let (rules, declared) = (Registry::declared(&config), Declared::new(&config));
        Ok(Self { config, file: file.to_owned(), store, rules, declared })
    }

    /// Closes the store.
    pub async fn close(self) {
        self.store.close().await;
    }

    pub(super) async fn is_pending(&self, name: &Hostname) -> Result<bool, OperatorError> {
        Ok(!self.store.pending_of(std::slice::from_ref(name)).await?.is_empty())
    }

    /// Waits a moment for gateways to do what is wanted of `names`.
    async fn wait_for(&self, names: &[Hostname]) -> Result<Records, OperatorError> {
        let deadline = Instant::now() + PATIENCE;
        for name in names {
            while self.is_pending(name).await? {
                if Instant::now() >= deadline {
                    return Ok(Records::Waiting);
                }
                sleep(LOOK_AGAIN).await;
            }
        }
        Ok(if names.is_empty() { Records::Untouched } else { Records::Done })
    }
}

/// What stands for a chosen password, or for a secret that is made now and handed out this once.
fn make_secret(password: Option<&str>) -> Result<(Option<Secret>, PasswordDigest), OperatorError> {
    match password {
        Some(password) => {
            let phc = secret::hash(password)?;
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
