//! What the clients saw, and what follows from it: how often each answer, how long nobody was served, when all was as before.

use std::collections::BTreeMap;
use std::time::Duration;

use lab::load::quantile;
use tokio::time::Instant;

/// What came of one request.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Answer {
    Good,
    NoChange,
    Emergency,
    DnsError,
    /// What none of this should bring about.
    Other(String),
    /// Nobody listened.
    NotConnected,
    /// The connection ended before the answer.
    Cut,
    /// Nothing within the client's time-out.
    Silence,
}

impl Answer {
    /// The body of an answer to a report of `address`.
    pub(crate) fn of(body: &str, address: &str) -> Self {
        match body.split_once(' ') {
            Some(("good", said)) if said == address => Self::Good,
            Some(("nochg", said)) if said == address => Self::NoChange,
            _ if body == "911" => Self::Emergency,
            _ if body == "dnserr" => Self::DnsError,
            _ => Self::Other(body.to_owned()),
        }
    }

    pub(crate) fn is_acknowledged(&self) -> bool {
        matches!(self, Self::Good | Self::NoChange)
    }

    fn shown(&self) -> String {
        match self {
            Self::Good => "`good`".to_owned(),
            Self::NoChange => "`nochg`".to_owned(),
            Self::Emergency => "`911`".to_owned(),
            Self::DnsError => "`dnserr`".to_owned(),
            Self::Other(body) => format!("**`{body}`**"),
            Self::NotConnected => "no connection".to_owned(),
            Self::Cut => "cut off".to_owned(),
            Self::Silence => "no answer".to_owned(),
        }
    }
}

/// One request that has ended.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub(crate) at: Instant,
    pub(crate) took: Duration,
    pub(crate) answer: Answer,
    /// The name has been there before.
    pub(crate) is_known: bool,
}

/// All requests of a storm, in the order in which they ended.
#[derive(Debug, Default)]
pub(crate) struct Seen(Vec<Event>);

impl Seen {
    pub(crate) fn add(&mut self, event: Event) {
        self.0.push(event);
    }

    /// Each answer with how often it came, from `from` to `to`.
    pub(crate) fn counts(&self, from: Instant, to: Instant) -> String {
        Self::count(self.between(from, to))
    }

    /// As [`Self::counts`], of those names alone that were there before.
    pub(crate) fn counts_of_known(&self, from: Instant, to: Instant) -> String {
        Self::count(self.between(from, to).filter(|event| event.is_known))
    }

    fn count<'a>(events: impl Iterator<Item = &'a Event>) -> String {
        let mut counts = BTreeMap::new();
        for event in events {
            *counts.entry(&event.answer).or_insert(0_usize) += 1;
        }
        let counts: Vec<_> = counts.iter().map(|(answer, count)| format!("{count} {}", answer.shown())).collect();
        if counts.is_empty() { "nothing".to_owned() } else { counts.join(", ") }
    }

    /// Answers that no fault excuses.
    pub(crate) fn strange(&self) -> Option<&Event> {
        self.0.iter().find(|event| matches!(event.answer, Answer::Other(_)))
    }

    fn between(&self, from: Instant, to: Instant) -> impl Iterator<Item = &Event> {
        self.0.iter().filter(move |event| event.at >= from && event.at < to)
    }

    /// The latency that 99 of 100 of those that were served did not exceed; `None` where nobody was.
    pub(crate) fn p99(&self, from: Instant, to: Instant) -> Option<Duration> {
        let mut all: Vec<_> =
            self.between(from, to).filter(|event| event.answer.is_acknowledged()).map(|event| event.took).collect();
        all.sort_unstable();
        (!all.is_empty()).then(|| quantile(&all, 0.99))
    }

    /// From `moment` to the first acknowledgement after it.
    pub(crate) fn first_good(&self, moment: Instant) -> Option<Duration> {
        let first = self.0.iter().find(|event| event.at >= moment && event.answer.is_acknowledged());
        first.map(|event| event.at - moment)
    }

    /// The longest time in which nobody was served, between two moments.
    pub(crate) fn longest_gap(&self, from: Instant, to: Instant) -> Duration {
        let good = self.between(from, to).filter(|event| event.answer.is_acknowledged()).map(|event| event.at);
        let moments: Vec<_> = std::iter::once(from).chain(good).chain([to]).collect();
        moments.windows(2).map(|two| two[1] - two[0]).max().unwrap_or_default()
    }

    /// From `moment` to the last request that was not served.
    pub(crate) fn last_refusal(&self, moment: Instant) -> Option<Duration> {
        let last = self.0.iter().rev().find(|event| !event.answer.is_acknowledged());
        last.filter(|event| event.at >= moment).map(|event| event.at - moment)
    }

    /// From `moment` to the beginning of the first second in which all were served, and as quickly as in `before`.
    pub(crate) fn as_before(&self, moment: Instant, before: Duration) -> Option<Duration> {
        let end = self.0.last()?.at;
        let enough = (before * 2).max(before + UNFELT);
        let steps = (0..).map(|step| Duration::from_millis(100) * step);
        steps.take_while(|after| moment + *after + SECOND <= end).find(|after| {
            let (from, to) = (moment + *after, moment + *after + SECOND);
            let all_served = self.between(from, to).all(|event| event.answer.is_acknowledged());
            all_served && self.p99(from, to).is_some_and(|p99| p99 <= enough)
        })
    }
}

const SECOND: Duration = Duration::from_secs(1);
/// No router feels so much more.
const UNFELT: Duration = Duration::from_millis(100);
