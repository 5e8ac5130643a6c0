//! Many hosts at once travel together, complete and correct.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use lab::load::storm;
use lab::{Kind, Right};

use crate::stage::{LOGIN, SECRET, Stage, on_every_primary};

on_every_primary!(
    hundreds_of_hosts_at_once,
    one_alias_among_two_hundred,
    a_primary_killed_in_a_storm_costs_no_acknowledged_change,
);

fn hosts(count: u32, network: u8) -> Vec<(String, IpAddr)> {
    let address = |n: u32| IpAddr::from(Ipv4Addr::from(u32::from_be_bytes([203, network, 0, 0]) + n));
    (0..count).map(|n| (format!("h{n}.dyn.example"), address(n))).collect()
}

async fn updates(stage: &Stage) -> f64 {
    stage.gateway.metric("dyngate_update_batch_hosts_count").await.unwrap()
}

async fn hundreds_of_hosts_at_once(kind: Kind) {
    let stage = Stage::new(kind).await;
    for round in [1, 2] {
        let hosts = hosts(500, round);
        let before = updates(&stage).await;
        let bodies = storm(stage.gateway.http(), (LOGIN, SECRET), &hosts, 200).await.unwrap();
        let messages = updates(&stage).await - before;
        let mut answers = BTreeMap::new();
        for ((_, address), body) in hosts.iter().zip(&bodies) {
            *answers.entry(body == &format!("good {address}")).or_insert(0) += 1;
        }
        assert_eq!(answers, BTreeMap::from([(true, 500)]), "{bodies:?}");
        for (host, address) in &hosts {
            assert_eq!(stage.served(host).await, [address.to_string()], "{host}");
        }
        assert!(messages <= 250.0, "{messages} messages for 500 hosts");
    }
    assert_eq!(stage.gateway.metric("dyngate_pending_changes").await.unwrap(), 0.0);
}

async fn one_alias_among_two_hundred(kind: Kind) {
    let stage = Stage::with(kind, |setup| setup, &["h137 60 IN CNAME ns1"], |_| {}).await;
    let hosts = hosts(200, 1);
    let bodies = storm(stage.gateway.http(), (LOGIN, SECRET), &hosts, 200).await.unwrap();
    for ((host, address), body) in hosts.iter().zip(bodies) {
        let expected = if host == "h137.dyn.example" { "nohost".to_owned() } else { format!("good {address}") };
        assert_eq!(body, expected, "{host}");
    }
}

async fn a_primary_killed_in_a_storm_costs_no_acknowledged_change(kind: Kind) {
    let quick = |config: &mut crate::stage::Config| config.more = "[engine]\ndeadline = \"1s\"\n".to_owned();
    let mut stage = Stage::with(kind, |setup| setup, &[], quick).await;
    let all = hosts(600, 1);
    let (addr, sent) = (stage.gateway.http(), all.clone());
    let storm_of = async move |hosts: &[(String, IpAddr)]| storm(addr, (LOGIN, SECRET), hosts, 200).await.unwrap();
    let under_way = tokio::spawn(async move { storm(addr, (LOGIN, SECRET), &sent, 200).await.unwrap() });
    let changed = "dyngate_requests_total{dialect=\"dyndns2\",outcome=\"changed\"";
    while stage.gateway.metric(changed).await.unwrap() < 50.0 {
        assert!(!under_way.is_finished(), "it is over before the fault");
    }
    stage.primary.kill();
    let bodies = under_way.await.unwrap();
    stage.primary.start_again().await.unwrap();
    let (acknowledged, mut refused): (Vec<_>, Vec<_>) =
        all.into_iter().zip(bodies).partition(|((_, address), body)| *body == format!("good {address}"));
    assert!(refused.iter().all(|(_, body)| body == "911"), "{refused:?}");
    let acknowledged: Vec<_> = acknowledged.into_iter().map(|(host, _)| host).collect();
    lab::load::read_back(stage.primary.addr(), &acknowledged).await.unwrap();
    // Everybody who was told to come back is served. PowerDNS may answer SERVFAIL at first.
    for _ in 0..5 {
        let again: Vec<_> = refused.into_iter().map(|(host, _)| host).collect();
        let bodies = storm_of(&again).await;
        refused = again.into_iter().zip(bodies).filter(|(_, body)| body == "911").collect();
        if refused.is_empty() {
            return;
        }
    }
    panic!("{refused:?}: {}", stage.gateway.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_name_that_bind_does_not_let_the_key_change() {
    one_forbidden_among_two_hundred(Kind::Bind).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_name_that_knot_does_not_let_the_key_change() {
    one_forbidden_among_two_hundred(Kind::Knot).await;
}

async fn one_forbidden_among_two_hundred(kind: Kind) {
    let key = lab::Key::generate("restricted");
    let hosts: Vec<_> =
        hosts(200, 1).into_iter().map(|(host, to)| (host.replace(".dyn.", ".office.dyn."), to)).collect();
    let setup = lab::Setup::new()
        .key(&key)
        .restrict(&key, &[Right::Below("office.dyn.example".to_owned())])
        .zone(crate::stage::ZONE);
    let primary = lab::Server::start(kind, setup).await.unwrap();
    let gateway = crate::stage::Config::new(&key, primary.addr()).start().await;
    let mut all = hosts.clone();
    all.insert(100, ("forbidden.dyn.example".to_owned(), "203.0.113.7".parse().unwrap()));
    let bodies = storm(gateway.http(), (LOGIN, SECRET), &all, 200).await.unwrap();
    for ((host, address), body) in all.iter().zip(bodies) {
        let expected = if host == "forbidden.dyn.example" { "dnserr".to_owned() } else { format!("good {address}") };
        assert_eq!(body, expected, "{host}: {}", gateway.log());
    }
}
