//! The commands on accounts and hosts, on both databases, with a real primary behind them.

mod accounts;
mod documented;
mod hosts;
mod moving;
mod poison;
mod refused;
mod service;
mod terminal;

use std::process::Command;

use lab::{Key, Kind, Postgres, Server, Setup, digest};
use serde_json::Value;
use tempfile::TempDir;

use crate::command_line::{self, Output};
use crate::stage::{LOGIN, SECRET, ZONE, program};

/// Lines of the zone: what stands in the way of hosts.
const LINES: [&str; 6] = [
    "taken 60 IN A 192.0.2.80",
    "taken 60 IN AAAA 2001:db8::80",
    "alias 60 IN CNAME taken",
    "sub 60 IN NS ns.elsewhere.example.",
    "renamed 60 IN DNAME elsewhere.example.",
    "*.lent 60 IN A 192.0.2.81",
];

pub(crate) use crate::stage::on_both;

/// A primary, a store, and a configuration that names both; no gateway runs.
pub(crate) struct Stage {
    pub(crate) primary: Server,
    pub(crate) postgres: Option<Postgres>,
    pub(crate) folder: TempDir,
    key: Key,
}

impl Stage {
    pub(crate) async fn sqlite() -> Self {
        Self::new(Kind::Knot, None).await
    }

    pub(crate) async fn postgres() -> Self {
        Self::new(Kind::Knot, Some(Postgres::start().await.expect("a PostgreSQL"))).await
    }

    pub(crate) async fn new(kind: Kind, postgres: Option<Postgres>) -> Self {
        let key = Key::generate("gateway-key");
        let setup = Setup::new().key(&key).zone_with(ZONE, &LINES).zone("inner.dyn.example");
        let primary = Server::start(kind, setup).await.expect("the primary starts");
        let folder = TempDir::with_prefix("dyngate-operating-").expect("a folder");
        let stage = Self { primary, postgres, folder, key };
        stage.configure("gateway.toml", &stage.url(), "");
        stage
    }

    /// The URL of its store.
    pub(crate) fn url(&self) -> String {
        self.postgres.as_ref().map_or_else(|| "sqlite:store.db".to_owned(), Postgres::url)
    }

    /// Writes a configuration with this store, and further sections.
    pub(crate) fn configure(&self, file: &str, url: &str, more: &str) {
        let toml = format!(
            "{}\n[[zone]]\nname = \"{ZONE}\"\nkey = \"{}\"\nprimaries = [\"{}\"]\n\n\
             [[account]]\nlogin = \"{LOGIN}\"\nsecret = \"{}\"\nhosts = [\"home.dyn.example\", \"*.office.dyn.example\"]\n\n\
             [[host]]\nname = \"home.dyn.example\"\nttl = 120\n\n[store]\nurl = \"{url}\"\n\n\
             [http]\nlisten = [\"127.0.0.1:0\"]\n[admin]\nlisten = \"127.0.0.1:0\"\n[engine]\ndeadline = \"2s\"\n{more}\n",
            self.key.toml(),
            self.key.name,
            self.primary.addr(),
            digest(SECRET),
        );
        std::fs::write(self.folder.path().join(file), toml).expect("the configuration is written");
    }

    pub(crate) fn path(&self, file: &str) -> String {
        self.folder.path().join(file).display().to_string()
    }

    /// Runs the command that these words make.
    pub(crate) fn run(&self, words: &str) -> Output {
        self.run_with(words, "")
    }

    pub(crate) fn run_with(&self, words: &str, input: &str) -> Output {
        let words: Vec<_> = words.split(' ').collect();
        self.run_words(&words, input)
    }

    pub(crate) fn run_words(&self, words: &[&str], input: &str) -> Output {
        let config = self.path("gateway.toml");
        command_line::run(&[words, &["--config", &config]].concat(), input)
    }

    /// Standard output of a command that does it.
    pub(crate) fn done(&self, words: &str) -> String {
        let output = self.run(words);
        assert_eq!(output.code, Some(0), "{words}: {}", output.stderr);
        output.stdout
    }

    /// What a command prints with `--json`.
    pub(crate) fn json(&self, words: &str) -> Value {
        let stdout = self.done(&format!("{words} --json"));
        serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{words}: {error}: {stdout}"))
    }

    /// A command that is not done, with its exit code and these words on standard error, and nothing on standard output.
    #[track_caller]
    pub(crate) fn refused(&self, command: &str, code: i32, words: &[&str]) {
        let output = self.run(command);
        assert_eq!((output.code, output.stdout.as_str()), (Some(code), ""), "{command}: {}", output.stderr);
        for word in words {
            assert!(output.stderr.contains(word), "{command}: no {word:?} in {}", output.stderr);
        }
    }

    /// SQL past the commands.
    pub(crate) async fn sql(&self, sql: &str) -> String {
        if let Some(server) = &self.postgres {
            return server.sql("dyngate", sql).await.expect("psql");
        }
        let output = Command::new("sqlite3").arg(self.path("store.db")).arg(sql).output().expect("sqlite3");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    }

    /// A command that is still running.
    pub(crate) fn start(&self, words: &str) -> std::process::Child {
        let mut command = Command::new(program());
        command.args(words.split(' ')).arg("--config").arg(self.path("gateway.toml")).env_remove("DYNGATE_CONFIG");
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        command.spawn().expect("it starts")
    }
}

/// The keys of a JSON object, in their order as printed by a map: sorted.
pub(crate) fn keys(value: &Value) -> Vec<&str> {
    value.as_object().expect("an object").keys().map(String::as_str).collect()
}
