//! Clients that take what others need: descriptors, connections, time.

use std::fs;
use std::time::Duration;

use lab::Kind;
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit, setrlimit};
use tokio::time::sleep;

use crate::crowd::{Crowd, Manner};
use crate::options::{From, Name};
use crate::row::Row;
use crate::run::Run;
use crate::stage::{Plot, Stage};
use crate::{Chaos, Failure};

/// Longer than the gateway lets a connection be idle.
const LASTS: Duration = Duration::from_secs(12);
const IDLE: u32 = 10_000;
const SLOW: u32 = 2_000;
/// Far below what one source may hold.
const SOURCES: u32 = 100;
/// Descriptors beyond those that the gateway holds when the fault begins.
const LEFT: u64 = 20;
const EXHAUSTED: Duration = Duration::from_secs(5);

pub(crate) async fn descriptors(_: &Chaos, name: Name) -> Result<Row, Failure> {
    let stage = Plot::new(Kind::Bind).start().await?;
    let mut run = Run::begin_as(name, &stage, &stage.secret, true).await;
    let (pid, log) = (pid(&stage)?, stage.gateway.log().len());
    run.breaks();
    let open = open_files(&stage)?;
    let before = prlimit(Some(pid), Resource::Nofile, Rlimit { current: Some(open + LEFT), maximum: hard(pid)? })?;
    let crowd = Crowd::gather(stage.http, 400, 4, Manner::Idle);
    sleep(EXHAUSTED).await;
    let warned =
        stage.gateway.log().get(log..).unwrap_or_default().lines().filter(|line| line.contains("WARN")).count();
    let fate = crowd.fate();
    drop(crowd);
    prlimit(Some(pid), Resource::Nofile, before)?;
    run.is_mended();
    let mut row = run.finish().await?;
    row.note(&format!(
        "limit {}; a new connection for each request; 400 idle ones for {LEFT} descriptors: {fate}",
        open + LEFT
    ));
    row.note(&format!("{warned} warnings in the log"));
    stage.stop().await?;
    Ok(row)
}

pub(crate) async fn slow_loris(_: &Chaos, name: Name, from: From) -> Result<Row, Failure> {
    crowd(name, from, SLOW, Manner::Slow).await
}

pub(crate) async fn idle(_: &Chaos, name: Name, from: From) -> Result<Row, Failure> {
    crowd(name, from, IDLE, Manner::Idle).await
}

async fn crowd(name: Name, from: From, connections: u32, manner: Manner) -> Result<Row, Failure> {
    let wanted = u64::from(connections) + 1000;
    if !raise_descriptors(wanted)? {
        return Ok(Row::skipped(name, &format!("fewer than {wanted} descriptors for a process")));
    }
    let stage = Plot::new(Kind::Bind).start().await?;
    let mut run = Run::begin(name, &stage).await;
    let sources = match from {
        From::ManySources => SOURCES,
        From::OneSource => 1,
    };
    run.on(match from {
        From::ManySources => "from 100 sources",
        From::OneSource => "from one source",
    });
    let (memory, files) = (resident_mib(&stage)?, open_files(&stage)?);
    run.breaks();
    let crowd = Crowd::gather(stage.http, connections, sources, manner);
    let mut most = memory;
    for _ in 0..LASTS.as_secs() {
        sleep(Duration::from_secs(1)).await;
        most = most.max(resident_mib(&stage)?);
    }
    let (fate, held) = (crowd.fate(), crowd.held());
    drop(crowd);
    run.is_mended();
    let mut row = run.finish().await?;
    row.note(&format!("{fate}, {held} at the end; gateway's memory {memory:.0} → at most {most:.0} MiB"));
    let left = open_files(&stage)?;
    if left > files + 50 {
        row.fails(&format!("the gateway held {files} descriptors before and {left} after"));
    }
    stage.stop().await?;
    Ok(row)
}

fn pid(stage: &Stage) -> Result<Pid, Failure> {
    let pid = stage.gateway.pid().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
    pid.ok_or_else(|| "the gateway does not run".into())
}

fn hard(pid: Pid) -> Result<Option<u64>, Failure> {
    let limits = fs::read_to_string(format!("/proc/{}/limits", pid.as_raw_nonzero()))?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).ok_or("no limit of open files")?;
    Ok(line.split_whitespace().nth(1).and_then(|hard| hard.parse().ok()))
}

fn open_files(stage: &Stage) -> Result<u64, Failure> {
    Ok(fs::read_dir(format!("/proc/{}/fd", pid(stage)?.as_raw_nonzero()))?.count() as u64)
}

fn resident_mib(stage: &Stage) -> Result<f64, Failure> {
    let status = fs::read_to_string(format!("/proc/{}/status", pid(stage)?.as_raw_nonzero()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"));
    Ok(line.and_then(|kib| kib.parse::<f64>().ok()).ok_or("no resident size")? / 1024.0)
}

/// Whether this process, and with it the gateway, may have so many.
fn raise_descriptors(wanted: u64) -> Result<bool, Failure> {
    let limit = getrlimit(Resource::Nofile);
    if limit.maximum.is_some_and(|most| most < wanted) {
        return Ok(false);
    }
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })?;
    Ok(true)
}
