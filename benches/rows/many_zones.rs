//! Row "many zones": the storm spread over a hundred zones, against the storm in one. BIND is as it is shipped, and takes 150
//! TCP connections at once.

use lab::Kind;
use lab::load::Plan;

use crate::row::{Compare, Goal, Round, Row, Spread, float};
use crate::stage::{CLIENTS, Plot, ZONE, names};
use crate::{Bench, Failure};

const ZONES: usize = 100;

pub(crate) async fn run(bench: &Bench) -> Result<Vec<Row>, Failure> {
    let hosts = bench.options.hosts;
    let mut plot = Plot::new(bench, Kind::Bind);
    plot.zones.extend((0..ZONES).map(|zone| format!("z{zone}.example")));
    let stage = plot.start().await?;
    bench.say(&format!("many zones: {hosts} hosts in {ZONES} zones, against as many in one"));
    // Neighbours in the storm lie in different zones.
    let spread = || (0..hosts).map(|n| format!("h{}.z{}.example", n / ZONES, n % ZONES));
    let storm = async |reported| stage.storm_or_911(stage.reports(reported), Plan::new(hosts, CLIENTS)).await;
    storm(bench.fresh(spread())).await?;
    storm(bench.fresh(names(hosts))).await?;
    let (mut rounds, mut batches, mut later) = (vec![], vec![], 0);
    for round in 0..bench.options.rounds {
        let mut figures = [0.0; 2];
        let mut cpu = None;
        for turn in [round % 2, 1 - round % 2] {
            let reported = if turn == 0 { bench.fresh(spread()) } else { bench.fresh(names(hosts)) };
            let storm = storm(reported).await?;
            figures[turn] = storm.rate;
            if turn == 0 {
                batches.push(storm.batch);
                later += storm.ran.wrong.len();
                cpu = Some(storm.cpu);
            }
        }
        let [measured, against] = figures;
        bench.say(&format!("many zones: {measured:.0} host/s, one zone {against:.0} host/s"));
        rounds.push(Round { measured, against, cpu: cpu.unwrap_or_default() });
    }
    stage.stop().await?;
    let share = 100.0 * float(later) / float(hosts * rounds.len());
    let batch = Spread::of(batches).median;
    let note = format!("{batch:.1} hosts an UPDATE; {share:.0} % answered `911`; all others read back");
    let (name, against, compare) = ("many zones", "in one zone", Compare::Ratio);
    let (on, goal) = (format!("BIND, {ZONES} zones beside {ZONE}"), Goal::AtLeast(0.7));
    Ok(vec![Row { name, on, against, unit: "host/s", compare, goal, rounds, note }])
}
