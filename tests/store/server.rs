//! PostgreSQL stores that cannot serve, and come back.

use dyngate::config::Location;
use dyngate::store::{News, Store, StoreError};
use lab::soon;
use tokio::time::timeout;

use crate::stage::{MINUTE, Stage, name, new_account};

async fn refused(url: &str) -> StoreError {
    Store::open(&Location::Postgres(url.to_owned().into())).await.expect_err("no store")
}

/// All that an operator may get to read.
fn full(error: &StoreError) -> String {
    let mut text = format!("{error} {error:?}");
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        text.push_str(&format!(" {error} {error:?}"));
        source = error.source();
    }
    text
}

#[tokio::test]
async fn what_keeps_us_out_is_named_without_the_password() {
    let server = lab::Postgres::start().await.unwrap();
    let (url, password) = (server.url(), server.password());
    let port = url.split("127.0.0.1:").nth(1).unwrap().split('/').next().unwrap();
    let other = url.replace(&format!("127.0.0.1:{port}"), "127.0.0.1:1");
    let cases = [
        (url.replace(password, "wr0ng-pass"), "refused the role or the password"),
        (server.url_of("nowhere"), "no such database"),
        (other, "is it running?"),
        (url.replace("127.0.0.1", "name.invalid"), "cannot be reached"),
        (url.replace(port, "notaport"), "URL cannot be read"),
        (format!("{url}?sslmode={password}"), "URL cannot be read"),
        (url.replace("postgres://", "pg://"), "URL cannot be read"),
    ];
    for (url, why) in cases {
        let error = refused(&url).await;
        assert!(error.to_string().contains(why), "{error}");
        let text = full(&error);
        assert!(!text.contains(password) && !text.contains("wr0ng"), "{text}");
    }
    let stage = Store::open(&Location::Postgres(url.into())).await.unwrap();
    assert!(!format!("{stage:?}").contains(password));
}

#[tokio::test]
async fn a_newer_schema_is_left_alone() {
    let stage = Stage::postgres().await;
    let newer = "INSERT INTO dyngate_migrations SELECT 70, 'later', installed_on, success, checksum, 1 FROM dyngate_migrations WHERE version = 1";
    stage.sql(newer).await;
    let error = Store::open(&stage.location).await.unwrap_err();
    assert!(matches!(error, StoreError::Newer { found: 70, .. }), "{error}");
}

#[tokio::test]
async fn a_database_that_takes_no_changes_is_named() {
    let stage = Stage::postgres().await;
    stage.sql("ALTER DATABASE dyngate SET default_transaction_read_only = on").await;
    let error = Store::open(&stage.location).await.unwrap_err();
    assert!(matches!(error, StoreError::ReadOnly { .. }), "{error:?}");
    let server = stage.server.as_ref().unwrap();
    server.make_database("empty").await.unwrap();
    server.sql("empty", "ALTER DATABASE empty SET default_transaction_read_only = on").await.unwrap();
    let error = refused(&server.url_of("empty")).await;
    assert!(matches!(error, StoreError::ReadOnly { .. }), "{error:?}");
}

#[tokio::test]
async fn a_database_that_cannot_hold_every_letter_is_refused() {
    let server = lab::Postgres::start().await.unwrap();
    let make = "CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' LOCALE_PROVIDER libc TEMPLATE template0";
    server.sql("postgres", make).await.unwrap();
    let error = refused(&server.url_of("latin")).await;
    assert!(error.to_string().contains("ENCODING 'UTF8'"), "{error}");
}

#[tokio::test]
async fn another_programs_tables_are_left_alone() {
    let server = lab::Postgres::start().await.unwrap();
    server.sql("dyngate", "CREATE TABLE host (id BIGINT)").await.unwrap();
    let error = refused(&server.url()).await;
    assert!(error.to_string().contains("another program"), "{error}");
    assert_eq!(server.sql("dyngate", "SELECT COUNT(*) FROM host").await.unwrap().trim(), "0");
}

#[tokio::test]
async fn several_gateways_may_make_the_schema_at_once() {
    let server = lab::Postgres::start().await.unwrap();
    let open = || {
        let location = Location::Postgres(server.url().into());
        tokio::spawn(async move { Store::open(&location).await.map(drop) })
    };
    for task in [open(), open(), open(), open()] {
        task.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_server_that_was_killed_is_used_again_when_it_is_back() {
    let mut stage = Stage::postgres().await;
    stage.account("a", &["h.dyn.example"]).await;
    let mut feed = stage.store.feed();
    assert_eq!(feed.next().await.unwrap(), News::Lost);
    let (store, mut server) = (stage.store.clone(), stage.server.take().unwrap());
    server.kill();
    let mut error = None;
    // The orphan that serves this connection may not have noticed yet.
    soon("the store is away", async || {
        error = store.account("a").await.err();
        error.is_some()
    })
    .await;
    assert!(matches!(error, Some(StoreError::Unavailable { .. })), "{error:?}");
    let error = timeout(MINUTE, feed.next()).await.expect("the feed hears of it").unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
    server.start_again().await.unwrap();
    soon("the store is back", async || store.ping().await.is_ok()).await;
    assert!(store.account("a").await.unwrap().is_some());
    // A connection that rested for less than a second is not asked whether it lives.
    soon("the store is written", async || match store.add_account(&new_account("b"), &[]).await {
        Ok(()) => true,
        Err(error) => {
            assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
            false
        }
    })
    .await;
    let mut news = None;
    soon("the feed goes on", async || match timeout(MINUTE, feed.next()).await.expect("it ends") {
        Ok(heard) => news.replace(heard).is_none(),
        Err(error) => {
            assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
            false
        }
    })
    .await;
    assert!(matches!(news, Some(News::Changed(_))), "{news:?}");
    stage.server = Some(server);
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_given_up_in_time() {
    let stage = Stage::postgres().await;
    stage.account("a", &["h.dyn.example"]).await;
    let server = stage.server.as_ref().unwrap();
    // Somebody's session holds what a change needs until it is ended.
    let lock = "BEGIN; LOCK TABLE host; SELECT pg_sleep(600); COMMIT";
    let sessions = "FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
    let host = name("h.dyn.example");
    let work = async {
        let is_held = format!("SELECT COUNT(*) {sessions}");
        soon("the lock is held", async || server.sql("dyngate", &is_held).await.unwrap().trim() == "1").await;
        let (read, write) = tokio::join!(stage.store.host(&host), stage.store.block(&host, Some("x")));
        for error in [read.map(drop).unwrap_err(), write.unwrap_err()] {
            assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
        }
        assert!(stage.store.account("a").await.unwrap().is_some(), "others are served meanwhile");
        server.sql("dyngate", &format!("SELECT pg_terminate_backend(pid) {sessions}")).await.unwrap();
    };
    let (locked, ()) = tokio::join!(server.sql("dyngate", lock), work);
    assert!(locked.is_err(), "it was held until now");
    stage.store.block(&host, Some("x")).await.unwrap();
}
