//! What is acknowledged and never served is found, and no mend leads there.

use hickory_proto::op::{OpCode, ResponseCode};
use hickory_proto::rr::rdata::SOA;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use lab::fake::{Action, FakePrimary, Received};
use lab::{Key, Kind};
use serde_json::Value;

use super::{Check, cases};
use crate::stage::{Config, ZONE, on_every_primary};

on_every_primary!(
    a_zone_within_the_zone_is_named,
    a_delegation_is_not_to_be_deleted_where_its_zone_is_served,
    the_names_of_a_write_are_gone_afterwards,
    a_primary_that_signs_is_no_secondary,
);

fn lines(finding: &Value) -> String {
    finding["advice"].as_array().unwrap().iter().map(|advice| advice["line"].as_str().unwrap()).collect()
}

async fn a_zone_within_the_zone_is_named(kind: Kind) {
    let check = cases::zone_within(kind).await;
    for check in [check.findings().await, check.arg("--write").findings().await] {
        let [found] = check.as_slice() else { panic!("{kind}: {check:?}") };
        assert_eq!((&found["code"], &found["level"]), (&"other_zone".into(), &"error".into()), "{kind}");
        assert_eq!(found["hosts"], serde_json::json!(["*.office.dyn.example"]), "{kind}");
        assert!(
            found["what"].as_str().unwrap().contains("from office.dyn.example, a zone of its own"),
            "{kind}: {found}"
        );
        assert!(lines(found).contains("name = \"office.dyn.example\""), "{kind}: {found}");
    }
}

async fn a_delegation_is_not_to_be_deleted_where_its_zone_is_served(kind: Kind) {
    let found = cases::delegated_to_itself(kind).await.findings().await;
    let [found] = found.as_slice() else { panic!("{kind}: {found:?}") };
    assert_eq!(found["code"], "delegated", "{kind}");
    assert!(!lines(found).contains("delete"), "{kind}: {found}");
    assert!(lines(found).contains("primaries = [\"127.0.0.1:"), "{kind}: {found}");
}

async fn the_names_of_a_write_are_gone_afterwards(kind: Kind) {
    let check = cases::all_well(kind).await.arg("--write");
    let server = &check.servers()[0];
    // Somebody uses it: what is there stays as it is.
    server.edit(&["update add home.dyn.example. 77 TXT used"]).await.unwrap();
    assert_eq!(check.codes().await, [""; 0], "{kind}");
    for name in ["home.dyn.example", "dyngate-check.office.dyn.example"] {
        assert!(server.addresses(name).await.unwrap().is_empty(), "{kind}: {name}");
    }
    assert_eq!(server.query("home.dyn.example", "TXT").await.unwrap().records.len(), 1, "{kind}");
}

/// What it shows may come a moment after its answer.
async fn a_primary_that_signs_is_no_secondary(kind: Kind) {
    let check = cases::signed(kind).await.arg("--write");
    for _ in 0..5 {
        for found in check.findings().await {
            assert_eq!((&found["code"], &found["level"]), (&"shows_late".into(), &"warning".into()), "{kind}: {found}");
            assert_eq!(kind, Kind::Bind);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_drops_an_acknowledged_change_is_found() {
    for kind in [Kind::PowerDnsSqlite, Kind::PowerDnsLmdb] {
        let codes = async |returns| cases::policy(kind, returns).await.arg("--write").codes().await;
        // TXT alone passes; A alone passes; nothing does, which is no secondary that forwards; all but TXT does.
        assert_eq!(codes("input:getQType() == 16").await, ["policy_drops"], "{kind}");
        let found = cases::policy(kind, "input:getQType() ~= 28").await.arg("--write").findings().await;
        let [found] = found.as_slice() else { panic!("{kind}: {found:?}") };
        assert!(found["what"].as_str().unwrap().contains("NOERROR to AAAA records"), "{found}");
        assert_eq!(found["hosts"], serde_json::json!(["*.office.dyn.example", "home.dyn.example"]), "{found}");
        assert_eq!(codes("false").await, ["policy_drops"], "{kind}");
        assert_eq!(codes("input:getQType() ~= 16").await, [""; 0], "{kind}");
        assert_eq!(codes("true").await, [""; 0], "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_that_others_do_not_see_is_named() {
    let check = cases::other_view().await;
    assert_eq!(check.codes().await, [""; 0], "the two views do not differ yet");
    let written = check.arg("--write");
    assert_eq!(written.codes().await, ["other_view"], "what was written is seen with the key alone");
    let serial = written.servers()[0].serial(ZONE).await.unwrap();
    assert_eq!(serial, 1, "the public's");
    assert_eq!(written.codes().await, ["other_view"], "once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_for_one_family_is_an_error() {
    for kind in [Kind::Bind, Kind::Knot] {
        let found = cases::one_family(kind).await.findings().await;
        let [found] = found.as_slice() else { panic!("{kind}: {found:?}") };
        assert_eq!((&found["code"], &found["level"]), (&"one_family".into(), &"error".into()), "{kind}");
        assert!(found["what"].as_str().unwrap().ends_with("set A records, but not AAAA"), "{kind}: {found}");
        assert_eq!(found["hosts"], serde_json::json!(["*.office.dyn.example", "home.dyn.example"]), "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_may_set_no_challenge_is_an_error_where_they_are_on() {
    let all = ["*.office.dyn.example", "home.dyn.example"];
    for (kind, hosts) in [(Kind::Bind, &all[..]), (Kind::Knot, &all[1..])] {
        let check = cases::no_challenges(kind).await;
        let found = check.findings().await;
        let [found] = found.as_slice() else { panic!("{kind}: {found:?}") };
        assert_eq!((&found["code"], &found["level"]), (&"no_challenges".into(), &"error".into()), "{kind}");
        assert_eq!(found["hosts"], serde_json::json!(hosts), "{kind}");
        assert!(lines(found).contains("TXT"), "{kind}: {found}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_zone_is_not_a_missing_right() {
    let found = cases::frozen().await.findings().await;
    let [found] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!((&found["code"], &found["level"]), (&"frozen".into(), &"error".into()));
    assert!(lines(found).contains("knotc zone-thaw dyn.example") && !lines(found).contains("acl"), "{found}");
}

fn soa() -> Record {
    let name = |text| Name::from_ascii(text).unwrap();
    let soa = SOA::new(name("ns1.dyn.example."), name("h.dyn.example."), 1, 3600, 600, 86400, 60);
    Record::from_rdata(name("dyn.example."), 60, RData::SOA(soa))
}

/// A primary that serves the zone and answers `rcode` to what would change it; `is_first` is where it does so before it looks
/// at prerequisites.
async fn unable(rcode: ResponseCode, is_first: bool) -> Vec<Value> {
    let key = Key::generate("gateway-key");
    let script = move |received: &Received| {
        let message = received.message().unwrap();
        let never = message.answers.iter().any(|record| record.record_type() == RecordType::SOA);
        match (received.opcode, received.owners.is_empty()) {
            (OpCode::Query, _) if received.zone == ZONE => Action::Records(vec![soa()]),
            (OpCode::Query, _) => Action::Records(Vec::new()),
            (_, _) if is_first => Action::Answer(rcode),
            (_, false) if never => Action::Answer(ResponseCode::YXRRSet),
            (_, true) => Action::Answer(ResponseCode::NoError),
            (_, false) => Action::Answer(rcode),
        }
    };
    let fake = FakePrimary::start(&key, script).await.unwrap();
    Check::new(&Config::new(&key, fake.addr()), Vec::new()).arg("--write").findings().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_that_cannot_write_is_an_error_and_no_missing_right() {
    for (rcode, is_first, code) in [
        (ResponseCode::ServFail, false, "cannot_write"),
        (ResponseCode::NotImp, false, "no_updates"),
        (ResponseCode::NotImp, true, "no_updates"),
    ] {
        let found = unable(rcode, is_first).await;
        let [found] = found.as_slice() else { panic!("{rcode}: {found:?}") };
        assert_eq!((&found["code"], &found["level"]), (&code.into(), &"error".into()));
        assert!(!lines(found).contains("grant") && !lines(found).contains("TSIG-ALLOW"), "{found}");
    }
}
