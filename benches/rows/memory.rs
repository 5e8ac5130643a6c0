//! Row "memory": the gateway's resident size after its start, and the most of it in a storm.

use lab::Kind;

use crate::cpu::memory_mib;
use crate::row::{Compare, Goal, Round, Row};
use crate::stage::{Stage, names};
use crate::{Bench, Failure};

pub(crate) async fn run(bench: &Bench) -> Result<Vec<Row>, Failure> {
    let hosts = bench.options.hosts;
    bench.say(&format!("memory: idle, and in a storm of {hosts} hosts; a new gateway each round"));
    let mut stage = Stage::start(bench, Kind::Bind).await?;
    let (mut idle, mut storms) = (vec![], vec![]);
    for round in 0..bench.options.rounds {
        if round > 0 {
            stage.gateway.stop().await?;
            stage.gateway.start_again().await?;
        }
        let watch = stage.watch();
        let resting = memory_mib(stage.gateway.pid(), "VmRSS");
        idle.push(Round { measured: resting, against: 0.0, cpu: watch.stop() });
        let storm = stage.storm(bench.fresh(names(hosts))).await?;
        let most = memory_mib(stage.gateway.pid(), "VmHWM");
        bench.say(&format!("memory: {resting:.1} MiB idle, at most {most:.1} MiB"));
        storms.push(Round { measured: most, against: 0.0, cpu: storm.cpu });
    }
    stage.stop().await?;
    let row = |on: &str, most, rounds| {
        let (name, compare, goal) = ("memory", Compare::Alone, Goal::AtMost(most));
        Row { name, on: on.to_owned(), against: "", unit: "MiB", compare, goal, rounds, note: String::new() }
    };
    Ok(vec![row("idle, no password hashed", 20.0, idle), row("the most in a storm", 120.0, storms)])
}
