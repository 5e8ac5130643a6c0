//! `dyngate serve`.

use std::path::Path;
use std::process::ExitCode;

use super::{USAGE, fail, log};
use crate::app;
use crate::config::Config;

pub(super) fn run(path: &Path, ready_file: Option<&Path>, format: log::Format) -> ExitCode {
    if let Err(error) = log::start(format, "info") {
        return fail(USAGE, &error);
    }
    let config = match Config::load(path) {
        Ok(config) => config,
        Err(errors) => return fail(USAGE, &format_args!("the configuration cannot be used\n{errors}")),
    };
    let served = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| anyhow::anyhow!("cannot start: {error}"))
        .and_then(|runtime| runtime.block_on(app::serve(&config, ready_file)).map_err(anyhow::Error::from));
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(1, &error),
    }
}
