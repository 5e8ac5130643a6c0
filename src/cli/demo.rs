//! `dyngate demo`.

use std::io;
use std::process::ExitCode;

use super::{USAGE, fail, log};
use crate::demo::{self, Options};

pub(super) fn run(options: &Options) -> ExitCode {
    // The demonstration tells what happens; the log only what goes wrong.
    if let Err(error) = log::start(log::Format::Text, "warn") {
        return fail(USAGE, &error);
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(1, &format_args!("cannot start: {error}")),
    };
    match demo::run(runtime, options, &mut io::stdout()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(1, &error),
    }
}
