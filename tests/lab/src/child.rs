//! A child process that never outlives its value: signalled by process id, killed and reaped on drop.

use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{self, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{Instant, sleep};

use crate::Error;

/// What servers say in lower case when another program has their port. BIND says why at a higher log level only, and where
/// it is TCP alone it goes on without.
const TAKEN: [&str; 3] = ["address already in use", "address in use", "unable to listen on any configured interfaces"];

/// A running child whose output goes to a file; killed and reaped when dropped.
#[derive(Debug)]
pub struct Child {
    what: String,
    inner: process::Child,
    log: PathBuf,
    /// How many octets of the file are of those before it.
    before: u64,
}

impl Child {
    /// Starts `command` with its standard output and error appended to `log`.
    ///
    /// # Errors
    /// The system refused the file or the program.
    pub fn spawn(what: &str, mut command: Command, log: &Path) -> Result<Self, Error> {
        let open = || -> Result<File, Error> {
            let file = OpenOptions::new().create(true).append(true).open(log);
            file.map_err(Error::io(format!("open {}", log.display())))
        };
        command.stdin(Stdio::null()).stdout(open()?).stderr(open()?);
        let before = fs::metadata(log).map_or(0, |log| log.len());
        let inner = command.spawn().map_err(Error::io(format!("start {what}")))?;
        Ok(Self { what: what.to_owned(), inner, log: log.to_owned(), before })
    }

    /// Waits until `ready` misses nothing: its error says what.
    ///
    /// # Errors
    /// It ended, another program has its port, or something is still missing after `limit`.
    pub async fn until(
        &mut self,
        limit: Duration,
        mut ready: impl AsyncFnMut() -> Result<(), String>,
    ) -> Result<(), Error> {
        let deadline = Instant::now() + limit;
        loop {
            let missing = ready().await.err();
            let ended = self.ended()?;
            if self.port_is_taken() {
                return Err(Error::PortTaken { what: self.what.clone(), log: self.log() });
            }
            let why = match (missing, ended) {
                (None, None) => return Ok(()),
                (_, Some(status)) => format!("it ended with {status}"),
                (Some(missing), None) if Instant::now() >= deadline => format!("not ready within {limit:?}: {missing}"),
                (Some(_), None) => {
                    sleep(Duration::from_millis(10)).await;
                    continue;
                }
            };
            return Err(Error::NotStarted { what: self.what.clone(), why, log: self.log() });
        }
    }

    /// Whether it has said so since its start.
    fn port_is_taken(&self) -> bool {
        let mut own = vec![];
        let read = File::open(&self.log).and_then(|mut file| {
            file.seek(SeekFrom::Start(self.before))?;
            file.read_to_end(&mut own)
        });
        let own = String::from_utf8_lossy(&own).to_lowercase();
        read.is_ok() && TAKEN.iter().any(|words| own.contains(words))
    }

    /// The process id; it stays ours until the child is reaped.
    pub(crate) fn pid(&self) -> u32 {
        self.inner.id()
    }

    /// How it ended, or `None` while it runs.
    pub(crate) fn ended(&mut self) -> Result<Option<ExitStatus>, Error> {
        self.inner.try_wait().map_err(Error::io(format!("wait for {}", self.what)))
    }

    /// Sends a signal; one that has ended is left alone.
    pub(crate) fn signal(&mut self, signal: Signal) -> Result<(), Error> {
        if self.ended()?.is_some() {
            return Ok(());
        }
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw);
        let Some(pid) = pid else { return Ok(()) };
        kill_process(pid, signal).map_err(|errno| Error::io(format!("signal {}", self.what))(errno.into()))
    }

    /// Its children.
    pub(crate) fn children(&self) -> Vec<Pid> {
        let pid = self.pid();
        let listed = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        listed.split_whitespace().filter_map(|pid| pid.parse().ok().and_then(Pid::from_raw)).collect()
    }

    /// SIGSTOP, and the wait until all its threads have stopped: a busy one goes on for some milliseconds.
    pub(crate) async fn pause(&mut self, limit: Duration) -> Result<(), Error> {
        self.signal(Signal::STOP)?;
        let deadline = Instant::now() + limit;
        while !stopped(self.pid()) && self.ended()?.is_none() {
            if Instant::now() >= deadline {
                return Err(Error::Timeout(format!("{} did not stop within {limit:?}", self.what)));
            }
            sleep(Duration::from_millis(1)).await;
        }
        Ok(())
    }

    /// Waits until it has ended.
    pub(crate) async fn wait(&mut self, limit: Duration) -> Result<ExitStatus, Error> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.ended()? {
                return Ok(status);
            }
            if Instant::now() >= deadline {
                return Err(Error::Timeout(format!(
                    "{} did not end within {limit:?}; its log:\n{}",
                    self.what,
                    self.log()
                )));
            }
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// SIGTERM, also to one that is paused; SIGKILL for one that does not heed it, which is then the error.
    pub(crate) async fn stop(&mut self, limit: Duration) -> Result<ExitStatus, Error> {
        self.signal(Signal::TERM)?;
        self.signal(Signal::CONT)?;
        let ended = self.wait(limit).await;
        if ended.is_err() {
            self.kill();
        }
        ended
    }

    /// SIGKILL, and reaped before this returns.
    pub(crate) fn kill(&mut self) {
        let _ = self.inner.kill();
        let _ = self.inner.wait();
    }

    /// All that it and those before it on the same file wrote.
    #[must_use]
    pub fn log(&self) -> String {
        read_log(&self.log)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Whether every thread of a process is in state T, or Z, as a child stays that ended after its parent was stopped: the first
/// letter behind the name in parentheses, see proc(5).
pub(crate) fn stopped(pid: u32) -> bool {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return true };
    threads.flatten().all(|thread| {
        let stat = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with(['T', 'Z']))
    })
}

/// A log as text, whatever is in it; nothing when there is none yet.
pub(crate) fn read_log(file: &Path) -> String {
    std::fs::read(file).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}
