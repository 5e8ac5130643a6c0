//! A primary that was away: what requests asked for then is done when it answers again, without a new request.

mod families;
mod newest;
mod shared;

use std::time::Duration;

use dyngate::config::Location;
use dyngate::model::{Desired, Families, Hostname, PasswordDigest, PendingChange, RrData, RrKey, RrType};
use dyngate::store::{NewAccount, NewHost, Store};
use lab::http::Request;
use lab::{Gateway, Key, Kind, Postgres, Server, Setup, digest, soon};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::stage::{Config, NOBODY, SECRET, ZONE, on_bind_and_knot, program};

const HOME: &str = "home.dyn.example";
const ENGINE: &str = "[engine]\ndeadline = \"1s\"\n";

/// A primary, where gateways keep things, and the account "kept" with the host "home" where that is a store.
struct Stage {
    primary: Server,
    config: Config,
    url: String,
    store: Option<Store>,
    _postgres: Option<Postgres>,
    _folder: TempDir,
}

impl Stage {
    async fn new(kind: Kind, location: Location, url: String, postgres: Option<Postgres>, folder: TempDir) -> Self {
        let key = Key::generate("gateway-key");
        let primary = Server::start(kind, Setup::new().key(&key).zone(ZONE)).await.unwrap();
        let mut config = Config::new(&key, primary.addr());
        config.grants = vec![];
        let store = match location {
            Location::Memory => {
                config.grants = vec![HOME];
                None
            }
            Location::Sqlite(_) | Location::Postgres(_) => {
                let store = Store::open(&location).await.unwrap();
                add_account(&store).await;
                Some(store)
            }
        };
        Self { primary, config, url, store, _postgres: postgres, _folder: folder }
    }

    async fn memory(kind: Kind) -> Self {
        Self::new(kind, Location::Memory, "memory:".to_owned(), None, TempDir::new().unwrap()).await
    }

    async fn sqlite(kind: Kind) -> Self {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("dyngate.db");
        let url = format!("sqlite:{}", file.display());
        Self::new(kind, Location::Sqlite(file), url, None, folder).await
    }

    async fn postgres(kind: Kind) -> Self {
        let postgres = Postgres::start().await.unwrap();
        let url = postgres.url();
        let location = Location::Postgres(url.clone().into());
        Self::new(kind, location, url, Some(postgres), TempDir::new().unwrap()).await
    }

    async fn gateway(&self, engine: &str) -> Gateway {
        let toml = format!("{}\n[store]\nurl = \"{}\"\n{engine}", self.config.toml(), self.url);
        Gateway::builder(program()).config(&toml).start().await.expect("the gateway starts")
    }

    async fn served(&self) -> Vec<String> {
        let addresses = self.primary.addresses(HOME).await.expect("the primary answers");
        addresses.iter().map(ToString::to_string).collect()
    }

    fn store(&self) -> &Store {
        self.store.as_ref().expect("a stage with a store")
    }

    async fn is_pending(&self) -> bool {
        !self.store().pending().of(&[name(HOME)]).await.unwrap().is_empty()
    }

    async fn set(&self, gateway: &Gateway, address: &str) -> String {
        let login = if self.store.is_some() { "kept" } else { "router1" };
        let request = Request::get(&format!("/nic/update?hostname={HOME}&myip={address}")).basic(login, SECRET);
        request.send(gateway.http()).await.expect("the gateway answers").text()
    }
}

async fn add_account(store: &Store) {
    let account = NewAccount {
        login: "kept".to_owned(),
        secret: PasswordDigest::parse(&digest(SECRET)).unwrap(),
        max_hosts: 3,
        wildcards: Vec::new(),
    };
    let host = NewHost {
        name: name(HOME),
        login: "kept".to_owned(),
        ttl: None,
        families: Families::Both,
        description: String::new(),
    };
    store.add_account(&account, &[host]).await.unwrap();
}

fn name(text: &str) -> Hostname {
    Hostname::parse(text).unwrap()
}

async fn deferred(gateway: &Gateway) -> f64 {
    gateway.metric("dyngate_deferred_changes{zone=\"dyn.example\"").await.unwrap()
}

on_bind_and_knot!(
    without_a_store_the_newest_address_is_set_when_the_primary_is_back,
    a_restart_keeps_it_and_the_history_tells_whose_it_was,
    a_killed_gateway_keeps_it,
);

async fn without_a_store_the_newest_address_is_set_when_the_primary_is_back(kind: Kind) {
    let mut stage = Stage::memory(kind).await;
    let gateway = stage.gateway(ENGINE).await;
    assert_eq!(deferred(&gateway).await, 0.0, "the gauge is there from the start");
    assert_eq!(stage.set(&gateway, "203.0.113.1").await, "good 203.0.113.1");
    stage.primary.stop().await.unwrap();
    assert_eq!(stage.set(&gateway, "203.0.113.2").await, "911");
    assert_eq!(stage.set(&gateway, "203.0.113.3").await, "911");
    soon("the gauge", async || deferred(&gateway).await == 1.0).await;
    let ready = Request::get("/readyz").send(gateway.admin()).await.unwrap();
    assert_eq!(ready.status, 200);
    assert!(ready.text().contains("zone dyn.example: 1 change is pending\n"), "{}", ready.text());
    stage.primary.start_again().await.unwrap();
    soon("the newest address", async || stage.served().await == ["203.0.113.3"]).await;
    soon("nothing is left", async || deferred(&gateway).await == 0.0).await;
    let log = gateway.log();
    assert!(log.contains("no change is pending any longer"), "{log}");
    assert_eq!(stage.set(&gateway, "203.0.113.3").await, "nochg 203.0.113.3");
}

async fn a_restart_keeps_it_and_the_history_tells_whose_it_was(kind: Kind) {
    let mut stage = Stage::sqlite(kind).await;
    let mut gateway = stage.gateway(ENGINE).await;
    assert_eq!(stage.set(&gateway, "203.0.113.1").await, "good 203.0.113.1");
    stage.primary.stop().await.unwrap();
    assert_eq!(stage.set(&gateway, "203.0.113.2").await, "911");
    gateway.stop().await.unwrap();
    assert!(stage.is_pending().await, "written at the stop");
    gateway.start_again().await.unwrap();
    assert_eq!(deferred(&gateway).await, 1.0, "known before the first request");
    stage.primary.start_again().await.unwrap();
    soon("the address", async || stage.served().await == ["203.0.113.2"]).await;
    soon("it is done", async || !stage.is_pending().await).await;
    let state = async || stage.store().state(&name(HOME)).await.unwrap().unwrap();
    soon("it is recorded", async || state().await.addresses.v4 == Some([203, 0, 113, 2].into())).await;
    let state = state().await;
    let history = stage.store().history(&name(HOME), 10).await.unwrap();
    let newest = history.first().unwrap();
    assert_eq!((newest.old.v4, newest.new.v4), (Some([203, 0, 113, 1].into()), Some([203, 0, 113, 2].into())));
    assert_eq!(newest.source, Some("127.0.0.1".parse().unwrap()));
    assert_eq!(state.last_update, Some(newest.at));
}

async fn a_killed_gateway_keeps_it(kind: Kind) {
    let mut stage = Stage::sqlite(kind).await;
    let mut gateway = stage.gateway(ENGINE).await;
    stage.primary.stop().await.unwrap();
    assert_eq!(stage.set(&gateway, "203.0.113.2").await, "911");
    soon("it is written", async || stage.is_pending().await).await;
    gateway.kill();
    gateway.start_again().await.unwrap();
    stage.primary.start_again().await.unwrap();
    soon("the address", async || stage.served().await == ["203.0.113.2"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_answered_ends_what_was_asked_for_before() {
    let mut stage = Stage::sqlite(Kind::Knot).await;
    let mut gateway = stage.gateway(ENGINE).await;
    assert_eq!(stage.set(&gateway, "203.0.113.1").await, "good 203.0.113.1");
    stage.primary.stop().await.unwrap();
    assert_eq!(stage.set(&gateway, "203.0.113.2").await, "911");
    soon("it is written", async || stage.is_pending().await).await;
    assert_eq!(stage.set(&gateway, "203.0.113.1").await, "911", "an older change is pending");
    stage.primary.start_again().await.unwrap();
    soon("answered", async || stage.set(&gateway, "203.0.113.1").await.ends_with(" 203.0.113.1")).await;
    assert!(!stage.is_pending().await, "before the answer");
    gateway.kill();
    gateway.start_again().await.unwrap();
    assert_eq!(deferred(&gateway).await, 0.0);
    assert_eq!(stage.set(&gateway, "203.0.113.1").await, "nochg 203.0.113.1");
    assert_eq!(stage.served().await, ["203.0.113.1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_old_is_dropped() {
    let mut stage = Stage::sqlite(Kind::Knot).await;
    let gateway = stage.gateway(&format!("{ENGINE}defer = \"1s\"\n")).await;
    assert_eq!(stage.set(&gateway, "203.0.113.1").await, "good 203.0.113.1");
    stage.primary.stop().await.unwrap();
    assert_eq!(stage.set(&gateway, "203.0.113.2").await, "911");
    soon("it is written", async || stage.is_pending().await).await;
    soon("it is dropped", async || !stage.is_pending().await).await;
    assert!(gateway.log().contains("it is too old"), "{}", gateway.log());
    stage.primary.start_again().await.unwrap();
    assert_eq!(stage.served().await, ["203.0.113.1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_blocked_meanwhile_is_left_alone() {
    let mut stage = Stage::sqlite(Kind::Bind).await;
    let gateway = stage.gateway(ENGINE).await;
    assert_eq!(stage.set(&gateway, "203.0.113.1").await, "good 203.0.113.1");
    stage.primary.stop().await.unwrap();
    assert_eq!(stage.set(&gateway, "203.0.113.2").await, "911");
    stage.store().block(&name(HOME), Some("unpaid")).await.unwrap();
    soon("blocked", async || stage.set(&gateway, "203.0.113.3").await == "abuse").await;
    stage.primary.start_again().await.unwrap();
    soon("dropped", async || gateway.log().contains("blocked: unpaid") && !stage.is_pending().await).await;
    assert_eq!(stage.served().await, ["203.0.113.1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn off_is_off() {
    let mut stage = Stage::sqlite(Kind::Knot).await;
    let mut gateway = stage.gateway(&format!("{ENGINE}defer = \"off\"\n")).await;
    assert_eq!(stage.set(&gateway, "203.0.113.1").await, "good 203.0.113.1");
    stage.primary.stop().await.unwrap();
    assert_eq!(stage.set(&gateway, "203.0.113.2").await, "911");
    assert_eq!(deferred(&gateway).await, 0.0);
    gateway.stop().await.unwrap();
    assert!(!stage.is_pending().await);
}

/// The one defers, the other is told a newer address at the moment when the primary is back and the one applies its own.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_gateways_none_brings_back_what_the_other_replaced() {
    let mut stage = Stage::postgres(Kind::Knot).await;
    let (one, other) = (stage.gateway(ENGINE).await, stage.gateway(ENGINE).await);
    assert_eq!(stage.set(&one, "203.0.113.250").await, "good 203.0.113.250");
    for round in 0..5_u8 {
        let (old, new) = (format!("203.0.113.{}", 2 * round), format!("203.0.113.{}", 2 * round + 1));
        stage.primary.stop().await.unwrap();
        assert_eq!(stage.set(&one, &old).await, "911");
        soon("it is written", async || stage.is_pending().await).await;
        stage.primary.start_again().await.unwrap();
        soon("the newer one is set", async || stage.set(&other, &new).await.ends_with(&new)).await;
        assert!(!stage.is_pending().await, "nothing older is left once the newer is answered");
        assert_eq!(stage.served().await, [new.as_str()], "round {round}");
        soon("nothing is left", async || !stage.is_pending().await).await;
        assert_eq!(stage.served().await, [new.as_str()], "round {round}, later");
    }
    assert_eq!(stage.set(&one, "203.0.113.251").await, "good 203.0.113.251");
}

/// The gateway that took the request cannot reach the primary at all; another one on the store can.
#[tokio::test(flavor = "multi_thread")]
async fn another_gateway_on_the_store_does_it() {
    let mut stage = Stage::postgres(Kind::Knot).await;
    let other = stage.gateway(ENGINE).await;
    assert_eq!(stage.set(&other, "203.0.113.1").await, "good 203.0.113.1");
    stage.config.primaries = vec![NOBODY.parse().unwrap()];
    let one = stage.gateway(ENGINE).await;
    assert_eq!(stage.set(&one, "203.0.113.2").await, "911");
    soon("the other one sets it", async || stage.served().await == ["203.0.113.2"]).await;
    soon("it is done", async || !stage.is_pending().await).await;
    assert_eq!(stage.set(&one, "203.0.113.3").await, "911");
    assert_eq!(stage.set(&other, "203.0.113.4").await, "good 203.0.113.4");
    soon("nothing is pending", async || !stage.is_pending().await).await;
    assert_eq!(stage.served().await, ["203.0.113.4"]);
}

/// As after a long night: thousands wait, and who comes now is served at once all the same.
#[tokio::test(flavor = "multi_thread")]
async fn thousands_are_done_while_requests_are_answered() {
    const HOSTS: u32 = 5_000;
    let mut stage = Stage::sqlite(Kind::Knot).await;
    stage.config.grants = vec!["*.many.dyn.example"];
    let now = dyngate::model::Timestamp::now();
    let row = |number: u32| PendingChange {
        key: RrKey { name: name(&format!("h{number}.many.dyn.example")), rtype: RrType::A },
        desired: Desired::Set { data: RrData::A((0xcb00_7100 + number % 250).into()), ttl: 60 },
        account: "router1".to_owned(),
        source: Some([192, 0, 2, 1].into()),
        agent: None,
        accepted: now,
        stamp: now,
        expires: Some(now.plus(Duration::from_secs(3600))),
    };
    stage.store().pending().keep(&(0..HOSTS).map(row).collect::<Vec<_>>()).await.unwrap();
    let gateway = stage.gateway(ENGINE).await;
    for last in 1..=20 {
        let address = format!("203.0.113.{last}");
        assert_eq!(stage.set(&gateway, &address).await, format!("good {address}"));
    }
    soon("all are done", async || deferred(&gateway).await == 0.0).await;
    // The gauge falls as they are done, and the line comes when all are counted.
    soon("the log says so", async || gateway.log().contains("done=5000")).await;
    for number in [0, 7, HOSTS - 1] {
        let served = stage.primary.addresses(&format!("h{number}.many.dyn.example")).await.unwrap();
        assert_eq!(served.len(), 1, "h{number}");
    }
}
