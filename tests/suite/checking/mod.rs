//! `dyngate check` before set-ups that are broken in all the ways that operators break them.

mod cases;
mod documented;
mod kept;
mod served;
mod told_apart;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use lab::Server;
use serde_json::Value;
use tempfile::TempDir;

use crate::stage::{Config, program};
use crate::tls::Certificates;

/// A run of `dyngate check` and the set-up around it, which lives as long.
pub(crate) struct Check {
    config: String,
    arguments: Vec<&'static str>,
    env: Vec<(String, String)>,
    /// The mode of gateway.toml, which holds the secret of the key.
    mode: u32,
    servers: Vec<Server>,
    certificates: Option<Certificates>,
    folder: Option<TempDir>,
}

impl Check {
    pub(crate) fn new(config: &Config, servers: Vec<Server>) -> Self {
        Self {
            config: config.toml(),
            arguments: Vec::new(),
            env: Vec::new(),
            mode: 0o600,
            servers,
            certificates: None,
            folder: None,
        }
    }

    pub(crate) fn arg(mut self, argument: &'static str) -> Self {
        self.arguments.push(argument);
        self
    }

    pub(crate) fn env(mut self, env: Vec<(String, String)>) -> Self {
        self.env = env;
        self
    }

    pub(crate) fn mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self
    }

    pub(crate) fn certificates(mut self, certificates: Certificates) -> Self {
        self.certificates = Some(certificates);
        self
    }

    /// What the set-up reads lies there.
    pub(crate) fn folder(mut self, folder: TempDir) -> Self {
        self.folder = Some(folder);
        self
    }

    /// Exit code, standard output and the path of the configuration.
    pub(crate) async fn run(&self, more: &[&str]) -> (Option<i32>, String, String) {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("gateway.toml");
        fs::write(&path, &self.config).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(self.mode)).unwrap();
        let mut command = Command::new(program());
        command.arg("check").arg("--config").arg(&path).args(&self.arguments).args(more).envs(self.env.iter().cloned());
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let path = path.display().to_string();
        let text = |octets| String::from_utf8(octets).unwrap();
        assert_eq!(text(output.stderr), "", "nothing went wrong with the check itself");
        (output.status.code(), text(output.stdout), path)
    }

    /// The codes of the findings, each of which must say what would mend it.
    pub(crate) async fn codes(&self) -> Vec<String> {
        let findings = self.findings().await;
        for finding in &findings {
            assert!(finding["what"].as_str().unwrap().len() > 10, "{finding}");
            assert!(!finding["advice"].as_array().unwrap().is_empty(), "no line that would mend it: {finding}");
        }
        codes(&findings)
    }

    /// The codes of the findings alone: a server that talks nonsense has no line that would mend it.
    pub(crate) async fn found(&self) -> Vec<String> {
        codes(&self.findings().await)
    }

    pub(crate) async fn findings(&self) -> Vec<Value> {
        let (code, stdout, _) = self.run(&["--json"]).await;
        let report: Value = serde_json::from_str(&stdout).unwrap();
        let errors = report["errors"].as_u64().unwrap();
        assert_eq!(code, Some(if errors > 0 { 2 } else { 0 }), "{stdout}");
        report["findings"].as_array().unwrap().clone()
    }

    pub(crate) fn servers(&self) -> &[Server] {
        &self.servers
    }
}

fn codes(findings: &[Value]) -> Vec<String> {
    findings.iter().map(|finding| finding["code"].as_str().unwrap().to_owned()).collect()
}
