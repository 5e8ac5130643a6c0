//! One line a request, whatever becomes of it, but for floods: source, login, host, outcome, reason, the primary's rcode,
//! milliseconds. Never a secret: the query, the body and the Authorization header do not come here.

use std::error::Error;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tracing::{Value, info, warn};

use crate::gateway::Verdicts;
use crate::metrics::ANSWERED;

/// What a request was, as far as the log may tell.
pub(super) struct AccessLine {
    pub(super) start: Instant,
    pub(super) source: IpAddr,
    pub(super) path: String,
    pub(super) agent: Option<Arc<str>>,
}

/// Of a text in a line, in octets, as it is printed: an escape takes ten times the room of what it stands for.
const LONGEST: usize = 300;

/// Lines in a [`WINDOW`] about requests that no dialect answered: past the source limit, to a path that is none, not to be
/// read. Nothing else bounds these: a single address could fill a disk with them, or use up what a journal takes and hide what
/// others do.
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
                warn!(target: "dyngate::access", requests = left_out, "turned away, and not shown one by one");
            }
        }
        let is_shown = window.shown < MOST_TURNED_AWAY;
        window.shown += u32::from(is_shown);
        window.left_out += u64::from(!is_shown);
        is_shown
    }
}

/// Writes the line of a request that a dialect answered.
pub(super) fn write(line: &AccessLine, verdicts: &Verdicts, took: Duration) {
    if verdicts.each.is_empty() {
        return write_line(line, verdicts, [ANSWERED, "no change was asked for", "-"].map(Texts::one), took);
    }
    let each = || verdicts.each.iter();
    let texts = [
        Texts::of(each().map(|verdict| verdict.outcome.label())),
        Texts::of(each().map(|verdict| verdict.reason.as_ref())),
        Texts::of(each().map(|verdict| verdict.rcode.as_deref().unwrap_or("-"))),
    ];
    write_line(line, verdicts, texts, took);
}

/// Writes the line of a request that none did.
pub(super) fn write_unserved(line: &AccessLine, outcome: &str, reason: &str) {
    write_line(line, &Verdicts::answered(), [outcome, reason, "-"].map(Texts::one), line.start.elapsed());
}

fn write_line(line: &AccessLine, whose: &Verdicts, [outcome, reason, rcode]: [Texts<'_>; 3], took: Duration) {
    let hosts = Texts::of(whose.hosts.iter().map(String::as_str));
    info!(
        target: "dyngate::access",
        source = %line.source,
        login = shortened(whose.login.as_deref().unwrap_or("-")),
        host = hosts.value(),
        outcome = outcome.value(),
        reason = reason.value(),
        rcode = rcode.value(),
        ms = u64::try_from(took.as_micros()).unwrap_or(u64::MAX) as f64 / 1000.0,
        path = shortened(&line.path),
        agent = shortened(line.agent.as_deref().unwrap_or("-")),
        "request"
    );
}

/// What is said of several hosts: for people with commas between, for machines an array. An error in the eyes of tracing, which
/// tells a log's format the type of no other value.
#[derive(Debug, thiserror::Error)]
#[error("{:?}", .0.join(","))]
pub(crate) struct Several(pub(crate) Vec<String>);

/// What is said of one host, as most requests have, or of each of several.
enum Texts<'a> {
    One(&'a str),
    Several(Box<dyn Error>),
}

impl<'a> Texts<'a> {
    fn one(text: &'a str) -> Self {
        Self::One(shortened(text))
    }

    fn of(mut texts: impl Iterator<Item = &'a str>) -> Self {
        let first = shortened(texts.next().unwrap_or_default());
        let Some(second) = texts.next() else { return Self::One(first) };
        let mut length = first.len();
        let mut several = vec![first.to_owned()];
        for text in std::iter::once(second).chain(texts).map(shortened) {
            if length < LONGEST {
                several.push(text.to_owned());
            }
            length += text.len();
        }
        Self::Several(Box::new(Several(several)))
    }

    fn value(&self) -> &dyn Value {
        match self {
            Self::One(text) => text,
            Self::Several(several) => several,
        }
    }
}

/// What is kept of a text whose length strangers choose.
pub(super) fn shortened(text: &str) -> &str {
    let mut room = LONGEST;
    let mut letters = text.char_indices().map(|(at, letter)| (at, letter.escape_debug().map(char::len_utf8).sum()));
    let past = letters.find(|(_, printed): &(usize, usize)| match room.checked_sub(*printed) {
        Some(left) => {
            room = left;
            false
        }
        None => true,
    });
    past.and_then(|(end, _)| text.get(..end)).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_of_a_text_is_bounded_after_escaping() {
        for letter in ['a', 'ä', '語', '"', '\\', '\n', '\u{1b}', '\u{202e}', '\u{200b}', '\u{e0041}', '\u{10ffff}'] {
            let long = letter.to_string().repeat(1000);
            let printed = format!("{:?}", shortened(&long));
            assert!((280..=LONGEST + 2).contains(&printed.len()), "{letter:?}: {}", printed.len());
        }
        assert_eq!(shortened(&"a".repeat(LONGEST)).len(), LONGEST);
        assert_eq!((shortened(""), shortened("curl/8.1")), ("", "curl/8.1"));
    }
}
