//! What is deferred and what is newer, where gateways share a store, commands come in between, and refusals and reloads.

use dyngate::store::{HostEdit, RecordsPolicy};
use tokio::task::JoinHandle;

use super::*;
use crate::reload::reload;

const NEW: &str = "new.dyn.example";
/// A request that is still waited for when the primary is back.
const PATIENT: &str = "[engine]\ndeadline = \"30s\"\n";

impl Stage {
    fn toml(&self, engine: &str) -> String {
        format!("{}\n[store]\nurl = \"{}\"\n{engine}", self.config.toml(), self.url)
    }

    /// A gateway that cannot reach the primary.
    pub(super) async fn cut_off(&mut self, engine: &str, envs: Vec<(String, String)>) -> Gateway {
        let primaries = std::mem::replace(&mut self.config.primaries, vec![NOBODY.parse().unwrap()]);
        let toml = self.toml(engine);
        self.config.primaries = primaries;
        Gateway::builder(program()).config(&toml).envs(envs).start().await.expect("the gateway starts")
    }

    /// The host has 203.0.113.1, the primary goes away, and 203.0.113.2 is deferred.
    async fn defers_the_second(&mut self, gateway: &Gateway) {
        assert_eq!(self.set(gateway, "203.0.113.1").await, "good 203.0.113.1");
        self.primary.stop().await.unwrap();
        assert_eq!(self.set(gateway, "203.0.113.2").await, "911");
    }

    pub(super) async fn is_written(&self) {
        soon("it is written", async || self.is_pending().await).await;
    }

    pub(super) async fn ends_with(&self, addresses: &[&str], gateway: &Gateway) {
        // What nobody waits for is written half a second later: nothing pending is no proof before the records are right.
        soon("the addresses", async || self.served().await == addresses).await;
        soon("nothing is pending", async || !self.is_pending().await && deferred(gateway).await == 0.0).await;
        assert_eq!(self.served().await, addresses, "{}", gateway.log());
    }
}

/// A request that waits for its answer meanwhile.
pub(super) fn ask(gateway: &Gateway, host: &str, address: &str) -> JoinHandle<String> {
    let request = Request::get(&format!("/nic/update?hostname={host}&myip={address}")).basic("kept", SECRET);
    let at = gateway.http();
    tokio::spawn(async move { request.send(at).await.expect("the gateway answers").text() })
}

pub(super) async fn wait_at_the_primary(gateway: &Gateway, changes: f64) {
    soon("they wait", async || gateway.metric("dyngate_pending_changes{").await.unwrap() == changes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_family_that_another_gateway_was_told_newer_does_not_come_back_with_the_other_family() {
    let mut stage = Stage::postgres(Kind::Knot).await;
    let one = stage.cut_off(ENGINE, vec![]).await;
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
    let ahead = stage.cut_off(ENGINE, lab::faketime(60).unwrap()).await;
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
async fn once_nothing_is_deferred_any_longer_a_newer_request_takes_what_was_with_it() {
    let mut stage = Stage::sqlite(Kind::Knot).await;
    let gateway = stage.gateway(ENGINE).await;
    stage.defers_the_second(&gateway).await;
    stage.is_written().await;
    reload(&gateway, &stage.toml(&format!("{ENGINE}defer = \"off\"\n"))).await;
    assert_eq!(stage.set(&gateway, "203.0.113.3").await, "911", "which goes with its caller");
    stage.primary.start_again().await.unwrap();
    stage.ends_with(&["203.0.113.1"], &gateway).await;
    assert_eq!(deferred(&gateway).await, 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_newer_request_was_refused_is_not_undercut_by_an_older_address() {
    let mut stage = Stage::sqlite(Kind::Knot).await;
    let gateway = stage.gateway(ENGINE).await;
    stage.defers_the_second(&gateway).await;
    stage.is_written().await;
    let (good, bad) = (stage.config.key.secret.clone(), Key::generate("another").secret);
    stage.config.key.secret = bad;
    reload(&gateway, &stage.toml(ENGINE)).await;
    stage.primary.start_again().await.unwrap();
    soon("refused", async || stage.set(&gateway, "203.0.113.3").await == "dnserr").await;
    stage.config.key.secret = good;
    reload(&gateway, &stage.toml(ENGINE)).await;
    stage.ends_with(&["203.0.113.1"], &gateway).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_records_of_a_removed_host_go_though_a_request_that_was_accepted_before_is_answered_later() {
    let mut stage = Stage::sqlite(Kind::Knot).await;
    let gateway = stage.gateway(PATIENT).await;
    assert_eq!(stage.set(&gateway, "203.0.113.1").await, "good 203.0.113.1");
    stage.primary.stop().await.unwrap();
    let waiting = ask(&gateway, HOME, "203.0.113.2");
    wait_at_the_primary(&gateway, 1.0).await;
    stage.store().remove_host(&name(HOME), RecordsPolicy::Remove).await.unwrap();
    soon("the gateway knows", async || stage.set(&gateway, "127.0.0.1").await == "nohost").await;
    stage.primary.start_again().await.unwrap();
    assert_eq!(waiting.await.unwrap(), "good 203.0.113.2");
    stage.ends_with(&[], &gateway).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_command_wants_of_one_family_is_done_though_a_later_request_names_the_other() {
    let mut stage = Stage::sqlite(Kind::Knot).await;
    let gateway = stage.gateway(PATIENT).await;
    assert_eq!(stage.set(&gateway, "203.0.113.1").await, "good 203.0.113.1");
    stage.primary.stop().await.unwrap();
    let earlier = ask(&gateway, HOME, "203.0.113.2");
    wait_at_the_primary(&gateway, 1.0).await;
    let description = String::new();
    let host = NewHost { name: name(NEW), login: "kept".to_owned(), ttl: None, families: Families::Both, description };
    let desired = Desired::Set { data: RrData::A([203, 0, 113, 9].into()), ttl: 60 };
    let row = PendingChange::of_command(RrKey { name: name(NEW), rtype: RrType::A }, desired, "kept".to_owned());
    stage.store().add_host(&host, &[row]).await.unwrap();
    soon("the gateway knows", async || ask(&gateway, NEW, "127.0.0.1").await.unwrap() == "badip").await;
    // The news of the host and of the row come together, and a look follows, which shows nowhere.
    sleep(Duration::from_secs(1)).await;
    let later = ask(&gateway, NEW, "2001:db8::9");
    wait_at_the_primary(&gateway, 2.0).await;
    stage.primary.start_again().await.unwrap();
    assert_eq!(
        (earlier.await.unwrap().as_str(), later.await.unwrap().as_str()),
        ("good 203.0.113.2", "good 2001:db8::9")
    );
    soon("nothing is pending", async || stage.store().pending().of(&[name(NEW)]).await.unwrap().is_empty()).await;
    let served = stage.primary.addresses(NEW).await.unwrap();
    let both: [std::net::IpAddr; 2] = ["203.0.113.9".parse().unwrap(), "2001:db8::9".parse().unwrap()];
    assert_eq!(served, both, "{}", gateway.log());
}

/// The second request finds the name claimed by the first, and what is remembered is of before the other gateway's change.
#[tokio::test(flavor = "multi_thread")]
async fn what_another_gateway_replaced_does_not_count_again_once_a_request_claimed_the_name_in_vain() {
    let mut stage = Stage::postgres(Kind::Knot).await;
    let (one, other) = (stage.gateway(ENGINE).await, stage.gateway(ENGINE).await);
    assert_eq!(stage.set(&one, "203.0.113.1").await, "good 203.0.113.1");
    assert_eq!(stage.set(&other, "203.0.113.2").await, "good 203.0.113.2");
    stage.primary.stop().await.unwrap();
    assert_eq!(stage.set(&one, "203.0.113.1").await, "911");
    assert_eq!(stage.set(&one, "203.0.113.1").await, "911", "{}", one.log());
    stage.is_written().await;
    stage.primary.start_again().await.unwrap();
    stage.ends_with(&["203.0.113.1"], &one).await;
}

/// The other one looks for something to do while the newer request is under way: three seconds after its start.
#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_works_on_rows_does_not_keep_a_newer_request_from_being_deferred() {
    let mut stage = Stage::postgres(Kind::Knot).await;
    let one = stage.cut_off("[engine]\ndeadline = \"6s\"\n", vec![]).await;
    assert_eq!(stage.set(&one, "203.0.113.1").await, "911");
    stage.is_written().await;
    let newer = ask(&one, HOME, "203.0.113.2");
    wait_at_the_primary(&one, 1.0).await;
    let other = stage.gateway(ENGINE).await;
    assert_eq!(newer.await.unwrap(), "911");
    stage.ends_with(&["203.0.113.2"], &other).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_family_that_the_host_may_not_have_any_longer_takes_the_other_with_it_nowhere() {
    let mut stage = Stage::sqlite(Kind::Knot).await;
    let gateway = stage.gateway(ENGINE).await;
    stage.defers_the_second(&gateway).await;
    assert_eq!(stage.set(&gateway, "2001:db8::2").await, "911");
    let edit = HostEdit { families: Some(Families::V6), ..HostEdit::default() };
    stage.store().set_host(&name(HOME), &edit).await.unwrap();
    soon("the gateway knows", async || stage.set(&gateway, "203.0.113.3").await == "badip").await;
    stage.primary.start_again().await.unwrap();
    stage.ends_with(&["2001:db8::2"], &gateway).await;
    assert_eq!(deferred(&gateway).await, 0.0);
    let one = (None, Some("2001:db8::2".parse().unwrap()));
    soon("the history tells it", async || {
        let history = stage.store().history(&name(HOME), 1).await.unwrap();
        history.first().is_some_and(|newest| (newest.new.v4, newest.new.v6) == one)
    })
    .await;
}

/// Nobody can claim a name while the store is away.
#[tokio::test(flavor = "multi_thread")]
async fn what_another_gateway_replaced_while_the_store_was_away_does_not_count_once_it_is_back() {
    let mut stage = Stage::postgres(Kind::Knot).await;
    let (one, other) = (stage.gateway(ENGINE).await, stage.gateway(ENGINE).await);
    assert_eq!(stage.set(&other, "203.0.113.9").await, "good 203.0.113.9");
    assert_eq!(stage.set(&one, "203.0.113.1").await, "good 203.0.113.1");
    let is_away = async |gateway: &Gateway| {
        Request::get("/readyz").send(gateway.admin()).await.unwrap().text().contains("store: ")
    };
    stage._postgres.as_mut().unwrap().kill();
    soon("both notice", async || is_away(&one).await && is_away(&other).await).await;
    assert_eq!(stage.set(&other, "203.0.113.2").await, "good 203.0.113.2");
    stage._postgres.as_mut().unwrap().start_again().await.unwrap();
    soon("it is back", async || !is_away(&one).await && !is_away(&other).await).await;
    assert_eq!(stage.set(&one, "203.0.113.1").await, "good 203.0.113.1", "{}", one.log());
    assert_eq!(stage.served().await, ["203.0.113.1"]);
}
