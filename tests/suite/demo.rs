//! `dyngate demo` as someone runs it for the first time, and that nothing stays behind, however it ends.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use lab::http::{Request, Response};
use lab::soon;
use rustix::process::{Pid, Signal, kill_process, kill_process_group, test_kill_process};
use tempfile::TempDir;

use crate::stage::program;

/// A demonstration whose scratch folder lies in a folder of the test; in a process group of its own, as in a terminal.
struct Demo {
    child: Child,
    place: TempDir,
}

impl Demo {
    fn start(arguments: &[&str]) -> Self {
        let place = tempfile::tempdir().unwrap();
        let mut command = Command::new(program());
        command.arg("demo").args(arguments).env("TMPDIR", place.path()).process_group(0);
        for variable in ["DYNGATE_LOG", "RUST_LOG", "http_proxy", "all_proxy", "ALL_PROXY"] {
            command.env_remove(variable);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self { child: command.spawn().unwrap(), place }
    }

    /// Everything it says until it asks to be stopped.
    fn staying(&mut self) -> String {
        let mut lines = BufReader::new(self.child.stdout.as_mut().unwrap());
        let mut said = String::new();
        while !said.contains("Ctrl-C stops") {
            assert!(lines.read_line(&mut said).unwrap() > 0, "it ended after: {said}");
        }
        said
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Waits for its end: exit code, standard output and standard error.
    fn end(&mut self) -> (Option<i32>, String, String) {
        let (mut said, mut log) = (String::new(), String::new());
        self.child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
        self.child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        (self.child.wait().unwrap().code(), said, log)
    }

    /// The scratch folders there are.
    fn folders(&self) -> Vec<PathBuf> {
        fs::read_dir(self.place.path()).unwrap().map(|entry| entry.unwrap().path()).collect()
    }

    fn left_behind(&self, server: Pid) -> bool {
        !self.folders().is_empty() || test_kill_process(server).is_ok()
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// The text between `before` and the next `end` in what it says.
fn between<'t>(said: &'t str, before: &str, end: &str) -> &'t str {
    let (_, rest) = said.split_once(before).unwrap_or_else(|| panic!("{before} in {said}"));
    rest.split_once(end).unwrap().0
}

fn server(said: &str) -> Pid {
    Pid::from_raw(between(said, "process ", ")").parse().unwrap()).unwrap()
}

/// What a printed curl line does.
async fn curl(line: &str) -> Response {
    let (login, password) = between(line, "-u ", " ").split_once(':').unwrap();
    let (gateway, target) = between(line, "'http://", "'").split_once('/').unwrap();
    let request = Request::get(&format!("/{target}")).basic(login, password);
    request.send(gateway.parse().unwrap()).await.unwrap()
}

/// Written by another process: a file that ours has open for writing, even in a fork of a neighbouring test, is "busy".
fn script(folder: &Path, name: &str, text: &str) {
    let write = "printf '#!/bin/sh\\n%s\\n' \"$1\" >\"$0\" && chmod 755 \"$0\"";
    let status = Command::new("sh").arg("-c").arg(write).arg(folder.join(name)).arg(text).status().unwrap();
    assert!(status.success());
}

fn shows_one_update(mut demo: Demo, software: &str) {
    let (code, said, log) = demo.end();
    assert_eq!((code, log.as_str()), (Some(0), ""), "{said}");
    for words in [software, "     good 198.51.100.7\n", "     198.51.100.7\n", "To try it by hand: dyngate demo"] {
        assert!(said.contains(words), "{words} in {said}");
    }
    assert!(!demo.left_behind(server(&said)));
}

#[test]
fn once_shows_one_update_and_returns() {
    shows_one_update(Demo::start(&["--once"]), "1. Knot DNS serves");
}

#[test]
fn bind_is_taken_where_knot_is_not_installed() {
    let folder = tempfile::tempdir().unwrap();
    symlink("/usr/sbin/named", folder.path().join("named")).unwrap();
    shows_one_update(Demo::start(&["--once", "--path", folder.path().to_str().unwrap()]), "1. BIND serves");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_it_prints_can_be_tried_until_ctrl_c() {
    let mut demo = Demo::start(&[]);
    let said = demo.staying();
    let [good, wrong] = said
        .lines()
        .skip_while(|line| !line.starts_with("Try it"))
        .filter(|line| line.contains("-u demo:"))
        .collect::<Vec<_>>()[..]
    else {
        panic!("two curl lines to try in {said}")
    };
    assert_eq!(curl(good).await.text(), "good 203.0.113.9");
    assert_eq!(curl(good).await.text(), "nochg 203.0.113.9");
    assert_eq!(curl(wrong).await.text(), "badauth");
    let name_server: SocketAddr = between(&said, "dyn.example on ", " ").parse().unwrap();
    assert!(said.contains(&format!("dig +short home.dyn.example @127.0.0.1 -p {}\n", name_server.port())));
    let answer = lab::query(name_server, "home.dyn.example", "A").await.unwrap();
    assert_eq!(answer.records[0].data, "203.0.113.9");

    let gateway_toml = PathBuf::from(between(&said, "The configuration of this run: ", ","));
    assert!(fs::read_to_string(&gateway_toml).unwrap().contains("name = \"dyn.example\""));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let folder = gateway_toml.parent().unwrap();
    assert_eq!((mode(folder), mode(&gateway_toml), mode(&folder.join("gateway.key"))), (0o700, 0o600, 0o600));

    // A terminal sends it to every process of the group.
    kill_process_group(demo.pid(), Signal::INT).unwrap();
    let (code, rest, log) = demo.end();
    assert_eq!((code, rest.trim()), (Some(0), "Both are stopped, their folder is gone."));
    assert!(!log.contains("ended"), "{log}");
    assert!(!demo.left_behind(server(&said)));
}

#[test]
fn sigterm_and_a_closed_terminal_leave_nothing_behind() {
    for signal in [Signal::TERM, Signal::HUP] {
        let mut demo = Demo::start(&[]);
        let said = demo.staying();
        kill_process(demo.pid(), signal).unwrap();
        assert_eq!(demo.end().0, Some(0), "{signal:?}");
        assert!(!demo.left_behind(server(&said)), "{signal:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sigkill_leaves_nothing_behind() {
    let mut demo = Demo::start(&[]);
    let said = demo.staying();
    assert!(demo.left_behind(server(&said)), "it runs");
    kill_process(demo.pid(), Signal::KILL).unwrap();
    demo.child.wait().unwrap();
    soon("server and folder are gone", async || !demo.left_behind(server(&said))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_while_the_name_server_starts_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    script(folder.path(), "knotd", "echo $$ >pid.new; mv pid.new pid; exec sleep 1000");
    let mut demo = Demo::start(&["--path", folder.path().to_str().unwrap()]);
    let pid = || demo.folders().first().and_then(|scratch| fs::read_to_string(scratch.join("pid")).ok());
    soon("the name server is started", async || pid().is_some()).await;
    let server = Pid::from_raw(pid().unwrap().trim().parse().unwrap()).unwrap();
    kill_process(demo.pid(), Signal::INT).unwrap();
    assert_eq!(demo.end().0, Some(0));
    assert!(!demo.left_behind(server));
}

#[test]
fn a_name_server_that_dies_ends_it_with_the_end_of_its_log() {
    let mut demo = Demo::start(&[]);
    let said = demo.staying();
    kill_process(server(&said), Signal::TERM).unwrap();
    let (code, _, log) = demo.end();
    assert_eq!(code, Some(1), "{log}");
    for words in ["dyngate: /", "knotd has ended", "the end of its log:", "shutting down"] {
        assert!(log.contains(words), "{words} in {log}");
    }
    assert!(!demo.left_behind(server(&said)));
}

#[test]
fn a_name_server_that_cannot_start_says_why() {
    let folder = tempfile::tempdir().unwrap();
    script(folder.path(), "knotd", "echo fatal: no such luck >&2; exit 1");
    let mut demo = Demo::start(&["--path", folder.path().to_str().unwrap()]);
    let (code, said, log) = demo.end();
    assert_eq!((code, said.as_str()), (Some(1), ""));
    assert!(log.contains("knotd has ended") && log.contains("fatal: no such luck"), "{log}");
    assert!(demo.folders().is_empty());
}

#[test]
fn a_port_that_is_taken_meanwhile_is_given_up_for_another() {
    let folder = tempfile::tempdir().unwrap();
    let text = "[ -e $0.tried ] && exec /usr/sbin/knotd \"$@\"; touch $0.tried; echo address already in use; exit 1";
    script(folder.path(), "knotd", text);
    shows_one_update(Demo::start(&["--once", "--path", folder.path().to_str().unwrap()]), "1. Knot DNS serves");
}

#[test]
fn without_a_name_server_it_names_the_package() {
    let folder = tempfile::tempdir().unwrap();
    let mut demo = Demo::start(&["--path", folder.path().to_str().unwrap()]);
    let (code, said, log) = demo.end();
    assert_eq!((code, said.as_str()), (Some(1), ""));
    assert!(log.contains("neither knotd nor named") && log.contains("apt install knot"), "{log}");
    assert!(demo.folders().is_empty());
}

#[test]
fn a_reader_that_goes_away_ends_it_quietly() {
    let mut demo = Demo::start(&[]);
    drop(demo.child.stdout.take());
    let mut log = String::new();
    demo.child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
    assert_eq!((demo.child.wait().unwrap().code(), log.as_str()), (Some(0), ""));
    assert!(demo.folders().is_empty());
}
