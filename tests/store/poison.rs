//! A row that cannot be read: what it is of fails alone, lists pass over it, and it can be removed.

use dyngate::model::{Hostname, PendingChange};
use dyngate::store::{News, RecordsPolicy, Store, StoreError};

use crate::stage::{Stage, below, digest, name, new_account, on_both, seen, together, zone};

on_both!(
    an_unreadable_row_fails_its_own_account_alone,
    lists_of_any_length_pass_over_unreadable_rows,
    what_cannot_be_read_can_be_removed,
    an_export_leaves_behind_what_cannot_be_read,
    an_unreadable_row_of_the_feed_loses_no_news,
);

/// Two accounts with two hosts each, of which something is known and something pending.
async fn fill(stage: &Stage) {
    stage.account("good", &["a.dyn.example", "b.dyn.example"]).await;
    stage.account("poor", &["m.dyn.example", "n.dyn.example"]).await;
    stage.store.grant("poor", &[], &[zone("poor.dyn.example")]).await.unwrap();
    let calls: Vec<_> = ["a", "b", "m", "n"].iter().map(|first| seen(below(first).as_str(), 5)).collect();
    stage.store.record(&together(&calls)).await.unwrap();
    stage.store.set_token(&name("a.dyn.example"), &[1; 32], None).await.unwrap();
    stage.store.set_token(&name("m.dyn.example"), &[2; 32], None).await.unwrap();
}

/// How an account can be spoiled; SQLite keeps what is no number in a column of numbers too, and what is no text in text.
fn accounts(stage: &Stage) -> Vec<&'static str> {
    let mut all = vec!["secrets = 'none'", "wildcards = 'a..b'", "max_hosts = -1", "secrets = '$sha256$x 12'"];
    if !stage.store.is_shared() {
        all.extend(["enabled = 'perhaps'", "created = 1.5", "secrets = x'ff'", "secrets = CAST(x'ff' AS TEXT)"]);
    }
    all
}

async fn spoil(stage: &Stage, table: &str, what: &str, condition: &str) {
    stage.sql(&format!("UPDATE {table} SET {what} WHERE {condition}")).await;
}

async fn logins(store: &Store, limit: usize) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    loop {
        let page = store.accounts(all.last().map(String::as_str), limit).await.unwrap();
        if page.is_empty() {
            return all;
        }
        all.extend(page.iter().map(|account| account.login.to_string()));
    }
}

async fn an_unreadable_row_fails_its_own_account_alone(stage: &Stage) {
    fill(stage).await;
    let store = &stage.store;
    for what in accounts(stage) {
        spoil(stage, "account", what, "login = 'poor'").await;
        let error = store.account("poor").await.unwrap_err();
        assert!(matches!(error, StoreError::Unreadable { .. }), "{what}: {error:?}");
        assert!(store.account("good").await.unwrap().is_some(), "{what}");
        assert_eq!(logins(store, 1).await, ["good"], "{what}");
        let right = "secrets = '$sha256$AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=', wildcards = '', max_hosts = 9, enabled = 1, created = 1";
        spoil(stage, "account", right, "login = 'poor'").await;
        assert_eq!(store.account("poor").await.unwrap().unwrap().secrets[0].digest, digest(1));
    }
    spoil(stage, "host", "ttl = -1", "name = 'm.dyn.example'").await;
    let error = store.host(&name("m.dyn.example")).await.unwrap_err();
    assert!(error.to_string().starts_with("the TTL of host \"m.dyn.example\" cannot be read in the store"), "{error}");
    assert!(store.host(&name("n.dyn.example")).await.unwrap().is_some());
    spoil(stage, "state", "ipv4 = 'x', source = 'y'", "name = 'm.dyn.example'").await;
    let state = store.state(&name("m.dyn.example")).await.unwrap().unwrap();
    assert_eq!((state.addresses.v4, state.source, state.last_seen.is_some()), (None, None, true));
    let both = [name("a.dyn.example"), name("m.dyn.example")];
    assert_eq!(store.states(&both).await.unwrap().len(), 2);
    let calls = [seen("a.dyn.example", 9), seen("m.dyn.example", 9)];
    store.record(&together(&calls)).await.unwrap();
    stage.reserve("good", &["x"], 5).await;
    stage.reserve("poor", &["y"], 5).await;
    if !store.is_shared() {
        spoil(stage, "reserved_count", "names = 'many'", "login = 'poor'").await;
        let request =
            |login: &str, first| dyngate::store::NameRequest { login: login.into(), name: below(first), most: 5 };
        let reserved = store.reservations().reserve(&[], &[request("good", "v"), request("poor", "w")]).await.unwrap();
        assert_eq!(reserved, [dyngate::store::Reserved::New, dyngate::store::Reserved::TooMany]);
    }
    let removals: Vec<_> = both.iter().flat_map(|name| PendingChange::removal(name, "good")).collect();
    store.pending().keep(&removals).await.unwrap();
    spoil(stage, "pending", "ttl = -1", "name = 'm.dyn.example'").await;
    assert_eq!(store.pending().page(None, 1).await.unwrap().len(), 1);
    let of_the_other = PendingChange::removal(&name("a.dyn.example"), "good").into_iter().count();
    assert_eq!(store.pending().of(&both).await.unwrap().len(), of_the_other, "those of the other");
}

async fn lists_of_any_length_pass_over_unreadable_rows(stage: &Stage) {
    for number in 10..30 {
        stage.account(&format!("a{number}"), &[&format!("h{number}.dyn.example")]).await;
    }
    let spoiled = ["10", "13", "14", "15", "29"];
    for (at, number) in spoiled.into_iter().enumerate() {
        let no_text = !stage.store.is_shared() && at % 2 == 0;
        let secrets = if no_text { "secrets = CAST(x'ff' AS TEXT)" } else { "secrets = ''' none'" };
        spoil(stage, "account", secrets, &format!("login = 'a{number}'")).await;
        let host = if no_text { "description = CAST(x'ff' AS TEXT)" } else { "ttl = -1" };
        spoil(stage, "host", host, &format!("login = 'a{number}'")).await;
    }
    let left: Vec<_> =
        (10..30).map(|number| number.to_string()).filter(|left| !spoiled.contains(&left.as_str())).collect();
    for limit in [1, 2, 3, 7, 15, 16, 1000] {
        let logins = logins(&stage.store, limit).await;
        assert_eq!(logins, left.iter().map(|number| format!("a{number}")).collect::<Vec<_>>(), "by {limit}");
        let mut names: Vec<Hostname> = Vec::new();
        loop {
            let page = stage.store.hosts(None, names.last(), limit).await.unwrap();
            if page.is_empty() {
                break;
            }
            names.extend(page.into_iter().map(|host| host.name));
        }
        assert_eq!(names, left.iter().map(|number| below(&format!("h{number}"))).collect::<Vec<_>>(), "by {limit}");
    }
}

async fn what_cannot_be_read_can_be_removed(stage: &Stage) {
    fill(stage).await;
    let store = &stage.store;
    let m = name("m.dyn.example");
    spoil(stage, "host", "ttl = -1", "name = 'm.dyn.example'").await;
    let mut feed = store.feed();
    assert_eq!(feed.next().await.unwrap(), News::Lost);
    store.remove_host(&m, RecordsPolicy::Remove).await.unwrap();
    let News::Changed(subjects) = feed.next().await.unwrap() else { panic!("told") };
    assert!(subjects.contains(&dyngate::store::Subject::Token([2; 32])), "{subjects:?}");
    assert_eq!(store.host(&m).await.unwrap(), None);
    assert_eq!(store.pending().of(&[m]).await.unwrap().len(), 2);
    stage.sql("UPDATE host SET name = 'N dyn' WHERE name = 'n.dyn.example'").await;
    for what in accounts(stage) {
        spoil(stage, "account", what, "login = 'poor'").await;
    }
    store.remove_account("poor", RecordsPolicy::Keep).await.unwrap();
    assert_eq!(store.account("poor").await.unwrap(), None);
    assert_eq!(stage.sql("SELECT COUNT(*) FROM host").await.trim(), "2");
    assert_eq!(logins(store, 10).await, ["good"]);
}

async fn an_export_leaves_behind_what_cannot_be_read(stage: &Stage) {
    fill(stage).await;
    stage.reserve("good", &["x"], 5).await;
    spoil(stage, "host", "ttl = -1", "name = 'a.dyn.example'").await;
    for what in accounts(stage) {
        spoil(stage, "account", what, "login = 'poor'").await;
    }
    stage.sql("UPDATE state SET name = 'no name' WHERE name = 'b.dyn.example'").await;
    stage.sql("UPDATE reserved SET name = 'no name' WHERE login = 'good'").await;
    let mut export = stage.store.export().await.unwrap();
    let mut lines = Vec::new();
    while let Some(line) = export.next().await.unwrap() {
        lines.push(line);
    }
    let text = lines.join("\n");
    assert!(text.contains("\"good\"") && text.contains("b.dyn.example"), "{text}");
    assert!(
        !text.contains("poor") && !text.contains("\"host\",\"name\":\"m.dyn") && !text.contains("\"token\""),
        "{text}"
    );
    let other = Stage::sqlite().await;
    let imported = other.store.import(lines.into_iter().map(Ok)).await.unwrap();
    assert_eq!((imported.accounts, imported.hosts, imported.tokens), (1, 1, 0));
}

async fn an_unreadable_row_of_the_feed_loses_no_news(stage: &Stage) {
    stage.store.add_account(&new_account("a"), &[]).await.unwrap();
    let mut feed = stage.store.feed();
    assert_eq!(feed.next().await.unwrap(), News::Lost);
    let mut spoiled = vec!["'zone x'"];
    if !stage.store.is_shared() {
        spoiled.extend(["x'ff'", "CAST(x'ff' AS TEXT)"]);
    }
    for subject in spoiled {
        stage.sql(&format!("INSERT INTO change (subject, at) VALUES ({subject}, 0)")).await;
        assert_eq!(feed.next().await.unwrap(), News::Lost, "{subject}");
    }
    stage.store.set_enabled("a", false).await.unwrap();
    assert!(matches!(feed.next().await.unwrap(), News::Changed(_)));
}
