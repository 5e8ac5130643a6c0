//! The feed: what one changes, the other hears of, once and in order.

use std::time::Duration;

use dyngate::model::PasswordDigest;
use dyngate::store::{Feed, HostEdit, News, RecordsPolicy, Subject};
use tokio::time::timeout;

use crate::stage::{MINUTE, Stage, digest, name, new_account, new_host, on_both};

on_both!(
    what_one_changes_the_other_hears,
    every_change_of_many_writers_is_heard,
    who_slept_too_long_hears_that_he_lost_something,
    a_cancelled_wait_loses_nothing,
    a_change_of_much_is_one_word,
);

async fn next(feed: &mut Feed) -> News {
    timeout(MINUTE, feed.next()).await.expect("news").expect("a store that answers")
}

/// The subjects, until as many as `count` are there.
async fn subjects(feed: &mut Feed, count: usize) -> Vec<Subject> {
    let mut heard = Vec::new();
    while heard.len() < count {
        match next(feed).await {
            News::Changed(some) => heard.extend(some.into_iter().filter(|subject| !is_of_an_account(subject))),
            News::Lost => panic!("lost after {heard:?}"),
        }
    }
    heard
}

/// Whether it is the generated secret of an account, by which that is found too.
fn is_of_an_account(subject: &Subject) -> bool {
    [digest(1), digest(2)]
        .iter()
        .any(|secret| matches!((secret, subject), (PasswordDigest::Sha256(one), Subject::Token(other)) if one == other))
}

async fn what_one_changes_the_other_hears(stage: &Stage) {
    let store = &stage.store;
    let other = stage.again().await;
    let mut feed = other.feed();
    assert_eq!(next(&mut feed).await, News::Lost, "whatever was read before may be old");
    let (account, host) = (Subject::Account("a".into()), Subject::Host(name("h.dyn.example")));
    let home = name("h.dyn.example");

    store.add_account(&new_account("a"), &[new_host("h.dyn.example", "a")]).await.unwrap();
    assert_eq!(subjects(&mut feed, 2).await, [account.clone(), host.clone()]);
    store.set_enabled("a", false).await.unwrap();
    assert_eq!(subjects(&mut feed, 1).await, std::slice::from_ref(&account));
    store.rotate("a", &digest(2), None).await.unwrap();
    let News::Changed(rotated) = next(&mut feed).await else { panic!("nothing is lost") };
    let secrets = [[1; 32], [2; 32]].map(Subject::Token);
    assert!(rotated.contains(&account) && secrets.iter().all(|secret| rotated.contains(secret)), "{rotated:?}");
    store.set_host(&home, &HostEdit::default()).await.unwrap();
    store.block(&home, Some("x")).await.unwrap();
    assert_eq!(subjects(&mut feed, 2).await, [host.clone(), host.clone()]);
    store.set_token(&home, &[7; 32], None).await.unwrap();
    assert_eq!(subjects(&mut feed, 1).await, [Subject::Token([7; 32])]);
    store.set_token(&home, &[8; 32], None).await.unwrap();
    assert_eq!(subjects(&mut feed, 2).await, [Subject::Token([7; 32]), Subject::Token([8; 32])]);
    store.remove_host(&home, RecordsPolicy::Remove).await.unwrap();
    let gone = [Subject::Token([8; 32]), Subject::Pending(home.clone()), host, account.clone()];
    assert_eq!(subjects(&mut feed, 4).await, gone);
    store.set_enabled("nobody", true).await.unwrap_err();
    store.remove_account("a", RecordsPolicy::Keep).await.unwrap();
    assert_eq!(subjects(&mut feed, 1).await, [account]);
}

async fn every_change_of_many_writers_is_heard(stage: &Stage) {
    let mut feed = stage.store.feed();
    next(&mut feed).await;
    let mut writers = Vec::new();
    for writer in 0..6 {
        let store = stage.again().await;
        writers.push(tokio::spawn(async move {
            for number in 0..15 {
                store.add_account(&new_account(&format!("{writer}-{number}")), &[]).await.unwrap();
            }
        }));
    }
    let mut heard: Vec<_> = subjects(&mut feed, 90).await.into_iter().map(|subject| format!("{subject:?}")).collect();
    heard.sort_unstable();
    heard.dedup();
    assert_eq!(heard.len(), 90, "each once");
    for writer in writers {
        writer.await.unwrap();
    }
}

async fn who_slept_too_long_hears_that_he_lost_something(stage: &Stage) {
    let mut feed = stage.store.feed();
    assert_eq!(next(&mut feed).await, News::Lost);
    stage.account("a", &[]).await;
    stage.account("b", &[]).await;
    subjects(&mut feed, 2).await;
    stage.sql("UPDATE change SET at = 0").await;
    // The next change takes those of more than an hour ago out of the feed, but for the newest.
    stage.account("c", &[]).await;
    assert_eq!(
        stage.sql("SELECT COUNT(*) FROM change").await.trim(),
        "3",
        "its account, its secret, and the newest before"
    );
    assert_eq!(subjects(&mut feed, 1).await, [Subject::Account("c".into())]);
    let trimmed = "BEGIN; INSERT INTO change (subject, at) VALUES ('account x', 0), ('account y', 0); \
                   DELETE FROM change WHERE id < (SELECT MAX(id) FROM change); COMMIT";
    stage.sql(trimmed).await;
    assert_eq!(next(&mut feed).await, News::Lost, "the row that was read last is gone");
    stage.account("d", &[]).await;
    assert_eq!(subjects(&mut feed, 1).await, [Subject::Account("d".into())]);
    stage.sql("INSERT INTO change (subject, at) VALUES ('planet Mars', 0)").await;
    assert_eq!(next(&mut feed).await, News::Lost, "a later version's subject");
}

async fn a_cancelled_wait_loses_nothing(stage: &Stage) {
    let mut feed = stage.store.feed();
    assert_eq!(next(&mut feed).await, News::Lost);
    let other = stage.again().await;
    let writer = tokio::spawn(async move {
        for number in 0..30 {
            other.add_account(&new_account(&number.to_string()), &[]).await.unwrap();
            tokio::time::sleep(Duration::from_millis(7)).await;
        }
    });
    let mut heard = 0;
    let deadline = tokio::time::Instant::now() + MINUTE;
    while heard < 30 {
        assert!(tokio::time::Instant::now() < deadline, "{heard} of 30");
        match timeout(Duration::from_millis(11), feed.next()).await {
            Ok(Ok(News::Changed(subjects))) => {
                heard += subjects.iter().filter(|subject| !is_of_an_account(subject)).count()
            }
            Ok(other) => panic!("{other:?}"),
            Err(_) => {}
        }
    }
    writer.await.unwrap();
    assert_eq!(heard, 30);
}

async fn a_change_of_much_is_one_word(stage: &Stage) {
    let hosts: Vec<_> = (0..1100).map(|number| format!("h{number}.dyn.example")).collect();
    let lines = hosts.iter().map(|host| {
        format!(r#"{{"kind":"host","name":"{host}","account":"a","ttl":null,"families":"46","description":"","blocked":null,"created":1}}"#)
    });
    stage.account("a", &[]).await;
    let mut feed = stage.store.feed();
    next(&mut feed).await;
    let start = r#"{"kind":"dyngate-export","version":1}"#.to_owned();
    let imported = stage.store.import(std::iter::once(start).chain(lines).map(Ok)).await.unwrap();
    assert_eq!(imported.hosts, 1100);
    assert_eq!(next(&mut feed).await, News::Lost);
    let removed = stage.store.remove_account("a", RecordsPolicy::Remove).await.unwrap();
    assert_eq!(removed.len(), 1100);
    assert_eq!(next(&mut feed).await, News::Lost);
    assert_eq!(stage.sql("SELECT COUNT(*) FROM pending").await.trim(), "2200");
    stage.account("b", &[]).await;
    assert_eq!(subjects(&mut feed, 1).await, [Subject::Account("b".into())]);
}
