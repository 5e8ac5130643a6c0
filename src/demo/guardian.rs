//! A child that never outlives us, however we end: a small shell holds a pipe from us, and when that closes it kills the
//! child and removes the scratch folder. Knows nothing of DNS.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;

/// `$1` is the scratch folder, the rest the command. Only the kernel knows of every end of ours (SIGKILL too), and it
/// tells by closing the pipe on descriptor 3. The folder goes with the child, so the child needs no gentler signal.
const SCRIPT: &str = r#"
PATH=$PATH:/usr/bin:/bin
scratch=$1
shift
exec 3<&0
"$@" </dev/null >"$scratch/server.log" 2>&1 3<&- &
child=$!
trap '' HUP INT TERM PIPE
{ read -r never <&3 || kill -KILL "$child"; } >/dev/null 2>&1 &
watcher=$!
echo "$child"
wait "$child"
kill -KILL "$watcher"
tail -n 15 "$scratch/server.log"
rm -rf "$scratch"
"#;

/// The child and its shell; both are gone, and the folder too, when the value is dropped.
#[derive(Debug)]
pub(super) struct Guardian {
    shell: Child,
    // The child's process id and, once it has ended, the end of its log.
    says: pipe::Receiver,
    last_words: Vec<u8>,
    pid: u32,
    // Removed by the shell; by us where somebody has killed the shell.
    scratch: TempDir,
}

impl Guardian {
    /// Starts `program` with `arguments` in `scratch`, its output in server.log there.
    pub(super) async fn start(scratch: TempDir, program: &Path, arguments: &[&str]) -> io::Result<Self> {
        let mut shell = Command::new("/bin/sh")
            .args(["-c", SCRIPT, "sh"])
            .arg(scratch.path())
            .arg(program)
            .args(arguments)
            .current_dir(scratch.path())
            // Ctrl-C in a terminal goes to a whole process group: this one is not ours.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let says = shell.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let says = pipe::Receiver::from_owned_fd(OwnedFd::from(says))?;
        let mut guardian = Self { shell, says, last_words: Vec::new(), pid: 0, scratch };
        let mut line = Vec::new();
        loop {
            match guardian.says.read_u8().await? {
                b'\n' => break,
                octet => line.push(octet),
            }
        }
        guardian.pid = str::from_utf8(&line).ok().and_then(|pid| pid.parse().ok()).ok_or(io::ErrorKind::InvalidData)?;
        Ok(guardian)
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    pub(super) fn folder(&self) -> &Path {
        self.scratch.path()
    }

    /// Waits until the child has ended by itself; the end of its log. Nothing is lost when the wait is given up.
    pub(super) async fn ended(&mut self) -> String {
        while let Ok(1..) = self.says.read_buf(&mut self.last_words).await {}
        String::from_utf8_lossy(&self.last_words).trim_end().to_owned()
    }
}

impl Drop for Guardian {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        let _ended = self.shell.wait();
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::path::PathBuf;

    use rustix::process::{Pid, Signal, kill_process, test_kill_process};

    use super::*;

    async fn start(program: &str, arguments: &[&str]) -> Guardian {
        Guardian::start(tempfile::tempdir().unwrap(), Path::new(program), arguments).await.unwrap()
    }

    async fn sleeper() -> (PathBuf, Guardian) {
        let guardian = start("sleep", &["1000"]).await;
        assert!(test_kill_process(pid(&guardian)).is_ok() && guardian.folder().exists());
        (guardian.folder().to_owned(), guardian)
    }

    fn pid(guardian: &Guardian) -> Pid {
        Pid::from_raw(i32::try_from(guardian.pid()).unwrap()).unwrap()
    }

    #[tokio::test]
    async fn a_dropped_guardian_leaves_neither_child_nor_folder() {
        let (folder, guardian) = sleeper().await;
        let child = pid(&guardian);
        drop(guardian);
        assert!(test_kill_process(child).is_err());
        assert!(!folder.exists());
    }

    #[tokio::test]
    async fn a_panic_leaves_neither_child_nor_folder() {
        let (folder, guardian) = sleeper().await;
        let child = pid(&guardian);
        let panicked = catch_unwind(AssertUnwindSafe(move || {
            let _guardian = guardian;
            panic!("on purpose");
        }));
        assert!(panicked.is_err() && test_kill_process(child).is_err() && !folder.exists());
    }

    #[tokio::test]
    async fn a_child_that_ends_by_itself_is_noticed_with_its_last_words() {
        let mut guardian = start("sh", &["-c", "echo one; echo two >&2; exit 3"]).await;
        assert_eq!(guardian.ended().await, "one\ntwo");
    }

    #[tokio::test]
    async fn a_program_that_cannot_be_started_says_so() {
        let mut guardian = start("/nonexistent/knotd", &[]).await;
        assert!(guardian.ended().await.contains("/nonexistent/knotd"));
    }

    #[tokio::test]
    async fn without_its_shell_the_child_still_ends_with_us() {
        let (folder, mut guardian) = sleeper().await;
        let child = pid(&guardian);
        kill_process(Pid::from_child(&guardian.shell), Signal::KILL).unwrap();
        assert_eq!(guardian.ended().await, "");
        drop(guardian);
        assert!(!folder.exists());
        // Nobody of ours waits for the child now: a zombie counts as gone.
        let stat = format!("/proc/{}/stat", child.as_raw_nonzero());
        while std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z ")) {
            tokio::task::yield_now().await;
        }
    }
}
