//! What a wildcard grant never gives: the names that any zone's own servers have, whatever is known of them, and more names than
//! the account may have.

use std::collections::HashSet;
use std::time::Duration;

use lab::http::{Connection, Request};
use lab::{Gateway, Key, Kind, Right, Server, Setup, soon};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::stage::{Config, SECRET, Stage, ZONE, on_bind_and_knot, update};

/// A zone of another primary, whose servers may have names in ours.
const OTHER: &str = "other.example";
const UNREAD: &str = "its SOA and NS records";

on_bind_and_knot!(
    a_server_that_a_zone_has_since_a_moment_is_covered_by_no_wildcard,
    nothing_below_a_wildcard_changes_before_every_zones_servers_are_known,
    a_key_for_one_family_brings_no_more_names_into_being_than_the_account_may_have,
);

/// Two zones with a primary each, and a gateway for both.
struct Two {
    home: Server,
    other: Server,
    config: Config,
}

impl Two {
    async fn new(kind: Kind) -> Self {
        let key = Key::generate("gateway-key");
        let home = Server::start(kind, Setup::new().key(&key).zone(ZONE)).await.unwrap();
        let lines = ["@ IN NS ns2.dyn.example."];
        let other = Server::start(kind, Setup::new().key(&key).zone_with(OTHER, &lines)).await.unwrap();
        let mut config = Config::new(&key, home.addr());
        let key = &config.key.name;
        config.more = format!(
            "[[zone]]\nname = \"{OTHER}\"\nkey = \"{key}\"\nprimaries = [\"{}\"]\n[engine]\ndeadline = \"2s\"\n",
            other.addr()
        );
        Self { home, other, config }
    }
}

async fn set(gateway: &Gateway, host: &str, address: &str) -> String {
    update(gateway, &format!("hostname={host}.{ZONE}&myip={address}")).await.text()
}

/// Edits, and waits until no answer of before counts any longer: 250 ms.
async fn edit(server: &Server, lines: &[&str]) {
    server.edit(lines).await.unwrap();
    sleep(Duration::from_millis(250)).await;
}

async fn ready(gateway: &Gateway) -> String {
    Request::get("/readyz").send(gateway.admin()).await.unwrap().text()
}

async fn a_server_that_a_zone_has_since_a_moment_is_covered_by_no_wildcard(kind: Kind) {
    let two = Two::new(kind).await;
    let gateway = two.config.start().await;
    assert_eq!(set(&gateway, "ns2", "203.0.113.1").await, "nohost", "another zone names it");
    assert_eq!(set(&gateway, "ns3", "203.0.113.1").await, "good 203.0.113.1", "nobody names it");
    edit(&two.other, &[&format!("update add {OTHER}. 3600 NS ns3.{ZONE}.")]).await;
    assert_eq!(set(&gateway, "ns3", "203.0.113.2").await, "nohost", "{}", gateway.log());
    let server = [format!("update add ns4.{ZONE}. 60 A 192.0.2.4"), format!("update add {ZONE}. 3600 NS ns4.{ZONE}.")];
    edit(&two.home, &server.each_ref().map(String::as_str)).await;
    assert_eq!(set(&gateway, "ns4", "203.0.113.2").await, "nohost", "{}", gateway.log());
    assert_eq!(two.home.addresses("ns3.dyn.example").await.unwrap(), [std::net::IpAddr::from([203, 0, 113, 1])]);
    assert_eq!(two.home.addresses("ns4.dyn.example").await.unwrap(), [std::net::IpAddr::from([192, 0, 2, 4])]);
    edit(&two.other, &[&format!("update add {OTHER}. 3600 NS ns7.far.off.{ZONE}.")]).await;
    for host in ["ns7.far.off", "*.far.off", "*.off"] {
        assert_eq!(
            set(&gateway, host, "203.0.113.2").await,
            "nohost",
            "{host} answers for a server: {}",
            gateway.log()
        );
    }
    assert_eq!(set(&gateway, "*.ns7.far.off", "203.0.113.2").await, "good 203.0.113.2");
    edit(&two.other, &[&format!("update delete {OTHER}. NS ns3.{ZONE}.")]).await;
    // What was heard is refused without a question; another change asks.
    assert_eq!(set(&gateway, "ns5", "203.0.113.2").await, "good 203.0.113.2");
    assert_eq!(set(&gateway, "ns3", "203.0.113.2").await, "good 203.0.113.2");
}

async fn nothing_below_a_wildcard_changes_before_every_zones_servers_are_known(kind: Kind) {
    let mut two = Two::new(kind).await;
    two.config.grants.push("exact.dyn.example");
    two.other.stop().await.unwrap();
    let gateway = two.config.start().await;
    for host in ["ns2", "pc"] {
        assert_eq!(set(&gateway, host, "203.0.113.1").await, "911", "{}", gateway.log());
    }
    assert_eq!(
        set(&gateway, "exact", "203.0.113.1").await,
        "good 203.0.113.1",
        "what is granted exactly needs no look"
    );
    for host in ["ns2", "pc"] {
        assert!(two.home.addresses(&format!("{host}.{ZONE}")).await.unwrap().is_empty(), "{host}");
    }
    let log = gateway.log();
    assert!(log.contains("WARN") && log.contains("cannot be read; changes below wildcards of all zones wait"), "{log}");
    assert!(log.contains("reason=\"zone other.example: its SOA and NS records may name it: "), "{log}");
    soon("it is named", async || {
        ready(&gateway).await.lines().any(|line| line.starts_with("zone other.example: ") && line.contains(UNREAD))
    })
    .await;
    two.other.start_again().await.unwrap();
    soon("it is over", async || ready(&gateway).await == "ready\n").await;
    let served = async |host: &str| two.home.addresses(&format!("{host}.{ZONE}")).await.unwrap();
    assert_eq!(served("pc").await, [std::net::IpAddr::from([203, 0, 113, 1])], "it was pending, and is judged again");
    assert!(served("ns2").await.is_empty(), "{}", gateway.log());
    assert_eq!(set(&gateway, "ns2", "203.0.113.1").await, "nohost");

    // Where the primary is away, nobody gives the zone a server either: what it said last counts.
    two.other.stop().await.unwrap();
    soon("the others go on", async || set(&gateway, "ns6", "203.0.113.1").await != "911").await;
    assert_eq!(served("ns6").await, [std::net::IpAddr::from([203, 0, 113, 1])], "{}", gateway.log());
    assert_eq!(set(&gateway, "ns2", "203.0.113.1").await, "nohost", "{}", gateway.log());
}

/// Of two requests for a name always one fails, at the same time as the other is made.
async fn a_key_for_one_family_brings_no_more_names_into_being_than_the_account_may_have(kind: Kind) {
    let restrict = |setup: Setup| setup.restrict(&Key::new("Gateway-Key", "", ""), &[Right::Type("A")]);
    let stage = Stage::with(kind, restrict, &[], |config| {
        config.grants = vec![];
        config.more = format!(
            "[[account]]\nlogin = \"few\"\nsecret = \"{}\"\nhosts = [\"*.dyn.example\"]\nmax_hosts = 3\n",
            lab::digest(SECRET)
        );
    })
    .await;
    let mut answers = Vec::new();
    let has = |answers: &[(String, String)], word: &str| answers.iter().any(|(answer, _)| answer.starts_with(word));
    // In one round the names may all have gone to requests that failed.
    for _ in 0..20 {
        let mut requests = JoinSet::new();
        for number in 0..140_u32 {
            let mut connection = Connection::open(stage.gateway.http(), None).await.unwrap();
            let is_v6 = number / 14 % 2 == 0;
            let address = if is_v6 { "2001:db8::1".to_owned() } else { format!("203.0.113.{number}") };
            let target = format!("/nic/update?hostname=h{}.{ZONE}&myip={address}", number % 14);
            let request = Request::get(&target).basic("few", SECRET);
            requests.spawn(async move { (connection.send(&request).await.unwrap().text(), address) });
        }
        answers.extend(requests.join_all().await);
        if has(&answers, "good ") && has(&answers, "dnserr") {
            break;
        }
    }
    assert!(has(&answers, "good 203.") && has(&answers, "dnserr") && !has(&answers, "good 2001"), "{answers:?}");
    let mut made = HashSet::new();
    for number in 0..14 {
        let name = format!("h{number}.{ZONE}");
        made.extend((!stage.primary.addresses(&name).await.unwrap().is_empty()).then_some(name));
    }
    assert!((1..=3).contains(&made.len()), "{made:?} {answers:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nothing_is_deferred_it_is_not_made_later_either() {
    let mut two = Two::new(Kind::Knot).await;
    two.config.more += "defer = \"off\"\n";
    two.other.stop().await.unwrap();
    let gateway = two.config.start().await;
    assert_eq!(set(&gateway, "pc", "203.0.113.1").await, "911");
    assert!(!ready(&gateway).await.contains("pending") && !gateway.log().contains("is dropped"), "{}", gateway.log());
    two.other.start_again().await.unwrap();
    soon("it is over", async || ready(&gateway).await == "ready\n").await;
    assert!(two.home.addresses("pc.dyn.example").await.unwrap().is_empty());
    assert_eq!(set(&gateway, "pc", "203.0.113.1").await, "good 203.0.113.1");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_a_zones_servers_counts_as_a_name_of_the_account() {
    let mut two = Two::new(Kind::Knot).await;
    two.config.grants = vec![];
    two.config.more += &format!(
        "[[account]]\nlogin = \"few\"\nsecret = \"{}\"\nhosts = [\"*.dyn.example\"]\nmax_hosts = 1\n",
        lab::digest(SECRET)
    );
    two.other.stop().await.unwrap();
    let gateway = two.config.start().await;
    let set = async |host: &str| {
        let request =
            Request::get(&format!("/nic/update?hostname={host}.{ZONE}&myip=203.0.113.1")).basic("few", SECRET);
        request.send(gateway.http()).await.unwrap().text()
    };
    assert_eq!((set("one").await.as_str(), set("two").await.as_str()), ("911", "nohost"));
    two.other.start_again().await.unwrap();
    soon("the first is made", async || !two.home.addresses("one.dyn.example").await.unwrap().is_empty()).await;
    assert_eq!(set("two").await, "nohost");
}
