//! Hosts and their tokens on both databases.

use std::time::Duration;

use dyngate::model::{
    Desired, Families, HostExtras, Hostname, PendingChange, PrefixFrom, RrData, RrKey, RrType, Timestamp,
};
use dyngate::store::{HostEdit, NewHost, News, RecordsPolicy, StoreError, Subject, TokenHolder};

use crate::stage::{Stage, name, new_host, on_both, seen, together};

on_both!(
    a_host_keeps_its_settings,
    what_few_hosts_have_is_kept_too,
    a_leader_leads_as_long_as_both_are_there_and_its_own,
    others_are_found_directly_below_a_name,
    nobody_follows_who_follows_nor_more_than_64,
    a_wildcard_that_is_no_longer_allowed_leaves,
    hosts_are_paged_by_name,
    names_below_wildcards_are_paged_by_name,
    a_token_leads_to_its_host_until_it_ends,
    a_removed_host_leaves_nothing_but_its_records_to_remove,
    a_removed_account_takes_its_names_with_it,
);

async fn others_are_found_directly_below_a_name(stage: &Stage) {
    stage.account("a", &["own.city.dyn.example"]).await;
    stage.account("b", &["bank.city.dyn.example", "far.off.town.dyn.example", "village.dyn.example"]).await;
    for (above, of_a, of_b) in [
        ("city.dyn.example", true, true),
        ("own.city.dyn.example", false, false),
        ("off.town.dyn.example", true, false),
        ("town.dyn.example", false, false),
        ("village.dyn.example", false, false),
        ("ity.dyn.example", false, false),
    ] {
        for (login, has) in [("a", of_a), ("b", of_b)] {
            let found = stage.store.has_anothers_below(login, &name(above)).await.unwrap();
            assert_eq!(found, has, "{above} for {login}");
        }
    }
}

async fn a_host_keeps_its_settings(stage: &Stage) {
    stage.account("a", &[]).await;
    let new = NewHost {
        name: name("home.dyn.example"),
        login: "a".into(),
        ttl: Some(0),
        families: Families::V6,
        description: "Fünf 'Räume' \\ \"oben\"".into(),
    };
    stage.store.add_host(&new, &[]).await.unwrap();
    let host = stage.store.host(&new.name).await.unwrap().unwrap();
    assert_eq!((host.ttl, host.families, &host.description), (Some(0), Families::V6, &new.description));
    assert_eq!((&*host.login, host.blocked), ("a", None));
    let clash = stage.store.add_host(&new, &[]).await.unwrap_err();
    assert!(matches!(clash, StoreError::Clash { .. }), "{clash}");
    let unknown = stage.store.add_host(&new_host("x.dyn.example", "nobody"), &[]).await.unwrap_err();
    assert_eq!(unknown.to_string(), "the store has no account \"nobody\"");

    let edit = HostEdit { ttl: Some(None), families: Some(Families::Both), ..HostEdit::default() };
    stage.store.set_host(&new.name, &edit).await.unwrap();
    stage.store.block(&new.name, Some("abuse")).await.unwrap();
    let host = stage.store.host(&new.name).await.unwrap().unwrap();
    assert_eq!((host.ttl, host.families, host.description), (None, Families::Both, new.description));
    assert_eq!(host.blocked.as_deref(), Some("abuse"));
    stage.store.block(&new.name, None).await.unwrap();
    assert_eq!(stage.store.host(&new.name).await.unwrap().unwrap().blocked, None);

    for edit in [
        HostEdit { description: Some("x".repeat(201)), ..HostEdit::default() },
        HostEdit { ttl: Some(Some(u32::MAX)), ..HostEdit::default() },
    ] {
        let unfit = stage.store.set_host(&new.name, &edit).await.unwrap_err();
        assert!(matches!(unfit, StoreError::Unfit { .. }), "{unfit}");
    }
    let unknown = stage.store.block(&name("y.dyn.example"), None).await.unwrap_err();
    assert_eq!(unknown.to_string(), "the store has no host \"y.dyn.example\"");
    assert_eq!(stage.store.host(&new.name).await.unwrap().unwrap().ttl, None, "the store still serves");
}

fn follows(leader: &str) -> HostEdit {
    HostEdit { follow: Some(Some(name(leader))), interface_id: Some("::10".parse().ok()), ..HostEdit::default() }
}

async fn what_few_hosts_have_is_kept_too(stage: &Stage) {
    stage.account("a", &["home.dyn.example", "router.dyn.example"]).await;
    let home = name("home.dyn.example");
    let extras = async || stage.store.host(&home).await.unwrap().unwrap().extras;
    assert_eq!(extras().await, HostExtras::default());
    let mx = vec![name("mail.dyn.example"), name("mail2.dyn.example")];
    let edit = HostEdit {
        prefix_from: Some(PrefixFrom::Address),
        wildcard: Some(true),
        offline: Some(true),
        mx: Some(mx.clone()),
        ptr: Some(true),
        ..follows("router.dyn.example")
    };
    stage.store.set_host(&home, &edit).await.unwrap();
    let all = HostExtras {
        follow: Some(name("router.dyn.example")),
        interface_id: "::10".parse().ok(),
        prefix_from: PrefixFrom::Address,
        wildcard: true,
        offline: true,
        mx,
        ptr: true,
    };
    assert_eq!(extras().await, all);
    stage.store.set_host(&home, &HostEdit { ttl: Some(Some(9)), ..HostEdit::default() }).await.unwrap();
    stage.store.block(&home, Some("late")).await.unwrap();
    assert_eq!(extras().await, all, "what is not named stays");
    let none = HostEdit {
        follow: Some(None),
        interface_id: Some(None),
        wildcard: Some(false),
        offline: Some(false),
        mx: Some(Vec::new()),
        ptr: Some(false),
        ..HostEdit::default()
    };
    stage.store.set_host(&home, &none).await.unwrap();
    assert_eq!(extras().await, HostExtras::default());
}

async fn a_leader_leads_as_long_as_both_are_there_and_its_own(stage: &Stage) {
    let [router, nas, cam] = ["router", "nas", "cam"].map(|host| name(&format!("{host}.dyn.example")));
    stage.account("a", &["router.dyn.example", "nas.dyn.example", "cam.dyn.example"]).await;
    stage.account("b", &[]).await;
    let led = async || stage.store.leader(&router).await.unwrap().unwrap().1;
    assert!(led().await.is_empty());
    let mut feed = stage.store.feed();
    feed.next().await.unwrap();
    let follows = follows("router.dyn.example");
    for host in [&nas, &cam] {
        stage.store.set_host(host, &follows).await.unwrap();
        // Whoever remembers the leader hears of it.
        let mut subjects = Vec::new();
        while !subjects.contains(&Subject::Host(router.clone())) {
            let News::Changed(more) = feed.next().await.unwrap() else { panic!("lost") };
            subjects.extend(more);
        }
    }
    assert_eq!(led().await, [cam.clone(), nas.clone()]);
    stage.store.set_host(&cam, &HostEdit { follow: Some(None), ..HostEdit::default() }).await.unwrap();
    assert_eq!(led().await, std::slice::from_ref(&nas));
    stage.store.move_host(&nas, "b").await.unwrap();
    assert!(led().await.is_empty(), "its former owner's leader");
    stage.store.set_host(&nas, &follows).await.unwrap();
    assert_eq!(led().await, std::slice::from_ref(&nas), "an administrator decides");
    stage.store.remove_host(&router, RecordsPolicy::Keep).await.unwrap();
    let left = stage.store.host(&nas).await.unwrap().unwrap().extras;
    assert_eq!((left.follow, left.interface_id), (None, "::10".parse().ok()), "whoever has the name next leads nobody");
}

async fn nobody_follows_who_follows_nor_more_than_64(stage: &Stage) {
    let names: Vec<_> = (0..66).map(|number| format!("h{number}.dyn.example")).collect();
    stage.account("a", &names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let set = async |host: &str, edit: HostEdit| stage.store.set_host(&name(host), &edit).await;
    set("h1.dyn.example", follows("h0.dyn.example")).await.unwrap();
    for (host, edit, why) in [
        ("h2.dyn.example", follows("h1.dyn.example"), "the host cannot follow h1.dyn.example, which follows h0.dyn"),
        ("h0.dyn.example", follows("h2.dyn.example"), "the host is followed by h1.dyn.example, so it cannot"),
        ("h2.dyn.example", follows("h2.dyn.example"), "the host: a host does not follow itself"),
        ("h2.dyn.example", follows("x.dyn.example"), "the store has no host \"x.dyn.example\""),
        (
            "h2.dyn.example",
            HostEdit { follow: Some(Some(name("h0.dyn.example"))), ..HostEdit::default() },
            "the host: a host that follows another needs an interface id",
        ),
        (
            "h1.dyn.example",
            HostEdit { interface_id: Some(None), ..HostEdit::default() },
            "the host: a host that follows another needs an interface id",
        ),
    ] {
        let error = set(host, edit).await.unwrap_err().to_string();
        assert!(error.starts_with(why), "{error}");
    }
    for host in names.iter().skip(2).take(63) {
        set(host, follows("h0.dyn.example")).await.unwrap();
    }
    let error = set("h65.dyn.example", follows("h0.dyn.example")).await.unwrap_err();
    assert_eq!(error.to_string(), "the host cannot follow h0.dyn.example, which has 64 that follow it already");
    set("h64.dyn.example", follows("h0.dyn.example")).await.unwrap();
    assert_eq!(stage.store.leader(&name("h0.dyn.example")).await.unwrap().unwrap().1.len(), 64);
}

async fn a_wildcard_that_is_no_longer_allowed_leaves(stage: &Stage) {
    let home = name("home.dyn.example");
    stage.account("a", &["home.dyn.example", "own.dyn.example", "*.own.dyn.example"]).await;
    let set = async |host: &Hostname, wildcard| {
        let edit = HostEdit { wildcard: Some(wildcard), ..HostEdit::default() };
        stage.store.set_host(host, &edit).await.unwrap();
    };
    let going = async || {
        let all = stage.store.pending().page(None, 99).await.unwrap();
        all.into_iter().map(|change| (change.key.to_string(), change.desired)).collect::<Vec<_>>()
    };
    set(&home, true).await;
    assert_eq!(going().await, []);
    let gone = ["A", "AAAA"].map(|rtype| (format!("*.home.dyn.example {rtype}"), Desired::Absent));
    set(&home, false).await;
    assert_eq!(going().await, gone);
    set(&home, true).await;
    assert_eq!(going().await, [], "it may have them again");
    set(&name("own.dyn.example"), false).await;
    assert_eq!(going().await, [], "a host of its own");
    stage.store.remove_host(&home, RecordsPolicy::Remove).await.unwrap();
    let going = going().await;
    assert_eq!(going.len(), 4, "{going:?}");
    assert!(gone.iter().all(|key| going.contains(key)));
}

async fn hosts_are_paged_by_name(stage: &Stage) {
    let names = ["-", "_", "a", "aa", "a-a", "b"];
    let of_a: Vec<_> = names.iter().map(|first| format!("x{first}x.dyn.example")).collect();
    stage.account("a", &of_a.iter().map(String::as_str).collect::<Vec<_>>()).await;
    stage.account("b", &["w.dyn.example", "z.dyn.example"]).await;
    let mut expected: Vec<_> = of_a.iter().map(|host| name(host)).collect();
    expected.sort_unstable();
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = stage.store.hosts(Some("a"), after.as_ref(), 2).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.name.clone());
        found.extend(page.into_iter().map(|host| host.name));
    }
    assert_eq!(found, expected);
    assert_eq!(stage.store.hosts_of("a", None, 100).await.unwrap(), expected);
    assert_eq!(stage.store.hosts_of("a", None, 2).await.unwrap(), expected[..2]);
    let all = stage.store.hosts(None, None, 100).await.unwrap();
    assert_eq!(all.len(), 8);
    assert!(all.is_sorted_by(|one, two| one.name < two.name));
}

async fn names_below_wildcards_are_paged_by_name(stage: &Stage) {
    let store = &stage.store;
    for (login, host) in [("b", "n1"), ("a", "n1"), ("b", "n3"), ("a", "n2"), ("a", "kept")] {
        stage.reserve(login, &[host], 10).await;
    }
    stage.account("a", &["kept.dyn.example"]).await;
    let [one, two, three] = ["n1", "n2", "n3"].map(|host| name(&format!("{host}.dyn.example")));
    let first = store.reservations().page(None, None, 2).await.unwrap();
    assert_eq!(first, [(one.clone(), "a".to_owned()), (two.clone(), "a".to_owned())]);
    assert_eq!(store.reservations().page(None, Some(&two), 2).await.unwrap(), [(three.clone(), "b".to_owned())]);
    assert_eq!(store.reservations().page(Some("b"), None, 1).await.unwrap(), [(one.clone(), "b".to_owned())]);
    assert_eq!(store.reservations().page(Some("b"), Some(&one), 9).await.unwrap(), [(three, "b".to_owned())]);
    assert_eq!(store.reservations().first_account_of(&one).await.unwrap().as_deref(), Some("a"));
    assert_eq!(store.reservations().first_account_of(&name("n4.dyn.example")).await.unwrap(), None);
}

async fn a_token_leads_to_its_host_until_it_ends(stage: &Stage) {
    let store = &stage.store;
    let host = name("home.dyn.example");
    stage.account("a", &["home.dyn.example", "other.dyn.example"]).await;
    store.set_token(&name("other.dyn.example"), &[9; 32], None).await.unwrap();
    store.set_token(&host, &[1; 32], None).await.unwrap();
    let holder = |expires| Some(TokenHolder { name: host.clone(), expires });
    assert_eq!(store.host_of_token(&[1; 32]).await.unwrap(), holder(None));
    assert_eq!(store.host_of_token(&[2; 32]).await.unwrap(), None);
    let soon = Timestamp::now().plus(Duration::from_secs(3600));
    store.set_token(&host, &[2; 32], Some(soon)).await.unwrap();
    assert_eq!(store.host_of_token(&[1; 32]).await.unwrap(), holder(Some(soon)));
    assert_eq!(store.host_of_token(&[2; 32]).await.unwrap(), holder(None));
    store.set_token(&host, &[3; 32], None).await.unwrap();
    assert_eq!(store.host_of_token(&[1; 32]).await.unwrap(), None);
    assert_eq!(store.host_of_token(&[2; 32]).await.unwrap(), None);
    assert_eq!(store.revoke_tokens(&host).await.unwrap(), 1);
    assert_eq!(store.host_of_token(&[3; 32]).await.unwrap(), None);
    assert!(store.host_of_token(&[9; 32]).await.unwrap().is_some(), "another host's token stays");
    let unknown = store.set_token(&name("no.dyn.example"), &[4; 32], None).await.unwrap_err();
    assert!(matches!(unknown, StoreError::Unknown { .. }), "{unknown}");
}

async fn a_removed_host_leaves_nothing_but_its_records_to_remove(stage: &Stage) {
    let store = &stage.store;
    stage.account("a", &[]).await;
    let host = name("home.dyn.example");
    let desired = Desired::Set { data: RrData::A([192, 0, 2, 1].into()), ttl: 60 };
    let key = RrKey { name: host.clone(), rtype: RrType::A };
    let wanted = PendingChange::of_command(key, desired.clone(), "a".into());
    let pending = async || store.pending().of(std::slice::from_ref(&host)).await.unwrap();
    for records in [RecordsPolicy::Keep, RecordsPolicy::Remove] {
        store.add_host(&new_host("home.dyn.example", "a"), std::slice::from_ref(&wanted)).await.unwrap();
        store.set_token(&host, &[1; 32], None).await.unwrap();
        store.record(&together(&[seen("home.dyn.example", 1)])).await.unwrap();
        let before = pending().await;
        assert_eq!(before.len(), 1);
        assert_eq!(before[0].desired, desired);
        store.remove_host(&host, records).await.unwrap();
        assert_eq!(store.host(&host).await.unwrap(), None);
        assert_eq!(store.host_of_token(&[1; 32]).await.unwrap(), None);
        assert_eq!(store.state(&host).await.unwrap(), None);
        assert_eq!(store.history(&host, 10).await.unwrap(), []);
        let left = pending().await;
        match records {
            RecordsPolicy::Keep => assert_eq!(left, []),
            RecordsPolicy::Remove => {
                assert_eq!(left.iter().map(|row| row.key.rtype).collect::<Vec<_>>(), [RrType::A, RrType::Aaaa]);
                assert!(left.iter().all(|row| row.desired == Desired::Absent));
                assert!(left[0].stamp > before[0].stamp);
            }
        }
    }
    let unknown = store.remove_host(&host, RecordsPolicy::Keep).await.unwrap_err();
    assert!(matches!(unknown, StoreError::Unknown { .. }), "{unknown}");
}

async fn a_removed_account_takes_its_names_with_it(stage: &Stage) {
    let store = &stage.store;
    stage.account("a", &["h2.dyn.example", "h1.dyn.example"]).await;
    stage.account("b", &["shared.dyn.example"]).await;
    store.set_token(&name("h1.dyn.example"), &[1; 32], None).await.unwrap();
    stage.reserve("a", &["w1", "shared", "both"], 10).await;
    stage.reserve("c", &["both"], 10).await;
    store
        .record(&together(&["h1", "h2", "w1", "shared", "both"].map(|first| seen(&format!("{first}.dyn.example"), 5))))
        .await
        .unwrap();
    let removed = store.remove_account("a", RecordsPolicy::Remove).await.unwrap();
    assert_eq!(removed, ["h1", "h2", "w1"].map(|first| name(&format!("{first}.dyn.example"))));
    assert_eq!(store.account("a").await.unwrap(), None);
    for gone in &removed {
        assert_eq!(store.state(gone).await.unwrap(), None);
        assert_eq!(store.pending().of(std::slice::from_ref(gone)).await.unwrap()[0].account, "a");
    }
    for stays in ["shared.dyn.example", "both.dyn.example"] {
        assert!(store.state(&name(stays)).await.unwrap().is_some(), "{stays}");
        assert_eq!(store.pending().of(&[name(stays)]).await.unwrap(), []);
    }
    let unknown = store.remove_account("a", RecordsPolicy::Keep).await.unwrap_err();
    assert!(matches!(unknown, StoreError::Unknown { .. }), "{unknown}");
}
