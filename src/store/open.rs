//! Opening a store: the file or the server, the schema, the pools.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, fchown};
use std::path::{Path, PathBuf, absolute};
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use ring::rand::{SecureRandom as _, SystemRandom};
use secrecy::{ExposeSecret as _, SecretString};
use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::{AnyConnection, ConnectOptions as _, Connection as _};
use tokio::time::{Instant, sleep, timeout};

use super::clock::Clock;
use super::error::{StoreError, classify};
use super::fit::hex;
use super::lock::lock;
use super::session::{Database, number, statement};
use super::{Store, StoreInner, schema};
use crate::config::Location;

/// SQLite reads beside its one writer; PostgreSQL serves many.
const SQLITE_READERS: u32 = 4;
const POSTGRES_READERS: u32 = 8;
const POSTGRES_WRITERS: u32 = 4;
/// The longest wait for a connection: in it a writer of SQLite waits for those before it.
const SQLITE_WAIT: Duration = Duration::from_secs(5);
/// How long a command that migrates a file may keep another one waiting.
const ANOTHER_COMMAND: Duration = Duration::from_secs(2);
const POSTGRES_WAIT: Duration = Duration::from_secs(3);
/// The longest wait for the first connection and for the schema.
const OPENING: Duration = Duration::from_secs(10);
const MIGRATING: Duration = Duration::from_secs(600);
/// A connection that rested this long is asked whether it lives before it is used.
const RESTED: Duration = Duration::from_secs(1);
/// The first octets of every SQLite file (sqlite.org/fileformat.html).
const MAGIC: &[u8; 16] = b"SQLite format 3\0";

pub(super) async fn open(location: &Location) -> Result<Store, StoreError> {
    sqlx::any::install_default_drivers();
    match location {
        Location::Memory => Err(StoreError::Memory),
        Location::Sqlite(path) => open_sqlite(path, None).await,
        Location::Postgres(url) => open_postgres(url).await,
    }
}

pub(super) async fn serve(location: &Location, wait: Duration) -> Result<Store, StoreError> {
    let Location::Sqlite(path) = location else { return open(location).await };
    sqlx::any::install_default_drivers();
    open_sqlite(path, Some(wait)).await
}

pub(super) async fn open_read_only(location: &Location) -> Result<Store, StoreError> {
    sqlx::any::install_default_drivers();
    match location {
        Location::Memory => Err(StoreError::Memory),
        Location::Sqlite(path) => read_sqlite(path).await,
        Location::Postgres(url) => {
            let options = options(url.expose_secret())?;
            must_be_ours(&options, Database::Postgres, "in its database".into()).await?;
            read_only(Database::Postgres, &options)
        }
    }
}

async fn read_sqlite(path: &Path) -> Result<Store, StoreError> {
    let path = prepared(path, look_at).await?;
    let mut log = path.clone().into_os_string();
    log.push("-wal");
    // Whoever opens the file last folds its log into it: not a reader that finds one, after a crash say. One that finds none
    // takes what SQLite puts beside the file away again, which a connection of mode `ro` would leave there.
    let mode = if Path::new(&log).exists() { "ro" } else { "rw" };
    let options = sqlite_options(&path, mode)?;
    must_be_ours(&options, Database::Sqlite, format!("at {}", path.display())).await?;
    read_only(Database::Sqlite, &options)
}

async fn must_be_ours(options: &AnyConnectOptions, database: Database, place: String) -> Result<(), StoreError> {
    let mut connection = connect(options).await?;
    let ours = timeout(OPENING, schema::must_be_ours(&mut connection, database, place)).await;
    let ours = ours.unwrap_or_else(|_| Err(StoreError::unavailable("it did not answer in time")));
    connection.close().await.map_err(classify)?;
    ours
}

/// The database itself refuses whatever would change it.
fn read_only(database: Database, options: &AnyConnectOptions) -> Result<Store, StoreError> {
    let (wait, refuse) = match database {
        Database::Sqlite => (SQLITE_WAIT, "PRAGMA query_only = ON"),
        Database::Postgres => (POSTGRES_WAIT, "SET default_transaction_read_only = on"),
    };
    let pool = || {
        let pool = pool(1, wait).after_connect(move |connection, _| {
            Box::pin(async move { sqlx::raw_sql(refuse).execute(connection).await.map(drop) })
        });
        pool.connect_lazy_with(options.clone())
    };
    Ok(Store {
        inner: Arc::new(StoreInner {
            database,
            writers: pool(),
            readers: pool(),
            gateway: new_name()?,
            clock: Clock::default(),
            lock: None,
            url: None,
        }),
    })
}

/// The path of an SQLite file, after `look` was taken at it.
async fn prepared(path: &Path, look: fn(&Path) -> Result<(), StoreError>) -> Result<PathBuf, StoreError> {
    let path = absolute(path).map_err(|error| StoreError::Url(error.to_string()))?;
    let file = path.clone();
    let prepared = tokio::task::spawn_blocking(move || look(&file)).await;
    prepared.map_err(|_| StoreError::unavailable("its file could not be looked at"))??;
    Ok(path)
}

fn sqlite_options(path: &Path, mode: &str) -> Result<AnyConnectOptions, StoreError> {
    let Some(text) = path.to_str() else { return Err(StoreError::Url("the path is not UTF-8".into())) };
    let encoded: Vec<_> = text.split('/').map(|part| utf8_percent_encode(part, NON_ALPHANUMERIC).to_string()).collect();
    options(&format!("sqlite://{}?mode={mode}", encoded.join("/")))
}

async fn open_sqlite(path: &Path, to_serve: Option<Duration>) -> Result<Store, StoreError> {
    let path = prepared(path, prepare_file).await?;
    let served = match to_serve {
        // First of all: a later version would change the tables under a gateway that runs.
        Some(wait) => Some(lock(&path, wait).await?),
        None => None,
    };
    let options = sqlite_options(&path, "rw")?;

    let mut connection = connect(&options).await?;
    let _until_migrated = match &served {
        None => lock_to_migrate(&path, &mut connection).await?,
        Some(_) => None,
    };
    let ready = timeout(MIGRATING, ready_sqlite(&mut connection)).await;
    ready.map_err(|_| StoreError::unavailable("its schema could not be brought to this version in time"))??;
    connection.close().await.map_err(classify)?;

    let pool = |connections| pool(connections, SQLITE_WAIT);
    Ok(Store {
        inner: Arc::new(StoreInner {
            database: Database::Sqlite,
            // Never closed for its age: the last connection to go folds the log into the file, which takes its time.
            writers: pool(1).idle_timeout(None).max_lifetime(None).connect_lazy_with(options.clone()),
            readers: pool(SQLITE_READERS).connect_lazy_with(options),
            // Whoever serves it is alone on it.
            gateway: String::new(),
            clock: Clock::default(),
            lock: served,
            url: None,
        }),
    })
}

/// A command that brings a file to its version must not do that under the gateway of an older one. Another command may be about
/// it, which takes a moment.
async fn lock_to_migrate(path: &Path, connection: &mut AnyConnection) -> Result<Option<File>, StoreError> {
    let deadline = Instant::now() + ANOTHER_COMMAND;
    while schema::is_older(connection, Database::Sqlite).await? {
        match lock(path, Duration::ZERO).await {
            Err(StoreError::Served { by, .. }) if Instant::now() >= deadline => {
                return Err(StoreError::OlderGateways { them: by });
            }
            Err(StoreError::Served { .. }) => sleep(Duration::from_millis(50)).await,
            locked => return locked.map(Some),
        }
    }
    Ok(None)
}

/// What SQLite itself would say less clearly, or do to a file that is not ours.
fn prepare_file(path: &Path) -> Result<(), StoreError> {
    must_have_folder(path)?;
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(file) => return give_to_folders_owner(&file, path).map_err(|error| of_the_system(path, error)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(of_the_system(path, error)),
    }
    must_be_sqlite(path, OpenOptions::new().read(true).write(true))
}

/// What root makes in the folder of another user, the gateway's as a rule, is that user's; SQLite does so with what it puts beside.
fn give_to_folders_owner(file: &File, path: &Path) -> io::Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let folder = fs::metadata(path.parent().unwrap_or(Path::new("/")))?;
    fchown(file, Some(folder.uid()), Some(folder.gid()))
}

/// The same for a file that nobody makes.
fn look_at(path: &Path) -> Result<(), StoreError> {
    must_have_folder(path)?;
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(StoreError::Missing(format!("at {}", path.display())))
        }
        _ => must_be_sqlite(path, OpenOptions::new().read(true)),
    }
}

fn must_have_folder(path: &Path) -> Result<(), StoreError> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    if folder.is_dir() { Ok(()) } else { Err(StoreError::NoFolder(folder.to_owned())) }
}

fn must_be_sqlite(path: &Path, options: &OpenOptions) -> Result<(), StoreError> {
    if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        return Err(StoreError::broken(format!("{} is not a file", path.display())));
    }
    let file = options.open(path).map_err(|error| of_the_system(path, error))?;
    let mut start = Vec::new();
    let read = file.take(16).read_to_end(&mut start);
    read.map_err(|error| of_the_system(path, error))?;
    if start.is_empty() || start == MAGIC {
        return Ok(());
    }
    Err(StoreError::broken(format!("{} is not an SQLite database", path.display())))
}

pub(super) fn of_the_system(path: &Path, error: io::Error) -> StoreError {
    let path = path.display();
    let source = |error| Some(Box::new(error) as Box<dyn std::error::Error + Send + Sync>);
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            let user = rustix::process::geteuid().as_raw();
            let why = format!(
                "the user that dyngate runs as ({user}) may not read and write {path}: let it; what root left in that user's folder, \
                 `chown --reference=FOLDER FILE` gives back"
            );
            StoreError::Denied { why, source: source(error) }
        }
        io::ErrorKind::ReadOnlyFilesystem => StoreError::ReadOnly {
            why: format!("{path} is on a disk that is mounted read-only"),
            source: source(error),
        },
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::Full { source: source(error) },
        _ => StoreError::Unavailable { why: format!("{path} cannot be opened"), source: source(error) },
    }
}

async fn ready_sqlite(connection: &mut AnyConnection) -> Result<(), StoreError> {
    // Says at once that another process locks the file, that it is read-only, or not a database.
    script(connection, "BEGIN IMMEDIATE").await?;
    let ours = statement(
        "SELECT (SELECT COUNT(*) FROM sqlite_master), \
         (SELECT COUNT(*) FROM sqlite_master WHERE name = 'dyngate_migrations')",
    );
    let counted = ours.fetch_one(&mut *connection).await.map_err(classify)?;
    let (tables, ours) = (number(&counted, 0)?, number(&counted, 1)?);
    script(connection, "ROLLBACK").await?;
    if tables > 0 && ours == 0 {
        return Err(StoreError::broken("its file holds the tables of another program: name a file of its own"));
    }
    if tables == 0 {
        // Kept in the file; readers do not wait for the writer then (sqlite.org/wal.html).
        become_wal(connection).await?;
    }
    script(connection, "PRAGMA synchronous = FULL").await?;
    // Two processes may begin at the same time, and SQLite's migrations have no lock around them: the second one sees
    // tables appear, and tries again.
    let mut tries = 0;
    loop {
        match schema::migrate(connection, Database::Sqlite).await {
            Err(StoreError::Broken { .. } | StoreError::Unavailable { .. }) if tries < 5 => tries += 1,
            done => return done,
        }
        sleep(Duration::from_millis(100)).await;
    }
}

/// SQLite does not wait for a lock here as elsewhere, and another process may be making its tables in the same new file.
async fn become_wal(connection: &mut AnyConnection) -> Result<(), StoreError> {
    let deadline = Instant::now() + SQLITE_WAIT;
    loop {
        match script(connection, "PRAGMA journal_mode = WAL").await {
            Err(StoreError::Unavailable { .. }) if Instant::now() < deadline => {}
            done => return done,
        }
        sleep(Duration::from_millis(20)).await;
    }
}

async fn open_postgres(url: &SecretString) -> Result<Store, StoreError> {
    let options = options(url.expose_secret())?;
    let mut connection = connect(&options).await?;
    // Any other refuses letters that strangers may send, as an error of its own. SQL_ASCII keeps octets as they are.
    let foreign = statement(
        "SELECT COUNT(*) FROM pg_settings WHERE name = 'server_encoding' AND setting NOT IN ('UTF8', 'SQL_ASCII')",
    );
    if number(&foreign.fetch_one(&mut connection).await.map_err(classify)?, 0)? > 0 {
        let why = "its database cannot hold every letter: make one with ENCODING 'UTF8'".into();
        return Err(StoreError::Denied { why, source: None });
    }
    let migrated = timeout(MIGRATING, schema::migrate(&mut connection, Database::Postgres)).await;
    migrated.map_err(|_| StoreError::unavailable("its schema could not be brought to this version in time"))??;
    let writable =
        statement("SELECT COUNT(*) FROM pg_settings WHERE name = 'transaction_read_only' AND setting = 'on'");
    let read_only = number(&writable.fetch_one(&mut connection).await.map_err(classify)?, 0)?;
    connection.close().await.map_err(classify)?;
    if read_only > 0 {
        let why = "its server takes no changes; is it a replica?".into();
        return Err(StoreError::ReadOnly { why, source: None });
    }
    let pool = |connections| {
        // A question before each use would double the way of a look-up.
        pool(connections, POSTGRES_WAIT).test_before_acquire(false).before_acquire(|connection, about| {
            Box::pin(async move {
                if about.idle_for < RESTED {
                    return Ok(true);
                }
                Ok(timeout(RESTED, connection.ping()).await.is_ok_and(|answer| answer.is_ok()))
            })
        })
    };
    Ok(Store {
        inner: Arc::new(StoreInner {
            database: Database::Postgres,
            writers: pool(POSTGRES_WRITERS).connect_lazy_with(options.clone()),
            readers: pool(POSTGRES_READERS).connect_lazy_with(options),
            gateway: new_name()?,
            clock: Clock::default(),
            lock: None,
            url: Some(url.clone()),
        }),
    })
}

/// A gateway's name among those on the store.
fn new_name() -> Result<String, StoreError> {
    let mut octets = [0; 16];
    let random = SystemRandom::new().fill(&mut octets);
    random.map_err(|_| StoreError::unavailable("the system has no randomness"))?;
    Ok(hex(&octets))
}

/// That the store is away is told once, by what follows it: the pool would tell of each wait for a connection.
fn pool(connections: u32, wait: Duration) -> AnyPoolOptions {
    let pool = AnyPoolOptions::new().max_connections(connections).acquire_timeout(wait);
    pool.acquire_slow_threshold(Duration::MAX)
}

fn options(url: &str) -> Result<AnyConnectOptions, StoreError> {
    // What is wrong with it may be told by a part of it, and so by the password.
    let options = AnyConnectOptions::from_str(url).map_err(|_| unreadable())?;
    // Nor are statements told, or that one was slow, which on a store that hangs is each of them.
    Ok(options.disable_statement_logging())
}

fn unreadable() -> StoreError {
    StoreError::Url(
        "write postgres://USER:PASSWORD@HOST:PORT/DATABASE, with % codes for what is special in a URL".into(),
    )
}

async fn connect(options: &AnyConnectOptions) -> Result<AnyConnection, StoreError> {
    match timeout(OPENING, options.connect()).await {
        Ok(connected) => connected.map_err(|error| match error {
            sqlx::Error::Configuration(_) => unreadable(),
            other => classify(other),
        }),
        Err(_) => Err(StoreError::unavailable(format!("its server did not answer within {} s", OPENING.as_secs()))),
    }
}

async fn script(connection: &mut AnyConnection, sql: &'static str) -> Result<(), StoreError> {
    sqlx::raw_sql(sql).execute(connection).await.map(drop).map_err(classify)
}
