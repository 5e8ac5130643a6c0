//! The engine alone, without a gateway in front, removes addresses at every primary: no dialect can ask for it yet.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use dyngate::dns::{Pool, Tcp};
use dyngate::engine::{Answer, Applied, Change, Compared, Keep, Origin, Settings, Trouble, Zone};
use dyngate::metrics::Metrics;
use dyngate::model::{Desired, DesiredRecords, Hostname, RrData, RrKey, RrType, Timestamp};
use lab::{Key, Kind, RecordType, Server, Setup, soon};
use prometheus_client::registry::Registry;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::served::policy;
use crate::stage::{Config, ZONE, on_every_primary};

on_every_primary!(
    one_family_and_then_all,
    what_is_not_there_is_removed,
    a_cname_is_left_alone,
    a_signed_zone_stays_signed,
    removed_and_set_in_one_storm,
);

pub(crate) const DONE: Answer = Ok(Applied { superseded: false });

/// No addresses.
fn none() -> DesiredRecords {
    DesiredRecords::absent(RrType::OF_ADDRESSES)
}

fn without(rtype: RrType) -> DesiredRecords {
    DesiredRecords::absent([rtype])
}

/// A primary, and the engine of its zone.
pub(crate) struct Bench {
    pub(crate) primary: Server,
    pub(crate) engine: Zone,
    metrics: Registry,
}

impl Bench {
    pub(crate) async fn new(kind: Kind, lines: &[&str]) -> Self {
        Self::with(kind, Setup::new(), lines).await
    }

    async fn with(kind: Kind, setup: Setup, lines: &[&str]) -> Self {
        let key = Key::generate("gateway-key");
        let primary = Server::start(kind, setup.key(&key).zone_with(ZONE, lines)).await.expect("the primary starts");
        let text = Config::new(&key, primary.addr()).toml();
        let config = dyngate::config::Config::parse(&text, Path::new("gateway.toml")).unwrap();
        let mut metrics = Registry::default();
        let settings = Settings::new(&config.zones[0], &config.engine).unwrap();
        let (ended, _endings) = tokio::sync::mpsc::unbounded_channel();
        let engine = Zone::start(&Pool::new(Arc::new(Tcp)), settings, &Metrics::register(&mut metrics), ended);
        Self { primary, engine, metrics }
    }

    pub(crate) async fn change(&self, host: &str, records: DesiredRecords) -> Answer {
        change(&self.engine, wanted(host, records)).await
    }

    pub(crate) fn compare(&self, host: &str, records: DesiredRecords) -> Compared {
        self.engine.compare(&wanted(host, records))
    }

    async fn served(&self, host: &str) -> Vec<String> {
        let addresses = self.primary.addresses(&format!("{host}.{ZONE}")).await.expect("the primary answers");
        addresses.iter().map(ToString::to_string).collect()
    }

    async fn count(&self, host: &str, kind: &str) -> usize {
        self.primary.query(&format!("{host}.{ZONE}"), kind).await.unwrap().records.len()
    }

    /// UPDATEs with changes that were sent.
    fn messages(&self) -> usize {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.metrics).unwrap();
        let mut counts = text.lines().filter_map(|line| line.strip_prefix("dyngate_update_batch_hosts_count"));
        counts.next().and_then(|line| line.rsplit(' ').next()).map_or(0, |count| count.parse().unwrap())
    }
}

async fn change(engine: &Zone, change: Change) -> Answer {
    engine.change(change, Instant::now() + Duration::from_secs(30)).await
}

pub(crate) fn wanted(host: &str, records: DesiredRecords) -> Change {
    let name = Hostname::parse(&format!("{host}.{ZONE}")).unwrap();
    let (account, accepted) = (Arc::from("operator"), Timestamp::now());
    let origin = Arc::new(Origin { account, client: None, accepted, keep: Keep::WithCaller });
    Change { name, records, origin }
}

fn set(text: &str) -> DesiredRecords {
    DesiredRecords::set(text.parse::<IpAddr>().unwrap().into(), 60)
}

fn both(one: DesiredRecords, other: DesiredRecords) -> DesiredRecords {
    one.iter().chain(other.iter()).map(|(rtype, desired)| (rtype, desired.clone())).collect()
}

fn set_both(v4: &str, v6: &str) -> DesiredRecords {
    both(set(v4), set(v6))
}

async fn one_family_and_then_all(kind: Kind) {
    let lines =
        ["old 3600 IN A 192.0.2.1", "old 3600 IN A 192.0.2.2", "old 3600 IN AAAA 2001:db8::1", "old IN TXT kept"];
    let bench = Bench::new(kind, &lines).await;
    let two = set_both("203.0.113.7", "2001:db8::7");
    assert_eq!(bench.change("home", two.clone()).await, DONE);
    assert_eq!(bench.change("home", without(RrType::Aaaa)).await, DONE);
    assert_eq!(bench.served("home").await, ["203.0.113.7"]);
    assert_eq!(bench.compare("home", set("203.0.113.7")), Compared::Same);
    assert_eq!(bench.compare("home", set("2001:db8::7")), Compared::Differs);
    assert_eq!(bench.change("home", none()).await, DONE);
    assert!(bench.served("home").await.is_empty());
    assert_eq!(bench.compare("home", two.clone()), Compared::Differs);
    assert_eq!(bench.compare("home", none()), Compared::Same);
    assert_eq!(bench.change("home", both(without(RrType::A), set("2001:db8::8"))).await, DONE);
    assert_eq!(bench.served("home").await, ["2001:db8::8"]);
    assert_eq!(bench.change("home", two.clone()).await, DONE);
    assert_eq!(bench.served("home").await, ["203.0.113.7", "2001:db8::7"]);
    // An RRset is removed whole, whoever wrote it, and no other type is touched.
    assert_eq!(bench.change("old", without(RrType::A)).await, DONE);
    assert_eq!(bench.served("old").await, ["2001:db8::1"]);
    assert_eq!(bench.change("old", none()).await, DONE);
    assert!(bench.served("old").await.is_empty());
    assert_eq!(bench.count("old", "TXT").await, 1);
}

async fn what_is_not_there_is_removed(kind: Kind) {
    let bench = Bench::new(kind, &["*.wild 60 IN A 192.0.2.1", "v6 60 IN AAAA 2001:db8::1"]).await;
    for host in ["never", "a.b.never", "host.wild"] {
        let deadline = Instant::now() + Duration::from_secs(5);
        assert!(bench.engine.holds(&wanted(host, none()), deadline).await, "the name itself has nothing: {host}");
        assert_eq!(bench.change(host, none()).await, DONE, "{host}");
        assert_eq!(bench.change(host, none()).await, DONE, "{host} again");
    }
    let deadline = Instant::now() + Duration::from_secs(5);
    assert!(!bench.engine.holds(&wanted("v6", none()), deadline).await);
    assert_eq!(bench.change("v6", without(RrType::A)).await, DONE);
    assert_eq!(bench.served("v6").await, ["2001:db8::1"]);
    assert_eq!(bench.served("host.wild").await, ["192.0.2.1"], "the wildcard's record is not the host's");
}

async fn a_cname_is_left_alone(kind: Kind) {
    let lines = ["alias 60 IN CNAME ns1", "moved 60 IN DNAME elsewhere.example.", "busy 60 IN CNAME ns1"];
    let bench = Bench::new(kind, &lines).await;
    let before = bench.messages();
    for host in ["alias", "a.moved"] {
        assert_eq!(bench.change(host, none()).await, DONE, "{host}");
    }
    assert_eq!(bench.messages() - before, 2, "nothing was sent twice");
    assert_eq!((bench.count("alias", "CNAME").await, bench.count("moved", "DNAME").await), (1, 1));
    // Setters of the same name fail, whether or not they travel together; the operator who removes it does not.
    let mut tasks = JoinSet::new();
    for n in 0..60_u8 {
        let is_removal = n % 3 == 0;
        let removes_or_sets = wanted("busy", if is_removal { none() } else { set(&format!("203.0.113.{n}")) });
        let engine = bench.engine.clone();
        tasks.spawn(async move { (is_removal, change(&engine, removes_or_sets).await) });
    }
    while let Some(done) = tasks.join_next().await {
        let (is_removal, answer) = done.unwrap();
        match answer {
            Ok(Applied { superseded }) => assert!(is_removal || superseded),
            Err(trouble) => assert!(!is_removal, "{trouble:?}"),
        }
    }
    assert_eq!(bench.count("busy", "CNAME").await, 1);
}

/// BIND acknowledges an inline-signed zone's UPDATE once its unsigned half has it, and serves the signed half: wait.
async fn a_signed_zone_stays_signed(kind: Kind) {
    let bench = Bench::with(kind, Setup::new().signed(), &[]).await;
    let steps: [(DesiredRecords, &[&str]); 4] = [
        (set_both("203.0.113.7", "2001:db8::7"), &["203.0.113.7", "2001:db8::7"]),
        (without(RrType::A), &["2001:db8::7"]),
        (none(), &[]),
        (set("203.0.113.8"), &["203.0.113.8"]),
    ];
    for (records, expected) in steps {
        assert_eq!(bench.change("home", records).await, DONE);
        soon(&format!("{expected:?}"), async || bench.served("home").await == expected).await;
        let answer = lab::query_dnssec(bench.primary.addr(), "home.dyn.example", "A").await.unwrap();
        let has = |kind| answer.records.iter().any(|record| record.kind == kind);
        assert_eq!(has(RecordType::A), has(RecordType::RRSIG), "{answer:?}");
    }
}

/// Of each four hosts one is removed, one loses its AAAA record, one moves, and one is set after it was removed.
async fn removed_and_set_in_one_storm(kind: Kind) {
    const HOSTS: u8 = 200;
    let aliases = ["alias0 60 IN CNAME ns1", "alias1 60 IN CNAME ns1"];
    let bench = Bench::new(kind, &aliases).await;
    let host = |n: u8| format!("h{n}");
    let first = |n: u8| set_both(&format!("203.0.113.{n}"), &format!("2001:db8::{n:x}"));
    let moved = |n: u8| set_both(&format!("198.51.100.{n}"), &format!("2001:db8::1:{n:x}"));
    all(&bench, (0..HOSTS).map(|n| wanted(&host(n), first(n)))).await;
    let before = bench.messages();
    let storm = (0..HOSTS).flat_map(|n| match n % 4 {
        0 => vec![wanted(&host(n), none())],
        1 => vec![wanted(&host(n), without(RrType::Aaaa))],
        2 => vec![wanted(&host(n), moved(n))],
        _ => vec![wanted(&host(n), none()), wanted(&host(n), set(&format!("198.51.100.{n}")))],
    });
    all(&bench, storm.chain((0..2).map(|n| wanted(&format!("alias{n}"), none())))).await;
    let messages = bench.messages() - before;
    assert!(messages <= 100, "{messages} messages for {HOSTS} hosts");
    for n in 0..HOSTS {
        let expected = match n % 4 {
            0 => vec![],
            1 => vec![format!("203.0.113.{n}")],
            2 => vec![format!("198.51.100.{n}"), format!("2001:db8::1:{n:x}")],
            _ => vec![format!("198.51.100.{n}")],
        };
        assert_eq!(bench.served(&host(n)).await, expected, "h{n}");
    }
    assert_eq!((bench.count("alias0", "CNAME").await, bench.count("alias1", "CNAME").await), (1, 1));
}

/// All of `changes` at once, submitted in their order; each must succeed.
async fn all(bench: &Bench, changes: impl Iterator<Item = Change>) {
    let changes = changes.map(|wanted| change(&bench.engine, wanted));
    let mut changes: Vec<_> = changes.map(Box::pin).collect();
    let mut answers = vec![None; changes.len()];
    std::future::poll_fn(|context| {
        for (change, answer) in changes.iter_mut().zip(&mut answers) {
            if answer.is_none()
                && let std::task::Poll::Ready(ready) = change.as_mut().poll(context)
            {
                *answer = Some(ready);
            }
        }
        if answers.iter().all(Option::is_some) { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    assert!(answers.iter().all(|answer| matches!(answer, Some(Ok(_)))), "{answers:?}");
}

/// A policy of PowerDNS answers NOERROR to what it drops. The second is how what is pending in a shared store is made.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_policy_drops_is_neither_removed_nor_replaced() {
    let (line, _folder) = policy();
    let setup = Setup::new().option(Kind::PowerDnsSqlite, &line);
    let lines = ["denied 60 IN A 192.0.2.1", "open 60 IN A 192.0.2.1"];
    let bench = Bench::with(Kind::PowerDnsSqlite, setup, &lines).await;
    assert_eq!(bench.change("denied", none()).await, Err(Trouble::Dropped));
    assert_eq!(bench.compare("denied", none()), Compared::Unknown);
    let data = |last| RrData::A([192, 0, 2, last].into());
    let swap = async |host: &str| {
        let key = RrKey { name: Hostname::parse(&format!("{host}.{ZONE}")).unwrap(), rtype: RrType::A };
        let (expected, desired) = (vec![data(1)], Desired::Set { data: data(2), ttl: 60 });
        bench.engine.compare_and_swap(key, expected, desired, Instant::now() + Duration::from_secs(30)).await
    };
    assert_eq!(swap("denied").await, Err(Trouble::Dropped));
    assert_eq!(bench.served("denied").await, ["192.0.2.1"]);
    assert_eq!(swap("open").await, Ok(true));
    assert_eq!(bench.change("open", none()).await, DONE);
    assert!(bench.served("open").await.is_empty());
}
