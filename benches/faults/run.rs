//! The course of a row: a storm, the fault in its middle, the end of the fault, the time until all is as before, the look at the
//! primary.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::Failure;
use crate::options::Name;
use crate::row::{Figures, Row};
use crate::stage::Stage;
use crate::storm::{Ended, Storm};

/// The first names cost more; these moments are not counted.
const WARM: Duration = Duration::from_secs(1);
const BEFORE: Duration = Duration::from_secs(2);
/// The storm goes on for so long after the fault.
const AFTER: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(15));

/// A storm with a fault to come.
pub(crate) struct Run {
    name: Name,
    on: String,
    primary: SocketAddr,
    pub(crate) storm: Storm,
    began: Instant,
    broken: Option<Instant>,
    mended: Option<Instant>,
}

impl Run {
    /// Begins the storm, and returns when its first seconds are over.
    pub(crate) async fn begin(name: Name, stage: &Stage) -> Self {
        Self::begin_as(name, stage, &stage.secret, false).await
    }

    /// As [`Self::begin`] with this secret, and each request on a connection of its own or not.
    pub(crate) async fn begin_as(name: Name, stage: &Stage, secret: &str, connection_each: bool) -> Self {
        let storm = Storm::begin(stage.http, secret, connection_each);
        sleep(WARM).await;
        let began = Instant::now();
        sleep(BEFORE).await;
        let (on, primary) = (stage.primary.kind().to_string(), stage.primary.addr());
        Self { name, on, primary, storm, began, broken: None, mended: None }
    }

    /// Instead of the primary's name.
    pub(crate) fn on(&mut self, what: &str) {
        what.clone_into(&mut self.on);
    }

    /// The fault begins.
    pub(crate) fn breaks(&mut self) {
        self.broken = Some(Instant::now());
    }

    /// The fault is over.
    pub(crate) fn is_mended(&mut self) {
        self.mended = Some(Instant::now());
    }

    /// What the routers of known names saw from the beginning of the fault until now.
    pub(crate) fn known(&self) -> String {
        let now = Instant::now();
        self.storm.look(|seen| seen.counts_of_known(self.broken.unwrap_or(now), now))
    }

    /// Waits until all is as before, ends the storm and reads every name back.
    pub(crate) async fn finish(self) -> Result<Row, Failure> {
        let Self { name, on, primary, storm, began, broken, mended } = self;
        let (Some(broken), Some(mended)) = (broken, mended) else { return Err("no fault".into()) };
        let Some(before) = storm.look(|seen| seen.p99(began, broken)) else {
            let instead = storm.look(|seen| seen.counts(began, broken));
            return Err(format!("nobody was served before the fault: {instead}").into());
        };
        sleep(AFTER.0).await;
        while storm.look(|seen| seen.as_before(mended, before)).is_none() && mended.elapsed() < AFTER.1 {
            sleep(Duration::from_millis(100)).await;
        }
        let ended = storm.end().await?;
        let over = Instant::now();
        let seen = &ended.seen;
        let wrong = wrong(primary, &ended).await?;
        let mut row = Row::new(name, on);
        row.figures = Some(Figures {
            lasted: mended - broken,
            during: seen.counts(broken, mended),
            after: seen.counts(mended, over),
            unserved: seen.longest_gap(broken, over),
            p99: [Some(before), seen.p99(broken, mended), seen.p99(over - AFTER.0, over)],
            first_good: seen.first_good(mended),
            last_refusal: seen.last_refusal(mended),
            as_before: seen.as_before(mended, before),
            acknowledgements: ended.acknowledgements,
            names: ended.acknowledged.len(),
            lost: wrong.len(),
        });
        if let Some(first) = wrong.first() {
            row.fails(&format!(
                "{} of {} names are lost or wrong, such as {first}",
                wrong.len(),
                ended.acknowledged.len()
            ));
        }
        if !ended.unfinished.is_empty() {
            row.fails(&format!("{} routers were never served again", ended.unfinished.len()));
        }
        if let Some(strange) = seen.strange() {
            row.fails(&format!("an answer {:?}", strange.answer));
        }
        Ok(row)
    }
}

/// What the primary holds instead of what was acknowledged last, and not because a later report came true unacknowledged.
async fn wrong(primary: SocketAddr, ended: &Ended) -> Result<Vec<String>, Failure> {
    let mut wrong = vec![];
    for (number, what) in lab::load::wrong(primary, &ended.acknowledged).await? {
        let name = &ended.acknowledged[number].0;
        let later: Vec<_> = ended.unfinished.iter().filter(|(wanted, _)| wanted == name).cloned().collect();
        if later.is_empty() || !lab::load::wrong(primary, &later).await?.is_empty() {
            wrong.push(what);
        }
    }
    Ok(wrong)
}
