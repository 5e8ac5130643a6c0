//! Changes that are still to be made: what stands, who works on it, what is over, and how an older store is taken over.

use std::time::Duration;

use dyngate::model::{Desired, DesiredRecords, PendingChange, RrData, RrKey, RrType, Timestamp};
use dyngate::store::{News, RecordsPolicy, Seen, Store, StoreError, Subject};
use tokio::time::timeout;

use crate::stage::{MINUTE, Stage, name, new_host, on_both, seen, together};

on_both!(
    what_is_kept_is_read_as_it_was,
    the_newest_of_a_key_is_kept,
    rows_are_paged_by_key,
    a_row_ends_by_its_stamp_alone,
    a_request_clears_what_is_older,
    what_a_command_wants_replaces_what_was_wanted,
    thousands_are_few_statements,
    a_row_that_cannot_be_read_is_passed_over,
    what_was_answered_later_is_known_by_type,
    an_older_store_is_taken_over,
);

const NO_AGE: Duration = Duration::ZERO;

fn key(host: &str, rtype: RrType) -> RrKey {
    RrKey { name: name(host), rtype }
}

fn a(host: &str) -> RrKey {
    key(host, RrType::A)
}

fn set(data: &str) -> Desired {
    let data = RrData::parse(RrType::A, data).or_else(|| RrData::parse(RrType::Aaaa, data)).unwrap();
    Desired::Set { data, ttl: 60 }
}

/// What a request asked for that was accepted `ago` milliseconds ago.
fn of_request(key: RrKey, desired: Desired, ago: u64) -> PendingChange {
    let accepted = Timestamp::now().minus(Duration::from_millis(ago));
    PendingChange {
        source: Some("203.0.113.9".parse().unwrap()),
        agent: Some("ddclient/3.10.0".to_owned()),
        accepted,
        expires: Some(accepted.plus(MINUTE)),
        ..PendingChange::of_command(key, desired, "a".to_owned())
    }
}

/// Keeps the row, which stands; its stamp.
async fn keep(store: &Store, row: &PendingChange) -> Timestamp {
    let kept = store.pending().keep(std::slice::from_ref(row)).await.unwrap();
    assert_eq!(kept.len(), 1, "{row:?}");
    assert_eq!(kept[0].0, row.key);
    kept[0].1
}

async fn desired(store: &Store, key: &RrKey) -> Option<Desired> {
    let rows = store.pending().of(std::slice::from_ref(&key.name)).await.unwrap();
    rows.into_iter().find(|row| row.key == *key).map(|row| row.desired)
}

async fn what_is_kept_is_read_as_it_was(stage: &Stage) {
    let store = &stage.store;
    assert!(store.pending().page(None, 1).await.unwrap().is_empty());
    assert_eq!(store.pending().keep(&[]).await.unwrap(), []);
    let v4 = of_request(a("home.dyn.example"), set("192.0.2.1"), 5000);
    let v6 = of_request(key("home.dyn.example", RrType::Aaaa), Desired::Absent, 4000);
    let of_command = PendingChange::of_command(a("other.dyn.example"), set("192.0.2.2"), "b".to_owned());
    let data = |rtype, text| RrData::parse(rtype, text).unwrap();
    let texts = Desired::Set { data: data(RrType::Txt, "two\none"), ttl: 60 };
    let texts = of_request(key("_acme-challenge.x.dyn.example", RrType::Txt), texts, 3000);
    let pointer = Desired::Set { data: data(RrType::Ptr, "home.dyn.example"), ttl: 60 };
    let pointer = of_request(key("7.0/25.113.0.203.in-addr.arpa", RrType::Ptr), pointer, 3000);
    let not_our_mail = Desired::Without(data(RrType::Mx, "10 mail.example\n5 home.dyn.example"));
    let not_our_mail = of_request(key("zzz.dyn.example", RrType::Mx), not_our_mail, 3000);
    let rows = [pointer, texts, v4, v6, of_command, not_our_mail];
    let kept = store.pending().keep(&rows).await.unwrap();
    assert!(!store.pending().page(None, 1).await.unwrap().is_empty());
    let read = store.pending().page(None, 10).await.unwrap();
    assert_eq!(read.iter().map(|row| (row.key.clone(), row.stamp)).collect::<Vec<_>>(), kept);
    for (row, written) in read.iter().zip(&rows) {
        assert_eq!(PendingChange { accepted: written.accepted, stamp: written.stamp, ..row.clone() }, *written);
        // The store keeps it by its own clock, and reading that takes its time.
        let differs = written.accepted.0 - row.accepted.0;
        assert!(differs.abs() < 1000, "{differs} ms");
    }
    assert_eq!(store.pending().page_of_commands(None, 10).await.unwrap().len(), 1);
    let of_home = store.pending().of(&[name("home.dyn.example"), name("none.dyn.example")]).await.unwrap();
    assert_eq!(of_home.iter().map(|row| row.key.rtype).collect::<Vec<_>>(), [RrType::A, RrType::Aaaa]);
    assert_eq!(store.pending().of(&[]).await.unwrap(), []);
}

async fn the_newest_of_a_key_is_kept(stage: &Stage) {
    let store = &stage.store;
    let key = a("home.dyn.example");
    let row = |last: u8, ago| of_request(key.clone(), set(&format!("192.0.2.{last}")), ago);
    let first = keep(store, &row(1, 3000)).await;
    // Of one group too.
    let kept = store.pending().keep(&[row(3, 1000), row(2, 2000)]).await.unwrap();
    assert_eq!(kept.len(), 1);
    assert!(kept[0].1 > first);
    assert_eq!(desired(store, &key).await, Some(set("192.0.2.3")));
    let older = store.pending().keep(&[row(4, 2500)]).await.unwrap();
    if store.is_shared() {
        assert_eq!(older, [], "another gateway's is newer");
        assert_eq!(desired(store, &key).await, Some(set("192.0.2.3")));
    } else {
        assert!(older[0].1 > kept[0].1, "the only gateway knows the order, whatever became of the clock");
        assert_eq!(desired(store, &key).await, Some(set("192.0.2.4")));
    }
    // Of the same millisecond, the later one stands, and the stamps differ; but for what reading the server's clock leaves open.
    let same = row(5, 0);
    let stamp = keep(store, &same).await;
    match store.pending().keep(std::slice::from_ref(&same)).await.unwrap().as_slice() {
        [(_, later)] => assert!(*later > stamp),
        left_out => assert!(left_out.is_empty() && store.is_shared(), "{left_out:?}"),
    }
    assert_eq!(desired(store, &key).await, Some(same.desired));
}

async fn rows_are_paged_by_key(stage: &Stage) {
    let store = &stage.store;
    let hosts = ["c.dyn.example", "a.dyn.example", "b.dyn.example"];
    let both = |host: &&str| [RrType::Aaaa, RrType::A].map(|rtype| of_request(key(host, rtype), Desired::Absent, 10));
    let mut rows: Vec<_> = hosts.iter().flat_map(both).collect();
    rows.push(PendingChange::of_command(a("bb.dyn.example"), Desired::Absent, "a".to_owned()));
    store.pending().keep(&rows).await.unwrap();
    let mut after = None;
    let mut seen = Vec::new();
    loop {
        let page = store.pending().page(after.as_ref(), 2).await.unwrap();
        seen.extend(page.iter().map(|row| row.key.clone()));
        let Some(last) = page.last() else { break };
        after = Some(last.key.clone());
    }
    let mut sorted: Vec<_> = rows.iter().map(|row| row.key.clone()).collect();
    sorted.sort_unstable();
    assert_eq!(seen, sorted);
    let of_commands = store.pending().page_of_commands(None, 2).await.unwrap();
    assert_eq!(of_commands.len(), 1);
    assert_eq!(store.pending().page_of_commands(Some(&of_commands[0].key), 2).await.unwrap(), []);
}

async fn a_row_ends_by_its_stamp_alone(stage: &Stage) {
    let store = &stage.store;
    let key = a("home.dyn.example");
    let other = keep(store, &of_request(a("other.dyn.example"), Desired::Absent, 10)).await;
    let old = keep(store, &of_request(key.clone(), set("192.0.2.1"), 2000)).await;
    let new = keep(store, &of_request(key.clone(), set("192.0.2.2"), 1000)).await;
    store.pending().end(&[(key.clone(), old)]).await.unwrap();
    assert_eq!(desired(store, &key).await, Some(set("192.0.2.2")), "it was replaced meanwhile");
    store.pending().end(&[]).await.unwrap();
    store.pending().end(&[(key.clone(), old), (key.clone(), new), (a("none.dyn.example"), new)]).await.unwrap();
    assert_eq!(desired(store, &key).await, None);
    let read = store.pending().page(None, 10).await.unwrap();
    assert_eq!(read.iter().map(|row| row.stamp).collect::<Vec<_>>(), [other]);
    store.pending().end(&[(read[0].key.clone(), read[0].stamp)]).await.unwrap();
    assert!(store.pending().page(None, 1).await.unwrap().is_empty());
}

async fn a_request_clears_what_is_older(stage: &Stage) {
    let store = &stage.store;
    let now = Timestamp::now();
    let (old, new, other) = (a("old.dyn.example"), a("new.dyn.example"), key("old.dyn.example", RrType::Aaaa));
    let rows = [(&old, 5000), (&new, 1000), (&other, 5000)];
    let rows = rows.map(|(key, ago)| of_request(key.clone(), Desired::Absent, ago));
    store.pending().keep(&rows).await.unwrap();
    let at = now.minus(Duration::from_millis(3000));
    let requests = [(old.clone(), at), (new.clone(), at), (a("none.dyn.example"), at)];
    assert_eq!(store.pending().clear(&requests).await.unwrap(), []);
    let left: Vec<_> = store.pending().page(None, 10).await.unwrap().into_iter().map(|row| row.key).collect();
    // The only gateway on a store calls it for what it has accepted last.
    assert_eq!(left, if store.is_shared() { vec![new, other] } else { vec![other] });
    assert_eq!(store.pending().clear(&[]).await.unwrap(), []);
}

async fn what_a_command_wants_replaces_what_was_wanted(stage: &Stage) {
    let store = &stage.store;
    let host = name("home.dyn.example");
    stage.account("a", &[]).await;
    let mut feed = stage.again().await.feed();
    assert_eq!(feed.next().await.unwrap(), News::Lost);
    let removal = || [RrType::A, RrType::Aaaa].map(|rtype| key("home.dyn.example", rtype));
    let wanted = PendingChange::of_command(a("home.dyn.example"), set("192.0.2.1"), "a".to_owned());
    // Accepted in time, and kept by a clock that is ahead.
    let ahead = Timestamp::now().plus(MINUTE);
    keep(store, &PendingChange { accepted: ahead, ..of_request(a("home.dyn.example"), set("192.0.2.9"), 0) }).await;
    store.add_host(&new_host("home.dyn.example", "a"), std::slice::from_ref(&wanted)).await.unwrap();
    assert_eq!(desired(store, &wanted.key).await, Some(set("192.0.2.1")));
    let unfit =
        PendingChange { desired: Desired::Set { data: RrData::A([192, 0, 2, 1].into()), ttl: u32::MAX }, ..wanted };
    let unfit = store.add_host(&new_host("unfit.dyn.example", "a"), &[unfit]).await.unwrap_err();
    assert!(matches!(unfit, StoreError::Unfit { .. }), "{unfit}");
    assert_eq!(store.host(&name("unfit.dyn.example")).await.unwrap(), None, "nor is anything else of it done");

    store.remove_host(&host, RecordsPolicy::Remove).await.unwrap();
    let read = store.pending().of(std::slice::from_ref(&host)).await.unwrap();
    assert_eq!(
        read.iter().map(|row| (row.key.clone(), row.source)).collect::<Vec<_>>(),
        removal().map(|key| (key, None))
    );
    assert!(read.iter().all(|row| row.desired == Desired::Absent && row.account == "a"));
    if store.is_shared() {
        // A gateway that has not heard of the removal yet.
        let late = of_request(a("home.dyn.example"), set("192.0.2.8"), 0);
        assert_eq!(store.pending().keep(&[late]).await.unwrap(), []);
    }
    // What an earlier host of the name left to be done must not happen to the new one.
    store.add_host(&new_host("home.dyn.example", "a"), &[]).await.unwrap();
    assert_eq!(store.pending().of(std::slice::from_ref(&host)).await.unwrap(), []);

    let mut heard = 0;
    while heard < 3 {
        match timeout(MINUTE, feed.next()).await.unwrap().unwrap() {
            News::Changed(subjects) => {
                heard += subjects.iter().filter(|subject| **subject == Subject::Pending(host.clone())).count();
            }
            News::Lost => panic!("lost"),
        }
    }
}

async fn thousands_are_few_statements(stage: &Stage) {
    let store = &stage.store;
    let keys: Vec<_> = (0..2500).map(|number| a(&format!("h{number}.dyn.example"))).collect();
    let rows: Vec<_> = keys.iter().map(|key| of_request(key.clone(), set("192.0.2.1"), 5000)).collect();
    let kept = store.pending().keep(&rows).await.unwrap();
    assert_eq!(kept.len(), 2500);
    let mut reversed = keys.clone();
    reversed.reverse();
    let leased = store.pending().lease(&reversed, Duration::from_secs(3), MINUTE).await.unwrap();
    assert_eq!(leased.len(), 2500);
    store.pending().release_all().await.unwrap();
    let now = Timestamp::now();
    let requests: Vec<_> = keys[..1200].iter().map(|key| (key.clone(), now)).collect();
    assert_eq!(store.pending().clear(&requests).await.unwrap(), []);
    assert_eq!(store.pending().page(None, 5000).await.unwrap().len(), 1300);
    store.pending().end(&kept).await.unwrap();
    assert!(store.pending().page(None, 1).await.unwrap().is_empty());
}

async fn a_row_that_cannot_be_read_is_passed_over(stage: &Stage) {
    let store = &stage.store;
    let good = ["a.dyn.example", "z.dyn.example"].map(|host| of_request(a(host), Desired::Absent, 5000));
    store.pending().keep(&good).await.unwrap();
    let rows = [
        ("b.dyn.example", "A", "not an address", 60, "203.0.113.9"),
        ("c.dyn.example", "A", "2001:db8::1", 60, "203.0.113.9"),
        ("d.dyn.example", "SRV", "0 0 80 mail.example", 60, "203.0.113.9"),
        ("e.dyn.example", "A", "192.0.2.1", -2, "203.0.113.9"),
        ("f.dyn.example", "A", "192.0.2.1", 60, "somewhere"),
        ("not a name", "A", "192.0.2.1", 60, "203.0.113.9"),
    ];
    for (host, rtype, data, ttl, source) in rows {
        let insert = "INSERT INTO pending (name, rtype, data, ttl, account, source, accepted) VALUES";
        stage.sql(&format!("{insert} ('{host}', '{rtype}', '{data}', {ttl}, 'a', '{source}', 1)")).await;
    }
    let keys = good.map(|row| row.key);
    let read = |rows: Vec<PendingChange>| rows.into_iter().map(|row| row.key).collect::<Vec<_>>();
    assert_eq!(read(store.pending().page(None, 10).await.unwrap()), keys);
    // None of them ends the pages too early.
    assert_eq!(read(store.pending().page(None, 1).await.unwrap()), keys[..1]);
    assert_eq!(read(store.pending().page(Some(&keys[0]), 1).await.unwrap()), keys[1..]);
    assert_eq!(store.pending().page(Some(&keys[1]), 1).await.unwrap(), []);
    let names: Vec<_> = ["a", "b", "c", "d", "e", "f", "z"].map(|label| name(&format!("{label}.dyn.example"))).into();
    assert_eq!(read(store.pending().of(&names).await.unwrap()), keys);
    let asked: Vec<_> = names.iter().map(|name| RrKey { name: name.clone(), rtype: RrType::A }).collect();
    assert_eq!(read(store.pending().lease(&asked, NO_AGE, MINUTE).await.unwrap()), keys);
    // A newer request for its name still gets rid of one.
    let requests: Vec<_> = asked.into_iter().map(|key| (key, Timestamp::now())).collect();
    store.pending().clear(&requests).await.unwrap();
    assert_eq!(
        stage.sql("SELECT COUNT(*) FROM pending WHERE name IN ('b.dyn.example', 'e.dyn.example')").await.trim(),
        "0"
    );
}

async fn what_was_answered_later_is_known_by_type(stage: &Stage) {
    let store = &stage.store;
    let (v4, v6) = (a("home.dyn.example"), key("home.dyn.example", RrType::Aaaa));
    let now = Timestamp::now();
    let ago = |seconds| now.minus(Duration::from_secs(seconds));
    assert_eq!(store.answered_since(&v4, ago(9)).await.unwrap(), None, "nothing is known of it");
    store.pending().keep(&[v4.clone(), v6.clone()].map(|key| of_request(key, Desired::Absent, 6000))).await.unwrap();
    let held = "192.0.2.1".parse::<std::net::IpAddr>().unwrap();
    let answered = |seconds| Seen {
        held: DesiredRecords::set(held.into(), 60),
        settled: [Some(ago(seconds)), None],
        ..seen("home.dyn.example", now.0)
    };
    store.record(&together(&[answered(8)])).await.unwrap();
    assert_eq!(store.answered_since(&v4, ago(6)).await.unwrap(), None);
    store.record(&together(&[answered(4)])).await.unwrap();
    let said = RrData::A([192, 0, 2, 1].into());
    assert_eq!(store.answered_since(&v4, ago(6)).await.unwrap(), Some(Some(said)));
    assert_eq!(store.answered_since(&v4, ago(2)).await.unwrap(), None);
    assert_eq!(store.answered_since(&v6, ago(6)).await.unwrap(), None);
    let settled = Seen { settled: [None, Some(ago(4))], ..seen("home.dyn.example", now.0) };
    store.record(&together(&[settled])).await.unwrap();
    assert_eq!(store.answered_since(&v6, ago(6)).await.unwrap(), Some(None), "that it holds nothing");
}

/// Makes the tables of version 4.
pub(crate) async fn turn_back(stage: &Stage) {
    let text = if stage.store.is_shared() { "TEXT COLLATE \"C\"" } else { "TEXT" };
    for sql in [
        "DROP TABLE challenge",
        "DROP TABLE account_secret",
        "DROP TABLE pending",
        "CREATE TABLE wanted (name {text} PRIMARY KEY, ipv4 {text}, ipv6 {text}, ttl BIGINT NOT NULL, since BIGINT NOT NULL, \
         expires BIGINT, account {text} NOT NULL, source {text}, agent {text}, taker {text}, taken BIGINT, asked4 BIGINT, \
         asked6 BIGINT)",
        "ALTER TABLE state ADD COLUMN holder {text}",
        "ALTER TABLE state ADD COLUMN generation BIGINT NOT NULL DEFAULT 0",
        "ALTER TABLE state ADD COLUMN holder4 {text}",
        "ALTER TABLE state ADD COLUMN holder6 {text}",
        "DROP INDEX host_follow",
        "ALTER TABLE host DROP COLUMN follow",
        "ALTER TABLE host DROP COLUMN interface_id",
        "ALTER TABLE host DROP COLUMN prefix_from",
        "ALTER TABLE host DROP COLUMN wildcard",
        "ALTER TABLE host DROP COLUMN offline",
        "ALTER TABLE host DROP COLUMN ptr",
        "ALTER TABLE host DROP COLUMN mx",
        "DELETE FROM dyngate_migrations WHERE version >= 5",
    ] {
        stage.sql(&sql.replace("{text}", text)).await;
    }
}

async fn an_older_store_is_taken_over(stage: &Stage) {
    stage.store.record(&together(&[seen("home.dyn.example", 5)])).await.unwrap();
    turn_back(stage).await;
    let insert =
        "INSERT INTO wanted (name, ipv4, ipv6, ttl, since, expires, account, source, agent, asked4, asked6) VALUES";
    for row in [
        "('both.dyn.example', '192.0.2.1', '2001:db8::1', 60, 20, 99, 'a', '203.0.113.9', 'x', 10, 0)",
        "('gone.dyn.example', '', '', 0, 30, NULL, 'b', NULL, NULL, NULL, 31)",
        "('one.dyn.example', '192.0.2.2', NULL, 300, 40, NULL, 'c', NULL, NULL, 0, NULL)",
    ] {
        stage.sql(&format!("{insert} {row}")).await;
    }
    let store = stage.again().await;
    let read = store.pending().page(None, 10).await.unwrap();
    let told = |row: &PendingChange| (row.key.name.to_string(), row.key.rtype, row.desired.clone(), row.stamp.0);
    let v6 = |text: &str| RrData::parse(RrType::Aaaa, text).unwrap();
    let one = Desired::Set { data: RrData::A([192, 0, 2, 2].into()), ttl: 300 };
    assert_eq!(
        read.iter().map(told).collect::<Vec<_>>(),
        [
            ("both.dyn.example".to_owned(), RrType::A, set("192.0.2.1"), 10),
            ("both.dyn.example".to_owned(), RrType::Aaaa, Desired::Set { data: v6("2001:db8::1"), ttl: 60 }, 20),
            ("gone.dyn.example".to_owned(), RrType::A, Desired::Absent, 30),
            ("gone.dyn.example".to_owned(), RrType::Aaaa, Desired::Absent, 31),
            ("one.dyn.example".to_owned(), RrType::A, one, 40),
        ]
    );
    assert_eq!((read[0].source, read[0].agent.as_deref()), (Some("203.0.113.9".parse().unwrap()), Some("x")));
    assert_eq!((read[0].expires, read[0].account.as_str()), (Some(Timestamp(99)), "a"));
    assert_eq!(store.pending().page_of_commands(None, 10).await.unwrap().len(), 3);
    assert!(store.state(&name("home.dyn.example")).await.unwrap().is_some());
}

#[tokio::test]
async fn one_gateway_at_a_time_works_on_a_row() {
    let stage = Stage::postgres().await;
    let other = stage.again().await;
    let store = &stage.store;
    let key = a("home.dyn.example");
    let keys = std::slice::from_ref(&key);
    let first = of_request(key.clone(), set("192.0.2.1"), 4000);
    let stamp = keep(store, &first).await;
    assert_eq!(store.pending().lease(keys, MINUTE, MINUTE).await.unwrap(), [], "not old enough");
    let (one, two) =
        tokio::join!(store.pending().lease(keys, NO_AGE, MINUTE), other.pending().lease(keys, NO_AGE, MINUTE));
    let (one, two) = (one.unwrap(), two.unwrap());
    assert_eq!(one.len() + two.len(), 1, "two at once");
    let (mine, others) = if one.is_empty() { (&other, store) } else { (store, &other) };
    assert_eq!(
        one.iter().chain(&two).map(|row| (row.stamp, row.desired.clone())).collect::<Vec<_>>(),
        [(stamp, set("192.0.2.1"))]
    );

    // Leased, it is not for a request to take away.
    let now = Timestamp::now();
    assert_eq!(store.pending().clear(&[(key.clone(), now)]).await.unwrap(), keys);
    assert_eq!(
        store.pending().clear(&[(key.clone(), now.minus(MINUTE))]).await.unwrap(),
        [],
        "accepted before the row"
    );
    others.pending().release(keys).await.unwrap();
    assert_eq!(others.pending().lease(keys, NO_AGE, MINUTE).await.unwrap(), [], "it was not theirs to release");

    // A newer one stands in its place, and is worked on once whoever sends the older one is through.
    let newer = keep(&other, &of_request(key.clone(), set("192.0.2.2"), 500)).await;
    assert_eq!(others.pending().lease(keys, NO_AGE, MINUTE).await.unwrap(), []);
    store.pending().end(&[(key.clone(), stamp)]).await.unwrap();
    assert_eq!(desired(store, &key).await, Some(set("192.0.2.2")));
    mine.pending().release(keys).await.unwrap();
    let taken = others.pending().lease(keys, NO_AGE, NO_AGE).await.unwrap();
    assert_eq!(taken.iter().map(|row| row.stamp).collect::<Vec<_>>(), [newer]);
    assert_eq!(mine.pending().lease(keys, NO_AGE, MINUTE).await.unwrap().len(), 1, "its time is over");
    mine.pending().release_all().await.unwrap();
    assert_eq!(store.pending().clear(&[(key.clone(), Timestamp::now())]).await.unwrap(), []);
    assert!(store.pending().page(None, 1).await.unwrap().is_empty());
}

#[tokio::test]
async fn gateways_never_wait_for_each_other_in_a_circle() {
    let stage = Stage::postgres().await;
    let keys: Vec<_> = (0..300).map(|number| a(&format!("h{number}.dyn.example"))).collect();
    let mut reversed = keys.clone();
    reversed.reverse();
    let mut tasks = Vec::new();
    for keys in [keys.clone(), reversed, keys] {
        let store = stage.again().await;
        tasks.push(tokio::spawn(async move {
            for _ in 0..10 {
                let rows: Vec<_> = keys.iter().map(|key| of_request(key.clone(), Desired::Absent, 0)).collect();
                store.pending().keep(&rows).await.unwrap();
                let taken = store.pending().lease(&keys, NO_AGE, MINUTE).await.unwrap();
                let requests: Vec<_> = keys.iter().map(|key| (key.clone(), Timestamp::now())).collect();
                store.pending().clear(&requests).await.unwrap();
                let ended: Vec<_> = taken.into_iter().map(|row| (row.key, row.stamp)).collect();
                store.pending().end(&ended).await.unwrap();
                store.pending().release(&keys).await.unwrap();
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
}

#[tokio::test]
async fn others_hear_that_a_gateway_keeps_something() {
    let stage = Stage::postgres().await;
    let mut feed = stage.again().await.feed();
    assert_eq!(feed.next().await.unwrap(), News::Lost);
    let rows = ["b.dyn.example", "a.dyn.example"].map(|host| of_request(a(host), Desired::Absent, 10));
    stage.store.pending().keep(&rows).await.unwrap();
    let news = timeout(MINUTE, feed.next()).await.unwrap().unwrap();
    assert_eq!(news, News::Changed(vec![Subject::Pending(name("a.dyn.example"))]), "one word for all");
    let host = "c.dyn.example";
    let of_command = [RrType::A, RrType::Aaaa]
        .map(|rtype| PendingChange::of_command(key(host, rtype), Desired::Absent, "a".to_owned()));
    stage.store.pending().keep(&of_command).await.unwrap();
    let news = timeout(MINUTE, feed.next()).await.unwrap().unwrap();
    assert_eq!(news, News::Changed(vec![Subject::Pending(name(host))]));
}

#[tokio::test]
async fn a_database_that_older_gateways_use_is_left_as_it_is() {
    let stage = Stage::postgres().await;
    turn_back(&stage).await;
    let (send, mut received) = tokio::sync::mpsc::channel(1);
    let mut feed = stage.store.feed();
    let gateway = tokio::spawn(async move {
        loop {
            let news = feed.next().await;
            let _ = send.try_send(news.is_ok());
        }
    });
    received.recv().await.unwrap();
    let refused = Store::open(&stage.location).await.unwrap_err();
    assert!(matches!(&refused, StoreError::OlderGateways { .. }), "{refused:?}");
    let text = refused.to_string();
    assert!(text.contains("from 127.0.0.1, backend ") && text.contains("stop all of them first"), "{text}");
    assert_eq!(stage.sql("SELECT COUNT(*) FROM wanted").await.trim(), "0", "its tables are as they were");
    // It stops while the new one starts.
    let opening = Store::open(&stage.location);
    let stopping = async {
        gateway.abort();
        gateway.await.unwrap_err();
    };
    let (opened, ()) = tokio::join!(opening, stopping);
    let store = opened.unwrap();
    // Of this version, others may listen while one more opens the store.
    let mut feed = store.feed();
    assert_eq!(feed.next().await.unwrap(), News::Lost);
    stage.again().await;
    assert!(store.pending().page(None, 1).await.unwrap().is_empty());
}
