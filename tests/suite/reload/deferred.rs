//! What was asked for while the primary was away, over a reload.

use lab::{Gateway, Key, Kind, Server, Setup, soon};

use super::reload;
use crate::stage::{Config, ZONE, update};

async fn set(gateway: &Gateway, address: &str) -> String {
    update(gateway, &format!("hostname=home.dyn.example&myip={address}")).await.text()
}

async fn deferred(gateway: &Gateway) -> f64 {
    gateway.metric("dyngate_deferred_changes{zone=\"dyn.example\"").await.unwrap()
}

async fn primary(key: &Key) -> Server {
    Server::start(Kind::Knot, Setup::new().key(key).zone(ZONE)).await.unwrap()
}

fn config(key: &Key, primary: &Server) -> Config {
    let mut config = Config::new(key, primary.addr());
    config.grants = vec!["home.dyn.example"];
    config.more = "[engine]\ndeadline = \"1s\"\n".to_owned();
    config
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_done_at_the_primary_that_a_reload_names() {
    let key = Key::generate("k");
    let (mut old, mut new) = (primary(&key).await, primary(&key).await);
    let mut config = config(&key, &old);
    let gateway = config.start().await;
    old.stop().await.unwrap();
    assert_eq!(set(&gateway, "203.0.113.2").await, "911");
    soon("it is pending", async || deferred(&gateway).await == 1.0).await;
    config.primaries = vec![new.addr()];
    config.more.push_str("defer = \"off\"\n");
    assert_eq!(
        reload(&gateway, &config.toml()).await["changed"],
        serde_json::json!(["zones: 1 changed", "[engine] defer"])
    );
    let served = async || {
        new.addresses("home.dyn.example").await.unwrap() == ["203.0.113.2".parse::<std::net::IpAddr>().unwrap()]
    };
    soon("the address", served).await;
    soon("nothing is left", async || deferred(&gateway).await == 0.0).await;
    new.stop().await.unwrap();
    assert_eq!(set(&gateway, "203.0.113.3").await, "911");
    assert_eq!(deferred(&gateway).await, 0.0, "nothing is deferred from the reload on");
    config.more = config.more.replace("\"off\"", "\"2h\"");
    reload(&gateway, &config.toml()).await;
    assert_eq!(set(&gateway, "203.0.113.4").await, "911");
    soon("it is pending", async || deferred(&gateway).await == 1.0).await;
    assert!(gateway.log().contains("7200s"), "{}", gateway.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_dropped_with_its_zone_and_its_gauge_goes() {
    let key = Key::generate("k");
    let mut primary = primary(&key).await;
    let with = config(&key, &primary);
    let gateway = with.start().await;
    assert_eq!(set(&gateway, "203.0.113.1").await, "good 203.0.113.1");
    primary.stop().await.unwrap();
    assert_eq!(set(&gateway, "203.0.113.2").await, "911");
    soon("it is pending", async || deferred(&gateway).await == 1.0).await;
    let without = with.toml().replace("dyn.example", "other.example");
    reload(&gateway, &without).await;
    soon("it is dropped", async || gateway.log().contains("its zone is gone")).await;
    soon("the gauge goes", async || !gateway.metrics().await.unwrap().contains("zone=\"dyn.example\"")).await;
    reload(&gateway, &with.toml()).await;
    assert_eq!(deferred(&gateway).await, 0.0);
    primary.start_again().await.unwrap();
    assert_eq!(set(&gateway, "203.0.113.1").await, "nochg 203.0.113.1", "nobody wants the other any longer");
}
