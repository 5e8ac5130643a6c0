//! Many zones of one primary share its connections, of which it takes only so many.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use lab::fake::{Action, FakePrimary};
use lab::load::{read_back, storm};
use lab::{Gateway, Key, Kind, Server, Setup, soon};

use crate::stage::{Config, LOGIN, SECRET, Stage, ZONE};

const ZONES: u32 = 24;
const HOSTS: u32 = 240;

fn beside() -> Vec<String> {
    (0..ZONES).map(|zone| format!("z{zone}.{ZONE}")).collect()
}

/// As few connections as PowerDNS takes where nothing is said.
fn few_connections(setup: Setup) -> Setup {
    let setup = setup.option(Kind::Bind, "tcp-clients 20;").option(Kind::Knot, "tcp-max-clients: 20");
    beside().iter().fold(setup, |setup, zone| setup.zone(zone))
}

/// The same primaries for all of them.
fn all_zones(config: &mut Config) {
    let primaries: Vec<_> = config.primaries.iter().map(ToString::to_string).collect();
    for zone in beside() {
        let key = &config.key.name;
        config.more += &format!("[[zone]]\nname = \"{zone}\"\nkey = \"{key}\"\nprimaries = {primaries:?}\n");
    }
}

async fn more_zones_than_connections(kind: Kind) {
    let stage = Stage::with(kind, few_connections, &[], all_zones).await;
    let mut zones = beside();
    zones.push(ZONE.to_owned());
    for round in [1, 2] {
        let host = |n: u32| {
            let address = Ipv4Addr::from(u32::from_be_bytes([203, 0, round, 0]) + n);
            (format!("h{n}.{}", zones[n as usize % zones.len()]), IpAddr::from(address))
        };
        let hosts: Vec<_> = (0..HOSTS).map(host).collect();
        let bodies = storm(stage.gateway.http(), (LOGIN, SECRET), &hosts, HOSTS as usize).await.unwrap();
        for ((host, address), body) in hosts.iter().zip(&bodies) {
            assert_eq!(*body, format!("good {address}"), "{host}");
        }
        read_back(stage.primary.addr(), &hosts).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bind() {
    more_zones_than_connections(Kind::Bind).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn knot() {
    more_zones_than_connections(Kind::Knot).await;
}

// Over SQLite it answers SERVFAIL where two zones are written at once, whatever the connection.
#[tokio::test(flavor = "multi_thread")]
async fn powerdns() {
    more_zones_than_connections(Kind::PowerDnsLmdb).await;
}

/// Gives each zone's host this address, until all of them have it.
async fn all_move(gateway: &Gateway, address: [u8; 4]) -> Vec<(String, IpAddr)> {
    let hosts: Vec<_> = beside().iter().map(|zone| (format!("h.{zone}"), IpAddr::from(address))).collect();
    let mut left = hosts.clone();
    soon("all have it", async || {
        let bodies = storm(gateway.http(), (LOGIN, SECRET), &left, left.len()).await.unwrap();
        let answered: Vec<_> = left.drain(..).zip(bodies).collect();
        left = answered.into_iter().filter(|(_, body)| body == "911").map(|(host, _)| host).collect();
        left.is_empty()
    })
    .await;
    hosts
}

/// A second primary, and a gateway that is told of `first` and of it.
async fn with_a_second(key: &Key, first: SocketAddr) -> (Server, Gateway) {
    let second = Server::start(Kind::Knot, few_connections(Setup::new().key(key)).zone(ZONE)).await.unwrap();
    let mut config = Config::new(key, first);
    config.primaries.push(second.addr());
    all_zones(&mut config);
    config.more += "[engine]\ndeadline = \"1s\"\n";
    (second, config.start().await)
}

// Most zones never get a connection to it, for the first hold all there are; and until the zone's own servers are known no
// change below a wildcard is sent, which would show that nobody answers.
#[tokio::test(flavor = "multi_thread")]
async fn each_leaves_a_primary_that_was_silent_from_the_start() {
    let key = Key::generate("gateway-key");
    let silent = FakePrimary::start(&key, |_| Action::Silent).await.unwrap();
    let (second, gateway) = with_a_second(&key, silent.addr()).await;
    let hosts = all_move(&gateway, [203, 0, 113, 1]).await;
    read_back(second.addr(), &hosts).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn each_leaves_a_primary_that_hangs() {
    let key = Key::generate("gateway-key");
    let setup = few_connections(Setup::new().key(&key)).zone(ZONE);
    let mut first = Server::start(Kind::Bind, setup).await.unwrap();
    let (second, gateway) = with_a_second(&key, first.addr()).await;
    let hosts = all_move(&gateway, [203, 0, 113, 1]).await;
    // It takes few connections, and a deadline is short: some may have left it already.
    let mut is_in_use = false;
    for host in &hosts {
        is_in_use |= read_back(first.addr(), std::slice::from_ref(host)).await.is_ok();
    }
    assert!(is_in_use, "{}", gateway.log());
    first.pause().await.unwrap();
    let hosts = all_move(&gateway, [203, 0, 113, 2]).await;
    read_back(second.addr(), &hosts).await.unwrap();
    first.resume().unwrap();
}
