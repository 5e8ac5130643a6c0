//! Names below wildcards: an account has at most as many as it may have, whoever asks at the same time and whatever fails.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use dyngate::config::Config;
use dyngate::metrics::Metrics;
use dyngate::registry::{Account, Registry, Reservation};
use dyngate::store::Reserved::{Known, New, TooMany};
use dyngate::store::Store;
use lab::{Key, digest};
use tokio::task::JoinSet;

use crate::stage::{Stage, below, on_both, reserve};

on_both!(
    names_are_reserved_up_to_a_number,
    what_fits_is_reserved_in_its_order,
    what_an_older_version_counted_still_counts,
    an_account_that_is_made_again_begins_with_no_names,
    a_name_is_given_back_by_the_last_who_relies_on_it,
    failures_give_back_nothing_that_others_rely_on,
    many_callers_share_transactions,
);

async fn names_are_reserved_up_to_a_number(stage: &Stage) {
    let other = stage.again().await;
    let mut tasks = JoinSet::new();
    for number in 0..20 {
        let store = if number % 2 == 0 { stage.store.clone() } else { other.clone() };
        tasks.spawn(async move {
            let first = format!("h{number}");
            (reserve(&store, "declared", &[&first], 7).await[0], first)
        });
    }
    let answers = tasks.join_all().await;
    let of = |kind| answers.iter().filter(|(answer, _)| *answer == kind).count();
    assert_eq!((of(New), of(TooMany)), (7, 13));
    let (_, first) = answers.iter().find(|(answer, _)| *answer == New).unwrap();
    assert_eq!(stage.reserve("declared", &[first], 7).await, [Known]);
    assert_eq!(stage.reserve("declared", &[first], 0).await, [Known], "what it has it keeps");
    assert_eq!(stage.reserve("another", &[first], 1).await, [New], "each account counts for itself");
}

async fn what_fits_is_reserved_in_its_order(stage: &Stage) {
    assert_eq!(stage.reserve("a", &["h9", "h1", "h9", "h5", "h3"], 2).await, [New, New, New, TooMany, TooMany]);
    assert_eq!(stage.reserve("a", &["h3", "h1", "h4", "h9"], 3).await, [New, Known, TooMany, Known]);
    let released = [("a".into(), below("h1")), ("a".into(), below("never"))];
    let request = |first| dyngate::store::NameRequest { login: "a".into(), name: below(first), most: 3 };
    let answers = stage.store.reservations().reserve(&released, &[request("h4"), request("h1")]).await.unwrap();
    assert_eq!(answers, [New, TooMany], "one was given back, and the other had not been there");
    assert_eq!(stage.sql("SELECT names FROM reserved_count WHERE login = 'a'").await.trim(), "3");
    assert_eq!(stage.store.reservations().page(Some("a"), None, 9).await.unwrap().len(), 3);
    // More than a statement takes.
    let many: Vec<_> = (0..1500).map(|number| format!("m{number}")).collect();
    let answers = stage.reserve("b", &many.iter().map(String::as_str).collect::<Vec<_>>(), 1200).await;
    assert_eq!(answers.iter().filter(|answer| **answer == New).count(), 1200);
    assert_eq!(answers.iter().position(|answer| *answer == TooMany), Some(1200));
}

async fn what_an_older_version_counted_still_counts(stage: &Stage) {
    // What this version's migration did, undone.
    for undo in [
        "DELETE FROM dyngate_migrations WHERE version = 4",
        "DROP TABLE reserved_count",
        "DROP INDEX reserved_name",
        "ALTER TABLE reserved DROP COLUMN gateway",
        "ALTER TABLE reserved RENAME TO born",
        "CREATE INDEX born_name ON born (name)",
        "INSERT INTO born (login, name) VALUES ('a', 'h1.dyn.example'), ('a', 'h2.dyn.example'), ('b', 'h1.dyn.example')",
    ] {
        stage.sql(undo).await;
    }
    let store = stage.again().await;
    assert_eq!(reserve(&store, "a", &["h3", "h2", "h4"], 3).await, [New, Known, TooMany]);
    assert_eq!(reserve(&store, "b", &["h1", "h2", "h3"], 2).await, [Known, New, TooMany]);
}

async fn an_account_that_is_made_again_begins_with_no_names(stage: &Stage) {
    stage.account("a", &[]).await;
    assert_eq!(stage.reserve("a", &["h1", "h2"], 2).await, [New, New]);
    stage.store.remove_account("a", dyngate::store::RecordsPolicy::Keep).await.unwrap();
    stage.account("a", &[]).await;
    assert_eq!(stage.reserve("a", &["h2", "h3", "h1"], 2).await, [New, New, TooMany]);
}

/// A gateway's registry on the stage's store, with an account that may have three names.
async fn registry(stage: &Stage) -> (Arc<Registry>, Arc<Account>) {
    let key = Key::generate("k");
    let text = format!(
        "{}\n[[zone]]\nname = \"dyn.example\"\nkey = \"k\"\nprimaries = [\"127.0.0.1:1\"]\n[[account]]\nlogin = \"a\"\n\
         secret = \"{}\"\nhosts = [\"*.dyn.example\"]\nmax_hosts = 3\n",
        key.toml(),
        digest("a-generated-secret"),
    );
    let metrics = Metrics::register(&mut prometheus_client::registry::Registry::default());
    let config = Config::parse(&text, Path::new("/gateway.toml")).unwrap();
    let registry = Registry::with(&config, stage.again().await, &metrics, || {}).await.unwrap();
    let account = registry.account("a").await.unwrap().unwrap();
    (Arc::new(registry), account)
}

async fn get(registry: &Registry, account: &Account, first: &str) -> Option<Reservation> {
    registry.reserve(account, &below(first)).await.unwrap()
}

async fn a_name_is_given_back_by_the_last_who_relies_on_it(stage: &Stage) {
    let (registry, account) = registry(stage).await;
    let [one, two] = [get(&registry, &account, "h1").await.unwrap(), get(&registry, &account, "h1").await.unwrap()];
    let kept = [get(&registry, &account, "h2").await.unwrap(), get(&registry, &account, "h3").await.unwrap()];
    assert!(get(&registry, &account, "h4").await.is_none());
    one.release();
    assert!(get(&registry, &account, "h4").await.is_none(), "the second one relies on it");
    two.release();
    let four = get(&registry, &account, "h4").await.expect("both failed");
    assert!(get(&registry, &account, "h1").await.is_none());
    // Whoever comes while the last one fails finds it, or reserves it anew.
    four.release();
    let again = get(&registry, &account, "h4").await.expect("it is free, or still there");
    let failing = get(&registry, &account, "h4").await.unwrap();
    drop(again);
    failing.release();
    drop(kept);
    assert!(get(&registry, &account, "h5").await.is_none(), "three were made");
    get(&registry, &account, "h2").await.expect("known by now").release();
    assert!(get(&registry, &account, "h5").await.is_none(), "what was there before stays");
    assert_eq!(stage.store.reservations().page(Some("a"), None, 9).await.unwrap().len(), 3);
}

/// As with a key that may set one family alone: of two requests for a name, always one fails.
async fn failures_give_back_nothing_that_others_rely_on(stage: &Stage) {
    let (registry, account) = registry(stage).await;
    let mut tasks = JoinSet::new();
    for number in 0..280_u32 {
        let (registry, account) = (Arc::clone(&registry), Arc::clone(&account));
        tasks.spawn(async move {
            let first = format!("h{}", number % 14);
            let reservation = get(&registry, &account, &first).await?;
            // As long as the primary takes, and others come meanwhile.
            for _ in 0..number % 5 {
                tokio::task::yield_now().await;
            }
            if number / 14 % 2 == 0 {
                reservation.release();
                return None;
            }
            Some(first)
        });
    }
    let made: HashSet<_> = tasks.join_all().await.into_iter().flatten().collect();
    let counted = stage.store.reservations().page(Some("a"), None, 99).await.unwrap();
    let counted: HashSet<_> = counted.into_iter().map(|(host, _)| host).collect();
    assert_eq!(made.len(), 3, "{made:?}");
    assert!(made.iter().all(|first| counted.contains(&below(first))), "{made:?} {counted:?}");
}

async fn many_callers_share_transactions(stage: &Stage) {
    let (registry, mut account) = registry(stage).await;
    Arc::make_mut(&mut account).login = "another".into();
    let mut tasks = JoinSet::new();
    for number in 0..2000 {
        let (registry, account) = (Arc::clone(&registry), Arc::clone(&account));
        tasks.spawn(async move { get(&registry, &account, &format!("h{number}")).await.is_some() });
    }
    let reserved = tasks.join_all().await;
    assert_eq!(reserved.into_iter().filter(|is_reserved| *is_reserved).count(), 3);
    assert_eq!(stage.store.reservations().page(Some("another"), None, 9).await.unwrap().len(), 3);
}

#[tokio::test]
async fn what_two_gateways_rely_on_stays() {
    let stage = Stage::postgres().await;
    let other = stage.again().await;
    let give_back =
        async |store: &Store, first| store.reservations().reserve(&[("a".into(), below(first))], &[]).await.unwrap();
    assert_eq!(stage.reserve("a", &["h1", "h2"], 2).await, [New, New]);
    assert_eq!(reserve(&other, "a", &["h1"], 2).await, [Known]);
    give_back(&stage.store, "h1").await;
    give_back(&other, "h2").await;
    assert_eq!(reserve(&other, "a", &["h3", "h1", "h2"], 2).await, [TooMany, Known, Known]);
    assert_eq!(stage.reserve("b", &["h4"], 1).await, [New]);
    give_back(&other, "h4").await;
    assert_eq!(stage.sql("SELECT COUNT(*) FROM reserved").await.trim(), "3", "nobody gives back another account's");
}
