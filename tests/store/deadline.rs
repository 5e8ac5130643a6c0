//! Whatever a request asks of a store that hangs, it is answered by its deadline.

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use dyngate::auth::{Authenticator, Credentials};
use dyngate::config::Config;
use dyngate::dns::{Pool, Tcp};
use dyngate::engine::{Settings, Zone};
use dyngate::gateway::{Asked, Gateway, Identity, Labels, More, UpdateRequest};
use dyngate::limit::Limits;
use dyngate::metrics::Metrics;
use dyngate::model::{Addresses, Families, Outcome, PasswordDigest, TokenDigest};
use dyngate::registry::Registry;
use dyngate::store::NewAccount;
use lab::{Key, Kind, Server, Setup, digest, soon};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::stage::{Stage, new_account, new_host, zone};

const ZONE: &str = "dyn.example";
const SECRET: &str = "a-generated-secret";
/// Much less than it takes to notice that a store hangs.
const DEADLINE: Duration = Duration::from_millis(200);
/// Of a clock that runs ahead where nobody works.
const HOUR: Duration = Duration::from_secs(3600);

fn configuration(stage: &Stage, key: &Key, primary: &Server) -> Config {
    let (store, key_name, primary) = (stage.server.as_ref().unwrap().url(), &key.name, primary.addr());
    let text = format!(
        "{}\n[engine]\ndeadline = \"60s\"\ndefer = \"off\"\n[store]\nurl = \"{store}\"\n\
         [[zone]]\nname = \"{ZONE}\"\nkey = \"{key_name}\"\nprimaries = [\"{primary}\"]\n",
        key.toml(),
    );
    Config::parse(&text, Path::new("/gateway.toml")).unwrap()
}

async fn gateway(config: &Config, stage: &Stage) -> Gateway {
    let metrics = Metrics::register(&mut prometheus_client::registry::Registry::default());
    let pool = Pool::new(Arc::new(Tcp));
    let (ended, _endings) = tokio::sync::mpsc::unbounded_channel();
    let zones = config
        .zones
        .iter()
        .map(|zone| Zone::start(&pool, Settings::new(zone, &config.engine).unwrap(), &metrics, ended.clone()));
    let registry = Registry::with(config, stage.store.clone(), &metrics, || {}).await.unwrap();
    let limits = Limits::new(&config.limits, metrics.clone());
    let authenticator = Authenticator::new(1).unwrap();
    Gateway::new(registry, authenticator, limits, zones, metrics.clone(), &config.engine)
}

/// As after a reload of a file with another deadline.
async fn hurried(gateway: &Gateway, mut config: Config) -> Arc<Gateway> {
    config.engine.deadline = DEADLINE;
    let registry = gateway.registry().redeclared(&config).await.unwrap();
    Arc::new(gateway.succeeded(registry, gateway.zone(&zone(ZONE)).cloned(), &config.engine))
}

fn password(login: &str) -> Identity {
    Identity::Password(Credentials::new(login.to_owned(), SECRET.to_owned()))
}

fn request(gateway: &Gateway, identity: Identity, host: Option<&str>, last: u8) -> UpdateRequest {
    let address = Ipv4Addr::new(203, 0, 113, last);
    UpdateRequest {
        identity,
        hosts: host.map(str::to_owned).into_iter().collect(),
        labels: Labels::NoHost,
        asked: Ok(Asked::of(Addresses { v4: Some(address), v6: None })),
        only_identity: false,
        admitted: gateway.admit(address.into()).unwrap(),
        agent: None,
    }
}

async fn set(gateway: &Arc<Gateway>, login: &str, host: &str, last: u8) -> Outcome {
    gateway.update(request(gateway, password(login), Some(host), last), |_| ()).await.each[0].outcome
}

#[tokio::test]
async fn nobody_waits_for_a_store_that_hangs_past_his_deadline() {
    let mut stage = Stage::postgres().await;
    let secret = PasswordDigest::parse(&digest(SECRET)).unwrap();
    let kept = NewAccount { secret: secret.clone(), ..new_account("kept") };
    let hosts = ["a.dyn.example", "b.dyn.example"].map(|host| new_host(host, "kept"));
    stage.store.add_account(&kept, &hosts).await.unwrap();
    let wild = NewAccount { secret, wildcards: vec![zone("office.dyn.example")], ..new_account("wild") };
    stage.store.add_account(&wild, &[]).await.unwrap();
    let key = Key::generate("gateway-key");
    let primary = Server::start(Kind::Knot, Setup::new().key(&key).zone(ZONE)).await.unwrap();
    let config = configuration(&stage, &key, &primary);
    let gateway = Arc::new(gateway(&config, &stage).await);
    let hurried = hurried(&gateway, config).await;

    for (login, host) in [("kept", "a.dyn.example"), ("kept", "b.dyn.example"), ("wild", "old.office.dyn.example")] {
        assert_eq!(set(&gateway, login, host, 1).await, Outcome::Changed, "{host}");
    }
    // Known to be nobody's own, but not reserved.
    let host = Some("new.office.dyn.example");
    let more = More { removals: Some(Families::Both), ..More::default() };
    let asked = Ok(Asked { more: Some(Arc::new(more)), ..Asked::default() });
    let offline = UpdateRequest { asked, ..request(&gateway, password("wild"), host, 1) };
    assert_eq!(gateway.update(offline, |_| ()).await.each[0].outcome, Outcome::NotAllowed);

    // From here on time passes only where nothing else can happen.
    tokio::time::pause();
    stage.server.as_mut().unwrap().pause().unwrap();
    let token = || Identity::Token(TokenDigest::of("some-token"));
    let mut asked = JoinSet::new();
    for (what, identity, host, last) in [
        ("a change of a host that is known", password("kept"), Some("a.dyn.example"), 2),
        ("a repeat", password("kept"), Some("b.dyn.example"), 1),
        ("an account", password("stranger"), Some("a.dyn.example"), 2),
        ("a host", password("kept"), Some("unseen.dyn.example"), 2),
        ("an account's only host", password("kept"), None, 2),
        ("a token's host", token(), None, 2),
        ("a name is reserved", password("wild"), host, 2),
        ("a name that was reserved", password("wild"), Some("old.office.dyn.example"), 2),
    ] {
        let (gateway, request) = (Arc::clone(&hurried), request(&hurried, identity, host, last));
        let begun = Instant::now();
        asked.spawn(async move { (what, gateway.update(request, |_| ()).await, begun.elapsed()) });
    }
    while let Some(answered) = asked.join_next().await {
        let (what, verdicts, took) = answered.unwrap();
        let outcome = verdicts.each[0].outcome;
        // What is remembered needs no store, and the primary may be faster than a clock that runs ahead.
        let is_primarys = ["a change of a host that is known", "a repeat", "a name that was reserved"].contains(&what)
            && matches!(outcome, Outcome::Changed | Outcome::Unchanged);
        assert!(outcome == Outcome::Unreachable || is_primarys, "{what}: {}", verdicts.each[0].reason);
        // A timer ends with the millisecond.
        assert!(took <= DEADLINE + Duration::from_millis(2), "{what}: {took:?}");
    }
    assert_eq!(hurried.registry().trouble(), None, "the deadline came before that was noticed");

    let noticed = async {
        while hurried.registry().trouble().is_none() {
            sleep(DEADLINE).await;
        }
    };
    timeout(HOUR, noticed).await.expect("that it hangs is noticed");
    tokio::time::resume();
    assert_eq!(set(&gateway, "kept", "a.dyn.example", 3).await, Outcome::Changed, "as long as the grace lasts");
    assert_eq!(set(&gateway, "wild", "old.office.dyn.example", 3).await, Outcome::Changed);
    assert_eq!(set(&gateway, "stranger", "a.dyn.example", 3).await, Outcome::Unreachable);
    stage.server.as_mut().unwrap().resume().unwrap();
    soon("the store is back", async || hurried.registry().trouble().is_none()).await;
    assert_eq!(set(&gateway, "stranger", "a.dyn.example", 3).await, Outcome::BadCredentials);
    assert_eq!(set(&gateway, "wild", "new.office.dyn.example", 3).await, Outcome::Changed);
    let answer = primary.addresses("a.dyn.example").await.unwrap();
    assert_eq!(answer, [std::net::IpAddr::from([203, 0, 113, 3])]);
}
