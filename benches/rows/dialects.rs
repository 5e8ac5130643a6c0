//! Row "dialects": a storm in DuckDNS' words, and one of routers that report a prefix in which five hosts follow each of them,
//! against a storm of as many records in dyndns2's words.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use lab::Kind;
use lab::http::Request;
use lab::load::{Exchange, Plan, exchange, read_back};

use crate::row::{Compare, Goal, Round, Row, Spread, float};
use crate::stage::{Plot, Stage, ZONE, messages, names};
use crate::storm::FEW;
use crate::{Bench, Failure};

/// Routers, and the hosts that follow each.
const ROUTERS: usize = 1000;
const FOLLOWERS: usize = 5;

/// Requests, the word that begins each answer, and what is served then.
struct Said {
    requests: Vec<Vec<u8>>,
    word: &'static str,
    served: Vec<(String, IpAddr)>,
}

impl Exchange for Said {
    fn ask(&self, index: usize, request: &mut Vec<u8>) {
        request.extend_from_slice(&self.requests[index]);
    }

    fn judge(&self, _: usize, _: u16, body: &[u8]) -> Result<(), String> {
        if body.starts_with(self.word.as_bytes()) { Ok(()) } else { Err(String::from_utf8_lossy(body).into_owned()) }
    }
}

pub(crate) async fn run(bench: &Bench) -> Result<Vec<Row>, Failure> {
    let stage = Stage::start(bench, Kind::Bind).await?;
    let duckdns = on(bench, &stage, "DuckDNS", bench.options.hosts, duckdns).await?;
    stage.stop().await?;
    let mut hosts = String::new();
    for router in names(ROUTERS) {
        let _ = writeln!(hosts, "[[host]]\nname = \"{router}\"");
        for number in 0..FOLLOWERS {
            let name = follower(&router, number);
            let _ = writeln!(
                hosts,
                "[[host]]\nname = \"{name}\"\nfollow = \"{router}\"\ninterface_id = \"::{}\"",
                number + 1
            );
        }
    }
    let stage = Plot { accounts: hosts, ..Plot::new(bench, Kind::Bind) }.start().await?;
    let followers = on(bench, &stage, "followers", ROUTERS * (FOLLOWERS + 1), followers).await?;
    stage.stop().await?;
    Ok(vec![duckdns, followers])
}

/// As many `records` in both kinds of words, in turns.
async fn on(
    bench: &Bench,
    stage: &Stage,
    on: &str,
    records: usize,
    said: fn(&Bench, &Stage) -> Said,
) -> Result<Row, Failure> {
    bench.say(&format!("dialects, {on}: {records} records over {FEW} connections"));
    // New names cost more than new addresses.
    storm(stage, said(bench, stage)).await?;
    storm(stage, dyndns2(bench, stage, records)).await?;
    let (mut rounds, mut batches) = (vec![], vec![]);
    for round in 0..bench.options.rounds {
        let (mut figures, mut cpu) = ([0.0; 2], None);
        for turn in [round % 2, 1 - round % 2] {
            let watch = stage.watch();
            let sent = messages(&stage.gateway).await?;
            figures[turn] =
                storm(stage, if turn == 0 { said(bench, stage) } else { dyndns2(bench, stage, records) }).await?;
            if turn == 0 {
                cpu = Some(watch.stop());
                batches.push(float(records) / (messages(&stage.gateway).await? - sent).max(1.0));
            }
        }
        let [measured, against] = figures;
        bench.say(&format!("dialects, {on}: {measured:.0} record/s, dyndns2 {against:.0} record/s"));
        rounds.push(Round { measured, against, cpu: cpu.unwrap_or_default() });
    }
    let note = format!("{:.0} records an UPDATE; all {records} read back", Spread::of(batches).median);
    let (name, against, unit, compare) = ("dialects", "dyndns2", "record/s", Compare::Ratio);
    Ok(Row { name, on: on.to_owned(), against, unit, compare, goal: Goal::AtLeast(0.8), rounds, note })
}

/// Records a second.
async fn storm(stage: &Stage, said: Said) -> Result<f64, Failure> {
    let plan = Plan::new(said.requests.len(), FEW);
    let said = Arc::new(said);
    let ran = exchange(stage.gateway.http(), &said, plan).await?;
    stage.all_right(&ran)?;
    read_back(stage.primary.addr(), &said.served).await?;
    Ok(float(said.served.len()) / ran.took.as_secs_f64())
}

fn dyndns2(bench: &Bench, stage: &Stage, records: usize) -> Said {
    let served = bench.fresh(names(records));
    let target = |(host, ip): &(String, IpAddr)| format!("/nic/update?hostname={host}&myip={ip}");
    Said { requests: served.iter().map(|host| with_login(stage, &target(host))).collect(), word: "good", served }
}

fn duckdns(bench: &Bench, stage: &Stage) -> Said {
    let served = bench.fresh(names(bench.options.hosts));
    let secret = stage.credentials.first().map(|(_, secret)| secret.as_str()).unwrap_or_default();
    let request = |(host, ip): &(String, IpAddr)| {
        Request::get(&format!("/update?domains={host}&token={secret}&ip={ip}")).octets(stage.gateway.http())
    };
    Said { requests: served.iter().map(request).collect(), word: "OK", served }
}

fn followers(bench: &Bench, stage: &Stage) -> Said {
    let (mut requests, mut served) = (vec![], vec![]);
    for (router, ip) in bench.fresh(names(ROUTERS)) {
        let network = u128::from(bench.address.fetch_add(1, Ordering::Relaxed)) << 64 | 0x2a00_0000 << 96;
        let prefix = Ipv6Addr::from(network);
        requests.push(with_login(stage, &format!("/nic/update?hostname={router}&myip={ip}&ip6lanprefix={prefix}/64")));
        for number in 0..FOLLOWERS {
            let own = Ipv6Addr::from(network + u128::try_from(number + 1).unwrap_or_default());
            served.push((follower(&router, number), own.into()));
        }
        served.push((router, ip));
    }
    Said { requests, word: "good", served }
}

fn follower(router: &str, number: usize) -> String {
    let label = router.split('.').next().unwrap_or_default();
    format!("{label}-{number}.{ZONE}")
}

fn with_login(stage: &Stage, target: &str) -> Vec<u8> {
    let address: SocketAddr = stage.gateway.http();
    let (login, secret) =
        stage.credentials.first().map(|(login, secret)| (login.as_str(), secret.as_str())).unwrap_or_default();
    Request::get(target).basic(login, secret).octets(address)
}
