//! What is deferred and what is newer, where gateways share a store, commands come in between, and refusals and reloads.

use super::*;
use crate::reload::reload;

impl Stage {
    fn toml(&self, engine: &str) -> String {
        format!("{}\n[store]\nurl = \"{}\"\n{engine}", self.config.toml(), self.url)
    }

    /// A gateway that cannot reach the primary.
    async fn cut_off(&mut self, envs: Vec<(String, String)>) -> Gateway {
        let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let primaries = std::mem::replace(&mut self.config.primaries, vec![nobody.local_addr().unwrap()]);
        drop(nobody);
        let toml = self.toml(ENGINE);
        self.config.primaries = primaries;
        Gateway::builder(program()).config(&toml).envs(envs).start().await.expect("the gateway starts")
    }

    async fn is_written(&self) {
        soon("it is written", async || self.is_pending().await).await;
    }

    async fn ends_with(&self, addresses: &[&str], gateway: &Gateway) {
        soon("nothing is pending", async || !self.is_pending().await).await;
        assert_eq!(self.served().await, addresses, "{}", gateway.log());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_family_that_another_gateway_was_told_newer_does_not_come_back_with_the_other_family() {
    let mut stage = Stage::postgres(Kind::Knot).await;
    let one = stage.cut_off(vec![]).await;
    let other = stage.gateway(ENGINE).await;
    assert_eq!(stage.set(&one, "2001:db8::1").await, "911");
    stage.is_written().await;
    assert_eq!(stage.set(&other, "2001:db8::2").await, "good 2001:db8::2");
    assert!(!stage.is_pending().await);
    assert_eq!(stage.set(&one, "203.0.113.1").await, "911");
    stage.is_written().await;
    stage.ends_with(&["203.0.113.1", "2001:db8::2"], &other).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_whose_clock_is_ahead_does_not_keep_what_another_was_told_later_from_being_deferred() {
    let mut stage = Stage::postgres(Kind::Knot).await;
    let ahead = stage.cut_off(lab::faketime(60).unwrap()).await;
    let other = stage.gateway(ENGINE).await;
    assert_eq!(stage.set(&other, "203.0.113.1").await, "good 203.0.113.1");
    stage.primary.stop().await.unwrap();
    assert_eq!(stage.set(&ahead, "203.0.113.2").await, "911");
    stage.is_written().await;
    assert_eq!(stage.set(&other, "203.0.113.3").await, "911");
    stage.primary.start_again().await.unwrap();
    stage.ends_with(&["203.0.113.3"], &other).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn once_nothing_is_deferred_any_longer_a_newer_request_replaces_what_was() {
    let mut stage = Stage::sqlite(Kind::Knot).await;
    let gateway = stage.gateway(ENGINE).await;
    assert_eq!(stage.set(&gateway, "203.0.113.1").await, "good 203.0.113.1");
    stage.primary.stop().await.unwrap();
    assert_eq!(stage.set(&gateway, "203.0.113.2").await, "911");
    stage.is_written().await;
    reload(&gateway, &stage.toml(&format!("{ENGINE}defer = \"off\"\n"))).await;
    assert_eq!(stage.set(&gateway, "203.0.113.3").await, "911");
    stage.primary.start_again().await.unwrap();
    stage.ends_with(&["203.0.113.3"], &gateway).await;
    assert_eq!(deferred(&gateway).await, 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_newer_request_was_refused_is_not_undercut_by_an_older_address() {
    let mut stage = Stage::sqlite(Kind::Knot).await;
    let gateway = stage.gateway(ENGINE).await;
    assert_eq!(stage.set(&gateway, "203.0.113.1").await, "good 203.0.113.1");
    stage.primary.stop().await.unwrap();
    assert_eq!(stage.set(&gateway, "203.0.113.2").await, "911");
    stage.is_written().await;
    let (good, bad) = (stage.config.key.secret.clone(), Key::generate("another").secret);
    stage.config.key.secret = bad;
    reload(&gateway, &stage.toml(ENGINE)).await;
    stage.primary.start_again().await.unwrap();
    soon("refused", async || stage.set(&gateway, "203.0.113.3").await == "dnserr").await;
    stage.config.key.secret = good;
    reload(&gateway, &stage.toml(ENGINE)).await;
    stage.ends_with(&["203.0.113.3"], &gateway).await;
}
