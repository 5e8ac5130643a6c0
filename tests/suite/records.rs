//! The records are right, and the word is true, on every primary.

use lab::{Kind, RecordType, soon};

use crate::stage::{Stage, ZONE, on_every_primary, update};

on_every_primary!(
    set_change_and_repeat,
    both_families_are_kept_apart,
    what_the_primary_holds_already_is_no_change,
    a_hand_edit_is_seen,
    names_that_would_never_be_served_are_refused,
    unusual_places_are_served,
    a_signed_zone_stays_signed,
);

async fn ttl(stage: &Stage, host: &str) -> u32 {
    let answer = stage.primary.query(host, "A").await.unwrap();
    answer.records.iter().find(|record| record.kind == RecordType::A).expect("an A record").ttl
}

async fn set_change_and_repeat(kind: Kind) {
    let lines = ["old 3600 IN A 192.0.2.1", "old 3600 IN A 192.0.2.2", "old 3600 IN TXT kept"];
    let stage = Stage::with(kind, |setup| setup, &lines, |_| {}).await;
    assert_eq!(stage.set("home.dyn.example", "203.0.113.7").await, "good 203.0.113.7");
    assert_eq!(stage.served("home.dyn.example").await, ["203.0.113.7"]);
    assert_eq!(ttl(&stage, "home.dyn.example").await, 60);
    let serial = stage.primary.serial(ZONE).await.unwrap();
    assert_eq!(stage.set("HOME.dyn.example.", "203.0.113.7").await, "nochg 203.0.113.7");
    assert_eq!(stage.primary.serial(ZONE).await.unwrap(), serial);
    assert_eq!(stage.set("home.dyn.example", "203.0.113.8").await, "good 203.0.113.8");
    assert_eq!(stage.served("home.dyn.example").await, ["203.0.113.8"]);
    // An RRset is replaced whole, and no other type is touched.
    assert_eq!(stage.set("old.dyn.example", "192.0.2.1").await, "good 192.0.2.1");
    assert_eq!(stage.served("old.dyn.example").await, ["192.0.2.1"]);
    assert_eq!(stage.primary.query("old.dyn.example", "TXT").await.unwrap().records.len(), 1);
}

async fn both_families_are_kept_apart(kind: Kind) {
    let stage = Stage::new(kind).await;
    let body = stage.set("home.dyn.example", "203.0.113.7,2001:DB8:0::1").await;
    assert_eq!(body, "good 203.0.113.7,2001:DB8:0::1");
    assert_eq!(stage.served("home.dyn.example").await, ["203.0.113.7", "2001:db8::1"]);
    assert_eq!(stage.set("home.dyn.example", "2001:db8::1,203.0.113.7").await, "nochg 203.0.113.7,2001:db8::1");
    assert_eq!(stage.set("home.dyn.example", "2001:db8::2").await, "good 2001:db8::2");
    assert_eq!(stage.served("home.dyn.example").await, ["203.0.113.7", "2001:db8::2"]);
    assert_eq!(stage.set("home.dyn.example", "203.0.113.7,2001:db8::3").await, "good 203.0.113.7,2001:db8::3");
}

async fn what_the_primary_holds_already_is_no_change(kind: Kind) {
    let lines = ["static 60 IN A 192.0.2.1", "slow 3600 IN A 192.0.2.1", "*.wild 60 IN A 192.0.2.1"];
    let mut stage = Stage::with(kind, |setup| setup, &lines, |_| {}).await;
    let serial = stage.primary.serial(ZONE).await.unwrap();
    // The gateway has never seen these; the primary says.
    assert_eq!(stage.set("static.dyn.example", "192.0.2.1").await, "nochg 192.0.2.1");
    assert_eq!(stage.primary.serial(ZONE).await.unwrap(), serial);
    assert_eq!(stage.set("slow.dyn.example", "192.0.2.1").await, "good 192.0.2.1", "another TTL is a change");
    assert_eq!(ttl(&stage, "slow.dyn.example").await, 60);
    let below_wildcard = "host.wild.dyn.example";
    assert_eq!(stage.set(below_wildcard, "192.0.2.1").await, "good 192.0.2.1", "not the name's own record");
    stage.gateway.stop().await.unwrap();
    stage.gateway.start_again().await.unwrap();
    assert_eq!(stage.set(below_wildcard, "192.0.2.1").await, "nochg 192.0.2.1");
    // The TTL is changed in the configuration.
    stage.gateway.stop().await.unwrap();
    let written = std::fs::read_to_string(stage.gateway.folder().join("gateway.toml")).unwrap();
    stage.gateway.write("gateway.toml", &written.replace("[[zone]]\n", "[[zone]]\nttl = 120\n")).unwrap();
    stage.gateway.start_again().await.unwrap();
    assert_eq!(stage.set(below_wildcard, "192.0.2.1").await, "good 192.0.2.1");
    assert_eq!(ttl(&stage, below_wildcard).await, 120);
}

async fn a_hand_edit_is_seen(kind: Kind) {
    let config = |config: &mut crate::stage::Config| config.more = "[engine]\nverify_interval = \"0s\"\n".to_owned();
    let stage = Stage::with(kind, |setup| setup, &[], config).await;
    assert_eq!(stage.set("home.dyn.example", "203.0.113.7").await, "good 203.0.113.7");
    assert_eq!(stage.set("home.dyn.example", "203.0.113.7").await, "nochg 203.0.113.7");
    stage
        .primary
        .edit(&["update delete home.dyn.example. A", "update add home.dyn.example. 60 A 192.0.2.66"])
        .await
        .unwrap();
    assert_eq!(stage.set("home.dyn.example", "203.0.113.7").await, "good 203.0.113.7");
    assert_eq!(stage.served("home.dyn.example").await, ["203.0.113.7"]);
    stage.primary.edit(&["update delete home.dyn.example. A"]).await.unwrap();
    assert_eq!(stage.set("home.dyn.example", "203.0.113.7").await, "good 203.0.113.7");
    assert_eq!(stage.served("home.dyn.example").await, ["203.0.113.7"]);
}

async fn names_that_would_never_be_served_are_refused(kind: Kind) {
    let lines =
        ["alias 60 IN CNAME ns1", "sub 60 IN NS ns1.elsewhere.example.", "moved 60 IN DNAME elsewhere.example."];
    let stage = Stage::with(kind, |setup| setup, &lines, |_| {}).await;
    for host in ["alias", "sub", "a.sub", "a.b.sub", "a.moved"] {
        let response = stage.get(&format!("hostname={host}.dyn.example&myip=203.0.113.7")).await;
        assert_eq!((response.status, response.text().as_str()), (200, "nohost"), "{host}");
        assert_eq!(response.header("X-Dyngate-Reason"), Some("not your host"));
    }
    let cname = stage.primary.query("alias.dyn.example", "CNAME").await.unwrap();
    assert_eq!(cname.records.len(), 1, "the CNAME still stands");
    assert!(stage.gateway.log().contains("YXRRSET"), "the log says what was the matter");
    // Good names go on working, in the same request too.
    let mixed = stage.get("hostname=alias.dyn.example,home.dyn.example&myip=203.0.113.7").await;
    assert_eq!((mixed.status, mixed.text().as_str()), (200, "nohost\ngood 203.0.113.7"));
}

async fn unusual_places_are_served(kind: Kind) {
    let lines = ["a.empty 60 IN TXT x", "* 60 IN CNAME ns1"];
    let grants = |config: &mut crate::stage::Config| {
        config.grants = vec!["dyn.example", "*.dyn.example", "_x.dyn.example"];
    };
    let stage = Stage::with(kind, |setup| setup, &lines, grants).await;
    for host in ["dyn.example", "empty.dyn.example", "below-wildcard-cname.dyn.example", "xn--hme-sna.dyn.example"] {
        assert_eq!(stage.set(host, "203.0.113.7").await, "good 203.0.113.7", "{host}");
        assert_eq!(stage.served(host).await, ["203.0.113.7"], "{host}");
        assert_eq!(stage.set(host, "203.0.113.7").await, "nochg 203.0.113.7", "{host}");
    }
    assert_eq!(stage.set("*.home.dyn.example", "203.0.113.7").await, "good 203.0.113.7");
    assert_eq!(stage.served("anything.home.dyn.example").await, ["203.0.113.7"]);
    for host in ["*.dyn.example", "ns1.dyn.example"] {
        assert_eq!(stage.set(host, "203.0.113.7").await, "nohost", "no wildcard grant covers {host}");
    }
    assert_eq!(stage.set("_y.dyn.example", "203.0.113.7").await, "notfqdn");
}

async fn a_signed_zone_stays_signed(kind: Kind) {
    let stage = Stage::with(kind, lab::Setup::signed, &[], |_| {}).await;
    let body = stage.set("home.dyn.example", "203.0.113.7,2001:db8::1").await;
    assert_eq!(body, "good 203.0.113.7,2001:db8::1", "{}\n{}", stage.gateway.log(), stage.primary.log());
    assert_eq!(stage.set("home.dyn.example", "203.0.113.7,2001:db8::1").await, "nochg 203.0.113.7,2001:db8::1");
    // BIND acknowledges the change of the unsigned zone, and serves the signed one a moment later.
    soon("one signature", async || {
        let answer = lab::query_dnssec(stage.primary.addr(), "home.dyn.example", "A").await.unwrap();
        answer.records.iter().filter(|record| record.kind == RecordType::RRSIG).count() == 1
    })
    .await;
    let again = update(&stage.gateway, "hostname=home.dyn.example&myip=203.0.113.8").await;
    assert_eq!(again.text(), "good 203.0.113.8");
}
