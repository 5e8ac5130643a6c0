//! Two gateways on one PostgreSQL, in front of one Knot DNS, where all of them come and go: for one host the last accepted
//! request wins, whichever gateway it came to, and what was told `911` is done once the primary answers.
//!
//! Real parts, so that a run is not the same twice; what went wrong, and when, is told of each failure.
//! `TOGETHER_ROUNDS` is the number of rounds of each test, `TOGETHER_SEED` the first one's seed.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on ends here")]
#![expect(unreachable_pub, clippy::print_stdout, reason = "a program of its own, which tells what it did")]

mod log;
mod reference;
mod router;
mod stage;

use std::sync::Arc;
use std::sync::atomic::AtomicU16;
use std::time::Duration;

use lab::Chance;
use tokio::time::{Instant, sleep};

use log::Log;
use reference::{Word, Wrong, wrong};
use stage::{Stage, Troubles, name};

const HOSTS: u64 = 30;
/// How long requests come in a round.
const REQUESTS: Duration = Duration::from_secs(8);
/// From the last deferred change on: a look for what came late after two deadlines.
const LATE: Duration = Duration::from_secs(4);

fn env(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_accepted_wins_and_what_was_told_911_is_done() {
    play(Troubles::NoMore, &[Wrong::Lost, Wrong::NotKept]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn so_they_do_where_clocks_differ() {
    play(Troubles::Clock, &[Wrong::Lost, Wrong::NotKept]).await;
}

/// What is told `911` while the store is away is not kept.
#[tokio::test(flavor = "multi_thread")]
async fn the_last_accepted_wins_though_the_store_is_away_at_times() {
    play(Troubles::Store, &[Wrong::Lost]).await;
}

async fn play(troubles: Troubles, forbidden: &[Wrong]) {
    let (rounds, first) = (env("TOGETHER_ROUNDS").unwrap_or(1), env("TOGETHER_SEED").unwrap_or(1));
    let log = Log::new();
    let mut stage = Stage::new(HOSTS, troubles, &log).await;
    let numbers = Arc::new(AtomicU16::new(1));
    let (mut requests, mut accepted, mut failures) = (0, 0, 0);
    for seed in first..first + rounds {
        let mut chance = Chance::new(seed);
        log.clear();
        let began = Instant::now();
        let until = began + REQUESTS;
        let mut routers = Vec::new();
        for host in 0..HOSTS {
            let (chance, addrs) = (Chance::new(chance.any()), Arc::clone(&stage.addrs));
            let router = router::run(name(host), chance, addrs, Arc::clone(&numbers), until, log.clone());
            routers.push((name(host), tokio::spawn(router)));
        }
        while Instant::now() < until {
            stage.trouble(troubles, &mut chance, &log).await;
        }
        let mut all = Vec::new();
        for (name, router) in routers {
            all.push((name, router.await.unwrap()));
        }
        log.note("all is well");
        stage.settle().await;
        sleep(LATE).await;
        for (name, asked) in all {
            requests += asked.len();
            accepted += asked.iter().filter(|asked| asked.word == Word::Accepted).count();
            let held = stage.primary.addresses(&name).await.unwrap();
            if let Some(wrong) = wrong(&asked, &held).filter(|wrong| forbidden.contains(wrong)) {
                failures += 1;
                let (log, gateways) = (log.of(&name, began), stage.logs(&name));
                println!("seed {seed}: {name} holds {held:?}: {wrong:?}\n{log}{gateways}");
            }
        }
        println!("seed {seed}: {requests} requests until now ({accepted} accepted), {failures} failures");
    }
    assert_eq!(failures, 0, "what happened stands above");
}
