//! A row of the table: what the clients saw, what was lost, when service was back; or why it was not run.

use std::time::Duration;

use serde_json::{Value, json};

use crate::options::Name;

/// One line of the table.
pub(crate) struct Row {
    name: Name,
    on: String,
    /// `None` where it was not run.
    pub(crate) figures: Option<Figures>,
    notes: Vec<String>,
    pub(crate) failures: Vec<String>,
}

/// What was seen.
pub(crate) struct Figures {
    pub(crate) lasted: Duration,
    pub(crate) during: String,
    pub(crate) after: String,
    /// The longest time in which nobody was served.
    pub(crate) unserved: Duration,
    /// Before the fault, during it and at the end, where anybody was served.
    pub(crate) p99: [Option<Duration>; 3],
    pub(crate) first_good: Option<Duration>,
    pub(crate) last_refusal: Option<Duration>,
    pub(crate) as_before: Option<Duration>,
    pub(crate) acknowledgements: usize,
    pub(crate) names: usize,
    pub(crate) lost: usize,
}

impl Row {
    pub(crate) const HEADING: &'static str = "\
| fault | on | lasted | clients saw while it lasted | and after it | nobody served for at most | first served after its end | last refusal after its end | p99 before → while it lasted → at the end; as before after | acknowledged | lost or wrong | |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |";

    pub(crate) fn new(name: Name, on: String) -> Self {
        Self { name, on, figures: None, notes: vec![], failures: vec![] }
    }

    /// One that cannot be run here.
    pub(crate) fn skipped(name: Name, why: &str) -> Self {
        let mut row = Self::new(name, "–".to_owned());
        row.note(&format!("SKIPPED: {why}"));
        row
    }

    /// One that did not come to its end.
    pub(crate) fn broken(name: Name, why: &str) -> Self {
        let mut row = Self::new(name, "–".to_owned());
        row.fails(why.lines().next().unwrap_or(why));
        row
    }

    pub(crate) fn note(&mut self, note: &str) {
        self.notes.push(note.to_owned());
    }

    /// What must not be.
    pub(crate) fn fails(&mut self, why: &str) {
        self.failures.push(format!("{}: {why}", self.name));
    }

    /// As a line of a Markdown table.
    pub(crate) fn line(&self) -> String {
        let failed = self.failures.iter().map(|why| format!("**FAILED** {why}"));
        let notes = self.notes.iter().cloned().chain(failed).collect::<Vec<_>>().join("; ").replace('|', "\\|");
        let (fault, on) = (self.name.fault(), &self.on);
        let Some(figures) = &self.figures else {
            return format!("| {fault} | {on} |{} {notes} |", " – |".repeat(9));
        };
        let Figures { lasted, during, after, unserved, first_good, last_refusal, as_before, .. } = figures;
        let Figures { acknowledgements, names, lost, .. } = figures;
        let p99 = figures.p99.map(|p99| p99.map_or("–".to_owned(), short)).join(" → ");
        let as_before = as_before.map_or("**not within 15 s**".to_owned(), short);
        let or = |time: &Option<Duration>, none: &str| time.map_or(none.to_owned(), short);
        let lost = if *lost == 0 { "0".to_owned() } else { format!("**{lost}**") };
        format!(
            "| {fault} | {on} | {} | {during} | {after} | {} | {} | {} | {p99}; {as_before} | {acknowledgements}, {names} names | \
             {lost} | {notes} |",
            short(*lasted),
            short(*unserved),
            or(first_good, "**never**"),
            or(last_refusal, "none"),
        )
    }

    /// For report.json.
    pub(crate) fn json(&self) -> Value {
        let seconds = |time: &Option<Duration>| time.map(|time| time.as_secs_f64());
        let figures = self.figures.as_ref().map(|figures| {
            json!({
                "lasted": figures.lasted.as_secs_f64(), "during": figures.during, "after": figures.after,
                "unserved": figures.unserved.as_secs_f64(),
                "p99": figures.p99.each_ref().map(seconds),
                "first_good": seconds(&figures.first_good), "last_refusal": seconds(&figures.last_refusal),
                "as_before": seconds(&figures.as_before), "acknowledgements": figures.acknowledgements,
                "names": figures.names, "lost": figures.lost,
            })
        });
        json!({
            "row": self.name.to_string(), "fault": self.name.fault(), "on": self.on, "figures": figures,
            "notes": self.notes, "failures": self.failures,
        })
    }
}

/// Two or three digits that count.
pub(crate) fn short(time: Duration) -> String {
    let milliseconds = time.as_secs_f64() * 1000.0;
    match milliseconds {
        10_000.0.. => format!("{:.0} s", milliseconds / 1000.0),
        1_000.0.. => format!("{:.1} s", milliseconds / 1000.0),
        10.0.. => format!("{milliseconds:.0} ms"),
        _ => format!("{milliseconds:.1} ms"),
    }
}
