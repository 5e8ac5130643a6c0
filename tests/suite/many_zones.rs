//! Many zones of one primary share its connections, of which it takes only so many.

use std::net::{IpAddr, Ipv4Addr};

use lab::load::{read_back, storm};
use lab::{Kind, Setup};

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

async fn more_zones_than_connections(kind: Kind) {
    let all = |config: &mut Config| {
        for zone in beside() {
            let (key, primary) = (&config.key.name, config.primaries[0]);
            config.more += &format!("[[zone]]\nname = \"{zone}\"\nkey = \"{key}\"\nprimaries = [\"{primary}\"]\n");
        }
    };
    let stage = Stage::with(kind, few_connections, &[], all).await;
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
