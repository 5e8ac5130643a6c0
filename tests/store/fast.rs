//! What a look-up costs: printed, and held to a bound that only a walk through the table would miss.

use std::time::Duration;

use dyngate::store::Store;
use tokio::time::Instant;

use crate::stage::{Stage, name, on_both};

on_both!(a_look_up_does_not_grow_with_the_table);

const HOSTS: usize = 20_000;
const ASKED: u32 = 500;

async fn a_look_up_does_not_grow_with_the_table(stage: &Stage) {
    let account = |number| {
        format!(
            r#"{{"kind":"account","login":"a{number}","secrets":[{{"digest":"$sha256$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=","expires":null}}],"wildcards":[],"max_hosts":1,"enabled":true,"created":1}}"#
        )
    };
    let host = |number| {
        format!(
            r#"{{"kind":"host","name":"h{number}.dyn.example","account":"a{}","ttl":60,"families":"46","description":"","blocked":null,"created":1}}"#,
            number % (HOSTS / 10)
        )
    };
    let token = |number| {
        format!(
            r#"{{"kind":"token","name":"h{number}.dyn.example","digest":"{number:064x}","created":1,"expires":null}}"#
        )
    };
    let start = r#"{"kind":"dyngate-export","version":1}"#.to_owned();
    let lines = std::iter::once(start).chain((0..HOSTS / 10).map(account)).chain((0..HOSTS).map(host));
    let begun = Instant::now();
    stage.store.import(lines.chain((0..HOSTS).map(token)).map(Ok)).await.unwrap();
    eprintln!("{HOSTS} hosts imported in {:?}", begun.elapsed());
    stage.sql("ANALYZE").await;

    let store = &stage.store;
    for what in ["account", "host", "token", "state"] {
        // The quickest: whatever else the machine does, one of so many goes through undisturbed.
        let mut quickest = Duration::MAX;
        for number in 0..ASKED {
            let begun = Instant::now();
            look_up(store, what, number).await;
            quickest = quickest.min(begun.elapsed());
        }
        eprintln!("{what}: {quickest:?}");
        assert!(quickest < Duration::from_millis(5), "{what}: {quickest:?}");
    }
}

async fn look_up(store: &Store, what: &str, number: u32) {
    let host = name(&format!("h{number}.dyn.example"));
    match what {
        "account" => assert!(store.account(&format!("a{number}")).await.unwrap().is_some()),
        "host" => assert!(store.host(&host).await.unwrap().is_some()),
        "token" => {
            let mut digest = [0; 32];
            digest[28..].copy_from_slice(&number.to_be_bytes());
            assert_eq!(store.host_of_token(&digest).await.unwrap().unwrap().name, host);
        }
        _ => assert!(store.state(&host).await.unwrap().is_none()),
    }
}
