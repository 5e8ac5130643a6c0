//! Row "DuckDNS": a storm in DuckDNS' words, a secret without a login, against the same in dyndns2's words.

use std::net::IpAddr;
use std::sync::Arc;

use lab::Kind;
use lab::http::Request;
use lab::load::{Exchange, Plan, exchange, read_back};

use crate::row::{Compare, Goal, Round, Row, float};
use crate::stage::{CLIENTS, Stage, names};
use crate::{Bench, Failure};

pub(crate) async fn run(bench: &Bench) -> Result<Vec<Row>, Failure> {
    let stage = Stage::start(bench, Kind::Bind).await?;
    let hosts = bench.options.hosts;
    bench.say(&format!("DuckDNS: {hosts} hosts, against as many in dyndns2's words"));
    let fresh = || bench.fresh(names(hosts));
    // New names cost more than new addresses.
    stage.storm(fresh()).await?;
    let mut rounds = vec![];
    for round in 0..bench.options.rounds {
        let mut against = None;
        if round % 2 == 0 {
            against = Some(stage.storm(fresh()).await?.rate);
        }
        let watch = stage.watch();
        let measured = storm(&stage, fresh()).await?;
        let cpu = watch.stop();
        let against = match against {
            Some(against) => against,
            None => stage.storm(fresh()).await?.rate,
        };
        bench.say(&format!("DuckDNS: {measured:.0} host/s, dyndns2 {against:.0} host/s"));
        rounds.push(Round { measured, against, cpu });
    }
    stage.stop().await?;
    let (name, against, compare, goal) = ("storm, DuckDNS", "dyndns2", Compare::Ratio, Goal::AtLeast(0.8));
    let note = format!("all {hosts} read back");
    Ok(vec![Row { name, on: Kind::Bind.to_string(), against, unit: "host/s", compare, goal, rounds, note }])
}

/// Hosts a second.
async fn storm(stage: &Stage, hosts: Vec<(String, IpAddr)>) -> Result<f64, Failure> {
    let (_, secret) = stage.credentials.first().ok_or("an account")?;
    let said = |(host, ip): &(String, IpAddr)| {
        Request::get(&format!("/update?domains={host}&token={secret}&ip={ip}")).octets(stage.gateway.http())
    };
    let said = Arc::new(Said(hosts.iter().map(said).collect()));
    let ran = exchange(stage.gateway.http(), &said, Plan::new(hosts.len(), CLIENTS)).await?;
    stage.all_right(&ran)?;
    read_back(stage.primary.addr(), &hosts).await?;
    Ok(float(hosts.len()) / ran.took.as_secs_f64())
}

/// Whole requests.
struct Said(Vec<Vec<u8>>);

impl Exchange for Said {
    fn ask(&self, index: usize, request: &mut Vec<u8>) {
        request.extend_from_slice(&self.0[index]);
    }

    fn judge(&self, _: usize, _: u16, body: &[u8]) -> Result<(), String> {
        if body == b"OK" { Ok(()) } else { Err(String::from_utf8_lossy(body).into_owned()) }
    }
}
