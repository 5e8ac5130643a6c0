//! A wall clock that steps by an hour and back: the gateway's, or the primary's. TSIG allows five minutes between the two.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use lab::{Kind, steppable_clock};
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

use crate::options::{Name, Step};
use crate::row::Row;
use crate::run::Run;
use crate::stage::{Plot, ZONE};
use crate::{Chaos, Failure};

const LASTS: Duration = Duration::from_secs(4);
/// How long nsupdate may take.
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);

/// What libfaketime reads at each look at the clock.
struct Clock {
    folder: TempDir,
}

impl Clock {
    fn new() -> Result<Self, Failure> {
        let clock = Self { folder: TempDir::with_prefix("dyngate-clock-")? };
        clock.step("+0")?;
        Ok(clock)
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("offset")
    }

    fn step(&self, by: &str) -> Result<(), Failure> {
        let new = self.folder.path().join("new");
        fs::write(&new, by)?;
        Ok(fs::rename(new, self.file())?)
    }
}

pub(crate) async fn gateway(_: &Chaos, name: Name, step: Step) -> Result<Row, Failure> {
    stepped(name, Kind::Bind, step, |plot, env| plot.gateway_env = env).await
}

pub(crate) async fn primary(_: &Chaos, name: Name, kind: Kind, step: Step) -> Result<Row, Failure> {
    stepped(name, kind, step, |plot, env| plot.primary_env = env).await
}

async fn stepped(
    name: Name,
    kind: Kind,
    step: Step,
    whose: impl FnOnce(&mut Plot, Vec<(String, String)>),
) -> Result<Row, Failure> {
    let clock = Clock::new()?;
    let env = match steppable_clock(&clock.file()) {
        Ok(env) => env,
        Err(error @ lab::Error::Missing { .. }) => return Ok(Row::skipped(name, &error.to_string())),
        Err(error) => return Err(error.into()),
    };
    let mut plot = Plot::new(kind);
    whose(&mut plot, env);
    let mut stage = plot.start().await?;
    let mut run = Run::begin(name, &stage).await;
    run.breaks();
    clock.step(step.seconds())?;
    sleep(LASTS).await;
    clock.step("+0")?;
    // Not every server bears a clock that was an hour ahead or behind.
    let by_hand = format!("update add by-hand.{ZONE} 60 TXT \"well\"");
    let hangs = !matches!(timeout(ANSWERS_WITHIN, stage.primary.edit(&[&by_hand])).await, Ok(Ok(())));
    if hangs {
        stage.primary.kill();
        stage.primary.start_again().await?;
    }
    run.is_mended();
    let mut row = run.finish().await?;
    if hangs {
        row.note("once the clock was right again the primary answered nobody, nsupdate neither, and was started again");
    }
    let log = stage.gateway.log();
    let says = log.lines().find(|line| line.contains("BADTIME")).is_some();
    row.note(if says { "the log names BADTIME and the difference" } else { "the log does not name the clock" });
    stage.stop().await?;
    Ok(row)
}
