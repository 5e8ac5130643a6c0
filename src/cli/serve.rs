//! `dyngate serve`.

use std::path::Path;

use tokio::runtime::Builder;

use super::{CommandResult, USAGE, fail, log, runtime};
use crate::app::{self, AppError};

pub(super) fn run(path: &Path, ready_file: Option<&Path>, format: log::Format) -> CommandResult {
    log::start(format, "info,sqlx=warn").map_err(|error| fail(USAGE, &error))?;
    app::end_on_panic();
    let runtime = runtime(Builder::new_multi_thread())?;
    let ended = runtime.block_on(app::serve(path, ready_file));
    // A file that never comes to an end may still be read for a reload; nobody waits for it any longer.
    runtime.shutdown_background();
    ended.map_err(|error| match error {
        AppError::Clash(_) | AppError::Certificate(_) => {
            fail(USAGE, &format_args!("the configuration cannot be used\n{}: {error}", path.display()))
        }
        AppError::Config(_) => fail(USAGE, &error),
        error => fail(1, &error),
    })
}
