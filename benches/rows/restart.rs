//! Row "after a restart": the storm of many accounts right after the gateway's start, when it remembers nothing.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use lab::load::{Plan, Reports, exchange, read_back};
use lab::{Kind, digest, new_secret};
use tokio::time::{Instant, sleep};

use crate::cpu::memory_mib;
use crate::row::{Compare, Goal, Round, Row, float};
use crate::stage::{CLIENTS, Plot, Stage, ZONE, account, names};
use crate::{Bench, Failure, password};

const ACCOUNTS: usize = 2000;
/// A router that was told `911` comes back after this; real ones wait longer.
const COMES_BACK: Duration = Duration::from_secs(2);
/// When a request that is still not served counts as failed for good.
const GIVES_UP: Duration = Duration::from_secs(240);

pub(crate) async fn run(bench: &Bench) -> Result<Vec<Row>, Failure> {
    Ok(vec![generated(bench).await?, argon2id(bench).await?])
}

/// A stage with one account a host, and the accounts' credentials.
async fn stage(
    bench: &Bench,
    secrets: impl Fn() -> (String, String),
) -> Result<(Stage, Vec<(String, String)>), Failure> {
    let mut plot = Plot::new(bench, Kind::Bind);
    let mut credentials = vec![];
    for n in 0..ACCOUNTS {
        let (password, secret) = secrets();
        let login = format!("router{n}");
        let _ = write!(plot.accounts, "{}", account(&login, &secret, &[format!("*.{ZONE}")]));
        credentials.push((login, password));
    }
    let stage = plot.start().await?;
    Ok((stage, credentials))
}

async fn generated(bench: &Bench) -> Result<Row, Failure> {
    let hosts = bench.options.hosts;
    bench.say(&format!("after a restart: {hosts} hosts of {ACCOUNTS} accounts with generated secrets"));
    let secrets = || {
        let password = new_secret();
        let secret = digest(&password);
        (password, secret)
    };
    let (mut stage, credentials) = stage(bench, secrets).await?;
    let storm = async |stage: &Stage| {
        let reports = Reports::new(stage.gateway.http(), &credentials, bench.fresh(names(hosts)), "");
        stage.storm_of(reports, Plan::new(hosts, CLIENTS)).await
    };
    storm(&stage).await?;
    let mut rounds = vec![];
    for _ in 0..bench.options.rounds {
        stage.gateway.stop().await?;
        stage.gateway.start_again().await?;
        let after = storm(&stage).await?;
        let later = storm(&stage).await?;
        bench.say(&format!("after a restart: {:.0} host/s, later {:.0} host/s", after.rate, later.rate));
        rounds.push(Round { measured: after.rate, against: later.rate, cpu: after.cpu });
    }
    stage.stop().await?;
    let (name, against, compare, goal) = ("after a restart", "the storm after it", Compare::Ratio, Goal::AtLeast(0.75));
    let on = format!("{ACCOUNTS} accounts, generated");
    Ok(Row { name, on, against, unit: "host/s", compare, goal, rounds, note: "all read back".to_owned() })
}

/// One host of each account; takes as long as all hashes take, so it is done once whatever the rounds.
async fn argon2id(bench: &Bench) -> Result<Row, Failure> {
    bench.say(&format!(
        "after a restart: {ACCOUNTS} hosts of as many accounts with argon2id secrets; once, takes a minute"
    ));
    let phc = password::argon2id()?;
    let (mut stage, credentials) = stage(bench, || (password::PASSWORD.to_owned(), phc.clone())).await?;
    let hosts = bench.fresh(names(ACCOUNTS));
    let all: Vec<((String, String), (String, IpAddr))> = credentials.into_iter().zip(hosts.clone()).collect();
    let watch = stage.watch();
    let began = Instant::now();
    let (mut left, mut told_to_come_back, mut attempts) = (all, 0, 0);
    let mut first_served = 0;
    while !left.is_empty() {
        if began.elapsed() > GIVES_UP {
            return Err(format!("{} requests were not served within {GIVES_UP:?}", left.len()).into());
        }
        let (credentials, hosts): (Vec<_>, Vec<_>) = left.iter().cloned().unzip();
        let reports = Arc::new(Reports::new(stage.gateway.http(), &credentials, hosts, ""));
        let ran = exchange(stage.gateway.http(), &reports, Plan::new(left.len(), CLIENTS)).await?;
        if let Some((_, answer)) = ran.wrong.iter().find(|(_, answer)| answer != "911") {
            return Err(format!("a right password was answered {answer:?}").into());
        }
        attempts += 1;
        told_to_come_back += ran.wrong.len();
        if attempts == 1 {
            first_served = left.len() - ran.wrong.len();
        }
        left = ran.wrong.iter().map(|(index, _)| left[*index].clone()).collect();
        bench.say(&format!("after a restart, argon2id: {} of {ACCOUNTS} served", ACCOUNTS - left.len()));
        if !left.is_empty() {
            sleep(COMES_BACK).await;
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    let cpu = watch.stop();
    read_back(stage.primary.addr(), &hosts).await?;
    let most = memory_mib(stage.gateway.pid(), "VmHWM");
    stage.gateway.stop().await?;
    let note = format!(
        "none failed for good; {first_served} served at once, {told_to_come_back} times `911` (a router is back after {} s); \
         {seconds:.0} s in all; at most {most:.0} MiB; all read back; once",
        COMES_BACK.as_secs()
    );
    let (name, against, compare, goal) = ("after a restart", "", Compare::Alone, Goal::Told);
    let on = format!("{ACCOUNTS} accounts, argon2id");
    let rounds = vec![Round { measured: float(ACCOUNTS) / seconds, against: 0.0, cpu }];
    Ok(Row { name, on, against, unit: "host/s", compare, goal, rounds, note })
}
