//! Row "storm": many hosts, each one new address, over connections that are kept, against one UPDATE for each host.

use lab::Kind;
use lab::load::Plan;

use crate::row::{Compare, Goal, Round, Row, Spread};
use crate::stage::{CLIENTS, Stage, names};
use crate::{Bench, Failure};

/// The primaries of the rows, and what is to be reached on each.
const GOALS: [(Kind, f64); 3] = [(Kind::Bind, 5.0), (Kind::Knot, 5.0), (Kind::PowerDnsLmdb, 3.0)];

pub(crate) async fn run(bench: &Bench) -> Result<Vec<Row>, Failure> {
    let mut rows = vec![];
    for (kind, goal) in GOALS {
        rows.push(on(bench, kind, "storm", false, Goal::AtLeast(goal)).await?);
    }
    Ok(rows)
}

/// The row on one primary, each request on a connection of its own or not.
pub(crate) async fn on(
    bench: &Bench,
    kind: Kind,
    name: &'static str,
    connection_each: bool,
    goal: Goal,
) -> Result<Row, Failure> {
    let (hosts, baseline) = (bench.options.hosts, bench.options.baseline);
    let stage = Stage::start(bench, kind).await?;
    bench.say(&format!("{name}, {kind}: {hosts} hosts, against {baseline} of them in one UPDATE each"));
    // New names cost more than new addresses; the first storm is not counted.
    stage.storm(bench.fresh(names(hosts))).await?;
    let mut rounds = vec![];
    let (mut batches, mut latencies) = (vec![], vec![]);
    for round in 0..bench.options.rounds {
        let mut against = None;
        if round % 2 == 0 {
            against = Some(stage.one_update_each(&bench.fresh(names(baseline))).await?);
        }
        let storm = storm(bench, &stage, connection_each).await?;
        let against = match against {
            Some(against) => against,
            None => stage.one_update_each(&bench.fresh(names(baseline))).await?,
        };
        bench.say(&format!("{name}, {kind}: {:.0} host/s, one UPDATE each {against:.0} host/s", storm.rate));
        batches.push(storm.batch);
        latencies.push(storm.ran.latency(0.99).as_secs_f64() * 1000.0);
        rounds.push(Round { measured: storm.rate, against, cpu: storm.cpu });
    }
    stage.stop().await?;
    let note = format!(
        "{:.0} hosts an UPDATE; p99 {:.0} ms; all {hosts} read back",
        Spread::of(batches).median,
        Spread::of(latencies).median
    );
    let (against, compare) = ("one UPDATE each", Compare::Ratio);
    Ok(Row { name, on: kind.to_string(), against, unit: "host/s", compare, goal, rounds, note })
}

async fn storm(bench: &Bench, stage: &Stage, connection_each: bool) -> Result<crate::stage::Storm, Failure> {
    let hosts = bench.fresh(names(bench.options.hosts));
    if !connection_each {
        return stage.storm(hosts).await;
    }
    let plan = Plan { connection_each, ..Plan::new(hosts.len(), CLIENTS) };
    let closing = "Connection: close\r\n";
    let reports = lab::load::Reports::new(stage.gateway.http(), &stage.credentials, hosts, closing);
    stage.storm_of(reports, plan).await
}
