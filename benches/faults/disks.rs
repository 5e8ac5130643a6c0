//! Not an octet left on the disk of the primary, or of the store.

use std::process::Command;
use std::time::Duration;

use dyngate::config::Location;
use dyngate::model::{Hostname, Timestamp};
use dyngate::store::Store;
use lab::Kind;
use tokio::time::sleep;

use crate::disk::Disk;
use crate::options::Name;
use crate::row::Row;
use crate::run::Run;
use crate::stage::{Plot, ZONE};
use crate::{Chaos, Failure};

const FULL: Duration = Duration::from_secs(4);
/// In MiB: what a server, or SQLite, needs for a storm, and little more to fill.
const SIZE: u32 = 64;
const NO_MOUNT: &str = "a small disk cannot be mounted here";

pub(crate) async fn primary(chaos: &Chaos, name: Name, kind: Kind) -> Result<Row, Failure> {
    let Some(disk) = Disk::mount(chaos, SIZE)? else { return Ok(Row::skipped(name, NO_MOUNT)) };
    let mut stage = Plot { disk: disk.folder().to_owned(), ..Plot::new(kind) }.start().await?;
    let mut run = Run::begin(name, &stage).await;
    run.breaks();
    disk.fill()?;
    sleep(FULL).await;
    disk.free()?;
    let died = !stage.primary.runs()?;
    if died {
        stage.primary.start_again().await?;
    }
    run.is_mended();
    let known = run.storm.acknowledged();
    let mut row = run.finish().await?;
    if died {
        row.note("the primary ended by itself, and was started again once there was room");
    }
    // Whether it kept what it acknowledged, or only remembered it. Own names have been given newer addresses since.
    let known: Vec<_> = known.into_iter().filter(|(host, _)| host.starts_with('h')).collect();
    stage.primary.stop().await?;
    stage.primary.start_again().await?;
    match lab::load::wrong(stage.primary.addr(), &known).await?.as_slice() {
        [] => row.note("all still there after a restart of the primary"),
        [(_, first), ..] => row.fails(&format!("lost by the primary with its next restart, such as {first}")),
    }
    stage.stop().await?;
    Ok(row)
}

pub(crate) async fn store(chaos: &Chaos, name: Name) -> Result<Row, Failure> {
    let Some(disk) = Disk::mount(chaos, SIZE)? else { return Ok(Row::skipped(name, NO_MOUNT)) };
    let file = disk.folder().join("store.db");
    let stage = Plot { store: Some(format!("sqlite:{}", file.display())), ..Plot::new(Kind::Bind) }.start().await?;
    let mut run = Run::begin(name, &stage).await;
    run.on("SQLite; BIND");
    run.breaks();
    disk.fill()?;
    sleep(FULL).await;
    let refused = stage.command(&["account", "add", "late"]);
    disk.free()?;
    run.is_mended();
    let (freed, known) = (Timestamp::now(), run.known());
    let mut row = run.finish().await?;
    row.note(&format!("names known before saw {known}, new ones the rest"));
    match refused {
        Ok(_) => row.note("there was room for one more account all the same"),
        Err(error) => {
            row.note(&format!("`account add` said: {}", error.to_string().lines().next().unwrap_or_default()))
        }
    }
    stage.command(&["account", "add", "later"])?;
    stage.command(&["host", "list"])?;
    let checked = Command::new("sqlite3").arg(&file).arg("PRAGMA integrity_check").output()?;
    match String::from_utf8_lossy(&checked.stdout).trim() {
        "ok" => row.note("the file is whole"),
        trouble => row.fails(&format!("the file is not whole: {trouble}")),
    }
    stage.stop().await?;
    let store = Store::open(&Location::Sqlite(file)).await?;
    let seen = store.state(&Hostname::parse(&format!("r0.{ZONE}"))?).await?.and_then(|state| state.last_seen);
    store.close().await;
    if seen.is_some_and(|seen| seen > freed) {
        row.note("what is seen of hosts is written again");
    } else {
        row.fails("what is seen of hosts is not written any more");
    }
    Ok(row)
}
