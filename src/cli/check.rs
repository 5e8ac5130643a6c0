//! `dyngate check`: a table and findings for people, or one JSON document.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::Path;
use std::process::ExitCode;

use serde_json::{Value, json};
use tokio::runtime::Builder;

use super::table::{Cell, Paint, Table, Tone, counted};
use super::{CommandResult, fail, load, runtime};
use crate::check::{self, Checked, Extent, Finding, Level, Report};
use crate::config::Config;
use crate::model::{clean, listed};

/// Something was found.
const FOUND: u8 = 2;
/// Progress is told of more names than this.
const WATCHED: usize = 100;
/// Names that a finding lists.
const SHOWN: usize = 10;

pub(super) fn run(path: &Path, extent: Extent, as_json: bool) -> CommandResult {
    let config = load(path)?;
    let runtime = runtime(Builder::new_multi_thread())?;
    let is_terminal = io::stderr().is_terminal();
    let progress = |done, all| {
        // What is done before it is read needs no line.
        if is_terminal && all > WATCHED {
            let end = if done == all { '\n' } else { '\r' };
            let _stderr_gone = write!(io::stderr(), "{done} of {all} names asked about{end}");
        }
    };
    let report = runtime.block_on(check::run(&config, extent, progress));
    let errors = report.count(Level::Error);
    let text = if as_json { json(path, &report) } else { text(path, &config, extent, &report) };
    io::stdout()
        .lock()
        .write_all(text.as_bytes())
        .map_err(|error| fail(1, &format_args!("cannot write the findings: {error}")))?;
    if errors > 0 { Err(ExitCode::from(FOUND)) } else { Ok(()) }
}

fn text(path: &Path, config: &Config, extent: Extent, report: &Report) -> String {
    let paint = Paint::stdout();
    let mut text = format!(
        "{}: well formed, {}, {}\n",
        path.display(),
        counted(config.zones.len(), "zone"),
        counted(config.accounts.len(), "account")
    );
    if extent == Extent::Offline {
        text.push_str("No primary was asked.\n");
    } else {
        table(&mut text, &report.checked, paint);
    }
    for finding in &report.here {
        describe(&mut text, "", finding, paint);
    }
    for checked in &report.checked {
        for finding in &checked.findings {
            describe(&mut text, &format!("{} at {}: ", checked.zone, checked.primary), finding, paint);
        }
    }
    let (errors, warnings) = (report.count(Level::Error), report.count(Level::Warning));
    let _ = match (errors, warnings) {
        (0, 0) => writeln!(text, "\nAll well."),
        _ => writeln!(text, "\n{}, {}.", counted(errors, "error"), counted(warnings, "warning")),
    };
    text
}

fn table(text: &mut String, checked: &[Checked], paint: Paint) {
    let result = |checked: &Checked| match checked.findings.as_slice() {
        [] => format!("all well, {}", counted(checked.names, "name")),
        [only] => only.code.replace('_', " "),
        [first, rest @ ..] => format!("{} and {} more", first.code.replace('_', " "), rest.len()),
    };
    let row = |checked: &Checked| {
        let server = checked.server.as_deref().unwrap_or("-");
        [Cell::from(&checked.zone), Cell::from(&checked.primary), Cell::from(server), Cell::from(result(checked))]
    };
    let rows: Vec<_> = checked.iter().map(row).collect();
    text.push('\n');
    text.push_str(&Table::new(["ZONE", "PRIMARY", "SERVER", "RESULT"], paint).page(&rows));
}

fn describe(text: &mut String, place: &str, finding: &Finding, paint: Paint) {
    let _ = writeln!(text, "\n{}: {place}{}", named(finding.level, paint), clean(&finding.what));
    let told = matches!(finding.hosts.as_slice(), [only] if finding.what.contains(only.as_str()));
    if !finding.hosts.is_empty() && !told {
        let _ = writeln!(text, "  names: {}", listed(&finding.hosts, SHOWN));
    }
    for advice in &finding.advice {
        let _ = writeln!(text, "  {}:", advice.place);
        for line in advice.line.lines() {
            let _ = writeln!(text, "      {line}");
        }
    }
}

fn json(path: &Path, report: &Report) -> String {
    let mut findings: Vec<_> = report.here.iter().map(|finding| finding_json(None, finding)).collect();
    for checked in &report.checked {
        findings.extend(checked.findings.iter().map(|finding| finding_json(Some(checked), finding)));
    }
    let checked = report.checked.iter().map(|checked| {
        json!({
            "zone": checked.zone,
            "primary": checked.primary,
            "server": checked.server,
            "names": checked.names,
            "findings": checked.findings.len(),
        })
    });
    let document = json!({
        "config": path.display().to_string(),
        "errors": report.count(Level::Error),
        "warnings": report.count(Level::Warning),
        "checked": checked.collect::<Vec<_>>(),
        "findings": findings,
    });
    format!("{document:#}\n")
}

fn finding_json(checked: Option<&Checked>, finding: &Finding) -> Value {
    json!({
        "level": finding.level.name(),
        "code": finding.code,
        "zone": checked.map(|checked| &checked.zone),
        "primary": checked.map(|checked| &checked.primary),
        "hosts": finding.hosts,
        "what": finding.what,
        "advice": finding.advice.iter().map(|advice| json!({ "in": advice.place, "line": advice.line })).collect::<Vec<_>>(),
    })
}

fn named(level: Level, paint: Paint) -> String {
    let tone = match level {
        Level::Error => Tone::Bad,
        Level::Warning => Tone::Warning,
    };
    paint.text(tone, level.name())
}
