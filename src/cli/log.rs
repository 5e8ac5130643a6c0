//! Log lines on standard error: for people, or JSON for machines.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// For people; coloured on a terminal.
    Text,
    /// One JSON object a line.
    Json,
}

/// Starts logging. `DYNGATE_LOG` filters, else `RUST_LOG`, else `usual` does.
pub(super) fn start(format: Format, usual: &str) -> Result<(), String> {
    let given = ["DYNGATE_LOG", "RUST_LOG"].iter().find_map(|name| Some((name, std::env::var(name).ok()?)));
    let filter = match given {
        Some((name, filter)) => EnvFilter::try_new(filter).map_err(|error| format!("{name}: {error}"))?,
        None => EnvFilter::new(usual),
    };
    let lines = fmt().with_env_filter(filter).with_writer(io::stderr);
    match format {
        Format::Text => lines.with_ansi(io::stderr().is_terminal()).try_init(),
        Format::Json => lines.json().flatten_event(true).try_init(),
    }
    .map_err(|error| error.to_string())
}
