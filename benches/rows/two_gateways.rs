//! Row "two gateways": the storm through two gateways on one PostgreSQL, against the storm through one of them. Each host
//! comes to the other one in the next storm, and neither meets any for the first time in a storm that counts.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use lab::load::{Plan, Reports, exchange, read_back};
use lab::{Gateway, Kind};

use crate::cpu::Cpu;
use crate::row::{Compare, Goal, Round, Row, Spread, float};
use crate::stage::{Grants, Plot, Stage, messages, names};
use crate::store::Database;
use crate::storm::FEW;
use crate::{Bench, Failure};

/// What one storm gave.
#[derive(Default)]
struct Gave {
    rate: f64,
    batch: f64,
    later: usize,
    cpu: Cpu,
}

pub(crate) async fn run(bench: &Bench) -> Result<Vec<Row>, Failure> {
    let hosts = bench.options.hosts;
    let (grants, database) = (Grants::Exact(hosts), Some(Database::Postgres));
    let stage = Plot { grants, database, ..Plot::new(bench, Kind::Bind) }.start().await?;
    let mut other = stage.another().await?;
    bench.say(&format!("two gateways: {hosts} hosts over {FEW} connections, against one of them"));
    // Each gateway meets each host once before anything counts, as the one gateway has.
    let mut first = 0.0;
    for shift in 0..2 {
        first = storm(bench, &stage, &[&stage.gateway, &other], shift).await?.rate;
    }
    let (mut rounds, mut both, mut later) = (vec![], vec![], 0);
    for round in 0..bench.options.rounds {
        let mut gave = [Gave::default(), Gave::default()];
        for turn in [round % 2, 1 - round % 2] {
            let through = [&stage.gateway, &other];
            let through = if turn == 0 { &through[..] } else { &through[..1] };
            gave[turn] = storm(bench, &stage, through, round + 1).await?;
            later += gave[turn].later;
        }
        let [two, one] = gave;
        bench.say(&format!("two gateways: {:.0} host/s, one {:.0} host/s", two.rate, one.rate));
        both.push([two.batch, one.batch]);
        rounds.push(Round { measured: two.rate, against: one.rate, cpu: two.cpu });
    }
    other.stop().await?;
    stage.stop().await?;
    let batch = |at: usize| Spread::of(both.iter().map(|batches| batches[at])).median;
    let share = 100.0 * float(later) / float(2 * hosts * rounds.len());
    let (two, one) = (batch(0), batch(1));
    let note = format!(
        "{two:.1} hosts an UPDATE, one {one:.1}; {share:.1} % answered `911`; all others read back; those \
         that a gateway meets for the first time {first:.0} host/s"
    );
    let (name, against, compare, goal) = ("two gateways", "one of them", Compare::Ratio, Goal::AtLeast(0.9));
    Ok(vec![Row { name, on: "PostgreSQL".to_owned(), against, unit: "host/s", compare, goal, rounds, note }])
}

/// Host n goes to gateway n + `shift`, modulo their number.
async fn storm(bench: &Bench, stage: &Stage, gateways: &[&Gateway], shift: usize) -> Result<Gave, Failure> {
    let all = bench.fresh(names(bench.options.hosts));
    let count = gateways.len();
    let own = |number: usize| {
        let hosts = all.iter().enumerate().filter(|(n, _)| (n + shift) % count == number);
        let credentials = hosts.clone().map(|(n, _)| stage.credentials[n % stage.credentials.len()].clone());
        (credentials.collect::<Vec<_>>(), hosts.map(|(_, host)| host.clone()).collect::<Vec<_>>())
    };
    let sent = sum(gateways).await?;
    let watch = stage.watch_with(gateways.get(1).copied());
    let run = async |number: usize| {
        let (Some(gateway), (credentials, hosts)) = (gateways.get(number), own(number)) else { return Ok(None) };
        let plan = Plan::new(hosts.len(), FEW / count);
        let reports = Arc::new(Reports::new(gateway.http(), &credentials, hosts.clone(), ""));
        let ran = exchange(gateway.http(), &reports, plan).await?;
        Ok::<_, Failure>(Some((ran, hosts)))
    };
    let (one, two) = tokio::try_join!(run(0), run(1))?;
    let cpu = watch.stop();
    let messages = sum(gateways).await? - sent;
    let mut took = 0.0_f64;
    let mut later = 0;
    let mut acknowledged: Vec<(String, IpAddr)> = vec![];
    for (ran, hosts) in [one, two].into_iter().flatten() {
        if ran.wrong.iter().any(|(_, answer)| answer != "911") {
            stage.all_right(&ran)?;
        }
        took = took.max(ran.took.as_secs_f64());
        later += ran.wrong.len();
        let told: BTreeSet<_> = ran.wrong.iter().map(|(index, _)| *index).collect();
        acknowledged.extend(hosts.into_iter().enumerate().filter(|(n, _)| !told.contains(n)).map(|(_, host)| host));
    }
    read_back(stage.primary.addr(), &acknowledged).await?;
    let done = float(acknowledged.len());
    Ok(Gave { rate: done / took, batch: done / messages.max(1.0), later, cpu })
}

async fn sum(gateways: &[&Gateway]) -> Result<f64, Failure> {
    let mut all = 0.0;
    for gateway in gateways {
        all += messages(gateway).await?;
    }
    Ok(all)
}
