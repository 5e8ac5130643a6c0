//! SIGKILL of the gateway, of each primary and of the store, and a primary or a store that is stopped in its tracks.

use std::net::IpAddr;
use std::time::Duration;

use dyngate::config::Location;
use dyngate::model::Hostname;
use dyngate::store::Store;
use lab::{Kind, Postgres};
use tokio::time::{Instant, sleep};

use crate::options::Name;
use crate::row::{Row, short};
use crate::run::Run;
use crate::stage::{LOGIN, Plot, Stage, ZONE};
use crate::{Chaos, Failure};

/// How long what was killed stays away.
const AWAY: Duration = Duration::from_secs(2);
/// Longer than a message may be without an answer before its connection is given up.
const HANGS: Duration = Duration::from_secs(6);

pub(crate) async fn gateway(_: &Chaos, name: Name) -> Result<Row, Failure> {
    let mut stage = Plot { is_declared: false, ..Plot::new(Kind::Bind) }.start().await?;
    let grant = format!("*.{ZONE}");
    let made = stage.command(&["account", "add", LOGIN, "--host", &grant, "--max-hosts", "1000000", "--json"])?;
    let made: serde_json::Value = serde_json::from_str(&made)?;
    let secret = made["secret"].as_str().ok_or("no secret")?.to_owned();
    stage.command(&["host", "add", &format!("kept.{ZONE}"), "--account", LOGIN])?;
    stage.command(&["host", "token", &format!("kept.{ZONE}")])?;
    let mut run = Run::begin_as(name, &stage, &secret, false).await;
    run.on("BIND; SQLite");
    let before = kept(&stage)?;
    let known = run.storm.acknowledged();
    run.breaks();
    stage.gateway.kill();
    let (recorded, behind) = recorded(&stage, &known).await?;
    stage.gateway.start_again().await?;
    run.is_mended();
    let after = kept(&stage)?;
    let mut row = run.finish().await?;
    if before == after {
        let lines = before.len();
        row.note(&format!("all {lines} lines of accounts, hosts, secrets and tokens in `dyngate export` as before"));
    } else {
        row.fails("accounts, hosts, secrets or tokens are not as before");
    }
    row.note(&format!(
        "last seen: {recorded} of {} acknowledged names were in the store, {behind} only later",
        known.len()
    ));
    stage.stop().await?;
    Ok(row)
}

/// What must survive: the export, without what was seen of hosts.
fn kept(stage: &Stage) -> Result<Vec<String>, Failure> {
    let text = stage.command(&["export"])?;
    let lines =
        text.lines().filter(|line| ["\"account\"", "\"host\"", "\"token\""].iter().any(|kind| line.contains(kind)));
    let lines = lines.filter(|line| !line.contains("\"state\"")).map(str::to_owned);
    Ok(lines.collect())
}

/// How many of the names the store knows with the address that was acknowledged last, and how many not.
async fn recorded(stage: &Stage, known: &[(String, IpAddr)]) -> Result<(usize, usize), Failure> {
    let file = stage.store.strip_prefix("sqlite:").ok_or("not SQLite")?;
    let store = Store::open(&Location::Sqlite(file.into())).await?;
    let mut right = 0;
    for (name, address) in known {
        let state = store.state(&Hostname::parse(name)?).await?;
        right += usize::from(state.is_some_and(|state| state.addresses.v4.map(IpAddr::from) == Some(*address)));
    }
    store.close().await;
    Ok((right, known.len() - right))
}

pub(crate) async fn primary(_: &Chaos, name: Name, kind: Kind) -> Result<Row, Failure> {
    let mut stage = Plot::new(kind).start().await?;
    let mut run = Run::begin(name, &stage).await;
    run.breaks();
    stage.primary.kill();
    sleep(AWAY).await;
    let started = Instant::now();
    stage.primary.start_again().await?;
    run.is_mended();
    let start = started.elapsed();
    let mut row = run.finish().await?;
    row.note(&format!("it took {} to start; counted from when it answered", short(start)));
    stage.stop().await?;
    Ok(row)
}

pub(crate) async fn hang(_: &Chaos, name: Name, kind: Kind) -> Result<Row, Failure> {
    let mut stage = Plot::new(kind).start().await?;
    let mut run = Run::begin(name, &stage).await;
    run.breaks();
    stage.primary.pause().await?;
    sleep(HANGS).await;
    stage.primary.resume()?;
    run.is_mended();
    let row = run.finish().await?;
    stage.stop().await?;
    Ok(row)
}

/// What befalls PostgreSQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ill {
    Killed,
    Hangs,
}

pub(crate) async fn postgres(_: &Chaos, name: Name, ill: Ill) -> Result<Row, Failure> {
    let mut postgres = match Postgres::durable().await {
        Ok(postgres) => postgres,
        Err(error @ lab::Error::Missing { .. }) => return Ok(Row::skipped(name, &error.to_string())),
        Err(error) => return Err(error.into()),
    };
    let stage = Plot { store: Some(postgres.url()), ..Plot::new(Kind::Bind) }.start().await?;
    let mut run = Run::begin(name, &stage).await;
    run.on("PostgreSQL; BIND");
    run.breaks();
    match ill {
        Ill::Killed => {
            postgres.kill();
            sleep(AWAY).await;
            postgres.start_again().await?;
        }
        Ill::Hangs => {
            postgres.pause()?;
            sleep(HANGS).await;
            postgres.resume()?;
        }
    }
    run.is_mended();
    let known = run.known();
    let mut row = run.finish().await?;
    row.note(&format!("names known before saw {known}, new ones the rest"));
    stage.stop().await?;
    Ok(row)
}
