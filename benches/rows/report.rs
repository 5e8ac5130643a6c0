//! What was measured, where and when: the table, the curves, report.json, and the marked part of docs/PERFORMANCE.md.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lab::{machine, said, servers};
use serde_json::json;

use crate::curve::Curve;
use crate::options::Options;
use crate::row::Row;
use crate::{Failure, Found, svg};

const BEGIN: &str = "<!-- make bench WRITE=docs replaces what follows -->\n";
const END: &str = "<!-- end of what make bench WRITE=docs replaces -->";

/// All that was found, and the machine that it was found on.
pub(crate) struct Report {
    machine: String,
    servers: String,
    date: String,
    commit: String,
    work: String,
    took: Duration,
    rows: Vec<Row>,
    curves: Vec<Curve>,
}

impl Report {
    /// An empty one.
    pub(crate) fn new(options: &Options) -> Self {
        let Options { rounds, hosts, baseline, log, .. } = options;
        let log = log.as_deref().unwrap_or("its default");
        Self {
            machine: machine(),
            servers: servers(),
            date: said("date", &["-u", "+%Y-%m-%d %H:%M UTC"]),
            commit: said("git", &["describe", "--always", "--dirty"]),
            work: format!(
                "{rounds} rounds; a storm is {hosts} hosts over 1 000 connections, or as many as stand there; one UPDATE each is {baseline} of them, 64 in \
                 flight on 4 connections; DYNGATE_LOG is {log}"
            ),
            took: Duration::ZERO,
            rows: vec![],
            curves: vec![],
        }
    }

    /// Where and what.
    pub(crate) fn heading(&self) -> String {
        let Self { machine, servers, date, commit, work, .. } = self;
        format!("Measured {date} at {commit} on {machine}.\n{servers}.\n{work}.")
    }

    pub(crate) fn add(&mut self, found: Found) {
        self.rows.extend(found.rows);
        self.curves.extend(found.curves);
    }

    pub(crate) fn finish(&mut self, took: Duration) {
        self.took = took;
    }

    /// Heading, table and curves.
    pub(crate) fn markdown(&self) -> String {
        let mut text = format!("{}\nAll of it took {} s.\n", self.heading(), self.took.as_secs());
        if !self.rows.is_empty() {
            let _ = write!(text, "\n{}\n", Row::HEADING);
        }
        for row in &self.rows {
            let _ = writeln!(text, "{}", row.line());
        }
        for curve in &self.curves {
            let _ = write!(text, "\n### {}\n\n{}", curve.title, curve.markdown());
        }
        text
    }

    /// Writes target/bench, and docs/ where that is asked for.
    pub(crate) fn write(&self, options: &Options) -> Result<(), Failure> {
        let folder = target().join("bench");
        fs::create_dir_all(&folder)?;
        let report = json!({
            "date": self.date, "commit": self.commit, "machine": self.machine, "servers": self.servers,
            "work": self.work, "seconds": self.took.as_secs(),
            "rows": self.rows.iter().map(Row::json).collect::<Vec<_>>(),
            "curves": self.curves.iter().map(Curve::json).collect::<Vec<_>>(),
        });
        fs::write(folder.join("report.json"), serde_json::to_string_pretty(&report)?)?;
        fs::write(folder.join("report.md"), self.markdown())?;
        if !self.curves.is_empty() {
            fs::write(folder.join("curves.svg"), svg::draw(&self.curves))?;
        }
        println!("written: {}", folder.join("report.json").display());
        if options.write_docs { self.write_docs() } else { Ok(()) }
    }

    fn write_docs(&self) -> Result<(), Failure> {
        let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
        let file = docs.join("PERFORMANCE.md");
        let text = fs::read_to_string(&file)?;
        let marked = || format!("{} has no marked part", file.display());
        let (before, rest) = text.split_once(BEGIN).ok_or_else(marked)?;
        let (_, after) = rest.split_once(END).ok_or_else(marked)?;
        let drawing = "\n![both curves](performance.svg)\n";
        fs::write(&file, format!("{before}{BEGIN}\n{}{drawing}\n{END}{after}", self.markdown()))?;
        fs::write(docs.join("performance.svg"), svg::draw(&self.curves))?;
        println!("written: {}", file.display());
        Ok(())
    }
}

/// The target folder of this build, two above the program in `release/deps`.
fn target() -> PathBuf {
    let own = std::env::current_exe().unwrap_or_default();
    own.ancestors().nth(3).map_or_else(|| "target".into(), Path::to_owned)
}
