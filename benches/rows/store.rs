//! A store for a gateway of the bench: SQLite's file, or a PostgreSQL on the same cores; filled by `dyngate import`.

use std::fmt;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::process::{Command, Stdio};

use lab::{Postgres, digest};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::Failure;

/// When all was made and seen, in milliseconds since the epoch.
pub(crate) const SEEN: u64 = 1_700_000_000_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Database {
    Sqlite,
    Postgres,
}

impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sqlite => "SQLite",
            Self::Postgres => "PostgreSQL",
        })
    }
}

/// An empty store at first; gone when dropped.
pub(crate) struct Store {
    postgres: Option<Postgres>,
    folder: TempDir,
}

impl Store {
    pub(crate) async fn new(database: Database) -> Result<Self, Failure> {
        let postgres = match database {
            Database::Sqlite => None,
            Database::Postgres => Some(Postgres::durable().await?),
        };
        Ok(Self { postgres, folder: TempDir::with_prefix("dyngate-bench-")? })
    }

    /// The section of gateway.toml.
    pub(crate) fn section(&self) -> String {
        let file = || format!("sqlite:{}", self.folder.path().join("dyngate.db").display());
        format!("[store]\nurl = \"{}\"\n", self.postgres.as_ref().map_or_else(file, Postgres::url))
    }

    /// The process of a server.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.postgres.as_ref().and_then(Postgres::pid)
    }

    /// Fills it through a gateway.toml that has its section.
    pub(crate) async fn import(&self, config: &str, lines: impl Iterator<Item = Value>) -> Result<(), Failure> {
        let (file, export) = (self.folder.path().join("gateway.toml"), self.folder.path().join("export.jsonl"));
        std::fs::write(&file, config)?;
        let mut writer = BufWriter::new(File::create(&export)?);
        let first = json!({ "kind": "dyngate-export", "version": 1 });
        for line in std::iter::once(first).chain(lines) {
            serde_json::to_writer(&mut writer, &line)?;
            writer.write_all(b"\n")?;
        }
        writer.flush()?;
        let mut import = Command::new(env!("CARGO_BIN_EXE_dyngate"));
        import.arg("import").arg(&export).arg("--config").arg(&file).stdout(Stdio::null());
        let done = tokio::task::spawn_blocking(move || import.status()).await??;
        if !done.success() {
            return Err(format!("dyngate import ended with {done}").into());
        }
        Ok(std::fs::remove_file(&export)?)
    }
}

/// The line of an account in an export.
pub(crate) fn account_line(login: &str, secret: &str, wildcards: &[String]) -> Value {
    json!({
        "kind": "account", "login": login, "secrets": [{ "digest": digest(secret), "expires": null }],
        "wildcards": wildcards, "max_hosts": 1_000_000, "enabled": true, "created": SEEN,
    })
}

/// The line of a host in an export.
pub(crate) fn host_line(name: &str, login: &str) -> Value {
    json!({
        "kind": "host", "name": name, "account": login, "ttl": null, "families": "46",
        "description": "", "blocked": null, "created": SEEN,
    })
}
