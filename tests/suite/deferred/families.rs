//! What a setting of a host forbids leaves the zone, whoever runs and whatever is asked for meanwhile.

use dyngate::store::HostEdit;
use tokio::task::JoinSet;

use super::*;
use crate::command_line::{Output, run};

const BOTH: [&str; 2] = ["203.0.113.1", "2001:db8::1"];

fn allow(gateway: &Gateway, families: &str) -> Output {
    let file = gateway.folder().join("gateway.toml");
    let done = run(&["host", "set", HOME, "--families", families, "--config", file.to_str().unwrap()], "");
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    done
}

impl Stage {
    async fn ends_as(&self, addresses: &[&str], gateway: &Gateway) {
        soon("the addresses", async || !self.is_pending().await && self.served().await == addresses).await;
        assert!(!gateway.log().contains(" WARN dyngate::engine"), "{}", gateway.log());
    }

    async fn has_both(&self, gateway: &Gateway) {
        assert_eq!(self.set(gateway, &BOTH.join(",")).await, format!("good {}", BOTH.join(",")));
    }
}

async fn a_family_that_a_setting_forbids_leaves_the_zone(stage: Stage) {
    let mut gateway = stage.gateway("").await;
    stage.has_both(&gateway).await;
    let said = allow(&gateway, "ipv6").stderr;
    let word = if stage._postgres.is_some() { "records that it may not have: " } else { "gone from the zone" };
    assert!(said.contains(word), "{said}");
    stage.ends_as(&BOTH[1..], &gateway).await;
    assert_eq!(stage.set(&gateway, "203.0.113.2").await, "badip");
    let state = async || stage.store().state(&name(HOME)).await.unwrap().unwrap().addresses;
    soon("what it shows is true", async || state().await.v4.is_none() && state().await.v6.is_some()).await;

    // The other way round, with nobody there to do it.
    allow(&gateway, "ipv4,ipv6");
    soon("in force", async || stage.set(&gateway, BOTH[0]).await != "badip").await;
    gateway.stop().await.unwrap();
    let said = allow(&gateway, "ipv4").stderr;
    assert!(said.contains("waits for the gateway"), "{said}");
    assert_eq!(stage.served().await, BOTH);
    gateway.start_again().await.unwrap();
    stage.ends_as(&BOTH[..1], &gateway).await;
}

async fn a_family_that_is_allowed_again_before_anybody_removed_it_stays(stage: Stage) {
    let mut gateway = stage.gateway("").await;
    stage.has_both(&gateway).await;
    gateway.stop().await.unwrap();
    allow(&gateway, "ipv6");
    assert!(stage.is_pending().await);
    allow(&gateway, "ipv4,ipv6");
    assert!(!stage.is_pending().await);
    gateway.start_again().await.unwrap();
    stage.ends_as(&BOTH, &gateway).await;
    assert_eq!(stage.set(&gateway, "203.0.113.1").await, "nochg 203.0.113.1");
}

/// Each request passed the check, or not; none of those that did may be the last word.
async fn no_request_that_runs_meanwhile_brings_a_forbidden_family_back(stage: Stage) {
    let mut gateways = vec![stage.gateway("").await];
    if stage._postgres.is_some() {
        gateways.push(stage.gateway("").await);
    }
    stage.has_both(&gateways[0]).await;
    let mut routers = JoinSet::new();
    for (number, gateway) in gateways.iter().cycle().take(8).enumerate() {
        let at = gateway.http();
        routers.spawn(async move {
            for turn in 0.. {
                let target = format!("/nic/update?hostname={HOME}&myip=203.0.{number}.{}", turn % 250 + 1);
                let answer = Request::get(&target).basic("kept", SECRET).send(at).await.unwrap().text();
                if answer == "badip" {
                    return;
                }
            }
        });
    }
    soon("they run", async || stage.served().await != BOTH).await;
    let edit = HostEdit { families: Some(Families::V6), ..HostEdit::default() };
    stage.store().set_host(&name(HOME), &edit).await.unwrap();
    routers.join_all().await;
    stage.ends_as(&BOTH[1..], &gateways[0]).await;
}

macro_rules! on_both {
    ($($test:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                super::$test(super::Stage::sqlite(lab::Kind::Bind).await).await;
            })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                super::$test(super::Stage::postgres(lab::Kind::Knot).await).await;
            })*
        }
    };
}

on_both!(
    a_family_that_a_setting_forbids_leaves_the_zone,
    a_family_that_is_allowed_again_before_anybody_removed_it_stays,
    no_request_that_runs_meanwhile_brings_a_forbidden_family_back,
);
