//! Row "one at a time": the median time of a lone change through the gateway, against the same UPDATE sent raw on an open
//! connection to the same primary.

use std::sync::Arc;

use lab::Kind;
use lab::load::{Plan, Updates, exchange, quantile, read_back};

use crate::row::{Compare, Goal, Round, Row};
use crate::stage::{Stage, ZONE, names};
use crate::{Bench, Failure};

/// Knot takes 10 ms for each: see docs/PERFORMANCE.md, "batch size against rate".
const CHANGES: usize = 200;
/// The primaries of the curves.
pub(crate) const KINDS: [Kind; 3] = [Kind::Bind, Kind::Knot, Kind::PowerDnsLmdb];
const GOALS: [(Kind, Goal); 3] =
    [(Kind::Bind, Goal::AtMost(0.3)), (Kind::Knot, Goal::Told), (Kind::PowerDnsLmdb, Goal::Told)];

pub(crate) async fn run(bench: &Bench) -> Result<Vec<Row>, Failure> {
    let mut rows = vec![];
    for (kind, goal) in GOALS {
        rows.push(on(bench, kind, goal).await?);
    }
    Ok(rows)
}

async fn on(bench: &Bench, kind: Kind, goal: Goal) -> Result<Row, Failure> {
    let stage = Stage::start(bench, kind).await?;
    bench.say(&format!("one at a time, {kind}: {CHANGES} changes, one after the other"));
    stage.storm(bench.fresh(names(CHANGES))).await?;
    let mut rounds = vec![];
    for round in 0..bench.options.rounds {
        let mut figures = [0.0; 2];
        let mut cpu = None;
        for turn in [round % 2, 1 - round % 2] {
            let hosts = bench.fresh(names(CHANGES));
            let median = if turn == 0 {
                let watch = stage.watch();
                let reports = Arc::new(stage.reports(hosts.clone()));
                let ran = exchange(stage.gateway.http(), &reports, Plan::new(CHANGES, 1)).await?;
                cpu = Some(watch.stop());
                stage.all_right(&ran)?;
                ran.latency(0.5)
            } else {
                let updates = Updates { key: &stage.key, zone: ZONE, hosts: &hosts, batch: 1 };
                quantile(&updates.send(stage.primary.addr(), 1, 1).await?, 0.5)
            };
            read_back(stage.primary.addr(), &hosts).await?;
            figures[turn] = median.as_secs_f64() * 1000.0;
        }
        let [measured, against] = figures;
        bench.say(&format!("one at a time, {kind}: p50 {measured:.2} ms, raw {against:.2} ms"));
        rounds.push(Round { measured, against, cpu: cpu.unwrap_or_default() });
    }
    stage.stop().await?;
    let (name, against, compare) = ("one at a time, p50", "raw", Compare::Difference);
    let note = format!("{CHANGES} changes");
    Ok(Row { name, on: kind.to_string(), against, unit: "ms", compare, goal, rounds, note })
}
