//! docs/RELIABILITY.md and `make chaos` tell of the same faults, and none of them cost an acknowledged change.

/// The cells of each line of the table.
fn rows() -> Vec<Vec<&'static str>> {
    let text = include_str!("../../docs/RELIABILITY.md");
    let marked = text.split_once("WRITE=docs replaces what follows -->").expect("the beginning of the table").1;
    let marked = marked.split_once("<!-- end of what").expect("the end of the table").0;
    let lines = marked.lines().filter(|line| line.starts_with("| ")).skip(2);
    lines.map(|line| line.trim_matches('|').split(" | ").map(|cell| cell.trim_matches([' ', '|'])).collect()).collect()
}

#[test]
fn every_fault_of_the_program_is_in_the_table() {
    let program = include_str!("../../benches/faults/options.rs");
    let (_, faults) = program.split_once("fn fault(self)").expect("the names of the faults");
    let (faults, _) = faults.split_once("impl fmt::Display").expect("their end");
    let named: Vec<_> = faults.split("=> \"").skip(1).filter_map(|rest| Some(rest.split_once('"')?.0)).collect();
    assert!(named.len() > 10, "{named:?}");
    let rows = rows();
    let told: Vec<_> = rows.iter().filter_map(|row| row.first().copied()).collect();
    for fault in &named {
        assert!(told.contains(fault), "{fault} is not in docs/RELIABILITY.md: make chaos WRITE=docs");
    }
    for fault in told {
        assert!(named.contains(&fault), "{fault} is in docs/RELIABILITY.md alone: make chaos WRITE=docs");
    }
}

#[test]
fn nothing_acknowledged_was_lost_and_what_was_skipped_says_why() {
    for row in rows() {
        let (lost, notes) = (row[row.len() - 2], row[row.len() - 1]);
        assert!(lost == "0" || (lost == "–" && notes.contains("SKIPPED: ")), "{row:?}");
        assert!(!notes.contains("FAILED"), "{row:?}");
    }
}
