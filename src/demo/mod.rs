//! The demonstration: a real name server found on this machine, the gateway in front of it, one update made and shown.
//! Everything lies in a scratch folder that goes with it.

mod error;
mod guardian;
mod name_server;
mod router;
mod stage;

use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

use crate::app::Running;
use crate::config::Config;
use crate::dns::{Held, Reader};
use crate::model::DesiredRecords;
pub(crate) use error::DemoError;
use name_server::{Installed, usual_folders};
use stage::Stage;

const ZONE: &str = "dyn.example";
const HOST: &str = "home.dyn.example";
const KEY: &str = "gateway-key";
const LOGIN: &str = "demo";
/// The address that is shown, and the one that is left to try.
const FIRST: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
const NEXT: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 9);
const START: Duration = Duration::from_secs(30);

#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) once: bool,
    /// The folders in which knotd and named are looked for, in place of PATH and the system's own.
    pub(crate) folders: Option<Vec<PathBuf>>,
}

/// Shows one update on `out` and, unless that is asked for once, stays until SIGINT, SIGTERM or SIGHUP. Nothing is left
/// behind, however it ends. Takes the runtime: all of the gateway ends with it, before the name server does, or the log
/// would tell of a primary that is gone.
pub(crate) fn run(runtime: Runtime, options: &Options, out: &mut impl Write) -> Result<(), DemoError> {
    let mut stage = None;
    let ended = runtime.block_on(until_signal(options, &mut stage, out));
    drop(runtime);
    drop(stage);
    match ended {
        Ok(()) => {
            let again = if options.once { " To try it by hand: dyngate demo" } else { "" };
            say(out, format_args!("\nBoth are stopped, their folder is gone.{again}")).or(Ok(()))
        }
        Err(DemoError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(error),
    }
}

async fn until_signal(options: &Options, stage: &mut Option<Stage>, out: &mut impl Write) -> Result<(), DemoError> {
    // Ctrl-C, a service manager, a terminal that is closed.
    let mut interrupt = signal(SignalKind::interrupt()).map_err(DemoError::Signals)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(DemoError::Signals)?;
    let mut hangup = signal(SignalKind::hangup()).map_err(DemoError::Signals)?;
    tokio::select! {
        ended = demonstrate(options, stage, out) => ended,
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
        _ = hangup.recv() => Ok(()),
    }
}

/// Returns after the acts when they are asked for once, else only when the name server ends.
async fn demonstrate(options: &Options, stage: &mut Option<Stage>, out: &mut impl Write) -> Result<(), DemoError> {
    let installed = Installed::find(&options.folders.clone().unwrap_or_else(usual_folders))?;
    let stage = stage.insert(Stage::set(&installed).await?);
    let running = Running::start(&stage.config, &stage.guardian.folder().join("gateway.toml")).await?;
    let scene = Scene {
        installed: &installed,
        pid: stage.guardian.pid(),
        folder: stage.guardian.folder().to_owned(),
        server: stage.server,
        gateway: running.address().ok_or(DemoError::NoAddress)?,
        admin: running.admin,
        password: &stage.password,
        reader: &stage.reader,
        config: &stage.config,
    };
    let acts = async {
        scene.play(out).await?;
        if !options.once {
            scene.invite(out)?;
            std::future::pending::<()>().await;
        }
        Ok::<_, DemoError>(())
    };
    tokio::select! {
        log = stage.guardian.ended() => {
            return Err(DemoError::Died { program: installed.program.display().to_string(), log });
        }
        played = acts => played?,
    }
    running.stop().await;
    Ok(())
}

struct Scene<'s> {
    installed: &'s Installed,
    pid: u32,
    folder: PathBuf,
    server: SocketAddr,
    gateway: SocketAddr,
    admin: SocketAddr,
    password: &'s str,
    reader: &'s Reader,
    config: &'s Config,
}

impl Scene<'_> {
    /// From the name server to what it answers in the end.
    async fn play(&self, out: &mut impl Write) -> Result<(), DemoError> {
        let Self { installed, pid, server, gateway, password, .. } = self;
        let Installed { software, program } = installed;
        let program = program.display();
        say(out, format_args!("1. {software} serves the zone {ZONE} on {server} ({program}, process {pid})."))?;
        say(out, format_args!("2. dyngate listens on http://{gateway} and shares a fresh TSIG key with it."))?;
        say(out, "3. A router reports its new address:")?;
        say(out, format_args!("     {}", router::curl(*gateway, password, FIRST)))?;
        let answer = router::update(*gateway, password, FIRST).await.map_err(DemoError::Silent)?;
        say(out, format_args!("     {answer}"))?;
        if answer != format!("good {FIRST}") {
            let log = std::fs::read(self.folder.join("server.log")).unwrap_or_default();
            let log = String::from_utf8_lossy(&log);
            let log = log.lines().skip(log.lines().count().saturating_sub(15)).collect::<Vec<_>>().join("\n");
            return Err(DemoError::NotGood { answer, log });
        }
        say(out, "4. And this is what the name server now answers to everybody:")?;
        say(out, format_args!("     {}", router::dig(*server)))?;
        let served = self.served().await;
        say(out, format_args!("     {served}"))?;
        if served.split(' ').next() == Some(&FIRST.to_string()) { Ok(()) } else { Err(DemoError::NotShown(served)) }
    }

    /// By `dig`, which asks as everybody does, else as the gateway asks.
    async fn served(&self) -> String {
        if let Some(answer) = router::look(self.server).await {
            return answer;
        }
        // gateway.toml names one of each.
        let (zone, host) = (&self.config.zones[0], &self.config.accounts[0].hosts[0]);
        match self.reader.holds(host, &DesiredRecords::set(IpAddr::V4(FIRST).into(), zone.ttl)).await {
            Ok(Held::Own) => {
                format!("{FIRST}    (asked by dyngate itself; for dig: sudo apt install bind9-dnsutils)")
            }
            Ok(Held::Alike | Held::Other) => "something else".to_owned(),
            Err(error) => error.to_string(),
        }
    }

    fn invite(&self, out: &mut impl Write) -> Result<(), DemoError> {
        let Self { server, gateway, admin, password, .. } = self;
        let (file, folder) = (self.installed.software.file(), self.folder.display());
        let (good, nochg) = (format!("good {NEXT}"), format!("nochg {NEXT}"));
        let lines = [
            "\nTry it in another terminal; this one stays until Ctrl-C:\n".to_owned(),
            format!("  {}", router::curl(*gateway, password, NEXT)),
            format!("      {good:<20}the name server has taken it"),
            format!("      {nochg:<20}the same line again: it holds this already"),
            format!("  {}", router::dig(*server)),
            format!("      {NEXT}"),
            format!("  {}", router::curl(*gateway, "wrong", NEXT)),
            format!("      {:<20}wrong login or password", "badauth"),
            format!("  curl http://{admin}/metrics\n"),
            format!("The configuration of this run: {folder}/gateway.toml, and {file} beside it."),
            "Ctrl-C stops both and removes the folder.".to_owned(),
        ];
        say(out, lines.join("\n"))
    }
}

fn say(out: &mut impl Write, line: impl std::fmt::Display) -> Result<(), DemoError> {
    writeln!(out, "{line}").and_then(|()| out.flush()).map_err(DemoError::Output)
}
