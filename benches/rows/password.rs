//! Row "password": what an argon2id secret costs, the first time and from then on, and what a flood of wrong passwords costs
//! the others.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use argon2::{Algorithm, Argon2, Params, PasswordHasher as _, Version};
use lab::Kind;
use lab::http::Request;
use lab::load::{Exchange, Plan, Reports, exchange};

use crate::cpu::Cpu;
use crate::no_change::CLIENTS;
use crate::row::{Compare, Goal, Round, Row, float};
use crate::stage::{Plot, Stage, UNLIMITED, ZONE, account, names};
use crate::{Bench, Failure};

/// What all argon2id accounts have.
pub(crate) const PASSWORD: &str = "correct horse battery staple";
const REQUESTS: usize = 30_000;
const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 78));
/// What the others send during a flood, evenly.
const OTHERS: f64 = 1000.0;
const FLOOD_SECONDS: f64 = 2.0;
const GUESSERS: usize = 16;
/// From one source, as shipped: after ten wrong passwords no new one is hashed.
const FAILED_LOGINS_LIMITED: &str = "[limits]\nhost = \"off\"\naccount = \"off\"\nsource = \"off\"\n";

/// m=19456, t=2, p=1: what `dyngate hash` makes.
pub(crate) fn argon2id() -> Result<String, Failure> {
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::DEFAULT);
    let hash = argon2.hash_password_with_salt(PASSWORD.as_bytes(), b"salt of the bench");
    Ok(hash.map_err(|error| error.to_string())?.to_string())
}

pub(crate) async fn run(bench: &Bench) -> Result<Vec<Row>, Failure> {
    let mut rows = against_token(bench).await?;
    rows.extend(flood(bench, "every guess is hashed", UNLIMITED, [Goal::AtMost(2.0), Goal::AtMost(1.0)]).await?);
    rows.extend(
        flood(bench, "one source, limits as shipped", FAILED_LOGINS_LIMITED, [Goal::AtMost(2.0), Goal::AtMost(1.0)])
            .await?,
    );
    Ok(rows)
}

fn plot(bench: &Bench, accounts: usize, limits: &'static str) -> Result<Plot, Failure> {
    let mut plot = Plot { limits, ..Plot::new(bench, Kind::Bind) };
    let phc = argon2id()?;
    for n in 0..accounts {
        let _ = write!(plot.accounts, "{}", account(&format!("slow{n}"), &phc, &[format!("*.{ZONE}")]));
    }
    Ok(plot)
}

/// The first request of an account, and all later ones.
async fn against_token(bench: &Bench) -> Result<Vec<Row>, Failure> {
    let stage = plot(bench, bench.options.rounds, UNLIMITED)?.start().await?;
    bench.say(&format!("password: argon2id against a generated token, {REQUESTS} requests over {CLIENTS} connections"));
    let hosts: Vec<_> = names(CLIENTS).map(|name| (name, ADDRESS)).collect();
    stage.storm(hosts.clone()).await?;
    let (mut first, mut later) = (vec![], vec![]);
    for round in 0..bench.options.rounds {
        let slow = vec![(format!("slow{round}"), PASSWORD.to_owned())];
        let mut lone = [0.0; 2];
        let mut cost = [0.0; 2];
        let mut cpu = [Cpu::default(), Cpu::default()];
        for turn in [round % 2, 1 - round % 2] {
            let credentials = if turn == 0 { &slow } else { &stage.credentials };
            let reports = || Reports::new(stage.gateway.http(), credentials, hosts.clone(), "").unchanged();
            let watch = stage.watch();
            let ran = exchange(stage.gateway.http(), &Arc::new(reports()), Plan::new(1, 1)).await?;
            if turn == 0 {
                cpu[0] = watch.stop();
            }
            stage.all_right(&ran)?;
            lone[turn] = ran.took.as_secs_f64() * 1000.0;
            let watch = stage.watch();
            let ran = exchange(stage.gateway.http(), &Arc::new(reports()), Plan::new(REQUESTS, CLIENTS)).await?;
            if turn == 0 {
                cpu[1] = watch.stop();
            }
            stage.all_right(&ran)?;
            cost[turn] = ran.took.as_secs_f64() * 1e6 / float(REQUESTS);
        }
        bench.say(&format!("password: first {:.1} ms, then {:.2} × the token's time", lone[0], cost[0] / cost[1]));
        let [used_first, used_later] = cpu;
        first.push(Round { measured: lone[0], against: lone[1], cpu: used_first });
        later.push(Round { measured: cost[0], against: cost[1], cpu: used_later });
    }
    stage.stop().await?;
    let row = |on: &str, unit, compare, goal, rounds| {
        let (name, against) = ("password", "generated token");
        Row { name, on: on.to_owned(), against, unit, compare, goal, rounds, note: String::new() }
    };
    Ok(vec![
        row("first request, new connection", "ms", Compare::Difference, Goal::Told, first),
        row("from then on", "µs/req", Compare::Ratio, Goal::AtMost(1.1), later),
    ])
}

/// Guesses, none twice.
struct Guesses {
    head: Vec<u8>,
}

impl Exchange for Guesses {
    fn ask(&self, index: usize, request: &mut Vec<u8>) {
        let _ = write!(request, "GET /nic/update?hostname=h0.{ZONE}&username=slow0&password=guess{index}");
        request.extend_from_slice(&self.head);
    }

    fn judge(&self, _: usize, status: u16, body: &[u8]) -> Result<(), String> {
        if status == 200 { Err(format!("a guess was answered {}", String::from_utf8_lossy(body))) } else { Ok(()) }
    }
}

/// Others' p99 while guessers guess as fast as they are answered, and the gateway's processor time of it.
async fn flood(bench: &Bench, on: &'static str, limits: &'static str, goals: [Goal; 2]) -> Result<Vec<Row>, Failure> {
    let stage = plot(bench, 1, limits)?.start().await?;
    bench.say(&format!("password: {GUESSERS} guessers, {OTHERS} req/s of others, {on}"));
    let hosts: Vec<_> = names(CLIENTS).map(|name| (name, ADDRESS)).collect();
    stage.storm(hosts.clone()).await?;
    let (mut latency, mut cores) = (vec![], vec![]);
    for _ in 0..bench.options.rounds {
        let (calm, calm_cpu) = others(&stage, hosts.clone()).await?;
        let octets = Request::get("").octets(stage.gateway.http());
        let head = octets.strip_prefix(b"GET ").unwrap_or_default().to_vec();
        let (addr, guesses) = (stage.gateway.http(), Arc::new(Guesses { head }));
        let guessing = tokio::spawn(async move { exchange(addr, &guesses, Plan::new(usize::MAX / 2, GUESSERS)).await });
        let flooded = others(&stage, hosts.clone()).await;
        guessing.abort();
        let (flooded, cpu) = flooded?;
        let per_second = |cpu: &Cpu| cpu.gateway.seconds / cpu.seconds;
        let cost = per_second(&cpu) - per_second(&calm_cpu);
        let ms = |latency: Duration| latency.as_secs_f64() * 1000.0;
        bench.say(&format!(
            "password: others' p99 {:.2} ms, in a flood {:.2} ms; {cost:.2} cores",
            ms(calm),
            ms(flooded)
        ));
        latency.push(Round { measured: ms(flooded), against: ms(calm), cpu: cpu.clone() });
        cores.push(Round { measured: cost, against: 0.0, cpu });
    }
    stage.stop().await?;
    let [for_latency, for_cores] = goals;
    let row = |name, unit, compare, goal, rounds| {
        let note = format!("{OTHERS} req/s of others");
        Row { name, on: on.to_owned(), against: "without the flood", unit, compare, goal, rounds, note }
    };
    Ok(vec![
        row("password, flood: others' p99", "ms", Compare::Ratio, for_latency, latency),
        row("password, flood: gateway's processor time", "cores", Compare::Alone, for_cores, cores),
    ])
}

async fn others(stage: &Stage, hosts: Vec<(String, IpAddr)>) -> Result<(Duration, Cpu), Failure> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few thousand")]
    let count = (OTHERS * FLOOD_SECONDS) as usize;
    let reports = Arc::new(stage.reports(hosts).unchanged());
    let watch = stage.watch();
    let ran = exchange(stage.gateway.http(), &reports, Plan { pace: Some(OTHERS), ..Plan::new(count, 32) }).await?;
    let cpu = watch.stop();
    stage.all_right(&ran)?;
    Ok((ran.latency(0.99), cpu))
}
