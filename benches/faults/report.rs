//! The table, report.json, and the marked part of docs/RELIABILITY.md.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use lab::{machine, said, servers};
use serde_json::json;

use crate::Failure;
use crate::options::Options;
use crate::row::Row;

const BEGIN: &str = "<!-- make chaos WRITE=docs replaces what follows -->\n";
const END: &str = "<!-- end of what make chaos WRITE=docs replaces -->";

/// All rows, and what they were run on.
pub(crate) struct Report {
    heading: String,
    rows: Vec<Row>,
}

impl Report {
    pub(crate) fn new() -> Self {
        let commit = said("git", &["describe", "--always", "--dirty"]);
        let heading = format!("Run at {commit} on {}.\n{}; {}.", machine(), servers(), postgres());
        Self { heading, rows: vec![] }
    }

    pub(crate) fn heading(&self) -> &str {
        &self.heading
    }

    pub(crate) fn add(&mut self, row: Row) {
        self.rows.push(row);
    }

    /// What must not be, of all rows.
    pub(crate) fn failures(&self) -> Vec<&str> {
        self.rows.iter().flat_map(|row| &row.failures).map(String::as_str).collect()
    }

    pub(crate) fn markdown(&self) -> String {
        let mut text = format!("{}\n\n{}\n", self.heading, Row::HEADING);
        for row in &self.rows {
            let _ = writeln!(text, "{}", row.line());
        }
        let (run, figures) = (self.rows.len(), || self.rows.iter().filter_map(|row| row.figures.as_ref()));
        let (acknowledged, lost) =
            figures().fold((0, 0), |(sum, lost), row| (sum + row.acknowledgements, lost + row.lost));
        let (done, failed) = (figures().count(), self.failures().len());
        let _ = writeln!(
            text,
            "\n{done} of {run} rows were run: {acknowledged} acknowledged changes, {lost} lost or wrong; {failed} findings."
        );
        for failure in self.failures() {
            let _ = writeln!(text, "- {failure}");
        }
        text
    }

    /// Writes target/faults, and docs/ where that is asked for.
    pub(crate) fn write(&self, options: &Options) -> Result<(), Failure> {
        let folder = target().join("faults");
        fs::create_dir_all(&folder)?;
        let rows: Vec<_> = self.rows.iter().map(Row::json).collect();
        let report = json!({ "heading": self.heading, "rows": rows });
        fs::write(folder.join("report.json"), serde_json::to_string_pretty(&report)?)?;
        fs::write(folder.join("report.md"), self.markdown())?;
        if options.write_docs { self.write_docs() } else { Ok(()) }
    }

    fn write_docs(&self) -> Result<(), Failure> {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/RELIABILITY.md");
        let text = fs::read_to_string(&file)?;
        let marked = || format!("{} has no marked part", file.display());
        let (before, rest) = text.split_once(BEGIN).ok_or_else(marked)?;
        let (_, after) = rest.split_once(END).ok_or_else(marked)?;
        Ok(fs::write(&file, format!("{before}{BEGIN}\n{}\n{END}{after}", self.markdown()))?)
    }
}

/// The target folder of this build, two above the program in `release/deps`.
fn target() -> PathBuf {
    let own = std::env::current_exe().unwrap_or_default();
    own.ancestors().nth(3).map_or_else(|| "target".into(), Path::to_owned)
}

fn postgres() -> String {
    said("psql", &["--version"])
        .replace("psql (PostgreSQL)", "PostgreSQL")
        .split(" (")
        .next()
        .unwrap_or_default()
        .to_owned()
}
