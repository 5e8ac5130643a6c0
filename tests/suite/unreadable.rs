//! A file that cannot be read in time, for which a FIFO that nobody writes stands: it holds up neither start, stop nor what
//! comes after it. And how long a stop takes.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use lab::http::{Connection, Request};
use lab::{Gateway, Key, soon};
use rustix::fs::OFlags;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::deploying::{command, run};
use crate::stage::{Config, LOGIN, SECRET, program};
use crate::tls::{Certificates, until_logged};

/// Before, it was an end that nobody saw; now it is one long before this.
const SOON: Duration = Duration::from_secs(9);

pub(crate) fn fifo(path: &Path) {
    let _there_before = fs::remove_file(path);
    run(command("mkfifo").args(["-m", "600"]).arg(path));
}

/// Waits until somebody reads the FIFO, which is then open for writing and stays empty.
async fn until_read(path: &Path) -> fs::File {
    let mut opened = None;
    soon("it is read", async || {
        opened = OpenOptions::new().write(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(path).ok();
        opened.is_some()
    })
    .await;
    opened.unwrap()
}

/// A configuration of which one file is a FIFO; which one, and its path.
fn places(certificates: &Certificates) -> Vec<(TempDir, PathBuf)> {
    let key = Key::generate("k");
    let nobody = "127.0.0.1:1".parse().unwrap();
    let of = |change: &dyn Fn(&mut Config, &Path) -> PathBuf, toml: &dyn Fn(String) -> String| {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::new(&key, nobody);
        let path = change(&mut config, folder.path());
        let file = folder.path().join("gateway.toml");
        if path != file {
            fs::write(&file, toml(config.toml())).unwrap();
        }
        fifo(&path);
        (folder, path)
    };
    let same = |toml: String| toml;
    let secret = |toml: String| {
        let (before, rest) = toml.split_once("secret = ").unwrap();
        let (_, after) = rest.split_once('\n').unwrap();
        format!("{before}secret_file = \"k.secret\"\n{after}")
    };
    let pair = |name: &'static str| {
        move |config: &mut Config, folder: &Path| {
            for file in ["fullchain.pem", "privkey.pem"] {
                fs::copy(certificates.path(file), folder.join(file)).unwrap();
            }
            config.more = "[http.tls]\nlisten = [\"127.0.0.1:0\"]\ncertificate = \"fullchain.pem\"\nprivate_key = \"privkey.pem\"\n".to_owned();
            folder.join(name)
        }
    };
    vec![
        of(&|_, folder| folder.join("gateway.toml"), &same),
        of(&|_, folder| folder.join("k.secret"), &secret),
        of(
            &|config, folder| {
                config.more = "[store]\nurl_file = \"store.url\"\n".to_owned();
                folder.join("store.url")
            },
            &same,
        ),
        of(&pair("fullchain.pem"), &same),
        of(&pair("privkey.pem"), &same),
    ]
}

/// A process of the program, killed with its value.
struct Process(Child);

impl Process {
    fn start(folder: &Path, arguments: &[&str]) -> Self {
        let log = fs::File::create(folder.join("output.log")).unwrap();
        let mut command = Command::new(program());
        command.args(arguments).arg("--config").arg(folder.join("gateway.toml")).stdin(Stdio::null());
        Self(command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap())
    }

    fn terminate(&self) {
        let pid = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw).unwrap();
        kill_process(pid, Signal::TERM).unwrap();
    }

    async fn code(&mut self) -> Option<i32> {
        let mut status = None;
        soon("it ends", async || {
            status = self.0.try_wait().unwrap();
            status.is_some()
        })
        .await;
        status.and_then(|status| status.code())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ended_before = self.0.kill();
        let _reaped = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_waits_for_a_file_hears_signals() {
    for (folder, path) in places(&Certificates::new()) {
        let mut process = Process::start(folder.path(), &["serve"]);
        let _open = until_read(&path).await;
        process.terminate();
        let code = process.code().await;
        let log = fs::read_to_string(folder.path().join("output.log")).unwrap();
        assert_eq!(code, Some(0), "{}: {log}", path.display());
        assert!(log.contains("stopped before the start was done"), "{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_not_read_in_time_is_named_and_ends_start_and_check() {
    let certificates = Certificates::new();
    for arguments in [&["serve"][..], &["check", "--offline"]] {
        let mut processes: Vec<_> = places(&certificates)
            .into_iter()
            .map(|(folder, path)| (Process::start(folder.path(), arguments), folder, path))
            .collect();
        for (process, folder, path) in &mut processes {
            let code = process.code().await;
            let log = fs::read_to_string(folder.path().join("output.log")).unwrap();
            let is_pair = path.extension().is_some_and(|extension| extension == "pem");
            let expected = if is_pair && arguments[0] == "check" { 2 } else { 64 };
            assert_eq!(code, Some(expected), "{arguments:?} {}: {log}", path.display());
            let name = path.file_name().unwrap().to_str().unwrap();
            assert!(log.contains(name) && log.contains("(a pipe?)"), "{arguments:?} {name}: {log}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_not_read_in_time_holds_up_neither_later_ones_nor_the_stop() {
    let certificates = Certificates::new();
    let mut config = Config::new(&Key::generate("k"), "127.0.0.1:1".parse().unwrap());
    config.more = certificates.section("[\"127.0.0.1:0\"]");
    let mut gateway = config.start().await;
    let https = gateway.https().unwrap();
    let first = certificates.current();
    fifo(&certificates.path("fullchain.pem"));
    until_logged(&gateway, "(a pipe?)").await;
    assert_eq!(certificates.shown(https).await, first, "the old one stays");
    certificates.renew(Duration::from_secs(86_400 * 90));
    soon("the later one is shown", async || certificates.shown(https).await == certificates.current()).await;
    fifo(&certificates.path("privkey.pem"));
    let _open = until_read(&certificates.path("privkey.pem")).await;
    gateway.terminate().unwrap();
    assert_eq!(gateway.wait(SOON).await.unwrap().code(), Some(0));
}

async fn gateway() -> Gateway {
    Config::new(&Key::generate("k"), "127.0.0.1:1".parse().unwrap()).start().await
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_request_holds_no_stop_up() {
    let mut gateway = gateway().await;
    let body = Request::post("/nic/update", "hostname=h.dyn.example&myip=203.0.113.1").basic(LOGIN, SECRET);
    let whole = body.octets(gateway.http());
    let head = whole.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    let mut open = Vec::new();
    for length in [whole.len() - 1, head, head - 3, 5] {
        for admin in [false, true] {
            let to = if admin { gateway.admin() } else { gateway.http() };
            let mut connection = Connection::open(to, None).await.unwrap();
            let first = if admin { "/healthz" } else { "/myip" };
            assert_eq!(connection.send(&Request::get(first)).await.unwrap().status, 200, "it is served");
            connection.write(&whole[..length]).await.unwrap();
            open.push((connection, admin, length));
        }
    }
    gateway.terminate().unwrap();
    assert_eq!(gateway.wait(SOON).await.unwrap().code(), Some(0));
    for (connection, admin, length) in &mut open {
        let said = connection.closed(SOON).await.unwrap_or_default();
        let said = String::from_utf8_lossy(&said);
        // Whose body did not come is to come again.
        let is_told = !*admin && *length >= head;
        assert!(!is_told || said.is_empty() || said.starts_with("HTTP/1.1 503 ") && said.ends_with("911"), "{said}");
        assert!(!said.contains("badagent"), "{said}");
    }
    assert!(!gateway.log().contains("are cut"), "{}", gateway.log());
}

#[test]
fn the_limit_of_the_unit_is_longer_than_a_stop() {
    let unit = include_str!("../../packaging/dyngate.service");
    let limit = unit.lines().find_map(|line| line.strip_prefix("TimeoutStopSec=")).unwrap();
    assert!(limit.strip_suffix('s').unwrap().parse::<u64>().unwrap() > 15, "{limit}");
}
