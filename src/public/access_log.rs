//! One line a request, but for floods: source, login, host, outcome, reason, the primary's rcode, milliseconds. Never a
//! secret: the query, the body and the Authorization header do not come here.

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tracing::{Value, info, warn};

use crate::gateway::{HostVerdict, Verdicts};

/// What a request was, as far as the log may tell.
pub(super) struct AccessLine<'a> {
    pub(super) start: Instant,
    pub(super) source: IpAddr,
    pub(super) path: &'a str,
    pub(super) agent: &'a str,
}

/// In characters.
const LONGEST: usize = 300;

/// Lines in a [`WINDOW`] about requests that were turned away unread. Nothing else bounds these: a single address could fill
/// a disk with them, or use up what a journal takes and hide what others do.
const MOST_TURNED_AWAY: u32 = 20;
const WINDOW: Duration = Duration::from_secs(1);

/// Counts the lines about requests that were turned away unread.
#[derive(Debug)]
pub(super) struct TurnedAway(Mutex<Window>);

#[derive(Debug)]
struct Window {
    began: Instant,
    shown: u32,
    left_out: u64,
}

impl TurnedAway {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Window { began: Instant::now(), shown: 0, left_out: 0 }))
    }

    /// Whether another one has its line; tells how many had none in the window before.
    pub(super) fn is_shown(&self) -> bool {
        let mut window = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if window.began.elapsed() >= WINDOW {
            let left_out = window.left_out;
            *window = Window { began: Instant::now(), shown: 0, left_out: 0 };
            if left_out > 0 {
                warn!(target: "dyngate::access", requests = left_out, "past the source limit, and not shown one by one");
            }
        }
        let is_shown = window.shown < MOST_TURNED_AWAY;
        window.shown += u32::from(is_shown);
        window.left_out += u64::from(!is_shown);
        is_shown
    }
}

/// Writes the line.
pub(super) fn write(line: &AccessLine<'_>, verdicts: &Verdicts, took: Duration) {
    let hosts: Vec<_> = verdicts.hosts.iter().map(String::as_str).collect();
    let of_each = |text: for<'v> fn(&'v HostVerdict) -> &'v str| verdicts.each.iter().map(text).collect::<Vec<_>>();
    info!(
        target: "dyngate::access",
        source = %line.source,
        login = verdicts.login.as_deref().unwrap_or("-"),
        host = &*one_or_several(&hosts),
        outcome = &*one_or_several(&of_each(|verdict| verdict.outcome.label())),
        reason = &*one_or_several(&of_each(|verdict| verdict.reason.as_ref())),
        rcode = &*one_or_several(&of_each(|verdict| verdict.rcode.as_deref().unwrap_or("-"))),
        ms = u64::try_from(took.as_micros()).unwrap_or(u64::MAX) as f64 / 1000.0,
        path = shortened(line.path),
        agent = line.agent,
        "request"
    );
}

/// What is said of several hosts: for people with commas between, for machines an array. An error in the eyes of tracing, which
/// tells a log's format the type of no other value.
#[derive(Debug, thiserror::Error)]
#[error("{:?}", .0.join(","))]
pub(crate) struct Several(pub(crate) Vec<String>);

/// Most requests are of one host.
fn one_or_several<'a>(texts: &[&'a str]) -> Box<dyn Value + 'a> {
    match texts {
        [] => Box::new(""),
        [text] => Box::new(shortened(text)),
        texts => {
            let (mut several, mut length) = (Vec::new(), 0);
            for text in texts.iter().map(|text| shortened(text)) {
                if length < LONGEST {
                    several.push(text.to_owned());
                }
                length += text.len();
            }
            Box::new(Box::new(Several(several)) as Box<dyn std::error::Error>)
        }
    }
}

/// What is kept of a text whose length strangers choose.
pub(super) fn shortened(text: &str) -> &str {
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => text.get(..end).unwrap_or_default(),
        None => text,
    }
}
