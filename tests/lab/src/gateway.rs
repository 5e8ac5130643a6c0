//! The built gateway as a child: its configuration in a scratch folder, its real addresses from the ready file.

use std::env;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::digest::SHA256;
use ring::rand::{SecureRandom as _, SystemRandom};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::Error;
use crate::child::{Child, read_log};
use crate::http::Request;
use crate::program::{folder, write};

const START: Duration = Duration::from_secs(30);
const STOP: Duration = Duration::from_secs(15);
const CONFIG: &str = "gateway.toml";
const READY: &str = "ready.json";

/// What to run, and with what around it.
#[derive(Debug)]
pub struct Builder {
    program: PathBuf,
    config: String,
    env: Vec<(String, String)>,
    arguments: Vec<String>,
    files: Vec<(String, String)>,
}

impl Builder {
    /// Runs exactly this program, whatever DYNGATE_BIN says.
    pub fn new(program: impl AsRef<Path>) -> Self {
        let program = program.as_ref().to_owned();
        Self { program, config: String::new(), env: vec![], arguments: vec![], files: vec![] }
    }

    /// The text of gateway.toml.
    #[must_use]
    pub fn config(mut self, toml: &str) -> Self {
        toml.clone_into(&mut self.config);
        self
    }

    /// A variable of its environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Several of them, such as those of [`faketime`].
    #[must_use]
    pub fn envs(mut self, all: impl IntoIterator<Item = (String, String)>) -> Self {
        self.env.extend(all);
        self
    }

    /// A further argument behind `serve --config … --ready-file …`.
    #[must_use]
    pub fn arg(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// A file beside gateway.toml: a key, a certificate.
    #[must_use]
    pub fn file(mut self, name: &str, text: &str) -> Self {
        self.files.push((name.to_owned(), text.to_owned()));
        self
    }

    /// Starts it and waits for its ready file.
    ///
    /// # Errors
    /// It ended or never was ready, with its log.
    pub async fn start(self) -> Result<Gateway, Error> {
        if !self.program.is_file() {
            let what =
                format!("{}: no such program; cargo build, or DYNGATE_BIN names another", self.program.display());
            return Err(Error::Unsupported(what));
        }
        let scratch = TempDir::with_prefix("dyngate-gateway-").map_err(Error::io("make a scratch folder"))?;
        let nowhere = ([127, 0, 0, 1], 0).into();
        let mut gateway = Gateway { child: None, http: nowhere, https: None, admin: nowhere, builder: self, scratch };
        gateway.write(CONFIG, &gateway.builder.config)?;
        for (name, text) in &gateway.builder.files {
            gateway.write(name, text)?;
        }
        gateway.start_again().await?;
        Ok(gateway)
    }
}

/// A running gateway; killed and removed when dropped.
#[derive(Debug)]
pub struct Gateway {
    // The child comes first: it is dead before its folder goes.
    child: Option<Child>,
    http: SocketAddr,
    https: Option<SocketAddr>,
    admin: SocketAddr,
    builder: Builder,
    scratch: TempDir,
}

impl Gateway {
    /// The program is DYNGATE_BIN, else `program`: `env!("CARGO_BIN_EXE_dyngate")` in a test of the package.
    pub fn builder(program: impl AsRef<Path>) -> Builder {
        env::var_os("DYNGATE_BIN").map_or_else(|| Builder::new(program), Builder::new)
    }

    /// The program is DYNGATE_BIN, else the `dyngate` of the same build.
    ///
    /// # Errors
    /// The running program's own place is not known.
    pub fn built() -> Result<Builder, Error> {
        Ok(Self::builder(beside()?))
    }

    /// Starts DYNGATE_BIN, else the `dyngate` of the same build, with this gateway.toml.
    ///
    /// # Errors
    /// As for [`Builder::start`].
    pub async fn start(config_toml: &str) -> Result<Self, Error> {
        Self::built()?.config(config_toml).start().await
    }

    /// Starts it again after `stop` or `kill` in the same folder; port 0 gives other ports.
    ///
    /// # Errors
    /// As for [`Builder::start`].
    pub async fn start_again(&mut self) -> Result<(), Error> {
        self.child = None;
        let ready = self.scratch.path().join(READY);
        let _ = fs::remove_file(&ready);
        let mut command = Command::new(&self.builder.program);
        command.arg("serve").arg("--config").arg(self.scratch.path().join(CONFIG)).arg("--ready-file").arg(&ready);
        command.args(&self.builder.arguments).current_dir(self.scratch.path());
        command.env_remove("DYNGATE_CONFIG").envs(self.builder.env.iter().map(|(name, value)| (name, value)));
        let mut child = Child::spawn("dyngate", command, &self.log_file())?;
        let mut text = String::new();
        let there = async || match fs::read_to_string(&ready) {
            Ok(said) => {
                text = said;
                Ok(())
            }
            Err(error) => Err(format!("the ready file: {error}")),
        };
        child.until(START, there).await?;
        self.child = Some(child);
        self.listens(&text)
    }

    fn listens(&mut self, ready: &str) -> Result<(), Error> {
        let wrong = || Error::Protocol(format!("the ready file says: {ready}"));
        let value: serde_json::Value = serde_json::from_str(ready).map_err(|_| wrong())?;
        let addr = |name: &str| value.get(name).and_then(|addr| addr.as_str()).and_then(|addr| addr.parse().ok());
        self.http = addr("http").unwrap_or(([127, 0, 0, 1], 0).into());
        self.admin = addr("admin").ok_or_else(wrong)?;
        self.https = addr("https");
        Ok(())
    }

    /// The first plain listener; port 0 where it has no address, a unix socket for example.
    #[must_use]
    pub fn http(&self) -> SocketAddr {
        self.http
    }

    /// The first TLS listener.
    #[must_use]
    pub fn https(&self) -> Option<SocketAddr> {
        self.https
    }

    /// The first admin listener.
    #[must_use]
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// Its process id; `None` when it is stopped.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::pid)
    }

    /// Its scratch folder, in which gateway.toml lies.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.scratch.path()
    }

    /// Writes a file in its folder, gateway.toml for example.
    ///
    /// # Errors
    /// The system refused.
    pub fn write(&self, name: &str, text: &str) -> Result<(), Error> {
        let file = self.scratch.path().join(name);
        if let Some(parent) = file.parent() {
            folder(parent)?;
        }
        write(&file, text)
    }

    fn log_file(&self) -> PathBuf {
        self.scratch.path().join("gateway.log")
    }

    /// All it wrote, over all its starts.
    #[must_use]
    pub fn log(&self) -> String {
        read_log(&self.log_file())
    }

    /// SIGTERM only.
    ///
    /// # Errors
    /// The system refused the signal.
    pub fn terminate(&mut self) -> Result<(), Error> {
        self.child.as_mut().map_or(Ok(()), |child| child.signal(Signal::TERM))
    }

    /// SIGHUP: it reads its configuration again.
    ///
    /// # Errors
    /// The system refused the signal.
    pub fn reload(&mut self) -> Result<(), Error> {
        self.child.as_mut().map_or(Ok(()), |child| child.signal(Signal::HUP))
    }

    /// SIGTERM and the wait for its end; after 15 seconds SIGKILL and an error with its log.
    ///
    /// # Errors
    /// It did not heed SIGTERM, or does not run.
    pub async fn stop(&mut self) -> Result<ExitStatus, Error> {
        match self.child.take() {
            Some(mut child) => child.stop(STOP).await,
            None => Err(Error::Protocol("dyngate does not run".to_owned())),
        }
    }

    /// Waits for its end without a signal, after [`Gateway::terminate`] for example.
    ///
    /// # Errors
    /// It still runs after `limit`.
    pub async fn wait(&mut self, limit: Duration) -> Result<ExitStatus, Error> {
        match self.child.as_mut() {
            Some(child) => child.wait(limit).await,
            None => Err(Error::Protocol("dyngate does not run".to_owned())),
        }
    }

    /// SIGKILL, as a power cut would.
    pub fn kill(&mut self) {
        self.child = None;
    }

    /// The text of `/metrics`.
    ///
    /// # Errors
    /// No answer, or not 200.
    pub async fn metrics(&self) -> Result<String, Error> {
        let response = Request::get("/metrics").header("Connection", "close").send(self.admin).await?;
        match response.status {
            200 => Ok(response.text()),
            status => Err(Error::Protocol(format!("/metrics: {status} {}", response.text()))),
        }
    }

    /// The sum of all samples whose line starts with `prefix`, such as
    /// `dyngate_requests_total{dialect="dyndns2",outcome="changed"`; 0 when there is none.
    ///
    /// # Errors
    /// As for [`Gateway::metrics`].
    pub async fn metric(&self, prefix: &str) -> Result<f64, Error> {
        let text = self.metrics().await?;
        let samples = text.lines().filter(|line| line.starts_with(prefix));
        Ok(samples.filter_map(|line| line.rsplit(' ').next()).filter_map(|value| value.parse::<f64>().ok()).sum())
    }
}

/// The `dyngate` in the target folder of the running program, or one folder above, where tests lie in `deps`.
fn beside() -> Result<PathBuf, Error> {
    let own = env::current_exe().map_err(Error::io("find the running program"))?;
    let places = own.ancestors().skip(1).take(2).map(|folder| folder.join("dyngate"));
    let found = places.clone().find(|file| file.is_file());
    Ok(found.or_else(|| places.last()).unwrap_or_default())
}

/// The environment that shifts a program's wall clock by so many seconds and leaves its timers alone.
///
/// # Errors
/// libfaketime is not installed.
pub fn faketime(offset_seconds: i64) -> Result<Vec<(String, String)>, Error> {
    preloaded([("FAKETIME", format!("{offset_seconds:+}"))])
}

/// As [`faketime`], by as many seconds as `file` says at each moment, such as `+3600`: to be replaced, not written over.
///
/// # Errors
/// As for [`faketime`].
pub fn steppable_clock(file: &Path) -> Result<Vec<(String, String)>, Error> {
    let file = file.to_string_lossy().into_owned();
    preloaded([("FAKETIME_TIMESTAMP_FILE", file), ("FAKETIME_NO_CACHE", "1".to_owned())])
}

fn preloaded<const N: usize>(more: [(&str, String); N]) -> Result<Vec<(String, String)>, Error> {
    let folders = fs::read_dir("/usr/lib").into_iter().flatten().flatten().map(|folder| folder.path());
    let library = folders
        .chain([PathBuf::from("/usr/lib")])
        .map(|folder| folder.join("faketime/libfaketime.so.1"))
        .find(|file| file.is_file())
        .ok_or_else(|| Error::Missing { program: "libfaketime.so.1".to_owned(), package: "faketime" })?;
    let library = library.to_string_lossy().into_owned();
    let all = [("LD_PRELOAD", library), ("DONT_FAKE_MONOTONIC", "1".to_owned())].into_iter().chain(more);
    Ok(all.map(|(name, value)| (name.to_owned(), value)).collect())
}

/// A secret of 160 random bits, as `dyngate hash --generate` makes one.
#[must_use]
pub fn new_secret() -> String {
    let mut octets = [0; 20];
    #[expect(clippy::expect_used, reason = "a test machine without randomness cannot test anything")]
    SystemRandom::new().fill(&mut octets).expect("the system has randomness");
    URL_SAFE_NO_PAD.encode(octets)
}

/// `$sha256$` and the digest of a secret, as an `[[account]]` states it.
#[must_use]
pub fn digest(secret: &str) -> String {
    format!("$sha256${}", STANDARD.encode(ring::digest::digest(&SHA256, secret.as_bytes())))
}
