//! .ci/run with and without a Docker engine, its long targets only named.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

/// Exit code and all that is printed, with scripts in place of `make`, `cargo` and `docker`.
fn ci(docker: &str, make: &str) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().unwrap();
    for (name, script) in [("docker", docker), ("make", make), ("cargo", "exit 0")] {
        let file = folder.path().join(name);
        fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
    let mut run = Command::new("sh");
    run.arg("-c").arg("exec bash .ci/run 2>&1").current_dir(Path::new(env!("CARGO_MANIFEST_DIR")));
    let output = run.env("PATH", path).output().unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn ci_runs_the_containers_where_an_engine_answers_and_says_so_where_none_does() {
    let all = "lint\ntest\ndeny\ntest-docker\ninstructions\n";
    assert_eq!(ci("exit 0", "echo $1"), (Some(0), all.to_owned()));
    let skipped =
        "SKIPPED: no Docker engine answers; image, compose file and what only several hosts can show were not tried";
    let rest = all.replace("test-docker", skipped);
    // The engine is away, and there is no client.
    for docker in ["exit 1", "exit 127"] {
        assert_eq!(ci(docker, "echo $1"), (Some(0), rest.clone()), "{docker}");
    }
    let (code, said) = ci("exit 0", "echo $1; [ $1 != test-docker ]");
    assert_eq!((code, said.ends_with("test-docker\n")), (Some(1), true), "{said}");
}
