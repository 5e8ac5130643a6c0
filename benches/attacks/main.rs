//! What attackers get, and what others feel of it: each attack against a fresh gateway, the built release program, in front
//! of a real BIND. Prints one line of a table for each; asserts no time.
//!
//! `make attack [ONLY=password] [SOURCES=10000000] [ATTACK_SECONDS=8]`

#![expect(clippy::print_stdout, reason = "it talks to a person")]

mod attack;
mod flood;
mod others;
mod process;
mod stage;
mod table;
mod timing;

use std::process::ExitCode;

use tokio::runtime::Builder;

/// Whatever stopped the measurement.
type Failure = Box<dyn std::error::Error + Send + Sync>;

const HEADING: &str = "\
| attack | sent | answered with | names sent to the primary | others, unchanged: p50 / p99, ms | before | others, changes: p50 / p99, ms | before | known logins from new places | gateway, cores | before | memory, MiB: before → most |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |";

/// What the command line says.
struct Options {
    /// How long an attack without a number of its own goes on, and how long the others are measured before.
    seconds: u32,
    /// Forged sources, where all of them are different.
    sources: usize,
    /// Attacks whose name has this in it.
    only: String,
}

impl Options {
    fn read() -> Result<Self, Failure> {
        let mut options = Self { seconds: 8, sources: 300_000, only: String::new() };
        for argument in std::env::args().skip(1).filter(|argument| argument != "--bench") {
            match argument.split_once('=') {
                Some(("seconds", number)) => options.seconds = number.parse()?,
                Some(("sources", number)) => options.sources = number.parse()?,
                Some(("only", name)) => name.clone_into(&mut options.only),
                _ => return Err(format!("{argument}? [seconds=8] [sources=300000] [only=NAME]").into()),
            }
        }
        Ok(options)
    }
}

fn main() -> ExitCode {
    let measured = Options::read().and_then(|options| {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(measure(&options))
    });
    match measured {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("The measurement failed: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn measure(options: &Options) -> Result<(), Failure> {
    println!("{HEADING}");
    for attack in attack::all(options).into_iter().filter(|attack| attack.name.contains(&options.only)) {
        let name = attack.name;
        println!("{}", attack.run(options).await.map_err(|error| format!("{name}: {error}"))?);
    }
    if "the table of limits".contains(&options.only) {
        println!("\n{}", table::ten_million_keys());
    }
    if timing::NAME.contains(&options.only) {
        println!("\n{}", timing::HEADING);
        timing::run()
            .await
            .map_err(|error| format!("{}: {error}", timing::NAME))?
            .iter()
            .for_each(|row| println!("{row}"));
    }
    Ok(())
}
