//! The whole engine of a zone over a simulated network, in virtual time: for one host the last accepted request wins,
//! whatever lies between. Each run is made from one seed.
//!
//! `ORDER_CASES` is the number of runs of each test, `ORDER_FIRST` the first seed; `ORDER_SEED` repeats one run and prints it.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on ends here")]
#![expect(unreachable_pub, clippy::print_stdout, reason = "a program of its own, which shows a run that is repeated")]

mod network;
mod primary;
mod reference;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use dyngate::config;
use dyngate::dns::Pool;
use dyngate::engine::{Compared, Settings, Wish, Zone};
use dyngate::metrics::Metrics;
use dyngate::model::{Change, Hostname, KeyName, Records, TsigKey, ZoneName};
use lab::Chance;
use prometheus_client::registry::Registry;
use tokio::time::{Instant, sleep};

use network::Simulated;
use reference::{Request, Word, broken, inverted};

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
    strays: usize,
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
    let (cases, first) = (env("ORDER_CASES").unwrap_or(200), env("ORDER_FIRST").unwrap_or(0));
    let mut sum = Seen::default();
    for case in 0..cases {
        let seen = run(first + case * SHARDS + shard, false);
        sum.requests += seen.requests;
        sum.accepted += seen.accepted;
        sum.messages += seen.messages;
        sum.strays += seen.strays;
    }
    let Seen { requests, accepted, messages, strays } = sum;
    println!("{cases} runs, {requests} requests ({accepted} accepted), {messages} messages, {strays} applied late");
    assert!(cases < 100 || accepted > requests / 4 && strays > 0, "the runs show what they are for");
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
    let engines = engines(&network, chance.any());
    let requests = Arc::new(Mutex::new(Vec::new()));
    let mut callers = tokio::task::JoinSet::new();
    let hosts = 1 + chance.below(4);
    let hurry = [20, 300, 3000][usize::try_from(chance.below(3)).unwrap()];
    let reloads = if chance.percent(30) { 20 } else { 0 };
    for _ in 0..4 + chance.below(26) {
        sleep(chance.millis(hurry)).await;
        if chance.percent(reloads) {
            reload(&engines, &network, &mut chance).await;
        }
        let name = host(chance.below(hosts));
        let wish = Wish {
            name: Hostname::parse(&name).unwrap(),
            records: records(&mut chance),
            ttl: 60,
            account: Arc::from("account"),
        };
        let engine = engines.iter().find(|zone| wish.name.is_within(zone.name())).unwrap();
        callers.spawn(ask(engine.clone(), network.clone(), Arc::clone(&requests), wish));
    }
    callers.join_all().await;
    network.clear_up();
    sleep(QUIET).await;
    let world = network.world();
    let requests = requests.lock().unwrap();
    let mut failures = world.violations.clone();
    failures.extend(broken(&requests, &world.primary));
    failures.extend(inverted(&requests, &world.primary));
    let accepted = requests.iter().filter(|request| !matches!(request.word, Some(Word::Failed) | None)).count();
    let seen = Seen { requests: requests.len(), accepted, messages: world.messages, strays: world.strays };
    (failures, seen, world.log.clone())
}

fn host(number: u64) -> String {
    format!("h{number}.{}", ZONES[usize::from(number >= 2)])
}

/// Few addresses, so that a host returns to one that it had.
fn records(chance: &mut Chance) -> Records {
    let last = u8::try_from(1 + chance.below(4)).unwrap();
    let v4 = Change::Set([192, 0, 2, last].into());
    let v6 = Change::Set([0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(last)].into());
    match chance.below(8) {
        0..4 => Records { v4, v6: Change::Leave },
        4 => Records { v4: Change::Leave, v6 },
        5 => Records { v4, v6 },
        6 => Records { v4, v6: Change::Remove },
        _ => Records::REMOVED,
    }
}

/// One for each zone, which share the connections.
fn engines(network: &Simulated, random: u64) -> [Zone; 2] {
    let metrics = Metrics::register(&mut Registry::default());
    // In every other run all zones' changes and questions take turns on one connection or two.
    let most = [16, 1, 16, 2][usize::try_from(random % 4).unwrap()];
    let pool = Pool::with_most(Arc::new(network.clone()), most);
    ZONES.map(|zone| Zone::start_with(random, &pool, settings(zone, &[53, 54], DEADLINE), &metrics))
}

/// Other primaries, or the same in another order, and another deadline.
async fn reload(engines: &[Zone], network: &Simulated, chance: &mut Chance) {
    let primaries: &[u16] = [&[53, 54][..], &[54, 53], &[53], &[54]][usize::try_from(chance.below(4)).unwrap()];
    let deadline = DEADLINE / 2 + chance.millis(2000);
    network.world().note(|| format!("a reload: {primaries:?}, {deadline:?}"));
    for zone in engines {
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

/// Goes the way of the gateway: compare, ask, change.
async fn ask(engine: Zone, network: Simulated, requests: Arc<Mutex<Vec<Request>>>, wish: Wish) {
    let deadline = Instant::now() + DEADLINE;
    let submit = || {
        let mut requests = requests.lock().unwrap();
        let number = requests.len();
        let now = Instant::now();
        let (name, records) = (wish.name.to_string(), wish.records);
        network.world().note(|| format!("request {number}: {name} {records:?}"));
        requests.push(Request { name, records, number, submitted: now, word: None, told: now });
        number
    };
    let told = |number: usize, word: Word| {
        network.world().note(|| format!("request {number} is told {word:?}"));
        let request = &mut requests.lock().unwrap()[number];
        (request.word, request.told) = (Some(word), Instant::now());
    };
    let compared = engine.compare(&wish);
    if compared == Compared::Same {
        return told(submit(), Word::Remembered);
    }
    let mut number = submit();
    if compared == Compared::Unknown {
        if engine.holds(&wish, deadline).await {
            return told(number, Word::Asked);
        }
        // It is the change that has a place among the others.
        told(number, Word::Failed);
        number = submit();
    }
    let answer = engine.change(wish.clone(), deadline).await;
    told(number, if answer.is_ok() { Word::Good } else { Word::Failed });
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
