//! A client as a child: nothing of our environment but PATH, its output in a file, ended with its value.

use std::env;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::NamedTempFile;
use tokio::time::{Instant, sleep};

/// How a client ended and all it wrote.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) output: String,
}

impl Ran {
    /// It ended with this code and wrote this.
    #[track_caller]
    pub(crate) fn assert(&self, code: i32, text: &str) {
        assert!(self.code == Some(code) && self.output.contains(text), "not {code} with {text:?}: {self:#?}");
    }
}

/// A running client; killed and reaped when dropped.
pub(crate) struct Program {
    child: Child,
    log: NamedTempFile,
}

impl Program {
    /// Starts it in its own folder, which is its home too.
    pub(crate) fn start(program: &str, arguments: &[&str], folder: &Path) -> Self {
        let log = NamedTempFile::with_prefix_in("output-", folder).expect("a file for its output");
        let file = || Stdio::from(File::options().append(true).open(log.path()).expect("its output"));
        let mut command = Command::new(find(program).unwrap_or_else(|| panic!("{program}: scripts/install-deps.sh")));
        command.args(arguments).current_dir(folder).stdin(Stdio::null()).stdout(file()).stderr(file());
        // A proxy of the developer's would be asked for 127.0.0.1.
        command.env_clear().env("PATH", path()).env("HOME", folder).env("LC_ALL", "C");
        let child = command.spawn().unwrap_or_else(|error| panic!("start {program}: {error}"));
        Self { child, log }
    }

    /// The file of its output.
    pub(crate) fn log(&self) -> PathBuf {
        self.log.path().to_owned()
    }

    /// What it wrote so far.
    pub(crate) fn output(&self) -> String {
        fs::read(self.log.path()).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).expect("its output")
    }

    /// Whether it still runs.
    pub(crate) fn runs(&mut self) -> bool {
        self.child.try_wait().expect("its state").is_none()
    }

    /// What it calls itself in the list of processes.
    pub(crate) fn title(&self) -> String {
        fs::read_to_string(format!("/proc/{}/cmdline", self.child.id())).unwrap_or_default()
    }

    /// Sends it a signal; the id is its own until it is reaped.
    pub(crate) fn signal(&mut self, signal: Signal) {
        assert!(self.runs(), "it has ended: {}", self.output());
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("its id");
        kill_process(pid, signal).expect("a signal");
    }

    /// Waits for its end.
    pub(crate) async fn ended(mut self, limit: Duration) -> Ran {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait().expect("its state") {
                return Ran { code: status.code(), output: self.output() };
            }
            assert!(Instant::now() < deadline, "it still runs after {limit:?}: {}", self.output());
            sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// PATH with the folders for system programs, which a user's often lacks.
fn path() -> String {
    format!("{}:/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin", env::var("PATH").unwrap_or_default())
}

/// A program by its path, or by its name on PATH.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    env::split_paths(&path()).map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// One line for whoever reads the test's output: RAN or SKIPPED, what, and how or why. Written past the capture.
pub(crate) fn said(which: &str, what: &str, how: &str) {
    let _ = writeln!(std::io::stderr(), "{which}: {what}: {}", how.trim());
}
