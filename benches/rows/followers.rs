//! Row "followers": routers that report an address and a prefix, each with five hosts behind it, against a storm of as many
//! records that hosts report one by one.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use lab::Kind;
use lab::load::{Exchange, Plan, Reports, exchange, read_back};

use crate::row::{Compare, Goal, Round, Row, Spread, float};
use crate::stage::{CLIENTS, Plot, Stage, ZONE, messages, names};
use crate::{Bench, Failure};

const ROUTERS: usize = 1000;
/// Behind each of them.
const FOLLOWERS: usize = 5;
const RECORDS: usize = ROUTERS * (FOLLOWERS + 1);
/// So many that as many names wait at once as in a storm.
const AT_ONCE: usize = CLIENTS / (FOLLOWERS + 1);

pub(crate) async fn run(bench: &Bench) -> Result<Vec<Row>, Failure> {
    let mut rows = vec![];
    for kind in [Kind::Bind, Kind::Knot] {
        rows.push(on(bench, kind).await?);
    }
    Ok(rows)
}

async fn on(bench: &Bench, kind: Kind) -> Result<Row, Failure> {
    // In the place of further accounts.
    let stage = Plot { accounts: hosts(), ..Plot::new(bench, kind) }.start().await?;
    bench.say(&format!("followers, {kind}: {ROUTERS} routers with {FOLLOWERS} hosts each, against {RECORDS} hosts"));
    // New names cost more than new addresses: the first of both is not counted.
    prefixes(bench, &stage, 0).await?;
    stage.storm(bench.fresh(names(RECORDS))).await?;
    let (mut rounds, mut batches) = (vec![], vec![]);
    for round in 0..bench.options.rounds {
        let mut against = None;
        if round % 2 == 0 {
            against = Some(stage.storm(bench.fresh(names(RECORDS))).await?.rate);
        }
        let watch = stage.watch();
        let (measured, batch) = prefixes(bench, &stage, round + 1).await?;
        let cpu = watch.stop();
        let against = match against {
            Some(against) => against,
            None => stage.storm(bench.fresh(names(RECORDS))).await?.rate,
        };
        bench.say(&format!("followers, {kind}: {measured:.0} records/s, one by one {against:.0} records/s"));
        batches.push(batch);
        rounds.push(Round { measured, against, cpu });
    }
    stage.stop().await?;
    let note = format!("{:.0} names an UPDATE; all {RECORDS} read back", Spread::of(batches).median);
    let (against, goal, compare) = ("hosts one by one", Goal::AtLeast(0.8), Compare::Ratio);
    Ok(Row { name: "followers", on: kind.to_string(), against, unit: "records/s", compare, goal, rounds, note })
}

/// Every router reports an address and a prefix that it never had; records a second, and names in an UPDATE.
async fn prefixes(bench: &Bench, stage: &Stage, round: usize) -> Result<(f64, f64), Failure> {
    let routers = bench.fresh((0..ROUTERS).map(router));
    let prefixes: Vec<_> = (0..ROUTERS).map(|number| prefix(round, number)).collect();
    let reports = Arc::new(Prefixes { reports: stage.reports(routers.clone()), prefixes: prefixes.clone() });
    let sent = messages(&stage.gateway).await?;
    let ran = exchange(stage.gateway.http(), &reports, Plan::new(ROUTERS, AT_ONCE)).await?;
    stage.all_right(&ran)?;
    let batch = float(RECORDS) / (messages(&stage.gateway).await? - sent).max(1.0);
    let mut all = routers;
    for (number, prefix) in prefixes.iter().enumerate() {
        let address = |place: usize| Ipv6Addr::from_bits(prefix.to_bits() | (place as u128 + 1));
        all.extend((0..FOLLOWERS).map(|place| (follower(number, place), IpAddr::V6(address(place)))));
    }
    read_back(stage.primary.addr(), &all).await?;
    Ok((float(RECORDS) / ran.took.as_secs_f64(), batch))
}

/// Reports that tell a prefix too.
struct Prefixes {
    reports: Reports,
    prefixes: Vec<Ipv6Addr>,
}

impl Exchange for Prefixes {
    fn ask(&self, index: usize, request: &mut Vec<u8>) {
        let mut plain = Vec::with_capacity(256);
        self.reports.ask(index, &mut plain);
        let end = plain.windows(6).position(|octets| octets == b" HTTP/").unwrap_or(plain.len());
        let (target, rest) = plain.split_at(end);
        request.extend_from_slice(target);
        request.extend_from_slice(format!("&ip6lanprefix={}/56", self.prefixes[index]).as_bytes());
        request.extend_from_slice(rest);
    }

    fn judge(&self, index: usize, status: u16, body: &[u8]) -> Result<(), String> {
        self.reports.judge(index, status, body)
    }
}

fn router(number: usize) -> String {
    format!("r{number}.{ZONE}")
}

fn follower(number: usize, place: usize) -> String {
    format!("f{place}.r{number}.{ZONE}")
}

/// A /56 of its own for each router in each round.
fn prefix(round: usize, number: usize) -> Ipv6Addr {
    Ipv6Addr::from_bits((0x2a00 << 112) | ((round as u128) << 96) | ((number as u128) << 80) | (0x2300 << 64))
}

fn hosts() -> String {
    let mut tables = String::new();
    for number in 0..ROUTERS {
        let router = router(number);
        let _ = write!(tables, "[[host]]\nname = \"{router}\"\n");
        for place in 0..FOLLOWERS {
            let (name, id) = (follower(number, place), place + 1);
            let _ = write!(tables, "[[host]]\nname = \"{name}\"\nfollow = \"{router}\"\ninterface_id = \"::{id}\"\n");
        }
    }
    tables
}
