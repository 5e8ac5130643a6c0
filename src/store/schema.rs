//! The schema: embedded migrations, one text for both databases.

use std::borrow::Cow;

use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::{AnyConnection, AssertSqlSafe, SqlSafeStr as _};

use super::error::{StoreError, classify};
use super::session::Software;

/// Version, description and text of each migration; one that was released is never changed.
const MIGRATIONS: [(i64, &str, &str); 5] = [
    (1, "first", include_str!("migrations/0001_first.sql")),
    (2, "deferred", include_str!("migrations/0002_deferred.sql")),
    (3, "families", include_str!("migrations/0003_families.sql")),
    (4, "reserved", include_str!("migrations/0004_reserved.sql")),
    (5, "pending", include_str!("migrations/0005_pending.sql")),
];

/// The table that says which migrations were applied.
const TABLE: &str = "dyngate_migrations";

/// Brings an empty or older database to this version.
pub(super) async fn migrate(connection: &mut AnyConnection, software: Software) -> Result<(), StoreError> {
    migrator(software).run_direct(None, connection, false).await.map_err(|error| match error {
        MigrateError::VersionMissing(found) | MigrateError::VersionTooNew(found, _) => {
            StoreError::Newer { found, known: MIGRATIONS.len() as i64 }
        }
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => classify(error),
        other => StoreError::Broken {
            why: "its tables are not those that this version of dyngate made".into(),
            source: Some(Box::new(other)),
        },
    })
}

fn migrator(software: Software) -> Migrator {
    let migrations = MIGRATIONS.iter().map(|(version, description, text)| {
        let text = AssertSqlSafe(dialect(text, software)).into_sql_str();
        Migration::new(*version, Cow::Borrowed(description), MigrationType::Simple, text, false)
    });
    let mut migrator = Migrator::with_migrations(migrations.collect());
    migrator.dangerous_set_table_name(TABLE);
    migrator
}

/// SQLite keeps a table sorted by its key only where it is told to. PostgreSQL sorts text by the rules of a language unless
/// it is told to compare octets, as SQLite and our own lists do.
fn dialect(text: &str, software: Software) -> String {
    let (kind, clustered, identity) = match software {
        Software::Sqlite => ("TEXT", "WITHOUT ROWID", "INTEGER PRIMARY KEY"),
        Software::Postgres => ("TEXT COLLATE \"C\"", "", "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY"),
    };
    text.replace("{text}", kind).replace("{clustered}", clustered).replace("{identity}", identity)
}
