//! What is recorded of names: times that never go back, a history that is bounded.

use dyngate::model::{Addresses, Timestamp};
use dyngate::store::{AddressChange, Seen};

use crate::stage::{Stage, name, on_both, seen};

on_both!(
    what_was_seen_is_kept,
    an_older_call_never_replaces_a_newer_one,
    ten_thousand_calls_are_one_transaction,
    the_history_is_newest_first_and_trimmed,
    two_recorders_do_not_wait_for_each_other,
);

fn held(text: &str) -> Addresses {
    text.parse::<std::net::IpAddr>().unwrap().into()
}

async fn what_was_seen_is_kept(stage: &Stage) {
    let store = &stage.store;
    let host = name("home.dyn.example");
    let change = AddressChange { old: Addresses::default(), new: held("192.0.2.1") };
    let first =
        Seen { change: Some(change), held: Some(change.new), outcome: "changed", ..seen("home.dyn.example", 10) };
    let agent = format!("tab\t{}", "ü".repeat(300));
    let second = Seen { held: Some(held("2001:db8::1")), agent: Some(agent), ..seen("home.dyn.example", 20) };
    let third = Seen { agent: None, source: "2001:db8::9".parse().unwrap(), ..seen("home.dyn.example", 30) };
    store.record(&[third, first, second]).await.unwrap();
    let state = store.state(&host).await.unwrap().unwrap();
    assert_eq!(state.addresses, Addresses { v4: change.new.v4, v6: held("2001:db8::1").v6 });
    assert_eq!((state.last_update, state.last_seen), (Some(Timestamp(10)), Some(Timestamp(30))));
    assert_eq!(state.verified, Some(Timestamp(20)));
    assert_eq!((state.last_outcome.as_deref(), state.agent), (Some("unchanged"), None));
    assert_eq!(state.source, Some("2001:db8::9".parse().unwrap()));
    let history = store.history(&host, 10).await.unwrap();
    assert_eq!(history.len(), 1);
    assert_eq!((history[0].old, history[0].new, &*history[0].outcome), (change.old, change.new, "changed"));
    assert_eq!(history[0].agent.as_deref(), Some("ddclient/3.10.0"));

    store.record(&[Seen { agent: Some("x".repeat(300)), ..seen("home.dyn.example", 40) }]).await.unwrap();
    assert_eq!(store.state(&host).await.unwrap().unwrap().agent.unwrap().len(), 200);
    let names: Vec<_> = (0..2500).map(|number| name(&format!("n{number}.dyn.example"))).chain([host.clone()]).collect();
    let states = store.states(&names).await.unwrap();
    assert_eq!(states.len(), 1);
    assert_eq!(states[0].0, host);
    assert_eq!(store.states(&[]).await.unwrap(), []);
    store.record(&[]).await.unwrap();
}

async fn an_older_call_never_replaces_a_newer_one(stage: &Stage) {
    let store = &stage.store;
    let host = name("home.dyn.example");
    let later = Seen { held: Some(held("192.0.2.2")), outcome: "changed", ..seen("home.dyn.example", 200) };
    let change = Some(AddressChange { old: Addresses::default(), new: held("192.0.2.1") });
    let earlier = Seen { held: Some(held("192.0.2.1")), change, ..seen("home.dyn.example", 100) };
    store.record(&[later]).await.unwrap();
    store.record(&[earlier]).await.unwrap();
    let state = store.state(&host).await.unwrap().unwrap();
    assert_eq!(state.addresses, held("192.0.2.2"));
    assert_eq!((state.last_seen, state.last_update), (Some(Timestamp(200)), Some(Timestamp(100))));
    assert_eq!(state.last_outcome.as_deref(), Some("changed"));
    // Verified before, but of a family that nothing newer is known of.
    store.record(&[Seen { held: Some(held("2001:db8::1")), ..seen("home.dyn.example", 150) }]).await.unwrap();
    let state = store.state(&host).await.unwrap().unwrap();
    assert_eq!(state.addresses, Addresses { v4: held("192.0.2.2").v4, v6: held("2001:db8::1").v6 });
    assert_eq!(state.verified, Some(Timestamp(200)));
}

async fn ten_thousand_calls_are_one_transaction(stage: &Stage) {
    let call = |number: i64| {
        let change = (number % 2 == 0).then(|| AddressChange { old: held("192.0.2.1"), new: held("192.0.2.2") });
        Seen { change, ..seen(&format!("h{}.dyn.example", number % 8000), number) }
    };
    let calls: Vec<_> = (0..10_000).map(call).collect();
    let begun = tokio::time::Instant::now();
    stage.store.record(&calls).await.unwrap();
    eprintln!("10 000 calls took {:?}", begun.elapsed());
    assert_eq!(stage.sql("SELECT COUNT(*), MAX(last_seen) FROM state").await.trim(), "8000|9999");
    assert_eq!(stage.sql("SELECT COUNT(*) FROM history").await.trim(), "5000");
    let state = stage.store.state(&name("h1999.dyn.example")).await.unwrap().unwrap();
    assert_eq!(state.last_seen, Some(Timestamp(9999)));
}

async fn the_history_is_newest_first_and_trimmed(stage: &Stage) {
    let store = &stage.store;
    let host = name("home.dyn.example");
    let change = Some(AddressChange { old: held("192.0.2.1"), new: held("192.0.2.2") });
    let calls: Vec<_> = (1..=10).map(|at| Seen { change, ..seen("home.dyn.example", at) }).collect();
    store.record(&calls).await.unwrap();
    let times = |limit| async move {
        let host = name("home.dyn.example");
        let history = stage.store.history(&host, limit).await.unwrap();
        history.iter().map(|event| event.at.0).collect::<Vec<_>>()
    };
    assert_eq!(times(3).await, [10, 9, 8]);
    assert_eq!(store.trim_history(Timestamp(6), 3).await.unwrap(), 3);
    assert_eq!(times(100).await, [10, 9, 8, 7, 6, 5, 4], "the oldest go first");
    assert_eq!(store.trim_history(Timestamp(6), 100).await.unwrap(), 2);
    assert_eq!(store.trim_history(Timestamp(6), 100).await.unwrap(), 0);
    assert_eq!(times(100).await, [10, 9, 8, 7, 6]);
    assert!(store.state(&host).await.unwrap().is_some());
}

async fn two_recorders_do_not_wait_for_each_other(stage: &Stage) {
    let other = stage.again().await;
    let calls: Vec<_> = (0..500).map(|number| seen(&format!("h{number}.dyn.example"), number)).collect();
    let mut reversed = calls.clone();
    reversed.reverse();
    for _ in 0..10 {
        let (one, two) = tokio::join!(stage.store.record(&calls), other.record(&reversed));
        one.and(two).unwrap();
    }
    assert_eq!(stage.sql("SELECT COUNT(*) FROM state").await.trim(), "500");
}
