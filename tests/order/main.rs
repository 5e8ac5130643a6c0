//! The whole engine of a zone over a simulated network, in virtual time: for one host the last accepted request wins,
//! whatever lies between: callers that give up, changes that outlive them, and a gateway that starts anew with what it kept.
//! Each run is made from one seed.
//!
//! `ORDER_CASES` is the number of runs of each test, `ORDER_FIRST` the first seed; `ORDER_SEED` repeats one run and prints it.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on ends here")]
#![expect(unreachable_pub, clippy::print_stdout, reason = "a program of its own, which shows a run that is repeated")]

mod gateway;
mod network;
mod primary;
mod reference;

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use dyngate::config;
use dyngate::dns::Pool;
use dyngate::engine::{Ended, Keep, Settings, Zone};
use dyngate::metrics::Metrics;
use dyngate::model::{Desired, DesiredRecords, Hostname, KeyName, RrData, RrType, TsigKey, ZoneName};
use lab::Chance;
use prometheus_client::registry::Registry;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use gateway::Gateway;
use network::Simulated;
use reference::{Word, broken, forgotten, inverted};

const DEADLINE: Duration = Duration::from_secs(2);
/// Longer than any signature lives, so that nothing is under way any longer.
const QUIET: Duration = Duration::from_secs(330);
const SHARDS: u64 = 8;
const ZONES: [&str; 2] = ["dyn.example", "office.example"];

/// What a run showed.
#[derive(Default)]
struct Seen {
    requests: usize,
    accepted: usize,
    messages: usize,
    late: usize,
    restarts: u64,
    // Changes that were made while nobody waited for them.
    outlived: usize,
}

fn env(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

fn runs(shard: u64) {
    if let Some(seed) = env("ORDER_SEED") {
        if shard == 0 {
            run(seed, true);
        }
        return;
    }
    let (cases, first) = (env("ORDER_CASES").unwrap_or(100), env("ORDER_FIRST").unwrap_or(0));
    let mut sum = Seen::default();
    for case in 0..cases {
        let seen = run(first + case * SHARDS + shard, false);
        sum.requests += seen.requests;
        sum.accepted += seen.accepted;
        sum.messages += seen.messages;
        sum.late += seen.late;
        sum.restarts += seen.restarts;
        sum.outlived += seen.outlived;
    }
    let Seen { requests, accepted, messages, late, restarts, outlived } = sum;
    println!(
        "{cases} runs, {requests} requests ({accepted} accepted, {outlived} made later), {messages} messages, \
         {late} applied late, {restarts} restarts"
    );
    let shows = accepted > requests / 4 && late > 0 && restarts > 0 && outlived > 0;
    assert!(cases < 100 || shows, "the runs show what they are for");
}

/// One run; panics with its seed where a promise is broken.
fn run(seed: u64, show: bool) -> Seen {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let (mut failures, seen, log) = runtime.block_on(play(seed));
    if show {
        println!("{}", log.join("\n"));
    }
    failures.dedup();
    assert!(failures.is_empty(), "seed {seed} (repeat it with ORDER_SEED={seed}): {failures:#?}");
    seen
}

async fn play(seed: u64) -> (Vec<String>, Seen, Vec<String>) {
    let mut chance = Chance::new(seed);
    let network = Simulated::new(Chance::new(chance.any()));
    if chance.percent(25) {
        network.world().primary.hidden.insert(host(3));
    }
    if chance.percent(25) {
        network.world().primary.forbidden.insert(host(2));
    }
    let restarts = if chance.percent(30) { 10 } else { 0 };
    let gateway = Gateway::start(network.clone(), chance.any());
    let looking = tokio::spawn(Arc::clone(&gateway).look_after_pending(Chance::new(chance.any())));
    let mut callers = tokio::task::JoinSet::new();
    let hosts = 1 + chance.below(4);
    let hurry = [20, 300, 3000][usize::try_from(chance.below(3)).unwrap()];
    let reloads = if chance.percent(30) { 20 } else { 0 };
    for _ in 0..4 + chance.below(26) {
        sleep(chance.millis(hurry)).await;
        if chance.percent(reloads) {
            reload(&gateway.zones(), &network, &mut chance).await;
        }
        if chance.percent(restarts) {
            gateway.restart(chance.percent(50)).await;
        }
        let name = Hostname::parse(&host(chance.below(hosts))).unwrap();
        let (records, keep) = (records(&mut chance), keep(&mut chance));
        if chance.percent(10) {
            gateway.command(&name, &records);
            continue;
        }
        // Some clients hang up before they are answered.
        let wait = if chance.percent(15) { chance.millis(2000) } else { DEADLINE };
        callers.spawn(Arc::clone(&gateway).ask(name, records, keep, wait));
    }
    callers.join_all().await;
    network.clear_up();
    gateway.clear_up();
    sleep(QUIET).await;
    looking.abort();
    let world = network.world();
    let requests = gateway.requests();
    let mut failures = world.violations.clone();
    failures.extend(broken(&requests, &world.primary));
    failures.extend(inverted(&requests, &world.primary));
    failures.extend(forgotten(&requests, &world.primary));
    let accepted = requests.iter().filter(|request| !matches!(request.word, Some(Word::Failed) | None)).count();
    let seen = Seen {
        requests: requests.len(),
        accepted,
        messages: world.messages,
        late: world.late,
        restarts: world.epoch(),
        outlived: gateway.outlived(),
    };
    (failures, seen, world.log.clone())
}

fn host(number: u64) -> String {
    format!("h{number}.{}", ZONES[usize::from(number >= 2)])
}

/// Few addresses, so that a host returns to one that it had.
fn records(chance: &mut Chance) -> DesiredRecords {
    let last = u8::try_from(1 + chance.below(4)).unwrap();
    let v4 = (RrType::A, set(RrData::A([192, 0, 2, last].into())));
    let v6 = (RrType::Aaaa, set(RrData::Aaaa([0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(last)].into())));
    let records = match chance.below(8) {
        0..4 => vec![v4],
        4 => vec![v6],
        5 => vec![v4, v6],
        6 => vec![v4, (RrType::Aaaa, Desired::Absent)],
        _ => RrType::OF_ADDRESSES.map(|rtype| (rtype, Desired::Absent)).to_vec(),
    };
    records.into_iter().collect()
}

fn set(data: RrData) -> Desired {
    Desired::Set { data, ttl: 60 }
}

fn keep(chance: &mut Chance) -> Keep {
    match chance.below(5) {
        0 => Keep::WithCaller,
        1 => Keep::Until(Instant::now() + chance.millis(60_000)),
        _ => Keep::Always,
    }
}

/// One for each zone, which share the connections.
fn zones(network: &Simulated, random: u64, ended: &mpsc::UnboundedSender<Vec<Ended>>) -> [Zone; 2] {
    let metrics = Metrics::register(&mut Registry::default());
    // In every other run all zones' changes and questions take turns on one connection or two.
    let most = [16, 1, 16, 2][usize::try_from(random % 4).unwrap()];
    let pool = Pool::with_most(Arc::new(network.clone()), most);
    ZONES.map(|zone| Zone::start_with(random, &pool, settings(zone, &[53, 54], DEADLINE), &metrics, ended.clone()))
}

/// Other primaries, or the same in another order, and another deadline.
async fn reload(zones: &[Zone], network: &Simulated, chance: &mut Chance) {
    let primaries: &[u16] = [&[53, 54][..], &[54, 53], &[53], &[54]][usize::try_from(chance.below(4)).unwrap()];
    let deadline = DEADLINE / 2 + chance.millis(2000);
    network.world().note(|| format!("a reload: {primaries:?}, {deadline:?}"));
    for zone in zones {
        zone.set(settings(zone.name().as_str(), primaries, deadline)).await;
    }
}

fn settings(zone: &str, primaries: &[u16], deadline: Duration) -> Settings {
    let secret = base64::engine::general_purpose::STANDARD.encode(primary::SECRET);
    let key = TsigKey::new(KeyName::parse("k").unwrap(), "hmac-sha256".parse().unwrap(), &secret).unwrap();
    let primaries = primaries.iter().map(|&port| config::Primary { host: "192.0.2.1".to_owned(), port });
    let zone = config::Zone {
        name: ZoneName::parse(zone).unwrap(),
        primaries: primaries.collect(),
        key,
        ttl: 60,
        allow: Vec::new(),
        protect: Vec::new(),
        source: None,
    };
    let engine = config::Engine { deadline, verify_interval: Duration::from_secs(60), defer: None };
    Settings::new(&zone, &engine).unwrap()
}

macro_rules! shards {
    ($($name:ident $shard:literal),*) => {$(
        #[test]
        fn $name() {
            runs($shard);
        }
    )*};
}
shards!(
    the_last_accepted_wins_0 0, the_last_accepted_wins_1 1, the_last_accepted_wins_2 2, the_last_accepted_wins_3 3,
    the_last_accepted_wins_4 4, the_last_accepted_wins_5 5, the_last_accepted_wins_6 6, the_last_accepted_wins_7 7
);
