//! What is recorded of names: times that never go back, a history that is bounded.

use dyngate::model::{Addresses, DesiredRecords, Timestamp};
use dyngate::store::{AddressChange, Seen};

use crate::stage::{Stage, name, on_both, seen, together};

on_both!(
    what_was_seen_is_kept,
    an_older_call_never_replaces_a_newer_one,
    of_each_family_the_newest_request_that_was_answered_counts,
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
    let first = Seen {
        change: Some(change),
        held: DesiredRecords::set(change.new, 60),
        outcome: "changed",
        ..seen("home.dyn.example", 10)
    };
    let agent = format!("tab\t{}", "ü".repeat(300));
    let second =
        Seen { held: DesiredRecords::set(held("2001:db8::1"), 60), agent: Some(agent), ..seen("home.dyn.example", 20) };
    let third = Seen { agent: None, source: "2001:db8::9".parse().ok(), ..seen("home.dyn.example", 30) };
    store.record(&together(&[third, first, second])).await.unwrap();
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

    store.record(&together(&[Seen { agent: Some("x".repeat(300)), ..seen("home.dyn.example", 40) }])).await.unwrap();
    assert_eq!(store.state(&host).await.unwrap().unwrap().agent.unwrap().len(), 200);
    let names: Vec<_> = (0..2500).map(|number| name(&format!("n{number}.dyn.example"))).chain([host.clone()]).collect();
    let states = store.states(&names).await.unwrap();
    assert_eq!(states.len(), 1);
    assert_eq!(states[0].0, host);
    assert_eq!(store.states(&[]).await.unwrap(), []);
    store.record(&together(&[])).await.unwrap();
}

async fn an_older_call_never_replaces_a_newer_one(stage: &Stage) {
    let store = &stage.store;
    let host = name("home.dyn.example");
    let later =
        Seen { held: DesiredRecords::set(held("192.0.2.2"), 60), outcome: "changed", ..seen("home.dyn.example", 200) };
    let change = Some(AddressChange { old: Addresses::default(), new: held("192.0.2.1") });
    let earlier = Seen { held: DesiredRecords::set(held("192.0.2.1"), 60), change, ..seen("home.dyn.example", 100) };
    store.record(&together(&[later])).await.unwrap();
    store.record(&together(&[earlier])).await.unwrap();
    let state = store.state(&host).await.unwrap().unwrap();
    assert_eq!(state.addresses, held("192.0.2.2"));
    assert_eq!((state.last_seen, state.last_update), (Some(Timestamp(200)), Some(Timestamp(100))));
    assert_eq!(state.last_outcome.as_deref(), Some("changed"));
    // Verified before, but of a family that nothing newer is known of.
    store
        .record(&together(&[Seen {
            held: DesiredRecords::set(held("2001:db8::1"), 60),
            ..seen("home.dyn.example", 150)
        }]))
        .await
        .unwrap();
    let state = store.state(&host).await.unwrap().unwrap();
    assert_eq!(state.addresses, Addresses { v4: held("192.0.2.2").v4, v6: held("2001:db8::1").v6 });
    assert_eq!(state.verified, Some(Timestamp(200)));
}

async fn of_each_family_the_newest_request_that_was_answered_counts(stage: &Stage) {
    let answered = |at, address: &str, asked: i64| {
        let held = held(address);
        let settled = [held.v4.map(|_| Timestamp(asked)), held.v6.map(|_| Timestamp(asked))];
        Seen { held: DesiredRecords::set(held, 60), settled, ..seen("home.dyn.example", at) }
    };
    // Accepted first and answered last, and a call for the other family, which is told nothing of this one. The moments are as
    // far from each other as no reading of the store's clock is long.
    let calls =
        [answered(10, "192.0.2.2", 500_000), answered(20, "192.0.2.1", 400_000), answered(30, "2001:db8::1", 600_000)];
    stage.store.record(&together(&calls)).await.unwrap();
    let newest = Addresses { v4: held("192.0.2.2").v4, v6: held("2001:db8::1").v6 };
    let of_home = async || stage.store.state(&name("home.dyn.example")).await.unwrap().unwrap();
    assert_eq!(of_home().await.addresses, newest, "together");
    stage.store.record(&together(&[answered(40, "192.0.2.1", 400_000)])).await.unwrap();
    assert_eq!(
        (of_home().await.addresses, of_home().await.verified),
        (newest, Some(Timestamp(40))),
        "one after the other"
    );
    stage.store.record(&together(&[answered(50, "192.0.2.3", 700_000)])).await.unwrap();
    assert_eq!(of_home().await.addresses.v4, held("192.0.2.3").v4);
}

async fn ten_thousand_calls_are_one_transaction(stage: &Stage) {
    let call = |number: i64| {
        let change = (number % 2 == 0).then(|| AddressChange { old: held("192.0.2.1"), new: held("192.0.2.2") });
        Seen { change, ..seen(&format!("h{}.dyn.example", number % 8000), number) }
    };
    let calls: Vec<_> = (0..10_000).map(call).collect();
    let begun = tokio::time::Instant::now();
    stage.store.record(&together(&calls)).await.unwrap();
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
    store.record(&together(&calls)).await.unwrap();
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
    let calls = together(&calls);
    for _ in 0..10 {
        let (one, two) = tokio::join!(stage.store.record(&calls), other.record(&calls));
        one.and(two).unwrap();
    }
    assert_eq!(stage.sql("SELECT COUNT(*) FROM state").await.trim(), "500");
}
