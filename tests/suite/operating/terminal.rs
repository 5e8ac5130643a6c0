//! What reaches a terminal, and a pipe that nobody reads to its end.

use std::io::{BufRead as _, BufReader};

use super::{Stage, on_both};

on_both!(a_stranger_does_not_write_on_the_terminal, a_long_list_comes_in_pages_and_a_closed_pipe_ends_it_quietly);

/// Tried past the commands, which refuse such texts.
async fn a_stranger_does_not_write_on_the_terminal(stage: Stage) {
    stage.done("account add alice --host a.dyn.example");
    let escape = if stage.postgres.is_some() {
        "chr(27) || chr(155) || chr(8238) || chr(8203)"
    } else {
        "char(27, 155, 8238, 8203)"
    };
    stage.sql(&format!("UPDATE host SET description = {escape} || '[2J', blocked = {escape} || 'why'")).await;
    stage
        .sql(&format!(
            "INSERT INTO state (name, last_outcome, agent) VALUES ('a.dyn.example', {escape} || 'x', {escape} || 'y')"
        ))
        .await;
    stage
        .sql(&format!(
            "INSERT INTO history (name, at, outcome, agent, old, new) VALUES ('a.dyn.example', 1, 'changed', {escape} || 'z', '', '')"
        ))
        .await;
    for command in ["host show a.dyn.example", "host list", "host history a.dyn.example", "export"] {
        for json in ["", " --json"] {
            let stdout = stage.done(&format!("{command}{json}"));
            let hostile = |c: char| (c.is_control() && c != '\n') || ['\u{202e}', '\u{200b}'].contains(&c);
            assert!(!stdout.contains(hostile), "{command}{json}: {stdout:?}");
        }
    }
    let agent = "\u{1b}\u{9b}\u{202e}\u{200b}y";
    assert_eq!(stage.json("host show a.dyn.example")["agent"], agent, "a script gets it as it is");
    let exported = stage.done("export");
    let line = exported.lines().find(|line| line.contains("\"state\"")).unwrap();
    assert_eq!(serde_json::from_str::<serde_json::Value>(line).unwrap()["agent"], agent, "and so does an import");
    let refused = stage.run_words(&["host", "set", "a.dyn.example", "--description", "two\nlines"], "");
    assert_eq!(refused.code, Some(64), "{}", refused.stderr);
    let refused = stage.run_words(&["host", "show", "a\u{1b}[2J.dyn.example"], "");
    assert!(refused.code == Some(64) && !refused.stderr.contains('\u{1b}'), "{}", refused.stderr);
}

async fn a_long_list_comes_in_pages_and_a_closed_pipe_ends_it_quietly(stage: Stage) {
    stage.done("account add alice");
    let hosts = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 25000) \
                 INSERT INTO host (name, login, ttl, families, description, blocked, created) \
                 SELECT 'h' || i || '.dyn.example', 'alice', NULL, '46', '', NULL, 0 FROM n";
    stage.sql(hosts).await;
    assert_eq!(stage.json("host list").as_array().unwrap().len(), 25_001);
    let table = stage.done("host list");
    assert_eq!(table.lines().count(), 25_002, "one line of titles");
    for command in ["host list", "host list --json", "export", "account show alice"] {
        let mut child = stage.start(command);
        let mut line = String::new();
        BufReader::with_capacity(16, child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{command}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{command}");
    }
}
