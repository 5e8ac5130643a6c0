//! One file a name server: its configuration in a scratch folder, and the command that runs it there.

mod bind;
mod knot;
mod powerdns;

use std::path::Path;
use std::process::Command;

use crate::{Error, Kind, Setup};

/// Writes the configuration and the zones for a server on `port`, and returns the command to run it in the foreground.
pub(crate) async fn prepare(kind: Kind, folder: &Path, port: u16, setup: &Setup) -> Result<Command, Error> {
    match kind {
        Kind::Bind => bind::prepare(folder, port, setup),
        Kind::Knot => knot::prepare(folder, port, setup),
        Kind::PowerDnsLmdb | Kind::PowerDnsSqlite => powerdns::prepare(kind, folder, port, setup).await,
    }
}
