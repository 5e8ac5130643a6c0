//! `dyngate client-config`: arguments of the guide. Asks no server.

use std::io::{self, Write as _};
use std::path::Path;

use clap::builder::PossibleValue;
use clap::{Args, ValueEnum};

use super::host::{FamilyName, families};
use super::{CommandResult, USAGE, fail, load};
use crate::config::{Config, Location};
use crate::guide::{self, Credential, DEVICES, Device, GatewayUrl, LookupError, OneFamilyNames, Target};
use crate::model::Hostname;
use crate::operator::{OperatorError, RefusalKind};
use crate::store::{Store, StoreError};

/// What the command is told beside the configuration.
#[derive(Debug, Args)]
pub(super) struct ClientConfigOptions {
    /// The host that the device is to keep up to date
    #[arg(value_name = "HOST")]
    host: String,
    /// The device or program that the text is for
    #[arg(long = "for", value_enum, value_name = "DEVICE")]
    device: Device,
    /// Where the device reaches the gateway, such as https://ddns.example.net or http://192.0.2.1:8245
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// The account, where several may update the host
    #[arg(long, value_name = "LOGIN")]
    login: Option<String>,
    /// The address families that the device is to report
    #[arg(long, value_enum, value_name = "FAMILIES", value_delimiter = ',', default_values_t = [FamilyName::Ipv4, FamilyName::Ipv6])]
    families: Vec<FamilyName>,
}

impl ValueEnum for Device {
    fn value_variants<'a>() -> &'a [Self] {
        &DEVICES
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.name).aliases(self.aliases).help(self.about))
    }
}

pub(super) fn run(path: &Path, options: &ClientConfigOptions) -> CommandResult {
    let config = load(path)?;
    let target = target(&config, options).map_err(|error| {
        let is_ours =
            error.downcast_ref::<OperatorError>().is_some_and(|error| error.kind() == RefusalKind::Unavailable);
        fail(if is_ours { 1 } else { USAGE }, &format_args!("{error:#}\nThe configuration is {}", path.display()))
    })?;
    let text = options.device.text(&target);
    let written = io::stdout().lock().write_all(text.as_bytes());
    written.map_err(|error| fail(1, &format_args!("cannot write the text: {error}")))
}

fn keeper(config: &Config, host: &Hostname) -> anyhow::Result<Option<String>> {
    if matches!(config.store.location, Location::Memory) {
        return Ok(None);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let store = match Store::open_read_only(&config.store.location).await {
            // It holds nothing, then.
            Err(StoreError::Missing(_)) => return Ok(None),
            opened => opened.map_err(OperatorError::from)?,
        };
        let host = store.host(host).await;
        store.close().await;
        Ok(host.map_err(OperatorError::from)?.map(|host| host.login.to_string()))
    })
}

fn target(config: &Config, options: &ClientConfigOptions) -> anyhow::Result<Target> {
    let host = guide::name(&options.host)?;
    let keeper = keeper(config, &host)?;
    if options.device.credential == Credential::Token && keeper.is_none() {
        return Err(LookupError::NotStored(host).into());
    }
    let (host, login) = guide::updater(config, host, options.login.as_deref(), keeper.as_deref())?;
    let url = match &options.url {
        Some(url) => GatewayUrl::parse(url)?,
        None => GatewayUrl::guess(
            &config.http.listen.iter().filter_map(|listener| listener.endpoint.tcp()).collect::<Vec<_>>(),
        ),
    };
    let families = families(&options.families).unwrap_or_default();
    let names = OneFamilyNames { v4: config.http.ipv4_name.clone(), v6: config.http.ipv6_name.clone() };
    Ok(Target { host, login, url, families, names })
}
