//! A fresh store for a test, on either database, and short ways to say what is put into it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use dyngate::config::Location;
use dyngate::model::{DesiredRecords, Families, Hostname, PasswordDigest, ZoneName};
use dyngate::store::{Calls, NameRequest, NewAccount, NewHost, Reserved, Seen, Store};
use tempfile::TempDir;

/// Runs each of these functions as a test on SQLite and as one on PostgreSQL.
macro_rules! on_both {
    ($($test:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test]
            async fn $test() {
                super::$test(&$crate::stage::Stage::sqlite().await).await;
            })*
        }
        mod postgres {
            $(#[tokio::test]
            async fn $test() {
                super::$test(&$crate::stage::Stage::postgres().await).await;
            })*
        }
    };
}
pub(crate) use on_both;

/// Longer than a busy machine keeps news back, shorter than the suite lets a test run.
pub(crate) const MINUTE: Duration = Duration::from_secs(60);

/// A fresh store.
pub(crate) struct Stage {
    pub(crate) store: Store,
    pub(crate) location: Location,
    pub(crate) server: Option<lab::Postgres>,
    pub(crate) folder: TempDir,
}

impl Stage {
    pub(crate) async fn sqlite() -> Self {
        let folder = folder();
        let location = Location::Sqlite(folder.path().join("store.db"));
        let store = Store::open(&location).await.expect("a store in a fresh file");
        Self { store, location, server: None, folder }
    }

    pub(crate) async fn postgres() -> Self {
        let server = lab::Postgres::start().await.expect("a PostgreSQL");
        let location = Location::Postgres(server.url().into());
        let store = Store::open(&location).await.expect("a store in a fresh database");
        Self { store, location, server: Some(server), folder: folder() }
    }

    /// The same store once more, as another process would open it.
    pub(crate) async fn again(&self) -> Store {
        Store::open(&self.location).await.expect("the same store")
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.folder.path().join("store.db")
    }

    /// SQL past the store.
    pub(crate) async fn sql(&self, sql: &str) -> String {
        match &self.server {
            Some(server) => server.sql("dyngate", sql).await.expect("psql"),
            None => sqlite(&self.file(), sql),
        }
    }

    /// Reserves names below wildcards, each `FIRST.dyn.example`, or as many as the account may have.
    pub(crate) async fn reserve(&self, login: &str, firsts: &[&str], most: u32) -> Vec<Reserved> {
        reserve(&self.store, login, firsts, most).await
    }

    /// An account with these hosts.
    pub(crate) async fn account(&self, login: &str, hosts: &[&str]) {
        let hosts: Vec<_> = hosts.iter().map(|host| new_host(host, login)).collect();
        self.store.add_account(&new_account(login), &hosts).await.expect("an account");
    }
}

/// See [`Stage::reserve`].
pub(crate) async fn reserve(store: &Store, login: &str, firsts: &[&str], most: u32) -> Vec<Reserved> {
    let request = |first: &&str| NameRequest { login: login.into(), name: below(first), most };
    store
        .reservations()
        .reserve(&[], &firsts.iter().map(request).collect::<Vec<_>>())
        .await
        .expect("an answer for each")
}

pub(crate) fn below(first: &str) -> Hostname {
    name(&format!("{first}.dyn.example"))
}

/// What sqlite3 prints.
pub(crate) fn sqlite(file: &std::path::Path, sql: &str) -> String {
    let ran = std::process::Command::new("sqlite3").arg(file).arg(sql).output().expect("apt-get install sqlite3");
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    String::from_utf8(ran.stdout).expect("text")
}

pub(crate) fn folder() -> TempDir {
    TempDir::with_prefix("dyngate-store-").expect("a folder")
}

pub(crate) fn name(text: &str) -> Hostname {
    Hostname::parse(text).expect("a name")
}

pub(crate) fn zone(text: &str) -> ZoneName {
    ZoneName::parse(text).expect("a name")
}

pub(crate) fn digest(octet: u8) -> PasswordDigest {
    PasswordDigest::Sha256([octet; 32])
}

pub(crate) fn new_account(login: &str) -> NewAccount {
    NewAccount { login: login.to_owned(), secret: digest(1), max_hosts: 100, wildcards: Vec::new() }
}

pub(crate) fn new_host(host: &str, login: &str) -> NewHost {
    let description = String::new();
    NewHost { name: name(host), login: login.to_owned(), ttl: None, families: Families::Both, description }
}

pub(crate) fn seen(host: &str, at: i64) -> Seen {
    Seen {
        name: name(host),
        at: dyngate::model::Timestamp(at),
        outcome: "unchanged",
        source: "203.0.113.9".parse().ok(),
        agent: Some("ddclient/3.10.0".to_owned()),
        change: None,
        held: DesiredRecords::default(),
        settled: [None; 2],
    }
}

/// What a gateway has collected when it records.
pub(crate) fn together(seen: &[Seen]) -> BTreeMap<Hostname, Calls> {
    let mut together: BTreeMap<_, Calls> = BTreeMap::new();
    for seen in seen {
        let calls = Calls::from(seen.clone());
        match together.get_mut(&seen.name) {
            Some(others) => others.absorb(calls, usize::MAX),
            None => drop(together.insert(seen.name.clone(), calls)),
        }
    }
    together
}
