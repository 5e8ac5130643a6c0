//! The commands as an operator types them: words and exit codes.

use std::io::Write as _;
use std::process::{Command, Stdio};

use lab::{Key, soon};

use crate::stage::{Config, program};

pub(crate) struct Output {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

pub(crate) fn run(arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(program())
        .args(arguments)
        .env_remove("DYNGATE_CONFIG")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that reads nothing may have ended already.
    let _ended = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    Output {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

#[test]
fn usage_errors_are_64_and_help_is_0() {
    for (arguments, code) in [
        (&["--help"][..], 0),
        (&["--version"], 0),
        (&["serve", "--help"], 0),
        (&[], 64),
        (&["nonsense"], 64),
        (&["serve", "--nonsense"], 64),
        (&["hash", "extra"], 64),
        (&["check", "--offline", "--write"], 64),
        (&["check", "--config", "/nowhere/gateway.toml"], 64),
    ] {
        assert_eq!(run(arguments, "").code, Some(code), "{arguments:?}");
    }
}

#[test]
fn hash_prints_what_the_configuration_takes_and_nothing_else() {
    let hashed = run(&["hash"], "hunter2\nsecond line");
    assert_eq!(hashed.code, Some(0), "{}", hashed.stderr);
    assert!(hashed.stdout.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{}", hashed.stdout);
    assert_eq!(hashed.stdout.lines().count(), 1);
    assert_ne!(run(&["hash"], "hunter2\n").stdout, hashed.stdout, "a salt of its own");
    let generated = run(&["hash", "--generate"], "");
    let lines: Vec<_> = generated.stdout.lines().collect();
    assert_eq!(lines[1], lab::digest(lines[0]));
    assert_eq!(run(&["hash"], "").code, Some(64), "an empty password");
}

#[test]
fn a_configuration_error_is_64_with_place_and_mend() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gateway.toml");
    let key = Key::generate("k");
    let toml = Config::new(&key, "127.0.0.1:53".parse().unwrap()).toml().replace("$sha256$", "plain text ");
    std::fs::write(&file, format!("{toml}\n[store]\nurl = \"mysql://db\"\n[unknown]\n")).unwrap();
    let output = run(&["serve", "--config", file.to_str().unwrap()], "");
    assert_eq!(output.code, Some(64), "{}", output.stderr);
    for words in ["gateway.toml:", "dyngate hash", "not the URL of a store", "unknown"] {
        assert!(output.stderr.contains(words), "{words} in {}", output.stderr);
    }
    assert!(!output.stderr.contains("plain text "), "the secret is not repeated: {}", output.stderr);
    let missing = run(&["serve", "--config", "/nonexistent/gateway.toml"], "");
    assert_eq!(missing.code, Some(64), "{}", missing.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_is_taken_is_1() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gateway.toml");
    let toml = Config::new(&Key::generate("k"), "127.0.0.1:53".parse().unwrap()).toml();
    let listen = format!("listen = [\"{}\"]", taken.local_addr().unwrap());
    std::fs::write(&file, toml.replace("listen = [\"127.0.0.1:0\"]", &listen)).unwrap();
    let output = run(&["serve", "--config", file.to_str().unwrap()], "");
    assert_eq!(output.code, Some(1), "{}", output.stderr);
    assert!(output.stderr.contains("cannot listen on"), "{}", output.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn sighup_ends_nothing_and_sigterm_ends_cleanly() {
    let key = Key::generate("k");
    let mut gateway = Config::new(&key, "127.0.0.1:1".parse().unwrap()).start().await;
    gateway.reload().unwrap();
    // Two signals at once come in either order.
    soon("it is reloaded", async || gateway.log().contains("configuration reloaded")).await;
    let healthy = lab::http::Request::get("/healthz").send(gateway.admin()).await.unwrap();
    assert_eq!((healthy.status, healthy.text().as_str()), (200, "ok\n"));
    let status = gateway.stop().await.unwrap();
    assert_eq!(status.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn sighup_while_the_configuration_is_read_ends_nothing_and_is_a_reload_afterwards() {
    let folder = tempfile::tempdir().unwrap();
    let (file, log) = (folder.path().join("gateway.toml"), folder.path().join("log"));
    assert!(Command::new("mkfifo").arg(&file).status().unwrap().success());
    let toml = Config::new(&Key::generate("k"), "127.0.0.1:1".parse().unwrap()).toml();
    let mut child = Command::new(program())
        .args(["serve", "--config", file.to_str().unwrap()])
        .stderr(std::fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let pid = child.id().to_string();
    let signal = |name: &str| assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    let mut logged = async |words: &str| {
        soon(words, async || {
            let said = std::fs::read_to_string(&log).unwrap();
            let is_said = said.contains(words);
            assert!(is_said || child.try_wait().unwrap().is_none(), "{said}");
            is_said
        })
        .await;
    };
    // A pipe opens for writing once somebody reads it, and has an end once nobody writes.
    let write = || std::fs::OpenOptions::new().write(true).open(&file).unwrap();
    let mut writer = write();
    signal("-HUP");
    writer.write_all(toml.as_bytes()).unwrap();
    drop(writer);
    logged("dyngate is ready").await;
    write().write_all(toml.as_bytes()).unwrap();
    logged("configuration reloaded").await;
    signal("-TERM");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn json_log_lines_are_json() {
    let key = Key::generate("k");
    let toml = Config::new(&key, "127.0.0.1:1".parse().unwrap()).toml();
    let builder = lab::Gateway::builder(program()).config(&toml).arg("--log-format").arg("json");
    let mut gateway = builder.start().await.unwrap();
    gateway.stop().await.unwrap();
    let log = gateway.log();
    assert!(log.lines().count() >= 3);
    for line in log.lines() {
        let object: serde_json::Value = serde_json::from_str(line).expect(line);
        assert!(object["message"].is_string() && object["level"].is_string() && object["timestamp"].is_string());
    }
}
