//! `dyngate serve`.

use std::path::Path;
use std::process::ExitCode;

use super::{USAGE, fail, log};
use crate::app::{self, AppError};
use crate::config::Config;

pub(super) fn run(path: &Path, ready_file: Option<&Path>, format: log::Format) -> ExitCode {
    if let Err(error) = log::start(format, "info,sqlx=warn") {
        return fail(USAGE, &error);
    }
    let config = match Config::load(path) {
        Ok(config) => config,
        Err(errors) => return fail(USAGE, &format_args!("the configuration cannot be used\n{errors}")),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(1, &format_args!("cannot start: {error}")),
    };
    match runtime.block_on(app::serve(&config, ready_file)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error @ (AppError::Clash(_) | AppError::Certificate(_))) => {
            fail(USAGE, &format_args!("the configuration cannot be used\n{}: {error}", path.display()))
        }
        Err(error) => fail(1, &error),
    }
}
