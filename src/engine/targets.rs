//! The names that a zone's own SOA and NS records point to, as of the moment that a change needs them: none but the primary knows
//! when a server was added. Many who ask at once share one question. While no primary of the zone can be reached, what was said last
//! counts. Knows nothing of grants.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};
use tracing::{info, warn};

use super::blame::advice;
use super::health::PrimaryHealth;
use super::{Trouble, trouble};
use crate::dns::{AskError, Failure, Reader, Route};
use crate::model::{Hostname, ZoneName};

/// Between two questions that nobody needs, and after one that was not answered.
const EVERY: Duration = Duration::from_secs(300);
const RETRY: Duration = Duration::from_secs(1);

/// What the primary says; its task ends with it.
#[derive(Debug)]
pub(super) struct Targets {
    wanted: watch::Sender<Option<Instant>>,
    said: watch::Receiver<Said>,
}

#[derive(Debug, Default)]
struct Said {
    // Each with the moment when the question was asked. What was known stays beside a refusal.
    known: Option<(Instant, HashSet<Hostname>)>,
    refused: Option<(Instant, Failure)>,
    // The last question found no primary: what was known counts, since a server can be added nowhere either.
    is_away: bool,
    problem: Option<String>,
}

impl Targets {
    /// Asks at once, and whenever somebody wants to know.
    pub(super) fn start(
        zone: ZoneName,
        route: watch::Receiver<Route>,
        reader: Reader,
        health: Arc<PrimaryHealth>,
    ) -> Self {
        let (tell, said) = watch::channel(Said::default());
        let (wanted, want) = watch::channel(None);
        tokio::spawn(ask(zone, route, reader, health, want, tell));
        Self { wanted, said }
    }

    /// Has it asked once more, unless that was since `since`.
    pub(super) fn want(&self, since: Instant) {
        self.wanted.send_if_modified(|wanted| {
            let is_later = wanted.is_none_or(|wanted| wanted < since);
            if is_later {
                *wanted = Some(since);
            }
            is_later
        });
    }

    /// Whether `host` is one of them, as the primary said when it was asked at `since` or later.
    ///
    /// # Errors
    /// [`Trouble`] where it did not say before `until`.
    pub(super) async fn has(&self, host: &Hostname, since: Instant, until: Instant) -> Result<bool, Trouble> {
        if let Some(said) = self.said.borrow().of(host, since) {
            return said;
        }
        self.want(since);
        let mut said = self.said.clone();
        match timeout_at(until, said.wait_for(|said| said.of(host, since).is_some())).await {
            Ok(Ok(said)) => said.of(host, since).unwrap_or(Err(Trouble::Timeout)),
            Ok(Err(_)) | Err(_) => Err(Trouble::Timeout),
        }
    }

    /// Whether it is one as far as was heard: `false` says nothing.
    pub(super) fn had(&self, host: &Hostname) -> bool {
        self.said.borrow().known.as_ref().is_some_and(|(_, names)| covers(host, names))
    }

    /// Why they cannot be read now.
    pub(super) fn problem(&self) -> Option<String> {
        self.said.borrow().problem.clone()
    }
}

impl Said {
    fn of(&self, host: &Hostname, since: Instant) -> Option<Result<bool, Trouble>> {
        let known = self.known.as_ref().filter(|(asked, _)| self.is_away || *asked >= since);
        let known = known.map(|(_, names)| Ok(covers(host, names)));
        let refused = self.refused.filter(|(asked, _)| *asked >= since);
        known.or_else(|| refused.map(|(_, failure)| Err(trouble(failure))))
    }
}

/// Whether `host` is one of `names`, or a wildcard that answers for one which has no record (RFC 4592).
fn covers(host: &Hostname, names: &HashSet<Hostname>) -> bool {
    let below = |above: &str| names.iter().any(|name| name.is_below(above));
    names.contains(host) || host.as_str().strip_prefix("*.").is_some_and(below)
}

async fn ask(
    zone: ZoneName,
    mut route: watch::Receiver<Route>,
    reader: Reader,
    health: Arc<PrimaryHealth>,
    mut want: watch::Receiver<Option<Instant>>,
    tell: watch::Sender<Said>,
) {
    let mut complained = false;
    loop {
        route.mark_unchanged();
        let asked = Instant::now();
        let pause = match reader.zone_targets().await {
            Ok(names) => {
                let known = Some((asked, names.into_iter().collect()));
                tell.send_replace(Said { known, ..Said::default() });
                if std::mem::take(&mut complained) {
                    info!(%zone, "the zone's SOA and NS records can be read again");
                }
                EVERY
            }
            Err(error) => {
                // As long as nobody's changes are let through, none of them would find out.
                let is_away = error.leads_to_next_primary();
                if is_away {
                    health.doubt();
                }
                let advised = match error {
                    AskError::Failed(failure) => advice(failure),
                    _ => "see that the primary can be reached and serves the zone",
                };
                let mut waits = true;
                tell.send_modify(|said| {
                    said.is_away = is_away;
                    if let (AskError::Failed(failure), false) = (&error, is_away) {
                        said.refused = Some((asked, *failure));
                    }
                    waits = !is_away || said.known.is_none();
                    said.problem = waits.then(|| {
                        format!(
                            "no change below a wildcard until its SOA and NS records can be read: {error}: {advised}"
                        )
                    });
                });
                if waits && !std::mem::replace(&mut complained, true) {
                    warn!(
                        %zone, %error, advice = advised,
                        "the zone's SOA and NS records cannot be read; changes below wildcards of all zones wait for them, since they \
                         may name a server there"
                    );
                }
                RETRY
            }
        };
        tokio::select! {
            () = sleep(pause) => {}
            // Another primary, or another key.
            Ok(()) = route.changed() => {}
            is_wanted = is_wanted_after(&mut want, asked), if pause == EVERY => if !is_wanted { return },
            () = tell.closed() => return,
        }
    }
}

async fn is_wanted_after(want: &mut watch::Receiver<Option<Instant>>, asked: Instant) -> bool {
    want.wait_for(|wanted| wanted.is_some_and(|wanted| wanted > asked)).await.is_ok()
}
