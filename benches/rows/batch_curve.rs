//! Curve "batch size against rate": what each primary takes where so many hosts travel in one UPDATE, without the gateway.
//! The reason for all batching, and the bound of what the gateway can reach.

use std::time::Duration;

use lab::load::{Updates, read_back};
use tokio::time::Instant;

use crate::curve::{Curve, Point, Series};
use crate::one_at_a_time::KINDS;
use crate::row::{Spread, enough, float};
use crate::stage::{Stage, ZONE, names};
use crate::{Bench, Failure};

const SIZES: [usize; 7] = [1, 4, 16, 50, 100, 200, 500];
/// As the gateway's window for one zone.
const IN_FLIGHT: usize = 4;
/// Each size is sent for about so long.
const ABOUT: Duration = Duration::from_millis(400);

pub(crate) async fn run(bench: &Bench) -> Result<Curve, Failure> {
    let mut series = vec![];
    for kind in KINDS {
        bench.say(&format!("batch size against rate, {kind}: {IN_FLIGHT} UPDATEs in flight on one connection"));
        let stage = Stage::start(bench, kind).await?;
        let hosts = bench.options.hosts;
        stage.storm(bench.fresh(names(hosts))).await?;
        let mut points = vec![];
        for batch in SIZES {
            // A first look tells how many make up the time.
            let few = (batch * 2 * IN_FLIGHT).min(hosts);
            let rate = rate(bench, &stage, few, batch).await?;
            let enough = enough(rate, ABOUT).clamp(few, hosts);
            let mut rates = vec![];
            for _ in 0..bench.options.rounds {
                rates.push(self::rate(bench, &stage, enough, batch).await?);
            }
            let Spread { median, least, most } = Spread::of(rates);
            points.push(Point { x: float(batch), y: median, more: vec![least, most] });
        }
        stage.stop().await?;
        series.push(Series { name: kind.to_string(), points });
    }
    let (title, x, y) = ("Batch size against rate", "hosts in an UPDATE", "host/s");
    Ok(Curve { title, x, y, more: vec!["min", "max"], series })
}

/// Hosts a second in UPDATEs of `batch` hosts.
async fn rate(bench: &Bench, stage: &Stage, hosts: usize, batch: usize) -> Result<f64, Failure> {
    let hosts = bench.fresh(names(hosts));
    let began = Instant::now();
    let updates = Updates { key: &stage.key, zone: ZONE, hosts: &hosts, batch };
    updates.send(stage.primary.addr(), 1, IN_FLIGHT).await?;
    let rate = float(hosts.len()) / began.elapsed().as_secs_f64();
    read_back(stage.primary.addr(), &hosts).await?;
    Ok(rate)
}
