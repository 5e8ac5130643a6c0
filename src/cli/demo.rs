//! `dyngate demo`.

use std::io;

use tokio::runtime::Builder;

use super::{CommandResult, USAGE, fail, log, runtime};
use crate::demo::{self, Options};

pub(super) fn run(options: &Options) -> CommandResult {
    // The demonstration tells what happens; the log only what goes wrong.
    log::start(log::Format::Text, "warn").map_err(|error| fail(USAGE, &error))?;
    let runtime = runtime(Builder::new_multi_thread())?;
    demo::run(runtime, options, &mut io::stdout()).map_err(|error| fail(1, &error))
}
