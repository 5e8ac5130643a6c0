//! PostgreSQL stores that cannot serve, and come back.

use std::time::Duration;

use dyngate::config::Location;
use dyngate::store::{News, Store, StoreError};
use tokio::time::{Instant, sleep, timeout};

use crate::stage::{Stage, name, new_account};

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
    let closed = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    let port = url.split("127.0.0.1:").nth(1).unwrap().split('/').next().unwrap();
    let other = url.replace(&format!("127.0.0.1:{port}"), &format!("127.0.0.1:{closed}"));
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
    let newer = "INSERT INTO dyngate_migrations SELECT 7, 'later', installed_on, success, checksum, 1 FROM dyngate_migrations WHERE version = 1";
    stage.sql(newer).await;
    let error = Store::open(&stage.location).await.unwrap_err();
    assert!(matches!(error, StoreError::Newer { found: 7, known: 4 }), "{error}");
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
    let begun = Instant::now();
    let error = loop {
        match store.account("a").await {
            // The orphan that serves this connection has not noticed yet.
            Ok(_) => sleep(Duration::from_millis(10)).await,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    let error = timeout(Duration::from_secs(8), feed.next()).await.unwrap().unwrap_err();
    assert!(error.is_temporary(), "{error:?}");
    server.start_again().await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while store.ping().await.is_err() {
        assert!(Instant::now() < deadline);
        sleep(Duration::from_millis(50)).await;
    }
    assert!(store.account("a").await.unwrap().is_some());
    store.add_account(&new_account("b"), &[]).await.unwrap();
    let news = loop {
        match feed.next().await {
            Ok(news) => break news,
            Err(error) => assert!(error.is_temporary() && Instant::now() < deadline, "{error:?}"),
        }
    };
    assert!(matches!(news, News::Changed(_)), "{news:?}");
    stage.server = Some(server);
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_given_up_in_time() {
    let stage = Stage::postgres().await;
    stage.account("a", &["h.dyn.example"]).await;
    let server = stage.server.as_ref().unwrap();
    // Somebody's session holds what a change needs.
    let lock = "BEGIN; LOCK TABLE host; SELECT pg_sleep(9); COMMIT";
    let (begun, host) = (Instant::now(), name("h.dyn.example"));
    let work = async {
        sleep(Duration::from_millis(700)).await;
        let (read, write) = tokio::join!(stage.store.host(&host), stage.store.block(&host, Some("x")));
        for error in [read.map(drop).unwrap_err(), write.unwrap_err()] {
            assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
        }
        assert!(begun.elapsed() < Duration::from_secs(9), "{:?}", begun.elapsed());
        assert!(stage.store.account("a").await.unwrap().is_some(), "others are served meanwhile");
    };
    let (locked, ()) = tokio::join!(server.sql("dyngate", lock), work);
    locked.unwrap();
    stage.store.block(&host, Some("x")).await.unwrap();
}
