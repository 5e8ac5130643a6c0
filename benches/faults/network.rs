//! The way to the primary: lossy, slow, gone without a word.

use std::process::Command;
use std::time::Duration;

use lab::Kind;
use lab::path::{DELAY, JITTER, Path, STALL};
use tokio::time::sleep;

use crate::options::Name;
use crate::row::Row;
use crate::run::Run;
use crate::stage::{Plot, Stage};
use crate::{Chaos, Failure};

const LASTS: Duration = Duration::from_secs(6);

/// Loss and delay by the kernel, on the loopback interface of our own network: for clients and primary alike.
pub(crate) async fn netem(chaos: &Chaos, name: Name) -> Result<Row, Failure> {
    if !chaos.is_inside {
        return Ok(Row::skipped(name, "no network of our own to break"));
    }
    let tc = |arguments: &str| Command::new("tc").args(arguments.split(' ')).output();
    let emulated = "qdisc add dev lo root netem delay 20ms 10ms loss 2%";
    let said = match tc(emulated) {
        Ok(output) if output.status.success() => {
            tc("qdisc del dev lo root")?;
            None
        }
        Ok(output) => Some(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Some(format!("tc: {error}; apt-get install iproute2")),
    };
    if let Some(why) = said {
        return Ok(Row::skipped(name, &format!("tc netem: {why} (the kernel has no sch_netem)")));
    }
    let stage = Plot::new(Kind::Bind).start().await?;
    let mut run = Run::begin(name, &stage).await;
    run.breaks();
    tc(emulated)?;
    sleep(LASTS).await;
    tc("qdisc del dev lo root")?;
    run.is_mended();
    let mut row = run.finish().await?;
    row.note("20 ms ± 10 ms and 2 % loss on every way, the clients' too");
    stage.stop().await?;
    Ok(row)
}

async fn behind_a_path() -> Result<(Stage, Path), Failure> {
    let mut path = None;
    let way = async |primary| {
        let made = Path::to(primary).await?;
        let addr = made.addr();
        path = Some(made);
        Ok(addr)
    };
    let stage = Plot::new(Kind::Bind).start_behind(way).await?;
    Ok((stage, path.ok_or("no path")?))
}

pub(crate) async fn slow(_: &Chaos, name: Name) -> Result<Row, Failure> {
    let (stage, path) = behind_a_path().await?;
    let mut run = Run::begin(name, &stage).await;
    run.breaks();
    path.slow(true);
    sleep(LASTS).await;
    path.slow(false);
    run.is_mended();
    let mut row = run.finish().await?;
    let (least, most) = (DELAY.as_millis(), (DELAY + JITTER).as_millis());
    row.note(&format!(
        "by a proxy: {least} to {most} ms each way, and a stall of {} ms each second",
        STALL.as_millis()
    ));
    stage.stop().await?;
    Ok(row)
}

pub(crate) async fn half_open(_: &Chaos, name: Name) -> Result<Row, Failure> {
    let (stage, path) = behind_a_path().await?;
    let mut run = Run::begin(name, &stage).await;
    run.breaks();
    path.forget_connections();
    // New connections are well from the start: how long until the gateway opens them?
    run.is_mended();
    let mut row = run.finish().await?;
    row.note("all open connections swallow everything and never close; new ones are well from the first moment");
    stage.stop().await?;
    Ok(row)
}

pub(crate) async fn black_hole(_: &Chaos, name: Name) -> Result<Row, Failure> {
    let (stage, path) = behind_a_path().await?;
    let mut run = Run::begin(name, &stage).await;
    run.breaks();
    path.swallow(true);
    sleep(LASTS).await;
    path.swallow(false);
    run.is_mended();
    let mut row = run.finish().await?;
    row.note("connections are made and swallow everything; those made meanwhile stay dead afterwards");
    stage.stop().await?;
    Ok(row)
}
