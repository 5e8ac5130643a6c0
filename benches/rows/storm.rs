//! Row "storm": many hosts, each one new address, over connections that are kept, against one UPDATE for each host. With 1 000
//! connections and with 256; and what of it are figures of their own: Knot's slowest answers, the gateway's processor time.

use lab::Kind;
use lab::load::{Plan, Reports};

use crate::row::{Compare, Goal, Round, Row, Spread, float};
use crate::stage::{CLIENTS, Grants, Plot, Stage, Storm, names};
use crate::store::Database;
use crate::{Bench, Failure};

/// Fewer clients than a storm has otherwise: less travels together.
pub(crate) const FEW: usize = 256;

/// One line of the row.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) clients: usize,
    /// Each request on a connection of its own.
    pub(crate) connection_each: bool,
    /// With accounts of ten hosts each, all in this store.
    pub(crate) database: Option<Database>,
    pub(crate) goal: Goal,
}

impl Case {
    fn new(kind: Kind, clients: usize, goal: Goal) -> Self {
        Self { name: "storm", kind, clients, connection_each: false, database: None, goal }
    }

    fn on(&self) -> String {
        let few = if self.clients == CLIENTS { String::new() } else { format!(", {} connections", self.clients) };
        let database = self.database.map_or_else(String::new, |database| format!(", {database}"));
        format!("{}{few}{database}", self.kind)
    }
}

/// A line, and two figures more of each round.
pub(crate) struct Measured {
    pub(crate) row: Row,
    p99: Vec<Round>,
    cost: Vec<Round>,
}

pub(crate) async fn run(bench: &Bench) -> Result<Vec<Row>, Failure> {
    let mut rows = vec![];
    for case in [
        Case::new(Kind::Bind, CLIENTS, Goal::AtLeast(5.0)),
        Case::new(Kind::Bind, FEW, Goal::AtLeast(5.0)),
        Case { database: Some(Database::Sqlite), ..Case::new(Kind::Bind, FEW, Goal::AtLeast(4.0)) },
        Case::new(Kind::Knot, CLIENTS, Goal::AtLeast(5.0)),
        Case::new(Kind::Knot, FEW, Goal::Told),
        Case::new(Kind::PowerDnsLmdb, CLIENTS, Goal::AtLeast(3.0)),
    ] {
        let Measured { row, p99, cost } = on(bench, &case).await?;
        rows.push(row);
        let further = |name, unit, goal, rounds| {
            let (compare, against, note) = (Compare::Alone, "", String::new());
            Row { name, on: case.on(), against, unit, compare, goal, rounds, note }
        };
        if case.kind == Kind::Knot {
            rows.push(further("storm, p99", "ms", Goal::EachAtMost(200.0), p99));
        }
        if case.kind == Kind::Bind && case.clients == FEW && case.database.is_none() {
            rows.push(further("processor time of a change", "µs", Goal::AtMost(50.0), cost));
        }
    }
    Ok(rows)
}

pub(crate) async fn on(bench: &Bench, case: &Case) -> Result<Measured, Failure> {
    let Case { name, goal, .. } = *case;
    let (hosts, baseline, on) = (bench.options.hosts, bench.options.baseline, case.on());
    let grants = if case.database.is_some() { Grants::Exact(hosts) } else { Grants::Wildcard };
    let stage = Plot { grants, database: case.database, ..Plot::new(bench, case.kind) }.start().await?;
    bench.say(&format!("{name}, {on}: {hosts} hosts, against {baseline} of them in one UPDATE each"));
    // New names cost more than new addresses; the first storm is not counted.
    storm(bench, &stage, case).await?;
    let (mut rounds, mut p99, mut cost, mut batches) = (vec![], vec![], vec![], vec![]);
    for round in 0..bench.options.rounds {
        let mut against = None;
        if round % 2 == 0 {
            against = Some(stage.one_update_each(&bench.fresh(names(baseline))).await?);
        }
        let storm = storm(bench, &stage, case).await?;
        let against = match against {
            Some(against) => against,
            None => stage.one_update_each(&bench.fresh(names(baseline))).await?,
        };
        bench.say(&format!("{name}, {on}: {:.0} host/s, one UPDATE each {against:.0} host/s", storm.rate));
        batches.push(storm.batch);
        let alone = |measured| Round { measured, against: 0.0, cpu: storm.cpu.clone() };
        p99.push(alone(storm.ran.latency(0.99).as_secs_f64() * 1000.0));
        cost.push(alone(storm.cpu.gateway.seconds / float(hosts) * 1e6));
        rounds.push(Round { measured: storm.rate, against, cpu: storm.cpu });
    }
    stage.stop().await?;
    let latency = Spread::of(p99.iter().map(|round| round.measured));
    let batch = Spread::of(batches).median;
    let note = format!("{batch:.0} hosts an UPDATE; p99 {:.0} ms; all {hosts} read back", latency.median);
    let (against, compare) = ("one UPDATE each", Compare::Ratio);
    Ok(Measured { row: Row { name, on, against, unit: "host/s", compare, goal, rounds, note }, p99, cost })
}

async fn storm(bench: &Bench, stage: &Stage, case: &Case) -> Result<Storm, Failure> {
    let hosts = bench.fresh(names(bench.options.hosts));
    let plan = Plan { connection_each: case.connection_each, ..Plan::new(hosts.len(), case.clients) };
    let closing = if case.connection_each { "Connection: close\r\n" } else { "" };
    stage.storm_of(Reports::new(stage.gateway.http(), &stage.credentials, hosts, closing), plan).await
}
