//! One UPDATE for each host, and the look at the end: what they send, and what they do not let pass.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use lab::fake::{Action, FakePrimary};
use lab::load::{one_update_each, read_back};
use lab::{Error, Key, Kind, ResponseCode, Server, Setup};

const ZONE: &str = "dyn.example";

fn hosts(count: u32) -> Vec<(String, IpAddr)> {
    let first = u32::from(Ipv4Addr::new(203, 0, 113, 0));
    (0..count).map(|n| (format!("h{n}.{ZONE}"), Ipv4Addr::from(first + n).into())).collect()
}

#[tokio::test]
async fn every_host_gets_one_signed_update() -> Result<(), Error> {
    let key = Key::generate("k");
    let fake = FakePrimary::start(&key, |_| Action::Answer(ResponseCode::NoError)).await?;
    let hosts = hosts(100);
    one_update_each(fake.addr(), &key, ZONE, &hosts, 3, 10).await?;
    let received = fake.received();
    assert!(received.iter().all(|update| update.verified && update.zone == ZONE && update.owners.len() == 1));
    let owners: BTreeSet<_> = received.iter().flat_map(|update| update.owners.clone()).collect();
    assert_eq!(owners, hosts.into_iter().map(|(host, _)| host).collect());
    assert_eq!((received.len(), fake.connections()), (100, 3));
    Ok(())
}

#[tokio::test]
async fn one_answer_that_is_not_a_signed_noerror_is_an_error() -> Result<(), Error> {
    let key = Key::generate("k");
    for bad in [
        Action::Answer(ResponseCode::Refused),
        Action::Unsigned(ResponseCode::NoError),
        Action::WrongMac,
        Action::WrongId(ResponseCode::NoError),
        Action::Drop,
    ] {
        let shown = format!("{bad:?}");
        let script = move |update: &lab::fake::Received| match update.number {
            13 => bad.clone(),
            _ => Action::Answer(ResponseCode::NoError),
        };
        let fake = FakePrimary::start(&key, script).await?;
        one_update_each(fake.addr(), &key, ZONE, &hosts(20), 2, 8).await.expect_err(&shown);
    }
    Ok(())
}

#[tokio::test]
async fn a_lost_or_wrong_name_is_found() -> Result<(), Error> {
    let key = Key::generate("k");
    let server = Server::start(Kind::Knot, Setup::new().zone(ZONE).key(&key)).await?;
    let mut hosts = hosts(50);
    one_update_each(server.addr(), &key, ZONE, &hosts, 2, 8).await?;
    read_back(server.addr(), &hosts).await?;
    hosts[31].1 = Ipv4Addr::new(203, 0, 113, 200).into();
    let wrong = read_back(server.addr(), &hosts).await.expect_err("another address").to_string();
    assert!(wrong.contains("h31.dyn.example") && wrong.contains("203.0.113.31"), "{wrong}");
    hosts[31].0 = "lost.dyn.example".to_owned();
    let lost = read_back(server.addr(), &hosts).await.expect_err("no such name").to_string();
    assert!(lost.contains("lost.dyn.example"), "{lost}");
    Ok(())
}
