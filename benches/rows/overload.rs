//! Row "overload": a primary, or a gateway, that cannot serve what comes, for a minute: every request is answered, those that
//! are served soon, memory stays, and all is well right after. And a zone whose primary is silent beside one that is well.

use std::collections::{BTreeMap, HashMap};
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hickory_proto::rr::rdata::SOA;
use hickory_proto::rr::{Name, RData, Record};
use lab::fake::{Action, FakePrimary, Memory};
use lab::http::Request;
use lab::load::{Exchange, Plan, exchange, quantile};
use lab::{Gateway, Key, Kind, ResponseCode, Server, Setup, new_secret};
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{Instant, sleep};

use crate::cpu::{Watch, memory_mib};
use crate::row::{Compare, Goal, Round, Row};
use crate::stage::{CLIENTS, LOGIN, Plot, ZONE};
use crate::{Bench, Failure};

const LASTS: Duration = Duration::from_secs(60);
const HOSTS: usize = 20_000;
/// What a slowed primary takes for an UPDATE, one after the other.
const SLOW: Duration = Duration::from_millis(200);
/// The gateway runs for this long, and then stands still for three times as long.
const SLICE: Duration = Duration::from_millis(10);
/// After the end, a lone change is tried this often until it is as quick as before.
const LOOK: Duration = Duration::from_millis(100);
const DEAD: &str = "dead.example";

pub(crate) async fn run(bench: &Bench) -> Result<Vec<Row>, Failure> {
    let mut rows = slow_primary(bench).await?;
    rows.extend(powerdns_over_sqlite(bench).await?);
    rows.extend(quarter_of_a_core(bench).await?);
    rows.push(dead_zone(bench).await?);
    Ok(rows)
}

/// A gateway under a load.
struct Scene {
    gateway: Gateway,
    primary: Option<u32>,
    head: Arc<Vec<u8>>,
    next: Arc<AtomicU32>,
}

impl Scene {
    async fn new(plot: &Plot, key: &Key, primaries: &[SocketAddr], primary: Option<u32>) -> Result<Self, Failure> {
        let secret = new_secret();
        let gateway = Gateway::builder(env!("CARGO_BIN_EXE_dyngate")).config(&plot.config(key, &secret, primaries));
        let gateway = gateway.start().await?;
        let octets = Request::get("").basic(LOGIN, &secret).octets(gateway.http());
        let head = Arc::new(octets.strip_prefix(b"GET ").unwrap_or_default().to_vec());
        Ok(Self { gateway, primary, head, next: Arc::new(AtomicU32::new(u32::from(Ipv4Addr::new(11, 0, 0, 0)))) })
    }

    fn reports(&self, zone: &'static str) -> Arc<Reports> {
        Arc::new(Reports { zone, head: Arc::clone(&self.head), next: Arc::clone(&self.next), seen: Mutex::default() })
    }

    /// The latency of a lone change, where it is served.
    async fn lone(&self) -> Result<Option<Duration>, Failure> {
        let ran = exchange(self.gateway.http(), &self.reports(ZONE), Plan::new(1, 1)).await?;
        Ok(ran.wrong.is_empty().then(|| ran.latency(1.0)))
    }

    /// A minute of `clients` who send their next report when the last one was answered.
    async fn overload(mut self, bench: &Bench, on: &str, clients: usize, throttled: bool) -> Result<Vec<Row>, Failure> {
        bench.say(&format!("overload, {on}: {clients} clients for {} s", LASTS.as_secs()));
        let mut calm = Duration::ZERO;
        for _ in 0..20 {
            calm = calm.max(self.lone().await?.ok_or("not even a lone change is served")?);
        }
        let watch = Watch::start(self.gateway.pid(), self.primary);
        let throttle = throttled.then(|| tokio::spawn(throttle(self.gateway.pid())));
        let reports = self.reports(ZONE);
        let plan = Plan { lasts: Some(LASTS), ..Plan::new(usize::MAX / 2, clients) };
        let ran = exchange(self.gateway.http(), &reports, plan).await;
        if let Some(throttle) = throttle {
            throttle.abort();
            let _aborted = throttle.await;
            signal(self.gateway.pid(), Signal::CONT);
        }
        let (ran, ended) = (ran?, Instant::now());
        let cpu = watch.stop();
        while self.lone().await?.is_none_or(|took| took > calm * 2) && ended.elapsed() < LASTS {
            sleep(LOOK).await;
        }
        let recovered = ended.elapsed();
        let memory = memory_mib(self.gateway.pid(), "VmHWM");
        self.gateway.stop().await?;

        let seen = Arc::into_inner(reports).ok_or("a client is still there")?.seen;
        let seen = seen.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut served = seen.served;
        served.sort_unstable();
        let mut others = BTreeMap::new();
        for (_, answer) in &ran.wrong {
            *others.entry(answer.as_str()).or_insert(0) += 1;
        }
        if let Some((answer, count)) = others.iter().find(|(answer, _)| **answer != "911") {
            return Err(format!("{count} requests were answered {answer:?}").into());
        }
        let refused = others.get("911").copied().unwrap_or_default();
        let p99 = quantile(&served, 0.99);
        bench.say(&format!(
            "overload, {on}: {} served, p99 {p99:?}, {refused} times 911; {memory:.0} MiB; well after {recovered:?}",
            served.len()
        ));
        let note = format!("{} served, {refused} times `911`, none without an answer; once", served.len());
        let row = |what: &str, unit, most, measured, note| {
            let (name, compare, goal) = ("overload", Compare::Alone, Goal::AtMost(most));
            let rounds = vec![Round { measured, against: 0.0, cpu: cpu.clone() }];
            Row { name, on: format!("{on}: {what}"), against: "", unit, compare, goal, rounds, note }
        };
        Ok(vec![
            row("p99 of those served", "s", 5.0, p99.as_secs_f64(), note),
            row("the most memory", "MiB", 200.0, memory, String::new()),
            row(
                "as quick as before after",
                "s",
                5.0,
                recovered.as_secs_f64(),
                format!("a lone change took at most {:.1} ms before", calm.as_secs_f64() * 1000.0),
            ),
        ])
    }
}

/// Each UPDATE takes 200 ms, whatever it holds, and they take turns.
async fn slow_primary(bench: &Bench) -> Result<Vec<Row>, Failure> {
    let key = Key::generate("gateway-key");
    let (soa, mut free, mut memory) = (soa()?, Instant::now(), Memory::default());
    let fake = FakePrimary::start(&key, move |received| match (memory.answer(received), received.owners.is_empty()) {
        (_, false) => {
            free = free.max(Instant::now()) + SLOW;
            Action::AnswerAfter(free - Instant::now(), ResponseCode::NoError)
        }
        // Its own SOA and NS records.
        (Action::Records(none), true) if none.is_empty() => Action::Records(vec![soa.clone()]),
        (truly, true) => truly,
    })
    .await?;
    let scene = Scene::new(&Plot::new(bench, Kind::Bind), &key, &[fake.addr()], None).await?;
    scene.overload(bench, "200 ms an UPDATE", 4 * CLIENTS, false).await
}

/// The gateway reads it to learn which names no wildcard grant covers.
fn soa() -> Result<Record, Failure> {
    let (zone, server) = (Name::from_ascii(ZONE)?, Name::from_ascii("ns1.example")?);
    Ok(Record::from_rdata(zone.clone(), 60, RData::SOA(SOA::new(server, zone, 1, 3600, 600, 86_400, 60))))
}

/// A real primary whose UPDATEs cost the more, the more records its zone holds: it has those of all clients from the start.
async fn powerdns_over_sqlite(bench: &Bench) -> Result<Vec<Row>, Failure> {
    let key = Key::generate("gateway-key");
    let records: Vec<_> = (0..HOSTS).map(|n| format!("h{n} 60 IN A 198.51.100.1")).collect();
    let records: Vec<_> = records.iter().map(String::as_str).collect();
    let mut primary = Server::start(Kind::PowerDnsSqlite, Setup::new().key(&key).zone_with(ZONE, &records)).await?;
    let plot = Plot::new(bench, Kind::PowerDnsSqlite);
    let scene = Scene::new(&plot, &key, &[primary.addr()], primary.pid()).await?;
    let rows = scene.overload(bench, "PowerDNS (SQLite), 20 000 records", 2 * CLIENTS, false).await?;
    primary.stop().await?;
    Ok(rows)
}

/// The gateway has a quarter of a core.
async fn quarter_of_a_core(bench: &Bench) -> Result<Vec<Row>, Failure> {
    let key = Key::generate("gateway-key");
    let mut primary = Server::start(Kind::Bind, Setup::new().key(&key).zone(ZONE)).await?;
    let scene = Scene::new(&Plot::new(bench, Kind::Bind), &key, &[primary.addr()], primary.pid()).await?;
    let rows = scene.overload(bench, "a quarter of a core", 4 * CLIENTS, true).await?;
    primary.stop().await?;
    Ok(rows)
}

/// Changes in a zone that is well, while a thousand clients wait for one whose primary is silent.
async fn dead_zone(bench: &Bench) -> Result<Row, Failure> {
    let key = Key::generate("gateway-key");
    let silent = FakePrimary::start(&key, |_| Action::Silent).await?;
    let mut primary = Server::start(Kind::Bind, Setup::new().key(&key).zone(ZONE)).await?;
    let mut plot = Plot::new(bench, Kind::Bind);
    plot.zones.push(DEAD.to_owned());
    let mut scene = Scene::new(&plot, &key, &[primary.addr(), silent.addr()], primary.pid()).await?;
    bench.say(&format!("overload: changes beside {CLIENTS} clients whose zone is dead"));
    let mut rounds = vec![];
    for _ in 0..bench.options.rounds {
        let mut figures = [0.0; 2];
        let mut cpu = None;
        for (turn, figure) in figures.iter_mut().enumerate() {
            let waiting = (turn == 0).then(|| {
                let (addr, dead) = (scene.gateway.http(), scene.reports(DEAD));
                tokio::spawn(async move { exchange(addr, &dead, Plan::new(usize::MAX / 2, CLIENTS)).await })
            });
            let watch = Watch::start(scene.gateway.pid(), scene.primary);
            let plan = Plan { pace: Some(500.0), ..Plan::new(3000, 32) };
            let ran = exchange(scene.gateway.http(), &scene.reports(ZONE), plan).await;
            if let Some(waiting) = waiting {
                cpu = Some(watch.stop());
                waiting.abort();
            }
            let ran = ran?;
            if let Some((_, answer)) = ran.wrong.first() {
                return Err(format!("{} changes beside a dead zone failed: {answer}", ran.wrong.len()).into());
            }
            *figure = ran.latency(0.99).as_secs_f64() * 1000.0;
        }
        let [measured, against] = figures;
        bench.say(&format!("overload: p99 {measured:.1} ms beside a dead zone, {against:.1} ms without"));
        rounds.push(Round { measured, against, cpu: cpu.unwrap_or_default() });
    }
    scene.gateway.stop().await?;
    primary.stop().await?;
    let (name, against, compare, goal) = ("overload", "without it", Compare::Ratio, Goal::AtMost(2.0));
    let (on, note) = ("beside a dead zone: p99 of changes".to_owned(), "500 changes a second".to_owned());
    Ok(Row { name, on, against, unit: "ms", compare, goal, rounds, note })
}

/// Lets the process run for a quarter of the time, for ever.
async fn throttle(pid: Option<u32>) {
    loop {
        signal(pid, Signal::STOP);
        sleep(SLICE * 3).await;
        signal(pid, Signal::CONT);
        sleep(SLICE).await;
    }
}

fn signal(pid: Option<u32>, signal: Signal) {
    if let Some(pid) = pid.and_then(|pid| Pid::from_raw(pid.cast_signed())) {
        let _gone = kill_process(pid, signal);
    }
}

/// Reports of fresh addresses for hosts in turn; `911` is an answer.
struct Reports {
    zone: &'static str,
    head: Arc<Vec<u8>>,
    next: Arc<AtomicU32>,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    asked: HashMap<usize, (Instant, Ipv4Addr)>,
    served: Vec<Duration>,
}

impl Exchange for Reports {
    fn ask(&self, index: usize, request: &mut Vec<u8>) {
        let address = Ipv4Addr::from(self.next.fetch_add(1, Ordering::Relaxed));
        let _ = write!(request, "GET /nic/update?hostname=h{}.{}&myip={address}", index % HOSTS, self.zone);
        request.extend_from_slice(&self.head);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.asked.insert(index, (Instant::now(), address));
    }

    fn judge(&self, index: usize, _: u16, body: &[u8]) -> Result<(), String> {
        let body = String::from_utf8_lossy(body);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        match seen.asked.remove(&index) {
            Some((asked, address)) if body == format!("good {address}") => {
                seen.served.push(asked.elapsed());
                Ok(())
            }
            _ => Err(body.into_owned()),
        }
    }
}
