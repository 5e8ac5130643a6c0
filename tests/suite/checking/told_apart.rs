//! Each cause is told apart from the others on each server that can tell it.

use hickory_proto::op::ResponseCode;
use lab::fake::{Action, FakePrimary};
use lab::{Key, Kind};

use super::{Check, cases};
use crate::stage::{Config, ZONE};

async fn codes(check: impl Future<Output = Check>) -> Vec<String> {
    check.await.codes().await
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_found_where_all_is_well_and_nothing_is_changed() {
    for kind in Kind::ALL {
        let check = cases::all_well(kind).await;
        let serial = check.servers()[0].serial(ZONE).await.unwrap();
        assert_eq!(check.codes().await, [""; 0], "{kind}");
        assert_eq!(check.servers()[0].serial(ZONE).await.unwrap(), serial, "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_record_of_a_write_is_gone_afterwards() {
    for kind in Kind::ALL {
        let check = cases::all_well(kind).await.arg("--write");
        assert_eq!(check.codes().await, [""; 0], "{kind}");
        let server = &check.servers()[0];
        assert!(server.query("_dyngate-check.dyn.example", "TXT").await.unwrap().records.is_empty(), "{kind}");
        assert_ne!(server.serial(ZONE).await.unwrap(), 1, "{kind}: it was there");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_are_no_addresses_are_asked_about_type_by_type() {
    for kind in Kind::ALL {
        assert_eq!(codes(cases::mail_and_pointers(kind)).await, [""; 0], "{kind}");
    }
    assert_eq!(codes(cases::may_not_set(Kind::Bind)).await, ["may_not_set", "may_not_set"]);
    for kind in [Kind::Bind, Kind::Knot] {
        assert_eq!(codes(cases::may_not_set_pointers(kind)).await, ["may_not_set"], "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_away_or_silent() {
    assert_eq!(codes(cases::unreachable()).await, ["unreachable"]);
    for kind in Kind::ALL {
        assert_eq!(codes(cases::no_answer(kind)).await, ["no_answer"], "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_the_server_has_not_or_has_otherwise() {
    for kind in [Kind::Bind, Kind::Knot] {
        assert_eq!(codes(cases::unknown_key(kind)).await, ["unknown_key"], "{kind}");
        assert_eq!(codes(cases::wrong_algorithm(kind)).await, ["unknown_key"], "{kind}");
        assert_eq!(codes(cases::wrong_secret(kind)).await, ["wrong_secret"], "{kind}");
    }
    let kind = Kind::PowerDnsSqlite;
    assert_eq!(codes(cases::unknown_key(kind)).await, ["key_or_secret"]);
    assert_eq!(codes(cases::wrong_algorithm(kind)).await, ["key_or_secret"]);
    assert_eq!(codes(cases::wrong_secret(kind)).await, ["key_or_secret"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn clocks_that_are_apart_on_every_server() {
    for kind in Kind::ALL {
        assert_eq!(codes(cases::clock(kind, 900)).await, ["clock"], "{kind}");
        assert_eq!(codes(cases::clock(kind, -100)).await, ["clock_drifts"], "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zone_that_is_not_there() {
    for kind in Kind::ALL {
        assert_eq!(codes(cases::zone_not_served(kind)).await, ["zone_not_served"], "{kind}");
        assert_eq!(codes(cases::parent_served(kind)).await, ["zone_not_served"], "{kind}");
    }
    assert_eq!(codes(cases::no_queries()).await, ["no_queries"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_without_the_right() {
    for kind in [Kind::Bind, Kind::PowerDnsLmdb, Kind::PowerDnsSqlite] {
        assert_eq!(codes(cases::may_not_update(kind)).await, ["may_not_update"], "{kind}");
    }
    // Knot says the same of a key that no acl of the zone names as of one that it has not.
    assert_eq!(codes(cases::may_not_update(Kind::Knot)).await, ["unknown_key"]);
    for kind in [Kind::Bind, Kind::Knot] {
        assert_eq!(codes(cases::may_not_update_names(kind)).await, ["may_not_update"], "{kind}");
        assert_eq!(codes(cases::may_update_other_names(kind)).await, ["may_not_update"], "{kind}");
    }
    assert_eq!(codes(cases::may_not_update_from_here()).await, ["may_not_update"]);
    assert_eq!(codes(cases::check_names()).await, ["check_names"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_would_never_be_served_are_warnings() {
    for kind in Kind::ALL {
        let expected = ["below_dname", "delegated", "at_cname"];
        assert_eq!(codes(cases::hidden(kind)).await, expected, "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secondary_that_forwards_is_found_by_a_write() {
    for kind in [Kind::Bind, Kind::Knot, Kind::PowerDnsSqlite] {
        let check = cases::forwards(kind).await;
        assert_eq!(check.codes().await, ["forwards"], "{kind}");
        let primary = &check.servers()[1];
        assert!(primary.query("_dyngate-check.dyn.example", "TXT").await.unwrap().records.is_empty(), "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_everybody_may_read() {
    assert_eq!(codes(cases::exposed_secret()).await, ["exposed_secret"]);
    assert_eq!(codes(async { cases::exposed_secret().await.arg("--offline") }).await, ["exposed_secret"]);
}

/// What no real server can be made to answer.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_answers_nonsense() {
    for (answer, code) in [
        (Action::Garbage(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()), "no_answer"),
        (Action::Frame(vec![0; 40]), "no_answer"),
        (Action::Frame(b"no DNS message of any kind".to_vec()), "not_dns"),
        (Action::Drop, "no_answer"),
        (Action::Unsigned(ResponseCode::NoError), "unsigned"),
        (Action::WrongMac, "unsigned"),
        // It does what a prerequisite forbids.
        (Action::Answer(ResponseCode::NoError), "zone_not_served"),
        (Action::Answer(ResponseCode::ServFail), "zone_broken"),
        (Action::BadTime(900), "clock"),
    ] {
        let key = Key::generate("gateway-key");
        let said = answer.clone();
        let fake = FakePrimary::start(&key, move |_| said.clone()).await.unwrap();
        let mut config = Config::new(&key, fake.addr());
        config.more = "[engine]\ndeadline = \"1s\"".to_owned();
        let found = Check::new(&config, Vec::new()).found().await;
        assert_eq!(found, [code], "{answer:?}");
    }
}
