//! The schema: embedded migrations, one text for both databases.

use std::borrow::Cow;
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::{AnyConnection, AssertSqlSafe, SqlSafeStr as _};
use tokio::time::{Instant, sleep};

use super::error::{StoreError, classify};
use super::session::{Database, number, optional_number, statement, text};

/// Version, description and text of each migration; one that was released is never changed.
const MIGRATIONS: &[(i64, &str, &str)] = &[
    (1, "first", include_str!("migrations/0001_first.sql")),
    (2, "deferred", include_str!("migrations/0002_deferred.sql")),
    (3, "families", include_str!("migrations/0003_families.sql")),
    (4, "reserved", include_str!("migrations/0004_reserved.sql")),
    (5, "pending", include_str!("migrations/0005_pending.sql")),
    (6, "extras", include_str!("migrations/0006_extras.sql")),
    (7, "secrets", include_str!("migrations/0007_secrets.sql")),
    (8, "challenge", include_str!("migrations/0008_challenge.sql")),
];

/// The table that says which migrations were applied.
const TABLE: &str = "dyngate_migrations";

/// Other sessions of gateways. PostgreSQL shows the last statement of each session of our role, and a gateway has one that
/// listens to the feed (feed.rs) and says nothing after that.
const GATEWAYS: &str = "SELECT 'from ' || COALESCE(host(client_addr), 'its own machine') || ', backend ' || pid \
    FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() \
    AND query LIKE 'LISTEN \"dyngate\"%' ORDER BY pid";
const HAS_TABLE: &str =
    "SELECT COUNT(*) FROM pg_class WHERE relname = 'dyngate_migrations' AND pg_table_is_visible(oid)";
const FILE_HAS_TABLE: &str = "SELECT COUNT(*) FROM sqlite_master WHERE name = 'dyngate_migrations'";
const APPLIED: &str = "SELECT MAX(version) FROM dyngate_migrations";

/// How long the session of a gateway that has stopped may be seen.
const LEAVING: Duration = Duration::from_secs(2);
const LOOK_AGAIN: Duration = Duration::from_millis(50);

fn latest() -> i64 {
    MIGRATIONS.iter().map(|(version, ..)| *version).max().unwrap_or_default()
}

/// Brings an empty or older database to this version; one that gateways of an older version still use is left as it is.
pub(super) async fn migrate(connection: &mut AnyConnection, database: Database) -> Result<(), StoreError> {
    match database {
        // A file is one gateway's; who else opens it has looked (open.rs).
        Database::Sqlite => {}
        Database::Postgres => without_older_gateways(connection).await?,
    }
    migrator(database).run_direct(None, connection, false).await.map_err(|error| match error {
        MigrateError::VersionMissing(found) | MigrateError::VersionTooNew(found, _) => {
            StoreError::Newer { found, known: latest() }
        }
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => classify(error),
        other => StoreError::Broken {
            why: "its tables are not those that this version of dyngate made".into(),
            source: Some(Box::new(other)),
        },
    })
}

async fn without_older_gateways(connection: &mut AnyConnection) -> Result<(), StoreError> {
    let deadline = Instant::now() + LEAVING;
    loop {
        let rows = statement(GATEWAYS).fetch_all(&mut *connection).await.map_err(classify)?;
        let gateways = rows.iter().map(|row| text(row, 0)).collect::<Result<Vec<_>, _>>()?;
        // In this order: a gateway of our version listens once it has brought the database to it.
        if gateways.is_empty() || !is_older(connection, Database::Postgres).await? {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(StoreError::OlderGateways { them: gateways.join("; ") });
        }
        sleep(LOOK_AGAIN).await;
    }
}

/// Whether it would be brought to this version; a database without our tables is not.
pub(super) async fn is_older(connection: &mut AnyConnection, database: Database) -> Result<bool, StoreError> {
    Ok(applied(connection, database).await?.is_some_and(|applied| applied < latest()))
}

/// Whoever only reads needs all tables as they are in this version; the store is `place`.
pub(super) async fn must_be_ours(
    connection: &mut AnyConnection,
    database: Database,
    place: String,
) -> Result<(), StoreError> {
    let known = latest();
    match applied(connection, database).await? {
        None => Err(StoreError::Missing(place)),
        Some(found) if found < known => Err(StoreError::Older { found, known }),
        Some(found) if found > known => Err(StoreError::Newer { found, known }),
        Some(_) => Ok(()),
    }
}

/// The version of our tables, if there are any.
async fn applied(connection: &mut AnyConnection, database: Database) -> Result<Option<i64>, StoreError> {
    let has_table = match database {
        Database::Sqlite => FILE_HAS_TABLE,
        Database::Postgres => HAS_TABLE,
    };
    let table = statement(has_table).fetch_one(&mut *connection).await.map_err(classify)?;
    if number(&table, 0)? == 0 {
        return Ok(None);
    }
    let applied = statement(APPLIED).fetch_one(connection).await.map_err(classify)?;
    optional_number(&applied, 0)
}

fn migrator(database: Database) -> Migrator {
    let migrations = MIGRATIONS.iter().map(|(version, description, text)| {
        let text = AssertSqlSafe(dialect(text, database)).into_sql_str();
        Migration::new(*version, Cow::Borrowed(description), MigrationType::Simple, text, false)
    });
    let mut migrator = Migrator::with_migrations(migrations.collect());
    migrator.dangerous_set_table_name(TABLE);
    migrator
}

/// SQLite keeps a table sorted by its key only where it is told to. PostgreSQL sorts text by the rules of a language unless
/// it is told to compare octets, as SQLite and our own lists do.
fn dialect(text: &str, database: Database) -> String {
    let (kind, clustered, identity, position) = match database {
        Database::Sqlite => ("TEXT", "WITHOUT ROWID", "INTEGER PRIMARY KEY", "INSTR"),
        Database::Postgres => ("TEXT COLLATE \"C\"", "", "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY", "STRPOS"),
    };
    let text = text.replace("{text}", kind).replace("{clustered}", clustered);
    text.replace("{identity}", identity).replace("{position}", position)
}
