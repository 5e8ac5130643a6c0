//! Row "no change": routers that repeat themselves, against a bare handler that returns the same octets.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use lab::http::Request;
use lab::load::{Plan, Reports, exchange};
use lab::{Builder, Gateway, Kind};

use crate::cpu::Watch;
use crate::row::{Compare, Goal, Round, Row, Spread, float};
use crate::stage::{Plot, Stage, names};
use crate::{Bench, Failure};

pub(crate) const CLIENTS: usize = 64;
const REQUESTS: usize = 60_000;
/// All hosts have it, so that the bare handler's one answer is right for each.
const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 77));

pub(crate) async fn run(bench: &Bench) -> Result<Vec<Row>, Failure> {
    let mut rows = vec![row(bench, "as it is shipped", Goal::AtLeast(0.5), bench.options.log.clone()).await?];
    if bench.options.log.is_none() {
        rows.push(row(bench, "without a line of log a request", Goal::Told, Some("warn".to_owned())).await?);
    }
    Ok(rows)
}

async fn row(bench: &Bench, on: &str, goal: Goal, log: Option<String>) -> Result<Row, Failure> {
    let stage = Plot { log, ..Plot::new(bench, Kind::Bind) }.start().await?;
    let bare = Builder::new(std::env::current_exe()?).config(&format!("nochg {ADDRESS}")).start().await?;
    bench.say(&format!("no change, {on}: {REQUESTS} requests over {CLIENTS} connections"));
    let hosts: Vec<_> = names(CLIENTS).map(|name| (name, ADDRESS)).collect();
    stage.storm(hosts.clone()).await?;
    same_octets(&stage, &bare, &hosts[0].0).await?;
    let (mut rounds, mut latencies) = (vec![], vec![]);
    for round in 0..bench.options.rounds {
        let mut figures = [0.0; 2];
        let mut cpu = None;
        for turn in [round % 2, 1 - round % 2] {
            let server = [&stage.gateway, &bare][turn];
            let reports = Arc::new(Reports::new(server.http(), &stage.credentials, hosts.clone(), "").unchanged());
            let watch = Watch::start(server.pid(), stage.primary.pid());
            let ran = exchange(server.http(), &reports, Plan::new(REQUESTS, CLIENTS)).await?;
            let used = watch.stop();
            stage.all_right(&ran)?;
            figures[turn] = float(REQUESTS) / ran.took.as_secs_f64();
            if turn == 0 {
                latencies.push(ran.latency(0.99).as_secs_f64() * 1000.0);
                cpu = Some(used);
            }
        }
        let [measured, against] = figures;
        bench.say(&format!("no change, {on}: {measured:.0} req/s, bare {against:.0} req/s"));
        rounds.push(Round { measured, against, cpu: cpu.unwrap_or_default() });
    }
    stage.stop().await?;
    let note = format!("p99 {:.1} ms", Spread::of(latencies).median);
    let (name, against, compare) = ("no change", "bare hyper handler", Compare::Ratio);
    Ok(Row { name, on: on.to_owned(), against, unit: "req/s", compare, goal, rounds, note })
}

/// Both must answer with the same octets but for the date.
async fn same_octets(stage: &Stage, bare: &Gateway, host: &str) -> Result<(), Failure> {
    let (login, secret) = &stage.credentials[0];
    let request = Request::get(&format!("/nic/update?hostname={host}&myip={ADDRESS}")).basic(login, secret);
    let mut answers = [request.send(stage.gateway.http()).await?, request.send(bare.http()).await?];
    for answer in &mut answers {
        answer.headers.retain(|(name, _)| name != "Date");
        answer.headers.sort_unstable();
    }
    let [gateway, bare] = answers;
    if gateway == bare {
        Ok(())
    } else {
        Err(format!("the bare handler answers {bare:?}, the gateway {gateway:?}").into())
    }
}
