//! SQLite stores that cannot serve: a clear error each, and nothing half done.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use dyngate::config::Location;
use dyngate::store::{Store, StoreError};

use crate::namespace;
use crate::stage::{Stage, folder, name, new_account, seen, sqlite, together};

async fn refused(path: &Path) -> StoreError {
    Store::open(&Location::Sqlite(path.to_owned())).await.expect_err("no store")
}

#[tokio::test]
async fn a_new_file_is_its_owners_alone() {
    let stage = Stage::sqlite().await;
    stage.account("a", &[]).await;
    for entry in fs::read_dir(stage.folder.path()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", entry.path().display());
    }
    assert_eq!(sqlite(&stage.file(), "PRAGMA journal_mode").trim(), "wal");
    stage.store.close().await;
    assert!(matches!(stage.store.ping().await, Err(StoreError::Unavailable { .. })));
}

#[tokio::test]
async fn strange_paths_are_no_matter() {
    let folder = folder();
    let path = folder.path().join("a b?mode=ro&x#%41ü.db");
    let store = Store::open(&Location::Sqlite(path.clone())).await.unwrap();
    store.add_account(&new_account("a"), &[]).await.unwrap();
    assert!(path.is_file());
}

#[tokio::test]
async fn what_is_not_a_store_says_so() {
    let folder = folder();
    let missing = refused(&folder.path().join("no/such/store.db")).await;
    assert!(matches!(&missing, StoreError::NoFolder(path) if path.ends_with("no/such")), "{missing}");
    let directory = refused(folder.path()).await;
    assert!(directory.to_string().ends_with("is not a file"), "{directory}");
    let text = folder.path().join("text");
    fs::write(&text, "[http]\nlisten = \"127.0.0.1:8245\"\n").unwrap();
    let error = refused(&text).await;
    assert!(matches!(error, StoreError::Broken { .. }), "{error}");
    assert!(error.to_string().ends_with("is not an SQLite database"), "{error}");
    assert!(fs::read_to_string(&text).unwrap().starts_with("[http]"), "it was left as it was");
    let short = folder.path().join("short");
    fs::write(&short, b"SQLite format 3\0 and no more").unwrap();
    let error = refused(&short).await;
    assert!(matches!(error, StoreError::Broken { .. }), "{error}");
    let foreign = folder.path().join("foreign.db");
    sqlite(&foreign, "CREATE TABLE account (id INTEGER)");
    let before = fs::read(&foreign).unwrap();
    let error = refused(&foreign).await;
    assert!(error.to_string().contains("another program"), "{error}");
    assert_eq!(fs::read(&foreign).unwrap(), before);
    let memory = Store::open(&Location::Memory).await.unwrap_err();
    assert!(matches!(memory, StoreError::Memory), "{memory}");
}

#[tokio::test]
async fn a_damaged_file_is_told_from_one_that_is_away() {
    let stage = Stage::sqlite().await;
    stage.account("a", &[]).await;
    stage.store.close().await;
    let mut octets = fs::read(stage.file()).unwrap();
    octets[100..].fill(0x5a);
    fs::write(stage.file(), octets).unwrap();
    let error = refused(&stage.file()).await;
    assert!(matches!(error, StoreError::Broken { .. }), "{error}");
}

#[tokio::test]
async fn a_newer_schema_is_left_alone() {
    let stage = Stage::sqlite().await;
    stage.account("a", &[]).await;
    stage.store.close().await;
    let newer = "INSERT INTO dyngate_migrations SELECT 99, 'later', installed_on, success, checksum, 1 FROM dyngate_migrations WHERE version = 1";
    sqlite(&stage.file(), newer);
    let before = fs::read(stage.file()).unwrap();
    let error = refused(&stage.file()).await;
    assert!(matches!(error, StoreError::Newer { found: 99, .. }), "{error}");
    assert_eq!(fs::read(stage.file()).unwrap(), before);
}

#[tokio::test]
async fn a_locked_file_is_waited_for_and_then_named() {
    let stage = Stage::sqlite().await;
    stage.account("a", &[]).await;
    let mut other = Command::new("sqlite3")
        .arg(stage.file())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("apt-get install sqlite3");
    let mut input = other.stdin.take().unwrap();
    std::io::Write::write_all(&mut input, b"BEGIN IMMEDIATE;\nSELECT 'locked';\n").unwrap();
    let mut said = std::io::BufReader::new(other.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut said, &mut String::new()).unwrap();
    let (begun, path) = (tokio::time::Instant::now(), stage.file());
    let (writing, opening) = tokio::join!(stage.store.set_enabled("a", false), refused(&path));
    for error in [writing.unwrap_err(), opening] {
        assert!(matches!(&error, StoreError::Unavailable { why, .. } if why.contains("locked")), "{error}");
    }
    let waited = begun.elapsed();
    assert!(waited.as_secs() >= 4, "not before its time: {waited:?}");
    assert!(stage.store.account("a").await.unwrap().unwrap().enabled, "readers do not wait for writers");
    std::io::Write::write_all(&mut input, b"COMMIT;\n.quit\n").unwrap();
    other.wait().unwrap();
    stage.store.set_enabled("a", false).await.unwrap();
}

#[tokio::test]
async fn several_processes_may_make_the_file_at_once() {
    let folder = folder();
    let location = Location::Sqlite(folder.path().join("store.db"));
    let open = || {
        let location = location.clone();
        tokio::spawn(async move { Store::open(&location).await.map(drop) })
    };
    for task in [open(), open(), open(), open()] {
        task.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_disk_that_is_read_only_is_named() {
    let inside = namespace::inside(
        "broken::a_disk_that_is_read_only_is_named",
        "mkdir disk && mount -t tmpfs -o size=8m none disk",
    );
    let Some(folder) = inside else { return };
    let path = folder.join("disk/store.db");
    let store = Store::open(&Location::Sqlite(path.clone())).await.unwrap();
    store.add_account(&new_account("a"), &[]).await.unwrap();
    store.close().await;
    namespace::run("mount -o remount,ro disk", &folder);
    let error = refused(&path).await;
    assert!(matches!(error, StoreError::ReadOnly { .. }), "{error:?}");
    let error = refused(&folder.join("disk/new.db")).await;
    assert!(matches!(error, StoreError::ReadOnly { .. }), "{error:?}");
}

#[tokio::test]
async fn a_full_disk_is_named_and_costs_nothing() {
    let inside = namespace::inside(
        "broken::a_full_disk_is_named_and_costs_nothing",
        "mkdir disk && mount -t tmpfs -o size=3m none disk",
    );
    let Some(folder) = inside else { return };
    let path = folder.join("disk/store.db");
    let store = Store::open(&Location::Sqlite(path.clone())).await.unwrap();
    store.add_account(&new_account("kept"), &[]).await.unwrap();
    fs::write(folder.join("disk/spare"), vec![0_u8; 64 << 10]).unwrap();
    let mut error = None;
    for round in 0..100 {
        let calls: Vec<_> = (0..400).map(|at| seen(&format!("h{round}-{at}.dyn.example"), at)).collect();
        if let Err(full) = store.record(&together(&calls)).await {
            error = Some((round, full));
            break;
        }
    }
    let (round, error) = error.expect("three megabytes are full");
    assert!(matches!(error, StoreError::Full { .. }), "{error:?}");
    assert!(store.account("kept").await.unwrap().is_some());
    let first = name(&format!("h{round}-0.dyn.example"));
    assert_eq!(store.state(&first).await.unwrap(), None, "nothing of the call that failed");
    let fill = fs::write(folder.join("disk/filler"), vec![0_u8; 4 << 20]);
    assert!(fill.is_err());
    let full = refused(&folder.join("disk/second.db")).await;
    assert!(matches!(full, StoreError::Full { .. }), "{full:?}");
    for freed in ["filler", "spare"] {
        fs::remove_file(folder.join("disk").join(freed)).unwrap();
    }
    // Where there is a little room again, it goes on.
    store.add_account(&new_account("more"), &[]).await.unwrap();
}
