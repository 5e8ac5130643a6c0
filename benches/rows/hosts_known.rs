//! Row "hosts known": routers that repeat themselves, start-up and memory where the store holds few hosts and where it holds
//! very many, in SQLite and in PostgreSQL. Each host has an account of its own with a generated secret, and an address that was
//! seen before.

use std::sync::Arc;
use std::time::Duration;

use lab::load::{Plan, Ran, Reports, exchange};
use lab::{Gateway, Key, Kind, Server, Setup};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::cpu::{Watch, memory_mib};
use crate::row::{Compare, Goal, Round, Row, Spread, float};
use crate::stage::{CLIENTS, UNLIMITED, ZONE};
use crate::store::{Database, SEEN, Store, account_line, host_line};
use crate::{Bench, Failure, no_change};

const REQUESTS: usize = 60_000;
/// Hosts that report a new address in a round, evenly among all: more than the gateway remembers of accounts and of hosts.
const CHANGED: usize = 100_000;
/// Of those, the ones that repeat it: as many as the smallest store holds.
const REPEATED: usize = 1000;
/// Between two looks whether the gateway has written all that it has seen of hosts, and how many of them at most.
const REST: Duration = Duration::from_millis(500);
const MOST_RESTS: usize = 120;

pub(crate) async fn run(bench: &Bench) -> Result<Vec<Row>, Failure> {
    let key = Key::generate("gateway-key");
    let mut primary = Server::start(Kind::Bind, Setup::new().key(&key).zone(ZONE)).await?;
    let mut rows = vec![];
    for database in [Database::Sqlite, Database::Postgres] {
        rows.extend(of(bench, database, &key, &primary).await?);
    }
    primary.stop().await?;
    Ok(rows)
}

async fn of(bench: &Bench, database: Database, key: &Key, primary: &Server) -> Result<Vec<Row>, Failure> {
    let mut known = vec![];
    for size in &bench.options.known {
        known.push(Known::fill(bench, database, *size, key, primary).await?);
    }
    for round in 0..bench.options.rounds {
        let count = known.len();
        for turn in 0..count {
            known[(round + turn) % count].round(bench, primary).await?;
        }
    }
    let fewest = known.first().map(|known| known.rates.clone()).unwrap_or_default();
    let mut rows = vec![];
    for (place, known) in known.into_iter().enumerate() {
        rows.extend(known.rows((place > 0).then_some(&fewest)).await?);
    }
    Ok(rows)
}

/// A gateway on a store with so many hosts, and what was measured of it.
struct Known {
    database: Database,
    size: usize,
    gateway: Gateway,
    filled: f64,
    storms: Vec<f64>,
    median: Vec<f64>,
    rates: Vec<Round>,
    starts: Vec<Round>,
    sizes: Vec<Round>,
    // Dropped last.
    store: Store,
}

impl Known {
    async fn fill(
        bench: &Bench,
        database: Database,
        size: usize,
        key: &Key,
        primary: &Server,
    ) -> Result<Self, Failure> {
        let store = Store::new(database).await?;
        let config = format!(
            "[http]\nlisten = [\"127.0.0.1:0\"]\n[admin]\nlisten = \"127.0.0.1:0\"\n{UNLIMITED}{}{}\
             [[zone]]\nname = \"{ZONE}\"\nprimaries = [\"{}\"]\nkey = \"{}\"\n",
            key.toml(),
            store.section(),
            primary.addr(),
            key.name
        );
        let began = Instant::now();
        let accounts = (0..size).map(|n| account_line(&login(n), &secret(n), &[]));
        let hosts = (0..size).map(|n| host_line(&host(n, size), &login(n)));
        store.import(&config, accounts.chain(hosts).chain((0..size).map(|n| state_line(n, size)))).await?;
        let filled = began.elapsed().as_secs_f64();
        bench.say(&format!("hosts known, {database}: {size} imported in {filled:.0} s"));
        let gateway = Gateway::builder(env!("CARGO_BIN_EXE_dyngate")).config(&config).start().await?;
        let (storms, median, rates, starts, sizes) = (vec![], vec![], vec![], vec![], vec![]);
        Ok(Self { database, size, gateway, filled, storms, median, rates, starts, sizes, store })
    }

    fn watch(&self, primary: &Server) -> Watch {
        Watch::of(self.gateway.pid().into_iter().collect(), primary.pid(), self.store.pid())
    }

    async fn round(&mut self, bench: &Bench, primary: &Server) -> Result<(), Failure> {
        self.gateway.stop().await?;
        let began = Instant::now();
        self.gateway.start_again().await?;
        let took = began.elapsed().as_secs_f64();
        let watch = self.watch(primary);

        let changed = self.reports(bench, CHANGED);
        let hosts = float(changed.hosts.len());
        let plan = Plan::new(changed.hosts.len(), CLIENTS);
        let storm = right(exchange(self.gateway.http(), &Arc::new(changed), plan).await?)?;
        self.starts.push(Round { measured: took, against: 0.0, cpu: watch.stop() });

        let repeated = self.reports(bench, REPEATED);
        let plan = Plan::new(repeated.hosts.len(), no_change::CLIENTS);
        let repeated = Arc::new(repeated);
        right(exchange(self.gateway.http(), &repeated, plan).await?)?;
        let repeated = Arc::new(Arc::into_inner(repeated).ok_or("a client is still there")?.unchanged());
        self.rest(primary).await;
        let watch = self.watch(primary);
        let ran = right(exchange(self.gateway.http(), &repeated, Plan::new(REQUESTS, no_change::CLIENTS)).await?)?;
        let cpu = watch.stop();
        let rate = float(REQUESTS) / ran.took.as_secs_f64();
        let resident = memory_mib(self.gateway.pid(), "VmRSS");
        let Self { database, size, .. } = self;
        bench.say(&format!(
            "hosts known, {database}, {size}: ready after {took:.2} s, {rate:.0} req/s, {resident:.0} MiB"
        ));
        self.storms.push(hosts / storm.took.as_secs_f64());
        self.median.push(ran.latency(0.5).as_secs_f64() * 1000.0);
        self.rates.push(Round { measured: rate, against: 0.0, cpu: cpu.clone() });
        self.sizes.push(Round { measured: resident, against: 0.0, cpu });
        Ok(())
    }

    /// Waits until what the changes left to be written is in the store: until the gateway does nothing for half a second.
    async fn rest(&self, primary: &Server) {
        for _ in 0..MOST_RESTS {
            let watch = self.watch(primary);
            sleep(REST).await;
            if watch.stop().gateway.seconds < REST.as_secs_f64() / 20.0 {
                return;
            }
        }
    }

    /// So many hosts, or all, evenly among all, each by its account with a fresh address.
    fn reports(&self, bench: &Bench, count: usize) -> Reports {
        let count = count.min(self.size);
        let chosen: Vec<_> = (0..count).map(|n| n * self.size / count).collect();
        let credentials: Vec<_> = chosen.iter().map(|n| (login(*n), secret(*n))).collect();
        let hosts = bench.fresh(chosen.iter().map(|n| host(*n, self.size)));
        Reports::new(self.gateway.http(), &credentials, hosts, "")
    }

    /// Lines of the table; `fewest` are the rates of the store with the fewest hosts, where this is another one.
    async fn rows(mut self, fewest: Option<&Vec<Round>>) -> Result<Vec<Row>, Failure> {
        self.gateway.stop().await?;
        let (compare, goal) = match fewest {
            Some(_) => (Compare::Ratio, Goal::AtLeast(0.8)),
            None => (Compare::Alone, Goal::Told),
        };
        for (round, fewest) in self.rates.iter_mut().zip(fewest.into_iter().flatten()) {
            round.against = fewest.measured;
        }
        let [storm, median] = [self.storms, self.median].map(|figures| Spread::of(figures).median);
        let note = format!(
            "p50 {median:.2} ms; before it {} changed, {storm:.0} host/s; imported in {:.0} s",
            CHANGED.min(self.size),
            self.filled
        );
        let name = "hosts known";
        let row = |on: &str, unit, compare, goal, rounds, note| {
            let on = format!("{}, {} hosts: {on}", self.database, self.size);
            Row { name, on, against: "the fewest", unit, compare, goal, rounds, note }
        };
        let alone = Compare::Alone;
        Ok(vec![
            row("no change", "req/s", compare, goal, self.rates, note),
            row("start-up", "s", alone, Goal::AtMost(2.0), self.starts, String::new()),
            row("resident then", "MiB", alone, Goal::AtMost(300.0), self.sizes, String::new()),
        ])
    }
}

/// Where a host points to, as a line of an export.
fn state_line(n: usize, of: usize) -> Value {
    json!({
        "kind": "state", "name": host(n, of), "ipv4": "198.51.100.1", "ipv6": null, "verified": SEEN,
        "last_update": SEEN, "last_seen": SEEN, "last_outcome": "changed", "agent": "bench", "source": "198.51.100.1",
    })
}

fn login(n: usize) -> String {
    format!("customer{n}")
}

fn secret(n: usize) -> String {
    format!("secret-of-customer-{n}")
}

/// The stores share a zone, so their hosts do not share names.
fn host(n: usize, of: usize) -> String {
    format!("h{n}-of-{of}.{ZONE}")
}

/// The answers were all right.
fn right(ran: Ran) -> Result<Ran, Failure> {
    match ran.wrong.first() {
        Some((_, instead)) => Err(format!("{} answers were wrong, the first {instead:?}", ran.wrong.len()).into()),
        None => Ok(ran),
    }
}
