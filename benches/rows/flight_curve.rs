//! Curve "hosts in flight against latency": what a router waits where so many others report at the same time.

use std::sync::Arc;
use std::time::Duration;

use lab::load::{Plan, exchange, read_back};

use crate::curve::{Curve, Point, Series};
use crate::one_at_a_time::KINDS;
use crate::row::{Spread, enough, float};
use crate::stage::{Stage, names};
use crate::{Bench, Failure};

const CLIENTS: [usize; 6] = [1, 4, 16, 64, 256, 1000];
/// Each number of clients is kept for about so long.
const ABOUT: Duration = Duration::from_millis(500);

pub(crate) async fn run(bench: &Bench) -> Result<Curve, Failure> {
    let mut series = vec![];
    for kind in KINDS {
        bench.say(&format!("hosts in flight against latency, {kind}"));
        let stage = Stage::start(bench, kind).await?;
        let hosts = bench.options.hosts;
        stage.storm(bench.fresh(names(hosts))).await?;
        let mut points = vec![];
        for clients in CLIENTS {
            let few = (clients * 4).min(hosts);
            let [_, _, rate] = storm(bench, &stage, few, clients).await?;
            let enough = enough(rate, ABOUT).clamp(few, hosts);
            let (mut medians, mut slow, mut rates) = (vec![], vec![], vec![]);
            for _ in 0..bench.options.rounds {
                let [median, late, rate] = storm(bench, &stage, enough, clients).await?;
                medians.push(median);
                slow.push(late);
                rates.push(rate);
            }
            let middle = |figures| Spread::of(figures).median;
            let more = vec![middle(slow), middle(rates)];
            points.push(Point { x: float(clients), y: middle(medians), more });
        }
        stage.stop().await?;
        series.push(Series { name: kind.to_string(), points });
    }
    let (title, x, y) = ("Hosts in flight against latency", "hosts in flight", "p50, ms");
    Ok(Curve { title, x, y, more: vec!["p99, ms", "host/s"], series })
}

/// p50 and p99 in ms, and hosts a second.
async fn storm(bench: &Bench, stage: &Stage, count: usize, clients: usize) -> Result<[f64; 3], Failure> {
    let reports = Arc::new(stage.reports(bench.fresh(names(count))));
    let ran = exchange(stage.gateway.http(), &reports, Plan::new(count, clients)).await?;
    stage.all_right(&ran)?;
    read_back(stage.primary.addr(), &reports.hosts).await?;
    let ms = |share| ran.latency(share).as_secs_f64() * 1000.0;
    Ok([ms(0.5), ms(0.99), float(count) / ran.took.as_secs_f64()])
}
