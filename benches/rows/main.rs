//! How fast the gateway is: each row is a ratio of two things measured in turn, on real primaries, with the built release
//! program. Prints a table, writes target/bench/report.json; asserts no time, but every storm is read back.
//!
//! `make bench [ROWS=storm,password] [ROUNDS=5] [HOSTS=20000] [KNOWN=1000,100000] [WRITE=docs]`

#![expect(clippy::print_stdout, reason = "it talks to a person")]

mod bare;
mod batch_curve;
mod cpu;
mod curve;
mod duckdns;
mod flight_curve;
mod followers;
mod hosts_known;
mod many_zones;
mod memory;
mod new_connections;
mod no_change;
mod one_at_a_time;
mod options;
mod overload;
mod password;
mod report;
mod restart;
mod row;
mod stage;
mod store;
mod storm;
mod svg;
mod two_gateways;
mod with_store;

use std::process::ExitCode;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::runtime::Builder;
use tokio::time::Instant;

use curve::Curve;
use options::{Name, Options};
use report::Report;
use row::Row;

/// Whatever stopped the measurement, with what to do about it.
type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let done = if arguments.first().is_some_and(|argument| argument == "serve") {
        Builder::new_multi_thread()
            .enable_all()
            .build()
            .map_err(Failure::from)
            .and_then(|it| it.block_on(bare::serve()))
    } else {
        // One thread: the cores are shared with the gateway and the primary, and wake-ups between threads are load as well.
        let runtime = Builder::new_current_thread().enable_all().build().map_err(Failure::from);
        runtime.and_then(|runtime| runtime.block_on(measure(arguments)))
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("The measurement failed: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What all rows share.
struct Bench {
    options: Options,
    began: Instant,
    address: AtomicU32,
}

/// What a row found: lines of the table, or curves.
#[derive(Default)]
struct Found {
    rows: Vec<Row>,
    curves: Vec<Curve>,
}

async fn measure(arguments: Vec<String>) -> Result<(), Failure> {
    let options = Options::read(arguments)?;
    let first = u32::from(std::net::Ipv4Addr::new(11, 0, 0, 0));
    let bench = Bench { options, began: Instant::now(), address: AtomicU32::new(first) };
    let mut report = Report::new(&bench.options);
    println!("{}", report.heading());
    for name in &bench.options.rows {
        let found = bench.run(*name).await.map_err(|error| format!("row {name}: {error}"))?;
        for row in &found.rows {
            println!("{}", row.line());
        }
        report.add(found);
    }
    report.finish(bench.began.elapsed());
    println!("\n{}", report.markdown());
    report.write(&bench.options)
}

impl Bench {
    async fn run(&self, name: Name) -> Result<Found, Failure> {
        let rows = match name {
            Name::Storm => storm::run(self).await?,
            Name::DuckDns => duckdns::run(self).await?,
            Name::NewConnections => new_connections::run(self).await?,
            Name::NoChange => no_change::run(self).await?,
            Name::OneAtATime => one_at_a_time::run(self).await?,
            Name::ManyZones => many_zones::run(self).await?,
            Name::Store => with_store::run(self).await?,
            Name::TwoGateways => two_gateways::run(self).await?,
            Name::HostsKnown => hosts_known::run(self).await?,
            Name::Followers => followers::run(self).await?,
            Name::Password => password::run(self).await?,
            Name::Restart => restart::run(self).await?,
            Name::Overload => overload::run(self).await?,
            Name::Memory => memory::run(self).await?,
            Name::BatchCurve => return Ok(Found { curves: vec![batch_curve::run(self).await?], rows: vec![] }),
            Name::FlightCurve => return Ok(Found { curves: vec![flight_curve::run(self).await?], rows: vec![] }),
        };
        Ok(Found { rows, curves: vec![] })
    }

    /// One line of progress.
    fn say(&self, what: &str) {
        println!("[{:>4} s] {what}", self.began.elapsed().as_secs());
    }

    /// An address for each name that no host ever had: primaries skip changes that change nothing.
    fn fresh(&self, names: impl IntoIterator<Item = String>) -> Vec<(String, std::net::IpAddr)> {
        let next = || std::net::Ipv4Addr::from(self.address.fetch_add(1, Ordering::Relaxed));
        names.into_iter().map(|name| (name, next().into())).collect()
    }
}
