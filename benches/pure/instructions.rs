//! Instructions of some cases, counted by callgrind: the same whatever else the machine does, so two commits can be
//! compared. A report, not a gate.

#![expect(clippy::print_stdout, reason = "it talks to a person")]

use std::hint::black_box;
use std::process::{Command, ExitCode, Stdio};

use crate::cases::{Classify, Coalesce, Encode, Request};

const CASES: [&str; 4] = ["request", "coalesce-1000-for-100", "encode-100", "classify"];
/// The start and the end cost the same in both runs, and fall out of the difference.
const TIMES: [u64; 2] = [20, 120];

/// Runs a case so many times: what callgrind looks at.
pub(crate) fn run(case: &str, times: &str) -> ExitCode {
    let Ok(times) = times.parse::<u64>() else { return ExitCode::FAILURE };
    match case {
        "request" => {
            let mut case = Request::new();
            repeat(times, || case.run());
        }
        "coalesce-1000-for-100" => {
            let mut case = Coalesce::new(100);
            repeat(times, || case.run());
        }
        "encode-100" => {
            let case = Encode::new(100);
            repeat(times, || case.run());
        }
        "classify" => {
            let case = Classify::new();
            repeat(times, || case.run());
        }
        _ => return ExitCode::FAILURE,
    }
    ExitCode::SUCCESS
}

fn repeat<T>(times: u64, mut what: impl FnMut() -> T) {
    for _ in 0..times {
        black_box(what());
    }
}

/// Counts all cases and prints a table.
pub(crate) fn report() -> ExitCode {
    if Command::new("valgrind").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err() {
        println!("SKIPPED: no instruction was counted, for valgrind is not installed (apt-get install valgrind)");
        return ExitCode::SUCCESS;
    }
    println!("| case | instructions each time |\n| --- | --- |");
    for case in CASES {
        let [few, many] = TIMES.map(|times| count(case, times));
        let (Some(few), Some(many)) = (few, many) else {
            println!("SKIPPED: callgrind counted nothing for {case}");
            continue;
        };
        println!("| {case} | {} |", many.saturating_sub(few) / (TIMES[1] - TIMES[0]));
    }
    ExitCode::SUCCESS
}

fn count(case: &str, times: u64) -> Option<u64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe().ok()?)
        .args(["run", case, &times.to_string()])
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stderr);
    let (_, said) = text.split_once("Collected : ")?;
    output.status.success().then(|| said.split_whitespace().next()?.parse().ok()).flatten()
}
