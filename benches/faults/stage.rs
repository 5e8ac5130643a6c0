//! A primary, a gateway with a store in front of it on a port that stays its own, and an account.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use lab::{Gateway, Key, Kind, Port, Server, Setup, at_free_port, digest, new_secret};
use tempfile::TempDir;

use crate::Failure;

pub(crate) const ZONE: &str = "dyn.example";
pub(crate) const LOGIN: &str = "routers";

/// What differs from one primary on its own disk and a gateway with SQLite on its own.
pub(crate) struct Plot {
    pub(crate) kind: Kind,
    /// Where the primary's scratch folder is made.
    pub(crate) disk: PathBuf,
    pub(crate) primary_env: Vec<(String, String)>,
    pub(crate) gateway_env: Vec<(String, String)>,
    /// Where SQLite lies; a folder of the stage where nothing is said.
    pub(crate) store: Option<String>,
    /// `connections_per_source` and the like, for `[http]`.
    pub(crate) http: &'static str,
    /// Whether the account stands in the file, or is to be made in the store.
    pub(crate) is_declared: bool,
}

/// Both running.
pub(crate) struct Stage {
    pub(crate) gateway: Gateway,
    pub(crate) primary: Server,
    pub(crate) http: SocketAddr,
    pub(crate) secret: String,
    pub(crate) store: String,
    _port: Port,
    _folder: TempDir,
}

impl Plot {
    pub(crate) fn new(kind: Kind) -> Self {
        Self {
            kind,
            disk: std::env::temp_dir(),
            primary_env: vec![],
            gateway_env: vec![],
            store: None,
            http: "",
            is_declared: true,
        }
    }

    pub(crate) async fn start(self) -> Result<Stage, Failure> {
        self.start_behind(async |primary| Ok(primary)).await
    }

    /// The gateway is told that the primary is where `way` says.
    pub(crate) async fn start_behind(
        self,
        way: impl AsyncFnOnce(SocketAddr) -> Result<SocketAddr, Failure>,
    ) -> Result<Stage, Failure> {
        let (key, secret) = (Key::generate("gateway-key"), new_secret());
        let setup = Setup::new().key(&key).zone(ZONE).envs(self.primary_env);
        let primary = Server::start_in(&self.disk, self.kind, setup).await?;
        let (folder, primary_addr) = (TempDir::with_prefix("dyngate-faults-")?, way(primary.addr()).await?);
        let store = self.store.unwrap_or_else(|| format!("sqlite:{}/store.db", folder.path().display()));
        let account = format!(
            "[[account]]\nlogin = \"{LOGIN}\"\nsecret = \"{}\"\nhosts = [\"*.{ZONE}\"]\nmax_hosts = 1000000\n",
            digest(&secret)
        );
        let start = async |port: Port| {
            let config = format!(
                "[http]\nlisten = [\"{}\"]\n{}\n[admin]\nlisten = \"127.0.0.1:0\"\n\
                 [limits]\nhost = \"off\"\naccount = \"off\"\nsource = {{ burst = 1000000, per_minute = 1000000 }}\n\
                 [engine]\ndeadline = \"2s\"\n[store]\nurl = \"{store}\"\n{}\
                 [[zone]]\nname = \"{ZONE}\"\nprimaries = [\"{primary_addr}\"]\nkey = \"{}\"\n{}",
                port.addr(),
                self.http,
                key.toml(),
                key.name,
                if self.is_declared { &account } else { "" },
            );
            let builder = Gateway::builder(program()).config(&config).envs(self.gateway_env.clone());
            Ok((builder.start().await?, port))
        };
        let (gateway, port) = at_free_port(start).await?;
        let http = port.addr();
        Ok(Stage { gateway, primary, http, secret, store, _port: port, _folder: folder })
    }
}

impl Stage {
    pub(crate) async fn stop(mut self) -> Result<(), Failure> {
        self.gateway.stop().await?;
        self.primary.stop().await?;
        Ok(())
    }

    /// A sub-command of the gateway's program on its configuration: what it printed.
    pub(crate) fn command(&self, arguments: &[&str]) -> Result<String, Failure> {
        let config = self.gateway.folder().join("gateway.toml");
        let output = Command::new(program()).args(arguments).arg("--config").arg(config).output()?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(format!("dyngate {}: {said}", arguments.join(" ")).into());
        }
        Ok(String::from_utf8(output.stdout)?)
    }
}

fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_dyngate"))
}
