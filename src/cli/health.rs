//! `dyngate health`: asks the running gateway whether it can serve, where there is no curl.

use std::path::Path;

use super::operating::print;
use super::{CommandResult, fail, load};
use crate::api::reload::request_readiness;

/// The gateway cannot serve, or nobody answers.
const UNHEALTHY: u8 = 2;

pub(super) fn run(path: &Path, primaries: bool) -> CommandResult {
    let config = load(path)?;
    match request_readiness(config.admin.listen, primaries) {
        Ok(Ok(ready)) => print(&ready).map_err(|error| fail(1, &error)),
        Ok(Err(why)) => Err(fail(UNHEALTHY, &format_args!("the gateway cannot serve now: {}", why.trim_end()))),
        Err(error) => Err(fail(UNHEALTHY, &error)),
    }
}
