//! Acknowledged is not served: the first change of a name is read back before `good` is said.

use hickory_proto::op::OpCode;
use lab::fake::{Action, FakePrimary, Memory, Received};
use lab::http::Response;
use lab::load::storm;
use lab::{Gateway, Key, Kind, ResponseCode, Server, Setup, soon};
use tempfile::TempDir;

use crate::stage::{Config, LOGIN, NOBODY, SECRET, Stage, ZONE, on_every_primary, update};

on_every_primary!(a_zone_within_the_zone_is_another_zones);

/// In place of an NS record nothing in the outer zone tells of the inner ones.
async fn a_zone_within_the_zone_is_another_zones(kind: Kind) {
    let inner = |setup: Setup| {
        setup.zone("in.dyn.example").zone_with("same.dyn.example", &["@ 60 A 203.0.113.7", "deep.er 60 A 203.0.113.7"])
    };
    let stage = Stage::with(kind, inner, &[], |_| {}).await;
    let hosts = ["in", "home.in", "a.b.in", "same", "deep.er.same"].map(|label| format!("{label}.{ZONE}"));
    for host in &hosts {
        let response = stage.get(&format!("hostname={host}&myip=203.0.113.7")).await;
        assert_eq!((response.status, response.text().as_str()), (200, "nohost"), "{host}: {}", stage.gateway.log());
        assert_eq!(response.header("X-Dyngate-Reason"), Some("not your host"));
    }
    let serial = stage.primary.serial(ZONE).await.unwrap();
    for last in 8..11 {
        for host in &hosts {
            assert_eq!(stage.set(host, &format!("203.0.113.{last}")).await, "nohost", "{host}");
        }
    }
    assert_eq!(stage.primary.serial(ZONE).await.unwrap(), serial, "no new serial for what nobody sees");
    let log = stage.gateway.log();
    assert!(log.contains("the zone in.dyn.example on the primary lies over the name"), "{log}");
    assert!(log.contains("a [[zone]] of its own"), "{log}");
    let mixed = stage.get("hostname=home.in.dyn.example,home.dyn.example&myip=203.0.113.7").await;
    assert_eq!((mixed.status, mixed.text().as_str()), (200, "nohost\ngood 203.0.113.7"));
    assert_eq!(stage.served("home.dyn.example").await, ["203.0.113.7"]);
}

/// The secondary is asked right after it forwarded the change, and does not have it yet.
async fn what_a_secondary_forwards_is_good_though_its_own_reads_lag(kind: Kind) {
    let key = Key::generate("gateway-key");
    let primary = Server::start(kind, Setup::new().key(&key).zone(ZONE)).await.unwrap();
    let forwards = Setup::new().key(&key).secondary(ZONE, primary.addr());
    let secondary = Server::start(kind, forwards).await.unwrap();
    soon("the secondary has the zone", async || secondary.serial(ZONE).await.is_ok()).await;
    let mut config = Config::new(&key, secondary.addr());
    config.grants = vec!["home.dyn.example"];
    let gateway = config.start().await;
    let answer = update(&gateway, "hostname=home.dyn.example&myip=203.0.113.7").await;
    assert_eq!(answer.text(), "good 203.0.113.7", "{}", gateway.log());
    assert_eq!(primary.addresses("home.dyn.example").await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_secondary_forwards_is_good_though_its_own_reads_lag_bind() {
    what_a_secondary_forwards_is_good_though_its_own_reads_lag(Kind::Bind).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_secondary_forwards_is_good_though_its_own_reads_lag_powerdns() {
    what_a_secondary_forwards_is_good_though_its_own_reads_lag(Kind::PowerDnsSqlite).await;
}

// PowerDNS answers a denied change with NOERROR: the only one that does.

const POLICY: &str = r#"
function updatepolicy(input)
  local name = input:getQName():toString()
  if name == "four.dyn.example." and input:getQType() == pdns.AAAA then return false end
  return not name:find("denied", 1, true)
end
"#;

/// The option that denies changes so, with the folder of its script.
pub(crate) fn policy() -> (String, TempDir) {
    let folder = TempDir::new().unwrap();
    let script = folder.path().join("policy.lua");
    std::fs::write(&script, POLICY).unwrap();
    (format!("lua-dnsupdate-policy-script={}", script.display()), folder)
}

async fn what_a_policy_drops_is_never_good(kind: Kind) {
    let (line, _folder) = policy();
    let lines = ["denied-old 60 IN A 192.0.2.1", "*.wild 60 IN A 203.0.113.7"];
    let stage = Stage::with(kind, |setup| setup.option(kind, &line), &lines, |_| {}).await;
    let refused = |response: &Response, host: &str| {
        assert_eq!((response.status, response.text().as_str()), (503, "dnserr"), "{host}: {}", stage.gateway.log());
        assert_eq!(response.header("X-Dyngate-Reason"), Some("primary refuses us"));
        assert_eq!(response.header("Retry-After"), Some("300"));
    };
    let serial = stage.primary.serial(ZONE).await.unwrap();
    // What a wildcard lends is just like what was dropped.
    for host in ["denied", "denied-old", "denied.wild"] {
        for _ in 0..3 {
            refused(&stage.get(&format!("hostname={host}.dyn.example&myip=203.0.113.7")).await, host);
        }
    }
    assert_eq!(stage.primary.serial(ZONE).await.unwrap(), serial);
    let log = stage.gateway.log();
    assert!(log.contains("lua-dnsupdate-policy-script") && log.contains("host=denied.dyn.example"), "{log}");
    // Others are served, in the same request too; and of one name, a type that is dropped is not passed over.
    let mixed = stage.get("hostname=denied.dyn.example,home.dyn.example&myip=203.0.113.7").await;
    assert_eq!((mixed.status, mixed.text().as_str()), (503, "dnserr\ngood 203.0.113.7"));
    refused(&stage.get("hostname=four.dyn.example&myip=203.0.113.7,2001:db8::7").await, "four");
    assert_eq!(stage.set("four.dyn.example", "203.0.113.8").await, "good 203.0.113.8");
    assert_eq!(stage.set("four.dyn.example", "203.0.113.8").await, "nochg 203.0.113.8");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_policy_drops_is_never_good_lmdb() {
    what_a_policy_drops_is_never_good(Kind::PowerDnsLmdb).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_policy_drops_is_never_good_sqlite() {
    what_a_policy_drops_is_never_good(Kind::PowerDnsSqlite).await;
}

/// Others ask for the names that are about to be set all the time: what the primary remembers of them is that they do not exist.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_primary_remembers_of_a_name_makes_no_true_change_untrue() {
    let stage = Stage::with(Kind::PowerDnsSqlite, |setup| setup, &[], |_| {}).await;
    let hosts: Vec<_> =
        (0..200u8).map(|n| (format!("h{n}.{ZONE}"), std::net::IpAddr::from([203, 0, 113, n]))).collect();
    let asking = async {
        loop {
            for (host, _) in &hosts {
                let _ = stage.primary.query(host, "A").await;
            }
        }
    };
    let bodies = tokio::select! {
        () = asking => unreachable!("it never ends"),
        bodies = storm(stage.gateway.http(), (LOGIN, SECRET), &hosts, 20) => bodies.unwrap(),
    };
    for ((host, address), body) in hosts.iter().zip(&bodies) {
        assert_eq!(*body, format!("good {address}"), "{host}: {}", stage.gateway.log());
    }
}

async fn with_fake(script: impl FnMut(&Received) -> Action + Send + 'static) -> (FakePrimary, Gateway) {
    let key = Key::generate("gateway-key");
    let fake = FakePrimary::start(&key, script).await.unwrap();
    let gateway = before(&key, &[&fake]).await;
    (fake, gateway)
}

async fn before(key: &Key, primaries: &[&FakePrimary]) -> Gateway {
    let mut config = Config::new(key, NOBODY.parse().unwrap());
    config.primaries = primaries.iter().map(|fake| fake.addr()).collect();
    config.grants = (0..64).map(|n| &*format!("h{n}.{ZONE}").leak()).collect();
    config.more = "[engine]\ndeadline = \"1s\"\n".to_owned();
    config.start().await
}

fn reads(fake: &FakePrimary) -> usize {
    fake.received().iter().filter(|received| received.opcode == OpCode::Query).count()
}

/// It was acknowledged, and may well be served; nobody has read it, so nobody says so.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_back_is_told_911_and_nochg_once_it_can() {
    for unread in [Action::Silent, Action::Drop, Action::Answer(ResponseCode::ServFail)] {
        let (mut memory, said) = (Memory::default(), unread.clone());
        let script = move |received: &Received| match (memory.answer(received), received.opcode) {
            (_, OpCode::Query) => said.clone(),
            (truly, _) => truly,
        };
        let (fake, gateway) = with_fake(script).await;
        let answer = update(&gateway, "hostname=h1.dyn.example&myip=203.0.113.7").await;
        assert_eq!((answer.status, answer.text().as_str()), (503, "911"), "{unread:?}: {}", gateway.log());
        let mut memory = Memory::default();
        let asked = fake.received();
        asked.iter().filter(|received| !received.owners.is_empty()).for_each(|received| drop(memory.answer(received)));
        fake.script(move |received| memory.answer(received));
        fake.close_connections().await;
        soon("it is told the truth", async || {
            let body = update(&gateway, "hostname=h1.dyn.example&myip=203.0.113.7").await.text();
            body == "nochg 203.0.113.7"
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_may_not_query_is_told_as_such() {
    let mut memory = Memory::default();
    let (_fake, gateway) = with_fake(move |received| match (memory.answer(received), received.opcode) {
        (_, OpCode::Query) => Action::Answer(ResponseCode::Refused),
        (truly, _) => truly,
    })
    .await;
    assert_eq!(update(&gateway, "hostname=h1.dyn.example&myip=203.0.113.7").await.text(), "dnserr");
    assert!(gateway.log().contains("let the key query the zone"), "{}", gateway.log());
}

/// Reads of a storm travel on the connection for reads, one for each name and record type; a storm after it reads nothing back.
#[tokio::test(flavor = "multi_thread")]
async fn a_storm_right_after_a_start_costs_one_read_a_name() {
    let mut memory = Memory::default();
    let (fake, gateway) = with_fake(move |received| memory.answer(received)).await;
    let mut before = [0, 0];
    for round in 1..=2 {
        let hosts: Vec<_> = (0..64u8).map(|n| (format!("h{n}.{ZONE}"), [203, 0, round, n].into())).collect();
        let bodies = storm(gateway.http(), (LOGIN, SECRET), &hosts, 64).await.unwrap();
        assert!(bodies.iter().all(|body| body.starts_with("good ")), "{bodies:?}");
        let all = fake.received();
        let count = |is_meant: &dyn Fn(&Received) -> bool| all.iter().filter(|one| is_meant(one)).count();
        let now = [count(&|one| one.opcode == OpCode::Query), count(&|one| !one.owners.is_empty())];
        let [reads, updates] = [now[0] - before[0], now[1] - before[1]];
        before = now;
        // Before a first change that no storm surrounds yet, the primary is asked whether one is needed.
        let most = if round == 1 { 64 + 64 } else { 0 };
        assert!(reads <= most && (round == 2 || reads >= 64), "{reads} reads, {updates} updates in round {round}");
    }
    assert!(fake.connections() <= 3, "{} connections", fake.connections());
}

async fn set(gateway: &Gateway, last: u8) {
    let body = update(gateway, &format!("hostname=h1.dyn.example&myip=203.0.113.{last}")).await.text();
    assert_eq!(body, format!("good 203.0.113.{last}"), "{}", gateway.log());
}

/// What was proven is proven of one primary, by a process: the next asks again, and once.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_trusted_until_the_next_start() {
    let mut memory = Memory::default();
    let (fake, mut gateway) = with_fake(move |received| memory.answer(received)).await;
    set(&gateway, 1).await;
    let first = reads(&fake);
    set(&gateway, 2).await;
    set(&gateway, 3).await;
    assert_eq!(reads(&fake), first, "it was read back");
    gateway.stop().await.unwrap();
    gateway.start_again().await.unwrap();
    set(&gateway, 4).await;
    assert_eq!(reads(&fake), 2 * first);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_read_back_at_the_primary_that_took_it_and_again_at_the_next() {
    let key = Key::generate("gateway-key");
    let mut memories = [Memory::default(), Memory::default()].into_iter();
    let mut fake = async || {
        let mut memory = memories.next().unwrap();
        FakePrimary::start(&key, move |received| memory.answer(received)).await.unwrap()
    };
    let (first, second) = (fake().await, fake().await);
    let gateway = before(&key, &[&first, &second]).await;
    set(&gateway, 1).await;
    assert!(reads(&first) > 0 && reads(&second) == 0);
    set(&gateway, 2).await;
    let at_the_first = reads(&first);
    first.stop_listening().await;
    first.close_connections().await;
    set(&gateway, 3).await;
    let at_the_second = reads(&second);
    assert!(at_the_second > 0, "what the first one served says nothing of the second");
    set(&gateway, 4).await;
    assert_eq!([reads(&first), reads(&second)], [at_the_first, at_the_second]);
}
