//! What happens when something breaks, with real name servers and the built release program: each row is one fault in the
//! middle of a storm, and tells what the clients saw, what was lost (it must be nothing) and when service was back.
//!
//! `make chaos [ROWS=kill-bind,disk-store] [WRITE=docs]`

#![expect(clippy::print_stdout, reason = "it talks to a person")]

mod clients;
mod clocks;
mod crowd;
mod disk;
mod disks;
mod inside;
mod kills;
mod network;
mod options;
mod report;
mod row;
mod run;
mod seen;
mod stage;
mod storm;

use std::process::ExitCode;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, timeout};

use kills::Ill;
use options::{Name, Options};
use report::Report;
use row::Row;

/// Whatever stopped the run, with what to do about it.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A row that takes longer is stuck.
const ROW_WITHIN: Duration = Duration::from_secs(120);

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    // One thread: the cores are shared with the gateway and the primary.
    let runtime = Builder::new_current_thread().enable_all().build().map_err(Failure::from);
    match runtime.and_then(|runtime| runtime.block_on(until_stopped(arguments))) {
        Ok(code) => code,
        Err(error) => {
            println!("The run failed: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Everything is dropped in order, children and folders with it, where a signal ends the run.
async fn until_stopped(arguments: Vec<String>) -> Result<ExitCode, Failure> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::select! {
        done = all(arguments) => done,
        _ = interrupt.recv() => Err("interrupted".into()),
        _ = terminate.recv() => Err("terminated".into()),
    }
}

async fn all(arguments: Vec<String>) -> Result<ExitCode, Failure> {
    let options = Options::read(&arguments)?;
    let is_inside = match inside::enter(&arguments).await? {
        inside::Place::Done(code) => return Ok(code),
        inside::Place::Inside => true,
        inside::Place::Outside(why) => {
            println!("No namespaces here ({why}): what needs one is skipped.");
            false
        }
    };
    let chaos = Chaos { began: Instant::now(), is_inside };
    let mut report = Report::new();
    println!("{}", report.heading());
    for name in &options.rows {
        let row = timeout(ROW_WITHIN, chaos.run(*name)).await;
        let row = row.map_err(|_| format!("it did not end within {ROW_WITHIN:?}").into()).and_then(|row| row);
        let row = row.unwrap_or_else(|error: Failure| Row::broken(*name, &error.to_string()));
        println!("{}", row.line());
        report.add(row);
    }
    println!("\n{}", report.markdown());
    report.write(&options)?;
    Ok(if report.failures().is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What all rows share.
struct Chaos {
    began: Instant,
    /// In a namespace of mounts and networks of our own, which ends with us.
    is_inside: bool,
}

impl Chaos {
    async fn run(&self, name: Name) -> Result<Row, Failure> {
        self.say(&name.to_string());
        match name {
            Name::KillGateway => kills::gateway(self, name).await,
            Name::KillPrimary(kind) => kills::primary(self, name, kind).await,
            Name::HangPrimary(kind) => kills::hang(self, name, kind).await,
            Name::KillPostgres => kills::postgres(self, name, Ill::Killed).await,
            Name::HangPostgres => kills::postgres(self, name, Ill::Hangs).await,
            Name::DiskPrimary(kind) => disks::primary(self, name, kind).await,
            Name::DiskStore => disks::store(self, name).await,
            Name::Netem => network::netem(self, name).await,
            Name::SlowPath => network::slow(self, name).await,
            Name::HalfOpen => network::half_open(self, name).await,
            Name::BlackHole => network::black_hole(self, name).await,
            Name::Descriptors => clients::descriptors(self, name).await,
            Name::SlowLoris(from) => clients::slow_loris(self, name, from).await,
            Name::Idle(from) => clients::idle(self, name, from).await,
            Name::GatewayClock(step) => clocks::gateway(self, name, step).await,
            Name::PrimaryClock(kind, step) => clocks::primary(self, name, kind, step).await,
        }
    }

    /// One line of progress.
    fn say(&self, what: &str) {
        println!("[{:>4} s] {what}", self.began.elapsed().as_secs());
    }
}
