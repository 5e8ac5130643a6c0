//! Each name server starts, answers, takes hand edits, keeps its data, signs, and refuses what it should.

#![expect(clippy::expect_used, reason = "a test reports by its panic")]

use std::net::IpAddr;
use std::time::Duration;

use lab::{Error, Key, Kind, RecordType, ResponseCode, Right, Server, Setup};
use tokio::time::timeout;

const ZONE: &str = "dyn.example";
const HOST: &str = "home.dyn.example";

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

async fn lives(kind: Kind) -> Result<(), Error> {
    let key = Key::generate("gateway-key");
    let mut server = Server::start(kind, Setup::new().zone_with(ZONE, &["www 60 IN A 192.0.2.80"]).key(&key)).await?;
    let answer = server.query("www.dyn.example", "A").await?;
    assert_eq!((answer.rcode, answer.authoritative), (ResponseCode::NoError, true));
    assert_eq!(answer.data(RecordType::A), ["192.0.2.80"]);
    assert_eq!((answer.records[0].name.as_str(), answer.records[0].ttl), ("www.dyn.example", 60));
    assert_eq!(server.query("none.dyn.example", "A").await?.rcode, ResponseCode::NXDomain);

    let before = server.serial(ZONE).await?;
    server.edit_as(&key, &["update add home.dyn.example 60 A 192.0.2.1"]).await?;
    server.edit(&["update add home.dyn.example 60 AAAA 2001:db8::1"]).await?;
    let both = vec![address("192.0.2.1"), address("2001:db8::1")];
    assert_eq!(server.addresses(HOST).await?, both);
    assert!(server.serial(ZONE).await? > before);

    server.stop().await?;
    assert!(server.query(HOST, "A").await.is_err(), "it has stopped");
    server.start_again().await?;
    assert_eq!(server.addresses(HOST).await?, both, "an edit outlives a stop");

    server.edit(&["update add home.dyn.example 60 A 192.0.2.2"]).await?;
    server.kill();
    server.start_again().await?;
    assert_eq!(server.addresses(HOST).await?.len(), 3, "an edit outlives SIGKILL");

    let stranger = Key::generate("stranger");
    let refused = server.edit_as(&stranger, &["update add home.dyn.example 60 A 192.0.2.9"]).await;
    assert!(matches!(refused, Err(Error::Command { .. })), "{refused:?}");
    server.pause().await?;
    let paused = timeout(Duration::from_millis(300), server.query(HOST, "A")).await;
    assert!(paused.is_err(), "a paused server answered: {paused:?}");
    server.resume()?;
    assert_eq!(server.addresses(HOST).await?.len(), 3);
    assert!(!server.log().is_empty());
    server.pause().await?;
    server.stop().await
}

async fn signs(kind: Kind) -> Result<(), Error> {
    let mut server = Server::start(kind, Setup::new().zone(ZONE).signed()).await?;
    assert!(!server.query(ZONE, "DNSKEY").await?.records.is_empty());
    server.edit(&["update add home.dyn.example 60 A 192.0.2.1"]).await?;
    // BIND signs inline, on its own time: nothing promises that an acknowledged edit is served at once.
    lab::soon("it is served", async || server.addresses(HOST).await.is_ok_and(|served| !served.is_empty())).await;
    let signed = lab::query_dnssec(server.addr(), HOST, "A").await?;
    assert!(signed.records.iter().any(|record| record.kind == RecordType::RRSIG), "{signed:?}");
    server.stop().await?;
    server.start_again().await?;
    assert_eq!(server.addresses(HOST).await?, [address("192.0.2.1")]);
    server.stop().await
}

async fn restricts(kind: Kind) -> Result<(), Error> {
    let (narrow, wide) = (Key::generate("narrow"), Key::generate("wide"));
    let rights = [Right::Name(HOST.to_owned()), Right::Below("office.dyn.example".to_owned())];
    let server =
        Server::start(kind, Setup::new().zone(ZONE).key(&narrow).key(&wide).restrict(&narrow, &rights)).await?;
    server.edit_as(&narrow, &["update add home.dyn.example 60 A 192.0.2.1"]).await?;
    server.edit_as(&narrow, &["update add a.office.dyn.example 60 A 192.0.2.1"]).await?;
    server.edit_as(&narrow, &["update add office.dyn.example 60 A 192.0.2.1"]).await?;
    for name in ["other.dyn.example", "x.home.dyn.example"] {
        let refused = server.edit_as(&narrow, &[&format!("update add {name} 60 A 192.0.2.1")]).await;
        assert!(matches!(refused, Err(Error::Command { .. })), "{name}: {refused:?}");
        server.edit_as(&wide, &[&format!("update add {name} 60 A 192.0.2.1")]).await?;
        server.edit(&[&format!("update add {name} 60 A 192.0.2.2")]).await?;
    }
    Ok(())
}

async fn closed(kind: Kind) -> Result<(), Error> {
    let server = Server::start(kind, Setup::new().zone(ZONE).zone("other.example").allow_update(false)).await?;
    let refused = server.edit(&["update add home.dyn.example 60 A 192.0.2.1"]).await;
    assert!(matches!(refused, Err(Error::Command { .. })), "{refused:?}");
    assert!(server.serial("other.example").await? > 0);
    Ok(())
}

macro_rules! for_each_kind {
    ($($module:ident: $kind:expr;)*) => { $(mod $module {
        use lab::Kind;

        #[tokio::test]
        async fn lives_edits_and_keeps_its_data() {
            super::lives($kind).await.unwrap_or_else(|error| panic!("{error}"));
        }

        #[tokio::test]
        async fn signs_its_zone() {
            super::signs($kind).await.unwrap_or_else(|error| panic!("{error}"));
        }

        #[tokio::test]
        async fn takes_no_update_where_none_is_allowed() {
            super::closed($kind).await.unwrap_or_else(|error| panic!("{error}"));
        }
    })* };
}

for_each_kind! {
    bind: Kind::Bind;
    knot: Kind::Knot;
    powerdns_lmdb: Kind::PowerDnsLmdb;
    powerdns_sqlite: Kind::PowerDnsSqlite;
}

#[tokio::test]
async fn a_restricted_key_changes_its_names_only_on_bind_and_knot() {
    let (bind, knot) = tokio::join!(restricts(Kind::Bind), restricts(Kind::Knot));
    bind.and(knot).unwrap_or_else(|error| panic!("{error}"));
}

#[tokio::test]
async fn powerdns_says_that_it_has_no_right_for_single_names() {
    let refused = restricts(Kind::PowerDnsSqlite).await;
    assert!(matches!(refused, Err(Error::Unsupported(_))), "{refused:?}");
}

#[tokio::test]
async fn a_server_that_does_not_come_up_shows_its_log() {
    let setup = Setup::new().zone(ZONE).option(Kind::Bind, "no-such-option yes;");
    let error = Server::start(Kind::Bind, setup).await.expect_err("it cannot start").to_string();
    assert!(error.contains("unknown option 'no-such-option'"), "{error}");
}
