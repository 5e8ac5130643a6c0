//! What is deferred where gateways share a store that may be away, and families of a host are told to different ones.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hickory_proto::op::Message;
use hickory_proto::rr::RData;
use lab::path::Path;

use super::newest::{ask, wait_at_the_primary};
use super::*;
use crate::stage::update;

async fn says_that_the_store_is_away(gateway: &Gateway) -> bool {
    Request::get("/readyz").send(gateway.admin()).await.unwrap().text().contains("store: ")
}

impl Stage {
    async fn kill_the_store(&mut self, gateways: &[&Gateway]) {
        self._postgres.as_mut().unwrap().kill();
        for gateway in gateways {
            soon("it is noticed", async || says_that_the_store_is_away(gateway).await).await;
        }
    }

    async fn restart_the_store(&mut self, gateways: &[&Gateway]) {
        self._postgres.as_mut().unwrap().start_again().await.unwrap();
        for gateway in gateways {
            soon("it is back", async || !says_that_the_store_is_away(gateway).await).await;
        }
        soon("we can read it", async || self.store().ping().await.is_ok()).await;
    }

    /// The families that are written for `host`.
    async fn written(&self, host: &str) -> (bool, bool) {
        let rows = self.store().pending().of(&[name(host)]).await.unwrap();
        let has = |rtype| rows.iter().any(|row| row.key.rtype == rtype);
        (has(RrType::A), has(RrType::Aaaa))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_families_of_a_host_that_are_told_to_two_gateways_are_both_kept() {
    let mut stage = Stage::postgres(Kind::Knot).await;
    let (one, other) = (stage.gateway(ENGINE).await, stage.gateway(ENGINE).await);
    assert_eq!(stage.set(&one, "203.0.113.1").await, "good 203.0.113.1");
    stage.primary.stop().await.unwrap();
    let v4 = ask(&one, HOME, "203.0.113.2");
    wait_at_the_primary(&one, 1.0).await;
    let v6 = ask(&other, HOME, "2001:db8::2");
    assert_eq!((v4.await.unwrap(), v6.await.unwrap()), ("911".to_owned(), "911".to_owned()));
    soon("both are written", async || stage.written(HOME).await == (true, true)).await;
    stage.primary.start_again().await.unwrap();
    stage.ends_with(&["203.0.113.2", "2001:db8::2"], &one).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_acknowledged_while_the_store_is_away_is_not_replaced_by_what_was_deferred_before() {
    acknowledged_while_the_store_is_away(vec![]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nor_by_a_gateway_whose_clock_is_ahead() {
    acknowledged_while_the_store_is_away(lab::faketime(60).unwrap()).await;
}

async fn acknowledged_while_the_store_is_away(envs: Vec<(String, String)>) {
    let mut stage = Stage::postgres(Kind::Knot).await;
    let one = stage.cut_off(ENGINE, envs).await;
    let other = stage.gateway(ENGINE).await;
    assert_eq!(stage.set(&other, "203.0.113.1").await, "good 203.0.113.1");
    let gone = name("gone.dyn.example");
    let removal =
        PendingChange::of_command(RrKey { name: gone.clone(), rtype: RrType::A }, Desired::Absent, "kept".to_owned());
    stage.store().pending().keep(&[removal]).await.unwrap();
    soon("it has looked, and will not for 10 s", async || {
        stage.store().pending().of(std::slice::from_ref(&gone)).await.unwrap().is_empty()
    })
    .await;
    assert_eq!(stage.set(&one, "203.0.113.2").await, "911");
    stage.is_written().await;
    stage.kill_the_store(&[&one, &other]).await;
    assert_eq!(stage.set(&other, "203.0.113.3").await, "good 203.0.113.3");
    stage.restart_the_store(&[&one, &other]).await;
    stage.ends_with(&["203.0.113.3"], &other).await;
    soon("no gateway waits", async || deferred(&one).await == 0.0 && deferred(&other).await == 0.0).await;
}

/// Nobody can claim its name then.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_deferred_while_the_store_is_away_is_kept() {
    const FILE: &str = "file.dyn.example";
    let mut stage = Stage::postgres(Kind::Knot).await;
    stage.config.grants = vec![FILE];
    stage.config.more = format!("[[host]]\nname = \"{FILE}\"\n");
    let gateway = stage.gateway(ENGINE).await;
    stage.kill_the_store(&[&gateway]).await;
    stage.primary.stop().await.unwrap();
    assert_eq!(update(&gateway, &format!("hostname={FILE}&myip=203.0.113.2")).await.text(), "911");
    soon("deferred", async || deferred(&gateway).await == 1.0).await;
    stage.restart_the_store(&[&gateway]).await;
    soon("it is written", async || stage.written(FILE).await == (true, false)).await;
    stage.primary.start_again().await.unwrap();
    soon("done", async || deferred(&gateway).await == 0.0).await;
    let served = stage.primary.addresses(FILE).await.unwrap();
    assert_eq!(served, ["203.0.113.2".parse::<std::net::IpAddr>().unwrap()], "{}", gateway.log());
}

/// The message of the one gateway waits on its way until the other has answered a newer request.
async fn applied_late(held: Duration) {
    // On a busy machine a second may pass before it is sent.
    const DEADLINE: &str = "[engine]\ndeadline = \"1500ms\"\n";
    let mut stage = Stage::postgres(Kind::Knot).await;
    let other = stage.gateway(DEADLINE).await;
    let path = Path::to(stage.primary.addr()).await.unwrap();
    let has_passed = Arc::new(AtomicBool::new(false));
    let passes = Arc::clone(&has_passed);
    path.watch(move |message| {
        let older = RData::A(Ipv4Addr::new(203, 0, 113, 2).into());
        if Message::from_vec(message).unwrap().authorities.iter().any(|record| record.data == older) {
            passes.store(true, Ordering::Relaxed);
        }
    });
    stage.config.primaries = vec![path.addr()];
    let one = stage.gateway(DEADLINE).await;
    assert_eq!(stage.set(&one, "203.0.113.1").await, "good 203.0.113.1");
    path.hold(true);
    let began = Instant::now();
    let older = ask(&one, HOME, "203.0.113.2");
    wait_at_the_primary(&one, 1.0).await;
    assert_eq!(older.await.unwrap(), "911");
    assert_eq!(stage.set(&other, "203.0.113.3").await, "good 203.0.113.3");
    sleep(held.saturating_sub(began.elapsed())).await;
    assert!(!has_passed.load(Ordering::Relaxed));
    path.hold(false);
    soon("the older one comes late", async || has_passed.load(Ordering::Relaxed)).await;
    // Two seconds and two deadlines after its end is looked whether it stands.
    sleep(Duration::from_secs(6)).await;
    stage.ends_with(&["203.0.113.3"], &one).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_applied_after_another_gateway_answered_a_newer_request_is_undone() {
    applied_late(Duration::from_millis(2500)).await;
}

/// It is after two deadlines of silence, and the first look comes two seconds later.
#[tokio::test(flavor = "multi_thread")]
async fn so_it_is_when_its_connection_was_given_up() {
    applied_late(Duration::from_secs(4)).await;
}
