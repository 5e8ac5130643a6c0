//! What docs/DEPLOYING.md tells an operator to write, cut out of it and tried; the unit file, the compose file's parts,
//! and what every change must pass.

mod ci;
mod compose;
mod proxies;

use std::ffi::OsStr;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, id};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use dyngate::config::Config;
use lab::Child;

use crate::stage::program;

const PAGE: &str = include_str!("../../docs/DEPLOYING.md");

/// The blocks of the page in this language.
pub(crate) fn blocks(language: &str) -> Vec<&'static str> {
    let fence = format!("```{language}\n");
    let found: Vec<_> = PAGE.split(&fence).skip(1).map(|rest| rest.split_once("```").unwrap().0).collect();
    assert!(!found.is_empty(), "no block in {language}");
    found
}

/// `text` with another value in place of one that must be there: a test's port, a test's folder.
pub(crate) fn swap(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "{from} is not in\n{text}");
    text.replace(from, to)
}

/// A loopback address for a test: nobody is likely to have a port of it.
pub(crate) fn address() -> Ipv4Addr {
    static NEXT: AtomicU8 = AtomicU8::new(64);
    let [.., high, low] = id().to_be_bytes();
    Ipv4Addr::new(127, NEXT.fetch_add(1, Ordering::Relaxed), high, low)
}

/// A program of Debian's, also where the folders for system programs are not on PATH.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/bin".into()]);
    folders.map(|folder| folder.join(program)).find(|file| file.is_file())
}

pub(crate) fn command(program: &str) -> Command {
    Command::new(find(program).unwrap_or_else(|| panic!("{program} is missing: scripts/install-deps.sh tests")))
}

/// Runs a command that must succeed.
pub(crate) fn run(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let all = String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr);
    assert!(status.success(), "{command:?}: {status}\n{all}");
    String::from_utf8(stdout).unwrap()
}

/// A server in the foreground that a test starts itself.
pub(crate) struct Running(Child);

impl Running {
    pub(crate) fn start(command: Command, folder: &Path) -> Self {
        let what = command.get_program().to_string_lossy().into_owned();
        Self(Child::spawn(&what, command, &folder.join("output.log")).unwrap())
    }

    /// Waits for `ready`; where another program has its port, [`lab::elsewhere`] tries again.
    pub(crate) async fn until<F: Future<Output = bool>>(&mut self, ready: impl Fn() -> F) -> Result<(), lab::Error> {
        let ready = async || if ready().await { Ok(()) } else { Err("it does not serve".to_owned()) };
        self.0.until(Duration::from_secs(60), ready).await
    }

    pub(crate) fn log(&self) -> String {
        self.0.log()
    }
}

#[test]
fn every_gateway_toml_of_the_page_loads() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(
        folder.path().join("gateway-key.key"),
        "key \"gateway-key\" { algorithm hmac-sha256; secret \"c2VjcmV0\"; };",
    )
    .unwrap();
    fs::write(folder.path().join("gateway-key.secret"), "c2VjcmV0\n").unwrap();
    let least = "[[key]]\nfile = \"gateway-key.key\"\n[[zone]]\nname = \"dyn.example\"\nprimaries = [\"127.0.0.1\"]\n\
                 key = \"gateway-key\"\n";
    for block in blocks("toml") {
        let whole = if block.contains("[[zone]]") { block.to_owned() } else { format!("{least}{block}") };
        let file = folder.path().join("gateway.toml");
        fs::write(&file, &whole).unwrap();
        if let Err(errors) = Config::load(&file) {
            panic!("{whole}\n{errors}");
        }
    }
}

#[test]
fn the_primaries_take_what_the_page_gives_them() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path().to_str().unwrap();
    fs::write(scratch.path().join("gateway-key.key"), run(command("tsig-keygen").arg("gateway-key"))).unwrap();
    for bind in blocks("bind") {
        let conf = scratch.path().join("named.conf");
        fs::write(&conf, swap(bind, "/etc/bind/", &format!("{folder}/"))).unwrap();
        run(command("named-checkconf").arg(&conf));
    }

    fs::write(scratch.path().join("knot.key"), run(command("keymgr").args(["-t", "gateway-key", "hmac-sha256"])))
        .unwrap();
    for knot in blocks("knot") {
        let conf = scratch.path().join("knot.conf");
        fs::write(&conf, swap(knot, "/etc/knot/gateway-key.key", &format!("{folder}/knot.key"))).unwrap();
        run(command("knotc").arg("-c").arg(&conf).arg("conf-check"));
    }
}

#[test]
fn manual_pages_and_completions_are_installed_as_the_page_says() {
    let scratch = tempfile::tempdir().unwrap();
    let root = scratch.path().to_str().unwrap();
    let (_, below) = PAGE.split_once("### Manual pages and completions\n").unwrap();
    let block = below.split("```").nth(1).unwrap();
    let lines: Vec<_> = block.lines().filter_map(|line| line.strip_prefix("# dyngate ")).collect();
    assert_eq!(lines.len(), 4);
    for line in lines {
        let line = format!("{} {}", program().display(), swap(line, "/usr/local", root));
        run(command("sh").args(["-c", &line]));
    }
    for (file, words) in [
        ("man/man1/dyngate-serve.1", "ready"),
        ("bash-completion/completions/dyngate", "complete -F"),
        ("zsh/site-functions/_dyngate", "#compdef dyngate"),
        ("fish/vendor_completions.d/dyngate.fish", "complete -c dyngate"),
    ] {
        let text = fs::read_to_string(scratch.path().join("share").join(file)).unwrap();
        assert!(text.contains(words), "{words} in {file}");
    }
}

#[test]
fn systemd_takes_the_unit() {
    let Some(analyze) = find("systemd-analyze") else {
        eprintln!("SKIPPED: systemd-analyze is not installed, nothing was verified");
        return;
    };
    let packaging = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging");
    let scratch = tempfile::tempdir().unwrap();
    let unit = scratch.path().join("dyngate.service");
    let text = fs::read_to_string(packaging.join("dyngate.service")).unwrap();
    fs::write(&unit, swap(&text, "=/usr/local/bin/dyngate ", &format!("={} ", program().display()))).unwrap();
    let analyze = |arguments: &[&OsStr]| {
        let output = Command::new(&analyze).args(arguments).arg(&unit).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && said.is_empty(), "{arguments:?}: {}\n{said}", output.status);
        String::from_utf8(output.stdout).unwrap()
    };
    let (verify, security) = ("verify".as_ref(), "security".as_ref());
    let (offline, threshold) = ("--offline=true".as_ref(), "--threshold=20".as_ref());
    analyze(&[verify]);
    analyze(&[security, offline, threshold]);
    let [socket] = blocks("systemd")[..] else { panic!("one socket unit") };
    fs::write(scratch.path().join("dyngate.socket"), socket).unwrap();
    run(command("systemd-analyze").arg("verify").arg(scratch.path().join("dyngate.socket")));
    let drop_ins = scratch.path().join("dyngate.service.d");
    fs::create_dir(&drop_ins).unwrap();
    fs::copy(packaging.join("dyngate-low-ports.conf"), drop_ins.join("low-ports.conf")).unwrap();
    analyze(&[verify]);
    analyze(&[security, offline, threshold]);
    // Snippets for `systemctl edit`, each of them on its own.
    for block in blocks("ini") {
        let edit = block.replace("/usr/local/bin/dyngate", program().to_str().unwrap());
        fs::write(drop_ins.join("edit.conf"), edit).unwrap();
        analyze(&[verify]);
    }
}
