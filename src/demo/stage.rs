//! What stands before the first act: a scratch folder with every file, and the name server in it, which serves the zone
//! and knows the key.

use std::fs::{OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::guardian::Guardian;
use super::name_server::{Installed, free_port, zone_file};
use super::{DemoError, HOST, KEY, LOGIN, START, ZONE};
use crate::auth::secret::{digest_of, random};
use crate::config::Config;
use crate::dns::{Pool, Reader, Route, Signer, Tcp, Update};

/// Another program may take the port between our look and the server's.
const ATTEMPTS: u32 = 5;
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// The scene, set. All of it goes when the value is dropped.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) guardian: Guardian,
    pub(super) server: SocketAddr,
    pub(super) config: Config,
    pub(super) password: String,
    pub(super) reader: Reader,
}

impl Stage {
    /// Starts the server in a fresh folder and waits until it answers a question signed with the fresh key.
    pub(super) async fn set(installed: &Installed) -> Result<Self, DemoError> {
        let mut attempt = 1;
        loop {
            match Self::attempt(installed).await {
                Err(DemoError::Died { log, .. }) if attempt < ATTEMPTS && log.contains("in use") => attempt += 1,
                outcome => return outcome,
            }
        }
    }

    async fn attempt(installed: &Installed) -> Result<Self, DemoError> {
        let Installed { software, .. } = *installed;
        let program = installed.program.display().to_string();
        let scratch =
            tempfile::Builder::new().prefix("dyngate-demo-").permissions(Permissions::from_mode(0o700)).tempdir();
        let scratch = scratch.map_err(|source| DemoError::Folder { folder: std::env::temp_dir(), source })?;
        let folder = scratch.path();
        let failed = |source| DemoError::Folder { folder: folder.to_owned(), source };

        let server = free_port().map_err(DemoError::Port)?;
        let password = URL_SAFE_NO_PAD.encode(random::<15>()?);
        write(folder, "gateway.key", &software.key(&STANDARD.encode(random::<32>()?))).map_err(failed)?;
        write(folder, "gateway.toml", &gateway_toml(server, &password)).map_err(failed)?;
        let configuration = software.configuration(&installed.program, folder, server.port());
        write(folder, software.file(), &configuration).map_err(failed)?;
        write(folder, "zone", &zone_file()).map_err(failed)?;
        let config = Config::load(&folder.join("gateway.toml")).map_err(DemoError::Config)?;
        let reader = reader(&config)?;

        let start = installed.unconfined(folder).map_err(failed)?;
        let guardian = Guardian::start(scratch, &start, software.arguments()).await;
        let mut guardian = guardian.map_err(|source| DemoError::Start { program: program.clone(), source })?;
        tokio::select! {
            log = guardian.ended() => return Err(DemoError::Died { program, log }),
            served = served(&reader, &program) => served?,
        }
        Ok(Self { guardian, server, config, password, reader })
    }
}

fn reader(config: &Config) -> Result<Reader, DemoError> {
    let zone = &config.zones[0];
    let update = Update::new(zone.name.clone(), Signer::new(&zone.key)?)?;
    let (update, primary) = (Arc::new(update), zone.primaries[0].clone());
    let route = watch::Sender::new(Route { update, primary, source: zone.source, timeout: ANSWER_WITHIN });
    Ok(Reader::start(Pool::new(Arc::new(Tcp)), route.subscribe()))
}

async fn served(reader: &Reader, program: &str) -> Result<(), DemoError> {
    let deadline = Instant::now() + START;
    loop {
        match reader.zone_targets().await {
            Ok(_) => return Ok(()),
            Err(source) if Instant::now() >= deadline => {
                return Err(DemoError::NotServed { program: program.to_owned(), source });
            }
            Err(_) => sleep(Duration::from_millis(20)).await,
        }
    }
}

fn gateway_toml(server: SocketAddr, password: &str) -> String {
    let stored = digest_of(password).text();
    format!(
        "# The gateway of this demonstration. It goes when the demonstration ends; docs/CONFIG.md explains every key.\n\
         \n\
         [http]\n\
         listen = [\"127.0.0.1:0\"]              # 0 takes a free port; for real routers: [\"0.0.0.0:8245\"]\n\
         \n\
         [admin]\n\
         listen = \"127.0.0.1:0\"\n\
         \n\
         [[key]]\n\
         file = \"gateway.key\"                  # the name server includes the same file\n\
         \n\
         [[zone]]\n\
         name = \"{ZONE}\"\n\
         primaries = [\"{server}\"]\n\
         key = \"{KEY}\"\n\
         \n\
         [[account]]\n\
         login = \"{LOGIN}\"\n\
         secret = \"{stored}\"\n\
         hosts = [\"{HOST}\"]\n"
    )
}

fn write(folder: &Path, name: &str, text: &str) -> io::Result<()> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(folder.join(name));
    file.and_then(|mut file| file.write_all(text.as_bytes()))
}
