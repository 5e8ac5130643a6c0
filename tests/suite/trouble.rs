//! The primary is down, slow to come, not the first in the list, or will not have us.

use lab::{Gateway, Key, Kind, Right, Server, Setup, faketime};

use crate::stage::{Config, NOBODY, Stage, ZONE, on_every_primary, program, update};

on_every_primary!(
    stopped_and_started,
    the_second_in_the_list_is_used,
    wrong_secret_and_unknown_key,
    clocks_apart,
    updates_not_allowed,
    a_refusal_is_told_until_a_change_succeeds,
);

fn quick(config: &mut Config) {
    config.more = "[engine]\ndeadline = \"3s\"\n".to_owned();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_names_the_family_that_the_key_may_not_set() {
    for kind in [Kind::Bind, Kind::Knot] {
        let rights = [Right::Type("A")];
        let restricted = |setup: Setup| setup.restrict(&Key::new("Gateway-Key", "", ""), &rights);
        let stage = Stage::with(kind, restricted, &[], |_| {}).await;
        assert_eq!(stage.set("home.dyn.example", "203.0.113.7").await, "good 203.0.113.7", "{kind}");
        assert_eq!(stage.set("home.dyn.example", "2001:db8::7").await, "dnserr", "{kind}");
        let log = stage.gateway.log();
        assert!(log.contains("types=\"AAAA\"") && log.contains("record types"), "{kind}: {log}");
    }
}

async fn stopped_and_started(kind: Kind) {
    let mut stage = Stage::with(kind, |setup| setup, &[], quick).await;
    assert_eq!(stage.set("home.dyn.example", "203.0.113.7").await, "good 203.0.113.7");
    stage.primary.stop().await.unwrap();
    // Before anything is sent: what is lost with a connection may be applied yet, and then nothing is known of the name.
    assert_eq!(stage.set("home.dyn.example", "203.0.113.7").await, "nochg 203.0.113.7", "verified lately");
    let down = stage.get("hostname=home.dyn.example&myip=203.0.113.8").await;
    assert_eq!((down.status, down.text().as_str()), (503, "911"));
    assert_eq!(down.header("X-Dyngate-Reason"), Some("primary unreachable"));
    assert!(down.header("Retry-After").is_some());
    let ready = lab::http::Request::get("/readyz").send(stage.gateway.admin()).await.unwrap();
    assert_eq!(ready.status, 200);
    assert!(ready.text().contains("zone dyn.example: "), "{}", ready.text());
    assert_eq!(stage.gateway.metric("dyngate_primary_up{zone=\"dyn.example\"").await.unwrap(), 0.0);
    stage.primary.start_again().await.unwrap();
    // PowerDNS may answer SERVFAIL at first: its SQLite file is still locked by its own start.
    for _ in 0..5 {
        if stage.set("home.dyn.example", "203.0.113.9").await == "good 203.0.113.9" {
            break;
        }
    }
    assert_eq!(stage.served("home.dyn.example").await, ["203.0.113.9"], "{}", stage.gateway.log());
    assert_eq!(stage.gateway.metric("dyngate_primary_up{zone=\"dyn.example\"").await.unwrap(), 1.0);
}

async fn the_second_in_the_list_is_used(kind: Kind) {
    let dead = |config: &mut Config| config.primaries.insert(0, NOBODY.parse().unwrap());
    let stage = Stage::with(kind, |setup| setup, &[], dead).await;
    assert_eq!(stage.set("home.dyn.example", "203.0.113.7").await, "good 203.0.113.7");
    assert_eq!(stage.served("home.dyn.example").await, ["203.0.113.7"]);
    assert_eq!(stage.set("home.dyn.example", "203.0.113.7").await, "nochg 203.0.113.7");
}

async fn wrong_secret_and_unknown_key(kind: Kind) {
    let key = Key::generate("gateway-key");
    let primary = Server::start(kind, Setup::new().key(&key).zone(ZONE)).await.unwrap();
    let wrong_secret = Key::generate("gateway-key");
    let unknown = Key::generate("another-key");
    for key in [wrong_secret, unknown] {
        let mut config = Config::new(&key, primary.addr());
        config.grants = vec!["home.dyn.example", "*.office.dyn.example"];
        let gateway = config.start().await;
        let by_wildcard = update(&gateway, "hostname=pc.office.dyn.example&myip=203.0.113.7").await;
        assert_eq!((by_wildcard.status, by_wildcard.text().as_str()), (503, "dnserr"), "{}", gateway.log());
        let refused = update(&gateway, "hostname=home.dyn.example&myip=203.0.113.7").await;
        assert_eq!((refused.status, refused.text().as_str()), (503, "dnserr"), "{}", gateway.log());
        assert_eq!(refused.header("X-Dyngate-Reason"), Some("primary refuses us"));
        assert!(gateway.log().contains("advice="), "the log says what to do: {}", gateway.log());
        assert!(!gateway.log().contains(&key.secret), "no secret in the log");
        let ready = lab::http::Request::get("/readyz").send(gateway.admin()).await.unwrap();
        assert!(ready.status == 200 && ready.text().contains("zone dyn.example: "), "{}", ready.text());
    }
    assert!(primary.addresses("home.dyn.example").await.unwrap().is_empty());
}

async fn clocks_apart(kind: Kind) {
    let key = Key::generate("gateway-key");
    let primary = Server::start(kind, Setup::new().key(&key).zone(ZONE)).await.unwrap();
    let mut config = Config::new(&key, primary.addr());
    config.grants = vec!["home.dyn.example"];
    let builder = Gateway::builder(program()).config(&config.toml()).envs(faketime(-4000).unwrap());
    let gateway = builder.start().await.unwrap();
    let answer = update(&gateway, "hostname=home.dyn.example&myip=203.0.113.7").await;
    // PowerDNS answers a wrong clock as it answers a wrong secret: an unsigned REFUSED.
    let expected = if kind.is_powerdns() { "dnserr" } else { "911" };
    assert_eq!((answer.status, answer.text().as_str()), (503, expected), "{}", gateway.log());
    if !kind.is_powerdns() {
        assert!(gateway.log().contains("BADTIME (+"), "the log tells the difference: {}", gateway.log());
    }
}

async fn updates_not_allowed(kind: Kind) {
    let config = |config: &mut Config| config.grants = vec!["home.dyn.example"];
    let stage = Stage::with(kind, |setup| setup.allow_update(false), &[], config).await;
    let refused = stage.get("hostname=home.dyn.example&myip=203.0.113.7").await;
    assert_eq!((refused.status, refused.text().as_str()), (503, "dnserr"), "{}", stage.gateway.log());
}

/// That the primary can be reached again says nothing about what it refused.
async fn a_refusal_is_told_until_a_change_succeeds(kind: Kind) {
    let config = |config: &mut Config| config.grants = vec!["home.dyn.example"];
    let mut stage = Stage::with(kind, |setup| setup.allow_update(false), &[], config).await;
    assert_eq!(stage.set("home.dyn.example", "203.0.113.7").await, "dnserr");
    let ready = async |gateway: &Gateway| {
        lab::http::Request::get("/readyz?primaries").send(gateway.admin()).await.unwrap().text()
    };
    let refusal = ready(&stage.gateway).await.lines().nth(1).expect("the zone's trouble").to_owned();
    assert!(refusal.starts_with("zone dyn.example: ") && refusal.contains(" answers "), "{refusal}");
    stage.primary.stop().await.unwrap();
    lab::soon("it is missed", async || ready(&stage.gateway).await.starts_with("not ready\n")).await;
    stage.primary.start_again().await.unwrap();
    lab::soon("it is back", async || ready(&stage.gateway).await.starts_with("ready\n")).await;
    let after = ready(&stage.gateway).await;
    assert!(after.contains(" answers "), "still refused: {after}");
}
