//! Who only reads makes nothing, brings nothing to this version, and changes nothing.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use dyngate::config::Location;
use dyngate::store::{Store, StoreError};

use crate::pending::turn_back;
use crate::stage::{Stage, folder, name, new_account, on_both};

on_both!(a_reader_changes_nothing, a_reader_leaves_an_older_schema_as_it_is);

async fn a_reader_changes_nothing(stage: &Stage) {
    stage.account("a", &["home.dyn.example"]).await;
    let reader = Store::open_read_only(&stage.location).await.unwrap();
    let home = reader.host(&name("home.dyn.example")).await.unwrap().unwrap();
    assert_eq!(&*home.login, "a");
    let mut export = reader.export().await.unwrap();
    while export.next().await.unwrap().is_some() {}
    let refused = reader.set_enabled("a", false).await.unwrap_err();
    assert!(matches!(refused, StoreError::ReadOnly { .. }), "{refused}");
    reader.close().await;
    assert!(stage.store.account("a").await.unwrap().unwrap().enabled);
}

async fn a_reader_leaves_an_older_schema_as_it_is(stage: &Stage) {
    turn_back(stage).await;
    let refused = Store::open_read_only(&stage.location).await.unwrap_err();
    assert!(matches!(refused, StoreError::Older { found: 4, .. }), "{refused}");
    assert!(refused.to_string().contains("restart the gateway"), "{refused}");
    assert_eq!(stage.sql("SELECT MAX(version) FROM dyngate_migrations").await.trim(), "4");
    stage.sql("UPDATE dyngate_migrations SET version = 70 WHERE version = 4").await;
    let refused = Store::open_read_only(&stage.location).await.unwrap_err();
    assert!(matches!(refused, StoreError::Newer { found: 70, .. }), "{refused}");
}

#[tokio::test]
async fn a_database_without_a_store_gets_none_from_a_reader() {
    let server = lab::Postgres::start().await.unwrap();
    let refused = Store::open_read_only(&Location::Postgres(server.url().into())).await.unwrap_err();
    assert!(matches!(refused, StoreError::Missing(_)), "{refused}");
    assert_eq!(
        server.sql("dyngate", "SELECT COUNT(*) FROM pg_tables WHERE schemaname = 'public'").await.unwrap().trim(),
        "0"
    );
}

fn octets(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
    entries.map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())).collect()
}

#[tokio::test]
async fn a_folder_is_to_a_reader_as_it_was() {
    let folder = folder();
    let path = folder.path().join("store.db");
    let location = Location::Sqlite(path.clone());
    let refused = Store::open_read_only(&location).await.unwrap_err();
    assert!(refused.to_string().starts_with(&format!("there is no store at {} yet: ", path.display())), "{refused}");
    assert!(octets(folder.path()).is_empty());
    fs::write(&path, "").unwrap();
    let refused = Store::open_read_only(&location).await.unwrap_err();
    assert!(matches!(refused, StoreError::Missing(_)), "{refused}");
    assert_eq!(octets(folder.path()), BTreeMap::from([("store.db".to_owned(), Vec::new())]));

    let store = Store::open(&location).await.unwrap();
    store.add_account(&new_account("a"), &[]).await.unwrap();
    // As a crash leaves it: with a log that was not folded in.
    let crashed = folder.path().join("crashed");
    fs::create_dir(&crashed).unwrap();
    for file in ["store.db", "store.db-wal"] {
        fs::copy(folder.path().join(file), crashed.join(file)).unwrap();
    }
    store.close().await;
    let before = octets(&crashed);
    let reader = Store::open_read_only(&Location::Sqlite(crashed.join("store.db"))).await.unwrap();
    assert!(reader.account("a").await.unwrap().is_some());
    reader.close().await;
    let mut after = octets(&crashed);
    after.remove("store.db-shm");
    assert_eq!(after, before);

    fs::remove_dir_all(&crashed).unwrap();
    let before = octets(folder.path());
    assert_eq!(before.len(), 1, "{:?}", before.keys());
    let reader = Store::open_read_only(&location).await.unwrap();
    assert!(reader.account("a").await.unwrap().is_some());
    reader.close().await;
    assert_eq!(octets(folder.path()), before);
}

/// What a command does that writes, while the gateway of an older version runs.
#[tokio::test]
async fn a_file_that_an_older_gateway_serves_is_left_as_it_is() {
    let stage = Stage::sqlite().await;
    turn_back(&stage).await;
    stage.store.close().await;
    let lock = fs::File::create(stage.folder.path().join("store.db.lock")).unwrap();
    lock.lock().unwrap();
    let refused = Store::open(&stage.location).await.unwrap_err();
    assert!(matches!(refused, StoreError::OlderGateways { .. }), "{refused}");
    assert_eq!(stage.sql("SELECT MAX(version) FROM dyngate_migrations").await.trim(), "4");
    drop(lock);
    stage.again().await;
    assert_eq!(stage.sql("SELECT MAX(version) FROM dyngate_migrations").await.trim(), "8");
}
