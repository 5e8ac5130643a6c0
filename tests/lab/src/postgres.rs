//! A running PostgreSQL: start, stop, kill, start again on the same port with the same data.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::process::{Signal, kill_process};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::Error;
use crate::child::{Child, read_log, stopped};
use crate::port::{Port, at_free_port};
use crate::program::{find, run, write};

/// How long it may take until it answers; generous, since tests share two cores and it may have to recover.
const START: Duration = Duration::from_secs(60);
const STOP: Duration = Duration::from_secs(15);
/// The user that Debian's package makes: the server refuses to run as root.
const USER: &str = "postgres";
const PASSWORD: &str = "Kept-0ut-of-the-logs";
/// Where Debian keeps the programs of each version.
const VERSIONS: &str = "/usr/lib/postgresql";

/// A PostgreSQL server in a scratch folder of its own, with an empty database `dyngate`; killed and removed when dropped.
#[derive(Debug)]
pub struct Postgres {
    // The child comes first: it is dead before its folder goes.
    child: Option<Child>,
    port: Port,
    programs: PathBuf,
    durable: bool,
    scratch: TempDir,
}

impl Postgres {
    /// Starts a fresh cluster, whose texts are in a language's order as in most installations. It waits for no disk: what a
    /// killed server wrote is kept all the same.
    ///
    /// # Errors
    /// A missing program with the package to install; a server that does not come up, with its log.
    pub async fn start() -> Result<Self, Error> {
        Self::start_as(false).await
    }

    /// As [`Postgres::start`], waiting for the disk as PostgreSQL comes: for measurements.
    ///
    /// # Errors
    /// As for [`Postgres::start`].
    pub async fn durable() -> Result<Self, Error> {
        Self::start_as(true).await
    }

    async fn start_as(durable: bool) -> Result<Self, Error> {
        let programs = programs()?;
        at_free_port(async |port| {
            let scratch = TempDir::with_prefix("dyngate-lab-").map_err(Error::io("make a scratch folder"))?;
            let mut server = Self { child: None, port, programs: programs.clone(), durable, scratch };
            server.copy_cluster().await?;
            server.start_again().await?;
            Ok(server)
        })
        .await
    }

    async fn copy_cluster(&self) -> Result<(), Error> {
        let folder = self.scratch.path();
        let mut copy = Command::new("cp");
        copy.arg("-a").arg(self.first_cluster().await?).arg(folder.join("data"));
        run(copy, String::new()).await?;
        own(folder).await
    }

    /// The cluster of which all are copies, made once on a machine: initdb takes two seconds of a core.
    async fn first_cluster(&self) -> Result<PathBuf, Error> {
        let version = self.programs.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy();
        let user = rustix::process::getuid().as_raw();
        let place = std::env::temp_dir().join(format!("dyngate-lab-postgres-{version}-{user}"));
        let lock = File::create(place.with_extension("lock")).map_err(Error::io("make a lock"))?;
        let locked =
            tokio::task::spawn_blocking(move || flock(&lock, FlockOperation::LockExclusive).map(|()| lock)).await;
        let locked = locked.map_err(|error| Error::Protocol(error.to_string()))?;
        let _lock = locked.map_err(|errno| Error::io("lock")(errno.into()))?;
        if place.is_dir() {
            return Ok(place);
        }
        let scratch = TempDir::with_prefix("dyngate-lab-").map_err(Error::io("make a scratch folder"))?;
        let (data, password) = (scratch.path().join("data"), scratch.path().join("password"));
        write(&password, PASSWORD)?;
        own(scratch.path()).await?;
        let mut initdb = self.command("initdb")?;
        // Not SCRAM: its 4096 rounds take an unoptimised client half a second for each connection.
        initdb.args(["--username=dyngate", "--auth=password", "--encoding=UTF8", "--no-sync", "--no-instructions"]);
        initdb.args(["--locale=C.UTF-8", "--locale-provider=icu", "--icu-locale=en"]);
        initdb.arg("--pwfile").arg(&password).arg("--pgdata").arg(&data);
        run(initdb, String::new()).await?;
        let mut alone = self.command("postgres")?;
        alone.arg("--single").arg("-D").arg(&data).arg("postgres");
        run(alone, "CREATE DATABASE dyngate\n".to_owned()).await?;
        // Whole or not at all, whatever ends this process.
        fs::rename(&data, &place).map_err(Error::io(format!("make {}", place.display())))?;
        Ok(place)
    }

    /// Starts it again after `stop` or `kill`: same port, same data.
    ///
    /// # Errors
    /// As for [`Postgres::start`].
    pub async fn start_again(&mut self) -> Result<(), Error> {
        let deadline = Instant::now() + START;
        loop {
            self.child = None;
            let mut command = self.command("postgres")?;
            let folder = self.scratch.path();
            command.arg("-D").arg(folder.join("data")).arg("-p").arg(self.port.number().to_string());
            command.arg("-c").arg(format!("unix_socket_directories={}", folder.display()));
            command.args(["-c", "listen_addresses=127.0.0.1", "-c", "max_connections=60", "-c", "shared_buffers=32MB"]);
            if !self.durable {
                command.args(["-c", "fsync=off"]);
            }
            let mut child = Child::spawn("postgres", command, &self.log_file())?;
            match child.until(START, async || self.answers().await.map_err(|error| error.to_string())).await {
                Ok(()) => {
                    self.child = Some(child);
                    return Ok(());
                }
                // After SIGKILL its orphans end by themselves, and hold the shared memory until then.
                Err(Error::NotStarted { log, .. })
                    if Instant::now() < deadline && last_lines(&log).contains("shared memory block") =>
                {
                    sleep(Duration::from_millis(100)).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn answers(&self) -> Result<(), Error> {
        let mut question = Command::new(self.programs.join("pg_isready"));
        question.args(["-q", "-h", "127.0.0.1", "-p"]).arg(self.port.number().to_string());
        run(question, String::new()).await.map(drop)
    }

    /// Makes one more empty database.
    ///
    /// # Errors
    /// What createdb said.
    pub async fn make_database(&self, name: &str) -> Result<(), Error> {
        self.sql("postgres", &format!("CREATE DATABASE \"{name}\"")).await.map(drop)
    }

    /// Runs SQL in a database as its administrator, and returns what it prints: a row a line, `|` between the values.
    ///
    /// # Errors
    /// What psql said.
    pub async fn sql(&self, database: &str, sql: &str) -> Result<String, Error> {
        let mut psql = Command::new(self.programs.join("psql"));
        psql.args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1"]);
        psql.arg(self.url_of(database));
        run(psql, sql.to_owned()).await
    }

    /// The URL of the database `dyngate`, with user and password.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_of("dyngate")
    }

    /// The URL of another database.
    #[must_use]
    pub fn url_of(&self, database: &str) -> String {
        format!("postgres://dyngate:{PASSWORD}@{}/{database}", self.port.addr())
    }

    /// The password in its URLs.
    #[must_use]
    pub fn password(&self) -> &'static str {
        PASSWORD
    }

    /// Its process id, not those of the processes that serve its clients; `None` when it is stopped.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::pid)
    }

    /// Its scratch folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.scratch.path()
    }

    fn log_file(&self) -> PathBuf {
        self.scratch.path().join("postgres.log")
    }

    /// All it wrote, over all its starts.
    #[must_use]
    pub fn log(&self) -> String {
        read_log(&self.log_file())
    }

    /// SIGINT, which ends the sessions of its clients, and the wait for its end.
    ///
    /// # Errors
    /// It did not end within 15 seconds.
    pub async fn stop(&mut self) -> Result<(), Error> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        child.signal(Signal::INT)?;
        child.wait(STOP).await.map(drop)
    }

    /// SIGKILL, as a power cut would.
    pub fn kill(&mut self) {
        self.child = None;
    }

    /// SIGSTOP for it and the processes that serve its clients, who then wait for answers. Nothing else runs meanwhile.
    ///
    /// # Errors
    /// The system refused a signal, or they did not stop within 15 seconds.
    pub fn pause(&mut self) -> Result<(), Error> {
        let Some(child) = &mut self.child else { return Ok(()) };
        // First the one that would start others.
        child.signal(Signal::STOP)?;
        // Not by tokio's clock, which a test may have stopped.
        for _ in 0..STOP.as_millis() {
            let children = child.children();
            for pid in &children {
                let _ended_meanwhile = kill_process(*pid, Signal::STOP);
            }
            let pids = children.iter().map(|pid| pid.as_raw_nonzero().get().unsigned_abs());
            if pids.chain([child.pid()]).all(stopped) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Err(Error::Timeout(format!("postgres did not stop within {STOP:?}")))
    }

    /// SIGCONT after [`Postgres::pause`].
    ///
    /// # Errors
    /// The system refused the signal.
    pub fn resume(&mut self) -> Result<(), Error> {
        let Some(child) = &mut self.child else { return Ok(()) };
        for pid in child.children() {
            let _ended_meanwhile = kill_process(pid, Signal::CONT);
        }
        child.signal(Signal::CONT)
    }

    /// The command of `program`, as a user that the server accepts.
    fn command(&self, program: &str) -> Result<Command, Error> {
        let program = self.programs.join(program);
        let mut command = if is_root() {
            let mut command = Command::new(find("setpriv", "util-linux")?);
            command.args(["--reuid", USER, "--regid", USER, "--clear-groups", "--"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        // A folder that the user may enter; the one of the tests may be closed to it.
        command.current_dir("/");
        Ok(command)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // One that is paused would hear of nothing.
        let _ = self.resume();
        // SIGQUIT takes the server's own children with it, SIGKILL would leave them behind for a moment.
        let Some(mut child) = self.child.take() else { return };
        let _ = child.signal(Signal::QUIT);
        for _ in 0..500 {
            if !matches!(child.ended(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Gives a folder to the user whom the server accepts.
async fn own(folder: &Path) -> Result<(), Error> {
    if !is_root() {
        return Ok(());
    }
    let mut owner = Command::new("chown");
    owner.arg("-R").arg(format!("{USER}:")).arg(folder);
    run(owner, String::new()).await.map(drop)
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The folder of the newest version's programs.
fn programs() -> Result<PathBuf, Error> {
    let versions = fs::read_dir(VERSIONS).into_iter().flatten().flatten();
    let version =
        |path: &PathBuf| path.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse::<u32>().ok());
    let with_server = versions.map(|entry| entry.path()).filter(|path| path.join("bin/initdb").is_file());
    let newest = with_server.max_by_key(version);
    let missing = || Error::Missing { program: "initdb".to_owned(), package: "postgresql" };
    newest.map(|path| path.join("bin")).ok_or_else(missing)
}

fn last_lines(log: &str) -> String {
    let lines: Vec<_> = log.lines().rev().take(5).collect();
    lines.join("\n")
}
