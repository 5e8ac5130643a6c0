//! Zones, primaries and the engine's times over a reload.

use lab::fake::{Action, FakePrimary};
use lab::{Gateway, Key, Kind, Server, Setup, soon};

use super::{account, reload};
use crate::stage::{Config, Stage, ZONE, update};

async fn sent(gateway: &Gateway) -> f64 {
    gateway.metric("dyngate_update_batch_hosts_count").await.unwrap()
}

fn zone(name: &str, key: &Key, primary: &Server) -> String {
    format!("[[zone]]\nname = \"{name}\"\nkey = \"{}\"\nprimaries = [\"{}\"]\n", key.name, primary.addr())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zone_comes_and_goes_with_its_series_and_what_was_remembered_of_its_names() {
    let key = Key::generate("k");
    let setup = Setup::new().key(&key).zone(ZONE).zone("office.dyn.example");
    let primary = Server::start(Kind::Knot, setup).await.unwrap();
    let parent = Server::start(Kind::Knot, Setup::new().key(&key).zone(ZONE)).await.unwrap();
    let mut config = Config::new(&key, parent.addr());
    let gateway = config.start().await;
    let set =
        async |address: &str| update(&gateway, &format!("hostname=a.office.dyn.example&myip={address}")).await.text();
    let series = async || gateway.metrics().await.unwrap().contains("zone=\"office.dyn.example\"");
    assert_eq!(set("203.0.113.1").await, "good 203.0.113.1", "in the zone above");
    assert!(!series().await);

    config.more = zone("office.dyn.example", &key, &primary);
    let said = reload(&gateway, &config.toml()).await;
    assert_eq!(said["changed"], serde_json::json!(["zones: 1 added"]));
    assert_eq!(set("203.0.113.1").await, "good 203.0.113.1", "the new zone does not hold it yet");
    assert_eq!(
        primary.addresses("a.office.dyn.example").await.unwrap(),
        ["203.0.113.1".parse::<std::net::IpAddr>().unwrap()]
    );
    assert!(series().await);
    parent.edit(&["update delete a.office.dyn.example"]).await.unwrap();

    config.more = String::new();
    assert_eq!(reload(&gateway, &config.toml()).await["changed"], serde_json::json!(["zones: 1 removed"]));
    assert_eq!(set("203.0.113.1").await, "good 203.0.113.1", "what was remembered of the zone above is old");
    assert_eq!(parent.addresses("a.office.dyn.example").await.unwrap().len(), 1);
    soon("the series of a removed zone go", async || !series().await).await;
    assert!(gateway.metrics().await.unwrap().contains("zone=\"dyn.example\""));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_under_way_in_a_removed_zone_is_finished() {
    let grant = |config: &mut Config| config.grants = vec!["h.dyn.example"];
    let Stage { mut primary, gateway } = Stage::with(Kind::Knot, |setup| setup, &[], grant).await;
    let set =
        async |host: &str, address: &str| update(&gateway, &format!("hostname={host}&myip={address}")).await.text();
    assert_eq!(set("h.dyn.example", "203.0.113.7").await, "good 203.0.113.7");
    let key = Key::generate("other");
    let other = Server::start(Kind::Knot, Setup::new().key(&key).zone("other.example")).await.unwrap();
    primary.pause().await.unwrap();
    let mut config = Config::new(&key, other.addr());
    config.grants = vec!["*.other.example"];
    let toml = config.toml().replace("name = \"dyn.example\"", "name = \"other.example\"");
    let meanwhile = async {
        // The message is on its way once it was counted.
        soon("the second message", async || sent(&gateway).await >= 2.0).await;
        let said = reload(&gateway, &toml).await;
        assert!(said["changed"].to_string().contains("zones: 1 added, 1 removed"), "{said}");
        primary.resume()
    };
    let (answer, resumed) = tokio::join!(set("h.dyn.example", "203.0.113.1"), meanwhile);
    resumed.unwrap();
    assert_eq!(answer, "good 203.0.113.1", "{}", gateway.log());
    assert_eq!(set("h.dyn.example", "203.0.113.2").await, "nohost");
    assert_eq!(set("h.other.example", "203.0.113.2").await, "good 203.0.113.2");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_that_is_no_longer_listed_is_left_and_its_unanswered_change_goes_to_the_next() {
    let key = Key::generate("k");
    let silent = FakePrimary::start(&key, |_| Action::Silent).await.unwrap();
    let next = Server::start(Kind::Knot, Setup::new().key(&key).zone(ZONE)).await.unwrap();
    let mut config = Config::new(&key, silent.addr());
    config.more = account("exact", "secret", &["h.dyn.example"]);
    let gateway = config.start().await;
    let request =
        lab::http::Request::get("/nic/update?hostname=h.dyn.example&myip=203.0.113.1").basic("exact", "secret");
    config.primaries = vec![next.addr()];
    let meanwhile = async {
        soon("the first message", async || sent(&gateway).await >= 1.0).await;
        reload(&gateway, &config.toml()).await
    };
    let (answer, _) = tokio::join!(request.send(gateway.http()), meanwhile);
    assert_eq!(answer.unwrap().text(), "good 203.0.113.1", "{}", gateway.log());
    assert_eq!(next.addresses("h.dyn.example").await.unwrap().len(), 1);
    let metrics = gateway.metrics().await.unwrap();
    assert!(!metrics.contains(&format!("primary=\"{}\"", silent.addr())), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shorter_deadline_holds_for_the_next_request() {
    let key = Key::generate("k");
    let silent = FakePrimary::start(&key, |_| Action::Silent).await.unwrap();
    let mut config = Config::new(&key, silent.addr());
    config.grants = vec!["h.dyn.example"];
    config.more = "[engine]\ndeadline = \"60s\"\n".to_owned();
    let gateway = config.start().await;
    config.more = "[engine]\ndeadline = \"100ms\"\n".to_owned();
    reload(&gateway, &config.toml()).await;
    let answer = update(&gateway, "hostname=h.dyn.example&myip=203.0.113.1").await;
    assert_eq!((answer.status, answer.text().as_str()), (503, "911"), "long before the client gives up after 30 s");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zone_that_comes_back_while_a_change_of_it_is_under_way_has_one_lane() {
    let key = Key::generate("k");
    let setup = Setup::new().key(&key).zone(ZONE).zone("other.example");
    let mut primary = Server::start(Kind::Knot, setup).await.unwrap();
    let mut config = Config::new(&key, primary.addr());
    config.grants = vec!["h.dyn.example"];
    let gateway = config.start().await;
    let set = async |n: u8| update(&gateway, &format!("hostname=h.dyn.example&myip=203.0.113.{n}")).await.text();
    assert_eq!(set(1).await, "good 203.0.113.1");
    primary.pause().await.unwrap();
    let meanwhile = async {
        soon("the second message", async || sent(&gateway).await >= 2.0).await;
        let without = config.toml().replace("dyn.example", "other.example");
        assert!(reload(&gateway, &without).await["changed"].to_string().contains("zones: 1 added, 1 removed"));
        reload(&gateway, &config.toml()).await;
        // Waits behind the one in flight, in whose queue it is.
        let newer = tokio::join!(set(3), async { primary.resume() });
        newer.1.unwrap();
        newer.0
    };
    let (older, newer) = tokio::join!(set(2), meanwhile);
    assert_eq!((older.as_str(), newer.as_str()), ("good 203.0.113.2", "good 203.0.113.3"));
    assert_eq!(primary.addresses("h.dyn.example").await.unwrap().len(), 1);
    assert_eq!(set(3).await, "nochg 203.0.113.3");
    assert!(gateway.log().contains("verified lately"), "{}", gateway.log());
}
