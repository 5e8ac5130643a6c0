//! A row of the table: two figures a round, how they are compared, the goal, and who was the limit.

use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};

use crate::cpu::{Cpu, limit, strangers};

/// How the measured figure is held against the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compare {
    /// Measured divided by the other.
    Ratio,
    /// Measured minus the other.
    Difference,
    /// There is no other.
    Alone,
}

/// What the median must reach.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Goal {
    AtLeast(f64),
    AtMost(f64),
    /// Not the median alone: each round.
    EachAtMost(f64),
    /// The figure is told only.
    Told,
}

/// What one round gave.
#[derive(Debug, Clone)]
pub(crate) struct Round {
    pub(crate) measured: f64,
    pub(crate) against: f64,
    /// During the measured part, not the other.
    pub(crate) cpu: Cpu,
}

/// One line of the table.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    /// The primary, or what else tells this line from its neighbours.
    pub(crate) on: String,
    /// What the other figure is of.
    pub(crate) against: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) compare: Compare,
    pub(crate) goal: Goal,
    pub(crate) rounds: Vec<Round>,
    pub(crate) note: String,
}

/// Where strangers took more of the machine, a goal met or missed tells little.
const NOISY: f64 = 0.15;

impl Row {
    /// The heading of the table.
    pub(crate) const HEADING: &'static str = "\
| row | | measured, median (min–max) | against, median (min–max) | compared, median (min–max) | goal | | CPU s: gateway | primary | load generator | limit | |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |";

    fn compared(&self) -> Spread {
        Spread::of(self.rounds.iter().map(|round| match self.compare {
            Compare::Ratio => round.measured / round.against,
            Compare::Difference => round.measured - round.against,
            Compare::Alone => round.measured,
        }))
    }

    /// Whether the goal is reached; `None` without one.
    pub(crate) fn met(&self) -> Option<bool> {
        match self.goal {
            Goal::AtLeast(least) => Some(self.compared().median >= least),
            Goal::AtMost(most) => Some(self.compared().median <= most),
            Goal::EachAtMost(most) => Some(self.compared().most <= most),
            Goal::Told => None,
        }
    }

    fn is_noisy(&self) -> bool {
        strangers(self.rounds.iter().map(|round| &round.cpu)) > NOISY
    }

    /// As a line of a Markdown table.
    pub(crate) fn line(&self) -> String {
        let unit = self.unit;
        let spread = |figure: fn(&Round) -> f64| Spread::of(self.rounds.iter().map(figure));
        let against = match self.compare {
            Compare::Alone => "–".to_owned(),
            _ => format!("{}: {} {unit}", self.against, spread(|round| round.against)),
        };
        let compared = match self.compare {
            Compare::Ratio => format!("**{} ×**", self.compared()),
            Compare::Difference => format!("**{:+} {unit}**", self.compared()),
            Compare::Alone => "–".to_owned(),
        };
        let goal_unit = if self.compare == Compare::Ratio { "×" } else { unit };
        let goal = match self.goal {
            Goal::AtLeast(least) => format!("≥ {least} {goal_unit}"),
            Goal::AtMost(most) => format!("≤ {most} {goal_unit}"),
            Goal::EachAtMost(most) => format!("≤ {most} {goal_unit} in each round"),
            Goal::Told => "–".to_owned(),
        };
        let met = match (self.met(), self.is_noisy()) {
            (Some(true), false) => "met",
            (Some(true), true) => "met, in noise",
            (Some(false), false) => "**missed**",
            (Some(false), true) => "**missed**, in noise",
            (None, _) => "",
        };
        let cpu = |figure: fn(&Cpu) -> f64| spread_of(&self.rounds, figure).median;
        format!(
            "| {} | {} | {} {unit} | {against} | {compared} | {goal} | {met} | {:.2} | {:.2} | {:.2} | {} | {} |",
            self.name,
            self.on,
            spread(|round| round.measured),
            cpu(|cpu| cpu.gateway.seconds),
            cpu(|cpu| cpu.primary.seconds),
            cpu(|cpu| cpu.load.seconds),
            limit(self.rounds.iter().map(|round| &round.cpu)),
            self.note,
        )
    }

    /// For report.json.
    pub(crate) fn json(&self) -> Value {
        let rounds: Vec<_> = self.rounds.iter().map(Round::json).collect();
        let Spread { median, least, most } = self.compared();
        let goal = match self.goal {
            Goal::AtLeast(least) => json!({ "at_least": least }),
            Goal::AtMost(most) => json!({ "at_most": most }),
            Goal::EachAtMost(most) => json!({ "each_at_most": most }),
            Goal::Told => Value::Null,
        };
        json!({
            "row": self.name, "on": self.on, "unit": self.unit, "against": self.against,
            "compare": match self.compare {
                Compare::Ratio => "ratio",
                Compare::Difference => "difference",
                Compare::Alone => "alone",
            },
            "median": median, "min": least, "max": most, "goal": goal, "met": self.met(), "noisy": self.is_noisy(),
            "limit": limit(self.rounds.iter().map(|round| &round.cpu)),
            "note": self.note, "rounds": rounds,
        })
    }
}

impl Round {
    fn json(&self) -> Value {
        let Self { measured, against, cpu } = self;
        json!({
            "measured": measured, "against": against, "seconds": cpu.seconds,
            "cpu": {
                "gateway": cpu.gateway.seconds, "primary": cpu.primary.seconds,
                "store": cpu.store.seconds, "load": cpu.load.seconds, "others": cpu.others(),
            },
        })
    }
}

/// A figure of the processor time over all rounds.
pub(crate) fn spread_of(rounds: &[Round], figure: fn(&Cpu) -> f64) -> Spread {
    Spread::of(rounds.iter().map(|round| figure(&round.cpu)))
}

/// Median, least and most.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl Spread {
    /// Of all figures; zeros of none.
    pub(crate) fn of(figures: impl IntoIterator<Item = f64>) -> Self {
        let mut all: Vec<_> = figures.into_iter().collect();
        all.sort_unstable_by(f64::total_cmp);
        let at = |index: usize| all.get(index).copied().unwrap_or_default();
        let last = all.len().saturating_sub(1);
        Self { median: f64::midpoint(at(last / 2), at(last.div_ceil(2))), least: at(0), most: at(last) }
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Three digits that count.
        let largest = self.median.abs();
        let digits = if largest >= 100.0 {
            0
        } else if largest >= 10.0 {
            1
        } else {
            2
        };
        let Self { median, least, most } = self;
        if f.sign_plus() {
            write!(f, "{median:+.digits$} ({least:+.digits$}–{most:+.digits$})")
        } else {
            write!(f, "{median:.digits$} ({least:.digits$}–{most:.digits$})")
        }
    }
}

/// A count as a figure.
pub(crate) fn float(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::INFINITY, f64::from)
}

/// How many, at `rate` a second, take `about` so long.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast of a float ends at the bounds")]
pub(crate) fn enough(rate: f64, about: Duration) -> usize {
    (rate * about.as_secs_f64()) as usize
}
